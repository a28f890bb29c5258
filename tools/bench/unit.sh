#!/usr/bin/env bash
# tools/bench/unit.sh COMPILER [FLAG...]: what one unit with the implementation costs: the compiler's CPU time at -O2, the
# median of three, and the text column of `size` at -O2 and at -Os, each beside what is asked. A time holds for its
# machine and its minute only.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
TIMEFORMAT='%U %S'

compile() {
    "$@" -DAIOCOSMOS_IMPLEMENTATION -x c -c aiocosmos.h -o "$folder/unit.o" 2>/dev/null
}

text() {
    compile "$@" && size "$folder/unit.o" | awk 'NR == 2 { printf "%.1f\n", $1 / 1000 }'
}

asked() {
    awk -v what="$1" -v is="$2" -v asked="$3" -v unit="$4" \
        'BEGIN { printf "%s: %s %s (asked <= %s: %s)\n", what, is, unit, asked, is + 0 <= asked + 0 ? "met" : "NOT MET" }'
}

seconds=$(for _ in 1 2 3; do { time compile "$@" -O2; } 2>&1; done | awk '{ print $1 + $2 }' | sort -n | sed -n 2p)
asked "an implementation unit, compiled at -O2" "$seconds" 5.2 "s of CPU"
asked "its text at -O2" "$(text "$@" -O2)" 300 KB
asked "its text at -Os" "$(text "$@" -Os)" 218 KB
