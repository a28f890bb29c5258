#!/bin/sh
# tests/run.sh PROGRAM...: runs test programs, JOBS (a processor each) at a time, and adds up their last lines,
# "NAME: N passed, N failed" with ", N skipped" where some were. Prints, as they end, that line and what was skipped;
# the whole output of a program that failed. One that fails without counting it (a crash, a leak, out of time) is one
# failure more. In brackets: which of how many, and its seconds. TEST_TIMEOUT (900): the seconds of one. At the end: the
# CPU that this took, and before it the make whose process is MAKE_PID, with all that it has compiled.
set -u

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
count=$# ended=0 passed=0 failed=0 skipped=0

# Says "PLACE STATUS SECONDS" of each program when it has ended; its output is in $work/PLACE.
run_all() {
    place=0
    for program; do
        place=$((place + 1))
        echo "$place $program"
    done | xargs -r -n 2 -P "${JOBS:-$(nproc 2>/dev/null || echo 1)}" sh -c '
        from=$(date +%s)
        timeout -k 10 "${TEST_TIMEOUT:-900}" "$2" >"$0/$1" 2>&1 </dev/null
        echo "$1 $? $(($(date +%s) - from))"' "$work"
}

# tell PROGRAM OUTPUT STATUS SECONDS
tell() {
    program=$1 output=$2 status=$3 place="[$ended/$count, $4 s]"
    summary=$(grep -E ': [0-9]+ passed, [0-9]+ failed' "$output" | tail -n 1)
    set -- $(echo "${summary##*: }" | tr -c '0-9\n' ' ') # its numbers
    if [ "$status" -eq 0 ] && [ "${2:-1}" -eq 0 ]; then
        grep ': skipped: ' "$output"
        echo "$place $summary"
    else
        [ "${2:-0}" -gt 0 ] || failed=$((failed + 1))
        cat "$output"
        [ "$status" -ne 124 ] || status="$status: out of time, TEST_TIMEOUT=${TEST_TIMEOUT:-900}"
        echo "$place $program failed (exit status $status)"
    fi
    passed=$((passed + ${1:-0})) failed=$((failed + ${2:-0})) skipped=$((skipped + ${3:-0}))
}

# tell_all PROGRAM...: each when it has ended, and how many have.
tell_all() {
    while read -r place status seconds; do
        ended=$((ended + 1))
        eval "program=\${$place}"
        tell "$program" "$work/$place" "$status" "$seconds"
    done
    if [ $ended -lt $count ]; then
        failed=$((failed + count - ended))
        echo "$((count - ended)) programs were not run"
    fi
    [ $skipped -eq 0 ] && skipped= || skipped=", $skipped skipped"
    echo "$passed passed, $failed failed$skipped" >"$work/summary"
    [ $failed -eq 0 ]
}

# Of both the processes that have ended, too, in seconds: "0m1.25s 0m0.50s" a line of times, and in ticks behind the
# name, which may have spaces, in /proc.
cpu_seconds() {
    times >"$work/times"
    sed 's/.*) //' "/proc/${MAKE_PID:-0}/stat" 2>/dev/null |
        awk -v tick="$(getconf CLK_TCK)" '{ print "make", ($12 + $13 + $14 + $15) / tick }' >>"$work/times"
    awk '$1 == "make" { sum += $2; next }
        { for (i = 1; i <= NF; i++) { split($i, part, "[ms]"); sum += 60 * part[1] + part[2] } }
        END { printf "%.0f", sum }' "$work/times"
}

run_all "$@" | tell_all "$@"
status=$?
cpu_seconds >"$work/cpu"
echo "$(cat "$work/cpu") s of CPU"
cat "$work/summary"
exit $status
