/* rows.h: rows on their way to stdout. */
#ifndef CLI_ROWS_H
#define CLI_ROWS_H

#include "columns.h"

/* Rows on their way to stdout, of one query or of several. */
typedef struct feed {
    tool *tool;
    uint64_t rows, pages;
    uint64_t pages_max;                    /* 0: all that there are */
    double charge_ru;
    double shown;                          /* when progress was, in seconds since the start */
    bool explains;                         /* how the query was answered; its rows are counted and not printed */
    columns *columns;                      /* NULL: a JSON document a line */
    bool more;
    char *continuation;                    /* behind the last page of pages_max; empty: there is no token */
    int status;                            /* to exit with */
} feed;

/* Page after page, as long as f->more says so and nothing has failed. The cursor stays open, for what it knows. */
void read_feed(feed *f, const aiocosmos_query_request *request, aiocosmos_page_fn take, void *user_data,
               aiocosmos_cursor *cursor);
int print_feed(feed *f, const aiocosmos_query_request *request);
int print_list(tool *t, const aiocosmos_query_request *request);

void put_rows(feed *f, const aiocosmos_page *page);
/* Of the columns, if there are any: sets the status where not all could be printed. */
void end_rows(feed *f);
bool show_rows(feed *f);
void say_rows(const feed *f);

#endif
