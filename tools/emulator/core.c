/* core.c: the core as its user has it: open and close, and what is asked of it besides requests. */
#include "fault.h"
#include "head.h"
#include "held.h"
#include "keep.h"
#include "network.h"
#include "query.h"
#include "script.h"

#include <stdlib.h>
#include <string.h>

static const char *emu_options_wrong(emu_options *options)
{
    if (options->partitions < 0 || options->partitions > AIOCOSMOS_EMULATOR_PARTITIONS_MAX)
        return "partitions: 1 to 256";
    if (!(options->ru_per_second >= 0) || options->ru_per_second > 1e12) return "RU per second: a positive number";
    return emu_shuffle_wrong(&options->shuffle);
}

static void *emu_allocate(void *ptr, size_t old_size, size_t new_size, void *user)
{
    const emu_options *options = (const emu_options *)user;
    if (options->allocate) return options->allocate(ptr, old_size, new_size, options->user_data);
    if (new_size > 0) return ptr ? realloc(ptr, new_size) : malloc(new_size);
    free(ptr);
    return NULL;
}

static void emu_forget(void *user, const emu_container *container)
{
    emu_held_forget((emu_core *)user, container);
}

emu_core *aiocosmos_emulator_open(const emu_options *options, const char **error)
{
    static const emu_options defaults;
    emu_options copy = options ? *options : defaults;
    const char *wrong = emu_options_wrong(&copy);
    aiocosmos_allocator allocator;
    size_t error_at;
    emu_core *core = wrong ? NULL : (emu_core *)emu_allocate(NULL, 0, sizeof *core, &copy);
    if (error) *error = wrong ? wrong : "no memory";
    if (!core) return NULL;
    memset(core, 0, sizeof *core);
    core->options = copy;
    if (!copy.partitions) core->options.partitions = AIOCOSMOS_EMULATOR_DEFAULT_PARTITIONS;
    allocator.fn = emu_allocate;
    allocator.user_data = &core->options;
    aioc_mem_init(&core->store.memory, &allocator, copy.memory_max ? copy.memory_max : SIZE_MAX);
    core->store.scratch.memory = &core->store.memory;
    aioc_mem_init(&core->store.journal_memory, &allocator, SIZE_MAX);
    core->store.journal.memory = &core->store.journal_memory;
    aioc_json_open(&core->store.index_doc, &core->store.memory);
    core->store.journaling = copy.keep != NULL;
    core->store.clock.now_ms = copy.now_ms;
    core->store.clock.random = copy.random;
    core->store.clock.user = copy.user_data;
    core->store.clock.state = 1;
    core->store.shuffle = copy.shuffle;
    core->store.dropping = emu_forget;
    core->store.user = core;
    core->body.memory = core->scratch.memory = core->scratch2.memory = core->batch.memory = &core->store.memory;
    core->doubles.memory = &core->store.memory;
    aioc_json_open(&core->doc, &core->store.memory);
    aioc_json_open(&core->doc2, &core->store.memory);
    aioc_json_open(&core->batch_doc, &core->store.memory);
    emu_head_names(core->header_slot);
    core->date_s = core->asked_s = -1;
    emu_pace(core, 0, 0);
    emu_index_scopes_of(core, EMU_INDEX_LEAST);
    if (aioc_auth_signer_set_key(&core->signer, aioc_mem_str(copy.key ? copy.key : AIOCOSMOS_EMULATOR_KEY),
                                 &error_at) < 0) {
        wrong = "key: not base64";
    }
    if (!copy.endpoint) copy.endpoint = "http://localhost:8081/";
    if (!wrong && aiocosmos_emulator_set_endpoint(core, copy.endpoint)) return core;
    if (error && wrong) *error = wrong;
    aiocosmos_emulator_close(core);
    return NULL;
}

void aiocosmos_emulator_close(emu_core *core)
{
    emu_options options = core->options;
    emu_network_close(core->network);
    while (core->store.databases) emu_drop_database(&core->store, core->store.databases);
    aiocosmos_emulator_clear_faults(core);
    emu_functions_free(core);
    aioc_mem_free(&core->store.memory, core->endpoint, core->endpoint_size);
    aioc_mem_buffer_free(&core->store.memory, &core->store.scratch.buffer);
    aioc_json_close(&core->store.index_doc);
    aioc_mem_buffer_free(&core->store.journal_memory, &core->store.journal.buffer);
    aioc_mem_close(&core->store.journal_memory);
    aioc_mem_buffer_free(&core->store.memory, &core->body.buffer);
    aioc_mem_buffer_free(&core->store.memory, &core->scratch.buffer);
    aioc_mem_buffer_free(&core->store.memory, &core->scratch2.buffer);
    aioc_mem_buffer_free(&core->store.memory, &core->doubles.buffer);
    aioc_mem_buffer_free(&core->store.memory, &core->batch.buffer);
    aioc_mem_buffer_free(&core->store.memory, &core->batch_text);
    aioc_mem_buffer_free(&core->store.memory, &core->key_text);
    aioc_json_close(&core->doc);
    aioc_json_close(&core->doc2);
    aioc_json_close(&core->batch_doc);
    aioc_mem_wipe(&core->signer, sizeof core->signer);
    aioc_mem_close(&core->store.memory);
    emu_allocate(core, sizeof *core, 0, &options);
}

bool aiocosmos_emulator_set_endpoint(emu_core *core, const char *endpoint)
{
    size_t size = strlen(endpoint) + 1;
    char *copy = (char *)aioc_mem_alloc(&core->store.memory, size);
    if (!copy) return false;
    memcpy(copy, endpoint, size);
    aioc_mem_free(&core->store.memory, core->endpoint, core->endpoint_size);
    core->endpoint = copy;
    core->endpoint_size = size;
    return true;
}

int64_t aiocosmos_emulator_now_ms(const emu_core *core)
{
    return emu_now(&core->store.clock);
}

uint64_t aiocosmos_emulator_requests(const emu_core *core)
{
    return core->requests;
}

size_t aiocosmos_emulator_memory(const emu_core *core)
{
    return core->store.memory.used;
}

bool aiocosmos_emulator_set_shuffle(emu_core *core, const emu_shuffle *shuffle)
{
    emu_shuffle wanted = *shuffle;
    if (emu_shuffle_wrong(&wanted)) return false;
    core->store.shuffle = wanted;
    return true;
}

bool aiocosmos_emulator_split(emu_core *core, const char *database, const char *container, const char *range_id)
{
    return emu_reshape_named(&core->store, database, container, range_id, 1, 0, 0) && emu_keep(core);
}

bool aiocosmos_emulator_merge(emu_core *core, const char *database, const char *container, const char *range_id)
{
    return emu_reshape_named(&core->store, database, container, range_id, 2, 0, 0) && emu_keep(core);
}
