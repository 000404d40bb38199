"""Tokens a second of the same supervised training in transformers + peft: one pass over the rows of a file, a LoRA of rank 8 on q, k, v and o, f32.

    python benches/peers/warm_start.py MODEL.gguf ROWS.json      (array of instruction, input, output)

Beside it: essa warm-start with these rows as data.train, and the column tokens_per_second of its metrics.csv. Tokens are counted without padding.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "golden"))
from make_smollm2 import IM_END, make_tokenizer

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

BATCH = 8
path = Path(sys.argv[1])
rows = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
tokenizer = make_tokenizer(path)
model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
config = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"], task_type="CAUSAL_LM")
model = get_peft_model(model, config)
model.train()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-4)


def example(row):
    asked = "\n\n".join(part for part in (row["instruction"], row["input"]) if part)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": asked}], add_generation_prompt=True, tokenize=False
    )
    prompt = tokenizer(prompt, add_special_tokens=False).input_ids
    return prompt, tokenizer(row["output"], add_special_tokens=False).input_ids + [IM_END]


examples = [example(row) for row in rows]
tokens, began = 0, time.perf_counter()
for first in range(0, len(examples), BATCH):
    batch = examples[first : first + BATCH]
    width = max(len(prompt) + len(answer) for prompt, answer in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for line, (prompt, answer) in enumerate(batch):
        length = len(prompt) + len(answer)
        ids[line, :length] = torch.tensor(prompt + answer)
        mask[line, :length] = 1
        labels[line, len(prompt) : length] = torch.tensor(answer)
        tokens += length
    loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    print(f"loss {loss.item():.4f}", file=sys.stderr)
seconds = time.perf_counter() - began
print(json.dumps({"tokens": tokens, "seconds": seconds, "tokens_per_second": tokens / seconds}))
