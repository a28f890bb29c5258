/* items.c: single items. */
#include "items.h"
#include "io.h"
#include "request.h"

#include <stdlib.h>
#include <string.h>

/* item create, upsert and replace, of a text in memory. */
static int write_item(tool *t, aiocosmos_str text)
{
    aiocosmos_request request = {0};
    aiocosmos_json_doc *doc = parse_text(t, t->operand[2], text);
    char id[1024];                         /* the service's limit is 1023 bytes */
    int status;
    if (!doc) return EXIT_USAGE;
    status = read_definition(t);
    request.kind = (aiocosmos_kind)t->command->kind;
    request.database = t->operand[0];
    request.container = t->operand[1];
    request.body = text;
    request.if_match = aiocosmos_text(t->option[OPT_IF_MATCH]);
    request.want_body = true;
    request.pk = pk_of_document(t, text);
    if (status == EXIT_DONE && !is_set(&request.pk)) status = say_refusal(t, AIOCOSMOS_E_ARGUMENT);
    if (request.kind == AIOCOSMOS_REPLACE_ITEM) {
        aiocosmos_json named = aiocosmos_json_at(aiocosmos_json_root(doc), "/id");
        request.id = aiocosmos_json_get_str(named, id, sizeof id) < sizeof id ? id : "";
    }
    aiocosmos_json_free(doc);
    return status == EXIT_DONE ? perform_and_print(t, &request) : status;
}

int item_write(tool *t)
{
    aiocosmos_str document;
    char *text = read_text(t, t->operand[2], &document);
    int status = text ? write_item(t, document) : EXIT_USAGE;
    free(text);
    return status;
}

/* item get, delete and patch. */
int item_by_id(tool *t)
{
    aiocosmos_request request = {0};
    int status;
    request.kind = (aiocosmos_kind)t->command->kind;
    request.database = t->operand[0];
    request.container = t->operand[1];
    request.id = t->operand[2];
    request.if_match = aiocosmos_text(t->option[OPT_IF_MATCH]);
    if (!pk_of_option(t, &request.pk)) return see_help(t);
    if (request.kind == AIOCOSMOS_PATCH_ITEM) {
        request.body.ptr = t->option[OPT_OPS];
        request.body.len = strlen(request.body.ptr);
        request.want_body = true;
    }
    if (request.kind != AIOCOSMOS_DELETE_ITEM) return perform_and_print(t, &request);
    status = perform(t, &request, NULL, NULL);
    say_cost(t, "");
    return status;
}
