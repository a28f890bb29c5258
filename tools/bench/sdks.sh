#!/usr/bin/env bash
# tools/bench/sdks.sh FOLDER: the bulks of official SDKs beside ours, the same items, in turn, on the server of
# `make bench`. FOLDER has its programs. The SDKs are those of `make interop`; what is not there is left out, which is
# said. COUNT (10000): items that an SDK inserts and that are counted, after as many that are not. BENCH_ROUNDS (5): at
# most two of these.
set -euo pipefail

folder=$1
kept=$PWD/build/interop
count=${COUNT:-10000}
rounds=${BENCH_ROUNDS:-5}
TIMEFORMAT='%U %S'
export INTEROP_JS=$kept/js

if [ ! -e "$kept/js.done" ] && [ ! -e "$kept/java.done" ]; then
    echo "official SDKs are not here (make interop installs them): nothing to compare with"
    exit 0
fi
exec {output}< <(exec "$folder/server")
server=$!
trap 'kill $server' EXIT
read -r _ url <&"$output"

# inserts: how many the server has seen.
inserts() {
    local answer
    exec 3<>"/dev/tcp/127.0.0.1/${url##*:}"
    printf 'GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n' >&3
    while read -r answer; do
        case $answer in *'"inserts":'*) break ;; esac
    done <&3
    exec 3>&-
    answer=${answer##*'"inserts":'}
    echo "${answer%%,*}"
}

# tell NAME ITEMS CPU_US SECONDS
tell() {
    awk -v name="$1" -v items="$2" -v cpu="$3" -v seconds="$4" 'BEGIN {
        printf "%-18s %8d items  %8.2f us of CPU each  %9.0f a second\n", name, items, cpu / items, items / seconds }'
}

ours() {
    local before cpu
    before=$(inserts)
    cpu=$({ time "$folder/client" "$url" batches 1 >/dev/null; } 2>&1)
    tell "aiocosmos" $(($(inserts) - before)) "$(awk '{ print ($1 + $2) * 1000000 }' <<<"$cpu")" 1
}

# theirs NAME COMMAND...
theirs() {
    local said
    said=$("${@:2}" "$url" "$count") || { echo "$1: failed"; exit 1; }
    tell "$1" "$count" "$(awk '$1 == "cpu_us" { print $2 }' <<<"$said")" \
        "$(awk '$1 == "seconds" { print $2 }' <<<"$said")"
}

java_bulk() {
    java -cp "$kept/bulk:$(cat "$kept/java/classpath")" Bulk "$@"
}

if [ -e "$kept/java.done" ]; then
    javac -encoding UTF-8 -cp "$(cat "$kept/java/classpath")" -d "$kept/bulk" tools/bench/Bulk.java
fi
echo "bulks in batches by official SDKs, and by ours for a second:"
for ((round = 0; round < rounds && round < 2; round++)); do
    [ ! -e "$kept/js.done" ] || theirs "JavaScript" node tools/bench/bulk.mjs
    ours
    [ ! -e "$kept/java.done" ] || theirs "Java" java_bulk
done
