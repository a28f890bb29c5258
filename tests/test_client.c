/* The whole client against the emulator over real sockets: databases, containers, items. Each test runs plain and over
 * TLS where the bytes on the wire matter. */
#include "client.h"

/*--- Databases --------------------------------------------------------------------*/

static aiocosmos_request of_database(aiocosmos_kind kind, const char *name)
{
    aiocosmos_request request = of_kind(kind);
    request.database = name;
    return request;
}

TEST_TWICE(a_database_is_created_read_and_deleted)
{
    aiocosmos_client *client = open_world("");
    answer got;
    CHECK_INT(ask(client, of_database(AIOCOSMOS_CREATE_DATABASE, "games"), &got), 0);
    CHECK_INT(got.http_status, 201);
    CHECK_STR(string_in(client, got.body, "/id"), "games");
    CHECK_INT(ask(client, of_database(AIOCOSMOS_READ_DATABASE, "games"), &got), 0);
    CHECK_STR(string_in(client, got.body, "/id"), "games");
    CHECK(got.charge_ru > 0);
    CHECK_INT(ask(client, of_database(AIOCOSMOS_DELETE_DATABASE, "games"), &got), 0);
    CHECK_INT(got.http_status, 204);
    CHECK_INT(got.body_len, 0);
    CHECK_INT(ask(client, of_database(AIOCOSMOS_READ_DATABASE, "games"), &got), 404);
    CHECK(got.message[0]);
    close_world(client);
}

TEST(a_database_that_exists_is_a_conflict_unless_if_not_exists)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request again = of_kind(AIOCOSMOS_CREATE_DATABASE);
    answer got;
    CHECK_INT(ask(client, again, &got), 409);
    again.if_not_exists = true;
    CHECK_INT(ask(client, again, &got), 0);
    CHECK_INT(got.http_status, 409);
    CHECK_STR(got.message, "");
    CHECK_INT(got.body_len, 0);
    close_world(client);
}

TEST(a_database_name_may_hold_anything_that_the_service_allows)
{
    static const char *const names[] = {"with space", "100%", "a+b", "caf\xC3\xA9", "\xF0\x9F\x8E\xAE", "q\"uote",
        "a&b=c;d", "..x"};
    aiocosmos_client *client = open_world("");
    answer got;
    size_t i;
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        must(client, of_database(AIOCOSMOS_CREATE_DATABASE, names[i]));
        CHECK_INT(ask(client, of_database(AIOCOSMOS_READ_DATABASE, names[i]), &got), 0);
        CHECK_STR(string_in(client, got.body, "/id"), names[i]);
        must(client, of_database(AIOCOSMOS_DELETE_DATABASE, names[i]));
    }
    close_world(client);
}

TEST(a_database_name_that_the_service_forbids_is_refused_with_the_byte)
{
    aiocosmos_client *client = open_world("");
    CHECK_STR(refusal_of(client, of_database(AIOCOSMOS_CREATE_DATABASE, "a/b")), "database: '/' at byte 1");
    CHECK(strstr(refusal_of(client, of_database(AIOCOSMOS_CREATE_DATABASE, "")), "database: "));
    CHECK(strstr(refusal_of(client, of_database(AIOCOSMOS_READ_DATABASE, "end ")), "database: "));
    CHECK(strstr(refusal_of(client, of_database(AIOCOSMOS_READ_DATABASE, "bad\xFF")), "byte 3"));
    close_world(client);
}

TEST_TWICE(databases_are_listed_page_by_page)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_query_request list;
    listing all;
    memset(&list, 0, sizeof list);
    list.feed = AIOCOSMOS_FEED_DATABASES;
    must(client, of_database(AIOCOSMOS_CREATE_DATABASE, "db2"));
    must(client, of_database(AIOCOSMOS_CREATE_DATABASE, "db3"));
    read_all(client, &list, &all);
    CHECK_INT(all.items, 3);
    CHECK_INT(all.pages, 1);
    list.page_items_max = 1;
    read_all(client, &list, &all);
    CHECK_INT(all.items, 3);
    CHECK(all.pages >= 3);
    CHECK(strstr(all.text, "\"db\"") && strstr(all.text, "\"db2\"") && strstr(all.text, "\"db3\""));
    close_world(client);
}

TEST(databases_and_containers_are_queried)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_param name = {"@id", aiocosmos_s("db2")};
    aiocosmos_query_request query;
    listing all;
    must(client, of_database(AIOCOSMOS_CREATE_DATABASE, "db2"));
    memset(&query, 0, sizeof query);
    query.feed = AIOCOSMOS_FEED_DATABASES;
    query.sql = "SELECT * FROM r WHERE r.id = @id";
    query.params = &name;
    query.param_count = 1;
    read_all(client, &query, &all);
    CHECK_INT(all.items, 1);
    query.feed = AIOCOSMOS_FEED_CONTAINERS;
    name.value = aiocosmos_s("c");
    read_all(client, &query, &all);
    CHECK_INT(all.items, 1);
    close_world(client);
}

/*--- Throughput, as the account's offers say ----------------------------------------*/

TEST(throughput_is_manual_or_autoscale)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request manual = of_database(AIOCOSMOS_CREATE_DATABASE, "manual");
    aiocosmos_request automatic = create_container("automatic", "/pk");
    manual.throughput_ru = 500;
    automatic.autoscale_max_ru = 4000;
    must(client, manual);
    must(client, automatic);
    CHECK_INT(http_signed("GET", "offers", "", "/offers", ""), 200);
    CHECK(strstr(http_answer, "\"offerThroughput\":500"));
    CHECK(strstr(http_answer, "\"maxThroughput\":4000"));
    manual.autoscale_max_ru = 4000;
    CHECK_STR(refusal_of(client, manual), "autoscale_max_ru: and throughput_ru are both given");
    close_world(client);
}

TEST(throughput_that_the_service_refuses_is_400)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request too_little = create_container("little", "/pk");
    answer got;
    too_little.throughput_ru = 100;
    CHECK_INT(ask(client, too_little, &got), 400);
    CHECK(got.message[0]);
    close_world(client);
}

/*--- Containers ---------------------------------------------------------------------*/

static aiocosmos_request of_container(aiocosmos_kind kind, const char *name)
{
    aiocosmos_request request = of_kind(kind);
    request.container = name;
    return request;
}

TEST_TWICE(a_container_is_created_read_and_deleted)
{
    aiocosmos_client *client = open_world("");
    answer got;
    CHECK_INT(ask(client, create_container("players", "/tenant/id"), &got), 0);
    CHECK_INT(got.http_status, 201);
    CHECK_INT(ask(client, of_container(AIOCOSMOS_READ_CONTAINER, "players"), &got), 0);
    CHECK_STR(string_in(client, got.body, "/id"), "players");
    CHECK_STR(string_in(client, got.body, "/partitionKey/paths/0"), "/tenant/id");
    CHECK_STR(string_in(client, got.body, "/partitionKey/kind"), "Hash");
    CHECK_INT(number_in(client, got.body, "/partitionKey/version"), 2);
    CHECK_INT(ask(client, of_container(AIOCOSMOS_DELETE_CONTAINER, "players"), &got), 0);
    CHECK_INT(got.http_status, 204);
    CHECK_INT(ask(client, of_container(AIOCOSMOS_READ_CONTAINER, "players"), &got), 404);
    close_world(client);
}

TEST(a_container_that_exists_is_a_conflict_unless_if_not_exists)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request again = create_container("c", "/pk");
    answer got;
    CHECK_INT(ask(client, again, &got), 409);
    again.if_not_exists = true;
    CHECK_INT(ask(client, again, &got), 0);
    CHECK_INT(got.http_status, 409);
    close_world(client);
}

TEST(a_container_without_its_database_is_404)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request lost = create_container("c", "/pk");
    answer got;
    lost.database = "nowhere";
    CHECK_INT(ask(client, lost, &got), 404);
    close_world(client);
}

TEST(a_container_has_up_to_three_key_levels)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = create_container("levels", "/a");
    answer got;
    request.partition_key_paths[1] = "/b";
    request.partition_key_paths[2] = "/c";
    must(client, request);
    CHECK_INT(ask(client, of_container(AIOCOSMOS_READ_CONTAINER, "levels"), &got), 0);
    CHECK_STR(string_in(client, got.body, "/partitionKey/kind"), "MultiHash");
    CHECK_STR(string_in(client, got.body, "/partitionKey/paths/2"), "/c");
    request.partition_key_paths[1] = NULL;
    CHECK_STR(refusal_of(client, request), "partition_key_paths: a gap between the levels");
    request.partition_key_paths[0] = "a";
    CHECK(strstr(refusal_of(client, request), "a path starts with '/'"));
    request.partition_key_paths[0] = NULL;
    CHECK_STR(refusal_of(client, request), "partition_key_paths: a gap between the levels");
    request.body = text_of("{\"partitionKey\":{\"paths\":[\"/a\"]}}");
    CHECK_STR(refusal_of(client, request), "body: \"partitionKey\" and partition_key_paths are both given");
    request.kind = AIOCOSMOS_READ_CONTAINER;
    memset(&request.body, 0, sizeof request.body);
    CHECK_STR(refusal_of(client, request), "partition_key_paths: does not belong to this kind of operation");
    close_world(client);
}

TEST(a_container_keeps_its_ttl_and_indexing_policy)
{
    static const char policy[] = "{\"indexingMode\":\"consistent\",\"automatic\":true,"
        "\"includedPaths\":[{\"path\":\"/name/?\"}],\"excludedPaths\":[{\"path\":\"/*\"}]}";
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = create_container("kept", "/pk");
    answer got;
    const char *why;
    request.default_ttl_s = 3600;
    request.indexing_policy = text_of(policy);
    must(client, request);
    CHECK_INT(ask(client, of_container(AIOCOSMOS_READ_CONTAINER, "kept"), &got), 0);
    CHECK_INT(number_in(client, got.body, "/defaultTtl"), 3600);
    CHECK_STR(string_in(client, got.body, "/indexingPolicy/includedPaths/0/path"), "/name/?");
    request.container = "kept2";
    request.default_ttl_s = -1;
    must(client, request);
    CHECK_INT(ask(client, of_container(AIOCOSMOS_READ_CONTAINER, "kept2"), &got), 0);
    CHECK_INT(number_in(client, got.body, "/defaultTtl"), -1);
    request.default_ttl_s = -2;
    CHECK_STR(refusal_of(client, request), "default_ttl_s: -1, or seconds above 0");
    request.default_ttl_s = 0;
    request.indexing_policy = text_of("{\"indexingMode\":}");
    why = refusal_of(client, request);
    CHECK(strstr(why, "indexing_policy: ") && strstr(why, "at byte 16"));
    close_world(client);
}

TEST(a_container_is_replaced_with_what_was_read)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = of_kind(AIOCOSMOS_REPLACE_CONTAINER);
    answer before, got;
    CHECK_INT(ask(client, of_kind(AIOCOSMOS_READ_CONTAINER), &before), 0);
    request.body = text_of(before.body);
    request.default_ttl_s = 60;
    CHECK_INT(ask(client, request, &got), 0);
    CHECK_INT(number_in(client, got.body, "/defaultTtl"), 60);
    CHECK_STR(string_in(client, got.body, "/_rid"), string_in(client, before.body, "/_rid"));
    request.if_match = aiocosmos_text(before.etag);
    CHECK_INT(ask(client, request, &got), 412);
    request.body = text_of("{\"id\":\"other\"}");
    CHECK(strstr(refusal_of(client, request), "\"id\" is another name"));
    close_world(client);
}

TEST(a_container_has_unique_keys)
{
    static const char *const unique[] = {"/mail", "/guild,/rank", NULL};
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = create_container("unique", "/pk"), item;
    answer got;
    request.unique_keys = unique;
    CHECK_INT(ask(client, request, &got), 0);
    CHECK_STR(string_in(client, got.body, "/uniqueKeyPolicy/uniqueKeys/0/paths/0"), "/mail");
    CHECK_STR(string_in(client, got.body, "/uniqueKeyPolicy/uniqueKeys/1/paths/0"), "/guild");
    CHECK_STR(string_in(client, got.body, "/uniqueKeyPolicy/uniqueKeys/1/paths/1"), "/rank");
    item = create_item(aiocosmos_s("p"), "{\"id\":\"1\",\"pk\":\"p\",\"mail\":\"a@example.org\"}");
    item.container = "unique";
    must(client, item);
    item.body = text_of("{\"id\":\"2\",\"pk\":\"p\",\"mail\":\"a@example.org\"}");
    CHECK_INT(ask(client, item, &got), 409);
    item.body = text_of("{\"id\":\"2\",\"pk\":\"q\",\"mail\":\"a@example.org\"}");
    item.pk = aiocosmos_pk1(aiocosmos_s("q"));
    CHECK_INT(ask(client, item, &got), 0);
    close_world(client);
}

static const char *const bad_keys[][2] = {{"mail", NULL}, {"", NULL}, {"/a,", NULL}, {"/a, /b", NULL}, {"/", NULL},
                                          {"/a\xff", NULL}};

/* The policies, each in its field, are what the service gets; what stands in body beside them goes along. */
TEST(a_container_takes_its_policies_as_fields_and_further_properties_as_json)
{
    static const char embeddings[] = "{\"vectorEmbeddings\":[{\"path\":\"/v\",\"dataType\":\"float32\","
                                     "\"dimensions\":3,\"distanceFunction\":\"cosine\"}]}";
    static const char full_text[] = "{\"defaultLanguage\":\"en-US\",\"fullTextPaths\":[{\"path\":\"/text\"}]}";
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = create_container("all", "/pk");
    answer got;
    size_t i;
    request.indexing_policy = text_of("{\"indexingMode\":\"none\"}");
    request.conflict_resolution_policy = text_of(" {\"mode\":\"LastWriterWins\",\"conflictResolutionPath\":\"/n\"}");
    request.vector_embedding_policy = text_of(embeddings);
    request.full_text_policy = text_of(full_text);
    request.computed_properties = text_of("[{\"name\":\"low\",\"query\":\"SELECT VALUE LOWER(c.name) FROM c\"}]");
    request.change_feed_policy = text_of("{\"retentionDuration\":60}");
    request.body = text_of("{\"analyticalStorageTtl\":-1,\"geospatialConfig\":{\"type\":\"Geometry\"}}");
    must(client, request);
    CHECK_INT(ask(client, of_container(AIOCOSMOS_READ_CONTAINER, "all"), &got), 0);
    CHECK_STR(string_in(client, got.body, "/indexingPolicy/indexingMode"), "none");
    CHECK_STR(string_in(client, got.body, "/conflictResolutionPolicy/conflictResolutionPath"), "/n");
    CHECK_INT(number_in(client, got.body, "/vectorEmbeddingPolicy/vectorEmbeddings/0/dimensions"), 3);
    CHECK_STR(string_in(client, got.body, "/fullTextPolicy/fullTextPaths/0/path"), "/text");
    CHECK_STR(string_in(client, got.body, "/computedProperties/0/name"), "low");
    CHECK_INT(number_in(client, got.body, "/changeFeedPolicy/retentionDuration"), 60);
    CHECK_INT(number_in(client, got.body, "/analyticalStorageTtl"), -1);
    CHECK_STR(string_in(client, got.body, "/geospatialConfig/type"), "Geometry");

    request.computed_properties = text_of("{}");
    CHECK_STR(refusal_of(client, request), "computed_properties: not an array");
    request.computed_properties = text_of(NULL);
    request.full_text_policy = text_of("[]");
    CHECK_STR(refusal_of(client, request), "full_text_policy: not an object");
    request.full_text_policy = text_of("");                /* of a writer that failed, say */
    CHECK(strstr(refusal_of(client, request), "full_text_policy: "));
    request.full_text_policy = text_of("{\"a\":1,}");
    CHECK_STR(refusal_of(client, request), "full_text_policy: a property name is expected at byte 7");
    for (i = 0; i < sizeof bad_keys / sizeof *bad_keys; i++) {
        request = create_container("bad", "/pk");
        request.unique_keys = bad_keys[i];
        if (strncmp(refusal_of(client, request), "unique_keys: ", 13) != 0) CHECK_STR(bad_keys[i][0], "refused");
    }
    close_world(client);
}

TEST(a_property_given_twice_or_nearly_right_is_refused)
{
    static const char *const names[][2] = {
        {"uniqueKeys", "uniqueKeyPolicy"}, {"uniqueKeyPolicies", "uniqueKeyPolicy"},
        {"uniquekeypolicy", "uniqueKeyPolicy"}, {"unique_key_policy", "uniqueKeyPolicy"},
        {"partitionkey", "partitionKey"}, {"partitionKeys", "partitionKey"}, {"partition_key", "partitionKey"},
        {"defaultTTL", "defaultTtl"}, {"default_ttl", "defaultTtl"}, {"indexPolicy", "indexingPolicy"},
        {"indexing", "indexingPolicy"}, {"IndexingPolicy", "indexingPolicy"}, {"idnexingPolicy", "indexingPolicy"},
        {"conflictResolution", "conflictResolutionPolicy"}, {"vectorEmbeddings", "vectorEmbeddingPolicy"},
        {"fullTextPolicies", "fullTextPolicy"}, {"computedProperty", "computedProperties"},
        {"changeFeed", "changeFeedPolicy"}};
    static const char *const strangers[] = {"clientEncryptionPolicy", "materializedViewDefinition", "geospatialConfig",
        "globalSecondaryIndexDefinition", "analyticalStorageTtl", "dataMaskingPolicy", "throughputBuckets", "_self",
        "createMode", "statistics", "a", "", "a-name-that-is-as-long-as-any-that-the-service-may-think-of-some-day"};
    static const struct { const char *body, *why; } twice[] = {
        {"{\"partitionKey\":{}}", "body: \"partitionKey\" and partition_key_paths are both given"},
        {"{\"uniqueKeyPolicy\":{}}", "body: \"uniqueKeyPolicy\" and unique_keys are both given"},
        {"{\"defaultTtl\":1}", "body: \"defaultTtl\" and default_ttl_s are both given"},
        {"{\"indexingPolic\\u0079\":{}}", "body: \"indexingPolicy\" and indexing_policy are both given"},
        {"{\"changeFeedPolicy\":{}}", "body: \"changeFeedPolicy\" and change_feed_policy are both given"}};
    static const char *const unique[] = {"/mail", NULL};
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = create_container("c2", "/pk");
    aiocosmos_op op;
    char body[200], why[200];
    size_t i;
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(body, sizeof body, "{\"%s\":{}}", names[i][0]);
        snprintf(why, sizeof why, "body: \"%s\": did you mean \"%s\"?", names[i][0], names[i][1]);
        request.body = text_of(body);
        CHECK_STR(refusal_of(client, request), why);
    }
    for (i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        snprintf(body, sizeof body, "{\"%s\":{}}", strangers[i]);
        request.body = text_of(body);
        if (aiocosmos_submit(client, &request, &op) != 0) CHECK_STR(aiocosmos_last_error(client), strangers[i]);
        CHECK(aiocosmos_cancel(client, op));
        drain(client);
    }
    request.unique_keys = unique;
    request.default_ttl_s = -1;
    request.indexing_policy = request.change_feed_policy = text_of("{}");
    for (i = 0; i < sizeof twice / sizeof *twice; i++) {
        request.body = text_of(twice[i].body);
        CHECK_STR(refusal_of(client, request), twice[i].why);
    }
    request = of_kind(AIOCOSMOS_REPLACE_CONTAINER);
    request.unique_keys = unique;
    CHECK_STR(refusal_of(client, request), "unique_keys: does not belong to this kind of operation");
    request = of_kind(AIOCOSMOS_READ_CONTAINER);
    request.full_text_policy = text_of("{}");
    CHECK_STR(refusal_of(client, request), "full_text_policy: does not belong to this kind of operation");
    request = read_item("a", aiocosmos_s("eu"));
    request.default_ttl_s = 1;
    CHECK_STR(refusal_of(client, request), "default_ttl_s: does not belong to this kind of operation");
    close_world(client);
}

/*--- The partition key of a document, by its container's own definition ---------------*/

/* The key as the service is told it; "": there is none. */
static const char *key_of(aiocosmos_client *client, const char *container, const char *body)
{
    static char text[200];
    aiocosmos_pk pk = aiocosmos_pk_of(client, container, text_of(body));
    text[0] = '\0';
    if (pk.level[0].type == AIOCOSMOS_VALUE_UNSET) {
        CHECK(pk.level[1].type == AIOCOSMOS_VALUE_UNSET && pk.level[2].type == AIOCOSMOS_VALUE_UNSET);
        CHECK(*aiocosmos_last_error(client));
        return text;
    }
    CHECK_STR(aiocosmos_last_error(client), "");
    client_key(client, &pk, text, sizeof text);
    return text;
}

TEST(a_document_has_its_key_by_the_definition_of_its_container)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = create_container("deep", "/a/\"b c\"/'d/e'");
    static const char body[] = " {\"pk\": \"eu\", \"id\": \"7\"} ";
    aiocosmos_pk pk;
    must(client, request);
    CHECK_STR(key_of(client, "deep", "{}"), "");
    CHECK_STR(aiocosmos_last_error(client),
              "container: its definition is not known yet: AIOCOSMOS_READ_CONTAINER reads it");
    must(client, of_container(AIOCOSMOS_READ_CONTAINER, "deep"));
    CHECK_STR(key_of(client, "deep", "{\"a\":{\"b c\":{\"d/e\":42}}}"), "[42]");
    CHECK_STR(key_of(client, "dbs/db/colls/deep", "{\"a\":{\"b c\":{\"d/e\":\"x\\u0041\"}}}"), "[\"x\\u0041\"]");
    CHECK_STR(key_of(client, "deep", "{\"a\":{\"b c\":{\"d/e\":null}}}"), "[null]");
    CHECK_STR(key_of(client, "deep", "{\"a\":{\"b c\":[1]}}"), "[{}]");
    CHECK_STR(key_of(client, "deep", "{\"a\":1,\"a\":{\"b c\":{\"d/e\":true}}}"), "[true]");    /* the last counts */
    CHECK_STR(key_of(client, "deep", "{\"a\":{\"b c\":{\"d/e\":[]}}}"), "");
    CHECK(strstr(aiocosmos_last_error(client), "leads to an object or array"));
    CHECK_STR(key_of(client, "deep", "[]"), "");
    CHECK_STR(aiocosmos_last_error(client), "body: required: the item, a JSON object");
    CHECK_STR(key_of(client, "deep", "{\"a\":}"), "");
    CHECK_STR(aiocosmos_last_error(client), "body: a value is expected at byte 5");
    CHECK_STR(key_of(client, "deep", NULL), "");
    CHECK_STR(key_of(client, NULL, "{}"), "");
    CHECK_STR(key_of(client, "a?b", "{}"), "");
    CHECK(strstr(aiocosmos_last_error(client), "container: "));
    CHECK_STR(key_of(client, "dbs/other/colls/deep", "{}"), "");

    request = create_container("tree", "/tenant");
    request.partition_key_paths[1] = "/user";
    request.partition_key_paths[2] = "/n";
    must(client, request);
    must(client, of_container(AIOCOSMOS_READ_CONTAINER, "tree"));
    CHECK_STR(key_of(client, "tree", "{\"user\":\"ann\",\"tenant\":\"acme\",\"n\":-0.5}"), "[\"acme\",\"ann\",-0.5]");
    CHECK_STR(key_of(client, "tree", "{\"tenant\":false}"), "[false,{},{}]");

    must(client, of_kind(AIOCOSMOS_READ_CONTAINER));
    pk = aiocosmos_pk_of(client, "c", text_of(body));
    CHECK(pk.level[0].str == strchr(body, ':') + 2 && pk.level[0].len == 4);         /* a part of the text, no copy */
    request = create_item(aiocosmos_s("eu"), body);
    request.pk = pk;
    must(client, request);
    must(client, read_item("7", aiocosmos_s("eu")));
    request.pk = aiocosmos_pk_s("eu");
    request.body = text_of("{\"id\":\"8\",\"pk\":\"eu\"}");
    must(client, request);
    request.pk = aiocosmos_pk_s(NULL);
    CHECK_STR(refusal_of(client, request), "pk: required");
    request.body = text_of("{\"id\":\"8\",}");                /* what is wrong with the body comes first */
    CHECK(strstr(refusal_of(client, request), "at byte 10"));
    close_world(client);
}

static void key_from_its_result(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    CHECK_INT(result->status, 0);
    CHECK_STR(key_of(client, "c", "{\"pk\":1}"), "[1]");
    CHECK(aiocosmos_json_at(aiocosmos_result_json(result), "/partitionKey").type == AIOCOSMOS_JSON_OBJ);
    *(bool *)user_data = true;
}

/* Known in the callback of the read; and known no more once the container is gone, or is another of that name. */
TEST(the_definition_of_a_container_is_learnt_and_forgotten)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = of_kind(AIOCOSMOS_READ_CONTAINER), again;
    bool seen = false;
    request.done = key_from_its_result;
    request.user_data = &seen;
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    CHECK(seen);
    must(client, of_kind(AIOCOSMOS_DELETE_CONTAINER));
    CHECK_STR(key_of(client, "c", "{\"pk\":1}"), "");
    again = create_container("c", "/other");
    must(client, again);
    CHECK_STR(key_of(client, "c", "{\"other\":2}"), "");
    must(client, of_kind(AIOCOSMOS_READ_CONTAINER));
    CHECK_STR(key_of(client, "c", "{\"pk\":1,\"other\":2}"), "[2]");
    fault("status=400,sub_status=1024,kind=create_item,count=1");
    must(client, create_item(aiocosmos_i(2), "{\"id\":\"1\",\"other\":2}"));
    CHECK_STR(key_of(client, "c", "{\"other\":3}"), "[3]");                 /* while it is looked up anew, too */
    close_world(client);
}

TEST(containers_are_listed_page_by_page)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_query_request list;
    listing all;
    memset(&list, 0, sizeof list);
    list.feed = AIOCOSMOS_FEED_CONTAINERS;
    must(client, create_container("c2", "/pk"));
    must(client, create_container("c3", "/pk"));
    list.page_items_max = 2;
    read_all(client, &list, &all);
    CHECK_INT(all.items, 3);
    CHECK_INT(all.pages, 2);
    list.container = "c";
    CHECK_STR(refusal_of_query(client, &list), "container: does not belong to this feed");
    close_world(client);
}

TEST(the_account_is_read)
{
    aiocosmos_client *client = open_world("");
    answer got;
    CHECK_INT(ask(client, of_kind(AIOCOSMOS_READ_ACCOUNT), &got), 0);
    CHECK_STR(string_in(client, got.body, "/userConsistencyPolicy/defaultConsistencyLevel"), "Session");
    close_world(client);
}

/*--- Items --------------------------------------------------------------------------*/

TEST_TWICE(an_item_goes_through_every_operation)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_value eu = aiocosmos_s("eu");
    aiocosmos_request request;
    answer got;
    CHECK_INT(ask(client, create_item(eu, "{\"id\":\"ann\",\"pk\":\"eu\",\"level\":1}"), &got), 0);
    CHECK_INT(got.http_status, 201);
    CHECK_INT(ask(client, create_item(eu, "{\"id\":\"ann\",\"pk\":\"eu\"}"), &got), 409);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_ANSWERED);
    CHECK_INT(ask(client, read_item("ann", eu), &got), 0);
    CHECK_INT(number_in(client, got.body, "/level"), 1);
    CHECK_INT(ask(client, upsert_item(eu, "{\"id\":\"ann\",\"pk\":\"eu\",\"level\":2}"), &got), 0);
    CHECK_INT(got.http_status, 200);
    CHECK_INT(ask(client, upsert_item(eu, "{\"id\":\"bob\",\"pk\":\"eu\",\"level\":9}"), &got), 0);
    CHECK_INT(got.http_status, 201);
    CHECK_INT(ask(client, replace_item("ann", eu, "{\"id\":\"ann\",\"pk\":\"eu\",\"level\":3}"), &got), 0);
    request = of_item(AIOCOSMOS_PATCH_ITEM, "ann", eu, "[{\"op\":\"incr\",\"path\":\"/level\",\"value\":39}]");
    CHECK_INT(ask(client, request, &got), 0);
    CHECK_INT(ask(client, read_item("ann", eu), &got), 0);
    CHECK_INT(number_in(client, got.body, "/level"), 42);
    CHECK_INT(ask(client, delete_item("ann", eu), &got), 0);
    CHECK_INT(got.http_status, 204);
    CHECK_INT(ask(client, read_item("ann", eu), &got), 404);
    CHECK_INT(ask(client, delete_item("ann", eu), &got), 404);
    CHECK_INT(ask(client, replace_item("ann", eu, "{\"id\":\"ann\",\"pk\":\"eu\"}"), &got), 404);
    close_world(client);
}

TEST(every_answer_carries_its_facts)
{
    aiocosmos_client *client = open_world("");
    answer got;
    CHECK_INT(ask(client, create_item(aiocosmos_s("eu"), "{\"id\":\"ann\",\"pk\":\"eu\"}"), &got), 0);
    CHECK(got.charge_ru > 0);
    CHECK_INT(got.attempts, 1);
    CHECK_INT(got.etag[0], '"');
    CHECK(strchr(got.session, ':'));
    CHECK_STR(got.message, "");
    CHECK_INT(got.throttled_us, 0);
    CHECK_INT(ask(client, read_item("bob", aiocosmos_s("eu")), &got), 404);
    CHECK(got.charge_ru > 0);
    CHECK(strstr(got.body, "\"code\""));
    close_world(client);
}

TEST(a_write_answers_with_the_item_only_if_it_is_wanted)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = create_item(aiocosmos_s("eu"), "{\"id\":\"ann\",\"pk\":\"eu\"}");
    answer got;
    CHECK_INT(ask(client, request, &got), 0);
    CHECK_INT(got.body_len, 0);
    CHECK(got.etag[0]);
    request.kind = AIOCOSMOS_UPSERT_ITEM;
    request.want_body = true;
    CHECK_INT(ask(client, request, &got), 0);
    CHECK_STR(string_in(client, got.body, "/id"), "ann");
    CHECK_STR(string_in(client, got.body, "/_etag"), got.etag);
    close_world(client);
}

TEST(if_match_writes_only_over_the_version_that_was_read)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_value eu = aiocosmos_s("eu");
    aiocosmos_request request = replace_item("ann", eu, "{\"id\":\"ann\",\"pk\":\"eu\",\"v\":2}");
    answer created, got;
    CHECK_INT(ask(client, create_item(eu, "{\"id\":\"ann\",\"pk\":\"eu\",\"v\":1}"), &created), 0);
    request.if_match = aiocosmos_text("\"somebody-else\"");
    CHECK_INT(ask(client, request, &got), 412);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_ANSWERED);
    request.if_match = aiocosmos_text(created.etag);
    CHECK_INT(ask(client, request, &got), 0);
    CHECK_INT(ask(client, request, &got), 412);
    request.if_match = aiocosmos_text("*");
    CHECK_INT(ask(client, request, &got), 0);
    request = delete_item("ann", eu);
    request.if_match = aiocosmos_text(created.etag);
    CHECK_INT(ask(client, request, &got), 412);
    request.if_match = aiocosmos_text("no-quotes");
    CHECK_STR(refusal_of(client, request), "if_match: an ETag keeps its double quotes");
    close_world(client);
}

TEST(if_none_match_reads_only_what_is_new)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_value eu = aiocosmos_s("eu");
    aiocosmos_request request = read_item("ann", eu);
    answer created, got;
    CHECK_INT(ask(client, create_item(eu, "{\"id\":\"ann\",\"pk\":\"eu\"}"), &created), 0);
    request.if_none_match = aiocosmos_text(created.etag);
    CHECK_INT(ask(client, request, &got), 304);
    CHECK_INT(got.body_len, 0);
    must(client, upsert_item(eu, "{\"id\":\"ann\",\"pk\":\"eu\",\"v\":2}"));
    CHECK_INT(ask(client, request, &got), 0);
    CHECK_INT(number_in(client, got.body, "/v"), 2);
    close_world(client);
}

TEST(a_patch_has_every_operation_and_a_condition)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_value eu = aiocosmos_s("eu");
    aiocosmos_request patch = of_item(AIOCOSMOS_PATCH_ITEM, "ann", eu,
        "[{\"op\":\"add\",\"path\":\"/tags/-\",\"value\":\"new\"},"
        "{\"op\":\"set\",\"path\":\"/name\",\"value\":\"Ann\"},"
        "{\"op\":\"replace\",\"path\":\"/level\",\"value\":7},{\"op\":\"remove\",\"path\":\"/old\"},"
        "{\"op\":\"incr\",\"path\":\"/gold\",\"value\":-5},{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/b\"}]");
    answer got;
    must(client, create_item(eu, "{\"id\":\"ann\",\"pk\":\"eu\",\"level\":1,\"gold\":10,\"tags\":[\"x\"],"
                                 "\"old\":1,\"a\":5}"));
    patch.want_body = true;
    CHECK_INT(ask(client, patch, &got), 0);
    CHECK_STR(string_in(client, got.body, "/tags/1"), "new");
    CHECK_STR(string_in(client, got.body, "/name"), "Ann");
    CHECK_INT(number_in(client, got.body, "/level"), 7);
    CHECK_INT(number_in(client, got.body, "/gold"), 5);
    CHECK_INT(number_in(client, got.body, "/b"), 5);
    CHECK(!strstr(got.body, "\"old\""));
    patch.body = text_of("{\"condition\":\"from c where c.level > 100\","
                         "\"operations\":[{\"op\":\"set\",\"path\":\"/v\",\"value\":1}]}");
    CHECK_INT(ask(client, patch, &got), 412);
    patch.body = text_of("{\"condition\":\"from c where c.level = 7\","
                         "\"operations\":[{\"op\":\"set\",\"path\":\"/v\",\"value\":1}]}");
    CHECK_INT(ask(client, patch, &got), 0);
    patch.body = text_of("[{\"op\":\"replace\",\"path\":\"/missing\",\"value\":1}]");
    CHECK_INT(ask(client, patch, &got), 400);
    patch.body = text_of("{\"op\":\"set\"}");
    CHECK(strstr(refusal_of(client, patch), "body: required: an array of operations, or"));
    close_world(client);
}

/*--- Ids ----------------------------------------------------------------------------*/

/* {"id":ID,"pk":KEY} with both as JSON. */
static const char *item_text(const char *id, aiocosmos_value pk)
{
    static char text[16384];
    aiocosmos_jw w;
    aiocosmos_jw_init(&w, text, sizeof text);
    aiocosmos_jw_object(&w, NULL);
    aiocosmos_jw_str(&w, "id", id);
    if (pk.type != AIOCOSMOS_VALUE_NONE) aiocosmos_jw_value(&w, "pk", pk);
    aiocosmos_jw_end(&w);
    CHECK(aiocosmos_jw_finish(&w).len > 0);
    return text;
}

TEST_TWICE(an_id_may_hold_anything_that_the_service_allows)
{
    static const char *const ids[] = {"a b", " leading", "100%", "%41", "a+b", "a&b=c", "na\xC3\xAFve",
        "\xF0\x9F\x90\x89", "it's", "\"quoted\"", "<tag>", "a,b;c:d@e!f$g(h)*i", "[x]{y}|z^~`", "...", "-",
        "x\xC2\x85y", "\xE2\x80\xAErtl"};
    aiocosmos_client *client = open_world("");
    aiocosmos_value eu = aiocosmos_s("eu");
    answer got;
    size_t i;
    for (i = 0; i < sizeof ids / sizeof *ids; i++) {
        must(client, create_item(eu, item_text(ids[i], eu)));
        if (ask(client, read_item(ids[i], eu), &got) != 0) CHECK_STR(ids[i], got.message);
        CHECK_STR(string_in(client, got.body, "/id"), ids[i]);
        must(client, replace_item(ids[i], eu, item_text(ids[i], eu)));
        must(client, delete_item(ids[i], eu));
    }
    close_world(client);
}

TEST(an_id_has_up_to_1023_bytes)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_value eu = aiocosmos_s("eu");
    char id[1025];
    answer got;
    memset(id, 'i', 1024);
    id[1023] = 0;
    must(client, create_item(eu, item_text(id, eu)));
    CHECK_INT(ask(client, read_item(id, eu), &got), 0);
    id[1023] = 'i';
    id[1024] = 0;
    CHECK_STR(refusal_of(client, create_item(eu, item_text(id, eu))),
              "body: \"id\": 1024 bytes, at most 1023 are allowed");
    CHECK_STR(refusal_of(client, read_item(id, eu)), "id: 1024 bytes, at most 1023 are allowed");
    close_world(client);
}

TEST(an_item_that_cannot_be_is_refused_with_the_reason_and_the_byte)
{
    static const struct { const char *body, *why; } cases[] = {
        {NULL, "body: required: the item, a JSON object"},
        {"", "body: empty: did the JSON writer's buffer overflow?"},
        {"[]", "body: required: the item, a JSON object"},
        {"{}", "body: \"id\" is required and must be a string"},
        {"{\"id\":7}", "body: \"id\" is required and must be a string"},
        {"{\"id\":\"a/b\"}", "body: \"id\": '/' at byte 1"},
        {"{\"id\":\"a\\u002fb\"}", "body: \"id\": '/' at byte 1"},
        {"{\"id\":\"..\"}", "body: \"id\": '..' is a step in a path"},
        {"{\"id\":\"a\",}", "at byte 10"},
        {"{\"id\":\"a\"", "at byte 9"},
        {"{\"id\":\"a\",\"x\":01}", "at byte 15"},
        {"{\"id\":\"\xFF\"}", "at byte 7"},
    };
    aiocosmos_client *client = open_world("");
    size_t i;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *why = refusal_of(client, create_item(aiocosmos_s("eu"), cases[i].body));
        if (!strstr(why, cases[i].why)) CHECK_STR(why, cases[i].why);
    }
    close_world(client);
}

TEST(a_field_that_does_not_belong_to_the_kind_is_refused)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = create_item(aiocosmos_s("eu"), "{\"id\":\"a\"}");
    request.id = "a";
    CHECK_STR(refusal_of(client, request), "id: does not belong to this kind of operation");
    request = read_item("a", aiocosmos_s("eu"));
    request.body = text_of("{}");
    CHECK_STR(refusal_of(client, request), "body: does not belong to this kind of operation");
    request = read_item("a", aiocosmos_s(NULL));
    CHECK_STR(refusal_of(client, request), "pk: required");
    request = read_item("a", aiocosmos_s("eu"));
    request.if_not_exists = true;
    CHECK_STR(refusal_of(client, request), "if_not_exists: does not belong to this kind of operation");
    request = of_kind((aiocosmos_kind)0);
    CHECK_STR(refusal_of(client, request), "kind: required: one of aiocosmos_kind");
    request = read_item("a", aiocosmos_s("eu"));
    request.container = NULL;
    CHECK_STR(refusal_of(client, request), "container: required");
    close_world(client);
}

TEST(extra_headers_are_sent_but_never_those_that_are_ours)
{
    static const char *const priority[] = {"x-ms-cosmos-priority-level: Low", NULL};
    static const char *const ours[] = {"Authorization: mine", NULL};
    static const char *const split[] = {"x-a: b\r\nx-c: d", NULL};
    static const char *const nameless[] = {": value", NULL};
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = create_item(aiocosmos_s("eu"), "{\"id\":\"a\",\"pk\":\"eu\"}");
    answer got;
    request.headers = priority;
    CHECK_INT(ask(client, request, &got), 0);
    request.headers = ours;
    CHECK_STR(refusal_of(client, request), "headers: Authorization: use key");
    request.headers = split;
    CHECK_STR(refusal_of(client, request), "headers: a character that no header may hold at byte 6");
    request.headers = nameless;
    CHECK_STR(refusal_of(client, request), "headers: \"name: value\" is expected at byte 0");
    close_world(client);
}

/*--- Raw requests -------------------------------------------------------------------*/

static aiocosmos_request raw(const char *verb, const char *link, const char *body)
{
    aiocosmos_request request = of_kind(AIOCOSMOS_RAW);
    request.raw_verb = verb;
    request.raw_link = link;
    request.body = text_of(body);
    return request;
}

static aiocosmos_request raw_of_key(const char *verb, const char *link, const char *body)
{
    aiocosmos_request request = raw(verb, link, body);
    request.pk = aiocosmos_pk1(aiocosmos_s("eu"));
    return request;
}

TEST_TWICE(an_item_goes_through_raw_requests)
{
    static const char *const upsert[] = {"x-ms-documentdb-is-upsert: True", "Prefer: return=minimal", NULL};
    static const char *const query[] = {"x-ms-documentdb-isquery: True", "Content-Type: application/query+json", NULL};
    aiocosmos_client *client = open_world("");
    const char *feed = "dbs/db/colls/c/docs", *item = "dbs/db/colls/c/docs/a nn";
    aiocosmos_request request;
    char etag[80];
    answer got;
    CHECK_INT(ask(client, raw_of_key("POST", feed, "{\"id\":\"a nn\",\"pk\":\"eu\",\"level\":1}"), &got), 0);
    CHECK_INT(got.http_status, 201);
    CHECK_INT(ask(client, raw_of_key("POST", feed, "{\"id\":\"a nn\",\"pk\":\"eu\"}"), &got), 409);
    CHECK_INT(got.fate, AIOCOSMOS_FATE_ANSWERED);
    CHECK_INT(ask(client, raw_of_key("GET", item, ""), &got), 0);
    CHECK_INT(number_in(client, got.body, "/level"), 1);
    CHECK(got.charge_ru > 0 && got.session[0]);
    strcpy(etag, got.etag);
    CHECK_INT(ask(client, raw_of_key("HEAD", item, ""), &got), 0);
    CHECK_INT(got.http_status, 200);
    CHECK_INT(got.body_len, 0);
    CHECK_STR(got.etag, etag);
    request = raw_of_key("GET", item, "");
    request.if_none_match = aiocosmos_text(etag);
    CHECK_INT(ask(client, request, &got), 304);
    request = raw_of_key("PUT", item, "{\"id\":\"a nn\",\"pk\":\"eu\",\"level\":2}");
    request.if_match = aiocosmos_text(etag);
    CHECK_INT(ask(client, request, &got), 0);
    CHECK_INT(number_in(client, got.body, "/level"), 2);
    CHECK_INT(ask(client, request, &got), 412);
    request = raw_of_key("POST", feed, "{\"id\":\"a nn\",\"pk\":\"eu\",\"level\":3}");
    request.headers = upsert;
    CHECK_INT(ask(client, request, &got), 0);
    CHECK(got.http_status == 200 && got.body_len == 0);
    request = raw_of_key("POST", feed, "{\"query\":\"SELECT VALUE c.level FROM c\",\"parameters\":[]}");
    request.headers = query;
    CHECK_INT(ask(client, request, &got), 0);
    CHECK_INT(number_in(client, got.body, "/Documents/0"), 3);
    CHECK_INT(ask(client, raw_of_key("DELETE", item, ""), &got), 0);
    CHECK_INT(got.http_status, 204);
    CHECK_INT(ask(client, raw_of_key("GET", item, ""), &got), 404);
    CHECK_INT(ask(client, raw_of_key("HEAD", item, ""), &got), 404);
    CHECK(got.sub_status == 0 && got.body_len == 0);
    CHECK_INT(ask(client, raw_of_key("POST", feed, "no JSON"), &got), 400);    /* the service has looked into it */
    close_world(client);
}

/* Every route that the emulator has is signed so that it is let in; one that it has not is its answer, not ours. */
TEST(a_raw_request_that_deletes_a_container_forgets_it)
{
    aiocosmos_client *client = open_world("");
    must(client, of_kind(AIOCOSMOS_READ_CONTAINER));
    CHECK_STR(key_of(client, "c", "{\"pk\":1}"), "[1]");
    must(client, raw("POST", "dbs/db/colls", "{\"id\":\"d\",\"partitionKey\":{\"paths\":[\"/pk\"]}}"));
    CHECK_STR(key_of(client, "c", "{\"pk\":1}"), "[1]");
    must(client, raw("DELETE", "dbs/db/colls/c", ""));
    CHECK_STR(key_of(client, "c", "{\"pk\":1}"), "");
    close_world(client);
}

TEST(raw_requests_reach_every_resource)
{
    aiocosmos_client *client = open_world("");
    static char offer[64], body[8192];
    aiocosmos_request request = of_kind(AIOCOSMOS_CREATE_CONTAINER);
    answer got;
    char *at;
    request.container = "o";
    request.partition_key_paths[0] = "/pk";
    request.throughput_ru = 400;
    CHECK_INT(ask(client, request, &got), 0);
    CHECK_INT(ask(client, raw("GET", "", ""), &got), 0);
    CHECK(strstr(got.body, "writableLocations"));
    CHECK_INT(ask(client, raw("GET", "dbs", ""), &got), 0);
    CHECK_INT(number_in(client, got.body, "/_count"), 1);
    CHECK_INT(ask(client, raw("GET", "dbs/db", ""), &got), 0);
    CHECK_INT(ask(client, raw("GET", "dbs/db/colls", ""), &got), 0);
    CHECK_INT(number_in(client, got.body, "/_count"), 2);
    CHECK_INT(ask(client, raw("GET", "dbs/db/colls/c/pkranges", ""), &got), 0);
    CHECK(strstr(got.body, "minInclusive"));
    CHECK_INT(ask(client, raw("GET", "offers", ""), &got), 0);
    at = strstr(got.body, "\"content\"");
    CHECK(at != NULL);
    at = strstr(got.body, "\"id\":\"");
    CHECK(at != NULL);
    snprintf(offer, sizeof offer, "offers/%.*s", (int)strcspn(at + 6, "\""), at + 6);
    CHECK_INT(ask(client, raw("GET", offer, ""), &got), 0);
    CHECK(strstr(got.body, "\"offerThroughput\":400"));
    strcpy(body, got.body);
    memcpy(strstr(body, "\"offerThroughput\":400") + 18, "500", 3);
    CHECK_INT(ask(client, raw("PUT", offer, body), &got), 0);
    CHECK_INT(ask(client, raw("GET", offer, ""), &got), 0);
    CHECK(strstr(got.body, "\"offerThroughput\":500"));
    CHECK_INT(ask(client, raw("POST", "dbs/db/users", "{\"id\":\"ann\"}"), &got), 0);
    CHECK_INT(ask(client, raw("GET", "dbs/db/users/ann/permissions", ""), &got), 0);
    CHECK_INT(ask(client, raw("GET", "dbs/db/colls/c/sprocs", ""), &got), 0);
    CHECK_INT(ask(client, raw("DELETE", "dbs/db/colls/o", ""), &got), 0);
    CHECK_INT(ask(client, raw("GET", "dbs/db/colls/o", ""), &got), 404);
    CHECK_INT(ask(client, raw("PATCH", "dbs/db", ""), &got), 405);
    close_world(client);
}

/*--- Partition keys -----------------------------------------------------------------*/

TEST_TWICE(every_kind_of_key_finds_its_own_item)
{
    static char long_key[2049];
    aiocosmos_value keys[] = {
        aiocosmos_s("eu"), aiocosmos_s(""), aiocosmos_s("5"), aiocosmos_s("null"), aiocosmos_s("true"),
        aiocosmos_s("caf\xC3\xA9"), aiocosmos_s("\xF0\x9F\x8E\xB2\xF0\x9F\x8E\xB2"), aiocosmos_s("[1,2]"),
        aiocosmos_s("\"quoted\" \\ / \b\f\n\r\t"),
        aiocosmos_s("\x7F\xC2\x80"), aiocosmos_sn("nul\0inside", 10), aiocosmos_i(5), aiocosmos_i(0), aiocosmos_i(-1),
        aiocosmos_i(9007199254740992), aiocosmos_i(-9007199254740992), aiocosmos_f(1.5), aiocosmos_f(1e300),
        aiocosmos_f(-2.5e-10),
        aiocosmos_b(true), aiocosmos_b(false), aiocosmos_null(), aiocosmos_none(), aiocosmos_s(long_key),
    };
    aiocosmos_client *client = open_world("--partitions 7");
    char id[16];
    answer got;
    size_t i;
    memset(long_key, 'k', 2048);
    keys[sizeof keys / sizeof *keys - 1] = aiocosmos_s(long_key);
    for (i = 0; i < sizeof keys / sizeof *keys; i++) {
        snprintf(id, sizeof id, "item%u", (unsigned)i);
        if (ask(client, create_item(keys[i], item_text(id, keys[i])), &got) != 0) CHECK_STR(id, got.message);
    }
    for (i = 0; i < sizeof keys / sizeof *keys; i++) {
        snprintf(id, sizeof id, "item%u", (unsigned)i);
        if (ask(client, read_item(id, keys[i]), &got) != 0) CHECK_STR(id, got.message);
        CHECK_STR(string_in(client, got.body, "/id"), id);
        CHECK_INT(ask(client, read_item(id, aiocosmos_s("elsewhere")), &got), 404);
    }
    close_world(client);
}

TEST(null_none_and_the_empty_string_are_three_keys)
{
    aiocosmos_value keys[3];
    aiocosmos_client *client = open_world("");
    answer got;
    int i, k;
    keys[0] = aiocosmos_null();
    keys[1] = aiocosmos_none();
    keys[2] = aiocosmos_s("");
    for (i = 0; i < 3; i++) {
        must(client, create_item(keys[i], item_text("same", keys[i])));
        for (k = i + 1; k < 3; k++) CHECK_INT(ask(client, read_item("same", keys[k]), &got), 404);
    }
    close_world(client);
}

TEST(a_key_that_cannot_be_sent_is_refused)
{
    static char too_long[2050];
    static const struct {
        const char *what;
        aiocosmos_value_type type;
        double f64;
        int64_t i64;
        const char *str;
    } cases[] = {
        {"NaN", AIOCOSMOS_VALUE_F64, 0.0, 0, NULL}, {"2^53", AIOCOSMOS_VALUE_I64, 0, 9007199254740993, NULL},
        {"UTF-8", AIOCOSMOS_VALUE_STR, 0, 0, "\xC3("}, {"scalar", AIOCOSMOS_VALUE_JSON, 0, 0, "[1]"},
        {"2048", AIOCOSMOS_VALUE_STR, 0, 0, too_long},
    };
    aiocosmos_client *client = open_world("");
    size_t i;
    memset(too_long, 'k', 2049);
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        aiocosmos_value key;
        memset(&key, 0, sizeof key);
        key.type = (uint8_t)cases[i].type;
        key.i64 = cases[i].i64;
        key.f64 = i == 0 ? (double)NAN : cases[i].f64;
        key.str = cases[i].str;
        key.len = cases[i].str ? strlen(cases[i].str) : 0;
        if (strncmp(refusal_of(client, read_item("a", key)), "pk: ", 4) != 0)
            CHECK_STR(cases[i].what, "pk: ");
    }
    close_world(client);
}

TEST(a_key_that_is_not_what_the_body_says_is_400)
{
    aiocosmos_client *client = open_world("");
    answer got;
    CHECK_INT(ask(client, create_item(aiocosmos_s("us"), "{\"id\":\"ann\",\"pk\":\"eu\"}"), &got), 400);
    CHECK_INT(got.sub_status, 1001);
    CHECK(got.message[0]);
    close_world(client);
}

TEST_TWICE(hierarchical_keys_find_their_items)
{
    aiocosmos_client *client = open_world("--partitions 5");
    aiocosmos_request request = create_container("levels", "/tenant");
    answer got;
    request.partition_key_paths[1] = "/user";
    request.partition_key_paths[2] = "/session";
    must(client, request);
    request = create_item(aiocosmos_null(), "{\"id\":\"1\",\"tenant\":\"t\",\"user\":\"u\",\"session\":3}");
    request.container = "levels";
    request.pk = aiocosmos_pk3(aiocosmos_s("t"), aiocosmos_s("u"), aiocosmos_i(3));
    must(client, request);
    request.body = text_of("{\"id\":\"2\",\"tenant\":\"t\",\"user\":\"u\"}");
    request.pk = aiocosmos_pk3(aiocosmos_s("t"), aiocosmos_s("u"), aiocosmos_none());
    must(client, request);
    request = read_item("1", aiocosmos_null());
    request.container = "levels";
    request.pk = aiocosmos_pk3(aiocosmos_s("t"), aiocosmos_s("u"), aiocosmos_i(3));
    CHECK_INT(ask(client, request, &got), 0);
    CHECK_INT(number_in(client, got.body, "/session"), 3);
    request.id = "2";
    CHECK_INT(ask(client, request, &got), 404);
    request.pk = aiocosmos_pk3(aiocosmos_s("t"), aiocosmos_s("u"), aiocosmos_none());
    CHECK_INT(ask(client, request, &got), 0);
    request.pk = aiocosmos_pk3(aiocosmos_s("t"), aiocosmos_s(NULL), aiocosmos_i(3));
    CHECK(strstr(refusal_of(client, request), "pk: "));
    close_world(client);
}

TEST(two_key_levels_find_their_items)
{
    aiocosmos_client *client = open_world("--partitions 3");
    aiocosmos_request request = create_container("levels", "/tenant");
    answer got;
    request.partition_key_paths[1] = "/user";
    must(client, request);
    request = create_item(aiocosmos_null(), "{\"id\":\"1\",\"tenant\":\"t\",\"user\":true}");
    request.container = "levels";
    request.pk = aiocosmos_pk2(aiocosmos_s("t"), aiocosmos_b(true));
    must(client, request);
    request = read_item("1", aiocosmos_null());
    request.container = "levels";
    request.pk = aiocosmos_pk2(aiocosmos_s("t"), aiocosmos_b(true));
    CHECK_INT(ask(client, request, &got), 0);
    close_world(client);
}

/*--- Bodies -------------------------------------------------------------------------*/

TEST_TWICE(an_item_comes_back_byte_for_byte)
{
    static const char *const bodies[] = {
        "{\"id\":\"x\",\"pk\":\"eu\",\"big\":9223372036854775807,\"small\":-9223372036854775808}",
        "{\"id\":\"x\",\"pk\":\"eu\",\"float\":1.0,\"exp\":1E5,\"tiny\":4.9e-324,\"zero\":-0.0}",
        "{\"id\":\"x\",\"pk\":\"eu\",\"text\":\"\\u00e9\\n\\t\\\"\\\\\\/\\ud83d\\ude00\"}",
        "{\"id\":\"x\",\"pk\":\"eu\",\"raw\":\"\xC3\xA9\xF0\x9F\x98\x80\"}",
        "{\"id\":\"x\",\"pk\":\"eu\",\"deep\":{\"a\":[[[{\"b\":[1,2,{\"c\":null}]}]]]},\"empty\":{},\"none\":[]}",
    };
    aiocosmos_client *client = open_world("");
    aiocosmos_value eu = aiocosmos_s("eu");
    answer got;
    size_t i;
    for (i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        size_t shared = strlen(bodies[i]) - 1;           /* system properties come before the last brace */
        must(client, upsert_item(eu, bodies[i]));
        CHECK_INT(ask(client, read_item("x", eu), &got), 0);
        CHECK(got.body_len > shared);
        CHECK_MEM(got.body, bodies[i], shared);
    }
    close_world(client);
}

/* {"id":"x","pk":"eu","fill":"fff…"} of so many bytes. */
static char *large_item(size_t size)
{
    static const char head[] = "{\"id\":\"x\",\"pk\":\"eu\",\"fill\":\"";
    char *text = malloc(size + 1);
    memset(text, 'f', size);
    memcpy(text, head, sizeof head - 1);
    memcpy(text + size - 2, "\"}", 3);
    return text;
}

static void keep_length(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client;
    *(size_t *)user_data = result->status == 0 ? result->body.len : 0;
}

TEST_TWICE(a_large_item_goes_there_and_back)
{
    size_t size = 1900000, length = 0;
    aiocosmos_client *client = open_world("");
    char *text = large_item(size);
    aiocosmos_request request = read_item("x", aiocosmos_s("eu"));
    must(client, create_item(aiocosmos_s("eu"), text));
    free(text);
    request.done = keep_length;
    request.user_data = &length;
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    CHECK(length > size);
    close_world(client);
}

TEST(an_item_over_two_megabytes_is_413)
{
    aiocosmos_client *client = open_world("");
    char *text = large_item((2u << 20) + 100);
    answer got;
    int status = ask(client, create_item(aiocosmos_s("eu"), text), &got);
    free(text);
    CHECK_INT(status, 413);
    close_world(client);
}

/*--- Results --------------------------------------------------------------------------*/

static void walk_result(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    static const char *const names[] = {"pk", "id", "missing"};
    aiocosmos_json found[3], root = aiocosmos_result_json(result);
    aiocosmos_attempt attempt;
    char line[1024];
    (void)client;
    CHECK_INT(aiocosmos_json_fields(root, names, 3, found), 2);
    CHECK(aiocosmos_json_is_str(found[0], "eu") && aiocosmos_json_is_str(found[1], "ann"));
    CHECK_INT(found[2].type, AIOCOSMOS_JSON_NONE);
    CHECK_MEM(aiocosmos_result_header(result, "Content-Type").ptr, "application/json", 16);
    CHECK_INT(aiocosmos_result_header(result, "x-absent").len, 0);
    CHECK(aiocosmos_result_attempt(result, 0, &attempt));
    CHECK_INT(attempt.number, 1);
    CHECK_INT(attempt.http_status, 200);
    CHECK(attempt.reused);
    CHECK(attempt.first_byte_us > 0 && attempt.charge_ru > 0);
    CHECK_INT(attempt.tcp_us, 0);
    CHECK(attempt.host.len > 0);
    CHECK(!aiocosmos_result_attempt(result, 1, &attempt));
    CHECK(aiocosmos_result_describe(result, line, sizeof line) < sizeof line);
    CHECK(strstr(line, "200") && strstr(line, "RU") && strstr(line, "#1"));
    CHECK_INT(aiocosmos_result_describe(result, line, 10), aiocosmos_result_describe(result, NULL, 0));
    CHECK_INT(strlen(line), 9);
    CHECK(result->activity_id.len > 0);
    *(bool *)user_data = true;
}

TEST(a_result_can_be_walked_in_its_callback)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = read_item("ann", aiocosmos_s("eu"));
    bool walked = false;
    must(client, create_item(aiocosmos_s("eu"), "{\"id\":\"ann\",\"pk\":\"eu\"}"));
    request.done = walk_result;
    request.user_data = &walked;
    CHECK_INT(aiocosmos_run(client, &request, NULL), 0);
    CHECK(walked);
    close_world(client);
}

TEST_TWICE(a_body_that_is_taken_outlives_the_callback)
{
    static const size_t sizes[] = {60, 5000, 200000};
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = read_item("x", aiocosmos_s("eu"));
    aiocosmos_body body;
    size_t i;
    for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *text = large_item(sizes[i]);
        must(client, upsert_item(aiocosmos_s("eu"), text));
        CHECK_INT(aiocosmos_run(client, &request, &body), 0);
        CHECK(body.text.len > sizes[i]);
        must(client, read_item("x", aiocosmos_s("eu")));            /* the buffers of the first answer are used again */
        CHECK_MEM(body.text.ptr, text, sizes[i] - 1);
        aiocosmos_body_free(&body);
        free(text);
    }
    close_world(client);
}

TEST(run_returns_the_status_and_calls_done_too)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = read_item("nobody", aiocosmos_s("eu"));
    aiocosmos_body body;
    answer got;
    memset(&got, 0, sizeof got);
    request.done = keep_answer;
    request.user_data = &got;
    CHECK_INT(aiocosmos_run(client, &request, &body), 404);
    CHECK_INT(got.calls, 1);
    CHECK(strstr(body.text.ptr, "\"code\""));
    aiocosmos_body_free(&body);
    request.id = "a/b";
    CHECK_INT(aiocosmos_run(client, &request, &body), AIOCOSMOS_E_ARGUMENT);
    CHECK_INT(got.calls, 1);
    close_world(client);
}

TEST(a_write_that_nobody_waits_for_is_done_all_the_same)
{
    aiocosmos_client *client = open_world("");
    aiocosmos_request request = create_item(aiocosmos_s("eu"), "{\"id\":\"ann\",\"pk\":\"eu\"}");
    answer got;
    CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
    CHECK_INT(aiocosmos_pending(client), 1);
    drain(client);
    CHECK_INT(ask(client, read_item("ann", aiocosmos_s("eu")), &got), 0);
    close_world(client);
}

TEST_TWICE(many_operations_share_the_connections)
{
    enum { MANY = 500 };
    static answer answers[MANY];
    aiocosmos_options options;
    aiocosmos_client *client = open_world("");
    aiocosmos_client *few;
    aiocosmos_stats stats;
    char id[16];
    int i;
    options = usual_options();
    options.connections_max = 5;
    few = open_client(&options);
    for (i = 0; i < MANY; i++) {
        snprintf(id, sizeof id, "%d", i);
        send_off(few, create_item(aiocosmos_i(i % 17), item_text(id, aiocosmos_i(i % 17))), &answers[i]);
    }
    drain(few);
    for (i = 0; i < MANY; i++) CHECK(answers[i].calls == 1 && answers[i].status == 0);
    aiocosmos_get_stats(few, &stats);
    CHECK_INT(stats.ops_submitted, MANY);
    CHECK_INT(stats.ops_completed, MANY);
    CHECK_INT(stats.attempts, MANY);
    CHECK_INT(stats.connections_opened, 5);
    CHECK(stats.bytes_sent > 0 && stats.bytes_received > 0 && stats.charge_ru > MANY);
    aiocosmos_destroy(few);
    close_world(client);
}
