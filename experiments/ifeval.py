"""What an adapter changes on IFEval: two files of `essa judge --task ifeval`, of the same prompts in the same order.

    python3 ifeval.py base.jsonl evolved.jsonl

Prints prompt and instruction level, strict and loose: both shares, the difference, and its 95 % interval by a bootstrap over prompts (10,000 draws, seed 0),
because the instructions of a prompt are judged on one response.
"""
import json
import random
import sys

base, evolved = ([json.loads(line) for line in open(name, encoding="utf-8")] for name in sys.argv[1:3])
assert [row["key"] for row in base] == [row["key"] for row in evolved], "other prompts, or another order"


def counts(row, level, strictness):
    followed = row[f"instruction_{strictness}"]
    return (int(all(followed)), 1) if level == "prompt" else (sum(followed), len(followed))


for level in ("prompt", "instruction"):
    for strictness in ("strict", "loose"):
        pairs = [(counts(a, level, strictness), counts(b, level, strictness)) for a, b in zip(base, evolved)]

        def shares(drawn):
            number = sum(a[1] for a, _ in drawn)
            return sum(a[0] for a, _ in drawn) / number, sum(b[0] for _, b in drawn) / number

        draw = random.Random(0)
        gains = []
        for _ in range(10_000):
            one = shares(draw.choices(pairs, k=len(pairs)))
            gains.append(one[1] - one[0])
        gains.sort()
        before, after = shares(pairs)
        print(f"{level:<12}{strictness:<8}{before:.3f} -> {after:.3f}  {after - before:+.3f} [{gains[249]:+.3f}, {gains[9749]:+.3f}]")
