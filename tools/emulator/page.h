/* page.h: one page of rows: where it begins, what it reads, what it gives, how the next one goes on. */
#ifndef EMULATOR_PAGE_H
#define EMULATOR_PAGE_H

#include "scope.h"

/* Where the next page begins: in the part of the key space that was one partition when this began, and may be several
 * by now. Of its items, those up to a number are through; and so is what lies before it. Of a query that holds back, so
 * many rows are through, and the last of them was so many-th (`after`) of this item. */
typedef struct emu_position {
    char min[EMU_EPK_MAX], max[EMU_EPK_MAX];
    uint64_t after;
    uint64_t item, rows;                                   /* of this item so many rows */
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
    bool     more;                                         /* the page ended before its part of the key space did */
    bool     failed;
} emu_scan;

EMU_PRIVATE bool emu_read_continuation(emu_exchange *x, emu_position *position, bool *given);
EMU_PRIVATE void emu_write_continuation(emu_exchange *x, const emu_position *position);
EMU_PRIVATE emu_range *emu_first_range(emu_exchange *x, const emu_scope *scope, emu_position *position, bool given);
/* Goes on to the part of the key space behind this one. False: there is none. */
EMU_PRIVATE bool emu_next_part(const emu_container *container, const emu_scope *scope, emu_position *position);
EMU_PRIVATE void emu_copy_border(char to[EMU_EPK_MAX], aiocosmos_str border);

EMU_PRIVATE bool emu_source_open(emu_source *source, emu_exchange *x, const emu_scope *scope,
                                 const emu_position *position);
/* The next item, which stays the next one until it is taken. NULL: there is none. */
EMU_PRIVATE const emu_item *emu_source_peek(emu_source *source, emu_cursor **from);
EMU_PRIVATE void emu_source_close(emu_source *source);

EMU_PRIVATE void emu_page_row(void *user, const char *json, size_t len);
/* 0: go on. > 0: the query has enough. < 0: it failed. run NULL: the items themselves are the rows. */
EMU_PRIVATE int emu_scan_item(emu_exchange *x, const emu_item *item, emu_sql_run *run, emu_page *page, emu_scan *scan);
/* Ends a run. False: it has failed, and the request with it. */
EMU_PRIVATE bool emu_scan_end(emu_exchange *x, emu_sql_run *run, const emu_scan *scan);
EMU_PRIVATE bool emu_stream_page(emu_exchange *x, const emu_scope *scope, emu_position *position,
                                 const emu_sql_query *query, emu_page *page, emu_scan *scan);

#endif
