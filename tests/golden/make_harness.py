"""Writes fixtures/harness: what EleutherAI's lm-evaluation-harness finds of a tiny model and of an adapter on it, for `essa eval`.

The harness loads the model in float32 and the adapter by transformers and peft, and evaluates two tasks as it evaluates its own: sums, of which the
last number of the greedy text must be right, and the same questions with four answers, of which the right one must be the most probable. Both go
through the model's chat template. Of each row the fixture has the harness's text or logarithms and its verdict.

The model is a Llama with a tokenizer of bytes that has learned other sums a little, so that some answers are right and some are not. The adapter is one
that this project exported: with `--train ESSA` the model is made anew, and the program ESSA makes the adapter, by `essa warm-start`.

    python make_harness.py [--train ESSA]      (environment: requirements-harness.txt)
"""

import argparse
import json
import random
import subprocess
import tempfile
from pathlib import Path

from reference import FIXTURES, deterministic, write_json

import lm_eval
import peft
import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

FOLDER = FIXTURES / "harness"
ROWS, NEW_TOKENS = 40, 20
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# The harness's tasks, as its YAML files have them.
SUMS = {
    "task": "sums",
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": [END], "do_sample": False, "max_gen_toks": NEW_TOKENS},
    "filter_list": [
        {
            "name": "last number",
            "filter": [{"function": "regex", "regex_pattern": r"(-?\d+)", "group_select": -1}, {"function": "take_first"}],
        }
    ],
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}
CHOICES = {
    "task": "choices",
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "{{right}}",
    "metric_list": [
        {"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", metavar="ESSA")
    arguments = parser.parse_args()
    deterministic()
    FOLDER.mkdir(exist_ok=True)
    rows = sum_rows(random.Random(20261128))
    (FOLDER / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:ROWS]))
    if arguments.train:
        train_model(rows[ROWS:])
        train_adapter(arguments.train, rows[ROWS:])
    model = {"pretrained": str(FOLDER / "model"), "dtype": "float32"}
    versions = {module.__name__: module.__version__ for module in (lm_eval, torch, transformers, peft)}
    found = {"versions": versions, "max_new_tokens": NEW_TOKENS}
    for name, extra in [("base", {}), ("adapter", {"peft": str(FOLDER / "adapter")})]:
        found[name] = evaluated(model | extra)
        print(name, found[name]["scores"], flush=True)
    write_json(FOLDER / "verdicts.json", found, indent_to=3)


def evaluated(model: dict) -> dict:
    """What the harness finds, row by row."""
    rows = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(FOLDER / "rows.jsonl")}}, "test_split": "test"}
    result = lm_eval.simple_evaluate(
        model="hf", model_args=model, tasks=[SUMS | rows, CHOICES | rows], device="cpu", batch_size=1, apply_chat_template=True,
        log_samples=True, bootstrap_iters=0,
    )  # fmt: skip
    samples = {name: sorted(own, key=lambda one: one["doc_id"]) for name, own in result["samples"].items()}
    sums = [
        {"response": one["resps"][0][0], "number": one["filtered_resps"][0], "correct": bool(one["exact_match"])}
        for one in samples["sums"]
    ]
    choices = [
        {
            "logarithms": [round(float(answer[0]), 6) for answer in one["filtered_resps"]],
            "correct": bool(one["acc"]),
            "correct_norm": bool(one["acc_norm"]),
        }
        for one in samples["choices"]
    ]
    scores = {
        "sums": result["results"]["sums"]["exact_match,last number"],
        "choices": result["results"]["choices"]["acc,none"],
        "choices_norm": result["results"]["choices"]["acc_norm,none"],
    }
    return {"scores": scores, "sums": sums, "choices": choices}


def sum_rows(rng: random.Random) -> list[dict]:
    """All sums of two digits, shuffled, each with four answers of different lengths."""
    rows = []
    for a in range(10):
        for b in range(10):
            wrong = [answer(a + b + 1), answer(a + b + 10), "I do not know."]
            right = rng.randrange(4)
            choices = wrong[:right] + [answer(a + b)] + wrong[right:]
            question = f"What is {a} plus {b}?"
            rows.append({"question": question, "answer": str(a + b), "choices": choices, "right": right, "larger": max(a, b) > 4})
    rng.shuffle(rows)
    return rows


def answer(number: int) -> str:
    return f"The answer is {number}."


def train_model(rows: list[dict]) -> None:
    """A model that has learned the form of the answer and something of the sums."""
    table = list(decoders_of_bytes())
    bpe = Tokenizer(models.BPE(vocab={char: index for index, char in enumerate(table)}, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens([AddedToken(token, normalized=False) for token in (PAD, START, END)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, chat_template=TEMPLATE, eos_token=END, pad_token=PAD)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=256, tie_word_embeddings=True, bos_token_id=None, eos_token_id=258, pad_token_id=256,
    )  # fmt: skip
    torch.manual_seed(20261128)
    torch.set_grad_enabled(True)
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    ids, labels = [], []
    for row in rows:
        chat = [{"role": "user", "content": row["question"]}]
        prompt = tokenizer(tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)).input_ids
        said = tokenizer(answer(int(row["answer"])) + END).input_ids
        ids.append(prompt + said)
        labels.append([-100] * len(prompt) + said)
    width = max(map(len, ids))
    ids = torch.tensor([row + [256] * (width - len(row)) for row in ids])
    labels = torch.tensor([row + [-100] * (width - len(row)) for row in labels])
    for step in range(160):
        loss = model(ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            print(f"step {step} loss {loss.item():.3f}", flush=True)
    torch.set_grad_enabled(False)
    model.to(torch.bfloat16).save_pretrained(FOLDER / "model")
    tokenizer.save_pretrained(FOLDER / "model")


def decoders_of_bytes():
    """The characters by which a byte-level tokenizer writes the bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    extra = iter(range(256, 512))
    return (chr(byte) if byte in plain else chr(next(extra)) for byte in range(256))


def train_adapter(essa: str, rows: list[dict]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        texts = "".join(json.dumps({"prompt": row["question"], "completion": f"It is {row['answer']}."}) + "\n" for row in rows)
        (Path(folder) / "rows.jsonl").write_text(texts)
        config = f"""
[model]
path = '{FOLDER / "model"}'
[data]
train = 'rows.jsonl'
[lora]
r = 4
[training]
learning_rate = 0.005
max_steps = 150
batch_size = 16
"""
        (Path(folder) / "sft.toml").write_text(config)
        subprocess.run([essa, "warm-start", "sft.toml", "--out", "sft"], cwd=folder, check=True, capture_output=True)
        (FOLDER / "adapter").mkdir(exist_ok=True)
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            (FOLDER / "adapter" / name).write_bytes((Path(folder) / "sft" / "adapter" / name).read_bytes())
    config = json.loads((FOLDER / "adapter" / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "golden/harness"
    (FOLDER / "adapter" / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main()
