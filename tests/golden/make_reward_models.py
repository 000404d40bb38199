"""Writes fixtures/llama-reward/ and fixtures/qwen2-reward/: tiny random classifiers of one label with transformers' scores.

`reference.json` has sequences of several lengths with the score of each, and of the Llama, which has a tokenizer of
single bytes and a chat template, conversations with their token ids and scores. Each sequence was scored alone and in one
batch padded at its right; the two must agree before anything is kept. The Qwen2's padding token is its end token, as in
many published reward models, so that its sequences that end in it are scored before it.

    python make_reward_models.py
"""

from reference import FIXTURES, deterministic, generator, normal, rounded, write_json

import torch
from make import fill
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)
from transformers.utils import logging

logging.disable_progress_bar()

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
COMMON = dict(
    hidden_size=36, intermediate_size=64, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
    max_position_embeddings=512, num_labels=1,
)  # fmt: skip
CASES = {
    # The 256 bytes and the special tokens; the last row of the vocabulary is the padding.
    "llama-reward": LlamaConfig(
        **COMMON, vocab_size=260, head_dim=8, rms_norm_eps=1e-5, bos_token_id=256, eos_token_id=258, pad_token_id=259,
        rope_parameters={"rope_theta": 10000.0, "rope_type": "default"},
    ),
    "qwen2-reward": Qwen2Config(
        **COMMON, vocab_size=128, rms_norm_eps=1e-6, bos_token_id=1, eos_token_id=2, pad_token_id=2,
        rope_parameters={"rope_theta": 1000000.0, "rope_type": "default"}, tie_word_embeddings=True,
    ),
}  # fmt: skip
CONVERSATIONS = [
    [("user", "Name a colour."), ("assistant", "Blue.")],
    [("user", "Name a colour."), ("assistant", "")],
    [("system", "Be brief."), ("user", "2 + 2?"), ("assistant", "4"), ("user", "And twice?"), ("assistant", "Eight, é ✓")],
]


def main() -> None:
    deterministic()
    for name, config in CASES.items():
        folder = FIXTURES / name
        model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager", dtype=torch.float32)
        rng = generator(name, "weights")
        score = model.score.weight.detach().clone()
        del model.score
        fill(model, rng)
        model.score = torch.nn.Linear(*reversed(score.shape), bias=False)
        model.score.weight.copy_(torch.from_numpy(0.3 * normal(rng, *score.shape)).float())
        model.save_pretrained(folder)
        (folder / "model.safetensors").chmod(0o644)
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()

        answers = {"sequences": scored(model, sequences(name, config))}
        if name == "llama-reward":
            tokenizer = write_tokenizer(folder)
            chats = [[{"role": role, "content": content} for role, content in turns] for turns in CONVERSATIONS]
            ids = [tokenizer.apply_chat_template(chat, tokenize=True, return_dict=False) for chat in chats]
            rows = zip(chats, scored(model, ids))
            answers["conversations"] = [{"messages": chat, **row} for chat, row in rows]
        write_json(folder / "reference.json", answers)
        print(name, [row["score"] for row in answers["sequences"]])


def sequences(name: str, config) -> list[list[int]]:
    """Of 1 to 300 tokens; two begin with the same 40, and two end in the end token, one of them twice."""
    rng = generator(name, "tokens")
    draw = lambda count: [int(token) for token in rng.integers(3, 128, count)]
    drawn = [draw(count) for count in [1, 7, 16, 33, 70, 300]]
    eos = config.eos_token_id
    return [*drawn, drawn[4][:40] + draw(11), drawn[1] + [eos], drawn[2] + [eos, eos]]


def scored(model, sequences: list[list[int]]) -> list[dict]:
    alone = [model(torch.tensor([ids]), use_cache=False).logits[0, 0].item() for ids in sequences]
    longest, pad = max(map(len, sequences)), model.config.pad_token_id
    padded = torch.tensor([ids + [pad] * (longest - len(ids)) for ids in sequences])
    mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids in sequences])
    batched = model(padded, attention_mask=mask, use_cache=False).logits[:, 0].tolist()
    assert max(abs(a - b) for a, b in zip(alone, batched)) < 1e-5, "padding changes a score"
    return [{"prompt_ids": ids, "score": score} for ids, score in zip(sequences, rounded(alone))]


def write_tokenizer(folder):
    """A token for each byte, and no merges: what tests/support/tiny_model.rs has as GGUF."""
    alphabet = bytes_in_order()
    tokenizer = Tokenizer(models.BPE(vocab={letter: at for at, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    whole = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=SPECIAL[0], eos_token=SPECIAL[2], chat_template=TEMPLATE
    )
    whole.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def bytes_in_order() -> list[str]:
    """GPT-2's letter for each byte, by byte."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    unseen = [byte for byte in range(256) if byte not in seen]
    letters = {byte: chr(byte) for byte in seen} | {byte: chr(256 + at) for at, byte in enumerate(unseen)}
    return [letters[byte] for byte in range(256)]


if __name__ == "__main__":
    main()
