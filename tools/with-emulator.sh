#!/bin/sh
# tools/with-emulator.sh COMMAND...: runs a command beside an emulator of its own on a free port, whose address is in
# AIOCOSMOS_EMULATOR, and stops the emulator afterwards. BUILD (build) is where the emulator is, and
# EMULATOR_OPTIONS what it is given, cut at blanks.
set -u

directory=$(mktemp -d)
mkfifo "$directory/output"
"${BUILD:-build}/aiocosmos-emulator" --port 0 ${EMULATOR_OPTIONS:-} >"$directory/output" &
emulator=$!
trap '{ kill $emulator; wait $emulator; } 2>/dev/null; rm -rf "$directory"' EXIT
trap 'exit 1' HUP INT TERM

# Stays open, so that the emulator can go on printing.
exec 3<"$directory/output"
read -r ready url <&3
if [ "$ready" != ready ]; then
    echo "the emulator did not start" >&2
    exit 1
fi
AIOCOSMOS_EMULATOR=$url "$@"
