/* values.h: JSON documents in an input: one a line, one behind the other in any layout, or the elements of an array. */
#ifndef CLI_VALUES_H
#define CLI_VALUES_H

#include "input.h"

/* How far the text of a JSON value has come. It tells where the value ends, and most of what cannot become one. */
typedef struct outline {
    enum { OUTLINE_VALUE, OUTLINE_VALUE_OR_END, OUTLINE_KEY, OUTLINE_KEY_OR_END, OUTLINE_COLON,
           OUTLINE_COMMA } expected;
    bool in_string, escaped, in_word;
    unsigned depth;
    uint64_t is_object[2];                 /* a bit a level */
} outline;

typedef struct values {
    enum { VALUES_BETWEEN, VALUES_INSIDE, VALUES_TAIL, VALUES_LINE, VALUES_RESYNC, VALUES_BROKEN } state;
    bool begun;                            /* something but blanks has come */
    bool arrays;                           /* it was '[' */
    enum { ARRAY_NONE, ARRAY_FIRST, ARRAY_COMMA, ARRAY_ELEMENT } array;        /* what is expected in one */
    uint64_t line, element;                /* where we are; the last element taken */
    uint64_t begin_line;                   /* of the document */
    size_t at;                             /* looked at, of what the input holds */
    uint64_t dropped;                      /* bytes of a document that is too long to keep */
    outline outline;
} values;

/* The next document, whatever its layout. */
taken values_take(values *v, input *in, document *out);

#endif
