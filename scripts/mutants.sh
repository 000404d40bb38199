#!/usr/bin/env bash
# Finds one-line bugs that no test sees: cargo-mutants on the modules that need no libtorch and no model.
#
#   scripts/mutants.sh                         all of them; hours on two cores
#   scripts/mutants.sh strategy/snes racing    some of them, named as under src/
#   SHARD=0/2 MUTANTS=/tmp/a scripts/mutants.sh strategy    every second mutant
#
# The whole crate takes a minute to build for one mutant. So these modules are copied to a folder of their own, $MUTANTS, and
# become four crates there, each above the one before, with what little they name of the rest cut out of its file. A mutant
# is built and tested in seconds. Only the unit tests of the mutant's own crate run, and for strategies the quick ones of
# tests/strategies.rs; overflow is not checked, as in a release. What came of it stands in $MUTANTS/outcomes.
set -euo pipefail
cd "$(dirname "$0")/.."
VERSION=27.1.0
here=$PWD
out=${MUTANTS:-${TMPDIR:-/tmp}/essa-mutants}

cargo mutants --version 2>/dev/null | grep -qF "$VERSION" || cargo install cargo-mutants --locked --version "$VERSION"

# put FILE: what stands on the input becomes FILE, whose time stays if it was that before.
put() {
  mkdir -p "$(dirname "$out/$1")"
  cat >"$out/.new"
  cmp -s "$out/.new" "$out/$1" || cp "$out/.new" "$out/$1"
}

# copy CRATE FILE..: modules as they are.
copy() {
  local crate=$1 file
  shift
  for file; do put "$crate/src/$file" <"src/$file"; done
}

# items FILE TYPE..: the types of a file, with what is implemented for them.
items() {
  local file=$1
  shift
  awk -v names="$*" '
    BEGIN { gsub(" ", "|", names) }
    { item = item $0 "\n" }
    head == "" && /^[a-z]/ { head = $0 }
    head != "" && (/^[})]/ || (/;$/ && /^[a-z]/)) {
      if (head ~ "^(pub )?(enum|struct|const) (" names ")[^A-Za-z]" || head ~ "^impl.* for (" names ") " || head ~ "^impl (From<)?(" names ")[ >]")
        printf "%s\n", item
      item = head = ""
    }' "src/$file"
}

# methods FILE NAME..: functions of an impl block.
methods() {
  local file=$1
  shift
  awk -v names="$*" '
    BEGIN { gsub(" ", "|", names) }
    $0 ~ "^    (pub )?fn (" names ")\\(" { on = 1 }
    on { print }
    /^    }/ { on = 0 }' "src/$file"
}

# bare FILE: a module without its tests.
bare() { sed '/^#\[cfg(test)\]$/,$d' "src/$1"; }

manifest() { # NAME LIBRARY DEPENDENCY..
  printf '[package]\nname = "%s"\nversion = "0.1.0"\nedition = "2024"\n[lib]\nname = "%s"\ndoctest = false\n[dependencies]\n' "$1" "$2"
  shift 2
  printf '%s\n' "$@"
  # Every library that the real crate uses, but for those that are large and not named here.
  sed -n '/^\[dependencies\]/,/^\[\[bench/p' Cargo.toml |
    grep -vE '^(\[\[|tch|mpi|tokenizers|minijinja|minijinja-contrib|clap|indicatif|signal-hook|criterion|$|#|\[dependencies)' || true
}

libraries() {
  put Cargo.toml <<'END'
[workspace]
members = ["words", "strategy", "middle", "top"]
resolver = "3"

[profile.dev]
opt-level = 1
debug = false
debug-assertions = false
overflow-checks = false

[profile.dev.package."*"]
opt-level = 2
END
  put Cargo.lock <Cargo.lock
  put tch/Cargo.toml <<<$'[package]\nname = "tch"\nversion = "0.24.0"\nedition = "2024"'
  put tch/src/lib.rs <<'END'
//! The names of libtorch's bindings that these modules mention.
#[derive(Debug)]
pub struct TchError;
impl std::fmt::Display for TchError {
    fn fmt(&self, _: &mut std::fmt::Formatter) -> std::fmt::Result {
        Ok(())
    }
}
impl std::error::Error for TchError {}
pub struct Cuda;
impl Cuda {
    pub fn device_count() -> i64 {
        0
    }
    pub fn is_available() -> bool {
        false
    }
}
END
}

words() {
  manifest words words 'tch = { path = "../tch" }' | put words/Cargo.toml
  copy words error.rs files.rs linalg.rs search.rs seed.rs
  put words/src/lib.rs <<<'#![allow(warnings)] pub mod error; pub mod files; pub mod linalg; pub mod search; pub mod seed;'
}

strategy() {
  manifest strategy essa 'words = { path = "../words" }' | put strategy/Cargo.toml
  local file
  for file in src/strategy/*.rs; do copy strategy "strategy/${file##*/}"; done
  put strategy/src/lib.rs <<<'#![allow(warnings)] pub use words::*; pub mod strategy;'
  put strategy/tests/strategies.rs <tests/strategies.rs
  for file in tests/golden/fixtures/*.json; do put "strategy/$file" <"$file"; done
}

middle() {
  manifest middle middle 'essa = { path = "../strategy", package = "strategy" }' | put middle/Cargo.toml
  local file
  for file in src/reward/*.rs src/task/*.rs src/task/*/*.rs; do copy middle "${file#src/}"; done
  copy middle racing.rs engine/sampling.rs engine/cache.rs
  for file in rows simd; do bare "model/kernels/$file.rs" | put "middle/src/model/kernels/$file.rs"; done
  items model/kernels/attention.rs BLOCK |
    cat - <(echo 'mod rows; mod simd; pub use rows::{Softmax, argmax, softmax_span_sums, softmax_weights, span_maxima};') |
    put middle/src/model/kernels/mod.rs
  put middle/src/model/mod.rs <<<'pub mod kernels;'
  put middle/src/engine/mod.rs <<<'mod cache; mod sampling; pub use sampling::Sampling;'
  put middle/src/lib.rs <<<'#![allow(warnings)] pub use essa::*; pub mod engine; pub mod model; pub mod racing; pub mod reward; pub mod task;'
}

top() {
  manifest top top 'middle = { path = "../middle" }' 'tch = { path = "../tch" }' | put top/Cargo.toml
  copy top run/diagnosis.rs run/metrics.rs run/leaderboard.rs sweep.rs adapter/peft.rs model/safetensors.rs model/map.rs
  bare config.rs | put top/src/config.rs
  put top/experiments/quickstart.toml <experiments/quickstart.toml
  bare adapter/decoding.rs | put top/src/adapter/decoding.rs
  {
    echo 'pub mod decoding; pub mod peft;'
    for pair in lora_svd:Offsets mix:Per spectral:Part; do
      echo "pub mod ${pair%:*} { use serde::{Deserialize, Serialize};"
      items "adapter/${pair%:*}.rs" "${pair#*:}"
      echo '}'
    done
  } | put top/src/adapter/mod.rs
  {
    echo 'pub mod map; pub mod safetensors; pub mod config { pub use super::{Architecture, ModelConfig, Module}; }'
    echo 'use crate::error::{Error, Result}; use serde::{Deserialize, Serialize}; use std::{fmt, str::FromStr};'
    items model/config.rs Architecture ModelConfig Module | sed '/^impl ModelConfig/,/^}/d'
    echo 'impl ModelConfig {'
    methods model/config.rs q_width kv_width module_shape
    echo '}'
    items model/linear.rs Precision
    items model/kernels/attention.rs KvKind
    items model/transformer.rs LoadOptions Device
    echo 'pub mod weights { pub fn hex(bytes: &[u8]) -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() } }'
  } | put top/src/model/mod.rs
  {
    echo 'pub mod diagnosis; pub mod leaderboard; pub mod metrics; use serde::{Deserialize, Serialize};'
    items run/mod.rs StopReason
  } | put top/src/run/mod.rs
  put top/src/lib.rs <<<'#![allow(warnings)] pub use middle::{engine, error, files, linalg, racing, reward, search, seed, strategy, task}; pub mod adapter; pub mod config; pub mod model; pub mod run; pub mod sweep;'
}

mkdir -p "$out"
libraries
words
strategy
middle
top
cd "$out"

# A name is a file under src/ without its ending, or a folder of such.
if [ $# -eq 0 ]; then
  set -- strategy racing engine reward run adapter/peft task/splits search seed sweep
fi
status=0
for crate in words strategy middle top; do
  chosen=()
  for name; do
    for file in "$crate/src/$name.rs" "$crate/src/$name"/*.rs; do
      [ -e "$file" ] && chosen+=(--file "$file")
    done
  done
  [ ${#chosen[@]} -gt 0 ] || continue
  tests=(--lib)
  [ $crate != strategy ] || tests+=(--test strategies -- --skip as_many_evaluations --skip invariant --skip drift)
  cargo test --quiet -p "$crate" "${tests[@]}"
  cargo mutants --in-place --baseline skip --timeout 60 --build-timeout 900 ${SHARD:+--shard "$SHARD"} \
    --output "outcomes/$crate" "${chosen[@]}" -- "${tests[@]}" || status=$?
done
exit $status
