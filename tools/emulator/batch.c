/* batch.c: many operations on items in one request: each for itself, in one partition key range; or all or
 * nothing, of one partition key. */
#include "batch.h"
#include "fault.h"
#include "item.h"

#include <string.h>

#define EMU_BATCH_MAX 100u                                 /* operations */

/* One operation as its own request. The texts are views into the batch, or into core->batch_text. */
typedef struct emu_operation {
    emu_kind kind;
    emu_request request;
    aiocosmos_str id;
} emu_operation;

static const struct { const char *name; emu_kind kind; const char *verb_text; emu_verb verb; } emu_operation_types[] = {
    { "Create",  EMU_BATCHED_CREATE_ITEM,  "POST",   EMU_POST },
    { "Upsert",  EMU_BATCHED_UPSERT_ITEM,  "POST",   EMU_POST },
    { "Read",    EMU_BATCHED_READ_ITEM,    "GET",    EMU_GET },
    { "Replace", EMU_BATCHED_REPLACE_ITEM, "PUT",    EMU_PUT },
    { "Patch",   EMU_BATCHED_PATCH_ITEM,   "PATCH",  EMU_PATCH },
    { "Delete",  EMU_BATCHED_DELETE_ITEM,  "DELETE", EMU_DELETE }
};

/* A string without its escapes, if need be in core->batch_text, where there is room for all of an operation's. ptr
 * NULL: there is none. */
static aiocosmos_str emu_plain(emu_core *core, aiocosmos_json value)
{
    aioc_mem_buffer *text = &core->batch_text;
    aiocosmos_str plain = emu_str(NULL, 0);
    if (value.type != AIOCOSMOS_JSON_STR) return plain;
    if (!aioc_json_has_escapes(value)) return emu_str(value.ptr + 1, value.len - 2);
    plain = emu_str(text->data + text->len, aioc_json_get_str(value, text->data + text->len, value.len));
    text->len += plain.len + 1;
    return plain;
}

static bool emu_take_operation(emu_exchange *x, const emu_request *whole, aiocosmos_json object, emu_operation *op)
{
    static const aiocosmos_str names[] = {
        EMU_NAME("operationType"), EMU_NAME("id"), EMU_NAME("partitionKey"), EMU_NAME("resourceBody"),
        EMU_NAME("ifMatch"), EMU_NAME("ifNoneMatch"), EMU_NAME("minimalReturnPreference")
    };
    static const emu_header conditions[] = { EMU_H_IF_MATCH, EMU_H_IF_NONE_MATCH };
    aiocosmos_json field[sizeof names / sizeof *names];
    emu_core *core = x->core;
    size_t i, types = sizeof emu_operation_types / sizeof *emu_operation_types;
    bool minimal = emu_is(whole->header[EMU_H_PREFER], "return=minimal");      /* of all, unless one says so itself */
    if (object.type != AIOCOSMOS_JSON_OBJ)
        return emu_refuse(x, 400, 0, "An operation of a batch has to be a JSON object.");
    core->batch_text.len = 0;
    if (!aioc_mem_reserve(&core->store.memory, &core->batch_text, object.len)) return emu_no_memory(x);
    aioc_json_pick(object, names, sizeof names / sizeof *names, field);
    for (i = 0; i < types && !aioc_json_is_str(field[0], emu_operation_types[i].name); i++) continue;
    if (i == types) return emu_refuse(x, 400, 0, "The operationType of an operation is unknown.");
    op->kind = emu_operation_types[i].kind;
    op->id = emu_plain(core, field[1]);
    op->request = *whole;
    op->request.verb = emu_operation_types[i].verb;
    op->request.verb_text = aioc_mem_str(emu_operation_types[i].verb_text);
    op->request.body = emu_str(field[3].ptr, field[3].len);
    op->request.parsed = field[3];
    if (field[2].type == AIOCOSMOS_JSON_STR)
        op->request.header[EMU_H_PARTITION_KEY] = emu_plain(core, field[2]);
    for (i = 0; i < 2; i++) op->request.header[conditions[i]] = emu_plain(core, field[4 + i]);
    aioc_json_get_bool(field[6], &minimal);
    op->request.header[EMU_H_PREFER] = minimal ? aioc_mem_str("return=minimal") : emu_str(NULL, 0);
    return op->id.ptr || op->request.verb == EMU_POST ||
           emu_refuse(x, 400, 0, "An operation of a batch that is about an item has to have its id.");
}

/* Carries out one operation: what a request of its own would be answered is in x and core->body. */
static void emu_operate(emu_exchange *x, const emu_request *whole, aiocosmos_json object, emu_range *range)
{
    emu_core *core = x->core;
    emu_operation op;
    emu_fault *fault = NULL;
    emu_kind kind = x->kind;
    x->status = x->sub_status = 0;
    x->has_body = false;
    x->charge = 0;
    x->retry_after_ms = -1;
    x->item_lsn = -1;
    x->etag[0] = 0;
    emu_text_clear(&core->body);
    if (!emu_take_operation(x, whole, object, &op)) return;
    if (core->watch_operation && range) core->watch_operation(core->watch_user, object, false);
    x->request = &op.request;
    x->kind = op.kind;
    x->segment[5] = op.id;
    if (core->faults && !x->paid) fault = emu_fault_find(core, x);
    if (range && (!op.request.header[EMU_H_PARTITION_KEY].ptr ||
                  !emu_parse_key(x, op.request.header[EMU_H_PARTITION_KEY], &core->header_key))) {
        if (!x->status) emu_refuse(x, 400, 0, "An operation of a batch of a range has to have its partitionKey.");
    } else if (range && emu_range_of(x->container, emu_str(core->header_key.epk, core->header_key.epk_len)) != range) {
        emu_refuse(x, 410, 1002, "The partition key of the operation is in another partition key range.");
    } else if (!fault || fault->after || fault->action >= EMU_FAULT_TRUNCATE) {
        x->key_taken = range != NULL;
        x->range = range;
        emu_item_operation(x);
        x->key_taken = false;
    }
    if (fault && fault->action != EMU_FAULT_STATUS) x->fault_within = fault;
    if (fault && fault->action <= EMU_FAULT_HANG) {
        emu_refuse(x, fault->status ? fault->status : 503, fault->sub_status, "A fault was asked for.");
        x->retry_after_ms = fault->retry_after_ms;
    }
    x->request = whole;
    x->kind = kind;
    if (core->watch_operation && range) core->watch_operation(core->watch_user, object, true);
}

static void emu_put_result(emu_text *out, const emu_exchange *x)
{
    char line[256], *at = line;
    if (out->buffer.len > 1) *at++ = ',';
    at = emu_put_number(EMU_PUT(at, "{\"statusCode\":"), x->status);
    if (x->sub_status) at = emu_put_number(EMU_PUT(at, ",\"subStatusCode\":"), x->sub_status);
    at = emu_put_decimal(EMU_PUT(at, ",\"requestCharge\":"), x->charge);
    if (x->retry_after_ms >= 0)
        at = emu_put_number(EMU_PUT(at, ",\"retryAfterMilliseconds\":"), (int64_t)x->retry_after_ms);
    if (x->etag[0]) {                                      /* a quoted guid */
        at = emu_put_at(EMU_PUT(at, ",\"eTag\":\"\\"), x->etag, EMU_GUID + 1);
        at = EMU_PUT(at, "\\\"\"");
    }
    if (!x->has_body) *at++ = '}';
    emu_put(out, line, (size_t)(at - line));
    if (x->has_body) {
        const aiocosmos_str body = emu_text_str(&x->core->body);
        const bool refused = x->status >= 400;             /* of that only the message, a string */
        const aiocosmos_str message = aioc_mem_str("message");
        aiocosmos_json shown = aioc_json_none();
        shown.ptr = body.ptr;
        shown.len = body.len;
        if (refused) aioc_json_check(body.ptr, body.len, &message, 1, &shown, NULL, NULL);
        emu_puts(out, refused ? ",\"message\":" : ",\"resourceBody\":");
        emu_put(out, shown.ptr, shown.len);
        emu_puts(out, "}");
    }
}

/* The operations in their order, until one fails, if nothing is to follow it. Returns how many have failed; *first is
 * the first of them, or how many there are. */
static size_t emu_operate_all(emu_exchange *x, aiocosmos_json list, emu_range *range, bool go_on, size_t *first)
{
    emu_core *core = x->core;
    const emu_request *whole = x->request;
    emu_range *served = NULL;
    aiocosmos_json object;
    double charge = 0;
    int64_t lsn = -1;
    size_t failed = 0, i = 0;
    memset(&object, 0, sizeof object);
    *first = aioc_json_count(list);
    emu_text_clear(&core->batch);
    emu_puts(&core->batch, "[");
    for (; aioc_json_next(list, NULL, &object); i++) {
        if (failed && !go_on) {
            emu_put_format(&core->batch, ",{\"statusCode\":424,\"requestCharge\":0}");
            continue;
        }
        emu_operate(x, whole, object, range);
        if (core->body.failed) emu_no_memory(x);
        if (x->status >= 400 && failed++ == 0) *first = i;
        if (x->range) served = x->range;
        if (x->item_lsn > lsn) lsn = x->item_lsn;
        charge += x->charge;
        emu_put_result(&core->batch, x);
    }
    emu_puts(&core->batch, "]");
    x->range = served;
    x->item_lsn = lsn;
    x->charge = charge;
    x->sub_status = 0;
    x->etag[0] = 0;
    x->retry_after_ms = -1;
    return failed;
}

/* What a transaction of which one operation fails is answered: that one's own result, and that nothing was done about
 * the others. */
static void emu_answer_rollback(emu_exchange *x, size_t first)
{
    emu_core *core = x->core;
    aiocosmos_json results, result;
    size_t i = 0;
    emu_text_clear(&core->body);
    if (core->batch.failed || aioc_json_parse(&core->doc, core->batch.buffer.data, core->batch.buffer.len) != 0) {
        core->body.failed = true;
        return;
    }
    results = aioc_json_root(&core->doc);
    memset(&result, 0, sizeof result);
    for (; aioc_json_next(results, NULL, &result); i++) {
        emu_puts(&core->body, i ? "," : "[");
        if (i == first) emu_put(&core->body, result.ptr, result.len);
        else emu_puts(&core->body, "{\"statusCode\":424,\"requestCharge\":0}");
    }
    emu_puts(&core->body, "]");
}

/* Copies the items that the operations name. */
static bool emu_shadow_fill(emu_exchange *x, aiocosmos_json list, emu_container *shadow)
{
    emu_core *core = x->core;
    aiocosmos_json object, id;
    memset(&object, 0, sizeof object);
    while (aioc_json_next(list, NULL, &object)) {
        id = aioc_json_at(object, "/id");
        if (id.type != AIOCOSMOS_JSON_STR) id = aioc_json_at(object, "/resourceBody/id");
        core->batch_text.len = 0;
        if (id.type == AIOCOSMOS_JSON_STR &&
            (!aioc_mem_reserve(&core->store.memory, &core->batch_text, id.len) ||
             !emu_shadow_take(x->store, x->container, &core->header_key, shadow, emu_plain(core, id)))) return false;
    }
    return true;
}

/* All or nothing: the operations are tried on a copy of what they are about first. */
static void emu_transaction(emu_exchange *x, aiocosmos_json list)
{
    emu_core *core = x->core;
    emu_container *container = x->container, shadow;
    emu_range *range;
    size_t failed, first;
    bool given;
    if (!emu_header_key(x, &given)) return;
    if (!given || core->header_key.levels != container->key.path_count) {
        emu_refuse(x, 400, 0, "A transactional batch has to have a whole partition key.");
        return;
    }
    range = emu_range_of(container, emu_str(core->header_key.epk, core->header_key.epk_len));
    if (!emu_spend(x, range)) return;
    x->paid = true;
    if (!emu_shadow_open(&core->store, container, &core->header_key, &shadow) || !emu_shadow_fill(x, list, &shadow)) {
        emu_shadow_close(&core->store, &shadow);
        emu_no_memory(x);
        return;
    }
    x->container = &shadow;
    failed = emu_operate_all(x, list, NULL, false, &first);
    x->container = container;
    emu_shadow_close(&core->store, &shadow);                       /* what it took is there for the thing itself */
    if (!failed) {
        failed = emu_operate_all(x, list, NULL, false, &first);
        emu_text_clear(&core->body);
        emu_put(&core->body, core->batch.buffer.data, core->batch.buffer.len);
    } else {
        emu_answer_rollback(x, first);
        range->ru -= x->charge;
        x->item_lsn = range->lsn;
    }
    x->range = range;
    x->paid = false;
    x->status = failed ? 207 : 200;
    x->has_body = true;
    core->body.failed = core->body.failed || core->batch.failed;
}

void emu_batch(emu_exchange *x)
{
    aiocosmos_str body = x->request->body;
    emu_core *core = x->core;
    emu_range *range;
    aiocosmos_json list;
    size_t count, failed, first;
    if (body.len > 0 && (unsigned char)*body.ptr == 0x81) {
        emu_refuse(x, 400, 0, "The batch is in HybridRow, which this emulator does not read: send JSON.");
        return;
    }
    if (body.len > EMU_ITEM_MAX + 65536u) {
        emu_refuse(x, 413, 0, "Request size is too large");
        return;
    }
    if (aioc_json_parse(&core->batch_doc, body.ptr, body.len) != 0) {
        emu_refuse(x, 400, 0, "The batch is not JSON.");
        return;
    }
    list = aioc_json_root(&core->batch_doc);
    count = aioc_json_count(list);
    if (list.type != AIOCOSMOS_JSON_ARR || count < 1 || count > EMU_BATCH_MAX) {
        emu_refuse(x, 400, 0, "A batch is an array of 1 to %u operations.", EMU_BATCH_MAX);
        return;
    }
    if (emu_header_true(x, EMU_H_BATCH_ATOMIC)) {
        emu_transaction(x, list);
        return;
    }
    if (!x->request->header[EMU_H_RANGE_ID].len) {
        emu_refuse(x, 400, 0, "A batch that is no transaction has to name its partition key range.");
        return;
    }
    range = emu_named_range(x, x->request->header[EMU_H_RANGE_ID]);
    if (!range || !emu_spend(x, range)) return;
    failed = emu_operate_all(x, list, range, emu_header_true(x, EMU_H_BATCH_GO_ON), &first);
    emu_text_clear(&core->body);
    emu_put(&core->body, core->batch.buffer.data, core->batch.buffer.len);
    core->body.failed = core->body.failed || core->batch.failed;
    x->range = range;
    x->status = failed ? 207 : 200;
    x->has_body = true;
}
