/* clock.h: time and chance, as the core was given them. */
#ifndef EMULATOR_CLOCK_H
#define EMULATOR_CLOCK_H

#include "text.h"

typedef struct emu_clock {
    int64_t (*now_ms)(void *user);                         /* NULL: the system's clock */
    uint64_t (*random)(void *user);                        /* NULL: a generator of our own */
    void *user;
    int64_t stands_ms;                                     /* not 0: it is then, while changes are restored */
    int64_t ahead_ms;                                      /* of the clock that was given */
    uint64_t state;                                        /* of the generator */
} emu_clock;

EMU_PRIVATE int64_t emu_now(const emu_clock *clock);
EMU_PRIVATE uint64_t emu_random(emu_clock *clock);
EMU_PRIVATE uint64_t emu_random_next(uint64_t *state);     /* of a generator that anybody may have */
EMU_PRIVATE void emu_make_guid(emu_clock *clock, char out[EMU_GUID + 1]);

#endif
