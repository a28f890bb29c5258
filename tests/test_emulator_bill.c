/* What queries cost, in request units and in pages: a list of them with both, so that no change raises somebody's bill
 * unseen; and what the container's indexing policy allows to be sorted. */
#include "emulator_world.h"

void emu_index_scopes_of(aiocosmos_emulator *core, uint32_t items);

static const char defined[] =
    "{\"id\":\"C\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\",\"version\":2},\"indexingPolicy\":{"
    "\"indexingMode\":\"consistent\",\"includedPaths\":[{\"path\":\"/*\"}],\"excludedPaths\":[{\"path\":\"/x/?\"},"
    "{\"path\":\"/pad/?\"}],\"compositeIndexes\":[[{\"path\":\"/g\",\"order\":\"ascending\"},{\"path\":\"/n\","
    "\"order\":\"descending\"}],[{\"path\":\"/\\\"two words\\\"\"},{\"path\":\"/n\"}]]}}";

/* 1,200 documents of 1 KB. */
static void open_filled(void)
{
    static char pad[900];
    aiocosmos_emulator_options options;
    int i;
    memset(&options, 0, sizeof options);
    memset(pad, 'x', sizeof pad - 1);
    options.partitions = 1;
    open_core(options);
    make_container(defined);
    for (i = 0; i < 1200; i++)
        CHECK_INT(call("POST", DOCS, f(PK("[\"k%d\"]"), i % 4),
                       f("{\"id\":\"i%d\",\"pk\":\"k%d\",\"n\":%d,\"g\":%d,\"s\":\"s%d\",\"x\":%d,\"two words\":1,"
                         "\"l\":[{\"q\":%d},2,3],\"pad\":\"%s\"}", i, i % 4, i, i % 10, i, i, i % 3, pad)), 201);
}

/* Of all pages. */
static void ask_all(const char *query, const char *scope, double *charge, int *pages)
{
    char continuation[4096] = "", lines[4600];
    *charge = 0;
    *pages = 0;
    do {
        snprintf(lines, sizeof lines, "%s%s%s%s", scope, *continuation ? "x-ms-continuation: " : "", continuation,
                 *continuation ? "\r\n" : "");
        CHECK_INT(call("POST", DOCS, lines, f("{\"query\":\"%s\"}", query)), 200);
        *charge += got.charge;
        snprintf(continuation, sizeof continuation, "%s", header("x-ms-continuation"));
        ++*pages;
    } while (*continuation && *pages < 100 && got.status == 200);
}

typedef struct bill { const char *query; double charge; int pages; } bill;

static const bill bills[] = {
#include "bills.h"
};

#define BILLS (sizeof bills / sizeof *bills)

static void print_bill(const char *query, double charge, int pages)
{
    printf("    { \"");
    for (; *query; query++) printf(*query == '"' || *query == '\\' ? "\\%c" : "%c", *query);
    printf("\", %.2f, %d },\n", charge, pages);
}

/* The same with an index of the emulator's own and without. BILLS=1 in the environment prints the list. */
TEST(queries_cost_what_they_cost)
{
    size_t i;
    int round, pages;
    double charge;
    open_filled();
    for (round = 0; round < 3; round++) {
        if (round == 0) emu_index_scopes_of(w.core, UINT32_MAX);
        else emu_index_scopes_of(w.core, 0);
        for (i = 0; i < BILLS; i++) {
            ask_all(bills[i].query, QUERY RANGE_0, &charge, &pages);
            if (getenv("BILLS") && round == 0) print_bill(bills[i].query, charge, pages);
            else if (charge > bills[i].charge + 0.005 * pages || charge < bills[i].charge - 0.005 * pages ||
                     pages > bills[i].pages)
                test_fail(__FILE__, __LINE__, "%s costs %.2f in %d pages, not %.2f in %d (round %d)", bills[i].query,
                          charge, pages, bills[i].charge, bills[i].pages, round);
        }
    }
    close_world();
}

TEST(items_cost_by_their_size)
{
    char *body = (char *)malloc(110000);
    size_t sizes[] = { 200, 1000, 10 * 1024, 100 * 1024 }, i;
    double reads[] = { 1, 1, 1.82, 10 }, writes[] = { 5.7, 5.7, 9.79, 50.7 };
    open_world(1);
    for (i = 0; i < 4; i++) {
        size_t len = (size_t)sprintf(body, "{\"id\":\"%d\",\"pk\":\"a\",\"pad\":\"", (int)i);
        memset(body + len, 'x', sizes[i] - len - 2);
        strcpy(body + sizes[i] - 2, "\"}");
        CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), body), 201);
        CHECK_INT(got.charge * 100, writes[i] * 100);
        CHECK_INT(call("GET", f(DOCS "/%d", (int)i), PK("[\"a\"]"), NULL), 200);
        CHECK_INT(got.charge * 100, reads[i] * 100);
    }
    free(body);
    close_world();
}

TEST(what_fails_costs_too)
{
    open_world(1);
    add_item("i", "a", 1);
    CHECK_INT(call("POST", DOCS, PK("[\"a\"]"), "{\"id\":\"i\",\"pk\":\"a\"}"), 409);
    CHECK_INT(got.charge * 100, 124);
    CHECK_INT(call("PUT", DOCS "/j", PK("[\"a\"]"), "{\"id\":\"j\",\"pk\":\"a\"}"), 404);
    CHECK_INT(got.charge * 100, 124);
    CHECK_INT(call("PUT", DOCS "/i", PK("[\"a\"]") "If-Match: \"x\"\r\n", "{\"id\":\"i\",\"pk\":\"a\"}"), 412);
    CHECK_INT(got.charge * 100, 124);
    CHECK_INT(call("DELETE", DOCS "/i", PK("[\"a\"]") "If-Match: \"x\"\r\n", NULL), 412);
    CHECK_INT(got.charge * 100, 124);
    CHECK_INT(call("DELETE", DOCS "/j", PK("[\"a\"]"), NULL), 404);
    CHECK_INT(got.charge * 100, 124);
    CHECK_INT(call("GET", DOCS "/j", PK("[\"a\"]"), NULL), 404);
    CHECK_INT(got.charge * 100, 100);
    close_world();
}

TEST(several_keys_of_order_by_need_a_composite_index)
{
    static const struct { const char *order; int status; } orders[] = {
        { "c.g, c.n DESC", 200 }, { "c.g DESC, c.n", 200 }, { "c.g, c.n", 400 }, { "c.n DESC, c.g", 400 },
        { "c.g, c.n DESC, c.s", 400 }, { "c[\\\"two words\\\"], c.n", 200 }, { "c.n", 200 }, { "c.x", 400 },
        { "c.id", 200 }, { "c._ts DESC", 200 }
    };
    aiocosmos_emulator_options options;
    size_t i;
    open_filled();
    for (i = 0; i < sizeof orders / sizeof *orders; i++) {
        call("POST", DOCS, QUERY RANGE_0, f("{\"query\":\"SELECT TOP 3 c.id FROM c ORDER BY %s\"}", orders[i].order));
        if (got.status != orders[i].status) test_fail(__FILE__, __LINE__, "%s: %d", orders[i].order, got.status);
        CHECK(got.status == 200 || says("composite index that it can be served") || says("order-by item is excluded"));
    }
    close_world();
    memset(&options, 0, sizeof options);
    options.any_order = true;
    open_core(options);
    make_container(defined);
    for (i = 0; i < sizeof orders / sizeof *orders; i++)
        CHECK_INT(call("POST", DOCS, QUERY RANGE_0, f("{\"query\":\"SELECT TOP 3 c.id FROM c ORDER BY %s\"}",
                                                      orders[i].order)), 200);
    close_world();
}
