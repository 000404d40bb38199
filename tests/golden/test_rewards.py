"""Holds the example judges against answers computed directly, with the real packages.

    python3 test_rewards.py

Needs the packages `trl` (for its rewards alone, without its dependencies: pip install --no-deps trl packaging) and
`reasoning-gym`.
"""
import json
import os
import subprocess
import sys
import tempfile

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples", "rewards")

try:
    import reasoning_gym
    from trl.rewards import think_format_reward
except ImportError as error:
    sys.exit(f"{error}: pip install --no-deps trl packaging; pip install reasoning-gym")


def run(words, text=""):
    command = [sys.executable, os.path.join(FOLDER, words[0]), *words[1:]]
    done = subprocess.run(command, input=text, capture_output=True, text=True, encoding="utf-8", timeout=300)
    return done.returncode, done.stdout, done.stderr


def judge(words, rows):
    """The answers to (prompt, response, row), in order."""
    lines = []
    for number, (prompt, response, row) in enumerate(rows):
        messages = [{"role": "user", "content": prompt}]
        asked = {"id": number + 1000, "messages": messages, "response": response, "row": row}
        lines.append(json.dumps(asked, ensure_ascii=number % 2 == 0) + "\n")
    code, output, errors = run(words, "".join(lines))
    assert code == 0, errors
    answers = [json.loads(line) for line in output.splitlines()]
    assert [answer.pop("id") for answer in answers] == list(range(1000, 1000 + len(rows)))
    return answers, errors


REWARDS = '''
import os
import helper

print("loaded")

def matches(completions, answer, **columns):
    print("called")
    os.system("echo from a child")
    assert all(len(column) == 1 for name, column in columns.items() if isinstance(column, list))
    return [helper.same(each[0]["content"], right) for each, right in zip(completions, answer)]

def messages(prompts, completions, log_metric, **columns):
    log_metric("length", 1.0)
    assert completions[0][0]["role"] == "assistant"
    return [len(prompts[0][-1]["content"]) + 100 * len(completions[0][0]["content"])]

def text(prompts, completions, trainer_state, log_extra, **columns):
    log_extra("seen", completions)
    return [len(prompts[0]) + 100 * len(completions[0])]

async def later(completions, **columns):
    return [0.5 for _ in completions]

def none(completions, **columns):
    return [None]

def wrong(completions, **columns):
    return [1, 2]

def nan(completions, **columns):
    return [float("nan")]

def raises(completions, missing, **columns):
    return [0]
'''


def check_trl():
    thoughts = ["<think>\nso\n</think>\nit is é", "<think>\nso\nit is", "", "<think></think>", "a <think>b</think>"]
    direct = think_format_reward([[{"role": "assistant", "content": text}] for text in thoughts])
    assert set(direct) == {0.0, 1.0}
    answers, _ = judge(["trl_reward.py", "trl.rewards:think_format_reward"], [("q", text, {}) for text in thoughts])
    assert answers == [{"reward": reward} for reward in direct], answers

    with tempfile.TemporaryDirectory() as folder:
        own = os.path.join(folder, "own.py")
        with open(own, "w") as file:
            file.write(REWARDS)
        with open(os.path.join(folder, "helper.py"), "w") as file:
            file.write("def same(a, b):\n    return a == b\n")
        right = ("été", "4", {"answer": "4", "prompt": "x", "more": [1]})
        rows = [right, ("q", "5\u2028", {"answer": "4", "more": None})]

        def one(name, *flags):
            return judge(["trl_reward.py", *flags, f"{own}:{name}"], rows)

        answers, errors = one("matches")
        assert answers == [{"reward": 1.0}, {"reward": 0.0}], answers
        assert all(errors.count(line) == count for line, count in [("loaded", 1), ("called", 2), ("from a child", 2)])
        assert one("messages")[0] == [{"reward": 103.0}, {"reward": 201.0}]
        assert one("text", "--text")[0] == [{"reward": 103.0}, {"reward": 201.0}]
        assert one("later")[0] == [{"reward": 0.5}] * 2
        assert one("none")[0] == [{"error": "ValueError: the function gave None: it does not apply to this row"}] * 2
        assert one("wrong")[0] == [{"error": "ValueError: the function gave 2 rewards for one completion"}] * 2
        assert "missing 1 required positional argument: 'missing'" in one("raises")[0][0]["error"]
        # Python's NaN is no JSON; the judge that reads it fails the row.
        code, output, _ = run(["trl_reward.py", f"{own}:nan"], '{"id": 3, "messages": [], "response": "", "row": {}}\n')
        assert (code, output) == (0, '{"id": 3, "reward": NaN}\n')
    code, output, errors = run(["trl_reward.py"])
    assert code == 1 and not output and "python3 trl_reward.py" in errors


def check_reasoning_gym(names):
    partial = 0
    for name in names:
        code, made, errors = run(["reasoning_gym_reward.py", "--make", name, "4", "7"])
        assert code == 0, errors
        rows = [json.loads(line) for line in made.splitlines()]
        entries = list(reasoning_gym.create_dataset(name, size=4, seed=7))
        assert [row["question"] for row in rows] == [entry["question"] for entry in entries]
        score = reasoning_gym.get_score_answer_fn(name)
        asked, direct = [], []
        for row, entry in zip(rows, entries):
            right = entry["answer"]
            for response, answer in [
                (right, right),
                (f"<think>so</think> <answer>0</answer>, no: <answer> {right}\n</answer>.", right),
                ("<answer>17</answer>", "17"),
                (f"it is {right}", f"it is {right}"),
                ("", ""),
            ]:
                asked.append((row["question"], response, row))
                direct.append({"reward": float(score(answer, entry))})
        answers, _ = judge(["reasoning_gym_reward.py"], asked)
        assert answers == direct, (name, answers, direct)
        assert all(answer == {"reward": 1.0} for answer in answers[::5]), (name, answers)
        partial += sum(0 < answer["reward"] < 1 for answer in answers)
    assert partial > 0
    rows = [("q", "4", {"metadata": {"source_dataset": "none"}}), ("q", "4", {})]
    answers, _ = judge(["reasoning_gym_reward.py"], rows)
    expected = ["ValueError: Dataset 'none' not registered", "KeyError: 'metadata'"]
    assert [answer["error"] for answer in answers] == expected, answers


def check_own():
    answers, _ = judge(["own_reward.py"], [("q", "é " * count, {}) for count in (0, 25, 50, 100)])
    assert answers == [{"reward": -1.0}, {"reward": -0.5}, {"reward": -0.0}, {"reward": -1.0}], answers


check_own()
check_trl()
check_reasoning_gym(["leg_counting", "chain_sum", "spell_backward", "countdown", "arc_agi", "number_sorting"])
print("the example judges give what the packages give")
