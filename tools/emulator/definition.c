/* definition.c: what the definition of a container may say. */
#include "definition.h"

#include <string.h>

static bool emu_is_absent(aiocosmos_json value)
{
    return value.type == AIOCOSMOS_JSON_NONE || value.type == AIOCOSMOS_JSON_NULL;
}

/* The service takes no property that it does not know: one that is misspelt would make another container than was
 * meant, and no word of it. of: what the object is, or "" for the container itself. */
static bool emu_names_known(emu_exchange *x, aiocosmos_json object, const char *of, const char *const *names,
                            size_t count)
{
    aiocosmos_json key, value;
    memset(&value, 0, sizeof value);
    while (object.type == AIOCOSMOS_JSON_OBJ && aioc_json_next(object, &key, &value)) {
        aiocosmos_str name = emu_str(key.ptr + 1, key.len - 2);
        size_t i = 0;
        while (i < count && !aioc_json_is_str(key, names[i])) i++;
        if (i == count)
            return emu_refuse(x, 400, 0, "The input content is invalid because the property '%.*s'%s%s is unknown. "
                              "Ensure to provide valid properties.", EMU_CUT(name, 100), *of ? " of " : "", of);
    }
    return true;
}

/* Whether a value is absent, or is one of these words. */
static bool emu_is_word(aiocosmos_json value, const char *const *words, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++)
        if (aioc_json_is_str(value, words[i])) return true;
    return value.type == AIOCOSMOS_JSON_NONE;
}

/* Copies a JSON string to the container's definition; `to` is then a view of it. Space was made before. */
static void emu_define(emu_container *container, size_t *used, aiocosmos_json value, aiocosmos_str *to)
{
    size_t len = aioc_json_get_str(value, container->definition + *used, container->definition_len - *used);
    *to = emu_str(container->definition + *used, len);
    *used += len + 1;
}

static bool emu_path_ok(aiocosmos_str path)
{
    char name[256];
    aiocosmos_str rest = path;
    do {
        if (!aioc_protocol_path_step(&rest, name, sizeof name)) return false;
    } while (rest.len);
    return true;
}

/* Whether two paths, which are well-formed, are one, however their names are quoted. */
static bool emu_same_path(aiocosmos_str a, aiocosmos_str b)
{
    char one[256], other[256];
    while (a.len && b.len)
        if (!aioc_protocol_path_step(&a, one, sizeof one) || !aioc_protocol_path_step(&b, other, sizeof other) ||
            strcmp(one, other) != 0) return false;
    return a.len == b.len;
}

/* What an earlier emulator has taken is brought back. */
static bool emu_is_restoring(const emu_exchange *x)
{
    return x->store->clock.stands_ms != 0;
}

static bool emu_define_key(emu_exchange *x, emu_container *container, aiocosmos_json key, size_t *used)
{
    static const char *const names[] = { "paths", "kind", "version", "systemKey" };
    aiocosmos_json found[4], path;
    int64_t version = 1;
    size_t count, i;
    bool multi;
    if (key.type != AIOCOSMOS_JSON_OBJ)
        return emu_refuse(x, 400, 0, "The partition key definition is missing: 'partitionKey' has to be an "
                          "object with 'paths'.");
    if (!emu_names_known(x, key, "partitionKey", names, 4)) return false;
    aioc_json_fields(key, names, 4, found);
    count = aioc_json_count(found[0]);
    multi = aioc_json_is_str(found[1], "MultiHash");
    if (found[0].type != AIOCOSMOS_JSON_ARR || count < 1 || count > EMU_LEVELS || (count > 1 && !multi))
        return emu_refuse(x, 400, 0, "The partition key component definition is invalid: 'paths' has to have one path, "
                          "or, of kind MultiHash, up to three.");
    if (found[1].type != AIOCOSMOS_JSON_NONE && !multi && !aioc_json_is_str(found[1], "Hash"))
        return emu_refuse(x, 400, 0, "The partition key's kind has to be Hash or MultiHash.");
    if (aioc_json_is_str(found[2], "V2")) version = 2;     /* as Java says it */
    else if (!aioc_json_is_str(found[2], "V1") && !emu_is_absent(found[2]) &&
             (!aioc_json_get_i64(found[2], &version) || version < 1 || version > 2))
        return emu_refuse(x, 400, 0, "The partition key's version has to be 1 or 2.");
    if (multi && version != 2)
        return emu_refuse(x, 400, 0, "A partition key of kind MultiHash has to be of version 2.");
    container->key.kind = multi ? AIOC_PROTOCOL_MULTI_HASH : AIOC_PROTOCOL_HASH;
    container->key.version = (uint8_t)version;
    memset(&path, 0, sizeof path);
    while (aioc_json_next(found[0], NULL, &path)) {
        aiocosmos_str *to = &container->key_path[container->key.path_count++];
        if (path.type == AIOCOSMOS_JSON_STR) emu_define(container, used, path, to);
        if (path.type != AIOCOSMOS_JSON_STR || !emu_path_ok(*to))
            return emu_refuse(x, 400, 0, "The partition key component definition path '%.*s' could not be accepted, "
                              "failed near position '0'. Partition key paths must contain only valid characters and "
                              "not contain a trailing slash or wildcard character.", EMU_CUT(path, 100));
        for (i = 0; i + 1 < container->key.path_count && !emu_is_restoring(x); i++)
            if (emu_same_path(container->key_path[i], *to))
                return emu_refuse(x, 400, 0, "The partition key component definition path '%.*s' could not be "
                                  "accepted: it is there twice. Each path of a partition key has to be another one.",
                                  EMU_CUT(path, 100));
    }
    return true;
}

static bool emu_define_unique(emu_exchange *x, emu_container *container, aiocosmos_json policy, size_t *used)
{
    static const char *const keys[] = { "uniqueKeys" }, *const paths[] = { "paths" };
    aiocosmos_json list, key, path;
    size_t count;
    if (emu_is_absent(policy)) return true;
    if (!emu_names_known(x, policy, "uniqueKeyPolicy", keys, 1)) return false;
    memset(&list, 0, sizeof list);
    aioc_json_fields(policy, keys, 1, &list);
    if (policy.type == AIOCOSMOS_JSON_OBJ && emu_is_absent(list)) return true;   /* Java writes {} for none */
    if (policy.type != AIOCOSMOS_JSON_OBJ || list.type != AIOCOSMOS_JSON_ARR)
        return emu_refuse(x, 400, 0, "The unique key policy is invalid: it has to be an object with 'uniqueKeys', an "
                          "array.");
    count = aioc_json_count(list);
    if (count > EMU_UNIQUE_KEYS)
        return emu_refuse(x, 400, 0, "The unique key policy has more than %d unique keys.", EMU_UNIQUE_KEYS);
    if (count == 0) return true;
    container->unique = (emu_unique_key *)aioc_mem_zalloc(&x->store->memory, count * sizeof *container->unique);
    if (!container->unique) return emu_no_memory(x);
    container->unique_count = count;
    memset(&key, 0, sizeof key);
    for (count = 0; aioc_json_next(list, NULL, &key); count++) {
        emu_unique_key *to = &container->unique[count];
        aiocosmos_json found;
        memset(&found, 0, sizeof found);
        memset(&path, 0, sizeof path);
        if (!emu_names_known(x, key, "a unique key", paths, 1)) return false;
        if (key.type == AIOCOSMOS_JSON_OBJ) aioc_json_fields(key, paths, 1, &found);
        while (aioc_json_next(found, NULL, &path) && path.type == AIOCOSMOS_JSON_STR && to->paths < EMU_UNIQUE_PATHS) {
            emu_define(container, used, path, &to->path[to->paths]);
            if (!emu_path_ok(to->path[to->paths])) break;
            to->paths++;
        }
        if (to->paths == 0 || to->paths != aioc_json_count(found))
            return emu_refuse(x, 400, 0, "The unique key policy is invalid: each key has to have one to %d paths.",
                              EMU_UNIQUE_PATHS);
    }
    return true;
}

static bool emu_paths_ok(aiocosmos_json list)
{
    static const char *const names[] = { "path" };
    aiocosmos_json value, path;
    memset(&value, 0, sizeof value);
    if (!emu_is_absent(list) && list.type != AIOCOSMOS_JSON_ARR) return false;
    while (list.type == AIOCOSMOS_JSON_ARR && aioc_json_next(list, NULL, &value)) {
        memset(&path, 0, sizeof path);
        if (value.type == AIOCOSMOS_JSON_OBJ) aioc_json_fields(value, names, 1, &path);
        if (path.type != AIOCOSMOS_JSON_STR || path.len < 3 || path.ptr[1] != '/') return false;
    }
    return true;
}

/* Absent, or one of these words, which SDKs write with a capital or without. */
static bool emu_is_word_of_sdks(aiocosmos_json value, const char *const *words, size_t count)
{
    size_t i;
    if (value.type != AIOCOSMOS_JSON_STR) return emu_is_absent(value);
    for (i = 0; i < count; i++)
        if (aioc_mem_same_nocase(emu_str(value.ptr + 1, value.len - 2), aioc_mem_str(words[i]))) return true;
    return false;
}

/* Of each object in a list. */
static bool emu_elements_known(emu_exchange *x, aiocosmos_json list, const char *of, const char *const *names,
                               size_t count)
{
    aiocosmos_json value;
    memset(&value, 0, sizeof value);
    while (list.type == AIOCOSMOS_JSON_ARR && aioc_json_next(list, NULL, &value))
        if (!emu_names_known(x, value, of, names, count)) return false;
    return true;
}

static bool emu_composite_ok(emu_exchange *x, aiocosmos_json indexes)
{
    static const char *const names[] = { "path", "order" }, *const orders[] = { "ascending", "descending" };
    aiocosmos_json index, part, found[2];
    memset(&index, 0, sizeof index);
    if (emu_is_absent(indexes)) return true;
    if (indexes.type != AIOCOSMOS_JSON_ARR) return false;
    while (aioc_json_next(indexes, NULL, &index)) {
        if (!emu_elements_known(x, index, "a composite index", names, 2)) return false;
        if (index.type != AIOCOSMOS_JSON_ARR || !emu_paths_ok(index)) return false;
        memset(&part, 0, sizeof part);
        while (aioc_json_next(index, NULL, &part)) {
            aioc_json_fields(part, names, 2, found);
            if (!emu_is_word_of_sdks(found[1], orders, 2)) return false;
        }
    }
    return true;
}

/* Of places on a plane, which has no end, each path's has to be said: its index is of that. */
static bool emu_box_ok(emu_exchange *x, aiocosmos_json box, bool flat)
{
    static const char *const names[] = { "xmin", "ymin", "xmax", "ymax" };
    aiocosmos_json found[4];
    double side[4];
    size_t i;
    if (emu_is_absent(box))
        return !flat || emu_refuse(x, 400, 0, "The indexing policy is invalid: in a container of geometry each path of "
                                   "'spatialIndexes' needs a 'boundingBox'.");
    if (!emu_names_known(x, box, "a boundingBox", names, 4)) return false;
    memset(found, 0, sizeof found);
    if (box.type == AIOCOSMOS_JSON_OBJ) aioc_json_fields(box, names, 4, found);
    for (i = 0; i < 4 && aioc_json_get_f64(found[i], &side[i]); i++) continue;
    return (i == 4 && side[0] < side[2] && side[1] < side[3]) ||
           emu_refuse(x, 400, 0, "The indexing policy is invalid: a 'boundingBox' has to have 'xmin', 'ymin', 'xmax' "
                      "and 'ymax', numbers, of which the last two are the greater.");
}

static bool emu_spatial_ok(emu_exchange *x, aiocosmos_json indexes, bool flat)
{
    static const char *const names[] = { "path", "types", "boundingBox" };
    static const char *const types[] = { "Point", "LineString", "Polygon", "MultiPolygon" };
    aiocosmos_json index, type, found[3];
    memset(&index, 0, sizeof index);
    if (!emu_elements_known(x, indexes, "a spatial index", names, 3) || !emu_paths_ok(indexes)) return false;
    while (indexes.type == AIOCOSMOS_JSON_ARR && aioc_json_next(indexes, NULL, &index)) {
        bool ok;
        aioc_json_fields(index, names, 3, found);
        ok = emu_is_absent(found[1]) || found[1].type == AIOCOSMOS_JSON_ARR;
        memset(&type, 0, sizeof type);
        while (ok && found[1].type == AIOCOSMOS_JSON_ARR && aioc_json_next(found[1], NULL, &type))
            ok = type.type == AIOCOSMOS_JSON_STR && emu_is_word_of_sdks(type, types, 4);
        if (!ok)
            return emu_refuse(x, 400, 0, "The indexing policy is invalid: 'types' of a spatial index have to be an "
                              "array of Point, LineString, Polygon and MultiPolygon.");
        if (!emu_box_ok(x, found[2], flat)) return false;
    }
    return true;
}

/* A policy that makes no sense is refused, and what is misspelt in one named. */
static bool emu_indexing_ok(emu_exchange *x, aiocosmos_json policy, bool flat)
{
    enum { MODE, AUTOMATIC, INCLUDED, EXCLUDED, COMPOSITE, SPATIAL, VECTOR, FULL_TEXT, NAMES };
    static const char *const names[NAMES] = { "indexingMode", "automatic", "includedPaths", "excludedPaths",
                                              "compositeIndexes", "spatialIndexes", "vectorIndexes",
                                              "fullTextIndexes" };
    static const char *const modes[] = { "consistent", "none", "lazy" };
    static const char *const of_included[] = { "path", "indexes", "isFullIndex" };
    aiocosmos_json found[NAMES];
    bool truth;
    if (emu_is_absent(policy)) return true;
    memset(found, 0, sizeof found);
    if (!emu_names_known(x, policy, "indexingPolicy", names, NAMES)) return false;
    if (policy.type == AIOCOSMOS_JSON_OBJ) aioc_json_fields(policy, names, NAMES, found);
    if (!emu_elements_known(x, found[INCLUDED], "an included path", of_included, 3) ||
        !emu_elements_known(x, found[EXCLUDED], "an excluded path", of_included, 3)) return false;
    if (policy.type == AIOCOSMOS_JSON_OBJ && emu_is_word_of_sdks(found[MODE], modes, 3) &&
        (emu_is_absent(found[AUTOMATIC]) || aioc_json_get_bool(found[AUTOMATIC], &truth)) &&
        emu_paths_ok(found[INCLUDED]) && emu_paths_ok(found[EXCLUDED]) && emu_paths_ok(found[VECTOR]) &&
        emu_paths_ok(found[FULL_TEXT]) && emu_composite_ok(x, found[COMPOSITE]) &&
        (emu_is_restoring(x) || emu_spatial_ok(x, found[SPATIAL], flat)))
        return true;
    if (x->status) return false;                           /* refused already */
    return emu_refuse(x, 400, 0, "The indexing policy is invalid: it needs an 'indexingMode' of consistent or none, "
                      "and paths that begin with '/'.");
}

static bool emu_define_ttl(emu_exchange *x, emu_container *container, aiocosmos_json ttl)
{
    int64_t number = 0;
    container->has_ttl = !emu_is_absent(ttl);
    container->ttl = -1;
    if (!container->has_ttl) return true;
    if (!aioc_json_get_i64(ttl, &number) || (number != -1 && (number < 1 || number > INT32_MAX)))
        return emu_refuse(x, 400, 0, "The value of 'defaultTtl' has to be -1 or a positive number of seconds, "
                          "up to 2147483647.");
    container->ttl = number;
    return true;
}

/* How long all versions and deletes are kept, in minutes. */
static bool emu_define_feed(emu_exchange *x, emu_container *container, aiocosmos_json policy)
{
    static const char *const names[] = { "retentionDuration" };
    aiocosmos_json value;
    int64_t minutes = 0;
    if (emu_is_absent(policy)) return true;
    memset(&value, 0, sizeof value);
    if (!emu_names_known(x, policy, "changeFeedPolicy", names, 1)) return false;
    if (policy.type == AIOCOSMOS_JSON_OBJ) aioc_json_fields(policy, names, 1, &value);
    if (!aioc_json_get_i64(value, &minutes) || minutes < 0 || minutes > INT32_MAX)
        return emu_refuse(x, 400, 0, "The change feed policy is invalid: 'retentionDuration' has to be a number of "
                          "minutes.");
    container->retention_s = 60 * minutes;
    return true;
}

/* Who wins a conflict makes no difference here: there is one region. */
static bool emu_conflict_ok(emu_exchange *x, aiocosmos_json policy)
{
    static const char *const names[] = { "mode", "conflictResolutionPath", "conflictResolutionProcedure" };
    static const char *const modes[] = { "LastWriterWins", "Custom", "lastWriterWins", "custom" };
    aiocosmos_json found[3];
    if (emu_is_absent(policy)) return true;
    if (!emu_names_known(x, policy, "conflictResolutionPolicy", names, 3)) return false;
    memset(found, 0, sizeof found);
    if (policy.type == AIOCOSMOS_JSON_OBJ) aioc_json_fields(policy, names, 3, found);
    return (policy.type == AIOCOSMOS_JSON_OBJ && emu_is_word(found[0], modes, 4)) ||
           emu_refuse(x, 400, 0, "The conflict resolution policy is invalid: its 'mode' has to be LastWriterWins or "
                      "Custom.");
}

/* Vectors are compared as the policy says, unless a query says otherwise. */
static bool emu_vectors_ok(emu_exchange *x, aiocosmos_json policy)
{
    static const char *const lists[] = { "vectorEmbeddings" };
    static const char *const names[] = { "path", "dataType", "dimensions", "distanceFunction" };
    static const char *const types[] = { "float32", "float16", "uint8", "int8" };
    static const char *const functions[] = { "cosine", "dotproduct", "euclidean" };
    aiocosmos_json list, value;
    bool ok = policy.type == AIOCOSMOS_JSON_OBJ;
    if (emu_is_absent(policy)) return true;
    if (!emu_names_known(x, policy, "vectorEmbeddingPolicy", lists, 1)) return false;
    memset(&list, 0, sizeof list);
    memset(&value, 0, sizeof value);
    if (ok) aioc_json_fields(policy, lists, 1, &list);
    ok = ok && list.type == AIOCOSMOS_JSON_ARR && emu_paths_ok(list);
    while (ok && aioc_json_next(list, NULL, &value)) {
        aiocosmos_json found[4];
        int64_t dimensions = 0;
        if (!emu_names_known(x, value, "a vector embedding", names, 4)) return false;
        aioc_json_fields(value, names, 4, found);
        ok = found[1].len && emu_is_word(found[1], types, 4) && aioc_json_get_i64(found[2], &dimensions) &&
             dimensions > 0 && dimensions <= 4096 && found[3].len && emu_is_word(found[3], functions, 3);
    }
    return ok || emu_refuse(x, 400, 0, "The vector embedding policy is invalid: 'vectorEmbeddings' has to be an array "
                            "of 'path', 'dataType' (float32, float16, uint8, int8), 'dimensions' (1 to 4096) and "
                            "'distanceFunction' (cosine, dotproduct, euclidean).");
}

/* On the Earth, or on a plane. */
static bool emu_define_places(emu_exchange *x, emu_container *container, aiocosmos_json config)
{
    static const char *const names[] = { "type" };
    static const char *const types[] = { "Geography", "Geometry" };
    aiocosmos_json type = aioc_json_none();
    if (emu_is_absent(config)) return true;
    if (!emu_names_known(x, config, "geospatialConfig", names, 1)) return false;
    if (config.type == AIOCOSMOS_JSON_OBJ) aioc_json_fields(config, names, 1, &type);
    container->flat = type.type == AIOCOSMOS_JSON_STR && emu_is_word_of_sdks(type, types + 1, 1);
    return (config.type == AIOCOSMOS_JSON_OBJ && emu_is_word_of_sdks(type, types, 2)) ||
           emu_refuse(x, 400, 0, "The geospatial configuration is invalid: its 'type' has to be Geography or "
                      "Geometry.");
}

static bool emu_full_text_ok(emu_exchange *x, aiocosmos_json policy)
{
    static const char *const names[] = { "defaultLanguage", "fullTextPaths" };
    aiocosmos_json found[2];
    if (emu_is_absent(policy)) return true;
    if (!emu_names_known(x, policy, "fullTextPolicy", names, 2)) return false;
    memset(found, 0, sizeof found);
    if (policy.type == AIOCOSMOS_JSON_OBJ) aioc_json_fields(policy, names, 2, found);
    return (policy.type == AIOCOSMOS_JSON_OBJ && emu_paths_ok(found[1])) ||
           emu_refuse(x, 400, 0, "The full text policy is invalid: 'fullTextPaths' has to be an array of objects with "
                      "a 'path' that begins with '/'.");
}

/* Kept, and not evaluated: README says what queries know. */
static bool emu_computed_ok(emu_exchange *x, aiocosmos_json list)
{
    static const char *const names[] = { "name", "query" };
    aiocosmos_json value;
    bool ok = list.type == AIOCOSMOS_JSON_ARR && aioc_json_count(list) <= 20;
    if (emu_is_absent(list)) return true;
    memset(&value, 0, sizeof value);
    while (ok && aioc_json_next(list, NULL, &value)) {
        aiocosmos_json found[2];
        ok = value.type == AIOCOSMOS_JSON_OBJ && aioc_json_fields(value, names, 2, found) == 2 &&
             found[0].type == AIOCOSMOS_JSON_STR && found[1].type == AIOCOSMOS_JSON_STR;
    }
    return ok || emu_refuse(x, 400, 0, "The computed properties are invalid: they have to be an array of at most 20 "
                            "objects with a 'name' and a 'query'.");
}

/* Behind the first: what is kept and returned, and what the service adds to what is read and may be written back. */
static const char *const emu_container_names[] = {
    "partitionKey", "uniqueKeyPolicy", "indexingPolicy", "defaultTtl", "changeFeedPolicy", "conflictResolutionPolicy",
    "geospatialConfig", "vectorEmbeddingPolicy", "fullTextPolicy", "computedProperties",
    "id", "analyticalStorageTtl", "clientEncryptionPolicy", "materializedViewDefinition",
    "globalSecondaryIndexDefinition", "_rid", "_ts", "_self", "_etag", "_docs", "_sprocs", "_triggers", "_udfs",
    "_conflicts"
};

#define EMU_CONTAINER_NAMES (sizeof emu_container_names / sizeof *emu_container_names)

/* What the service adds where a definition says nothing. */
static const char *const emu_container_defaults[EMU_C_COUNT] = { NULL, NULL,
    ",\"indexingPolicy\":{\"indexingMode\":\"consistent\",\"automatic\":true,\"includedPaths\":[{\"path\":\"/*\"}],"
    "\"excludedPaths\":[{\"path\":\"/\\\"_etag\\\"/?\"}]}", NULL, NULL,
    ",\"conflictResolutionPolicy\":{\"mode\":\"LastWriterWins\",\"conflictResolutionPath\":\"/_ts\","
    "\"conflictResolutionProcedure\":\"\"}", ",\"geospatialConfig\":{\"type\":\"Geography\"}", NULL, NULL, NULL };

/* The service's own spelling, for whoever reads it: Java writes the version as "V2", and "Consistent". */
static bool emu_respell(emu_core *core, emu_resource *resource)
{
    emu_text *whole = &core->scratch;
    aiocosmos_json root, mode, version;
    char *at;
    emu_text_clear(whole);
    emu_put(whole, resource->text, resource->text_len);
    emu_puts(whole, "}");
    if (whole->failed || aioc_json_parse(&core->doc2, whole->buffer.data, whole->buffer.len) < 0) return false;
    root = aioc_json_root(&core->doc2);
    mode = aioc_json_at(root, "/indexingPolicy/indexingMode");
    version = aioc_json_at(root, "/partitionKey/version");
    if (mode.type == AIOCOSMOS_JSON_STR) emu_lower(resource->text + (mode.ptr - whole->buffer.data), mode.len);
    if (version.type != AIOCOSMOS_JSON_STR) return true;
    at = resource->text + (version.ptr - whole->buffer.data);
    *at = version.ptr[2];
    memmove(at + 1, at + 4, (size_t)(resource->text + resource->text_len - (at + 4)));
    at = (char *)aioc_mem_resize(&core->store.memory, resource->text, resource->text_len, resource->text_len - 3);
    if (!at) return false;
    resource->text = at;
    resource->text_len -= 3;
    return true;
}

bool emu_set_container_text(emu_core *core, emu_container *container, aiocosmos_str id, aiocosmos_json root,
                                   const aiocosmos_json *found)
{
    size_t i;
    if (!emu_resource_set(&core->store, &container->resource, id, root)) return false;
    for (i = 0; i < EMU_C_COUNT; i++) {
        const char *text = emu_container_defaults[i];
        if (!text || found[i].type != AIOCOSMOS_JSON_NONE) continue;
        if (!emu_resource_append(&core->store, &container->resource, aioc_mem_str(text))) return false;
    }
    return emu_respell(core, &container->resource);
}

bool emu_define_container(emu_exchange *x, emu_container *container, aiocosmos_json root,
                                 aiocosmos_json found[EMU_C_COUNT])
{
    size_t used = 0, len;
    aioc_json_fields(root, emu_container_names, EMU_C_COUNT, found);
    if (!emu_names_known(x, root, "", emu_container_names, EMU_CONTAINER_NAMES)) return false;
    len = found[EMU_C_KEY].len + found[EMU_C_UNIQUE].len + 1;
    container->definition = (char *)aioc_mem_alloc(&x->store->memory, len);
    if (!container->definition) return emu_no_memory(x);
    container->definition_len = len;
    return emu_define_key(x, container, found[EMU_C_KEY], &used) &&
           emu_define_unique(x, container, found[EMU_C_UNIQUE], &used) &&
           emu_define_places(x, container, found[EMU_C_GEO]) &&
           emu_indexing_ok(x, found[EMU_C_INDEXING], container->flat) &&
           emu_define_ttl(x, container, found[EMU_C_TTL]) && emu_define_feed(x, container, found[EMU_C_FEED]) &&
           emu_conflict_ok(x, found[EMU_C_CONFLICT]) && emu_vectors_ok(x, found[EMU_C_VECTORS]) &&
           emu_full_text_ok(x, found[EMU_C_FULL_TEXT]) && emu_computed_ok(x, found[EMU_C_COMPUTED]);
}

/* Whether a replacement's partition key and unique keys are those that the container has: neither can change. */
bool emu_same_definition(emu_exchange *x, const emu_container *container, const emu_container *wanted)
{
    size_t i, k;
    bool same = container->key.kind == wanted->key.kind && container->key.version == wanted->key.version &&
                container->key.path_count == wanted->key.path_count && container->unique_count == wanted->unique_count;
    for (i = 0; same && i < container->key.path_count; i++)
        same = aioc_mem_same(container->key_path[i], wanted->key_path[i]);
    for (i = 0; same && i < container->unique_count; i++) {
        same = container->unique[i].paths == wanted->unique[i].paths;
        for (k = 0; same && k < container->unique[i].paths; k++)
            same = aioc_mem_same(container->unique[i].path[k], wanted->unique[i].path[k]);
    }
    return same || emu_refuse(x, 400, 0, "The partition key and the unique keys of a container cannot be changed.");
}
