#!/bin/sh
# tools/bench/query.sh ROWS DOCUMENTS: bench/query, and the official JavaScript SDK beside it where `make interop` has
# installed it, on the emulator AIOCOSMOS_EMULATOR. BUILD (build) is where our programs are.
set -eu

"${BUILD:-build}/bench/query" "$AIOCOSMOS_EMULATOR" "$1" "$2"
if command -v node >/dev/null && [ -d build/interop/js/node_modules ]; then
    INTEROP_JS=$PWD/build/interop/js node tools/bench/query.mjs
else
    echo "without the JavaScript SDK: node, or what make interop installs, is not there"
fi
