/* columns.c: rows in columns. */
#include "columns.h"
#include "csv.h"
#include "io.h"
#include "selected.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    CELL_MAX = 60,                         /* a column of a table is no wider, nor than the terminal */
    CELL_MIN = 4,
    GAP = 2                                /* between two columns */
};

/*------------------------------------------------------------------------------
 * MARK: - Which columns
 *----------------------------------------------------------------------------*/

static bool same(aiocosmos_str a, aiocosmos_json b)
{
    return a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0;
}

/* The slot of a name, which is free if there is no such column. FNV-1a. */
static size_t slot_of(const columns *c, aiocosmos_json name)
{
    uint32_t hash = 2166136261u;
    size_t i;
    for (i = 0; i < name.len; i++) hash = (hash ^ (unsigned char)name.ptr[i]) * 16777619u;
    for (i = hash % COLUMN_SLOTS; c->slots[i]; i = (i + 1) % COLUMN_SLOTS)
        if (same(c->names[c->slots[i] - 1], name)) break;
    return i;
}

/* The column of a property; count: there is none. Rows mostly have them in one order, and the first look finds it. */
static size_t column_of(const columns *c, aiocosmos_json name, size_t likely)
{
    size_t slot;
    if (likely < c->count && same(c->names[likely], name)) return likely;
    slot = slot_of(c, name);
    return c->slots[slot] ? (size_t)(c->slots[slot] - 1) : c->count;
}

static void add_column(columns *c, aiocosmos_json name)
{
    size_t slot = slot_of(c, name);
    char *kept;
    if (c->slots[slot] || c->count == COLUMNS_MAX) return;
    kept = malloc(name.len);
    if (!kept) return;                     /* the rows that have it are counted */
    memcpy(kept, name.ptr, name.len);
    if (aiocosmos_json_parse(NULL, kept, name.len, &c->titles[c->count], NULL) < 0) {
        free(kept);
        return;
    }
    c->names[c->count].ptr = kept;
    c->names[c->count].len = name.len;
    c->slots[slot] = (uint16_t)++c->count;
}

/* A column of the SELECT list, whatever the first rows have. */
static void add_selected(void *user_data, aiocosmos_str name)
{
    char text[1024];
    aiocosmos_json quoted = {0};
    if (name.len + 3 > sizeof text) return;
    quoted.len = (size_t)snprintf(text, sizeof text, "\"%.*s\"", (int)name.len, name.ptr);
    quoted.ptr = text;
    add_column(user_data, quoted);
}

static void find_columns(columns *c, aiocosmos_json rows)
{
    static const char value_name[] = "\"value\"";
    aiocosmos_json row = {0}, name, value, only = {0};
    if (c->sql) selected_names(c->sql, add_selected, c);
    while (aiocosmos_json_next(rows, NULL, &row)) {
        memset(&value, 0, sizeof value);
        while (aiocosmos_json_next(row, &name, &value) && row.type == AIOCOSMOS_JSON_OBJ) add_column(c, name);
    }
    c->of_values = c->count == 0;
    if (!c->of_values) return;
    only.ptr = value_name;
    only.len = sizeof value_name - 1;
    add_column(c, only);
}

/* The cells of a row, NONE where it has nothing for a column. */
static void cells_of(columns *c, aiocosmos_json row, aiocosmos_json *cells)
{
    aiocosmos_json name = {0}, value = {0};
    size_t likely = 0, column;
    bool cut = false;
    memset(cells, 0, c->count * sizeof *cells);
    if (c->of_values && c->count) {
        cells[0] = row;
        return;
    }
    if (row.type != AIOCOSMOS_JSON_OBJ) cut = true;
    while (row.type == AIOCOSMOS_JSON_OBJ && aiocosmos_json_next(row, &name, &value)) {
        column = column_of(c, name, likely);
        if (column < c->count) cells[column] = value;
        else if (!cut && !c->missing[0]) snprintf(c->missing, sizeof c->missing, "%.*s", (int)name.len, name.ptr);
        cut = cut || column == c->count;
        likely = column + 1;
    }
    c->rows_cut += cut;
}

/*------------------------------------------------------------------------------
 * MARK: - Comma-separated values
 *----------------------------------------------------------------------------*/

static void put_quoted(const char *text, size_t len)
{
    size_t i;
    putchar('"');
    for (i = 0; i < len; i++) {
        if (text[i] == '"') putchar('"');
        putchar(text[i]);
    }
    putchar('"');
}

/* A string is quoted where it has to be, and where it would be read as something else. In a file every byte stays. */
static void put_csv(aiocosmos_json value, bool paged)
{
    char *text = value.type == AIOCOSMOS_JSON_STR ? malloc(value.len + 1) : NULL;
    size_t len = text ? aiocosmos_json_get_str(value, text, value.len + 1) : 0, i;
    bool quote = len == 0 || csv_is_bare(text, len);
    if (!text) {
        if (value.type == AIOCOSMOS_JSON_ARR || value.type == AIOCOSMOS_JSON_OBJ) put_quoted(value.ptr, value.len);
        else fwrite(value.ptr, 1, value.len, stdout);
        return;
    }
    if (paged || isatty(STDOUT_FILENO)) tame(text, len, "\t\r\n");
    for (i = 0; i < len && !quote; i++)
        quote = text[i] == '"' || text[i] == ',' || text[i] == '\n' || text[i] == '\r';
    if (quote) put_quoted(text, len);
    else fwrite(text, 1, len, stdout);
    free(text);
}

static void put_csv_row(const columns *c, const aiocosmos_json *cells)
{
    size_t i;
    for (i = 0; i < c->count; i++) {
        if (i) putchar(',');
        if (cells[i].type != AIOCOSMOS_JSON_NONE) put_csv(cells[i], c->tool->paged);
    }
    fputs("\r\n", stdout);
}

/*------------------------------------------------------------------------------
 * MARK: - Tables
 *----------------------------------------------------------------------------*/

/* A character, of `*used` bytes; what is no UTF-8, or would not stay in its place on a terminal, is '?'. */
static uint32_t character(const char *text, size_t len, size_t *used)
{
    const unsigned char *at = (const unsigned char *)text;
    uint32_t code;
    size_t i;
    *used = utf8_length(text, len);
    if (*used < 2) {
        code = *used == 0 || *at < 0x20 || *at == 0x7F ? '?' : *at;
        *used = 1;
        return code;
    }
    code = at[0] & (0x7Fu >> *used);
    for (i = 1; i < *used; i++) code = code << 6 | (at[i] & 0x3F);
    return code < 0xA0 || (code >= 0x200E && code <= 0x200F) || (code >= 0x202A && code <= 0x202E) ||
           (code >= 0x2066 && code <= 0x2069) || code == 0xFEFF ? '?' : code;
}

/* In cells of a terminal: of the East Asian and the pictures two, of what joins the one before none. */
static size_t width_of(uint32_t code)
{
    if ((code >= 0x300 && code <= 0x36F) || (code >= 0x200B && code <= 0x200D) || (code >= 0xFE00 && code <= 0xFE0F))
        return 0;
    return (code >= 0x1100 && code <= 0x115F) || (code >= 0x2E80 && code <= 0xA4CF) ||
           (code >= 0xAC00 && code <= 0xD7A3) || (code >= 0xF900 && code <= 0xFAFF) ||
           (code >= 0xFE30 && code <= 0xFE6F) || (code >= 0xFF00 && code <= 0xFF60) ||
           (code >= 0x1F300 && code <= 0x1FAFF) || (code >= 0x20000 && code <= 0x3FFFD) ? 2 : 1;
}

/* The first cells of a text, at most `max`, printed if that is asked for. Returns how many; *whole: that is all. */
static size_t put_cells(const char *text, size_t len, size_t max, bool print, bool *whole)
{
    size_t at = 0, width = 0, used;
    for (; at < len; at += used) {
        uint32_t code = character(text + at, len - at, &used);
        if (width + width_of(code) > max) break;
        width += width_of(code);
        if (print && code == '?') putchar('?');
        else if (print) fwrite(text + at, 1, used, stdout);
    }
    *whole = at == len;
    return width;
}

/* The text of a cell; to be freed if *own is not NULL. */
static aiocosmos_str cell_text(aiocosmos_json value, char **own)
{
    aiocosmos_str text = { value.ptr, value.len };
    *own = value.type == AIOCOSMOS_JSON_STR ? malloc(value.len + 1) : NULL;
    if (!*own) return text;
    text.ptr = *own;
    text.len = aiocosmos_json_get_str(value, *own, value.len + 1);
    return text;
}

static void measure(columns *c, size_t column, aiocosmos_json value)
{
    char *own;
    bool whole;
    aiocosmos_str text = cell_text(value, &own);
    size_t width = put_cells(text.ptr, text.len, CELL_MAX, false, &whole);
    if (c->width[column] < width) c->width[column] = width;
    free(own);
}

static void put_blanks(size_t count)
{
    while (count--) putchar(' ');
}

/* What is too wide ends in "...", and numbers stand at the right. */
static void put_cell(const columns *c, size_t column, aiocosmos_json value)
{
    char *own;
    bool whole, last = column + 1 == c->count;
    aiocosmos_str text = cell_text(value, &own);
    size_t room = c->width[column], width = put_cells(text.ptr, text.len, room, false, &whole);
    if (!whole) {
        width = put_cells(text.ptr, text.len, room - 3, true, &whole);
        fputs("...", stdout);
        width += 3;
    } else {
        if (value.type == AIOCOSMOS_JSON_NUM) put_blanks(room - width);
        put_cells(text.ptr, text.len, room, true, &whole);
        if (value.type == AIOCOSMOS_JSON_NUM) width = room;
    }
    if (!last) put_blanks(room - width + GAP);
    free(own);
}

static void put_table_row(const columns *c, const aiocosmos_json *cells)
{
    size_t i;
    for (i = 0; i < c->count; i++) put_cell(c, i, cells[i]);
    putchar('\n');
}

static size_t terminal_width(const tool *t)
{
    struct winsize size;
    int fd = t->paged ? STDERR_FILENO : STDOUT_FILENO;
    return isatty(fd) && ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

/* The widest columns give way until all fit into the terminal, or are as narrow as they may be. */
static void fit(columns *c)
{
    size_t room = terminal_width(c->tool), total = 0, i, widest;
    for (i = 0; i < c->count; i++) total += c->width[i] + (i ? GAP : 0);
    while (room && total > room) {
        for (widest = 0, i = 1; i < c->count; i++)
            if (c->width[i] > c->width[widest]) widest = i;
        if (c->width[widest] <= CELL_MIN) break;
        c->width[widest]--;
        total--;
    }
}

static void begin_table(columns *c, aiocosmos_json rows, aiocosmos_json *cells)
{
    aiocosmos_json row = {0};
    uint64_t cut = c->rows_cut;
    size_t i, k;
    for (i = 0; i < c->count; i++) {
        c->width[i] = CELL_MIN;
        measure(c, i, aiocosmos_json_root(c->titles[i]));
    }
    while (aiocosmos_json_next(rows, NULL, &row)) {
        cells_of(c, row, cells);
        for (i = 0; i < c->count; i++) measure(c, i, cells[i]);
    }
    c->rows_cut = cut;                     /* they are counted when they are printed */
    fit(c);
    for (i = 0; i < c->count; i++) put_cell(c, i, aiocosmos_json_root(c->titles[i]));
    putchar('\n');
    for (i = 0; i < c->count; i++) {
        for (k = 0; k < c->width[i]; k++) putchar('-');
        if (i + 1 < c->count) put_blanks(GAP);
    }
    putchar('\n');
}

/*------------------------------------------------------------------------------
 * MARK: - Pages
 *----------------------------------------------------------------------------*/

static void begin_csv(const columns *c)
{
    size_t i;
    for (i = 0; i < c->count; i++) {
        if (i) putchar(',');
        put_csv(aiocosmos_json_root(c->titles[i]), c->tool->paged);
    }
    fputs("\r\n", stdout);
}

void columns_put(columns *c, aiocosmos_json rows)
{
    static aiocosmos_json cells[COLUMNS_MAX];
    aiocosmos_json row = {0};
    if (aiocosmos_json_count(rows) == 0) return;
    if (!c->begun) {
        c->begun = true;
        find_columns(c, rows);
        if (c->as_table) begin_table(c, rows, cells);
        else begin_csv(c);
    }
    while (aiocosmos_json_next(rows, NULL, &row)) {
        cells_of(c, row, cells);
        if (c->as_table) put_table_row(c, cells);
        else put_csv_row(c, cells);
    }
}

void columns_put_header(columns *c)
{
    const aiocosmos_json none = {0};
    if (c->begun || !c->sql) return;
    selected_names(c->sql, add_selected, c);
    if (c->count == 0) return;
    c->begun = true;
    if (c->as_table) begin_table(c, none, NULL);
    else begin_csv(c);
}

bool columns_of_options(tool *t, const char *sql, columns **c)
{
    static columns only;                   /* zeroed */
    if (has(t, OPT_CSV) && has(t, OPT_TABLE)) return say(t, "--csv and --table are both given: choose one"), false;
    only.tool = t;
    only.sql = sql;
    only.as_table = has(t, OPT_TABLE);
    *c = has(t, OPT_CSV) || has(t, OPT_TABLE) ? &only : NULL;
    return true;
}

bool columns_end(columns *c)
{
    while (c->count) {
        aiocosmos_json_free(c->titles[--c->count]);
        free((void *)(uintptr_t)c->names[c->count].ptr);
    }
    if (c->rows_cut == 0) return true;
    say(c->tool, "%" PRIu64 " rows have what the rows of the first page had not, and no column is for%s%s", c->rows_cut,
        c->missing[0] ? ", such as " : "", c->missing);
    fputs("What a SELECT list names has a column from the start, a property or what stands behind AS:\n"
          "  SELECT c.id, c.level + 1 AS next FROM c\n", stderr);
    return false;
}
