/* page.h: one page of rows: where it begins, what it reads, what it gives, how the next one goes on. */
#ifndef EMULATOR_PAGE_H
#define EMULATOR_PAGE_H

#include "lookup.h"
#include "bill.h"

#define EMU_KEYS_MAX 4096                                  /* bytes of the values of ORDER BY that a continuation has */

/* Where the next page begins: in the part of the key space that was one partition when this began, and may be several
 * by now. Of its items, those up to a number are through; and so is what lies before it. Of a query that holds back, so
 * many rows are through, and the last of them was so many-th (`after`) of this item; of ORDER BY, of those with these
 * keys. */
typedef struct emu_position {
    char min[EMU_EPK_MAX], max[EMU_EPK_MAX];
    uint64_t after;
    uint64_t item, rows;                                   /* of this item so many rows */
    size_t keys_len;
    char keys[EMU_KEYS_MAX];
} emu_position;

/* One page under construction. */
typedef struct emu_page {
    emu_text *body;
    int64_t max, count;
    uint64_t skip;                                         /* rows to leave out */
    uint64_t left_out;
    bool full;                                             /* rows did not fit */
} emu_page;

typedef struct emu_cursor { const emu_list *list; uint32_t slot; } emu_cursor;

typedef struct emu_source {
    emu_exchange *x;
    const emu_scope *scope;
    emu_cursor *cursor;                                    /* one, but for a partition that was split meanwhile */
    size_t count, cap;
} emu_source;

typedef struct emu_scan {
    uint64_t looked;                                       /* items */
    size_t   bytes;                                        /* of them */
    uint64_t read, read_before;                            /* those that an index would not do for; of the run so far */
    size_t   read_bytes, item_bytes;                       /* of them; of the item at hand */
    uint64_t steps;                                        /* of work */
    uint32_t tried, passed, untried;                       /* see emu_scan_tries */
    bool     more;                                         /* the page ended before its part of the key space did */
    bool     failed;
} emu_scan;

/* A page that is being made, in slices between which other requests are served. Then it is the connection's, whose
 * request is served again from its bytes until the page is done. Whoever needs the page after that has to bring its
 * continuation: no state is left but in core->held. */
struct emu_job {
    emu_store *store;
    char container[EMU_RID_MAX];
    emu_sql_query *query;                                  /* NULL: a feed */
    bool continued;
    emu_bill bill;
    emu_lookup lookup;                                     /* where it gives its rows as it finds them */
    emu_position position;
    emu_page page;
    emu_scan scan;
    size_t rows_at;                                        /* in the body */
    emu_text body;                                         /* between slices */
    emu_text document;                                     /* the one that is fed, in parts where it takes long */
    bool fed_in_part;
    uint64_t number;                                       /* of its item */
    int64_t count_before;                                  /* rows of the page before it */
    emu_sql_run *run;                                      /* that gives its rows as it finds them, or */
    emu_held *held;                                        /* that holds them back */
    uint64_t slice_end, page_end;                          /* in steps of the page */
    bool suspended;
};

EMU_PRIVATE bool emu_read_continuation(emu_exchange *x, emu_position *position, bool *given);
EMU_PRIVATE void emu_write_continuation(emu_exchange *x, const emu_position *position);
EMU_PRIVATE emu_range *emu_first_range(emu_exchange *x, const emu_scope *scope, emu_position *position, bool given);
/* Goes on to the part of the key space behind this one. False: there is none. */
EMU_PRIVATE bool emu_next_part(const emu_container *container, const emu_scope *scope, emu_position *position);
EMU_PRIVATE void emu_copy_border(char to[EMU_EPK_MAX], aiocosmos_str border);

/* Chooses how items are found for `rows` rows, see emu_lookup_choose. False: suspended. */
EMU_PRIVATE bool emu_choose_lookup(emu_exchange *x, emu_job *job, emu_lookup *lookup, emu_sql_query *query,
                                   const emu_scope *scope, int64_t rows, bool sorted);
/* lookup NULL, or without an index: of all items. */
EMU_PRIVATE bool emu_source_open(emu_source *source, emu_exchange *x, const emu_scope *scope,
                                 const emu_position *position, const emu_lookup *lookup);
/* The next item, which stays the next one until it is taken. NULL: there is none. */
EMU_PRIVATE const emu_item *emu_source_peek(emu_source *source, emu_cursor **from);
EMU_PRIVATE void emu_source_close(emu_source *source);

EMU_PRIVATE void emu_page_row(void *user, const char *json, size_t len);
/* Whether this slice, or the page, has had its share of work. */
EMU_PRIVATE bool emu_slice_over(emu_job *job);
EMU_PRIVATE bool emu_page_over(const emu_job *job);
/* Feeds an item; NULL: goes on with the one that was fed in part. 0: go on. > 0: the query has enough, or has paused,
 * and the job with it. < 0: it failed. run NULL: the items themselves are the rows. */
EMU_PRIVATE int emu_scan_item(emu_exchange *x, emu_job *job, const emu_item *item, emu_sql_run *run,
                              emu_text *document);
/* The same of the end of what is fed. */
EMU_PRIVATE int emu_scan_finish(emu_job *job, emu_sql_run *run);
/* Ends a run. False: it has failed, and the request with it. */
EMU_PRIVATE bool emu_scan_end(emu_exchange *x, emu_sql_run *run, const emu_scan *scan);
/* A slice of it. False: refused. */
EMU_PRIVATE bool emu_stream_page(emu_exchange *x, const emu_scope *scope, emu_job *job);

#endif
