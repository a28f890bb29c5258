/* script.c: stored procedures, triggers and user-defined functions. Their JavaScript is kept and listed; it runs where
 * the program around the emulator has registered a function in C under a script's id. */
#include "script.h"
#include "listing.h"

#include <string.h>

#define EMU_SCRIPT_CHARGE  3.5
#define EMU_LOG_MAX        1024                            /* bytes of what a script prints; the header is its limit */

static const struct { const char *segment, *array; unsigned char rid; } emu_scripts[EMU_SCRIPT_TYPES] = {
    { "sprocs", "StoredProcedures", 0x80 }, { "triggers", "Triggers", 0x70 }, { "udfs", "UserDefinedFunctions", 0x60 }
};

emu_script_type emu_script_type_of(aiocosmos_str segment)
{
    int type = 0;
    while (type < EMU_SCRIPT_TYPES && !emu_is(segment, emu_scripts[type].segment)) type++;
    return (emu_script_type)type;
}

/*------------------------------------------------------------------------------
 * MARK: - What is kept
 *----------------------------------------------------------------------------*/

static emu_script *emu_find_script(const emu_container *container, emu_script_type type, aiocosmos_str name)
{
    emu_script *script = container->scripts[type];
    while (script && !emu_is(name, script->resource.id) && !emu_is(name, script->rid)) script = script->next;
    return script;
}

static void emu_put_script(emu_text *out, const emu_container *container, emu_script_type type,
                           const emu_script *script)
{
    emu_put(out, script->resource.text, script->resource.text_len);
    emu_put_format(out, ",\"_rid\":\"%s\",\"_self\":\"dbs/%s/colls/%s/%s/%s/\",\"_etag\":", script->rid,
                   container->database->rid, container->rid, emu_scripts[type].segment, script->rid);
    emu_put_etag(out, script->resource.etag, script->resource.ts);
    emu_put_format(out, ",\"_ts\":%lld}", (long long)script->resource.ts);
}

static bool emu_is_one_of(aiocosmos_json value, const char *const *words, size_t count)
{
    while (count > 0)
        if (aioc_json_is_str(value, words[--count])) return true;
    return false;
}

static bool emu_script_ok(emu_exchange *x, emu_script_type type, aiocosmos_json root)
{
    static const char *const names[] = { "body", "triggerType", "triggerOperation" };
    static const char *const types[] = { "Pre", "Post" };
    static const char *const operations[] = { "All", "Create", "Update", "Delete", "Replace", "Upsert" };
    aiocosmos_json found[3];
    aioc_json_fields(root, names, 3, found);
    if (found[0].type != AIOCOSMOS_JSON_STR)
        return emu_refuse(x, 400, 0, "A script needs a 'body', which is a string.");
    if (type != EMU_TRIGGERS || (emu_is_one_of(found[1], types, 2) && emu_is_one_of(found[2], operations, 6)))
        return true;
    return emu_refuse(x, 400, 0, "A trigger needs a 'triggerType' of Pre or Post, and a 'triggerOperation' of All, "
                      "Create, Update, Delete, Replace or Upsert.");
}

static emu_script *emu_make_script(emu_exchange *x, emu_script_type type)
{
    unsigned char raw[16];
    emu_script **last = &x->container->scripts[type], *script;
    script = (emu_script *)aioc_mem_zalloc(&x->store->memory, sizeof *script);
    if (!script) return NULL;
    memcpy(raw, x->container->raw_rid, 8);
    aioc_text_store64le(raw + 8, ++x->store->next_user);
    raw[15] = emu_scripts[type].rid;
    emu_rid_text(script->rid, raw, sizeof raw);
    while (*last) last = &(*last)->next;
    *last = script;
    return script;
}

/* script NULL: a new one. */
static void emu_write_script(emu_exchange *x, emu_script_type type, emu_script *script)
{
    char room[AIOC_PROTOCOL_ITEM_ID_MAX + 1];
    aiocosmos_json root;
    aiocosmos_str id;
    emu_script *other;
    bool made = !script;
    if (!emu_parse_body(x, &root) || !emu_take_id(x, root, room, &id) || !emu_script_ok(x, type, root)) return;
    other = emu_find_script(x->container, type, id);
    if (other && other != script) {
        emu_exists(x);
        return;
    }
    if (made) script = emu_make_script(x, type);
    if (!script || !emu_resource_set(x->store, &script->resource, id, root)) {
        if (made && script) emu_drop_script(x->store, x->container, type, script);
        emu_no_memory(x);
        return;
    }
    emu_put_script(&x->core->body, x->container, type, script);
    emu_answer_resource(x, &script->resource, made ? 201 : 200, EMU_CONTAINERS_CHARGE);
}

static void emu_list_scripts(emu_exchange *x, emu_script_type type)
{
    const emu_script *script = x->container->scripts[type];
    emu_listing listing;
    if (!emu_listing_begin(&listing, x, emu_scripts[type].array, x->container->rid)) return;
    for (; script; script = script->next) {
        emu_text_clear(&x->core->scratch2);
        emu_put_script(&x->core->scratch2, x->container, type, script);
        emu_listing_add(&listing, emu_text_str(&x->core->scratch2));
    }
    emu_listing_end(&listing);
}

void emu_scripts_route(emu_exchange *x)
{
    emu_script_type type = emu_script_type_of(x->segment[4]);
    emu_script *script = x->segments == 6 ? emu_find_script(x->container, type, x->segment[5]) : NULL;
    if (x->segments == 6 && !script) {
        emu_absent(x);
        return;
    }
    if (script && x->request->verb != EMU_GET && !emu_matches(x, script->resource.etag, script->resource.ts)) return;
    switch (x->kind) {
    case EMU_CREATE_SCRIPT:
    case EMU_REPLACE_SCRIPT: emu_write_script(x, type, script); break;
    case EMU_DELETE_SCRIPT:
        emu_drop_script(x->store, x->container, type, script);
        emu_answer_deleted(x);
        break;
    case EMU_READ_SCRIPT:
        emu_put_script(&x->core->body, x->container, type, script);
        emu_answer_resource(x, &script->resource, 200, 2);
        break;
    case EMU_EXECUTE_SCRIPT: emu_execute_script(x); break;
    default: emu_list_scripts(x, type);
    }
}

/*------------------------------------------------------------------------------
 * MARK: - Functions in their place
 *----------------------------------------------------------------------------*/

/* What a call has made so far. */
typedef struct emu_call {
    aiocosmos_emulator_call call;
    emu_text *answer;
    char log[EMU_LOG_MAX];
    size_t log_len;
} emu_call;

static emu_function **emu_find_function(emu_core *core, const char *id)
{
    emu_function **at = &core->functions;
    while (*at && strcmp((*at)->id, id) != 0) at = &(*at)->next;
    return at;
}

static void emu_drop_function(emu_core *core, emu_function **at)
{
    emu_function *gone = *at;
    *at = gone->next;
    aioc_mem_free(&core->store.memory, gone->id, strlen(gone->id) + 1);
    aioc_mem_free(&core->store.memory, gone, sizeof *gone);
}

void emu_functions_free(emu_core *core)
{
    while (core->functions) emu_drop_function(core, &core->functions);
}

bool aiocosmos_emulator_register(emu_core *core, const char *id, aiocosmos_emulator_script run, void *user_data)
{
    emu_function **at = emu_find_function(core, id), *function;
    size_t size = strlen(id) + 1;
    if (*at) emu_drop_function(core, at);
    if (!run) return true;
    function = (emu_function *)aioc_mem_zalloc(&core->store.memory, sizeof *function);
    if (function) function->id = (char *)aioc_mem_alloc(&core->store.memory, size);
    if (!function || !function->id) {
        aioc_mem_free(&core->store.memory, function, sizeof *function);
        return false;
    }
    memcpy(function->id, id, size);
    function->run = run;
    function->user_data = user_data;
    function->next = core->functions;
    core->functions = function;
    return true;
}

void aiocosmos_emulator_answer(aiocosmos_emulator_call *call, const char *json, size_t len)
{
    emu_put(((emu_call *)call)->answer, json, len);        /* the call is its first member */
}

void aiocosmos_emulator_print(aiocosmos_emulator_call *call, const char *text)
{
    emu_call *mine = (emu_call *)call;
    size_t len = strlen(text), left = sizeof mine->log - mine->log_len;
    if (len > left) len = left;
    memcpy(mine->log + mine->log_len, text, len);
    mine->log_len += len;
}

static void emu_put_log(emu_exchange *x, const emu_call *call)
{
    static const char name[] = "x-ms-documentdb-script-log-results: ";
    size_t len = sizeof name - 1;
    if (!emu_header_true(x, EMU_H_SCRIPT_LOG)) return;
    memcpy(x->extra, name, len);
    len += aioc_auth_percent_encode(emu_str(call->log, call->log_len), 0, x->extra + len);
    x->extra[len] = 0;
}

/* Runs the function that stands for a script; answer is empty before. False: refused. */
static bool emu_run_function(emu_exchange *x, const emu_script *script, aiocosmos_str input, emu_text *answer)
{
    emu_function *function = *emu_find_function(x->core, script->resource.id);
    emu_call call;
    const char *error;
    size_t at, len;
    int status;
    if (!function)
        return emu_refuse(x, 400, 0, "The emulator runs no JavaScript, and no function in C is registered for the "
                          "script '%.200s' (aiocosmos_emulator_register).", script->resource.id);
    memset(&call, 0, sizeof call);
    call.call.id = aioc_mem_str(script->resource.id);
    call.call.input = input;
    call.call.partition_key = x->request->header[EMU_H_PARTITION_KEY];
    call.answer = answer;
    status = function->run(&call.call, function->user_data);
    emu_put_log(x, &call);
    if (answer->failed) return emu_no_memory(x);
    len = answer->buffer.len;
    if (status >= 400)
        return emu_refuse(x, status, 0, "Encountered exception while executing Javascript. Exception = %.*s",
                          (int)(len < 500 ? len : 500), len ? answer->buffer.data : "");
    if (!len || aioc_json_check(answer->buffer.data, len, NULL, 0, NULL, &error, &at) == 0) return true;
    return emu_refuse(x, 500, 0, "What the function for '%.200s' answers is not JSON: %s.", script->resource.id, error);
}

/* The body has the arguments; the answer is what the procedure sets. */
void emu_execute_script(emu_exchange *x)
{
    const emu_script *script = emu_find_script(x->container, EMU_SPROCS, x->segment[5]);
    aiocosmos_str input = x->request->body.len ? x->request->body : aioc_mem_str("[]");
    emu_range *range;
    bool given;
    if (!emu_header_key(x, &given)) return;
    if (!given) {
        emu_refuse(x, 400, 0, "PartitionKey value must be supplied for this operation: the header "
                   "x-ms-documentdb-partitionkey is missing.");
        return;
    }
    if (aioc_json_parse(&x->core->doc, input.ptr, input.len) != 0 ||
        aioc_json_root(&x->core->doc).type != AIOCOSMOS_JSON_ARR) {
        emu_refuse(x, 400, 0, "The arguments of a stored procedure have to be a JSON array.");
        return;
    }
    range = emu_range_of(x->container, emu_str(x->core->header_key.epk, x->core->header_key.epk_len));
    if (!emu_spend(x, range)) return;
    x->range = range;
    emu_charge(x, range, EMU_SCRIPT_CHARGE);
    if (!emu_run_function(x, script, input, &x->core->body)) return;
    if (!x->core->body.buffer.len) emu_puts(&x->core->body, "\"\"");
    x->status = 200;
    x->has_body = true;
}

static bool emu_run_trigger(emu_exchange *x, aiocosmos_str name, const char *type, aiocosmos_str document,
                            emu_text *made)
{
    const emu_script *script = emu_find_script(x->container, EMU_TRIGGERS, name);
    aiocosmos_json_doc *doc = &x->core->doc2;
    emu_text *text = &x->core->scratch;
    bool fits;
    if (!script) return emu_refuse(x, 400, 0, "The trigger '%.*s' does not exist.", EMU_CUT(name, 100));
    emu_text_clear(text);
    emu_put(text, script->resource.text, script->resource.text_len);
    emu_puts(text, "}");
    if (text->failed || aioc_json_parse(doc, text->buffer.data, text->buffer.len) != 0) return emu_no_memory(x);
    fits = aioc_json_is_str(aioc_json_at(aioc_json_root(doc), "/triggerType"), type);
    if (!fits) return emu_refuse(x, 400, 0, "The trigger '%.*s' is no %s-trigger.", EMU_CUT(name, 100), type);
    return emu_run_function(x, script, document, made);
}

/* Both before the write: a post-trigger that refuses undoes it in the service, and here it is not done. */
bool emu_run_triggers(emu_exchange *x, emu_text *made)
{
    aiocosmos_str pre = x->request->header[EMU_H_PRE_TRIGGER], post = x->request->header[EMU_H_POST_TRIGGER];
    emu_text unused;
    bool ok;
    if (pre.len && !emu_run_trigger(x, pre, "Pre", x->request->body, made)) return false;
    if (!post.len) return true;
    memset(&unused, 0, sizeof unused);
    unused.memory = made->memory;
    ok = emu_run_trigger(x, post, "Post", made->buffer.len ? emu_text_str(made) : x->request->body, &unused);
    aioc_mem_buffer_free(unused.memory, &unused.buffer);
    return ok;
}
