/* Query plans, and the texts that are made of one. */
#include "fuzz.h"

static aioc_mem memory;
static aioc_mem_buffer out;

static void check_spans(const aioc_plan *plan)
{
    uint32_t i;
    CHECK(plan->hybrid || plan->component_count == 0);
    for (i = 0; i < plan->span_count; i++) {
        const aioc_plan_span *span = &plan->spans[i];
        CHECK(aioc_protocol_epk_compare(span->min, span->max) < 0);
        if (i > 0) CHECK(aioc_protocol_epk_compare(plan->spans[i - 1].max, span->min) <= 0);
    }
}

/* No place that is kept free for a filter is left; where one more condition goes, is in the text. */
static void check_text(aiocosmos_str sql)
{
    aioc_plan_room room;
    aioc_plan_find_room(&room, sql);
    CHECK(room.where <= room.end || room.end == 0);
    CHECK(room.end <= sql.len);
    if (room.end) CHECK(room.root.len && room.root.ptr > sql.ptr && room.root.ptr + room.root.len <= sql.ptr + sql.len);
    CHECK_INT(aioc_plan_find(sql, 0, AIOC_PLAN_FILTER), sql.len);
}

static void check_info(const aioc_plan_info *info, aiocosmos_json items)
{
    int side;
    check_text(info->rewritten);
    if (items.type != AIOCOSMOS_JSON_ARR || aioc_json_count(items) != info->order_count) return;
    for (side = AIOC_PLAN_FRESH; side <= AIOC_PLAN_RIGHT; side++) {
        out.len = 0;
        CHECK(aioc_plan_append_resume(&memory, &out, items, aioc_mem_str("rid"), (aioc_plan_side)side));
    }
}

static void check_plan(const aioc_plan *plan, aiocosmos_json items)
{
    aioc_plan *again;
    char why[200];
    uint32_t i;
    check_spans(plan);
    check_info(&plan->info, items);
    for (i = 0; i < plan->component_count; i++) check_info(&plan->components[i].info, items);
    CHECK_INT(aioc_plan_read(&memory, plan->text, &again, why, sizeof why), 0);
    CHECK_INT(again->span_count, plan->span_count);
    CHECK_INT(again->info.order_count, plan->info.order_count);
    CHECK(fuzz_same(again->info.rewritten, plan->info.rewritten));
    aioc_plan_release(&memory, again);
}

/* The plan, and orderByItems of a row. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    unsigned nth = fuzz_knob(&in) % 10;
    aiocosmos_str text = fuzz_part(&in), items = fuzz_rest(&in);
    char *copy = fuzz_copy(text), *items_copy = fuzz_copy(items), why[200] = "";
    aiocosmos_json_doc doc;
    aioc_plan *plan = NULL;
    int result;
    text.ptr = copy;
    memory = fuzz_memory(nth);
    memset(&out, 0, sizeof out);
    result = aioc_plan_read(&memory, text, &plan, why, sizeof why);
    if (result == AIOCOSMOS_E_NOMEM) {
        CHECK(nth > 0 && !plan);
        heap_recover(&heap);
        result = aioc_plan_read(&memory, text, &plan, why, sizeof why);
    }
    heap_recover(&heap);
    free(copy);                                              /* a plan has texts of its own */
    CHECK((result == 0) == (plan != NULL));
    CHECK(result == 0 || why[0]);
    aioc_json_open(&doc, &memory);
    aioc_json_parse(&doc, items_copy, items.len);
    if (plan) check_plan(plan, aioc_json_root(&doc));
    aioc_json_close(&doc);
    aioc_plan_release(&memory, plan);
    aioc_mem_buffer_free(&memory, &out);
    fuzz_close(&memory);
    free(items_copy);
    return 0;
}
