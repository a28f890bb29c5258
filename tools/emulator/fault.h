/* fault.h: failures on request. */
#ifndef EMULATOR_FAULT_H
#define EMULATOR_FAULT_H

#include "exchange.h"

/* What a fault does to an answer. */
typedef enum emu_action {
    EMU_FAULT_NONE,
    /* Another answer, or none; the request may not be carried out. */
    EMU_FAULT_STATUS, EMU_FAULT_HTML, EMU_FAULT_JSON, EMU_FAULT_BIG, EMU_FAULT_RESET, EMU_FAULT_CLOSE, EMU_FAULT_HANG,
    /* Its own answer, in another form. */
    EMU_FAULT_TRUNCATE, EMU_FAULT_GARBLE, EMU_FAULT_CHUNKED, EMU_FAULT_TRICKLE, EMU_FAULT_END, EMU_FAULT_DELAY
} emu_action;

struct emu_fault {
    struct emu_fault *next;
    char     verb[12], path[256], kind[32];                /* empty: any */
    uint64_t kinds;                                        /* a set of emu_kind */
    uint64_t skip, count;                                  /* requests let through first, and then hit */
    double   probability;
    uint64_t random;                                       /* the state of its own generator */
    emu_action action;
    bool     after;                                        /* the request is carried out, and its answer is lost */
    int      status, sub_status;
    double   retry_after_ms;
    int64_t  delay_ms;
    size_t   at;                                           /* where the answer is cut or garbled; how big it is */
    uint64_t hits;
};

/* Adds the rules of a text, or puts them in the place of those that there are. False: why. */
EMU_PRIVATE bool emu_faults_add(emu_core *core, aiocosmos_str text, bool replace, char *why, size_t cap);
EMU_PRIVATE void emu_faults_put(emu_text *out, const emu_fault *faults);   /* as JSON */
EMU_PRIVATE emu_fault *emu_fault_find(emu_core *core, const emu_exchange *x);

#endif
