#!/bin/sh
# tools/demo.sh [--keep]: runs the main job (examples/telemetry.c) on the account of AIOCOSMOS_CONNECTION_STRING, or
# where that is not set on the embedded emulator. BUILD (build) is where the programs are.
set -u

telemetry=${BUILD:-build}/examples/telemetry
if [ -n "${AIOCOSMOS_CONNECTION_STRING:-}" ]; then
    exec "$telemetry" "$@"
fi
exec "$(dirname "$0")/with-emulator.sh" "$telemetry" "$@"
