#!/bin/sh
# The command-line tool: what changes something, against emulators that work, throttle and fail.
. tests/tool_checks.sh

#--- Without a server ----------------------------------------------------------

# completes WORD... EXPECTED: what bash makes of the last word, of a line that it ends.
completes() {
    line=
    while [ $# -gt 1 ]; do
        line="$line '$1'"
        shift
    done
    is "$(bash -c 'eval "$("$tool" --completion)"; COMP_WORDS=(aiocosmos '"$line"'); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _aiocosmos; echo ${COMPREPLY[@]}')" "$1" "completion of $line"
}

completed() {
    if ! command -v bash >/dev/null; then
        echo 'tool: skipped: there is no bash to complete command lines'
        return
    fi
    completes 'it' item
    completes 'th' throughput
    completes 'db' '' 'list create delete'
    completes 'container' 'cre' create
    completes 'item' 'get' '--p' '--pk --profile'
    completes 'import' 'game' 'players' '--re' --rejects
    completes 'shell' '--h' --help
    completes 'import' 'game' 'players' 'fi' ''
    completes 'import' 'ga' ''
    exits 0 "$tool" --completion
    is "$(bash -n "$work/out" 2>&1)" '' 'the completion as a script'
}

part_usage() {
    exits 0 "$tool" --help
    prints 'db create'
    prints AIOCOSMOS_CONNECTION_STRING
    exits 0 "$tool" --version
    exits 0 "$tool" item --help
    prints 'item patch'
    exits 0 "$tool" help import
    prints --rejects
    for command in account 'profile list' 'profile add' 'profile delete' 'db list' 'db create' 'db delete' \
        'container list' 'container show' 'container create' 'container replace' 'container describe' \
        'container delete' 'throughput show' 'throughput set' 'throughput autoscale' 'item create' 'item upsert' \
        'item replace' 'item get' 'item patch' 'item delete' batch query count import export copy delete changes \
        'sproc list' 'sproc show' 'sproc create' 'sproc replace' 'sproc delete' 'sproc run' 'trigger list' \
        'trigger show' 'trigger create' 'trigger replace' 'trigger delete' 'udf list' 'udf show' 'udf create' \
        'udf replace' 'udf delete' 'user list' 'user create' 'user delete' 'permission list' 'permission create' \
        'permission delete' shell; do
        exits 0 "$tool" $command --help
        prints "  aiocosmos $command"
        prints 'Exit status'
        is "$(awk 'length > 80' "$work/out")" '' "over 80 columns: $command --help"
    done
    completed
    exits 0 "$tool" --man
    prints '.SS "aiocosmos container create DB ID"'
    if [ -c /dev/full ]; then
        for option in --help 'import --help' --man --version --completion; do
            exits 1 sh -c "'$tool' $option >/dev/full"
            says 'cannot write to stdout'
        done
    fi
    exits 2 "$tool"
    says 'a command is missing'
    exits 2 "$tool" frobnicate
    says "no command 'frobnicate'"
    exits 2 "$tool" qurey a b c
    says "did you mean 'query'?"
    exits 2 "$tool" describe game players
    says "did you mean 'container describe'?"
    exits 2 "$tool" db
    says 'aiocosmos db --help'
    exits 2 "$tool" db frobnicate
    exits 2 "$tool" container creat a b
    says "did you mean 'container create'?"
    exits 2 "$tool" db create
    says 'ID is missing'
    exits 2 "$tool" db create a b
    says 'too many'
    exits 2 "$tool" db list --frobnicate
    is "$(head -n 1 "$work/err")" 'aiocosmos: db list has no option --frobnicate' 'a name like no other'
    exits 2 "$tool" db list --pk 1
    says 'no option --pk'
    exits 2 "$tool" container create a b --pk /c
    says 'container create has no option --pk: did you mean --partition-key?'
    exits 2 "$tool" item get a b c --partition-key 1
    says 'did you mean --pk?'
    exits 2 "$tool" --pagesize=3 query a b c
    says 'there is no option --pagesize: did you mean --page-size?'
    exits 2 "$tool" db create a --autoscael 4000
    says 'did you mean --autoscale?'
    exits 2 "$tool" db create a --throughput
    exits 2 "$tool" db create a --throughput many
    exits 2 "$tool" db create a --throughput 400 --autoscale 4000
    exits 2 "$tool" db create a --throughput 400 --throughput 500
    exits 2 "$tool" db create a --if-not-exists=yes
    exits 2 "$tool" container create a b
    says --partition-key
    exits 2 "$tool" container create a b --partition-key city
    says '--partition-key /city'
    exits 2 "$tool" container create a b --partition-key /a,/b,/c,/d
    exits 2 "$tool" item get a b c
    says '--pk JSON is missing'
    exits 2 "$tool" item get a b c --pk eu
    says "--pk '\"eu\"'"
    exits 2 "$tool" item get a b c --pk '[]'
    exits 2 "$tool" item get a b c --pk '[1,2,3,4]'
    exits 2 "$tool" item get a b c --pk '{"a":1}'
    exits 2 "$tool" item get a b 'c/d' --pk 1
    exits 2 "$tool" item create a b "$work/none"
    says 'No such file'
    exits 2 "$tool" item create a b '{"id":"ann"}'
    says 'No such file or directory; JSON is read from a file, or from stdin'
    exits 2 "$tool" item create a b <"$work"
    says 'cannot read stdin: Is a directory'
    exits 2 "$tool" query a b c --param x=1
    exits 2 "$tool" query a b c --param @x=text
    exits 2 "$tool" query a b c --page-size 0
    exits 2 "$tool" query a b c --max-pages 0
    exits 2 "$tool" query a b c --continuation nonsense
    says 'not a continuation token'
    exits 2 "$tool" export a b --concurrency 101
    exits 2 "$tool" export a b --csv --state "$work/none"
    says 'another header'
    for from in yesterday 2026-13-01T00:00:00Z 2026-11-21 2026-11-21T08:30:00 2026-11-21T08:30:00+1; do
        exits 2 "$tool" changes a b --from $from
        says 'beginning, now, or a time'
    done
    exits 2 "$tool" changes a b --from 1969-12-31T23:59:59Z
    exits 2 "$tool" changes a b --from 1970-01-01T00:30:00+01:00
    exits 2 "$tool" changes a b --continuation nonsense
    exits 2 "$tool" changes a b --all-versions --from beginning
    exits 2 "$tool" changes a b --state /dev/null
    exits 2 "$tool" import a b "$work"
    exits 2 "$tool" import a b "$0" --concurrency 0
    exits 2 "$tool" import a b "$0" --give-up 0
    exits 2 "$tool" import a b "$0" --ru 0
    exits 2 "$tool" import a b "$0" --upsert --delete
    says '--upsert and --delete are both given'
    exits 2 "$tool" import a b "$0" --priority urgent
    says 'low or high is expected'
    exits 2 "$tool" import a b "$0" --rejects "$work/none/rejects"
    exits 2 "$tool" --timeout soon db list
    exits 2 "$tool" --ca "$work/none" db list
    exits 2 "$tool" --key AAAA db list --connection-string 'AccountEndpoint=http://localhost/;AccountKey=AAAA;'
    exits 2 "$tool" --endpoint https://account.example/ db list
    says AIOCOSMOS_KEY
    exits 2 "$tool" --endpoint http://account.example/ --key AAAA db list
    says --insecure
    exits 2 "$tool" --endpoint nowhere --key AAAA db list
    exits 1 "$tool" --endpoint http://localhost:1/ db list
    says 'Check the endpoint'
    is "$(grep -c environment "$work/err")" 0 'variables that are not set'
    exits 1 env AIOCOSMOS_ENDPOINT=http://localhost:1/ "$tool" db list
    says 'The endpoint is that of the environment variable AIOCOSMOS_ENDPOINT.'
    account='AccountEndpoint=http://localhost:1/;AccountKey=AAAA;'
    exits 1 env AIOCOSMOS_CONNECTION_STRING="$account" "$tool" db list
    says 'Endpoint and key are those of the environment variable AIOCOSMOS_CONNECTION_STRING.'
    exits 2 env AIOCOSMOS_CONNECTION_STRING=nonsense "$tool" db list
    says "aiocosmos: AIOCOSMOS_CONNECTION_STRING: a part without '='"
    exits 2 "$tool" --connection-string nonsense db list
    says "aiocosmos: --connection-string: a part without '='"
    exits 2 env AIOCOSMOS_KEY='*' "$tool" db list
    says 'aiocosmos: AIOCOSMOS_KEY: not base64'
    exits 2 env AIOCOSMOS_ENDPOINT=nowhere AIOCOSMOS_KEY=AAAA "$tool" db list
    says 'aiocosmos: AIOCOSMOS_ENDPOINT: '
    exits 2 "$tool" --endpoint https://Account.example --key AAAA copy a b a b --ca build/certs/rsa/ca.pem \
        --to-endpoint https://account.EXAMPLE:443/ --to-key AAAA
    says 'both are the same container'
    "$tool" db list --timeout 1 >"$work/out" 2>"$work/err" || says 'No account was named'      # or somebody's emulator
}

#--- One thing at a time -------------------------------------------------------

part_commands() {
    exits 0 "$tool" db create game
    prints '{"id":"game",'
    says RU
    exits 1 "$tool" db create game
    says '409 Conflict'
    exits 0 "$tool" db create game --if-not-exists
    prints '{"id":"game",'
    exits 0 "$tool" db list
    is "$(wc -l <"$work/out" | tr -d ' ')" 1 databases
    exits 0 "$tool" container create game players --partition-key /region --throughput 400 --ttl -1
    prints '"defaultTtl":-1'
    exits 0 "$tool" container create game players --partition-key /region --if-not-exists
    prints '"paths":["/region"]'
    exits 0 "$tool" container create game deep --partition-key '/a/b,/"c d"/e,/f' --autoscale 4000
    prints '"kind":"MultiHash"'
    exits 0 "$tool" container create game mails --partition-key /region \
        --with '{"uniqueKeyPolicy":{"uniqueKeys":[{"paths":["/mail"]}]}}'
    prints '"uniqueKeys":[{"paths":["/mail"]}]'
    exits 0 "$tool" container delete game mails
    exits 2 "$tool" container create game mails --partition-key /region --with '{"uniqueKeyPolicy":'
    says 'a JSON object is expected'
    exits 0 "$tool" container list game
    is "$(wc -l <"$work/out" | tr -d ' ')" 2 containers
    exits 0 "$tool" container show game players
    prints '"paths":["/region"]'
    exits 0 "$tool" account
    prints '"writableLocations"'
    exits 0 "$tool" throughput show game players
    prints '"offerThroughput":400'
    says '400 request units a second'
    exits 0 "$tool" throughput set game players 1000
    prints '"offerThroughput":1000'
    exits 0 "$tool" throughput autoscale game players 6000
    says 'as many request units a second as needed, up to 6000'
    exits 0 "$tool" throughput set game players 500
    prints '"content":{"offerThroughput":500'
    for units in 5 450; do
        exits 2 "$tool" throughput set game players $units
        says "throughput set $units: at least 400 request units a second are expected, a multiple of 100"
        exits 2 "$tool" container create game more --partition-key /region --throughput $units
        says "throughput $units: at least 400"
    done
    exits 2 "$tool" throughput autoscale game players 1500
    says 'at least 1000 request units a second are expected, a multiple of 1000'
    exits 2 "$tool" container create game more --partition-key /region --autoscale 900
    exits 1 "$tool" throughput autoscale game players 90000000
    says 'it has now as many request units a second as needed'
    exits 1 "$tool" throughput set game players 90000000
    says 'it has now '
    exits 0 "$tool" throughput set game players 500
    exits 1 "$tool" throughput show game
    says "the database 'game' has no throughput of its own: its containers have theirs"
    exits 1 "$tool" throughput show game none
    says "there is no container 'none'"
    exits 2 "$tool" throughput set game players
    exits 2 "$tool" throughput set game
    says 'N is missing'
    exits 1 "$tool" container show game none
    says "404 Not Found: there is no container 'none' in the database 'game'"
    exits 1 "$tool" container show none none
    says "404/1003 Not Found: there is no database 'none'"
    exits 1 "$tool" container create none a --partition-key /b
    says 'db create none'
    exits 1 "$tool" db delete none
    says "there is no database 'none'"
    is "$(grep -c 'Make it' "$work/err")" 0 'advice to make what is to be deleted'
    exits 1 "$tool" query game none 'SELECT * FROM c'
    says "404 Not Found: there is no container 'none' in the database 'game'"
    exits 1 "$tool" query none none 'SELECT * FROM c'
    says "404/1003 Not Found: there is no container 'none' in the database 'none', or not even that database"
    exits 1 "$tool" item get none none a --pk 1
    says "404/1003 Not Found: there is no container 'none' in the database 'none', or not even that database"
    exits 1 "$tool" import none none "$work/ann.ndjson"
    says "there is no database 'none'"

    printf '{"id":"ann", "region":"eu",\n "level":1.50}\n' >"$work/ann.json"
    exits 0 "$tool" item create game players "$work/ann.json"
    prints '{"id":"ann", "region":"eu",  "level":1.50'
    is "$(wc -l <"$work/out" | tr -d ' ')" 1 lines
    exits 1 "$tool" item create game players - <"$work/ann.json"
    says 'item upsert'
    exits 0 "$tool" item upsert game players <"$work/ann.json"
    says 'session token'
    exits 0 "$tool" item replace game players "$work/ann.json"
    exits 1 "$tool" item replace game players - <<END
{"id":"bob","region":"eu"}
END
    says "404 Not Found: the container 'players' has no item of this id and partition key"
    exits 2 "$tool" item upsert game players - <<END
{"region":"eu"}
END
    says '"id"'
    exits 2 "$tool" item upsert game players - <<END
{"id":"ann","region":}
END
    says 'item upsert: stdin: '; says 'at byte 21'
    exits 1 "$tool" item upsert game none "$work/ann.json"
    says 'container create'
    exits 0 "$tool" item get game players ann --pk '"eu"'
    prints '{"id":"ann", "region":"eu",'
    exits 1 "$tool" item get game players ann --pk '["us"]'
    says "404 Not Found: the container 'players' has no item 'ann' of the partition key [\"us\"]"
    exits 0 "$tool" item patch game players ann --pk '"eu"' --ops '[{"op":"incr","path":"/level","value":1}]'
    prints '"level":2.5'
    exits 1 "$tool" item patch game players ann --pk '"eu"' \
        --ops '{"condition":"FROM c WHERE c.level > 9","operations":[{"op":"set","path":"/x","value":1}]}'
    says 412
    exits 0 "$tool" item upsert game deep - <<END
{"id":"k","a":{"b":1},"c d":{"e":null}}
END
    exits 0 "$tool" item get game deep k --pk '[1,null,{}]'

    exits 0 "$tool" query game players 'SELECT VALUE c.id FROM c WHERE c.level > @least' --param @least=2
    is "$(cat "$work/out")" '"ann"' rows
    exits 0 "$tool" query game players 'SELECT c.id FROM c ORDER BY c.id' --pk '"eu"' --page-size 1 --session-token 0:-1#1
    is "$(cat "$work/out")" '{"id":"ann"}' rows
    exits 1 "$tool" query game players 'SELEC c'
    says "near 'SELEC'"
    exits 0 "$tool" query game players 'SELECT * FROM c WHERE c.id = "nobody"'
    is "$(cat "$work/out")" '' rows
    exits 0 "$tool" count game players
    is "$(cat "$work/out")" 1 'items counted'
    exits 0 "$tool" count game players --where 'c.level > @l -- a comment' --param @l=9 --pk '"eu"'
    is "$(cat "$work/out")" 0 'items counted'
    exits 0 "$tool" count game players --where 'WHERE c.level < 9 OR true'
    is "$(cat "$work/out")" 1 'items counted'
    exits 2 "$tool" count game players --where 'SELECT * FROM c'
    says 'a condition is expected'
    exits 2 "$tool" count game players --where ''
    exits 1 "$tool" count game players --where 'c.level >'
    exits 1 "$tool" item replace game players "$work/ann.json" --if-match '"nonsense"'
    says 412
    exits 0 "$tool" item get game players ann --pk '"eu"'
    etag=$(sed 's/.*"_etag":\("\\"[^"]*\\""\).*/\1/; s/^"//; s/"$//; s/\\//g' "$work/out")
    exits 0 "$tool" item replace game players "$work/ann.json" --if-match "$etag"
    exits 1 "$tool" item delete game players ann --pk '"eu"' --if-match "$etag"
    says 412
    exits 0 "$tool" item delete game players ann --pk '"eu"'
    is "$(cat "$work/out")" '' output
    exits 1 "$tool" item delete game players ann --pk '"eu"'

    key='C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=='
    account="AccountEndpoint=$AIOCOSMOS_EMULATOR;AccountKey=$key;"
    exits 0 env -u AIOCOSMOS_ENDPOINT "$tool" db list "--connection-string=$account"
    exits 0 env -u AIOCOSMOS_ENDPOINT AIOCOSMOS_CONNECTION_STRING="$account" "$tool" db list
    exits 0 env AIOCOSMOS_KEY="$key" "$tool" db list
    exits 1 env AIOCOSMOS_KEY=AAAA "$tool" db list
    says 'check the key'
    says 'Endpoint and key are those of the environment variables AIOCOSMOS_ENDPOINT and AIOCOSMOS_KEY.'
    exits 1 "$tool" --endpoint "https${AIOCOSMOS_ENDPOINT#http}" --insecure db list
    says 'this port has no TLS'
    says 'http:// instead of https://'
    exits 1 env AIOCOSMOS_CONNECTION_STRING="$account" "$tool" --endpoint http://127.0.0.1:1 db list

    if [ -c /dev/full ]; then
        exits 1 sh -c '"$tool" db list >/dev/full'
        says 'cannot write to stdout'
    fi
    exits 1 sh -c '"$tool" db list >&-'
    says 'cannot write to stdout'
    exits 2 "$tool" query game players 'SELECT * FROM c' --continuation x
    says 'query: --continuation: not a continuation token'
    exits 2 "$tool" --endpoint http://account.example/ --key AAAA db list
    says '--endpoint: http is for loopback addresses only, unless --insecure is set'

    "$tool" container show game players >"$work/definition" 2>/dev/null
    sed 's/"defaultTtl":-1/"defaultTtl":77/' "$work/definition" >"$work/replacement"
    exits 0 "$tool" container replace game players "$work/replacement"
    prints '"defaultTtl":77'
    exits 0 "$tool" container show game players
    prints '"defaultTtl":77'
    exits 2 "$tool" container replace game players /dev/null
    says 'container replace: /dev/null: a value is expected at byte 0'
    exits 2 "$tool" container replace game none "$work/definition"
    exits 0 "$tool" container delete game deep
    says "deleting the container deep, of the account at $(expr "$AIOCOSMOS_ENDPOINT" : 'http://\([^/]*\)')"
    asked
    exits 0 "$tool" db delete game
    exits 1 "$tool" db delete game
}

asked() {
    if ! has_terminal; then
        echo 'tool: skipped: script(1) makes no terminal here'
        return
    fi
    types nonsense "'$tool' db delete game"
    is $status 1 'status of a deletion that was not meant'
    prints 'nothing was deleted'
    exits 0 "$tool" container show game players
    types players "'$tool' container delete game players"
    is $status 0 'status of a deletion that was meant'
    types nonsense "'$tool' db create other && '$tool' db delete other --yes"
    is $status 0 'status of a deletion without a question'
}

# What stands beside the items.
part_resources() {
    players players
    script='function () { getContext().getResponse().setBody("ü") }'
    echo "$script" >"$work/script.js"
    for kind in sproc trigger udf; do
        exits 0 "$tool" $kind list game players
        is "$(cat "$work/out")" '' "$kind list"
        exits 0 "$tool" $kind create game players first "$work/script.js"
        prints '"id":"first"'
        prints 'setBody(\"ü\")'
        exits 1 "$tool" $kind create game players first "$work/script.js"
        says 409
        exits 0 sh -c "echo 'function () { return 2 }' | '$tool' $kind replace game players first"
        prints 'return 2'
        exits 0 "$tool" $kind show game players first
        prints 'return 2'
        exits 0 "$tool" $kind create game players other - <"$work/script.js"
        exits 0 "$tool" $kind list game players
        is "$(wc -l <"$work/out" | tr -d ' ')" 2 "$kind list"
        exits 0 "$tool" $kind delete game players first
        exits 2 "$tool" $kind create game players empty /dev/null
        says 'no JavaScript was read: there is nothing'
        exits 2 sh -c "printf 'a\\000b' | '$tool' $kind create game players zero"
        says 'a zero byte'
        exits 2 "$tool" $kind create game players empty "$work/none"
        exits 1 "$tool" $kind create game none first "$work/script.js"
        says "there is no container 'none'"
        exits 1 "$tool" $kind list game none
    done
    exits 1 "$tool" sproc show game players first
    says "404 Not Found: there is no stored procedure 'first'"
    exits 1 "$tool" trigger replace game players first "$work/script.js"
    says "there is no trigger 'first'"
    exits 1 "$tool" udf delete game players first
    says "there is no function 'first'"
    exits 0 "$tool" trigger create game players after "$work/script.js" --type post --operation Upsert
    prints '"triggerType":"Post"'
    prints '"triggerOperation":"Upsert"'
    exits 0 "$tool" trigger show game players other
    prints '"triggerType":"Pre"'
    prints '"triggerOperation":"All"'
    exits 0 "$tool" trigger replace game players after "$work/script.js" --operation create
    prints '"triggerType":"Post"'
    prints '"triggerOperation":"Create"'
    exits 0 "$tool" trigger replace game players after "$work/script.js"
    prints '"triggerType":"Post"'
    prints '"triggerOperation":"Create"'
    exits 0 "$tool" trigger replace game players after "$work/script.js" --type pre
    prints '"triggerType":"Pre"'
    prints '"triggerOperation":"Create"'
    exits 2 "$tool" trigger create game players x "$work/script.js" --type never
    says '--type never: it is one of pre|post'
    exits 2 "$tool" trigger create game players x "$work/script.js" --operation never
    exits 2 "$tool" udf create game players x "$work/script.js" --type pre
    says 'no option --type'
    exits 1 "$tool" sproc run game players other --pk '"eu"'
    says 'runs no JavaScript'
    exits 1 "$tool" sproc run game players none --pk '"eu"'
    says "there is no stored procedure 'none'"
    exits 2 "$tool" sproc run game players other
    says '--pk JSON is missing'
    exits 2 "$tool" sproc run game players other '{"a":1}' --pk '"eu"'
    says 'no JSON array'
    exits 2 "$tool" sproc run game players other '[1' --pk '"eu"'

    exits 0 "$tool" user create game ann
    prints '"id":"ann"'
    exits 0 "$tool" user list game
    is "$(wc -l <"$work/out" | tr -d ' ')" 1 users
    exits 1 "$tool" user create none ann
    says "there is no database 'none'"
    exits 1 "$tool" user delete game bob
    says "404 Not Found: there is no user 'bob'"
    echo '{"id":"a","region":"eu"}' | "$tool" item create game players >/dev/null 2>&1
    exits 0 "$tool" permission create game ann reads --on players --mode read --pk '"eu"' --expiry 600
    prints '"permissionMode":"Read"'
    prints '"resource":"dbs/game/colls/players"'
    token=$(sed 's/.*"_token":"\([^"]*\)".*/\1/' "$work/out")
    exits 0 "$tool" item get game players a --pk '"eu"' --token "$token"
    prints '"id":"a"'
    exits 1 "$tool" item delete game players a --pk '"eu"' --token "$token"
    says 403
    exits 1 "$tool" item get game players a --pk '"us"' --token "$token"
    says 403
    exits 0 "$tool" permission create game ann one --on dbs/game/colls/players/docs/a --mode ALL
    exits 0 "$tool" permission list game ann
    is "$(wc -l <"$work/out" | tr -d ' ')" 2 permissions
    exits 0 "$tool" permission delete game ann one
    exits 1 "$tool" permission delete game ann one
    says "there is no permission 'one'"
    exits 1 "$tool" permission create game bob reads --on players --mode read
    says "there is no user 'bob' in the database 'game'"
    exits 1 "$tool" permission create game ann lost --on nosuch --mode read
    says "404 Not Found: there is no 'nosuch' in the database 'game', which --on names"
    exits 2 "$tool" permission create game ann reads --on players
    says '--mode read|all is missing'
    exits 2 "$tool" permission create game ann reads --on players --mode write
    says '--mode write: it is one of read|all'
    exits 2 "$tool" permission create game ann reads --on players --mode read --expiry 0
    exits 0 "$tool" user delete game ann
}

# What a procedure answers and logs, where it runs.
part_procedure() {
    own_answer '{"sum":3}' 'x-ms-documentdb-script-log-results: one%20and%0atwo%1b%5b2J%c2%9b%zz%4' || return
    exits 0 "$tool" sproc run game players add '[1,2]' --pk '"eu"'
    is "$(cat "$work/out")" '{"sum":3}' 'the answer of a procedure'
    says 'one and'
    says 'two?[2J??%zz%4'
    bury
    own_answer '' || return
    exits 0 "$tool" sproc run game players nothing --pk '["eu"]'
    is "$(cat "$work/out")" '' 'no answer of a procedure'
    bury
}

#--- Many items at once --------------------------------------------------------

# One deletion is refused here, as if the item had changed meanwhile.
part_delete() {
    players many
    documents 300 | "$tool" import game many - >/dev/null 2>&1
    exits 2 "$tool" delete game many
    says '--where or --pk'
    exits 2 "$tool" delete game many --where ''
    exits 1 "$tool" delete game many --where 'c.n >'
    exits 1 "$tool" delete game none --where true
    says "there is no container 'none'"
    exits 0 "$tool" delete game many --where 'c.n <= @n' --param @n=100
    is "$(total ok),$(total failed)" 100,0 'ok, failed'
    says 'deleting items of the container many, of the account at'
    is "$(count many)" 200 'items left'
    exits 0 "$tool" delete game many --pk '"r7"'
    is "$(total ok)" 4 ok
    exits 2 "$tool" delete game many --pk '"r9"' --where 'c.n > 200' --background
    says '--background goes with --pk alone'
    exits 2 "$tool" delete game many --background
    exits 0 "$tool" delete game many --pk '"r9"' --background
    says 'deleting items of the container many, of the account at'
    says 'the service has taken it on'
    exits 0 "$tool" delete game many --pk '"r8"' --where 'c.n > 200'
    is "$(total ok)" 2 ok
    exits 3 "$tool" delete game many --where true
    is "$(total ok),$(total failed)" 189,1 'ok, failed'
    is "$(grep -c '^{"reason":"412 .*"status":412,"sub_status":0,"maybe_applied":false,"document":{' "$work/err")" 1 \
        'items that changed'
    is "$(count many)" 1 'items left'
    exits 0 "$tool" delete game many --where true
    is "$(count many)" 0 'items left'

    "$tool" container create game deep --partition-key '/a/b,/"c d"/e,/f' >/dev/null 2>&1
    {
        echo '{"id":"1","a":{"b":1},"c d":{"e":null}}'
        printf '%s\n' '{"id":"2","a":{"b":"x"},"c d":{"e":true},"f":"\u00e4\""}'
        echo '{"id":"3"}'
    } | "$tool" import game deep - >/dev/null 2>&1
    is "$(count deep)" 3 'items of a deep key'
    exits 0 "$tool" delete game deep --where true
    is "$(count deep)" 0 'items of a deep key'
    has_terminal || return
    documents 10 | "$tool" import game many - >/dev/null 2>&1
    types nonsense "'$tool' delete game many --where 'c.n > 7'"
    is $status 1 'status of a deletion that was not meant'
    prints 'deleting 3 items of the container many'
    types many "'$tool' delete game many --where 'c.n > 7'"
    is "$(count many)" 7 'items left'
}

# bodies CONTAINER: the items as they were made, in order.
bodies() {
    "$tool" export game "$1" 2>/dev/null | sed 's/,"_rid".*/}/' | sort
}

part_copy_items() {
    players many
    documents 300 | "$tool" import game many - >/dev/null 2>&1
    "$tool" container create game other --partition-key /n,/region >/dev/null 2>&1
    exits 2 "$tool" copy game many game many
    says 'the same container'
    exits 1 "$tool" copy game many game none
    says "there is no container 'none'"
    exits 1 "$tool" copy game none game many
    exits 0 "$tool" copy game many game other
    is "$(total ok),$(total failed)" 300,0 'ok, failed'
    is "$(bodies other | cksum)" "$(documents 300 | sort | cksum)" 'the items as they were made'
    echo '{"id":"x","_ts":5,"_mine":1,"region":"eu","_etag":"old","after":[1, 2]}' >"$work/x"
    "$tool" item upsert game many "$work/x" >/dev/null 2>&1
    players alike
    exits 0 "$tool" copy game many game alike --pk '"eu"'
    exits 0 "$tool" item get game alike x --pk '"eu"'
    prints '"_mine":1'
    prints '"after":[1, 2]'
    is "$(grep -c '"_etag":"old"\|"_ts":5,' "$work/out")" 0 'what the service adds'
    "$tool" item delete game many x --pk '"eu"' >/dev/null 2>&1
    players third
    exits 0 "$tool" copy game many game third --query 'SELECT c.id, c.region FROM c WHERE c.n <= 10' --to-endpoint \
        "$AIOCOSMOS_ENDPOINT"
    is "$(total ok)" 10 'rows copied by another client'
    exits 3 "$tool" copy game many game third --query 'SELECT c.region FROM c' --pk '"r1"'
    is "$(total ok),$(total failed)" 0,6 'ok, failed'
    says '"document":{"region":"r1"}}'
    if [ -c /dev/full ]; then
        exits 1 sh -c '"$tool" copy game many game third --query "SELECT c.region FROM c" --state "$work/told" 2>/dev/full'
        exits 3 "$tool" copy game many game third --query 'SELECT c.region FROM c' --state "$work/told"
        is "$(grep -c '"document":{"region":' "$work/err")" 300 'items that could not be told before'
    fi
    exits 2 env AIOCOSMOS_TO_KEY=AAAA "$tool" copy game many game third
    says 'AIOCOSMOS_TO_KEY is given without --to-endpoint'
    exits 1 env AIOCOSMOS_TO_CONNECTION_STRING='AccountEndpoint=http://localhost:1/;AccountKey=AAAA;' \
        "$tool" copy game many game third
}

# A request that writes takes 50 ms here, and one item of the first is refused for no reason of its own.
part_resumed_copy() {
    players many
    players other
    documents 3000 | "$tool" import game many - >/dev/null 2>&1
    rm -f "$work/state"
    last='copy that fails, is interrupted and goes on'
    "$tool" copy game many game other --concurrency 1 --state "$work/state" >"$work/out" 2>"$work/err"
    is $? 1 'status of a copy that fails'
    says 'To go on, repeat the command'
    is "$([ "$(count other)" -lt 3000 ] && echo some)" some 'items of a copy that fails'
    "$tool" copy game many game other --concurrency 1 --state "$work/state" >"$work/out" 2>"$work/err" &
    copier=$!
    await_more other
    kill -TERM $copier
    wait $copier
    is $? 3 'status of a copy that was interrupted'
    says 'interrupted: not all has been done'
    exits 0 "$tool" copy game many game other --state "$work/state"
    is "$(count other)" 3000 'items in the end'
    exits 0 "$tool" copy game many game other --state "$work/state"
    is "$(total ok)" 0 'copied when all is'
    says "all was read by an earlier run: remove $work/state to begin anew"
    players third
    exits 2 "$tool" copy game many game third --state "$work/state"
}

# An upsert finds no container here, once.
part_vanishing_copy() {
    players many
    players other
    documents 300 | "$tool" import game many - >/dev/null 2>&1
    rm -f "$work/state"
    exits 1 "$tool" copy game many game other --state "$work/state"
    says "there is no container 'other'"
    exits 0 "$tool" copy game many game other --state "$work/state"
    is "$(count other)" 300 'items in the end'
}

# A partition key of more levels than there are, of items that have them all.
part_wide_key() {
    own_answer '{"id":"wide","partitionKey":{"kind":"MultiHash","version":2,"paths":["/a","/b","/c","/d","/e","/f"]},
"PartitionKeyRanges":[],"Documents":[{"id":"1","e":"e","k0":1,"k1":2,"k2":3,"k3":4,"k4":5,"k5":6}],"_count":1}' || return
    exits 1 "$tool" delete game wide --where true
    says 'does not understand the container'
    bury
}

#--- Import --------------------------------------------------------------------

# A document whose line has so many bytes.
long_document() {
    printf '{"id":"%s","region":"eu","x":"' "$1"
    head -c $(($2 - 30 - ${#1})) /dev/zero | tr '\0' x
    printf '"}'
}

# As long a line as anybody may think of, in the memory that a short one takes.
huge_line() {
    limit=100000
    { (ulimit -v $limit && "$tool" --version) || limit=unlimited; } >/dev/null 2>&1      # sanitizers need more
    rm -f "$work/rejects"
    {
        head -c 100000000 /dev/zero | tr '\0' x
        printf '\n{"id":"behind","region":"eu"}\n'
    } | exits 3 sh -c 'ulimit -v $1; exec "$tool" import game lines - --rejects "$work/rejects"' sh $limit
    is "$(total ok),$(total failed)" 1,1 'ok, failed'
    rejects '{"line":1,"reason":"the line has 100000000 bytes, an item at most 2097152"'
}

# Nobody is left to read the totals when they come; the documents are stored all the same.
closed_output() {
    mkfifo "$work/nobody" "$work/input"
    "$tool" import game lines "$work/input" --upsert >"$work/nobody" 2>"$work/err" &
    importer=$!
    exec 7<"$work/nobody" 7<&-
    cat "$work/ann.ndjson" >"$work/input"
    wait $importer
    is $? 1 'status of an import whose totals nobody reads'
    says 'cannot write to stdout'
    says '1 stored'
}

# Documents in other layouts than one a line.
layouts() {
    players laid
    printf '\357\273\277[\r\n{"id":"a",\n"region":"eu"}, {"id":"b"}\n,{"id":1},\n[],{"id":"c","region":"eu"}]\n' \
        >"$work/laid"
    rm -f "$work/rejects"
    exits 3 "$tool" import game laid "$work/laid" --rejects "$work/rejects"
    is "$(total ok),$(total failed)" 3,2 'ok, failed'
    rejects '{"line":4,"element":3,"reason":"body: '
    rejects '{"line":5,"element":4,"reason":"body: '
    exits 0 "$tool" import game laid "$work/laid" --from-element 5 --upsert
    is "$(total ok)" 1 ok
    printf '[{"id":"d"},{"id":"e"} {"id":"f"}]' >"$work/laid"
    exits 1 "$tool" import game laid "$work/laid"
    is "$(total ok),$(total failed)" 2,0 'ok, failed'
    says "laid: line 1: ',' or ']' is expected in the array"
    says "aiocosmos import game laid $work/laid --from-element 3"
    printf '{\n  "id": "g",\n  "x": {"y": 1}\n}\n{"id":"h"}{"id":"i"}\n' >"$work/laid"
    exits 0 "$tool" import game laid "$work/laid"
    is "$(total ok)" 3 ok
    exits 0 "$tool" item get game laid g --pk '{}'
    prints '"x": {"y": 1}'
    is "$(wc -l <"$work/out" | tr -d ' ')" 1 lines
    awk 'BEGIN { for (i = 0; i < 1000; i++) printf "%s{\"id\":\"k%d\"}\n", i ? "," : "[", i; print ",1]" }' |
        exits 3 "$tool" import game laid -
    is "$(total ok),$(total failed)" 1000,1 'ok, failed'

    printf '%s\r\n' 'id,region,n,note' '1,eu,7,"a ""b"",' 'c"' '2,eu,"7",' '3,"a"b,,' 4 '5,us,007,true' >"$work/laid"
    rm -f "$work/rejects"
    exits 3 "$tool" import game laid "$work/laid" --csv --rejects "$work/rejects"
    is "$(total ok),$(total failed)" 3,2 'ok, failed'
    rejects '{"line":5,"reason":"text behind the closing quote of a field","status":0,'
    rejects '"text":"3,\"a\"b,,"}'
    rejects '{"line":6,"reason":"fewer fields than the header has"'
    exits 0 "$tool" query game laid \
        'SELECT c.id, c.n, c.note, c.region FROM c WHERE c.id IN ("1", "2", "5") ORDER BY c.id'
    is "$(head -n 1 "$work/out")" '{"id":"1","n":7,"note":"a \"b\",\u000d\u000ac","region":"eu"}' \
        'the first record'
    is "$(tail -n 2 "$work/out" | tr '\n' ' ')" \
        '{"id":"2","n":"7","region":"eu"} {"id":"5","n":"007","note":true,"region":"us"} ' 'the others'
    echo 'region,n' >"$work/laid"
    exits 1 "$tool" import game laid "$work/laid" --csv
    says 'laid: line 1: the header, which is the first line, has no column "id"'
    printf 'id;region\n1;eu\n' >"$work/laid.csv"
    exits 1 "$tool" import game laid "$work/laid.csv" --csv
    says 'and commas separate columns: id;region'
    exits 2 "$tool" import game laid "$work/laid.csv" --rejects "$work/untouched"
    says "$work/laid.csv: no JSON, but comma-separated values, it seems: --csv reads them"
    is "$(test -e "$work/untouched"; echo $?)" 1 'no rejects of a file that was not read'
    echo '{"id":"json","region":"eu"}' >"$work/json.csv"
    exits 0 "$tool" import game laid "$work/json.csv"
    exits 0 "$tool" query game laid 'SELECT * FROM c WHERE false' --csv
    cp "$work/out" "$work/laid.csv"
    exits 0 "$tool" import game laid "$work/laid.csv" --csv
    prints '{"ok":0,"failed":0,'
    printf '\n' >"$work/laid.csv"
    exits 1 "$tool" import game laid "$work/laid.csv" --csv
    says 'line 1: the header has a column without a name'
    {
        printf 'id,x\n1,"'
        head -c 5000000 /dev/zero | tr '\0' x
        printf '\n2,3\n'
    } >"$work/laid"
    exits 3 "$tool" import game laid "$work/laid" --csv --upsert --append-rejects --rejects "$work/rejects"
    rejects '{"line":2,"reason":"a quote that is not closed"'
    is "$(total ok)" 1 ok
}

part_import() {
    players lines
    {
        printf '\357\273\277{"id":"a","region":"eu"}\r\n\n \t\r\n' # 1, with a byte order mark; 2 and 3 are blank
        printf '{"id":"a","region":"eu"}\n'                          # 4: taken
        printf '{"id":"b","region":}\n42\n[]\n'                      # 5 to 7: no JSON, no objects
        printf '{"id":"\377","region":"e\000u"}\n'                   # 8: no UTF-8, and a zero byte
        printf '{"id":"c","region":["eu"]}\n{"region":"eu"}\n'       # 9 and 10: no key, no id
        long_document longest 2097152 && printf '\r\n'               # 11: just not too long, as far as we know
        long_document longer 2097153 && printf '\n'                  # 12
        long_document long 6000000 && printf '\n'                    # 13
        printf '{"id":"d"}\n{"id":"e","region":"last"}'              # 15: without an end
    } >"$work/lines"
    rm -f "$work/rejects"
    exits 3 "$tool" import game lines "$work/lines" --rejects "$work/rejects"
    is "$(total ok),$(total failed)" "$(count lines),$((13 - $(count lines)))" 'ok, failed'
    is "$(wc -l <"$work/rejects" | tr -d ' ')" "$(total failed)" rejects
    rejects '{"line":4,"reason":"409 Conflict'
    rejects '"status":409,"sub_status":0,"maybe_applied":false,"document":{"id":"a","region":"eu"}}'
    rejects '"maybe_applied":false,"text":"{\"id\":\"b\",\"region\":}"}'
    rejects '"document":42}'
    rejects '"document":[]}'
    rejects '"text":"{\"id\":\"\ufffd\",\"region\":\"e\u0000u\"}"}'
    rejects '"document":{"id":"c","region":["eu"]}}'
    rejects '"reason":"body: the partition key path /region leads to an object or array, which cannot be a key"'
    rejects '"document":{"region":"eu"}}'
    rejects '{"line":12,"reason":"the line has 2097153 bytes, an item at most 2097152","status":0'
    rejects '{"line":13,"reason":"the line has 6000000 bytes'
    for line in 1 2 3 14 15; do
        grep -q "^{\"line\":$line," "$work/rejects" && fail "line $line was rejected" || pass
    done
    exits 0 "$tool" item get game lines d --pk '{}'
    exits 0 "$tool" item get game lines e --pk '"last"'

    exits 3 "$tool" import game lines - <"$work/ann.ndjson"
    says '"document":{"id":"a","region":"eu"}}'
    exits 0 "$tool" import game lines "$work/ann.ndjson" --upsert --concurrency 1
    cp "$work/ann.ndjson" "$work/copy"
    exits 2 "$tool" import game lines "$work/copy" --rejects "$work/copy"
    exits 0 cmp "$work/ann.ndjson" "$work/copy"
    exits 1 "$tool" import game none "$work/copy"
    is "$(cat "$work/out")" '' output
    huge_line
    exits 0 "$tool" import game lines /dev/null
    is "$(total ok),$(total failed)" 0,0 'ok, failed'
    if [ -c /dev/full ]; then
        exits 1 "$tool" import game lines "$work/copy" --rejects /dev/full
        says 'cannot write the rejects'
        says '{"line":1,"reason":"409 Conflict'
        exits 1 sh -c '"$tool" import game lines /dev/null >/dev/full'
        says 'cannot write to stdout'
    fi
    closed_output

    layouts
    players many
    documents 20000 >"$work/many"
    rm -f "$work/rejects"
    exits 0 "$tool" import game many "$work/many" --rejects "$work/rejects"
    is "$(total ok),$(total failed)" 20000,0 'ok, failed'
    is "$(wc -c <"$work/rejects" | tr -d ' ')" 0 'bytes of rejects'
    echo kept >"$work/rejects"
    exits 2 "$tool" import game many "$work/many" --rejects "$work/rejects"
    says '--append-rejects'
    exits 1 "$tool" import game nosuch "$work/many" --rejects "$work/rejects" --append-rejects
    is "$(cat "$work/rejects")" kept 'rejects of an earlier run'
    printf 'cut off' >"$work/rejects"
    echo 42 | exits 3 "$tool" import game many - --rejects "$work/rejects" --append-rejects
    is "$(cut -c 1-8 "$work/rejects" | tr '\n' ' ')" 'cut off {"line": ' 'rejects behind one that was cut off'
    exits 0 "$tool" import game many "$work/many" --upsert --from-line "$(wc -l <"$work/many")"
    is "$(total ok)" 1 'stored from the last line on'
    exits 0 "$tool" import game many "$work/many" --from-line 20002
    says 'many has nothing behind 20000'
    printf '\377\376{\000}\000' >"$work/wide"
    exits 1 "$tool" import game many "$work/wide"
    says 'wide: it is UTF-16: make UTF-8 of it'
    exits 2 "$tool" item create game many "$work/wide"
    says 'wide: it is UTF-16: make UTF-8 of it'
    exits 1 sh -c '"$tool" import game many - <&-'
    says 'cannot read stdin: Bad file descriptor'
    is "$(grep -c "$(printf '\r')" "$work/err")" 0 'progress bars in a file'
    is "$("$tool" query game many 'SELECT VALUE c.id FROM c' 2>/dev/null | sort -u | wc -l | tr -d ' ')" 20000 ids
    exits 0 sh -c 'cat "$work/many" | "$tool" import game many - --upsert --concurrency 300'
    is "$(total ok),$(total failed)" 20000,0 'ok, failed'
    exits 0 sh -c 'head -n 300 "$work/many" | "$tool" import game many - --upsert --single --priority low --ru 100000'
    is "$(total ok),$(total failed)" 300,0 'ok, failed'
    rm -f "$work/rejects"
    exits 3 "$tool" import game many "$work/many" --rejects "$work/rejects"
    is "$(total ok),$(total failed)" 0,20000 'ok, failed'
    is "$(sed 's/.*"line":\([0-9]*\),.*"document":{"id":"\([0-9]*\)".*/\1 \2/' "$work/rejects" | awk '$1 == $2' | sort -u |
        wc -l | tr -d ' ')" 20000 'lines named in the rejects'

    # A reader that goes away ends a query, and not an import.
    { "$tool" query game many 'SELECT * FROM c' 2>/dev/null; echo $? >"$work/status"; } | head -n 1 >"$work/out"
    is "$(wc -l <"$work/out" | tr -d ' '),$([ "$(cat "$work/status")" -ne 0 ] && echo not 0)" '1,not 0' 'lines, status'
    mkfifo "$work/closing"
    "$tool" import game many "$work/many" --rejects "$work/closing" >"$work/out" 2>"$work/err" &
    importer=$!
    head -n 1 "$work/closing" >/dev/null
    wait $importer
    is $? 1 'status of an import whose rejects nobody reads'
    says 'cannot write the rejects'
    is "$(total ok)" 0 ok

    # What came through a pipe is stored while the rest is on its way, and half a line waits for its end.
    players slow
    mkfifo "$work/fifo"
    "$tool" import game slow "$work/fifo" >"$work/out" 2>"$work/err" &
    importer=$!
    exec 8>"$work/fifo"
    printf '{"id":"1","region":"eu"}\n{"id":"2",' >&8
    await 1 slow
    printf '"region":"eu"}' >&8
    exec 8>&-
    wait $importer
    is $? 0 'status of a slow import'
    is "$(count slow)" 2 'items of a slow import'
}

interrupted_import() {
    "$tool" import game "$1" "$work/fifo" >"$work/out" 2>"$work/err" &
    importer=$!
    exec 8>"$work/fifo"
    documents 500 >&8
    await 500 "$1"
    kill -INT $importer
    wait $importer
    is $? 3 'status of an interrupted import'
    exec 8>&-
}

part_interrupt() {
    players interrupted
    mkfifo "$work/fifo"
    last='interrupted import'
    interrupted_import interrupted
    is "$(total ok),$(total failed)" 500,0 'ok, failed'
    says 'interrupted: stopped after line 500'
    says '--from-line 501'
}

# Creates take 50 ms here.
part_interrupt_in_flight() {
    players flying
    last='import interrupted in flight'
    documents 20000 >"$work/many"
    "$tool" import game flying "$work/many" --single --concurrency 10 >"$work/out" 2>"$work/err" &
    importer=$!
    tries=0
    while [ "$(count flying)" -lt 10 ] && [ $tries -lt 200 ]; do tries=$((tries + 1)); done
    kill -TERM $importer
    wait $importer
    is $? 3 'status of an interrupted import'
    says "no line after $(count flying) is taken"
    is "$(total failed)" 0 failed
    is "$(total ok)" "$(count flying)" ok
    documents 500000 >"$work/many"                          # more than any machine takes in that time
    exits 124 timeout 0.3 "$tool" import game flying "$work/many" --upsert --single --concurrency 10
    is "$(grep -c 'ended at once' "$work/err")" 0 'an import that timeout(1) ends'
    is "$([ "$(total ok)" -gt 0 ] && echo some)" some ok
    says "stopped after line $(count flying):"
}

now_ms() {
    date +%s%3N
}

# Only the first create is answered here.
part_interrupt_twice() {
    players hanging
    mkfifo "$work/fifo"
    last='import interrupted twice'
    "$tool" import game hanging "$work/fifo" --concurrency 50 --insecure >"$work/out" 2>"$work/err" &
    importer=$!
    exec 8>"$work/fifo"
    documents 1 >&8
    await 1 hanging
    documents 5 | tail -n 4 >&8
    echo nonsense >&8
    await_text '{"line":6,'                                # then those before it are on their way
    kill -INT $importer
    await_text 'no line after 6 is taken'
    kill -INT $importer                                    # the same once more, as of timeout(1)
    interrupted=$(now_ms)
    tries=0
    until grep -qF 'ended at once' "$work/err" || [ $tries -eq 5000 ]; do
        kill -INT $importer 2>/dev/null
        tries=$((tries + 1))
    done
    is "$([ $(($(now_ms) - interrupted)) -ge 300 ] && echo later)" later 'a signal right behind the first'
    wait $importer 2>/dev/null
    is $? 130 'status after the second Ctrl-C'
    says 'These lines were in flight, and may be stored or not: 2-5.'
    says 'The others up to line 6 are stored, or among the rejects'
    says 'To go on with the first of them, and find what is stored already among the rejects as 409:'
    says "  aiocosmos import game hanging $work/fifo --from-line 2 --insecure --concurrency 50"
    exec 8>&-
}

# Only the first create is answered here; a batch waits for its answer, and lines that are behind it for their turn.
part_interrupt_unsent() {
    players waiting
    mkfifo "$work/fifo"
    last='import interrupted while lines wait'
    "$tool" import game waiting "$work/fifo" --concurrency 1 >"$work/out" 2>"$work/err" &
    importer=$!
    exec 8>"$work/fifo"
    documents 1 >&8
    await 1 waiting
    { echo nonsense; documents 500 | tail -n 499; } >"$work/many"
    cat "$work/many" >&8
    await_text '{"line":2,'                                # then those behind it are on their way
    kill -INT $importer
    await_text 'is taken, and those in flight are finished'
    sleep 0.6                                              # longer than an echo of the first
    kill -INT $importer
    wait $importer 2>/dev/null
    is $? 130 'status after the second Ctrl-C'
    is "$(grep -c 'These lines were in flight, and may be stored or not: 3-[0-9]*\.$' "$work/err")" 1 'lines in doubt'
    is "$(grep -c '^These lines were not sent: [0-9-]*\.$' "$work/err")" 1 'lines that were not sent'
    says "--from-line 3"
    exec 8>&-
}

#--- A service with troubles ---------------------------------------------------

part_throttled() {
    players throttled
    documents 1500 >"$work/many"
    exits 0 "$tool" import game throttled "$work/many"
    is "$(total ok),$(total failed)" 1500,0 'ok, failed'
    is "$([ "$(total retries)" -gt 0 ] && echo some)" some retries
}

# One create in twenty is carried out, and its answer lost.
part_lossy() {
    for singly in --single ''; do lossy_import $singly; done
}

lossy_import() {
    "$tool" container delete game lossy --yes >/dev/null 2>&1
    players lossy
    documents 2000 >"$work/many"
    rm -f "$work/rejects"
    exits 0 "$tool" import game lossy "$work/many" --rejects "$work/rejects" "$@"
    is "$(total ok),$(total failed)" 2000,0 'ok, failed'
    is "$(count lossy)" 2000 items
    exits 0 "$tool" import game lossy "$work/many" --upsert "$@"
    is "$(total ok),$(total failed)" 2000,0 'ok, failed'
}

# One answer in fifty is lost, to reads too: each document is stored once all the same, and counted.
part_gateway() {
    documents 20000 >"$work/many"
    for singly in '' --single; do
        "$tool" container delete game behind --yes >/dev/null 2>&1
        players behind
        exits 0 "$tool" import game behind "$work/many" $singly
        is "$(total ok),$(total failed)" 20000,0 'ok, failed'
        is "$("$tool" export game behind 2>/dev/null | sed 's/,"_rid".*/}/' | sort | cksum)" \
            "$(sort "$work/many" | cksum)" 'the documents that are there'
    done
    exits 0 "$tool" import game behind "$work/many" --delete
    is "$(total ok),$(total failed)" 20000,0 'deleted, failed'
    is "$(count behind)" 0 'items left'
}

# The answers to the seventh document and to the eighth are lost.
part_settled() {
    players settled
    echo '{"id":"7","region":"r7","n":99}' | "$tool" item upsert game settled >/dev/null 2>&1
    echo '{ "n":8.0, "region":"r\u0038", "id":"8" }' | "$tool" item upsert game settled >/dev/null 2>&1
    documents 100 >"$work/many"
    rm -f "$work/rejects"
    exits 3 "$tool" import game settled "$work/many" --single --concurrency 1 --rejects "$work/rejects"
    is "$(total ok),$(total failed)" 99,1 'ok, failed'
    rejects '{"line":7,"reason":"an answer was lost, and the item that is there by now is another one'
    rejects '"status":409,"sub_status":0,"maybe_applied":false,"document":{"id":"7","region":"r7","n":7}}'
    exits 0 "$tool" item get game settled 7 --pk '"r7"'
    prints '"n":99'
}

# The answer to the 50th is lost, and reads are refused.
part_unsettled() {
    players unsettled
    documents 50 >"$work/many"
    rm -f "$work/rejects"
    exits 3 "$tool" import game unsettled "$work/many" --single --concurrency 1 --rejects "$work/rejects"
    is "$(total ok),$(total failed)" 49,1 'ok, failed'
    says '(1 of them maybe)'
    rejects '"reason":"an answer was lost, and whether it is stored could not be found out: 403'
    rejects '"status":409,"sub_status":0,"maybe_applied":true,"document":{"id":"50"'
}

# The first batch is not carried out, and hangs until the time of its documents is over.
part_missed() {
    players missed
    documents 100 >"$work/many"
    exits 0 "$tool" import game missed "$work/many" --timeout 3
    is "$(total ok),$(total failed)" 100,0 'ok, failed'
    is "$(count missed)" 100 items
}

# The answer to the 51st is lost, which can never be stored.
part_unique() {
    "$tool" db create game >/dev/null 2>&1
    "$tool" container create game unique --partition-key /region \
        --with '{"uniqueKeyPolicy":{"uniqueKeys":[{"paths":["/n"]}]}}' >/dev/null 2>&1
    { documents 50; echo '{"id":"again","region":"r1","n":1}'; } >"$work/many"
    rm -f "$work/rejects"
    exits 3 "$tool" import game unique "$work/many" --single --concurrency 1 --rejects "$work/rejects"
    is "$(total ok),$(total failed)" 50,1 'ok, failed'
    rejects '{"line":51,"reason":"409/3301 Conflict: another item has the same unique key'
    rejects '"status":409,"sub_status":3301,"maybe_applied":false'
}

# The answer to the second batch is lost.
part_import_delete() {
    players gone
    documents 100 >"$work/many"
    exits 0 "$tool" import game gone "$work/many" --concurrency 1
    { documents 98; echo '{"id":"99"}'; echo '{"region":"r0"}'; echo '{"id":100,"region":"r0"}'; } >"$work/some"
    rm -f "$work/rejects"
    exits 3 "$tool" import game gone "$work/some" --concurrency 1 --delete --rejects "$work/rejects"
    says '98 deleted, 3 not'
    rejects '{"line":99,"reason":"404'
    rejects '{"line":100,"reason":"id: '
    rejects '{"line":101,"reason":"id: '
    is "$(count gone)" 2 'items left'
    printf 'region,n,id\nr49,,99\n"r0",,"100"\n' >"$work/some"
    exits 0 "$tool" import game gone "$work/some" --delete --csv
    is "$(total ok)" 2 deleted
    is "$(count gone)" 0 'items left'
}

part_refusing() {
    players refusing
    documents 100 >"$work/many"
    rm -f "$work/rejects"
    exits 3 "$tool" import game refusing "$work/many" --rejects "$work/rejects"
    is "$(total ok),$(total failed)" 97,3 'ok, failed'
    is "$(grep -c '"reason":"403/1014 .*"status":403,"sub_status":1014,"maybe_applied":false' "$work/rejects")" 3 rejects
}

#--- A server that dies --------------------------------------------------------

# importing OPTION...: 20,000 lines of which some hundreds are stored when it returns.
importing() {
    rm -f "$work/rejects"
    "$tool" import game dying "$work/many" --single --rejects "$work/rejects" "$@" >"$work/out" 2>"$work/err" &
    importer=$!
    tries=0
    while [ "$(count dying)" -lt 300 ] && [ $tries -lt 200 ]; do tries=$((tries + 1)); done
}

# What was taken is stored, or among the rejects, and no more was taken than was in flight.
account_for_all() {
    stored=$(total ok) failed=$(total failed)
    is "$(wc -l <"$work/rejects" | tr -d ' ')" "$failed" rejects
    is "$([ "$failed" -le 100 ] && echo few)" few 'lines rejected'
    says "stopped after line $((stored + failed)):"
    says "aiocosmos import game dying $work/many --from-line $((stored + failed + 1)) --append-rejects"
}

part_dying() {
    documents 20000 >"$work/many"
    last='import from a server that dies'
    for signal in KILL STOP; do
        own_emulator --fault delay_ms=20,kind=create_item
        players dying
        importing --give-up 1
        kill -$signal $own
        wait $importer
        is $? 3 "status after SIG$signal to the server"
        says 'giving up: the server has not answered for 1 second'
        account_for_all
        # Killed, it may have left every line that was in flight in doubt: their answers were lost.
        reason='given up: the server has not answered for 1 s ('
        if [ $signal = KILL ] && ! grep -qF "$reason" "$work/rejects"; then
            reason='an answer was lost, and the import has given up'
        fi
        rejects "\"reason\":\"$reason"
        bury
    done

    # It is back in time.
    own_emulator --fault delay_ms=5,kind=create_item
    players dying
    importing
    kill -STOP $own
    sleep 1
    kill -CONT $own
    wait $importer
    is $? 0 'status after a server that paused'
    is "$(total ok),$(total failed)" 20000,0 'ok, failed'
    bury
}

# No create is answered from the 301st on, until 1,000 connections have been lost.
part_resetting() {
    players resetting
    documents 2000 >"$work/many"
    exits 0 "$tool" import game resetting "$work/many" --upsert --single
    is "$(total ok),$(total failed)" 2000,0 'ok, failed'
    is "$(total retries)" 1000 retries
}

# The key is changed after 500 documents.
part_locked_out() {
    players locked
    documents 20000 >"$work/many"
    rm -f "$work/rejects"
    exits 3 "$tool" import game locked "$work/many" --rejects "$work/rejects" --single
    says 'giving up: 100 lines on end were refused for no reason of their own, the last because: 401'
    is "$(total ok)" 500 ok
    is "$(wc -l <"$work/rejects" | tr -d ' ')" "$(total failed)" rejects
    is "$([ "$(total failed)" -lt 300 ] && echo few)" few 'lines rejected'
    says "stopped after line $((500 + $(total failed))):"
}
#--- All of it -----------------------------------------------------------------

[ $# -eq 0 ] || run_part "$1"
part_usage
with_emulator commands --merge-enabled
with_emulator resources
part_procedure
with_emulator delete --partitions 4 --fault status=412,kind=delete_item,skip=150,count=1
with_emulator copy_items --partitions 4
with_emulator resumed_copy --fault status=403,kind=upsert_item,skip=40,count=1 --fault delay_ms=50,kind=batch_items
with_emulator vanishing_copy --fault status=404,kind=upsert_item,skip=40,count=1
part_wide_key
with_emulator import
with_emulator interrupt
with_emulator interrupt_in_flight --fault delay_ms=50,kind=create_item
with_emulator interrupt_unsent --partitions 1 --fault action=hang,kind=create_item,skip=1
with_emulator interrupt_twice --fault action=hang,kind=create_item,skip=1
with_emulator throttled --ru 4000
with_emulator gateway --partitions 4 --fault action=reset,when=after,path=/docs,probability=0.02
with_emulator settled --fault action=reset,when=after,kind=create_item,skip=6,count=1 \
    --fault action=reset,when=after,kind=create_item,skip=7,count=1
with_emulator unsettled --fault action=reset,when=after,kind=create_item,skip=49,count=1 --fault status=403,kind=read_item
with_emulator missed --fault action=hang,kind=batch_items,count=1
with_emulator unique --fault action=reset,when=after,kind=create_item,skip=50,count=1
with_emulator import_delete --fault action=reset,when=after,kind=batch_items,skip=1,count=1
with_emulator lossy --fault action=reset,when=after,kind=create_item,probability=0.05
part_dying
with_emulator resetting --fault action=reset,kind=upsert_item,skip=300,count=1000
with_emulator locked_out --fault status=401,kind=create_item,skip=500
with_emulator refusing --fault status=403,sub_status=1014,kind=create_item,skip=10,count=3
report tool
