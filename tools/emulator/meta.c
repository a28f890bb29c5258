/* meta.c: everything but items: the account, databases, containers, partition key ranges, offers, users and
 * permissions. */
#include "internal.h"

#define EMU_CONTAINERS_CHARGE 4.95

static bool emu_absent(emu_exchange *x)
{
    return emu_refuse(x, 404, 0, "Resource Not Found. Learn more: https://aka.ms/cosmosdb-tsg-not-found");
}

static bool emu_exists(emu_exchange *x)
{
    return emu_refuse(x, 409, 0, "Resource with specified id, name, or unique index already exists.");
}

/* A text of ours behind a resource's own properties. */
static bool emu_resource_append(emu_core *core, emu_resource *resource, aiocosmos_str text)
{
    char *grown = (char *)aioc_mem_resize(&core->memory, resource->text, resource->text_len,
                                          resource->text_len + text.len);
    if (!grown) return false;
    memcpy(grown + resource->text_len, text.ptr, text.len);
    resource->text = grown;
    resource->text_len += text.len;
    return true;
}

static void emu_answer_resource(emu_exchange *x, const emu_resource *resource, int status, double charge)
{
    emu_etag_text(x->etag, resource->etag, resource->ts);
    x->status = status;
    x->has_body = true;
    x->charge = charge;
}

static void emu_answer_deleted(emu_exchange *x)
{
    x->status = 204;
    x->charge = EMU_CONTAINERS_CHARGE;
}

static aiocosmos_str emu_text_str(const emu_text *text)
{
    return emu_str(text->buffer.data, text->buffer.len);
}

/*------------------------------------------------------------------------------
 * MARK: - Account
 *----------------------------------------------------------------------------*/

static void emu_put_locations(emu_text *out, const char *name, aiocosmos_str endpoint)
{
    emu_put_format(out, ",\"%s\":[{\"name\":\"Local\",\"databaseAccountEndpoint\":", name);
    emu_put_json(out, endpoint);
    emu_puts(out, "}]");
}

static void emu_read_account(emu_exchange *x)
{
    emu_text *body = &x->core->body;
    aiocosmos_str endpoint = aioc_mem_str(x->core->endpoint);
    emu_puts(body, "{\"_self\":\"\",\"id\":\"aiocosmos-emulator\",\"_rid\":\"aiocosmos-emulator\","
             "\"media\":\"//media/\",\"addresses\":\"//addresses/\",\"_dbs\":\"//dbs/\"");
    emu_put_locations(body, "writableLocations", endpoint);
    emu_put_locations(body, "readableLocations", endpoint);
    emu_puts(body, ",\"enableMultipleWriteLocations\":false,\"continuousBackupEnabled\":false,"
                   "\"enableNRegionSynchronousCommit\":false,\"enablePerPartitionFailoverBehavior\":false,"
                   "\"userReplicationPolicy\":{\"asyncReplication\":false,\"minReplicaSetSize\":1,"
                   "\"maxReplicasetSize\":4},\"userConsistencyPolicy\":{\"defaultConsistencyLevel\":\"Session\"},"
                   "\"systemReplicationPolicy\":{\"minReplicaSetSize\":1,\"maxReplicasetSize\":4},"
                   "\"readPolicy\":{\"primaryReadCoefficient\":1,\"secondaryReadCoefficient\":1},"
                   "\"queryEngineConfiguration\":\"{\\\"maxSqlQueryInputLength\\\":262144,"
                   "\\\"maxJoinsPerSqlQuery\\\":10,\\\"maxLogicalAndPerSqlQuery\\\":2000,"
                   "\\\"maxLogicalOrPerSqlQuery\\\":2000,\\\"maxUdfRefPerSqlQuery\\\":10,"
                   "\\\"maxInExpressionItemsCount\\\":16000,\\\"queryMaxInMemorySortDocumentCount\\\":500,"
                   "\\\"maxQueryRequestTimeoutFraction\\\":0.9,\\\"sqlAllowNonFiniteNumbers\\\":false,"
                   "\\\"sqlAllowAggregateFunctions\\\":true,\\\"sqlAllowSubQuery\\\":true,"
                   "\\\"sqlAllowScalarSubQuery\\\":true,\\\"allowNewKeywords\\\":true,\\\"sqlAllowLike\\\":true,"
                   "\\\"sqlAllowGroupByClause\\\":true,\\\"maxSpatialQueryCells\\\":12,"
                   "\\\"spatialMaxGeometryPointCount\\\":256,\\\"sqlDisableQueryILOptimization\\\":false,"
                   "\\\"sqlDisableFilterPlanOptimization\\\":false,\\\"sqlAllowTop\\\":true,"
                   "\\\"enableSpatialIndexing\\\":true}\"}");
    x->status = 200;
    x->has_body = true;
}

/*------------------------------------------------------------------------------
 * MARK: - Throughput: offers
 *----------------------------------------------------------------------------*/

static bool emu_throughput_ok(emu_exchange *x, int64_t manual, int64_t autoscale)
{
    if (autoscale ? autoscale >= 1000 && autoscale % 1000 == 0 && autoscale <= 1000000
                  : manual >= 400 && manual % 100 == 0 && manual <= 1000000) return true;
    if (autoscale)
        return emu_refuse(x, 400, 0, "The specified maximum throughput '%lld' is invalid: autoscale takes from 1000 "
                          "RU/s, in steps of 1000.", (long long)autoscale);
    return emu_refuse(x, 400, 0, "The offer should have valid throughput values between 400 and 1000000 inclusive in "
                      "increments of 100, not '%lld'.", (long long)manual);
}

/* What a create's headers ask for. Both 0: nothing. */
static bool emu_asked_throughput(emu_exchange *x, int64_t *manual, int64_t *autoscale)
{
    static const char *const names[] = { "maxThroughput" };
    aiocosmos_str number = x->request->header[EMU_H_THROUGHPUT], settings = x->request->header[EMU_H_AUTOPILOT];
    aiocosmos_json value;
    uint64_t parsed;
    *manual = *autoscale = 0;
    if (number.len && settings.len)
        return emu_refuse(x, 400, 0, "Both throughput and autoscale settings are given: only one can be.");
    if (number.len) {
        *manual = aioc_text_parse_u64(number, &parsed) && parsed <= INT32_MAX ? (int64_t)parsed : -1;
        return emu_throughput_ok(x, *manual, 0);
    }
    if (!settings.len) return true;
    memset(&value, 0, sizeof value);
    if (aioc_json_parse(&x->core->doc2, settings.ptr, settings.len) == 0)
        aioc_json_fields(aioc_json_root(&x->core->doc2), names, 1, &value);
    if (!aioc_json_get_i64(value, autoscale) || *autoscale < 1) *autoscale = -1;
    return emu_throughput_ok(x, 0, *autoscale);
}

static emu_offer *emu_make_offer(emu_core *core, const char *self, const char *rid, int64_t manual, int64_t autoscale)
{
    unsigned char raw[3];
    emu_offer *offer = (emu_offer *)aioc_mem_zalloc(&core->memory, sizeof *offer);
    if (!offer) return NULL;
    offer->number = ++core->next_offer;
    raw[0] = (unsigned char)(offer->number >> 16);
    raw[1] = (unsigned char)(offer->number >> 8);
    raw[2] = (unsigned char)offer->number;
    emu_rid_text(offer->rid, raw, sizeof raw);
    snprintf(offer->self, sizeof offer->self, "%s", self);
    snprintf(offer->owner_rid, sizeof offer->owner_rid, "%s", rid);
    offer->throughput = autoscale ? autoscale / 10 : manual; /* autoscale starts at a tenth of its maximum */
    offer->autoscale_max = autoscale;
    offer->etag = ++core->next_etag;
    offer->ts = emu_now(core) / 1000;
    offer->next = core->offers;
    core->offers = offer;
    return offer;
}

static void emu_put_offer(emu_text *out, const emu_offer *offer)
{
    emu_put_format(out, "{\"resource\":\"%s\",\"offerType\":\"Invalid\",\"offerResourceId\":\"%s\","
                   "\"offerVersion\":\"V2\",\"content\":{\"offerThroughput\":%lld,"
                   "\"offerIsRUPerMinuteThroughputEnabled\":false", offer->self,
                   offer->owner_rid, (long long)offer->throughput);
    if (offer->autoscale_max) emu_put_format(out, ",\"offerAutopilotSettings\":{\"maxThroughput\":%lld}",
                                             (long long)offer->autoscale_max);
    emu_put_format(out, "},\"id\":\"%s\",\"_rid\":\"%s\",\"_self\":\"offers/%s/\",\"_etag\":", offer->rid, offer->rid,
                   offer->rid);
    emu_put_etag(out, offer->etag, offer->ts);
    emu_put_format(out, ",\"_ts\":%lld}", (long long)offer->ts);
}

static void emu_answer_offer(emu_exchange *x, const emu_offer *offer)
{
    emu_put_offer(&x->core->body, offer);
    snprintf(x->extra, sizeof x->extra, "x-ms-cosmos-min-throughput: %d", offer->autoscale_max ? 1000 : 400);
    emu_etag_text(x->etag, offer->etag, offer->ts);
    x->status = 200;
    x->has_body = true;
    x->charge = 2;
}

/* The rest of the offer is read-only; the maximum of a migration is the service's to choose. */
static void emu_replace_offer(emu_exchange *x, emu_offer *offer)
{
    aiocosmos_json root, manual_value, autoscale_value;
    int64_t manual = 0, autoscale = 0;
    if (!emu_matches(x, offer->etag, offer->ts) || !emu_parse_body(x, &root)) return;
    manual_value = aioc_json_at(root, "/content/offerThroughput");
    autoscale_value = aioc_json_at(root, "/content/offerAutopilotSettings/maxThroughput");
    if (emu_header_true(x, EMU_H_TO_AUTOPILOT)) {
        if (offer->autoscale_max) {
            emu_refuse(x, 400, 0, "The offer is autoscale already.");
            return;
        }
        autoscale = offer->throughput <= 4000 ? 4000 : (offer->throughput + 999) / 1000 * 1000;
    } else if (emu_header_true(x, EMU_H_TO_MANUAL)) {
        if (!offer->autoscale_max) {
            emu_refuse(x, 400, 0, "The offer is manual already.");
            return;
        }
        manual = offer->autoscale_max;
    } else if (offer->autoscale_max) {
        if (!aioc_json_get_i64(autoscale_value, &autoscale) || autoscale < 1) autoscale = -1;
    } else {
        if (!aioc_json_get_i64(manual_value, &manual)) manual = -1;
        if (autoscale_value.type != AIOCOSMOS_JSON_NONE) {
            emu_refuse(x, 400, 0, "A manual offer becomes autoscale by the header "
                       "x-ms-cosmos-migrate-offer-to-autopilot only.");
            return;
        }
    }
    if (!emu_throughput_ok(x, manual, autoscale)) return;
    offer->autoscale_max = autoscale;
    offer->throughput = autoscale ? autoscale / 10 : manual;
    offer->etag = ++x->core->next_etag;
    offer->ts = x->now_ms / 1000;
    emu_answer_offer(x, offer);
}

static void emu_offers_route(emu_exchange *x)
{
    emu_offer *offer = x->core->offers;
    emu_listing listing;
    if (x->segments == 2) {
        while (offer && !emu_is(x->segment[1], offer->rid)) offer = offer->next;
        if (!offer) emu_absent(x);
        else if (x->request->verb == EMU_PUT) emu_replace_offer(x, offer);
        else emu_answer_offer(x, offer);
        return;
    }
    if (!emu_listing_begin(&listing, x, "Offers", "")) return;
    for (; offer; offer = offer->next) {
        emu_text_clear(&x->core->scratch2);
        emu_put_offer(&x->core->scratch2, offer);
        emu_listing_add(&listing, emu_text_str(&x->core->scratch2));
    }
    emu_listing_end(&listing);
}

/*------------------------------------------------------------------------------
 * MARK: - Databases
 *----------------------------------------------------------------------------*/

static void emu_put_database(emu_text *out, const emu_database *database)
{
    emu_put(out, database->resource.text, database->resource.text_len);
    emu_put_format(out, ",\"_rid\":\"%s\",\"_self\":\"dbs/%s/\",\"_etag\":", database->rid, database->rid);
    emu_put_etag(out, database->resource.etag, database->resource.ts);
    emu_put_format(out, ",\"_colls\":\"colls/\",\"_users\":\"users/\",\"_ts\":%lld}", (long long)database->resource.ts);
}

static void emu_list_databases(emu_exchange *x)
{
    emu_database *database = x->core->databases;
    emu_listing listing;
    if (!emu_listing_begin(&listing, x, "Databases", "")) return;
    for (; database; database = database->next) {
        emu_text_clear(&x->core->scratch2);
        emu_put_database(&x->core->scratch2, database);
        emu_listing_add(&listing, emu_text_str(&x->core->scratch2));
    }
    emu_listing_end(&listing);
}

static void emu_create_database(emu_exchange *x)
{
    emu_core *core = x->core;
    char room[AIOC_PROTOCOL_ITEM_ID_MAX + 1], self[80];
    aiocosmos_json root;
    aiocosmos_str id;
    emu_database *database, **last = &core->databases;
    int64_t manual, autoscale;
    if (!emu_parse_body(x, &root) || !emu_take_id(x, root, room, &id, false) ||
        !emu_asked_throughput(x, &manual, &autoscale))
        return;
    if (emu_find_database(core, id)) {
        emu_exists(x);
        return;
    }
    database = (emu_database *)aioc_mem_zalloc(&core->memory, sizeof *database);
    if (!database) {
        emu_no_memory(x);
        return;
    }
    while (*last) last = &(*last)->next;
    *last = database;
    emu_store32be(database->raw_rid, 0x4a000000u + ++core->next_database);
    emu_rid_text(database->rid, database->raw_rid, 4);
    snprintf(self, sizeof self, "dbs/%s/", database->rid);
    if (!emu_resource_set(core, &database->resource, id, root) ||
        ((manual || autoscale) && !(database->offer = emu_make_offer(core, self, database->rid, manual, autoscale)))) {
        emu_drop_database(core, database);
        emu_no_memory(x);
        return;
    }
    emu_put_database(&core->body, database);
    emu_answer_resource(x, &database->resource, 201, EMU_CONTAINERS_CHARGE);
}

static void emu_databases_route(emu_exchange *x)
{
    emu_verb verb = x->request->verb;
    if (x->segments == 1) {
        if (strcmp(x->kind, "create_database") == 0) emu_create_database(x);
        else emu_list_databases(x);
        return;
    }
    if (verb == EMU_DELETE) {
        if (!emu_matches(x, x->database->resource.etag, x->database->resource.ts)) return;
        emu_drop_database(x->core, x->database);
        emu_answer_deleted(x);
    } else {
        emu_put_database(&x->core->body, x->database);
        emu_answer_resource(x, &x->database->resource, 200, 2);
    }
}

/*------------------------------------------------------------------------------
 * MARK: - Containers: what a definition may say
 *----------------------------------------------------------------------------*/

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

static bool emu_define_key(emu_exchange *x, emu_container *container, aiocosmos_json key, size_t *used)
{
    static const char *const names[] = { "paths", "kind", "version" };
    aiocosmos_json found[3], path;
    int64_t version = 1;
    size_t count;
    bool multi;
    if (key.type != AIOCOSMOS_JSON_OBJ)
        return emu_refuse(x, 400, 0, "The partition key definition is missing: 'partitionKey' has to be an "
                          "object with 'paths'.");
    aioc_json_fields(key, names, 3, found);
    count = aioc_json_count(found[0]);
    multi = aioc_json_is_str(found[1], "MultiHash");
    if (found[0].type != AIOCOSMOS_JSON_ARR || count < 1 || count > EMU_LEVELS || (count > 1 && !multi))
        return emu_refuse(x, 400, 0, "The partition key component definition is invalid: 'paths' has to have one path, "
                          "or, of kind MultiHash, up to three.");
    if (found[1].type != AIOCOSMOS_JSON_NONE && !multi && !aioc_json_is_str(found[1], "Hash"))
        return emu_refuse(x, 400, 0, "The partition key's kind has to be Hash or MultiHash.");
    if (found[2].type != AIOCOSMOS_JSON_NONE && (!aioc_json_get_i64(found[2], &version) || version < 1 || version > 2))
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
    }
    return true;
}

static bool emu_define_unique(emu_exchange *x, emu_container *container, aiocosmos_json policy, size_t *used)
{
    static const char *const keys[] = { "uniqueKeys" }, *const paths[] = { "paths" };
    aiocosmos_json list, key, path;
    size_t count;
    if (policy.type == AIOCOSMOS_JSON_NONE || policy.type == AIOCOSMOS_JSON_NULL) return true;
    if (!emu_names_known(x, policy, "uniqueKeyPolicy", keys, 1)) return false;
    memset(&list, 0, sizeof list);
    aioc_json_fields(policy, keys, 1, &list);
    if (policy.type != AIOCOSMOS_JSON_OBJ || list.type != AIOCOSMOS_JSON_ARR)
        return emu_refuse(x, 400, 0, "The unique key policy is invalid: it has to be an object with 'uniqueKeys', an "
                          "array.");
    count = aioc_json_count(list);
    if (count > EMU_UNIQUE_KEYS)
        return emu_refuse(x, 400, 0, "The unique key policy has more than %d unique keys.", EMU_UNIQUE_KEYS);
    if (count == 0) return true;
    container->unique = (emu_unique_key *)aioc_mem_zalloc(&x->core->memory, count * sizeof *container->unique);
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
    if (list.type != AIOCOSMOS_JSON_NONE && list.type != AIOCOSMOS_JSON_ARR) return false;
    while (aioc_json_next(list, NULL, &value)) {
        memset(&path, 0, sizeof path);
        if (value.type == AIOCOSMOS_JSON_OBJ) aioc_json_fields(value, names, 1, &path);
        if (path.type != AIOCOSMOS_JSON_STR || path.len < 3 || path.ptr[1] != '/') return false;
    }
    return true;
}

/* Indexes make no difference here; a policy that makes no sense is refused all the same. */
static bool emu_indexing_ok(emu_exchange *x, aiocosmos_json policy)
{
    static const char *const names[] = { "indexingMode", "automatic", "includedPaths", "excludedPaths",
                                         "compositeIndexes" };
    aiocosmos_json found[5];
    bool truth;
    if (policy.type == AIOCOSMOS_JSON_NONE) return true;
    memset(found, 0, sizeof found);
    if (policy.type == AIOCOSMOS_JSON_OBJ) aioc_json_fields(policy, names, 5, found);
    if (policy.type == AIOCOSMOS_JSON_OBJ &&
        (found[0].type == AIOCOSMOS_JSON_NONE || aioc_json_is_str(found[0], "consistent") ||
         aioc_json_is_str(found[0], "none") || aioc_json_is_str(found[0], "lazy")) &&
        (found[1].type == AIOCOSMOS_JSON_NONE || aioc_json_get_bool(found[1], &truth)) && emu_paths_ok(found[2]) &&
        emu_paths_ok(found[3]) && (found[4].type == AIOCOSMOS_JSON_NONE || found[4].type == AIOCOSMOS_JSON_ARR))
        return true;
    return emu_refuse(x, 400, 0, "The indexing policy is invalid: it needs an 'indexingMode' of consistent or none, "
                      "and paths that begin with '/'.");
}

static bool emu_define_ttl(emu_exchange *x, emu_container *container, aiocosmos_json ttl)
{
    int64_t number = 0;
    container->has_ttl = ttl.type != AIOCOSMOS_JSON_NONE && ttl.type != AIOCOSMOS_JSON_NULL;
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
    if (policy.type == AIOCOSMOS_JSON_NONE || policy.type == AIOCOSMOS_JSON_NULL) return true;
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
    if (policy.type == AIOCOSMOS_JSON_NONE || policy.type == AIOCOSMOS_JSON_NULL) return true;
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
    if (policy.type == AIOCOSMOS_JSON_NONE || policy.type == AIOCOSMOS_JSON_NULL) return true;
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

static bool emu_full_text_ok(emu_exchange *x, aiocosmos_json policy)
{
    static const char *const names[] = { "defaultLanguage", "fullTextPaths" };
    aiocosmos_json found[2];
    if (policy.type == AIOCOSMOS_JSON_NONE || policy.type == AIOCOSMOS_JSON_NULL) return true;
    if (!emu_names_known(x, policy, "fullTextPolicy", names, 2)) return false;
    memset(found, 0, sizeof found);
    if (policy.type == AIOCOSMOS_JSON_OBJ) aioc_json_fields(policy, names, 2, found);
    return (policy.type == AIOCOSMOS_JSON_OBJ && emu_paths_ok(found[1])) ||
           emu_refuse(x, 400, 0, "The full text policy is invalid: 'fullTextPaths' has to be an array of objects with a "
                      "'path' that begins with '/'.");
}

/* Kept, and not evaluated: README says what queries know. */
static bool emu_computed_ok(emu_exchange *x, aiocosmos_json list)
{
    static const char *const names[] = { "name", "query" };
    aiocosmos_json value;
    bool ok = list.type == AIOCOSMOS_JSON_ARR && aioc_json_count(list) <= 20;
    if (list.type == AIOCOSMOS_JSON_NONE || list.type == AIOCOSMOS_JSON_NULL) return true;
    memset(&value, 0, sizeof value);
    while (ok && aioc_json_next(list, NULL, &value)) {
        aiocosmos_json found[2];
        ok = value.type == AIOCOSMOS_JSON_OBJ && aioc_json_fields(value, names, 2, found) == 2 &&
             found[0].type == AIOCOSMOS_JSON_STR && found[1].type == AIOCOSMOS_JSON_STR;
    }
    return ok || emu_refuse(x, 400, 0, "The computed properties are invalid: they have to be an array of at most 20 "
                            "objects with a 'name' and a 'query'.");
}

enum {
    EMU_C_KEY, EMU_C_UNIQUE, EMU_C_INDEXING, EMU_C_TTL, EMU_C_FEED, EMU_C_CONFLICT, EMU_C_GEO, EMU_C_VECTORS,
    EMU_C_FULL_TEXT, EMU_C_COMPUTED,
    EMU_C_COUNT,
    EMU_C_KNOWN = EMU_C_COUNT + 14
};
/* Behind the first: what is kept and returned, and what the service adds to what is read and may be written back. */
static const char *const emu_container_names[EMU_C_KNOWN] = {
    "partitionKey", "uniqueKeyPolicy", "indexingPolicy", "defaultTtl", "changeFeedPolicy", "conflictResolutionPolicy",
    "geospatialConfig", "vectorEmbeddingPolicy", "fullTextPolicy", "computedProperties",
    "id", "analyticalStorageTtl", "clientEncryptionPolicy", "materializedViewDefinition",
    "globalSecondaryIndexDefinition", "_rid", "_ts", "_self", "_etag", "_docs", "_sprocs", "_triggers", "_udfs",
    "_conflicts"
};

/* What the service adds where a definition says nothing. */
static const char *const emu_container_defaults[EMU_C_COUNT] = { NULL, NULL,
    ",\"indexingPolicy\":{\"indexingMode\":\"consistent\",\"automatic\":true,\"includedPaths\":[{\"path\":\"/*\"}],"
    "\"excludedPaths\":[{\"path\":\"/\\\"_etag\\\"/?\"}]}", NULL, NULL,
    ",\"conflictResolutionPolicy\":{\"mode\":\"LastWriterWins\",\"conflictResolutionPath\":\"/_ts\","
    "\"conflictResolutionProcedure\":\"\"}", ",\"geospatialConfig\":{\"type\":\"Geography\"}", NULL, NULL, NULL };

static bool emu_set_container_text(emu_core *core, emu_container *container, aiocosmos_str id, aiocosmos_json root,
                                   const aiocosmos_json *found)
{
    size_t i;
    if (!emu_resource_set(core, &container->resource, id, root)) return false;
    for (i = 0; i < EMU_C_COUNT; i++) {
        const char *text = emu_container_defaults[i];
        if (!text || found[i].type != AIOCOSMOS_JSON_NONE) continue;
        if (!emu_resource_append(core, &container->resource, aioc_mem_str(text))) return false;
    }
    return true;
}

/*------------------------------------------------------------------------------
 * MARK: - Containers
 *----------------------------------------------------------------------------*/

static void emu_put_container(emu_text *out, const emu_container *container)
{
    emu_put(out, container->resource.text, container->resource.text_len);
    emu_put_format(out, ",\"_rid\":\"%s\",\"_ts\":%lld,\"_self\":\"dbs/%s/colls/%s/\",\"_etag\":", container->rid,
                   (long long)container->resource.ts, container->database->rid, container->rid);
    emu_put_etag(out, container->resource.etag, container->resource.ts);
    emu_puts(out, ",\"_docs\":\"docs/\",\"_sprocs\":\"sprocs/\",\"_triggers\":\"triggers/\",\"_udfs\":\"udfs/\","
             "\"_conflicts\":\"conflicts/\"}");
}

static void emu_list_containers(emu_exchange *x)
{
    emu_container *container = x->database->containers;
    emu_listing listing;
    if (!emu_listing_begin(&listing, x, "DocumentCollections", x->database->rid)) return;
    for (; container; container = container->next) {
        emu_text_clear(&x->core->scratch2);
        emu_put_container(&x->core->scratch2, container);
        emu_listing_add(&listing, emu_text_str(&x->core->scratch2));
    }
    emu_listing_end(&listing);
}

static bool emu_define_container(emu_exchange *x, emu_container *container, aiocosmos_json root,
                                 aiocosmos_json found[EMU_C_COUNT])
{
    size_t used = 0, len;
    aioc_json_fields(root, emu_container_names, EMU_C_COUNT, found);
    if (!emu_names_known(x, root, "", emu_container_names, EMU_C_KNOWN)) return false;
    len = found[EMU_C_KEY].len + found[EMU_C_UNIQUE].len + 1;
    container->definition = (char *)aioc_mem_alloc(&x->core->memory, len);
    if (!container->definition) return emu_no_memory(x);
    container->definition_len = len;
    return emu_define_key(x, container, found[EMU_C_KEY], &used) &&
           emu_define_unique(x, container, found[EMU_C_UNIQUE], &used) &&
           emu_indexing_ok(x, found[EMU_C_INDEXING]) && emu_define_ttl(x, container, found[EMU_C_TTL]) &&
           emu_define_feed(x, container, found[EMU_C_FEED]) && emu_conflict_ok(x, found[EMU_C_CONFLICT]) &&
           emu_vectors_ok(x, found[EMU_C_VECTORS]) && emu_full_text_ok(x, found[EMU_C_FULL_TEXT]) &&
           emu_computed_ok(x, found[EMU_C_COMPUTED]);
}

static void emu_number_container(emu_core *core, emu_container *container)
{
    memcpy(container->raw_rid, container->database->raw_rid, 4);
    /* never one that was used before */
    emu_store32be(container->raw_rid + 4, 0x80000000u | ++core->next_database);
    emu_rid_text(container->rid, container->raw_rid, 8);
}

static bool emu_build_container(emu_exchange *x, emu_container *container, aiocosmos_str id, aiocosmos_json root)
{
    emu_core *core = x->core;
    aiocosmos_json found[EMU_C_COUNT];
    char self[80];
    int64_t manual, autoscale;
    if (!emu_asked_throughput(x, &manual, &autoscale) || !emu_define_container(x, container, root, found))
        return false;
    emu_number_container(core, container);
    snprintf(self, sizeof self, "dbs/%s/colls/%s/", container->database->rid, container->rid);
    if (!emu_set_container_text(core, container, id, root, found) ||
        !emu_make_ranges(core, container, (uint32_t)core->options.partitions)) return emu_no_memory(x);
    if (!manual && !autoscale) {
        if (container->database->offer) return true;       /* shares the throughput of its database */
        manual = 400;
    }
    container->offer = emu_make_offer(core, self, container->rid, manual, autoscale);
    return container->offer || emu_no_memory(x);
}

static void emu_create_container(emu_exchange *x)
{
    emu_core *core = x->core;
    char room[AIOC_PROTOCOL_ITEM_ID_MAX + 1];
    aiocosmos_json root;
    aiocosmos_str id;
    emu_container *container, **last = &x->database->containers;
    if (!emu_parse_body(x, &root) || !emu_take_id(x, root, room, &id, false)) return;
    if (emu_find_container(x->database, id)) {
        emu_exists(x);
        return;
    }
    container = (emu_container *)aioc_mem_zalloc(&core->memory, sizeof *container);
    if (!container) {
        emu_no_memory(x);
        return;
    }
    container->database = x->database;
    if (!emu_build_container(x, container, id, root)) {
        emu_drop_container(core, container);
        return;
    }
    while (*last) last = &(*last)->next;
    *last = container;
    emu_put_container(&core->body, container);
    emu_answer_resource(x, &container->resource, 201, EMU_CONTAINERS_CHARGE);
}

/* Whether a replacement's partition key and unique keys are those that the container has: neither can change. */
static bool emu_same_definition(emu_exchange *x, const emu_container *container, const emu_container *wanted)
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

static void emu_replace_container(emu_exchange *x, emu_container *container)
{
    emu_core *core = x->core;
    char room[AIOC_PROTOCOL_ITEM_ID_MAX + 1];
    aiocosmos_json root, found[EMU_C_COUNT];
    aiocosmos_str id;
    emu_container wanted;
    bool ok;
    if (!emu_parse_body(x, &root) || !emu_take_id(x, root, room, &id, false)) return;
    if (!emu_is(id, container->resource.id)) {
        emu_refuse(x, 400, 0, "The id of a container cannot be changed.");
        return;
    }
    memset(&wanted, 0, sizeof wanted);
    ok = emu_define_container(x, &wanted, root, found) && emu_same_definition(x, container, &wanted);
    aioc_mem_free(&core->memory, wanted.unique, wanted.unique_count * sizeof *wanted.unique);
    aioc_mem_free(&core->memory, wanted.definition, wanted.definition_len);
    if (!ok) return;
    if (!emu_set_container_text(core, container, id, root, found)) {
        emu_no_memory(x);
        return;
    }
    container->has_ttl = wanted.has_ttl;
    container->ttl = wanted.ttl;
    emu_events_retain(core, container, wanted.retention_s);
    emu_put_container(&core->body, container);
    emu_answer_resource(x, &container->resource, 200, EMU_CONTAINERS_CHARGE);
}

static void emu_put_quota(emu_exchange *x, const emu_container *container)
{
    if (!emu_header_true(x, EMU_H_QUOTA_INFO)) return;
    snprintf(x->extra, sizeof x->extra, "x-ms-resource-usage: documentsCount=%u;collectionSize=0",
             container->items.count);
}

static void emu_containers_route(emu_exchange *x)
{
    emu_container *container;
    if (x->segments == 3) {
        if (strcmp(x->kind, "create_container") == 0) emu_create_container(x);
        else emu_list_containers(x);
        return;
    }
    container = emu_find_container(x->database, x->segment[3]);
    if (!container) {
        emu_absent(x);
    } else if (x->request->verb != EMU_GET && !emu_matches(x, container->resource.etag, container->resource.ts)) {
        return;
    } else if (x->request->verb == EMU_DELETE) {
        emu_drop_container(x->core, container);
        emu_answer_deleted(x);
    } else if (x->request->verb == EMU_PUT) {
        emu_replace_container(x, container);
    } else {
        emu_put_quota(x, container);
        emu_put_container(&x->core->body, container);
        emu_answer_resource(x, &container->resource, 200, 1);
    }
}

/*------------------------------------------------------------------------------
 * MARK: - Partition key ranges
 *----------------------------------------------------------------------------*/

static void emu_put_range_json(emu_text *out, const emu_container *container, const emu_range *range)
{
    unsigned char raw[16];
    char rid[EMU_RID_MAX];
    memcpy(raw, container->raw_rid, 8);
    aioc_text_store64le(raw + 8, (uint64_t)strtoul(range->id, NULL, 10) + 1);
    raw[15] = 0x50;                                        /* the kind of thing this is */
    emu_rid_text(rid, raw, sizeof raw);
    emu_put_format(out, "{\"_rid\":\"%s\",\"id\":\"%s\",\"minInclusive\":\"%s\",\"maxExclusive\":\"%s\","
                   "\"ridPrefix\":%s,\"_self\":\"dbs/%s/colls/%s/pkranges/%s/\","
                   "\"throughputFraction\":%.4f,\"status\":\"%s\",\"parents\":[", rid, range->id, range->min,
                   range->max, range->id, container->database->rid, container->rid, rid, 1.0 / container->range_count,
                   emu_range_moves(range) ? "splitting" : "online");
    emu_puts(out, emu_range_parents(range));
    emu_puts(out, "],\"_etag\":");
    emu_put_etag(out, container->range_version, container->resource.ts);
    emu_put_format(out, ",\"_ts\":%lld}", (long long)container->resource.ts);
}

/* Whoever brings the ETag of an earlier answer gets the partitions that are new since then; the ones they replace are
 * told by their parents. Without one it is those that there are. */
static void emu_list_ranges(emu_exchange *x)
{
    const emu_container *container = x->container;
    aiocosmos_str seen = x->request->header[EMU_H_IF_NONE_MATCH];
    emu_text *body = &x->core->body;
    uint64_t since = 0;
    uint32_t i, count = 0;
    snprintf(x->etag, sizeof x->etag, "\"%llu\"", (unsigned long long)container->range_version);
    x->charge = 1;
    if (emu_is(seen, x->etag)) {
        x->status = 304;
        return;
    }
    if (x->request->header[EMU_H_A_IM].len == 0 || seen.len < 3 || seen.ptr[0] != '"' ||
        !aioc_text_parse_u64(emu_str(seen.ptr + 1, seen.len - 2), &since) || since > container->range_version)
        since = 0;
    emu_put_format(body, "{\"_rid\":\"%s\",\"PartitionKeyRanges\":[", container->rid);
    for (i = 0; i < container->range_count; i++) {
        if (container->range[i]->made <= since) continue;
        if (count++) emu_puts(body, ",");
        emu_put_range_json(body, container, container->range[i]);
    }
    emu_put_format(body, "],\"_count\":%u}", count);
    x->status = 200;
    x->has_body = true;
    x->item_count = count;
}

/*------------------------------------------------------------------------------
 * MARK: - Users and permissions
 *----------------------------------------------------------------------------*/

#define EMU_TOKEN_LIFE_S 3600

static void emu_put_user(emu_text *out, const emu_database *database, const emu_user *user)
{
    emu_put(out, user->resource.text, user->resource.text_len);
    emu_put_format(out, ",\"_rid\":\"%s\",\"_self\":\"dbs/%s/users/%s/\",\"_etag\":", user->rid, database->rid,
                   user->rid);
    emu_put_etag(out, user->resource.etag, user->resource.ts);
    emu_put_format(out, ",\"_permissions\":\"permissions/\",\"_ts\":%lld}", (long long)user->resource.ts);
}

static emu_user *emu_find_user(emu_database *database, aiocosmos_str name)
{
    emu_user *user = database->users;
    while (user && !emu_is(name, user->resource.id) && !emu_is(name, user->rid)) user = user->next;
    return user;
}

static void emu_create_user(emu_exchange *x)
{
    emu_core *core = x->core;
    char room[AIOC_PROTOCOL_ITEM_ID_MAX + 1];
    unsigned char raw[8];
    aiocosmos_json root;
    aiocosmos_str id;
    emu_user *user, **last = &x->database->users;
    if (!emu_parse_body(x, &root) || !emu_take_id(x, root, room, &id, false)) return;
    if (emu_find_user(x->database, id)) {
        emu_exists(x);
        return;
    }
    user = (emu_user *)aioc_mem_zalloc(&core->memory, sizeof *user);
    if (!user || !emu_resource_set(core, &user->resource, id, root)) {
        aioc_mem_free(&core->memory, user, sizeof *user);
        emu_no_memory(x);
        return;
    }
    memcpy(raw, x->database->raw_rid, 4);
    emu_store32be(raw + 4, ++core->next_user);   /* top bit clear: a user */
    emu_rid_text(user->rid, raw, sizeof raw);
    while (*last) last = &(*last)->next;
    *last = user;
    emu_put_user(&core->body, x->database, user);
    emu_answer_resource(x, &user->resource, 201, EMU_CONTAINERS_CHARGE);
}

static void emu_users_route(emu_exchange *x)
{
    emu_listing listing;
    emu_user *user;
    if (x->segments == 3 && strcmp(x->kind, "create_user") == 0) {
        emu_create_user(x);
    } else if (x->segments == 3) {
        if (!emu_listing_begin(&listing, x, "Users", x->database->rid)) return;
        for (user = x->database->users; user; user = user->next) {
            emu_text_clear(&x->core->scratch2);
            emu_put_user(&x->core->scratch2, x->database, user);
            emu_listing_add(&listing, emu_text_str(&x->core->scratch2));
        }
        emu_listing_end(&listing);
    } else if ((user = emu_find_user(x->database, x->segment[3])) == NULL) {
        emu_absent(x);
    } else if (x->request->verb == EMU_DELETE) {
        emu_drop_user(x->core, x->database, user);
        emu_answer_deleted(x);
    } else {
        emu_put_user(&x->core->body, x->database, user);
        emu_answer_resource(x, &user->resource, 200, 2);
    }
}

/* A permission's resource by names, whether it was given so or by RIDs: "dbs/D/colls/C", or an item's link below. */
static bool emu_named_link(emu_exchange *x, aiocosmos_str link, emu_text *out)
{
    aiocosmos_str part[6];
    size_t parts = 0, at = 0;
    emu_database *database;
    emu_container *container;
    link = aioc_text_trim_of(link, '/');
    while (at < link.len && parts < 6) {
        size_t start = at;
        while (at < link.len && link.ptr[at] != '/') at++;
        part[parts++] = emu_str(link.ptr + start, at - start);
        at++;
    }
    if (at < link.len || (parts != 4 && parts != 6) || !emu_is(part[0], "dbs") || !emu_is(part[2], "colls") ||
        (parts == 6 && !emu_is(part[4], "docs")))
        return emu_refuse(x, 400, 0, "The permission's 'resource' has to be the link of a container, or of "
                          "an item in one.");
    database = emu_find_database(x->core, part[1]);
    container = database ? emu_find_container(database, part[3]) : NULL;
    if (!container) return emu_refuse(x, 404, 0, "The permission's resource does not exist.");
    emu_puts(out, "dbs/");
    emu_put(out, database->resource.id, database->resource.id_len);
    emu_puts(out, "/colls/");
    emu_put(out, container->resource.id, container->resource.id_len);
    if (parts == 6) {
        emu_puts(out, "/docs/");
        emu_put_str(out, part[5]);
    }
    return true;
}

static bool emu_token_life(emu_exchange *x, int64_t *seconds)
{
    aiocosmos_str text = x->request->header[EMU_H_EXPIRY];
    uint64_t number;
    *seconds = EMU_TOKEN_LIFE_S;
    if (!text.len) return true;
    if (!aioc_text_parse_u64(text, &number) || number < 600 || number > 86400)
        return emu_refuse(x, 400, 0, "The value of x-ms-documentdb-expiry-seconds has to be between 600 and 86400.");
    *seconds = (int64_t)number;
    return true;
}

/* Each time that a permission is read, its token is a new one. */
static bool emu_put_permission(emu_exchange *x, emu_text *out, const emu_user *user, const emu_permission *permission)
{
    static const char *const names[] = { "resource", "permissionMode", "resourcePartitionKey" };
    emu_core *core = x->core;
    emu_text *link = &core->scratch;
    aiocosmos_json found[3];
    char room[2048];
    int64_t life;
    size_t len, start, key_at;
    bool all;
    if (!emu_token_life(x, &life)) return false;
    emu_text_clear(link);
    emu_put(link, permission->resource.text, permission->resource.text_len);
    emu_puts(link, "}");
    if (link->failed || aioc_json_parse(&core->doc2, link->buffer.data, link->buffer.len) < 0) return emu_no_memory(x);
    aioc_json_fields(aioc_json_root(&core->doc2), names, 3, found);
    len = aioc_json_get_str(found[0], room, sizeof room);
    all = aioc_json_is_str(found[1], "All") || aioc_json_is_str(found[1], "all");        /* the SDKs differ */
    if (len >= sizeof room || (!all && !aioc_json_is_str(found[1], "Read") && !aioc_json_is_str(found[1], "read")))
        return emu_refuse(x, 400, 0, "A permission needs a 'resource', and a 'permissionMode' of All or Read.");
    emu_put(out, permission->resource.text, permission->resource.text_len);
    emu_put_format(out, ",\"_rid\":\"%s\",\"_self\":\"dbs/%s/users/%s/permissions/%s/\",\"_etag\":", permission->rid,
                   x->database->rid, user->rid, permission->rid);
    emu_put_etag(out, permission->resource.etag, permission->resource.ts);
    emu_put_format(out, ",\"_ts\":%lld,\"_token\":\"", (long long)permission->resource.ts);
    key_at = found[2].len ? (size_t)(found[2].ptr - link->buffer.data) : 0;
    start = link->buffer.len;                              /* the text with the key stays in front of the link */
    if (!emu_named_link(x, emu_str(room, len), link)) return false;
    if (link->failed || !emu_token_make(core, out, emu_str(link->buffer.data + start, link->buffer.len - start), all,
                                        emu_str(link->buffer.data + key_at, found[2].len), x->now_ms / 1000 + life))
        return emu_no_memory(x);
    emu_puts(out, "\"}");
    return true;
}

static void emu_create_permission(emu_exchange *x, emu_user *user)
{
    emu_core *core = x->core;
    char room[AIOC_PROTOCOL_ITEM_ID_MAX + 1];
    unsigned char raw[16];
    aiocosmos_json root;
    aiocosmos_str id;
    emu_permission *permission, **last = &user->permissions;
    if (!emu_parse_body(x, &root) || !emu_take_id(x, root, room, &id, false)) return;
    for (; *last; last = &(*last)->next) {
        if (!emu_is(id, (*last)->resource.id)) continue;
        emu_exists(x);
        return;
    }
    permission = (emu_permission *)aioc_mem_zalloc(&core->memory, sizeof *permission);
    if (!permission || !emu_resource_set(core, &permission->resource, id, root)) {
        aioc_mem_free(&core->memory, permission, sizeof *permission);
        emu_no_memory(x);
        return;
    }
    memset(raw, 0, sizeof raw);
    memcpy(raw, x->database->raw_rid, 4);
    aioc_text_store64le(raw + 8, ++core->next_user);
    emu_rid_text(permission->rid, raw, sizeof raw);
    *last = permission;
    if (emu_put_permission(x, &core->body, user, permission))
        emu_answer_resource(x, &permission->resource, 201, EMU_CONTAINERS_CHARGE);
    else emu_drop_permission(core, user, permission);
}

static void emu_list_permissions(emu_exchange *x, const emu_user *user)
{
    const emu_permission *permission = user->permissions;
    emu_text text;
    emu_listing listing;
    memset(&text, 0, sizeof text);
    text.memory = &x->core->memory;
    if (!emu_listing_begin(&listing, x, "Permissions", user->rid)) return;
    for (; permission; permission = permission->next) {
        text.buffer.len = 0;
        if (emu_put_permission(x, &text, user, permission) && !text.failed)
            emu_listing_add(&listing, emu_text_str(&text));
    }
    emu_listing_end(&listing);
    aioc_mem_buffer_free(text.memory, &text.buffer);
}

static void emu_permissions_route(emu_exchange *x)
{
    emu_user *user = emu_find_user(x->database, x->segment[3]);
    emu_permission *permission;
    if (!user) {
        emu_refuse(x, 404, 1003, "Owner resource does not exist");
        return;
    }
    if (x->segments == 5) {
        if (strcmp(x->kind, "create_permission") == 0) emu_create_permission(x, user);
        else emu_list_permissions(x, user);
        return;
    }
    permission = user->permissions;
    while (permission && !emu_is(x->segment[5], permission->resource.id)) permission = permission->next;
    if (!permission) {
        emu_absent(x);
    } else if (x->request->verb == EMU_DELETE) {
        emu_drop_permission(x->core, user, permission);
        emu_answer_deleted(x);
    } else if (emu_put_permission(x, &x->core->body, user, permission)) {
        emu_answer_resource(x, &permission->resource, 200, 2);
    }
}

/*------------------------------------------------------------------------------
 * MARK: - Routes
 *----------------------------------------------------------------------------*/

void emu_meta_route(emu_exchange *x)
{
    if (x->segments == 0) {
        emu_read_account(x);
        return;
    }
    if (strcmp(x->type, "offers") == 0) {
        emu_offers_route(x);
        return;
    }
    if (strcmp(x->type, "pkranges") == 0) {
        if (emu_find_owner(x)) emu_list_ranges(x);
        return;
    }
    if (x->segments >= 2 && !(x->database = emu_find_database(x->core, x->segment[1]))) {
        if (x->segments > 2) emu_refuse(x, 404, 1003, "Owner resource does not exist");
        else emu_absent(x);
        return;
    }
    if (strcmp(x->type, "dbs") == 0) emu_databases_route(x);
    else if (strcmp(x->type, "colls") == 0) emu_containers_route(x);
    else if (strcmp(x->type, "users") == 0) emu_users_route(x);
    else emu_permissions_route(x);
}
