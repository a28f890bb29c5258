/* geometry.h: GeoJSON on the Earth (WGS84) or on a plane: points, line strings, polygons and multi polygons. */
#ifndef EMULATOR_SQL_GEOMETRY_H
#define EMULATOR_SQL_GEOMETRY_H

#include "value.h"

typedef struct sql_geometry sql_geometry;

/* Of the plane where the arena's env is flat. NULL: it is none, and *reason, where asked for, says why. What it is made
 * of lives as long as the arena's values. */
EMU_PRIVATE const sql_geometry *sql_read_geometry(sql_arena *arena, const sql_value *value, const char **reason);

/* In metres and square metres; on a plane in its unit. */
EMU_PRIVATE double sql_geometry_distance(sql_env *env, const sql_geometry *a, const sql_geometry *b);
EMU_PRIVATE double sql_geometry_area(sql_env *env, const sql_geometry *geometry);
EMU_PRIVATE bool   sql_geometry_intersects(sql_env *env, const sql_geometry *a, const sql_geometry *b);
EMU_PRIVATE bool   sql_geometry_within(sql_env *env, const sql_geometry *a, const sql_geometry *b);

#endif
