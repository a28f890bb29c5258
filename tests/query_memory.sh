#!/bin/sh
# tests/query_memory.sh: ORDER BY over 100,000 documents in 16 partitions gives all of them in order, in no more memory
# than bench/query states. BUILD (build) is where the programs are.
set -u

on_emulator='"$1" "$AIOCOSMOS_EMULATOR" 100000'
if EMULATOR_OPTIONS='--partitions 16' tools/with-emulator.sh sh -c "$on_emulator" sh "${BUILD:-build}/bench/query"; then
    echo "query_memory: 1 passed, 0 failed"
else
    echo "query_memory: 0 passed, 1 failed"
    exit 1
fi
