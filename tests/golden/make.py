"""Writes fixtures/<case>/: tiny random models and adapters, with the answers of transformers and peft.

A case is a model folder as transformers 5 saves it, `config.v4.json` (the same model described the
way transformers 4 did), and `reference.json`. Two cases also carry PEFT adapters with references,
adapters with shifted singular values, one carries spectral offsets of the base weights, and one the exact
probabilities of everything that it may write in three tokens under a sampler's settings (`sampling.json`).
Every file is checked against a second way to the same numbers before it is kept:
the v4 config must load to equal logits, and adapters must equal weights merged in float64.

    python make.py [case ...]
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from reference import FIXTURES, deterministic, generator, items, logprobs, normal, rounded, write_json

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    LlamaConfig,
    LogitsProcessorList,
    Qwen2Config,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.utils import logging

logging.disable_progress_bar()

VOCAB = 128
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
COMMON = dict(
    vocab_size=VOCAB, hidden_size=48, intermediate_size=80, num_hidden_layers=2,
    max_position_embeddings=256, bos_token_id=1, eos_token_id=2,
)  # fmt: skip

# The two cases that also hold a GGUF file and adapters are a little smaller, to keep folders small.
CASES = {
    "llama-tied-gqa1": dict(
        model_type="llama", num_attention_heads=4, num_key_value_heads=4, rms_norm_eps=1e-5,
        rope_theta=100000.0, tie_word_embeddings=True,
    ),
    "llama-untied-gqa3": dict(
        model_type="llama", hidden_size=36, intermediate_size=64, num_attention_heads=6, num_key_value_heads=2,
        head_dim=8, rms_norm_eps=1e-5, rope_theta=10000.0, tie_word_embeddings=False,
    ),
    "llama-rope3-gqa4": dict(
        model_type="llama", num_attention_heads=4, num_key_value_heads=1, head_dim=16, rms_norm_eps=1e-5,
        rope_theta=500000.0, tie_word_embeddings=False,
        # Wavelengths 6.3 (kept), 32 (between) and 167 and longer (divided by the factor).
        rope_scaling=dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
                          original_max_position_embeddings=64),
    ),
    "llama-sharded": dict(
        model_type="llama", num_attention_heads=6, num_key_value_heads=3, head_dim=8, rms_norm_eps=1e-6,
        rope_theta=10000.0, tie_word_embeddings=False,
    ),
    "qwen2-tied-gqa3": dict(
        model_type="qwen2", intermediate_size=56, num_attention_heads=6, num_key_value_heads=2,
        rms_norm_eps=1e-6, rope_theta=1000000.0, tie_word_embeddings=True,
    ),
    "qwen2-untied-gqa4": dict(
        model_type="qwen2", hidden_size=64, num_attention_heads=8, num_key_value_heads=2,
        rms_norm_eps=1e-6, rope_theta=1000000.0, tie_word_embeddings=False,
    ),
    # The heads of Qwen2.5-0.5B, and texts of some 450 tokens.
    "qwen2-tied-gqa7": dict(
        model_type="qwen2", hidden_size=112, intermediate_size=32, num_attention_heads=14, num_key_value_heads=2,
        max_position_embeddings=512, rms_norm_eps=1e-6, rope_theta=1000000.0, tie_word_embeddings=True,
    ),
}  # fmt: skip
BF16 = {"qwen2-untied-gqa4", "qwen2-tied-gqa7"}
SHARDED = {"llama-sharded"}
ADAPTED = {"llama-untied-gqa3", "qwen2-tied-gqa3"}
SPECTRAL = {"qwen2-tied-gqa3"}
LONG = {"qwen2-tied-gqa7"}
SAMPLED = {"qwen2-tied-gqa7"}
# At temperature 1 by rank, by mass and by both, and once at another temperature.
SAMPLERS = [
    dict(temperature=1.0, top_k=4, top_p=1.0),
    dict(temperature=1.0, top_k=0, top_p=0.6),
    dict(temperature=1.0, top_k=6, top_p=0.9),
    dict(temperature=0.7, top_k=5, top_p=0.95),
]
GENERATION = {
    "llama-rope3-gqa4": dict(eos_token_id=[2, 7, 11], do_sample=True, temperature=0.6, top_p=0.9),
    "qwen2-untied-gqa4": dict(
        eos_token_id=[5, 3], pad_token_id=3, do_sample=True, temperature=0.7, top_k=20, top_p=0.8,
        repetition_penalty=1.05,
    ),
}  # fmt: skip


def main() -> None:
    deterministic()
    for name in sys.argv[1:] or CASES:
        make_case(name)


def make_case(name: str) -> None:
    folder = FIXTURES / name
    for old in ["adapter", "adapter-rank-pattern"]:
        shutil.rmtree(folder / old, ignore_errors=True)
    for old in [*folder.glob("*.json"), *folder.glob("*.safetensors")]:
        old.unlink()

    pairs = prompts_and_completions(name)
    answers = write_model(name, folder, pairs)
    model = load(folder)
    check_v4(folder, model)
    assert items(model, pairs) == answers, "the saved model is another model"
    write_json(folder / "reference.json", answers)
    if name in ADAPTED:
        write_adapter(name, folder, pairs)
        write_rank_pattern(name, folder, pairs)
        for number in [1, 2]:
            write_shifted(name, folder, pairs, number)
    if name in SPECTRAL:
        write_spectral(name, folder, pairs)
    if name in SAMPLED:
        write_sampling(name, folder)
    report(name, folder)


# ---- the model folder ------------------------------------------------------------------------


def write_model(name: str, folder: Path, pairs) -> list[dict]:
    spec = {**COMMON, **CASES[name]}
    kind = spec.pop("model_type")
    rope = {"rope_theta": spec.pop("rope_theta"), **spec.pop("rope_scaling", {"rope_type": "default"})}
    config = {"llama": LlamaConfig, "qwen2": Qwen2Config}[kind](**spec, rope_parameters=rope)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)

    def attempt(number: int) -> list[dict]:
        fill(model, generator(name, "weights", str(number)))
        if name in BF16:
            for tensor in model.parameters():
                tensor.copy_(tensor.bfloat16())
        return items(model, pairs)

    answers = without_ties(attempt)
    if name in BF16:
        model = model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(**{"bos_token_id": 1, "eos_token_id": 2, **GENERATION.get(name, {})})
    model.save_pretrained(folder, max_shard_size="110KB" if name in SHARDED else "10MB")
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)
    write_json(folder / "config.v4.json", v4_config(name), indent_to=1)
    return answers


def without_ties(attempt) -> list[dict]:
    """The first attempt whose greedy paths are varied and never near a tie, so that kernel rounding cannot fork them."""
    for number in range(1000):
        answers = attempt(number)
        lead = min(item["greedy_lead"] for item in answers)
        variety = min(len(set(item["greedy_ids"])) for item in answers)
        if lead > 0.01 and variety >= 5:
            return answers
    raise RuntimeError("no attempt is free of ties")


def fill(model, rng: np.random.Generator) -> None:
    """Weights large enough that logits are not flat and that attention looks at some places more than at others."""
    scale = {"q_proj": 0.2, "k_proj": 0.2, "v_proj": 0.2, "o_proj": 0.25, "gate_proj": 0.2, "up_proj": 0.2,
             "down_proj": 0.25, "embed_tokens": 0.3, "lm_head": 0.3}  # fmt: skip
    for key, tensor in model.named_parameters():
        module, leaf = key.split(".")[-2:]
        noise = normal(rng, *tensor.shape)
        if "norm" in module:
            value = 1 + 0.2 * noise
        elif leaf == "bias":
            value = 0.4 * noise
        else:
            value = scale[module] * noise
        tensor.copy_(torch.from_numpy(value).float())


def v4_config(name: str) -> dict:
    """What transformers 4 wrote: rope on the top level, `torch_dtype`, no layer types."""
    spec = {**COMMON, **CASES[name]}
    common = {
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": spec["hidden_size"],
        "initializer_range": 0.02,
        "intermediate_size": spec["intermediate_size"],
        "max_position_embeddings": spec["max_position_embeddings"],
        "num_attention_heads": spec["num_attention_heads"],
        "num_hidden_layers": spec["num_hidden_layers"],
        "num_key_value_heads": spec["num_key_value_heads"],
        "rms_norm_eps": spec["rms_norm_eps"],
        "rope_theta": spec["rope_theta"],
        "tie_word_embeddings": spec["tie_word_embeddings"],
        "torch_dtype": "bfloat16" if name in BF16 else "float32",
        "use_cache": True,
        "vocab_size": spec["vocab_size"],
    }
    if spec["model_type"] == "qwen2":
        # Qwen2.5 configs carry a sliding window that is switched off, and no head_dim.
        own = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "max_window_layers": 2,
               "sliding_window": 64, "use_sliding_window": False, "transformers_version": "4.43.1"}  # fmt: skip
    else:
        own = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": False,
               "mlp_bias": False, "pretraining_tp": 1, "rope_scaling": spec.get("rope_scaling"),
               "transformers_version": "4.45.2"}  # fmt: skip
        if "head_dim" in spec:
            own["head_dim"] = spec["head_dim"]
    return dict(sorted({**common, **own}.items()))


def load(folder: Path):
    """Weights as stored, arithmetic in float32."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def check_v4(folder: Path, model) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for path in folder.glob("model*"):
            shutil.copy(path, scratch)
        shutil.copy(folder / "config.v4.json", Path(scratch) / "config.json")
        ids = torch.arange(3, 93)[None]
        assert torch.equal(load(Path(scratch))(ids).logits, model(ids).logits), "config.v4.json is another model"


def prompts_and_completions(name: str) -> list[tuple[list[int], list[int]]]:
    """Four lengths, and a fifth prompt that shares the first 20 tokens of the third. Ids 0 to 2 are special."""
    rng = generator(name, "tokens")
    draw = lambda count: [int(token) for token in rng.integers(3, VOCAB, count)]
    if name in LONG:
        # One is scored from its first token on, two begin with the same 200 tokens.
        prompts = [draw(count) for count in [1, 130, 440]]
        prompts.append(prompts[2][:200] + draw(43))
        return [(prompt, draw(count)) for prompt, count in zip(prompts, [448, 14, 14, 12])]
    prompts = [draw(count) for count in [1, 7, 23, 60]]
    prompts.append(prompts[2][:20] + draw(11))
    return [(prompt, draw(count)) for prompt, count in zip(prompts, [12, 12, 9, 14, 12])]


# ---- adapters --------------------------------------------------------------------------------


def write_adapter(name: str, folder: Path, pairs) -> None:
    config = LoraConfig(r=4, lora_alpha=8, target_modules=ATTENTION, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM")
    save_adapter(name, folder, "adapter", config, pairs)


def write_rank_pattern(name: str, folder: Path, pairs) -> None:
    """Modules differ in rank and in alpha. The keys of a pattern are matched as `(.*\\.)?KEY$`, first match wins."""
    config = LoraConfig(
        r=4, lora_alpha=8, target_modules=ATTENTION, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM",
        rank_pattern={"model.layers.1.self_attn.q_proj": 6, "q_proj": 3, "layers.0.self_attn.v_proj": 1},
        alpha_pattern={"model.layers.1.self_attn.q_proj": 9, "o_proj": 2, "layers.0.self_attn.v_proj": 3},
    )  # fmt: skip
    save_adapter(name, folder, "adapter-rank-pattern", config, pairs)


def save_adapter(name: str, folder: Path, kind: str, config: LoraConfig, pairs) -> None:
    base = load(folder)
    base.config._name_or_path = base.name_or_path = f"golden/{name}"
    model = get_peft_model(base, config).eval()

    def attempt(number: int) -> list[dict]:
        for key, layer in lora_layers(model):
            rank = layer.r["default"]
            rng = generator(name, kind, str(number), key)
            for matrix, top in [(layer.lora_A["default"].weight, 1.0), (layer.lora_B["default"].weight, 0.8)]:
                spectrum = top * 0.6 ** np.arange(rank) * (1 + 0.1 * normal(rng, rank).clip(-2, 2))
                u, _, vt = np.linalg.svd(normal(rng, *matrix.shape), full_matrices=False)
                matrix.copy_(torch.from_numpy((u * spectrum) @ vt).float())
        return items(model, pairs)

    answers = without_ties(attempt)
    model.save_pretrained(folder / kind, save_embedding_layers=False)
    (folder / kind / "README.md").unlink(missing_ok=True)
    (folder / kind / "adapter_model.safetensors").chmod(0o644)
    sort_json(folder / kind / "adapter_config.json")

    model = load_adapter(folder, kind)
    check_merged(folder, model, pairs)
    assert items(model, pairs) == answers, "the saved adapter is another adapter"
    write_json(folder / f"{kind}_reference.json", answers)


def sort_json(path: Path) -> None:
    """peft writes sets in hash order, which differs between processes."""
    config = json.loads(path.read_text())
    config["target_modules"] = sorted(config["target_modules"])
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def load_adapter(folder: Path, kind: str):
    return PeftModel.from_pretrained(load(folder), str(folder / kind)).eval()


def lora_layers(model):
    """(`model.layers.0.self_attn.q_proj`, LoRA layer) in the order of the model."""
    for key, layer in model.named_modules():
        if hasattr(layer, "lora_A"):
            yield key.removeprefix("base_model.model."), layer


def write_shifted(name: str, folder: Path, pairs, candidate: int) -> None:
    """A' = U_A diag(s_A + δ_a) V_Aᵀ, and B' likewise; some δ turn a singular value negative."""
    model = load_adapter(folder, "adapter")
    factors = {
        (key, part): np.linalg.svd(matrix.double().numpy(), full_matrices=False)
        for key, layer in lora_layers(model)
        for part, matrix in [("a", layer.lora_A["default"].weight), ("b", layer.lora_B["default"].weight)]
    }
    offsets = {}

    def attempt(number: int) -> list[dict]:
        for index, (key, layer) in enumerate(lora_layers(model)):
            offsets[key] = {}
            for part, matrix in [("a", layer.lora_A["default"].weight), ("b", layer.lora_B["default"].weight)]:
                rng = generator(name, "shifted", str(candidate), str(number), key, part)
                u, s, vt = factors[key, part]
                delta = 0.3 * s * normal(rng, len(s)).clip(-3, 3)
                if (index + candidate + (part == "b")) % 4 == 0:
                    flipped = rng.integers(len(s))
                    delta[flipped] = -1.5 * s[flipped]
                delta = np.round(delta, 5)
                offsets[key][part] = delta.tolist()
                matrix.copy_(torch.from_numpy((u * (s + delta)) @ vt).float())
        return items(model, pairs)

    answers = without_ties(attempt)
    check_merged(folder, model, pairs)
    write_json(folder / f"shifted-{candidate}.json", {"offsets": offsets, "items": answers})


def check_merged(folder: Path, model, pairs) -> None:
    """The adapter's side path must equal weights merged by hand in float64."""
    merged = load(folder).double()
    for key, layer in lora_layers(model):
        a, b = layer.lora_A["default"].weight.double(), layer.lora_B["default"].weight.double()
        merged.get_submodule(key).weight.add_(b @ a * layer.lora_alpha["default"] / layer.r["default"])
    close(model, merged, pairs)


def close(model, double, pairs) -> None:
    error = max(
        abs(x - y) for pair in pairs for x, y in zip(logprobs(model, *pair), logprobs(double, *pair), strict=True)
    )
    assert error < 2e-5, f"two ways to one number differ by {error}"


# ---- spectral offsets of the base weights ----------------------------------------------------


def write_spectral(name: str, folder: Path, pairs, k: int = 3) -> None:
    """ΔW = U_k diag(σ_k ⊙ z) V_kᵀ. `minor` is the k smallest components, listed in descending σ."""
    answers = {}
    for kind, spread in [("principal", 0.3), ("minor", 2.0)]:
        model, double, offsets, sigmas = load(folder), load(folder).double(), {}, {}
        weights = {
            key: layer.weight.double().numpy()
            for key, layer in model.named_modules()
            if key.split(".")[-1] in ATTENTION
        }

        def attempt(number: int) -> list[dict]:
            for key, weight in weights.items():
                u, s, vt = np.linalg.svd(weight, full_matrices=False)
                part = slice(0, k) if kind == "principal" else slice(len(s) - k, len(s))
                gaps = -np.diff(s)[max(0, part.start - 1) : part.stop]
                assert gaps.min() > 1e-3 * s[0], "two singular values are too close for a fair test"
                z = np.round(spread * normal(generator(name, kind, str(number), key), k), 5)
                offsets[key], sigmas[key] = z.tolist(), [round(value, 6) for value in s[part].tolist()]
                changed = torch.from_numpy(weight + (u[:, part] * (s[part] * z)) @ vt[part])
                model.get_submodule(key).weight.copy_(changed.float())
                double.get_submodule(key).weight.copy_(changed)
            return items(model, pairs)

        answers[kind] = {"k": k, "offsets": offsets, "sigma": sigmas, "items": without_ties(attempt)}
        close(model, double, pairs)
    write_json(folder / "spectral.json", answers, indent_to=3)


# ---- what a sampler may write ----------------------------------------------------------------


def write_sampling(name: str, folder: Path) -> None:
    """The probability of every next token after every text that may come before it, by transformers' own filters."""
    model = load(folder)
    for number in range(1000):
        prompt_ids = [int(token) for token in generator(name, "sampling", str(number)).integers(3, VOCAB, 17)]
        cases = [{**sampler, "rows": next_tokens(model, prompt_ids, sampler)} for sampler in SAMPLERS]
        if all(case["rows"] for case in cases):
            break
    else:
        raise RuntimeError("every prompt has a token on the edge")
    write_json(folder / "sampling.json", {"prompt_ids": prompt_ids, "cases": cases}, indent_to=4)
    for case in cases:
        print(f"  sampling.json: {sum(len(ids) for text, ids, _ in case['rows'] if len(text) == 2)} texts, prompt {number}")


def next_tokens(model, prompt_ids: list[int], sampler: dict, tokens: int = 3, most: int = 200) -> list | None:
    """[[text so far, next tokens, their probabilities], ...] for texts of `tokens` tokens, `most` of them at most.

    None where the last token that is kept hangs on the last bits of a kernel."""
    filters = LogitsProcessorList([TemperatureLogitsWarper(sampler["temperature"])])
    if sampler["top_k"] > 0:
        filters.append(TopKLogitsWarper(sampler["top_k"]))
    if sampler["top_p"] < 1:
        filters.append(TopPLogitsWarper(sampler["top_p"]))
    texts, rows = [[]], []
    for _ in range(tokens):
        longer = []
        for text in texts:
            ids = torch.tensor([prompt_ids + text])
            logits = model(ids, use_cache=False).logits[:, -1].double()
            probabilities = torch.softmax(filters(ids, logits), dim=-1)[0]
            kept = probabilities > 0
            if is_near_an_edge(logits[0] / sampler["temperature"], kept, sampler):
                return None
            next_ids = kept.nonzero()[:, 0].tolist()
            rows.append([text, next_ids, rounded(probabilities[kept])])
            longer += [[*text, token] for token in next_ids]
        texts = longer
        if len(texts) > most:
            return None
    return rows


def is_near_an_edge(logits: torch.Tensor, kept: torch.Tensor, sampler: dict) -> bool:
    candidates = logits.topk(sampler["top_k"] or len(logits)).values
    masses = torch.softmax(candidates, dim=-1).cumsum(dim=-1)
    gap = (logits[kept].min() - logits[~kept].max()).item()
    return gap < 1e-3 or (sampler["top_p"] < 1 and (masses - sampler["top_p"]).abs().min().item() < 1e-4)


def report(name: str, folder: Path) -> None:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{name}: {size / 1e3:.0f} KB")
    for path in sorted(folder.glob("*.json")):
        value = json.loads(path.read_text())
        if path.name == "sampling.json":
            continue
        groups = {"": value} if isinstance(value, list) else {
            key: inner["items"] for key, inner in value.items() if isinstance(inner, dict) and "items" in inner
        } or ({"": value["items"]} if "items" in value else {})
        for key, group in groups.items():
            tokens = np.concatenate([item["logprobs"] for item in group])
            distinct = min(len(set(item["greedy_ids"])) for item in group)
            lead = min(item["greedy_lead"] for item in group)
            print(f"  {path.name} {key}: logprobs {tokens.min():.2f}..{tokens.max():.2f}, "
                  f"std {tokens.std():.2f}, greedy distinct >= {distinct}, lead >= {lead:.4f}")  # fmt: skip


if __name__ == "__main__":
    main()
