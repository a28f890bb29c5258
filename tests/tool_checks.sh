# tests/tool_checks.sh: what the scripts that test the command-line tool share. Each of them begins with
#     . tests/tool_checks.sh
# and ends with its parts, then report. BUILD (build) is where the programs are.
set -u

if [ $# -eq 0 ]; then
    build=$(cd "${BUILD:-build}" && pwd)
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    tool=$build/aiocosmos emulator=$build/aiocosmos-emulator
    unset AIOCOSMOS_CONNECTION_STRING AIOCOSMOS_ENDPOINT AIOCOSMOS_KEY AIOCOSMOS_TOKEN AIOCOSMOS_PROFILE
    export build work tool emulator
    : >"$work/passed" && : >"$work/failed"
    echo '{"id":"a","region":"eu"}' >"$work/ann.ndjson"
fi
skipped=

pass() {
    echo >>"$work/passed"
}

fail() {
    echo >>"$work/failed"
    echo "tool: $1"
    echo "  stdout: $(head -c 500 "$work/out")"
    echo "  stderr: $(head -c 500 "$work/err")"
}

# exits STATUS COMMAND...: what it prints is in $work/out and $work/err, for the checks below.
exits() {
    expected=$1
    shift
    "$@" >"$work/out" 2>"$work/err"
    status=$?
    last="$*"
    if [ $status -eq "$expected" ]; then pass; else fail "exit status $status, not $expected: $last"; fi
}

# prints, says TEXT: on stdout, on stderr. rejects TEXT: in the rejects.
prints() {
    if grep -qF -- "$1" "$work/out"; then pass; else fail "does not print $1: $last"; fi
}

says() {
    if grep -qF -- "$1" "$work/err"; then pass; else fail "does not say $1: $last"; fi
}

rejects() {
    if grep -qF -- "$1" "$work/rejects"; then pass; else fail "does not reject $1: $(head -c 500 "$work/rejects")"; fi
}

# is VALUE EXPECTED WHAT
is() {
    if [ "$1" = "$2" ]; then pass; else fail "$3: $1, not $2"; fi
}

# totals NAME: of the line at the end of an import.
total() {
    sed -n "s/^{\"ok\":.*\"per_second\":[0-9.]*}$/&/; s/.*\"$1\":\([0-9.]*\).*/\1/p" "$work/out"
}

count() {
    "$tool" export game "$1" 2>/dev/null | wc -l | tr -d ' '
}

# await N CONTAINER: until that many items are there.
await() {
    tries=0
    while [ "$(count "$2")" -lt "$1" ] && [ $tries -lt 200 ]; do
        tries=$((tries + 1))
        sleep 0.05
    done
    is "$(count "$2")" "$1" "items in $2"
}

# await_text TEXT: until that has been said.
await_text() {
    tries=0
    while ! grep -qF -- "$1" "$work/err" && [ $tries -lt 200 ]; do
        tries=$((tries + 1))
        sleep 0.05
    done
    says "$1"
}

# await_more CONTAINER: until it has more items than now.
await_more() {
    before=$(count "$1")
    tries=0
    while [ "$(count "$1")" -le "$before" ] && [ $tries -lt 200 ]; do tries=$((tries + 1)); done
}

# documents N: a line each.
documents() {
    awk -v n="$1" 'BEGIN {
        for (i = 1; i <= n; i++) printf "{\"id\":\"%d\",\"region\":\"r%d\",\"n\":%d}\n", i, i % 50, i
    }'
}

players() {
    "$tool" db create game --if-not-exists >/dev/null 2>&1
    "$tool" container create game "$1" --partition-key /region >/dev/null 2>&1
}

# Whether types() works: a minimal system may have no script(1), or no /dev/pts.
has_terminal() {
    script -qec true /dev/null >/dev/null 2>&1 </dev/null
}

# types TEXT COMMAND: of somebody at a terminal; what is said there is in $work/out.
types() {
    last=$2
    echo "$1" | script -qec "$2" /dev/null >"$work/out" 2>"$work/err"
    status=$?
}

# with_emulator PART OPTION...: runs a part of this script beside an emulator with these options.
with_emulator() {
    part=$1
    shift
    mkdir -p "$work/$part"
    { echo '#!/bin/sh'; echo "exec '$emulator' $* \"\$@\""; } >"$work/$part/aiocosmos-emulator"
    chmod +x "$work/$part/aiocosmos-emulator"
    BUILD=$work/$part tools/with-emulator.sh "$0" "$part"
}

# own_emulator OPTION...: one that this script can stop: its process is $own, and its address what the tool takes. Its
# port may be another's as soon as it is gone: where each address of 127.0.0.0/8 is this machine's, it has one that
# others do not listen at.
own_emulator() {
    [ "$(uname -s)" != Linux ] || set -- --host 127.$(($$ / 62500 + 1)).$(($$ / 250 % 250 + 1)).$(($$ % 250 + 1)) "$@"
    rm -f "$work/own"
    mkfifo "$work/own"
    "$emulator" --port 0 "$@" >"$work/own" &
    own=$!
    exec 9<"$work/own"
    read -r ready AIOCOSMOS_ENDPOINT <&9
    export AIOCOSMOS_ENDPOINT
}

# own_answer TEXT [HEADER]: a server whose answer to everything is this, with the service's headers; to be stopped
# likewise. False: there is no perl to be it.
own_answer() {
    if ! perl -MIO::Socket::INET -e 1 2>/dev/null; then
        echo 'tool: skipped: there is no perl to answer what no emulator does'
        return 1
    fi
    rm -f "$work/own"
    mkfifo "$work/own"
    perl -MIO::Socket::INET -e '
        my $server = IO::Socket::INET->new(LocalAddr => "127.0.0.1", Listen => 8) or die;
        $| = 1;
        print "http://127.0.0.1:", $server->sockport, "\n";
        while (my $peer = $server->accept) {
            while (my $line = <$peer>) { last if $line =~ /^\r?\n/ }
            print $peer "HTTP/1.1 200 OK\r\nx-ms-activity-id: 1\r\nContent-Length: ", length $ARGV[0];
            print $peer "\r\n$ARGV[1]" if $ARGV[1];
            print $peer "\r\nConnection: close\r\n\r\n$ARGV[0]";
        }' "$1" "${2-}" >"$work/own" &
    own=$!
    exec 9<"$work/own"
    read -r AIOCOSMOS_ENDPOINT <&9
    export AIOCOSMOS_ENDPOINT
}

bury() {
    { kill -CONT "$own" && kill -KILL "$own"; wait "$own"; } 2>/dev/null
    exec 9<&-
    unset AIOCOSMOS_ENDPOINT
}

# run_part NAME: a part of the script, beside the emulator that with_emulator has started for it; it ends the script.
run_part() {
    AIOCOSMOS_ENDPOINT=$AIOCOSMOS_EMULATOR
    export AIOCOSMOS_ENDPOINT
    rm -f "$work/fifo"
    "part_$1"
    exit 0
}

# report NAME: the last line.
report() {
    passed=$(wc -l <"$work/passed") failed=$(wc -l <"$work/failed")
    echo "$1: $((passed)) passed, $((failed)) failed$skipped"
    [ "$failed" -eq 0 ]
}
