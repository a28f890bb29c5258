/* patch.c: what a patch does to a document. Operations cut and paste the document's text, so
 * that what they do not touch stays as the client wrote it. */
#include "patch.h"

#include <string.h>

#define EMU_PATH_MAX 1024

/* A place in a document: the member of an object, or the element of an array, that the last token of a path names. */
typedef struct emu_place {
    aiocosmos_json parent, value;                          /* value.type NONE: it is not there */
    char   token[EMU_PATH_MAX];
    size_t token_len, index;                               /* index: in an array; its count for "-" */
    const char *start;                                     /* of the key, or of the element */
    const char *before, *behind; /* the end of the one before, the start of the next; NULL: none */
} emu_place;

static bool emu_patch_wrong(emu_exchange *x, size_t number, const char *what)
{
    return emu_refuse(x, 400, 0, "For Operation(%llu): %s", (unsigned long long)number + 1, what);
}

/* Takes the next token of a JSON pointer (RFC 6901). */
static bool emu_next_token(const char **path, char *token, size_t *len)
{
    const char *at = *path;
    *len = 0;
    if (*at++ != '/') return false;
    for (; *at && *at != '/'; at++) {
        char c = *at;
        if (c == '~') {
            c = at[1] == '0' ? '~' : '/';
            if (at[1] != '0' && at[1] != '1') return false;
            at++;
        }
        token[(*len)++] = c;
    }
    token[*len] = 0;
    *path = at;
    return true;
}

static bool emu_array_index(const char *token, size_t len, size_t count, size_t *index)
{
    uint64_t number;
    *index = count;
    if (strcmp(token, "-") == 0) return true;
    if (len == 0 || (len > 1 && token[0] == '0') || !aioc_text_parse_u64(emu_str(token, len), &number)) return false;
    *index = number < SIZE_MAX ? (size_t)number : SIZE_MAX;
    return true;
}

/* Looks for what place->token names in place->parent. False: the parent can have no such thing. */
static bool emu_look(emu_place *place)
{
    bool array = place->parent.type == AIOCOSMOS_JSON_ARR;
    aiocosmos_json key, value;
    const char *end = NULL;
    size_t i = 0;
    bool last_found = false;
    memset(&key, 0, sizeof key);
    memset(&value, 0, sizeof value);
    memset(&place->value, 0, sizeof place->value);
    place->start = place->before = place->behind = NULL;
    if (!array && place->parent.type != AIOCOSMOS_JSON_OBJ) return false;
    if (array && !emu_array_index(place->token, place->token_len, aioc_json_count(place->parent), &place->index))
        return false;
    for (; aioc_json_next(place->parent, &key, &value); i++) {
        const char *start = array ? value.ptr : key.ptr;
        bool found = array ? i == place->index : aioc_json_is_str(key, place->token);
        if (last_found) place->behind = start;
        last_found = found;
        if (found) {                                       /* of names that come twice the last one counts */
            place->value = value;
            place->start = start;
            place->before = end;
            place->behind = NULL;
        }
        end = value.ptr + value.len;
    }
    return true;
}

/* NULL, or why there is no such place. */
static const char *emu_find_place(aiocosmos_json root, const char *path, emu_place *place)
{
    place->value = root;
    do {
        place->parent = place->value;
        if (!emu_next_token(&path, place->token, &place->token_len)) return "the path is malformed.";
        if (!emu_look(place)) return "the path's parent is neither an object nor an array with that index.";
    } while (*path && place->value.type != AIOCOSMOS_JSON_NONE);
    return *path ? "the path's parent does not exist." : NULL;
}

/* The document with `len` bytes at `at` replaced by one text or two. */
static void emu_splice(emu_exchange *x, emu_text *document, const char *at, size_t len, aiocosmos_str first,
                       aiocosmos_str second)
{
    emu_text *made = &x->core->scratch;
    emu_text swap;
    size_t start = (size_t)(at - document->buffer.data);
    emu_text_clear(made);
    emu_put(made, document->buffer.data, start);
    emu_put_str(made, first);
    emu_put_str(made, second);
    emu_put(made, at + len, document->buffer.len - start - len);
    made->failed = made->failed || document->failed;
    swap = *made;
    *made = *document;
    *document = swap;
}

static void emu_remove_at(emu_exchange *x, emu_text *document, const emu_place *place)
{
    const char *start = place->start, *end = place->value.ptr + place->value.len;
    if (place->behind) end = place->behind;
    else if (place->before) start = place->before;
    emu_splice(x, document, start, (size_t)(end - start), emu_str("", 0), emu_str("", 0));
}

/* add, and set: which replaces an element where add inserts one. */
static const char *emu_add_at(emu_exchange *x, emu_text *document, const emu_place *place, aiocosmos_str value,
                              bool set)
{
    bool array = place->parent.type == AIOCOSMOS_JSON_ARR, some = aioc_json_count(place->parent) > 0;
    const char *closing = place->parent.ptr + place->parent.len - 1;
    emu_text *name = &x->core->body;                       /* not in use before the answer */
    if (place->value.type != AIOCOSMOS_JSON_NONE) {
        if (!array || set) emu_splice(x, document, place->value.ptr, place->value.len, value, emu_str("", 0));
        else emu_splice(x, document, place->start, 0, value, emu_str(",", 1));
        return NULL;
    }
    if (array && place->index > aioc_json_count(place->parent)) return "the index is behind the end of the array.";
    emu_text_clear(name);
    if (some) emu_puts(name, ",");
    if (!array) {
        emu_put_json(name, emu_str(place->token, place->token_len));
        emu_puts(name, ":");
    }
    emu_splice(x, document, closing, 0, emu_str(name->buffer.data, name->buffer.len), value);
    document->failed = document->failed || name->failed;
    emu_text_clear(name);
    return NULL;
}

static const char *emu_incr_at(emu_exchange *x, emu_text *document, const emu_place *place, aiocosmos_json by)
{
    char text[AIOC_JSON_NUMBER_MAX];
    int64_t a, b;
    double c, d;
    size_t len;
    if (by.type != AIOCOSMOS_JSON_NUM) return "incr needs a number.";
    if (place->value.type == AIOCOSMOS_JSON_NONE) return emu_add_at(x, document, place, emu_str(by.ptr, by.len), true);
    if (place->value.type != AIOCOSMOS_JSON_NUM) return "incr is for numbers only.";
    if (aioc_json_get_i64(place->value, &a) && aioc_json_get_i64(by, &b) &&
        !(b > 0 ? a > INT64_MAX - b : a < INT64_MIN - b)) {
        len = aioc_json_i64_write(a + b, text);
    } else {
        if (!aioc_json_get_f64(place->value, &c) || !aioc_json_get_f64(by, &d) || c + d - (c + d) != 0)
            return "the number is out of range.";
        len = aioc_json_number_write(c + d, text);
    }
    emu_splice(x, document, place->value.ptr, place->value.len, emu_str(text, len), emu_str("", 0));
    return NULL;
}

/*------------------------------------------------------------------------------
 * MARK: - Operations
 *----------------------------------------------------------------------------*/

static bool emu_path_below(const char *path, aiocosmos_str top)
{
    size_t len = strlen(path);
    size_t shorter = len < top.len ? len : top.len;
    if (memcmp(path, top.ptr, shorter) != 0) return false;
    return len == top.len || (len > top.len ? path[top.len] : top.ptr[len]) == '/';
}

/* What the service keeps for itself, and what says where an item lives, cannot be patched. */
static const char *emu_path_protected(const emu_container *container, const char *path)
{
    static const char *const system[] = { "/id", "/_rid", "/_self", "/_etag", "/_ts", "/_attachments" };
    size_t i;
    for (i = 0; i < sizeof system / sizeof *system; i++)
        if (emu_path_below(path, aioc_mem_str(system[i])))
            return "the path is that of the id or of a system property.";
    for (i = 0; i < container->key.path_count; i++)
        if (emu_path_below(path, container->key_path[i])) return "the path is that of the partition key.";
    return *path == 0 ? "the path is empty: the whole item cannot be patched." : NULL;
}

typedef struct emu_patch_op {
    char name[12], path[EMU_PATH_MAX], from[EMU_PATH_MAX];
    aiocosmos_json value;
} emu_patch_op;

static const char *emu_read_op(const emu_container *container, aiocosmos_json operation, emu_patch_op *op)
{
    static const char *const names[] = { "op", "path", "from", "value" };
    aiocosmos_json found[4];
    const char *wrong;
    if (operation.type != AIOCOSMOS_JSON_OBJ) return "it is not an object.";
    aioc_json_fields(operation, names, 4, found);
    op->from[0] = 0;
    op->value = found[3];
    if (aioc_json_get_str(found[0], op->name, sizeof op->name) >= sizeof op->name) return "'op' is missing or unknown.";
    if (aioc_json_get_str(found[1], op->path, sizeof op->path) >= sizeof op->path)
        return "'path' is missing or too long.";
    wrong = emu_path_protected(container, op->path);
    if (wrong) return wrong;
    if (strcmp(op->name, "move") == 0) {
        if (aioc_json_get_str(found[2], op->from, sizeof op->from) >= sizeof op->from)
            return "'from' is missing or too long.";
        return emu_path_protected(container, op->from);
    }
    if (strcmp(op->name, "remove") != 0 && op->value.type == AIOCOSMOS_JSON_NONE) return "'value' is missing.";
    return NULL;
}

/* First the value is cut, then it is pasted: its index is that in the array without it, as RFC 6902 has it. */
static const char *emu_move(emu_exchange *x, emu_text *document, const emu_patch_op *op, const emu_place *from)
{
    emu_place to;
    const char *wrong;
    size_t len = strlen(op->from), size = from->value.len;
    char *value;
    if (strncmp(op->path, op->from, len) == 0 && op->path[len] == '/') return "a value cannot be moved into itself.";
    if (from->value.type == AIOCOSMOS_JSON_NONE) return "there is nothing at 'from'.";
    value = (char *)aioc_mem_alloc(&x->store->memory, size);
    if (!value) return "the emulator is out of memory.";
    memcpy(value, from->value.ptr, size);
    emu_remove_at(x, document, from);
    wrong = "the emulator is out of memory.";
    if (!document->failed && aioc_json_parse(&x->core->doc2, document->buffer.data, document->buffer.len) == 0) {
        wrong = emu_find_place(aioc_json_root(&x->core->doc2), op->path, &to);
        if (!wrong) wrong = emu_add_at(x, document, &to, emu_str(value, size), false);
    }
    aioc_mem_free(&x->store->memory, value, size);
    return wrong;
}

static const char *emu_apply(emu_exchange *x, emu_text *document, const emu_patch_op *op)
{
    aiocosmos_str value = emu_str(op->value.ptr, op->value.len);
    bool move = strcmp(op->name, "move") == 0;
    emu_place place;
    const char *wrong;
    if (aioc_json_parse(&x->core->doc2, document->buffer.data, document->buffer.len) < 0)
        return x->core->doc2.error ? x->core->doc2.error : "the emulator is out of memory.";
    wrong = emu_find_place(aioc_json_root(&x->core->doc2), move ? op->from : op->path, &place);
    if (wrong) return wrong;
    if (move) return emu_move(x, document, op, &place);
    if (strcmp(op->name, "add") == 0) return emu_add_at(x, document, &place, value, false);
    if (strcmp(op->name, "set") == 0) return emu_add_at(x, document, &place, value, true);
    if (strcmp(op->name, "incr") == 0) return emu_incr_at(x, document, &place, op->value);
    if (strcmp(op->name, "replace") != 0 && strcmp(op->name, "remove") != 0)
        return "'op' is none of add, set, replace, remove, incr and move.";
    if (place.value.type == AIOCOSMOS_JSON_NONE) return "there is nothing at the path.";
    if (strcmp(op->name, "remove") == 0) emu_remove_at(x, document, &place);
    else emu_splice(x, document, place.value.ptr, place.value.len, value, emu_str("", 0));
    return NULL;
}

bool emu_patch(emu_exchange *x, aiocosmos_json operations, emu_text *document)
{
    aiocosmos_json operation;
    emu_patch_op op;
    size_t number;
    memset(&operation, 0, sizeof operation);
    for (number = 0; aioc_json_next(operations, NULL, &operation); number++) {
        const char *wrong = emu_read_op(x->container, operation, &op);
        if (!wrong) wrong = emu_apply(x, document, &op);
        if (wrong) return emu_patch_wrong(x, number, wrong);
        if (document->failed) return emu_refuse(x, 503, 0, "The emulator is out of memory.");
        if (document->buffer.len > EMU_ITEM_MAX) return emu_refuse(x, 413, 0, "Request size is too large");
    }
    return true;
}
