#!/bin/bash
# What `make test` runs for minutes, for hours: SOAK_MINUTES (120) shared by the simulation (new
# seeds), the linearizability load with faults, the memory churn and the fuzzers.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${SOAK_MINUTES:-120}
share=$((minutes * 60 / 4))
[ "$share" -gt 0 ] || share=1
tools/build.sh release
tools/build.sh asan
export WEIR_SOAK_SECONDS=$share
echo "soak: simulation, $share s"
end=$(($(date +%s) + share)) seed=$(date +%s)
while [ "$(date +%s)" -lt "$end" ]; do
    build/asan/sim --seeds "$seed" 50
    seed=$((seed + 50))
done
echo "soak: linearizability, $share s"
WEIR=$PWD/build/weir /usr/bin/python3 -m pytest -v --soak test/integration/test_linear.py
echo "soak: memory and hostile input, $share s"
end=$(($(date +%s) + share))
while [ "$(date +%s)" -lt "$end" ]; do
    WEIR=$PWD/build/weir /usr/bin/python3 -m pytest -q -x --ignore test/integration/test_linear.py test/integration
done
fuzzers=$(find fuzz -maxdepth 1 -name 'fuzz_*.c' | wc -l)
FUZZ_SECONDS=$((share / (fuzzers > 0 ? fuzzers : 1))) tools/fuzz.sh
echo "soak: done"
