#!/usr/bin/env bash
# Makes the golden fixtures anew, from pinned packages. `make.sh --env-only` stops after the environment.
# Needs Python 3.11 or newer and about 8 GB of disk, most of it PyTorch.
set -euo pipefail
cd "$(dirname "$0")"

export ESSA_CACHE="${ESSA_CACHE:-$HOME/.cache/essa}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}"

# environment FOLDER REQUIREMENTS [MORE…]: makes or brings up to date an environment of these requirements; MORE are installed without their dependencies.
environment() {
    local folder="$1" requirements="$2"
    shift 2
    if ! cmp -s "$requirements" "$folder/$requirements"; then
        "${PYTHON:-python3}" -m venv "$folder"
        "$folder/bin/python" -m pip install --quiet --requirement "$requirements"
        if [ "$#" -gt 0 ]; then
            "$folder/bin/python" -m pip install --quiet --no-deps "$@"
        fi
        cp "$requirements" "$folder/$requirements"
    fi
}

venv="$ESSA_CACHE/golden-venv"
environment "$venv" requirements.txt
if [ "${1:-}" = --env-only ]; then
    exit
fi

"$venv/bin/python" make.py
"$venv/bin/python" make_gguf.py
"$venv/bin/python" make_families.py
"$venv/bin/python" make_peft.py
"$venv/bin/python" make_reward_models.py
"$venv/bin/python" make_warm_start.py
"$venv/bin/python" make_drift.py
"$venv/bin/python" make_smollm2.py
"$venv/bin/python" make_chat_templates.py
"$venv/bin/python" make_pycma.py
"$venv/bin/python" make_strategies.py
"$venv/bin/python" make_nes.py
"$venv/bin/python" make_statistics.py
"$venv/bin/python" make_nearness.py
"$venv/bin/python" make_countdown.py

# Graders and Pareto measures have requirements of their own (TRL without its dependencies, of which its rewards need none).
judges="$ESSA_CACHE/golden-judges-venv"
environment "$judges" requirements-judges.txt trl==1.16.0
"$judges/bin/python" make_lm_eval.py
"$judges/bin/python" make_pareto.py
"$judges/bin/python" test_rewards.py

# Losses of preferences, by an older TRL.
preference="$ESSA_CACHE/golden-preference-venv"
environment "$preference" requirements-preference.txt
"$preference/bin/python" make_preference.py

# An evaluation of a model with an adapter by the harness. `make_harness.py --train ESSA` makes the model and the adapter anew too.
harness="$ESSA_CACHE/golden-harness-venv"
environment "$harness" requirements-harness.txt
"$harness/bin/python" make_harness.py
