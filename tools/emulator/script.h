/* script.h: stored procedures, triggers and functions: kept, listed, and run where a function in C stands for one. */
#ifndef EMULATOR_SCRIPT_H
#define EMULATOR_SCRIPT_H

#include "exchange.h"

typedef struct emu_function emu_function;                  /* in C, for scripts of an id */
struct emu_function {
    emu_function *next;
    char *id;
    aiocosmos_emulator_script run;
    void *user_data;
};

/* Of "sprocs", "triggers" or "udfs" in a path; EMU_SCRIPT_TYPES: none of these. */
EMU_PRIVATE emu_script_type emu_script_type_of(aiocosmos_str segment);
EMU_PRIVATE void emu_scripts_route(emu_exchange *x);
EMU_PRIVATE void emu_execute_script(emu_exchange *x);
/* Runs the triggers that the headers of a write name on the document that it brings. made gets what a pre-trigger puts
 * in its place; empty: nothing. False: refused. */
EMU_PRIVATE bool emu_run_triggers(emu_exchange *x, emu_text *made);
EMU_PRIVATE void emu_functions_free(emu_core *core);

#endif
