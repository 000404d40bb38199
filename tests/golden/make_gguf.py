"""Writes fixtures/gguf_blocks.safetensors, model.gguf files for two of the tiny models, and fixtures/llama3-chat/.

The blocks are quantized by the `gguf` package where it can, and random valid bytes with sane scales where
it cannot (the K types); `<TYPE>.f32` is what gguf.quants.dequantize makes of `<TYPE>.raw`.
The model files follow llama.cpp's converter: its metadata keys and tensor names, and for the llama
architecture the rows of q and k permuted from half-split to interleaved rotary pairs.
transformers must read the same logits out of each as out of the safetensors before it is kept.
`llama3-chat` is a GGUF file that can be talked to: Llama-3's scaled positions as `rope_freqs.weight`, its rule for
words, and a chat template that begins with bos; `reference.json` has the texts, ids and log-probabilities that
transformers makes of its conversations without that file.

    python make_gguf.py      (after make.py)
"""

import json
import math
import tempfile
from pathlib import Path

from make import fill, without_ties
from reference import FIXTURES, deterministic, generator, items, normal, write_json

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from safetensors.numpy import load_file, save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaConfig, PreTrainedTokenizerFast
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
    write_chat_model("llama3-chat")


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
    write_gguf(name, folder, folder / "model.gguf", gguf.LlamaFileType.ALL_F32)
    check_model(folder, folder / "model.gguf")


def write_gguf(name: str, folder: Path, path: Path, file_type: gguf.LlamaFileType, add_more=lambda writer: None) -> None:
    """The model of a Hugging Face folder; vectors are always in f32."""
    config = json.loads((folder / "config.json").read_text())
    arch, heads, kv_heads = config["model_type"], config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(path, arch)
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(file_type)
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
        if tensor.ndim == 1:
            tensor = tensor.astype(np.float32)
        writer.add_tensor(names.get_name(key, try_suffixes=(".weight", ".bias")), tensor)
    add_more(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Row j of the first half of a head becomes row 2j, and row j of the second half row 2j + 1."""
    out, width = weight.shape
    return np.ascontiguousarray(weight.reshape(heads, 2, out // heads // 2, width).swapaxes(1, 2)).reshape(out, width)


def check_model(folder: Path, path: Path) -> None:
    # The configuration is read from the GGUF too, except the vocabulary, which only the llama converter writes, and
    # scaled positions, which the file has as a tensor that transformers passes over.
    config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
    own = AutoConfig.from_pretrained(folder)
    config.vocab_size = own.vocab_size
    if own.rope_parameters["rope_type"] != "default":
        config.rope_parameters = own.rope_parameters
    options = dict(dtype=torch.float32, attn_implementation="eager")
    one = AutoModelForCausalLM.from_pretrained(folder, **options).eval()
    two = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, config=config, **options).eval()
    ids = torch.arange(3, 93)[None]
    assert torch.equal(one(ids).logits, two(ids).logits), f"{path} differs"
    reader = gguf.GGUFReader(path)
    print(path.parent.name, {key: field.contents() for key, field in reader.fields.items()})
    print("  ", ", ".join(f"{tensor.name} {tensor.shape.tolist()}" for tensor in reader.tensors))


# ---- a model that can be talked to -----------------------------------------------------------

# From the tokenizer.json of Meta-Llama-3.
LLAMA_3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BOS, EOS = "<|begin_of_text|>", "<|eot_id|>"
SPECIAL = [BOS, "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", EOS]
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
# Wavelengths 6.3 (kept), 32 (between) and 167 and longer (divided by the factor).
ROPE = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=64)  # fmt: skip
STORY = (
    "The ferry left at 7:45 and the river was still. Nobody on board had slept, and nobody's dog had either; they'd all "
    "watched the other shore for 12 hours. \"Is it far?\" asked the boy. It isn't, said the captain, who had crossed "
    "1234567 times, or so he'd say.\n\nBeyond the river the road went on to the hills, and the hills went on to the sea. "
)
# Conversations and an answer to each.
CHATS = [
    ([("user", "Is it far?")], "No."),
    ([("system", "Answer in one word."), ("user", "  Which river is it?\n")], "The Danube, I'd say."),
    ([("user", "Count to 1234."), ("assistant", "1, 2, 3"), ("user", "And then?\n\n\t4?")], "4\n5\n6"),
    ([("user", "Ist es weit? 多远？ 🙂"), ("assistant", ""), ("user", "I said <|eot_id|> and " + BOS)], "Ja 🙂"),
    ([("system", STORY), ("user", STORY + STORY + "Who was on board?")], "The boy, the captain and the dog."),
]
TEXTS = ["", "The river", " river", "1234567 hours", "they'd\n\n \nNOBODY'S", f"{BOS}the boy{EOS}", "多远🙂"]


def write_chat_model(name: str) -> None:
    tokenizer, merges = make_tokenizer()
    chats, pairs = [], []
    for turns, answer in CHATS:
        messages = [{"role": role, "content": content} for role, content in turns]
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        told = tokenizer.apply_chat_template([*messages, {"role": "assistant", "content": answer}], tokenize=False)
        prompt_ids, ids = [tokenizer(text, add_special_tokens=False).input_ids for text in [text, told]]
        assert ids[: len(prompt_ids)] == prompt_ids and prompt_ids[:1] == [tokenizer.bos_token_id]
        chats.append({"messages": messages, "answer": answer, "text": text})
        pairs.append((prompt_ids, ids[len(prompt_ids) :]))

    path = FIXTURES / name / "model.gguf"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        answers = write_llama3(name, Path(scratch), len(tokenizer), pairs)
        add_more = lambda writer: add_rope_freqs_and_tokenizer(writer, tokenizer, merges)
        write_gguf(name, Path(scratch), path, gguf.LlamaFileType.MOSTLY_F16, add_more)
        check_model(Path(scratch), path)
    read_back = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    # Llama-3's tokenizer.json says so and llama.cpp does so; transformers' reader of GGUF leaves it out.
    read_back.backend_tokenizer.model.ignore_merges = True
    for chat, (prompt_ids, _) in zip(chats, pairs):
        assert read_back.apply_chat_template(chat["messages"], add_generation_prompt=True, tokenize=False) == chat["text"]
        assert read_back(chat["text"], add_special_tokens=False).input_ids == prompt_ids
    texts = [{"text": text, "ids": tokenizer(text, split_special_tokens=True).input_ids} for text in TEXTS]
    chats = [{**chat, **answer} for chat, answer in zip(chats, answers)]
    write_json(path.parent / "reference.json", {"bos": BOS, "eos": EOS, "chats": chats, "texts": texts})
    print("  ", [(len(prompt_ids), len(answer_ids)) for prompt_ids, answer_ids in pairs])


def make_tokenizer() -> tuple[PreTrainedTokenizerFast, list[str]]:
    """Byte-level BPE by Llama-3's rule, with a few merges, and one word that no merges make."""
    word = "Ġriver"
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA_3), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=256 + 40, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator([STORY.replace("river", "lake")], trainer)
    trained = json.loads(bpe.to_str())["model"]
    vocab = {**trained["vocab"], word: len(trained["vocab"])}
    merges = [tuple(merge) for merge in trained["merges"]]
    bpe.model = models.BPE(vocab=vocab, merges=merges, ignore_merges=True)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    bpe.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, bpe.token_to_id(BOS))]
    )
    assert bpe.encode(" river", add_special_tokens=False).ids == [vocab[word]]
    fast = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=BOS, eos_token=EOS, chat_template=TEMPLATE)
    return fast, [" ".join(merge) for merge in merges]


def write_llama3(name: str, folder: Path, vocab: int, pairs) -> list[dict]:
    config = LlamaConfig(
        vocab_size=vocab, hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=1024, rms_norm_eps=1e-5, rope_parameters=ROPE,
        tie_word_embeddings=True, bos_token_id=vocab - 5, eos_token_id=vocab - 1,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
    # What llama.cpp divides frequencies by must make of them what transformers makes of its configuration.
    plain = 1 / ROPE["rope_theta"] ** (torch.arange(0, 16, 2, dtype=torch.float32) / 16)
    torch.testing.assert_close(plain / torch.from_numpy(rope_freqs()), model.model.rotary_emb.inv_freq, rtol=1e-6, atol=0)

    def attempt(number: int) -> list[dict]:
        fill(model, generator(name, "weights", str(number)))
        for tensor in model.parameters():
            tensor.copy_(tensor.half())
        return items(model, pairs)

    answers = without_ties(attempt)
    model.half().save_pretrained(folder)
    saved = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    assert items(saved, pairs) == answers, "the saved model is another model"
    return answers


def rope_freqs(head_dim: int = 16) -> np.ndarray:
    """One divisor a frequency, as llama.cpp's converter writes Llama-3's scaling."""
    context, low, high, factor = (
        ROPE[key] for key in ["original_max_position_embeddings", "low_freq_factor", "high_freq_factor", "factor"]
    )
    divisors = []
    for i in range(0, head_dim, 2):
        wavelength = 2 * math.pi * ROPE["rope_theta"] ** (i / head_dim)
        smooth = (context / wavelength - low) / (high - low)
        divisors.append(1 / ((1 - min(max(smooth, 0), 1)) / factor + min(max(smooth, 0), 1)))
    assert divisors[0] == 1 and 1 < divisors[1] < factor and divisors[2:] == [factor] * (len(divisors) - 2)
    return np.array(divisors, dtype=np.float32)


def add_rope_freqs_and_tokenizer(writer: gguf.GGUFWriter, tokenizer: PreTrainedTokenizerFast, merges: list[str]) -> None:
    """As for the files of Llama-3, nothing says `add_bos_token`: to llama.cpp the rule `llama-bpe` means that."""
    writer.add_tensor("rope_freqs.weight", rope_freqs())
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if token in SPECIAL else gguf.TokenType.NORMAL for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_chat_template(TEMPLATE)


if __name__ == "__main__":
    main()
