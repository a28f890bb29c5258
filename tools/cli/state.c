/* state.c: how far a command has come, in a file of --state. */
#include "state.h"
#include "io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STATE_BYTES_MAX = 64 << 20 };       /* thousands of ranges, and a token of each */

bool read_state(tool *t, char **state)
{
    const char *path = t->option[OPT_STATE];
    struct stat about;
    size_t cap = 1, len = 0;
    *state = NULL;
    if (stat(path, &about) == 0) {
        if (!S_ISREG(about.st_mode)) return say(t, "--state %s: a state can be kept in a file only", path), false;
        cap += about.st_size < STATE_BYTES_MAX ? (size_t)about.st_size : STATE_BYTES_MAX;
    } else if (errno == ENOENT) {
        return true;
    }
    *state = malloc(cap + 1);
    if (!*state || !read_all(t, path, *state, cap, &len)) return false;
    while (len && ((*state)[len - 1] == '\n' || (*state)[len - 1] == '\r')) len--;
    (*state)[len] = 0;
    if (len && ends_within_line(STDOUT_FILENO, "/dev/fd/1")) putchar('\n');      /* what it began is printed anew */
    if (len) return true;
    say(t, "--state %s: the file is empty; remove it to begin anew", path);
    return false;
}

/* What has been printed, if to a file. */
static bool is_on_disk(void)
{
    return fsync(STDOUT_FILENO) == 0 || (errno != EIO && errno != ENOSPC && errno != EDQUOT);
}

/* All of it, on the disk behind what it is about, in the file's place. */
static bool put_state(int fd, const char *beside, const char *path, const char *state)
{
    FILE *to = fdopen(fd, "w");
    bool ok = is_on_disk() && to && fprintf(to, "%s\n", state) > 0 && fflush(to) == 0 && fsync(fd) == 0;
    if (to) ok = fclose(to) == 0 && ok;
    else close(fd);
    return ok && rename(beside, path) == 0;
}

/* There are keys and tokens in it: the file is the user's alone, as mkstemp() makes it; and no other run's. */
bool write_state(tool *t, const char *state)
{
    const char *path = t->option[OPT_STATE];
    size_t cap = strlen(path) + sizeof ".XXXXXX";
    char *beside = malloc(cap);
    int fd = -1, error;
    bool ok;
    if (beside) {
        snprintf(beside, cap, "%s.XXXXXX", path);
        fd = mkstemp(beside);
    }
    ok = fd >= 0 && put_state(fd, beside, path, state);
    error = errno;
    if (fd >= 0 && !ok) unlink(beside);
    if (!ok) say(t, "--state %s: cannot write it: %s", path, strerror(error));
    free(beside);
    return ok;
}
