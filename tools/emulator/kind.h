/* kind.h: kinds of requests: what becomes of one, and what faults tell them apart by. */
#ifndef EMULATOR_KIND_H
#define EMULATOR_KIND_H

#include "text.h"

typedef enum emu_subject {
    EMU_NOTHING, EMU_ACCOUNT, EMU_DATABASES, EMU_CONTAINERS, EMU_RANGES, EMU_OFFERS, EMU_USERS, EMU_PERMISSIONS,
    EMU_SCRIPTS, EMU_CONFLICTS, EMU_ITEMS
} emu_subject;

/* The operations of a batch come last, in the order of the same ones by themselves. At most 64: they are bits of a
 * set. */
typedef enum emu_kind {
    EMU_UNKNOWN, EMU_CONTROL,
    EMU_READ_ACCOUNT,
    EMU_LIST_DATABASES, EMU_CREATE_DATABASE, EMU_READ_DATABASE, EMU_DELETE_DATABASE, EMU_QUERY_DATABASES,
    EMU_LIST_CONTAINERS, EMU_CREATE_CONTAINER, EMU_READ_CONTAINER, EMU_REPLACE_CONTAINER, EMU_DELETE_CONTAINER,
    EMU_QUERY_CONTAINERS,
    EMU_LIST_RANGES,
    EMU_LIST_OFFERS, EMU_READ_OFFER, EMU_REPLACE_OFFER, EMU_QUERY_OFFERS,
    EMU_LIST_USERS, EMU_CREATE_USER, EMU_READ_USER, EMU_REPLACE_USER, EMU_DELETE_USER, EMU_QUERY_USERS,
    EMU_LIST_PERMISSIONS, EMU_CREATE_PERMISSION, EMU_READ_PERMISSION, EMU_REPLACE_PERMISSION, EMU_DELETE_PERMISSION,
    EMU_QUERY_PERMISSIONS,
    EMU_LIST_SCRIPTS, EMU_CREATE_SCRIPT, EMU_READ_SCRIPT, EMU_REPLACE_SCRIPT, EMU_DELETE_SCRIPT, EMU_QUERY_SCRIPTS,
    EMU_EXECUTE_SCRIPT,
    EMU_LIST_CONFLICTS, EMU_READ_CONFLICT, EMU_DELETE_CONFLICT, EMU_QUERY_CONFLICTS,
    EMU_DELETE_KEY,
    EMU_CREATE_ITEM, EMU_UPSERT_ITEM, EMU_READ_ITEM, EMU_REPLACE_ITEM, EMU_PATCH_ITEM, EMU_DELETE_ITEM,
    EMU_LIST_ITEMS, EMU_QUERY_ITEMS, EMU_PLAN_ITEMS, EMU_BATCH_ITEMS,
    EMU_BATCHED_CREATE_ITEM, EMU_BATCHED_UPSERT_ITEM, EMU_BATCHED_READ_ITEM, EMU_BATCHED_REPLACE_ITEM,
    EMU_BATCHED_PATCH_ITEM, EMU_BATCHED_DELETE_ITEM,
    EMU_KIND_COUNT
} emu_kind;

EMU_PRIVATE const char *emu_kind_name(emu_kind kind);      /* "create_item" */
EMU_PRIVATE emu_subject emu_kind_subject(emu_kind kind);
EMU_PRIVATE bool emu_kind_asks(emu_kind kind);             /* is a query, or about one: a POST that changes nothing */
EMU_PRIVATE emu_kind emu_kind_alone(emu_kind kind);        /* of an operation of a batch: the same by itself */
EMU_PRIVATE uint64_t emu_kinds_with(const char *part);     /* the set of those with this in their names */

#endif
