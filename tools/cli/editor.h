/* editor.h: a line that somebody types, with a history and completion. */
#ifndef CLI_EDITOR_H
#define CLI_EDITOR_H

#include <stdbool.h>
#include <stddef.h>

enum { LINE_BYTES = 8192, HISTORY_LINES = 500, CANDIDATES_MAX = 200 };

typedef struct candidates {
    char *names[CANDIDATES_MAX];           /* what the last word may become; freed by the editor */
    size_t count;
} candidates;

/* Zeroed but for what the user gives: */
typedef struct editor {
    /* The user's: what the word that ends at `len` may become; *begin is where it begins. */
    void (*complete)(void *user_data, const char *line, size_t len, size_t *begin, candidates *out);
    void *user_data;
    char line[LINE_BYTES];                 /* NUL-terminated */
    size_t len, at;                        /* where the cursor is */
    char *history[HISTORY_LINES];
    size_t history_count, history_at;
    char typed[LINE_BYTES];                /* what was being typed when the history was looked at */
    bool tabbed;                           /* the last key was a tab that could add nothing */
} editor;

/* The next line in e->line; of what is no terminal, without a prompt. False: there is none any more. */
bool editor_read(editor *e, const char *prompt);
void editor_remember(editor *e, const char *line);
void editor_free(editor *e);

#endif
