/* interrupt.h: Ctrl-C and SIGTERM, for what ends in good order. */
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

#include "tool.h"

/* For the handler of a signal that stops: this one is the first, the second, or the same once more: timeout(1) signals
 * the command, and then its group, which is no second wish. */
typedef enum interruption { INTERRUPT_FIRST, INTERRUPT_ECHO, INTERRUPT_AGAIN } interruption;
interruption interruption_of_signal(void);

/* The first signal is noted, and wakes these clients (other may be NULL); the second one ends at once. */
void catch_interrupts(aiocosmos_client *client, aiocosmos_client *other);
bool was_interrupted(void);
/* From here on a signal ends the tool: before the clients are destroyed. */
void release_interrupts(void);
/* Ends early when a signal comes. */
void wait_or_interrupt(long ms);

#endif
