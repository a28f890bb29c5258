/* clock.c: time and chance. */
#include "clock.h"

#include <string.h>

int64_t emu_now(const emu_clock *clock)
{
    int64_t now_ms;
    if (clock->stands_ms) return clock->stands_ms;
    now_ms = clock->now_ms ? clock->now_ms(clock->user)
                           : aioc_platform_system.wall_ms(aioc_platform_system.user_data);
    return now_ms + clock->ahead_ms;
}

/* SplitMix64. */
uint64_t emu_random_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t emu_random(emu_clock *clock)
{
    return clock->random ? clock->random(clock->user) : emu_random_next(&clock->state);
}

void emu_make_guid(emu_clock *clock, char out[EMU_GUID + 1])
{
    uint64_t a = emu_random(clock), b = emu_random(clock);
    memcpy(out, "00000000-0000-4000-8000-000000000000", EMU_GUID + 1);
    emu_put_hex(out, a >> 32, 8);
    emu_put_hex(out + 9, a >> 16, 4);
    emu_put_hex(out + 15, a, 3);
    emu_put_hex(out + 20, b >> 48, 3);
    emu_put_hex(out + 24, b, 12);
}
