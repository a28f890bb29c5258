/* state.c: how far a command has come, in a file of --state. */
#include "state.h"
#include "io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { STATE_BYTES_MAX = 64 << 20 };       /* thousands of ranges, and a token of each */

bool read_state(tool *t, char **state)
{
    const char *path = t->option[OPT_STATE];
    struct stat about;
    size_t cap = 1, len = 0;
    *state = NULL;
    if (stat(path, &about) == 0) cap += about.st_size < STATE_BYTES_MAX ? (size_t)about.st_size : STATE_BYTES_MAX;
    else if (errno == ENOENT) return true;
    *state = malloc(cap + 1);
    if (!*state || !read_all(t, path, *state, cap, &len)) return false;
    while (len && ((*state)[len - 1] == '\n' || (*state)[len - 1] == '\r')) len--;
    (*state)[len] = 0;
    if (len) return true;
    say(t, "--state %s: the file is empty; remove it to begin anew", path);
    return false;
}

bool write_state(tool *t, const char *state)
{
    const char *path = t->option[OPT_STATE];
    char *beside = malloc(strlen(path) + sizeof ".new");
    FILE *to = NULL;
    bool ok = false;
    if (beside) sprintf(beside, "%s.new", path);
    if (beside) to = fopen(beside, "w");
    if (to) {
        ok = fprintf(to, "%s\n", state) > 0;
        ok = fclose(to) == 0 && ok && rename(beside, path) == 0;
    }
    if (!ok) say(t, "--state %s: cannot write it: %s", path, strerror(errno));
    free(beside);
    return ok;
}
