/* Queries and lists, alone: where they go on. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"

TEST(where_a_query_goes_on_is_kept_when_memory_runs_out)
{
    static char longer[4096];
    aiocosmos_allocator none = {NULL, NULL};
    aioc_page_cursor cursor;
    aioc_mem memory;
    aioc_op_engine engine;
    aioc_page_list pages;
    memset(&memory, 0, sizeof memory);
    memset(&engine, 0, sizeof engine);
    memset(&pages, 0, sizeof pages);
    aioc_mem_init(&memory, &none, 1u << 20);
    engine.memory = &memory;
    memset(&cursor, 0, sizeof cursor);
    cursor.all = &pages;
    cursor.engine = &engine;
    CHECK(aioc_page_advance(&cursor, aioc_mem_str("page-2")));
    memset(longer, 'x', sizeof longer);
    memory.max = memory.used;
    CHECK(!aioc_page_advance(&cursor, aioc_text_view(longer, sizeof longer)));
    CHECK_TEXT(cursor.continuation.data, cursor.continuation.len, "page-2");
    CHECK(!cursor.ended);
    CHECK(aioc_page_advance(&cursor, aioc_mem_str("")));
    CHECK(cursor.ended);
    aioc_mem_buffer_free(&memory, &cursor.continuation);
    aioc_mem_buffer_free(&memory, &cursor.continuation_out);
    aioc_mem_close(&memory);
}

static void nothing(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    (void)client; (void)page; (void)user_data;
}

/* E_FULL is what a call says: a page that was accepted waits for memory, for its plan as for its answers. */
TEST(a_plan_that_there_is_no_room_for_lacks_memory)
{
    aiocosmos_options options;
    aiocosmos_query_request request;
    aiocosmos_client *client;
    aiocosmos_cursor handle;
    aioc_page_cursor *cursor;
    char why[128];
    memset(&options, 0, sizeof options);
    memset(&request, 0, sizeof request);
    options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    options.default_database = "d";
    request.container = "c";
    request.sql = "SELECT * FROM c";
    CHECK_INT(aiocosmos_create(&options, &client, why, sizeof why), 0);
    CHECK_INT(aiocosmos_query_open(client, &request, &handle), 0);
    CHECK_INT(aiocosmos_cursor_next(client, handle, nothing, NULL), 0);
    cursor = aioc_page_find(&client->pages, handle);
    cursor->reader->ranges.container->knowledge = AIOC_ACCOUNT_KNOWN;
    client->memory.max = client->memory.used - client->memory.kept;
    aioc_query_prepare(aioc_query_of(cursor));
    CHECK_INT(cursor->reader->tally.status, AIOCOSMOS_E_NOMEM);
    client->memory.max = client->options.memory_max;
    aiocosmos_destroy(client);
}
