#!/bin/sh
# tools/demo.sh [--keep]: runs the main job (examples/telemetry.c) on the account of AIOCOSMOS_CONNECTION_STRING, or
# where that is not set on the embedded emulator, with 8 partitions. BUILD (build) is where the programs are.
set -u

telemetry=${BUILD:-build}/examples/telemetry
if [ -n "${AIOCOSMOS_CONNECTION_STRING:-}" ]; then
    exec "$telemetry" "$@"
fi
export EMULATOR_OPTIONS="--partitions 8"
exec "$(dirname "$0")/with-emulator.sh" "$telemetry" "$@"
