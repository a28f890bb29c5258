/* profile.c: accounts by a name, kept in the user's config directory: a file each, with a connection string in it, that
 * nobody else may read. */
#include "profile.h"
#include "io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

enum { FILE_NAME_BYTES = 4096, NAME_MAX_BYTES = 64, CTRL_C = 3 };

/*--- Files --------------------------------------------------------------------*/

/* ".../aiocosmos", or a file in it; what is above it may have to be made, too. False: it cannot be named. */
static bool profile_path(tool *t, const char *name, char *out, size_t cap)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    bool given = config && *config == '/';
    int len = snprintf(out, cap, "%s%s/aiocosmos%s%s", given ? config : home ? home : "", given ? "" : "/.config",
                       *name ? "/" : "", name);
    if ((given || (home && *home == '/')) && len > 0 && (size_t)len < cap) return true;
    return say(t, "there is no config directory: HOME is not set"), false;
}

static bool is_name(tool *t, const char *name)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t len = strlen(name);
    if (len && len <= NAME_MAX_BYTES && name[strspn(name, letters)] == 0 && *name != '.') return true;
    return say(t, "'%s' is no name of a profile: letters, digits, '-', '_' and '.'", name), false;
}

/* Each directory on the way, for nobody else. */
static bool make_directories(char *path)
{
    char *slash;
    for (slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(path, 0700) != 0 && errno != EEXIST) return *slash = '/', false;
        *slash = '/';
    }
    return true;
}

bool config_file(tool *t, const char *name, char *out, size_t cap)
{
    return profile_path(t, name, out, cap) && make_directories(out);
}

/* What others can read, or have written, is no secret of ours. */
static bool is_private(tool *t, const char *path, int fd)
{
    struct stat about;
    bool known = fstat(fd, &about) == 0;
    if (known && !S_ISREG(about.st_mode)) return say(t, "%s: this is no file", path), false;
    if (known && about.st_uid == geteuid() && (about.st_mode & 077) == 0) return true;
    say(t, "%s: others can read it, or it is somebody else's: chown and chmod 600 it, and better change the key", path);
    return false;
}

bool read_profile(tool *t, const char *name, char *out, size_t cap)
{
    char path[FILE_NAME_BYTES];
    ssize_t got = -1;
    int fd;
    if (!is_name(t, name) || !profile_path(t, name, path, sizeof path)) return false;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);    /* a pipe would be waited for */
    if (fd < 0 && errno != ENOENT) return say(t, "cannot read %s: %s", path, strerror(errno)), false;
    if (fd < 0) {
        say(t, "there is no profile '%s': no file %s", name, path);
        fputs("See 'aiocosmos profile list' and 'aiocosmos profile add'.\n", stderr);
        return false;
    }
    if (is_private(t, path, fd)) {
        got = read(fd, out, cap - 1);
        if (got < 0) say(t, "cannot read %s: %s", path, strerror(errno));
    }
    close(fd);
    if (got < 0) return false;
    out[got] = 0;
    out[strcspn(out, "\r\n")] = 0;
    return true;
}

/*--- Commands -----------------------------------------------------------------*/

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_shown(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

int profile_list(tool *t)
{
    char path[FILE_NAME_BYTES], text[PROFILE_BYTES];
    struct dirent **entries = NULL;
    int status = EXIT_DONE, count, i;
    if (!profile_path(t, "", path, sizeof path)) return EXIT_REFUSED;
    count = scandir(path, &entries, is_shown, by_name);
    for (i = 0; i < count; i++) {
        const char *name = entries[i]->d_name, *endpoint;
        if (read_profile(t, name, text, sizeof text)) {
            endpoint = strstr(text, "AccountEndpoint=");
            endpoint = endpoint ? endpoint + 16 : "";
            fputs("{\"name\":", stdout);
            put_string(stdout, name, strlen(name));
            fputs(",\"endpoint\":", stdout);
            put_string(stdout, endpoint, strcspn(endpoint, ";"));
            fputs("}\n", stdout);
        } else {
            status = EXIT_REFUSED;
        }
        free(entries[i]);
    }
    free(entries);
    if (count <= 0) say(t, "no account has a name yet: 'aiocosmos profile add' gives one");
    return stdout_works(t) ? status : EXIT_REFUSED;
}

/* Up to the end of the line. False: Ctrl-C came first. */
static bool read_line(char *out, size_t cap)
{
    size_t len = 0;
    int c;
    while ((c = getchar()) != EOF && c != '\n' && c != CTRL_C && len + 1 < cap) out[len++] = (char)c;
    out[len] = 0;
    out[strcspn(out, "\r")] = 0;
    return c != CTRL_C;
}

bool is_local(const char *endpoint)
{
    const char *host = strstr(endpoint, "://");
    if (!host) return false;
    host += 3;
    return strncmp(host, "localhost", 9) == 0 || strncmp(host, "127.", 4) == 0 || strncmp(host, "[::1]", 5) == 0;
}

/* From a pipe, or from somebody at a terminal, which does not show it from before it is asked for. Ctrl-C ends the line
 * there, not us: the terminal is to be left as it was. Without one an emulator has the key of all emulators. */
static bool ask_for_key(tool *t, const char *endpoint, char *key, size_t cap)
{
    struct termios before, silent;
    bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0, ok;
    if (!stdin_is_free(t)) return false;
    if (terminal) {
        silent = before;
        silent.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
        silent.c_cc[VEOL] = CTRL_C;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
        fprintf(stderr, "The account's key (it is not shown%s): ",
                is_local(endpoint) ? "; nothing: that of emulators" : "");
    }
    ok = read_line(key, cap);
    if (ok && !*key && is_local(endpoint)) snprintf(key, cap, "%s", AIOCOSMOS_EMULATOR_KEY);
    ok = ok && *key;
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        fputc('\n', stderr);
    }
    if (!ok) say(t, "no key was given: type it, pipe it in, or give --key-file FILE");
    return ok;
}

/* The connection string to be kept, by what was given. */
static bool compose(tool *t, char *out, size_t cap)
{
    const char *whole = t->option[OPT_CONNECTION_STRING], *endpoint = t->option[OPT_ENDPOINT];
    const char *key = t->option[OPT_KEY];
    size_t len = 0;
    int used;
    if (has(t, OPT_TOKEN)) return say(t, "--token: a token ends too soon to be kept; give the key"), false;
    if (!whole == !endpoint) return say(t, "give --endpoint URL, or --connection-string S"), false;
    if (whole && (key || has(t, OPT_KEY_FILE)))
        return say(t, "--connection-string names endpoint and key: give it alone"), false;
    if (key && has(t, OPT_KEY_FILE)) return say(t, "--key and --key-file: give one of them"), false;
    if (whole) return snprintf(out, cap, "%s", whole) < (int)cap || (say(t, "it is too long"), false);
    if (has(t, OPT_KEY_FILE)) {
        if (!read_all(t, t->option[OPT_KEY_FILE], t->key, sizeof t->key, &len)) return false;
        t->key[len] = 0;
        t->key[strcspn(t->key, "\r\n ")] = 0;
        key = t->key;
    } else if (!key) {
        if (!ask_for_key(t, endpoint, t->key, sizeof t->key)) return false;
        key = t->key;
    }
    used = snprintf(out, cap, "AccountEndpoint=%s;AccountKey=%s;", endpoint, key);
    return used < (int)cap || (say(t, "endpoint and key are too long"), false);
}

/* Whether it is one that a client takes. */
static bool is_good(tool *t, const char *text)
{
    aiocosmos_options o = {0};
    char why[256];
    o.connection_string = text;
    o.insecure = o.allow_http = true;      /* this is about the text alone */
    if (aiocosmos_create(&o, &t->client, why, sizeof why) == 0) {
        aiocosmos_destroy(t->client);
        t->client = NULL;
        return true;
    }
    return say(t, "%s", why), false;
}

int profile_add(tool *t)
{
    const char *name = t->operand[0];
    char path[FILE_NAME_BYTES], text[PROFILE_BYTES];
    bool ok;
    FILE *to;
    int fd, error;
    if (!is_name(t, name) || !profile_path(t, name, path, sizeof path) || !compose(t, text, sizeof text) ||
        !is_good(t, text)) return see_help(t);
    fd = make_directories(path) ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    to = fd >= 0 ? fdopen(fd, "w") : NULL;
    ok = to && fprintf(to, "%s\n", text) > 0;
    if (to) ok = fclose(to) == 0 && ok;
    if (ok) return EXIT_DONE;
    error = errno;
    if (fd >= 0) unlink(path);
    if (fd < 0 && error == EEXIST) say(t, "there is a profile '%s' already: delete it first", name);
    else say(t, "cannot write %s: %s", path, strerror(error));
    return EXIT_REFUSED;
}

int profile_delete(tool *t)
{
    char path[FILE_NAME_BYTES];
    if (!is_name(t, t->operand[0]) || !profile_path(t, t->operand[0], path, sizeof path)) return see_help(t);
    if (unlink(path) == 0) return EXIT_DONE;
    say(t, "there is no profile '%s': %s: %s", t->operand[0], path, strerror(errno));
    return EXIT_REFUSED;
}
