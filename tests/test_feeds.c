/* Queries and lists, alone: where they go on. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"

TEST(where_a_query_goes_on_is_kept_when_memory_runs_out)
{
    static char longer[4096];
    aiocosmos_allocator none = {NULL, NULL};
    aioc_feed_query query;
    aioc_mem memory;
    aioc_op_engine engine;
    aioc_feed feeds;
    memset(&memory, 0, sizeof memory);
    memset(&engine, 0, sizeof engine);
    memset(&feeds, 0, sizeof feeds);
    aioc_mem_init(&memory, &none, 1u << 20);
    engine.memory = &memory;
    feeds.engine = &engine;
    memset(&query, 0, sizeof query);
    query.feeds = &feeds;
    CHECK(aioc_feed_advance(&query, aioc_mem_str("page-2")));
    memset(longer, 'x', sizeof longer);
    memory.max = memory.used;
    CHECK(!aioc_feed_advance(&query, aioc_text_view(longer, sizeof longer)));
    CHECK_TEXT(query.continuation.data, query.continuation.len, "page-2");
    CHECK(!query.ended);
    CHECK(aioc_feed_advance(&query, aioc_mem_str("")));
    CHECK(query.ended);
    aioc_mem_buffer_free(&memory, &query.continuation);
    aioc_mem_buffer_free(&memory, &query.continuation_out);
    aioc_mem_close(&memory);
}
