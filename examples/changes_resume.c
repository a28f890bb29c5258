/* changes_resume.c: adds up what is sold, from the change feed, and survives kill -9: each sale counts once, since the
 * sum and how far it goes are one file, which rename() replaces at once. Beside a running build/aiocosmos-emulator:
 * cc -I. -o build/changes_resume examples/changes_resume.c -lbearssl && build/changes_resume sales.state
 * It ends by being killed. Meanwhile, sell something:
 * echo '{"id":"1","shop":"north","price":7}' | build/aiocosmos import example-changes-resume sales - */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct books { const char *path; aiocosmos_cursor cursor; int64_t sales, total; bool is_over; } books;

static void on_failure(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client, (void)user_data;
    printf("%d: %.*s\n", result->status, (int)result->message.len, result->message.ptr);
}

/* Where there is no file yet the books are empty, and *continuation NULL: from the beginning. */
static bool load(books *b, char **continuation)
{
    FILE *file = fopen(b->path, "r");
    long long sales, total;
    size_t cap = 0;
    bool ok;
    if (!file) return access(b->path, F_OK) != 0;
    ok = fscanf(file, "%lld %lld ", &sales, &total) == 2 && getline(continuation, &cap, file) > 0;
    fclose(file);
    if (ok) b->sales = sales, b->total = total;
    return ok;
}

static bool save(const books *b, aiocosmos_str continuation)
{
    char path[4096];
    FILE *file;
    bool ok;
    snprintf(path, sizeof path, "%s.new", b->path);
    if (!(file = fopen(path, "w"))) return false;
    fprintf(file, "%lld %lld %.*s", (long long)b->sales, (long long)b->total, (int)continuation.len, continuation.ptr);
    ok = fflush(file) == 0 && fsync(fileno(file)) == 0;          /* on the disk before it has the name */
    return fclose(file) == 0 && ok && rename(path, b->path) == 0;
}

static void on_changes(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    books *b = user_data;
    aiocosmos_json sale = {0};
    int64_t price;
    for (; aiocosmos_json_next(page->items, NULL, &sale); b->sales++)
        if (aiocosmos_json_get_i64(aiocosmos_json_at(sale, "/price"), &price)) b->total += price;
    if (page->status == 0) {
        if (!save(b, page->continuation)) perror(b->path), b->is_over = true;
        printf("%lld sales, %lld\n", (long long)b->sales, (long long)b->total);
        fflush(stdout);
    }
    /* A page that failed is asked for again, which is refused where it cannot help. */
    if (!b->is_over && aiocosmos_cursor_next(client, b->cursor, on_changes, b) < 0)
        puts(aiocosmos_last_error(client)), b->is_over = true;
}

int main(int argc, char **argv)
{
    books b = {argc > 1 ? argv[1] : "sales.state", {0}, 0, 0, false};
    aiocosmos_options options = {0};
    aiocosmos_request make = {0};
    aiocosmos_changes_request changes = {0};
    aiocosmos_client *client;
    char *continuation = NULL, why[256];
    if (!load(&b, &continuation)) return perror(b.path), 1;
    options.connection_string = getenv("AIOCOSMOS_CONNECTION_STRING");
    if (!options.connection_string) options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    options.default_database = "example-changes-resume";
    options.on_failure = on_failure;
    if (aiocosmos_create(&options, &client, why, sizeof why) < 0) return puts(why), 1;
    make.kind = AIOCOSMOS_CREATE_DATABASE;
    make.if_not_exists = true;
    if (aiocosmos_run(client, &make, NULL) != 0) return 1;
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    make.container = changes.container = "sales";
    make.partition_key_paths[0] = "/shop";
    if (aiocosmos_run(client, &make, NULL) != 0) return 1;
    changes.continuation = aiocosmos_text(continuation);
    changes.page_items_max = 20;
    changes.poll_ms = 500;                       /* where nothing has changed, ask again after that, and tell nobody */
    if (aiocosmos_changes_open(client, &changes, &b.cursor) < 0 ||
        aiocosmos_cursor_next(client, b.cursor, on_changes, &b) < 0) return puts(aiocosmos_last_error(client)), 1;
    free(continuation);
    while (!b.is_over) aiocosmos_step(client, -1);
    aiocosmos_destroy(client);
    return 1;
}
/* In .NET, with Microsoft.Azure.Cosmos:
 *     var from = token == null ? ChangeFeedStartFrom.Beginning() : ChangeFeedStartFrom.ContinuationToken(token);
 *     using var feed = sales.GetChangeFeedIterator<Sale>(from, ChangeFeedMode.LatestVersion);
 *     while (feed.HasMoreResults) {
 *         var page = await feed.ReadNextAsync();
 *         if (page.StatusCode == HttpStatusCode.NotModified) { await Task.Delay(500); continue; }
 *         foreach (var sale in page) total += sale.Price;
 *         Save(total, page.ContinuationToken);
 *     } */
