#!/bin/bash
# make test: stages from quick to slow. Each stage's output goes to the screen and to
# build/test/STAGE.log. Stops at the first stage that fails and says how to run it again; the last
# line is always "N passed, N failed".
#
#   tools/test.sh            all stages
#   tools/test.sh STAGE…     these stages
set -uo pipefail
cd "$(dirname "$0")/.."
logs=build/test
mkdir -p "$logs"
# The sanitizers stop at the first finding; a leak is one too.
export ASAN_OPTIONS=${ASAN_OPTIONS:-abort_on_error=1:detect_leaks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}
passed=0
failed=0

all=(build unit structure asan-build asan asan-integration tsan-build tsan tsan-integration
    integration regress linear)

ctest_in() { # DIR [ctest arguments]
    ctest --test-dir "$1" --output-on-failure --no-tests=ignore -j "$(nproc)" --timeout 900 "${@:2}"
}
pytest_on() { # WEIR [pytest arguments]
    WEIR=$PWD/$1 /usr/bin/python3 -m pytest -p no:cacheprovider -ra -x "${@:2}"
}

run_stage() {
    case $1 in
    build) tools/build.sh release ;;
    unit) ctest_in build ;;
    structure) pytest_on build/weir -q test/structure ;;
    asan-build) tools/build.sh asan ;;
    asan) ctest_in build/asan ;;
    asan-integration)
        pytest_on build/asan/weir -v test/integration/test_{proxy,coherence_exact,hostile}.py
        ;;
    tsan-build) tools/build.sh tsan ;;
    tsan) ctest_in build/tsan -E '^sim/' ;;
    tsan-integration) pytest_on build/tsan/weir -v -k weir test/integration/test_linear.py ;;
    integration) pytest_on build/weir -v test/integration --ignore test/integration/test_linear.py ;;
    regress) pytest_on build/weir -v test/regress ;;
    linear) pytest_on build/weir -v test/integration/test_linear.py ;;
    *) echo "test: no stage '$1'; stages are: ${all[*]}"; return 2 ;;
    esac
}

# Adds up what ctest ("… 2 tests failed out of 30") and pytest ("3 failed, 27 passed in 9s") said.
count() {
    local line of bad good
    line=$(grep -E 'tests? failed out of [0-9]+' "$1" | tail -1)
    if [ -n "$line" ]; then
        bad=$(sed -E 's/.* ([0-9]+) tests? failed out of.*/\1/' <<<"$line")
        of=$(sed -E 's/.*out of ([0-9]+).*/\1/' <<<"$line")
        passed=$((passed + of - bad))
        failed=$((failed + bad))
    fi
    line=$(grep -E '(passed|failed|error|errors)(,| in ).*[0-9]s' "$1" | tail -1)
    if [ -n "$line" ]; then
        good=$(grep -oE '[0-9]+ passed' <<<"$line" | grep -oE '[0-9]+')
        bad=$(grep -oE '[0-9]+ (failed|errors?)' <<<"$line" | grep -oE '^[0-9]+' | paste -sd+)
        passed=$((passed + ${good:-0}))
        failed=$((failed + ${bad:-0}))
    fi
}

status=0
stages=("$@")
[ ${#stages[@]} -gt 0 ] || stages=("${all[@]}")
for i in "${!stages[@]}"; do
    stage=${stages[$i]}
    echo "== test: $stage ($((i + 1)) of ${#stages[@]}, after $((SECONDS / 60)) min) =="
    before=$failed
    run_stage "$stage" 2>&1 </dev/null | tee "$logs/$stage.log"
    status=${PIPESTATUS[0]}
    count "$logs/$stage.log"
    # pytest's 5 is "no tests were chosen", which is no failure of the code.
    if [ "$status" = 5 ]; then status=0; fi
    if [ "$status" != 0 ]; then
        [ "$failed" != "$before" ] || failed=$((failed + 1)) # a build that fails, a crash
        echo "test: stage $stage FAILED; again: tools/test.sh $stage; log: $logs/$stage.log"
        break
    fi
done
echo "$passed passed, $failed failed"
exit "$status"
