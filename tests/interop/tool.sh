#!/bin/sh
# Our tool on the server that others wrote, plain and over TLS: OTHER_SERVER and OTHER_SERVER_TLS are its addresses.
# BUILD (build) is where the tool is.
set -u

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# expect STATUS TEXT ARGUMENT...: the tool, with these arguments, ends so and prints a line with that text.
expect() {
    status=$1 text=$2
    shift 2
    "${BUILD:-build}/aiocosmos" --endpoint "$server" --insecure "$@" >"$work/output" 2>&1 </dev/null
    got=$?
    if [ $got -eq "$status" ] && grep -qF -- "$text" "$work/output"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "tool: $*: exit status $got, not $status, or without \"$text\":"
        head -n 5 "$work/output"
    fi
}

seq 300 | awk '{ printf "{\"id\":\"%d\",\"pk\":\"p%d\",\"n\":%d}\n", $1, $1 % 3, $1 }' >"$work/items"

for server in "$OTHER_SERVER" "$OTHER_SERVER_TLS"; do
    expect 0 '"id":"tool"' db create tool
    expect 1 409 db create tool
    expect 0 '"id":"tool"' db list
    expect 0 '"id":"c"' container create tool c --partition-key /pk
    expect 0 '"/pk"' container show tool c
    expect 0 '"ok":300,"failed":0' import tool c "$work/items"
    rm -f "$work/rejects"
    expect 3 '"ok":0,"failed":300' import tool c "$work/items" --rejects "$work/rejects"
    expect 0 '"ok":300,"failed":0' import tool c "$work/items" --upsert
    expect 0 '45150' query tool c 'SELECT VALUE SUM(c.n) FROM c'
    expect 0 '300' query tool c 'SELECT VALUE c.n FROM c WHERE c.pk = @pk AND c.n > 298' --param '@pk="p0"' --pk '"p0"'
    expect 0 '{"id":"299"' export tool c
    expect 0 '"n":7' item get tool c 7 --pk '"p1"'
    expect 0 '"x":[1]' item patch tool c 7 --pk '"p1"' --ops '[{"op":"set","path":"/x","value":[1]}]'
    expect 0 '' item delete tool c 7 --pk '"p1"'
    expect 1 404 item delete tool c 7 --pk '"p1"'
    expect 0 '' container delete tool c
    expect 0 '' db delete tool
done

echo "tool: $passed passed, $failed failed"
[ $failed -eq 0 ]
