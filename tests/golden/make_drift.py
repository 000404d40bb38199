"""Writes fixtures/drift.json: the exact Kullback-Leibler divergence of short responses, by PyTorch over the whole vocabulary.

The reference is one of the tiny models, the other is the same with the LoRA of make_warm_start.py scaled up. A response has at most two tokens and
ends at a stop token, so KL = sum over y1 of p(y1) (log p(y1) - log q(y1)), plus, of every y1 that is no stop token, p(y1) times the same of the
second token after it. Estimates from sampled texts have to agree with it within their standard error.

Beside it the exact diagonal of the Fisher information of the weights of each matrix's LoRA at 1, the mean over the prompts: the sum over responses of
p(y) (d log p(y) / d weight)^2, which is that of the first token plus the expected one of the second. Derivatives are central differences in double.

    python make_drift.py      (after make.py and make_warm_start.py)
"""

import random

import torch
from peft import PeftModel

from make import load
from reference import FIXTURES, deterministic, write_json

MODEL = "qwen2-tied-gqa3"
PROMPTS = 3


def main() -> None:
    deterministic()
    random.seed(11)
    base = load(FIXTURES / MODEL)
    vocab = base.config.vocab_size
    stop = random.sample(range(vocab), vocab // 4)
    prompts = [[random.randrange(vocab) for _ in range(random.randint(4, 9))] for _ in range(PROMPTS)]
    of_base = [tree(base, prompt) for prompt in prompts]
    other = PeftModel.from_pretrained(load(FIXTURES / MODEL), FIXTURES / "warm-start" / "adapter")
    for name, tensor in other.named_parameters():
        if "lora_B" in name:
            tensor.data = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(len(name))) * 0.12
    folder = FIXTURES / "drift-adapter"
    other.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    rows = []
    for prompt, reference in zip(prompts, of_base):
        rows.append({"prompt_ids": prompt, "kl": divergence(reference, tree(other, prompt), stop)})
    print([row["kl"] for row in rows])
    fisher = information(other.double(), prompts, stop)
    print(fisher)
    write_json(FIXTURES / "drift.json", {"model": MODEL, "stop": stop, "max_new_tokens": 2, "rows": rows, "fisher": fisher}, indent_to=2)


def tree(model, prompt: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of the first token, [vocab], and of the second after each first, [vocab, vocab]."""
    with torch.no_grad():
        first = torch.log_softmax(model(torch.tensor([prompt])).logits[0, -1].double(), -1)
        longer = torch.tensor([prompt + [token] for token in range(model.config.vocab_size)])
        second = torch.log_softmax(model(longer).logits[:, -1].double(), -1)
    return first, second


def divergence(p, q, stop: list[int]) -> float:
    kl = lambda a, b: (a.exp() * (a - b)).sum(-1)
    goes_on = torch.ones(p[0].shape[0], dtype=torch.double)
    goes_on[stop] = 0
    return float(kl(p[0], q[0]) + (p[0].exp() * goes_on * kl(p[1], q[1])).sum())


def information(model, prompts: list[list[int]], stop: list[int], step: float = 1e-4) -> dict[str, float]:
    """By matrix, nats a response at a weight's step of 1, twice over."""
    goes_on = torch.ones(model.config.vocab_size, dtype=torch.double)
    goes_on[stop] = 0
    found = {}
    for name, module in model.named_modules():
        if not hasattr(module, "lora_A") or not module.lora_A:
            continue
        total = 0.0
        for prompt in prompts:
            at = tree(model, prompt)
            scale = module.scaling["default"]
            sides = []
            for sign in (1, -1):
                module.scaling["default"] = scale * (1 + sign * step)
                sides.append(tree(model, prompt))
            module.scaling["default"] = scale
            first, second = (((up - down) / (2 * step)) ** 2 for up, down in zip(*sides))
            own = (at[0].exp() * first).sum() + (at[0].exp() * goes_on * (at[1].exp() * second).sum(-1)).sum()
            total += float(own) / len(prompts)
        found[name.removeprefix("base_model.model.")] = total
    return found


main()
