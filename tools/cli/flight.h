/* flight.h: the lines of an import that are on their way, what Ctrl-C says of them, and how to go on. */
#ifndef CLI_FLIGHT_H
#define CLI_FLIGHT_H

#include "input.h"

/* From here on the first signal ends the import in good order, the second at once, telling what is in doubt. What is done
 * to the lines: "stored". It begins with this line, or element, 0 being the first. There is one flight. */
void flight_begin(tool *t, aiocosmos_kind kind, const char *done_to_them, long from_line, long from_element);
void flight_end(void);
/* A line, or element, is on its way: its place, to drop it by. There has to be room. */
unsigned flight_take(const document *line);
void flight_drop(unsigned place);
bool flight_is_full(void);
bool flight_is_empty(void);
bool flight_is_interrupted(void);
/* While it is true, a signal cannot wait for us: we wait for somebody to read what we write. */
void flight_is_waiting(bool waiting);
/* By the second signal. Then each line is dropped or left, and the end is told. */
bool flight_is_ending(void);
void flight_leave(unsigned place, bool unsent);
void flight_end_at_once(void);
uint64_t flight_reached(void);             /* the last line, or element, taken; 0: none */
/* Of an import that was broken off. */
void flight_say_where(tool *t);

#endif
