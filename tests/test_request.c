/* The request layer alone: what each kind takes and becomes, what is refused and by which name, and whatever bytes a
 * host may give. */
#define AIOCOSMOS_STATIC
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"
#include "heap.h"
#include "texts.h"
#include <ctype.h>

static aioc_mem memory;

static aioc_request_builder *open_builder(void)
{
    static aioc_request_builder builder;
    memory = rationed(&heap, ULONG_MAX / 2);
    memset(&builder, 0, sizeof builder);
    aioc_request_open(&builder, &memory);
    builder.default_database = "db";
    builder.timeout_ms = 30000;
    return &builder;
}

static void close_builder(aioc_request_builder *builder)
{
    aioc_request_close(builder);
    aioc_mem_close(&memory);
    CHECK_INT(heap.blocks, 0);
}

static void refused(aioc_request_builder *builder, const aiocosmos_request *request, const char *part)
{
    aioc_request_spec spec;
    int status = aioc_request_build(builder, request, &spec);
    if (status != AIOCOSMOS_E_ARGUMENT || !strstr(builder->refusal, part))
        printf("  %d: \"%s\" instead of \"%s\"\n", status, builder->refusal, part);
    CHECK_INT(status, AIOCOSMOS_E_ARGUMENT);
    CHECK_INT(builder->status, status);
    CHECK(strstr(builder->refusal, part));
}

static aiocosmos_request item_request(aiocosmos_kind kind)
{
    aiocosmos_request request = {0};
    static const char body[] = "{\"id\":\"x\"}";
    request.kind = kind;
    request.container = "c";
    request.pk = aiocosmos_pk1(aiocosmos_s("p"));
    if (kind != AIOCOSMOS_CREATE_ITEM && kind != AIOCOSMOS_UPSERT_ITEM) request.id = "x";
    if (kind != AIOCOSMOS_READ_ITEM && kind != AIOCOSMOS_DELETE_ITEM) {
        request.body.ptr = body;
        request.body.len = sizeof body - 1;
    }
    return request;
}

static aiocosmos_request raw_request(const char *verb, const char *link)
{
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_RAW;
    request.raw_verb = verb;
    request.raw_link = link;
    return request;
}

/*--- What a kind takes ---*/

static const char *const kind_names[] = {
    "", "READ_ITEM", "CREATE_ITEM", "UPSERT_ITEM", "REPLACE_ITEM", "PATCH_ITEM", "DELETE_ITEM", "READ_CONTAINER",
    "CREATE_CONTAINER", "REPLACE_CONTAINER", "DELETE_CONTAINER", "READ_DATABASE", "CREATE_DATABASE", "DELETE_DATABASE",
    "READ_ACCOUNT", "DELETE_PARTITION", "EXECUTE_PROCEDURE", "READ_RESOURCE", "CREATE_RESOURCE", "REPLACE_RESOURCE",
    "DELETE_RESOURCE", "READ_THROUGHPUT", "REPLACE_THROUGHPUT", "RAW"
};

/* Gives the field of a column, or takes it away; whose name is in what is refused. */
static const char *set_column(aiocosmos_request *request, int column, bool given)
{
    static const char *const keys[] = { "/mail", NULL };
    switch (column) {
    case 0: request->container = given ? "c" : NULL; return "container";
    case 1: request->id = given ? "i" : NULL; return "id";
    case 2: request->pk = aiocosmos_pk_s(given ? "a" : NULL); return "pk";
    case 3:
        request->body = aiocosmos_text(!given ? NULL
                                       : request->kind == AIOCOSMOS_PATCH_ITEM ? "[{\"op\":\"remove\",\"path\":\"/a\"}]"
                                       : request->kind <= AIOCOSMOS_DELETE_ITEM ? "{\"id\":\"i\"}"
                                       : request->kind == AIOCOSMOS_EXECUTE_PROCEDURE ? "[1]"
                                       : request->kind == AIOCOSMOS_REPLACE_CONTAINER
                                           ? "{\"partitionKey\":{\"paths\":[\"/pk\"]}}" : "{}");
        return "body";
    case 4: request->if_match = aiocosmos_text(given ? "\"e\"" : NULL); return "if_match";
    case 5: request->if_none_match = aiocosmos_text(given ? "\"e\"" : NULL); return "if_none_match";
    case 6: request->session_token = aiocosmos_text(given ? "0:-1#1" : NULL); return "session_token";
    case 7: request->if_not_exists = given; return "if_not_exists";
    case 8:
        request->indexing_policy = aiocosmos_text(given ? "{}" : NULL);
        request->default_ttl_s = given ? 5 : 0;
        return "";
    case 9:
        request->partition_key_paths[0] = given ? "/pk" : NULL;
        request->unique_keys = given ? keys : NULL;
        return "";
    case 10: request->throughput_ru = given ? 400 : 0; return "throughput_ru";
    case 11:
        request->feed = given ? AIOCOSMOS_FEED_USERS : AIOCOSMOS_FEED_ITEMS;
        request->user = given ? "u" : NULL;
        return "feed";
    case 12: request->until_replaced = given; return "until_replaced";
    default:
        request->raw_verb = given ? "POST" : NULL;
        request->raw_link = given ? "dbs/d/colls/c/docs" : NULL;
        return "raw_verb";
    }
}

static void check_kind(aioc_request_builder *builder, aiocosmos_kind kind, const char *letters)
{
    static const char columns[] = "cipbmnsxtkrfuw";
    aiocosmos_request request;
    aioc_request_spec spec;
    int i, last = (int)strlen(columns);
    memset(&request, 0, sizeof request);
    request.database = kind == AIOCOSMOS_READ_ACCOUNT || kind == AIOCOSMOS_RAW ? NULL : "d";
    request.kind = kind;
    for (i = 0; i < last; i++) if (strchr(letters, toupper(columns[i]))) set_column(&request, i, true);
    if (aioc_request_build(builder, &request, &spec) != 0)
        CHECK_STR(builder->refusal, kind_names[kind]);
    for (i = 0; i < last; i++) {
        bool required = strchr(letters, toupper(columns[i])) != NULL, belongs = required || strchr(letters, columns[i]);
        const char *name = set_column(&request, i, !required);
        int refused = aioc_request_build(builder, &request, &spec);
        if ((refused != 0) != (required || !belongs) ||
            (refused && strncmp(builder->refusal, name, strlen(name)) != 0))
            test_fail(__FILE__, __LINE__, "%s, %c: %d: %s", kind_names[kind], columns[i], refused, builder->refusal);
        set_column(&request, i, required);
    }
}

/* "READ_ITEM CIPns" and so on, several in a line of the comment. */
TEST(the_table_says_what_a_kind_takes)
{
    FILE *file = fopen("aiocosmos.h", "r");
    char line[256], name[32], letters[32];
    aioc_request_builder *builder = open_builder();
    int kind, kinds = 0;
    CHECK(file != NULL);
    while (file && fgets(line, sizeof line, file)) {
        const char *at = line + 7;
        int len;
        if (strncmp(line, " *     ", 7) != 0) continue;
        for (; sscanf(at, "%31[A-Z_] %31[A-Za-z]%n", name, letters, &len) == 2; at += len, at += strspn(at, " ")) {
            for (kind = AIOCOSMOS_RAW; kind > 0 && strcmp(kind_names[kind], name) != 0; kind--) continue;
            if (kind == 0) break;
            check_kind(builder, (aiocosmos_kind)kind, letters);
            kinds++;
        }
    }
    if (file) fclose(file);
    close_builder(builder);
    CHECK_INT(kinds, AIOCOSMOS_RAW);
}

/*--- What is refused -------------------------------------------------------------*/

static aiocosmos_request with_body(aiocosmos_kind kind, const char *body)
{
    aiocosmos_request request = item_request(kind);
    request.body.ptr = body;
    request.body.len = strlen(body);
    return request;
}

TEST(bad_requests_are_refused_with_what_and_where)
{
    aioc_request_builder *builder = open_builder();
    aiocosmos_request request = {0};
    refused(builder, &request, "kind: required");
    request = item_request(AIOCOSMOS_READ_ITEM);
    request.container = NULL;
    refused(builder, &request, "container:");
    request = item_request(AIOCOSMOS_READ_ITEM);
    request.id = "a/b";
    refused(builder, &request, "id: '/' at byte 1");
    request = item_request(AIOCOSMOS_READ_ITEM);
    request.id = "";
    refused(builder, &request, "id: empty");
    request = item_request(AIOCOSMOS_READ_ITEM);
    memset(&request.pk, 0, sizeof request.pk);
    refused(builder, &request, "pk: required");
    request.pk = aiocosmos_pk1(aiocosmos_i(INT64_C(9007199254740993)));
    refused(builder, &request, "pk:");
    request.pk = aiocosmos_pk1(aiocosmos_sn("\xff", 1));
    refused(builder, &request, "pk:");
    request = item_request(AIOCOSMOS_READ_ITEM);
    request.body.ptr = "{}";
    request.body.len = 2;
    refused(builder, &request, "body:");
    request = item_request(AIOCOSMOS_READ_ITEM);
    request.if_match = aiocosmos_text("\"e\"");
    refused(builder, &request, "if_match:");
    request = item_request(AIOCOSMOS_REPLACE_ITEM);
    request.if_match = aiocosmos_text("unquoted");
    refused(builder, &request, "if_match:");
    request.if_match = aiocosmos_text("\"a\r\nx: y\"");
    refused(builder, &request, "if_match:");
    request = item_request(AIOCOSMOS_READ_ITEM);
    request.session_token = aiocosmos_text("0:nonsense");
    refused(builder, &request, "session_token:");
    request.session_token.len = 0;
    request.token = "";
    refused(builder, &request, "token: empty");
    request.token = "type=resource&ver=1&sig=a\r\nx: y";
    refused(builder, &request, "token: ");
    close_builder(builder);
}

TEST(links_do_not_depend_on_the_one_before)
{
    static const char *const names[] = { "c", "cc", "d", "c/docs/x", "c/docs", "", "docs" };
    aioc_request_builder *builder = open_builder();
    size_t i, k;
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        for (k = 0; k < 2; k++) {
            aiocosmos_request request = item_request(AIOCOSMOS_READ_ITEM);
            aioc_request_spec spec;
            char link[64];
            CHECK_INT(aioc_request_build(builder, &request, &spec), 0);
            CHECK_TEXT(spec.link.ptr, spec.link.len, "dbs/db/colls/c/docs/x");
            *(k ? &request.container : &request.database) = names[i];
            if (!*names[i] || strchr(names[i], '/')) {
                refused(builder, &request, k ? "container: " : "database: ");
                continue;
            }
            snprintf(link, sizeof link, "dbs/%s/colls/%s/docs/x", k ? "db" : names[i], k ? names[i] : "c");
            CHECK_INT(aioc_request_build(builder, &request, &spec), 0);
            CHECK_TEXT(spec.link.ptr, spec.link.len, link);
        }
    }
    close_builder(builder);
}

TEST(no_memory_for_a_container_is_not_taken_for_a_wrong_path)
{
    static const char *const unique[] = { "/mail", "/guild,/rank", NULL };
    aiocosmos_request request = {0};
    aioc_request_spec spec;
    int status = AIOCOSMOS_E_NOMEM;
    unsigned blocks;
    request.kind = AIOCOSMOS_CREATE_CONTAINER;
    request.container = "c";
    request.partition_key_paths[0] = "/pk";
    request.unique_keys = unique;
    for (blocks = 0; status != 0 && blocks < 100; blocks++) {
        aioc_request_builder *builder = open_builder();
        heap_fail(&heap, blocks + 1, ULONG_MAX);
        status = aioc_request_build(builder, &request, &spec);
        heap_recover(&heap);
        if (status != 0) CHECK_INT(status, AIOCOSMOS_E_NOMEM);
        if (status != 0) CHECK_STR(builder->refusal, "out of memory");
        close_builder(builder);
    }
    CHECK(blocks > 3 && status == 0);
}

TEST(bad_documents_are_refused_with_what_and_where)
{
    aioc_request_builder *builder = open_builder();
    aiocosmos_request request = with_body(AIOCOSMOS_CREATE_ITEM, "");
    refused(builder, &request, "body: empty: did the JSON writer");
    request.body.ptr = NULL;
    refused(builder, &request, "body: required");
    request = with_body(AIOCOSMOS_CREATE_ITEM, "{\"id\":\"x\",}");
    refused(builder, &request, "at byte 10");
    request = with_body(AIOCOSMOS_CREATE_ITEM, "[1]");
    refused(builder, &request, "body: required: the item, a JSON object");
    request = with_body(AIOCOSMOS_CREATE_ITEM, "{}");
    refused(builder, &request, "\"id\" is required");
    request = with_body(AIOCOSMOS_UPSERT_ITEM, "{\"id\":7}");
    refused(builder, &request, "\"id\" is required");
    request = with_body(AIOCOSMOS_CREATE_ITEM, "{\"id\":\"a#b\"}");
    refused(builder, &request, "'#' at byte 1");
    request = with_body(AIOCOSMOS_CREATE_ITEM, "{\"id\":\"ab\\u0000c\"}");
    refused(builder, &request, "control character 0 at byte 2");
    request = with_body(AIOCOSMOS_PATCH_ITEM, "{\"op\":\"set\"}");
    refused(builder, &request, "body: required: an array of operations");
    request = with_body(AIOCOSMOS_PATCH_ITEM, "[");
    refused(builder, &request, "at byte 1");
    close_builder(builder);
}

TEST(bad_headers_are_refused)
{
    static const char *const none[] = { "no colon", NULL }, *const ours[] = { "Authorization: x", NULL };
    static const char *const split[] = { "x-a: b\r\nx-c: d", NULL }, *const empty[] = { ": b", NULL };
    static const char *const agent[] = { "user-agent: x", NULL };
    static const char *const prefer[] = { "Prefer: return=representation", NULL };
    const char *const *const all[] = { none, ours, split, empty, agent, prefer };
    aioc_request_builder *builder = open_builder();
    aiocosmos_request request = item_request(AIOCOSMOS_READ_ITEM);
    size_t i;
    for (i = 0; i < sizeof all / sizeof *all; i++) {
        request.headers = all[i];
        refused(builder, &request, "headers:");
    }
    close_builder(builder);
}

TEST(bad_containers_are_refused)
{
    aioc_request_builder *builder = open_builder();
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_CREATE_CONTAINER;
    request.container = "c";
    refused(builder, &request, "partition_key_paths: required");
    request.partition_key_paths[0] = "no slash";
    refused(builder, &request, "partition_key_paths:");
    request.partition_key_paths[0] = "/a";
    request.partition_key_paths[2] = "/c";
    refused(builder, &request, "partition_key_paths: a gap");
    request.partition_key_paths[2] = NULL;
    request.default_ttl_s = -2;
    refused(builder, &request, "default_ttl_s:");
    request.default_ttl_s = 0;
    request.throughput_ru = request.autoscale_max_ru = 400;
    refused(builder, &request, "autoscale_max_ru:");
    request.throughput_ru = request.autoscale_max_ru = 0;
    request.indexing_policy.ptr = "{\"indexingMode\":}";
    request.indexing_policy.len = strlen(request.indexing_policy.ptr);
    refused(builder, &request, "indexing_policy:");
    request.indexing_policy.ptr = NULL;
    request.body.ptr = "{\"partitionKey\":{\"paths\":[\"/b\"]}}";
    request.body.len = strlen(request.body.ptr);
    refused(builder, &request, "body: \"partitionKey\"");
    request.container = "c?";
    refused(builder, &request, "container: '?'");
    request.kind = AIOCOSMOS_REPLACE_CONTAINER;
    request.container = "c";
    request.partition_key_paths[0] = NULL;
    request.body.ptr = "{\"id\":\"other\"}";
    request.body.len = strlen(request.body.ptr);
    refused(builder, &request, "body: \"id\"");
    close_builder(builder);
}

static void expect_body(aioc_request_builder *builder, const aiocosmos_request *request, const char *want)
{
    aioc_request_spec spec;
    int status = aioc_request_build(builder, request, &spec);
    if (status) printf("  %s\n", builder->refusal);
    CHECK_INT(status, 0);
    CHECK_INT(spec.body.len, strlen(want));
    CHECK_MEM(spec.body.ptr, want, strlen(want));
}

TEST(bodies_that_the_library_writes)
{
    aioc_request_builder *builder = open_builder();
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_CREATE_DATABASE;
    request.database = "a \"b\"";
    expect_body(builder, &request, "{\"id\":\"a \\\"b\\\"\"}");
    request.kind = AIOCOSMOS_CREATE_CONTAINER;
    request.database = NULL;
    request.container = "c";
    request.partition_key_paths[0] = "/tenant";
    request.default_ttl_s = -1;
    request.indexing_policy.ptr = "{\"automatic\":true}";
    request.indexing_policy.len = strlen(request.indexing_policy.ptr);
    expect_body(builder, &request,
                "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/tenant\"],\"kind\":\"Hash\",\"version\":2},"
                                  "\"defaultTtl\":-1,\"indexingPolicy\":{\"automatic\":true}}");
    request.partition_key_paths[1] = "/user";
    request.default_ttl_s = 0;
    request.indexing_policy.ptr = NULL;
    request.body.ptr = " { \"id\" : \"c\", \"uniqueKeyPolicy\" : {\"uniqueKeys\":[]} } ";
    request.body.len = strlen(request.body.ptr);
    expect_body(builder, &request,
                "{\"id\":\"c\",\"uniqueKeyPolicy\":{\"uniqueKeys\":[]},\"partitionKey\":{\"paths\":[\"/tenant\","
                "\"/user\"],\"kind\":\"MultiHash\",\"version\":2}}");
    request = with_body(AIOCOSMOS_PATCH_ITEM, "[{\"op\":\"incr\",\"path\":\"/n\",\"value\":1}]");
    expect_body(builder, &request, "{\"operations\":[{\"op\":\"incr\",\"path\":\"/n\",\"value\":1}]}");
    close_builder(builder);
}

/*--- Raw requests ----------------------------------------------------------------*/

TEST(raw_requests_that_cannot_be_are_refused_by_name)
{
    static const char *const framing[] = { "Transfer-Encoding: chunked", NULL };
    static const char *const date[] = { "x-ms-date: x", NULL };
    static const char *const key[] = { "x-ms-documentdb-partitionkey: [1]", NULL };
    static const char *const verbs[] = { "", "get", "GE T", "G\r\n", "ABCDEFGHIJKLMNOPQ", "BREW", "OPTIONS", "CONNECT",
                                         "TRACE" };
    static const struct { const char *link, *part; } links[] = { { "/dbs", "raw_link, segment 1: empty" },
        { "dbs/", "raw_link, segment 2: empty" }, { "dbs//colls", "raw_link, segment 2: empty" },
        { "dbs/a/..", "raw_link, segment 3: '..' is a step in a path" },
        { "dbs/a?b", "raw_link, segment 2: '?' at byte 1" }, { "dbs/\xff", "raw_link, segment 2: not UTF-8" },
        { "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q", "raw_link: too many" } };
    aioc_request_builder *builder = open_builder();
    aiocosmos_request request = raw_request("GET", "dbs/D");
    char text[1500];
    size_t i;
    for (i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        request.raw_verb = verbs[i];
        refused(builder, &request, "raw_verb:");
    }
    request.raw_verb = NULL;
    refused(builder, &request, "raw_verb:");
    for (i = 0; i < sizeof links / sizeof *links; i++) {
        request = raw_request("GET", links[i].link);
        refused(builder, &request, links[i].part);
    }
    memset(text, 'x', sizeof text);
    memcpy(text, "dbs/", 4);
    text[1028] = 0;
    request = raw_request("GET", text);
    refused(builder, &request, "raw_link, segment 2: 1024 bytes");
    request = raw_request("GET", NULL);
    refused(builder, &request, "raw_link: required");
    request = raw_request("HEAD", "dbs/D");
    request.body = aiocosmos_text("{}");
    refused(builder, &request, "body:");
    request = raw_request("POST", "dbs/D/colls/C/sprocs");
    request.session_token = aiocosmos_text("0:1#2");
    refused(builder, &request, "session_token:");
    request = raw_request("POST", "dbs/D/colls/C/docs");
    request.headers = framing;
    refused(builder, &request, "headers: Transfer-Encoding");
    request.headers = date;
    refused(builder, &request, "headers: x-ms-date");
    request.headers = key;
    refused(builder, &request, "headers: x-ms-documentdb-partitionkey: use pk");
    request = raw_request("POST", "dbs/D/colls/C/docs");
    request.database = "D";
    refused(builder, &request, "database:");
    request.database = NULL;
    request.container = "C";
    refused(builder, &request, "container:");
    request.container = NULL;
    request.id = "I";
    refused(builder, &request, "id:");
    request.id = NULL;
    request.want_body = true;
    refused(builder, &request, "want_body:");
    request.want_body = false;
    request.if_not_exists = true;
    refused(builder, &request, "if_not_exists:");
    request = item_request(AIOCOSMOS_READ_ITEM);
    request.raw_verb = "GET";
    refused(builder, &request, "raw_verb:");
    request.raw_verb = NULL;
    request.raw_link = "dbs";
    refused(builder, &request, "raw_link:");
    close_builder(builder);
}

TEST(procedures_and_partitions)
{
    static const char *const bodies[] = { "{}", "1", "[1", "[]x" };
    aioc_request_builder *builder = open_builder();
    aiocosmos_request request;
    aioc_request_spec spec;
    size_t i;
    memset(&request, 0, sizeof request);
    request.kind = AIOCOSMOS_EXECUTE_PROCEDURE;
    request.database = "D";
    request.container = "C";
    request.id = "a b";
    request.pk = aiocosmos_pk_s("eu");
    CHECK_INT(aioc_request_build(builder, &request, &spec), 0);
    CHECK_MEM(spec.link.ptr, "dbs/D/colls/C/sprocs/a b", spec.link.len);
    CHECK_MEM(spec.container_link.ptr, "dbs/D/colls/C", spec.container_link.len);
    CHECK_MEM(spec.lines.ptr, "Content-Type: application/json\r\n", spec.lines.len);
    CHECK_MEM(spec.body.ptr, "[]", spec.body.len);
    CHECK_STR(spec.type, "sprocs");
    CHECK(spec.is.write && spec.is.item_data && !spec.is.repeatable && !spec.tail);
    for (i = 0; i < COUNT(bodies); i++) {
        request.body = aiocosmos_text(bodies[i]);
        refused(builder, &request, "body: ");
    }
    request.kind = AIOCOSMOS_DELETE_PARTITION;
    request.id = NULL;
    request.body.len = 0;
    CHECK_INT(aioc_request_build(builder, &request, &spec), 0);
    CHECK_MEM(spec.link.ptr, "dbs/D/colls/C", spec.link.len);
    CHECK_STR(spec.tail, "operations/partitionkeydelete");
    CHECK_STR(spec.type, "colls");
    CHECK_INT(spec.body.len, 0);
    CHECK(spec.is.write && !spec.is.repeatable);
    close_builder(builder);
}

/* One that can be written, or at least read. */
static aiocosmos_request resource_request(aiocosmos_kind kind, aiocosmos_feed feed)
{
    bool writes = kind == AIOCOSMOS_CREATE_RESOURCE || kind == AIOCOSMOS_REPLACE_RESOURCE;
    aiocosmos_request request;
    memset(&request, 0, sizeof request);
    request.kind = kind;
    request.database = "D";
    request.feed = feed;
    if (feed < AIOCOSMOS_FEED_USERS) request.container = "C";
    else request.user = "u v";
    if (feed != AIOCOSMOS_FEED_USERS) request.id = "a b";
    if (feed == AIOCOSMOS_FEED_CONFLICTS) request.pk = aiocosmos_pk_s("eu");
    if (writes && feed <= AIOCOSMOS_FEED_FUNCTIONS) request.script = "function () { return \"x\"; }";
    if (writes && feed == AIOCOSMOS_FEED_TRIGGERS) {
        request.trigger_type = "Pre";
        request.trigger_operation = "Replace";
    }
    if (writes && feed == AIOCOSMOS_FEED_PERMISSIONS) {
        request.permission_mode = "Read";
        request.resource = "dbs/D/colls/C";
        request.pk = aiocosmos_pk_s("eu");
        request.expiry_s = 600;
    }
    return request;
}

TEST(scripts_users_permissions_and_conflicts)
{
    static const struct { const char *link, *owner, *type, *lines, *body; } wanted[] = {
        { "dbs/D/colls/C/sprocs/a b", "dbs/D/colls/C", "sprocs", "",
          "{\"id\":\"a b\",\"body\":\"function () { return \\\"x\\\"; }\"}" },
        { "dbs/D/colls/C/triggers/a b", "dbs/D/colls/C", "triggers", "",
          "{\"id\":\"a b\",\"body\":\"function () { return \\\"x\\\"; }\",\"triggerType\":\"Pre\","
          "\"triggerOperation\":\"Replace\"}" },
        { "dbs/D/colls/C/udfs/a b", "dbs/D/colls/C", "udfs", "",
          "{\"id\":\"a b\",\"body\":\"function () { return \\\"x\\\"; }\"}" },
        { "dbs/D/colls/C/conflicts/a b", NULL, "conflicts", "", "" },
        { "dbs/D/users/u v", "dbs/D", "users", "", "{\"id\":\"u v\"}" },
        { "dbs/D/users/u v/permissions/a b", "dbs/D/users/u v", "permissions",
          "x-ms-documentdb-expiry-seconds: 600\r\n",
          "{\"id\":\"a b\",\"resourcePartitionKey\":[\"eu\"],\"permissionMode\":\"Read\","
          "\"resource\":\"dbs/D/colls/C\"}" }
    };
    static const char *const verbs[] = { "GET", "POST", "PUT", "DELETE" };
    aioc_request_builder *builder = open_builder();
    aiocosmos_request request;
    aioc_request_spec spec;
    int feed, verb;
    for (feed = AIOCOSMOS_FEED_PROCEDURES; feed <= AIOCOSMOS_FEED_PERMISSIONS; feed++) {
        for (verb = 0; verb < 4; verb++) {
            int at = feed - AIOCOSMOS_FEED_PROCEDURES;
            bool creates = verb == 1, writes = creates || verb == 2;
            request = resource_request((aiocosmos_kind)(AIOCOSMOS_READ_RESOURCE + verb), (aiocosmos_feed)feed);
            if (writes && !wanted[at].owner) {
                refused(builder, &request, "feed: ");
                continue;
            }
            CHECK_INT(aioc_request_build(builder, &request, &spec), 0);
            CHECK_STR(spec.verb, verbs[verb]);
            CHECK_STR(spec.type, wanted[at].type);
            CHECK(aioc_mem_same(spec.link, str(creates ? wanted[at].owner : wanted[at].link)));
            CHECK_STR(spec.tail ? spec.tail : "", creates ? wanted[at].type : "");
            CHECK(aioc_mem_same(spec.body, str(writes ? wanted[at].body : "")));
            if (writes) CHECK(strstr(builder->lines.data, wanted[at].lines) != NULL);
            CHECK(aioc_mem_same(spec.pk_text, str(feed == AIOCOSMOS_FEED_CONFLICTS ? "[\"eu\"]" : "")));
            CHECK(!spec.is.item_data && !spec.container_link.len && spec.is.write == (verb > 0));
        }
    }
    close_builder(builder);
}

TEST(bad_resources_are_refused_by_name)
{
    static const struct { const char *body, *why; } bodies[] = {
        { "{\"Body\":\"x\"}", "body: \"Body\": did you mean \"body\"?" },
        { "{\"body\":\"x\"}", "body: \"body\" and script are both given" },
        { "{\"trigger_type\":\"Pre\"}", "body: \"trigger_type\": did you mean \"triggerType\"?" },
        { "{\"id\":\"b\"}", "body: \"id\" is another name" }, { "[]", "body: properties are a JSON object" }
    };
    aioc_request_builder *builder = open_builder();
    aiocosmos_request request = resource_request(AIOCOSMOS_CREATE_RESOURCE, AIOCOSMOS_FEED_TRIGGERS);
    aioc_request_spec spec;
    size_t i;
    for (i = 0; i < COUNT(bodies); i++) {
        request.body = aiocosmos_text(bodies[i].body);
        refused(builder, &request, bodies[i].why);
    }
    request.body = aiocosmos_text("{\"note\":1,\"indexingPolicies\":{}}");
    CHECK_INT(aioc_request_build(builder, &request, &spec), 0);
    request.trigger_type = NULL;
    refused(builder, &request, "trigger_type: required");
    request.body = aiocosmos_text("{\"triggerType\":\"Post\"}");
    CHECK_INT(aioc_request_build(builder, &request, &spec), 0);
    request.body.ptr = NULL;
    request.body.len = 0;
    request.trigger_type = "Prefix";
    refused(builder, &request, "trigger_type: one of: Pre Post");
    request.trigger_type = "";
    refused(builder, &request, "trigger_type: one of: Pre Post");
    request.trigger_type = "Post";
    request.script = "\xff";
    refused(builder, &request, "script: not UTF-8");
    request = resource_request(AIOCOSMOS_REPLACE_RESOURCE, AIOCOSMOS_FEED_USERS);
    request.user = NULL;
    refused(builder, &request, "user: required");
    request.user = "u";
    request.container = "C";
    refused(builder, &request, "container: does not belong");
    request.container = NULL;
    request.id = "u";
    refused(builder, &request, "id: not of a user, whose name goes into user");
    request = resource_request(AIOCOSMOS_CREATE_RESOURCE, AIOCOSMOS_FEED_PERMISSIONS);
    request.pk = aiocosmos_pk1(aiocosmos_f(HUGE_VAL));
    refused(builder, &request, "pk: ");
    request.pk = aiocosmos_pk_s(NULL);
    request.permission_mode = "write";
    refused(builder, &request, "permission_mode: one of: Read All");
    request = resource_request(AIOCOSMOS_READ_RESOURCE, AIOCOSMOS_FEED_PERMISSIONS);
    request.resource = "dbs/D";
    refused(builder, &request, "resource: does not belong");
    request = resource_request(AIOCOSMOS_READ_RESOURCE, AIOCOSMOS_FEED_CONFLICTS);
    memset(&request.pk, 0, sizeof request.pk);
    refused(builder, &request, "pk: required");
    request = resource_request(AIOCOSMOS_READ_RESOURCE, AIOCOSMOS_FEED_CONTAINERS);
    refused(builder, &request, "feed: ");
    request.feed = (aiocosmos_feed)99;
    refused(builder, &request, "feed: ");
    close_builder(builder);
}

TEST(a_token_is_the_first_line)
{
    static const char *const extra[] = { "x-ms-cosmos-priority-level: Low", NULL };
    aioc_request_builder *builder = open_builder();
    aiocosmos_request request = item_request(AIOCOSMOS_READ_ITEM);
    aioc_request_spec spec;
    request.token = "type=resource&ver=1&sig=ab/c=";
    request.headers = extra;
    CHECK_INT(aioc_request_build(builder, &request, &spec), 0);
    CHECK(aioc_mem_same(spec.lines, str("authorization: type%3Dresource%26ver%3D1%26sig%3Dab%2Fc%3D\r\n"
                                        "x-ms-cosmos-priority-level: Low\r\n")));
    request.token = " aa.bb.cc\n";
    CHECK_INT(aioc_request_build(builder, &request, &spec), 0);
    CHECK(aioc_mem_same(spec.lines, str("authorization: type%3Daad%26ver%3D1.0%26sig%3Daa.bb.cc\r\n"
                                        "x-ms-cosmos-priority-level: Low\r\n")));
    close_builder(builder);
}

TEST(raw_requests_may_say_what_they_mean)
{
    static const char *const lines[] = { "x-ms-documentdb-isquery: True", "content-type: application/query+json",
        "x-ms-documentdb-partitionkeyrangeid: 0", "Prefer: return=minimal", "x-ms-cosmos-is-batch-request: True",
        NULL };
    static const struct { const char *verb, *etag; bool write, repeatable; } cases[] = {
        { "GET", "\"e\"", false, true }, { "HEAD", NULL, false, false }, { "PUT", NULL, true, false },
        { "PUT", "\"e\"", true, true }, { "PUT", "*", true, false }, { "POST", "\"e\"", true, false },
        { "DELETE", "\"e\"", true, true } };
    aioc_request_builder *builder = open_builder();
    aiocosmos_request request = raw_request("POST", "dbs/D/colls/C/docs");
    aioc_request_spec spec;
    char text[1024];
    size_t i;
    request.headers = lines;
    request.body = aiocosmos_text("not JSON");
    request.pk = aiocosmos_pk1(aiocosmos_s("p"));
    CHECK_INT(aioc_request_build(builder, &request, &spec), 0);
    CHECK_MEM(spec.lines.ptr, "x-ms-documentdb-isquery: True\r\ncontent-type: application/query+json\r\n", 69);
    snprintf(text, sizeof text, "%.*s", (int)spec.lines.len, spec.lines.ptr);
    CHECK(!strstr(text, "Content-Type"));
    CHECK_MEM(spec.body.ptr, "not JSON", 8);
    CHECK_MEM(spec.pk_text.ptr, "[\"p\"]", 5);
    request.headers = NULL;
    CHECK_INT(aioc_request_build(builder, &request, &spec), 0);
    CHECK_INT(spec.lines.len, 32);
    CHECK_MEM(spec.lines.ptr, "Content-Type: application/json\r\n", 32);
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        request = raw_request(cases[i].verb, "dbs/D/colls/C/docs/I");
        request.if_match = aiocosmos_text(cases[i].etag);
        if (!cases[i].etag) request.if_match.ptr = NULL;
        CHECK_INT(aioc_request_build(builder, &request, &spec), 0);
        CHECK_INT(spec.is.write, cases[i].write);
        CHECK_INT(spec.is.repeatable, cases[i].repeatable);
    }
    close_builder(builder);
}


/*--- Whatever a host may give ------------------------------------------------------*/

static char long_id[1030];                   /* more than an item's id may have */

static const char *any_text(void)
{
    static const char *const texts[] = { NULL, "", "c", "db", "a b", "caf\xC3\xA9", "50%", "a/b", "a\\b", "a?", "#",
        ".", "..", "x ", " x", "\xff", "\xC3", "a\r\nX: y", "\t", "\x7f", "docs", "dbs", "operations", long_id,
        "\"", "{}" };
    return texts[random_below(COUNT(texts))];
}

static aiocosmos_str any_json(void)
{
    static const char *const texts[] = { NULL, "", "{}", "[]", "null", "{\"id\":\"a\"}", "{\"id\":\"a/b\"}",
        "{\"id\":7}", "{\"id\":\"\\u0000\"}", "{\"id\":\"a\",", " {\"id\":\"a\",\"n\":[1,{}]}\n", "[{\"op\":\"add\"}]",
        "{\"operations\":[]}", "{\"operations\":1}", "{\"partitionKey\":{\"paths\":[\"/pk\"]}}", "{\"uniqueKeys\":1}",
        "{\"id\":\"c\",\"partitionKey\":{}}", "{\"id\":\"\xff\"}", "{\"a\":1}}", "\xEF\xBB\xBF{}", "[[[[[[[[[[[[[[[[" };
    return str(texts[random_below(COUNT(texts))]);
}

static aiocosmos_str any_tag(void)
{
    static const char *const texts[] = {
        NULL, "", "*", "\"e\"", "W/\"e\"", "e", "\"", "\"a\r\nx: y\"", "\"\xC3\xA9\""
    };
    return str(texts[random_below(COUNT(texts))]);
}

static const char *const *any_headers(void)
{
    static const char *const lines[][3] = {
        { NULL, NULL, NULL }, { "x-a: b", "X-Other:\tc", NULL }, { "x-a", NULL, NULL },
        { ": b", NULL, NULL }, { "x-a: b\r\nHost: c", NULL, NULL }, { "x-a:b", "Content-Length: 3", NULL },
        { "transfer-ENCODING: chunked", NULL, NULL }, { "x-a: \xff", NULL, NULL }, { "a b: c", NULL, NULL },
        { "x-ms-activity-id: 7", NULL, NULL }, { "Prefer: x", NULL, NULL }, { "", NULL, NULL },
        { "proxy-x: y", NULL, NULL }, { "x-ms-date: z", "x-a: b", NULL } };
    return lines[random_below(COUNT(lines))];
}

static aiocosmos_value any_value(void)
{
    switch (random_below(9)) {
    case 0: return aiocosmos_s(any_text());
    case 1: return aiocosmos_i((int64_t)random_number());
    case 2: return aiocosmos_f((double)random_below(7) / (double)random_below(3));   /* infinite, not a number */
    case 3: return aiocosmos_null();
    case 4: return aiocosmos_none();
    case 5: return aiocosmos_json_text("[1]", random_below(4));
    case 6: return aiocosmos_sn("a\0\r\n\xE2\x82", random_below(7));
    default: return aiocosmos_s(random_below(2) ? "p" : NULL);
    }
}

/* Of each field, most often what its kind may well have, else nothing, else anything. */
static aiocosmos_request any_request(void)
{
    static const char *const keys[][3] = { { "/mail", NULL, NULL }, { "/a,/b", "/c", NULL }, { "", NULL, NULL },
        { "/a,,", NULL, NULL }, { "/\xff", NULL, NULL } };
    static const char *const links[] = {
        NULL, "", "dbs", "dbs/d/colls/c/docs", "dbs/d/colls/c/docs/i", "offers/AbC", "/",
        "dbs//x", "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r", "dbs/a\r\nb", "dbs/../x", "dbs/d/colls/c/sprocs/s" };
    static const char *const verbs[] = { NULL, "", "GET", "POST", "PATCH", "get", "TRACE", "CONNECT", "A\r\nB" };
    aiocosmos_request request;
    memset(&request, 0, sizeof request);
    request.kind = (aiocosmos_kind)((int)random_below(AIOCOSMOS_RAW + 4) - 1);
    request.container = "c";
    request.id = "i";
    request.pk = aiocosmos_pk_s("p");
    if (request.kind > AIOCOSMOS_DELETE_CONTAINER) request.container = NULL;
    if (request.kind > AIOCOSMOS_DELETE_ITEM || request.kind == AIOCOSMOS_CREATE_ITEM ||
        request.kind == AIOCOSMOS_UPSERT_ITEM) request.id = NULL;
    if (request.kind > AIOCOSMOS_DELETE_ITEM) request.pk = aiocosmos_pk_s(NULL);
    if (request.kind == AIOCOSMOS_DELETE_PARTITION || request.kind == AIOCOSMOS_EXECUTE_PROCEDURE) {
        request.container = "c";
        request.pk = aiocosmos_pk_s("p");
        if (request.kind == AIOCOSMOS_EXECUTE_PROCEDURE) request.id = "i";
    }
    if (request.kind >= AIOCOSMOS_READ_RESOURCE && request.kind <= AIOCOSMOS_DELETE_RESOURCE)
        request = resource_request(request.kind, (aiocosmos_feed)random_below(AIOCOSMOS_FEED_PERMISSIONS + 2));
    if (request.kind == AIOCOSMOS_REPLACE_THROUGHPUT) request.throughput_ru = 400;
    if (request.kind == AIOCOSMOS_READ_THROUGHPUT) request.container = random_below(2) ? "c" : NULL;
    if (request.kind == AIOCOSMOS_RAW) request.raw_verb = "POST", request.raw_link = "dbs/d/colls/c/docs";
    if (request.kind == AIOCOSMOS_CREATE_CONTAINER) request.partition_key_paths[0] = "/pk";
    if (request.kind >= AIOCOSMOS_CREATE_ITEM && request.kind <= AIOCOSMOS_REPLACE_ITEM)
        request.body = str("{\"id\":\"a\"}");
    if (request.kind == AIOCOSMOS_PATCH_ITEM) request.body = str("[{\"op\":\"remove\",\"path\":\"/a\"}]");
    if (request.kind == AIOCOSMOS_REPLACE_CONTAINER) request.body = str("{\"partitionKey\":{\"paths\":[\"/pk\"]}}");
    if (random_below(4) == 0) request.body = any_json();
    if (random_below(16) == 0) request.body.len = request.body.ptr ? random_below(request.body.len + 1) : 0;
    if (random_below(16) == 0) request.database = any_text();
    if (random_below(16) == 0) request.container = any_text();
    if (random_below(16) == 0) request.id = any_text();
    if (random_below(4) == 0) request.pk = aiocosmos_pk3(any_value(), any_value(), any_value());
    if (random_below(16) == 0) request.if_match = any_tag();
    if (random_below(16) == 0) request.if_none_match = any_tag();
    if (random_below(16) == 0) request.session_token = str(random_below(2) ? "0:-1#5,1:2#3" : any_text());
    if (random_below(6) == 0) request.headers = any_headers();
    if (random_below(16) == 0) request.raw_verb = verbs[random_below(COUNT(verbs))];
    if (random_below(16) == 0) request.raw_link = links[random_below(COUNT(links))];
    if (request.kind == AIOCOSMOS_RAW && random_below(2)) request.raw_verb = verbs[random_below(COUNT(verbs))];
    if (request.kind == AIOCOSMOS_RAW && random_below(2)) request.raw_link = links[random_below(COUNT(links))];
    if (random_below(16) == 0) request.want_body = true;
    if (random_below(16) == 0) request.if_not_exists = true;
    if (random_below(16) == 0) request.throughput_ru = (uint32_t)random_number();
    if (random_below(16) == 0) request.until_replaced = true;
    if (random_below(16) == 0) request.autoscale_max_ru = 4000;
    if (random_below(16) == 0) request.partition_key_paths[random_below(3)] = random_below(2) ? "/b" : any_text();
    if (random_below(16) == 0) request.unique_keys = keys[random_below(COUNT(keys))];
    if (random_below(16) == 0) request.default_ttl_s = (int32_t)random_number();
    if (random_below(16) == 0) request.indexing_policy = any_json();
    if (random_below(16) == 0) request.feed = (aiocosmos_feed)random_below(12);
    if (random_below(16) == 0) request.user = any_text();
    if (random_below(16) == 0) request.script = any_text();
    if (random_below(16) == 0) request.trigger_operation = random_below(2) ? "All" : any_text();
    if (random_below(16) == 0) request.resource = any_text();
    if (random_below(16) == 0) request.token = random_below(2) ? "type=resource&sig=a" : any_text();
    if (random_below(16) == 0) request.expiry_s = (uint32_t)random_number();
    if (random_below(16) == 0) request.computed_properties = any_json();
    return request;
}

/* Each line of what stands in a head is one, and has a name; nothing in it breaks it. */
static bool are_lines(aiocosmos_str lines)
{
    aiocosmos_str line;
    while (aioc_text_split(&lines, '\n', &line)) {
        size_t i, colon = 0;
        if (line.len < 3 || line.ptr[line.len - 1] != '\r') return false;
        for (i = 0; i + 1 < line.len; i++) {
            unsigned char c = (unsigned char)line.ptr[i];
            if ((c < ' ' && c != '\t') || c > '~') return false;
            if (c == ':' && !colon) colon = i;
        }
        if (colon == 0) return false;
    }
    return true;
}

static bool is_one_line(aiocosmos_str text)
{
    size_t i;
    for (i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] < ' ' || text.ptr[i] == 127) return false;
    return true;
}

static void check_spec(const aiocosmos_request *request, const aioc_request_spec *spec)
{
    static const char *const connections[] = {
        "host", "content-length", "transfer-encoding", "x-ms-date"
    };
    bool raw = request->kind == AIOCOSMOS_RAW;
    const char *error;
    size_t i, error_at;
    CHECK(are_lines(spec->lines));
    CHECK_INT(aioc_http_header(spec->lines, "authorization").ptr != NULL, request->token != NULL);
    for (i = 0; i < COUNT(connections); i++) CHECK(!aioc_http_header(spec->lines, connections[i]).ptr);
    CHECK(is_one_line(spec->link) && is_one_line(spec->pk_text) && is_one_line(spec->container_link));
    CHECK(spec->link.len == 0 || (spec->link.ptr[0] != '/' && spec->link.ptr[spec->link.len - 1] != '/'));
    CHECK(spec->pk_text.len == 0 || (spec->pk_text.ptr[0] == '[' && spec->pk_text.ptr[spec->pk_text.len - 1] == ']'));
    CHECK(spec->container_link.len <= spec->link.len &&
          memcmp(spec->container_link.ptr ? spec->container_link.ptr : "", spec->link.ptr ? spec->link.ptr : "",
                 spec->container_link.len) == 0);
    CHECK(*spec->verb && strspn(spec->verb, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == strlen(spec->verb));
    CHECK(!strchr(spec->type, '/') && (!spec->tail || is_one_line(str(spec->tail))));
    if (!raw && spec->body.len)
        CHECK_INT(aioc_json_check(spec->body.ptr, spec->body.len, NULL, 0, NULL, &error, &error_at), 0);
    if (!raw) CHECK_INT(spec->is.item_data, request->kind <= AIOCOSMOS_DELETE_ITEM ||
                                            request->kind == AIOCOSMOS_DELETE_PARTITION ||
                                            request->kind == AIOCOSMOS_EXECUTE_PROCEDURE);
    CHECK(!spec->is.item_data || spec->container_link.len);
    CHECK_INT(spec->is.write, strcmp(spec->verb, "GET") != 0 && strcmp(spec->verb, "HEAD") != 0);
}

/* Built or refused by name; built twice, it is the same; without memory, it is told so, and the next one is built. */
/* Code counts on where a row of a table stands. */
TEST(tables_are_in_their_order)
{
    static const char *const types[] = { "docs", "colls", "dbs", "pkranges", "sprocs", "triggers", "udfs", "conflicts",
                                         "users", "permissions" };
    const aioc_request_field *field = aioc_request_fields;
    unsigned i;
    for (; field < aioc_request_properties; field++) CHECK_STR(field->property, "");
    CHECK_STR(field->property, "partitionKey");
    for (; field->group; field++) CHECK(*field->property);
    CHECK(field - aioc_request_properties <= 32);           /* a bit each, of those that were seen */
    CHECK_INT(sizeof aioc_request_feeds / sizeof *aioc_request_feeds, AIOC_REQUEST_NO_FEED + 1);
    for (i = 0; i < AIOC_REQUEST_NO_FEED; i++) CHECK_STR(aioc_request_feeds[i].type, types[i]);
    CHECK_STR(types[AIOCOSMOS_FEED_RANGES], "pkranges");
    CHECK_STR(types[AIOCOSMOS_FEED_CONFLICTS], "conflicts");
    CHECK_INT(sizeof aioc_request_kinds / sizeof *aioc_request_kinds, AIOCOSMOS_RAW - AIOCOSMOS_READ_ITEM + 1);
    CHECK_STR(aioc_request_kind_of(AIOCOSMOS_PATCH_ITEM)->verb, "PATCH");
    CHECK_STR(aioc_request_kind_of(AIOCOSMOS_RAW)->verb, "");
}

TEST(whatever_is_given_is_built_whole_or_refused_by_name)
{
    unsigned built[AIOCOSMOS_RAW + 1] = { 0 }, refusals = 0, hungry = 0;
    int i;
    memset(long_id, 'x', sizeof long_id - 1);
    for (i = 0; i < 100000; i++) {
        aioc_request_builder *builder = open_builder();
        aiocosmos_request request = any_request();
        aioc_request_spec spec;
        bool starve = random_below(8) == 0;
        int status;
        if (starve) heap_fail(&heap, 1 + random_below(12), ULONG_MAX);
        status = aioc_request_build(builder, &request, &spec);
        if (heap.failed) {
            CHECK(status != 0);
            hungry += status == AIOCOSMOS_E_NOMEM;
        }
        heap_recover(&heap);
        if (starve) status = aioc_request_build(builder, &request, &spec);
        CHECK(status == 0 || status == AIOCOSMOS_E_ARGUMENT);
        if (status == 0) {
            aioc_request_spec again;
            aiocosmos_str lines = tight(spec.lines), body = tight(spec.body);
            check_spec(&request, &spec);
            CHECK_INT(aioc_request_build(builder, &request, &again), 0);
            CHECK(aioc_mem_same(again.lines, lines) && aioc_mem_same(again.body, body));
            loosen(lines);
            loosen(body);
            built[request.kind]++;
        } else {
            CHECK(strstr(builder->refusal, ": ") && is_one_line(str(builder->refusal)));
            refusals++;
        }
        close_builder(builder);
    }
    for (i = AIOCOSMOS_READ_ITEM; i <= AIOCOSMOS_RAW; i++)
        if (built[i] < 200) test_fail(__FILE__, __LINE__, "%s: built %u times", kind_names[i], built[i]);
    CHECK(refusals > 20000);
    CHECK(hungry > 300);
}
