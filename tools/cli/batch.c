/* batch.c: a transaction: operations on items of one partition key, all of them or none. */
#include "batch.h"
#include "io.h"
#include "request.h"
#include "values.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPERATIONS_MAX = 100, ID_BYTES = 4096 };            /* of a transaction; of an id or an ETag */

typedef struct operation {
    char *text;                            /* as it was read */
    aiocosmos_json_doc *doc;
    char *id, *etag;                       /* NULL: not given */
    unsigned line, element;                /* where it begins, and its place in a JSON array, or 0 */
} operation;

typedef struct transaction {
    tool *tool;
    operation operations[OPERATIONS_MAX];
    aiocosmos_bulk_item items[OPERATIONS_MAX];
    size_t count;
    int status;                            /* to exit with */
} transaction;

static const struct { const char *name; aiocosmos_kind kind; } kinds[] = {
    { "create", AIOCOSMOS_CREATE_ITEM }, { "upsert", AIOCOSMOS_UPSERT_ITEM }, { "replace", AIOCOSMOS_REPLACE_ITEM },
    { "read", AIOCOSMOS_READ_ITEM }, { "patch", AIOCOSMOS_PATCH_ITEM }, { "delete", AIOCOSMOS_DELETE_ITEM }
};

/*--- What is to be done -------------------------------------------------------*/

/* A string of its own; *out stays NULL where there is none. False: it is something else. */
static bool take_string(aiocosmos_json value, char **out)
{
    if (value.type == AIOCOSMOS_JSON_NONE) return true;
    if (value.type != AIOCOSMOS_JSON_STR || value.len > ID_BYTES) return false;
    *out = malloc(value.len + 1);
    return *out && aiocosmos_json_get_str(value, *out, value.len + 1) <= value.len;
}

/* NULL: it is an operation. */
static const char *read_operation(const tool *t, operation *op, aiocosmos_bulk_item *item, size_t len)
{
    static const char *const names[] = { "op", "id", "body", "if_match" };
    aiocosmos_json found[4], root;
    size_t i, given;
    if (aiocosmos_json_parse(t->client, op->text, len, &op->doc, NULL) < 0) return json_fault(t);
    root = aiocosmos_json_root(op->doc);
    given = aiocosmos_json_fields(root, names, 4, found);
    if (root.type != AIOCOSMOS_JSON_OBJ || given != aiocosmos_json_count(root))
        return "an object with \"op\", \"id\", \"body\" and \"if_match\" is expected, and nothing else";
    for (i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (aiocosmos_json_is_str(found[0], kinds[i].name)) item->kind = kinds[i].kind;
    if (!item->kind) return "\"op\" is one of create, upsert, replace, read, patch and delete";
    if (!take_string(found[1], &op->id) || !take_string(found[3], &op->etag))
        return "\"id\" and \"if_match\" are strings";
    item->id = op->id;
    item->if_match = aiocosmos_text(op->etag);
    item->body.ptr = found[2].type == AIOCOSMOS_JSON_NONE ? NULL : found[2].ptr;
    item->body.len = found[2].type == AIOCOSMOS_JSON_NONE ? 0 : found[2].len;
    if (item->kind == AIOCOSMOS_REPLACE_ITEM && !item->id && take_string(aiocosmos_json_at(found[2], "/id"), &op->id))
        item->id = op->id;
    return NULL;
}

static const char *add_operation(transaction *x, const document *at)
{
    operation *op = &x->operations[x->count];
    if (at->too_long) return "it is longer than a transaction may be";
    if (x->count == OPERATIONS_MAX) return "a transaction has at most 100 operations";
    op->text = text_of(at->text);
    if (!op->text) return "no memory";
    op->line = (unsigned)at->line;
    op->element = (unsigned)at->element;
    return read_operation(x->tool, op, &x->items[x->count++], at->text.len);
}

/* All operations of the input. Waits for them. */
static bool read_all_operations(transaction *x, const char *path)
{
    static values v;                       /* zeroed */
    input in;
    document at;
    taken got = TAKEN_NONE_YET;
    const char *why = NULL;
    int fd = open_input(x->tool, path);
    if (fd < 0) return false;
    if (!input_open(&in, fd)) return say(x->tool, "no memory"), false;
    in.is_file = true;                     /* to read it is to wait */
    while (!why && got != TAKEN_END) {
        got = values_take(&v, &in, &at);
        if (got == TAKEN_DOCUMENT) why = add_operation(x, &at);
        if (got == TAKEN_ERROR) why = at.why;
        if (why && at.line) say(x->tool, "batch: %s: line %d: %s", input_name(path), (int)at.line, why);
        else if (why) say(x->tool, "cannot read %s: %s", input_name(path), why);
    }
    input_close(&in);
    if (!why && x->count == 0) say(x->tool, "batch: %s: there is no operation", input_name(path));
    return !why && x->count > 0;
}

/*--- What was done ------------------------------------------------------------*/

/* A text of the library, which counts the operations from 0, as who wrote them does. To be freed; NULL: no memory. */
static char *by_lines(const transaction *x, aiocosmos_str from)
{
    static const char counted[] = "items[";
    char *text = text_of(from), *at = text ? strstr(text, counted) : NULL, *end = NULL, *to = NULL;
    size_t number = at ? strtoul(at + sizeof counted - 1, &end, 10) : 0, cap = from.len + 32;
    const operation *op;
    if (!at || *end != ']' || number >= x->count) return text;
    op = &x->operations[number];
    to = malloc(cap);
    if (to)
        snprintf(to, cap, "%.*s%s %u%s", (int)(at - text), text, op->element ? "element" : "line",
                 op->element ? op->element : op->line, end + 1);
    free(text);
    return to;
}

static void print_results(aiocosmos_client *client, const aiocosmos_result *result,
                          const aiocosmos_batch_result *results, size_t count, void *user_data)
{
    transaction *x = user_data;
    aiocosmos_result failure = *result;
    char *text;
    size_t i;
    (void)client;
    for (i = 0; i < count; i++) {
        const aiocosmos_batch_result *r = &results[i];
        printf("{\"status\":%d,\"sub_status\":%d,\"ru\":%.2f", r->status, r->sub_status, r->charge_ru);
        if (r->etag.len) {
            fputs(",\"etag\":", stdout);
            put_string(stdout, r->etag.ptr, r->etag.len);
        }
        if (r->item.type != AIOCOSMOS_JSON_NONE) {
            fputs(",\"item\":", stdout);
            put_document(stdout, r->item.ptr, r->item.len);
        }
        puts("}");
    }
    if (result->status == 0) return;
    text = by_lines(x, result->message);
    if (text) failure.message = aiocosmos_text(text);
    x->tool->item_failed = count > 0;
    say_failure(x->tool, &failure);
    free(text);
    x->status = EXIT_REFUSED;
}

static int refused_by_library(const transaction *x, int refused)
{
    const char *why = aiocosmos_last_error(x->tool->client);
    char *text = strncmp(why, "items[", 6) == 0 ? by_lines(x, aiocosmos_text(why)) : NULL;
    if (!text) return say_refusal(x->tool, refused);
    fputs("aiocosmos: batch: ", stderr);
    say_text(text, strlen(text));
    fputc('\n', stderr);
    free(text);
    return see_help(x->tool);
}

static int run_transaction(transaction *x, const aiocosmos_pk *pk)
{
    tool *t = x->tool;
    aiocosmos_batch_request request = {0};
    int refused;
    request.database = t->operand[0];
    request.container = t->operand[1];
    request.pk = *pk;
    request.items = x->items;
    request.item_count = x->count;
    request.want_body = true;
    request.done = print_results;
    request.user_data = x;
    refused = aiocosmos_batch(t->client, &request, NULL);
    if (refused != 0) return refused_by_library(x, refused);
    aiocosmos_drain(t->client, -1);
    if (!stdout_works(t)) x->status = EXIT_REFUSED;
    say_cost(t, "");
    return x->status;
}

int batch(tool *t)
{
    static transaction x;                  /* zeroed */
    aiocosmos_pk pk = {0};
    int status = EXIT_USAGE;
    size_t i;
    x.tool = t;
    if (!pk_of_option(t, &pk)) return see_help(t);
    if (read_all_operations(&x, t->operand[2])) status = run_transaction(&x, &pk);
    for (i = 0; i < x.count; i++) {
        free(x.operations[i].text);
        free(x.operations[i].id);
        free(x.operations[i].etag);
        aiocosmos_json_free(x.operations[i].doc);
    }
    return status;
}
