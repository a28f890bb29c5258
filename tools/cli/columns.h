/* columns.h: rows in columns: as comma-separated values, or as a table for people. */
#ifndef CLI_COLUMNS_H
#define CLI_COLUMNS_H

#include "tool.h"

enum { COLUMNS_MAX = 1000, COLUMN_SLOTS = 4096 };

/* Zeroed but for what the user gives: */
typedef struct columns {
    tool *tool;                            /* the user's */
    const char *sql;                       /* the user's: the query that the rows are of; NULL: none */
    bool as_table;                         /* the user's; or else CSV */
    bool begun;                            /* the header has been printed, and no column joins any more */
    bool of_values;                        /* rows are no objects, and there is one column */
    aiocosmos_str names[COLUMNS_MAX];      /* as JSON strings */
    aiocosmos_json_doc *titles[COLUMNS_MAX];               /* the same, parsed */
    size_t width[COLUMNS_MAX];             /* of a table, in cells of the terminal */
    uint16_t slots[COLUMN_SLOTS];          /* by the hash of their name, column + 1 */
    size_t count;
    uint64_t rows_cut;                     /* that have what no column is for */
    char missing[64];                      /* such as this */
} columns;

/* --csv or --table of the command, to *c; NULL: neither is given. False: both are. */
bool columns_of_options(tool *t, const char *sql, columns **c);
/* Prints the rows of a page. The columns are what the query names, then the other properties of the first page's rows.
 */
void columns_put(columns *c, aiocosmos_json rows);
/* Where no row has come: the columns that the query names. */
void columns_put_header(columns *c);
/* False: something had no column, and that has been said. */
bool columns_end(columns *c);

#endif
