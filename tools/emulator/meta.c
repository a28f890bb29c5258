/* meta.c: everything but items: the account, databases, containers, partition key ranges, offers. */
#include "meta.h"
#include "definition.h"
#include "listing.h"
#include "script.h"
#include "users.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* More than the partitions that there are can give takes the service some time; here so much. */
#define EMU_QUICK_THROUGHPUT 10000
#define EMU_REPLACE_MS       2000

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
    emu_offer *offer = (emu_offer *)aioc_mem_zalloc(&core->store.memory, sizeof *offer);
    if (!offer) return NULL;
    offer->number = ++core->store.next_offer;
    raw[0] = (unsigned char)(offer->number >> 16);
    raw[1] = (unsigned char)(offer->number >> 8);
    raw[2] = (unsigned char)offer->number;
    emu_rid_text(offer->rid, raw, sizeof raw);
    snprintf(offer->self, sizeof offer->self, "%s", self);
    snprintf(offer->owner_rid, sizeof offer->owner_rid, "%s", rid);
    offer->throughput = autoscale ? autoscale / 10 : manual; /* autoscale starts at a tenth of its maximum */
    offer->autoscale_max = autoscale;
    offer->etag = ++core->store.next_etag;
    offer->ts = emu_now(&core->store.clock) / 1000;
    offer->next = core->store.offers;
    core->store.offers = offer;
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
    snprintf(x->extra, sizeof x->extra, "x-ms-cosmos-min-throughput: %d\r\nx-ms-offer-replace-pending: %s",
             offer->autoscale_max ? 1000 : 400, x->now_ms < offer->pending_until_ms ? "true" : "false");
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
    if (x->now_ms < offer->pending_until_ms &&             /* who asks again for the same may have lost the answer */
        (autoscale != offer->autoscale_max || (!autoscale && manual != offer->throughput))) {
        emu_refuse(x, 423, 0, "The throughput is being replaced: the last request to do so is still carried out.");
        return;
    }
    if ((autoscale ? autoscale : manual) > EMU_QUICK_THROUGHPUT) offer->pending_until_ms = x->now_ms + EMU_REPLACE_MS;
    offer->autoscale_max = autoscale;
    offer->throughput = autoscale ? autoscale / 10 : manual;
    offer->etag = ++x->store->next_etag;
    offer->ts = x->now_ms / 1000;
    emu_answer_offer(x, offer);
}

static void emu_offers_route(emu_exchange *x)
{
    emu_offer *offer = x->store->offers;
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
    emu_database *database = x->store->databases;
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
    emu_database *database, **last = &core->store.databases;
    int64_t manual, autoscale;
    if (!emu_parse_body(x, &root) || !emu_take_id(x, root, room, &id) ||
        !emu_asked_throughput(x, &manual, &autoscale))
        return;
    if (emu_find_database(&core->store, id)) {
        emu_exists(x);
        return;
    }
    database = (emu_database *)aioc_mem_zalloc(&core->store.memory, sizeof *database);
    if (!database) {
        emu_no_memory(x);
        return;
    }
    while (*last) last = &(*last)->next;
    *last = database;
    emu_store32be(database->raw_rid, 0x4a000000u + ++core->store.next_database);
    emu_rid_text(database->rid, database->raw_rid, 4);
    snprintf(self, sizeof self, "dbs/%s/", database->rid);
    if (!emu_resource_set(&core->store, &database->resource, id, root) ||
        ((manual || autoscale) && !(database->offer = emu_make_offer(core, self, database->rid, manual, autoscale)))) {
        emu_drop_database(&core->store, database);
        emu_no_memory(x);
        return;
    }
    emu_put_database(&core->body, database);
    emu_answer_resource(x, &database->resource, 201, EMU_CONTAINERS_CHARGE);
}

static void emu_databases_route(emu_exchange *x)
{
    emu_database *database = x->database;
    x->database = NULL;                                    /* it is not in itself */
    if (x->segments == 1) {
        if (x->kind == EMU_CREATE_DATABASE) emu_create_database(x);
        else emu_list_databases(x);
        return;
    }
    if (x->request->verb == EMU_DELETE) {
        if (!emu_matches(x, database->resource.etag, database->resource.ts)) return;
        emu_drop_database(x->store, database);
        emu_answer_deleted(x);
    } else {
        emu_put_database(&x->core->body, database);
        emu_answer_resource(x, &database->resource, 200, 2);
    }
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

static void emu_number_container(emu_core *core, emu_container *container)
{
    memcpy(container->raw_rid, container->database->raw_rid, 4);
    /* never one that was used before */
    emu_store32be(container->raw_rid + 4, 0x80000000u | ++core->store.next_database);
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
        !emu_make_ranges(&core->store, container, (uint32_t)core->options.partitions)) return emu_no_memory(x);
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
    if (!emu_parse_body(x, &root) || !emu_take_id(x, root, room, &id)) return;
    if (emu_find_container(x->database, id)) {
        emu_exists(x);
        return;
    }
    container = (emu_container *)aioc_mem_zalloc(&core->store.memory, sizeof *container);
    if (!container) {
        emu_no_memory(x);
        return;
    }
    container->database = x->database;
    if (!emu_build_container(x, container, id, root)) {
        emu_drop_container(&core->store, container);
        return;
    }
    while (*last) last = &(*last)->next;
    *last = container;
    emu_put_container(&core->body, container);
    emu_answer_resource(x, &container->resource, 201, EMU_CONTAINERS_CHARGE);
}

static void emu_replace_container(emu_exchange *x, emu_container *container)
{
    emu_core *core = x->core;
    char room[AIOC_PROTOCOL_ITEM_ID_MAX + 1];
    aiocosmos_json root, found[EMU_C_COUNT];
    aiocosmos_str id;
    emu_container wanted;
    bool ok;
    if (!emu_parse_body(x, &root) || !emu_take_id(x, root, room, &id)) return;
    if (!emu_is(id, container->resource.id)) {
        emu_refuse(x, 400, 0, "The id of a container cannot be changed.");
        return;
    }
    memset(&wanted, 0, sizeof wanted);
    ok = emu_define_container(x, &wanted, root, found) && emu_same_definition(x, container, &wanted);
    aioc_mem_free(&core->store.memory, wanted.unique, wanted.unique_count * sizeof *wanted.unique);
    aioc_mem_free(&core->store.memory, wanted.definition, wanted.definition_len);
    if (!ok) return;
    if (!emu_set_container_text(core, container, id, root, found)) {
        emu_no_memory(x);
        return;
    }
    container->has_ttl = wanted.has_ttl;
    container->flat = wanted.flat;
    container->ttl = wanted.ttl;
    emu_events_retain(&core->store, container, wanted.retention_s);
    emu_indexes_clear(&core->store, container);            /* the policy may be another */
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
        if (x->kind == EMU_CREATE_CONTAINER) emu_create_container(x);
        else emu_list_containers(x);
        return;
    }
    container = emu_find_container(x->database, x->segment[3]);
    if (!container) {
        emu_absent(x);
    } else if (x->request->verb != EMU_GET && !emu_matches(x, container->resource.etag, container->resource.ts)) {
        return;
    } else if (x->request->verb == EMU_DELETE) {
        emu_drop_container(x->store, container);
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

/* There is one region, and so there are none. */
static void emu_conflicts_route(emu_exchange *x)
{
    emu_listing listing;
    if (x->segments == 6) emu_absent(x);
    else if (emu_listing_begin(&listing, x, "Conflicts", x->container->rid)) emu_listing_end(&listing);
}

/*------------------------------------------------------------------------------
 * MARK: - Routes
 *----------------------------------------------------------------------------*/

void emu_meta_route(emu_exchange *x)
{
    emu_subject subject = emu_kind_subject(x->kind);
    switch (subject) {
    case EMU_ACCOUNT: emu_read_account(x); return;
    case EMU_OFFERS: emu_offers_route(x); return;
    case EMU_RANGES:
        if (emu_find_owner(x)) emu_list_ranges(x);
        return;
    case EMU_SCRIPTS:
        if (emu_find_owner(x)) emu_scripts_route(x);
        return;
    case EMU_CONFLICTS:
        if (emu_find_owner(x)) emu_conflicts_route(x);
        return;
    default: break;
    }
    if (x->segments >= 2 && !(x->database = emu_find_database(x->store, x->segment[1]))) {
        if (x->segments > 2) emu_refuse(x, 404, 1003, "Owner resource does not exist");
        else emu_absent(x);
        return;
    }
    if (subject == EMU_DATABASES) emu_databases_route(x);
    else if (subject == EMU_CONTAINERS) emu_containers_route(x);
    else if (subject == EMU_USERS) emu_users_route(x);
    else emu_permissions_route(x);
}
