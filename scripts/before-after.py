#!/usr/bin/env python3
"""Does four small runs with two builds of essa and compares what they leave, so that a change of the program's inner walls can
be told from a change of what it computes.

    scripts/before-after.py --before old/essa --after target/release/essa --model model.gguf [--work FOLDER] [--ranks 2]

The runs: three generations of the quick start; a graded search of an adapter's singular values (lora-svd); a race in a composed
space; a sweep of two seeds under two ranks. Folders that are there from an earlier call are compared as they are. Compared are metrics.csv without its clocks, rollouts.jsonl, the exported adapters,
mean.json, every number of the checkpoints by its name, the columns of the sweep's leaderboard that both have, and what `essa generate` writes with the exported
adapter in int8 and int4. Exits with 1 where anything differs, and names it.
"""

import argparse
import csv
import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--before", type=Path, required=True)
parser.add_argument("--after", type=Path, required=True)
parser.add_argument("--model", type=Path, required=True)
parser.add_argument("--work", type=Path, default=Path("target/before-after"))
parser.add_argument("--ranks", type=int, default=2, help="of the sweep, under mpirun; 1 does without")
arguments = parser.parse_args()
model = arguments.model.resolve()
CLOCKS = {"step_time", "evaluation_time", "idle_ratio", "wall_s", "finished", "directory", "essa"}

REVIEWS = [
    ("a warm and funny film", "positive"),
    ("dull from the first scene to the last", "negative"),
    ("i laughed all the way home", "positive"),
    ("a waste of two hours", "negative"),
    ("beautifully shot and acted", "positive"),
    ("the plot makes no sense at all", "negative"),
]


def rows(path, count):
    lines = ({"text": f"{text} ({path.stem} {number})", "label": label} for number, (text, label) in zip(range(count), REVIEWS * count))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def run(command, folder, log):
    with open(folder / log, "w", encoding="utf-8") as file:
        done = subprocess.run(command, cwd=folder, stdout=file, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: status {done.returncode}, see {folder / log}")


def four_runs(essa, folder):
    folder.mkdir(parents=True)
    for split, count in (("train", 60), ("validation", 20), ("test", 20)):
        rows(folder / f"{split}.jsonl", count)
    (folder / "prompts.jsonl").write_text(
        "".join(json.dumps({"prompt": f"What is {n} plus {n}?"}) + "\n" for n in range(6)), encoding="utf-8"
    )
    shared = f"""
[model]
path = {json.dumps(str(model))}
ADAPTER
[task]
kind = "jsonl"
train = "train.jsonl"
validation = "validation.jsonl"
test = "test.jsonl"
system = "You judge film reviews."
prompt = "Review: {{text}}\\nIs this review positive or negative? Answer in one word."
answer = "label"
judge = "exact"
GRADED
[generation]
max_new_tokens = 4
"""
    of_adapter = shared.replace("ADAPTER", 'adapter = "quickstart/adapter"')
    (folder / "graded.toml").write_text(
        'name = "graded"\n'
        + of_adapter.replace("GRADED", 'graded = "log_probability"')
        + '[space]\nkind = "lora-svd"\nalpha = 0.5\n[strategy]\nkind = "sep-cma-es"\npopulation = 6\nsigma = 0.3\n'
        + "[run]\ngenerations = 4\nprompts = 6\nprompts_max = 12\nvalidate_every = 2\n",
        encoding="utf-8",
    )
    (folder / "race.toml").write_text(
        'name = "race"\n'
        + of_adapter.replace("GRADED", "")
        + '[space]\nkind = "frozen"\nalso = [{ kind = "spectral", rank = 2 }, { kind = "core", rank = 2 }]\nsubspace = 40\n'
        + '[strategy]\nkind = "snes"\npopulation = 8\nmax_step = 0.5\n'
        + "[run]\ngenerations = 3\nprompts = 8\nracing = true\nvalidate_every = 0\n",
        encoding="utf-8",
    )
    (folder / "sweep.toml").write_text(
        'name = "sweep"\n'
        + shared.replace("ADAPTER", 'precision = "int4"').replace("GRADED", "")
        + '[space]\nrank = 2\nlayers = [0, 2]\n[strategy]\nkind = "open-es"\npopulation = 4\n'
        + "[run]\ngenerations = 2\nprompts = 4\nvalidate_every = 1\n[sweep]\nseed = [1, 2]\n",
        encoding="utf-8",
    )
    quick = ["--set", f"model.path={model}", "--set", "run.generations=3", "--set", "task.test_size=40"]
    run([essa, "align", "quickstart", *quick, "--out", "quickstart"], folder, "quickstart.log")
    run([essa, "align", "graded.toml", "--out", "graded"], folder, "graded.log")
    run([essa, "align", "race.toml", "--out", "race"], folder, "race.log")
    launcher = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", str(arguments.ranks)] if arguments.ranks > 1 else []
    run([*launcher, essa, "sweep", "sweep.toml", "--out", "sweep"], folder, "sweep.log")
    for precision in ("int8", "int4"):
        flags = ["--model", model, "--adapter", "quickstart/adapter", "--precision", precision, "--max-new-tokens", "24"]
        run([essa, "generate", *flags, "--prompts", "prompts.jsonl", "--output", f"{precision}.jsonl"], folder, f"{precision}.log")


def table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if key not in CLOCKS} for row in csv.DictReader(file)]


def numbers(path):
    """Every number of a checkpoint by the last name above it, in order. Its last line is a digest."""
    found = defaultdict(list)

    def visit(value, name):
        if isinstance(value, dict):
            for key, inner in value.items():
                visit(inner, key)
        elif isinstance(value, list):
            for inner in value:
                visit(inner, name)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[name].append(value)

    visit(json.loads(path.read_text(encoding="utf-8").splitlines()[0]), "")
    return {name: sorted(values) for name, values in found.items()}


differences = []


def compare(what, before, after):
    if before != after:
        differences.append(what)
    print(("differs  " if before != after else "the same ") + what, flush=True)


def compare_tables(what, before, after):
    """Columns that both have; the others are named."""
    before, after = table(before), table(after)
    columns = [set(rows[0]) if rows else set() for rows in (before, after)]
    for label, own, others in (("gone", columns[0], columns[1]), ("new", columns[1], columns[0])):
        if own - others:
            print(f"         {what}: columns that are {label}: {' '.join(sorted(own - others))}")
    both = columns[0] & columns[1]
    only = [[{key: row[key] for key in both} for row in rows] for rows in (before, after)]
    if only[0] != only[1]:
        keys = {key for a, b in zip(*only) for key in both if a[key] != b[key]}
        print(f"         {what}: {' '.join(sorted(keys))}")
    compare(what, *only)


old, new = arguments.work / "before", arguments.work / "after"
# In a folder of the same name, because rollouts name the file that a prompt is from. What is there already is only compared.
for essa, folder in ((arguments.before, old), (arguments.after, new)):
    if not folder.exists():
        four_runs(essa.resolve(), arguments.work / "runs")
        (arguments.work / "runs").rename(folder)
for name in ("quickstart", "graded", "race", "sweep/seed=1", "sweep/seed=2"):
    compare_tables(f"{name}/metrics.csv", old / name / "metrics.csv", new / name / "metrics.csv")
    kept = sorted(path.name for path in (old / name / "checkpoints").iterdir())
    for file in ["rollouts.jsonl", "mean.json", *(f"adapter/{path.name}" for path in sorted((old / name / "adapter").iterdir()))]:
        before, after = ((folder / name / file).read_bytes() for folder in (old, new))
        # A judgement's terms were called its parts until 2026-11-27.
        compare(f"{name}/{file}", before.replace(b'"parts":', b'"terms":'), after)
    for file in kept:
        before, after = (numbers(folder / name / "checkpoints" / file) for folder in (old, new))
        for key in sorted(before.keys() ^ after.keys()):
            print(f"         {name}/checkpoints/{file}: {key} is {'gone' if key in before else 'new'}")
        others = []
        for key in sorted(before.keys() & after.keys() - {"format"}):
            more, less = Counter(after[key]) - Counter(before[key]), Counter(before[key]) - Counter(after[key])
            if less:
                others.append(key)
            elif more:
                print(f"         {name}/checkpoints/{file}: {key} is there {sum(more.values())} times more")
        compare(f"{name}/checkpoints/{file} {' '.join(others)}", others, [])
compare_tables("sweep/leaderboard.csv", old / "sweep/leaderboard.csv", new / "sweep/leaderboard.csv")
for precision in ("int8", "int4"):
    compare(f"{precision}.jsonl", (old / f"{precision}.jsonl").read_bytes(), (new / f"{precision}.jsonl").read_bytes())
print(f"{len(differences)} differ" if differences else "all the same")
sys.exit(bool(differences))
