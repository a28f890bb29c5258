/* bill.c: what requests cost in request units, and which queries the container's indexes allow.
 *
 * Of the service's formula these points are public: to read 1 KB by its id is 1 RU, 100 KB are 10; a write is some five
 * times that; a query is 2.2 to 2.4 RU and what it reads; 61,000 documents of 6.5 KB read to filter them are 4,060 RU,
 * 8,600 are 410, one found by the index is 3. What is charged does not depend on whether this emulator has made an
 * index, as the service has all that the policy says. */
#include "bill.h"
#include "policy.h"

#include <string.h>

#define EMU_RU_QUERY     2.25
#define EMU_RU_FEED      1.0
#define EMU_RU_DOCUMENT  0.02                              /* read for a query, */
#define EMU_RU_KB        0.007                             /* and each KB of it */
#define EMU_RU_ENTRY     0.0001                            /* of an index */
#define EMU_RU_KB_GIVEN  0.05

/* Along the line from what 1 KB, or less, costs to what 100 KB cost. */
static double emu_by_size(double one_kb, double hundred_kb, size_t bytes)
{
    double kb = bytes <= 1024 ? 1 : (double)bytes / 1024;
    return one_kb + (hundred_kb - one_kb) * (kb - 1) / 99;
}

double emu_bill_read(size_t bytes)
{
    return emu_by_size(1, 10, bytes);
}

double emu_bill_write(size_t bytes)
{
    return emu_by_size(EMU_RU_DELETE, EMU_RU_DELETE + 45, bytes);
}

double emu_bill_page(const emu_bill *bill, const emu_work *work, bool first)
{
    double documents = (double)work->documents, bytes = (double)work->document_bytes, rows = (double)work->rows;
    double charge = (bill ? EMU_RU_QUERY : EMU_RU_FEED) + EMU_RU_KB_GIVEN * (double)work->row_bytes / 1024;
    if (bill && bill->only) return charge + EMU_RU_ENTRY * documents;
    if (bill && bill->ordered) {                           /* one for each row, also of those that are passed over */
        double skipped = first ? (double)bill->skipped : 0;
        bytes = rows > 0 ? (double)work->row_bytes / rows * (rows + skipped) : 0;
        documents = rows + skipped;
    }
    return charge + EMU_RU_DOCUMENT * documents + EMU_RU_KB * bytes / 1024;
}

/*------------------------------------------------------------------------------
 * MARK: - What indexes do
 *----------------------------------------------------------------------------*/

/* path NULL: nothing that an index has. */
static bool emu_bill_serves(aiocosmos_json policy, const char *path)
{
    return path && (!*path || emu_policy_indexes_value(policy, path));
}

static void emu_bill_fill(aiocosmos_json policy, const emu_sql_shape *shape, emu_bill *bill)
{
    bool all = true, some = false;
    size_t i;
    for (i = 0; i < shape->conjunct_count && i < EMU_BILL_CONJUNCTS; i++) {
        bill->served[i] = emu_bill_serves(policy, shape->conjuncts[i]);
        all = all && bill->served[i];
        some = some || bill->served[i];
    }
    all = all && shape->conjunct_count <= EMU_BILL_CONJUNCTS;
    bill->counted = some && shape->conjunct_count <= EMU_BILL_CONJUNCTS;
    bill->only = all && shape->aggregates &&
                 (!shape->aggregate_path || emu_bill_serves(policy, shape->aggregate_path));
    bill->ordered = all && shape->order_path != NULL;
    bill->skipped = shape->skipped;
}

/* What the service has no index for, it refuses to sort. */
static bool emu_order_ok(emu_exchange *x, aiocosmos_json policy, const emu_sql_shape *shape)
{
    if (x->core->options.any_order || shape->sorted_count == 0) return true;
    if (shape->sorted_count == 1)
        return emu_bill_serves(policy, shape->sorted_path) ||
               emu_refuse(x, 400, 0, "The index path corresponding to the specified order-by item is excluded.");
    return emu_policy_composes(policy, shape->sorted, shape->sorted_count) ||
           emu_refuse(x, 400, 0, "The order by query does not have a corresponding composite index that it can be "
                      "served from.");
}

bool emu_bill_open(emu_exchange *x, emu_sql_query *query, emu_bill *bill)
{
    const emu_sql_shape *shape = emu_sql_shape_of(query);
    aiocosmos_json_doc doc;
    aiocosmos_json policy;
    bool ok;
    memset(bill, 0, sizeof *bill);
    aioc_json_open(&doc, &x->store->memory);
    policy = emu_policy(x, &doc);
    ok = emu_order_ok(x, policy, shape);
    if (ok) emu_bill_fill(policy, shape, bill);
    aioc_json_close(&doc);
    return ok;
}
