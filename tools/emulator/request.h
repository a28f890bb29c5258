/* request.h: a request, as the wire has it. */
#ifndef EMULATOR_REQUEST_H
#define EMULATOR_REQUEST_H

#include "text.h"

typedef enum emu_header {
    EMU_H_AUTHORIZATION, EMU_H_DATE, EMU_H_MS_DATE, EMU_H_VERSION, EMU_H_CONTENT_LENGTH, EMU_H_TRANSFER_ENCODING,
    EMU_H_CONNECTION, EMU_H_EXPECT, EMU_H_CONTENT_TYPE, EMU_H_PARTITION_KEY, EMU_H_SESSION, EMU_H_UPSERT, EMU_H_QUERY,
    EMU_H_PLAN, EMU_H_BATCH, EMU_H_CROSS_PARTITION, EMU_H_MAX_ITEMS, EMU_H_CONTINUATION, EMU_H_RANGE_ID, EMU_H_KEY_TYPE,
    EMU_H_START_EPK, EMU_H_END_EPK, EMU_H_IF_MATCH, EMU_H_IF_NONE_MATCH, EMU_H_IF_MODIFIED, EMU_H_FEED_FORMAT,
    EMU_H_PREFER, EMU_H_A_IM, EMU_H_ACTIVITY,
    EMU_H_CONSISTENCY, EMU_H_COLLECTION_RID, EMU_H_THROUGHPUT, EMU_H_AUTOPILOT, EMU_H_TO_AUTOPILOT, EMU_H_TO_MANUAL,
    EMU_H_EXPIRY, EMU_H_HOST, EMU_H_QUOTA_INFO, EMU_H_FEATURES, EMU_H_QUERY_METRICS, EMU_H_INDEX_METRICS,
    EMU_H_INDEX_METRICS_2, EMU_H_CAPABILITIES, EMU_H_BATCH_ATOMIC, EMU_H_BATCH_GO_ON, EMU_H_ORIGIN, EMU_H_PRE_TRIGGER,
    EMU_H_POST_TRIGGER, EMU_H_INDEXING, EMU_H_SCRIPT_LOG, EMU_H_MERGED, EMU_H_ACCEPT, EMU_H_COUNT
} emu_header;

typedef enum emu_verb { EMU_GET, EMU_POST, EMU_PUT, EMU_PATCH, EMU_DELETE, EMU_OTHER } emu_verb;

typedef struct emu_request {
    emu_verb verb;
    bool head_only;                                        /* HEAD: refused, and without a body */
    bool keep_alive;
    bool remote;                                           /* from another machine */
    int  minor;                                            /* HTTP/1.minor */
    aiocosmos_str verb_text, target;
    aiocosmos_str header[EMU_H_COUNT];                     /* ptr NULL: not there */
    aiocosmos_str body;
    aiocosmos_json parsed;                                 /* the body, where that is part of what was parsed already */
} emu_request;

#endif
