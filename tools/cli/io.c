/* io.c: files and stdout. */
#include "io.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*------------------------------------------------------------------------------
 * MARK: - Data on stdout
 *----------------------------------------------------------------------------*/

/* How far it is to a line end; len: there is none. */
static size_t line_length(const char *text, size_t len)
{
    const char *newline = memchr(text, '\n', len), *carriage_return;
    if (newline) len = (size_t)(newline - text);
    carriage_return = memchr(text, '\r', len);
    return carriage_return ? (size_t)(carriage_return - text) : len;
}

/* One document and nothing else on a line: line ends between its tokens, the only place where JSON has them, become
 * blanks. All other bytes are the document's own. */
void put_document(FILE *to, const char *text, size_t len)
{
    while (len > 0) {
        size_t part = line_length(text, len);
        fwrite(text, 1, part, to);
        if (part < len) {
            fputc(' ', to);
            part++;
        }
        text += part;
        len -= part;
    }
}

void put_totals(const aiocosmos_bulk_totals *totals, double seconds)
{
    double per_second = seconds > 0 ? (double)totals->succeeded / seconds : 0;
    printf("{\"ok\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"retries\":%" PRIu64, totals->succeeded, totals->failed,
           totals->retries);
    printf(",\"ru\":%.2f,\"seconds\":%.3f,\"per_second\":%.1f}\n", totals->charge_ru, seconds, per_second);
}

bool stdout_works(tool *t)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return true;
    say(t, "cannot write to stdout: %s", strerror(errno));
    return false;
}

/* Who writes on behind it would make one line of two, and both would be lost. */
bool ends_within_line(int fd, const char *path)
{
    struct stat about;
    char last = '\n';
    int again;
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode) || about.st_size == 0) return false;
    again = open(path, O_RDONLY | O_CLOEXEC);
    if (again < 0) return false;
    if (pread(again, &last, 1, about.st_size - 1) != 1) last = '\n';
    close(again);
    return last != '\n';
}

size_t utf8_length(const char *text, size_t len)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t need = at[0] < 0x80 ? 1 : at[0] < 0xC2 ? 0 : at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : at[0] < 0xF5 ? 4 : 0, i;
    if (need == 0 || need > len) return 0;
    for (i = 1; i < need; i++)
        if ((at[i] & 0xC0) != 0x80) return 0;
    if ((at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xED && at[1] > 0x9F)) return 0;
    if ((at[0] == 0xF0 && at[1] < 0x90) || (at[0] == 0xF4 && at[1] > 0x8F)) return 0;
    return need;
}

/* C1 as UTF-8 has it, and all below a blank. */
void tame(char *text, size_t len, const char *kept)
{
    size_t i;
    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool of_c1 = c == 0xC2 && i + 1 < len && (unsigned char)text[i + 1] < 0xA0;
        if (of_c1) text[i++] = '?';
        if (of_c1 || c == 0x7F || (c < 0x20 && !memchr(kept, c, strlen(kept)))) text[i] = '?';
    }
}

/* Any bytes as a JSON string; those that are not UTF-8 become U+FFFD. */
void put_string(FILE *to, const char *text, size_t len)
{
    size_t at = 0, put = 0, step;
    fputc('"', to);
    for (; at < len; at += step ? step : 1) {
        unsigned char c = (unsigned char)text[at];
        step = c < 0x80 ? 1 : utf8_length(text + at, len - at);
        if (step && c >= 0x20 && c != '"' && c != '\\') continue;
        fwrite(text + put, 1, at - put, to);
        put = at + 1;
        if (step == 0) fputs("\\ufffd", to);
        else if (c < 0x20) fprintf(to, "\\u%04x", c);
        else fprintf(to, "\\%c", c);
    }
    fwrite(text + put, 1, len - put, to);
    fputc('"', to);
}

/* An argument as a shell takes it. */
void put_argument(FILE *to, const char *text)
{
    static const char harmless[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/+-,:@%";
    if (*text && text[strspn(text, harmless)] == 0) {
        fputs(text, to);
        return;
    }
    fputc('\'', to);
    for (; *text; text++) {
        if (*text == '\'') fputs("'\\''", to);
        else fputc(*text, to);
    }
    fputc('\'', to);
}

/*------------------------------------------------------------------------------
 * MARK: - Input
 *----------------------------------------------------------------------------*/

static bool is_stdin(const char *path)
{
    return !path || strcmp(path, "-") == 0;
}

const char *input_name(const char *path)
{
    return is_stdin(path) ? "stdin" : path;
}

/* The library says "text: what is wrong at byte N", and does not know whose text it is. */
const char *json_fault(const tool *t)
{
    const char *why = aiocosmos_last_error(t->client);
    return strncmp(why, "text: ", 6) == 0 ? why + 6 : why;
}

bool stdin_is_free(tool *t)
{
    if (!t->shell || isatty(STDIN_FILENO)) return true;
    say(t, "%s: stdin holds the commands of the shell: name a file to read from", t->command->name);
    return false;
}

/* < 0: it cannot be read, and that has been said. */
int open_input(tool *t, const char *path)
{
    const char *name = input_name(path);
    struct stat about;
    int fd = is_stdin(path) ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd == STDIN_FILENO && !stdin_is_free(t)) return -1;
    if (fd >= 0 && fstat(fd, &about) == 0 && S_ISDIR(about.st_mode)) {
        close(fd);
        fd = -1;
        errno = EISDIR;
    }
    if (fd < 0) say(t, "cannot read %s: %s%s", name, strerror(errno),
                    *name == '{' || *name == '[' ? "; JSON is read from a file, or from stdin" : "");
    else if (isatty(fd)) say(t, "reading from the terminal; end with Ctrl-D");
    return fd;
}

/* As a PowerShell writes what a program prints. */
bool is_utf16(const char *text, size_t len)
{
    return len > 1 && (memcmp(text, "\xFF\xFE", 2) == 0 || memcmp(text, "\xFE\xFF", 2) == 0);
}

/* Windows programs like to begin a text with a byte order mark; JSON has none (RFC 8259, 8.1). */
size_t text_mark(const char *text, size_t len)
{
    return len && memcmp(text, "\xEF\xBB\xBF", len < 3 ? len : 3) == 0 ? 3 : 0;
}

/* A whole input of at most cap bytes. False: it cannot be read, or is longer, and that has been said. */
bool read_all(tool *t, const char *path, char *out, size_t cap, size_t *len)
{
    int fd = open_input(t, path);
    ssize_t got = 1;
    *len = 0;
    if (fd < 0) return false;
    while (*len < cap && got != 0) {
        got = read(fd, out + *len, cap - *len);
        if (got > 0) *len += (size_t)got;
        else if (got < 0 && errno != EINTR) break;
    }
    if (got < 0) say(t, "cannot read %s: %s", input_name(path), strerror(errno));
    else if (is_utf16(out, *len)) got = -1, say(t, "cannot read %s: %s", input_name(path), UTF16_FAULT);
    else if (*len == cap) say(t, "%s holds over %zu bytes", input_name(path), cap - 1);
    if (fd != STDIN_FILENO) close(fd);
    return got >= 0 && *len < cap;
}

char *read_text(tool *t, const char *path, aiocosmos_str *out)
{
    char *text = malloc(DOCUMENT_BYTES_MAX + 2);
    size_t len, mark;
    if (!text) say(t, "no memory");
    if (!text || !read_all(t, path, text, DOCUMENT_BYTES_MAX + 1, &len)) {
        free(text);
        return NULL;
    }
    mark = text_mark(text, len);
    if (mark > len) mark = 0;
    text[len] = 0;
    out->ptr = text + mark;
    out->len = len - mark;
    return text;
}

aiocosmos_json_doc *parse_text(tool *t, const char *path, aiocosmos_str text)
{
    aiocosmos_json_doc *doc;
    if (aiocosmos_json_parse(t->client, text.ptr, text.len, &doc, NULL) == 0) return doc;
    say(t, "%s: %s: %s", t->command->name, input_name(path), json_fault(t));
    return NULL;
}

char *text_of(aiocosmos_str from)
{
    char *text = malloc(from.len + 1);
    if (!text) return NULL;
    if (from.len) memcpy(text, from.ptr, from.len);
    text[from.len] = 0;
    return text;
}

size_t percent_decode(char *text)
{
    const char *from = text;
    char *to = text, hex[3] = { 0 };
    while (*from) {
        bool encoded = *from == '%' && isxdigit((unsigned char)from[1]) && isxdigit((unsigned char)from[2]);
        if (encoded) memcpy(hex, from + 1, 2);
        *to++ = encoded ? (char)strtol(hex, NULL, 16) : *from;
        from += encoded ? 3 : 1;
    }
    *to = 0;
    return (size_t)(to - text);
}
