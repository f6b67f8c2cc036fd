#!/bin/bash
# Runs every fuzzer of build/fuzz for FUZZ_SECONDS on its committed corpus (fuzz/corpus/NAME). New
# inputs stay in build/fuzz/corpus/NAME; one that crashes is written to build/fuzz/crash-NAME-….
set -euo pipefail
cd "$(dirname "$0")/.."
tools/build.sh fuzz
seconds=${FUZZ_SECONDS:-60}
count=0
for fuzzer in build/fuzz/fuzz_*; do
    [ -f "$fuzzer" ] && [ -x "$fuzzer" ] || continue
    name=${fuzzer##*/fuzz_}
    mkdir -p "build/fuzz/corpus/$name" "fuzz/corpus/$name"
    echo "fuzz: $name for $seconds s"
    if ! "$fuzzer" -max_total_time="$seconds" -print_final_stats=1 -verbosity=0 -timeout=10 \
        -rss_limit_mb=2048 -artifact_prefix="build/fuzz/crash-$name-" \
        "build/fuzz/corpus/$name" "fuzz/corpus/$name" >"build/fuzz/$name.log" 2>&1; then
        tail -40 "build/fuzz/$name.log"
        echo "fuzz: $name FAILED; the input is build/fuzz/crash-$name-*, the log build/fuzz/$name.log"
        exit 1
    fi
    grep -E 'number_of_executed_units|new_units_added' "build/fuzz/$name.log" || true
    count=$((count + 1))
done
echo "fuzz: $count fuzzers, no crash"
[ "$count" -gt 0 ]
