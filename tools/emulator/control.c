/* control.c: what only an emulator has, under /_emulator/.
 *
 *     faults    PUT replaces the rules by which requests fail (fault.c), POST adds some, DELETE clears them, GET shows
 *               them with how often each hit
 *     split     PUT of {"database":D,"container":C,"range":R} splits a physical partition
 *     merge     PUT of the same makes one of it and its right neighbour. With "busy":N the first N requests that name
 *               it get 410 with "sub_status":S (1007) before either is done
 *     shuffle   PUT of {"every":N,"min":A,"max":B,"busy":M} makes both happen by themselves, as emu_shuffle says
 *     clock     PUT of {"ahead_ms":N} sets how far the clock is ahead of the real one
 *     stats     GET counts
 *     partitions/D/C    GET tells of a container's physical partitions: what they hold, and what they had to do
 *     explorer  GET is a page for people
 *     health    GET answers everybody
 *
 * They are for who calls it localhost, or has the key: emu_may_control says what that is good for. */
#include "control.h"
#include "auth.h"
#include "explorer.h"
#include "fault.h"

#include <string.h>

static bool emu_take_number(emu_exchange *x, aiocosmos_json value, const char *name, uint32_t *out)
{
    int64_t number;
    if (value.type == AIOCOSMOS_JSON_NONE) return true;
    if (aioc_json_get_i64(value, &number) && number >= 0 && number <= INT32_MAX) {
        *out = (uint32_t)number;
        return true;
    }
    return emu_refuse(x, 400, 0, "%s has to be a number that is not negative.", name);
}

static void emu_control_reshape(emu_exchange *x, uint32_t gone)
{
    static const char *const names[] = { "database", "container", "range", "busy", "sub_status" };
    char text[3][768];
    aiocosmos_json root, value[5];
    uint32_t busy = 0, sub_status = 1007;
    size_t i;
    if (!emu_parse_body(x, &root)) return;
    aioc_json_fields(root, names, 5, value);
    for (i = 0; i < 3; i++)
        if (aioc_json_get_str(value[i], text[i], sizeof text[i]) >= sizeof text[i]) text[i][0] = 0;
    if (!emu_take_number(x, value[3], "busy", &busy) || !emu_take_number(x, value[4], "sub_status", &sub_status))
        return;
    if (emu_reshape_named(x->store, text[0], text[1], *text[2] ? text[2] : NULL, gone, busy, (int)sub_status))
        x->status = 204;
    else emu_refuse(x, 404, 0, "There is no such partition, or it cannot be %s.", gone == 1 ? "split" : "merged");
}

static void emu_control_split(emu_exchange *x)
{
    emu_control_reshape(x, 1);
}

static void emu_control_merge(emu_exchange *x)
{
    emu_control_reshape(x, 2);
}

static void emu_control_shuffle(emu_exchange *x)
{
    static const char *const names[] = { "every", "min", "max", "busy" };
    emu_shuffle shuffle = x->store->shuffle;
    uint32_t *const to[] = { &shuffle.every, &shuffle.min, &shuffle.max, &shuffle.busy };
    aiocosmos_json root, value[4];
    size_t i;
    const char *wrong;
    if (!emu_parse_body(x, &root)) return;
    aioc_json_fields(root, names, 4, value);
    for (i = 0; i < 4; i++)
        if (!emu_take_number(x, value[i], names[i], to[i])) return;
    wrong = emu_shuffle_wrong(&shuffle);
    if (wrong) {
        emu_refuse(x, 400, 0, "%s", wrong);
        return;
    }
    x->store->shuffle = shuffle;
    x->status = 204;
}

static void emu_control_faults(emu_exchange *x)
{
    char why[200];
    if (x->request->verb == EMU_GET) {
        emu_faults_put(&x->core->body, x->core->faults);
        x->status = 200;
        x->has_body = true;
        return;
    }
    if (x->request->verb == EMU_DELETE) aiocosmos_emulator_clear_faults(x->core);
    else if (!emu_faults_add(x->core, x->request->body, x->request->verb == EMU_PUT, why, sizeof why)) {
        emu_refuse(x, 400, 0, "%s", why);
        return;
    }
    x->status = 204;
}

static void emu_control_clock(emu_exchange *x)
{
    static const char *const names[] = { "ahead_ms" };
    aiocosmos_json root, value;
    int64_t ahead;
    if (!emu_parse_body(x, &root)) return;
    aioc_json_fields(root, names, 1, &value);
    if (aioc_json_get_i64(value, &ahead) && ahead > -INT64_C(1000000000000) && ahead < INT64_C(1000000000000)) {
        x->store->clock.ahead_ms = ahead;
        x->status = 204;
    } else {
        emu_refuse(x, 400, 0, "ahead_ms has to be a number of milliseconds.");
    }
}

static void emu_control_stats(emu_exchange *x)
{
    const emu_shuffle *shuffle = &x->store->shuffle;
    emu_put_format(&x->core->body, "{\"requests\":%llu,\"memory_bytes\":%llu,\"splits\":%llu,\"merges\":%llu,"
                   "\"ahead_ms\":%lld,\"shuffle\":{\"every\":%u,\"min\":%u,\"max\":%u,\"busy\":%u}}",
                   (unsigned long long)x->core->requests, (unsigned long long)x->store->memory.used,
                   (unsigned long long)x->store->splits, (unsigned long long)x->store->merges,
                   (long long)x->store->clock.ahead_ms, shuffle->every, shuffle->min, shuffle->max, shuffle->busy);
    x->status = 200;
    x->has_body = true;
}

static void emu_put_load(emu_text *out, const emu_range *range)
{
    const emu_container *container = range->container;
    uint64_t whole = container->range[container->range_count - 1]->high - container->range[0]->low;
    emu_put_format(out, "{\"id\":\"%s\",\"min\":\"%s\",\"max\":\"%s\",\"share\":%.6f,\"parents\":[%s],\"items\":%u,"
                   "\"requests\":%llu,\"throttled\":%llu,\"charge\":%.2f,\"lsn\":%lld,\"moves\":%s}", range->id,
                   range->min, range->max, (double)(range->high - range->low) / (double)whole, emu_range_parents(range),
                   range->items.live, (unsigned long long)range->requests, (unsigned long long)range->throttled,
                   range->charged, (long long)range->lsn, emu_range_moves(range) ? "true" : "false");
}

static void emu_control_partitions(emu_exchange *x)
{
    emu_database *database = emu_find_database(x->store, x->segment[2]);
    const emu_container *container = database ? emu_find_container(database, x->segment[3]) : NULL;
    uint32_t i;
    if (!container) {
        emu_refuse(x, 404, 0, "There is no such container.");
        return;
    }
    emu_puts(&x->core->body, "[");
    for (i = 0; i < container->range_count; i++) {
        if (i) emu_puts(&x->core->body, ",");
        emu_put_load(&x->core->body, container->range[i]);
    }
    emu_puts(&x->core->body, "]");
    x->status = 200;
    x->has_body = true;
}

/* The name before the port of "HOST[:PORT]" or of "scheme://HOST[:PORT]" is one of this machine. */
static bool emu_is_loopback(aiocosmos_str authority)
{
    static const char *const names[] = { "localhost", "127.", "[::1]" };
    size_t i, len;
    for (i = 0; i + 2 < authority.len; i++)
        if (memcmp(authority.ptr + i, "://", 3) == 0) authority = emu_str(authority.ptr + i + 3, authority.len - i - 3);
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        len = strlen(names[i]);
        if (authority.len < len || !aioc_mem_same_nocase(emu_str(authority.ptr, len), aioc_mem_str(names[i])))
            continue;
        if (names[i][len - 1] == '.') return strspn(authority.ptr, "0123456789.:") >= authority.len;
        return authority.len == len || authority.ptr[len] == ':';
    }
    return false;
}

/* Controls are not for a page that a browser shows: that can be made to reach this port under a name of the page's own
 * (DNS rebinding), but cannot write another Host or Origin. Programs write what they want: those of this machine may
 * control, those of others need the key. */
static bool emu_may_control(emu_exchange *x)
{
    if (!x->request->remote && emu_is_loopback(x->request->header[EMU_H_HOST])) return true;
    return emu_authorize(x);
}

static bool emu_is_own_origin(emu_exchange *x)
{
    aiocosmos_str origin = x->request->header[EMU_H_ORIGIN];
    return !origin.ptr || emu_is_loopback(origin) ||
           emu_refuse(x, 403, 0, "A page of another origin may not control the emulator.");
}

typedef struct emu_control {
    const char *name;
    size_t segments;
    unsigned verbs;
    void (*run)(emu_exchange *x);
} emu_control;

#define EMU_VERB(verb) (1u << (verb))

static const emu_control emu_controls[] = {
    { "faults",     2, EMU_VERB(EMU_GET) | EMU_VERB(EMU_PUT) | EMU_VERB(EMU_POST) | EMU_VERB(EMU_DELETE),
      emu_control_faults },
    { "split",      2, EMU_VERB(EMU_PUT), emu_control_split },
    { "merge",      2, EMU_VERB(EMU_PUT), emu_control_merge },
    { "shuffle",    2, EMU_VERB(EMU_PUT), emu_control_shuffle },
    { "clock",      2, EMU_VERB(EMU_PUT), emu_control_clock },
    { "stats",      2, EMU_VERB(EMU_GET), emu_control_stats },
    { "partitions", 4, EMU_VERB(EMU_GET), emu_control_partitions }
};

bool emu_sends_to_page(emu_exchange *x)
{
    static const char page[] = "text/html";
    aiocosmos_str accept = x->request->header[EMU_H_ACCEPT];
    bool wants = false;
    size_t i;
    if (x->segments || x->request->verb != EMU_GET || x->request->header[EMU_H_AUTHORIZATION].len) return false;
    for (i = 0; i + sizeof page - 1 <= accept.len && !wants; i++)
        wants = memcmp(accept.ptr + i, page, sizeof page - 1) == 0;
    if (!wants) return false;
    x->kind = EMU_CONTROL;
    x->status = 302;
    strcpy(x->extra, "Location: /_emulator/explorer");
    return true;
}

void emu_control_route(emu_exchange *x)
{
    size_t i;
    bool get = x->segments == 2 && x->request->verb == EMU_GET;
    if (get && emu_is(x->segment[1], "health")) {
        emu_puts(&x->core->body, "{\"status\":\"ok\"}");
        x->status = 200;
        x->has_body = true;
        return;
    }
    if (!emu_is_own_origin(x)) return;
    if (get && emu_is(x->segment[1], "explorer")) {        /* it can do nothing that who looks at it cannot */
        emu_explorer(x);
        return;
    }
    if (!emu_may_control(x)) return;
    for (i = 0; i < sizeof emu_controls / sizeof *emu_controls && x->segments > 1; i++) {
        const emu_control *control = &emu_controls[i];
        if (x->segments != control->segments || !emu_is(x->segment[1], control->name) ||
            !(control->verbs & EMU_VERB(x->request->verb))) continue;
        control->run(x);
        return;
    }
    emu_refuse(x, 404, 0, "The emulator has no such control.");
}
