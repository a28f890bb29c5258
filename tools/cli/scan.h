/* scan.h: all the items of a container, or the rows of a query, read range by range, several at a time. */
#ifndef CLI_SCAN_H
#define CLI_SCAN_H

#include "rows.h"

typedef struct scan scan;

/* A partition key range, or all of them. */
typedef struct part {
    scan *of;
    char *id, *min, *max;                  /* the keys from min up to max, without that; NULL: no edges */
    char *token;                           /* behind what has been dealt with; NULL: nothing has */
    bool done;                             /* all of it has been dealt with */
    aiocosmos_cursor query;
    bool reading;                          /* its query is open */
    bool due;                              /* the next page can be asked for */
    void *pages;                           /* of the user: those that have come and are not dealt with */
} part;

/* Zeroed but for what the user gives: */
struct scan {
    feed rows;                             /* .tool: the user's */
    const char *sql;                       /* the user's; NULL: all items */
    bool whole;                            /* the user's: by one query, as its rows belong together */
    const aiocosmos_param *params;         /* the user's */
    size_t param_count;
    aiocosmos_pk pk;                       /* the user's */
    uint32_t page_items_max;               /* the user's */
    size_t at_a_time;                      /* the user's: parts */
    const char *target;                    /* the user's: where it goes, if not to stdout; for the state */
    /* The user's: a page of a part has come, and did not fail. */
    void (*take)(scan *s, part *p, const aiocosmos_page *page);
    void *user_data;
    part *parts;
    size_t part_count, part_room;
    char **parents;                        /* ids of ranges that were split or merged, and are listed all the same */
    size_t parent_count, parent_room;
    bool listed;                           /* the list is whole */
    size_t begun, ended;                   /* parts: to be read, and read to their end */
    bool stuck;                            /* a state cannot hold where it is: to repeat the command does not help */
    char *signature;                       /* what is read, for the state */
    double saved;                          /* when the state was written, in seconds since the start */
};

/* Which parts there are: by --state if an earlier run has left one, else as the service lists them. Returns the exit
 * status. */
int  scan_begin(scan *s);
/* Asks for the pages that can be asked for, and begins with more parts where there is room. Returns why not. */
int  scan_ask(scan *s);
bool scan_is_over(const scan *s);
/* No more is read; if there is any, the exit status says that it is incomplete. */
void scan_stop(scan *s);
/* What came with a page, or the end of a part, has been dealt with. Writes --state now and then. */
void scan_settle(part *p, aiocosmos_str token, bool last);
/* Behind scan_end(): that nothing was left to be read, if so. */
void scan_say_all_read(const scan *s);
/* Closes what is open, writes the state, and forgets all but rows. Returns the exit status. */
int  scan_end(scan *s);

/* Limits of a client that scans. */
void scan_prepare(aiocosmos_options *o);

#endif
