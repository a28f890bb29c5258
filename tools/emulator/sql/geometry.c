/* geometry.c: GeoJSON on the Earth (WGS84), or on a plane.
 *
 * An edge is, as the service has it, where a plane through the Earth's middle cuts the ellipsoid: seen from there a
 * great circle, so that a place is its direction, and who is on which side and what crosses what are questions of a
 * sphere. Lengths are those of the ellipse.
 *
 * A ring has its area on its left: one that goes clockwise is everything but what it goes around. A polygon is what
 * all its rings have in common; the border belongs to it.
 *
 * A plane lies beside the sphere, at z = 2: seen from the middle, its straight lines are such edges too, and who is on
 * which side and what crosses what is asked in the same way. Only lengths, areas and what is between two places differ.
 * There it makes no difference which way a ring goes: the first of a polygon is around it, the others are holes. */
#include "geometry.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GEO_EQUATOR_M 6378137.0
#define GEO_FLATTENING (1 / 298.257223563)
#define GEO_NEAR      1e-14                                /* radians: less is nothing */
#define GEO_PI        3.14159265358979323846
#define GEO_PLANE     2.0                                  /* no direction of length 1 is so far up */
#define GEO_FAR       1e60                                 /* on it; what is farther could not be compared */
#define GEO_STEPS     4                                    /* that a look at one edge takes */
#define GEO_ROUGH_STEPS  200                               /* a length */
#define GEO_SEARCH_STEPS 10000                             /* the shortest of many */

typedef struct geo_spot { double x, y, z; } geo_spot;      /* a direction, of length 1; or z GEO_PLANE */

/* Of a point one spot, of a line all, of a ring all but the last, which is the first. All is in a ball. */
typedef struct geo_path { geo_spot *spot; size_t count, edges; geo_spot centre; double radius; } geo_path;
typedef struct geo_shape { geo_path *path; size_t count; } geo_shape;

struct sql_geometry {
    int dimensions;                                        /* 0: a point, 1: a line, 2: polygons */
    geo_shape *shape;
    size_t count;
    size_t spots;
};

/*------------------------------------------------------------------------------
 * MARK: - Directions
 *----------------------------------------------------------------------------*/

static geo_spot geo_at(double x, double y, double z)
{
    geo_spot spot;
    spot.x = x;
    spot.y = y;
    spot.z = z;
    return spot;
}

/* a + b * by */
static geo_spot geo_add(geo_spot a, geo_spot b, double by)
{
    return geo_at(a.x + b.x * by, a.y + b.y * by, a.z + b.z * by);
}

static double geo_dot(geo_spot a, geo_spot b)
{
    return a.x * b.x + a.y * b.y + a.z * b.z;
}

static double geo_long(geo_spot a)
{
    return sqrt(geo_dot(a, a));
}

static geo_spot geo_unit(geo_spot a)
{
    return geo_add(geo_at(0, 0, 0), a, 1 / geo_long(a));
}

static bool geo_is_flat(geo_spot a)
{
    return a.z == GEO_PLANE;
}

/* Across both, and twice as long as their cross product: exact for neighbours, too. */
static geo_spot geo_across(geo_spot a, geo_spot b)
{
    geo_spot d = geo_add(a, b, -1), s = geo_add(a, b, 1);
    return geo_at(d.y * s.z - d.z * s.y, d.z * s.x - d.x * s.z, d.x * s.y - d.y * s.x);
}

/* Between two directions; on a plane their distance. */
static double geo_angle(geo_spot a, geo_spot b)
{
    if (geo_is_flat(a)) return geo_long(geo_add(a, b, -1));
    return 2 * atan2(geo_long(geo_add(a, b, -1)), geo_long(geo_add(a, b, 1)));
}

static geo_spot geo_middle(geo_spot a, geo_spot b)
{
    if (geo_is_flat(a)) return geo_add(a, geo_add(b, a, -1), 0.5);
    return geo_unit(geo_add(a, b, 1));
}

/* How far c is to the left of the way from a to b, as a sine; to the right: negative. */
static double geo_left(geo_spot a, geo_spot b, geo_spot c)
{
    geo_spot across = geo_across(a, b);
    double side = geo_dot(across, geo_add(c, a, -1)) / geo_long(across);
    return fabs(side) < GEO_NEAR ? 0 : side;
}

static bool geo_same(geo_spot a, geo_spot b)
{
    return geo_long(geo_add(a, b, -1)) < GEO_NEAR;
}

/* c is on the way from a to b, not on the other side of the Earth. */
static bool geo_on(geo_spot a, geo_spot b, geo_spot c)
{
    double whole = geo_long(geo_add(a, b, -1));
    whole += GEO_NEAR * (whole > 1 ? whole : 1);
    if (!geo_is_flat(a) && geo_dot(c, geo_add(a, b, 1)) < -GEO_NEAR) return false;
    return geo_long(geo_add(a, c, -1)) < whole && geo_long(geo_add(b, c, -1)) < whole && geo_left(a, b, c) == 0;
}

/* They cross, each in its inside. */
static bool geo_cross(geo_spot a, geo_spot b, geo_spot c, geo_spot d)
{
    double left = geo_left(a, b, d);
    return -geo_left(a, b, c) * left > 0 && -geo_left(c, d, b) * left > 0 && geo_left(c, d, a) * left > 0;
}

/*------------------------------------------------------------------------------
 * MARK: - Paths
 *----------------------------------------------------------------------------*/

static geo_spot geo_from(const geo_path *path, size_t edge)
{
    return path->spot[edge];
}

static geo_spot geo_to(const geo_path *path, size_t edge)
{
    return path->spot[edge + 1 == path->count ? 0 : edge + 1];
}

/* Half of an edge's chord, and by what it arches at most. */
static double geo_reach(geo_spot a, geo_spot b)
{
    double chord = geo_long(geo_add(a, b, -1));
    return chord / 2 + chord * chord / 4 + GEO_NEAR;
}

static double geo_gap(geo_spot a, geo_spot b, geo_spot centre)
{
    return geo_long(geo_add(centre, geo_add(a, b, 1), -0.5));
}

static void geo_surround(geo_path *path)
{
    geo_spot sum = geo_at(0, 0, 0);
    size_t i;
    for (i = 0; i < path->count; i++) sum = geo_add(sum, path->spot[i], 1 / (double)path->count);
    path->centre = sum;
    path->radius = 0;
    for (i = 0; i < path->edges; i++) {
        geo_spot a = geo_from(path, i), b = geo_to(path, i);
        double far = geo_gap(a, b, sum) + geo_reach(a, b);
        if (far > path->radius) path->radius = far;
    }
}

static bool geo_far_apart(geo_spot p, geo_spot q, geo_spot r, geo_spot s)
{
    return geo_gap(p, q, geo_add(geo_at(0, 0, 0), geo_add(r, s, 1), 0.5)) > geo_reach(p, q) + geo_reach(r, s);
}

static bool geo_far_from(const geo_path *path, geo_spot a, geo_spot b)
{
    return geo_gap(a, b, path->centre) > path->radius + geo_reach(a, b);
}

static bool geo_path_on(const geo_path *path, geo_spot spot)
{
    size_t i;
    if (path->edges == 0) return geo_same(path->spot[0], spot);
    if (geo_far_from(path, spot, spot)) return false;
    for (i = 0; i < path->edges; i++)
        if (geo_on(geo_from(path, i), geo_to(path, i), spot)) return true;
    return false;
}

static geo_spot geo_nearest_flat(geo_spot a, geo_spot b, geo_spot spot)
{
    geo_spot way = geo_add(b, a, -1);
    double part = geo_dot(geo_add(spot, a, -1), way) / geo_dot(way, way);
    return part <= 0 ? a : part >= 1 ? b : geo_add(a, way, part);
}

/* The direction nearest to a spot on the way from a to b, as seen from the Earth's middle. */
static geo_spot geo_nearest(geo_spot a, geo_spot b, geo_spot spot)
{
    geo_spot across = geo_unit(geo_across(a, b)), foot = geo_add(spot, across, -geo_dot(across, spot));
    if (geo_is_flat(a)) return geo_nearest_flat(a, b, spot);
    if (geo_long(foot) > GEO_NEAR) {
        foot = geo_unit(foot);
        if (geo_dot(geo_across(a, foot), across) >= 0 && geo_dot(geo_across(foot, b), across) >= 0) return foot;
    }
    return geo_angle(a, spot) < geo_angle(b, spot) ? a : b;
}

/* A spot to the left of an edge, nearer to that than to any other. */
static geo_spot geo_beside(const geo_path *ring, size_t edge)
{
    geo_spot a = geo_from(ring, edge), b = geo_to(ring, edge), middle = geo_middle(a, b), across = geo_across(a, b);
    double room = geo_angle(a, middle);
    size_t i;
    for (i = 0; i < ring->edges; i++) {
        double angle;
        if (i == edge) continue;
        angle = geo_angle(middle, geo_nearest(geo_from(ring, i), geo_to(ring, i), middle));
        if (angle < room) room = angle;
    }
    if (!geo_is_flat(a)) return geo_unit(geo_add(middle, geo_unit(across), room / 4));
    across.z = 0;
    return geo_add(middle, geo_unit(across), room / 4);
}

/* Whether the spot, which is not on the ring, is to its left: each crossing on the way from a spot that is changes
 * sides. -1: the way meets a corner. */
static int geo_count_crossings(const geo_path *ring, geo_spot inside, geo_spot spot)
{
    int crossings = 0;
    size_t i;
    if (geo_long(geo_add(inside, spot, 1)) < 1e-6) return -1;   /* the way is not clear */
    for (i = 0; i < ring->edges; i++) {
        if (geo_on(inside, spot, geo_from(ring, i))) return -1;
        crossings += geo_cross(inside, spot, geo_from(ring, i), geo_to(ring, i));
    }
    return crossings;
}

static bool geo_ring_has(const geo_path *ring, geo_spot spot)
{
    size_t edge;
    for (edge = 0; edge < ring->edges; edge++) {
        geo_spot inside = geo_beside(ring, edge);
        int crossings = geo_same(inside, spot) ? 0 : geo_count_crossings(ring, inside, spot);
        if (crossings >= 0) return crossings % 2 == 0;
    }
    return false;
}

static bool geo_shape_has(const geo_shape *shape, int dimensions, geo_spot spot)
{
    size_t i;
    for (i = 0; i < shape->count; i++) {
        bool on = geo_path_on(&shape->path[i], spot);
        if (dimensions < 2 || on) return on;
    }
    for (i = 0; i < shape->count; i++)
        if (!geo_ring_has(&shape->path[i], spot)) return false;
    return true;
}

static bool geo_shape_borders(const geo_shape *shape, geo_spot spot)
{
    size_t i;
    for (i = 0; i < shape->count; i++) if (geo_path_on(&shape->path[i], spot)) return true;
    return false;
}

/*------------------------------------------------------------------------------
 * MARK: - Lengths
 *----------------------------------------------------------------------------*/

/* How fast one moves in metres a radian, `angle` along the way from u towards w. */
static double geo_speed(geo_spot u, geo_spot w, double angle)
{
    const double a2 = GEO_EQUATOR_M * GEO_EQUATOR_M, b2 = a2 * (1 - GEO_FLATTENING) * (1 - GEO_FLATTENING);
    double c = cos(angle), s = sin(angle), form, slope;
    geo_spot at = geo_add(geo_at(u.x * c, u.y * c, u.z * c), w, s);
    geo_spot ahead = geo_add(geo_at(-u.x * s, -u.y * s, -u.z * s), w, c);
    form = (at.x * at.x + at.y * at.y) / a2 + at.z * at.z / b2;
    slope = (at.x * ahead.x + at.y * ahead.y) / a2 + at.z * ahead.z / b2;
    return sqrt((1 + slope * slope / (form * form)) / form);
}

/* Along the ellipse, by Simpson's rule: to a tenth of a millimetre. */
static double geo_metres(geo_spot a, geo_spot b)
{
    double angle = geo_angle(a, b), sum;
    geo_spot w;
    int parts = 4, i;
    if (geo_is_flat(a)) return angle;
    if (angle < GEO_NEAR) return 0;
    parts += 2 * (int)(angle * 24);
    w = geo_add(b, a, -geo_dot(a, b));
    if (geo_long(w) < GEO_NEAR) w = geo_across(a, fabs(a.z) < 0.9 ? geo_at(0, 0, 1) : geo_at(1, 0, 0));
    w = geo_unit(w);
    sum = geo_speed(a, w, 0) + geo_speed(a, w, angle);
    for (i = 1; i < parts; i++) sum += (i % 2 ? 4 : 2) * geo_speed(a, w, angle * i / parts);
    return sum * angle / parts / 3;
}

/* From a spot to the way from a to b. The place that is nearest on the sphere is not quite on the ellipsoid: it is
 * sought around that. */
static double geo_metres_to_edge(geo_spot a, geo_spot b, geo_spot spot)
{
    geo_spot near = geo_nearest(a, b, spot), w = geo_unit(geo_add(b, a, -geo_dot(a, b)));
    double whole = geo_angle(a, b), at = geo_angle(a, near), reach = 0.01 * geo_angle(near, spot) + 1e-9;
    double low = at - reach > 0 ? at - reach : 0, high = at + reach < whole ? at + reach : whole;
    int i;
    if (geo_is_flat(a)) return geo_angle(near, spot);
    for (i = 0; i < 48 && high - low > 1e-9; i++) {       /* the golden section would spare a third of it */
        double one = low + (high - low) / 3, other = high - (high - low) / 3;
        geo_spot first = geo_add(geo_at(a.x * cos(one), a.y * cos(one), a.z * cos(one)), w, sin(one));
        geo_spot second = geo_add(geo_at(a.x * cos(other), a.y * cos(other), a.z * cos(other)), w, sin(other));
        if (geo_metres(first, spot) < geo_metres(second, spot)) high = other;
        else low = one;
    }
    at = (low + high) / 2;
    return geo_metres(geo_add(geo_at(a.x * cos(at), a.y * cos(at), a.z * cos(at)), w, sin(at)), spot);
}

/* Two paths that do not meet: an end of an edge is nearest. Seen from the Earth's middle all angles are within a
 * hundredth of what they are in metres: only edges about as near as the nearest can be it. And what is nearest on a
 * sphere is at most some hundred-thousandths farther than what is on the ellipsoid: of these, only few are sought. */
typedef struct geo_search { double near, rough, least; } geo_search;

static double geo_angle_to_edge(const geo_path *path, size_t edge, geo_spot spot)
{
    if (path->edges == 0) return geo_angle(path->spot[0], spot);
    return geo_angle(geo_nearest(geo_from(path, edge), geo_to(path, edge), spot), spot);
}

static void geo_look_around(const geo_path *ends, const geo_path *path, geo_search *search)
{
    size_t i, k;
    for (i = 0; i < ends->count; i++) {
        for (k = 0; k < path->edges + (path->edges == 0); k++) {
            double angle = geo_angle_to_edge(path, k, ends->spot[i]);
            if (angle < search->near) search->near = angle;
        }
    }
}

static double geo_rough_metres(const geo_path *path, size_t edge, geo_spot spot)
{
    if (path->edges == 0) return geo_metres(path->spot[0], spot);
    return geo_metres(geo_nearest(geo_from(path, edge), geo_to(path, edge), spot), spot);
}

/* Of the edges that can be nearest; at first roughly. */
static void geo_measure(sql_env *env, const geo_path *ends, const geo_path *path, geo_search *search, bool roughly)
{
    size_t i, k;
    for (i = 0; i < ends->count; i++) {
        for (k = 0; k < path->edges + (path->edges == 0); k++) {
            geo_spot spot = ends->spot[i];
            double metres;
            if (geo_angle_to_edge(path, k, spot) > search->near * 1.02 + 1e-12) continue;
            sql_spend(env, GEO_ROUGH_STEPS);
            metres = geo_rough_metres(path, k, spot);
            if (roughly && metres < search->rough) search->rough = metres;
            if (roughly || metres > search->rough * 1.00005) continue;
            if (path->edges) {
                sql_spend(env, GEO_SEARCH_STEPS);
                metres = geo_metres_to_edge(geo_from(path, k), geo_to(path, k), spot);
            }
            if (metres < search->least) search->least = metres;
        }
    }
}

/*------------------------------------------------------------------------------
 * MARK: - Two geometries
 *----------------------------------------------------------------------------*/

static void geo_spend(sql_env *env, size_t edges)
{
    sql_spend(env, GEO_STEPS * (edges + 1));
}

static bool geo_has(sql_env *env, const sql_geometry *geometry, geo_spot spot)
{
    size_t i;
    geo_spend(env, 3 * geometry->spots);
    for (i = 0; i < geometry->count; i++)
        if (geo_shape_has(&geometry->shape[i], geometry->dimensions, spot)) return true;
    return false;
}

/* One spot of each path is enough: where edges cross is looked at elsewhere. */
static bool geo_has_some(sql_env *env, const sql_geometry *geometry, const sql_geometry *of)
{
    size_t i, k;
    for (i = 0; i < of->count; i++)
        for (k = 0; k < of->shape[i].count; k++)
            if (geo_has(env, geometry, of->shape[i].path[k].spot[0])) return true;
    return false;
}

/* Edges of a that are far from all of b cost a look each. */
static bool geo_paths_meet(sql_env *env, const geo_path *a, const geo_path *b)
{
    size_t i, k;
    geo_spend(env, a->count);
    if (a->edges == 0) return geo_path_on(b, a->spot[0]);
    if (b->edges == 0) return geo_path_on(a, b->spot[0]);
    for (i = 0; i < a->edges; i++) {
        geo_spot p = geo_from(a, i), q = geo_to(a, i);
        if (geo_far_from(b, p, q)) continue;
        geo_spend(env, 2 * b->edges);
        for (k = 0; k < b->edges; k++) {
            geo_spot r = geo_from(b, k), s = geo_to(b, k);
            if (geo_far_apart(p, q, r, s)) continue;
            if (geo_cross(p, q, r, s) || geo_on(p, q, r) || geo_on(p, q, s) || geo_on(r, s, p) || geo_on(r, s, q))
                return true;
        }
    }
    return false;
}

/* Walks all pairs of paths. */
typedef struct geo_pair { const geo_path *a, *b; size_t i, k, m, n; } geo_pair;

static bool geo_next(const sql_geometry *a, const sql_geometry *b, geo_pair *pair)
{
    if (pair->a && ++pair->n == b->shape[pair->m].count) {
        pair->n = 0;
        if (++pair->m == b->count) {
            pair->m = 0;
            if (++pair->k == a->shape[pair->i].count) {
                pair->k = 0;
                if (++pair->i == a->count) return false;
            }
        }
    }
    pair->a = &a->shape[pair->i].path[pair->k];
    pair->b = &b->shape[pair->m].path[pair->n];
    return true;
}

bool sql_geometry_intersects(sql_env *env, const sql_geometry *a, const sql_geometry *b)
{
    geo_pair pair;
    memset(&pair, 0, sizeof pair);
    while (geo_next(a, b, &pair)) if (geo_paths_meet(env, pair.a, pair.b)) return true;
    return geo_has_some(env, a, b) || geo_has_some(env, b, a);
}

double sql_geometry_distance(sql_env *env, const sql_geometry *a, const sql_geometry *b)
{
    geo_search search;
    geo_pair pair;
    int pass;
    if (a->dimensions == 0 && b->dimensions == 0) return geo_metres(a->shape->path->spot[0], b->shape->path->spot[0]);
    if (sql_geometry_intersects(env, a, b)) return 0;
    search.near = search.rough = search.least = INFINITY;
    memset(&pair, 0, sizeof pair);
    while (geo_next(a, b, &pair)) {
        geo_spend(env, 4 * pair.a->count * pair.b->count);
        geo_look_around(pair.a, pair.b, &search);
        geo_look_around(pair.b, pair.a, &search);
    }
    for (pass = 0; pass < 2; pass++) {
        memset(&pair, 0, sizeof pair);
        while (geo_next(a, b, &pair)) {
            geo_measure(env, pair.a, pair.b, &search, pass == 0);
            geo_measure(env, pair.b, pair.a, &search, pass == 0);
        }
    }
    return search.least;
}

/*------------------------------------------------------------------------------
 * MARK: - Areas
 *----------------------------------------------------------------------------*/

/* Twice the area to the left of a ring of a plane: negative, if that is all but what it goes around. */
static double geo_flat_area(const geo_path *ring)
{
    double sum = 0;
    size_t i;
    for (i = 2; i < ring->count; i++) {
        geo_spot a = geo_add(ring->spot[i - 1], ring->spot[0], -1), b = geo_add(ring->spot[i], ring->spot[0], -1);
        sum += a.x * b.y - a.y * b.x;
    }
    return sum;
}

/* The solid angle of three directions, as seen from the middle: negative, if they go clockwise. */
static double geo_solid_angle(geo_spot a, geo_spot b, geo_spot c)
{
    double volume = geo_dot(geo_across(geo_add(b, a, -1), geo_add(c, a, -1)), a) / 2;
    return 2 * atan2(volume, 1 + geo_dot(a, b) + geo_dot(b, c) + geo_dot(c, a));
}

/* On the ellipsoid, between the equator and a latitude, over a radian: in halves of the square of the axis. */
static double geo_zone(double sine)
{
    const double e = sqrt(GEO_FLATTENING * (2 - GEO_FLATTENING)), part = e * sine;
    return sine / (1 - part * part) + atanh(part) / e;
}

/* What that is more than on a sphere of the same area, along an edge: smooth, and nothing at the poles. By Simpson's
 * rule. */
static double geo_bulge_at(geo_spot a, geo_spot w, double angle, double pole)
{
    const double up = (1 - GEO_FLATTENING) * (1 - GEO_FLATTENING);
    double c = cos(angle), s = sin(angle);
    geo_spot at = geo_add(geo_at(a.x * c, a.y * c, a.z * c), w, s);
    geo_spot ahead = geo_add(geo_at(-a.x * s, -a.y * s, -a.z * s), w, c);
    double plane = at.x * at.x + at.y * at.y, sine = at.z / sqrt(at.z * at.z + plane * up * up);
    if (plane < GEO_NEAR) return 0;
    return (geo_zone(sine) - pole * at.z) * (at.x * ahead.y - at.y * ahead.x) / plane;
}

static double geo_bulge(geo_spot a, geo_spot b, double pole)
{
    double angle = geo_angle(a, b), sum;
    geo_spot w = geo_unit(geo_add(b, a, -geo_dot(a, b)));
    int parts = 4 + 2 * (int)(angle * 48), i;
    sum = geo_bulge_at(a, w, 0, pole) + geo_bulge_at(a, w, angle, pole);
    for (i = 1; i < parts; i++) sum += (i % 2 ? 4 : 2) * geo_bulge_at(a, w, angle * i / parts, pole);
    return sum * angle / parts / 3;
}

/* What is to the left of a ring, as a part of all that there is. */
static double geo_ring_share(const geo_path *ring)
{
    const double pole = geo_zone(1);
    geo_spot inside = geo_beside(ring, 0);                 /* no corner is opposite to it */
    double solid = 0, bulge = 0;
    size_t i;
    for (i = 0; i < ring->edges; i++) {
        solid += geo_solid_angle(inside, geo_from(ring, i), geo_to(ring, i));
        bulge += geo_bulge(geo_from(ring, i), geo_to(ring, i), pole);
    }
    solid = fmod(solid, 4 * GEO_PI);
    if (solid < 0) solid += 4 * GEO_PI;
    return (solid - bulge / pole) / (4 * GEO_PI);
}

/* What a valid polygon's rings leave out, each on its right, is apart. */
static double geo_shape_area(const geo_shape *shape)
{
    const double b = GEO_EQUATOR_M * (1 - GEO_FLATTENING), whole = 2 * GEO_PI * b * b * geo_zone(1);
    bool flat = geo_is_flat(shape->path->spot[0]);
    double area = 0;
    size_t i;
    for (i = 0; i < shape->count; i++) {
        if (flat) area += geo_flat_area(&shape->path[i]) / 2;
        else area += (geo_ring_share(&shape->path[i]) - (i > 0)) * whole;
    }
    return area > 0 ? area : 0;
}

double sql_geometry_area(sql_env *env, const sql_geometry *geometry)
{
    double area = 0;
    size_t i;
    if (geometry->dimensions < 2) return 0;
    sql_spend(env, GEO_ROUGH_STEPS * geometry->spots);
    for (i = 0; i < geometry->count; i++) area += geo_shape_area(&geometry->shape[i]);
    return area;
}

/*------------------------------------------------------------------------------
 * MARK: - Within
 *----------------------------------------------------------------------------*/

static size_t geo_corners(const geo_shape *shape)
{
    size_t i, corners = 0;
    for (i = 0; i < shape->count; i++) corners += shape->path[i].count;
    return corners;
}

/* From one spot to the next that is on a border of the shape: all of that is in the shape or none. */
static bool geo_edge_within(sql_env *env, geo_spot a, geo_spot b, const geo_shape *shape, int dimensions)
{
    size_t corners = geo_corners(shape), left, i, k;
    for (left = corners + 1; left > 0 && !geo_same(a, b); left--) {    /* no corner is passed twice */
        geo_spot next = b;
        geo_spend(env, 4 * corners);
        for (i = 0; i < shape->count; i++) {
            for (k = 0; k < shape->path[i].count; k++) {
                geo_spot corner = shape->path[i].spot[k];
                if (geo_on(a, next, corner) && !geo_same(a, corner)) next = corner;
            }
        }
        if (!geo_shape_has(shape, dimensions, geo_middle(a, next))) return false;
        a = next;
    }
    return true;
}

static bool geo_path_within(sql_env *env, const geo_path *path, const geo_shape *shape, int dimensions)
{
    size_t i, k, m;
    size_t corners = geo_corners(shape);
    for (i = 0; i < path->count; i++) {
        geo_spend(env, 3 * corners);
        if (!geo_shape_has(shape, dimensions, path->spot[i])) return false;
    }
    for (i = 0; i < path->edges; i++) {
        geo_spot a = geo_from(path, i), b = geo_to(path, i);
        for (k = 0; k < shape->count && dimensions == 2; k++)
            for (m = 0; m < shape->path[k].edges; m++)
                if (geo_cross(a, b, geo_from(&shape->path[k], m), geo_to(&shape->path[k], m))) return false;
        if (!geo_edge_within(env, a, b, shape, dimensions)) return false;
    }
    return true;
}

/* A polygon whose border is in another one can still be around a hole of that, or all but that. */
static bool geo_area_within(sql_env *env, const geo_shape *a, const geo_shape *b)
{
    size_t corners = geo_corners(a), i, k;
    for (i = 0; i < b->count; i++) {
        for (k = 0; k < b->path[i].count; k++) {
            geo_spot corner = b->path[i].spot[k];
            geo_spend(env, 4 * corners);
            if (geo_shape_has(a, 2, corner) && !geo_shape_borders(a, corner)) return false;
        }
    }
    return geo_shape_has(b, 2, geo_beside(&a->path[0], 0));
}

static bool geo_shape_within(sql_env *env, const geo_shape *a, int dimensions, const geo_shape *b,
                             int their_dimensions)
{
    size_t i;
    for (i = 0; i < a->count; i++) if (!geo_path_within(env, &a->path[i], b, their_dimensions)) return false;
    return dimensions < 2 || geo_area_within(env, a, b);
}

/* Each of its polygons, or itself, in one of the other's. */
bool sql_geometry_within(sql_env *env, const sql_geometry *a, const sql_geometry *b)
{
    size_t i, k;
    if (a->dimensions > b->dimensions) return false;
    for (i = 0; i < a->count; i++) {
        for (k = 0; k < b->count; k++)
            if (geo_shape_within(env, &a->shape[i], a->dimensions, &b->shape[k], b->dimensions)) break;
        if (k == b->count) return false;
    }
    return true;
}

/*------------------------------------------------------------------------------
 * MARK: - GeoJSON (RFC 7946)
 *----------------------------------------------------------------------------*/

typedef struct geo_reader {
    sql_arena *arena;
    sql_geometry *geometry;
    const char *type, *reason;
} geo_reader;

/* Always false. `format` has %s for the type and %u for the number. */
static bool geo_wrong(geo_reader *reader, const char *format, unsigned number)
{
    char *text = (char *)sql_alloc(reader->arena, 256);
    snprintf(text, 256, format, reader->type, number);
    reader->reason = text;
    return false;
}

/* Longitude, latitude, and whatever else. */
static bool geo_read_spot(geo_reader *reader, const sql_value *position, geo_spot *spot)
{
    double degrees[2], longitude, latitude;
    sql_cursor cursor;
    sql_value value;
    size_t count = 0;
    memset(&cursor, 0, sizeof cursor);
    if (position->type == SQL_ARRAY) {
        while (sql_next(reader->arena, position, &cursor, NULL, &value)) {
            if (value.type != SQL_NUMBER) break;
            if (count < 2) degrees[count] = value.as.number.real;
            count++;
        }
    }
    if (count < 2 || count < sql_count(position))
        return geo_wrong(reader, "The %s input is not valid because a position is not an array of two or more numbers.",
                         0);
    reader->geometry->spots++;
    if (reader->arena->env->flat) {
        *spot = geo_at(degrees[0], degrees[1], GEO_PLANE);
        return (fabs(degrees[0]) <= GEO_FAR && fabs(degrees[1]) <= GEO_FAR) ||
               geo_wrong(reader, "The %s input is not valid because a position is too far away.", 0);
    }
    if (!(fabs(degrees[1]) <= 90)) return geo_wrong(reader, "Latitude values must be between -90 and 90 degrees.", 0);
    if (!(fabs(degrees[0]) <= 180))
        return geo_wrong(reader, "Longitude values must be between -180 and 180 degrees.", 0);
    longitude = degrees[0] * GEO_PI / 180;
    latitude = degrees[1] * GEO_PI / 180;
    /* What is up there is not what leads away from the middle. */
    *spot = geo_unit(geo_at(cos(latitude) * cos(longitude), cos(latitude) * sin(longitude),
                            sin(latitude) * (1 - GEO_FLATTENING) * (1 - GEO_FLATTENING)));
    if (fabs(degrees[1]) == 90) *spot = geo_at(0, 0, degrees[1] / 90);
    return true;
}

/* Spots one after the other that are the same are one. */
static bool geo_read_path(geo_reader *reader, const sql_value *positions, geo_path *path)
{
    sql_cursor cursor;
    sql_value position;
    size_t count = positions->type == SQL_ARRAY ? sql_count(positions) : 0;
    memset(&cursor, 0, sizeof cursor);
    memset(path, 0, sizeof *path);
    path->spot = (geo_spot *)sql_alloc(reader->arena, (count + 1) * sizeof *path->spot);
    while (count && sql_next(reader->arena, positions, &cursor, NULL, &position)) {
        if (!geo_read_spot(reader, &position, &path->spot[path->count])) return false;
        if (path->count && geo_same(path->spot[path->count - 1], path->spot[path->count])) continue;
        if (path->count && geo_long(geo_add(path->spot[path->count - 1], path->spot[path->count], 1)) < 1e-9)
            return geo_wrong(reader, "The %s input is not valid because an edge leads to the other side of the Earth: "
                             "there are many ways.", 0);
        path->count++;
    }
    if (path->count < 2)
        return geo_wrong(reader, "The %s input is not valid because it needs at least two distinct positions.", 0);
    path->edges = path->count - 1;
    geo_surround(path);
    return true;
}

/* Two edges of one ring meet where one follows the other, and nowhere else; those of two rings may touch. */
static bool geo_edges_clear(geo_spot p, geo_spot q, geo_spot r, geo_spot s, bool of_one)
{
    if (geo_far_apart(p, q, r, s)) return true;
    if (geo_cross(p, q, r, s)) return false;
    if (!of_one) return true;
    if (geo_on(p, q, r) && !geo_same(q, r)) return false;
    if (geo_on(p, q, s) && !geo_same(p, s)) return false;
    return !(geo_on(r, s, p) && !geo_same(s, p)) && !(geo_on(r, s, q) && !geo_same(r, q));
}

/* An edge, and from where to where it is along the axis on which its shape is longest. */
typedef struct geo_span { double low, high; geo_spot a, b; size_t ring; } geo_span;

static int geo_compare_spans(const void *a, const void *b)
{
    double one = ((const geo_span *)a)->low, other = ((const geo_span *)b)->low;
    return one < other ? -1 : one > other;
}

static double geo_along(geo_spot spot, int axis)
{
    return axis == 0 ? spot.x : axis == 1 ? spot.y : spot.z;
}

static int geo_longest_axis(const geo_shape *shape)
{
    double length[3];
    int axis;
    size_t i, k;
    for (axis = 0; axis < 3; axis++) {
        double low = INFINITY, high = -INFINITY;
        for (i = 0; i < shape->count; i++) {
            for (k = 0; k < shape->path[i].count; k++) {
                double at = geo_along(shape->path[i].spot[k], axis);
                if (at < low) low = at;
                if (at > high) high = at;
            }
        }
        length[axis] = high - low;
    }
    axis = length[0] > length[1] ? 0 : 1;
    return length[axis] > length[2] ? axis : 2;
}

/* No edge crosses another: those are compared that are side by side on that axis. */
static bool geo_rings_clear(sql_arena *arena, const geo_shape *shape)
{
    size_t count = geo_corners(shape), used = 0, i, k;
    geo_span *span = (geo_span *)sql_alloc(arena, count * sizeof *span);
    int axis = geo_longest_axis(shape);
    for (i = 0; i < shape->count; i++) {
        for (k = 0; k < shape->path[i].edges; k++) {
            geo_spot a = geo_from(&shape->path[i], k), b = geo_to(&shape->path[i], k);
            double middle = geo_along(geo_add(a, b, 1), axis) / 2, reach = geo_reach(a, b);
            span[used].low = middle - reach;
            span[used].high = middle + reach;
            span[used].a = a;
            span[used].b = b;
            span[used++].ring = i;
        }
    }
    qsort(span, count, sizeof *span, geo_compare_spans);
    for (i = 0; i < count; i++) {
        for (k = i + 1; k < count && span[k].low <= span[i].high; k++) {
            const geo_span *one = &span[i], *other = &span[k];
            if (!geo_edges_clear(one->a, one->b, other->a, other->b, one->ring == other->ring)) return false;
        }
        geo_spend(arena->env, k - i);
    }
    return true;
}

static bool geo_read_ring(geo_reader *reader, const sql_value *positions, geo_path *ring, unsigned number)
{
    if (!geo_read_path(reader, positions, ring)) return false;
    if (!geo_same(ring->spot[0], ring->spot[ring->count - 1]))
        return geo_wrong(reader, "The %s input is not valid because the start and end points of the ring number %u are "
                         "not the same. Each ring of a polygon must have the same start and end points.", number);
    ring->edges = --ring->count;
    if (ring->count < 3)
        return geo_wrong(reader, "The %s input is not valid because the ring number %u has less than three distinct "
                         "points.", number);
    geo_surround(ring);
    return true;
}

static void geo_turn(geo_path *ring)
{
    size_t i;
    for (i = 0; i < ring->count / 2; i++) {
        geo_spot spot = ring->spot[i];
        ring->spot[i] = ring->spot[ring->count - 1 - i];
        ring->spot[ring->count - 1 - i] = spot;
    }
}

static bool geo_read_polygon(geo_reader *reader, const sql_value *rings, geo_shape *shape)
{
    sql_cursor cursor;
    sql_value positions;
    size_t count = rings->type == SQL_ARRAY ? sql_count(rings) : 0;
    memset(&cursor, 0, sizeof cursor);
    if (count == 0) return geo_wrong(reader, "The %s input is not valid because it has no ring.", 0);
    shape->count = 0;
    shape->path = (geo_path *)sql_alloc(reader->arena, count * sizeof *shape->path);
    while (sql_next(reader->arena, rings, &cursor, NULL, &positions)) {
        geo_path *ring = &shape->path[shape->count];
        if (!geo_read_ring(reader, &positions, ring, (unsigned)shape->count + 1)) return false;
        if (reader->arena->env->flat && (geo_flat_area(ring) < 0) == (shape->count == 0)) geo_turn(ring);
        shape->count++;
    }
    return geo_rings_clear(reader->arena, shape) ||
           geo_wrong(reader, "The %s input is not valid because its edges cross.", 0);
}

static void geo_make_shapes(geo_reader *reader, int dimensions, size_t count)
{
    sql_geometry *geometry = reader->geometry;
    geometry->dimensions = dimensions;
    geometry->count = count;
    geometry->shape = (geo_shape *)sql_zalloc(reader->arena, count * sizeof *geometry->shape);
    if (dimensions == 2) return;
    geometry->shape->count = 1;
    geometry->shape->path = (geo_path *)sql_zalloc(reader->arena, sizeof *geometry->shape->path);
}

static bool geo_read_point(geo_reader *reader, const sql_value *coordinates)
{
    geo_path *path;
    geo_make_shapes(reader, 0, 1);
    path = reader->geometry->shape->path;
    path->count = 1;
    path->spot = (geo_spot *)sql_alloc(reader->arena, sizeof *path->spot);
    return geo_read_spot(reader, coordinates, path->spot);
}

static bool geo_read_line(geo_reader *reader, const sql_value *coordinates)
{
    geo_make_shapes(reader, 1, 1);
    return geo_read_path(reader, coordinates, reader->geometry->shape->path);
}

static bool geo_read_one_polygon(geo_reader *reader, const sql_value *coordinates)
{
    geo_make_shapes(reader, 2, 1);
    return geo_read_polygon(reader, coordinates, reader->geometry->shape);
}

static bool geo_read_polygons(geo_reader *reader, const sql_value *coordinates)
{
    sql_cursor cursor;
    sql_value rings;
    size_t count = coordinates->type == SQL_ARRAY ? sql_count(coordinates) : 0, i;
    memset(&cursor, 0, sizeof cursor);
    if (count == 0) return geo_wrong(reader, "The %s input is not valid because it has no polygon.", 0);
    geo_make_shapes(reader, 2, count);
    for (i = 0; sql_next(reader->arena, coordinates, &cursor, NULL, &rings); i++)
        if (!geo_read_polygon(reader, &rings, &reader->geometry->shape[i])) return false;
    return true;
}

static const struct {
    const char *type;
    bool (*read)(geo_reader *reader, const sql_value *coordinates);
} geo_types[] = {
    { "Point", geo_read_point },
    { "LineString", geo_read_line },
    { "Polygon", geo_read_one_polygon },
    { "MultiPolygon", geo_read_polygons }
};

const sql_geometry *sql_read_geometry(sql_arena *arena, const sql_value *value, const char **reason)
{
    geo_reader reader;
    sql_value type, coordinates;
    bool ok = false;
    size_t i = sizeof geo_types / sizeof *geo_types;
    memset(&reader, 0, sizeof reader);
    reader.arena = arena;
    reader.reason = "The input is not a GeoJSON object of type Point, LineString, Polygon or MultiPolygon.";
    if (value->type == SQL_OBJECT) {
        sql_property(arena, value, aioc_mem_str("type"), &type);
        sql_property(arena, value, aioc_mem_str("coordinates"), &coordinates);
        for (i = 0; type.type == SQL_STRING && i < sizeof geo_types / sizeof *geo_types; i++) {
            if (!aioc_mem_same(type.as.string, aioc_mem_str(geo_types[i].type))) continue;
            reader.type = geo_types[i].type;
            reader.geometry = (sql_geometry *)sql_zalloc(arena, sizeof *reader.geometry);
            ok = geo_types[i].read(&reader, &coordinates);
            break;
        }
    }
    if (!ok && reason) *reason = reader.reason;
    return ok ? reader.geometry : NULL;
}
