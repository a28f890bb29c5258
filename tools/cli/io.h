/* io.h: files and stdout. */
#ifndef CLI_IO_H
#define CLI_IO_H

#include "tool.h"

#include <stdio.h>

#ifndef DOCUMENT_BYTES_MAX                 /* tests have smaller ones */
#define DOCUMENT_BYTES_MAX (2 << 20)       /* the service's limit */
#endif

char *text_of(aiocosmos_str from);         /* to be freed; NULL: no memory */
/* "a%20b" in its place. Returns the length of what it means. */
size_t percent_decode(char *text);

/* The length of the UTF-8 sequence that text, of at least a byte, begins with (RFC 3629), or 0. */
size_t utf8_length(const char *text, size_t len);
/* Of a text for a terminal: the control characters that it would obey, but for those that are kept, become '?'. */
void tame(char *text, size_t len, const char *kept);
void put_document(FILE *to, const char *text, size_t len);
void put_string(FILE *to, const char *text, size_t len);
void put_argument(FILE *to, const char *text);
/* The last line of an import and its like. */
void put_totals(const aiocosmos_bulk_totals *totals, double seconds);
bool stdout_works(tool *t);
/* Of a file open to be written: whether the last line has no end, as where its writer was killed or the disk was full. */
bool ends_within_line(int fd, const char *path);

const char *input_name(const char *path);  /* "stdin" where it is "-" or NULL */
const char *json_fault(const tool *t);     /* why the client's last parse was refused */
/* False: the commands of the shell come from there, and that has been said. */
bool stdin_is_free(tool *t);
int open_input(tool *t, const char *path);
bool read_all(tool *t, const char *path, char *out, size_t cap, size_t *len);
bool is_utf16(const char *text, size_t len);               /* as its byte order mark says */
#define UTF16_FAULT "it is UTF-16: make UTF-8 of it, as 'iconv -f UTF-16 -t UTF-8' does"
/* The length of the byte order mark that text begins with, also if less of it is there; 0: it does not. */
size_t text_mark(const char *text, size_t len);
/* A document or script of the size that the service takes, without that mark and with a zero byte behind it. Returns
 * what is to be freed; NULL: it cannot be read, and that has been said. */
char *read_text(tool *t, const char *path, aiocosmos_str *out);
/* To be freed; NULL: it is no JSON, and that has been said. */
aiocosmos_json_doc *parse_text(tool *t, const char *path, aiocosmos_str text);

#endif
