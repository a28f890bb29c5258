/* fault.c: failures on request.
 *
 * A rule says which requests it means and what becomes of them:
 *
 *     verb         "POST": requests of that verb
 *     path         "/docs": requests whose path, as it is on the wire, has this in it
 *     kind         "item": requests whose kind has this in it. Kinds: create_item upsert_item read_item replace_item
 *                  patch_item delete_item query_items plan_items list_items (a change feed is that too) batch_items,
 *                  list_ranges, read_account; create_, read_, replace_, delete_, list_, query_ with database(s),
 *                  container(s), offer(s), user(s), permission(s); and batched_ in front of what one operation of a
 *                  batch is. No kind with this in it: a mistake
 *     skip         so many of them pass first
 *     count        so many are hit (all)
 *     probability  each is hit only with that chance, 0 to 1 (1), by a generator that `seed` starts
 *     status       answered with this status; with sub_status and retry_after_ms where given
 *     action       reset     the connection is torn down
 *                  close     it is closed without an answer
 *                  hang      there is never an answer
 *                  html      who stands before the service answers, with `status` (503), in HTML and without any of
 *                            the headers by which the service is known
 *                  json      the same, in JSON
 *                  big       the answer is a string of `at` bytes, with `status` (200)
 *                  truncate  the answer ends, and the connection, after `at` bytes
 *                  garble    eight of its bytes from `at` on are wrong
 *                  chunked   its body comes in chunks
 *                  trickle   it comes byte by byte
 *                  end       it is as it should be, but then the connection is closed, without a word about it
 *     when         before    (else) status, html, json, big, reset, close, hang: the request is not carried out
 *                  after     it is, and then its answer is lost
 *     delay_ms     the answer, or what comes instead, comes so much later
 *
 * What hits an operation of a batch is its status, or else becomes of the answer of the whole.
 *
 * The first rule that means a request and is not used up decides. */
#include "fault.h"

#include <math.h>
#include <string.h>

#define EMU_BIG_MAX     (256u * 1024u * 1024u)
#define EMU_FAULT_KINDS ((UINT64_C(1) << EMU_BATCHED_CREATE_ITEM) - 1)   /* without more: a batch is hit as a whole */

static const char *const emu_action_names[] = {
    "none", "status", "html", "json", "big", "reset", "close", "hang", "truncate", "garble", "chunked", "trickle",
    "end", "delay"
};

static bool emu_fault_wrong(char *why, size_t cap, const char *what, aiocosmos_str name)
{
    aioc_mem_print(why, cap, "%s: %.*s", what, EMU_CUT(name, 60));
    return false;
}

static bool emu_fault_text(char *to, size_t cap, aiocosmos_str value)
{
    if (value.len >= cap) return false;
    memcpy(to, value.ptr, value.len);
    to[value.len] = 0;
    return true;
}

static bool emu_fault_action(emu_fault *fault, aiocosmos_str value)
{
    unsigned i;
    for (i = 1; i < sizeof emu_action_names / sizeof *emu_action_names; i++) {
        if (!emu_is(value, emu_action_names[i])) continue;
        fault->action = (emu_action)i;
        return true;
    }
    return false;
}

/* What a number may be, the first two not only whole. */
static const struct { const char *name; double least, most; } emu_fault_numbers[] = {
    { "probability", 0, 1 }, { "retry_after_ms", 0, 1e9 }, { "status", 200, 599 }, { "sub_status", 0, 1e6 },
    { "skip", 0, 9e15 }, { "count", 0, 9e15 }, { "seed", 0, 9e15 }, { "at", 0, EMU_BIG_MAX }, { "delay_ms", 0, 1e9 }
};

static void emu_fault_number(emu_fault *fault, size_t which, double number)
{
    switch (which) {
    case 0: fault->probability = number; break;
    case 1: fault->retry_after_ms = number; break;
    case 2: fault->status = (int)number; break;
    case 3: fault->sub_status = (int)number; break;
    case 4: fault->skip = (uint64_t)number; break;
    case 5: fault->count = (uint64_t)number; break;
    case 6: fault->random = (uint64_t)number; break;
    case 7: fault->at = (size_t)number; break;
    default: fault->delay_ms = (int64_t)number;
    }
}

/* One property of a rule; its value without quotes. */
static bool emu_fault_set(emu_fault *fault, aiocosmos_str name, aiocosmos_str value, char *why, size_t cap)
{
    size_t i;
    double number;
    bool ok;
    for (i = 0; i < sizeof emu_fault_numbers / sizeof *emu_fault_numbers; i++) {
        if (!emu_is(name, emu_fault_numbers[i].name)) continue;
        ok = aioc_json_number_parse(value.ptr, value.len, &number) && number >= emu_fault_numbers[i].least &&
             number <= emu_fault_numbers[i].most && (i < 2 || number == floor(number));
        if (ok) emu_fault_number(fault, i, number);
        return ok || emu_fault_wrong(why, cap, "not a value that this can have", name);
    }
    if (emu_is(name, "verb")) ok = emu_fault_text(fault->verb, sizeof fault->verb, value);
    else if (emu_is(name, "path")) ok = emu_fault_text(fault->path, sizeof fault->path, value);
    else if (emu_is(name, "kind"))
        return (emu_fault_text(fault->kind, sizeof fault->kind, value) &&
                (fault->kinds = emu_kinds_with(fault->kind)) != 0) ||
               emu_fault_wrong(why, cap, "no request is of such a kind", value);
    else if (emu_is(name, "action")) ok = emu_fault_action(fault, value);
    else if (emu_is(name, "when")) ok = (fault->after = emu_is(value, "after")) || emu_is(value, "before");
    else return emu_fault_wrong(why, cap, "a rule has no such property", name);
    return ok || emu_fault_wrong(why, cap, "not a value that this can have", name);
}

static emu_fault *emu_fault_make(emu_core *core)
{
    emu_fault *fault = (emu_fault *)aioc_mem_zalloc(&core->store.memory, sizeof *fault);
    if (!fault) return NULL;
    fault->kinds = EMU_FAULT_KINDS;
    fault->count = UINT64_MAX;
    fault->probability = 1;
    fault->random = 1;
    fault->retry_after_ms = -1;
    return fault;
}

/* A rule has to do something. */
static bool emu_fault_complete(emu_fault *fault, char *why, size_t cap)
{
    if (fault->action == EMU_FAULT_NONE && fault->status) fault->action = EMU_FAULT_STATUS;
    if (fault->action == EMU_FAULT_NONE && fault->delay_ms) fault->action = EMU_FAULT_DELAY;
    if (fault->action < EMU_FAULT_BIG && !fault->status) fault->status = 503;
    if (fault->action == EMU_FAULT_BIG && !fault->status) fault->status = 200;
    if (fault->action != EMU_FAULT_NONE) return true;
    aioc_mem_print(why, cap, "a rule needs a status, an action or a delay_ms");
    return false;
}

static bool emu_fault_from_json(emu_fault *fault, aiocosmos_json rule, char *why, size_t cap)
{
    aiocosmos_json key, value;
    char name[32], text[300];
    memset(&value, 0, sizeof value);
    while (aioc_json_next(rule, &key, &value)) {
        aiocosmos_str as_text = emu_str(value.ptr, value.len);
        size_t len = aioc_json_get_str(key, name, sizeof name);
        if (value.type == AIOCOSMOS_JSON_STR) as_text = emu_str(text, aioc_json_get_str(value, text, sizeof text));
        if (len >= sizeof name || as_text.len >= sizeof text)
            return emu_fault_wrong(why, cap, "too long", emu_str(key.ptr, key.len));
        if (!emu_fault_set(fault, emu_str(name, len), as_text, why, cap)) return false;
    }
    return emu_fault_complete(fault, why, cap);
}

static bool emu_fault_from_short(emu_fault *fault, aiocosmos_str rest, char *why, size_t cap)
{
    while (rest.len) {
        const char *comma = (const char *)memchr(rest.ptr, ',', rest.len);
        aiocosmos_str part = emu_str(rest.ptr, comma ? (size_t)(comma - rest.ptr) : rest.len);
        const char *equals = (const char *)memchr(part.ptr, '=', part.len);
        size_t len = equals ? (size_t)(equals - part.ptr) : 0;
        if (!equals) return emu_fault_wrong(why, cap, "not name=value", part);
        if (!emu_fault_set(fault, emu_str(part.ptr, len), emu_str(equals + 1, part.len - len - 1), why, cap))
            return false;
        rest.ptr += part.len + (comma ? 1 : 0);
        rest.len -= part.len + (comma ? 1 : 0);
    }
    return emu_fault_complete(fault, why, cap);
}

static void emu_faults_free(emu_core *core, emu_fault *fault)
{
    while (fault) {
        emu_fault *next = fault->next;
        aioc_mem_free(&core->store.memory, fault, sizeof *fault);
        fault = next;
    }
}

/* The rules of a text as a list. False: why, and there is no list. */
static bool emu_faults_parse(emu_core *core, aiocosmos_str text, emu_fault **out, char *why, size_t cap)
{
    emu_fault *first = NULL, **last = &first;
    aiocosmos_json root, rule;
    bool ok = true, is_json = text.len && strchr("{[ \t\r\n", *text.ptr) && *text.ptr;
    aioc_mem_print(why, cap, "no memory");
    if (!is_json) {
        ok = (first = emu_fault_make(core)) != NULL && emu_fault_from_short(first, text, why, cap);
    } else if (aioc_json_parse(&core->doc, text.ptr, text.len) < 0) {
        aioc_mem_print(why, cap, "not JSON at byte %llu: %s", (unsigned long long)core->doc.error_at,
                       core->doc.error ? core->doc.error : "");
        ok = false;
    } else {
        root = rule = aioc_json_root(&core->doc);
        if (root.type == AIOCOSMOS_JSON_ARR) memset(&rule, 0, sizeof rule);
        while (ok && (root.type != AIOCOSMOS_JSON_ARR || aioc_json_next(root, NULL, &rule))) {
            ok = rule.type == AIOCOSMOS_JSON_OBJ ||
                 emu_fault_wrong(why, cap, "not an object", emu_str(rule.ptr, rule.len));
            ok = ok && (*last = emu_fault_make(core)) != NULL && emu_fault_from_json(*last, rule, why, cap);
            if (*last) last = &(*last)->next;
            if (root.type != AIOCOSMOS_JSON_ARR) break;
        }
    }
    if (ok) *out = first;
    else emu_faults_free(core, first);
    return ok;
}

void aiocosmos_emulator_clear_faults(emu_core *core)
{
    emu_faults_free(core, core->faults);
    core->faults = NULL;
}

bool emu_faults_add(emu_core *core, aiocosmos_str text, bool replace, char *why, size_t cap)
{
    emu_fault *added, **last = &core->faults;
    if (!emu_faults_parse(core, text, &added, why, cap)) return false;
    if (replace) aiocosmos_emulator_clear_faults(core);
    while (*last) last = &(*last)->next;
    *last = added;
    return true;
}

bool aiocosmos_emulator_fault(emu_core *core, const char *rules, char *why, size_t cap)
{
    return emu_faults_add(core, aioc_mem_str(rules), false, why, cap);
}

void emu_faults_put(emu_text *out, const emu_fault *faults)
{
    const emu_fault *fault;
    emu_puts(out, "[");
    for (fault = faults; fault; fault = fault->next) {
        emu_put_format(out, "%s{\"action\":\"%s\",\"status\":%d,\"kind\":", fault == faults ? "" : ",",
                       emu_action_names[fault->action], fault->status);
        emu_put_json(out, aioc_mem_str(fault->kind));
        emu_puts(out, ",\"path\":");
        emu_put_json(out, aioc_mem_str(fault->path));
        emu_put_format(out, ",\"verb\":\"%s\",\"sub_status\":%d,\"after\":%s,\"delay_ms\":%lld,\"probability\":%.6g,"
                       "\"skip\":%llu,\"left\":", fault->verb, fault->sub_status, fault->after ? "true" : "false",
                       (long long)fault->delay_ms, fault->probability, (unsigned long long)fault->skip);
        if (fault->count == UINT64_MAX) emu_puts(out, "null");
        else emu_put_format(out, "%llu", (unsigned long long)fault->count);
        emu_put_format(out, ",\"hits\":%llu}", (unsigned long long)fault->hits);
    }
    emu_puts(out, "]");
}

/*------------------------------------------------------------------------------
 * MARK: - Which rule
 *----------------------------------------------------------------------------*/

static bool emu_has(aiocosmos_str text, const char *part)
{
    size_t len = strlen(part), i;
    for (i = 0; i + len <= text.len; i++)
        if (memcmp(text.ptr + i, part, len) == 0) return true;
    return false;
}

emu_fault *emu_fault_find(emu_core *core, const emu_exchange *x)
{
    emu_fault *fault;
    for (fault = core->faults; fault; fault = fault->next) {
        if (*fault->verb && !aioc_mem_same_nocase(x->request->verb_text, aioc_mem_str(fault->verb))) continue;
        if (!(fault->kinds >> x->kind & 1) || !emu_has(x->request->target, fault->path)) continue;
        if (fault->count == 0) continue;
        if (fault->probability < 1 && (double)(emu_random_next(&fault->random) >> 11) >= fault->probability * 0x1p53)
            continue;
        if (fault->skip) {
            fault->skip--;
            continue;
        }
        if (fault->count != UINT64_MAX) fault->count--;
        fault->hits++;
        return fault;
    }
    return NULL;
}
