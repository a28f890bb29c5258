/* journal.c: records of changes. */
#include "journal.h"

void emu_put_u32(emu_text *out, uint32_t number)
{
    unsigned char bytes[8];
    aioc_text_store64le(bytes, number);
    emu_put(out, bytes, 4);
}

void emu_put_u64(emu_text *out, uint64_t number)
{
    unsigned char bytes[8];
    aioc_text_store64le(bytes, number);
    emu_put(out, bytes, 8);
}

void emu_put_counted(emu_text *out, aiocosmos_str bytes)
{
    emu_put_u32(out, (uint32_t)bytes.len);
    emu_put_str(out, bytes);
}

bool emu_journal_begin(emu_store *store, emu_record record)
{
    static const unsigned char room[EMU_FRAME_HEAD];
    unsigned char type = (unsigned char)record;
    if (!store->journaling) return false;
    if (!store->journal.buffer.len) emu_put(&store->journal, room, sizeof room);
    emu_put(&store->journal, &type, 1);
    return true;
}

bool emu_journal_of(emu_store *store, const emu_container *container, emu_record record)
{
    if (container->shadow || !emu_journal_begin(store, record)) return false;
    emu_put(&store->journal, container->raw_rid + 4, 4);
    return true;
}

static bool emu_journal_begin_item(emu_store *store, const emu_container *container, const emu_item *item,
                                   emu_record record)
{
    emu_text *out = &store->journal;
    if (!emu_journal_of(store, container, record)) return false;
    emu_put_u64(out, item->number);
    emu_put_u64(out, item->etag);
    emu_put_u64(out, item->ts);
    return true;
}

void emu_journal_settled(emu_store *store, const emu_container *container, const emu_item *item)
{
    emu_text *out = &store->journal;
    if (!emu_journal_begin_item(store, container, item, EMU_RECORD_SETTLED)) return;
    emu_put_u64(out, (uint64_t)item->lsn);
    emu_put_u32(out, (uint32_t)item->ttl);
    emu_put_counted(out, emu_str(emu_item_text(item), item->text_len));
}

void emu_journal_item(emu_store *store, const emu_container *container, const emu_item *item)
{
    emu_text *out = &store->journal;
    if (!emu_journal_begin_item(store, container, item, EMU_RECORD_ITEM)) return;
    emu_put_counted(out, emu_str(emu_item_text(item), item->text_len));
}

void emu_journal_removal(emu_store *store, const emu_container *container, uint64_t number, bool expired,
                         int64_t now_ms)
{
    emu_text *out = &store->journal;
    if (!emu_journal_of(store, container, EMU_RECORD_REMOVAL)) return;
    emu_put_u64(out, number);
    emu_put_u64(out, (uint64_t)now_ms);
    emu_put(out, expired ? "\1" : "\0", 1);
}

void emu_journal_reshaping(emu_store *store, const emu_container *container, uint32_t next_range, uint32_t at,
                           uint32_t gone, uint64_t cut)
{
    emu_text *out = &store->journal;
    if (!emu_journal_of(store, container, EMU_RECORD_RESHAPING)) return;
    emu_put_u32(out, next_range);
    emu_put_u32(out, at);
    emu_put_u32(out, gone);
    emu_put_u64(out, cut);
}
