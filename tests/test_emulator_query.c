/* The emulator's queries over several partitions, as a client sees them: plans, what each partition answers to the
 * rewritten query, and what an answer says about itself. */
#include "emulator_world.h"

#define PLAN     "x-ms-cosmos-is-query-plan-request: True\r\nContent-Type: application/query+json\r\n"
#define FEATURES "x-ms-cosmos-supported-query-features: "
#define METRICS  "x-ms-documentdb-populatequerymetrics: True\r\n"

static const char *range_line(int range)
{
    return f(QUERY "x-ms-documentdb-partitionkeyrangeid: %d\r\n", range);
}

TEST(a_plan_is_asked_for_with_what_the_client_can_do)
{
    static const char sorted[] = "{\"query\":\"SELECT * FROM c ORDER BY c.n\"}";
    open_world(2);
    CHECK_INT(call("POST", DOCS, PLAN FEATURES "OrderBy,Top\r\n", sorted), 200);
    CHECK(says("\"orderBy\":[\"Ascending\"]"));
    CHECK(says("WHERE ({documentdb-formattableorderbyquery-filter})"));
    CHECK_INT(call("POST", DOCS, PLAN FEATURES "Top\r\n", sorted), 400);
    CHECK(says("OrderBy"));
    CHECK_INT(got.sub_status, 0);
    CHECK_INT(call("POST", DOCS, PLAN, sorted), 400);      /* says nothing, can nothing */
    CHECK_INT(call("POST", DOCS, PLAN, "{\"query\":\"SELECT * FROM c WHERE c.pk = 'k1'\"}"), 200);
    CHECK(says("\"isMaxInclusive\":true"));
    CHECK_INT(call("POST", DOCS, PLAN FEATURES "Aggregate\r\n", "{\"query\":\"SELECT VALUE 1 + COUNT(1) FROM c\"}"),
              400);
    CHECK(says("Compositions of aggregates"));
    CHECK_INT(call("POST", DOCS, PLAN, "{\"query\":\"SELECT * FORM c\"}"), 400);
    CHECK(says("SC1001"));
    CHECK_INT(call("POST", DOCS, PLAN, "no json"), 400);
    close_world();
}

TEST(who_is_not_the_gateway_gets_the_plan_with_the_refusal)
{
    open_world(2);
    CHECK_INT(call("POST", DOCS, ACROSS, "{\"query\":\"SELECT VALUE SUM(c.n) FROM c\"}"), 400);
    CHECK_INT(got.sub_status, 1004);
    CHECK(says("additionalErrorInfo"));
    CHECK(says("\\\"aggregates\\\":[\\\"Sum\\\"]"));
    CHECK_INT(call("POST", DOCS, ACROSS, "{\"query\":\"SELECT VALUE SUM(c.n) + 1 FROM c\"}"), 400);
    CHECK_INT(got.sub_status, 0);
    CHECK(says("Compositions of aggregates"));
    close_world();
}

/* geospatialConfig says what places are of; it can be changed. */
TEST(places_are_of_the_earth_or_of_a_plane)
{
    static const char *const types[] = { "Geometry", "Geography", "geometry" };
    static const char sql[] = "{\"query\":\"SELECT VALUE ST_DISTANCE(c.at, {'type':'Point','coordinates':[3,4]}) "
                              "FROM c\"}";
    static const char patch[] = "{\"condition\":\"FROM c WHERE ST_AREA({'type':'Polygon','coordinates':[[[0,0],[2,0],"
                                "[2,2],[0,0]]]}) = 2\",\"operations\":[{\"op\":\"add\",\"path\":\"/n\",\"value\":1}]}";
    size_t i;
    open_world(1);
    CHECK_INT(call("POST", "/dbs/D/colls", NULL, "{\"id\":\"P\",\"partitionKey\":{\"paths\":[\"/id\"]},"
                   "\"geospatialConfig\":{\"type\":\"Geometry\"}}"), 201);
    CHECK_INT(call("POST", "/dbs/D/colls/P/docs", PK("[\"a\"]"),
                   "{\"id\":\"a\",\"at\":{\"type\":\"Point\",\"coordinates\":[0,0]}}"), 201);
    for (i = 0; i < sizeof types / sizeof *types; i++) {
        bool flat = i != 1;
        CHECK_INT(call("PUT", "/dbs/D/colls/P", NULL, f("{\"id\":\"P\",\"partitionKey\":{\"paths\":[\"/id\"]},"
                       "\"geospatialConfig\":{\"type\":\"%s\"}}", types[i])), 200);
        CHECK_INT(call("POST", "/dbs/D/colls/P/docs", QUERY PK("[\"a\"]"), sql), 200);
        CHECK(says(flat ? "[5]" : "[55"));                 /* 555 km */
        CHECK_INT(call("PATCH", "/dbs/D/colls/P/docs/a", PK("[\"a\"]"), patch), flat ? 200 : 412);
    }
    close_world();
}

/* A key of the container's own version makes the ranges of a plan. */
TEST(ranges_of_a_plan_are_where_the_items_are)
{
    static const char *const definitions[] = {
        "{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\",\"version\":2}}",
        "{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\",\"version\":1}}",
        "{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\",\"/id\"],\"kind\":\"MultiHash\",\"version\":2}}"
    };
    size_t i;
    int key;
    for (i = 0; i < sizeof definitions / sizeof *definitions; i++) {
        aiocosmos_emulator_options options;
        memset(&options, 0, sizeof options);
        options.partitions = 8;
        open_core(options);
        make_container(definitions[i]);
        for (key = 0; key < 20; key++) {
            char min[AIOC_PROTOCOL_EPK_MAX], max[AIOC_PROTOCOL_EPK_MAX];
            int range, found = 0;
            size_t len;
            CHECK_INT(call("POST", DOCS, PLAN, f("{\"query\":\"SELECT * FROM c WHERE c.pk = 'k%d'\"}", key)), 200);
            CHECK_INT(sscanf(strstr(got.text, "\"min\":"), "\"min\":\"%224[^\"]\",\"max\":\"%224[^\"]\"", min, max), 2);
            if (i < 2) CHECK_STR(min, max);
            CHECK_INT(call("POST", DOCS, f(i < 2 ? PK("[\"k%d\"]") : PK("[\"k%d\",\"x\"]"), key),
                           f("{\"id\":\"x\",\"pk\":\"k%d\"}", key)), 201);
            snprintf(max, sizeof max, "%s", min);
            len = strlen(max);
            aioc_protocol_epk_end(i < 2, max, &len);
            max[len] = 0;
            for (range = 0; range < 8; range++) {          /* one partition has it, within these bounds */
                int status = call("POST", DOCS, f("%s" BY_EPK "x-ms-start-epk: %s\r\nx-ms-end-epk: %s\r\n",
                                                  range_line(range), min, max),
                                  "{\"query\":\"SELECT VALUE c.pk FROM c\"}");
                if (status != 200) continue;
                CHECK(says(f("[\"k%d\"]", key)));
                found++;
            }
            CHECK_INT(found, 1);
        }
        close_world();
    }
}

/* Rows of all partitions, one after another, in one array. */
static char *from_all(int ranges, const char *lines, const char *body)
{
    char *all = (char *)calloc(1, 65536);
    int range;
    for (range = 0; range < ranges; range++) {
        const char *start, *end;
        CHECK_INT(call("POST", DOCS, f("%s%s", range_line(range), lines), body), 200);
        start = strchr(got.text, '[') + 1;
        end = strstr(got.text, "],\"_count\"");
        CHECK(end != NULL);
        snprintf(all + strlen(all), 65536 - strlen(all), "%s%.*s", *all && end > start ? "," : "", (int)(end - start),
                 start);
    }
    return all;
}

static int times(const char *text, const char *part)
{
    int n = 0;
    while ((text = strstr(text, part)) != NULL) {
        text += strlen(part);
        n++;
    }
    return n;
}

TEST(every_partition_answers_the_rewritten_query_for_itself)
{
    char *all;
    open_world(4);
    fill(40, 10);
    all = from_all(4, "", "{\"query\":\"SELECT c._rid, [{\\\"item\\\": c.n}] AS orderByItems, c.id AS payload\\n"
                          "FROM c\\nWHERE ((c.n > 9) AND (true))\\nORDER BY c.n DESC\"}");
    CHECK_INT(times(all, "\"orderByItems\":[{\"item\":"), 20);
    CHECK_INT(times(all, "\"_rid\":\""), 20);
    free(all);
    all = from_all(4, "", "{\"query\":\"SELECT VALUE [{\\\"item\\\": COUNT(1)}]\\nFROM c\"}");
    CHECK_INT(times(all, "[{\"item\":"), 4);
    free(all);
    all = from_all(4, "", "{\"query\":\"SELECT [{\\\"item\\\": c.pk}] AS groupByItems, {\\\"pk\\\": c.pk, "
                          "\\\"n\\\": {\\\"item\\\": COUNT(1)}} AS payload\\nFROM c\\nGROUP BY c.pk\"}");
    CHECK_INT(times(all, "\"n\":{\"item\":4}"), 10);
    free(all);
    close_world();
}

TEST(a_query_about_no_item_is_answered_once_for_all_partitions)
{
    open_world(4);
    fill(40, 10);
    CHECK_INT(call("POST", DOCS, ACROSS, "{\"query\":\"SELECT VALUE 1\"}"), 200);
    CHECK(says("\"Documents\":[1],"));
    CHECK_STR(header("x-ms-continuation"), "");
    CHECK_INT(call("POST", DOCS, ACROSS, "{\"query\":\"SELECT VALUE 1 FROM c\"}"), 200);
    CHECK(*header("x-ms-continuation"));
    close_world();
}

TEST(answers_say_what_they_took_when_asked)
{
    open_world(1);
    fill(20, 5);
    CHECK_INT(call("POST", DOCS, f("%s" METRICS, range_line(0)),
                   "{\"query\":\"SELECT VALUE c.n FROM c WHERE c.n < 5\"}"), 200);
    CHECK(strstr(header("x-ms-documentdb-query-metrics"), ";retrievedDocumentCount=20;"));
    CHECK(strstr(header("x-ms-documentdb-query-metrics"), ";outputDocumentCount=9;outputDocumentSize=9;"));
    CHECK(strstr(header("x-ms-documentdb-query-metrics"), ";indexUtilizationRatio=0.45"));
    CHECK_INT(strlen(header("x-ms-cosmos-query-execution-info")), 0);
    CHECK_INT(call("POST", DOCS, range_line(0), "{\"query\":\"SELECT VALUE c.n FROM c ORDER BY c.n\"}"), 200);
    CHECK_INT(strlen(header("x-ms-documentdb-query-metrics")), 0);
    CHECK_STR(header("x-ms-cosmos-query-execution-info"), "{\"reverseRidEnabled\":false,\"reverseIndexScan\":false}");
    close_world();
}

static void check_indexes(const char *lines, const char *sql, const char *wanted)
{
    unsigned char decoded[4096];
    char text[4096];
    size_t len, error_at, i, n = 0;
    const char *value;
    bool newer = strstr(lines, "-V2") != NULL;
    CHECK_INT(call("POST", DOCS, f("%s%s", range_line(0), lines), f("{\"query\":\"%s\"}", sql)), 200);
    value = header("x-ms-cosmos-index-utilization");
    if (newer) {
        for (i = 0; value[i]; i++) {
            unsigned c = (unsigned char)value[i];
            if (c == '%') {
                CHECK_INT(sscanf(value + i + 1, "%2x", &c), 1);
                i += 2;
            }
            text[n++] = (char)c;
        }
        text[n] = 0;
    } else {
        CHECK(aioc_text_base64_decode(aioc_mem_str(value), decoded, sizeof decoded, &len, &error_at));
        snprintf(text, sizeof text, "%.*s", (int)len, (const char *)decoded);
    }
    if (!strstr(text, wanted)) printf("  %s\n  gives %s\n", sql, text);
    CHECK(strstr(text, wanted) != NULL);
}

TEST(answers_say_which_indexes_would_serve)
{
    static const char older[] = "x-ms-cosmos-populateindexmetrics: True\r\n";
    static const char newer[] = "x-ms-cosmos-populateindexmetrics-V2: true\r\n";
    aiocosmos_emulator_options options;
    memset(&options, 0, sizeof options);
    options.partitions = 1;
    options.any_order = true;
    open_core(options);
    make_container("{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\",\"version\":2},"
                   "\"indexingPolicy\":{\"includedPaths\":[{\"path\":\"/*\"},{\"path\":\"/big/seen/?\"}],"
                   "\"excludedPaths\":[{\"path\":\"/big/*\"}],\"compositeIndexes\":[["
                   "{\"path\":\"/a\",\"order\":\"ascending\"},{\"path\":\"/b\",\"order\":\"descending\"}]]}}");
    check_indexes(newer, "SELECT * FROM c WHERE c.a = 1 AND c.o.p > 2", "{\"UtilizedIndexes\":{\"SingleIndexes\":["
                  "{\"IndexSpec\":\"/a/?\"},{\"IndexSpec\":\"/o/p/?\"}],\"CompositeIndexes\":[]},\"PotentialIndexes\":{"
                  "\"SingleIndexes\":[],\"CompositeIndexes\":[]}}");
    check_indexes(newer, "SELECT * FROM c WHERE c.big.x = 1 AND c.big.seen = 2",
                  "{\"UtilizedIndexes\":{\"SingleIndexes\":[{\"IndexSpec\":\"/big/seen/?\"}],"
                  "\"CompositeIndexes\":[]},\"PotentialIndexes\":{\"SingleIndexes\":["
                  "{\"IndexSpec\":\"/big/x/?\"}]");
    check_indexes(older, "SELECT * FROM c WHERE c.a = 1", "{\"UtilizedSingleIndexes\":[{\"IndexSpec\":\"/a/?\","
                  "\"FilterExpression\":\"\",\"FilterPreciseSet\":true,\"IndexPreciseSet\":true,"
                  "\"IndexImpactScore\":\"High\"}],\"PotentialSingleIndexes\":[],\"UtilizedCompositeIndexes\":[],"
                  "\"PotentialCompositeIndexes\":[]}");
    check_indexes(newer, "SELECT VALUE t FROM c JOIN t IN c.tags WHERE t.x = 1 OR ARRAY_CONTAINS(c.list, 2)",
                  "[{\"IndexSpec\":\"/tags/[]/x/?\"},{\"IndexSpec\":\"/list/[]/?\"}]");
    check_indexes(newer, "SELECT * FROM c ORDER BY c.a DESC", "\"SingleIndexes\":[{\"IndexSpec\":\"/a/?\"}]");
    check_indexes(newer, "SELECT * FROM c ORDER BY c.a DESC, c.b", "{\"UtilizedIndexes\":{\"SingleIndexes\":[],"
                  "\"CompositeIndexes\":[{\"IndexSpecs\":[\"/a DESC\",\"/b ASC\"]}]}");
    check_indexes(newer, "SELECT * FROM c ORDER BY c.a, c.b", "\"PotentialIndexes\":{\"SingleIndexes\":[],"
                  "\"CompositeIndexes\":[{\"IndexSpecs\":[\"/a ASC\",\"/b ASC\"]}]}");
    close_world();
}

TEST(vectors_are_sorted_as_the_container_says)
{
    aiocosmos_emulator_options options;
    memset(&options, 0, sizeof options);
    options.partitions = 1;
    open_core(options);
    make_container("{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\",\"version\":2},"
                   "\"vectorEmbeddingPolicy\":{\"vectorEmbeddings\":[{\"path\":\"/v\",\"dataType\":\"float32\","
                   "\"dimensions\":2,\"distanceFunction\":\"euclidean\"}]}}");
    CHECK_INT(call("POST", DOCS, PK("[\"k\"]"), "{\"id\":\"1\",\"pk\":\"k\",\"v\":[9,9]}"), 201);
    CHECK_INT(call("POST", DOCS, PK("[\"k\"]"), "{\"id\":\"2\",\"pk\":\"k\",\"v\":[1,2]}"), 201);
    CHECK_INT(call("POST", DOCS, PLAN FEATURES "NonStreamingOrderBy,OrderBy,Top\r\n",
                   "{\"query\":\"SELECT TOP 2 * FROM c ORDER BY VectorDistance(c.v, [1, 1])\"}"), 200);
    CHECK(says("\"orderBy\":[\"Ascending\"]"));
    CHECK_INT(call("POST", DOCS, range_line(0),
                   "{\"query\":\"SELECT TOP 2 VALUE VectorDistance(c.v, [1, 1]) FROM c "
                   "ORDER BY VectorDistance(c.v, [1, 1])\"}"),
              200);
    CHECK(says("[1,11.31"));
    close_world();
}

/* Not even one partition can answer them: the statistics come first. */
TEST(hybrid_searches_are_always_the_clients_work)
{
    static const char body[] = "{\"query\":\"SELECT TOP 2 c.id FROM c ORDER BY RANK FullTextScore(c.t, 'x')\"}";
    open_world(2);
    CHECK_INT(call("POST", DOCS, ACROSS, body), 400);
    CHECK_INT(got.sub_status, 1004);
    CHECK_INT(call("POST", DOCS, QUERY PK("[\"k\"]"), body), 400);
    CHECK_INT(got.sub_status, 1004);
    CHECK(says("hybridSearchQueryInfo"));
    CHECK_INT(call("POST", DOCS, PLAN FEATURES "HybridSearch,Top\r\n", body), 200);
    close_world();
}

/* Each allocation of a plan request fails in turn: it is refused, and the next one is answered. */
TEST(plans_bear_any_failing_allocation)
{
    static const char body[] = "{\"query\":\"SELECT c.a, COUNT(1) AS n FROM c WHERE c.pk IN (1, 2) GROUP BY c.a\"}";
    static const char lines[] = PLAN FEATURES "Aggregate,GroupBy,NonValueAggregate\r\n";
    unsigned long used, nth;
    open_world(2);
    CHECK_INT(call("POST", DOCS, lines, body), 200);
    used = heap.calls;
    CHECK_INT(call("POST", DOCS, lines, body), 200);
    used = heap.calls - used;
    for (nth = 1; nth <= used; nth++) {
        heap_fail(&heap, nth, 1);
        send_alone("POST", DOCS, lines, body);
        heap_recover(&heap);
        CHECK_INT(call("POST", DOCS, lines, body), 200);
    }
    close_world();
}

/* What a query holds is the emulator's memory too. */
TEST(a_query_keeps_to_the_memory_of_the_emulator)
{
    static const char elements[] = "[0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9]";
    aiocosmos_emulator_options options;
    int i;
    memset(&options, 0, sizeof options);
    options.partitions = 1;
    options.memory_max = (size_t)4 << 20;
    open_core(options);
    CHECK_INT(call("POST", "/dbs", NULL, "{\"id\":\"D\"}"), 201);
    CHECK_INT(call("POST", "/dbs/D/colls", NULL, "{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"]}}"), 201);
    for (i = 0; i < 40; i++)
        CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), f("{\"id\":\"%d\",\"pk\":\"a\",\"l\":%s}", i, elements)), 201);
    CHECK_INT(call("POST", DOCS, QUERY PK("[\"a\"]"), "{\"query\":\"SELECT VALUE COUNT(1) FROM (SELECT DISTINCT VALUE "
                   "[c.id, c.l, a, b] FROM c JOIN a IN c.l JOIN b IN c.l) AS x\"}"), 503);
    CHECK(says("out of memory"));
    CHECK_INT(call("POST", DOCS, QUERY PK("[\"a\"]"), "{\"query\":\"SELECT VALUE COUNT(1) FROM c\"}"), 200);
    CHECK(says("[40]"));
    close_world();
}

TEST(a_document_has_a_number)
{
    open_world(1);
    fill(4, 2);
    CHECK_INT(call("POST", DOCS, range_line(0), "{\"query\":\"SELECT VALUE DocumentId(c) FROM c\"}"), 200);
    CHECK(says("[1,2,3,4]"));
    CHECK_INT(call("POST", DOCS, range_line(0), "{\"query\":\"SELECT VALUE c.id FROM c WHERE documentid(c) > 2\"}"),
              200);
    CHECK(says("[\"i2\",\"i3\"]"));
    CHECK_INT(call("POST", DOCS, range_line(0), "{\"query\":\"SELECT VALUE DocumentId(c.l) FROM c\"}"), 200);
    CHECK_INT(count(), 0);
    close_world();
}

TEST(numbers_are_doubles_where_that_is_asked_for)
{
    static const char item[] = "{\"id\":\"12345678901234567890 \\\" 1e9\",\"pk\":\"a\","
                               "\"n\":[12345678901234567890, -0.10, 1E2,7]}";
    static const char *const beyond[] = { "1e400", "-1e309", "[1, {\"x\": 2e999}]" };
    aiocosmos_emulator_options options;
    size_t i;
    memset(&options, 0, sizeof options);
    options.strict_numbers = true;
    open_core(options);
    make_container("{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"]}}");
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), item), 201);
    CHECK(says("{\"id\":\"12345678901234567890 \\\" 1e9\",\"pk\":\"a\",\"n\":[12345678901234567000, -0.1, 100,7],"));
    for (i = 0; i < 3; i++) {
        CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), f("{\"id\":\"x\",\"pk\":\"a\",\"n\":%s}", beyond[i])), 400);
        CHECK(says("out of the range of doubles"));
    }
    close_world();
    open_world(1);                                         /* as it came, where it is not */
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), item), 201);
    CHECK(says("\"n\":[12345678901234567890, -0.10, 1E2,7]"));
    close_world();
}

/* A filter is tried on what the client wrote; what the service adds is there for whoever asks, in whichever part of the
 * query, and by whichever spelling. */
TEST(what_the_service_adds_is_there_for_who_asks)
{
    static const struct { const char *query; int count; const char *says; } asked[] = {
        { "SELECT * FROM c WHERE c.n = 2", 5, "\"_etag\":" },
        { "SELECT * FROM c WHERE c.n = 3", 0, "" },
        { "SELECT c.id, c._ts FROM c WHERE c.n = 2", 5, "\"_ts\":1795228304" },
        { "SELECT VALUE c FROM c WHERE c.n = 2", 5, "\"_self\":\"dbs/" },
        { "SELECT TOP 3 * FROM c WHERE c.n = 2 ORDER BY c.id DESC", 3, "\"_etag\":" },
        { "SELECT VALUE c FROM c WHERE c.n = 2 ORDER BY c._ts", 5, "\"_self\":\"dbs/" },
        { "SELECT DISTINCT VALUE c FROM c WHERE c.n = 2", 5, "\"_self\":\"dbs/" },
        { "SELECT VALUE r._ts FROM (SELECT * FROM c WHERE c.n = 2) r", 5, "1795228304" },
        { "SELECT VALUE {\\\"a\\\":[c]} FROM c WHERE c.n = 2", 5, "_attachments" },
        { "SELECT VALUE c.id FROM c WHERE c._ts > 1 AND c.n = 2", 5, "\"i1\"" },
        { "SELECT VALUE c.id FROM c WHERE IS_DEFINED(c[\\\"_rid\\\"]) AND c.n = 2", 5, "\"i1\"" },
        { "SELECT VALUE c.id FROM c WHERE IS_DEFINED(c[CONCAT('_', 'rid')]) AND c.n = 2", 5, "\"i1\"" },
        { "SELECT VALUE c.id FROM c WHERE DocumentId(c) > 0 AND c.n = 2", 5, "\"i1\"" },
        { "SELECT VALUE IS_DEFINED(c._self) FROM c WHERE c.n = 2", 5, "true" },
        { "SELECT VALUE r FROM (SELECT VALUE c FROM c WHERE c.n = 2) r", 5, "_etag" },
        { "SELECT VALUE r._ts FROM (SELECT VALUE c FROM c WHERE c.n = 2) r WHERE r._ts > 1", 5, "1795228304" },
        { "SELECT VALUE x FROM c JOIN x IN c.l WHERE c.n = 2 AND c._ts > 1", 25, "5" },
        { "SELECT VALUE (SELECT VALUE c._ts) FROM c WHERE c.n = 2", 5, "1795228304" },
        { "SELECT VALUE c.id FROM c WHERE EXISTS(SELECT VALUE 1 FROM x IN c.l WHERE c._ts > x) AND c.n = 2", 5, "i1" },
        { "SELECT VALUE c.id FROM c WHERE ARRAY_CONTAINS([c], {\\\"_ts\\\":1795228304}, true) AND c.n = 2", 5, "i1" },
        { "SELECT VALUE c.n + 1 FROM c WHERE c.n = 2 AND c.id != 'i1'", 4, "3" },
        { "SELECT VALUE c.k\\u0065y FROM c", 1, "\"v\"" },
        { "SELECT VALUE c.id FROM c WHERE c.key = 'v'", 1, "\"odd\"" },
        { "SELECT VALUE c._ets FROM c", 1, "8" }
    };
    size_t i;
    open_world(1);
    fill(40, 3);
    CHECK_INT(call("POST", DOCS, key_line("k1"),
                   "{\"id\":\"odd\",\"pk\":\"k1\",\"k\\u0065y\":\"v\",\"_ets\":7,\"_ets\":8}"), 201);
    for (i = 0; i < sizeof asked / sizeof *asked; i++) {
        CHECK_INT(call("POST", DOCS, range_line(0), f("{\"query\":\"%s\"}", asked[i].query)), 200);
        if (count() != asked[i].count || !says(asked[i].says))
            test_fail(__FILE__, __LINE__, "%s: %lld, %.300s", asked[i].query, count(), got.text);
    }
    close_world();
}
