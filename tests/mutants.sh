#!/bin/sh
# tests/mutants.sh: breaks the library and the change feed processor on purpose, in a copy, one fault at a time, and
# tells which of SEEDS simulations notices. A fault that none notices is a failure: they have stopped to test what it
# breaks. So is a pattern that finds nothing in the file. ONLY=bulk: those with that in their names.
set -u
B=${BUILD:-build} SEEDS=${SEEDS:-1500}
copy=$B/mutants
mkdir -p "$copy/examples"
processor=examples/change_feed_processor.h
passed=0 failed=0

# mutant NAME SED-SCRIPT [FILE]
mutant() {
    case "$1" in *"${ONLY:-}"*) ;; *) return ;; esac
    broken=${3:-aiocosmos.h}
    cp aiocosmos.h "$copy"
    cp "$processor" "$copy/examples"
    sed -E "$2" "$broken" >"$copy/$broken"
    if cmp -s "$broken" "$copy/$broken"; then
        echo "$1: nothing in $broken is like $2"
        failed=$((failed + 1))
        return
    fi
    ${CC:-cc} -std=gnu99 -O1 -w -DAIOCOSMOS_STATIC= -DBUILD_DIR="\"$B\"" ${BEARSSL_CFLAGS:-} -I"$copy" -I. \
        -o "$copy/sim" tests/sim.c "$B/tools/emulator/unit.o" ${BEARSSL_LIBS:--lbearssl} -lm || exit 1
    said=$("$copy/sim" --from 1 --count "$SEEDS" 2>&1 | grep -m 1 -E '^(tests/[^ ]*: )?seed [0-9]+( at|:) ')
    if [ -n "$said" ]; then
        echo "$1: noticed: $(echo "$said" | cut -c 1-160)"
        passed=$((passed + 1))
    else
        echo "$1: not noticed"
        failed=$((failed + 1))
    fi
}

mutant "449 is not tried again" 's/\{ 449, +-1, AIOC_OP_GONE,/{ 449, -1, AIOC_OP_FINAL,/'
mutant "429 is waited for without an end" 's/now->past.throttle_wait_ms \+ .* > now->throttle_wait_max_ms/false/'
mutant "a bulk does not halve" 's/bulk->allowed = bulk->allowed > 1 .*//'
mutant "a bulk does not pause" 's/.*bulk->wait_until_us = now_us.*//'
mutant "a bulk forgets its retries" 's/.*bulk->totals.retries \+=.*//'
mutant "a bulk forgets what may have been applied" 's/.*bulk->totals.maybe_applied\+\+.*//'
mutant "a bulk forgets what was throttled" 's/.*bulk->totals.throttled\+\+.*//'
mutant "a range that is gone is not doubted" '/_watch_gone\(/,/^}/s/^ +aioc_account_doubt_ranges\(.*//'
mutant "tokens of failures are not taken" 's/status >= 300 && !aioc_protocol_is_news\(status\)/status >= 300/'
mutant "a write in doubt is sent again" 's/.*verdict\.doubt && !now->is\.repeatable.*//'
mutant "a transaction in doubt is sent again" 's/.*is->repeatable = is->repeatable && .*//'
mutant "a token is trusted before the ranges" \
    's/!aioc_range_same_rid\(query->cursor->from\.rid, container->rid\)/false/'
mutant "keys asked together are asked as the first alone" \
    's/ \|\| \(key < end && !key->first\); key\+\+\) \{/; key++) {/'
mutant "a condition of keys loosens the host's own" 's/bare \? "\)" : "\)\) AND \("/bare ? ")" : ")) OR ("/'
mutant "the key of a body is taken for the first item only" \
    's/if \(!keyed\) (builder->key_path_count = )/if (!keyed \&\& bulk->pulled == 0) \1/'
mutant "the key of a body is its id" 's/aiocosmos_json value = found\[at\[i\]\];/aiocosmos_json value = found[0];/'
mutant "an item's time begins when it is pulled" \
    's/^( +)item->pulled_us = .*/&\1item->deadline_us = item->pulled_us + bulk->request.timeout_ms * UINT64_C(1000);/'
mutant "an item's time begins anew each time" 's/if \(!item->deadline_us\) item->deadline_us = /item->deadline_us = /'
mutant "a bulk does not grow" 's/^ +bulk->allowed \+= .*//'
mutant "a bulk does not grow where answers take long" \
    's/(took_us > ms \* UINT64_C\(250\)) && took_us > 2 \* bulk->least_us/\1/'
mutant "a worker writes leases without their ETag" 's/^ +request\.if_match = .*//' $processor
mutant "a worker checkpoints a page before it is dealt with" \
    's/!cfp_set\(&l->behind_page, page->continuation\)/& || !cfp_set(\&l->continuation, page->continuation)/' $processor
mutant "a worker splits a lease that has not caught up" \
    's/l->idle > l->heads_known && other->idle > l->heads_known && //' $processor
mutant "a worker does not take what has expired" 's/^( +)now - l->seen_ms >= .*/\1false;/' $processor
mutant "a worker takes what has not expired" 's/^( +)now - l->seen_ms >= .*/\1true;/' $processor
mutant "a worker steals from nobody" 's/ \|\| most < ours \+ 2\) return;/ || most) return;/' $processor
mutant "a worker writes leases without where they are" \
    's/(cfp_body\(p, l->min, l->max, owner, )l->continuation/\1NULL/' $processor
mutant "a worker begins the half of a lease anew" \
    's/l->continuation = l->head\[0\].continuation;/l->continuation = NULL;/; s/l->head\[0\].continuation = NULL;//' \
    $processor
echo "mutants: $passed passed, $failed failed"
[ $failed -eq 0 ]
