#!/bin/sh
# tests/fuzz/run.sh SECONDS [NAME]: runs the fuzzers of BUILD, or one, for so long each, one after the other. They go on
# from what earlier runs found (BUILD/corpus); an input that fails stays in BUILD/found. Ends with "N passed, N failed".
set -u
seconds=$1 only=${2:-} passed=0 failed=0
build=${BUILD:-build/fuzz}

# Freed memory that is watched for, 256 MB, is mostly fetched anew from the system, and costs more than most runs.
export ASAN_OPTIONS="quarantine_size_mb=16:malloc_context_size=10${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
mkdir -p "$build/found"
for source in tests/fuzz/fuzz_*.c; do
    name=${source##*/fuzz_}
    name=${name%.c}
    [ -z "$only" ] || [ "$only" = "$name" ] || continue
    mkdir -p "$build/corpus/$name"
    schedule=
    [ "$name" != client ] || schedule=-entropic=0          # which counts thousands of features a run there, for longer
                                                           # than the run takes
    if nice -n 15 "$build/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="$build/found/$name-" $schedule "$build/corpus/$name" \
        "tests/fuzz/corpus/$name" >"$build/$name.log" 2>&1; then
        passed=$((passed + 1))
        echo "fuzz_$name: $(sed -n 's/^stat::average_exec_per_sec: *//p' "$build/$name.log") runs a second, none failed"
    else
        failed=$((failed + 1))
        grep -v '^#' "$build/$name.log" | tail -n 40
        echo "fuzz_$name failed: $build/$name.log, and the input in $build/found"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
