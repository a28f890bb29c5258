/* metrics.c: what the answer to a query says about itself when it is asked: how many documents were looked at
 * (x-ms-documentdb-query-metrics), and which paths an index would serve (x-ms-cosmos-index-utilization).
 *
 * Documents and bytes are what was read, while the index report is what the service would say by the container's
 * indexing policy. Times come from the clock that the core was given, and are 0 where that stands still. */
#include "metrics.h"
#include "policy.h"
#include "sql/parse.h"

#include <stdio.h>
#include <string.h>

#define METRICS_PATHS 32
#define METRICS_PATH  EMU_POLICY_PATH

typedef struct metrics {
    emu_exchange *x;
    const sql_select *select;
    char single[METRICS_PATHS][METRICS_PATH];              /* "/a/b/?" */
    const emu_sql_shape *shape;
    size_t count;
    aiocosmos_json policy;
} metrics;

/*------------------------------------------------------------------------------
 * MARK: - Paths that a query filters and sorts by
 *----------------------------------------------------------------------------*/

static bool metrics_add(char *path, const char *text, size_t len)
{
    size_t used = strlen(path);
    if (used + len + 4 > METRICS_PATH) return false;
    memcpy(path + used, text, len);
    path[used + len] = 0;
    return true;
}

/* As an indexing policy writes it. False: node is no path of the document. */
static bool metrics_path(const sql_select *select, const sql_node *node, char *out)
{
    uint32_t i;
    if (node->kind == SQL_ALIAS) {
        for (i = 0; i < select->source_count; i++) {
            const sql_source *source = &select->sources[i];
            if (source->whole && node->slot == source->root) return true;
            if (node->slot != source->slot || !source->path) continue;
            return metrics_path(select, source->path, out) && (!source->each || metrics_add(out, "/[]", 3));
        }
        return false;
    }
    if (node->kind == SQL_PROPERTY)
        return metrics_path(select, node->children[0], out) && metrics_add(out, "/", 1) &&
               metrics_add(out, node->name.ptr, node->name.len);
    if (node->kind == SQL_MEMBER && node->children[1]->kind == SQL_CONSTANT)
        return metrics_path(select, node->children[0], out) && metrics_add(out, "/[]", 3);
    return false;
}

static void metrics_note(metrics *m, const sql_node *node, const char *behind)
{
    char path[METRICS_PATH] = "";
    size_t i;
    if (m->count == METRICS_PATHS || !metrics_path(m->select, node, path) || !*path ||
        !metrics_add(path, behind, strlen(behind))) return;
    for (i = 0; i < m->count && strcmp(m->single[i], path) != 0; i++) continue;
    if (i < m->count) return;
    memcpy(m->single[m->count++], path, sizeof path);
}

static void metrics_walk(metrics *m, const sql_node *node)
{
    uint32_t i;
    bool elements = node->kind == SQL_CALL && strncmp(node->function->name, "ARRAY_CONTAINS", 14) == 0;
    if (node->kind == SQL_PROPERTY || node->kind == SQL_MEMBER || node->kind == SQL_ALIAS) {
        metrics_note(m, node, "/?");
        return;
    }
    for (i = 0; i < node->count; i++) {
        if (elements && i == 0) metrics_note(m, node->children[i], "/[]/?");
        else metrics_walk(m, node->children[i]);
    }
}

static void metrics_collect(metrics *m, const emu_sql_query *query)
{
    const sql_select *select = query->select;
    while (select->source_count && select->sources[0].select) select = select->sources[0].select;
    m->select = select;
    if (select->where) metrics_walk(m, select->where);
    if (select->order_count == 1) metrics_note(m, select->orders[0].node, "/?");
}

/*------------------------------------------------------------------------------
 * MARK: - The reports
 *----------------------------------------------------------------------------*/

/* more: what one index has besides its path. */
static void metrics_put_singles(const metrics *m, emu_text *out, bool indexed, const char *more)
{
    size_t i, n = 0;
    for (i = 0; i < m->count; i++) {
        if (emu_policy_indexes(m->policy, m->single[i]) != indexed) continue;
        emu_puts(out, n++ ? ",{\"IndexSpec\":" : "{\"IndexSpec\":");
        emu_put_json(out, aioc_mem_str(m->single[i]));
        emu_puts(out, more);
        emu_puts(out, "}");
    }
}

static void metrics_put_composite(const metrics *m, emu_text *out, bool indexed, const char *more)
{
    size_t i;
    if (m->shape->sorted_count < 2 ||
        emu_policy_composes(m->policy, m->shape->sorted, m->shape->sorted_count) != indexed) return;
    for (i = 0; i < m->shape->sorted_count; i++) {
        emu_puts(out, i ? "," : "{\"IndexSpecs\":[");
        emu_put_json(out, aioc_mem_str(m->shape->sorted[i]));
    }
    emu_puts(out, "]");
    emu_puts(out, more);
    emu_puts(out, "}");
}

/* The older form has four lists, the newer has the same nested. */
static void metrics_put_report(const metrics *m, emu_text *out, bool newer)
{
    const char *single = newer ? "" : ",\"FilterExpression\":\"\",\"FilterPreciseSet\":true,\"IndexPreciseSet\":true,"
                                      "\"IndexImpactScore\":\"High\"";
    const char *composite = newer ? "" : ",\"IndexPreciseSet\":true,\"IndexImpactScore\":\"High\"";
    int i;
    for (i = 0; i < 4; i++) {
        static const char *const older_names[4] = {
            "{\"UtilizedSingleIndexes\":[", "],\"PotentialSingleIndexes\":[", "],\"UtilizedCompositeIndexes\":[",
            "],\"PotentialCompositeIndexes\":["
        };
        static const char *const newer_names[4] = {
            "{\"UtilizedIndexes\":{\"SingleIndexes\":[", "],\"CompositeIndexes\":[",
            "]},\"PotentialIndexes\":{\"SingleIndexes\":[", "],\"CompositeIndexes\":["
        };
        bool composed = newer ? i % 2 : i / 2, indexed = newer ? i < 2 : i % 2 == 0;
        emu_puts(out, newer ? newer_names[i] : older_names[i]);
        if (composed) metrics_put_composite(m, out, indexed, composite);
        else metrics_put_singles(m, out, indexed, single);
    }
    emu_puts(out, newer ? "]}}" : "]}");
}

/* One more header line. What does not fit is left out. */
static void metrics_line(emu_exchange *x, const char *name, const char *value, size_t len)
{
    size_t used = strlen(x->extra);
    if (used + strlen(name) + len + 5 > sizeof x->extra) return;
    snprintf(x->extra + used, sizeof x->extra - used, "%s%s: %.*s", used ? "\r\n" : "", name, (int)len, value);
}

static void metrics_index_line(emu_exchange *x, const emu_text *report, bool newer)
{
    static const char hex[] = "0123456789ABCDEF";
    char value[2048];
    size_t i, n = 0;
    aiocosmos_str text = emu_str(report->buffer.data, report->buffer.len);
    if (!newer && text.len / 3 * 4 + 8 <= sizeof value) n = aioc_text_base64_encode(text.ptr, text.len, value);
    for (i = 0; newer && i < text.len && n + 3 < sizeof value; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) {
            value[n++] = (char)c;
        } else {
            value[n++] = '%';
            value[n++] = hex[c >> 4];
            value[n++] = hex[c & 15];
        }
    }
    if (n > 0 && (!newer || i == text.len)) metrics_line(x, "x-ms-cosmos-index-utilization", value, n);
}

static void metrics_report_indexes(emu_exchange *x, emu_sql_query *query, bool newer)
{
    emu_text *out = &x->core->scratch2;
    aiocosmos_json_doc doc;
    metrics m;
    memset(&m, 0, sizeof m);
    m.x = x;
    m.shape = emu_sql_shape_of(query);
    metrics_collect(&m, query);
    aioc_json_open(&doc, &x->store->memory);
    m.policy = emu_policy(x, &doc);
    emu_text_clear(out);
    metrics_put_report(&m, out, newer);
    if (!out->failed) metrics_index_line(x, out, newer);
    aioc_json_close(&doc);
}

static void metrics_report_work(emu_exchange *x, const emu_work *work)
{
    char value[700];
    double ms = (double)(emu_now(&x->store->clock) - x->now_ms);
    double ratio = work->documents == 0 ? 1 : (double)work->rows / (double)work->documents;
    int len = snprintf(value, sizeof value,
        "totalExecutionTimeInMs=%.2f;queryCompileTimeInMs=0.00;queryLogicalPlanBuildTimeInMs=0.00;"
        "queryPhysicalPlanBuildTimeInMs=0.00;queryOptimizationTimeInMs=0.00;VMExecutionTimeInMs=%.2f;"
        "indexLookupTimeInMs=0.00;documentLoadTimeInMs=0.00;systemFunctionExecuteTimeInMs=0.00;"
        "userFunctionExecuteTimeInMs=0.00;retrievedDocumentCount=%llu;retrievedDocumentSize=%llu;"
        "outputDocumentCount=%llu;outputDocumentSize=%llu;writeOutputTimeInMs=0.00;indexUtilizationRatio=%.2f",
        ms, ms, (unsigned long long)work->documents, (unsigned long long)work->document_bytes,
        (unsigned long long)work->rows, (unsigned long long)work->row_bytes, ratio > 1 ? 1.0 : ratio);
    if (len > 0 && (size_t)len < sizeof value) metrics_line(x, "x-ms-documentdb-query-metrics", value, (size_t)len);
}

/* Headers of the answer to a query. The one that is not asked for says that rows that sort the same come by their _rid,
 * ascending; clients resume by it. */
void emu_report(emu_exchange *x, emu_sql_query *query, const emu_work *work)
{
    static const char info[] = "{\"reverseRidEnabled\":false,\"reverseIndexScan\":false}";
    if (query->select->order_count) metrics_line(x, "x-ms-cosmos-query-execution-info", info, sizeof info - 1);
    if (emu_header_true(x, EMU_H_QUERY_METRICS)) metrics_report_work(x, work);
    if (emu_header_true(x, EMU_H_INDEX_METRICS_2)) metrics_report_indexes(x, query, true);
    else if (emu_header_true(x, EMU_H_INDEX_METRICS)) metrics_report_indexes(x, query, false);
}
