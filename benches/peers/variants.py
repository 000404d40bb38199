"""Runs one peer at many settings in one go, to see what a difference between two measurements of it comes from.

    python variants.py --model model.gguf --peers folder --llamacpp-python … --transformers-python … --out variants.json

The engine itself runs before, between and after, so that two machines or two hours can be told apart; `--essa ""` leaves
it out. Every point is one call of llamacpp.py or transformers_peft.py with 64 new tokens a sequence. `--tiny` asks for two
sequences, twelve prompt tokens and four new ones, to see that all of it starts.
"""

import argparse
import json
import os
import shlex
import subprocess

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", required=True)
parser.add_argument("--peers", required=True, help="the folder that prepare.py made")
parser.add_argument("--essa", default="cargo bench --bench throughput --")
parser.add_argument("--llamacpp-python", required=True)
parser.add_argument("--transformers-python", required=True)
parser.add_argument("--only", choices=["llama.cpp", "transformers"])
parser.add_argument("--repeats", type=int, default=2)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--tiny", action="store_true")
parser.add_argument("--out")
arguments = parser.parse_args()
here = os.path.dirname(os.path.abspath(__file__))
results = []


def run(command, environment, note=""):
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        last = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
        print(f"{' '.join(command[2:])}: failed: {last}", flush=True)
        return
    result = {"command": [os.path.basename(command[0])] + command[1:], "environment": note, **json.loads(lines[-1])}
    results.append(result)
    if arguments.out:
        with open(arguments.out, "w") as file:
            json.dump(results, file, indent=1)
    print(f"{result['engine']:13} {result.get('model', result.get('precision')):34}", end=" ")
    print(f"{result.get('sequences', 128):4} x {result['prompt_tokens']:2}", end="  ")
    print(f"prefill {result['prefill_tokens_per_s']:6.0f}  decode {result['decode_tokens_per_s']:6.0f}", end="  ")
    print(result.get("settings", "") + note, flush=True)


def essa():
    if arguments.essa:
        size = ["--prompts", "2", "--prompt-tokens", "12", "--new-tokens", "4"] if arguments.tiny else ["--prompts", "128"]
        flags = ["--candidates", "1", "--rank", "0", "--repeats", str(arguments.repeats), *size]
        run(shlex.split(arguments.essa) + flags, os.environ)


def peer(python, script, model, sequences, *flags, **more):
    if arguments.tiny:
        sequences, flags = 2, [*flags, "--prompt-tokens", "12", "--new-tokens", "4"]
    command = [python, os.path.join(here, script), "--model", model, "--sequences", str(sequences)]
    command += ["--repeats", str(arguments.repeats), "--threads", str(arguments.threads), *flags]
    clean = {name: value for name, value in os.environ.items() if name not in ("LD_LIBRARY_PATH", "OMP_WAIT_POLICY")}
    run(command, {**clean, **more}, "".join(f", {name}={value}" for name, value in more.items()))


def transformers(sequences, *flags, **more):
    peer(arguments.transformers_python, "transformers_peft.py", arguments.model, sequences, *flags, **more)


def llamacpp(model, sequences, *flags):
    peer(arguments.llamacpp_python, "llamacpp.py", model, sequences, *flags)


essa()
if arguments.only != "llama.cpp":
    # As in the table, at the batches and the prompt length of the first measurement.
    for sequences in (8, 32, 128):
        transformers(sequences)
        transformers(sequences, "--loop", "forward")
    # OpenMP's threads spin between two products; on a core that anybody else needs this costs a factor.
    transformers(128, OMP_WAIT_POLICY="passive")
    transformers(128, "--loop", "forward", OMP_WAIT_POLICY="passive")
    # Tensors above glibc's threshold are fresh pages every time, unless memory is kept.
    transformers(128, MALLOC_TOP_PAD_="1073741824", MALLOC_MMAP_THRESHOLD_="4294967296", MALLOC_TRIM_THRESHOLD_="8589934592")
    transformers(128, "--prompt-tokens", "43")
    transformers(128, "--loop", "forward", "--prompt-tokens", "43")
    transformers(128, "--cache", "static")
    transformers(128, "--loop", "forward", "--cache", "static")
    transformers(128, "--attention", "eager")
    transformers(128, "--loop", "forward", "--attention", "eager")
    essa()
if arguments.only != "transformers":
    q4_0, q8_0 = (os.path.join(arguments.peers, f"{name}.gguf") for name in ("q4_0", "q8_0"))
    for model in (q4_0, q8_0, arguments.model):
        for sequences in (8, 64, 128):
            llamacpp(model, sequences)
    llamacpp(q4_0, 128, "--prompt-tokens", "43")
    llamacpp(q4_0, 128, "--flash", "off")
    llamacpp(q4_0, 128, "--unified")
    llamacpp(q4_0, 128, "--no-repack")
    llamacpp(q4_0, 128, "--ubatch", "128")
    llamacpp(q4_0, 128, "--kv", "q8_0")
    essa()
