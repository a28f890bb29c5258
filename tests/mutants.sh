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
    # Most are noticed by one of the first seeds: what takes time is the compiler.
    ${CC:-cc} -std=gnu99 -O0 -w -DAIOCOSMOS_STATIC= -DSIM_FAILURES_MAX=1 -DBUILD_DIR="\"$B\"" \
        ${BEARSSL_CFLAGS:-} -I"$copy" -I. \
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
mutant "a token is kept of the wrong range" \
    's/kept = aioc_account_token_merge\(container, id,/kept = aioc_account_token_merge(container, aioc_mem_str("0"),/'
mutant "a range that is new has nothing of its parents' tokens" \
    's/^ +aioc_account_put\(container, &writer, id, parents, given\);/;/'
mutant "a write that may be applied is told as not sent" \
    's/\(verdict\.doubt \? AIOCOSMOS_FATE_MAYBE_APPLIED$/(false ? AIOCOSMOS_FATE_MAYBE_APPLIED/'
mutant "a write that is given up is told as not sent" \
    's/^ +if \(sent && op->now\.is\.write\) op->now\.past\.doubt = true;//'
mutant "a bulk's item that is given up is told as not sent" \
    's/item->now\.past\.doubt \|\| \(sent && item->now\.is\.write\)/item->now.past.doubt/'
mutant "a 304 is waited for as long as it is" 's/ \|\| response->status == 304\) \{/) {/'
mutant "what is split begins anew" '/_range_recut\(/,/^}/s/aioc_range_ask_from\(old\)/aioc_mem_str("")/'
mutant "null, false and true are told as one by DISTINCT" \
    's/AIOC_VAL_KIND_SIMPLE \| \(uint64_t\)aioc_val_rank\(value\) << 8/AIOC_VAL_KIND_SIMPLE/'
mutant "a write goes without its If-Match" 's/^ +if \(request->if_match\.ptr\) aioc_request_put_line\(.*//'
mutant "an operation of a batch goes without its If-Match" \
    's/^ +at = aioc_batch_put_string\(at, .*ifMatch.*//'
mutant "a deadline does not count in the queue" \
    '/^static void aioc_op_timer_fired/,/^}/s/^ +if \(op->deadline_us && /    if (op->attempt.exchange.queued) {\
    op->deadline_us += 1000000; aioc_op_time(op, op->engine->reactor->now_us); return; }\
&/'
mutant "a page's end is asked for from the first answer's" \
    '/_ask_from\(const/,/^}/s/stream->last \? &stream->last->behind/stream->first ? \&stream->first->behind/'
mutant "a token is behind answers that were not given" \
    's/(pieces\[count\]\.continuation = )aioc_mem_text\(&stream->position\)/\1aioc_range_ask_from(stream)/'
mutant "a bulk's answers are shifted by one" \
    '/^static void aioc_bulk_take_answer/,/^}/s/for \(i = 0;/for (i = 0, aioc_json_next(list, NULL, \&entry);/'
mutant "a transaction's results are turned round" \
    '/^static bool aioc_batch_read_all/,/^}/s/results\[i\]/results[count - 1 - i]/'
mutant "a connection is used again before the answer to what was cancelled" \
    '/_pool_cancel\(/,/^}/s/aioc_http_drain\(&connection->http\);/aioc_pool_make_idle(connection); return sent;/'
mutant "a token loses a group at a page's end" \
    '/_chain_rest\(aioc/,/^}/s/at = chain->at,/at = chain->at + (chain->at \&\& chain->at + 1 < stage->count),/'
mutant "an operation of a batch has an If-Match that nothing has" \
    's/(ifMatch[^,]*, )what->if_match\)/\1what->if_match.ptr ? aioc_mem_str("none") : what->if_match)/'
mutant "a change feed's token is of a page that was not given" \
    's/(pieces\[count\]\.continuation = )(aioc_mem_text\(.*\));/\1reader->etags ? aioc_range_ask_from(stream) : \2;/'
mutant "a change feed forgets where an empty page ended" \
    's/if \(etag\.len && !aioc_mem_set\(stream->reader->memory, &stream->position, etag\)\) .*//'
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
mutant "a page keeps its nodes for the next one" \
    's/if \((engine->memory->used > engine->memory->max \/ 4)\) \{/if (false \&\& \1) {/'
mutant "a page is full by its text alone" 's/ \|\| text \+ query->cursor->items\.len >= max \/ 4//'
mutant "of many keys only some become streams" \
    's/while \(ok && more && (.*joined < enough)\)/if (ok \&\& more \&\& \1)/; s/if \(!more\) (query->stage = )/\1/'
echo "mutants: $passed passed, $failed failed"
[ $failed -eq 0 ]
