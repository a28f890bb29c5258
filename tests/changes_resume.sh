#!/bin/sh
# Kills examples/changes_resume with SIGKILL again and again while it reads: in the end each sale was counted once. The
# account is that of AIOCOSMOS_CONNECTION_STRING, and BUILD (build) is where the programs are.
set -u

build=${BUILD:-build} reader='' sales=1000
work=$(mktemp -d)
trap '[ -z "$reader" ] || kill -9 "$reader"; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkfifo "$work/said"

# read_until N: runs the reader until it has said N lines, or that it has all sales, and kills it at once, wherever it is.
read_until() {
    "$build/examples/changes_resume" "$work/state" >"$work/said" &
    reader=$! left=$1
    while read -r line; do
        left=$((left - 1))
        [ $left -gt 0 ] && [ "${line%% *}" != $sales ] || break
    done <"$work/said"
    kill -9 $reader
    wait $reader 2>/dev/null
    reader=
}

seq $sales | sed 's|.*|{"id":"&","shop":"&","price":&}|' >"$work/sales"
"$build/aiocosmos" db create example-changes-resume &&
    "$build/aiocosmos" container create example-changes-resume sales --partition-key /shop &&
    "$build/aiocosmos" import example-changes-resume sales "$work/sales" || exit 1
for lines in 1 2 1 3 1 4 1 5 2; do read_until $lines; done
echo "after nine kills: $line"
read_until $sales
echo "in the end: $line"
[ "$line" = "$sales sales, $((sales * (sales + 1) / 2))" ]
