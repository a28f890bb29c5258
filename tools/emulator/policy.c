/* policy.c: what a container's indexing policy says. */
#include "policy.h"

#include <string.h>

static aiocosmos_json emu_policy_field(aiocosmos_json object, const char *name)
{
    aiocosmos_json found;
    memset(&found, 0, sizeof found);
    if (object.type == AIOCOSMOS_JSON_OBJ) aioc_json_fields(object, &name, 1, &found);
    return found;
}

aiocosmos_json emu_policy(emu_exchange *x, aiocosmos_json_doc *doc)
{
    const emu_resource *resource = &x->container->resource;
    emu_text *text = &x->core->scratch;
    aiocosmos_json none;
    memset(&none, 0, sizeof none);
    emu_text_clear(text);
    emu_put(text, resource->text, resource->text_len);
    emu_puts(text, "}");
    if (text->failed || aioc_json_parse(doc, text->buffer.data, text->buffer.len) != 0) return none;
    return emu_policy_field(aioc_json_root(doc), "indexingPolicy");
}

/* A path without the quotes around its names. 0: it is none. */
static size_t emu_policy_plain(aiocosmos_json path, char plain[EMU_POLICY_PATH])
{
    char text[EMU_POLICY_PATH];
    size_t len, i, n = 0;
    if (path.type != AIOCOSMOS_JSON_STR || path.len > EMU_POLICY_PATH) return 0;
    len = aioc_json_get_str(path, text, sizeof text);
    for (i = 0; i < len; i++)
        if (text[i] != '"') plain[n++] = text[i];
    return n;
}

/* How much of the path the pattern names, which is the more exact the more that is; 0: it is of another. */
static size_t emu_policy_fits(aiocosmos_json pattern, const char *path)
{
    char plain[EMU_POLICY_PATH];
    size_t n = emu_policy_plain(pattern, plain);
    if (n == 0) return 0;
    if (plain[n - 1] == '*') return strncmp(plain, path, n - 1) == 0 ? n : 0;
    return n == strlen(path) && memcmp(plain, path, n) == 0 ? n + 1 : 0;
}

static size_t emu_policy_best_fit(aiocosmos_json patterns, const char *path)
{
    aiocosmos_json one;
    size_t best = 0;
    memset(&one, 0, sizeof one);
    while (patterns.type == AIOCOSMOS_JSON_ARR && aioc_json_next(patterns, NULL, &one)) {
        size_t fits = emu_policy_fits(emu_policy_field(one, "path"), path);
        if (fits > best) best = fits;
    }
    return best;
}

/* The more exact of included and excluded paths decides; without a policy everything is indexed. */
bool emu_policy_indexes(aiocosmos_json policy, const char *path)
{
    aiocosmos_json mode = emu_policy_field(policy, "indexingMode");
    aiocosmos_json included = emu_policy_field(policy, "includedPaths");
    size_t out = emu_policy_best_fit(emu_policy_field(policy, "excludedPaths"), path);
    size_t in = included.type == AIOCOSMOS_JSON_ARR ? emu_policy_best_fit(included, path) : 1;
    if (aioc_mem_same_nocase(emu_str(mode.ptr, mode.len), aioc_mem_str("\"none\""))) return false;
    if (strcmp(path, "/id/?") == 0 || strcmp(path, "/_ts/?") == 0) return true;    /* in all indexes */
    return in > out;
}

bool emu_policy_indexes_value(aiocosmos_json policy, const char *path)
{
    char pattern[EMU_POLICY_PATH];
    size_t len = strlen(path);
    if (len + 3 > sizeof pattern) return false;
    memcpy(pattern, path, len);
    memcpy(pattern + len, "/?", 3);
    return emu_policy_indexes(policy, pattern);
}

bool emu_policy_composes(aiocosmos_json policy, const char *const *sorted, size_t count)
{
    aiocosmos_json all = emu_policy_field(policy, "compositeIndexes"), index, part;
    memset(&index, 0, sizeof index);
    while (all.type == AIOCOSMOS_JSON_ARR && aioc_json_next(all, NULL, &index)) {
        size_t i = 0, same = 0, other = 0;
        if (index.type != AIOCOSMOS_JSON_ARR || aioc_json_count(index) != count) continue;
        memset(&part, 0, sizeof part);
        while (aioc_json_next(index, NULL, &part)) {
            aiocosmos_json path = emu_policy_field(part, "path"), order = emu_policy_field(part, "order");
            bool down = order.len > 2 && (order.ptr[1] | 32) == 'd';
            const char *blank = strrchr(sorted[i], ' ');
            char plain[EMU_POLICY_PATH];
            size_t len = emu_policy_plain(path, plain);
            if (len != (size_t)(blank - sorted[i]) || memcmp(plain, sorted[i], len) != 0) break;
            if (down == (blank[1] == 'D')) same++;
            else other++;
            i++;
        }
        if (same == count || other == count) return true;
    }
    return false;
}
