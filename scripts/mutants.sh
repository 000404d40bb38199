#!/usr/bin/env bash
# Finds one-line bugs that no test sees: the mutants of cargo-mutants, on the modules that need no libtorch and no model.
#
#   scripts/mutants.sh                         all of them, some twenty minutes on two idle cores
#   scripts/mutants.sh strategy/snes farm      some of them, named as under src/
#
# The whole crate takes minutes to build for one mutant. So these modules are copied to a folder of their own, $MUTANTS, and
# become four crates there, each above the one before, with what they name of the rest: whole files without their tests, single
# items of files that need libtorch, and stubs of its own functions. There all mutants are compiled at once, and an environment
# variable says which of them is alive (scripts/mutants), so one mutant costs a run of its crate's unit tests, and for strategies of
# the quick ones of tests/strategies.rs. Overflow is not checked, as in a release. What came of each mutant stands in
# $MUTANTS/outcomes, by crate; those that were missed are run again by the next call.
set -euo pipefail
cd "$(dirname "$0")/.."
VERSION=27.1.0
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

# bare CRATE FILE..: modules without their tests, which need what is not there.
bare() {
  local crate=$1 file
  shift
  for file; do sed '/^#\[cfg(test)\]$/,$d' "src/$file" | put "$crate/src/$file"; done
}

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
pub struct Tensor;
impl Tensor {
    pub fn f_narrow(&self, _: i64, _: i64, _: i64) -> Result<Self, TchError> {
        unimplemented!()
    }
    pub fn f_matmul(&self, _: &Self) -> Result<Self, TchError> {
        unimplemented!()
    }
}
pub fn get_num_threads() -> i32 {
    1
}
pub fn set_num_threads(_: i32) {}
END
}

words() {
  manifest words words 'tch = { path = "../tch" }' | put words/Cargo.toml
  copy words digest.rs error.rs files.rs linalg.rs search.rs seed.rs statistics.rs terminal.rs
  put words/tests/golden/fixtures/statistics.json <tests/golden/fixtures/statistics.json
  put words/src/lib.rs <<'END'
#![allow(warnings)]
pub mod digest;
pub mod error;
pub mod files;
pub mod linalg;
pub mod search;
pub mod seed;
pub mod statistics;
pub mod terminal;
END
}

strategy() {
  manifest strategy essa 'words = { path = "../words" }' | put strategy/Cargo.toml
  copy strategy $(cd src && ls strategy/*.rs)
  put strategy/src/lib.rs <<<'#![allow(warnings)] pub use words::*; pub mod strategy;'
  put strategy/tests/strategies.rs <tests/strategies.rs
  local file
  for file in tests/golden/fixtures/*.json; do put "strategy/$file" <"$file"; done
}

middle() {
  manifest middle middle 'essa = { path = "../strategy", package = "strategy" }' | put middle/Cargo.toml
  copy middle farm/racing.rs engine/{cache,sampling}.rs $(cd src && ls {reward,task,task/*}/*.rs)
  bare middle model/kernels/{rows,simd}.rs
  {
    echo 'mod rows; mod simd; pub use rows::{Softmax, argmax, softmax_span_sums, softmax_weights, span_maxima};'
    echo 'use half::{bf16, f16}; use serde::{Deserialize, Serialize};'
    items model/kernels/attention.rs BLOCK KvKind RowAddress
    items model/kernels/adapter.rs Core Side SidePath
    items model/kernels/packed.rs Int4Group
  } | put middle/src/model/kernels/mod.rs
  {
    echo 'mod cache; mod sampling; pub use sampling::Sampling; use serde::{Deserialize, Serialize};'
    items engine/mod.rs Finish
  } | put middle/src/engine/mod.rs
  {
    echo 'use serde::{Deserialize, Serialize};'
    items text/mod.rs Message
  } | put middle/src/text.rs
  put middle/src/lib.rs <<'END'
#![allow(warnings)]
pub use essa::*;
pub mod engine;
pub mod farm { pub mod racing; }
pub mod model { pub mod kernels; }
pub mod reward;
pub mod task;
pub mod text;
END
}

top() {
  manifest top top 'middle = { path = "../middle" }' 'tch = { path = "../tch" }' | put top/Cargo.toml
  copy top run/diagnosis.rs report/leaderboard.rs plan/sweep.rs adapter/peft.rs $(cd src && ls record/*.rs)
  bare top adapter/{mod,bank,basis}.rs config/{mod,table,page}.rs model/{batch,config,gguf,gguf/blocks,map,options,safetensors,weights}.rs
  put top/experiments/quickstart.toml <experiments/quickstart.toml
  bare top $(cd src && ls space/*.rs | grep -vx space/svd.rs)
  {
    echo 'use crate::error::Result; use crate::seed::Seed; use tch::Tensor;'
    items space/svd.rs Svd
    echo 'pub fn svd(_: &[f32], _: usize, _: usize) -> Result<Svd> { unimplemented!() }'
    echo 'pub fn truncated_svd(_: &[f32], _: usize, _: usize, _: usize, _: Seed) -> Result<Svd> { unimplemented!() }'
    echo 'pub fn numbers(_: &Tensor) -> Vec<f32> { unimplemented!() }'
  } | put top/src/space/svd.rs
  {
    echo 'use crate::error::{Error, Result}; use serde::{Deserialize, Serialize};'
    items model/linear.rs Precision
  } | put top/src/model/linear.rs
  {
    grep -vE '^pub use transformer|^(pub )?mod (fused|kernels|layer|library|plain|transformer);' src/model/mod.rs
    echo 'pub use middle::model::kernels;'
    echo 'pub struct Transformer(ModelConfig); impl Transformer { pub fn config(&self) -> &ModelConfig { &self.0 } }'
  } | put top/src/model/mod.rs
  {
    echo 'use crate::engine::Finish; use crate::task::Terms; use serde::{Deserialize, Serialize};'
    items objective/mod.rs Item Rollout
  } | put top/src/objective.rs
  put top/src/lib.rs <<'END'
#![allow(warnings)]
pub use middle::{digest, engine, error, farm, files, linalg, reward, search, seed, statistics, strategy, task, terminal, text};
pub mod adapter;
pub mod config;
pub mod model;
pub mod objective;
pub mod plan { pub mod sweep; }
pub mod record;
pub mod report { pub mod leaderboard; }
pub mod run { pub mod diagnosis; }
pub mod space;
END
}

# Copies that an earlier call has rewritten.
mkdir -p "$out/outcomes"
find "$out" -name '*.rs.was' -delete
libraries
words
strategy
middle
top
cargo build --quiet --release --manifest-path scripts/mutants/Cargo.toml --target-dir "$out/tool"
tool=$out/tool/release/mutants
cd "$out"

# A name is a file under src/ without its ending, or a folder of such.
if [ $# -eq 0 ]; then
  set -- strategy farm engine reward report run/diagnosis record/metrics record/outcome adapter/peft plan/sweep task/splits \
    search seed statistics
fi
chosen=()
for name; do
  for file in {words,strategy,middle,top}/src/"$name".rs {words,strategy,middle,top}/src/"$name"/*.rs; do
    [ ! -e "$file" ] || chosen+=(--file "$file")
  done
done
cargo mutants --list --json --dir . "${chosen[@]}" >list.json

# program CRATE KIND..: builds tests and prints where they lie.
program() {
  local crate=$1
  shift
  cargo test --quiet --package "$crate" "$@" --no-run --message-format=json | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'
}

for crate in words strategy middle top; do
  grep -q "\"$crate/" list.json || continue
  unviable=outcomes/$crate.unviable
  touch "$unviable"
  # What does not compile is taken out, until the rest does.
  while "$tool" switch list.json . "$crate" "$unviable"; ! cargo test --quiet --package "$crate" --lib --no-run \
    --message-format=json >messages.json 2>/dev/null; do
    "$tool" blame list.json . "$crate" "$unviable" <messages.json
  done
  programs=("$(program "$crate" --lib) -q")
  if [ $crate = strategy ]; then
    programs+=("$(program strategy --test strategies) -q --skip as_many_evaluations --skip invariant --skip drift")
  fi
  # The words are tested where they are used, too.
  [ $crate != words ] || programs+=("$(program top --lib) -q")
  (cd "$crate" && RUST_BACKTRACE=0 "$tool" run ../list.json "$crate" "../$unviable" "../outcomes/$crate" 30 "${programs[@]}")
done
