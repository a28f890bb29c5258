/* restore.c: changes that were kept are carried out again, or written anew without those that others have undone. A
 * torn end is no change: what a request has changed was written in one piece, with its hash. */
#include "item.h"
#include "keep.h"
#include "routes.h"

#include <string.h>

typedef struct emu_restoring {
    emu_core *core;
    const unsigned char *at;
    size_t left;
    bool short_of;                                         /* bytes */
    const unsigned char *end;                              /* of all frames */
    int foreseen;                                          /* how often emu_foresee_items has looked */
} emu_restoring;

static const unsigned char *emu_take_bytes(emu_restoring *r, size_t len)
{
    static const unsigned char none[8];
    const unsigned char *at = r->at;
    if (len > r->left) {
        r->short_of = true;
        r->left = 0;
        return none;
    }
    r->at += len;
    r->left -= len;
    return at;
}

static uint32_t emu_take_u32(emu_restoring *r)
{
    unsigned char bytes[8];
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, emu_take_bytes(r, 4), 4);
    return (uint32_t)aioc_text_load64le(bytes);
}

static uint64_t emu_take_u64(emu_restoring *r)
{
    return aioc_text_load64le(emu_take_bytes(r, 8));
}

/* In ms. Beyond some hundred thousand years it is no time, but what would overflow. */
static int64_t emu_take_time(emu_restoring *r)
{
    uint64_t ms = emu_take_u64(r);
    if (ms >> 53) r->short_of = true;
    return (int64_t)(ms & (UINT64_MAX >> 11));
}

static aiocosmos_str emu_take_counted(emu_restoring *r)
{
    size_t len = emu_take_u32(r);
    const char *at = (const char *)emu_take_bytes(r, len);
    return emu_str(at, r->short_of ? 0 : len);
}

static emu_container *emu_take_container(emu_restoring *r)
{
    const unsigned char *number = emu_take_bytes(r, 4);
    emu_database *database = r->core->store.databases;
    emu_container *container;
    for (; database; database = database->next)
        for (container = database->containers; container; container = container->next)
            if (memcmp(container->raw_rid + 4, number, 4) == 0) return container;
    return NULL;
}

static emu_kept_item emu_take_item(emu_restoring *r, bool settled)
{
    emu_kept_item kept;
    memset(&kept, 0, sizeof kept);
    kept.number = emu_take_u64(r);
    kept.etag = emu_take_u64(r);
    kept.ts = (int64_t)emu_take_u64(r);
    kept.settled = settled;
    if (settled) {
        kept.lsn = (int64_t)emu_take_u64(r);
        kept.ttl = (int32_t)emu_take_u32(r);
    }
    kept.text = emu_take_counted(r);
    return kept;
}

static void emu_pass_record(emu_restoring *r, emu_record record)
{
    size_t i;
    switch (record) {
    case EMU_RECORD_REQUEST:
        emu_take_bytes(r, 36);
        for (i = 0; i < 2 + EMU_KEPT_HEADERS; i++) emu_take_counted(r);
        break;
    case EMU_RECORD_ITEM:
    case EMU_RECORD_SETTLED:
        emu_take_bytes(r, 4);
        emu_take_item(r, record == EMU_RECORD_SETTLED);
        break;
    case EMU_RECORD_POSITION:
        emu_take_bytes(r, 12);
        emu_take_bytes(r, (size_t)emu_take_u32(r) * 8);
        break;
    case EMU_RECORD_RESHAPING: emu_take_bytes(r, 24); break;
    case EMU_RECORD_REMOVAL: emu_take_bytes(r, 21); break;
    case EMU_RECORD_ETAG: emu_take_bytes(r, 8); break;
    }
}

/* The length of a whole frame that was restored, and so needs no hash again. 0: there is none. */
static size_t emu_known_frame_len(const unsigned char *at, size_t left)
{
    size_t len = left < EMU_FRAME_HEAD ? 0 : aioc_text_load32le(at);
    return len <= left - EMU_FRAME_HEAD ? len : 0;
}

/* How many more items than now a container will have by the end of some records; *last: the greatest number yet. */
static int64_t emu_count_records(emu_restoring ahead, const emu_container *container, uint64_t *last)
{
    int64_t more = 0;
    while (ahead.left > 0) {
        emu_record type = (emu_record)*emu_take_bytes(&ahead, 1);
        emu_restoring record = ahead;
        bool ours = record.left >= 12 && memcmp(record.at, container->raw_rid + 4, 4) == 0;
        emu_take_bytes(&record, 4);
        if (ours && type == EMU_RECORD_REMOVAL) more--;
        if (ours && (type == EMU_RECORD_ITEM || type == EMU_RECORD_SETTLED)) {
            uint64_t number = emu_take_u64(&record);
            more += number > *last;
            if (number > *last) *last = number;
        }
        emu_pass_record(&ahead, type);
    }
    return more;
}

#define EMU_FORESEEN_LEAST 16384                           /* items of which growing begins to cost */
#define EMU_FORESEEN_MAX   8                               /* times that all is looked through for one container */

/* A container's tables become at once as large as they will be in the end. Growing step by step they would be made anew
 * at each step, and would take three times the memory, each page of which is a fault, and slow where a virtual machine
 * has to ask for it. What is not there yet may be damaged: then this is a guess, and the tables grow as ever. */
static void emu_foresee_items(emu_restoring *r, emu_container *container)
{
    aioc_mem *memory = &r->core->store.memory;
    const emu_table *items = &container->items;
    uint64_t last = container->next_number;
    const unsigned char *at = r->at + r->left;
    int64_t more;
    size_t frame;
    if (items->count < EMU_FORESEEN_LEAST || items->count + 1 <= items->size / 4 * 3 ||
        r->foreseen == EMU_FORESEEN_MAX) return;
    r->foreseen++;
    more = emu_count_records(*r, container, &last);
    for (; (frame = emu_known_frame_len(at, (size_t)(r->end - at))) > 0; at += EMU_FRAME_HEAD + frame) {
        emu_restoring ahead = *r;
        ahead.at = at + EMU_FRAME_HEAD;
        ahead.left = frame;
        more += emu_count_records(ahead, container, &last);
    }
    if (more <= 0 || more > INT32_MAX) return;
    emu_table_reserve(memory, &container->items, (uint32_t)more + 1);
    if (container->partitions.count == items->count && memory->max == SIZE_MAX)    /* each has its own, up to here */
        emu_table_reserve(memory, &container->partitions, (uint32_t)more + 1);
}

static bool emu_restore_one_item(emu_restoring *r, bool settled)
{
    emu_container *container = emu_take_container(r);
    emu_kept_item kept = emu_take_item(r, settled);
    if (container && !r->short_of) emu_foresee_items(r, container);
    r->core->exchange.container = container;
    return container && !r->short_of && kept.ts >= 0 && kept.ts <= UINT32_MAX && kept.lsn >= 0 &&
           emu_restore_item(&r->core->exchange, &kept);
}

/* Where a container and its ranges go on, behind all items. */
static bool emu_restore_position(emu_restoring *r)
{
    emu_container *container = emu_take_container(r);
    uint64_t last = emu_take_u64(r);
    uint32_t ranges = emu_take_u32(r), i;
    if (!container || ranges != container->range_count || last < container->next_number) return false;
    container->next_number = last;
    for (i = 0; i < ranges; i++) container->range[i]->lsn = (int64_t)(emu_take_u64(r) & INT64_MAX);
    return !r->short_of;
}

static bool emu_restore_removal(emu_restoring *r)
{
    emu_store *store = &r->core->store;
    emu_container *container = emu_take_container(r);
    uint64_t number = emu_take_u64(r);
    int64_t now_ms = emu_take_time(r);
    bool expired = *emu_take_bytes(r, 1) != 0;
    emu_item *item = container && !r->short_of ? emu_find_number(container, number) : NULL;
    return item && emu_remove_item(store, container, item, expired, now_ms);
}

static bool emu_restore_reshaping(emu_restoring *r)
{
    emu_container *container = emu_take_container(r);
    uint32_t next_range = emu_take_u32(r), at = emu_take_u32(r), gone = emu_take_u32(r);
    uint64_t cut = emu_take_u64(r);
    if (!container || r->short_of || (gone != 1 && gone != 2) || gone > container->range_count ||
        at > container->range_count - gone) return false;
    container->next_range = next_range;
    return emu_reshape(&r->core->store, container, at, gone, cut);
}

static bool emu_restore_one_request(emu_restoring *r)
{
    emu_core *core = r->core;
    emu_store *store = &core->store;
    emu_request request;
    size_t i;
    int partitions = core->options.partitions;
    uint32_t verb;
    bool ok;
    memset(&request, 0, sizeof request);
    store->clock.stands_ms = emu_take_time(r);
    store->next_etag = emu_take_u64(r);
    store->next_database = emu_take_u32(r);
    store->next_offer = emu_take_u32(r);
    store->next_user = emu_take_u32(r);
    core->options.partitions = (int)(emu_take_u32(r) % (AIOCOSMOS_EMULATOR_PARTITIONS_MAX + 1));
    verb = emu_take_u32(r);
    request.verb = verb < EMU_OTHER ? (emu_verb)verb : EMU_OTHER;
    request.target = emu_take_counted(r);
    request.body = emu_take_counted(r);
    request.header[EMU_H_UPSERT] = aioc_mem_str("true");   /* a POST that was accepted, of what is there, was one */
    for (i = 0; i < EMU_KEPT_HEADERS; i++) request.header[emu_kept_header(i)] = emu_take_counted(r);
    ok = !r->short_of && core->options.partitions > 0 && emu_restore_request(&core->exchange, core, &request);
    core->options.partitions = partitions;
    store->clock.stands_ms = 0;
    return ok;
}

/* The records of a frame. */
static bool emu_restore_frame(emu_restoring *r)
{
    while (r->left > 0) {
        bool ok;
        switch ((emu_record)*emu_take_bytes(r, 1)) {
        case EMU_RECORD_ITEM: ok = emu_restore_one_item(r, false); break;
        case EMU_RECORD_SETTLED: ok = emu_restore_one_item(r, true); break;
        case EMU_RECORD_POSITION: ok = emu_restore_position(r); break;
        case EMU_RECORD_ETAG:
            r->core->store.next_etag = emu_take_u64(r);
            ok = !r->short_of;
            break;
        case EMU_RECORD_REMOVAL: ok = emu_restore_removal(r); break;
        case EMU_RECORD_RESHAPING: ok = emu_restore_reshaping(r); break;
        case EMU_RECORD_REQUEST: ok = emu_restore_one_request(r); break;
        default: ok = false;
        }
        if (!ok) return false;
    }
    return true;
}

/* What a file had grown by when the power failed, and was never written. */
static bool emu_is_blank(const unsigned char *at, size_t len)
{
    while (len > 0 && at[len - 1] == 0) len--;
    return len == 0;
}

/* The length of a whole frame. 0: there is none; then it is torn, if it would be the last. */
static size_t emu_frame_len(const unsigned char *at, size_t left, bool *torn)
{
    const unsigned char *records;
    size_t len;
    *torn = left < EMU_FRAME_HEAD;
    if (*torn) return 0;
    records = at + EMU_FRAME_HEAD;
    left -= EMU_FRAME_HEAD;
    len = aioc_protocol_murmur3_32(at, 4) == aioc_text_load32le(at + 4) ? aioc_text_load32le(at) : 0;
    if (len > 0 && len <= left && aioc_protocol_murmur3_32(records, len) == aioc_text_load32le(at + 8)) return len;
    *torn = len > left || emu_is_blank(records + len, left - len);
    return 0;
}

size_t aiocosmos_emulator_restore(emu_core *core, const void *bytes, size_t len, const char **error)
{
    const unsigned char *all = (const unsigned char *)bytes;
    size_t at = sizeof EMU_JOURNAL_HEAD - 1, frame;
    bool journaling = core->store.journaling, torn = true;
    static const char no_data[] = "it is no data of an emulator of this version";
    static const char cannot_be[] = "a change in it cannot be made";
    emu_restoring r;
    const char *wrong = NULL;
    if (len < at || memcmp(bytes, EMU_JOURNAL_HEAD, at) != 0) {
        if ((len >= at || (len > 0 && memcmp(bytes, EMU_JOURNAL_HEAD, len) != 0)) && !emu_is_blank(all, len))
            wrong = no_data;
        if (error) *error = wrong;
        return 0;
    }
    core->store.journaling = false;
    memset(&r, 0, sizeof r);
    r.core = core;
    r.end = all + len;
    emu_restore_begin(&core->exchange, core);
    while (!wrong && (frame = emu_frame_len(all + at, len - at, &torn)) > 0) {
        r.at = all + at + EMU_FRAME_HEAD;
        r.left = frame;
        if (emu_restore_frame(&r)) at += EMU_FRAME_HEAD + frame;
        else wrong = core->exchange.status == 503 ? "there is not memory enough for it" : cannot_be;
    }
    if (!wrong && !torn) wrong = "it is damaged";
    core->store.journaling = journaling;
    core->kept_head = true;
    if (error) *error = wrong;
    return at;
}

/*------------------------------------------------------------------------------
 * MARK: - Written anew
 *----------------------------------------------------------------------------*/

#define EMU_FRAME_FULL ((size_t)256 * 1024)
#define EMU_ITEM_RECORD 45u                                /* bytes of a settled item's record, without its text */

/* Whether what has happened is told by nothing else: requests and reshapings, and each change of a container that keeps
 * all versions. record: what follows its type. */
static bool emu_record_stays(emu_core *core, emu_record type, emu_restoring record)
{
    const emu_container *container;
    if (type == EMU_RECORD_REQUEST || type == EMU_RECORD_RESHAPING) return true;
    if (type == EMU_RECORD_ETAG) return false;
    record.core = core;
    container = emu_take_container(&record);
    return container && container->retention_s > 0;
}

/* What stays, in its order, to `out`; out NULL: its bytes are counted. The frames are whole, as they were restored. */
static size_t emu_staying_records(const unsigned char *at, size_t left, emu_core *core, emu_text *out, bool *ok)
{
    size_t bytes = 0, frame;
    for (*ok = true; *ok && (frame = emu_known_frame_len(at, left)) > 0; at += EMU_FRAME_HEAD + frame) {
        emu_restoring r;
        memset(&r, 0, sizeof r);
        r.at = at + EMU_FRAME_HEAD;
        r.left = frame;
        while (r.left > 0) {
            const unsigned char *record = r.at;
            size_t before = r.left;
            emu_record type = (emu_record)*emu_take_bytes(&r, 1);
            bool stays = emu_record_stays(core, type, r);
            emu_pass_record(&r, type);
            if (!stays) continue;
            bytes += before - r.left;
            if (out && emu_journal_begin(&core->store, type)) emu_put(out, record + 1, before - r.left - 1);
        }
        if (out && out->buffer.len > EMU_FRAME_FULL) *ok = emu_keep(core);
        left -= EMU_FRAME_HEAD + frame;
    }
    return bytes;
}

static bool emu_rewrite_items(emu_core *core, const emu_container *container)
{
    emu_store *store = &core->store;
    const size_t size = container->range_count * sizeof(uint32_t);
    const emu_item *item;
    uint32_t *slot, i;
    bool ok;
    if (container->retention_s) return true;               /* all that came to it has stayed */
    slot = (uint32_t *)aioc_mem_zalloc(&store->memory, size);
    ok = slot != NULL;
    while (ok && (item = emu_item_next(container, slot)) != NULL) {
        emu_journal_settled(store, container, item);
        if (store->journal.buffer.len > EMU_FRAME_FULL) ok = emu_keep(core);
    }
    aioc_mem_free(&store->memory, slot, size);
    if (!ok || !emu_journal_of(store, container, EMU_RECORD_POSITION)) return false;
    emu_put_u64(&store->journal, container->next_number);
    emu_put_u32(&store->journal, container->range_count);
    for (i = 0; i < container->range_count; i++) emu_put_u64(&store->journal, (uint64_t)container->range[i]->lsn);
    return true;
}

static bool emu_rewrite(emu_core *core, const unsigned char *records, size_t len)
{
    const emu_database *database = core->store.databases;
    const emu_container *container;
    bool ok;
    emu_staying_records(records, len, core, &core->store.journal, &ok);
    for (; ok && database; database = database->next)
        for (container = database->containers; ok && container; container = container->next)
            ok = emu_rewrite_items(core, container);
    if (!ok || !emu_journal_begin(&core->store, EMU_RECORD_ETAG)) return false;
    emu_put_u64(&core->store.journal, core->store.next_etag);
    return emu_keep(core);
}

size_t aiocosmos_emulator_needs(emu_core *core, const void *bytes, size_t len)
{
    const size_t head = sizeof EMU_JOURNAL_HEAD - 1;
    const emu_database *database = core->store.databases;
    const emu_container *container;
    size_t needs;
    uint32_t i, k;
    bool ok;
    if (len < head) return len;
    needs = head + emu_staying_records((const unsigned char *)bytes + head, len - head, core, NULL, &ok);
    for (; database; database = database->next) {
        for (container = database->containers; container; container = container->next) {
            for (i = 0; !container->retention_s && i < container->range_count; i++)
                for (k = 0; k < container->range[i]->items.count; k++)
                    if (container->range[i]->items.at[k])
                        needs += EMU_ITEM_RECORD + container->range[i]->items.at[k]->text_len;
        }
    }
    return needs;
}

bool aiocosmos_emulator_rewrite(emu_core *core, const void *bytes, size_t len,
                                bool (*keep)(void *user_data, const void *bytes, size_t len), void *user_data)
{
    const size_t head = sizeof EMU_JOURNAL_HEAD - 1;
    emu_options options = core->options;
    bool journaling = core->store.journaling, ok;
    if (len < head) return false;
    core->options.keep = keep;
    core->options.keep_user_data = user_data;
    core->store.journaling = true;
    core->kept_head = false;
    ok = emu_rewrite(core, (const unsigned char *)bytes + head, len - head);
    emu_text_clear(&core->store.journal);
    core->options = options;
    core->store.journaling = journaling;
    core->kept_head = true;
    core->keeps_no_more = false;
    return ok;
}
