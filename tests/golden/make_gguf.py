"""Writes fixtures/gguf_blocks.safetensors and model.gguf files for two of the tiny models.

The blocks are quantized by the `gguf` package where it can, and random valid bytes with sane scales where
it cannot (the K types); `<TYPE>.f32` is what gguf.quants.dequantize makes of `<TYPE>.raw`.
The model files follow llama.cpp's converter: its metadata keys and tensor names, and for the llama
architecture the rows of q and k permuted from half-split to interleaved rotary pairs.
transformers must read the same logits out of each as out of the safetensors before it is kept.

    python make_gguf.py      (after make.py)
"""

import json

from reference import FIXTURES, deterministic, generator, normal

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from safetensors.numpy import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

logging.disable_progress_bar()

ROWS, COLUMNS = 2, 512
QUANTIZED = [Type.F32, Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0]
# Where a K block of 256 elements keeps its f16 scales; every other byte may be anything.
RANDOM = {Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208]}


def main() -> None:
    deterministic()
    write_blocks()
    write_model("llama-untied-gqa3")
    write_model("qwen2-tied-gqa3")


def write_blocks() -> None:
    tensors = {}
    for kind in [*QUANTIZED, *RANDOM]:
        raw = quantized(kind) if kind in QUANTIZED else random_blocks(kind)
        values = gguf.quants.dequantize(raw, kind).astype(np.float32)
        assert values.shape == (ROWS, COLUMNS) and np.isfinite(values).all()
        tensors[f"{kind.name}.raw"] = np.ascontiguousarray(raw).view(np.uint8).reshape(ROWS, -1)
        tensors[f"{kind.name}.f32"] = np.ascontiguousarray(values)
    save_file(tensors, FIXTURES / "gguf_blocks.safetensors")
    (FIXTURES / "gguf_blocks.safetensors").chmod(0o644)
    for name, tensor in tensors.items():
        print(f"{name:10} {tensor.dtype} {list(tensor.shape)}", "" if tensor.dtype == np.uint8 else f"std {tensor.std():.3f}")


def quantized(kind: Type) -> np.ndarray:
    values = normal(generator("gguf", kind.name), ROWS, COLUMNS).astype(np.float32)
    values[0, 5] = 11.0  # An outlier,
    values[1, 64:96] = 0.0  # a block of zeros,
    values[1, 96:128] = 0.75  # a block without spread,
    values[1, 128:160] *= 1e-3  # and a small one.
    return gguf.quants.quantize(values, kind)


def random_blocks(kind: Type) -> np.ndarray:
    rng = generator("gguf", kind.name)
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (ROWS * COLUMNS // elements, size), dtype=np.uint8)
    for offset in RANDOM[kind]:
        scales = (1e-3 * (1 + 0.3 * normal(rng, len(blocks)).clip(-2, 2))).astype(np.float16)
        blocks[:, offset : offset + 2] = scales.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(ROWS, -1)


def write_model(name: str) -> None:
    folder = FIXTURES / name
    config = json.loads((folder / "config.json").read_text())
    arch, heads, kv_heads = config["model_type"], config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(folder / "model.gguf", arch)
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    if arch == "llama":
        writer.add_vocab_size(config["vocab_size"])
        writer.add_rope_dimension_count(config["head_dim"])
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[arch.upper()], config["num_hidden_layers"])
    for key, tensor in load_file(folder / "model.safetensors").items():
        if arch == "llama" and ".q_proj." in key:
            tensor = interleaved(tensor, heads)
        if arch == "llama" and ".k_proj." in key:
            tensor = interleaved(tensor, kv_heads)
        writer.add_tensor(names.get_name(key, try_suffixes=(".weight", ".bias")), tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    check_model(folder)


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Row j of the first half of a head becomes row 2j, and row j of the second half row 2j + 1."""
    out, width = weight.shape
    return np.ascontiguousarray(weight.reshape(heads, 2, out // heads // 2, width).swapaxes(1, 2)).reshape(out, width)


def check_model(folder) -> None:
    # The configuration is read from the GGUF too, except the vocabulary, which only the llama converter writes.
    config = AutoConfig.from_pretrained(folder, gguf_file="model.gguf")
    config.vocab_size = json.loads((folder / "config.json").read_text())["vocab_size"]
    options = dict(dtype=torch.float32, attn_implementation="eager")
    one = AutoModelForCausalLM.from_pretrained(folder, **options).eval()
    two = AutoModelForCausalLM.from_pretrained(folder, gguf_file="model.gguf", config=config, **options).eval()
    ids = torch.arange(3, 93)[None]
    assert torch.equal(one(ids).logits, two(ids).logits), f"{folder.name}: model.gguf differs"
    reader = gguf.GGUFReader(folder / "model.gguf")
    print(folder.name, {key: field.contents() for key, field in reader.fields.items()})
    print("  ", ", ".join(f"{tensor.name} {tensor.shape.tolist()}" for tensor in reader.tensors))


if __name__ == "__main__":
    main()
