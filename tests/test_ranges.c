/* The ranges layer alone: whose turn it is to work, how streams are cut, and who may have the memory. No requests are
 * sent, and no time goes by. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"

enum { READERS = 3 };

static struct world {
    aioc_mem memory;
    aioc_reactor reactor;
    aioc_op_engine engine;
    aioc_range_readers all;
    aioc_range_reader readers[READERS];
    aioc_range_question question;
    aioc_range_costs costs;
    char worked[64];                                       /* the letters of those who did, in their order */
    bool again;
} world;

static void work(void *owner)
{
    const aioc_range_reader *reader = owner;
    size_t len = strlen(world.worked);
    world.worked[len] = (char)('A' + (reader - world.readers));
    world.worked[len + 1] = 0;
    if (world.again) aioc_range_stir(&world.readers[reader - world.readers]);
}

static void tell_ranges(const char *json)
{
    aioc_account_container *container = world.readers[0].ranges.container;
    aiocosmos_json_doc doc;
    aioc_json_open(&doc, &world.memory);
    CHECK_INT(aioc_json_parse(&doc, json, strlen(json)), 0);
    aioc_account_forget_ranges(container);
    container->knowledge = AIOC_ACCOUNT_FETCHING;
    CHECK(aioc_account_add_ranges(container, aioc_json_root(&doc)));
    CHECK(aioc_account_finish_ranges(container));
    aioc_account_settle(container, AIOC_ACCOUNT_KNOWN, 0);
    aioc_json_close(&doc);
}

static void open_world(void)
{
    aiocosmos_allocator none = {NULL, NULL};
    int i;
    memset(&world, 0, sizeof world);
    aioc_mem_init(&world.memory, &none, 1u << 20);
    world.engine.account.memory = &world.memory;
    world.engine.account.max = 4;
    world.engine.memory = &world.memory;
    world.engine.reactor = &world.reactor;
    world.engine.free_count = 8 + AIOC_OP_SPARE_SLOTS;
    aioc_range_readers_open(&world.all, &world.engine);
    aioc_mem_append_str(&world.memory, &world.question.link, "dbs/d/colls/c");
    for (i = 0; i < READERS; i++) {
        world.readers[i].question = &world.question;
        world.readers[i].costs = &world.costs;
        CHECK_INT(aioc_range_open(&world.readers[i], &world.all, work, &world.readers[i]), 0);
    }
    tell_ranges("{\"PartitionKeyRanges\":[{\"id\":\"0\",\"minInclusive\":\"\",\"maxExclusive\":\"55\"},"
                "{\"id\":\"1\",\"minInclusive\":\"55\",\"maxExclusive\":\"AA\"},"
                "{\"id\":\"2\",\"minInclusive\":\"AA\",\"maxExclusive\":\"FF\"}]}");
}

static void close_world(void)
{
    int i;
    for (i = 0; i < READERS; i++) aioc_range_close(&world.readers[i]);
    aioc_range_unfill(&world.memory, &world.question);
    aioc_range_costs_free(&world.memory, &world.costs);
    aioc_account_close(&world.engine.account);
    CHECK_INT(world.memory.used - world.memory.kept, 0);
    aioc_mem_close(&world.memory);
}

/* "-55@p 55-AA": the streams of the first reader, and where each stands. */
static const char *streams(void)
{
    static char text[512];
    const aioc_range_reader *reader = &world.readers[0];
    size_t len = 0;
    uint32_t i;
    for (i = 0; i < reader->stream_count; i++) {
        const aioc_range_stream *stream = reader->streams[i];
        len += aioc_mem_print(text + len, sizeof text - len, "%s%.*s-%.*s%s%.*s", i ? " " : "", (int)stream->min.len,
                              stream->min.ptr, (int)stream->max.len, stream->max.ptr, stream->position.len ? "@" : "",
                              (int)stream->position.len, stream->position.len ? stream->position.data : "");
    }
    return len ? text : "";
}

/* Streams for all that is asked for. */
static bool cut_asked(aioc_range_reader *reader)
{
    aiocosmos_str min, max;
    CHECK(!aioc_range_next_asked(reader, &min, &max));
    return aioc_range_cut(reader, 0, min, max, aioc_mem_str(""), NULL);
}

TEST(those_who_have_work_take_turns)
{
    int i;
    open_world();
    world.again = true;
    for (i = 0; i < READERS; i++) aioc_range_stir(&world.readers[i]);
    aioc_range_stir(&world.readers[0]);               /* it is in the list already */
    for (i = 0; i < 7; i++) CHECK(aioc_range_work(&world.all));
    CHECK_STR(world.worked, "ABCABCA");
    aioc_range_calm(&world.readers[2]);
    world.again = false;
    while (aioc_range_work(&world.all)) continue;
    CHECK_STR(world.worked, "ABCABCABA");
    CHECK(!aioc_range_has_work(&world.all));
    close_world();
}

TEST(who_finds_no_room_works_again_when_there_is_some)
{
    uint32_t room;
    open_world();
    room = world.engine.free_count;
    CHECK(aioc_range_finds_room(&world.readers[1]));
    world.engine.free_count = 0;
    CHECK(!aioc_range_finds_room(&world.readers[1]));
    CHECK(!aioc_range_finds_room(&world.readers[0]));
    CHECK(!aioc_range_finds_room(&world.readers[1]));
    CHECK(!aioc_range_work(&world.all));
    aioc_range_stir(&world.readers[2]);               /* others work meanwhile */
    CHECK(aioc_range_work(&world.all));
    CHECK(!aioc_range_work(&world.all));
    world.engine.free_count = room;
    CHECK(aioc_range_has_work(&world.all));
    while (aioc_range_work(&world.all)) continue;
    CHECK_STR(world.worked, "CBA");
    close_world();
}

TEST(one_that_waits_for_room_may_go)
{
    open_world();
    world.engine.free_count = 0;
    CHECK(!aioc_range_finds_room(&world.readers[0]));
    CHECK(!aioc_range_finds_room(&world.readers[1]));
    aioc_range_calm(&world.readers[1]);
    world.engine.free_count = AIOC_OP_SPARE_SLOTS;
    while (aioc_range_work(&world.all)) continue;
    CHECK_STR(world.worked, "A");
    CHECK(!world.all.ready.first && !world.all.starved.first);
    close_world();
}

TEST(a_reader_has_a_stream_for_each_range_of_what_is_asked_for)
{
    aioc_range_reader *reader = &world.readers[0];
    open_world();
    CHECK(cut_asked(reader));
    CHECK_STR(streams(), "-55 55-AA AA-FF");
    aioc_range_drop_all(reader);
    CHECK(aioc_range_set_edges(&world.memory, &reader->edges, aioc_mem_str("30"), aioc_mem_str("AA")));
    CHECK(cut_asked(reader));
    CHECK_STR(streams(), "30-55 55-AA");
    aioc_range_drop_all(reader);
    CHECK(aioc_range_cut(reader, 0, aioc_mem_str(""), aioc_mem_str("FF"), aioc_mem_str(""), NULL));
    CHECK_INT(reader->stream_count, 3);
    CHECK_STR(streams(), "-55 55-AA AA-FF");
    close_world();
}

TEST(a_split_range_goes_on_as_those_that_it_became_each_from_where_it_stood)
{
    aioc_range_reader *reader = &world.readers[0];
    aioc_pos_piece pieces[8];
    aiocosmos_str rest = aioc_mem_str("FF");
    open_world();
    CHECK(cut_asked(reader));
    CHECK(aioc_mem_set(&world.memory, &reader->streams[1]->position, aioc_mem_str("p")));
    reader->streams[1]->skipping = reader->streams[1]->hot = true;
    tell_ranges("{\"PartitionKeyRanges\":[{\"id\":\"0\",\"minInclusive\":\"\",\"maxExclusive\":\"55\"},"
                "{\"id\":\"3\",\"minInclusive\":\"55\",\"maxExclusive\":\"80\",\"parents\":[\"1\"]},"
                "{\"id\":\"4\",\"minInclusive\":\"80\",\"maxExclusive\":\"AA\",\"parents\":[\"1\"]},"
                "{\"id\":\"2\",\"minInclusive\":\"AA\",\"maxExclusive\":\"FF\"}]}");
    CHECK(aioc_range_recut(reader, 1));
    CHECK_STR(streams(), "-55 55-AA@p 55-80@p 80-AA@p AA-FF");
    CHECK(aioc_range_is_spent(reader->streams[1]));        /* it had no answers */
    CHECK(reader->streams[2]->skipping && reader->streams[3]->skipping);
    CHECK(reader->streams[2]->hot && reader->streams[3]->hot);
    CHECK(aioc_mem_same(aioc_range_kin(reader->streams[2]), aioc_range_kin(reader->streams[3])));
    CHECK(!aioc_mem_same(aioc_range_kin(reader->streams[0]), aioc_range_kin(reader->streams[3])));
    aioc_range_remove(reader, 1);
    CHECK_INT(aioc_range_positions(reader, true, pieces, &rest), 4);
    CHECK_TEXT(pieces[2].continuation.ptr, pieces[2].continuation.len, "p");
    CHECK_INT(aioc_range_positions(reader, false, pieces, &rest), 3);
    CHECK_TEXT(rest.ptr, rest.len, "AA");                  /* nobody has begun there */
    close_world();
}

TEST(all_the_memory_goes_to_one_page_at_a_time)
{
    int i;
    open_world();
    for (i = 0; i < READERS; i++) {
        world.readers[i].need = AIOC_RANGE_OWED;
        world.readers[i].asked = (uint64_t)(READERS - i);  /* the last was asked first */
    }
    CHECK(aioc_range_claim(&world.readers[0]));
    CHECK(!aioc_range_claim(&world.readers[1]));
    CHECK(!aioc_range_claim(&world.readers[2]));
    CHECK(!aioc_range_may_take(&world.readers[1], 1, true));
    CHECK(aioc_range_may_take(&world.readers[0], world.memory.max / 2, true));
    aioc_range_relax(&world.readers[0], AIOC_RANGE_AHEAD);
    CHECK(world.all.turn == &world.readers[2]);
    CHECK_INT(world.readers[2].need, AIOC_RANGE_ALONE);
    CHECK_INT(world.readers[1].need, AIOC_RANGE_LACKING);
    aioc_range_relax(&world.readers[2], AIOC_RANGE_AHEAD);
    aioc_range_relax(&world.readers[1], AIOC_RANGE_QUIET);
    CHECK(!world.all.turn);
    close_world();
}

static void stop(aioc_op *op)
{
    (void)op;
}

/* A page that lacks memory, while others may give some back: to try again at once would keep them from it. */
TEST(who_waits_for_memory_has_no_work_meanwhile)
{
    aioc_range_reader *reader = &world.readers[0];
    static const aioc_op_role single, composed = {NULL, stop, NULL, false, true};
    static aioc_op page, other;
    static aioc_op_slot slots[3];
    open_world();
    page.role = &composed;
    other.role = &single;
    slots[0].op = &page;
    slots[2].op = &other;
    world.engine.slots = slots;
    world.engine.slot_count = 3;
    reader->need = AIOC_RANGE_OWED;
    aioc_range_stir(reader);
    aioc_range_fail(&reader->tally, AIOCOSMOS_E_NOMEM, "");
    slots[2].op = NULL;
    CHECK(!aioc_range_waits_for_memory(reader));           /* there is nobody but itself */
    slots[2].op = &other;
    CHECK(aioc_range_waits_for_memory(reader));
    CHECK_INT(reader->need, AIOC_RANGE_ALONE);
    CHECK(!aioc_range_has_work(&world.all));
    world.reactor.now_us = AIOC_RANGE_MEMORY_PAUSE_US;
    CHECK(aioc_reactor_timer_run_one(&world.reactor));
    CHECK(aioc_range_has_work(&world.all));
    close_world();
}

TEST(who_waits_for_its_turn_has_no_work_until_it_comes)
{
    open_world();
    world.readers[0].need = world.readers[1].need = AIOC_RANGE_OWED;
    CHECK(aioc_range_claim(&world.readers[0]));
    aioc_range_lacks_memory(&world.readers[1]);
    CHECK_INT(world.readers[1].need, AIOC_RANGE_LACKING);
    CHECK(!aioc_range_has_work(&world.all));
    aioc_range_relax(&world.readers[0], AIOC_RANGE_QUIET);
    CHECK(aioc_range_work(&world.all));
    CHECK_STR(world.worked, "B");
    close_world();
}

TEST(who_has_no_answers_to_give_back_has_no_work_for_that)
{
    aioc_range_reader *reader = &world.readers[0];
    aioc_range_answer *answer;
    open_world();
    reader->need = AIOC_RANGE_OWED;
    CHECK(cut_asked(reader));
    answer = aioc_mem_zalloc(&world.memory, sizeof *answer);
    CHECK(answer != NULL);
    answer->spare = &world.all.spare;
    reader->streams[0]->first = reader->streams[0]->last = answer;
    reader->streams[0]->split = true;  /* its heirs go on behind this one */
    reader->window.ahead = 1;
    reader->bytes.held = world.all.held = answer->bytes = sizeof *answer;
    aioc_range_yield(reader);
    CHECK_INT(reader->bytes.held, sizeof *answer);
    CHECK(!aioc_range_has_work(&world.all));
    reader->streams[0]->split = false;
    aioc_range_yield(reader);
    CHECK_INT(reader->bytes.held, 0);
    CHECK(aioc_range_has_work(&world.all));
    close_world();
}

/* Else what is freed for another's sake would stay ours, up to an eighth of the memory. */
TEST(nodes_of_answers_that_are_taken_back_are_kept_for_none)
{
    static const char text[] = "{\"Documents\":[1,2,3]}";
    aioc_range_reader *reader = &world.readers[0];
    aioc_range_answer *answer;
    open_world();
    CHECK(cut_asked(reader));
    answer = aioc_mem_zalloc(&world.memory, sizeof *answer);
    CHECK(answer != NULL);
    aioc_json_open(&answer->doc, &world.memory);
    answer->spare = &world.all.spare;
    answer->body.text = aioc_mem_str(text);
    CHECK_INT(aioc_range_answer_parse(answer, SIZE_MAX), 0);
    reader->streams[0]->first = reader->streams[0]->last = answer;
    reader->window.ahead = 1;
    reader->bytes.held = world.all.held = answer->bytes = sizeof *answer;
    aioc_range_reclaim(&world.all, sizeof *answer);
    CHECK_INT(world.all.held, 0);
    CHECK_INT(world.all.spare.cap, 0);
    close_world();
}

/* However large an answer is, a piece of work reads as much of it as any other, and one row that begins before. */
TEST(a_large_answer_is_parsed_in_pieces)
{
    enum { ROWS = 6000, ROW_BYTES = 32 };
    static const char head[] = "{\"Documents\":[", tail[] = "]}";
    static char text[sizeof head + ROWS * ROW_BYTES + sizeof tail];
    aioc_range_reader *reader = &world.readers[0];
    aioc_range_answer *answer;
    aioc_range_stream *stream;
    size_t at = 0, len = sizeof head - 1, pieces = 0;
    int i;
    open_world();
    reader->need = AIOC_RANGE_OWED;
    CHECK(cut_asked(reader));
    memcpy(text, head, len);
    for (i = 0; i < ROWS; i++) {
        int row = snprintf(text + len, ROW_BYTES + 1, "%s{\"id\":\"row-%08d\",\"n\":%d}", i ? "," : "", i, i % 7);
        CHECK(row > 0 && row <= ROW_BYTES);
        len += (size_t)row;
    }
    memcpy(text + len, tail, sizeof tail);
    len += sizeof tail - 1;
    CHECK(len > 4 * AIOC_RANGE_PARSED);
    answer = aioc_mem_zalloc(&world.memory, sizeof *answer);
    CHECK(answer != NULL);
    aioc_json_open(&answer->doc, &world.memory);
    answer->spare = &world.all.spare;
    answer->body.text = aioc_text_view(text, len);
    stream = reader->streams[0];
    stream->first = stream->last = answer;
    reader->window.ahead = 1;
    reader->bytes.held = world.all.held = answer->bytes = sizeof *answer;
    while (!aioc_range_open_first(stream)) {
        CHECK_INT(reader->tally.status, 0);
        CHECK(stream->first == answer);
        CHECK(pieces++ <= len / AIOC_RANGE_PARSED);
        if (answer->rows.type == AIOCOSMOS_JSON_ARR) continue;              /* that was the last */
        CHECK(answer->doc.at > at);
        CHECK(answer->doc.at <= at + AIOC_RANGE_PARSED + ROW_BYTES);
        at = answer->doc.at;
        CHECK(aioc_range_has_work(&world.all));
    }
    CHECK(len - at <= AIOC_RANGE_PARSED + ROW_BYTES);
    CHECK_INT(pieces, len / AIOC_RANGE_PARSED + 1);
    CHECK_INT(aioc_json_count(answer->rows), ROWS);
    close_world();
}

TEST(what_is_read_ahead_keeps_to_a_quarter_of_the_memory)
{
    aioc_range_reader *reader = &world.readers[0];
    open_world();
    reader->bytes.max = world.memory.max;
    CHECK(aioc_range_may_take(reader, world.memory.max / 8, false));
    CHECK(!aioc_range_may_take(reader, world.memory.max / 2, false));
    reader->bytes.max = 1000;
    CHECK(!aioc_range_may_take(reader, 1001, false));
    close_world();
}

/* Else who waits behind it would have the turn, and so on, round and round. */
TEST(who_has_the_turn_reads_nothing_ahead)
{
    aioc_range_reader *reader = &world.readers[0];
    open_world();
    reader->bytes.max = world.memory.max;
    reader->need = AIOC_RANGE_OWED;
    world.all.turn = reader;
    CHECK(!aioc_range_may_take(reader, 1, false));
    CHECK(aioc_range_may_take(reader, 1, true));
    CHECK_INT(reader->need, AIOC_RANGE_OWED);
    reader->need = AIOC_RANGE_ALONE;
    CHECK(aioc_range_may_take(reader, 1, false));
    close_world();
}

/* One that only waited for its turn asks beside the others. */
TEST(who_found_no_memory_has_all_of_it_in_its_turn)
{
    int i;
    open_world();
    for (i = 0; i < READERS; i++) world.readers[i].need = AIOC_RANGE_OWED;
    for (i = 0; i < READERS; i++) world.readers[i].asked = (uint64_t)i;
    CHECK(aioc_range_claim(&world.readers[0]));
    CHECK(!aioc_range_may_take(&world.readers[1], 1, true));
    CHECK(!aioc_range_claim(&world.readers[2]));
    CHECK(!aioc_range_may_take(&world.readers[2], 1, true));
    aioc_range_relax(&world.readers[0], AIOC_RANGE_AHEAD);
    CHECK_INT(world.readers[1].need, AIOC_RANGE_OWED);
    CHECK(aioc_range_may_take(&world.readers[1], 1, true));
    aioc_range_has_taken(&world.readers[1]);
    CHECK(world.all.turn == &world.readers[2]);
    CHECK_INT(world.readers[2].need, AIOC_RANGE_ALONE);
    aioc_range_has_taken(&world.readers[2]);
    CHECK(world.all.turn == &world.readers[2]);
    aioc_range_relax(&world.readers[2], AIOC_RANGE_AHEAD);
    CHECK(!world.all.turn);
    close_world();
}

/* Advice that is plain text may begin with letters that base64 has, too. */
TEST(what_is_no_base64_is_kept_as_it_came)
{
    static const char plain[] = "QA1000: an index would do", json[] = "{\"a\":1}";
    aioc_range_costs *costs = &world.costs;
    open_world();
    aioc_range_keep(&world.memory, &costs->advice, aioc_mem_str(plain));
    CHECK_TEXT(costs->advice.data, costs->advice.len, plain);
    aioc_range_keep(&world.memory, &costs->index_metrics, aioc_mem_str("eyJhIjoxfQ=="));
    CHECK_TEXT(costs->index_metrics.data, costs->index_metrics.len, json);
    close_world();
}
