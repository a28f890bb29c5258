#!/bin/sh
# The command-line tool: what reads and prints, accounts, the shell; against emulators that work and fail. And what the
# emulator says to who mistypes.
. tests/tool_checks.sh

#--- Rows ----------------------------------------------------------------------

# The second page never comes.
part_rows() {
    players rows
    documents 200 | "$tool" import game rows - >/dev/null 2>&1
    mkfifo "$work/rows.out"
    "$tool" query game rows 'SELECT c.id FROM c' --pk '"r1"' --page-size 1 >"$work/rows.out" 2>"$work/err" &
    asker=$!
    read -r row <"$work/rows.out"
    is "$row" '{"id":"1"}' 'the row that came before the rest'
    kill $asker
    wait $asker 2>/dev/null
}

# answers SQL EXPECTED: with its rows on one line.
answers() {
    exits 0 "$tool" query game many "$1"
    is "$(tr '\n' ' ' <"$work/out" | sed 's/ $//')" "$2" "rows of $1"
}

# Each page is asked for by a process of its own.
resumed() {
    token=
    : >"$work/resumed"
    while :; do
        "$tool" query game many "$1" --page-size 7 --max-pages 3 ${token:+--continuation "$token"} \
            >>"$work/resumed" 2>"$work/err" || fail "a query that is gone on with: $1"
        token=$(sed -n 's/^  --continuation //p' "$work/err")
        [ -n "$token" ] || break
    done
    "$tool" query game many "$1" >"$work/out" 2>"$work/err"
    if cmp -s "$work/resumed" "$work/out"; then pass; else fail "other rows when gone on with: $1"; fi
}

part_ranges() {
    players many
    documents 500 | "$tool" import game many - >/dev/null 2>&1
    answers 'SELECT VALUE COUNT(1) FROM c' 500
    answers 'SELECT TOP 3 VALUE c.n FROM c ORDER BY c.n DESC' '500 499 498'
    answers 'SELECT VALUE c.n FROM c ORDER BY c.n OFFSET 100 LIMIT 2' '101 102'
    answers 'SELECT c.region, SUM(c.n) AS sum FROM c WHERE c.n IN (1, 51) GROUP BY c.region' '{"region":"r1","sum":52}'
    resumed 'SELECT VALUE c.id FROM c WHERE c.n < 100 ORDER BY c.n'
    resumed 'SELECT DISTINCT VALUE c.region FROM c ORDER BY c.region'
    resumed 'SELECT * FROM c'
    exits 0 "$tool" query game many 'SELECT VALUE c.n FROM c ORDER BY c.n' --page-size 2 --max-pages 1
    is "$(tr '\n' ' ' <"$work/out")" '1 2 ' 'rows of one page'
    token=$(sed -n 's/^  --continuation //p' "$work/err")
    exits 2 "$tool" query game many 'SELECT VALUE c.n FROM c ORDER BY c.n DESC' --continuation "$token"
    says 'of another query'

    exits 0 "$tool" query game many --explain 'SELECT c.region, COUNT(1) AS players FROM c GROUP BY c.region'
    prints '  group by      c.region'
    prints '  aggregates    players Count'
    prints '  each is asked SELECT [{"item": c.region}]'
    prints ' AS payload FROM c GROUP BY c.region'
    is "$(grep -c '^[0-9]* .* [0-9]*\.[0-9][0-9]$' "$work/out")" 8 'ranges explained'
    prints '  retrievedDocumentCount                   500'
    says '50 documents in'
    exits 0 "$tool" query game many --explain 'SELECT TOP 5 * FROM c WHERE c.region = "r1" ORDER BY c.n DESC, c.id'
    prints '  order by      c.n DESC, c.id'
    prints '  top           5'
    is "$(grep -c '^[0-9]* .* [0-9]*\.[0-9][0-9]$' "$work/out")" 1 'ranges explained'
    prints '  would help    /n DESC, /id ASC'
    exits 0 "$tool" query game many --explain 'SELECT * FROM c WHERE c.n = 1' --pk '"r1"'
    prints 'There is no plan'
    prints '  used          /n/?'
    exits 1 "$tool" query game many --explain 'SELEC c'
    is "$(cat "$work/out")" '' 'explanation of a query that failed'

    # Each item once, byte for byte as a read has it.
    exits 0 "$tool" export game many
    cp "$work/out" "$work/exported"
    is "$(wc -l <"$work/exported" | tr -d ' ')" 500 'items exported'
    exits 0 "$tool" item get game many 77 --pk '"r27"'
    is "$(grep -cFx -- "$(cat "$work/out")" "$work/exported")" 1 'the item as it was read'
    sort "$work/exported" >"$work/sorted"
    for options in '--concurrency 1' '--concurrency 3 --page-size 10' '--page-size 1'; do
        exits 0 "$tool" export game many $options
        if sort "$work/out" | cmp -s "$work/sorted" -; then pass; else fail "other items: export $options"; fi
    done
    exits 1 "$tool" export game none
    says "there is no container 'none'"
    if [ -c /dev/full ]; then
        exits 1 sh -c '"$tool" export game many >/dev/full'
        says 'cannot write to stdout'
    fi
}

# The ranges cannot be had here, and one query does it all.
part_no_ranges() {
    players many
    documents 300 | "$tool" import game many - >/dev/null 2>&1
    exits 0 "$tool" export game many
    is "$(sort -u "$work/out" | wc -l | tr -d ' ')" 300 'items exported'
}

# A range whose items cannot be read ends an export, and what came before stays.
part_broken_range() {
    players many
    documents 300 | "$tool" import game many - >/dev/null 2>&1
    exits 1 "$tool" export game many --page-size 5
    says 'export: 403 Forbidden'
    is "$(grep -c '^aiocosmos: export:' "$work/err")" 1 'failures told'
}

#--- Export --------------------------------------------------------------------

# each_once N: that the lines of $work/all are N items, each whole, and each once.
each_once() {
    is "$(grep -c '^{"id":.*}$' "$work/all")" "$(wc -l <"$work/all" | tr -d ' ')" 'whole lines'
    is "$(sed 's/^{"id":"\([0-9]*\)".*/\1/' "$work/all" | sort -u | wc -l | tr -d ' ')" "$1" 'items exported'
    is "$(wc -l <"$work/all" | tr -d ' ')" "$1" 'items exported, each once'
}

# Partitions are split and merged at every few requests here.
part_shuffled() {
    players many
    documents 2000 | "$tool" import game many - >/dev/null 2>&1
    exits 0 "$tool" export game many --page-size 10
    is "$(sed 's/^{"id":"\([0-9]*\)".*/\1/' "$work/out" | sort -n | uniq | wc -l | tr -d ' ')" 2000 'items exported'
    is "$(wc -l <"$work/out" | tr -d ' ')" 2000 'items exported, each once'
    exits 0 "$tool" query game many --explain 'SELECT VALUE COUNT(1) FROM c'
    is "$([ "$(sed -n 's/^\([0-9]*\)  .*/\1/p' "$work/out" | sort -n | tail -n 1)" -gt 8 ] && echo new)" new 'range ids'
}

# From the eleventh request on eight fail here: one that was asked for ahead of its page is asked for again.
part_resumed_export() {
    players many
    documents 300 | "$tool" import game many - >/dev/null 2>&1
    rm -f "$work/state"
    : >"$work/all"
    tries=0
    until "$tool" export game many --page-size 7 --state "$work/state" >>"$work/all" 2>"$work/err" ||
        [ $tries -eq 20 ]; do
        tries=$((tries + 1))
    done
    last='export that fails and goes on'
    each_once 300
    is "$([ $tries -gt 0 ] && echo failed)" failed 'the first run'
    exits 0 "$tool" export game many --page-size 7 --state "$work/state"
    is "$(cat "$work/out")" '' 'items behind the last'
    says 'all was read by an earlier run'
    exits 2 "$tool" export game many --state "$work/state" --pk '"r1"'
    says 'it is of another command, account or query'
    exits 1 "$tool" export game many --state "$work/none/state"
    says 'cannot write it'
    is "$(cat "$work/out")" '' 'what is printed without a state'
    is "$(grep -c 'repeat the command' "$work/err")" 0 'advice to go on by a state that is not'
    exits 2 "$tool" export game many --state /dev/null
    says 'in a file only'
    echo '{"of":1}' >"$work/state"
    exits 2 "$tool" export game many --state "$work/state"
    echo nonsense >"$work/state"
    exits 2 "$tool" export game many --state "$work/state"
    says 'it is no state'
    # A disk that is full, or somebody who kills, leaves the last line without an end.
    rm -f "$work/state"
    : >"$work/all"
    (trap '' XFSZ; ulimit -f 8; exec "$tool" export game many --page-size 7 --state "$work/state") >"$work/all" \
        2>"$work/err"
    says 'cannot write to stdout'
    is "$(tail -c 1 "$work/all" | wc -l | tr -d ' ')" 0 'line ends behind what was cut off'
    until "$tool" export game many --page-size 7 --state "$work/state" >>"$work/all" 2>"$work/err" ||
        [ $tries -eq 40 ]; do
        tries=$((tries + 1))
    done
    is "$(sed -n 's/^{"id":"\([0-9]*\)".*}$/\1/p' "$work/all" | sort -u | wc -l | tr -d ' ')" 300 'whole items'
    rm -f "$work/state"
    exits 0 "$tool" export game many --pk '"r1"' --state "$work/state"
    is "$(ls -l "$work/state" | cut -c 1-10)" -rw------- 'who can read a state'
    is "$(ls "$work" | grep -c '^state.')" 0 'files beside a state'
    exits 1 "$tool" export game many --page-size 10 --state "$work/other" \
        --query "SELECT c.id, MAX(CONCAT(c.id, '$(head -c 200 /dev/zero | tr '\0' x)')) AS x FROM c GROUP BY c.id"
    says 'is too long for a state'
    is "$(grep -c 'repeat the command' "$work/err")" 0 'advice to do in vain'
}

part_interrupted_export() {
    players many
    documents 300 | "$tool" import game many - >/dev/null 2>&1
    rm -f "$work/state" "$work/fifo"
    mkfifo "$work/fifo"
    last='export that is interrupted'
    "$tool" export game many --page-size 1 --concurrency 1 --state "$work/state" >"$work/fifo" 2>"$work/err" &
    exporter=$!
    exec 8<"$work/fifo"
    read -r row <&8
    kill -INT $exporter
    { echo "$row"; cat <&8; } >"$work/all"
    wait $exporter
    is $? 3 'status of an export that was interrupted'
    exec 8<&-
    says 'interrupted: what has been printed is whole'
    "$tool" export game many --page-size 50 --state "$work/state" >>"$work/all" 2>/dev/null
    each_once 300
    exits 0 "$tool" export game many --pk '"r1"'
    is "$(wc -l <"$work/out" | tr -d ' ')" 6 'items of one key'
    exits 0 "$tool" export game many --query 'SELECT VALUE COUNT(1) FROM c WHERE c.n > @n' --param @n=200
    is "$(cat "$work/out")" 100 'rows of a query'
    rm -f "$work/state"
    exits 0 "$tool" export game many --query 'SELECT c.id FROM c ORDER BY c.n' --page-size 7 --state "$work/state"
    sed 's/[^0-9]//g' "$work/out" >"$work/all"
    exits 0 sort -n -c "$work/all"
    is "$(tail -n 1 "$work/all")" 300 'the last row'
}

#--- Changes -------------------------------------------------------------------

# changed OPTION...: how many items are printed.
changed() {
    exits 0 "$tool" changes game changing "$@"
    wc -l <"$work/out" | tr -d ' '
}

part_changes() {
    players changing
    documents 100 | "$tool" import game changing - >/dev/null 2>&1
    is "$(changed)" 100 'items from the beginning'
    is "$(changed --page-size 7 --from 2020-02-29T12:00:00.5-01:30)" 100 'items from a time'
    is "$(changed --from 2100-01-01T00:00:00Z)" 0 'items from a time to come'
    is "$(changed --pk '"r1"')" 2 'items of one key'
    is "$(changed --from now)" 0 'items from now'
    exits 0 "$tool" changes game changing --from now
    says 'to go on from here later'
    token=$(sed -n 's/^  --continuation //p' "$work/err")
    rm -f "$work/state"
    is "$(changed --state "$work/state")" 100 'items before there is a state'
    is "$(changed --state "$work/state")" 0 'items since'
    echo '{"id":"new","region":"eu"}' | "$tool" item create game changing >/dev/null 2>&1
    is "$(changed --continuation "$token")" 1 'items since the token'
    is "$(changed --state "$work/state")" 1 'items since the state'
    is "$(changed --state "$work/state")" 0 'items since'
    exits 2 "$tool" changes game changing --state "$work/state" --continuation "$token"
    exits 2 "$tool" query game changing 'SELECT * FROM c' --continuation "$token"
    exits 1 "$tool" changes game changing --state "$work/none/state"
    says 'cannot write it'
    exits 1 "$tool" changes game none
    says "there is no container 'none'"
    rm -f "$work/foreign"
    exits 0 "$tool" export game changing --state "$work/foreign"
    exits 2 "$tool" changes game changing --state "$work/foreign"
    says "--state $work/foreign: it is of another command"
    echo hello >"$work/foreign"
    exits 2 "$tool" changes game changing --state "$work/foreign"
    says "changes: --state $work/foreign: not a continuation token"
    players gone
    exits 0 "$tool" changes game gone --state "$work/gone"
    "$tool" container delete game gone --yes >/dev/null 2>&1
    players gone
    exits 1 "$tool" changes game gone --state "$work/gone"
    says "changes: --state $work/gone: of a deleted container"
    says 'Remove the file'
    rm "$work/gone"
    exits 0 "$tool" changes game gone --state "$work/gone"

    # Followed until Ctrl-C, then from where that was.
    last='changes that are followed'
    "$tool" changes game changing --state "$work/state" --follow >"$work/out" 2>"$work/err" &
    follower=$!
    for id in x y z; do
        echo '{"id":"'$id'","region":"'$id'"}' | "$tool" item create game changing >/dev/null 2>&1
        tries=0
        while ! grep -qF "\"id\":\"$id\"" "$work/out" && [ $tries -lt 200 ]; do
            tries=$((tries + 1))
            sleep 0.05
        done
        prints "\"id\":\"$id\""
    done
    kill -INT $follower
    wait $follower
    is $? 0 'status of a follower that was interrupted'
    is "$(wc -l <"$work/out" | tr -d ' ')" 3 'items followed'
    says '3 documents in'
    is "$(changed --state "$work/state")" 0 'items since'
}

# await COUNT FILE...: until so many different items are in the files.
await() {
    expected=$1
    shift
    tries=0
    while [ "$(cat "$@" | sort -u | wc -l)" -lt "$expected" ] && [ $tries -lt 600 ]; do
        tries=$((tries + 1))
        sleep 0.05
    done
    is "$(cat "$@" | sort -u | wc -l | tr -d ' ')" "$expected" "$last"
}

# Two share the changes; when one ends, what it had comes to the other.
# await_owner NAME: until a lease is of somebody whose name begins so, and goes on with a random number.
await_owner() {
    tries=0
    while ! "$tool" query game leases 'SELECT VALUE c.owner FROM c' 2>/dev/null | grep -q "^\"$1[0-9a-f]\{8\}\"$" &&
        [ $tries -lt 600 ]; do
        tries=$((tries + 1))
        sleep 0.05
    done
    is "$([ $tries -lt 600 ] && echo one)" one "leases of $1"
}

part_processor() {
    players shared
    "$tool" container create game leases --partition-key /processor >/dev/null 2>&1
    documents 100 | "$tool" import game shared - >/dev/null 2>&1
    exits 2 "$tool" changes game shared --processor p
    exits 2 "$tool" changes game shared --processor p --leases leases --state "$work/state"
    exits 2 "$tool" changes game shared --processor p --leases leases --worker ''
    exits 1 "$tool" changes game shared --processor p --leases none
    says '--leases none: there is no such container'
    says '  aiocosmos container create game none --partition-key /processor'
    exits 1 "$tool" changes game shared --processor p --leases shared
    says '--leases shared: its partition key is not /processor'
    exits 1 "$tool" changes game none --processor p --leases leases
    says "there is no container 'none' in the database 'game'"
    last='changes that are shared'
    "$tool" changes game shared --processor p --leases leases --worker ann >"$work/ann" 2>/dev/null &
    ann=$!
    "$tool" changes game shared --processor p --leases leases >"$work/bob" 2>"$work/err" &
    bob=$!
    await 100 "$work/ann" "$work/bob"
    await_owner "$(uname -n | tail -c 41)-$bob-"
    kill -INT $ann
    wait $ann
    is $? 0 'status of a worker that was interrupted'
    for id in x y z; do
        echo '{"id":"'$id'","region":"'$id'"}' | "$tool" item create game shared >/dev/null 2>&1
    done
    await 103 "$work/ann" "$work/bob"
    kill -INT $bob
    wait $bob
    is $? 0 'status of a worker that was interrupted'
    says 'documents in'
    exits 0 "$tool" query game leases 'SELECT VALUE c.owner FROM c'
    is "$(sort -u "$work/out")" '""' 'owners of leases that were given back'
}

#--- Rows in columns -----------------------------------------------------------

# selected SQL COLUMNS: whatever the first page has of them.
selected() {
    exits 0 "$tool" query game mixed "$1" --page-size 1 --csv
    is "$(head -n 1 "$work/out" | tr -d '\r')" "$2" "columns of $1"
}

part_columns() {
    players mixed
    {
        printf '%s\n' '{"id":"ann","region":"eu","level":7,"name":"Ann, \"the\" one","x":{"a":[1,2]}}'
        printf '%s\n' '{"id":"007","region":"eu","level":12.5,"name":"\u65e5\u672c","ok":true}'
        printf '%s\n' '{"id":"c","region":"eu","level":null,"name":"a\nb\u001b[31m","n":"","ok":"true"}'
        printf '{"id":"d","region":"eu","level":123456789,"name":"%s","n":"5"}\n' "$(head -c 70 /dev/zero | tr '\0' x)"
    } >"$work/mixed"
    "$tool" import game mixed "$work/mixed" >/dev/null 2>&1
    all='SELECT c.id, c.region, c.level, c.name, c.x, c.n, c.ok FROM c ORDER BY c.id'
    exits 0 "$tool" query game mixed "$all" --csv
    is "$(head -n 1 "$work/out")" "$(printf 'id,region,level,name,x,n,ok\r')" 'the header'
    prints "$(printf '007,eu,12.5,\346\227\245\346\234\254,,,true\r')"
    prints "$(printf 'ann,eu,7,"Ann, ""the"" one","{""a"":[1,2]}",,\r')"
    prints "$(printf 'd,eu,123456789,%s,,"5",\r' "$(head -c 70 /dev/zero | tr '\0' x)")"
    prints "$(printf 'b\033[31m",,"",true\r' | sed 's/true/"true"/')"
    cp "$work/out" "$work/csv"
    players back
    exits 0 "$tool" import game back "$work/csv" --csv
    exits 0 "$tool" query game back "$all" --csv
    is "$(cksum <"$work/out")" "$(cksum <"$work/csv")" 'what came back'
    echo '{"id":"n","region":"n","v":0.30000000000000004,"w":1796064510123456,"x":"1796064510123456"}' >"$work/numbers"
    "$tool" import game mixed "$work/numbers" >/dev/null 2>&1
    exits 0 "$tool" query game mixed 'SELECT c.id, c.region, c.v, c.w, c.x FROM c' --pk '"n"' --csv
    cp "$work/out" "$work/csv"
    exits 0 "$tool" import game back "$work/csv" --csv
    exits 0 "$tool" query game back 'SELECT c.id, c.region, c.v, c.w, c.x FROM c' --pk '"n"'
    is "$(cat "$work/out")" "$(cat "$work/numbers")" 'numbers that came back'
    exits 0 "$tool" item delete game mixed n --pk '"n"'
    exits 0 "$tool" query game mixed 'SELECT VALUE c.level FROM c ORDER BY c.id' --csv
    is "$(tr -d '\r' <"$work/out" | tr '\n' ' ')" 'value 12.5 7 null 123456789 ' 'values'
    exits 3 "$tool" query game mixed 'SELECT * FROM c' --pk '"eu"' --page-size 1 --csv
    says 'and no column is for'
    says 'What a SELECT list names has a column from the start'
    selected "SELECT c.id, c.n, c['x'] , c.x.a FROM c" id,n,x,a
    selected 'select distinct top 9 c.id, c.x.a[0], c.x.a[0].b, c.name = "x, FROM", true from c' 'id,b,$1,$2,$3'
    selected "SELECT TOP 1 c.id -- , c.no
        , c.level+1 AS next, LOWER(c.name) low, (SELECT VALUE 1 FROM e IN c.l) AS sub, 'a, b' AS text FROM c" \
        id,next,low,sub,text
    selected 'SELECT c.region, COUNT(1) AS players, MAX(c.none) most FROM c GROUP BY c.region' region,players,most
    exits 0 "$tool" export game mixed --csv --page-size 1 --query 'SELECT c.id, c.ok, c.x FROM c'
    is "$(head -n 1 "$work/out")" "$(printf 'id,ok,x\r')" 'the header of an export'
    exits 0 "$tool" query game mixed 'SELECT c.id, c.ok FROM c ORDER BY c.id DESC' --page-size 1 --table
    is "$(head -n 1 "$work/out")" 'id    ok' 'the head of a table'
    exits 3 "$tool" export game mixed --csv --page-size 1
    exits 0 "$tool" export game mixed --csv
    is "$(tr -d '\r' <"$work/out" | head -n 1 | cut -d , -f 1-4)" id,region,level,name 'the header'
    exits 0 "$tool" query game mixed 'SELECT * FROM c WHERE false' --csv
    is "$(cat "$work/out")" '' 'no rows'
    exits 0 "$tool" query game mixed 'SELECT c.id, c.ok FROM c WHERE false' --csv
    is "$(cat "$work/out")" "$(printf 'id,ok\r')" 'the header of no rows'
    exits 0 "$tool" query game mixed 'SELECT c.id, c.ok FROM c WHERE false' --table
    is "$(head -n 1 "$work/out")" 'id    ok' 'the head of no rows'
    exits 2 "$tool" query game mixed "$all" --csv --table
    exits 2 "$tool" query game mixed "$all" --explain --table
    says '--explain prints no rows'
    exits 2 "$tool" query game mixed "$all" --explain --csv

    exits 0 "$tool" query game mixed 'SELECT c.id, c.level, c.name FROM c ORDER BY c.id' --table
    is "$(sed -n 1,2p "$work/out" | tr '\n' '|')" \
        "id    level      name|----  ---------  $(head -c 60 /dev/zero | tr '\0' -)|" 'the head of a table'
    prints 'ann           7  Ann, "the" one'
    prints 'c     null       a?b?[31m'
    prints "d     123456789  $(head -c 57 /dev/zero | tr '\0' x)..."
    has_terminal || return
    types '' "stty cols 40; '$tool' query game mixed 'SELECT c.id, c.level, c.name FROM c' --table"
    prints 'd     123456789  xxxxxxxxxxxxxxxxxxxx...'
    types '' "'$tool' query game mixed 'SELECT c.name FROM c' --csv"
    prints 'b?[31m'
}

part_describe() {
    players mixed
    {
        echo '{"id":"1","region":"eu","level":7,"x":{"a/b":[1,"x",null],"~":true}}'
        echo '{"id":"2","region":"eu","level":"7"}'
        echo '{"id":"3","region":"us","level":1.5,"x":null}'
    } | "$tool" import game mixed - >/dev/null 2>&1
    exits 0 "$tool" container describe game mixed
    prints '{"path":"/id","types":{"string":3},"items":3,"percent":100.0,"example":"'
    prints '{"path":"/level","types":{"number":2,"string":1},"items":3,'
    prints '{"path":"/x","types":{"null":1,"object":1},"items":2,"percent":66.7}'
    prints '{"path":"/x/a~1b/*","types":{"null":1,"number":1,"string":1},"items":1,"percent":33.3,"example":1}'
    prints '{"path":"/x/~0","types":{"boolean":1},"items":1,"percent":33.3,"example":true}'
    is "$(grep -c _ts "$work/out")" 0 'what the service adds'
    exits 0 "$tool" container describe game mixed --table
    is "$(grep -c '^/level  *{"number":2,"string":1}  *3  *100.0 ' "$work/out")" 1 'a row of the table'
    exits 0 "$tool" container describe game mixed --pk '"us"'
    prints '{"path":"/level","types":{"number":1},"items":1,"percent":100.0,"example":1.5}'
    documents 3000 | "$tool" import game mixed - --upsert >/dev/null 2>&1
    exits 0 "$tool" container describe game mixed --sample 100
    is "$(sed -n 's/.*"\/id",.*"items":\([0-9]*\).*/\1/p' "$work/out")" 100 'items looked at'
    exits 1 "$tool" container describe game none
    says "there is no container 'none'"
    awk 'BEGIN {
        printf "{\"id\":\"w\",\"region\":\"w\""
        for (; i < 3000; i++) printf ",\"p%d\":%d", i, i
        print "}" }' |
        "$tool" import game mixed - >/dev/null 2>&1
    exits 0 "$tool" container describe game mixed --pk '"w"'
    is "$(wc -l <"$work/out" | tr -d ' ')" 2000 paths
    says '1002 values are not told'
}

#--- Transactions, the shell ---------------------------------------------------

part_batch() {
    players bank
    exits 0 "$tool" batch game bank --pk '"eu"' <<END
{"op":"create","body":{"id":"ann","region":"eu","gold":7}}
{"op":"upsert","body":{"id":"bob","region":"eu","gold":1}} {"op":"patch","id":"ann","body":[{"op":"incr","path":"/gold",
"value":-5}]}
{"op":"read","id":"bob"}
END
    is "$(grep -c '^{"status":0,"sub_status":0,' "$work/out")" 4 'operations done'
    prints '"item":{"id":"ann","region":"eu","gold":2,'
    exits 1 "$tool" batch game bank --pk '"eu"' <<END
[{"op":"delete","id":"bob"},{"op":"create","body":{"id":"ann","region":"eu"}}]
END
    prints '{"status":424,'
    prints '{"status":409,'
    says 409
    says 'element 2, so that nothing was done'
    is "$(count bank)" 2 'items after a transaction that failed'
    exits 2 "$tool" batch game bank --pk '"eu"' /dev/null
    says 'batch: /dev/null: there is no operation'
    exits 2 "$tool" batch game bank --pk '"eu"' - <&-
    says 'cannot read stdin: Bad file descriptor'
    echo '{"op":"delete","id":"bob","if_match":"\"x\""}' | exits 1 "$tool" batch game bank --pk '"eu"'
    prints '{"status":412,'
    echo '{"op":"read","id":"none"}' | exits 1 "$tool" batch game bank --pk '"eu"'
    prints '{"status":404,'
    says 'line 1, so that nothing was done: 404 Not Found'
    is "$(grep -c container "$work/err")" 0 'what is said of a container'
    echo '{"op":"read","id":"none"}' | exits 1 "$tool" batch game none --pk '"eu"'
    says "there is no container 'none'"
    for wrong in '{"op":"drop","id":"bob"}' '{"id":"bob"}' '42' '{"op":"delete","id":7}' \
        '{"op":"read","id":"a","if":1}' '{"op":' '[{"op":"delete","id":"bob"}' '{"op":"delete"}'; do
        echo "$wrong" | exits 2 "$tool" batch game bank --pk '"eu"'
        is "$(cat "$work/out")" '' "what is printed of $wrong"
    done
    printf '%s\n' '{"op":"read","id":"bob"}' '' '{"op":"delete"}' | exits 2 "$tool" batch game bank --pk '"eu"'
    says 'batch: line 3: id: '
    echo '{"op":"read","id":}' | exits 2 "$tool" batch game bank --pk '"eu"'
    says 'batch: stdin: line 1: a value is expected at byte 18'
    exits 2 "$tool" batch game bank --pk '"eu"' /dev/null
    awk 'BEGIN { for (i = 0; i < 101; i++) print "{\"op\":\"read\",\"id\":\"a\"}" }' |
        exits 2 "$tool" batch game bank --pk '"eu"'
    says 'at most 100'
    is "$(count bank)" 2 'items in the end'
}

part_shell() {
    XDG_CONFIG_HOME=$work/config/of/a/shell
    export XDG_CONFIG_HOME
    endpoint=$AIOCOSMOS_ENDPOINT
    unset AIOCOSMOS_ENDPOINT
    exits 0 "$tool" shell --endpoint "$endpoint" <<'END'
db create game

container create game players --partition-key /region
  query game players "SELECT VALUE \"it's\"" --pk 1
db list
END
    prints '{"id":"game",'
    prints '"paths":["/region"]'
    prints "it's"
    exits 2 "$tool" shell --endpoint "$endpoint" <<'END'
query game players 'SELECT
END
    says 'a quote is not closed'
    exits 0 "$tool" shell --endpoint "$endpoint" <<'END'
item create game players
  # 'of a script
help
END
    says 'item create: stdin holds the commands of the shell: name a file to read from'
    prints '  help [COMMAND]'
    exits 2 sh -c "echo 'batch game players --pk 1 -' | '$tool' shell --endpoint '$endpoint'"
    exits 1 sh -c "echo 'container show game none' | '$tool' shell --endpoint '$endpoint'"
    exits 2 sh -c "echo shell | '$tool' shell --endpoint '$endpoint'"
    has_terminal || return

    # Keys as somebody presses them: completion, moving about, the history.
    last='a shell on a terminal'
    echo '{"id":"ann","region":"eu"}' | "$tool" item create game players --endpoint "$endpoint" >/dev/null 2>&1
    printf '%s\n' "query game players 'SELECT c.id FROM c' --table" exit >"$work/keys"
    pressed "$endpoint"
    prints '1 document in '
    is "$(grep -c 'a second' "$work/out")" 0 'progress among the lines of a pager'
    exits 0 "$tool" item delete game players ann --pk '"eu"' --endpoint "$endpoint"
    last='a shell on a terminal'
    for keys in 'cont\tsh\tga\tpla\t' 'ontainer show game players\001c' \
        'container show game plaers\033[D\033[D\033[Dy' \
        'x container show game player\033[H\033[3~\033[3~\005sx\177'; do
        printf "$keys\r"'\004' >"$work/keys"
        pressed "$endpoint"
        prints '"paths":["/region"]'
    done
    printf 'count game players\rnonsense\025\033[A\r\004' >"$work/keys"
    pressed "$endpoint"
    is "$(tr -d '\r' <"$work/out" | grep -cE '(^|[^0-9])0$')" 2 'counts by the history'
    printf 'db list --key AAAA\rexit\r' >"$work/keys"
    pressed "$endpoint"
    is "$(grep -c AAAA "$XDG_CONFIG_HOME/aiocosmos/.history")" 0 'keys in the history'
    is "$(grep -c 'count game players' "$XDG_CONFIG_HOME/aiocosmos/.history")" 1 'lines in the history'
    # While a command runs the terminal itself obeys Ctrl-R, and shows what is typed, perhaps before what is printed.
    printf 'container list game\rexit\r' >"$work/keys"
    pressed "$endpoint"
    printf '\022co\022\001\rexit\r' >"$work/keys"
    pressed "$endpoint"
    is "$(tr -d '\r' <"$work/out" | grep -cE '(^|[^0-9])0$')" 1 'counts by a search of the history'
    printf '\022wrong\177\177\177\177\177list\rexit\r' >"$work/keys"
    pressed "$endpoint"
    is "$(tr -d '\r' <"$work/out" | grep -c '{"id":"players"')" 1 'lists of containers by a search of the history'
    printf '\022game pl\003\004' >"$work/keys"
    pressed "$endpoint"
    prints "search 'game pl': count game players"
    printf 'query game players "x\003db list\r\004' >"$work/keys"
    pressed "$endpoint"
    prints '"id":"game"'
    printf 'db list\r\004' >"$work/keys"
    pressed "$endpoint" 'stty cols 22;'
    prints '"id":"game"'
    is "$(grep -c "$(expr "$endpoint" : 'http://\([^/]*\)')> " "$work/out")" 0 'prompts on a terminal that is narrower'

    # What a terminal would obey is not offered to be typed.
    own_answer '{"Databases":[{"id":"g\u00f6d"},{"id":"go\u0007od"},{"id":"go\u001b[2J"},{"id":"go\u009b2J"},
{"id":"go\u007f"},{"id":"gold"}],"_count":6}' || return
    printf 'db delete g\t\t\003\004' >"$work/keys"
    pressed "$AIOCOSMOS_ENDPOINT"
    prints "$(printf 'g\303\266d  gold')"
    bury
}

# pressed ENDPOINT [COMMAND]: the keys of a file, once the shell asks for them; the command is run before.
pressed() {
    : >"$work/out"
    {
        tries=0
        while ! grep -qF '> ' "$work/out" && [ $tries -lt 200 ]; do tries=$((tries + 1)) && sleep 0.05; done
        cat "$work/keys"
    } | PAGER=cat script -qefc "${2-} '$tool' shell --endpoint '$1'" /dev/null >"$work/out" 2>"$work/err"
}

#--- Accounts ------------------------------------------------------------------

part_token() {
    exits 0 "$tool" db list --token secret
    exits 0 env AIOCOSMOS_TOKEN=secret "$tool" db list
    exits 1 env AIOCOSMOS_TOKEN=wrong "$tool" db list
    says 'AIOCOSMOS_TOKEN'
    exits 2 env AIOCOSMOS_TOKEN=secret AIOCOSMOS_KEY=AAAA "$tool" db list
    says 'unset one'
    key=C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==
    account="AccountEndpoint=$AIOCOSMOS_ENDPOINT;AccountKey=$key;"
    exits 2 env AIOCOSMOS_TOKEN=wrong AIOCOSMOS_CONNECTION_STRING="$account" "$tool" db list
    says 'AIOCOSMOS_CONNECTION_STRING and AIOCOSMOS_TOKEN are both set: unset one'
    exits 2 env -u AIOCOSMOS_ENDPOINT AIOCOSMOS_TOKEN=wrong AIOCOSMOS_PROFILE=some "$tool" db list
    says 'AIOCOSMOS_PROFILE and AIOCOSMOS_TOKEN are both set'
    exits 0 env AIOCOSMOS_TOKEN=wrong "$tool" db list --connection-string "$account"
    exits 2 "$tool" db list --token secret --key AAAA
    exits 2 "$tool" db list --token ''
    says '--token: it is empty'
    echo 'C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==' >"$work/key"
    exits 0 "$tool" db list --key-file "$work/key"
    : >"$work/key"
    exits 2 "$tool" db list --key-file "$work/key"
    says 'the file is empty'
    echo '*' >"$work/key"
    exits 2 "$tool" db list --key-file "$work/key"
    says '--key-file: not base64'
    exits 2 "$tool" db list --key-file "$work/none"
}

# Profiles, in a config directory that does not exist yet.
part_profile() {
    XDG_CONFIG_HOME=$work/config/of/somebody
    export XDG_CONFIG_HOME
    endpoint=$AIOCOSMOS_ENDPOINT
    key='C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=='
    unset AIOCOSMOS_ENDPOINT
    exits 0 "$tool" profile list
    is "$(cat "$work/out")" '' 'profiles before there is one'
    says "no account has a name yet: 'aiocosmos profile add' gives one"
    exits 2 "$tool" --profile mine db list
    says "there is no profile 'mine'"
    exits 2 "$tool" profile add mine
    exits 2 "$tool" profile add ../mine --endpoint "$endpoint" --key "$key"
    says 'is no name'
    exits 2 "$tool" profile add mine --endpoint "$endpoint" --key '*'
    says 'not base64'
    exits 2 "$tool" profile add mine --endpoint "$endpoint" --token secret
    says 'a token ends too soon'
    exits 2 "$tool" profile add mine --connection-string "AccountEndpoint=$endpoint;AccountKey=$key;" --key "$key"
    says 'give it alone'
    exits 2 "$tool" profile add mine --endpoint "$endpoint" --key "$key" --key-file /dev/null
    exits 1 sh -c "trap '' XFSZ; ulimit -f 0; exec '$tool' profile add mine --endpoint '$endpoint' --key '$key'"
    is "$(ls "$XDG_CONFIG_HOME/aiocosmos")" '' 'profiles that could not be written'
    exits 2 "$tool" profile add mine --endpoint https://example.com/ </dev/null
    says 'no key was given: type it, pipe it in, or give --key-file FILE'
    exits 0 "$tool" profile add emulator --endpoint "$endpoint" </dev/null
    exits 0 "$tool" --profile emulator db list
    exits 0 "$tool" profile delete emulator
    echo "$key" | exits 0 "$tool" profile add mine --endpoint "$endpoint"
    is "$(ls -l "$XDG_CONFIG_HOME/aiocosmos/mine" | cut -c 1-10)" -rw------- 'who can read a profile'
    is "$(ls -ld "$XDG_CONFIG_HOME/aiocosmos" | cut -c 1-10)" drwx------ 'who can read the profiles'
    exits 1 "$tool" profile add mine --endpoint "$endpoint" --key "$key"
    says 'delete it first'
    exits 0 "$tool" --profile mine db list
    exits 0 env AIOCOSMOS_PROFILE=mine "$tool" db list
    exits 2 env AIOCOSMOS_PROFILE=mine AIOCOSMOS_ENDPOINT="$endpoint" "$tool" db list
    says 'unset one'
    exits 0 env AIOCOSMOS_PROFILE=none "$tool" db list --endpoint "$endpoint"
    for option in --key --key-file --token; do
        exits 2 env AIOCOSMOS_PROFILE=mine "$tool" db list $option x
        says 'without --endpoint, and AIOCOSMOS_PROFILE names another key'
    done
    exits 2 "$tool" db list --profile mine --endpoint "$endpoint"
    exits 0 "$tool" profile list
    is "$(cat "$work/out")" "{\"name\":\"mine\",\"endpoint\":\"$endpoint\"}" profiles
    mkfifo "$XDG_CONFIG_HOME/aiocosmos/pipe"
    exits 2 "$tool" --profile pipe db list
    says 'pipe: this is no file'
    rm "$XDG_CONFIG_HOME/aiocosmos/pipe"
    (umask 077 && echo nonsense >"$XDG_CONFIG_HOME/aiocosmos/wrong")
    exits 2 "$tool" --profile wrong db list
    says '--profile wrong: a part without'
    rm "$XDG_CONFIG_HOME/aiocosmos/wrong"
    chmod 644 "$XDG_CONFIG_HOME/aiocosmos/mine"
    exits 2 "$tool" --profile mine db list
    says 'others can read it'
    exits 1 "$tool" profile list
    exits 0 "$tool" profile delete mine
    exits 1 "$tool" profile delete mine
    has_terminal || return
    last='profile add'
    : >"$work/out"
    {
        tries=0
        while ! grep -qF 'not shown' "$work/out" && [ $tries -lt 200 ]; do tries=$((tries + 1)) && sleep 0.05; done
        echo "$key"
    } | script -qefc "'$tool' profile add typed --endpoint '$endpoint'" /dev/null >"$work/out" 2>"$work/err"
    is $? 0 'status of a profile whose key was typed'
    is "$(grep -c '/Jw==' "$work/out")" 0 'keys that are shown'
    exits 0 "$tool" --profile typed db list
    : >"$work/out"
    {
        tries=0
        while ! grep -qF 'not shown' "$work/out" && [ $tries -lt 200 ]; do tries=$((tries + 1)) && sleep 0.05; done
        printf 'AAAA\003'
    } | script -qefc "'$tool' profile add none --endpoint '$endpoint'; stty -a" /dev/null >"$work/out" 2>"$work/err"
    prints 'no key was given'
    is "$(tr -d '\r' <"$work/out" | tr ' ' '\n' | grep -cx 'echo')" 1 'a terminal that shows what is typed again'
    is "$(ls "$XDG_CONFIG_HOME/aiocosmos")" typed profiles
}

# What is printed is JSON, or nothing.
part_no_json() {
    own_answer 'hello!' || return
    exits 1 "$tool" item get game players a --pk '"eu"'
    is "$(cat "$work/out")" '' 'an answer that is no JSON'
    says 'is not JSON'
    for command in 'container show game players' 'query game players SELECT' 'db list' 'export game players' \
        'changes game players'; do
        exits 1 "$tool" $command
        is "$(cat "$work/out")" '' "an answer that is no JSON: $command"
    done
    bury
}

# What the service advises.
part_advised() {
    advice='%5B%7B%22Id%22%3A%22QA1002%22%2C%22Params%22%3A%5B%5D%7D%2C%7b%22Id%22:%22QA1%5cu001b2%22%7d%5D'
    own_answer '{"Documents":[{"id":"a"}],"_count":1}' "x-ms-cosmos-query-advice: $advice" || return
    exits 0 "$tool" query game players 'SELECT * FROM c WHERE CONTAINS(c.id, "a")' --pk '"eu"' --explain
    prints 'The service advises:'
    prints 'where the text begins so, STARTSWITH costs less'
    prints "the service's rule QA1?2, see https://aka.ms/CosmosDB/QueryAdvisor/QA1?2"
    exits 0 "$tool" query game players 'SELECT * FROM c WHERE CONTAINS(c.id, "a")' --pk '"eu"'
    is "$(cat "$work/out")" '{"id":"a"}' 'rows, and no advice'
    bury
    for advice in nonsense '%5B1%2C%7B%7D%5D' '%00' ''; do
        own_answer '{"Documents":[],"_count":0}' "x-ms-cosmos-query-advice: $advice"
        exits 0 "$tool" query game players 'SELECT * FROM c' --pk '"eu"' --explain
        is "$(grep -c 'advises' "$work/out")" 0 "advice that is none: $advice"
        bury
    done
}

part_tls() {
    # A system without any certificates is a setting to be mended; others do not know ours.
    if [ -s /etc/ssl/certs/ca-certificates.crt ]; then refusal=1; else refusal=2; fi
    exits $refusal "$tool" db list
    says --ca
    exits 0 "$tool" db list --ca build/certs/ec/ca.pem
    exits 0 "$tool" db list --insecure
    exits 2 "$tool" db list --ca /dev/null
    exits 2 "$tool" db list --endpoint localhost:8081
    says '--endpoint localhost:8081: it starts with https:// or http://'
}
#--- The emulator's options ----------------------------------------------------

part_emulator_usage() {
    exits 0 "$emulator" --version
    prints 'aiocosmos-emulator '
    exits 2 "$emulator" --prot 1
    says 'there is no option --prot; see --help'
    exits 2 "$emulator" 8081
    says 'there is no option 8081; see --help'
    exits 2 "$emulator" --tls --port
    says '--port: its value is missing; see --help'
    for wrong in 'port 65536' 'port -1' 'port x' 'port 80.5' 'partitions 0' 'partitions 257' 'memory 0' \
        'connections 0' 'ru -1' 'shuffle x' 'shuffle-min 257' 'shuffle-max 1e3' 'shuffle-busy -1'; do
        exits 2 "$emulator" --port 0 --$wrong
        says "--$wrong: a "
        says 'is expected'
    done
    exits 2 "$emulator" --port 65536
    says '--port 65536: a whole number from 0 to 65535 is expected'
    for wrong in 1,2 1,2,3,4 0,1,1 1,1,x 1,1,1e7; do
        exits 2 "$emulator" --timeouts $wrong
        says "--timeouts $wrong: three numbers of seconds are expected, as in 10,30,240"
    done
    exits 1 "$emulator" --port 0 --tls --cert "$work/none.pem" --key-file "$work/none.key"
    says "cannot read $work/none.pem: No such file or directory"
    exits 1 "$emulator" --port 0 --tls --cert "$work" --key-file "$work/none.key"
    says "cannot read $work: it is no file"
    own_emulator --host localhost
    taken=${AIOCOSMOS_ENDPOINT##*:}
    exits 1 "$emulator" --port "${taken%/}"
    says "port ${taken%/} of localhost: Address already in use"
    says '--port 0 takes any that is free'
    bury
}

#--- All of it -----------------------------------------------------------------

[ $# -eq 0 ] || run_part "$1"
with_emulator batch
with_emulator shell
with_emulator columns
with_emulator describe
with_emulator profile
with_emulator token --aad-token secret
part_no_json
part_advised
# A line for each request, and for who is refused one that says why.
part_log() {
    own_emulator --log 2>"$work/log"
    exits 0 "$tool" db create game
    exits 1 "$tool" container show game none
    kill "$own"
    wait "$own"
    is "$(sed 's/: {"code":"NotFound".*}, /: why, /; s/[0-9]* us$/N us/' "$work/log")" \
        '201 POST /dbs create_database 4.95 RU, N us
404 GET /dbs/game/colls/none read_container 0.00 RU: why, N us' 'what was asked'
    bury
}

part_emulator_usage
part_log
with_emulator ranges --partitions 8 --any-order
with_emulator changes --partitions 4 --shuffle 20 --merge-enabled
with_emulator processor --partitions 4
with_emulator shuffled --partitions 4 --shuffle 10 --shuffle-busy 2
with_emulator no_ranges --fault status=404,path=/pkranges
with_emulator broken_range --fault status=403,kind=query_items,skip=10
with_emulator resumed_export --partitions 4 --fault status=403,kind=query_items,skip=10,count=8
with_emulator interrupted_export --partitions 4 --fault delay_ms=3,kind=query_items
with_emulator rows --fault action=hang,kind=query_items,skip=1
if [ -f build/certs/done ]; then
    with_emulator tls --tls --cert build/certs/ec/chain.pem --key-file build/certs/ec/leaf.key
else
    skipped=', 1 skipped'
    echo 'tool_reads: skipped: build/certs is not made'
fi
report tool_reads
