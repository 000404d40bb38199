"""Does an adapter that essa exported score the same in peft? Prints the largest and the mean difference.

    python check_peft.py MODEL ADAPTER SCORES_IN.jsonl SCORES_OUT.jsonl [--tolerance X]

MODEL is a Hugging Face folder or a GGUF file, ADAPTER a PEFT folder, or `-` for the base model alone.
SCORES_IN has rows {prompt_ids, completion_ids}; SCORES_OUT is what `essa score` made of it: the same rows
in the same order with `logprobs`, one natural logarithm for each completion token.
Base and adapter are in float32 with eager attention. With a tolerance, the exit code is 1 when the largest
difference is above it.
"""

import argparse
import json
import os
from pathlib import Path

from reference import deterministic, logprobs

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
from transformers.utils import logging

logging.disable_progress_bar()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("adapter")
    parser.add_argument("scores_in", type=Path)
    parser.add_argument("scores_out", type=Path)
    parser.add_argument("--tolerance", type=float)
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", 2)))
    args = parser.parse_args()
    deterministic(args.threads)

    model = load(args.model, args.adapter)
    asked, scored = rows(args.scores_in), rows(args.scores_out)
    if len(asked) != len(scored):
        raise SystemExit(f"{args.scores_in} has {len(asked)} rows, {args.scores_out} has {len(scored)}")
    differences, ours, theirs = [], [], []
    for number, (row, answer) in enumerate(zip(asked, scored)):
        for key in ["prompt_ids", "completion_ids"]:
            if key in answer and answer[key] != row[key]:
                raise SystemExit(f"{args.scores_out}, row {number}: {key} differs from {args.scores_in}")
        expected = logprobs(model, row["prompt_ids"], row["completion_ids"])
        if len(expected) != len(answer["logprobs"]):
            raise SystemExit(f"row {number}: {len(answer['logprobs'])} logprobs for {len(expected)} tokens")
        differences.append(np.abs(np.subtract(expected, answer["logprobs"])))
        ours.extend(answer["logprobs"])
        theirs.extend(expected)

    every = np.concatenate(differences)
    worst = int(np.argmax([difference.max(initial=0) for difference in differences]))
    print(f"tokens {len(every)}  rows {len(asked)}")
    print(f"max |Δ| {every.max():.3e} (row {worst})  mean |Δ| {every.mean():.3e}")
    print(f"perplexity: peft {np.exp(-np.mean(theirs)):.6f}, essa {np.exp(-np.mean(ours)):.6f}")
    if args.tolerance is not None and not every.max() <= args.tolerance:
        raise SystemExit(f"above the tolerance of {args.tolerance:g}")


def load(path: Path, adapter: str):
    options = dict(dtype=torch.float32, attn_implementation="eager")
    if path.is_file():
        model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, **options)
    else:
        model = AutoModelForCausalLM.from_pretrained(path, **options)
    if adapter != "-":
        model = PeftModel.from_pretrained(model, adapter)
        used = sum(hasattr(layer, "lora_A") for layer in model.modules())
        print(f"{adapter}: {used} adapted modules")
    return model.eval()


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


if __name__ == "__main__":
    main()
