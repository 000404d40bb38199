"""Scores answers to tasks of the package `reasoning-gym` with its own scorers, and writes rows of such tasks.

    pip install reasoning-gym
    python3 reasoning_gym_reward.py --make leg_counting 100 > train.jsonl    writes 100 rows
    python3 reasoning_gym_reward.py                                          judges

After the number of rows there may be a seed; it is 0 otherwise. A row has `question`, `answer` and `metadata`, whose
`source_dataset` names the scorer. The answer is what stands between the last <answer> and </answer> of a response, and
the whole response if there is no such pair.
"""
import functools
import json
import os
import sys

try:
    import reasoning_gym
    from reasoning_gym.utils import extract_answer
except ImportError as error:
    sys.exit(f"{error}: pip install reasoning-gym")


def make(name, size, seed="0"):
    for entry in reasoning_gym.create_dataset(name, size=int(size), seed=int(seed)):
        print(json.dumps({key: entry[key] for key in ("question", "answer", "metadata")}))


# A scorer belongs to a data set, which takes a while to make.
scorer = functools.lru_cache(maxsize=None)(reasoning_gym.get_score_answer_fn)


def score(asked):
    row = asked["row"]
    answer = extract_answer(asked["response"])
    answer = asked["response"].strip() if answer is None else answer
    name = row["metadata"]["source_dataset"]
    if name in ("arc_agi", "rearc"):
        # These compare with a board of tuples, which JSON turns into lists.
        output = tuple(map(tuple, row["metadata"]["output"]))
        row = {**row, "metadata": {**row["metadata"], "output": output}}
    return float(scorer(name)(answer, row))


def main():
    # Answers have the output to themselves: whatever the package prints goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        try:
            answer = {"reward": score(asked)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({"id": asked["id"], **answer}), file=answers, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"] and len(sys.argv) in (4, 5):
        make(*sys.argv[2:])
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        main()
