/* selected.c: the names that a query gives to what it selects: no parser of SQL, but what a SELECT list is made of. */
#include "selected.h"

#include <string.h>
#include <strings.h>

enum { TOKENS_MAX = 64 };                  /* of an expression that may be a path */

typedef struct token {
    enum { END, WORD, STRING, OTHER } type;
    const char *text;
    size_t len;                            /* of a string, with its quotes */
} token;

/* Letters, digits and all that is not ASCII. */
static size_t word_length(const char *text)
{
    size_t len = 0;
    while ((text[len] >= 'a' && text[len] <= 'z') || (text[len] >= 'A' && text[len] <= 'Z') || text[len] == '_' ||
           (text[len] >= '0' && text[len] <= '9') || (unsigned char)text[len] >= 0x80) len++;
    return len;
}

static size_t string_length(const char *text)
{
    size_t len = 1;
    while (text[len] && text[len] != *text) len += text[len] == '\\' && text[len + 1] ? 2 : 1;
    return len + (text[len] != 0);
}

static token next_token(const char **at)
{
    token t = { OTHER, NULL, 1 };
    for (;;) {
        *at += strspn(*at, " \t\r\n");
        if (strncmp(*at, "--", 2) != 0) break;             /* a comment */
        *at += strcspn(*at, "\n");
    }
    t.text = *at;
    if (!**at) t.type = END, t.len = 0;
    else if (**at == '"' || **at == '\'') t.type = STRING, t.len = string_length(*at);
    else if (**at >= '0' && **at <= '9') t.len = word_length(*at);
    else if (word_length(*at)) t.type = WORD, t.len = word_length(*at);
    *at += t.len;
    return t;
}

static bool is_keyword(const token *t, const char *keyword)
{
    return t->type == WORD && t->len == strlen(keyword) && strncasecmp(t->text, keyword, t->len) == 0;
}

static bool is_mark(const token *t, const char *mark)
{
    return t->type == OTHER && t->len == 1 && *t->text == *mark;
}

static bool is_literal(const token *t)
{
    return is_keyword(t, "null") || is_keyword(t, "undefined") || is_keyword(t, "true") || is_keyword(t, "false");
}

static bool is_digit(const token *t)
{
    return t->type == OTHER && *t->text >= '0' && *t->text <= '9';
}

/* How many of the tokens are a path, c.list[0].name or c["name"], and its last step, if that is a name. */
static size_t path_of(const token *t, size_t count, aiocosmos_str *name)
{
    size_t i = 1;
    if (t[0].type != WORD || is_literal(&t[0])) return 0;
    name->ptr = t[0].text;
    name->len = t[0].len;
    for (;;) {
        if (i + 1 < count && is_mark(&t[i], ".") && t[i + 1].type == WORD) {
            name->ptr = t[i + 1].text;
            name->len = t[i + 1].len;
            i += 2;
        } else if (i + 2 < count && is_mark(&t[i], "[") && is_mark(&t[i + 2], "]") &&
                   (t[i + 1].type == STRING || is_digit(&t[i + 1]))) {
            bool plain = t[i + 1].type == STRING && !memchr(t[i + 1].text, '\\', t[i + 1].len);
            name->ptr = t[i + 1].text + 1;
            name->len = plain ? t[i + 1].len - 2 : 0;
            i += 3;
        } else {
            return i;
        }
    }
}

/* A word behind it, if that is the last one, is no part of the expression. */
static bool ends_expression(const token *t)
{
    return t->type == STRING || is_digit(t) || (t->type == OTHER && strchr(")]}", *t->text));
}

/* Of an expression; where it has more tokens than are kept, of its last ones. False: it has none. */
static bool name_of(const token *t, size_t count, bool whole, aiocosmos_str *name)
{
    size_t used = count && whole ? path_of(t, count, name) : 0;
    const token *last = count ? &t[count - 1] : NULL;
    if (used && used == count) return name->len > 0;
    if (count < 2 || last->type != WORD) return false;
    if (used + 1 != count && !is_keyword(last - 1, "AS") && !ends_expression(last - 1)) return false;
    name->ptr = last->text;
    name->len = last->len;
    return true;
}

/* What stands before the list: DISTINCT, TOP n. Returns its first token. */
static token pass_head(const char **at)
{
    token t = next_token(at);
    while (is_keyword(&t, "DISTINCT") || is_keyword(&t, "TOP")) {
        bool top = is_keyword(&t, "TOP");
        t = next_token(at);
        if (top && is_mark(&t, "@")) t = next_token(at);
        if (top) t = next_token(at);
    }
    return t;
}

void selected_names(const char *sql, void (*name)(void *user_data, aiocosmos_str name), void *user_data)
{
    token kept[TOKENS_MAX], t = next_token(&sql);
    size_t count = 0, depth = 0;
    bool whole = true;
    aiocosmos_str found;
    if (!is_keyword(&t, "SELECT")) return;
    t = pass_head(&sql);
    if (is_keyword(&t, "VALUE")) return;
    for (;; t = next_token(&sql)) {
        bool ends = t.type == END || (depth == 0 && is_keyword(&t, "FROM"));
        if (ends || (depth == 0 && is_mark(&t, ","))) {
            if (name_of(kept, count, whole, &found)) name(user_data, found);
            if (ends) return;
            count = 0;
            whole = true;
            continue;
        }
        if (t.type == OTHER && strchr("([{", *t.text)) depth++;
        if (t.type == OTHER && strchr(")]}", *t.text)) depth -= depth > 0;
        if (count == TOKENS_MAX) {
            memcpy(kept, kept + count - 2, 2 * sizeof *kept);
            count = 2;
            whole = false;
        }
        kept[count++] = t;
    }
}
