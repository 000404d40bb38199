#!/usr/bin/env bash
# Runs `cargo test --release` with the given arguments and ends with the counts of all its programs on one line.
# Exits non-zero when a test failed, when a test program died, and when no test ran at all.
set -uo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
log="$work/log"
# What tests keep between runs would hide what they no longer make; downloads are named by .cargo/config.toml and stay.
export ESSA_CACHE="$work/cache"
# A test that cannot run here, or a part of it, leaves a line (tests/support/skip.rs).
export ESSA_TEST_SKIPS="$work/skips"
: >"$ESSA_TEST_SKIPS"

# Without --no-fail-fast the first failing program would hide what the others have to say.
cargo test --release --no-fail-fast "$@" 2>&1 | tee "$log"
status=$?

sort -u "$ESSA_TEST_SKIPS" >"$work/sorted"
awk -v status="$status" '
    # First the skips: "program::test: what is missing".
    FILENAME != ARGV[2] {
        name = substr($0, 1, index($0, ": ") - 1)
        if (!(name in seen)) partly += 1
        seen[name] = lines[++count] = $0
        next
    }
    /^test result: / { passed += $4; failed += $6; skipped += $8 }
    END {
        # A program that aborts, or does not compile, prints no result of its own; it must not go uncounted.
        if (status != 0 && failed == 0) failed = 1
        if (partly > passed) partly = passed
        if (partly > 0) {
            printf "\n%d tests could not run here, or only in part, and count as skipped:\n", partly
            for (i = 1; i <= count; i++) print "  " lines[i]
        }
        printf "%d passed, %d failed, %d skipped\n", passed - partly, failed, skipped + partly
        exit (failed > 0 || passed == 0)
    }' "$work/sorted" "$log"
