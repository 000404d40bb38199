"""Writes fixtures/warm-start/: the first losses of supervised learning by PyTorch, transformers and peft, on one of the tiny models.

`adapter/` is the LoRA that peft begins with; `steps.json` has the tokens of every batch, and of every step its loss, learning rate and gradient
norm: mean loss over the completion tokens of all batches of a step, clipping, AdamW, cosine with warm-up.

    python make_warm_start.py      (after make.py)
"""

import random

import torch
from peft import LoraConfig, get_peft_model
from transformers import get_cosine_schedule_with_warmup

from make import load
from reference import FIXTURES, deterministic, write_json

MODEL = "qwen2-tied-gqa3"
STEPS, WARMUP, BATCHES, ROWS = 20, 4, 2, 3
RATE, DECAY, NORM = 2e-2, 0.01, 0.3
EVERY = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def main() -> None:
    deterministic()
    torch.set_grad_enabled(True)
    random.seed(5)
    base = load(FIXTURES / MODEL)
    vocab = base.config.vocab_size
    base.config._name_or_path = base.name_or_path = f"golden/{MODEL}"
    config = LoraConfig(r=4, lora_alpha=8, target_modules=EVERY, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM")
    model = get_peft_model(base, config)
    folder = FIXTURES / "warm-start"
    model.save_pretrained(folder / "adapter", save_embedding_layers=False)
    (folder / "adapter" / "README.md").unlink(missing_ok=True)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=DECAY)
    schedule = get_cosine_schedule_with_warmup(optimizer, WARMUP, STEPS)
    model.train()
    pool = [[random.randrange(vocab) for _ in range(random.randint(6, 20))] for _ in range(12)]
    steps = []
    for _ in range(STEPS):
        batches = [[sequence(random.choice(pool)) for _ in range(ROWS)] for _ in range(BATCHES)]
        asked = sum(len(ids) - start for batch in batches for ids, start in batch)
        total = 0.0
        for batch in batches:
            loss = summed_loss(model, batch) / asked
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(trained, NORM).item()
        steps.append({"batches": batches, "loss": total, "grad_norm": norm, "learning_rate": schedule.get_last_lr()[0]})
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    print(f"loss {steps[0]['loss']:.4f} to {steps[-1]['loss']:.4f}, norms {steps[0]['grad_norm']:.3f} to {steps[-1]['grad_norm']:.3f}")
    settings = {"warmup_steps": WARMUP, "learning_rate": RATE, "weight_decay": DECAY, "max_grad_norm": NORM}
    write_json(folder / "steps.json", {"model": MODEL, "settings": settings, "steps": steps}, indent_to=2)


def sequence(ids: list[int]) -> list:
    return [ids, len(ids) // 3 + 1]


def summed_loss(model, batch) -> torch.Tensor:
    width = max(len(ids) for ids, _ in batch)
    tokens = torch.zeros(len(batch), width, dtype=torch.long)
    mask, labels = torch.zeros_like(tokens), torch.full_like(tokens, -100)
    for line, (ids, start) in enumerate(batch):
        tokens[line, : len(ids)] = torch.tensor(ids)
        mask[line, : len(ids)] = 1
        labels[line, start : len(ids)] = torch.tensor(ids[start:])
    logits = model(input_ids=tokens, attention_mask=mask).logits
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1), ignore_index=-100, reduction="sum"
    )


main()
