/* What the emulator has besides items, as clients beside ours use it: scripts, users, links, throughput. */
#include "emulator_world.h"

#define SPROCS   "/dbs/D/colls/C/sprocs"
#define TRIGGERS "/dbs/D/colls/C/triggers"

/*--- Scripts -------------------------------------------------------------------------*/

TEST(scripts_are_kept_and_listed)
{
    static const char *const types[] = { "sprocs", "triggers", "udfs" };
    static const char *const arrays[] = { "StoredProcedures", "Triggers", "UserDefinedFunctions" };
    size_t i;
    open_world(1);
    for (i = 0; i < 3; i++) {
        const char *all = f("/dbs/D/colls/C/%s", types[i]), *one = f("%s/s", all);
        const char *body = "{\"id\":\"s\",\"body\":\"function () {}\",\"triggerType\":\"Pre\","
                           "\"triggerOperation\":\"All\"}";
        char etag[80];
        CHECK_INT(call("GET", all, NULL, NULL), 200);
        CHECK_INT(count(), 0);
        CHECK(says(arrays[i]));
        CHECK_INT(call("GET", one, NULL, NULL), 404);
        CHECK_INT(call("POST", all, NULL, body), 201);
        CHECK(says(f("\"_self\":\"dbs/")) && says(f("/%s/", types[i])));
        CHECK_INT(call("POST", all, NULL, body), 409);
        CHECK_INT(call("POST", all, NULL, "{\"id\":\"t\"}"), 400);
        CHECK_INT(call("GET", one, NULL, NULL), 200);
        CHECK_STR(property("body"), "function () {}");
        snprintf(etag, sizeof etag, "if-match: %s\r\n", header("etag"));
        CHECK_INT(call("PUT", one, etag, f("{\"id\":\"s\",\"body\":\"function () { return %d; }\","
                                           "\"triggerType\":\"Post\",\"triggerOperation\":\"Create\"}", (int)i)), 200);
        CHECK_INT(call("PUT", one, etag, body), 412);
        CHECK_INT(call("GET", all, NULL, NULL), 200);
        CHECK_INT(count(), 1);
        CHECK(says("return"));
        CHECK_INT(call("POST", all, QUERY, "{\"query\":\"SELECT VALUE r.id FROM r WHERE r.id = 's'\"}"), 200);
        CHECK(says("[\"s\"]"));
        CHECK_INT(call("DELETE", one, etag, NULL), 412);
        CHECK_INT(call("DELETE", one, NULL, NULL), 204);
        CHECK_INT(call("GET", one, NULL, NULL), 404);
        CHECK_INT(call("POST", all, NULL, body), 201);     /* and goes with its container */
    }
    CHECK_INT(call("POST", TRIGGERS, NULL, "{\"id\":\"t\",\"body\":\"\",\"triggerType\":\"Never\","
                   "\"triggerOperation\":\"All\"}"), 400);
    CHECK_INT(call("GET", "/dbs/D/colls/N/sprocs", NULL, NULL), 404);
    close_world();
}

static int add_up(aiocosmos_emulator_call *call, void *user_data)
{
    aiocosmos_json_doc doc;
    aiocosmos_json number;
    int64_t sum = 0, one;
    char text[40];
    aioc_json_open(&doc, &w.memory);
    aioc_json_parse(&doc, call->input.ptr, call->input.len);
    memset(&number, 0, sizeof number);
    while (aioc_json_next(aioc_json_root(&doc), NULL, &number)) {
        if (!aioc_json_get_i64(number, &one)) {
            aioc_json_close(&doc);
            aiocosmos_emulator_answer(call, "not a number", 12);
            return 400;
        }
        sum += one;
    }
    aioc_json_close(&doc);
    aiocosmos_emulator_print(call, "added for ");
    snprintf(text, sizeof text, "%.*s", (int)call->partition_key.len, call->partition_key.ptr);
    aiocosmos_emulator_print(call, text);
    snprintf(text, sizeof text, "%lld", (long long)sum);
    aiocosmos_emulator_answer(call, text, strlen(text));
    ++*(int *)user_data;
    return 200;
}

TEST(procedures_run_functions_in_c)
{
    int called = 0;
    open_world(2);
    CHECK_INT(call("POST", SPROCS "/sum", PK("[\"a\"]"), "[1,2]"), 404);
    CHECK_INT(call("POST", SPROCS, NULL, "{\"id\":\"sum\",\"body\":\"function () {}\"}"), 201);
    CHECK_INT(call("POST", SPROCS "/sum", PK("[\"a\"]"), "[1,2]"), 400);
    CHECK(says("no function in C is registered") && says("sum"));
    CHECK(aiocosmos_emulator_register(w.core, "sum", add_up, &called));
    CHECK_INT(call("POST", SPROCS "/sum", PK("[\"a\"]") "x-ms-documentdb-script-enable-logging: True\r\n", "[1,2]"),
              200);
    CHECK_STR(got.text, "3");
    CHECK_STR(header("x-ms-documentdb-script-log-results"), "added%20for%20%5B%22a%22%5D");
    CHECK(got.charge > 0);
    CHECK(strstr(header("x-ms-session-token"), "#"));
    CHECK_INT(call("POST", SPROCS "/sum", PK("[\"a\"]"), NULL), 200);
    CHECK_STR(got.text, "0");
    CHECK_STR(header("x-ms-documentdb-script-log-results"), "");
    CHECK_INT(called, 2);
    CHECK_INT(call("POST", SPROCS "/sum", NULL, "[1,2]"), 400);
    CHECK_INT(call("POST", SPROCS "/sum", PK("[\"a\"]"), "{}"), 400);
    CHECK_INT(call("POST", SPROCS "/sum", PK("[\"a\"]"), "[true]"), 400);
    CHECK(says("not a number"));
    CHECK_INT(called, 2);
    CHECK(aiocosmos_emulator_register(w.core, "sum", NULL, NULL));
    CHECK_INT(call("POST", SPROCS "/sum", PK("[\"a\"]"), "[1,2]"), 400);
    CHECK(aiocosmos_emulator_register(w.core, "sum", add_up, &called));
    close_world();
}

static int stamp(aiocosmos_emulator_call *call, void *user_data)
{
    if (user_data) {                                       /* a strict one */
        char text[100];
        snprintf(text, sizeof text, "%.*s", (int)call->input.len, call->input.ptr);
        return strstr(text, "\"stamped\"") ? 200 : 403;
    }
    aiocosmos_emulator_answer(call, call->input.ptr, call->input.len - 1);
    aiocosmos_emulator_answer(call, ",\"stamped\":true}", 16);
    return 200;
}

TEST(triggers_run_functions_in_c)
{
    int strict;
    open_world(1);
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]") "x-ms-documentdb-pre-trigger-include: pre\r\n",
                   "{\"id\":\"1\",\"pk\":\"a\"}"), 400);
    CHECK(says("does not exist"));
    CHECK_INT(call("POST", TRIGGERS, NULL, "{\"id\":\"pre\",\"body\":\"\",\"triggerType\":\"Pre\","
                   "\"triggerOperation\":\"All\"}"), 201);
    CHECK_INT(call("POST", TRIGGERS, NULL, "{\"id\":\"post\",\"body\":\"\",\"triggerType\":\"Post\","
                   "\"triggerOperation\":\"All\"}"), 201);
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]") "x-ms-documentdb-pre-trigger-include: pre\r\n",
                   "{\"id\":\"1\",\"pk\":\"a\"}"), 400);
    CHECK(says("runs no JavaScript"));
    CHECK(aiocosmos_emulator_register(w.core, "pre", stamp, NULL));
    CHECK(aiocosmos_emulator_register(w.core, "post", stamp, &strict));
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]") "x-ms-documentdb-post-trigger-include: pre\r\n",
                   "{\"id\":\"1\",\"pk\":\"a\"}"), 400);
    CHECK(says("is no Post-trigger"));
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]") "x-ms-documentdb-post-trigger-include: post\r\n",
                   "{\"id\":\"1\",\"pk\":\"a\"}"), 403);
    CHECK_INT(call("GET", DOCS "/1", PK("[\"a\"]"), NULL), 404);
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]") "x-ms-documentdb-post-trigger-include: post\r\n"
                   "x-ms-documentdb-pre-trigger-include: pre\r\n", "{\"id\":\"1\",\"pk\":\"a\"}"), 201);
    CHECK_STR(property("stamped"), "true");
    close_world();
}

/*--- All items of a key --------------------------------------------------------------*/

TEST(all_items_of_a_key_are_deleted)
{
    int i;
    open_world(2);
    for (i = 0; i < 100; i++) add_item(f("i%d", i), i % 2 ? "a" : "b", i);
    for (i = 1; i < 60; i += 2) CHECK_INT(call("DELETE", f(DOCS "/i%d", i), PK("[\"a\"]"), NULL), 204);
    CHECK_INT(call("POST", "/dbs/D/colls/C/operations/partitionkeydelete", NULL, NULL), 400);
    CHECK_INT(call("POST", "/dbs/D/colls/C/operations/other", PK("[\"a\"]"), NULL), 404);
    CHECK_INT(call("POST", "/dbs/D/colls/C/operations/partitionkeydelete", PK("[\"a\"]"), NULL), 200);
    CHECK_INT(call("POST", DOCS, ACROSS "x-ms-max-item-count: 1000\r\n" PK("[\"a\"]"),
                   "{\"query\":\"SELECT VALUE COUNT(1) FROM c\"}"), 200);
    CHECK(says("[0]"));
    CHECK_INT(call("POST", DOCS, ACROSS PK("[\"b\"]"), "{\"query\":\"SELECT VALUE COUNT(1) FROM c\"}"), 200);
    CHECK(says("[50]"));
    CHECK_INT(call("POST", "/dbs/D/colls/C/operations/partitionkeydelete", PK("[\"a\"]"), NULL), 200);
    close_world();
}

/*--- Others ------------------------------------------------------------------------------*/

TEST(there_are_no_conflicts)
{
    open_world(1);
    CHECK_INT(call("GET", "/dbs/D/colls/C/conflicts", NULL, NULL), 200);
    CHECK(says("\"Conflicts\":[]"));
    CHECK_INT(call("POST", "/dbs/D/colls/C/conflicts", QUERY, "{\"query\":\"SELECT * FROM c\"}"), 200);
    CHECK_INT(count(), 0);
    CHECK_INT(call("GET", "/dbs/D/colls/C/conflicts/x", NULL, NULL), 404);
    CHECK_INT(call("DELETE", "/dbs/D/colls/C/conflicts/x", NULL, NULL), 404);
    close_world();
}

TEST(users_and_permissions_are_replaced)
{
    char rid[40];
    open_world(1);
    CHECK_INT(call("POST", "/dbs/D/users", NULL, "{\"id\":\"ann\"}"), 201);
    snprintf(rid, sizeof rid, "%s", property("_rid"));
    CHECK_INT(call("POST", "/dbs/D/users", NULL, "{\"id\":\"bob\"}"), 201);
    CHECK_INT(call("PUT", "/dbs/D/users/ann", NULL, "{\"id\":\"bob\"}"), 409);
    CHECK_INT(call("PUT", "/dbs/D/users/cat", NULL, "{\"id\":\"cat\"}"), 404);
    CHECK_INT(call("PUT", "/dbs/D/users/ann", NULL, "{\"id\":\"eve\"}"), 200);
    CHECK_STR(property("_rid"), rid);
    CHECK_INT(call("GET", "/dbs/D/users/ann", NULL, NULL), 404);
    CHECK_INT(call("POST", "/dbs/D/users/eve/permissions", NULL, "{\"id\":\"p\",\"permissionMode\":\"All\","
                   "\"resource\":\"dbs/D/colls/C\"}"), 201);
    CHECK(strncmp(property("_rid"), rid, 10) == 0);        /* it begins with the user's 8 bytes: Java takes it apart */
    snprintf(rid, sizeof rid, "%s", property("_rid"));
    CHECK_INT(call("POST", "/dbs/D/users/eve/permissions", NULL, "{\"id\":\"q\",\"permissionMode\":\"All\","
                   "\"resource\":\"dbs/D/colls/C\"}"), 201);
    CHECK_INT(call("PUT", "/dbs/D/users/eve/permissions/p", NULL, "{\"id\":\"p\",\"permissionMode\":\"Read\","
                   "\"resource\":\"dbs/D/colls/N\"}"), 404);
    CHECK_INT(call("PUT", "/dbs/D/users/eve/permissions/p", NULL, "{\"id\":\"q\",\"permissionMode\":\"Read\","
                   "\"resource\":\"dbs/D/colls/C\"}"), 409);
    CHECK_INT(call("PUT", "/dbs/D/users/eve/permissions/p", NULL, "{\"id\":\"p\",\"permissionMode\":\"Read\","
                   "\"resource\":\"dbs/D/colls/C\"}"), 200);
    CHECK_STR(property("_rid"), rid);
    CHECK(says("\"Read\"") && says("\"_token\":\"type=resource"));
    CHECK_INT(call("PUT", "/dbs/D/users/eve/permissions/p", "if-match: \"x\"\r\n", "{\"id\":\"p\"}"), 412);
    CHECK_INT(call("GET", "/dbs/D/users/eve/permissions", NULL, NULL), 200);
    CHECK_INT(count(), 2);
    close_world();
}

TEST(users_and_permissions_are_upserted)
{
    static const char upsert[] = "x-ms-documentdb-is-upsert: True\r\n";
    char rid[40];
    open_world(1);
    CHECK_INT(call("POST", "/dbs/D/users", upsert, "{\"id\":\"ann\"}"), 201);
    snprintf(rid, sizeof rid, "%s", property("_rid"));
    CHECK_INT(call("POST", "/dbs/D/users", upsert, "{\"id\":\"ann\"}"), 200);
    CHECK_STR(property("_rid"), rid);
    CHECK_INT(call("POST", "/dbs/D/users", "x-ms-documentdb-is-upsert: True\r\nif-match: \"x\"\r\n",
                   "{\"id\":\"ann\"}"), 412);
    CHECK_INT(call("POST", "/dbs/D/users", NULL, "{\"id\":\"ann\"}"), 409);
    CHECK_INT(call("POST", "/dbs/D/users/ann/permissions", upsert, "{\"id\":\"p\",\"permissionMode\":\"All\","
                   "\"resource\":\"dbs/D/colls/C\"}"), 201);
    snprintf(rid, sizeof rid, "%s", property("_rid"));
    CHECK_INT(call("POST", "/dbs/D/users/ann/permissions", upsert, "{\"id\":\"p\",\"permissionMode\":\"Read\","
                   "\"resource\":\"dbs/D/colls/C\"}"), 200);
    CHECK_STR(property("_rid"), rid);
    CHECK(says("\"Read\""));
    CHECK_INT(call("GET", "/dbs/D/users/ann/permissions", NULL, NULL), 200);
    CHECK_INT(count(), 1);
    CHECK_INT(call("GET", "/dbs/D/users", NULL, NULL), 200);
    CHECK_INT(count(), 1);
    close_world();
}

/* Java takes from these what its links begin with. */
TEST(answers_say_what_their_resource_is_in)
{
    open_world(1);
    CHECK_INT(call("GET", "/dbs/D", NULL, NULL), 200);
    CHECK_STR(header("x-ms-alt-content-path"), "");
    CHECK_INT(call("GET", "/dbs/D/colls", NULL, NULL), 200);
    CHECK_STR(header("x-ms-alt-content-path"), "dbs/D");
    CHECK_INT(call("GET", "/dbs/D/colls/C", NULL, NULL), 200);
    CHECK_STR(header("x-ms-alt-content-path"), "dbs/D");
    CHECK_INT(call("GET", "/dbs/D/colls/C/sprocs", NULL, NULL), 200);
    CHECK_STR(header("x-ms-alt-content-path"), "dbs/D/colls/C");
    CHECK_INT(call("GET", DOCS, NULL, NULL), 200);
    CHECK_STR(header("x-ms-alt-content-path"), "dbs/D/colls/C");
    CHECK_INT(call("DELETE", "/dbs/D", NULL, NULL), 204);
    CHECK_STR(header("x-ms-alt-content-path"), "");
    close_world();
}

TEST(much_throughput_takes_time_to_come)
{
    char offer[40];
    open_world(1);
    CHECK_INT(call("GET", "/offers", NULL, NULL), 200);
    snprintf(offer, sizeof offer, "/offers/%.4s", strstr(got.text, "\"id\":\"") + 6);
    CHECK_INT(call("PUT", offer, NULL, "{\"content\":{\"offerThroughput\":10000}}"), 200);
    CHECK_STR(header("x-ms-offer-replace-pending"), "false");
    CHECK_INT(call("PUT", offer, NULL, "{\"content\":{\"offerThroughput\":20000}}"), 200);
    CHECK_STR(header("x-ms-offer-replace-pending"), "true");
    CHECK_INT(call("GET", offer, NULL, NULL), 200);
    CHECK_STR(header("x-ms-offer-replace-pending"), "true");
    CHECK_INT(call("PUT", offer, NULL, "{\"content\":{\"offerThroughput\":600}}"), 423);
    w.now_ms += 2000;
    CHECK_INT(call("GET", offer, NULL, NULL), 200);
    CHECK_STR(header("x-ms-offer-replace-pending"), "false");
    close_world();
}

/* 500 KB cost some 230 RU, which at one a second would be four minutes. */
TEST(a_debt_is_one_of_seconds)
{
    aiocosmos_emulator_options options;
    char *body = (char *)malloc(500100);
    memset(&options, 0, sizeof options);
    options.partitions = 1;
    options.ru_per_second = 1;
    open_core(options);
    make_container("{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],\"version\":2}}");
    strcpy(body, "{\"id\":\"1\",\"pk\":\"a\",\"t\":\"");
    memset(body + strlen("{\"id\":\"1\",\"pk\":\"a\",\"t\":\""), 'x', 500000);
    strcpy(body + strlen("{\"id\":\"1\",\"pk\":\"a\",\"t\":\"") + 500000, "\"}");
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), body), 201);
    CHECK(got.charge > 200);
    CHECK_INT(call("GET", DOCS "/1", PK("[\"a\"]"), NULL), 429);
    CHECK(atof(header("x-ms-retry-after-ms")) > 1000 && atof(header("x-ms-retry-after-ms")) < 10000);
    w.now_ms += 10000;
    CHECK_INT(call("GET", DOCS "/1", PK("[\"a\"]"), NULL), 200);
    free(body);
    close_world();
}
