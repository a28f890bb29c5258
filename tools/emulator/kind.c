/* kind.c: kinds of requests. */
#include "kind.h"

static const struct { const char *name; emu_subject subject; bool asks; } emu_kinds[EMU_KIND_COUNT] = {
    { "unknown", EMU_NOTHING, false },
    { "control", EMU_NOTHING, false },
    { "read_account", EMU_ACCOUNT, false },
    { "list_databases", EMU_DATABASES, false },
    { "create_database", EMU_DATABASES, false },
    { "read_database", EMU_DATABASES, false },
    { "delete_database", EMU_DATABASES, false },
    { "query_databases", EMU_DATABASES, true },
    { "list_containers", EMU_CONTAINERS, false },
    { "create_container", EMU_CONTAINERS, false },
    { "read_container", EMU_CONTAINERS, false },
    { "replace_container", EMU_CONTAINERS, false },
    { "delete_container", EMU_CONTAINERS, false },
    { "query_containers", EMU_CONTAINERS, true },
    { "list_ranges", EMU_RANGES, false },
    { "list_offers", EMU_OFFERS, false },
    { "read_offer", EMU_OFFERS, false },
    { "replace_offer", EMU_OFFERS, false },
    { "query_offers", EMU_OFFERS, true },
    { "list_users", EMU_USERS, false },
    { "create_user", EMU_USERS, false },
    { "read_user", EMU_USERS, false },
    { "replace_user", EMU_USERS, false },
    { "delete_user", EMU_USERS, false },
    { "query_users", EMU_USERS, true },
    { "list_permissions", EMU_PERMISSIONS, false },
    { "create_permission", EMU_PERMISSIONS, false },
    { "read_permission", EMU_PERMISSIONS, false },
    { "replace_permission", EMU_PERMISSIONS, false },
    { "delete_permission", EMU_PERMISSIONS, false },
    { "query_permissions", EMU_PERMISSIONS, true },
    { "list_scripts", EMU_SCRIPTS, false },
    { "create_script", EMU_SCRIPTS, false },
    { "read_script", EMU_SCRIPTS, false },
    { "replace_script", EMU_SCRIPTS, false },
    { "delete_script", EMU_SCRIPTS, false },
    { "query_scripts", EMU_SCRIPTS, true },
    { "execute_script", EMU_SCRIPTS, false },
    { "list_conflicts", EMU_CONFLICTS, false },
    { "read_conflict", EMU_CONFLICTS, false },
    { "delete_conflict", EMU_CONFLICTS, false },
    { "query_conflicts", EMU_CONFLICTS, true },
    { "delete_key", EMU_ITEMS, false },
    { "create_item", EMU_ITEMS, false },
    { "upsert_item", EMU_ITEMS, false },
    { "read_item", EMU_ITEMS, false },
    { "replace_item", EMU_ITEMS, false },
    { "patch_item", EMU_ITEMS, false },
    { "delete_item", EMU_ITEMS, false },
    { "list_items", EMU_ITEMS, false },
    { "query_items", EMU_ITEMS, true },
    { "plan_items", EMU_ITEMS, true },
    { "batch_items", EMU_ITEMS, false },
    { "batched_create_item", EMU_ITEMS, false },
    { "batched_upsert_item", EMU_ITEMS, false },
    { "batched_read_item", EMU_ITEMS, false },
    { "batched_replace_item", EMU_ITEMS, false },
    { "batched_patch_item", EMU_ITEMS, false },
    { "batched_delete_item", EMU_ITEMS, false }
};

const char *emu_kind_name(emu_kind kind)
{
    return emu_kinds[kind].name;
}

emu_subject emu_kind_subject(emu_kind kind)
{
    return emu_kinds[kind].subject;
}

bool emu_kind_asks(emu_kind kind)
{
    return emu_kinds[kind].asks;
}

emu_kind emu_kind_alone(emu_kind kind)
{
    return kind < EMU_BATCHED_CREATE_ITEM ? kind : (emu_kind)(kind - EMU_BATCHED_CREATE_ITEM + EMU_CREATE_ITEM);
}

uint64_t emu_kinds_with(const char *part)
{
    uint64_t set = 0;
    int i;
    for (i = EMU_READ_ACCOUNT; i < EMU_KIND_COUNT; i++)
        if (strstr(emu_kinds[i].name, part)) set |= UINT64_C(1) << i;
    return set;
}
