/* policy.h: what a container's indexing policy says. */
#ifndef EMULATOR_POLICY_H
#define EMULATOR_POLICY_H

#include "exchange.h"

#define EMU_POLICY_PATH 200                                /* bytes of a path */

/* That of the request's container, parsed; of no type where there is no memory, which reads as everything indexed. */
EMU_PRIVATE aiocosmos_json emu_policy(emu_exchange *x, aiocosmos_json_doc *doc);
/* path as a policy writes it: "/a/b/?". */
EMU_PRIVATE bool emu_policy_indexes(aiocosmos_json policy, const char *path);
/* path: "/a/b". One that is too long is not indexed. */
EMU_PRIVATE bool emu_policy_indexes_value(aiocosmos_json policy, const char *path);
/* Whether a composite index has these paths ("/a/b ASC"), all in their order or all in the other. */
EMU_PRIVATE bool emu_policy_composes(aiocosmos_json policy, const char *const *sorted, size_t count);

#endif
