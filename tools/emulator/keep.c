/* keep.c: changes go to who keeps them: what a request has changed, in one piece, before it is answered. */
#include "keep.h"

emu_header emu_kept_header(size_t i)
{
    static const emu_header headers[EMU_KEPT_HEADERS] = { EMU_H_THROUGHPUT, EMU_H_AUTOPILOT, EMU_H_TO_AUTOPILOT,
                                                          EMU_H_TO_MANUAL };
    return headers[i];
}

emu_counters emu_counters_of(const emu_store *store)
{
    emu_counters counters;
    counters.etag = store->next_etag;
    counters.database = store->next_database;
    counters.offer = store->next_offer;
    counters.user = store->next_user;
    return counters;
}

void emu_keep_request(emu_exchange *x, const emu_counters *counters)
{
    emu_text *out = &x->store->journal;
    size_t i;
    if (!emu_journal_begin(x->store, EMU_RECORD_REQUEST)) return;
    emu_put_u64(out, (uint64_t)x->now_ms);
    emu_put_u64(out, counters->etag);
    emu_put_u32(out, counters->database);
    emu_put_u32(out, counters->offer);
    emu_put_u32(out, counters->user);
    emu_put_u32(out, (uint32_t)x->core->options.partitions);
    emu_put_u32(out, (uint32_t)x->request->verb);
    emu_put_counted(out, x->request->target);
    emu_put_counted(out, x->request->body);
    for (i = 0; i < EMU_KEPT_HEADERS; i++) emu_put_counted(out, x->request->header[emu_kept_header(i)]);
}

static bool emu_keep_bytes(emu_core *core, const void *bytes, size_t len)
{
    return core->options.keep(core->options.keep_user_data, bytes, len);
}

bool emu_keep(emu_core *core)
{
    emu_text *journal = &core->store.journal;
    unsigned char *head = (unsigned char *)journal->buffer.data;
    size_t len = journal->buffer.len;
    bool ok = !journal->failed;
    if (!core->store.journaling || (ok && !len)) return true;
    if (core->keeps_no_more) {                             /* what a read finds expired will expire again */
        emu_text_clear(journal);
        return true;
    }
    if (ok && !core->kept_head)
        ok = core->kept_head = emu_keep_bytes(core, EMU_JOURNAL_HEAD, sizeof EMU_JOURNAL_HEAD - 1);
    if (ok) {
        aioc_text_store32le(head, (uint32_t)(len - EMU_FRAME_HEAD));
        aioc_text_store32le(head + 4, aioc_protocol_murmur3_32(head, 4));
        aioc_text_store32le(head + 8, aioc_protocol_murmur3_32(head + EMU_FRAME_HEAD, len - EMU_FRAME_HEAD));
        ok = emu_keep_bytes(core, head, len);
    }
    if (!ok) core->keeps_no_more = true;                   /* what came behind a gap could not be restored */
    emu_text_clear(journal);
    if (journal->buffer.cap > 1u << 20) aioc_mem_buffer_free(journal->memory, &journal->buffer);
    return ok;
}
