"""A reward function as TRL's GRPOTrainer takes it: a number at once is worth most, words around it cost, and the right number earns as much again.

It knows of nothing but TRL's signature: `completions` are conversations, columns of the data set come as lists by name.
"""
import re


def brief(completions, answer, **columns):
    rewards = []
    for completion, solution in zip(completions, answer):
        text = completion[0]["content"].strip()
        numbers = re.findall(r"-?\d[\d,]*\.?\d*", text)
        gold = solution.split("####")[-1].strip().replace(",", "")
        right = bool(numbers) and numbers[-1].replace(",", "").rstrip(".") == gold
        form = max(0.0, 1.0 - max(0, len(text) - 8) / 100) if numbers else 0.0
        rewards.append(0.5 * form + 0.5 * right)
    return rewards
