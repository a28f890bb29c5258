#!/bin/sh
# What is packed: manual pages that say what --help says, a Dockerfile, the emulator as the only process of a container.
# BUILD (build) is where the programs are.
set -u

build=${BUILD:-build}
passed=0 failed=0 skipped=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# check NAME COMMAND...: what it prints is shown if it fails.
check() {
    name=$1
    shift
    if "$@" >"$work/output" 2>&1 </dev/null; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        cat "$work/output"
        echo "packaging: $name failed"
    fi
}

# skip NAME WHY
skip() {
    skipped=$((skipped + 1))
    echo "packaging: skipped: $1: $2"
}

# The options that a text names, each once. A manual page writes "\-\-port".
options() {
    sed 's/\\-/-/g; s/\\f[BIR]/ /g' | grep -oE '(^|[^a-zA-Z-])--[a-z][a-z-]*' | grep -oE -- '--.*' | sort -u
}

same_options() {
    options <"$1" >"$work/one"
    options <"$2" >"$work/other"
    [ -s "$work/one" ] && diff "$work/one" "$work/other"
}

helps_of_tool() {
    "$build/aiocosmos" --help
    "$build/aiocosmos" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]* *[a-z]*\)  .*/\1/p' | while read -r command; do
        # Two words at most: what stands behind them is what it does.
        "$build/aiocosmos" $command --help
    done
}

# What groff has to complain of; nothing else on its stderr.
formats() {
    [ -z "$(groff -man -Tutf8 -ww "$1" 2>&1 >/dev/null | tee /dev/stderr)" ]
}

"$build/aiocosmos-emulator" --help >"$work/emulator.help"
"$build/aiocosmos" --man >"$work/aiocosmos.1"
helps_of_tool >"$work/tool.help"
check 'the emulator: --help and manual page' same_options "$work/emulator.help" tools/packaging/aiocosmos-emulator.1
check 'the tool: --help and manual page' same_options "$work/tool.help" "$work/aiocosmos.1"

# Nor does the page keep quiet about a control.
says_controls() {
    for control in $(sed -n 's/^    { "\([a-z]*\)",.*EMU_VERB.*/\1/p' tools/emulator/control.c) health explorer; do
        grep -q "/_emulator/$control" tools/packaging/aiocosmos-emulator.1 && continue
        echo "$control is missing"
        return 1
    done
}
check 'the emulator: controls on its manual page' says_controls

if command -v groff >/dev/null; then
    check 'the emulator: its manual page' formats tools/packaging/aiocosmos-emulator.1
    check 'the tool: its manual page' formats "$work/aiocosmos.1"
else
    skip 'manual pages' 'no groff'
fi

check 'the Dockerfile has five lines' test "$(wc -l <tools/packaging/Dockerfile)" -eq 5

# As process 1 of what it sees, as in a container, where signals have no default.
ends_as_init() {
    mkfifo "$work/ready"
    unshare --fork --pid --kill-child "$build/aiocosmos-emulator" --port 0 --host 0.0.0.0 >"$work/ready" &
    outside=$!
    read -r word url <"$work/ready"
    read -r inside <"/proc/$outside/task/$outside/children"
    [ "$word" = ready ] && kill -TERM "$inside" && wait "$outside" && return
    kill "$outside"
    return 1
}
if unshare --fork --pid true 2>/dev/null; then
    check 'SIGTERM ends process 1' ends_as_init
else
    skip 'SIGTERM ends process 1' 'no namespace of processes'
fi

# What the Dockerfile makes, without docker: the program linked statically, alone in an empty root, asked from outside.
statically() {
    ${CC:-cc} -std=gnu99 -O1 -static -I. ${BEARSSL_CFLAGS:-} -o "$@" ${BEARSSL_LIBS:--lbearssl} -lm
}

alone_in_a_root() {
    mkdir "$work/empty"
    mkfifo "$work/alone"
    statically "$work/empty/emulator" tools/emulator/program.c "$build/tools/emulator/unit.o" || return
    unshare --fork --pid --kill-child chroot "$work/empty" /emulator --port 0 --host 0.0.0.0 >"$work/alone" &
    outside=$!
    read -r word url <"$work/alone"
    read -r inside <"/proc/$outside/task/$outside/children"
    "$build/aiocosmos" --endpoint "$url" db create D && kill -TERM "$inside" && wait "$outside" && return
    kill "$outside"
    return 1
}

echo 'int main(void) { return 0; }' >"$work/nothing.c"
if ! unshare --fork --pid chroot / true 2>/dev/null; then
    skip 'a container of the Dockerfile' 'no other root'
elif ! statically "$work/nothing" "$work/nothing.c" 2>/dev/null; then
    skip 'a container of the Dockerfile' 'no static libraries'
else
    check 'a container of the Dockerfile' alone_in_a_root
fi

[ $skipped -eq 0 ] && skipped= || skipped=", $skipped skipped"
echo "packaging: $passed passed, $failed failed$skipped"
[ $failed -eq 0 ]
