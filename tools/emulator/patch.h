/* patch.h: what a patch does to a document. */
#ifndef EMULATOR_PATCH_H
#define EMULATOR_PATCH_H

#include "exchange.h"

/* Changes the JSON text as the operations of a patch say, or refuses. Then core->doc2 is the document, parsed. */
EMU_PRIVATE bool emu_patch(emu_exchange *x, aiocosmos_json operations, emu_text *document);

#endif
