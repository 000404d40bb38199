"""A supervised start for lora-svd: a LoRA of peft on q, k, v and o, stopped early so that headroom is left.

    tests/golden/make.sh --env-only
    ~/.cache/essa/golden-venv/bin/python experiments/sst2-supervised.py --train sst2_train.jsonl --out adapters/sst2-r8

The prompt is that of sst2-one-word.toml and of sst2-lora-svd.toml; the loss is on the answer and on the token that ends the turn.
Rows of the training file are taken from its end, and the experiments that follow search on it from its beginning
(`head -n 5000`), so no row serves twice.
"""

import argparse
import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "golden"))
from make_smollm2 import IM_END, find_model, make_tokenizer

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--train", type=Path, required=True)
parser.add_argument("--out", type=Path, required=True)
parser.add_argument("--model", type=Path)
parser.add_argument("--rank", type=int, default=8)
parser.add_argument("--steps", type=int, default=24)
parser.add_argument("--batch", type=int, default=8)
parser.add_argument("--learning-rate", type=float, default=5e-4)
parser.add_argument("--seed", type=int, default=1)
arguments = parser.parse_args()

random.seed(arguments.seed)
torch.manual_seed(arguments.seed)
path = arguments.model or find_model()
tokenizer = make_tokenizer(path)
model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
modules = ["q_proj", "k_proj", "v_proj", "o_proj"]
model = get_peft_model(
    model,
    LoraConfig(r=arguments.rank, lora_alpha=2 * arguments.rank, target_modules=modules, task_type="CAUSAL_LM"),
)
rows = [json.loads(line) for line in arguments.train.read_text(encoding="utf-8").splitlines()]
rows = rows[-arguments.steps * arguments.batch :]
random.shuffle(rows)


def example(row):
    messages = [
        {"role": "system", "content": "You judge film reviews."},
        {
            "role": "user",
            "content": f"Review: {row['text']}\nIs this review positive or negative? Answer in one word.",
        },
    ]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    prompt = tokenizer(prompt, add_special_tokens=False).input_ids
    answer = tokenizer(["negative", "positive"][row["label"]], add_special_tokens=False).input_ids + [IM_END]
    return prompt, answer


optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=arguments.learning_rate)
model.train()
for step in range(arguments.steps):
    batch = [example(row) for row in rows[step * arguments.batch : (step + 1) * arguments.batch]]
    width = max(len(prompt) + len(answer) for prompt, answer in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for line, (prompt, answer) in enumerate(batch):
        ids[line, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
        mask[line, : len(prompt) + len(answer)] = 1
        labels[line, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
    loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    print(f"step {step + 1:3}  loss {loss.item():.4f}", flush=True)
model.save_pretrained(arguments.out)
