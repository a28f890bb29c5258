/* regex.c: regular expressions. */
#include "regex.h"

#include <stdio.h>
#include <string.h>

/*------------------------------------------------------------------------------
 * MARK: - Regular expressions
 *
 * The service has PCRE. Here: everything but back references, look-around, possessive and atomic groups, in a machine
 * that follows all paths at once, so that its time is pattern times text and no pattern can hang it.
 *----------------------------------------------------------------------------*/

#define SQL_REGEX_MAX 4000             /* instructions */

typedef enum sql_regex_op {
    SQL_R_CHAR, SQL_R_ANY, SQL_R_SET, SQL_R_SPLIT, SQL_R_JUMP, SQL_R_BOUNDARY, SQL_R_NOT_BOUNDARY, SQL_R_LINE_START,
    SQL_R_LINE_END, SQL_R_START, SQL_R_END, SQL_R_END_OR_NEWLINE, SQL_R_MATCH
} sql_regex_op;

typedef struct sql_regex_range { uint32_t low, high; struct sql_regex_range *next; } sql_regex_range;

typedef struct sql_regex_code {
    uint8_t op;
    bool negated, fold;                /* SET; fold: compare in lower case */
    int to;                            /* SPLIT, JUMP: how far, relative */
    uint32_t c;
    const sql_regex_range *set;
} sql_regex_code;

struct sql_regex {
    sql_arena *arena;
    const char *at, *end;              /* of the pattern */
    bool fold, lines, dot_all, free;   /* the modifiers i, m, s, x */
    sql_regex_code *code;
    int count, depth, alternatives;
};

static void sql_regex_fail(sql_regex *regex, const char *why) __attribute__((noreturn));
static void sql_regex_fail(sql_regex *regex, const char *why)
{
    char message[160];
    snprintf(message, sizeof message, "The regular expression of a REGEXMATCH %s.", why);
    sql_fail_plain(regex->arena->env, 400, message);
}

static sql_regex_code *sql_regex_emit(sql_regex *regex, sql_regex_op op)
{
    sql_regex_code *code;
    if (regex->count == SQL_REGEX_MAX) sql_regex_fail(regex, "is too long, or repeats too much");
    code = &regex->code[regex->count++];
    memset(code, 0, sizeof *code);
    code->op = (uint8_t)op;
    code->fold = regex->fold;
    return code;
}

static void sql_regex_add_range(sql_regex *regex, sql_regex_code *code, uint32_t low, uint32_t high)
{
    sql_regex_range *range = (sql_regex_range *)sql_alloc(regex->arena, sizeof *range);
    range->low = low;
    range->high = high;
    range->next = (sql_regex_range *)(uintptr_t)code->set;
    code->set = range;
}

/* \d \w \s and their opposites, of ASCII as in PCRE without its Unicode option. */
static bool sql_regex_class(sql_regex *regex, sql_regex_code *code, char letter)
{
    static const uint32_t digits[] = {'0', '9', 0}, words[] = {'0', '9', 'A', 'Z', '_', '_', 'a', 'z', 0},
                          blanks[] = {'\t', '\r', ' ', ' ', 0};
    const uint32_t *ranges = (letter | 32) == 'd' ? digits : (letter | 32) == 'w' ? words :
                             (letter | 32) == 's' ? blanks : NULL;
    uint32_t next = 0;
    if (!ranges) return false;
    for (; *ranges; ranges += 2) {
        if (letter >= 'a') {
            sql_regex_add_range(regex, code, ranges[0], ranges[1]);
        } else if (ranges[0] > next) {
            sql_regex_add_range(regex, code, next, ranges[0] - 1);
        }
        next = ranges[1] + 1;
    }
    if (letter < 'a') sql_regex_add_range(regex, code, next, 0x10ffff);
    return true;
}

/* After a backslash: the character that is meant. */
static uint32_t sql_regex_escape(sql_regex *regex)
{
    static const char letters[] = "nrtfvae0", values[] = "\n\r\t\f\v\a\x1b";
    const char *known;
    uint32_t c, value = 0;
    int digits = 0;
    if (regex->at == regex->end) sql_regex_fail(regex, "ends with a backslash");
    c = sql_character(&regex->at, regex->end);
    if (c == 'x' || c == 'u') {
        while (digits < (c == 'x' ? 2 : 4) && regex->at < regex->end && sql_hex(*regex->at) >= 0) {
            value = value << 4 | (uint32_t)sql_hex(*regex->at++);
            digits++;
        }
        return value;
    }
    if (c < 0x80 && c && (known = strchr(letters, (int)c)) != NULL)
        return (uint32_t)(unsigned char)values[known - letters];
    if ((c >= '1' && c <= '9') || c == 'k' || c == 'g')
        sql_regex_fail(regex, "has a back reference, which the emulator does not support");
    if (c == 'p' || c == 'P' || c == 'X' || c == 'G' || c == 'K' || c == 'Q' || c == 'R')
        sql_regex_fail(regex, "has an escape that the emulator does not support");
    return c;
}

static void sql_regex_set(sql_regex *regex)
{
    sql_regex_code *code = sql_regex_emit(regex, SQL_R_SET);
    bool first = true;
    if (regex->at < regex->end && *regex->at == '^') {
        code->negated = true;
        regex->at++;
    }
    for (;; first = false) {
        uint32_t low, high;
        if (regex->at == regex->end) sql_regex_fail(regex, "has a '[' without a ']'");
        if (*regex->at == ']' && !first) break;
        if (*regex->at == '[' && regex->at + 1 < regex->end &&
            (regex->at[1] == ':' || regex->at[1] == '.' || regex->at[1] == '='))
            sql_regex_fail(regex, "has a POSIX class, which the emulator does not support");
        low = sql_character(&regex->at, regex->end);
        if (low == '\\') {
            if (regex->at < regex->end && sql_regex_class(regex, code, *regex->at)) {
                regex->at++;
                continue;
            }
            if (regex->at < regex->end && *regex->at == 'b') {
                regex->at++;
                low = '\b';
            } else {
                low = sql_regex_escape(regex);
            }
        }
        high = low;
        if (regex->at + 1 < regex->end && *regex->at == '-' && regex->at[1] != ']') {
            regex->at++;
            high = sql_character(&regex->at, regex->end);
            if (high == '\\') high = sql_regex_escape(regex);
            if (high < low) sql_regex_fail(regex, "has a range whose ends are in the wrong order");
        }
        sql_regex_add_range(regex, code, low, high);
    }
    regex->at++;
}

static void sql_regex_alternatives(sql_regex *regex);

static void sql_regex_group(sql_regex *regex)
{
    bool fold = regex->fold;
    if (++regex->depth > 100) sql_regex_fail(regex, "is nested too deeply");
    if (regex->at < regex->end && *regex->at == '?') {
        regex->at++;
        if (regex->at + 1 < regex->end && *regex->at == 'i' && (regex->at[1] == ':' || regex->at[1] == ')')) {
            regex->fold = true;
            regex->at++;
            if (*regex->at == ')') {                       /* (?i): from here on */
                regex->at++;
                regex->depth--;
                return;
            }
        } else if (regex->at + 1 < regex->end && (*regex->at == 'P' || *regex->at == '<') && regex->at[1] != '=' &&
                   regex->at[1] != '!') {
            while (regex->at < regex->end && *regex->at != '>') regex->at++;   /* a group with a name */
        } else if (regex->at == regex->end || *regex->at != ':') {
            sql_regex_fail(regex, "has a kind of group that the emulator does not support");
        }
        if (regex->at < regex->end) regex->at++;
    }
    sql_regex_alternatives(regex);
    if (regex->at == regex->end || *regex->at != ')') sql_regex_fail(regex, "has a '(' without a ')'");
    regex->at++;
    regex->fold = fold;
    regex->depth--;
}

static void sql_regex_backslash(sql_regex *regex)
{
    char letter = regex->at < regex->end ? *regex->at : '\0';
    static const char letters[] = "bBAzZ";
    static const sql_regex_op ops[] =
        {SQL_R_BOUNDARY, SQL_R_NOT_BOUNDARY, SQL_R_START, SQL_R_END, SQL_R_END_OR_NEWLINE};
    const char *known = letter ? strchr(letters, letter) : NULL;
    if (known) {
        sql_regex_emit(regex, ops[known - letters]);
        regex->at++;
    } else if (letter && strchr("dDwWsS", letter)) {
        sql_regex_code *code = sql_regex_emit(regex, SQL_R_SET);
        sql_regex_class(regex, code, letter);
        regex->at++;
    } else {
        uint32_t c = sql_regex_escape(regex);
        sql_regex_emit(regex, SQL_R_CHAR)->c = regex->fold ? sql_lower(c) : c;
    }
}

static void sql_regex_atom(sql_regex *regex)
{
    uint32_t c = sql_character(&regex->at, regex->end);
    switch (c) {
    case '(': sql_regex_group(regex); break;
    case '[': sql_regex_set(regex); break;
    case '\\': sql_regex_backslash(regex); break;
    case '.': sql_regex_emit(regex, SQL_R_ANY)->c = regex->dot_all ? 0 : '\n'; break;
    case '^': sql_regex_emit(regex, regex->lines ? SQL_R_LINE_START : SQL_R_START); break;
    case '$': sql_regex_emit(regex, regex->lines ? SQL_R_LINE_END : SQL_R_END_OR_NEWLINE); break;
    case '*':
    case '+':
    case '?': sql_regex_fail(regex, "repeats nothing");
    default: sql_regex_emit(regex, SQL_R_CHAR)->c = regex->fold ? sql_lower(c) : c;
    }
}

/* {m}, {m,}, {m,n}; anything else is a brace like any other character. */
static bool sql_regex_braces(sql_regex *regex, int *least, int *most)
{
    const char *at = regex->at + 1;
    int values[2] = {0, 0}, i = 0;
    bool digits = false;
    for (; at < regex->end && *at != '}'; at++) {
        if (*at == ',' && i == 0 && digits) {
            i = 1;
            values[1] = -1;
        } else if (sql_is_digit(*at)) {
            digits = true;
            values[i] = (values[i] < 0 ? 0 : values[i]) * 10 + (*at - '0');
            if (values[i] > 1000) sql_regex_fail(regex, "is too long, or repeats too much");
        } else {
            return false;
        }
    }
    if (at == regex->end || !digits) return false;
    *least = values[0];
    *most = i ? values[1] : values[0];
    if (*most >= 0 && *most < *least) sql_regex_fail(regex, "has a repetition whose ends are in the wrong order");
    regex->at = at + 1;
    return true;
}

/* Opens a place for an instruction in front of the code from `start`. */
static sql_regex_code *sql_regex_insert(sql_regex *regex, int start)
{
    sql_regex_emit(regex, SQL_R_JUMP);
    memmove(&regex->code[start + 1], &regex->code[start], (size_t)(regex->count - 1 - start) * sizeof *regex->code);
    memset(&regex->code[start], 0, sizeof *regex->code);
    return &regex->code[start];
}

static void sql_regex_copy(sql_regex *regex, const sql_regex_code *from, int count)
{
    int i;
    for (i = 0; i < count; i++) *sql_regex_emit(regex, SQL_R_MATCH) = from[i];
}

/* The code from `start` is one atom: makes it match least to most times (-1: no end). Jumps inside it are relative, so
 * it can be copied. */
static void sql_regex_repeat(sql_regex *regex, int start, int least, int most)
{
    int size = regex->count - start, i;
    sql_regex_code *atom = (sql_regex_code *)sql_alloc(regex->arena, (size_t)(size + 1) * sizeof *atom);
    memcpy(atom, &regex->code[start], (size_t)size * sizeof *atom);
    regex->count = start;
    for (i = 0; i < least; i++) sql_regex_copy(regex, atom, size);
    if (most < 0) {
        sql_regex_emit(regex, SQL_R_SPLIT)->to = size + 2;
        sql_regex_copy(regex, atom, size);
        sql_regex_emit(regex, SQL_R_JUMP)->to = -(size + 1);
    }
    for (i = least; i < most; i++) {
        sql_regex_emit(regex, SQL_R_SPLIT)->to = (size + 1) * (most - i);
        sql_regex_copy(regex, atom, size);
    }
}

static void sql_regex_sequence(sql_regex *regex)
{
    while (regex->at < regex->end && *regex->at != '|' && *regex->at != ')') {
        int start = regex->count, least = 1, most = 1;
        if (regex->free && (strchr(" \t\r\n\f\v", *regex->at) || *regex->at == '#')) {
            bool comment = *regex->at == '#';
            do regex->at++;
            while (comment && regex->at < regex->end && regex->at[-1] != '\n');
            continue;
        }
        sql_regex_atom(regex);
        while (regex->free && regex->at < regex->end && strchr(" \t\r\n\f\v", *regex->at)) regex->at++;
        if (regex->at == regex->end) break;
        if (*regex->at == '{' && sql_regex_braces(regex, &least, &most)) {
            regex->at--;
        } else if (*regex->at == '*' || *regex->at == '+' || *regex->at == '?') {
            least = *regex->at == '+';
            most = *regex->at == '?' ? 1 : -1;
        } else {
            continue;
        }
        regex->at++;
        if (regex->at < regex->end && *regex->at == '+')
            sql_regex_fail(regex, "has a possessive quantifier, which the emulator does not support");
        if (regex->at < regex->end && *regex->at == '?') regex->at++;   /* lazy: it matches all the same */
        sql_regex_repeat(regex, start, least, most);
    }
}

static void sql_regex_alternatives(sql_regex *regex)
{
    int start = regex->count;
    sql_regex_sequence(regex);
    if (regex->at < regex->end && *regex->at == '|') {
        sql_regex_code *split;
        int jump;
        if (++regex->alternatives > 1000) sql_regex_fail(regex, "has too many alternatives");
        regex->at++;
        split = sql_regex_insert(regex, start);
        split->op = SQL_R_SPLIT;
        split->to = regex->count - start + 1;
        jump = regex->count;
        sql_regex_emit(regex, SQL_R_JUMP);
        sql_regex_alternatives(regex);
        regex->code[jump].to = regex->count - jump;
    }
}

sql_regex *sql_regex_compile(sql_arena *arena, aiocosmos_str pattern, aiocosmos_str modifiers)
{
    sql_regex *regex = (sql_regex *)sql_zalloc(arena, sizeof *regex);
    size_t i;
    regex->arena = arena;
    regex->at = pattern.ptr;
    regex->end = pattern.ptr + pattern.len;
    regex->code = (sql_regex_code *)sql_alloc(arena, SQL_REGEX_MAX * sizeof *regex->code);
    for (i = 0; i < modifiers.len; i++) {
        switch (modifiers.ptr[i]) {
        case 'i': regex->fold = true; break;
        case 'm': regex->lines = true; break;
        case 's': regex->dot_all = true; break;
        case 'x': regex->free = true; break;
        default: sql_regex_fail(regex, "has a modifier other than i, m, s and x");
        }
    }
    sql_regex_alternatives(regex);
    if (regex->at < regex->end) sql_regex_fail(regex, "has a ')' without a '('");
    sql_regex_emit(regex, SQL_R_MATCH);
    return regex;
}

/* Adds to *looked for each range that it looks at. */
static bool sql_regex_in_set(const sql_regex_code *code, uint32_t c, size_t *looked)
{
    const sql_regex_range *range;
    uint32_t lower = sql_lower(c), upper = sql_upper(c);
    for (range = code->set; range; range = range->next, ++*looked) {
        if (c >= range->low && c <= range->high) return !code->negated;
        if (code->fold && ((lower >= range->low && lower <= range->high) ||
                           (upper >= range->low && upper <= range->high)))
            return !code->negated;
    }
    return code->negated;
}

static bool sql_regex_word(uint32_t c)
{
    return c < 0x80 && (sql_is_digit((char)c) || (sql_is_letter((char)c)));
}

typedef struct sql_regex_run {
    const sql_regex *regex;
    int *list, *next, *stack;          /* instructions waiting for the character at hand, and for the one after it */
    int count, next_count;
    uint32_t *seen, mark;              /* seen[i] == mark: instruction i is on the list being made */
    const char *start, *end;
    bool matched;
} sql_regex_run;

static bool sql_regex_holds(const sql_regex_run *run, const sql_regex_code *code, const char *at)
{
    bool before, after;
    switch (code->op) {
    case SQL_R_START: return at == run->start;
    case SQL_R_END: return at == run->end;
    case SQL_R_END_OR_NEWLINE: return at == run->end || (at + 1 == run->end && *at == '\n');
    case SQL_R_LINE_START: return at == run->start || at[-1] == '\n';
    case SQL_R_LINE_END: return at == run->end || *at == '\n';
    default:
        before = at > run->start && sql_regex_word((unsigned char)at[-1]);
        after = at < run->end && sql_regex_word((unsigned char)*at);
        return (before != after) == (code->op == SQL_R_BOUNDARY);
    }
}

/* Puts an instruction on the next list, and all that is reached from it without reading a character. */
static void sql_regex_reach(sql_regex_run *run, int from, const char *at)
{
    int depth = 0;
    run->stack[depth++] = from;
    while (depth > 0) {
        int i = run->stack[--depth];
        const sql_regex_code *code = &run->regex->code[i];
        if (run->seen[i] == run->mark) continue;
        run->seen[i] = run->mark;
        switch (code->op) {
        case SQL_R_MATCH:
            run->matched = true;
            break;
        case SQL_R_SPLIT:
            run->stack[depth++] = i + code->to;
            run->stack[depth++] = i + 1;
            break;
        case SQL_R_JUMP:
            run->stack[depth++] = i + code->to;
            break;
        case SQL_R_CHAR:
        case SQL_R_ANY:
        case SQL_R_SET:
            run->next[run->next_count++] = i;
            break;
        default:
            if (sql_regex_holds(run, code, at)) run->stack[depth++] = i + 1;
        }
    }
}

bool sql_regex_match(sql_arena *arena, const sql_regex *regex, aiocosmos_str text)
{
    size_t size = (size_t)regex->count;
    int *lists = (int *)sql_alloc(arena, size * 4 * sizeof(int));
    const char *at = text.ptr;
    sql_regex_run run;
    memset(&run, 0, sizeof run);
    run.regex = regex;
    run.list = lists;
    run.next = lists + size;
    run.stack = lists + 2 * size;      /* an instruction pushes two at most, and only when first seen */
    run.seen = (uint32_t *)sql_zalloc(arena, size * sizeof(uint32_t));
    run.mark = 1;
    run.start = text.ptr;
    run.end = text.ptr + text.len;
    for (;;) {
        uint32_t c;
        int *list, i;
        size_t looked = 0;
        sql_regex_reach(&run, 0, at);                      /* a match may start anywhere */
        if (run.matched || at == run.end) return run.matched;
        list = run.list;
        run.list = run.next;
        run.next = list;
        run.count = run.next_count;
        run.next_count = 0;
        run.mark++;
        c = sql_character(&at, run.end);
        for (i = 0; i < run.count; i++) {
            const sql_regex_code *code = &regex->code[run.list[i]];
            bool fits = code->op == SQL_R_ANY ? c != code->c || !code->c :
                        code->op == SQL_R_SET ? sql_regex_in_set(code, c, &looked) :
                        (code->fold ? sql_lower(c) : c) == code->c;
            if (fits) sql_regex_reach(&run, run.list[i] + 1, at);
        }
        sql_spend(arena->env, 1 + (size_t)run.count / 2 + looked / 4);
    }
}
