/* throughput.c: request units a second, of a database or a container. The service keeps them in a resource beside it,
 * an offer, which is found by the _rid of what it is for. */
#include "throughput.h"
#include "io.h"
#include "request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RID_BYTES = 64, OFFER_BYTES = 64 * 1024 };

typedef struct offer {
    char rid[RID_BYTES];                   /* of what it is for, then its own */
    char text[OFFER_BYTES];                /* as the service has it */
    long manual, autoscale;                /* what it says; autoscale 0: it is manual */
} offer;

/*--- The offer ----------------------------------------------------------------*/

static int keep_rid(tool *t, const aiocosmos_result *result, void *user_data)
{
    offer *o = user_data;
    aiocosmos_json rid = aiocosmos_json_at(aiocosmos_result_json(result), "/_rid");
    if (aiocosmos_json_get_str(rid, o->rid, sizeof o->rid) < sizeof o->rid) return EXIT_DONE;
    say(t, "%s: the answer has no _rid", t->command->name);
    return EXIT_REFUSED;
}

static bool keep_offer(offer *o, aiocosmos_json from)
{
    int64_t number = 0;
    if (from.len >= sizeof o->text) return false;
    memcpy(o->text, from.ptr, from.len);
    o->text[from.len] = 0;
    if (!aiocosmos_json_get_i64(aiocosmos_json_at(from, "/content/offerThroughput"), &number)) return false;
    o->manual = (long)number;
    number = 0;
    aiocosmos_json_get_i64(aiocosmos_json_at(from, "/content/offerAutopilotSettings/maxThroughput"), &number);
    o->autoscale = (long)number;
    return aiocosmos_json_get_str(aiocosmos_json_at(from, "/_rid"), o->rid, sizeof o->rid) < sizeof o->rid;
}

static int no_offer(tool *t)
{
    say(t, "%s: %s '%s' has no throughput of its own: %s", t->command->name,
        t->operands > 1 ? "the container" : "the database", t->operand[t->operands > 1],
        t->operands > 1 ? "it shares its database's, or the account is serverless"
                        : "its containers have theirs, or the account is serverless");
    return EXIT_REFUSED;
}

static int keep_found(tool *t, const aiocosmos_result *result, void *user_data)
{
    aiocosmos_json first = aiocosmos_json_at(aiocosmos_result_json(result), "/Offers/0");
    if (first.type == AIOCOSMOS_JSON_NONE) return no_offer(t);
    if (keep_offer(user_data, first)) return EXIT_DONE;
    say(t, "%s: the answer is no offer as this version knows them", t->command->name);
    return EXIT_REFUSED;
}

static int find_offer(tool *t, bool of_container, offer *o)
{
    static const char *const headers[] = { "x-ms-documentdb-isquery: True", "Content-Type: application/query+json",
                                           NULL };
    aiocosmos_request read = {0}, find = {0};
    char query[256];
    int status;
    read.kind = of_container ? AIOCOSMOS_READ_CONTAINER : AIOCOSMOS_READ_DATABASE;
    read.database = t->operand[0];
    read.container = of_container ? t->operand[1] : NULL;
    status = perform(t, &read, keep_rid, o);
    if (status != EXIT_DONE) return status;
    snprintf(query, sizeof query, "{\"query\":\"SELECT * FROM root r WHERE r.offerResourceId=@rid\","
             "\"parameters\":[{\"name\":\"@rid\",\"value\":\"%.*s\"}]}", (int)strcspn(o->rid, "\"\\"), o->rid);
    find.kind = AIOCOSMOS_RAW;
    find.raw_verb = "POST";
    find.raw_link = "offers";
    find.headers = headers;
    find.body = aiocosmos_text(query);
    return perform(t, &find, keep_found, o);
}

/* The offer goes to stdout as it is, and in words to people. */
static int print_offer(tool *t, const aiocosmos_result *result, void *user_data)
{
    offer *o = user_data;
    aiocosmos_str least = aiocosmos_result_header(result, "x-ms-cosmos-min-throughput");
    aiocosmos_str pending = aiocosmos_result_header(result, "x-ms-offer-replace-pending");
    int status = print_answer(t, result, NULL);
    if (status != EXIT_DONE || !keep_offer(o, aiocosmos_result_json(result))) return status;
    if (o->autoscale) say(t, "as many request units a second as needed, up to %ld", o->autoscale);
    else say(t, "%ld request units a second", o->manual);
    if (least.len) fprintf(stderr, "It may be as low as %.*s.\n", (int)least.len, least.ptr);
    if (pending.len == 4 && (pending.ptr[0] == 't' || pending.ptr[0] == 'T'))
        fputs("The service is still changing it.\n", stderr);
    return stdout_works(t) ? EXIT_DONE : EXIT_REFUSED;
}

/*--- Its changes --------------------------------------------------------------*/

/* The whole offer, with another content. */
static char *changed_offer(const offer *o, const char *content)
{
    aiocosmos_json_doc *doc;
    aiocosmos_json name, value = {0};
    char *text = NULL;
    size_t len;
    FILE *to = open_memstream(&text, &len);
    if (!to || aiocosmos_json_parse(NULL, o->text, strlen(o->text), &doc, NULL) < 0) {
        if (to) fclose(to);
        return free(text), NULL;
    }
    fprintf(to, "{\"content\":%s", content);
    while (aiocosmos_json_next(aiocosmos_json_root(doc), &name, &value)) {
        if (aiocosmos_json_is_str(name, "content")) continue;
        fprintf(to, ",%.*s:%.*s", (int)name.len, name.ptr, (int)value.len, value.ptr);
    }
    fputc('}', to);
    aiocosmos_json_free(doc);
    if (fclose(to) == 0) return text;
    free(text);
    return NULL;
}

static int keep_answer(tool *t, const aiocosmos_result *result, void *user_data)
{
    if (keep_offer(user_data, aiocosmos_result_json(result))) return EXIT_DONE;
    say(t, "%s: the answer is no offer as this version knows them", t->command->name);
    return EXIT_REFUSED;
}

static int put_offer(tool *t, offer *o, const char *content, const char *header, use_fn use)
{
    const char *headers[] = { header, NULL };
    aiocosmos_request request = {0};
    char link[RID_BYTES + 8], *body = changed_offer(o, content);
    int status;
    if (!body) return say(t, "no memory"), EXIT_REFUSED;
    snprintf(link, sizeof link, "offers/%s", o->rid);
    request.kind = AIOCOSMOS_RAW;
    request.raw_verb = "PUT";
    request.raw_link = link;
    request.headers = headers;
    request.body = aiocosmos_text(body);
    status = perform(t, &request, use, o);
    free(body);
    return status;
}

/* Between manual and autoscale a header leads, and the service chooses the number; ours is a second step. */
static int change(tool *t, bool to_autoscale)
{
    static offer o;                        /* zeroed */
    bool of_container = t->operands > 2;
    const char *number = t->operand[t->operands - 1];
    char content[128], *end;
    long units = strtol(number, &end, 10);
    int status;
    if (end == number || *end || units < 1 || units > 100000000) {
        say(t, "%s: '%s': a number of request units a second is expected", t->command->name, number);
        return see_help(t);
    }
    t->operands--;                         /* the rest is what it is for */
    status = find_offer(t, of_container, &o);
    if (status == EXIT_DONE && (o.autoscale != 0) != to_autoscale) {
        snprintf(content, sizeof content, "{\"offerThroughput\":%ld}", o.manual);
        status = put_offer(t, &o, to_autoscale ? content : "{\"offerThroughput\":-1}",
                           to_autoscale ? "x-ms-cosmos-migrate-offer-to-autopilot: true"
                                        : "x-ms-cosmos-migrate-offer-to-manual-throughput: true", keep_answer);
    }
    snprintf(content, sizeof content, to_autoscale ? "{\"offerAutopilotSettings\":{\"maxThroughput\":%ld}}"
                                                   : "{\"offerThroughput\":%ld}", units);
    if (status == EXIT_DONE) status = put_offer(t, &o, content, NULL, print_offer);
    say_cost(t, "");
    return status;
}

int throughput_set(tool *t)
{
    return change(t, false);
}

int throughput_autoscale(tool *t)
{
    return change(t, true);
}

int throughput_show(tool *t)
{
    static offer o;                        /* zeroed */
    aiocosmos_request request = {0};
    char link[RID_BYTES + 8];
    int status = find_offer(t, t->operands > 1, &o);
    if (status == EXIT_DONE) {
        snprintf(link, sizeof link, "offers/%s", o.rid);
        request.kind = AIOCOSMOS_RAW;
        request.raw_verb = "GET";
        request.raw_link = link;
        status = perform(t, &request, print_offer, &o);
    }
    say_cost(t, "");
    return status;
}
