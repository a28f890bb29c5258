/* regex.h: regular expressions. */
#ifndef EMULATOR_SQL_REGEX_H
#define EMULATOR_SQL_REGEX_H

#include "value.h"

typedef struct sql_regex sql_regex;

/* modifiers: of i, m, s, x. Leaves the engine where the pattern is none. */
EMU_PRIVATE sql_regex *sql_regex_compile(sql_arena *arena, aiocosmos_str pattern, aiocosmos_str modifiers);
EMU_PRIVATE bool       sql_regex_match(sql_arena *arena, const sql_regex *regex, aiocosmos_str text);

#endif
