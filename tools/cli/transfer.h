/* transfer.h: something done to each item that a scan finds: it is written elsewhere, or deleted. */
#ifndef CLI_TRANSFER_H
#define CLI_TRANSFER_H

#include "scan.h"

typedef struct transfer transfer;

/* Zeroed but for what the user gives: */
struct transfer {
    scan scan;                             /* the user's, but for take */
    tool *to;                              /* the user's: whose client writes, into the container of its operands */
    /* The user's: a row as it is to be kept until its turn, in its own length at most, of which it returns what it has
     * used; and then what is done with it, the row being lent. */
    size_t (*keep)(char *to, aiocosmos_json row);
    void (*fill)(transfer *tr, aiocosmos_str row, aiocosmos_bulk_item *item);
    bool gone_is_fine;                     /* the user's: 404 says that it is done already */
    void *user_data;                       /* the user's */
    aiocosmos_json_doc *doc;               /* of the row that is being filled in; freed with the next one */
    struct kept_page *first, *last;        /* whose rows have not all been taken */
    size_t bytes_held;
    aiocosmos_op bulk;
    bool ending, finished;                 /* nothing more is taken; nothing is in flight either */
    aiocosmos_bulk_totals totals;
    uint64_t gone;                         /* of those that failed: it was done already */
    double seconds;
};

/* From scan_begin() to the totals on stdout. Returns the exit status. */
int  transfer_run(transfer *tr);
/* Limits of a client that does it; that of the target, too. */
void transfer_prepare(aiocosmos_options *o);

#endif
