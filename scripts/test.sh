#!/usr/bin/env bash
# Runs `cargo test --release` with the given arguments and ends with the counts of all its programs on one line.
# Exits non-zero when a test failed, when a test program died, and when no test ran at all.
set -uo pipefail

log="$(mktemp)"
trap 'rm -f "$log"' EXIT
# Without --no-fail-fast the first failing program would hide what the others have to say.
cargo test --release --no-fail-fast "$@" 2>&1 | tee "$log"
status=$?

awk -v status="$status" '
    /^test result: / { passed += $4; failed += $6; skipped += $8 }
    END {
        # A program that aborts, or does not compile, prints no result of its own; it must not go uncounted.
        if (status != 0 && failed == 0) failed = 1
        printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
        exit (failed > 0 || passed == 0)
    }' "$log"
