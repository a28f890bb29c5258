/* csv.h: comma-separated values, as RFC 4180 has them. */
#ifndef CLI_CSV_H
#define CLI_CSV_H

#include "input.h"

enum { CSV_COLUMNS_MAX = 1000 };

/* Zeroed. */
typedef struct csv {
    bool begun;                            /* the header line has been read */
    char *names[CSV_COLUMNS_MAX];          /* of the columns, as JSON strings */
    size_t name_count;
    uint64_t line;                         /* where we are */
    enum { CSV_FIELD, CSV_BARE, CSV_QUOTED, CSV_QUOTE, CSV_SKIP } state;
    size_t at;                             /* looked at, of what the input holds */
    uint64_t lines_inside;                 /* of the record, in quotes */
    uint64_t dropped;                      /* bytes of a record that is too long to keep */
    const char *why;                       /* it is refused */
    char wrong_header[256];                /* the same of the header, which it repeats */
    char *json;                            /* the record as a document */
} csv;

/* The next record as a JSON document. An unquoted field that is true, false, null or a JSON number that a double has as
 * it is written (any of 15 digits, or the shortest that means this double) is that; one that is empty is no property;
 * all others are strings, and so are quoted ones and the column "id". */
taken csv_take(csv *c, input *in, document *out);
void csv_free(csv *c);
/* Whether a field without quotes is a number or a literal, and no string. */
bool csv_is_bare(const char *text, size_t len);

#endif
