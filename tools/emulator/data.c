/* data.c: the file that keeps what an emulator has: read once, then only appended to. */
#include "data.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

static bool data_complain(server_data *data, const char *why)
{
    fprintf(stderr, "aiocosmos-emulator: %s: %s\n", data->path, why);
    return false;
}

bool server_data_open(server_data *data, const char *path, bool sync)
{
    data->path = path;
    data->sync = sync;
    data->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (data->fd < 0) return data_complain(data, strerror(errno));
    if (flock(data->fd, LOCK_EX | LOCK_NB) == 0) return true;
    return data_complain(data, "another emulator has it open");
}

static bool data_write(int fd, const void *bytes, size_t len)
{
    const char *at = (const char *)bytes;
    while (len > 0) {
        ssize_t wrote = write(fd, at, len);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) return false;
        at += wrote;
        len -= (size_t)wrote;
    }
    return true;
}

/* What is cut off goes beside the file: it is the half of one request, unless something else has damaged it. */
static bool data_keep_cut(server_data *data, const char *bytes, size_t len, char *path, size_t cap)
{
    char number[16] = "";
    int fd = -1, i, n;
    bool ok;
    for (i = 2; fd < 0; i++) {                             /* what was cut off earlier stays */
        n = snprintf(path, cap, "%s.cut%s", data->path, number);
        if (n < 0 || (size_t)n >= cap) return data_complain(data, "its name is too long");
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 && errno != EEXIST) return data_complain(data, strerror(errno));
        snprintf(number, sizeof number, "%d", i);
    }
    ok = data_write(fd, bytes, len) || data_complain(data, strerror(errno));
    if (close(fd) < 0 && ok) ok = data_complain(data, strerror(errno));
    if (!ok) unlink(path);
    return ok;
}

static bool data_cut(server_data *data, const char *bytes, size_t whole, size_t len)
{
    char path[4096];
    if (!data_keep_cut(data, bytes + whole, len - whole, path, sizeof path)) return false;
    if (ftruncate(data->fd, (off_t)whole) < 0) return data_complain(data, strerror(errno));
    fprintf(stderr, "aiocosmos-emulator: %s: its end was not written whole: %lu bytes are cut off and in %s\n",
            data->path, (unsigned long)(len - whole), path);
    return true;
}

bool server_data_restore(server_data *data, aiocosmos_emulator *emulator)
{
    struct stat state;
    const char *error;
    void *bytes;
    size_t len, whole;
    bool ok = true;
    if (fstat(data->fd, &state) < 0) return data_complain(data, strerror(errno));
    len = (size_t)state.st_size;
    if (len == 0) return true;
    bytes = mmap(NULL, len, PROT_READ, MAP_PRIVATE, data->fd, 0);
    if (bytes == MAP_FAILED) return data_complain(data, strerror(errno));
    whole = aiocosmos_emulator_restore(emulator, bytes, len, &error);
    if (error) {
        fprintf(stderr, "aiocosmos-emulator: %s: %s, at byte %lu\n", data->path, error, (unsigned long)whole);
        ok = false;
    } else if (whole < len) {
        ok = data_cut(data, (const char *)bytes, whole, len);
    }
    munmap(bytes, len);
    return ok;
}

bool server_data_keep(void *user_data, const void *bytes, size_t len)
{
    server_data *data = (server_data *)user_data;
    if (data_write(data->fd, bytes, len) && (!data->sync || fsync(data->fd) == 0)) return true;
    if (!data->failed) data_complain(data, strerror(errno));
    data->failed = true;
    return false;
}

void server_data_close(server_data *data)
{
    if (data->fd >= 0) close(data->fd);
}
