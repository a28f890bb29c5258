/* The driver of a fuzzer where there is no libFuzzer: gives it files, without arguments those of its part of the corpus.
 * Each is given whole, and cut short at up to REPLAY_CUTS places, from memory that ends where the input does. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef REPLAY_CUTS
#define REPLAY_CUTS 32
#endif

enum { FILES_MAX = 4096, PATH_BYTES = 512, FILE_BYTES_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void give(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    if (!copy) abort();
    if (len) memcpy(copy, bytes, len);
    LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

/* False: it cannot be read. A failure ends the program, so that the last name printed is of the file that led to it. */
static int replay(const char *path)
{
    static uint8_t bytes[FILE_BYTES_MAX];
    size_t len, i, last = SIZE_MAX;
    FILE *file = fopen(path, "rb");
    if (!file) {
        printf("%s cannot be read\n", path);
        return 0;
    }
    len = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    printf("%s\n", path);
    give(bytes, len);
    for (i = 0; i < REPLAY_CUTS; i++) {
        size_t cut = len * i / REPLAY_CUTS;
        if (cut != last) give(bytes, cut);
        last = cut;
    }
    return 1;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((const char *)a, (const char *)b);
}

int main(int argc, char **argv)
{
    static char paths[FILES_MAX][PATH_BYTES];
    const char *program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
    const char *name = strncmp(program, "fuzz_", 5) == 0 ? program + 5 : program;
    int i, count = 0, passed = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (i = 1; i < argc && count < FILES_MAX; i++) snprintf(paths[count++], PATH_BYTES, "%s", argv[i]);
    if (argc == 1) {
        char folder[PATH_BYTES / 2];
        struct dirent *entry;
        DIR *dir;
        snprintf(folder, sizeof folder, "tests/fuzz/corpus/%s", name);
        dir = opendir(folder);
        while (dir && (entry = readdir(dir)) != NULL && count < FILES_MAX)
            if (entry->d_name[0] != '.') snprintf(paths[count++], PATH_BYTES, "%s/%.200s", folder, entry->d_name);
        if (dir) closedir(dir);
        qsort(paths, (size_t)count, PATH_BYTES, by_name);
    }
    for (i = 0; i < count; i++) passed += replay(paths[i]);
    if (count == 0) printf("%s: no inputs: run it from the root of the repository\n", program);
    printf("%s: %d passed, %d failed\n", program, passed, count == 0 ? 1 : count - passed);
    return count > 0 && passed == count ? 0 : 1;
}
