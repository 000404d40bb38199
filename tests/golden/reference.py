"""What every golden script shares: the reference arithmetic and how an answer is written down.

The answers are those of transformers in float32 with eager attention, one sequence at a time,
without padding and without a key-value cache, on one thread. Nothing here knows about essa.
"""

import json
import os
import zlib
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch

FIXTURES = Path(__file__).resolve().parent / "fixtures"


def deterministic(threads: int = 1) -> None:
    """One thread keeps the order of every sum, so the files come out the same each time."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.set_grad_enabled(False)


def generator(*names: str) -> np.random.Generator:
    """A random stream of its own for every name, so that adding a case changes no other."""
    return np.random.default_rng(zlib.crc32("/".join(names).encode()))


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Values on a grid of 2^-10, so that the last bits of a libm cannot change a fixture."""
    return np.round(rng.standard_normal(shape) * 1024) / 1024


def logprobs(model, prompt_ids: list[int], completion_ids: list[int]) -> list[float]:
    """log p(token | everything before it), natural logarithm, for each completion token."""
    ids = torch.tensor([prompt_ids + completion_ids])
    logits = model(ids, use_cache=False).logits[0].float()
    rows = torch.log_softmax(logits[len(prompt_ids) - 1 : -1], dim=-1)
    return rows.gather(1, torch.tensor(completion_ids)[:, None])[:, 0].tolist()


def greedy(model, prompt_ids: list[int], tokens: int) -> tuple[list[int], float]:
    """The greedy continuation, and the smallest lead in logits of a chosen token over the next best."""
    ids, lead = list(prompt_ids), float("inf")
    for _ in range(tokens):
        top = model(torch.tensor([ids]), use_cache=False).logits[0, -1].float().topk(2)
        lead = min(lead, (top.values[0] - top.values[1]).item())
        ids.append(top.indices[0].item())
    return ids[len(prompt_ids) :], lead


def items(model, pairs: list[tuple[list[int], list[int]]], greedy_tokens: int = 32) -> list[dict]:
    """The answers for (prompt, completion) pairs in the shape that the tests read."""
    answers = []
    for prompt_ids, completion_ids in pairs:
        greedy_ids, lead = greedy(model, prompt_ids, greedy_tokens)
        answers.append(
            {
                "prompt_ids": prompt_ids,
                "completion_ids": completion_ids,
                "logprobs": rounded(logprobs(model, prompt_ids, completion_ids)),
                "greedy_ids": greedy_ids,
                "greedy_lead": round(lead, 6),
            }
        )
    return answers


def rounded(values) -> list[float]:
    return [round(float(value), 6) for value in values]


def write_json(path: Path, value, indent_to: int = 2) -> None:
    """JSON with the outer `indent_to` levels on lines of their own, and the rest compact."""

    def render(value, level: int) -> str:
        if level >= indent_to or not isinstance(value, (dict, list)) or not value:
            return json.dumps(value, ensure_ascii=False)
        pad, end = "\n" + "  " * (level + 1), "\n" + "  " * level
        if isinstance(value, dict):
            rows = [f"{json.dumps(key)}: {render(inner, level + 1)}" for key, inner in value.items()]
            return "{" + pad + ("," + pad).join(rows) + end + "}"
        return "[" + pad + ("," + pad).join(render(inner, level + 1) for inner in value) + end + "]"

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(value, 0) + "\n", encoding="utf-8")
