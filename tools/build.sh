#!/bin/sh
# Configures (the first time) and builds one preset: tools/build.sh release|asan|tsan|fuzz [TARGET…]
set -eu
cd "$(dirname "$0")/.."
preset=$1
shift
case $preset in
release) dir=build ;;
*) dir=build/$preset ;;
esac
mkdir -p "$dir"
# Quiet when it goes well, in full when it doesn't.
if ! cmake --preset "$preset" >"$dir/configure.log" 2>&1; then
    cat "$dir/configure.log" >&2
    exit 1
fi
grep -h '^-- weir:' "$dir/configure.log" || true
targets=
for target; do
    targets="$targets --target $target"
done
# shellcheck disable=SC2086
exec cmake --build "$dir" $targets
