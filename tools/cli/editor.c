/* editor.c: a line that somebody types. One line of the terminal, which moves along where the text is longer. */
#include "editor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { ROOM_MIN = 16 };                    /* cells, for the line */

enum {
    CTRL_A = 1, CTRL_B, CTRL_C, CTRL_D, CTRL_E, CTRL_F, CTRL_H = 8, TAB = 9, NEWLINE = 10, CTRL_K = 11, CTRL_L = 12,
    ENTER = 13, CTRL_N = 14, CTRL_P = 16, CTRL_R = 18, CTRL_U = 21, CTRL_W = 23, ESCAPE = 27, RUBOUT = 127,
    KEY_UP = 1000, KEY_DOWN, KEY_RIGHT, KEY_LEFT, KEY_HOME, KEY_END, KEY_DELETE, KEY_NONE
};

/*--- The history --------------------------------------------------------------*/

void editor_remember(editor *e, const char *line)
{
    char *kept;
    if (!*line || (e->history_count && strcmp(e->history[e->history_count - 1], line) == 0)) return;
    kept = malloc(strlen(line) + 1);
    if (!kept) return;
    strcpy(kept, line);
    if (e->history_count == HISTORY_LINES) {
        free(e->history[0]);
        memmove(e->history, e->history + 1, (HISTORY_LINES - 1) * sizeof *e->history);
        e->history_count--;
    }
    e->history[e->history_count++] = kept;
}

void editor_free(editor *e)
{
    while (e->history_count) free(e->history[--e->history_count]);
}

static void set_line(editor *e, const char *text)
{
    snprintf(e->line, sizeof e->line, "%s", text);
    e->len = e->at = strlen(e->line);
}

static void look_back(editor *e, bool back)
{
    if (back ? e->history_at == 0 : e->history_at == e->history_count) return;
    if (e->history_at == e->history_count) strcpy(e->typed, e->line);
    e->history_at = back ? e->history_at - 1 : e->history_at + 1;
    set_line(e, e->history_at == e->history_count ? e->typed : e->history[e->history_at]);
}

/*--- The line -----------------------------------------------------------------*/

/* The byte is not the first of a character. */
static bool is_inside(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

static size_t before(const editor *e, size_t at)
{
    if (at) at--;
    while (at && is_inside(e->line[at])) at--;
    return at;
}

static size_t behind(const editor *e, size_t at)
{
    if (at < e->len) at++;
    while (at < e->len && is_inside(e->line[at])) at++;
    return at;
}

static void cut(editor *e, size_t from, size_t to)
{
    memmove(e->line + from, e->line + to, e->len - to + 1);
    e->len -= to - from;
    e->at = from;
}

static void insert(editor *e, const char *text, size_t len)
{
    if (len >= LINE_BYTES - e->len) return;
    memmove(e->line + e->at + len, e->line + e->at, e->len - e->at + 1);
    memcpy(e->line + e->at, text, len);
    e->len += len;
    e->at += len;
}

static size_t word_begin(const editor *e)
{
    size_t at = e->at;
    while (at && e->line[at - 1] == ' ') at--;
    while (at && e->line[at - 1] != ' ') at--;
    return at;
}

static size_t terminal_columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

/* A character is taken for one cell. Of a prompt that leaves the line no room, the end is shown. */
static void show(const editor *e, const char *prompt)
{
    size_t columns = terminal_columns(), room, from = e->at, to, cells = 0;
    if (strlen(prompt) + ROOM_MIN >= columns) prompt = "> ";
    room = columns - strlen(prompt) - 1;
    while (from && cells < room) from = before(e, from), cells++;
    fprintf(stderr, "\r%s%.*s", prompt, (int)(e->at - from), e->line + from);
    for (to = e->at; to < e->len && cells < room; cells++) to = behind(e, to);
    fprintf(stderr, "%.*s\033[K", (int)(to - e->at), e->line + e->at);
    fprintf(stderr, "\r%s%.*s", prompt, (int)(e->at - from), e->line + from);
    fflush(stderr);
}

/*--- Completion ---------------------------------------------------------------*/

static size_t common_prefix(const candidates *c)
{
    size_t len = strlen(c->names[0]), i, k;
    for (i = 1; i < c->count; i++) {
        for (k = 0; k < len && c->names[i][k] == c->names[0][k]; k++) continue;
        len = k;
    }
    return len;
}

static void complete(editor *e)
{
    static candidates c;
    size_t begin = e->at, i, len;
    c.count = 0;
    if (e->complete) e->complete(e->user_data, e->line, e->at, &begin, &c);
    len = c.count ? common_prefix(&c) : 0;
    if (c.count && begin + len > e->at) {
        insert(e, c.names[0] + (e->at - begin), len - (e->at - begin));
        e->tabbed = false;
    } else if (c.count > 1 && e->tabbed) {
        fputs("\r\n", stderr);
        for (i = 0; i < c.count; i++) fprintf(stderr, "%s%s", i ? "  " : "", c.names[i]);
        fputs("\r\n", stderr);
    }
    if (c.count == 1 && e->at == e->len) insert(e, " ", 1);
    e->tabbed = c.count > 1;
    for (i = 0; i < c.count; i++) free(c.names[i]);
}

/*--- Keys ---------------------------------------------------------------------*/

/* < 0: the input has ended. */
static int read_byte(void)
{
    unsigned char byte;
    ssize_t got;
    do got = read(STDIN_FILENO, &byte, 1);
    while (got < 0 && errno == EINTR);
    return got == 1 ? byte : -1;
}

static int read_escape(void)
{
    int first = read_byte(), second;
    if (first != '[' && first != 'O') return KEY_NONE;
    second = read_byte();
    if (second >= '0' && second <= '9') {
        int last = second, next;
        while ((next = read_byte()) >= 0 && next != '~' && (next < 'A' || next > 'Z')) continue;
        return last == '3' ? KEY_DELETE : last == '1' || last == '7' ? KEY_HOME : last == '4' || last == '8' ? KEY_END
                                                                                                      : KEY_NONE;
    }
    switch (second) {
    case 'A': return KEY_UP;
    case 'B': return KEY_DOWN;
    case 'C': return KEY_RIGHT;
    case 'D': return KEY_LEFT;
    case 'H': return KEY_HOME;
    case 'F': return KEY_END;
    default: return KEY_NONE;
    }
}

static void edit(editor *e, int key)
{
    char byte = (char)key;
    switch (key) {
    case KEY_LEFT: case CTRL_B: e->at = before(e, e->at); break;
    case KEY_RIGHT: case CTRL_F: e->at = behind(e, e->at); break;
    case KEY_HOME: case CTRL_A: e->at = 0; break;
    case KEY_END: case CTRL_E: e->at = e->len; break;
    case KEY_UP: case CTRL_P: look_back(e, true); break;
    case KEY_DOWN: case CTRL_N: look_back(e, false); break;
    case RUBOUT: case CTRL_H: cut(e, before(e, e->at), e->at); break;
    case KEY_DELETE: case CTRL_D: cut(e, e->at, behind(e, e->at)); break;
    case CTRL_K: cut(e, e->at, e->len); break;
    case CTRL_U: cut(e, 0, e->at); break;
    case CTRL_W: cut(e, word_begin(e), e->at); break;
    case CTRL_L: fputs("\033[H\033[2J", stderr); break;
    case TAB: complete(e); break;
    default:
        if (key >= ' ' && key < 256) insert(e, &byte, 1);
    }
    if (key != TAB) e->tabbed = false;
}

/* Shows the last line of the history that holds what is typed, and with Ctrl-R the one before it. Returns the key that
 * ends this, which then means what it means otherwise. */
static int search(editor *e)
{
    char wanted[64] = "", prompt[sizeof wanted + 16];
    size_t len = 0, found = e->history_count, i;
    int key;
    if (e->history_at == e->history_count) strcpy(e->typed, e->line);
    for (;;) {
        snprintf(prompt, sizeof prompt, "search '%s': ", wanted);
        show(e, prompt);
        key = read_byte();
        if (key >= ' ' && key != RUBOUT && len + 1 < sizeof wanted) wanted[len++] = (char)key;
        else if ((key == RUBOUT || key == CTRL_H) && len) len--, found = e->history_count;
        else if (key != CTRL_R) return key;
        wanted[len] = 0;
        i = found + (key != CTRL_R && found < e->history_count);
        while (i && !strstr(e->history[i - 1], wanted)) i--;
        if (i == 0) continue;
        found = e->history_at = i - 1;
        set_line(e, e->history[found]);
    }
}

static bool edit_line(editor *e, const char *prompt)
{
    for (;;) {
        int key;
        show(e, prompt);
        key = read_byte();
        if (key == CTRL_R) key = search(e);
        if (key == ESCAPE) key = read_escape();
        if (key < 0 || (key == CTRL_D && e->len == 0)) return false;
        if (key == ENTER || key == NEWLINE) return true;
        if (key == CTRL_C) {
            fputs("^C\r\n", stderr);
            set_line(e, "");
            e->history_at = e->history_count;
            continue;
        }
        edit(e, key);
    }
}

static bool read_plain(editor *e)
{
    int byte;
    while ((byte = read_byte()) >= 0 && byte != '\n') {
        char c = (char)byte;
        insert(e, &c, 1);
    }
    return byte >= 0 || e->len > 0;
}

bool editor_read(editor *e, const char *prompt)
{
    struct termios before_us, raw;
    bool ok;
    set_line(e, "");
    e->history_at = e->history_count;
    e->tabbed = false;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO) || tcgetattr(STDIN_FILENO, &before_us) != 0)
        return read_plain(e);
    raw = before_us;
    raw.c_lflag &= ~(tcflag_t)(ECHO | ICANON | ISIG | IEXTEN);
    raw.c_iflag &= ~(tcflag_t)(IXON | ICRNL);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    ok = edit_line(e, prompt);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &before_us);
    fputs("\n", stderr);
    return ok;
}
