"""Writes fixtures/families/<case>/: a tiny random model of every family, with the answers of transformers and peft.

A case is a model folder as transformers 5 saves it, `reference.json`, and a LoRA on every matrix with `adapter_reference.json`.
Some have `config.v4.json`, the same model described the way transformers 4 did, and some `model.gguf`, the same as a GGUF file. Windows are shorter than the prompts, there are
several layers of each kind, and no scale is one that could be left out unseen: `check_that_it_matters` changes each setting
that makes the family another one and wants other answers.

    python make_families.py [case ...]
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from make import check_merged, close, fill, load, load_adapter, lora_layers, sort_json
from make_gguf import interleaved
from reference import FIXTURES, deterministic, generator, items, logprobs, normal, write_json

import gguf
import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig
from transformers.utils import logging

logging.disable_progress_bar()

VOCAB = 64
GREEDY = 12
COMMON = dict(
    vocab_size=VOCAB, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=0,
)  # fmt: skip
HEADS_OF_THEIR_OWN = dict(num_attention_heads=4, num_key_value_heads=2, head_dim=12)
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
# The settings, and values of some of them that must change the answers.
CASES = {
    "mistral": (
        dict(model_type="mistral", sliding_window=21, rms_norm_eps=1e-5, rope_parameters=ROPE),
        dict(sliding_window=22),
    ),
    "qwen3": (
        dict(model_type="qwen3", num_hidden_layers=3, **HEADS_OF_THEIR_OWN, use_sliding_window=True, sliding_window=9,
             max_window_layers=1, rope_parameters={**ROPE, "rope_theta": 1000000.0}, tie_word_embeddings=True),
        dict(use_sliding_window=False, sliding_window=10, max_window_layers=2),
    ),
    # As Qwen3's small models are: no window, and the head is the embedding.
    "qwen3-full": (
        dict(model_type="qwen3", **HEADS_OF_THEIR_OWN, rope_parameters={**ROPE, "rope_theta": 1000000.0},
             tie_word_embeddings=True),
        dict(),
    ),
    # Positions for contexts four times as long: one of the frequencies is kept, some are slowed in part, the others wholly.
    "qwen3-yarn": (
        dict(model_type="qwen3", **HEADS_OF_THEIR_OWN, tie_word_embeddings=True,
             rope_parameters={"rope_type": "yarn", "factor": 4.0, "rope_theta": 1000.0,
                              "original_max_position_embeddings": 64}),
        dict(rope_parameters={"rope_type": "yarn", "factor": 2.0, "rope_theta": 1000.0,
                              "original_max_position_embeddings": 64}),
    ),
    "gemma2": (
        dict(model_type="gemma2", num_hidden_layers=4, **HEADS_OF_THEIR_OWN, sliding_window=7, query_pre_attn_scalar=20,
             attn_logit_softcapping=3.0, final_logit_softcapping=6.0, rope_parameters=ROPE),
        dict(sliding_window=8, query_pre_attn_scalar=12, attn_logit_softcapping=None, final_logit_softcapping=None,
             hidden_activation="silu"),
    ),
    "gemma3": (
        dict(model_type="gemma3_text", num_hidden_layers=4, **HEADS_OF_THEIR_OWN, sliding_window=7,
             query_pre_attn_scalar=20, final_logit_softcapping=6.0,
             layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
             rope_parameters={"full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1000000.0},
                              "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0}}),
        dict(sliding_window=8, query_pre_attn_scalar=12, final_logit_softcapping=None,
             layer_types=["full_attention", "sliding_attention", "full_attention", "sliding_attention"],
             rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
                              "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0}}),
    ),
    "phi3": (
        dict(model_type="phi3", hidden_size=32, sliding_window=19, rms_norm_eps=1e-5, rope_parameters=ROPE),
        dict(sliding_window=20),
    ),
    # As Phi-4-mini: part of a head is turned, and positions are scaled for long contexts.
    "phi4-mini": (
        dict(model_type="phi3", hidden_size=32, rms_norm_eps=1e-5, max_position_embeddings=512,
             original_max_position_embeddings=128, tie_word_embeddings=True,
             rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75,
                              "short_factor": [1.0, 1.25, 2.0], "long_factor": [1.0, 4.0, 8.0]}),
        dict(max_position_embeddings=256),
    ),
    "smollm3": (
        dict(model_type="smollm3", num_hidden_layers=4, no_rope_layer_interval=2, rope_parameters=ROPE),
        dict(no_rope_layers=[1, 1, 1, 1]),
    ),
    "olmo2": (
        dict(model_type="olmo2", num_hidden_layers=2, rope_parameters={**ROPE, "rope_theta": 500000.0}),
        dict(),
    ),
    "granite": (
        dict(model_type="granite", embedding_multiplier=3.0, attention_multiplier=0.2, residual_multiplier=0.4,
             logits_scaling=1.5, attention_bias=True, mlp_bias=True, rope_parameters=ROPE),
        dict(embedding_multiplier=1.0, attention_multiplier=0.35, residual_multiplier=1.0, logits_scaling=1.0),
    ),
    "glm4": (
        dict(model_type="glm4", head_dim=12, attention_bias=True, rms_norm_eps=1.5625e-7,
             rope_parameters={**ROPE, "partial_rotary_factor": 0.5}),
        dict(rope_parameters={**ROPE, "partial_rotary_factor": 1.0}),
    ),
}  # fmt: skip
# What transformers 4 wrote in another way: keys that go, and keys that come.
V4 = {
    "qwen3-yarn": (
        ["rope_parameters", "layer_types"],
        dict(rope_theta=1000.0, rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}),
    ),
    "mistral": (["rope_parameters", "dtype"], dict(rope_theta=10000.0, torch_dtype="bfloat16")),
    "gemma2": (
        ["rope_parameters", "layer_types", "dtype"],
        dict(rope_theta=10000.0, torch_dtype="bfloat16", hidden_act="gelu_pytorch_tanh", cache_implementation="hybrid"),
    ),
    "gemma3": (
        ["rope_parameters", "layer_types", "_sliding_window_pattern"],
        dict(rope_theta=1000000.0, rope_local_base_freq=1000.0, sliding_window_pattern=3,
             rope_scaling={"rope_type": "linear", "factor": 4.0}),
    ),
    "phi4-mini": (
        ["rope_parameters"],
        dict(rope_theta=10000.0, partial_rotary_factor=0.75, attention_bias=False,
             rope_scaling={"type": "longrope", "short_factor": [1.0, 1.25, 2.0], "long_factor": [1.0, 4.0, 8.0]}),
    ),
    "smollm3": (["rope_parameters", "layer_types"], dict(rope_theta=10000.0, rope_scaling=None)),
    "glm4": (["rope_parameters"], dict(rope_theta=10000.0, partial_rotary_factor=0.5)),
}  # fmt: skip
# Those that have a GGUF file too, and its keys that stand under another name in config.json.
GGUF = {
    "qwen3-full": {},
    "phi3": {"attention.sliding_window": "sliding_window"},
    "olmo2": {},
    "granite": {"attention.scale": "attention_multiplier", "embedding_scale": "embedding_multiplier",
                "residual_scale": "residual_multiplier", "logit_scale": "logits_scaling"},
    "glm4": {},
}  # fmt: skip
LINEAR = ["q_proj", "k_proj", "v_proj", "qkv_proj", "o_proj", "gate_proj", "up_proj", "gate_up_proj", "down_proj"]


def main() -> None:
    deterministic()
    for name in sys.argv[1:] or CASES:
        make_case(name)


def make_case(name: str) -> None:
    folder = FIXTURES / "families" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pairs = prompts_and_completions(name)
    spec = {**COMMON, **CASES[name][0]}
    config = AutoConfig.for_model(spec.pop("model_type"), **spec)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)

    def attempt(number: int) -> list[dict]:
        make_weights(name, model, number)
        return items(model, pairs, GREEDY)

    answers = without_ties(attempt)
    close(model, twice_as_exact(model), pairs)
    model = model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2)
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    assert items(load(folder), pairs, GREEDY) == answers, "the saved model is another model"
    write_json(folder / "reference.json", answers)
    check_that_it_matters(name, folder, pairs, answers)
    if name in V4:
        write_v4(name, folder, pairs)

    names = {key.split(".")[-2] for key, _ in load(folder).named_parameters()}
    modules = [module for module in LINEAR if module in names]
    lora = LoraConfig(r=2, lora_alpha=3, target_modules=modules, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM")
    write_adapter(name, folder, lora, pairs)
    if name in GGUF:
        write_gguf(name, folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{name}: {size / 1e3:.0f} KB")


def without_ties(attempt) -> list[dict]:
    """The first attempt whose greedy paths are varied and never near a tie, so that kernel rounding cannot fork them."""
    for number in range(1000):
        answers = attempt(number)
        if min(item["greedy_lead"] for item in answers) > 3e-3 and min(len(set(item["greedy_ids"])) for item in answers) > 3:
            return answers
    raise RuntimeError("no attempt is free of ties")


def write_adapter(name: str, folder: Path, config: LoraConfig, pairs) -> None:
    base = load(folder)
    base.config._name_or_path = base.name_or_path = f"golden/{name}"
    model = get_peft_model(base, config).eval()

    def attempt(number: int) -> list[dict]:
        for key, layer in lora_layers(model):
            rng = generator("families", name, "adapter", str(number), key)
            for matrix, scale in [(layer.lora_A["default"].weight, 0.1), (layer.lora_B["default"].weight, 0.1)]:
                matrix.copy_(torch.from_numpy(scale * normal(rng, *matrix.shape)).float())
        return items(model, pairs, GREEDY)

    answers = without_ties(attempt)
    model.save_pretrained(folder / "adapter", save_embedding_layers=False)
    (folder / "adapter" / "README.md").unlink(missing_ok=True)
    (folder / "adapter" / "adapter_model.safetensors").chmod(0o644)
    sort_json(folder / "adapter" / "adapter_config.json")
    model = load_adapter(folder, "adapter")
    check_merged(folder, model, pairs)
    assert items(model, pairs, GREEDY) == answers, "the saved adapter is another adapter"
    write_json(folder / "adapter_reference.json", answers)


def twice_as_exact(model):
    """The same model in double precision."""
    double = AutoModelForCausalLM.from_config(model.config, attn_implementation="eager", dtype=torch.float32)
    double.load_state_dict(model.state_dict())
    return double.double().eval()


def make_weights(name: str, model, number: int) -> None:
    fill_all(name, model, generator("families", name, "weights", str(number)))
    for tensor in model.parameters():
        tensor.copy_(tensor.bfloat16())


def fill_all(name: str, model, rng) -> None:
    """As the other tiny models, and what only these have: fused matrices, and norms that count from 1. A Gemma's embedding, which is
    its head too, is small beside what the blocks add to it; otherwise every token would be followed by itself."""
    fill(Renamed(model, {"qkv_proj": "q_proj", "gate_up_proj": "gate_proj"}), rng)
    if name.startswith("gemma"):
        for key, tensor in model.named_parameters():
            if "embed_tokens" in key:
                tensor.mul_(0.35)
            elif key == "model.norm.weight":
                tensor.mul_(3).sub_(1)
            elif "norm" in key:
                tensor.mul_(1.5 if "post_" in key else 1).sub_(1)


class Renamed:
    """A model whose parameters go by other names."""

    def __init__(self, model, names: dict[str, str]):
        self.model, self.names = model, names

    def named_parameters(self):
        for key, tensor in self.model.named_parameters():
            for own, other in self.names.items():
                key = key.replace(own, other)
            yield key, tensor


def prompts_and_completions(name: str) -> list[tuple[list[int], list[int]]]:
    rng = generator("families", name, "tokens")
    draw = lambda count: [int(token) for token in rng.integers(3, VOCAB, count)]
    prompts = [draw(count) for count in [1, 18, 50]]
    prompts.append(prompts[2][:20] + draw(11))
    return [(prompt, draw(count)) for prompt, count in zip(prompts, [24, 8, 12, 9])]


def check_that_it_matters(name: str, folder: Path, pairs, answers) -> None:
    for key, value in CASES[name][1].items():
        with tempfile.TemporaryDirectory() as scratch:
            shutil.copy(folder / "model.safetensors", scratch)
            config = json.loads((folder / "config.json").read_text())
            config[key] = value
            if key in ["use_sliding_window", "max_window_layers", "no_rope_layers"]:
                config.pop("layer_types", None)
            (Path(scratch) / "config.json").write_text(json.dumps(config))
            model = load(Path(scratch))
            found = [value for pair in pairs for value in logprobs(model, *pair)]
        expected = [value for item in answers for value in item["logprobs"]]
        difference = max(abs(a - b) for a, b in zip(found, expected, strict=True))
        assert difference > 1e-2, f"{name}: {key} = {value} changes nothing ({difference})"


def write_gguf(name: str, folder: Path) -> None:
    """As llama.cpp's converter writes it: names by its map, and Granite's rows of q and k in interleaved rotary pairs."""
    config = json.loads((folder / "config.json").read_text())
    arch, heads, kv_heads = config["model_type"], config["num_attention_heads"], config["num_key_value_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    writer = gguf.GGUFWriter(folder / "model.gguf", arch)
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(int(head_dim * config["rope_parameters"].get("partial_rotary_factor", 1.0)))
    writer.add_vocab_size(config["vocab_size"])
    writer.add_eos_token_id(config["eos_token_id"])
    if "head_dim" in config:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    for key, own in GGUF[name].items():
        add = writer.add_uint32 if isinstance(config[own], int) else writer.add_float32
        add(f"{arch}.{key}", config[own])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[arch.upper()], config["num_hidden_layers"])
    for key, tensor in load(folder).state_dict().items():
        if key == "lm_head.weight" and config["tie_word_embeddings"]:
            continue
        values = tensor.numpy()
        for matrix, count in [("q_proj", heads), ("k_proj", kv_heads)]:
            if arch == "granite" and f".{matrix}." in key:
                values = interleaved(values.reshape(len(values), -1), count).reshape(values.shape)
        own = names.get_name(key, try_suffixes=(".weight", ".bias"))
        if values.ndim == 1:
            writer.add_tensor(own, values.astype(np.float32))
        else:
            raw = gguf.quants.quantize(values, gguf.GGMLQuantizationType.BF16)
            writer.add_tensor(own, raw, raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_v4(name: str, folder: Path, pairs) -> None:
    gone, come = V4[name]
    config = json.loads((folder / "config.json").read_text())
    config = {key: value for key, value in config.items() if key not in gone} | come
    config["transformers_version"] = "4.53.0"
    write_json(folder / "config.v4.json", dict(sorted(config.items())), indent_to=1)
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copy(folder / "model.safetensors", scratch)
        shutil.copy(folder / "config.v4.json", Path(scratch) / "config.json")
        ids = torch.arange(3, 63)[None]
        assert torch.equal(load(Path(scratch))(ids).logits, load(folder)(ids).logits), "config.v4.json is another model"


if __name__ == "__main__":
    main()
