/* The emulator's core, fed with request bytes: no sockets, a clock and memory of the test's own. What the service would
 * answer is written beside each check. */
#include "emulator_world.h"

/*--- Account, databases, containers ----------------------------------------------------*/

TEST(account_names_its_own_address)
{
    open_world(1);
    aiocosmos_emulator_set_endpoint(w.core, "http://localhost:1234/");
    CHECK_INT(call("GET", "/", NULL, NULL), 200);
    CHECK(says("\"databaseAccountEndpoint\":\"http://localhost:1234/\""));
    CHECK(says("\"defaultConsistencyLevel\":\"Session\""));
    CHECK_STR(property("id"), "aiocosmos-emulator");
    close_world();
}

TEST(databases)
{
    open_world(1);
    CHECK_INT(call("POST", "/dbs", NULL, "{\"id\":\"D\"}"), 409);
    CHECK_INT(call("POST", "/dbs", NULL, "{\"id\":\"zwei \xC3\xA4+%\",\"more\":[1]}"), 201);
    CHECK_STR(property("more"), "[1]");
    CHECK_INT(strlen(property("_rid")), 8);
    CHECK_STR(property("_etag"), header("etag"));
    CHECK_INT(call("GET", "/dbs/zwei \xC3\xA4+%", NULL, NULL), 200);
    CHECK_INT(call("GET", "/dbs", NULL, NULL), 200);
    CHECK_INT(count(), 2);
    CHECK_INT(call("GET", "/dbs", "x-ms-max-item-count: 1\r\n", NULL), 200);
    CHECK_INT(count(), 1);
    CHECK_STR(header("x-ms-continuation"), "1");
    CHECK_INT(call("GET", "/dbs", "x-ms-max-item-count: 1\r\nx-ms-continuation: 1\r\n", NULL), 200);
    CHECK(says("zwei"));
    CHECK_STR(header("x-ms-continuation"), "");
    CHECK_INT(call("POST", "/dbs", QUERY, "{\"query\":\"SELECT * FROM root r WHERE r.id=@i\","
                   "\"parameters\":[{\"name\":\"@i\",\"value\":\"D\"}]}"), 200);
    CHECK_INT(count(), 1);
    CHECK_INT(call("POST", "/dbs", QUERY, "{\"query\":\"SELECT * FROM\"}"), 400);
    CHECK_INT(call("DELETE", "/dbs/zwei \xC3\xA4+%", NULL, NULL), 204);
    CHECK_INT(got.body.len, 0);
    CHECK_INT(call("GET", "/dbs/zwei \xC3\xA4+%", NULL, NULL), 404);
    CHECK_INT(got.sub_status, 0);
    CHECK_INT(call("POST", "/dbs", NULL, "{\"id\":\"a/b\"}"), 400);
    CHECK_INT(call("POST", "/dbs", NULL, "{\"id\":\"\"}"), 400);
    CHECK_INT(call("POST", "/dbs", NULL, "{\"id\":7}"), 400);
    CHECK_INT(call("POST", "/dbs", NULL, "{}"), 400);
    CHECK_INT(call("POST", "/dbs", NULL, "[]"), 400);
    CHECK_INT(call("POST", "/dbs", NULL, "{\"id\":\"x\""), 400);
    CHECK_INT(call("POST", "/dbs", NULL, ""), 400);
    CHECK_INT(call("PATCH", "/dbs", NULL, "{}"), 405);
    CHECK_INT(call("GET", "/nothing", NULL, NULL), 404);
    CHECK_INT(call("GET", "/dbs/D/nothing", NULL, NULL), 404);
    close_world();
}

TEST(containers)
{
    static const char *const bad[] = {
        "{\"id\":\"X\"}", "{\"id\":\"X\",\"partitionKey\":{}}", "{\"id\":\"X\",\"partitionKey\":{\"paths\":[]}}",
        "{\"id\":\"X\",\"partitionKey\":{\"paths\":[\"pk\"]}}", "{\"id\":\"X\",\"partitionKey\":{\"paths\":[\"/\"]}}",
        "{\"id\":\"X\",\"partitionKey\":{\"paths\":[\"/a\",\"/b\"],\"version\":2}}",
        "{\"id\":\"X\",\"partitionKey\":{\"paths\":[\"/a\",\"/b\",\"/c\",\"/d\"],\"kind\":\"MultiHash\"}}",
        "{\"id\":\"X\",\"partitionKey\":{\"paths\":[\"/a\",\"/b\"],\"kind\":\"MultiHash\"}}",
        "{\"id\":\"X\",\"partitionKey\":{\"paths\":[\"/a\"],\"version\":3}}",
        "{\"id\":\"X\",\"partitionKey\":{\"paths\":[\"/a\"],\"kind\":\"Range\"}}",
        "{\"id\":\"X\",\"partitionKey\":{\"paths\":[\"/a\"]},\"defaultTtl\":0}",
        "{\"id\":\"X\",\"partitionKey\":{\"paths\":[\"/a\"]},\"defaultTtl\":-2}",
        "{\"id\":\"X\",\"partitionKey\":{\"paths\":[\"/a\"]},\"indexingPolicy\":7}",
        "{\"id\":\"X\",\"partitionKey\":{\"paths\":[\"/a\"]},\"indexingPolicy\":{\"excludedPaths\":[{\"p\":1}]}}",
        "{\"id\":\"X\",\"partitionKey\":{\"paths\":[\"/a\"]},\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[]}]}}",
        "{\"id\":\"X\",\"partitionKey\":{\"paths\":[\"/a\"]},\"uniqueKeyPolicy\":{\"uniqueKeys\":[7]}}" };
    size_t i;
    open_world(2);
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        call("POST", "/dbs/D/colls", NULL, bad[i]);
        if (got.status != 400) test_fail(__FILE__, __LINE__, "%s: %d", bad[i], got.status);
    }
    CHECK_INT(call("POST", "/dbs/D/colls", NULL, "{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/a\"]}}"), 409);
    CHECK_INT(call("POST", "/dbs/N/colls", NULL, "{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/a\"]}}"), 404);
    CHECK_INT(got.sub_status, 1003);
    CHECK_INT(call("POST", "/dbs/D/colls", NULL, "{\"id\":\"X\","
                   "\"clientEncryptionPolicy\":{\"a\":1},\"partitionKey\":{\"paths\":[\"/a\"]},"
                   "\"indexingPolicy\":{\"indexingMode\":\"none\",\"automatic\":false},\"defaultTtl\":5}"), 201);
    CHECK_STR(property("clientEncryptionPolicy"), "{\"a\":1}");
    CHECK_STR(property("indexingPolicy"), "{\"indexingMode\":\"none\",\"automatic\":false}");
    CHECK_INT(strlen(property("_rid")), 12);
    CHECK_STR(property("_docs"), "docs/");
    CHECK_INT(call("GET", "/dbs/D/colls/X", NULL, NULL), 200);
    CHECK_STR(property("_etag"), header("etag"));
    CHECK_INT(call("PUT", "/dbs/D/colls/X", NULL, got.text), 200);             /* what was read can be written back */
    CHECK(says("\"clientEncryptionPolicy\":{\"a\":1}"));
    CHECK_INT(call("PUT", "/dbs/D/colls/X", "If-Match: \"x\"\r\n", "{\"id\":\"X\"}"), 412);
    CHECK_INT(call("DELETE", "/dbs/D/colls/X", "If-Match: \"x\"\r\n", NULL), 412);
    CHECK_INT(call("PUT", "/dbs/D/colls/X", NULL, "{\"id\":\"X\",\"partitionKey\":{\"paths\":[\"/b\"]}}"), 400);
    CHECK_INT(call("PUT", "/dbs/D/colls/X", NULL, "{\"id\":\"Y\",\"partitionKey\":{\"paths\":[\"/a\"]}}"), 400);
    CHECK_INT(call("PUT", "/dbs/D/colls/X", NULL, "{\"id\":\"X\",\"partitionKey\":{\"paths\":[\"/a\"]}}"), 200);
    CHECK_STR(property("defaultTtl"), "");
    CHECK(says("\"indexingMode\":\"consistent\""));
    CHECK_INT(call("GET", "/dbs/D/colls", NULL, NULL), 200);
    CHECK_INT(count(), 2);
    CHECK_INT(call("DELETE", "/dbs/D/colls/X", NULL, NULL), 204);
    CHECK_INT(call("GET", "/dbs/D/colls/X", NULL, NULL), 404);
    CHECK_INT(call("GET", "/dbs/D/colls/X/docs/1", PK("[1]"), NULL), 404);
    CHECK_INT(got.sub_status, 1003);
    close_world();
}

#define WITH(PROPERTIES) "{\"id\":\"X\",\"partitionKey\":{\"paths\":[\"/a\"]}," PROPERTIES "}"
#define EMBEDDING(REST)  WITH("\"vectorEmbeddingPolicy\":{\"vectorEmbeddings\":[{\"path\":\"/v\",\"dataType\":" REST \
                              "}]}")

#define INDEXING(REST)   WITH("\"indexingPolicy\":{" REST "}")
#define SPATIAL(REST)    INDEXING("\"spatialIndexes\":[{\"path\":\"/p/?\"," REST "}]")
#define LEVELS(PATHS)    "{\"id\":\"X\",\"partitionKey\":{\"paths\":[" PATHS "],\"kind\":\"MultiHash\",\"version\":2}}"

/* What is misspelt is refused and named, for the container would be another than was meant. */
TEST(container_policies)
{
    static const struct { const char *body, *word; } bad[] = {
        { WITH("\"uniqueKeys\":[\"/name\"]"), "'uniqueKeys' is unknown" },
        { WITH("\"uniqueKeyPolicies\":{}"), "'uniqueKeyPolicies' is unknown" },
        { WITH("\"defaultTTL\":5"), "'defaultTTL' is unknown" },
        { WITH("\"ttl\":5"), "'ttl' is unknown" },
        { WITH("\"\":5"), "'' is unknown" },
        { WITH("\"uniqueKeyPolicy\":{\"uniquekeys\":[]}"), "'uniquekeys' of uniqueKeyPolicy is unknown" },
        { WITH("\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"path\":\"/a\"}]}"), "'path' of a unique key is unknown" },
        { WITH("\"uniqueKeyPolicy\":[]"), "unique key policy" },
        { WITH("\"uniqueKeyPolicy\":{\"uniqueKeys\":{}}"), "unique key policy" },
        { WITH("\"conflictResolutionPolicy\":7"), "conflict resolution" },
        { WITH("\"conflictResolutionPolicy\":{\"mode\":\"First\"}"), "conflict resolution" },
        { WITH("\"conflictResolutionPolicy\":{\"path\":\"/a\"}"), "'path' of conflictResolutionPolicy" },
        { WITH("\"changeFeedPolicy\":{\"retention\":1}"), "'retention' of changeFeedPolicy" },
        { WITH("\"geospatialConfig\":\"Geometry\""), "geospatial" },
        { WITH("\"geospatialConfig\":{\"type\":\"Globe\"}"), "geospatial" },
        { WITH("\"geospatialConfig\":{\"kind\":\"Geometry\"}"), "'kind' of geospatialConfig" },
        { WITH("\"vectorEmbeddingPolicy\":[]"), "vector embedding" },
        { WITH("\"vectorEmbeddingPolicy\":{\"embeddings\":[]}"), "'embeddings' of vectorEmbeddingPolicy" },
        { EMBEDDING("\"float32\",\"dimensions\":3"), "vector embedding" },
        { EMBEDDING("\"float32\",\"dimensions\":0,\"distanceFunction\":\"cosine\""), "vector embedding" },
        { EMBEDDING("\"float64\",\"dimensions\":3,\"distanceFunction\":\"cosine\""), "vector embedding" },
        { EMBEDDING("\"int8\",\"dimensions\":3,\"distanceFunction\":\"near\""), "vector embedding" },
        { EMBEDDING("\"int8\",\"dimension\":3,\"distanceFunction\":\"cosine\""), "'dimension' of a vector" },
        { WITH("\"fullTextPolicy\":{\"paths\":[]}"), "'paths' of fullTextPolicy" },
        { WITH("\"fullTextPolicy\":{\"fullTextPaths\":[\"/a\"]}"), "full text" },
        { INDEXING("\"indexingmode\":\"none\""), "'indexingmode' of indexingPolicy is unknown" },
        { INDEXING("\"includePaths\":[]"), "'includePaths' of indexingPolicy is unknown" },
        { INDEXING("\"excludedPaths\":[{\"paths\":\"/a/?\"}]"), "'paths' of an excluded path" },
        { INDEXING("\"includedPaths\":[{\"path\":\"/a/?\",\"index\":[]}]"), "'index' of an included path" },
        { INDEXING("\"compositeIndexes\":[[{\"path\":\"/a\",\"sort\":\"descending\"}]]"), "'sort' of a composite" },
        { INDEXING("\"compositeIndexes\":[[{\"path\":\"/a\",\"order\":\"down\"}]]"), "indexing policy" },
        { INDEXING("\"compositeIndexes\":[{\"path\":\"/a\"}]"), "indexing policy" },
        { INDEXING("\"spatialIndexes\":[{\"path\":\"a\"}]"), "indexing policy" },
        { INDEXING("\"spatialIndexes\":{}"), "indexing policy" },
        { SPATIAL("\"type\":[]"), "'type' of a spatial index" },
        { SPATIAL("\"types\":\"Point\""), "'types' of a spatial index have to be" },
        { SPATIAL("\"types\":[\"Point\",\"Circle\"]"), "'types' of a spatial index have to be" },
        { SPATIAL("\"types\":[null]"), "'types' of a spatial index have to be" },
        { SPATIAL("\"boundingBox\":[0,0,1,1]"), "a 'boundingBox' has to have" },
        { SPATIAL("\"boundingBox\":{\"xmin\":0,\"ymin\":0,\"xmax\":1}"), "a 'boundingBox' has to have" },
        { SPATIAL("\"boundingBox\":{\"xmin\":0,\"ymin\":0,\"xmax\":1,\"ymax\":0}"), "a 'boundingBox' has to have" },
        { SPATIAL("\"boundingBox\":{\"xmin\":0,\"ymin\":0,\"xmax\":1,\"yMax\":1}"), "'yMax' of a boundingBox" },
        { WITH("\"geospatialConfig\":{\"type\":\"Geometry\"},\"indexingPolicy\":{\"spatialIndexes\":[{\"path\":\"/*\","
               "\"types\":[\"Point\"]}]}"), "needs a 'boundingBox'" },
        { INDEXING("\"vectorIndexes\":{}"), "indexing policy" },
        { INDEXING("\"fullTextIndexes\":[\"/a\"]"), "indexing policy" },
        { INDEXING("\"indexingMode\":\"Eventual\""), "indexing policy" },
        { LEVELS("\"/a\",\"/a\""), "twice" },
        { LEVELS("\"/a/b\",\"/c\",\"/\\\"a\\\"/'b'\""), "twice" },
        { "{\"id\":\"X\",\"partitionKey\":{\"paths\":[\"/a\"],\"versions\":2}}", "'versions' of partitionKey" },
        { "{\"id\":\"X\",\"partitionKey\":{\"paths\":[\"/a\"],\"version\":\"V3\"}}", "version" },
        { WITH("\"computedProperties\":{}"), "computed properties" },
        { WITH("\"computedProperties\":[{\"name\":\"a\"}]"), "computed properties" } };
    static const char all[] = WITH("\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[\"/m\",\"/b/c\"]}]},"
        "\"conflictResolutionPolicy\":{\"mode\":\"LastWriterWins\",\"conflictResolutionPath\":\"/n\"},"
        "\"vectorEmbeddingPolicy\":{\"vectorEmbeddings\":[{\"path\":\"/v\",\"dataType\":\"int8\",\"dimensions\":2,"
        "\"distanceFunction\":\"dotproduct\"}]},"
        "\"fullTextPolicy\":{\"defaultLanguage\":\"en-US\",\"fullTextPaths\":[]},"
        "\"computedProperties\":[{\"name\":\"low\",\"query\":\"SELECT VALUE LOWER(c.a) FROM c\"}],"
        "\"changeFeedPolicy\":{\"retentionDuration\":10},\"analyticalStorageTtl\":-1,"
        "\"geospatialConfig\":{\"type\":\"Geometry\"},\"materializedViewDefinition\":{}");
    static const char *const names[] = { "uniqueKeyPolicy", "conflictResolutionPolicy", "vectorEmbeddingPolicy",
        "fullTextPolicy", "computedProperties", "changeFeedPolicy", "analyticalStorageTtl", "geospatialConfig",
        "materializedViewDefinition" };
    char text[4096], other[4096];
    size_t i;
    open_world(2);
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        call("POST", "/dbs/D/colls", NULL, bad[i].body);
        if (got.status != 400 || !says(bad[i].word))
            test_fail(__FILE__, __LINE__, "%s: %d %s", bad[i].body, got.status, got.text);
    }
    CHECK_INT(call("POST", "/dbs/D/colls", NULL, all), 201);
    CHECK_INT(call("GET", "/dbs/D/colls/X", NULL, NULL), 200);
    for (i = 0; i < sizeof names / sizeof *names; i++)
        if (!*property(names[i]) || !strstr(all, property(names[i]))) CHECK_STR(property(names[i]), names[i]);
    snprintf(text, sizeof text, "%s", got.text);
    CHECK_INT(call("PUT", "/dbs/D/colls/X", NULL, text), 200);          /* what was read can be written back */
    snprintf(other, sizeof other, "%s", text);
    memcpy(strstr(other, "\"/m\""), "\"/o\"", 4);
    CHECK_INT(call("PUT", "/dbs/D/colls/X", NULL, other), 400);          /* unique keys stay as they are */
    CHECK(says("cannot be changed"));
    snprintf(other, sizeof other, "%s", text);
    memcpy(strstr(other, "LastWriterWins"), "lastwriterwins", 14);
    CHECK_INT(call("PUT", "/dbs/D/colls/X", NULL, other), 400);
    CHECK_INT(call("PUT", "/dbs/D/colls/X", NULL, WITH("\"uniqueKeys\":[]")), 400);
    CHECK_INT(call("PUT", "/dbs/D/colls/X", NULL, WITH("\"defaultTtl\":5")), 400);                 /* without them */
    CHECK_INT(call("GET", "/dbs/D/colls/X", NULL, NULL), 200);
    CHECK(says("\"/m\"") && says("LastWriterWins") && !says("defaultTtl"));
    close_world();
}

/* What the SDKs send, each in its own spelling. */
TEST(indexing_policies_of_sdks)
{
    static const char *const bodies[] = {
        "{\"id\":\"X\",\"partitionKey\":{\"paths\":[\"/a\"],\"kind\":\"Hash\",\"version\":\"V2\"},\"indexingPolicy\":{"
        "\"indexingMode\":\"Consistent\",\"automatic\":true,\"includedPaths\":[{\"path\":\"/*\",\"indexes\":[]}],"
        "\"excludedPaths\":[{\"path\":\"/\\\"_etag\\\"/?\"}],\"spatialIndexes\":[],\"compositeIndexes\":[],"
        "\"vectorIndexes\":[],\"fullTextIndexes\":[]},\"uniqueKeyPolicy\":{}}",
        INDEXING("\"automatic\":true,\"indexingMode\":\"None\",\"includedPaths\":null,\"excludedPaths\":[]"),
        INDEXING("\"includedPaths\":[{\"path\":\"/*\",\"indexes\":[{\"kind\":\"Range\",\"dataType\":\"Number\","
                 "\"precision\":-1}],\"isFullIndex\":true}],\"compositeIndexes\":[[{\"path\":\"/a\","
                 "\"order\":\"ascending\"},{\"path\":\"/b\",\"order\":\"Descending\"},{\"path\":\"/c\"}]]"),
        LEVELS("\"/a/b\",\"/a\",\"/a/c\""),
        SPATIAL("\"types\":[\"Point\",\"polygon\"]"),
        WITH("\"geospatialConfig\":{\"type\":\"Geometry\"},\"indexingPolicy\":{\"spatialIndexes\":[{\"path\":\"/*\","
             "\"types\":[\"MultiPolygon\"],\"boundingBox\":{\"xmin\":-1.5,\"ymin\":0,\"xmax\":1e3,\"ymax\":1}}]}"),
        INDEXING("\"spatialIndexes\":[{\"path\":\"/p/?\",\"types\":[\"Point\"],\"boundingBox\":{\"xmin\":0,\"ymin\":0,"
                 "\"xmax\":1,\"ymax\":1}}],"
                 "\"vectorIndexes\":[{\"path\":\"/v\",\"type\":\"diskANN\",\"quantizationByteSize\":2,"
                 "\"indexingSearchListSize\":100}],\"fullTextIndexes\":[{\"path\":\"/t\"}]")
    };
    size_t i;
    open_world(1);
    for (i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        if (call("POST", "/dbs/D/colls", NULL, bodies[i]) != 201)
            test_fail(__FILE__, __LINE__, "%s: %d %s", bodies[i], got.status, got.text);
        if (i == 0) CHECK(says("\"version\":2}") && says("\"indexingMode\":\"consistent\""));
        CHECK_INT(call("DELETE", "/dbs/D/colls/X", NULL, NULL), 204);
    }
    close_world();
}

TEST(offers)
{
    const char *rid, *offer;
    open_world(1);
    CHECK_INT(call("POST", "/dbs", "x-ms-offer-throughput: 500\r\n", "{\"id\":\"shared\"}"), 201);
    CHECK_INT(call("POST", "/dbs/shared/colls", NULL, "{\"id\":\"X\",\"partitionKey\":{\"paths\":[\"/a\"]}}"), 201);
    rid = property("_rid");
    CHECK_INT(call("POST", "/offers", QUERY, f("{\"query\":\"SELECT * FROM root r WHERE r.offerResourceId=@rid\","
                                               "\"parameters\":[{\"name\":\"@rid\",\"value\":\"%s\"}]}", rid)), 200);
    CHECK_INT(count(), 0);                                 /* it shares the database's */
    CHECK_INT(call("POST", "/dbs/D/colls", "x-ms-cosmos-offer-autopilot-settings: {\"maxThroughput\":4000}\r\n",
                   "{\"id\":\"auto\",\"partitionKey\":{\"paths\":[\"/a\"]}}"), 201);
    rid = property("_rid");
    CHECK_INT(call("POST", "/offers", QUERY, f("{\"query\":\"SELECT * FROM root r WHERE r.offerResourceId=@rid\","
                                               "\"parameters\":[{\"name\":\"@rid\",\"value\":\"%s\"}]}", rid)), 200);
    CHECK_INT(count(), 1);
    CHECK(says("\"offerAutopilotSettings\":{\"maxThroughput\":4000}"));
    offer = f("/offers/%.4s", strstr(got.text, "\"id\":\"") + 6);
    CHECK_INT(call("GET", offer, NULL, NULL), 200);
    CHECK_STR(header("x-ms-cosmos-min-throughput"), "1000");
    CHECK_INT(call("PUT", offer, NULL, "{\"content\":{\"offerAutopilotSettings\":{\"maxThroughput\":6000}}}"), 200);
    CHECK(says("\"maxThroughput\":6000"));
    CHECK_INT(call("PUT", offer, NULL, "{\"content\":{\"offerAutopilotSettings\":{\"maxThroughput\":6500}}}"), 400);
    CHECK_INT(call("PUT", offer, "x-ms-cosmos-migrate-offer-to-manual-throughput: true\r\n", "{}"), 200);
    CHECK(says("\"offerThroughput\":6000") && !says("Autopilot"));
    CHECK_INT(call("PUT", offer, NULL, "{\"content\":{\"offerThroughput\":300}}"), 400);
    CHECK_INT(call("PUT", offer, NULL, "{\"content\":{\"offerThroughput\":700}}"), 200);
    CHECK_INT(call("PUT", offer, "x-ms-cosmos-migrate-offer-to-autopilot: true\r\n", "{}"), 200);
    CHECK(says("\"maxThroughput\":4000"));
    CHECK_INT(call("GET", "/offers", NULL, NULL), 200);
    CHECK_INT(count(), 3);
    CHECK_INT(call("POST", "/dbs", "x-ms-offer-throughput: 401\r\n", "{\"id\":\"bad\"}"), 400);
    CHECK_INT(call("POST", "/dbs", "x-ms-offer-throughput: 400\r\n"
                   "x-ms-cosmos-offer-autopilot-settings: {\"maxThroughput\":4000}\r\n",
                   "{\"id\":\"bad\"}"), 400);
    CHECK_INT(call("GET", "/offers/none", NULL, NULL), 404);
    close_world();
}

/*--- Authorization (1) -------------------------------------------------------------------*/

TEST(signatures)
{
    const char *rid;
    aiocosmos_str value;
    char lower[32], text[400];
    size_t i;
    open_world(1);
    CHECK_INT(call("GET", "/dbs/D", "authorization: \r\n", NULL), 401);
    CHECK(says("Required Header authorization is missing"));
    CHECK_INT(call("GET", "/dbs/D", "authorization: nonsense\r\n", NULL), 401);
    CHECK_INT(call("GET", "/dbs/D", "authorization: type%3Dmaster%26ver%3D1.0%26sig%3Dabc\r\n", NULL), 401);
    CHECK(says("Server used the following payload to sign: 'get\\\\ndbs\\\\ndbs/D\\\\nsat, 21 nov 2026 "
               "02:31:44 gmt\\\\n\\\\n'"));
    value = aioc_auth_sign(&w.signer, "POST", "dbs", aioc_mem_str("dbs/D"), w.now_ms / 1000);
    CHECK_INT(call("GET", "/dbs/D", f("authorization: %.*s\r\n", (int)value.len, value.ptr), NULL), 401);
    /* .NET encodes in lower case; others not at all. */
    value = aioc_auth_sign(&w.signer, "GET", "dbs", aioc_mem_str("dbs/D"), w.now_ms / 1000);
    for (i = 0; i < value.len; i++)
        text[i] = i > 0 && (value.ptr[i - 1] == '%' || (i > 1 && value.ptr[i - 2] == '%'))
            ? aioc_mem_lower(value.ptr[i]) : value.ptr[i];
    CHECK_INT(call("GET", "/dbs/D", f("authorization: %.*s\r\n", (int)value.len, text), NULL), 200);
    /* By RID: only that is signed, in lower case (1.2). */
    rid = property("_rid");
    for (i = 0; rid[i]; i++) lower[i] = aioc_mem_lower(rid[i]);
    lower[i] = 0;
    value = aioc_auth_sign(&w.signer, "GET", "dbs", aioc_mem_str(lower), w.now_ms / 1000);
    CHECK_INT(call("GET", f("/dbs/%s", rid), f("authorization: %.*s\r\n", (int)value.len, value.ptr), NULL), 200);
    value = aioc_auth_sign(&w.signer, "GET", "dbs", aioc_mem_str("d"), w.now_ms / 1000);
    CHECK_INT(call("GET", "/dbs/D", f("authorization: %.*s\r\n", (int)value.len, value.ptr), NULL), 401);
    /* Java replaces users so. */
    CHECK_INT(call("POST", "/dbs/D/users", NULL, "{\"id\":\"ann\"}"), 201);
    snprintf(text, sizeof text, "/%s", property("_self"));
    rid = property("_rid");
    for (i = 0; rid[i]; i++) lower[i] = aioc_mem_lower(rid[i]);
    value = aioc_auth_sign(&w.signer, "PUT", "users", aioc_text_view(lower, i), w.now_ms / 1000);
    CHECK_INT(call("PUT", text, f("authorization: %.*s\r\n", (int)value.len, value.ptr), "{\"id\":\"eve\"}"), 200);
    close_world();
}

TEST(dates_may_be_15_minutes_off)
{
    static const int off[] = { -901, -900, 0, 900, 901 };
    size_t i;
    open_world(1);
    for (i = 0; i < 5; i++) {
        aioc_mem_buffer request;
        memset(&request, 0, sizeof request);
        put_request(&request, "GET", "/dbs", NULL, NULL);  /* signed now */
        w.now_ms = START_MS + off[i] * 1000;
        CHECK_INT(exchange(&request), abs(off[i]) > 900 ? 403 : 200);
        if (got.status == 403) CHECK(says("The authorization token is not valid at the current time."));
        w.now_ms = START_MS;
    }
    close_world();
}

TEST(required_headers)
{
    static const char bad_date[] = "GET /dbs HTTP/1.1\r\nauthorization: type%3Dmaster%26ver%3D1.0%26sig%3Dx\r\n"
                                   "x-ms-date: today\r\n\r\n";
    static const char no_date[] = "GET /dbs HTTP/1.1\r\nauthorization: type%3Dmaster%26ver%3D1.0%26sig%3Dx\r\n\r\n";
    aioc_mem_buffer request;
    open_world(1);
    memset(&request, 0, sizeof request);
    aioc_mem_append_str(&w.memory, &request, bad_date);
    CHECK_INT(exchange(&request), 401);
    aioc_mem_append_str(&w.memory, &request, no_date);
    CHECK_INT(exchange(&request), 401);
    put_request(&request, "GET", "/dbs", NULL, NULL);
    memcpy(strstr(request.data, "x-ms-version"), "x-ms-absent_", 12);
    CHECK_INT(exchange(&request), 400);
    CHECK(says("x-ms-version"));
    CHECK_INT(call("GET", "/dbs", "x-ms-activity-id: 11111111-2222-3333-4444-555555555555\r\n", NULL), 200);
    CHECK_STR(header("x-ms-activity-id"), "11111111-2222-3333-4444-555555555555");
    CHECK_INT(call("GET", "/dbs", NULL, NULL), 200);
    CHECK_INT(strlen(header("x-ms-activity-id")), 36);
    close_world();
}

/* The service's answer: 400, whatever was asked, to whoever does not say that it can follow a merge (azure-sdk-for-go,
 * issue 20709). */
TEST(accounts_with_partition_merge_refuse_who_cannot_follow)
{
    static const char *const without[] = { NULL, "", "0", "2", "10", "x", "-1" };
    static const char *const with[] = { "1", "3", "11" };
    aiocosmos_emulator_options options;
    size_t i;
    memset(&options, 0, sizeof options);
    options.merge_enabled = true;
    open_core(options);
    for (i = 0; i < sizeof without / sizeof *without; i++) {
        const char *line = i ? f("x-ms-cosmos-sdk-supportedcapabilities: %s\r\n", without[i]) : NULL;
        CHECK_INT(call("GET", "/", line, NULL), 400);
        CHECK(says("partition merge"));
        CHECK_INT(call("POST", "/dbs", line, "{\"id\":\"D\"}"), 400);
    }
    for (i = 0; i < sizeof with / sizeof *with; i++) {
        CHECK_INT(call("GET", "/dbs", f("x-ms-cosmos-sdk-supportedcapabilities: %s\r\n", with[i]), NULL), 200);
        CHECK_INT(count(), 0);
    }
    close_world();
}

static const char *token_line(void)
{
    static char line[1200], encoded[1100];
    aiocosmos_str token = aioc_mem_str(property("_token"));
    size_t len = aioc_auth_percent_encode(token, 0, encoded);
    snprintf(line, sizeof line, "authorization: %.*s\r\n", (int)len, encoded);
    return line;
}

TEST(resource_tokens)
{
    char all[1200], reading[1200], keyed[1300], by_rids[100];
    open_world(2);
    add_item("1", "a", 1);
    add_item("2", "b", 1);
    CHECK_INT(call("POST", "/dbs/D/users", NULL, "{\"id\":\"ann\"}"), 201);
    CHECK_INT(call("POST", "/dbs/D/users", NULL, "{\"id\":\"ann\"}"), 409);
    CHECK_INT(call("POST", "/dbs/D/users/ann/permissions", NULL, "{\"id\":\"all\",\"permissionMode\":\"All\","
                   "\"resource\":\"dbs/D/colls/C\"}"), 201);
    snprintf(all, sizeof all, "%s", token_line());
    CHECK_INT(call("POST", "/dbs/D/users/ann/permissions", NULL, "{\"id\":\"read\",\"permissionMode\":\"Read\","
                   "\"resource\":\"dbs/D/colls/C\"}"), 201);
    CHECK_INT(call("GET", "/dbs/D/users/ann/permissions/read", NULL, NULL), 200);
    snprintf(reading, sizeof reading, "%s", token_line());
    CHECK_INT(call("POST", "/dbs/D/users/ann/permissions", NULL, "{\"id\":\"key\",\"permissionMode\":\"All\","
                   "\"resource\":\"dbs/D/colls/C\",\"resourcePartitionKey\":[\"a\"]}"), 201);
    snprintf(keyed, sizeof keyed, "%s", token_line());
    CHECK_INT(call("POST", "/dbs/D/users/ann/permissions", NULL, "{\"id\":\"x\",\"permissionMode\":\"Some\","
                   "\"resource\":\"dbs/D/colls/C\"}"), 400);
    CHECK_INT(call("POST", "/dbs/D/users/ann/permissions", NULL, "{\"id\":\"x\",\"permissionMode\":\"All\","
                   "\"resource\":\"dbs/D/colls/N\"}"), 404);
    CHECK_INT(call("POST", "/dbs/D/users/ann/permissions", NULL, "{\"id\":\"x\",\"permissionMode\":\"All\","
                   "\"resource\":\"/dbs\"}"), 400);
    CHECK_INT(call("GET", "/dbs/D/users/ann/permissions", NULL, NULL), 200);
    CHECK_INT(count(), 3);

    CHECK_INT(call("GET", "/", all, NULL), 200);
    CHECK_INT(call("GET", "/dbs/D/colls/C", all, NULL), 200);
    snprintf(by_rids, sizeof by_rids, "/%spkranges", property("_self"));       /* as Java asks */
    CHECK_INT(call("GET", "/dbs/D/colls/C/pkranges", reading, NULL), 200);
    CHECK_INT(call("GET", by_rids, reading, NULL), 200);
    CHECK_INT(call("GET", DOCS "/1", f("%s%s", all, PK("[\"a\"]")), NULL), 200);
    CHECK_INT(call("POST", DOCS, f("%s%s", all, PK("[\"a\"]")), "{\"id\":\"3\",\"pk\":\"a\"}"), 201);
    CHECK_INT(call("GET", DOCS "/1", f("%s%s", reading, PK("[\"a\"]")), NULL), 200);
    CHECK_INT(call("POST", DOCS, f("%s%s" QUERY, reading, PK("[\"a\"]")), "{\"query\":\"SELECT * FROM c\"}"), 200);
    CHECK_INT(call("POST", DOCS, f("%s%s", reading, PK("[\"a\"]")), "{\"id\":\"4\",\"pk\":\"a\"}"), 403);
    CHECK_INT(call("DELETE", DOCS "/1", f("%s%s", reading, PK("[\"a\"]")), NULL), 403);
    CHECK_INT(call("DELETE", "/dbs/D/colls/C", all, NULL), 403);
    CHECK_INT(call("GET", "/dbs", all, NULL), 403);
    CHECK_INT(call("GET", "/dbs/D", all, NULL), 403);
    CHECK_INT(call("GET", "/dbs/D/colls", all, NULL), 403);
    CHECK_INT(call("GET", "/dbs/D/colls/C2/docs/1", f("%s%s", all, PK("[\"a\"]")), NULL), 403);
    CHECK_INT(call("GET", DOCS "/1", f("%s%s", keyed, PK("[\"a\"]")), NULL), 200);
    CHECK_INT(call("GET", DOCS "/2", f("%s%s", keyed, PK("[\"b\"]")), NULL), 403);
    CHECK_INT(call("POST", DOCS, f("%s" ACROSS, keyed), "{\"query\":\"SELECT * FROM c\"}"), 403);

    all[60] = all[60] == 'A' ? 'B' : 'A';                  /* forged */
    CHECK_INT(call("GET", "/dbs/D/colls/C", all, NULL), 401);
    w.now_ms += 3600 * 1000;
    CHECK_INT(call("GET", "/dbs/D/colls/C", reading, NULL), 403);              /* expired */
    CHECK_INT(call("GET", "/dbs/D/users/ann/permissions/read", "x-ms-documentdb-expiry-seconds: 7200\r\n", NULL), 200);
    snprintf(reading, sizeof reading, "%s", token_line());
    w.now_ms += 7199 * 1000;
    CHECK_INT(call("GET", "/dbs/D/colls/C", reading, NULL), 200);
    CHECK_INT(call("GET", "/dbs/D/users/ann/permissions/read", "x-ms-documentdb-expiry-seconds: 9\r\n", NULL), 400);
    CHECK_INT(call("GET", "/dbs/D/users/ann/permissions/read", "x-ms-documentdb-expiry-seconds: 10\r\n", NULL), 200);
    CHECK_INT(call("DELETE", "/dbs/D/users/ann/permissions/read", NULL, NULL), 204);
    CHECK_INT(call("GET", "/dbs/D/users/ann/permissions/read", NULL, NULL), 404);
    CHECK_INT(call("DELETE", "/dbs/D/users/ann", NULL, NULL), 204);
    CHECK_INT(call("GET", "/dbs/D/users/ann/permissions", NULL, NULL), 404);
    close_world();
}

TEST(entra_tokens)
{
    aiocosmos_emulator_options options;
    memset(&options, 0, sizeof options);
    options.aad_token = "eyJ0.e30.x";
    open_core(options);
    make_container("{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":2}}");
    CHECK_INT(call("GET", "/", "authorization: type=aad&ver=1.0&sig=eyJ0.e30.x\r\n", NULL), 200);
    CHECK_INT(call("GET", "/dbs/D/colls/C", "authorization: type%3Daad%26ver%3D1.0%26sig%3DeyJ0.e30.x\r\n", NULL), 200);
    CHECK_INT(call("POST", DOCS, "authorization: type=aad&ver=1.0&sig=eyJ0.e30.x\r\n" PK("[1]"), "{\"id\":\"1\","
                   "\"pk\":1}"), 201);
    CHECK_INT(call("GET", "/", "authorization: type=aad&ver=1.0&sig=other\r\n", NULL), 401);
    CHECK_INT(call("POST", "/dbs", "authorization: type=aad&ver=1.0&sig=eyJ0.e30.x\r\n", "{\"id\":\"X\"}"), 403);
    CHECK_INT(got.sub_status, 5300);
    close_world();
}

/*--- Items (5) ------------------------------------------------------------------------------*/

TEST(items_keep_their_bytes)
{
    static const char text[] = "{ \"id\" : \"1\",\"pk\":\"\\u0061\","
                               " \"big\":12345678901234567890, \"e\":1.50e+2,\"u\":\"\xC3\xA9\\n\", \"o\":{} \n";
    const char *etag;
    open_world(4);
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), f("%s}", text)), 201);
    CHECK(strncmp(got.text, text, sizeof text - 3) == 0);  /* all but the blanks before the brace */
    CHECK_INT(strlen(property("_rid")), 24);
    CHECK(strncmp(property("_self"), "dbs/", 4) == 0);
    CHECK_STR(property("_attachments"), "attachments/");
    CHECK_STR(property("_ts"), "1795228304");
    CHECK_STR(property("_etag"), header("etag"));
    CHECK(header("etag")[0] == '"');
    CHECK(got.charge >= 5 && got.charge < 8);
    CHECK_STR(header("x-ms-alt-content-path"), "dbs/D/colls/C");
    CHECK_INT(strlen(header("x-ms-content-path")), 12);
    etag = header("etag");
    CHECK_INT(call("GET", DOCS "/1", PK("[\"a\"]"), NULL), 200);
    CHECK(strncmp(got.text, text, sizeof text - 3) == 0);
    CHECK_STR(header("etag"), etag);
    CHECK_INT(got.charge * 100, 100);
    /* Read, change, replace: the system properties that come along are dropped, the rest stays. */
    CHECK_INT(call("PUT", DOCS "/1", PK("[\"a\"]"), got.text), 200);
    CHECK(says("\"big\":12345678901234567890,\"e\":1.50e+2,\"u\":\"\xC3\xA9\\n\""));
    CHECK(strcmp(header("etag"), etag) != 0);
    CHECK(strstr(strstr(got.text, "_rid") + 1, "\"_rid") == NULL);
    close_world();
}

TEST(items_create_read_replace_delete)
{
    const char *etag, *old;
    open_world(4);
    add_item("1", "a", 1);
    etag = f("%s", header("etag"));
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), "{\"id\":\"1\",\"pk\":\"a\"}"), 409);
    CHECK_INT(got.sub_status, 0);
    CHECK_INT(call("POST", DOCS, PK("[\"b\"]"), "{\"id\":\"1\",\"pk\":\"b\"}"), 201); /* another logical partition */
    CHECK_INT(call("GET", DOCS "/1", PK("[\"c\"]"), NULL), 404);
    CHECK_INT(call("GET", DOCS "/2", PK("[\"a\"]"), NULL), 404);
    CHECK_STR(property("code"), "NotFound");
    CHECK_INT(call("GET", DOCS "/1", f("%sIf-None-Match: %s\r\n", PK("[\"a\"]"), etag), NULL), 304);
    CHECK_INT(got.body.len, 0);
    CHECK_STR(header("etag"), etag);
    CHECK_INT(call("PUT", DOCS "/1", f("%sIf-Match: \"other\"\r\n", PK("[\"a\"]")), "{\"id\":\"1\",\"pk\":\"a\","
                   "\"n\":2}"), 412);
    CHECK_INT(call("PUT", DOCS "/1", f("%sIf-Match: %s\r\n", PK("[\"a\"]"), etag), "{\"id\":\"1\",\"pk\":\"a\","
                   "\"n\":2}"), 200);
    old = f("%s", etag);
    CHECK_INT(call("GET", DOCS "/1", f("%sIf-None-Match: %s\r\n", PK("[\"a\"]"), old), NULL), 200);
    CHECK_STR(property("n"), "2");
    CHECK_INT(call("PUT", DOCS "/1", f("%sIf-Match: *\r\n", PK("[\"a\"]")), "{\"id\":\"1\",\"pk\":\"a\",\"n\":3}"),
              200);
    CHECK_INT(call("PUT", DOCS "/9", PK("[\"a\"]"), "{\"id\":\"9\",\"pk\":\"a\"}"), 404);
    CHECK_INT(call("POST", DOCS, UPSERT PK("[\"a\"]"), "{\"id\":\"1\",\"pk\":\"a\",\"n\":4}"), 200);
    CHECK_INT(call("POST", DOCS, UPSERT PK("[\"a\"]"), "{\"id\":\"5\",\"pk\":\"a\",\"n\":4}"), 201);
    CHECK_INT(call("POST", DOCS, UPSERT "If-Match: \"x\"\r\n" PK("[\"a\"]"), "{\"id\":\"5\",\"pk\":\"a\"}"), 412);
    CHECK_INT(call("POST", DOCS, UPSERT "If-Match: \"x\"\r\n" PK("[\"a\"]"), "{\"id\":\"6\",\"pk\":\"a\"}"), 201);
    CHECK_INT(call("POST", DOCS, "Prefer: return=minimal\r\n" PK("[\"a\"]"), "{\"id\":\"7\",\"pk\":\"a\"}"), 201);
    CHECK_INT(got.body.len, 0);
    CHECK(header("etag")[0] == '"');
    CHECK_INT(call("PUT", DOCS "/7", PK("[\"a\"]"), "{\"id\":\"8\",\"pk\":\"a\"}"), 200);      /* renamed */
    CHECK_INT(call("GET", DOCS "/7", PK("[\"a\"]"), NULL), 404);
    CHECK_INT(call("GET", DOCS "/8", PK("[\"a\"]"), NULL), 200);
    CHECK_INT(call("PUT", DOCS "/8", PK("[\"a\"]"), "{\"id\":\"1\",\"pk\":\"a\"}"), 409);
    CHECK_INT(call("DELETE", DOCS "/1", f("%sIf-Match: \"other\"\r\n", PK("[\"a\"]")), NULL), 412);
    CHECK_INT(call("DELETE", DOCS "/1", PK("[\"a\"]"), NULL), 204);
    CHECK_INT(call("DELETE", DOCS "/1", PK("[\"a\"]"), NULL), 404);
    CHECK_INT(call("GET", DOCS "/1", PK("[\"b\"]"), NULL), 200);
    CHECK_INT(call("GET", DOCS "/1", "x-ms-consistency-level: Strong\r\n" PK("[\"b\"]"), NULL), 400);
    CHECK_INT(call("GET", DOCS "/1", "x-ms-consistency-level: Eventual\r\n" PK("[\"b\"]"), NULL), 200);
    CHECK_INT(call("GET", DOCS "/1", "x-ms-cosmos-intended-collection-rid: AAAA\r\n" PK("[\"b\"]"), NULL), 400);
    CHECK_INT(got.sub_status, 1024);
    close_world();
}

TEST(what_is_not_done_is_refused)
{
    open_world(1);
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]") "x-ms-documentdb-pre-trigger-include: stamp\r\n",
                   "{\"id\":\"1\",\"pk\":\"a\"}"), 400);
    CHECK(says("The trigger 'stamp' does not exist"));
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]") "x-ms-documentdb-post-trigger-include: stamp\r\n",
                   "{\"id\":\"1\",\"pk\":\"a\"}"), 400);
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]") "x-ms-indexing-directive: Sometimes\r\n",
                   "{\"id\":\"1\",\"pk\":\"a\"}"), 400);
    CHECK_INT(call("GET", DOCS "/1", PK("[\"a\"]"), NULL), 404);
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]") "x-ms-indexing-directive: Exclude\r\n",
                   "{\"id\":\"1\",\"pk\":\"a\"}"), 201);
    close_world();
}

TEST(items_have_rules)
{
    char *large = (char *)malloc(3u << 20);
    char id[1100];
    open_world(2);
    CHECK_INT(call("POST", DOCS, NULL, "{\"id\":\"1\",\"pk\":\"a\"}"), 400);
    CHECK_INT(call("POST", DOCS, PK("[\"b\"]"), "{\"id\":\"1\",\"pk\":\"a\"}"), 400);
    CHECK_INT(got.sub_status, 1001);
    CHECK_INT(call("POST", DOCS, PK("[\"a\",\"b\"]"), "{\"id\":\"1\",\"pk\":\"a\"}"), 400);
    CHECK_INT(call("POST", DOCS, PK("[]"), "{\"id\":\"1\",\"pk\":\"a\"}"), 400);
    CHECK_INT(call("POST", DOCS, PK("\"a\""), "{\"id\":\"1\",\"pk\":\"a\"}"), 400);
    CHECK_INT(call("POST", DOCS, PK("[\"a\""), "{\"id\":\"1\",\"pk\":\"a\"}"), 400);
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), "{\"pk\":\"a\"}"), 400);
    CHECK(says("required properties - 'id; '"));
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), "{\"id\":1,\"pk\":\"a\"}"), 400);
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), "{\"id\":\"\",\"pk\":\"a\"}"), 400);
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), "{\"id\":\"a/b\",\"pk\":\"a\"}"), 400);
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), "{\"id\":\"a\\\\b\",\"pk\":\"a\"}"), 400);
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), "{\"id\":\"a\\u0000b\",\"pk\":\"a\"}"), 400);
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), "{\"id\":\"a\",\"pk\":\"a\",}"), 400);
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), "[{\"id\":\"a\",\"pk\":\"a\"}]"), 400);
    CHECK_INT(call("POST", DOCS, PK("[{}]"), "{\"id\":\"a\",\"pk\":{}}"), 400);
    memset(id, 'i', sizeof id);
    id[1023] = 0;
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), f("{\"id\":\"%s\",\"pk\":\"a\"}", id)), 201);
    id[1023] = 'i';
    id[1024] = 0;
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), f("{\"id\":\"%s\",\"pk\":\"a\"}", id)), 400);
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), "{\"\\u0069d\":\"escaped \\u00e9\",\"pk\":\"a\"}"), 201);
    CHECK_INT(call("GET", DOCS "/escaped \xC3\xA9", PK("[\"a\"]"), NULL), 200);
    memset(large, 'x', 3u << 20);
    memcpy(large, "{\"id\":\"L\",\"pk\":\"a\",\"x\":\"", 24);
    strcpy(large + (2u << 20) - 2, "\"}");
    CHECK_INT(strlen(large), 2u << 20);
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), large), 201);
    strcpy(large + (2u << 20) - 2, "x\"}");
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), large), 413);
    CHECK_INT(call("GET", DOCS "/L", PK("[\"a\"]"), NULL), 200);
    free(large);
    close_world();
}

/* null, missing, false, 0 and "" are five keys. Each goes where its hash says, on both hash versions. */
TEST(partition_keys_of_all_kinds)
{
    static const char *const keys[][2] = {
        { "[null]", "null" }, { "[{}]", NULL }, { "[false]", "false" }, { "[true]", "true" }, { "[0]", "-0" },
        { "[1.5]", "15e-1" },
        { "[\"\"]", "\"\"" }, { "[\"1.5\"]", "\"1.5\"" }, { "[\"\\u00e9\"]", "\"\xC3\xA9\"" } };
    static const char *const versions[] = { "1", "2" };
    char long_key[300];
    size_t v, i, k;
    for (v = 0; v < 2; v++) {
        aiocosmos_emulator_options options;
        memset(&options, 0, sizeof options);
        options.partitions = 7;
        open_core(options);
        make_container(f("{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":%s}}", versions[v]));
        for (i = 0; i < sizeof keys / sizeof *keys; i++) {
            const char *property_text = keys[i][1] ? f(",\"pk\":%s", keys[i][1]) : "";
            const char *body = f("{\"id\":\"1\",\"i\":%d%s}", (int)i, property_text);
            CHECK_INT(call("POST", DOCS, f("x-ms-documentdb-partitionkey: %s\r\n", keys[i][0]), body), 201);
        }
        for (i = 0; i < sizeof keys / sizeof *keys; i++) {
            CHECK_INT(call("GET", DOCS "/1", f("x-ms-documentdb-partitionkey: %s\r\n", keys[i][0]), NULL), 200);
            CHECK_INT(atoi(property("i")), i);
        }
        for (k = 0; k < 299; k++) long_key[k] = (char)(k % 2 ? 0xA9 : 0xC3);   /* over 100 bytes, and not ASCII */
        long_key[k - 1] = 0;
        CHECK_INT(call("POST", DOCS, key_line(long_key), f("{\"id\":\"1\",\"pk\":\"%s\"}", long_key)), 201);
        CHECK_INT(call("GET", DOCS "/1", key_line(long_key), NULL), 200);
        close_world();
    }
}

TEST(hierarchical_keys)
{
    int tenant, user, device;
    aiocosmos_emulator_options options;
    memset(&options, 0, sizeof options);
    options.partitions = 5;
    open_core(options);
    make_container("{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/t\",\"/u\",\"/x/d\"],\"kind\":\"MultiHash\","
                   "\"version\":2}}");
    for (tenant = 0; tenant < 3; tenant++)
        for (user = 0; user < 3; user++)
            for (device = 0; device < 2; device++)
                CHECK_INT(call("POST", DOCS, f(PK("[\"t%d\",%d,\"d%d\"]"), tenant, user, device),
                               f("{\"id\":\"1\",\"t\":\"t%d\",\"u\":%d,\"x\":{\"d\":\"d%d\"}}", tenant, user, device)),
                          201);
    CHECK_INT(call("POST", DOCS, PK("[\"t9\",{},{}]"), "{\"id\":\"1\",\"t\":\"t9\"}"), 201);
    CHECK_INT(call("GET", DOCS "/1", PK("[\"t1\",2,\"d1\"]"), NULL), 200);
    CHECK_INT(call("GET", DOCS "/1", PK("[\"t9\",{},{}]"), NULL), 200);
    CHECK_INT(call("GET", DOCS "/1", PK("[\"t1\",2]"), NULL), 400);
    CHECK_INT(call("GET", DOCS "/1", PK("[\"t1\",2,\"d1\",4]"), NULL), 400);
    CHECK_INT(call("POST", DOCS, QUERY PK("[\"t1\"]"), "{\"query\":\"SELECT VALUE COUNT(1) FROM c\"}"), 200);
    CHECK(says("[6]"));
    CHECK_INT(call("POST", DOCS, QUERY PK("[\"t1\",2]"), "{\"query\":\"SELECT VALUE COUNT(1) FROM c\"}"), 200);
    CHECK(says("[2]"));
    CHECK_INT(call("POST", DOCS, QUERY, "{\"query\":\"SELECT * FROM c WHERE c.t='t1' AND c.u=2 AND c.x.d='d0'\"}"),
              200);
    CHECK_INT(count(), 1);
    close_world();
}

TEST(unique_keys)
{
    open_world(3);
    CHECK_INT(call("POST", "/dbs/D/colls", NULL, "{\"id\":\"U\","
                   "\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":2},\"defaultTtl\":-1,"
                   "\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[\"/mail\"]},{\"paths\":[\"/a/b\",\"/c\"]}]}}"),
              201);
#define UDOCS "/dbs/D/colls/U/docs"
    CHECK_INT(call("POST", UDOCS, PK("[1]"), "{\"id\":\"1\",\"pk\":1,\"mail\":\"x\",\"a\":{\"b\":1},\"c\":1}"), 201);
    CHECK_INT(call("POST", UDOCS, PK("[1]"), "{\"id\":\"2\",\"pk\":1,\"mail\":\"\\u0078\",\"a\":{\"b\":2}}"), 409);
    CHECK_INT(got.sub_status, 3301);
    /* unique in its partition */
    CHECK_INT(call("POST", UDOCS, PK("[2]"), "{\"id\":\"2\",\"pk\":2,\"mail\":\"x\"}"), 201);
    CHECK_INT(call("POST", UDOCS, PK("[1]"), "{\"id\":\"2\",\"pk\":1,\"mail\":\"y\",\"a\":{\"b\":1.0},\"c\":1e0}"),
              409);
    CHECK_INT(call("POST", UDOCS, PK("[1]"), "{\"id\":\"2\",\"pk\":1,\"mail\":\"y\",\"a\":{\"b\":1},\"c\":2}"), 201);
    CHECK_INT(call("PUT", UDOCS "/1", PK("[1]"), "{\"id\":\"1\",\"pk\":1,\"mail\":\"x\","
                   "\"a\":{\"b\":1},\"c\":1,\"n\":2}"), 200);
    CHECK_INT(call("PUT", UDOCS "/1", PK("[1]"), "{\"id\":\"1\",\"pk\":1,\"mail\":\"y\",\"c\":5}"), 409);
    CHECK_INT(call("PATCH", UDOCS "/1", PK("[1]"), "{\"operations\":[{\"op\":\"set\",\"path\":\"/mail\","
                   "\"value\":\"y\"}]}"), 409);
    CHECK_INT(call("POST", UDOCS, PK("[1]"), "{\"id\":\"3\",\"pk\":1,\"ttl\":10}"), 201);       /* missing: null */
    CHECK_INT(call("POST", UDOCS, PK("[1]"), "{\"id\":\"4\",\"pk\":1,\"mail\":null,\"c\":7}"), 409);
    w.now_ms += 10000;
    CHECK_INT(call("POST", UDOCS, PK("[1]"), "{\"id\":\"4\",\"pk\":1,\"mail\":null,\"c\":7}"), 201);
    CHECK_INT(call("DELETE", UDOCS "/2", PK("[1]"), NULL), 204);
    CHECK_INT(call("PUT", UDOCS "/1", PK("[1]"), "{\"id\":\"1\",\"pk\":1,\"mail\":\"y\",\"c\":5}"), 200);
    close_world();
}

TEST(time_to_live)
{
    open_world(3);
    CHECK_INT(call("POST", "/dbs/D/colls", NULL, "{\"id\":\"T\","
                   "\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":2},\"defaultTtl\":20}"), 201);
#define TDOCS "/dbs/D/colls/T/docs"
    CHECK_INT(call("POST", TDOCS, PK("[1]"), "{\"id\":\"default\",\"pk\":1}"), 201);
    CHECK_INT(call("POST", TDOCS, PK("[1]"), "{\"id\":\"short\",\"pk\":1,\"ttl\":5}"), 201);
    CHECK_INT(call("POST", TDOCS, PK("[1]"), "{\"id\":\"ever\",\"pk\":1,\"ttl\":-1}"), 201);
    CHECK_INT(call("POST", TDOCS, PK("[1]"), "{\"id\":\"bad\",\"pk\":1,\"ttl\":0}"), 400);
    CHECK_INT(call("POST", TDOCS, PK("[1]"), "{\"id\":\"bad\",\"pk\":1,\"ttl\":\"5\"}"), 400);
    /* off in this container */
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), "{\"id\":\"x\",\"pk\":\"a\",\"ttl\":1}"), 201);
    w.now_ms += 4999;
    CHECK_INT(call("GET", TDOCS "/short", PK("[1]"), NULL), 200);
    w.now_ms += 1;
    CHECK_INT(call("GET", TDOCS "/short", PK("[1]"), NULL), 404);
    CHECK_INT(call("POST", TDOCS, PK("[1]"), "{\"id\":\"short\",\"pk\":1,\"ttl\":5}"), 201); /* its id is free again */
    CHECK_INT(call("POST", TDOCS, QUERY PK("[1]"), "{\"query\":\"SELECT VALUE COUNT(1) FROM c\"}"), 200);
    CHECK(says("[3]"));
    w.now_ms += 15000;
    CHECK_INT(call("POST", TDOCS, QUERY PK("[1]"), "{\"query\":\"SELECT VALUE c.id FROM c\"}"), 200);
    CHECK(says("[\"ever\"]"));
    CHECK_INT(call("GET", DOCS "/x", PK("[\"a\"]"), NULL), 200);
    CHECK_INT(call("PUT", TDOCS "/default", PK("[1]"), "{\"id\":\"default\",\"pk\":1}"), 404);
    CHECK_INT(call("GET", TDOCS, NULL, NULL), 200);
    close_world();
}

/*--- Patch (5.3) ---------------------------------------------------------------------------*/

typedef struct patch_case { const char *before, *operations, *after; } patch_case;    /* after NULL: refused with 400 */

static const patch_case patches[] = {
    { "{\"a\":1}", "{\"op\":\"add\",\"path\":\"/b\",\"value\":[1]}", "{\"a\":1,\"b\":[1]}" },
    { "{\"a\":1}", "{\"op\":\"add\",\"path\":\"/a\",\"value\":2}", "{\"a\":2}" },
    { "{}", "{\"op\":\"add\",\"path\":\"/x~1y~0z\",\"value\":null}", "{\"x/y~z\":null}" },
    { "{\"o\":{}}", "{\"op\":\"add\",\"path\":\"/o/k\",\"value\":\"v\"}", "{\"o\":{\"k\":\"v\"}}" },
    { "{\"l\":[]}", "{\"op\":\"add\",\"path\":\"/l/-\",\"value\":1}", "{\"l\":[1]}" },
    { "{\"l\":[1,2]}", "{\"op\":\"add\",\"path\":\"/l/-\",\"value\":3}", "{\"l\":[1,2,3]}" },
    { "{\"l\":[1,2]}", "{\"op\":\"add\",\"path\":\"/l/0\",\"value\":0}", "{\"l\":[0,1,2]}" },
    { "{\"l\":[1,2]}", "{\"op\":\"add\",\"path\":\"/l/1\",\"value\":9}", "{\"l\":[1,9,2]}" },
    { "{\"l\":[1,2]}", "{\"op\":\"add\",\"path\":\"/l/2\",\"value\":9}", "{\"l\":[1,2,9]}" },
    { "{\"l\":[1,2]}", "{\"op\":\"add\",\"path\":\"/l/3\",\"value\":9}", NULL },
    { "{\"l\":[1,2]}", "{\"op\":\"add\",\"path\":\"/l/x\",\"value\":9}", NULL },
    { "{\"l\":[1,2]}", "{\"op\":\"add\",\"path\":\"/l/01\",\"value\":9}", NULL },
    { "{\"l\":[1,2]}", "{\"op\":\"set\",\"path\":\"/l/1\",\"value\":9}", "{\"l\":[1,9]}" },
    { "{\"l\":[1,2]}", "{\"op\":\"set\",\"path\":\"/l/2\",\"value\":9}", "{\"l\":[1,2,9]}" },
    { "{\"a\":1}", "{\"op\":\"set\",\"path\":\"/b/c\",\"value\":9}", NULL },
    { "{\"a\":1}", "{\"op\":\"set\",\"path\":\"/a/c\",\"value\":9}", NULL },
    { "{\"a\": 1 ,\"b\":2}", "{\"op\":\"replace\",\"path\":\"/a\",\"value\":{\"x\":1}}",
      "{\"a\": {\"x\":1} ,\"b\":2}" },
    { "{\"a\":1}", "{\"op\":\"replace\",\"path\":\"/b\",\"value\":1}", NULL },
    { "{\"a\":1,\"b\":2,\"c\":3}", "{\"op\":\"remove\",\"path\":\"/a\"}", "{\"b\":2,\"c\":3}" },
    { "{\"a\":1,\"b\":2,\"c\":3}", "{\"op\":\"remove\",\"path\":\"/b\"}", "{\"a\":1,\"c\":3}" },
    { "{\"a\":1,\"b\":2,\"c\":3}", "{\"op\":\"remove\",\"path\":\"/c\"}", "{\"a\":1,\"b\":2}" },
    { "{\"o\":{\"a\":1}}", "{\"op\":\"remove\",\"path\":\"/o/a\"}", "{\"o\":{}}" },
    { "{\"l\":[1]}", "{\"op\":\"remove\",\"path\":\"/l/0\"}", "{\"l\":[]}" },
    { "{\"l\":[1,2,3]}", "{\"op\":\"remove\",\"path\":\"/l/1\"}", "{\"l\":[1,3]}" },
    { "{\"l\":[1]}", "{\"op\":\"remove\",\"path\":\"/l/1\"}", NULL },
    { "{\"l\":[1]}", "{\"op\":\"remove\",\"path\":\"/l/-\"}", NULL },
    { "{\"n\":1}", "{\"op\":\"incr\",\"path\":\"/n\",\"value\":-3}", "{\"n\":-2}" },
    { "{\"n\":9007199254740993}", "{\"op\":\"incr\",\"path\":\"/n\",\"value\":1}", "{\"n\":9007199254740994}" },
    { "{\"n\":0.5}", "{\"op\":\"incr\",\"path\":\"/n\",\"value\":1}", "{\"n\":1.5}" },
    { "{\"a\":1}", "{\"op\":\"incr\",\"path\":\"/n\",\"value\":5}", "{\"a\":1,\"n\":5}" },
    { "{\"n\":\"1\"}", "{\"op\":\"incr\",\"path\":\"/n\",\"value\":5}", NULL },
    { "{\"n\":1}", "{\"op\":\"incr\",\"path\":\"/n\",\"value\":\"5\"}", NULL },
    { "{\"a\":{\"b\":[1]},\"c\":2}", "{\"op\":\"move\",\"from\":\"/a/b\",\"path\":\"/d\"}",
      "{\"a\":{},\"c\":2,\"d\":[1]}" },
    { "{\"l\":[1,2,3]}", "{\"op\":\"move\",\"from\":\"/l/0\",\"path\":\"/l/2\"}", "{\"l\":[2,3,1]}" },
    { "{\"a\":{\"b\":1}}", "{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b\"}", NULL },
    { "{\"a\":1}", "{\"op\":\"move\",\"from\":\"/x\",\"path\":\"/b\"}", NULL },
    { "{\"a\":1,\"a\":2}", "{\"op\":\"remove\",\"path\":\"/a\"}", "{\"a\":1}" },
    { "{\"a\":1}", "{\"op\":\"add\",\"path\":\"/b\"}", NULL },
    { "{\"a\":1}", "{\"op\":\"test\",\"path\":\"/a\",\"value\":1}", NULL },
    { "{\"n\":1}", "{\"op\":\"increment\",\"path\":\"/n\",\"value\":1}", NULL },
    { "{\"a\":1}", "{\"path\":\"/a\",\"value\":1}", NULL },
    { "{\"a\":1}", "{\"op\":\"set\",\"path\":\"a\",\"value\":1}", NULL },
    { "{\"a\":1}", "{\"op\":\"set\",\"path\":\"\",\"value\":1}", NULL },
    { "{\"a\":1}", "{\"op\":\"set\",\"path\":\"/~2\",\"value\":1}", NULL },
    { "{\"a\":1}", "{\"op\":\"set\",\"path\":\"/id\",\"value\":\"2\"}", NULL },
    { "{\"a\":1}", "{\"op\":\"remove\",\"path\":\"/pk\"}", NULL },
    { "{\"a\":1}", "{\"op\":\"set\",\"path\":\"/_ts\",\"value\":1}", NULL },
    { "{\"a\":1}", "{\"op\":\"set\",\"path\":\"/pkx\",\"value\":1}", "{\"a\":1,\"pkx\":1}" },
    { "{\"a\":1}", "7", NULL },
    { "{}", "{\"op\":\"add\",\"path\":\"/a\",\"value\":{}},{\"op\":\"add\",\"path\":\"/a/b\","
      "\"value\":1},{\"op\":\"incr\",\"path\":\"/a/b\",\"value\":1}",
      "{\"a\":{\"b\":2}}" }
};

TEST(patch_operations)
{
    size_t i;
    open_world(2);
    for (i = 0; i < sizeof patches / sizeof *patches; i++) {
        const patch_case *c = &patches[i];
        const char *wanted = c->after ? f("{\"id\":\"1\",\"pk\":\"a\",%s", c->after + 1) : NULL;
        const char *comma = c->before[1] == '}' ? "" : ",";
        size_t len;
        call("POST", DOCS, UPSERT PK("[\"a\"]"), f("{\"id\":\"1\",\"pk\":\"a\"%s%s", comma, c->before + 1));
        CHECK(got.status == 200 || got.status == 201);
        call("PATCH", DOCS "/1", PK("[\"a\"]"), f("{\"operations\":[%s]}", c->operations));
        if (got.status != (c->after ? 200 : 400))
            test_fail(__FILE__, __LINE__, "%s: %d %s", c->operations, got.status, got.text);
        if (!wanted) continue;
        len = strlen(wanted) - 1;                          /* "_rid" and so on come before the brace */
        if (strncmp(got.text, wanted, len) != 0 || strncmp(got.text + len, ",\"_rid\"", 7) != 0)
            test_fail(__FILE__, __LINE__, "%s: %s, not %s", c->operations, got.text, wanted);
    }
    close_world();
}

TEST(patch_conditions_and_limits)
{
    const char *etag;
    char many[1200] = "";
    int i;
    open_world(2);
    add_item("1", "a", 5);
    etag = header("etag");
    CHECK_INT(call("PATCH", DOCS "/1", PK("[\"a\"]"), "{\"condition\":\"from c where c.n > 5\","
                   "\"operations\":[{\"op\":\"incr\",\"path\":\"/n\",\"value\":1}]}"), 412);
    CHECK_INT(got.sub_status, 1110);
    CHECK_INT(call("PATCH", DOCS "/1", PK("[\"a\"]"), "{\"condition\":\"from c where c.n = 5\","
                   "\"operations\":[{\"op\":\"incr\",\"path\":\"/n\",\"value\":1}]}"), 200);
    CHECK_STR(property("n"), "6");
    CHECK_INT(call("PATCH", DOCS "/1", PK("[\"a\"]"), "{\"condition\":\"form c\",\"operations\":[{\"op\":\"incr\","
                   "\"path\":\"/n\",\"value\":1}]}"), 400);
    CHECK_INT(call("PATCH", DOCS "/1", PK("[\"a\"]"), "{\"condition\":7,\"operations\":[{\"op\":\"incr\","
                   "\"path\":\"/n\",\"value\":1}]}"), 400);
    CHECK_INT(call("PATCH", DOCS "/1", f("%sIf-Match: %s\r\n", PK("[\"a\"]"), etag), "[{\"op\":\"incr\","
                   "\"path\":\"/n\",\"value\":1}]"), 412);
    CHECK_INT(call("PATCH", DOCS "/1", PK("[\"a\"]"), "[{\"op\":\"incr\",\"path\":\"/n\",\"value\":1}]"), 200);
    CHECK_INT(call("PATCH", DOCS "/2", PK("[\"a\"]"), "[{\"op\":\"incr\",\"path\":\"/n\",\"value\":1}]"), 404);
    CHECK_INT(call("PATCH", DOCS "/1", PK("[\"a\"]"), "[]"), 400);
    CHECK_INT(call("PATCH", DOCS "/1", PK("[\"a\"]"), "{}"), 400);
    CHECK_INT(call("PATCH", DOCS "/1", PK("[\"a\"]"), "nonsense"), 400);
    for (i = 0; i < 10; i++) strcat(many, ",{\"op\":\"incr\",\"path\":\"/n\",\"value\":1}");
    CHECK_INT(call("PATCH", DOCS "/1", PK("[\"a\"]"), f("[%s]", many + 1)), 200);
    CHECK_STR(property("n"), "17");
    CHECK_INT(call("PATCH", DOCS "/1", PK("[\"a\"]"), f("[%s,{\"op\":\"remove\",\"path\":\"/n\"}]", many + 1)), 400);
    CHECK_INT(call("GET", DOCS "/1", PK("[\"a\"]"), NULL), 200);
    CHECK_STR(property("n"), "17");                        /* all or nothing */
    close_world();
}

/*--- Feeds, queries, pages (9) -----------------------------------------------------------------*/

/* Runs a query or, sql NULL, a feed through all its pages; sums up what the rows say in numbers. */
static int pages(const char *lines, const char *sql, int size, long long *sum, int *most)
{
    char token[1024] = "";
    int number = 0;
    *sum = 0;
    *most = 0;
    do {
        const char *more = *token ? f("x-ms-continuation: %s\r\n", token) : "";
        const char *at;
        call(sql ? "POST" : "GET", DOCS, f("%s%sx-ms-max-item-count: %d\r\n", lines, more, size),
             sql ? f("{\"query\":\"%s\"}", sql) : NULL);
        if (got.status != 200) test_fail(__FILE__, __LINE__, "%d %s", got.status, got.text);
        CHECK_INT(count(), atoi(header("x-ms-item-count")));
        CHECK(size < 0 || count() <= size);
        if (count() > *most) *most = (int)count();
        at = strstr(got.text, "\"Documents\":[") + 13;
        if (sql) for (; *at != ']'; at += *at == ',') *sum += strtoll(at, (char **)&at, 10);
        else *sum += count();
        snprintf(token, sizeof token, "%s", header("x-ms-continuation"));
        number++;
    } while (*token);
    return number;
}

TEST(feeds_and_queries_page_through_everything)
{
    static const int sizes[] = { 1, 2, 3, 7, 20, 1000, -1 };
    long long sum, wanted = 0;
    int most, i;
    size_t s;
    open_world(4);
    fill(60, 11);
    for (i = 0; i < 60; i++) wanted += 1 << (i % 8);
    for (s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        pages("", NULL, sizes[s], &sum, &most);
        CHECK_INT(sum, 60);
        pages(ACROSS, "SELECT VALUE c.n FROM c", sizes[s], &sum, &most);
        CHECK_INT(sum, wanted);
        /* Several rows of one item, cut by pages anywhere. */
        pages(ACROSS, "SELECT VALUE x * c.n FROM c JOIN x IN c.l", sizes[s], &sum, &most);
        CHECK_INT(sum, 15 * wanted);
        /* A query that holds its rows back, in one key. */
        pages(QUERY PK("[\"k3\"]"), "SELECT VALUE c.n FROM c ORDER BY c.n DESC", sizes[s], &sum, &most);
        pages(QUERY PK("[\"k3\"]"), "SELECT VALUE c.n FROM c", sizes[s], &wanted, &most);
        CHECK_INT(sum, wanted);
        for (wanted = i = 0; i < 60; i++) wanted += 1 << (i % 8);
    }
    CHECK_INT(pages(ACROSS, "SELECT VALUE c.n FROM c WHERE false", 10, &sum, &most), 4); /* empty pages on the way */
    CHECK_INT(sum, 0);
    CHECK_INT(pages(QUERY PK("[\"nobody\"]"), "SELECT VALUE c.n FROM c", 10, &sum, &most), 1);
    CHECK_INT(pages(QUERY, "SELECT VALUE c.n FROM c WHERE c.pk = 'k3'", 100, &sum, &most), 1);   /* it names its key */
    CHECK(sum > 0);
    close_world();
}

TEST(pages_have_a_size)
{
    char *large = (char *)malloc(1u << 20);
    long long sum;
    int most, i;
    open_world(1);
    memset(large, 'x', 1u << 20);
    large[(1u << 20) - 1] = 0;
    for (i = 0; i < 6; i++) {
        size_t len = (size_t)sprintf(large, "{\"id\":\"%d\",\"pk\":\"a\",\"n\":1,\"x\":\"", i);
        large[len] = 'x';
        strcpy(large + 1000000, "\"}");
        CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), large), 201);
        memset(large + 1000000, 'x', 2);
    }
    CHECK_INT(pages(PK("[\"a\"]"), NULL, -1, &sum, &most), 2);                 /* 4 MB each at most (2) */
    CHECK_INT(sum, 6);
    CHECK_INT(most, 4);
    free(large);
    close_world();
}

TEST(what_the_gateway_serves_across_partitions)
{
    static const char *const merged[] = {
        "SELECT * FROM c ORDER BY c.n", "SELECT TOP 1 * FROM c", "SELECT VALUE COUNT(1) FROM c",
        "SELECT DISTINCT c.n FROM c", "SELECT c.n FROM c GROUP BY c.n", "SELECT * FROM c OFFSET 1 LIMIT 1" };
    size_t i;
    open_world(4);
    fill(8, 4);
    CHECK_INT(call("POST", DOCS, QUERY, "{\"query\":\"SELECT * FROM c\"}"), 400);
    CHECK(says("x-ms-documentdb-query-enablecrosspartition"));
    for (i = 0; i < sizeof merged / sizeof *merged; i++) {
        const char *body = f("{\"query\":\"%s\"}", merged[i]);
        CHECK_INT(call("POST", DOCS, ACROSS, body), 400);
        CHECK_INT(got.sub_status, 1004);
        CHECK(says("additionalErrorInfo"));
        CHECK_INT(call("POST", DOCS, QUERY PK("[\"k1\"]"), body), 200);
        CHECK_INT(call("POST", DOCS, QUERY "x-ms-documentdb-partitionkeyrangeid: 2\r\n", body), 200);
    }
    CHECK_INT(call("POST", DOCS, QUERY "x-ms-documentdb-partitionkeyrangeid: 9\r\n", "{\"query\":\"SELECT * FROM c\"}"),
              410);
    CHECK_INT(got.sub_status, 1002);
    CHECK_INT(call("POST", DOCS, QUERY PK("[\"k1\"]"), "{\"query\":\"SELECT * FORM c\"}"), 400);
    CHECK(says("SC1001"));
    CHECK_INT(call("POST", DOCS, "x-ms-documentdb-isquery: True\r\nContent-Type: text/plain\r\n" PK("[\"k1\"]"),
                   "{\"query\":\"SELECT * FROM c\"}"), 400);
    /* Go says nothing but this. */
    CHECK_INT(call("POST", DOCS, "Content-Type: application/query+json\r\n" PK("[\"k1\"]"),
                   "{\"query\":\"SELECT * FROM c\"}"), 200);
    CHECK_INT(call("POST", "/dbs", "Content-Type: application/query+json\r\n", "{\"query\":\"SELECT * FROM c\"}"), 200);
    CHECK_INT(call("POST", DOCS, QUERY PK("[\"k1\"]") "x-ms-max-item-count: 0\r\n", "{\"query\":\"SELECT * FROM c\"}"),
              400);
    CHECK_INT(call("POST", DOCS, "x-ms-cosmos-is-query-plan-request: True\r\n", "{\"query\":\"SELECT * FROM c\"}"),
              200);
    CHECK(says("queryRanges"));
    close_world();
}

TEST(continuations_are_checked)
{
    char token[1024];
    size_t i;
    open_world(3);
    fill(30, 7);
    CHECK_INT(call("POST", DOCS, ACROSS "x-ms-max-item-count: 2\r\n", "{\"query\":\"SELECT * FROM c\"}"), 200);
    snprintf(token, sizeof token, "%s", header("x-ms-continuation"));
    CHECK(*token);
    CHECK_INT(call("POST", DOCS, f(ACROSS "x-ms-continuation: %s\r\n", token), "{\"query\":\"SELECT * FROM c\"}"), 200);
    CHECK_INT(call("POST", DOCS, f(ACROSS "x-ms-continuation: %s\r\n", token), "{\"query\":\"SELECT c.id FROM c\"}"),
              400);
    for (i = 0; token[i]; i++) {
        char kept = token[i];
        token[i] = kept == '1' ? '2' : '1';
        CHECK_INT(call("POST", DOCS, f(ACROSS "x-ms-continuation: %s\r\n", token), "{\"query\":\"SELECT * FROM c\"}"),
                  400);
        token[i] = kept;
    }
    CHECK_INT(call("GET", DOCS, "x-ms-continuation: junk\r\n", NULL), 400);
    close_world();
}

TEST(part_of_a_partition)
{
    long long sum, whole;
    int most;
    open_world(2);
    fill(40, 40);
    pages(QUERY RANGE_0, "SELECT VALUE 1 FROM c", 100, &whole, &most);
    pages(QUERY RANGE_0 BY_EPK "x-ms-start-epk: \r\n"
          "x-ms-end-epk: 10000000000000000000000000000000\r\n", "SELECT VALUE 1 FROM c", 100, &sum, &most);
    CHECK(sum > 0 && sum < whole);
    whole -= sum;
    pages(QUERY RANGE_0 BY_EPK
          "x-ms-start-epk: 10000000000000000000000000000000\r\nx-ms-end-epk: 20000000000000000000000000000000\r\n",
          "SELECT VALUE 1 FROM c", 100, &sum, &most);
    CHECK_INT(sum, whole);
    CHECK_INT(call("POST", DOCS, QUERY RANGE_0 BY_EPK
                   "x-ms-start-epk: 10\r\nx-ms-end-epk: 30\r\n", "{\"query\":\"SELECT * FROM c\"}"), 410);
    close_world();
}

/*--- Physical partitions and sessions (7, 8) ---------------------------------------------------*/

TEST(partition_key_ranges)
{
    const char *etag;
    open_world(4);
    CHECK_INT(call("GET", "/dbs/D/colls/C/pkranges", "A-IM: Incremental Feed\r\nx-ms-max-item-count: -1\r\n", NULL),
              200);
    CHECK_INT(count(), 4);
    CHECK(says("\"id\":\"0\",\"minInclusive\":\"\",\"maxExclusive\":\"10000000000000000000000000000000\""));
    CHECK(says("\"id\":\"3\",\"minInclusive\":\"30000000000000000000000000000000\",\"maxExclusive\":\"FF\""));
    etag = f("A-IM: Incremental Feed\r\nIf-None-Match: %s\r\n", header("etag"));
    CHECK_INT(call("GET", "/dbs/D/colls/C/pkranges", etag, NULL), 304);
    CHECK(aiocosmos_emulator_split(w.core, "D", "C", "2"));
    CHECK(!aiocosmos_emulator_split(w.core, "D", "C", "2"));
    CHECK(!aiocosmos_emulator_split(w.core, "D", "X", NULL));
    CHECK_INT(call("GET", "/dbs/D/colls/C/pkranges", etag, NULL), 200);
    CHECK_INT(count(), 2);                                 /* what is new */
    CHECK(says("\"parents\":[\"2\"]"));
    CHECK_INT(call("GET", "/dbs/D/colls/C/pkranges", "A-IM: Incremental Feed\r\n", NULL), 200);
    CHECK_INT(count(), 5);
    CHECK(says("\"id\":\"4\",\"minInclusive\":\"20000000000000000000000000000000\","
               "\"maxExclusive\":\"28000000000000000000000000000000\""));
    CHECK(says("\"parents\":[\"2\"]"));
    CHECK(aiocosmos_emulator_split(w.core, "D", "C", "4"));
    CHECK_INT(call("GET", "/dbs/D/colls/C/pkranges", NULL, NULL), 200);
    CHECK(says("\"parents\":[\"2\",\"4\"]"));
    close_world();
}

/* Of V1 borders only those are known that real accounts show: half of the 32-bit hashes ends at 05C1DF… (8.3). */
TEST(partition_key_ranges_of_version_1)
{
    aiocosmos_emulator_options options;
    memset(&options, 0, sizeof options);
    options.partitions = 2;
    open_core(options);
    make_container("{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"]}}");
    CHECK_INT(call("GET", "/dbs/D/colls/C/pkranges", NULL, NULL), 200);
    CHECK(says("\"maxExclusive\":\"05C1E0"));
    CHECK_INT(call("POST", DOCS, PK("[\"\"]"), "{\"id\":\"1\",\"pk\":\"\"}"), 201);
    CHECK_STR(header("x-ms-documentdb-partitionkeyrangeid"), "0");             /* 05C1CF33970FF80800 */
    CHECK_INT(call("POST", DOCS, PK("[\"partitionKey\"]"), "{\"id\":\"1\",\"pk\":\"partitionKey\"}"), 201);
    CHECK_STR(header("x-ms-documentdb-partitionkeyrangeid"), "1");             /* 05C1E1B3D9CD26… */
    close_world();
}

/* 409, 404 and writes all say where the partition is; a reader that has seen more than it has waits. */
TEST(session_tokens)
{
    int range;
    long lsn;
    open_world(4);
    add_item("1", "a", 1);
    CHECK_INT(sscanf(header("x-ms-session-token"), "%d:-1#%ld", &range, &lsn), 2);
    CHECK_INT(range, atoi(header("x-ms-documentdb-partitionkeyrangeid")));
    CHECK_INT(lsn, atol(header("lsn")));
    CHECK_INT(call("GET", DOCS "/1", f("%sx-ms-session-token: %d:-1#%ld\r\n", PK("[\"a\"]"), range, lsn), NULL), 200);
    CHECK_STR(header("x-ms-session-token"), f("%d:-1#%ld", range, lsn));
    CHECK_INT(call("GET", DOCS "/1", f("%sx-ms-session-token: %d:-1#%ld\r\n", PK("[\"a\"]"), range, lsn + 1), NULL),
              404);
    CHECK_INT(got.sub_status, 1002);
    CHECK_STR(header("x-ms-session-token"), "");
    CHECK_INT(call("GET", DOCS "/1", f("%sx-ms-session-token: 77:-1#99,%d:-1#%ld,78:3#5\r\n", PK("[\"a\"]"), range,
                                       lsn + 1), NULL), 404);
    CHECK_INT(call("GET", DOCS "/1", f("%sx-ms-session-token: 77:-1#99,%d:-1#%ld\r\n", PK("[\"a\"]"), range, lsn),
                   NULL), 200);
    CHECK_INT(call("GET", DOCS "/1", f("%sx-ms-session-token: nonsense\r\n", PK("[\"a\"]")), NULL), 400);
    CHECK_INT(call("GET", DOCS "/1", f("%sx-ms-session-token: 0:x\r\n", PK("[\"a\"]")), NULL), 400);
    CHECK_INT(call("POST", DOCS, QUERY PK("[\"a\"]") "x-ms-session-token: 0:-1#999,1:-1#999,2:-1#999,3:-1#999\r\n",
                   "{\"query\":\"SELECT * FROM c\"}"), 404);
    CHECK_INT(got.sub_status, 1002);
    CHECK_INT(call("GET", DOCS "/2", PK("[\"a\"]"), NULL), 404);
    CHECK_STR(header("x-ms-session-token"), f("%d:-1#%ld", range, lsn));
    CHECK_INT(call("DELETE", DOCS "/1", PK("[\"a\"]"), NULL), 204);
    CHECK_STR(header("x-ms-session-token"), f("%d:-1#%ld", range, lsn + 1));
    /* After a split the parent's token holds for both children. */
    CHECK(aiocosmos_emulator_split(w.core, "D", "C", f("%d", range)));
    CHECK_INT(call("GET", DOCS "/1", f("%sx-ms-session-token: %d:-1#%ld\r\n", PK("[\"a\"]"), range, lsn + 2), NULL),
              404);
    CHECK_INT(got.sub_status, 1002);
    CHECK_INT(call("GET", DOCS "/1", f("%sx-ms-session-token: %d:-1#%ld\r\n", PK("[\"a\"]"), range, lsn + 1), NULL),
              404);
    CHECK_INT(got.sub_status, 0);
    CHECK_INT(call("GET", "/dbs/D/colls/C", NULL, NULL), 200);
    CHECK_STR(header("x-ms-session-token"), "");           /* not of master resources */
    close_world();
}

/* Items come and go and partitions split while somebody pages: what was there all the time comes exactly once. */
TEST(pages_across_splits)
{
    char token[1024] = "", seen[200];
    int i, page;
    long long rows = 0;
    open_world(2);
    for (i = 0; i < 200; i++) add_item(f("%03d", i), f("k%d", i), i);
    memset(seen, 0, sizeof seen);
    page = 0;
    do {
        const char *at;
        const char *more = *token ? f("x-ms-continuation: %s\r\n", token) : "";
        CHECK_INT(call("POST", DOCS, f(ACROSS "x-ms-max-item-count: 5\r\n%s", more),
                       "{\"query\":\"SELECT VALUE c.n FROM c\"}"), 200);
        snprintf(token, sizeof token, "%s", header("x-ms-continuation"));
        for (at = strstr(got.text, "\"Documents\":[") + 13; *at != ']'; at += *at == ',') {
            long n = strtol(at, (char **)&at, 10);
            CHECK(n >= 0 && n < 200 && !seen[n]);
            seen[n] = 1;
            rows++;
        }
        page++;
        if (page % 3 == 1) CHECK(aiocosmos_emulator_split(w.core, "D", "C", NULL)); /* the first, again and again */
        if (page % 7 == 2) {
            char last[32];                                 /* and the last one */
            call("GET", "/dbs/D/colls/C/pkranges", NULL, NULL);
            CHECK_INT(sscanf(strstr(strrchr(got.text, '{'), "\"id\""), "\"id\":\"%31[0-9]", last), 1);
            CHECK(aiocosmos_emulator_split(w.core, "D", "C", last));
        }
    } while (*token);
    CHECK_INT(rows, 200);
    close_world();
}

TEST(request_units)
{
    int i, throttled = 0;
    double charge = 0;
    aiocosmos_emulator_options options;
    memset(&options, 0, sizeof options);
    options.partitions = 2;
    options.ru_per_second = 200;                           /* 100 a partition */
    open_core(options);
    make_container("{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":2}}");
    for (i = 0; i < 100; i++) {
        call("POST", DOCS, PK("[\"a\"]"), f("{\"id\":\"%d\",\"pk\":\"a\"}", i));
        if (got.status == 201) charge += got.charge;
        else throttled++;
    }
    CHECK(throttled > 70 && charge > 100 && charge < 107);
    CHECK_INT(got.status, 429);
    CHECK_INT(got.sub_status, 3200);
    CHECK(atof(header("x-ms-retry-after-ms")) > 0 && atof(header("x-ms-retry-after-ms")) < 100);
    w.now_ms += (int64_t)ceil(atof(header("x-ms-retry-after-ms")));
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), "{\"id\":\"later\",\"pk\":\"a\"}"), 201);
    for (i = 0; i < 26; i++) {                             /* the other partition has its own */
        char key[8];
        snprintf(key, sizeof key, "%c", 'a' + i);
        call("GET", DOCS "/1", key_line(key), NULL);
        if (got.status == 404) break;
    }
    CHECK(i < 26);
    CHECK_INT(call("GET", "/dbs/D/colls/C", NULL, NULL), 200);
    close_world();
}

/*--- Faults ------------------------------------------------------------------------------------*/

static void fault(const char *rule)
{
    char why[200];
    if (!aiocosmos_emulator_fault(w.core, rule, why, sizeof why)) test_fail(__FILE__, __LINE__, "%s: %s", rule, why);
}

TEST(faults_in_place_of_an_answer)
{
    open_world(1);
    fault("status=429,retry_after_ms=7.5,kind=create_item,skip=1,count=2");
    add_item("1", "a", 1);
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), "{\"id\":\"2\",\"pk\":\"a\"}"), 429);
    CHECK_STR(header("x-ms-retry-after-ms"), "7.5");
    CHECK_INT(call("GET", DOCS "/1", PK("[\"a\"]"), NULL), 200);
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), "{\"id\":\"2\",\"pk\":\"a\"}"), 429);
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), "{\"id\":\"2\",\"pk\":\"a\"}"), 201);
    aiocosmos_emulator_clear_faults(w.core);
    fault("{\"status\":403,\"sub_status\":3,\"verb\":\"DELETE\"}");
    CHECK_INT(call("DELETE", DOCS "/1", PK("[\"a\"]"), NULL), 403);
    CHECK_INT(got.sub_status, 3);
    aiocosmos_emulator_clear_faults(w.core);
    CHECK_INT(call("GET", DOCS "/1", PK("[\"a\"]"), NULL), 200);               /* it was not carried out */
    fault("status=503,when=after,path=/docs/1");
    CHECK_INT(call("DELETE", DOCS "/1", PK("[\"a\"]"), NULL), 503);
    aiocosmos_emulator_clear_faults(w.core);
    CHECK_INT(call("GET", DOCS "/1", PK("[\"a\"]"), NULL), 404);               /* it was */
    fault("action=html,status=502");
    CHECK_INT(call("GET", DOCS "/1", PK("[\"a\"]"), NULL), 502);
    CHECK(strncmp(got.text, "<!DOCTYPE", 9) == 0 && strstr(header("content-type"), "text/html"));
    CHECK(*header("x-ms-activity-id") + *header("x-ms-request-charge") + *header("x-ms-substatus") == 0);
    aiocosmos_emulator_clear_faults(w.core);
    fault("action=json,status=404,when=after");
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), "{\"id\":\"3\",\"pk\":\"a\"}"), 404);
    CHECK_STR(got.text, "{\"error\":\"Not Found\"}");
    CHECK(*header("x-ms-activity-id") + *header("x-ms-request-charge") + *header("x-ms-substatus") == 0);
    aiocosmos_emulator_clear_faults(w.core);
    CHECK_INT(call("GET", DOCS "/3", PK("[\"a\"]"), NULL), 200);
    fault("action=big,at=100000");
    CHECK_INT(call("GET", DOCS "/1", PK("[\"a\"]"), NULL), 200);
    CHECK_INT(got.body.len, 100000);
    aiocosmos_emulator_clear_faults(w.core);
    fault("action=chunked");
    CHECK_INT(call("GET", "/dbs/D/colls/C", NULL, NULL), 200);
    CHECK_STR(property("id"), "C");
    CHECK_STR(header("transfer-encoding"), "chunked");
    close_world();
}

/* Sends a read of /dbs on a fresh connection; what comes out, how much, and how the connection stands. */
static const char *raw_read(size_t *len, aiocosmos_emulator_state *state)
{
    aioc_mem_buffer request;
    memset(&request, 0, sizeof request);
    aiocosmos_emulator_conn_close(w.conn);
    w.conn = aiocosmos_emulator_conn_open(w.core);
    put_request(&request, "GET", "/dbs", NULL, NULL);
    aiocosmos_emulator_conn_feed(w.conn, request.data, request.len);
    aioc_mem_buffer_free(&w.memory, &request);
    *state = aiocosmos_emulator_conn_state(w.conn);
    return aiocosmos_emulator_conn_output(w.conn, len);
}

TEST(faults_of_the_connection)
{
    aiocosmos_emulator_state state;
    size_t len, i;
    const char *out;
    open_world(1);
    fault("action=reset,count=1");
    raw_read(&len, &state);
    CHECK_INT(len, 0);
    CHECK_INT(state, AIOCOSMOS_EMULATOR_RESET);
    fault("action=close,count=1");
    raw_read(&len, &state);
    CHECK_INT(len, 0);
    CHECK_INT(state, AIOCOSMOS_EMULATOR_CLOSING);
    fault("action=truncate,at=40,count=1");
    raw_read(&len, &state);
    CHECK_INT(len, 40);
    CHECK_INT(state, AIOCOSMOS_EMULATOR_CLOSING);
    fault("action=garble,count=1");
    out = raw_read(&len, &state);
    CHECK(len > 100 && memcmp(out, "HTTP", 4) != 0);
    fault("action=trickle,count=1");
    raw_read(&len, &state);
    for (i = 0; i < 20; i++) {
        CHECK_INT(len, 1);
        aiocosmos_emulator_conn_sent(w.conn, 1);
        aiocosmos_emulator_conn_output(w.conn, &len);
    }
    fault("action=hang,count=1");
    raw_read(&len, &state);
    CHECK_INT(len, 0);
    CHECK_INT(state, AIOCOSMOS_EMULATOR_OPEN);
    CHECK(aiocosmos_emulator_conn_due_ms(w.conn) == INT64_MAX);
    aiocosmos_emulator_conn_tick(w.conn);
    CHECK(aiocosmos_emulator_conn_due_ms(w.conn) == INT64_MAX);
    fault("action=end,count=1");
    raw_read(&len, &state);
    CHECK_INT(state, AIOCOSMOS_EMULATOR_CLOSING);
    CHECK(len > 100);
    fault("delay_ms=250,count=1");
    raw_read(&len, &state);
    CHECK_INT(len, 0);
    CHECK_INT(aiocosmos_emulator_conn_due_ms(w.conn), w.now_ms + 250);
    w.now_ms += 249;
    aiocosmos_emulator_conn_tick(w.conn);
    aiocosmos_emulator_conn_output(w.conn, &len);
    CHECK_INT(len, 0);
    w.now_ms += 1;
    aiocosmos_emulator_conn_tick(w.conn);
    aiocosmos_emulator_conn_output(w.conn, &len);
    CHECK(len > 100);
    CHECK_INT(aiocosmos_emulator_conn_due_ms(w.conn), -1);
    fault("action=reset,delay_ms=10,count=1");
    raw_read(&len, &state);
    CHECK_INT(state, AIOCOSMOS_EMULATOR_OPEN);
    w.now_ms += 10;
    aiocosmos_emulator_conn_tick(w.conn);
    CHECK_INT(aiocosmos_emulator_conn_state(w.conn), AIOCOSMOS_EMULATOR_RESET);
    raw_read(&len, &state);                                /* all rules are used up */
    CHECK(len > 100);
    close_world();
}

/* The document that is promised: beyond what the emulator may take, it says so, and is there for the next one. */
TEST(a_body_beyond_memory_is_refused)
{
    static const char *const frames[] = { "content-length: 1500000\r\n", "transfer-encoding: chunked\r\n" };
    aiocosmos_emulator_options options;
    char *body = (char *)malloc(1500000);
    size_t i, k, len;
    CHECK(body);
    memset(body, 'x', 1500000);
    memset(&options, 0, sizeof options);
    options.memory_max = (size_t)1 << 20;
    open_core(options);
    for (i = 0; i < 2; i++) {
        const char *answer;
        char head[200];
        snprintf(head, sizeof head, "POST " DOCS " HTTP/1.1\r\n%s\r\n%s", frames[i], i ? "16e360\r\n" : "");
        aiocosmos_emulator_conn_feed(w.conn, head, strlen(head));
        for (k = 0; k < 15; k++) aiocosmos_emulator_conn_feed(w.conn, body + k * 100000, 100000);
        CHECK_INT(aiocosmos_emulator_conn_state(w.conn), AIOCOSMOS_EMULATOR_CLOSING);
        answer = aiocosmos_emulator_conn_output(w.conn, &len);
        CHECK(len > 100 && memcmp(answer, "HTTP/1.1 503 ", 13) == 0);
        aiocosmos_emulator_conn_close(w.conn);
        w.conn = aiocosmos_emulator_conn_open(w.core);
    }
    free(body);
    CHECK_INT(call("GET", "/dbs", NULL, NULL), 200);
    close_world();
}

TEST(faults_by_chance_repeat_with_their_seed)
{
    char first[101], second[101];
    int round, i, hits = 0;
    open_world(1);
    for (round = 0; round < 2; round++) {
        fault("status=503,probability=0.3,seed=42");
        for (i = 0; i < 100; i++) (round ? second : first)[i] = call("GET", "/dbs", NULL, NULL) == 503 ? 'x' : '.';
        aiocosmos_emulator_clear_faults(w.core);
    }
    for (i = 0; i < 100; i++) hits += first[i] == 'x';
    CHECK_MEM(second, first, 100);
    CHECK(hits > 15 && hits < 45);
    close_world();
}

TEST(faults_over_http_and_mistakes_in_them)
{
    static const char *const bad[] = {
        "", "x=y", "status=99", "status=x", "status=42333333333", "at=1e300", "delay_ms=1.5",
        "action=explode", "kind", "count=-1", "probability=2", "{", "[7]",
        "{\"status\":\"\"}", "{\"when\":\"sometimes\",\"status\":503}", "kind=read",
        "kind=changes,status=503", "kind=batched_list,status=503",
        "{\"verb\":\"ABCDEFGHIJKLMNOP\",\"status\":503}" };
    char why[200];
    size_t i;
    open_world(1);
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (aiocosmos_emulator_fault(w.core, bad[i], why, sizeof why))
            test_fail(__FILE__, __LINE__, "%s is taken", bad[i]);
        CHECK(*why);
    }
    CHECK(!aiocosmos_emulator_fault(w.core, "status=503,kind=read_itm", why, sizeof why));
    CHECK_STR(why, "no request is of such a kind: read_itm");
    CHECK(aiocosmos_emulator_fault(w.core, "status=503,kind=batch", why, sizeof why));
    CHECK(aiocosmos_emulator_fault(w.core, "status=503,kind=batched_read", why, sizeof why));
    CHECK_INT(call("PUT", "/_emulator/faults", "authorization: none\r\n", "[{\"status\":503,\"kind\":\"read_database\","
                   "\"count\":1},{\"status\":410,\"kind\":\"list\"}]"), 204);
    CHECK_INT(call("GET", "/dbs/D", NULL, NULL), 503);
    CHECK_INT(call("GET", "/dbs", NULL, NULL), 410);
    CHECK_INT(call("GET", "/_emulator/faults", NULL, NULL), 200);
    CHECK(says("\"hits\":1") && says("\"left\":0") && says("\"left\":null"));
    CHECK_INT(call("PUT", "/_emulator/faults", NULL, "{\"nonsense\":1}"), 400);
    CHECK_INT(call("POST", "/_emulator/faults", NULL, "{\"status\":418,\"kind\":\"read_container\"}"), 204);
    CHECK_INT(call("GET", "/dbs", NULL, NULL), 410);
    CHECK_INT(call("GET", "/dbs/D/colls/C", NULL, NULL), 418);
    CHECK_INT(call("DELETE", "/_emulator/faults", NULL, NULL), 204);
    CHECK_INT(call("GET", "/dbs", NULL, NULL), 200);
    CHECK_INT(call("PUT", "/_emulator/split", NULL, "{\"database\":\"D\",\"container\":\"C\"}"), 204);
    CHECK_INT(call("PUT", "/_emulator/split", NULL, "{\"database\":\"D\",\"container\":\"X\"}"), 404);
    CHECK_INT(call("GET", "/_emulator/stats", NULL, NULL), 200);
    CHECK_INT(atoll(property("requests")), aiocosmos_emulator_requests(w.core));
    CHECK_INT(call("PUT", "/_emulator/clock", NULL, "{\"ahead_ms\":-3600000}"), 204);
    CHECK_INT(call("GET", "/dbs", NULL, NULL), 403);
    CHECK_STR(header("date"), "Sat, 21 Nov 2026 01:31:44 GMT");
    CHECK_INT(call("PUT", "/_emulator/clock", NULL, "{\"ahead_ms\":\"x\"}"), 400);
    CHECK_INT(call("PUT", "/_emulator/clock", NULL, "{\"ahead_ms\":0}"), 204);
    CHECK_INT(call("GET", "/_emulator/other", NULL, NULL), 404);
    close_world();
}

/* What a page of another's in the same browser could do with it is nothing. tests/explorer has it in a browser. */
TEST(the_explorer_is_one_page_for_this_machine)
{
    const char *policy;
    open_world(1);
    CHECK_INT(call("GET", "/_emulator/explorer", "authorization: none\r\n", NULL), 200);
    CHECK_STR(header("content-type"), "text/html; charset=us-ascii");
    CHECK(strncmp(got.text, "<!DOCTYPE html>", 15) == 0 && says("</html>"));
    policy = header("content-security-policy");
    CHECK(strstr(policy, "default-src 'none'; connect-src 'self'") && strstr(policy, "frame-ancestors 'none'"));
    CHECK(strstr(policy, "; script-src 'sha256-") && !strstr(policy, "unsafe"));
    CHECK_INT(call("GET", "/_emulator/explorer", "authorization: none\r\nOrigin: http://other.example\r\n", NULL), 403);
    CHECK_INT(call("POST", "/_emulator/explorer", NULL, "{}"), 404);
    CHECK_INT(call("GET", "/", "authorization:\r\nAccept: text/html,application/xml;q=0.9\r\n", NULL), 302);
    CHECK_STR(header("location"), "/_emulator/explorer");
    CHECK_INT(call("GET", "/", "authorization:\r\nAccept: application/json\r\n", NULL), 401);
    CHECK_INT(call("GET", "/", "Accept: text/html\r\n", NULL), 200);
    CHECK_INT(call("GET", "/dbs", "authorization:\r\nAccept: text/html\r\n", NULL), 401);
    close_world();
}

/*--- HTTP (15) -----------------------------------------------------------------------------------*/

/* Three requests in one stream, whole, in two pieces cut at every byte, and byte by byte: always the same answers. */
TEST(requests_cut_anywhere)
{
    aioc_mem_buffer stream, whole;
    const char *out;
    size_t len, cut, i;
    open_world(2);
    add_item("1", "a", 1);
    memset(&stream, 0, sizeof stream);
    memset(&whole, 0, sizeof whole);
    put_request(&stream, "GET", DOCS "/1", PK("[\"a\"]") "x-ms-activity-id: 11111111-2222-3333-4444-555555555555\r\n",
                NULL);
    put_request(&stream, "POST", DOCS, QUERY PK("[\"a\"]") "x-ms-activity-id: 11111111-2222-3333-4444-555555555555\r\n",
                "{\"query\":\"SELECT VALUE c.n FROM c\"}");
    aioc_mem_append_str(&w.memory, &stream, "\r\n");       /* an empty line too many */
    put_request(&stream, "POST", DOCS, QUERY PK("[\"a\"]") "x-ms-activity-id: 11111111-2222-3333-4444-555555555555\r\n"
                "Transfer-Encoding: chunked\r\n", NULL);
    aioc_mem_append_str(&w.memory, &stream, "5;x=y\r\n{\"que\r\n1e\r\nry\":\"SELECT "
                        "VALUE c.n FROM c\"}\r\n0\r\ntrailer: x\r\n\r\n");
    aiocosmos_emulator_conn_feed(w.conn, stream.data, stream.len);
    out = aiocosmos_emulator_conn_output(w.conn, &len);
    aioc_mem_append(&w.memory, &whole, out, len);
    aiocosmos_emulator_conn_sent(w.conn, len);
    CHECK_INT(strncmp(whole.data, "HTTP/1.1 200", 12), 0);
    for (i = 0, cut = 0; cut < 3; cut++) {
        i += take_answer(whole.data + i, whole.len - i);
        CHECK_INT(got.status, 200);
    }
    CHECK_INT(i, whole.len);
    for (cut = 0; cut <= stream.len; cut++) {
        aiocosmos_emulator_conn *conn = aiocosmos_emulator_conn_open(w.core);
        if (cut == stream.len) {
            for (i = 0; i < stream.len; i++) aiocosmos_emulator_conn_feed(conn, stream.data + i, 1);
        } else {
            aiocosmos_emulator_conn_feed(conn, stream.data, cut);
            aiocosmos_emulator_conn_feed(conn, stream.data + cut, stream.len - cut);
        }
        out = aiocosmos_emulator_conn_output(conn, &len);
        CHECK_INT(len, whole.len);
        CHECK_MEM(out, whole.data, len);
        aiocosmos_emulator_conn_close(conn);
    }
    aioc_mem_buffer_free(&w.memory, &stream);
    aioc_mem_buffer_free(&w.memory, &whole);
    close_world();
}

static void raw(const char *bytes, size_t len, int status, aiocosmos_emulator_state state)
{
    aiocosmos_emulator_conn *conn = aiocosmos_emulator_conn_open(w.core);
    aiocosmos_str answer;
    const char *out;
    size_t size;
    aiocosmos_emulator_conn_feed(conn, bytes, len);
    out = aiocosmos_emulator_conn_output(conn, &size);
    if (status == 0) CHECK_INT(size, 0);
    else CHECK_INT(size > 12 ? atoi(out + 9) : 0, status);
    answer.ptr = out;
    answer.len = size;
    if (status > 100) CHECK_INT(aioc_http_header(answer, "x-ms-activity-id").len, 36);
    CHECK_INT(aiocosmos_emulator_conn_state(conn), state);
    aiocosmos_emulator_conn_close(conn);
}

#define RAW(TEXT, STATUS, STATE) raw(TEXT, sizeof TEXT - 1, STATUS, STATE)

TEST(http_rules)
{
    char *long_head = (char *)malloc(100000);
    size_t i, len;
    open_world(1);
    RAW("GET / HTTP/1.1\r\n\r\n", 401, AIOCOSMOS_EMULATOR_OPEN);
    RAW("GET / HTTP/1.1\n\n", 401, AIOCOSMOS_EMULATOR_OPEN);
    RAW("GET / HTTP/1.0\r\n\r\n", 401, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 401, AIOCOSMOS_EMULATOR_OPEN);
    RAW("GET / HTTP/1.1\r\nConnection: foo, Close\r\n\r\n", 401, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("GET http://localhost:8081/ HTTP/1.1\r\n\r\n", 401, AIOCOSMOS_EMULATOR_OPEN);
    RAW("HEAD / HTTP/1.1\r\n\r\n", 401, AIOCOSMOS_EMULATOR_OPEN);
    RAW("OPTIONS / HTTP/1.1\r\n\r\n", 405, AIOCOSMOS_EMULATOR_OPEN);
    RAW("GET /dbs/%ff%fe HTTP/1.1\r\n\r\n", 400, AIOCOSMOS_EMULATOR_OPEN);
    RAW("GET /dbs/a%2fb HTTP/1.1\r\n\r\n", 400, AIOCOSMOS_EMULATOR_OPEN);
    RAW("GET /a/b/c/d/e/f/g/h/i/j HTTP/1.1\r\n\r\n", 400, AIOCOSMOS_EMULATOR_OPEN);
    RAW("GET / HTTP/2.0\r\n\r\n", 400, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("GET /\r\n\r\n", 400, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("nonsense\r\n\r\n", 400, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("\x16\x03\x01\x02", 400, AIOCOSMOS_EMULATOR_CLOSING);  /* TLS begins like this, and would wait for an answer */
    RAW("\x16", 400, AIOCOSMOS_EMULATOR_CLOSING);            /* nor would anything else begin */
    RAW("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("GET / HTTP/1.1\r\nname : x\r\n\r\n", 400, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("GET / HTTP/1.1\r\na: x\r\n folded\r\n\r\n", 400, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("GET / HTTP/1.1\r\n: x\r\n\r\n", 400, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("GET / HTTP/1.1\r\na\xc3\xa9: x\r\n\r\n", 400, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("GET / HTTP/1.1\r\na: \0\r\n\r\n", 400, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("GET / HTTP/1.1\r\na: b\rc\r\n\r\n", 400, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("GET / HTTP/1.1\r\na: b\x7f\r\n\r\n", 400, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("GET /\x01 HTTP/1.1\r\n\r\n", 400, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("GET / HTTP/1.1\r\na:\tb\tc \t\r\nCONNECTION:close\r\n\r\n", 401, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("GET  HTTP/1.1\r\n\r\n", 400, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("GET / x HTTP/1.1\r\n\r\n", 400, AIOCOSMOS_EMULATOR_CLOSING);
    RAW(" / HTTP/1.1\r\n\r\n", 400, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 405, AIOCOSMOS_EMULATOR_OPEN);
    RAW("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
        AIOCOSMOS_EMULATOR_CLOSING);
    RAW("POST / HTTP/1.1\r\nContent-Length: 4194305\r\n\r\n", 413, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n", 0, AIOCOSMOS_EMULATOR_OPEN);
    RAW("POST / HTTP/1.1\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n", 100, AIOCOSMOS_EMULATOR_OPEN);
    RAW("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n400001\r\n", 413, AIOCOSMOS_EMULATOR_CLOSING);
    RAW("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 405, AIOCOSMOS_EMULATOR_OPEN);
    len = (size_t)sprintf(long_head, "GET / HTTP/1.1\r\na: ");
    memset(long_head + len, 'x', 70000);
    raw(long_head, len + 70000, 431, AIOCOSMOS_EMULATOR_CLOSING);
    for (i = 0, len = (size_t)sprintf(long_head, "GET / HTTP/1.1\r\n"); i < 257; i++)
        len += (size_t)sprintf(long_head + len, "a: b\r\n");
    len += (size_t)sprintf(long_head + len, "\r\n");
    raw(long_head, len, 400, AIOCOSMOS_EMULATOR_CLOSING);
    free(long_head);
    close_world();
}

/* Requests wait while answers do: neither side grows for ever. */
TEST(a_client_that_does_not_read)
{
    aioc_mem_buffer request;
    size_t len, i;
    open_world(1);
    fill(40, 1);
    memset(&request, 0, sizeof request);
    put_request(&request, "GET", DOCS, PK("[\"k0\"]"), NULL);
    for (i = 0; i < 100000 && !aiocosmos_emulator_conn_full(w.conn); i++)
        aiocosmos_emulator_conn_feed(w.conn, request.data, request.len);
    CHECK(i < 100000);
    CHECK(aiocosmos_emulator_memory(w.core) < (40u << 20));
    aiocosmos_emulator_conn_output(w.conn, &len);
    while (len) {
        aiocosmos_emulator_conn_sent(w.conn, len);
        aiocosmos_emulator_conn_output(w.conn, &len);
    }
    CHECK(!aiocosmos_emulator_conn_full(w.conn));
    CHECK_INT(aiocosmos_emulator_conn_state(w.conn), AIOCOSMOS_EMULATOR_OPEN);
    CHECK(aiocosmos_emulator_requests(w.core) >= i);
    aioc_mem_buffer_free(&w.memory, &request);
    close_world();
}

/*--- Bad luck and bad intentions --------------------------------------------------------------------*/

static uint64_t chance = 20261121;

static uint32_t roll(uint32_t below)
{
    chance = chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(chance >> 33) % below;
}

/* The core against a list of what it should hold, through splits. */
TEST(a_thousand_operations_against_a_model)
{
    enum { KEYS = 7, IDS = 12 };
    int model[KEYS][IDS], i, k;
    long long sum, wanted;
    int most;
    memset(model, 0, sizeof model);
    open_world(2);
    for (i = 1; i <= 1500; i++) {
        int key = (int)roll(KEYS), id = (int)roll(IDS), *held = &model[key][id];
        const char *line = f(PK("[%d]"), key), *path = f(DOCS "/%d", id),
            *body = f("{\"id\":\"%d\",\"pk\":%d,\"n\":%d}", id, key, i);
        switch (roll(6)) {
        case 0: CHECK_INT(call("POST", DOCS, line, body), *held ? 409 : 201); if (!*held) *held = i; break;
        case 1: CHECK_INT(call("POST", DOCS, f("%s" UPSERT, line), body), *held ? 200 : 201); *held = i; break;
        case 2: CHECK_INT(call("PUT", path, line, body), *held ? 200 : 404); if (*held) *held = i; break;
        case 3: CHECK_INT(call("DELETE", path, line, NULL), *held ? 204 : 404); *held = 0; break;
        case 4:
            CHECK_INT(call("GET", path, line, NULL), *held ? 200 : 404);
            if (*held) CHECK_INT(atoi(property("n")), *held);
            break;
        default:
            CHECK_INT(call("PATCH", path, line, "[{\"op\":\"incr\",\"path\":\"/n\",\"value\":1}]"), *held ? 200 : 404);
            if (*held) ++*held;
        }
        if (i % 200 == 0) CHECK(aiocosmos_emulator_split(w.core, "D", "C", NULL));
        if (i % 100) continue;
        for (wanted = k = 0; k < KEYS * IDS; k++) wanted += model[k / IDS][k % IDS];
        pages(ACROSS, "SELECT VALUE c.n FROM c", 10, &sum, &most);
        CHECK_INT(sum, wanted);
    }
    close_world();
}

static const char *const seeds[][4] = {
    { "POST", "/dbs", NULL, "{\"id\":\"E\"}" },
    { "POST", "/dbs/D/colls", "x-ms-cosmos-offer-autopilot-settings: {\"maxThroughput\":4000}\r\n",
      "{\"id\":\"E\",\"partitionKey\":{\"paths\":[\"/a\",\"/b\"],\"kind\":\"MultiHash\","
      "\"version\":2},\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[\"/x\"]}]}}" },
    { "POST", DOCS, PK("[\"a\"]"), "{\"id\":\"2\",\"pk\":\"a\",\"x\":[1,{\"y\":null}]}" },
    { "POST", DOCS, UPSERT PK("[\"a\"]"), "{\"id\":\"1\",\"pk\":\"a\",\"x\":[1,{\"y\":null}],\"_rid\":\"\"}" },
    { "PATCH", DOCS "/1", PK("[\"a\"]"), "{\"condition\":\"from c where c.n=1\",\"operations\":[{\"op\":\"move\","
      "\"from\":\"/x\",\"path\":\"/z/0\"}]}" },
    { "POST", DOCS, ACROSS "x-ms-max-item-count: 1\r\nx-ms-session-token: 0:-1#1\r\nx-ms-continuation: "
      "1-0-0--FF-12345678\r\n",
      "{\"query\":\"SELECT c.id, x FROM c JOIN x IN c.l WHERE c.n > @a ORDER BY c.n\",\"parameters\":[{\"name\":\"@a\","
      "\"value\":1}]}" },
    { "GET", DOCS "/1", PK("[\"a\"]") "If-None-Match: \"x\"\r\nx-ms-documentdb-partitionkeyrangeid: 0\r\n", NULL },
    { "PUT", "/_emulator/faults", NULL, "[{\"status\":503,\"count\":1,\"kind\":\"item\"}]" },
    { "POST", "/dbs/D/users/u/permissions", NULL, "{\"id\":\"p\",\"permissionMode\":\"All\","
      "\"resource\":\"dbs/D/colls/C\",\"resourcePartitionKey\":[1]}" },
    { "POST", DOCS, PK("[\"a\"]") "Transfer-Encoding: chunked\r\n", NULL }
};

/* Changes some bytes; returns the new length. */
static size_t mutate(char *bytes, size_t len, size_t cap)
{
    uint32_t times = 1 + roll(4);
    while (times-- > 0 && len > 2) {
        size_t at = roll((uint32_t)len), size;
        switch (roll(5)) {
        case 0: bytes[at] = (char)roll(256); break;
        case 1: bytes[at] = "\r\n:{}[]\",0%/\\"[roll(13)]; break;
        case 2:
            size = 1 + roll(8) < len - at ? 1 + roll(4) : 1;
            if (size > len - at) size = len - at;
            memmove(bytes + at, bytes + at + size, len - at - size);
            len -= size;
            break;
        case 3:
            size = 1 + roll(16);
            if (size > len - at) size = len - at;
            if (len + size > cap) break;
            memmove(bytes + at + size, bytes + at, len - at);
            len += size;
            break;
        default: bytes[at] = (char)(bytes[at] ^ 1 << roll(8));
        }
    }
    return len;
}

/* Whatever comes, the core answers, waits or closes; and serves the next one as if nothing had been. */
TEST(mutated_requests)
{
    int round;
    open_world(2);
    CHECK_INT(call("POST", "/dbs/D/users", NULL, "{\"id\":\"u\"}"), 201);
    for (round = 0; round < 6000; round++) {
        const char *const *seed = seeds[roll(sizeof seeds / sizeof *seeds)];
        aioc_mem_buffer request;
        aiocosmos_emulator_conn *conn = aiocosmos_emulator_conn_open(w.core);
        size_t len, at = 0, size;
        char *bytes;
        memset(&request, 0, sizeof request);
        put_request(&request, seed[0], seed[1], seed[2], seed[3]);
        if (seed[2] && strstr(seed[2], "chunked"))
            aioc_mem_append_str(&w.memory, &request, "18\r\n{\"id\":\"chunk\",\"pk\":\"a\"}\r\n0\r\n\r\n");
        bytes = (char *)malloc(2 * request.len);
        memcpy(bytes, request.data, request.len);
        len = mutate(bytes, request.len, 2 * request.len);
        while (at < len) {
            size = 1 + roll(400);
            if (size > len - at) size = len - at;
            aiocosmos_emulator_conn_feed(conn, bytes + at, size);
            at += size;
        }
        aiocosmos_emulator_conn_output(conn, &size);
        if (size) aiocosmos_emulator_conn_sent(conn, size);
        aiocosmos_emulator_conn_close(conn);
        free(bytes);
        aioc_mem_buffer_free(&w.memory, &request);
        if (round % 500 == 0) aiocosmos_emulator_clear_faults(w.core);
    }
    aiocosmos_emulator_clear_faults(w.core);
    CHECK_INT(call("GET", "/dbs", NULL, NULL), 200);
    close_world();
}

/* A day's work, answers ignored. */
static void work(void)
{
    static const char *const steps[][4] = {
        { "POST", "/dbs", "x-ms-offer-throughput: 400\r\n", "{\"id\":\"D\"}" },
        { "POST", "/dbs/D/colls", NULL, "{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":2},"
          "\"defaultTtl\":-1,\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[\"/u\"]},{\"paths\":[\"/v\"]}]}}" },
        { "POST", DOCS, PK("[\"a\"]"), "{\"id\":\"1\",\"pk\":\"a\",\"u\":1,\"v\":2}" },
        { "POST", DOCS, PK("[\"b\"]"), "{\"id\":\"2\",\"pk\":\"b\",\"u\":1,\"v\":2,\"ttl\":1}" },
        { "POST", DOCS, UPSERT PK("[\"a\"]"), "{\"id\":\"1\",\"pk\":\"a\",\"u\":2,\"v\":3,\"_ts\":1}" },
        { "PATCH", DOCS "/1", PK("[\"a\"]"), "{\"condition\":\"from c where c.u=2\",\"operations\":[{\"op\":\"move\","
          "\"from\":\"/v\",\"path\":\"/w\"},{\"op\":\"incr\",\"path\":\"/u\",\"value\":1}]}" },
        { "POST", DOCS, ACROSS "x-ms-max-item-count: 1\r\n", "{\"query\":\"SELECT * FROM c\"}" },
        { "GET", DOCS, NULL, NULL },
        { "POST", "/dbs/D/users", NULL, "{\"id\":\"u\"}" },
        { "POST", "/dbs/D/users/u/permissions", NULL, "{\"id\":\"p\",\"permissionMode\":\"All\","
          "\"resource\":\"dbs/D/colls/C\"}" },
        { "PUT", "/dbs/D/users/u/permissions/p", NULL, "{\"id\":\"p\",\"permissionMode\":\"Read\","
          "\"resource\":\"dbs/D/colls/C\"}" },
        { "POST", "/dbs/D/colls/C/sprocs", NULL, "{\"id\":\"s\",\"body\":\"\"}" },
        { "POST", "/dbs/D/colls/C/sprocs/s", PK("[\"a\"]"), "[1]" },
        { "GET", "/dbs/D/colls/C/sprocs", NULL, NULL },
        { "POST", "/_emulator/faults", NULL, "[{\"status\":503,\"count\":1},{\"status\":503,\"count\":1}]" },
        { "DELETE", "/_emulator/faults", NULL, NULL },
        { "PUT", "/_emulator/split", NULL, "{\"database\":\"D\",\"container\":\"C\"}" },
        { "POST", "/offers", QUERY, "{\"query\":\"SELECT * FROM c\"}" },
        { "DELETE", DOCS "/1", PK("[\"a\"]"), NULL },
        { "POST", "/dbs/D/colls/C/operations/partitionkeydelete", PK("[\"b\"]"), NULL },
        { "DELETE", "/dbs/D/colls/C", NULL, NULL } };
    size_t i;
    for (i = 0; i < sizeof steps / sizeof *steps; i++) send_alone(steps[i][0], steps[i][1], steps[i][2], steps[i][3]);
}

static int nothing_done(aiocosmos_emulator_call *call, void *user_data)
{
    (void)user_data;
    aiocosmos_emulator_answer(call, call->input.ptr, call->input.len);
    return 200;
}

/* The nth allocation fails, and then once more all from the nth on. */
TEST(every_allocation_may_fail)
{
    unsigned long n, calls = 0;
    size_t error_at;
    int all;
    for (all = 0; all < 2; all++) {
        for (n = 0; n <= calls; n++) {                     /* at first none, to count them */
            aiocosmos_emulator_options options;
            memset(&options, 0, sizeof options);
            memset(&w, 0, sizeof w);
            memset(&heap, 0, sizeof heap);
            options.partitions = 2;
            options.now_ms = world_now;
            options.allocate = heap_fn;
            w.now_ms = START_MS;
            if (n) heap_fail(&heap, n, all ? ULONG_MAX : 1);
            aioc_mem_init(&w.memory, NULL, SIZE_MAX);
            aioc_auth_signer_set_key(&w.signer, aioc_mem_str(AIOCOSMOS_EMULATOR_KEY), &error_at);
            w.core = aiocosmos_emulator_open(&options, NULL);
            if (w.core) {
                aiocosmos_emulator_register(w.core, "s", nothing_done, NULL);
                work();
                aiocosmos_emulator_close(w.core);
            }
            aioc_mem_close(&w.memory);
            CHECK_INT(heap.bytes, 0);
            if (heap.calls > calls) calls = heap.calls;
        }
    }
    CHECK(calls > 50);
}

TEST(options_are_checked)
{
    aiocosmos_emulator_options options;
    const char *error;
    memset(&options, 0, sizeof options);
    options.partitions = 257;
    CHECK(!aiocosmos_emulator_open(&options, &error));
    CHECK(strstr(error, "partitions"));
    options.partitions = 0;
    options.key = "not base64!";
    CHECK(!aiocosmos_emulator_open(&options, &error));
    CHECK(strstr(error, "key"));
    options.key = NULL;
    options.ru_per_second = -1;
    CHECK(!aiocosmos_emulator_open(&options, &error));
    options.ru_per_second = 0;
    options.shuffle.min = 5;
    options.shuffle.max = 4;
    CHECK(!aiocosmos_emulator_open(&options, &error));
    CHECK(strstr(error, "shuffle"));
    options.shuffle.min = options.shuffle.max = 0;
    options.memory_max = 100000;
    open_core(options);
    CHECK_INT(call("POST", "/dbs", NULL, "{\"id\":\"D\"}"), 201);
    while (call("POST", "/dbs/D/colls", NULL, f("{\"id\":\"%lu\",\"partitionKey\":{\"paths\":[\"/pk\"]}}",
                                                heap.calls)) == 201)
        continue;
    CHECK_INT(got.status, 503);
    CHECK_INT(call("GET", "/dbs", NULL, NULL), 200);
    close_world();
}
