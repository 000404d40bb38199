"""Makes what the peers need from one GGUF model, into a folder: Q4_0 and Q8_0 versions for llama.cpp, and two random LoRA
adapters of rank 8 on q, k, v and o, as GGUF.

    python prepare.py --model model.gguf --out folder
"""

import argparse
import os

import gguf
import llama_cpp
import numpy as np

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", required=True)
parser.add_argument("--out", required=True)
arguments = parser.parse_args()
os.makedirs(arguments.out, exist_ok=True)

llama_cpp.llama_backend_init()
for name, kind in [("q4_0", llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0), ("q8_0", llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0)]:
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype, parameters.allow_requantize = kind, True
    path = os.path.join(arguments.out, f"{name}.gguf")
    assert llama_cpp.llama_model_quantize(arguments.model.encode(), path.encode(), parameters) == 0

RANK = 8
reader = gguf.GGUFReader(arguments.model)
random = np.random.default_rng(1)
for index in range(2):
    writer = gguf.GGUFWriter(os.path.join(arguments.out, f"lora{index}.gguf"), "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(RANK))
    for tensor in reader.tensors:
        if tensor.name.split(".")[-2] in ("attn_q", "attn_k", "attn_v", "attn_output"):
            inputs, outputs = (int(n) for n in tensor.shape)
            for end, shape in (("lora_a", (RANK, inputs)), ("lora_b", (outputs, RANK))):
                writer.add_tensor(f"{tensor.name}.{end}", (0.02 * random.standard_normal(shape)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
