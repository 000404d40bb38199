"""transformers + peft on the work of `benches/throughput.rs`: batched greedy generate in bf16.

    python transformers_peft.py --model model.gguf --sequences 128 --prompt-tokens 45 --new-tokens 64

With `--candidates 16 --rank 8` every candidate is a LoRA adapter on q, k, v and o, and they run one after another, as a
population does in this library. Prints one JSON object.

`--loop forward` calls the model step by step and takes the likeliest token, which is what `generate` does less its
processors, criteria and masks; `--cache static` and `--attention eager` are the other choices that change its speed.
"""

import argparse
import json
import os
import statistics
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch  # noqa: E402
import transformers  # noqa: E402

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", required=True, help="a GGUF file")
parser.add_argument("--candidates", type=int, default=1)
parser.add_argument("--rank", type=int, default=0)
parser.add_argument("--sequences", type=int, default=128)
parser.add_argument("--prompt-tokens", type=int, default=45)
parser.add_argument("--new-tokens", type=int, default=64)
parser.add_argument("--repeats", type=int, default=3)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--loop", choices=["generate", "forward"], default="generate")
parser.add_argument("--cache", choices=["dynamic", "static"], default="dynamic")
parser.add_argument("--attention", choices=["sdpa", "eager"], default="sdpa")
arguments = parser.parse_args()

torch.set_num_threads(arguments.threads)
transformers.logging.set_verbosity_error()
folder, file = os.path.split(arguments.model)
model = transformers.AutoModelForCausalLM.from_pretrained(
    folder, gguf_file=file, dtype=torch.bfloat16, attn_implementation=arguments.attention
).eval()
version = f"transformers {transformers.__version__}, torch {torch.__version__}"
if arguments.rank:
    import peft

    version += f", peft {peft.__version__}"
    config = peft.LoraConfig(
        r=arguments.rank, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"], init_lora_weights=False
    )
    model = peft.get_peft_model(model, config, adapter_name="0")
    for candidate in range(1, arguments.candidates):
        model.add_adapter(str(candidate), config)
    model = model.to(torch.bfloat16).eval()
vocab = model.config.vocab_size
torch.manual_seed(7)
prompts = torch.randint(0, vocab, (arguments.sequences, arguments.prompt_tokens))


def forward(new_tokens):
    """Greedy decoding without `generate`: the prompts, then a token of each at a time, appended to a growing cache."""
    length = arguments.prompt_tokens + new_tokens
    if arguments.cache == "static":
        cache = transformers.StaticCache(config=model.config, max_cache_len=length)
    else:
        cache = transformers.DynamicCache(config=model.config)
    written, ids = [prompts], prompts
    for _ in range(new_tokens):
        logits = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
        ids = logits[:, -1].argmax(-1, keepdim=True)
        written.append(ids)
    return torch.cat(written, 1)


def library(new_tokens):
    return model.generate(
        input_ids=prompts,
        attention_mask=torch.ones_like(prompts),
        do_sample=False,
        min_new_tokens=new_tokens,
        max_new_tokens=new_tokens,
        pad_token_id=0,
        **({"cache_implementation": "static"} if arguments.cache == "static" else {}),
    )


@torch.inference_mode()
def generate(new_tokens):
    started = time.perf_counter()
    out = (forward if arguments.loop == "forward" else library)(new_tokens)
    assert out.shape[1] == arguments.prompt_tokens + new_tokens
    return time.perf_counter() - started


prefill, one, whole = [], [], []
generate(2)
for _ in range(arguments.repeats):
    prefill.append(generate(1))
    started = time.perf_counter()
    for candidate in range(arguments.candidates):
        if arguments.rank:
            model.set_adapter(str(candidate))
        one.append(generate(arguments.new_tokens))
    whole.append(time.perf_counter() - started)
rows, prefill_s = arguments.sequences, statistics.median(prefill)
print(
    json.dumps(
        {
            "engine": "transformers" + (" + peft" if arguments.rank else ""),
            "version": version,
            "model": "bf16",
            "settings": f"{arguments.loop}, {arguments.cache} cache, {arguments.attention}",
            "prompt_tokens": arguments.prompt_tokens,
            "new_tokens": arguments.new_tokens,
            "threads": arguments.threads,
            "candidates": arguments.candidates,
            "sequences": rows,
            "adapters": arguments.candidates if arguments.rank else 0,
            "prefill_tokens_per_s": rows * arguments.prompt_tokens / prefill_s,
            "decode_tokens_per_s": rows * (arguments.new_tokens - 1) / (statistics.median(one) - prefill_s),
            "whole_s": whole,
        }
    )
)
