"""llama.cpp (llama-cpp-python) on the work of `benches/throughput.rs`: batched prefill and decode, greedy.

    python llamacpp.py --model model.gguf --sequences 128 --prompt-tokens 45 --new-tokens 64

One model for all sequences; llama.cpp applies an adapter to a whole context, so a population runs one candidate after
another: `--candidates 16 --sequences 8` times that, with a LoRA switched in between when `--adapter` names one.
Prints one JSON object. The other flags are the settings that change its speed: flash attention, one cache for all
sequences or one each, its type, weights packed anew for the processor's widest instruction, rows of a step, cells a sequence.
"""

import argparse
import ctypes
import json
import statistics
import time

import llama_cpp
import numpy as np

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", required=True)
parser.add_argument("--adapter", action="append", default=[], help="LoRA in GGUF, switched between candidates")
parser.add_argument("--candidates", type=int, default=1)
parser.add_argument("--sequences", type=int, default=128)
parser.add_argument("--prompt-tokens", type=int, default=45)
parser.add_argument("--new-tokens", type=int, default=64)
parser.add_argument("--repeats", type=int, default=3)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--flash", choices=["auto", "off", "on"], default="on")
parser.add_argument("--unified", action="store_true", help="one cache that all sequences share")
parser.add_argument("--kv", choices=["f16", "q8_0"], default="f16")
parser.add_argument("--no-repack", action="store_true", help="weights as they lie in the file")
parser.add_argument("--ubatch", type=int, default=512)
parser.add_argument("--cells", type=int, help="cells of the cache for a sequence; default its length, rounded up to 256")
arguments = parser.parse_args()

llama_cpp.llama_backend_init()
quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
llama_cpp.llama_log_set(quiet, None)
loading = llama_cpp.llama_model_default_params()
loading.use_extra_bufts = not arguments.no_repack
model = llama_cpp.llama_model_load_from_file(arguments.model.encode(), loading)
sequences, length = arguments.sequences, arguments.prompt_tokens + arguments.new_tokens
parameters = llama_cpp.llama_context_default_params()
parameters.n_ctx = sequences * (arguments.cells or (length + 255) // 256 * 256)
parameters.n_batch, parameters.n_ubatch = 512, arguments.ubatch
parameters.n_seq_max = sequences
parameters.n_threads = parameters.n_threads_batch = arguments.threads
parameters.flash_attn_type = {"auto": -1, "off": 0, "on": 1}[arguments.flash]
parameters.kv_unified = arguments.unified
parameters.type_k = parameters.type_v = {"f16": 1, "q8_0": 8}[arguments.kv]  # ggml's numbers of types
context = llama_cpp.llama_init_from_model(model, parameters)
assert context, "llama.cpp refused the context"
vocabulary = llama_cpp.llama_model_get_vocab(model)
vocab = llama_cpp.llama_vocab_n_tokens(vocabulary)
prompts = np.random.default_rng(7).integers(0, vocab, (sequences, arguments.prompt_tokens))
adapters = [llama_cpp.llama_adapter_lora_init(model, path.encode()) for path in arguments.adapter]
batch = llama_cpp.llama_batch_init(512, 0, 1)


def run(rows):
    """rows: (token, position, sequence, whether logits are wanted), at most 512."""
    batch.n_tokens = len(rows)
    for i, (token, position, sequence, wanted) in enumerate(rows):
        batch.token[i], batch.pos[i], batch.n_seq_id[i] = int(token), position, 1
        batch.seq_id[i][0], batch.logits[i] = sequence, int(wanted)
    assert llama_cpp.llama_decode(context, batch) == 0


def best(row):
    logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, row), shape=(vocab,))
    return int(logits.argmax())


def generate():
    """Seconds of prefill and of decode for all sequences of one candidate."""
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    started = time.perf_counter()
    tokens = [0] * sequences
    rows = [
        (token, position, sequence, position + 1 == arguments.prompt_tokens)
        for sequence in range(sequences)
        for position, token in enumerate(prompts[sequence])
    ]
    for start in range(0, len(rows), 512):
        part = rows[start : start + 512]
        run(part)
        for i, row in enumerate(part):
            if row[3]:
                tokens[row[2]] = best(i)
    prefilled = time.perf_counter()
    for step in range(arguments.new_tokens - 1):
        run([(tokens[s], arguments.prompt_tokens + step, s, True) for s in range(sequences)])
        tokens = [best(s) for s in range(sequences)]
    return prefilled - started, time.perf_counter() - prefilled


prefill, decode, whole = [], [], []
for _ in range(arguments.repeats):
    started = time.perf_counter()
    for candidate in range(arguments.candidates):
        if adapters:
            one = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(adapters[candidate % len(adapters)])
            assert llama_cpp.llama_set_adapters_lora(context, one, 1, (ctypes.c_float * 1)(1.0)) == 0
        p, d = generate()
        prefill.append(p)
        decode.append(d)
    whole.append(time.perf_counter() - started)
print(
    json.dumps(
        {
            "engine": "llama.cpp",
            "version": "llama-cpp-python " + llama_cpp.__version__,
            "model": arguments.model.rsplit("/", 1)[-1],
            "candidates": arguments.candidates,
            "sequences": sequences,
            "settings": f"flash {arguments.flash}, {'one cache' if arguments.unified else 'a cache each'}, {arguments.kv}"
            + f", {'as in the file' if arguments.no_repack else 'repacked'}, steps of {arguments.ubatch}"
            + f", {parameters.n_ctx // sequences} cells",
            "prompt_tokens": arguments.prompt_tokens,
            "new_tokens": arguments.new_tokens,
            "threads": arguments.threads,
            "adapters": len(adapters),
            "prefill_tokens_per_s": sequences * arguments.prompt_tokens / statistics.median(prefill),
            "decode_tokens_per_s": sequences * (arguments.new_tokens - 1) / statistics.median(decode),
            "whole_s": whole,
        }
    )
)
