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
