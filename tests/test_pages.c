/* Queries, lists and reads of many items, alone: where they go on, and how rows find who asked for them. */
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

/*--- Reads of many ---------------------------------------------------------------------*/

enum { PAIRS = 900 };

static void no_item(aiocosmos_client *client, size_t index, int status, aiocosmos_json item, void *user_data)
{
    (void)client; (void)index; (void)status; (void)item; (void)user_data;
}

/* Of a batch of all pairs, the most that a row is compared with. */
static uint32_t longest_chain(aiocosmos_client *client, const aiocosmos_item_key *items)
{
    aiocosmos_read_many_request request;
    aioc_many *many;
    aioc_many_batch *batch;
    uint32_t list = AIOC_MANY_NONE, longest = 0, i;
    aiocosmos_op op;
    memset(&request, 0, sizeof request);
    request.container = "c";
    request.items = items;
    request.item_count = PAIRS;
    request.item = no_item;
    CHECK_INT(aiocosmos_read_many(client, &request, &op), 0);
    many = (aioc_many *)client->readers.first->owner;
    for (i = 0; i < PAIRS; i++) aioc_many_push(many, &list, i);
    batch = aioc_many_batch_new(many, &list, PAIRS);
    CHECK(batch != NULL);
    for (i = 0; i < batch->slot_count; i++) {
        uint32_t pair = batch->pairs[PAIRS + i], length = 0;
        for (; pair != AIOC_MANY_NONE; pair = many->pairs[pair].alike) length++;
        if (length > longest) longest = length;
    }
    aiocosmos_cancel(client, op);
    CHECK_INT(aiocosmos_drain(client, 1000), 0);
    return longest;
}

/* A thousand rows that are each compared with a thousand pairs would take longer than a step may. */
TEST(rows_are_compared_with_few_pairs_whether_ids_or_keys_are_the_same)
{
    static char texts[PAIRS][16];
    static aiocosmos_item_key items[PAIRS];
    aiocosmos_options options;
    aiocosmos_client *client;
    char why[128];
    int i;
    memset(&options, 0, sizeof options);
    options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    options.default_database = "d";
    CHECK_INT(aiocosmos_create(&options, &client, why, sizeof why), 0);
    for (i = 0; i < PAIRS; i++) {
        snprintf(texts[i], sizeof texts[i], "k%d", i);
        items[i].id = texts[i];
        items[i].pk = aiocosmos_pk_s("same");
    }
    CHECK(longest_chain(client, items) < 16);
    for (i = 0; i < PAIRS; i++) {
        items[i].id = "profile";
        items[i].pk = aiocosmos_pk_s(texts[i]);
    }
    CHECK(longest_chain(client, items) < 16);
    for (i = 0; i < PAIRS; i++) items[i].pk = aiocosmos_pk2(aiocosmos_s("tenant"), aiocosmos_i(i));
    CHECK(longest_chain(client, items) < 16);
    aiocosmos_destroy(client);
}
