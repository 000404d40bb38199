"""Serves a reward function written for TRL's trainers, such as `def reward(completions, **columns) -> list[float]`.

    python3 trl_reward.py my_rewards.py:reward              a function in a file
    python3 trl_reward.py trl.rewards:think_format_reward   a function in an installed module
    python3 trl_reward.py --text my_rewards.py:reward       a function that takes prompts and completions as plain text

The function is called as GRPOTrainer calls it, with one row at a time: `completions` is [[{"role": "assistant",
"content": "..."}]], `prompts` a list of one list of messages, and each column of the row a list of one. There are no
`completion_ids` and no training: `trainer_state` is None, and what is logged is dropped. A None, with which a function
says that it does not apply to a row, fails that row.
"""
import asyncio
import importlib
import importlib.util
import inspect
import json
import os
import sys


# What the trainer passes on its own account and not as columns.
OWN = ("prompt", "completion", "completion_ids")


def load(name):
    module, _, function = name.rpartition(":")
    if not module.endswith(".py"):
        return getattr(importlib.import_module(module), function)
    sys.path.insert(0, os.path.dirname(os.path.abspath(module)))
    spec = importlib.util.spec_from_file_location("rewards", module)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules["rewards"] = loaded
    spec.loader.exec_module(loaded)
    return getattr(loaded, function)


def score(function, asked, as_text):
    prompt, completion = asked["messages"], [{"role": "assistant", "content": asked["response"]}]
    if as_text:
        prompt, completion = prompt[-1]["content"], asked["response"]
    columns = {key: [value] for key, value in asked["row"].items() if key not in OWN}
    trainer = {"trainer_state": None, "log_extra": lambda *_: None, "log_metric": lambda *_: None}
    rewards = function(prompts=[prompt], completions=[completion], **{**columns, **trainer})
    if inspect.isawaitable(rewards):
        rewards = asyncio.run(rewards)
    if len(rewards) != 1:
        raise ValueError(f"the function gave {len(rewards)} rewards for one completion")
    if rewards[0] is None:
        raise ValueError("the function gave None: it does not apply to this row")
    return float(rewards[0])


def main():
    as_text = "--text" in sys.argv[1:]
    names = [word for word in sys.argv[1:] if word != "--text"]
    if len(names) != 1 or ":" not in names[0]:
        sys.exit(__doc__)
    # Answers have the output to themselves: whatever the function prints goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    function = load(names[0])
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        try:
            answer = {"reward": score(function, asked, as_text)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({"id": asked["id"], **answer}), file=answers, flush=True)


if __name__ == "__main__":
    main()
