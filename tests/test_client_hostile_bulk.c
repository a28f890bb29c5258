/* Bulks against servers that say odd things of the container, and of its items. */
#include "hostile.h"

enum { ITEMS_MAX = 8 };

/* What the server says of the container; of items that go singly it says that they were created. */
static struct {
    int definition_status;
    char definition[8192];
    int definitions, batches, singles;
} server;

/* What is asked for, and what came of it. */
static struct {
    int count, next;
    const char *bodies[ITEMS_MAX];
    bool keyed[ITEMS_MAX];
    struct { int calls, status, http_status, fate; double charge_ru; char message[256]; } items[ITEMS_MAX];
    aiocosmos_bulk_totals totals;
} source;

static void answer(peer *link)
{
    if (heard(link, "GET /dbs/db/colls/c HTTP")) {
        server.definitions++;
        reply(link, server.definition_status, "x-ms-activity-id: a\r\n", server.definition);
    } else if (heard(link, "/pkranges ")) {
        reply(link, 200, "x-ms-activity-id: a\r\n",
              "{\"_rid\":\"abcdAMsp2wQ=\",\"PartitionKeyRanges\":[{\"id\":\"0\",\"minInclusive\":\"\","
              "\"maxExclusive\":\"FF\",\"parents\":[]}],\"_count\":1}");
    } else {
        server.singles++;
        reply(link, 201, "x-ms-activity-id: a\r\n", "");
    }
}

static aiocosmos_pull pull(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    int n = source.next;
    (void)client, (void)user_data;
    if (n == source.count) return AIOCOSMOS_PULL_END;
    source.next++;
    item->body = aiocosmos_text(source.bodies[n]);
    if (source.keyed[n]) item->pk = aiocosmos_pk_s("a");
    item->item_data = &source.items[n];
    return AIOCOSMOS_PULL_ITEM;
}

static void item_came(aiocosmos_client *client, const aiocosmos_result *result, void *item_data, void *user_data)
{
    int n = (int)((const char *)item_data - (const char *)source.items) / (int)sizeof *source.items;
    (void)client, (void)user_data;
    source.items[n].calls++;
    source.items[n].status = result->status;
    source.items[n].http_status = result->http_status;
    source.items[n].fate = result->fate;
    source.items[n].charge_ru = result->charge_ru;
    snprintf(source.items[n].message, sizeof source.items[n].message, "%.*s", (int)result->message.len,
             result->message.ptr);
}

static void bulk_came(aiocosmos_client *client, const aiocosmos_result *result, const aiocosmos_bulk_totals *totals,
                      void *user_data)
{
    (void)client, (void)user_data;
    CHECK_INT(result->status, 0);
    source.totals = *totals;
}

/* Each item is told of once. */
static void run(aiocosmos_client *client, bool singly)
{
    aiocosmos_bulk_request request;
    int i;
    memset(&request, 0, sizeof request);
    request.container = "c";
    request.next = pull;
    request.item_done = item_came;
    request.done = bulk_came;
    request.single_items = singly;
    CHECK_INT(aiocosmos_bulk(client, &request, NULL), 0);
    drain(client);
    for (i = 0; i < source.count; i++) CHECK_INT(source.items[i].calls, 1);
}

static aiocosmos_client *open_world(void)
{
    memset(&server, 0, sizeof server);
    memset(&source, 0, sizeof source);
    net_begin(answer);
    return open_usual();
}

/*--- The container's definition -----------------------------------------------------------*/

static void define(const char *format, ...)
{
    va_list values;
    int len = snprintf(server.definition, sizeof server.definition, "{\"id\":\"c\",\"_rid\":\"abcdAMsp2wQ=\",");
    va_start(values, format);
    vsnprintf(server.definition + len, sizeof server.definition - (size_t)len, format, values);
    va_end(values);
    server.definition_status = 200;
}

/* Paths are kept behind each other, a NUL between them: one in a path would make more of them than there may be. */
TEST(a_path_with_a_nul_in_it_is_no_definition)
{
    aiocosmos_client *client = open_world();
    aiocosmos_request request;
    char path[3000] = "/pk";
    int i;
    for (i = 0; i < 200; i++) strcat(path, "\\u0000/pk");
    define("\"partitionKey\":{\"paths\":[\"%s\"],\"version\":2}}", path);
    memset(&request, 0, sizeof request);
    request.kind = AIOCOSMOS_READ_CONTAINER;
    request.container = "c";
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    CHECK_INT(aiocosmos_pk_of(client, "c", aiocosmos_text("{\"id\":\"0\",\"pk\":1}")).level[0].type,
              AIOCOSMOS_VALUE_UNSET);
    CHECK(strstr(aiocosmos_last_error(client), "container: its definition is not known"));
    source.count = 1;
    source.bodies[0] = "{\"id\":\"0\",\"pk\":\"a\"}";
    run(client, false);
    CHECK_INT(source.items[0].fate, AIOCOSMOS_FATE_NOT_SENT);
    CHECK_INT(server.singles, 0);
    close_client(client);
}
