#!/bin/sh
# Runs the demo, and every example on an emulator of its own. BUILD (build) is where the programs are.
set -u

build=${BUILD:-build}
key='C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=='
passed=0 failed=0 skipped=0
output=$(mktemp)
trap 'rm -f "$output"' EXIT

# check NAME COMMAND...: what it prints is shown if it fails.
check() {
    name=$1
    shift
    if "$@" >"$output" 2>&1 </dev/null; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        cat "$output"
        echo "examples: $name failed"
    fi
}

# example NAME [OPTION...]: on an emulator of its own, which has the options.
example() {
    name=$1
    shift
    case $name in
    changes_resume) command='timeout 120 tests/changes_resume.sh' ;; # which ends it, too
    *) command=$build/examples/$name ;;
    esac
    EMULATOR_OPTIONS=$* tools/with-emulator.sh sh -c "$on_account" sh "$key" $command
}

# What was not answered at exit is said to be lost, and does not keep the program from ending.
loses_ten_notes() {
    ! said=$(example fire_and_forget --fault action=hang,kind=upsert,skip=290) && echo "$said" | grep '300 notes, 10 lost'
}

# The demo finds the emulator by AIOCOSMOS_EMULATOR; an example takes it for any other account.
[ ! -f examples/telemetry.c ] || check demo env -u AIOCOSMOS_CONNECTION_STRING tools/demo.sh
on_account='AIOCOSMOS_CONNECTION_STRING="AccountEndpoint=$AIOCOSMOS_EMULATOR;AccountKey=$1;" && export AIOCOSMOS_CONNECTION_STRING && shift && "$@"'
for source in examples/*.c examples/*.cc; do
    program=$build/${source%.*}
    if [ -x "$program" ]; then
        check "$source" example "$(basename "$program")"
    elif [ -f "$source" ]; then
        skipped=$((skipped + 1))
        echo "examples: skipped: $source was not built"
    fi
done

check 'etag_loop, answers lost' example etag_loop --fault action=reset,when=after,kind=replace,probability=0.4
check 'fire_and_forget, answers that never come' loses_ten_notes

[ $skipped -eq 0 ] && skipped= || skipped=", $skipped skipped"
echo "examples: $passed passed, $failed failed$skipped"
[ $failed -eq 0 ]
