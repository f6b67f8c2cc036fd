#!/bin/bash
# clang-format 14 and clang-tidy 14 over src/. `tools/tidy.sh format` rewrites instead of checking.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t sources < <(find src test bench fuzz -name "*.[ch]" | sort)
if [ "${1:-}" = format ]; then
    clang-format-14 -i "${sources[@]}"
    exit
fi
clang-format-14 --dry-run --Werror "${sources[@]}"
echo "tidy: ${#sources[@]} files are formatted"
tools/build.sh release # compile_commands.json
mapfile -t units < <(find src -name "*.c" | sort)
printf '%s\n' "${units[@]}" | xargs -P "$(nproc)" -n 4 clang-tidy-14 -p build --quiet
echo "tidy: ${#units[@]} units are clean"
