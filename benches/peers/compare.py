"""Runs the same work on this engine and on its peers, one after the other in one go, and prints the ratios.

    python compare.py --model model.gguf --peers folder --essa "cargo bench --bench throughput --" \\
        --llamacpp-python path/to/python --transformers-python path/to/python --out results.json

`--peers` is the folder that prepare.py made. Two questions are asked. How fast is one fixed model on 128 sequences, each
peer at its best batch? And how long does a generation of 16 candidates x 8 prompts take, which a peer runs one candidate
after another, with a LoRA of rank 8 on q, k, v and o switched in between? This engine runs before, between and after
its peers, so that the spread of its own figures tells how noisy the machine was.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", required=True)
parser.add_argument("--peers", required=True)
parser.add_argument("--essa", default="cargo bench --bench throughput --")
parser.add_argument("--llamacpp-python", required=True)
parser.add_argument("--transformers-python", required=True)
parser.add_argument("--repeats", type=int, default=3)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--out")
arguments = parser.parse_args()
here = os.path.dirname(os.path.abspath(__file__))
results = []


def run(question, command):
    clean = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ if question[0] == "essa" else clean)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == 0 and lines, f"{command}: {done.stderr[-2000:]}"
    result = {"question": question[1], "command": [os.path.basename(command[0])] + command[1:], **json.loads(lines[-1])}
    results.append(result)
    print(f"{result['engine']:22} {result.get('model', result.get('precision')):34}", end=" ")
    print(f"{result['candidates']:3} x {result.get('sequences', result.get('prompts')):3}", end="  ")
    print(f"prefill {result['prefill_tokens_per_s']:6.0f}  decode {result['decode_tokens_per_s']:6.0f}", end="  ")
    print(f"whole {statistics.median(result['whole_s']):6.1f} s", flush=True)
    return result


def essa(question, *flags):
    return run(("essa", question), shlex.split(arguments.essa) + ["--repeats", str(arguments.repeats), *flags])


def peer(question, python, script, model, *flags):
    command = [python, os.path.join(here, script), "--model", model, "--repeats", str(arguments.repeats)]
    return run(("peer", question), command + ["--threads", str(arguments.threads), *flags])


llamacpp = (arguments.llamacpp_python, "llamacpp.py")
transformers = (arguments.transformers_python, "transformers_peft.py")
made = {name: os.path.join(arguments.peers, f"{name}.gguf") for name in ("q4_0", "q8_0", "lora0", "lora1")}
ours = [essa("population")]
fixed = [essa("fixed", "--candidates", "1", "--prompts", "128", "--rank", "0")]
peers = []
for sequences in ("32", "128"):
    peers.append(peer("fixed", *transformers, arguments.model, "--sequences", sequences))
for sequences in ("8", "64", "128"):
    peers.append(peer("fixed", *llamacpp, made["q4_0"], "--sequences", sequences))
peers.append(peer("fixed", *llamacpp, made["q8_0"], "--sequences", "128"))
peers.append(peer("fixed", *llamacpp, arguments.model, "--sequences", "64"))
ours.append(essa("population"))
fixed.append(essa("fixed", "--candidates", "1", "--prompts", "128", "--rank", "0"))
population = ("--candidates", "16", "--sequences", "8")
loras = ("--adapter", made["lora0"], "--adapter", made["lora1"])
switched = [
    peer("population", *transformers, arguments.model, "--rank", "8", *population),
    peer("population", *llamacpp, made["q4_0"], *loras, *population),
]
ours.append(essa("population"))
fixed.append(essa("fixed", "--candidates", "1", "--prompts", "128", "--rank", "0"))


def middle(rows, key):
    return statistics.median(statistics.median(row[key]) if isinstance(row[key], list) else row[key] for row in rows)


def best(key):
    return max(peers, key=lambda row: row[key])


print()
for name, key in (("prefill", "prefill_tokens_per_s"), ("decode", "decode_tokens_per_s")):
    row = best(key)
    for label, own in (("16 candidates x 8", ours), ("one fixed model x 128", fixed)):
        print(f"{name}, {label}: {middle(own, key) / row[key]:.2f} x {row['engine']} {row['model']} at {row['sequences']}")
for row in switched:
    ratio = statistics.median(row["whole_s"]) / middle(ours, "whole_s")
    print(f"a generation of 16 candidates x 8 prompts: {ratio:.2f} x as fast as {row['engine']} {row['model']}")
if arguments.out:
    with open(arguments.out, "w") as file:
        json.dump(results, file, indent=1)
