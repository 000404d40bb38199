# One profile everywhere: libtorch's bindings take minutes to compile, so they are compiled once, for release.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup build test test-long test-alone fuzz-check quickstart fmt clippy doc bench golden clean

# The bindings would ask this variable before LIBTORCH and then link another libtorch than the one set up.
unexport LIBTORCH_USE_PYTORCH

# Everything but these needs the set-up, which writes FEATURES and MODEL into .setup.mk. It runs once per make: after
# writing, make starts over (MAKE_RESTARTS) and reads them.
ifneq ($(filter-out help fmt clean,$(MAKECMDGOALS)),)
include .setup.mk
ifeq ($(MAKE_RESTARTS),)
.setup.mk: run-setup
	@scripts/setup.sh
.PHONY: run-setup
run-setup:
endif
endif

FLAGS = $(if $(FEATURES),--features $(FEATURES))

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## system packages, libtorch, a small model; every target that needs them starts with this
	@:

build: ## target/release/essa, with MPI where there is MPI
	cargo build --release $(FLAGS)

test: ## every test but the long ones; the last line counts them
	@scripts/test.sh $(FLAGS)

test-long: ## the long tests, those marked #[ignore]
	@scripts/test.sh $(FLAGS) -- --ignored

test-alone: ## the farm's tests in one process, as where there is no MPI
	cargo test --release --test farm

fuzz-check: ## the fuzz targets compile; nothing is linked, so libFuzzer itself is left out
	CUSTOM_LIBFUZZER_PATH=/none/libnone.a cargo check --release --locked --manifest-path fuzz/Cargo.toml --target-dir "$${CARGO_TARGET_DIR:-target}"

quickstart: export MODEL := $(MODEL)
quickstart: build ## align the small model on a small task, from nothing
	./target/release/essa align quickstart --set model.path="$$MODEL"

fmt: ## format the source
	cargo fmt

clippy: ## the linter, warnings are errors
	cargo clippy --release --all-targets $(FLAGS) -- -D warnings

doc: ## the API documentation, warnings are errors
	RUSTDOCFLAGS='-D warnings' cargo doc --release --no-deps $(FLAGS)

bench: ## the benchmarks
	cargo bench $(FLAGS)

golden: ## make the golden fixtures anew from the independent implementations
	@if [ -e tests/golden/make.sh ]; then tests/golden/make.sh; else \
	echo 'tests/golden/make.sh is not here, so there are no golden fixtures to make.' >&2; exit 1; fi

clean: ## delete what was built; downloads stay in the cache
	cargo clean
