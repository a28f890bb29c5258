/* query_pages.c: a query is read page by page, and goes on in another client, as it would in another process. With the
 * emulator: cc -I. -o build/query_pages examples/query_pages.c -lbearssl && build/query_pages */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BOOKS = 25 };
typedef struct reader {
    aiocosmos_cursor query;
    int books, pages_wanted;
    char *bookmark;                              /* where to go on; NULL: at the beginning, or nothing is left */
} reader;

static void on_failure(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client, (void)user_data;
    printf("%d: %.*s\n", result->status, (int)result->message.len, result->message.ptr);
}

static aiocosmos_client *connect_client(void)
{
    aiocosmos_options options = {0};
    aiocosmos_client *client;
    char why[256];
    options.connection_string = getenv("AIOCOSMOS_CONNECTION_STRING");
    if (!options.connection_string) options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    options.default_database = "example-query-pages";
    options.on_failure = on_failure;
    if (aiocosmos_create(&options, &client, why, sizeof why) < 0) puts(why);
    return client;                               /* NULL after a failure */
}

static bool fill_shelf(aiocosmos_client *client)
{
    aiocosmos_request make = {0}, put = {0};
    char text[64];
    make.kind = AIOCOSMOS_CREATE_DATABASE;
    make.if_not_exists = true;
    if (aiocosmos_run(client, &make, NULL) != 0) return false;
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    make.container = "books";
    make.partition_key_paths[0] = "/shelf";
    if (aiocosmos_run(client, &make, NULL) != 0) return false;
    put.kind = AIOCOSMOS_UPSERT_ITEM;
    put.container = "books";
    put.pk = aiocosmos_pk_s("novels");
    for (int i = 0; i < BOOKS; i++) {
        put.body.len = (size_t)snprintf(text, sizeof text, "{\"id\":\"%d\",\"shelf\":\"novels\",\"number\":%d}", i, i);
        put.body.ptr = text;
        if (aiocosmos_run(client, &put, NULL) != 0) return false;
    }
    return true;
}

static void on_page(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    reader *r = user_data;
    aiocosmos_json book = {0};
    int64_t number;
    if (page->status != 0) return;               /* the bookmark stays at this page */
    printf("%zu books: %.*s\n", page->item_count, (int)page->items.len, page->items.ptr);
    while (aiocosmos_json_next(page->items, NULL, &book))
        if (aiocosmos_json_get_i64(aiocosmos_json_at(book, "/number"), &number) && number == r->books) r->books++;
    free(r->bookmark);                           /* the page is lent, so that what is kept of it is a copy */
    r->bookmark = page->more ? strndup(page->continuation.ptr, page->continuation.len) : NULL;
    if (page->more && --r->pages_wanted > 0) aiocosmos_cursor_next(client, r->query, on_page, r);
}

static void read_pages(aiocosmos_client *client, reader *r, int pages)
{
    aiocosmos_query_request request = {0};
    request.container = "books";
    request.sql = "SELECT c.number FROM c ORDER BY c.number";
    request.pk = aiocosmos_pk_s("novels");
    request.page_items_max = 10;
    request.continuation = aiocosmos_text(r->bookmark);          /* goes with this query in this container only */
    r->pages_wanted = pages;
    if (aiocosmos_query_open(client, &request, &r->query) < 0) puts(aiocosmos_last_error(client));
    if (aiocosmos_cursor_next(client, r->query, on_page, r) == 0) aiocosmos_drain(client, -1);
    aiocosmos_cursor_close(client, r->query);
}

int main(void)
{
    reader r = {{0}, 0, 0, NULL};
    aiocosmos_client *client = connect_client();
    if (!client || !fill_shelf(client)) return 1;
    read_pages(client, &r, 1);
    aiocosmos_destroy(client);                   /* with it goes all that was known, but for the bookmark */
    client = r.bookmark ? connect_client() : NULL;
    if (!client) return puts("there is nothing to go on with"), 1;
    printf("another client goes on, with a bookmark of %zu bytes\n", strlen(r.bookmark));
    read_pages(client, &r, BOOKS);
    aiocosmos_destroy(client);
    printf("%d of %d books, each once and in order\n", r.books, BOOKS);
    return r.books == BOOKS ? 0 : 1;
}
/* In JavaScript, with @azure/cosmos:
 *     const options = { partitionKey: "novels", maxItemCount: 10, continuationToken: bookmark };
 *     const page = await books.items.query("SELECT c.number FROM c ORDER BY c.number", options).fetchNext();
 *     bookmark = page.continuationToken;        // page.resources are the books */
