#!/bin/sh
# tests/run.sh PROGRAM...: runs test programs one after another and adds up their last lines, "NAME: N passed, N failed"
# with ", N skipped" where some were. Prints that line and what was skipped; the whole output of a program that failed.
# One that fails without counting it (a crash, a leak, out of time) is one failure more.
set -u

output=$(mktemp)
trap 'rm -f "$output"' EXIT
passed=0 failed=0 skipped=0

for program; do
    timeout -k 10 "${TEST_TIMEOUT:-300}" "$program" >"$output" 2>&1
    status=$?
    summary=$(grep -E ': [0-9]+ passed, [0-9]+ failed' "$output" | tail -n 1)
    set -- $(echo "${summary##*: }" | tr -c '0-9\n' ' ') # its numbers
    if [ $status -eq 0 ] && [ "${2:-1}" -eq 0 ]; then
        grep ': skipped: ' "$output"
        echo "$summary"
    else
        [ "${2:-0}" -gt 0 ] || failed=$((failed + 1))
        cat "$output"
        echo "$program failed (exit status $status)"
    fi
    passed=$((passed + ${1:-0})) failed=$((failed + ${2:-0})) skipped=$((skipped + ${3:-0}))
done

[ $skipped -eq 0 ] && skipped= || skipped=", $skipped skipped"
echo "$passed passed, $failed failed$skipped"
[ $failed -eq 0 ]
