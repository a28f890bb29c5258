#!/usr/bin/env bash
# tests/interop/run.sh: others' software against ours: the official SDKs for JavaScript, Python, Go and Java on our
# emulator, our client and our tool on a server that others wrote, and a list of queries that an SDK and our tool must
# answer alike on both. Theirs goes to build/interop; BUILD (build) is where our programs are. The last line is
# "N passed, N failed", and ", N skipped" for what is known not to work, here or in the others' software, and for Go and
# Java where one of them, or what its SDK is made of, cannot be had.
set -euo pipefail

build=${BUILD:-build}
here=tests/interop
kept=$PWD/build/interop
certs=$PWD/build/certs/ec
mkdir -p "$kept"

give_up() {
    echo "interop: $*"
    echo "0 passed, 1 failed"
    exit 1
}

# Something of others' cannot be had. INTEROP_OPTIONAL: then there is nothing to test.
go_without() {
    [ -n "${INTEROP_OPTIONAL-}" ] || give_up "$*"
    echo "interop: skipped: $*"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
}

# need COMMAND PACKAGE...: a command that works, from Debian's or Ubuntu's packages where it does not.
need() {
    $1 >/dev/null 2>&1 && return
    tools/apt-install.sh "${@:2}" || true
    $1 >/dev/null 2>&1 || go_without "\"$1\" fails: install ${*:2}"
}

# up_to_date NAME FILE...: whether NAME was installed as these files say.
up_to_date() {
    cat "${@:2}" | cmp -s - "$kept/$1.done"
}

install_javascript() {
    up_to_date js $here/package.json $here/package-lock.json && return
    rm -rf "$kept/js"
    mkdir "$kept/js"
    cp $here/package.json $here/package-lock.json $here/.npmrc "$kept/js"
    (cd "$kept/js" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) || return
    cat $here/package.json $here/package-lock.json >"$kept/js.done"
}

install_python() {
    up_to_date python $here/requirements.txt && return
    rm -rf "$kept/venv"
    python3 -m venv "$kept/venv"
    "$kept/venv/bin/pip" install --quiet --disable-pip-version-check -r $here/requirements.txt || return
    cp $here/requirements.txt "$kept/python.done"
}

# Status 1: Go or a module cannot be had, or is too old. Another: what we wrote does not compile.
build_go() {
    local from=($here/go.go $here/go.mod $here/go.sum)
    export GOTOOLCHAIN=local CGO_ENABLED=0
    up_to_date go "${from[@]}" && return
    rm -rf "$kept/go"
    mkdir "$kept/go"
    cp "${from[@]}" "$kept/go"
    (cd "$kept/go" && go list -deps . >/dev/null) || return 1
    # Without optimisation it compiles in two thirds of the time.
    (cd "$kept/go" && go build -gcflags='all=-N -l' -ldflags='-s -w' -o go .) || return 2
    cat "${from[@]}" >"$kept/go.done"
}

# The same.
build_java() {
    local from=($here/Java.java $here/pom.xml)
    up_to_date java "${from[@]}" && return
    rm -rf "$kept/java"
    mkdir "$kept/java"
    cp "${from[@]}" "$kept/java"
    javac --release 11 -version >/dev/null 2>&1 || return 1
    (cd "$kept/java" && mvn -q -B dependency:build-classpath -Dmdep.outputFile=classpath >log 2>&1) || return 1
    (cd "$kept/java" && javac -encoding UTF-8 -cp "$(cat classpath)" Java.java) || return 2
    cat "${from[@]}" >"$kept/java.done"
}

# start COMMAND...: a server that runs until we end; what follows "ready" on its first line goes to $ready.
servers=()
start() {
    local output
    exec {output}< <(exec "$@")
    servers+=($!)
    read -r _ ready <&"$output" || give_up "$1 did not start"
}
trap '{ kill "${servers[@]}"; wait; } 2>/dev/null' EXIT

# part NAME COMMAND: a program that does it.
parts=()
part() {
    printf '#!/bin/sh\n%s\n' "$2" >"$kept/part-$1"
    chmod +x "$kept/part-$1"
    parts+=("$kept/part-$1")
}

# with_emulator NAME COMMAND: the part has an emulator of its own, for there are no faults for one client alone.
with_emulator() {
    start "$build/aiocosmos-emulator" --port 0 --any-order
    part "$1" "AIOCOSMOS_EMULATOR=$ready exec $2 \"\$@\""
}

# when_built NAME PID COMMAND: the part, or it is left out, which is said in its place.
when_built() {
    local status=0
    wait "$2" || status=$?
    case $status in
    0) with_emulator "$1" "$3" ;;
    1) part "$1" "echo '$1: skipped: it, or what it needs, cannot be had here
$1: 0 passed, 0 failed, 1 skipped'" ;;
    *) give_up "the part of $1 does not compile" ;;
    esac
}

need 'node --version' nodejs
need 'npm --version' npm
need 'python3 -m ensurepip --version' python3 python3-venv
# The SDK wants the global "crypto" of Node.js 20, which Debian 12's 18 has behind an option.
[ "$(node -p 'parseInt(process.versions.node)')" -ge 20 ] || export NODE_OPTIONS=--experimental-global-webcrypto
install_javascript & javascript=$!
install_python & python=$!
build_go & go=$!
build_java & java=$!
wait $javascript || go_without "npm failed"
wait $python || go_without "pip failed"

export INTEROP_JS=$kept/js INTEROP_CA=$certs/ca.pem NODE_EXTRA_CA_CERTS=$certs/ca.pem PATH=$kept/venv/bin:$PATH
export AIOCOSMOS_EMULATOR_TOKEN=an.entra.token
start "$build/aiocosmos-emulator" --port 0 --any-order --aad-token $AIOCOSMOS_EMULATOR_TOKEN \
    --tls --cert "$certs/good.pem" --key-file "$certs/leaf.key"
export AIOCOSMOS_EMULATOR_TLS=$ready
start "$build/aiocosmos-emulator" --port 0 --any-order --partitions 8
export AIOCOSMOS_EMULATOR_EIGHT=$ready
start node $here/other_server.mjs
export OTHER_SERVER=${ready% *} OTHER_SERVER_TLS=${ready#* }

# The JVM's compiler for what runs long takes more time here than it saves.
when_built java $java \
    "java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp '$kept/java':\"\$(cat '$kept/java/classpath')\" Java"
when_built go $go "'$kept/go/go'"
with_emulator js $here/js.mjs
with_emulator python $here/python.py

BUILD=$build tests/run.sh $here/same_answers.mjs "${parts[@]}" "$build/tests/interop/other_server" $here/tool.sh
