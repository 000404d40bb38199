"""Writes fixtures/peft_exports.json: the directories that peft itself writes for LoRAs on one of the tiny models.

Of every case the fixture has `adapter_config.json` and the name, type and shape of every tensor; `defaults` is the config
of a LoRA of which nothing was said, so what a config leaves out means that. An export of ours has to be such a directory.

    python make_peft.py      (after make.py)
"""

import json
import tempfile
from pathlib import Path

from make import load
from reference import FIXTURES, deterministic, write_json

import peft
from peft import LoraConfig, get_peft_model
from safetensors import safe_open

MODEL = "qwen2-tied-gqa3"
EVERY = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# By name: rank, matrices, and the layers that have them, if not all.
CASES = {
    "attention": (4, ["q_proj", "k_proj", "v_proj", "o_proj"], None),
    "every matrix": (3, EVERY, None),
    "two matrices": (2, ["q_proj", "down_proj"], None),
    "one matrix": (5, ["up_proj"], None),
    "the second layer": (2, ["v_proj", "gate_proj"], [1]),
}


def main() -> None:
    deterministic()
    cases = {}
    for name, (rank, modules, layers) in CASES.items():
        config = LoraConfig(
            r=rank, lora_alpha=rank, target_modules=modules, layers_to_transform=layers, lora_dropout=0.0, bias="none",
            task_type="CAUSAL_LM",
        )  # fmt: skip
        base = load(FIXTURES / MODEL)
        base.config._name_or_path = base.name_or_path = f"golden/{MODEL}"
        with tempfile.TemporaryDirectory() as scratch:
            get_peft_model(base, config).save_pretrained(scratch, save_embedding_layers=False)
            with safe_open(Path(scratch) / "adapter_model.safetensors", "numpy") as file:
                slices = {key: file.get_slice(key) for key in sorted(file.keys())}
                tensors = {key: [part.get_dtype(), part.get_shape()] for key, part in slices.items()}
                metadata = file.metadata()
            cases[name] = {
                "rank": rank, "modules": modules, "layers": layers, "config": read(scratch), "metadata": metadata,
                "tensors": tensors,
            }  # fmt: skip
        print(f"{name}: {len(tensors)} tensors")
    with tempfile.TemporaryDirectory() as scratch:
        LoraConfig().save_pretrained(scratch)
        defaults = read(scratch)
    answer = {"peft_version": peft.__version__, "model": MODEL, "defaults": defaults, "cases": cases}
    write_json(FIXTURES / "peft_exports.json", answer, indent_to=4)


def read(folder: str) -> dict:
    """peft writes sets in hash order, which differs between processes."""
    config = json.loads((Path(folder) / "adapter_config.json").read_text())
    if config["target_modules"] is not None:
        config["target_modules"] = sorted(config["target_modules"])
    return dict(sorted(config.items()))


if __name__ == "__main__":
    main()
