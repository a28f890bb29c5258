/* definition.h: what the definition of a container may say. */
#ifndef EMULATOR_DEFINITION_H
#define EMULATOR_DEFINITION_H

#include "exchange.h"

/* The properties that make a difference here. */
enum {
    EMU_C_KEY, EMU_C_UNIQUE, EMU_C_INDEXING, EMU_C_TTL, EMU_C_FEED, EMU_C_CONFLICT, EMU_C_GEO, EMU_C_VECTORS,
    EMU_C_FULL_TEXT, EMU_C_COMPUTED,
    EMU_C_COUNT
};

EMU_PRIVATE bool emu_define_container(emu_exchange *x, emu_container *container, aiocosmos_json root,
                                      aiocosmos_json found[EMU_C_COUNT]);
EMU_PRIVATE bool emu_same_definition(emu_exchange *x, const emu_container *container, const emu_container *wanted);
EMU_PRIVATE bool emu_set_container_text(emu_core *core, emu_container *container, aiocosmos_str id, aiocosmos_json root,
                                        const aiocosmos_json *found);

#endif
