/* item.c: one item at a time: create, upsert, read, replace, patch, delete. */
#include "item.h"
#include "bill.h"
#include "patch.h"
#include "script.h"
#include "sql/sql.h"

#include <string.h>

/*------------------------------------------------------------------------------
 * MARK: - Keys
 *----------------------------------------------------------------------------*/

/* Operations on one item need the whole key. */
static bool emu_item_key(emu_exchange *x)
{
    bool given;
    if (!emu_header_key(x, &given)) return false;
    if (!given) return emu_refuse(x, 400, 0, "PartitionKey value must be supplied for this operation: the header "
                                  "x-ms-documentdb-partitionkey is missing.");
    if (x->core->header_key.levels == x->container->key.path_count) return true;
    return emu_wrong_key(x);
}

/* known: it may be this one; or NULL. */
static bool emu_document_key(emu_exchange *x, aiocosmos_json root, emu_key *key, const emu_key *known)
{
    const emu_container *container = x->container;
    aiocosmos_value values[EMU_LEVELS];
    aioc_mem_buffer *texts = &x->core->key_text;
    aiocosmos_json id;
    aiocosmos_pk pk;
    char why[200];
    size_t i, room = 1;
    if (aioc_protocol_pk_from_document(root, container->key_path, container->key.path_count, &id, &pk, why,
                                       sizeof why) < 0)
        return emu_refuse(x, 400, 0, "The input content is invalid: %s.", why);
    for (i = 0; i < container->key.path_count; i++) room += pk.level[i].len + 1;
    texts->len = 0;
    if (!aioc_mem_reserve(&x->store->memory, texts, room))
        return emu_no_memory(x);
    for (i = 0; i < container->key.path_count; i++) {
        memset(&values[i], 0, sizeof values[i]);
        values[i].type = AIOCOSMOS_VALUE_NONE;
        if (pk.level[i].type != AIOCOSMOS_VALUE_NONE &&
            !aioc_protocol_component(aioc_protocol_scalar(emu_str(pk.level[i].str, pk.level[i].len)), texts,
                                     &values[i])) break;
    }
    if (i == container->key.path_count && emu_key_from_values(container, values, i, key, known)) return true;
    return emu_refuse(x, 400, 0, "The input content is invalid: a partition key has at most %d bytes.",
                      AIOC_PROTOCOL_PK_BYTES);
}

/* The property that a path names, where that is a property of the document itself; ptr NULL: it is further down. */
static aiocosmos_str emu_path_name(aiocosmos_str path)
{
    aiocosmos_str name = aioc_text_behind(path, 1);
    bool quoted = name.len && (*name.ptr == '"' || *name.ptr == '\'');
    return quoted || memchr(name.ptr, '/', name.len) ? emu_str(NULL, 0) : name;
}

/* Whether a document's key is this one, where that can be told without making it: mostly both are one string. */
static bool emu_is_key(aiocosmos_json value, const emu_key *key)
{
    return key->levels == 1 && key->bytes[0] == EMU_KEY_STRING && value.type == AIOCOSMOS_JSON_STR &&
           value.len == key->len && memcmp(value.ptr + 1, key->bytes + 1, value.len - 2) == 0 &&
           !aioc_json_has_escapes(value);
}

/*------------------------------------------------------------------------------
 * MARK: - What an item has to be
 *----------------------------------------------------------------------------*/

static bool emu_take_ttl(emu_exchange *x, aiocosmos_json value, int32_t *ttl)
{
    int64_t number;
    *ttl = 0;
    if (!x->container->has_ttl) return true;               /* then it is a property like any other */
    if (value.type == AIOCOSMOS_JSON_NONE || value.type == AIOCOSMOS_JSON_NULL) return true;
    if (aioc_json_get_i64(value, &number) && (number == -1 || (number > 0 && number <= INT32_MAX))) {
        *ttl = (int32_t)number;
        return true;
    }
    return emu_refuse(x, 400, 0, "The input ttl '%.*s' is invalid. Ensure to provide a nonzero positive integer less "
                      "than or equal to '2147483647', or '-1'.", EMU_CUT(value, 40));
}

/* A value so that equal ones have equal bytes. A missing one counts as null does. */
static void emu_put_unique(emu_text *out, aiocosmos_json value)
{
    double number;
    char text[AIOC_JSON_NUMBER_MAX];
    size_t len, at = out->buffer.len;
    if (value.type == AIOCOSMOS_JSON_NUM && aioc_json_get_f64(value, &number)) {
        emu_put(out, text, aioc_json_number_write(number, text));
    } else if (value.type == AIOCOSMOS_JSON_STR && !out->failed &&
               aioc_mem_reserve(out->memory, &out->buffer, value.len + 2)) {
        out->buffer.data[at] = '"';
        len = aioc_json_get_str(value, out->buffer.data + at + 1, value.len);
        out->buffer.len += len + 1;
    } else if (value.type == AIOCOSMOS_JSON_NONE) {
        emu_puts(out, "null");
    } else {
        emu_put(out, value.ptr, value.len);
    }
    emu_put(out, "", 1);
}

static void emu_unique_hash(emu_exchange *x, aiocosmos_json root, size_t index, const emu_key *key, uint64_t hash[2])
{
    const emu_unique_key *unique = &x->container->unique[index];
    emu_text *text = &x->core->scratch;
    size_t i;
    emu_text_clear(text);
    emu_put(text, key->bytes, key->len);                   /* unique within the logical partition */
    emu_put(text, &index, sizeof index);
    for (i = 0; i < unique->paths; i++) {
        aiocosmos_json value;
        if (!aioc_protocol_path_value(root, unique->path[i], &value)) memset(&value, 0, sizeof value);
        emu_put_unique(text, value);
    }
    aioc_protocol_murmur3_128(text->buffer.data, text->buffer.len, hash);
}

/* How far a string or anything else but a number goes. */
static size_t emu_plain_len(aiocosmos_str text)
{
    size_t len = 0;
    bool quoted = false;
    for (; len < text.len; len++) {
        char c = text.ptr[len];
        if (c == '"') quoted = !quoted;
        else if (c == '\\') len++;
        else if (!quoted && (c == '-' || (c >= '0' && c <= '9'))) break;
    }
    return len < text.len ? len : text.len;
}

/* Each number of a JSON text as the double that it is. */
static bool emu_put_doubles(emu_exchange *x, emu_text *out, aiocosmos_str text)
{
    while (text.len > 0) {
        char number[AIOC_JSON_NUMBER_MAX];
        double real;
        size_t len = emu_plain_len(text);
        emu_put(out, text.ptr, len);
        text = emu_str(text.ptr + len, text.len - len);
        for (len = 0; len < text.len && strchr("+-.eE0123456789", text.ptr[len]); len++) continue;
        if (len == 0) continue;
        if (!aioc_json_number_parse(text.ptr, len, &real))
            return emu_refuse(x, 400, 0, "The input content is invalid: the number %.*s is out of the range of "
                              "doubles.", len < 40 ? (int)len : 40, text.ptr);
        emu_put(out, number, aioc_json_number_write(real, number));
        text = emu_str(text.ptr + len, text.len - len);
    }
    return true;
}

typedef struct emu_draft {                                 /* an item that is about to be stored */
    const emu_key *key;
    aiocosmos_json ttl;
    char id[AIOC_PROTOCOL_ITEM_ID_MAX + 1];
    uint64_t uniques[2 * EMU_UNIQUE_KEYS];
    emu_item_new content;
} emu_draft;

/* What is kept of a document: the document, unless it has system properties. */
static aiocosmos_str emu_draft_text(emu_core *core, aiocosmos_json root, const aiocosmos_json *system)
{
    size_t i;
    for (i = 0; i < EMU_ITEM_SYSTEM && system[i].type == AIOCOSMOS_JSON_NONE; i++) continue;
    if (i == EMU_ITEM_SYSTEM) return emu_unclosed(root);
    emu_text_clear(&core->scratch);
    emu_put_stripped(&core->scratch, root, true);
    return emu_text_str(&core->scratch);
}

/* Checks a document against the container's rules, but for its ttl. known: its key may be this one; or NULL. All that
 * is asked of its own properties is found in one pass. */
static bool emu_draft_document(emu_exchange *x, aiocosmos_json root, emu_draft *draft, const emu_key *known)
{
    enum { ID, TTL, SYSTEM, KEY = SYSTEM + EMU_ITEM_SYSTEM, NAMES };
    aiocosmos_str names[NAMES] = { EMU_NAME("id"), EMU_NAME("ttl") };
    aiocosmos_json found[NAMES];
    emu_core *core = x->core;
    size_t i, key_at = 0;
    memset(&draft->content, 0, sizeof draft->content);
    if (root.len > EMU_ITEM_MAX) return emu_refuse(x, 413, 0, "Request size is too large");
    for (i = 0; i < EMU_ITEM_SYSTEM; i++) names[SYSTEM + i] = emu_system_name(i);
    names[KEY] = emu_path_name(x->container->key_path[0]);
    while (key_at < KEY && !aioc_mem_same(names[key_at], names[KEY])) key_at++;   /* one of the others, maybe */
    aioc_json_pick(root, names, key_at < KEY || !names[KEY].ptr ? KEY : NAMES, found);
    if (!emu_check_id(x, found[ID], draft->id, &draft->content.id, true)) return false;
    draft->key = known && names[KEY].ptr && emu_is_key(found[key_at], known) ? known : &core->key;
    if (draft->key != known && !emu_document_key(x, root, &core->key, known)) return false;
    emu_table_expect(&x->container->items, emu_item_hash(draft->key->hash, draft->content.id));
    if (draft->key != known) emu_table_expect(&x->container->partitions, draft->key->hash);
    draft->ttl = found[TTL];
    for (i = 0; i < x->container->unique_count; i++) emu_unique_hash(x, root, i, draft->key, draft->uniques + 2 * i);
    draft->content.uniques = draft->uniques;
    draft->content.unique_count = (uint16_t)x->container->unique_count;
    draft->content.text = emu_draft_text(core, root, found + SYSTEM);
    if (core->options.strict_numbers) {
        emu_text_clear(&core->doubles);
        if (!emu_put_doubles(x, &core->doubles, draft->content.text)) return false;
        draft->content.text = emu_text_str(&core->doubles);
    }
    return (!core->scratch.failed && !core->doubles.failed) || emu_no_memory(x);
}

/* And against the header's key, core->header_key. */
static bool emu_draft_item(emu_exchange *x, aiocosmos_json root, emu_draft *draft)
{
    const emu_key *header = &x->core->header_key;
    if (!emu_draft_document(x, root, draft, header) || !emu_take_ttl(x, draft->ttl, &draft->content.ttl)) return false;
    if (draft->key->len == header->len && memcmp(draft->key->bytes, header->bytes, header->len) == 0) return true;
    return emu_refuse(x, 400, 1001, "PartitionKey extracted from document doesn't match the one specified in the "
                      "header. Learn more: https://aka.ms/CosmosDB/sql/errors/wrong-pk-value");
}

/*------------------------------------------------------------------------------
 * MARK: - Answers
 *----------------------------------------------------------------------------*/

static bool emu_no_item(emu_exchange *x)
{
    return emu_refuse(x, 404, 0, "Entity with the specified id does not exist in the system. More info: "
                      "https://aka.ms/cosmosdb-tsg-not-found");
}

static void emu_answer_item(emu_exchange *x, const emu_item *item, int status)
{
    bool minimal = x->request->verb != EMU_GET && emu_is(x->request->header[EMU_H_PREFER], "return=minimal");
    x->status = status;
    x->item_lsn = item->lsn;
    emu_etag_text(x->etag, item->etag, item->ts);
    if (minimal) return;
    emu_put_item(&x->core->body, x->container, item);
    x->has_body = true;
}

/* The range of the header's key, with RU left. Sets x->range. */
static emu_range *emu_enter(emu_exchange *x)
{
    const emu_key *key = &x->core->header_key;
    emu_range *range = x->key_taken ? x->range : emu_range_of(x->container, emu_str(key->epk, key->epk_len));
    if (!emu_spend(x, range)) return NULL;
    x->range = range;
    if (x->request->verb != EMU_GET) emu_expire_some(x->store, range, x->now_ms);
    return range;
}

static emu_item *emu_lookup_item(emu_exchange *x, aiocosmos_str id)
{
    emu_item *item = emu_find_item(x->container, emu_find_partition(x->container, &x->core->header_key), id);
    if (!item || !emu_item_expired(x->container, item, x->now_ms)) return item;
    emu_remove_item(x->store, x->container, item, true, x->now_ms);
    return NULL;
}

/*------------------------------------------------------------------------------
 * MARK: - Operations
 *----------------------------------------------------------------------------*/

/* Nothing that a request asks for is passed over. */
static bool emu_write_headers_ok(emu_exchange *x)
{
    aiocosmos_str directive = x->request->header[EMU_H_INDEXING];
    return !directive.len || emu_is(directive, "Default") || emu_is(directive, "Include") ||
           emu_is(directive, "Exclude") ||
           emu_refuse(x, 400, 0, "The indexing directive '%.*s' is none of Default, Include and Exclude.",
                      EMU_CUT(directive, 40));
}

/* Stores the draft in place of old, or as a new item; answers. */
static void emu_commit(emu_exchange *x, const emu_draft *draft, emu_item *old, int status, double weight)
{
    emu_item *item;
    size_t i;
    emu_charge(x, x->range, weight * emu_bill_write(draft->content.text.len));
    for (i = 0; i < draft->content.unique_count; i++) {
        if (!emu_unique_taken(x->container, draft->uniques + 2 * i, old, x->now_ms)) continue;
        emu_refuse(x, 409, 3301, "Unique index constraint violation.");
        return;
    }
    item = emu_store_item(x->store, x->container, &x->core->header_key, old, &draft->content, x->now_ms);
    if (item) emu_answer_item(x, item, status);
    else emu_no_memory(x);
}

static bool emu_item_exists(emu_exchange *x)
{
    return emu_refuse(x, 409, 0, "Entity with the specified id already exists in the system.");
}

/* The item that a request brings. */
static bool emu_receive_item(emu_exchange *x, emu_draft *draft)
{
    aiocosmos_json root;
    if (x->request->body.len > EMU_ITEM_MAX) return emu_refuse(x, 413, 0, "Request size is too large");
    return emu_item_key(x) && emu_parse_body(x, &root) && emu_draft_item(x, root, draft) && emu_enter(x);
}

/* The item that a write is about, as the client has seen it. NULL: refused. */
static emu_item *emu_item_to_change(emu_exchange *x)
{
    emu_item *item = emu_lookup_item(x, x->segment[5]);
    if (item && emu_matches(x, item->etag, item->ts)) return item;
    emu_charge(x, x->range, EMU_RU_REFUSED);
    if (!item) emu_no_item(x);
    return NULL;
}

static void emu_create(emu_exchange *x, bool upsert)
{
    emu_draft draft;
    emu_item *old;
    if (!emu_receive_item(x, &draft)) return;
    old = emu_lookup_item(x, draft.content.id);
    if (old && (!upsert || emu_is(x->request->header[EMU_H_IF_NONE_MATCH], "*"))) {
        emu_charge(x, x->range, EMU_RU_REFUSED);
        emu_item_exists(x);
        return;
    }
    if (old && !emu_matches(x, old->etag, old->ts)) {
        emu_charge(x, x->range, EMU_RU_REFUSED);
        return;
    }
    emu_commit(x, &draft, old, old ? 200 : 201, old ? 1.8 : 1);
}

static void emu_replace(emu_exchange *x)
{
    emu_draft draft;
    emu_item *old;
    if (!emu_receive_item(x, &draft)) return;
    old = emu_item_to_change(x);
    if (!old) return;
    if (!aioc_mem_same(draft.content.id, x->segment[5]) && emu_lookup_item(x, draft.content.id)) emu_item_exists(x);
    else emu_commit(x, &draft, old, 200, 1.8);             /* renamed, maybe */
}

static void emu_read(emu_exchange *x)
{
    char etag[64];
    emu_item *item;
    emu_range *range;
    if (!emu_read_headers_ok(x) || !emu_item_key(x)) return;
    range = emu_enter(x);
    if (!range || !emu_session_ok(x, range)) return;
    item = emu_lookup_item(x, x->segment[5]);
    emu_charge(x, range, item ? emu_bill_read(item->text_len) : 1);
    if (!item) {
        emu_no_item(x);
        return;
    }
    emu_etag_text(etag, item->etag, item->ts);
    if (x->request->header[EMU_H_IF_NONE_MATCH].len && emu_is(x->request->header[EMU_H_IF_NONE_MATCH], etag)) {
        x->status = 304;
        x->item_lsn = item->lsn;
        memcpy(x->etag, etag, sizeof etag);
        return;
    }
    emu_answer_item(x, item, 200);
}

static void emu_delete(emu_exchange *x)
{
    emu_item *item;
    if (!emu_item_key(x) || !emu_enter(x)) return;
    item = emu_lookup_item(x, x->segment[5]);
    if (!item || !emu_matches(x, item->etag, item->ts)) {
        emu_charge(x, x->range, EMU_RU_REFUSED);
        if (!item) emu_no_item(x);
        return;
    }
    emu_charge(x, x->range, EMU_RU_DELETE);
    if (!emu_remove_item(x->store, x->container, item, false, x->now_ms)) {
        emu_no_memory(x);
        return;
    }
    x->item_lsn = x->range->lsn;
    x->status = 204;
}

static void emu_count_row(void *user, const char *json, size_t len)
{
    (void)json;
    (void)len;
    ++*(size_t *)user;
}

/* A patch's condition is a query without its SELECT: "from c where c.qty > 3". */
static bool emu_condition_holds(emu_exchange *x, aiocosmos_str condition, aiocosmos_str document)
{
    emu_text *query = &x->core->scratch;
    emu_sql_error error;
    emu_sql_query *prepared;
    emu_sql_run *run;
    size_t rows = 0;
    int status = -1;
    emu_text_clear(query);
    emu_puts(query, "{\"query\":");
    emu_text_clear(&x->core->body);
    emu_puts(&x->core->body, "SELECT VALUE 1 ");
    emu_put_str(&x->core->body, condition);
    emu_put_json(query, emu_str(x->core->body.buffer.data, x->core->body.buffer.len));
    emu_puts(query, "}");
    emu_text_clear(&x->core->body);
    if (query->failed) return emu_no_memory(x);
    prepared = emu_sql_prepare(query->buffer.data, query->buffer.len, x->now_ms, &x->store->memory, &error);
    if (!prepared) return emu_refuse_json(x, error.status, error.sub_status, error.message, NULL);
    emu_sql_set_flat(prepared, x->container->flat);
    run = emu_sql_start(prepared, emu_count_row, &rows);
    if (run) emu_sql_in_one_piece(run);
    if (run && emu_sql_feed(run, document.ptr, document.len) >= 0) status = emu_sql_finish(run);
    if (run && status < 0) error = *emu_sql_run_error(run);
    emu_sql_stop(run);
    emu_sql_free(prepared);
    if (!run) return emu_no_memory(x);
    if (status < 0) return emu_refuse_json(x, error.status, error.sub_status, error.message, NULL);
    return rows > 0 || emu_refuse(x, 412, 1110, "One of the specified pre-condition is not met. The condition of the "
                                  "patch does not hold.");
}

/* The operations and the condition of a patch: an object, or an array of operations alone. */
static bool emu_patch_request(emu_exchange *x, aiocosmos_json *operations, aiocosmos_json *condition)
{
    static const char *const names[] = { "operations", "condition" };
    aiocosmos_json found[2];
    aiocosmos_json_doc *doc = &x->core->doc;
    aiocosmos_str body = x->request->body;
    size_t count;
    memset(found, 0, sizeof found);
    found[0] = x->request->parsed;
    if (found[0].type == AIOCOSMOS_JSON_NONE) {
        if (body.len == 0 || aioc_json_parse(doc, body.ptr, body.len) < 0)
            return emu_refuse(x, 400, 0, "The request payload is invalid: it is not JSON.");
        found[0] = aioc_json_root(doc);
    }
    if (found[0].type == AIOCOSMOS_JSON_OBJ) aioc_json_fields(found[0], names, 2, found);
    count = aioc_json_count(found[0]);
    if (found[0].type != AIOCOSMOS_JSON_ARR || count < 1 || count > 10)
        return emu_refuse(x, 400, 0, "The patch request has to have an array of one to ten operations.");
    if (found[1].type != AIOCOSMOS_JSON_NONE && found[1].type != AIOCOSMOS_JSON_STR)
        return emu_refuse(x, 400, 0, "The patch request's condition is not a string.");
    *operations = found[0];
    *condition = found[1];
    return true;
}

static bool emu_check_condition(emu_exchange *x, aiocosmos_json condition, const emu_item *item)
{
    emu_text *document = &x->core->scratch2;
    char *text;
    size_t len;
    bool holds;
    if (condition.type == AIOCOSMOS_JSON_NONE) return true;
    text = (char *)aioc_mem_alloc(&x->store->memory, condition.len);
    if (!text) return emu_no_memory(x);
    len = aioc_json_get_str(condition, text, condition.len);
    emu_text_clear(document);
    emu_put_item(document, x->container, item);
    holds = !document->failed &&
            emu_condition_holds(x, emu_str(text, len), emu_str(document->buffer.data, document->buffer.len));
    aioc_mem_free(&x->store->memory, text, condition.len);
    return holds;
}

static void emu_patch_item(emu_exchange *x)
{
    emu_draft draft;
    aiocosmos_json operations, condition, root;
    emu_text *document = &x->core->scratch2;
    emu_item *item;
    memset(&operations, 0, sizeof operations);
    memset(&condition, 0, sizeof condition);
    if (!emu_item_key(x) || !emu_patch_request(x, &operations, &condition) || !emu_enter(x)) return;
    item = emu_item_to_change(x);
    if (!item || !emu_check_condition(x, condition, item)) return;
    emu_text_clear(document);
    emu_put_str(document, emu_item_own(item));
    if (!emu_patch(x, operations, document)) return;
    root = aioc_json_root(&x->core->doc2);
    if (!emu_draft_item(x, root, &draft)) return;
    emu_commit(x, &draft, item, 200, 1.9);
}

/* All items of a partition key, at once, where the service takes its time. */
void emu_delete_key(emu_exchange *x)
{
    emu_partition *partition;
    uint32_t left, slot;
    if (!emu_is(x->segment[5], "partitionkeydelete")) {
        emu_refuse(x, 404, 0, "The requested operation is unknown to this server.");
        return;
    }
    if (!emu_item_key(x) || !emu_enter(x)) return;
    emu_charge(x, x->range, 1);
    partition = emu_find_partition(x->container, &x->core->header_key);
    left = partition ? partition->items.live : 0;          /* it goes with its last item */
    slot = partition ? partition->items.count : 0;
    while (left > 0) {
        if (slot > partition->items.count) slot = partition->items.count;      /* holes were closed */
        if (!partition->items.at[--slot]) continue;
        emu_charge(x, x->range, EMU_RU_DELETE);
        left--;
        if (emu_remove_item(x->store, x->container, partition->items.at[slot], false, x->now_ms)) continue;
        emu_no_memory(x);
        return;
    }
    x->status = 200;
}

static void emu_item_write(emu_exchange *x)
{
    switch (emu_kind_alone(x->kind)) {
    case EMU_CREATE_ITEM: emu_create(x, false); break;
    case EMU_UPSERT_ITEM: emu_create(x, true); break;
    case EMU_REPLACE_ITEM: emu_replace(x); break;
    case EMU_PATCH_ITEM: emu_patch_item(x); break;
    default: emu_delete(x);
    }
}

static void emu_item_write_with_triggers(emu_exchange *x)
{
    const emu_request *asked = x->request;
    emu_request changed = *asked;
    emu_text made;
    if (emu_kind_alone(x->kind) != x->kind) {
        emu_refuse(x, 400, 0, "A batch runs no triggers.");
        return;
    }
    memset(&made, 0, sizeof made);
    made.memory = &x->store->memory;
    if (emu_run_triggers(x, &made)) {
        if (made.buffer.len) {
            changed.body = emu_text_str(&made);
            changed.parsed = aioc_json_none();
        }
        x->request = &changed;
        emu_item_write(x);
        x->request = asked;
    }
    aioc_mem_buffer_free(made.memory, &made.buffer);
}

void emu_item_operation(emu_exchange *x)
{
    const aiocosmos_str *header = x->request->header;
    if (x->request->verb == EMU_GET) emu_read(x);
    else if (!emu_write_headers_ok(x)) return;
    else if (header[EMU_H_PRE_TRIGGER].len || header[EMU_H_POST_TRIGGER].len) emu_item_write_with_triggers(x);
    else emu_item_write(x);
}

bool emu_restore_item(emu_exchange *x, const emu_kept_item *kept)
{
    emu_core *core = x->core;
    emu_container *container = x->container;
    emu_text *document = &core->scratch2;
    emu_draft draft;
    uint64_t number = kept->number;
    emu_item *old = number <= container->next_number ? emu_find_number(container, number) : NULL, *item;
    emu_text_clear(document);
    emu_put_str(document, kept->text);
    emu_puts(document, "}");
    if (document->failed) return emu_no_memory(x);
    if (aioc_json_parse(&core->doc, document->buffer.data, document->buffer.len) != 0 ||
        !emu_draft_document(x, aioc_json_root(&core->doc), &draft, NULL)) return false;
    if (kept->settled) draft.content.ttl = kept->ttl;      /* by what its container was when it was written */
    else if (!emu_take_ttl(x, draft.ttl, &draft.content.ttl)) return false;
    if (!old && number <= container->next_number) return false;
    if (!old) container->next_number = number - 1;
    x->store->next_etag = kept->etag - 1;
    item = emu_store_item(x->store, container, draft.key, old, &draft.content, kept->ts * 1000);
    if (item && kept->settled) item->lsn = kept->lsn;
    return item ? item->number == number : emu_no_memory(x);
}
