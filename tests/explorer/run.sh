#!/usr/bin/env bash
# tests/explorer/run.sh: the emulator's page in a real browser, Debian's Chromium, without a window. What drives it goes
# to build/explorer; BUILD (build) is where our programs are. The last line is "N passed, N failed"; ", 1 skipped" where
# EXPLORER_OPTIONAL is set and browser or driver cannot be had.
set -euo pipefail

build=${BUILD:-build}
here=tests/explorer
kept=$PWD/build/explorer
mkdir -p "$kept"

go_without() {
    if [ -n "${EXPLORER_OPTIONAL-}" ]; then
        echo "explorer: skipped: $*"
        echo "0 passed, 0 failed, 1 skipped"
        exit 0
    fi
    echo "explorer: $*"
    echo "0 passed, 1 failed"
    exit 1
}

# need COMMAND PACKAGE...: a command that works, from Debian's packages where it does not.
need() {
    $1 >/dev/null 2>&1 && return
    tools/apt-install.sh "${@:2}" || true
    $1 >/dev/null 2>&1 || go_without "\"$1\" fails: install ${*:2}"
}

need 'node --version' nodejs
need 'npm --version' npm
need 'chromium --version' chromium
if ! cmp -s $here/package-lock.json "$kept/done"; then
    cp $here/package.json $here/package-lock.json $here/.npmrc "$kept"
    (cd "$kept" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) || go_without "npm failed"
    cp $here/package-lock.json "$kept/done"
fi

BUILD=$build EXPLORER_JS=$kept CHROMIUM=$(command -v chromium) tests/run.sh $here/explorer.mjs
