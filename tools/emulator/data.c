/* data.c: the file that keeps what an emulator has: read once, then only appended to. Where most of it has changed or
 * gone since, it is written anew before that. */
#include "data.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define DATA_REWRITE_LEAST ((size_t)64 * 1024)             /* bytes of a file that is worth it */

static bool data_complain(server_data *data, const char *why)
{
    fprintf(stderr, "aiocosmos-emulator: %s: %s\n", data->path, why);
    return false;
}

/* Whether the file is still the one of this name: another emulator may have put a new one there. */
static bool data_is_there(const server_data *data)
{
    struct stat ours, there;
    return fstat(data->fd, &ours) == 0 && stat(data->path, &there) == 0 && ours.st_ino == there.st_ino &&
           ours.st_dev == there.st_dev;
}

bool server_data_open(server_data *data, const char *path, bool sync)
{
    data->path = path;
    data->sync = sync;
    data->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (data->fd < 0) return data_complain(data, strerror(errno));
    if (flock(data->fd, LOCK_EX | LOCK_NB) == 0 && data_is_there(data)) return true;
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

static bool data_keep_anew(void *user_data, const void *bytes, size_t len)
{
    return data_write(*(int *)user_data, bytes, len);
}

/* The directory too has to know of the new file before the old one may be missed. */
static void data_sync_directory(const char *real)
{
    char directory[PATH_MAX];
    int fd;
    snprintf(directory, sizeof directory, "%.*s/", (int)(strrchr(real, '/') - real), real);
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

/* Another file is written whole, and is on the disk, before it takes this one's name; whatever fails or breaks off
 * until then, this one is as it was. One that was begun and left is written over. */
static void data_rewrite(server_data *data, aiocosmos_emulator *emulator, const void *bytes, size_t len)
{
    char real[PATH_MAX], path[PATH_MAX + 4];
    struct stat old, anew;
    int fd;
    bool ok;
    if (!realpath(data->path, real)) return;               /* where it is a link, that stays */
    snprintf(path, sizeof path, "%s.new", real);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    ok = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(data->fd, &old) == 0 &&
         fchmod(fd, old.st_mode & 0777) == 0 &&
         aiocosmos_emulator_rewrite(emulator, bytes, len, data_keep_anew, &fd) && fsync(fd) == 0 &&
         fstat(fd, &anew) == 0 && rename(path, real) == 0;
    if (!ok) {
        fprintf(stderr, "aiocosmos-emulator: %s: it could not be written anew, and stays as large as it is: %s\n",
                data->path, strerror(errno));
        if (fd >= 0) {
            unlink(path);
            close(fd);
        }
        return;
    }
    data_sync_directory(real);
    close(data->fd);
    data->fd = fd;
    fprintf(stderr, "aiocosmos-emulator: %s: written anew: %lu bytes instead of %lu\n", data->path,
            (unsigned long)anew.st_size, (unsigned long)len);
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
    if (ok && whole > DATA_REWRITE_LEAST && aiocosmos_emulator_needs(emulator, bytes, whole) < whole / 2)
        data_rewrite(data, emulator, bytes, whole);
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
