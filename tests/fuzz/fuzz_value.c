/* The elements of an array as values: their order is an order, and what is the same has the same hash. */
#include "fuzz.h"

enum { VALUES_MAX = 12 };

static bool is_scalar(aiocosmos_json value)
{
    return value.type != AIOCOSMOS_JSON_ARR && value.type != AIOCOSMOS_JSON_OBJ;
}

static bool same_hash(aiocosmos_json a, aiocosmos_json b)
{
    static const uint64_t key[2] = {UINT64_C(0x0123456789abcdef), UINT64_C(0xfedcba9876543210)};
    aioc_val_hash left = aioc_val_hash_of(key, a), right = aioc_val_hash_of(key, b);
    return left.high == right.high && left.low == right.low;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    aioc_mem memory = fuzz_memory(0);
    aiocosmos_str text = {(const char *)data, size};
    aiocosmos_json values[VALUES_MAX], value = aioc_json_none(), name;
    aiocosmos_json_doc doc;
    size_t count = 0, i, j, k;
    char *copy = fuzz_copy(text);
    aioc_json_open(&doc, &memory);
    if (aioc_json_parse(&doc, copy, size) == 0)
        while (count < VALUES_MAX && aioc_json_next(aioc_json_root(&doc), &name, &value)) values[count++] = value;
    for (i = 0; i < count; i++) {
        CHECK_INT(aioc_val_compare(values[i], values[i]), 0);
        for (j = 0; j < count; j++) {
            int order = aioc_val_compare(values[i], values[j]);
            CHECK_INT(aioc_val_compare(values[j], values[i]), -order);
            if (same_hash(values[i], values[j])) CHECK_INT(order, 0);
            else if (is_scalar(values[i])) CHECK(order != 0);
            for (k = 0; k < count && order <= 0; k++)
                if (aioc_val_compare(values[j], values[k]) <= 0) CHECK(aioc_val_compare(values[i], values[k]) <= 0);
        }
    }
    aioc_json_close(&doc);
    free(copy);
    fuzz_close(&memory);
    return 0;
}
