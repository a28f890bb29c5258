// leaderboard.cc: C++11 around the client: a scope owns it, refusals are exceptions, lambdas are called back. With the
// emulator: c++ -std=c++11 -I. -o build/leaderboard examples/leaderboard.cc -lbearssl && build/leaderboard
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

class Cosmos {
public:
    explicit Cosmos(const char *database)
    {
        aiocosmos_options options = {};
        aiocosmos_client *made;
        char why[256];
        options.connection_string = std::getenv("AIOCOSMOS_CONNECTION_STRING");
        if (!options.connection_string) options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
        options.default_database = database;
        options.on_failure = [](aiocosmos_client *, const aiocosmos_result *result, void *) {
            std::printf("%d: %.*s\n", result->status, int(result->message.len), result->message.ptr);
        };
        if (aiocosmos_create(&options, &made, why, sizeof why) < 0) throw std::runtime_error(why);
        client.reset(made);
    }

    // What is accepted is called back exactly once, by the destructor if not before: so `then` is freed exactly once.
    // It must not throw: an exception would fly through the library, and noexcept ends the program instead.
    void submit(aiocosmos_request request, std::function<void(const aiocosmos_result &)> then)
    {
        using Then = decltype(then);
        std::unique_ptr<Then> owned(new Then(std::move(then)));
        request.user_data = owned.get();
        request.done = [](aiocosmos_client *, const aiocosmos_result *result, void *user_data) noexcept {
            (*std::unique_ptr<Then>(static_cast<Then *>(user_data)))(*result);
        };
        check(aiocosmos_submit(client.get(), &request, nullptr));
        owned.release();                         // it belongs to the callback
    }

    // Waits for the first page.
    void query(const aiocosmos_query_request &request, std::function<void(aiocosmos_json)> row)
    {
        aiocosmos_cursor query;
        check(aiocosmos_query_open(client.get(), &request, &query));
        aiocosmos_page_fn each = [](aiocosmos_client *, const aiocosmos_page *page, void *user_data) noexcept {
            aiocosmos_json item = {};
            while (aiocosmos_json_next(page->items, nullptr, &item)) (*static_cast<decltype(row) *>(user_data))(item);
        };
        check(aiocosmos_cursor_next(client.get(), query, each, &row));
        finish();
        aiocosmos_cursor_close(client.get(), query);
    }
    void finish() { check(aiocosmos_drain(client.get(), -1)); }
private:
    void check(int status) { if (status < 0) throw std::runtime_error(aiocosmos_last_error(client.get())); }
    struct Destroy { void operator()(aiocosmos_client *c) const { aiocosmos_destroy(c); } };
    std::unique_ptr<aiocosmos_client, Destroy> client;
};

int main() try {
    int done = 0, rank = 0;                      // outlive the client, whose destructor may still call the lambdas
    auto count = [&done](const aiocosmos_result &result) { done += result.status == 0; };
    Cosmos cosmos("example-leaderboard");
    aiocosmos_request make = {}, save = {};
    make.kind = AIOCOSMOS_CREATE_DATABASE;
    make.if_not_exists = true;
    cosmos.submit(make, count);
    cosmos.finish();
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    make.container = "scores";
    make.partition_key_paths[0] = "/season";
    cosmos.submit(make, count);
    cosmos.finish();
    if (done != 2) return 1;                     // said by on_failure
    save.kind = AIOCOSMOS_UPSERT_ITEM;
    save.container = "scores";
    save.pk = aiocosmos_pk_s("autumn");
    for (int i = 0; i <= 100; i++) {             // all are under way together
        std::string id = "player-" + std::to_string(i), score = std::to_string(i * 37 % 101);
        std::string text = "{\"id\":\"" + id + "\",\"season\":\"autumn\",\"score\":" + score + "}";
        save.body = {text.data(), text.size()};
        cosmos.submit(save, count);
    }
    cosmos.finish();
    aiocosmos_query_request top = {};
    top.container = "scores";
    top.pk = save.pk;
    top.sql = "SELECT TOP 3 c.id, c.score FROM c ORDER BY c.score DESC";
    cosmos.query(top, [&](aiocosmos_json row) {
        int64_t score = 0;
        std::printf("%.*s\n", int(row.len), row.ptr);
        if (aiocosmos_json_get_i64(aiocosmos_json_at(row, "/score"), &score) && score == 100 - rank) rank++;
    });
    return done == 103 && rank == 3 ? 0 : 1;
} catch (const std::exception &e) { std::printf("%s\n", e.what()); return 1; }
// In JavaScript, with @azure/cosmos:
//     await Promise.all(players.map(player => scores.items.upsert(player)));
//     const top = "SELECT TOP 3 c.id, c.score FROM c ORDER BY c.score DESC";
//     const { resources } = await scores.items.query(top, { partitionKey: "autumn" }).fetchAll();
