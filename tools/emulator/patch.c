/* patch.c: what a patch does to a document. Operations cut and paste the document's text, so that what they do not
 * touch stays as the client wrote it, and the nodes of what was parsed of it in the same way: however many they are, it
 * is parsed once. */
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

/* What goes from a document and what comes there: text, and the nodes of what is parsed of it. */
typedef struct emu_edit {
    const aiocosmos_json *parent;
    const char *at;                                        /* of the text that goes */
    size_t len;
    aiocosmos_str front, value, behind;                    /* that comes: commas and a name, the value, a comma */
    aiocosmos_str name;                                    /* in front, where that is one */
    size_t node, gone;                                     /* so many of the document's nodes go, from that one on */
    aiocosmos_json made;                                   /* the value, parsed; type NONE: none comes */
    int members;                                           /* that the parent has more */
} emu_edit;

static const aioc_json_node *emu_node(aiocosmos_json value)
{
    return (const aioc_json_node *)value.node;
}

/* Writes the nodes of what comes, whose place is free. */
static void emu_edit_fill(const emu_edit *edit, aioc_json_node *node, uint32_t at)
{
    const aioc_json_node *from = emu_node(edit->made);
    uint32_t i, count = from ? from->next : 0;
    if (edit->name.ptr) {
        node->at = at + (uint32_t)(edit->name.ptr - edit->front.ptr);
        node->len = (uint32_t)edit->name.len;
        node->next = 1;
        node->info = AIOCOSMOS_JSON_STR | (memchr(edit->name.ptr, '\\', edit->name.len) ? AIOC_JSON_ESCAPED : 0);
        node++;
    }
    for (i = 0; i < count; i++) {
        node[i] = from[i];
        node[i].at = at + (uint32_t)edit->front.len + (from[i].at - from->at);
    }
}

/* Does to the nodes what was done to the text. False: no memory. */
static bool emu_edit_nodes(aiocosmos_json_doc *doc, const emu_edit *edit, uint32_t at)
{
    const size_t parent = (size_t)(emu_node(*edit->parent) - doc->nodes);
    const size_t come = (edit->made.node ? emu_node(edit->made)->next : 0) + (edit->name.ptr ? 1u : 0u);
    const uint32_t more = (uint32_t)(edit->front.len + edit->value.len + edit->behind.len - edit->len);   /* or less */
    const size_t rest = doc->count - edit->node - edit->gone;
    size_t i;
    if (come > edit->gone && doc->count + come - edit->gone > doc->cap) {
        size_t cap = doc->cap + doc->cap / 2 + come;
        aioc_json_node *nodes = (aioc_json_node *)aioc_mem_resize(doc->memory, doc->nodes, doc->cap * sizeof *nodes,
                                                                  cap * sizeof *nodes);
        if (!nodes) return false;
        doc->nodes = nodes;
        doc->cap = (uint32_t)cap;
    }
    for (i = 0; i <= parent; i++) {                        /* all that the parent is in, and itself */
        if (i + doc->nodes[i].next <= parent) continue;
        doc->nodes[i].next += (uint32_t)(come - edit->gone);
        doc->nodes[i].len += more;
    }
    doc->nodes[parent].info += (uint32_t)edit->members << 4;
    memmove(doc->nodes + edit->node + come, doc->nodes + edit->node + edit->gone, rest * sizeof *doc->nodes);
    for (i = edit->node + come; i < edit->node + come + rest; i++) doc->nodes[i].at += more;
    doc->count = (uint32_t)(doc->count + come - edit->gone);
    emu_edit_fill(edit, doc->nodes + edit->node, at);
    return true;
}

static void emu_splice(emu_exchange *x, emu_text *document, const emu_edit *edit)
{
    aiocosmos_json_doc *doc = &x->core->doc2;
    emu_text *made = &x->core->scratch;
    emu_text swap;
    size_t start = (size_t)(edit->at - document->buffer.data);
    emu_text_clear(made);
    emu_put(made, document->buffer.data, start);
    emu_put_str(made, edit->front);
    emu_put_str(made, edit->value);
    emu_put_str(made, edit->behind);
    emu_put(made, edit->at + edit->len, document->buffer.len - start - edit->len);
    made->failed = made->failed || document->failed || !emu_edit_nodes(doc, edit, (uint32_t)start);
    swap = *made;
    *made = *document;
    *document = swap;
    doc->text = document->buffer.data;
}

static size_t emu_node_number(const emu_exchange *x, aiocosmos_json value)
{
    return (size_t)(emu_node(value) - x->core->doc2.nodes);
}

/* An edit of what is at a place, which stays one thing. */
static emu_edit emu_edit_of(const emu_exchange *x, const emu_place *place, aiocosmos_str text, aiocosmos_json made)
{
    emu_edit edit;
    memset(&edit, 0, sizeof edit);
    edit.parent = &place->parent;
    edit.at = place->value.ptr;
    edit.len = place->value.len;
    edit.value = text;
    edit.node = emu_node_number(x, place->value);
    edit.gone = emu_node(place->value)->next;
    edit.made = made;
    return edit;
}

static void emu_replace_at(emu_exchange *x, emu_text *document, const emu_place *place, aiocosmos_str text,
                           aiocosmos_json made)
{
    emu_edit edit = emu_edit_of(x, place, text, made);
    emu_splice(x, document, &edit);
}

static void emu_remove_at(emu_exchange *x, emu_text *document, const emu_place *place)
{
    const char *start = place->start, *end = place->value.ptr + place->value.len;
    size_t name = place->parent.type == AIOCOSMOS_JSON_OBJ ? 1 : 0;
    emu_edit edit = emu_edit_of(x, place, emu_str("", 0), aioc_json_none());
    if (place->behind) end = place->behind;
    else if (place->before) start = place->before;
    edit.at = start;
    edit.len = (size_t)(end - start);
    edit.node -= name;
    edit.gone += name;
    edit.members = -1;
    emu_splice(x, document, &edit);
}

/* Behind all that the parent has. */
static void emu_append_at(emu_exchange *x, emu_text *document, const emu_place *place, aiocosmos_json value)
{
    emu_text *front = &x->core->body;                      /* not in use before the answer */
    bool some = aioc_json_count(place->parent) > 0;
    emu_edit edit;
    memset(&edit, 0, sizeof edit);
    emu_text_clear(front);
    if (some) emu_puts(front, ",");
    if (place->parent.type == AIOCOSMOS_JSON_OBJ) {
        emu_put_json(front, emu_str(place->token, place->token_len));
        emu_puts(front, ":");
    }
    edit.front = emu_text_str(front);
    if (place->parent.type == AIOCOSMOS_JSON_OBJ && !front->failed)
        edit.name = emu_str(edit.front.ptr + some, edit.front.len - some - 1u);
    edit.parent = &place->parent;
    edit.at = place->parent.ptr + place->parent.len - 1;
    edit.value = emu_str(value.ptr, value.len);
    edit.node = emu_node_number(x, place->parent) + emu_node(place->parent)->next;
    edit.made = value;
    edit.members = 1;
    document->failed = document->failed || front->failed;
    if (!document->failed) emu_splice(x, document, &edit);
    emu_text_clear(front);
}

/* add, and set: which replaces an element where add inserts one. */
static const char *emu_add_at(emu_exchange *x, emu_text *document, const emu_place *place, aiocosmos_json value,
                              bool set)
{
    bool array = place->parent.type == AIOCOSMOS_JSON_ARR;
    emu_edit edit;
    if (place->value.type == AIOCOSMOS_JSON_NONE) {
        if (array && place->index > aioc_json_count(place->parent)) return "the index is behind the end of the array.";
        emu_append_at(x, document, place, value);
        return NULL;
    }
    edit = emu_edit_of(x, place, emu_str(value.ptr, value.len), value);
    if (array && !set) {
        edit.len = edit.gone = 0;
        edit.behind = emu_str(",", 1);
        edit.members = 1;
    }
    emu_splice(x, document, &edit);
    return NULL;
}

static const char *emu_incr_at(emu_exchange *x, emu_text *document, const emu_place *place, aiocosmos_json by)
{
    char text[AIOC_JSON_NUMBER_MAX];
    aioc_json_node node;
    aiocosmos_json sum;
    int64_t a, b;
    double c, d;
    size_t len;
    if (by.type != AIOCOSMOS_JSON_NUM) return "incr needs a number.";
    if (place->value.type == AIOCOSMOS_JSON_NONE) return emu_add_at(x, document, place, by, true);
    if (place->value.type != AIOCOSMOS_JSON_NUM) return "incr is for numbers only.";
    if (aioc_json_get_i64(place->value, &a) && aioc_json_get_i64(by, &b) &&
        !(b > 0 ? a > INT64_MAX - b : a < INT64_MIN - b)) {
        len = aioc_json_i64_write(a + b, text);
    } else {
        if (!aioc_json_get_f64(place->value, &c) || !aioc_json_get_f64(by, &d) || c + d - (c + d) != 0)
            return "the number is out of range.";
        len = aioc_json_number_write(c + d, text);
    }
    node = *emu_node(place->value);
    node.len = (uint32_t)len;
    sum = place->value;
    sum.node = &node;
    emu_replace_at(x, document, place, emu_str(text, len), sum);
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
    aiocosmos_json moved = from->value;
    const char *wrong;
    size_t len = strlen(op->from), nodes, size;
    char *copy;
    if (strncmp(op->path, op->from, len) == 0 && op->path[len] == '/') return "a value cannot be moved into itself.";
    if (moved.type == AIOCOSMOS_JSON_NONE) return "there is nothing at 'from'.";
    nodes = emu_node(moved)->next * sizeof(aioc_json_node);
    size = nodes + moved.len;
    copy = (char *)aioc_mem_alloc(&x->store->memory, size);
    if (!copy) return "the emulator is out of memory.";
    memcpy(copy, moved.node, nodes);
    memcpy(copy + nodes, moved.ptr, moved.len);
    moved.node = copy;
    moved.ptr = copy + nodes;
    emu_remove_at(x, document, from);
    wrong = "the emulator is out of memory.";
    if (!document->failed) {
        wrong = emu_find_place(aioc_json_root(&x->core->doc2), op->path, &to);
        if (!wrong) wrong = emu_add_at(x, document, &to, moved, false);
    }
    aioc_mem_free(&x->store->memory, copy, size);
    return wrong;
}

static const char *emu_apply(emu_exchange *x, emu_text *document, const emu_patch_op *op)
{
    bool move = strcmp(op->name, "move") == 0;
    emu_place place;
    const char *wrong = emu_find_place(aioc_json_root(&x->core->doc2), move ? op->from : op->path, &place);
    if (wrong) return wrong;
    if (move) return emu_move(x, document, op, &place);
    if (strcmp(op->name, "add") == 0) return emu_add_at(x, document, &place, op->value, false);
    if (strcmp(op->name, "set") == 0) return emu_add_at(x, document, &place, op->value, true);
    if (strcmp(op->name, "incr") == 0) return emu_incr_at(x, document, &place, op->value);
    if (strcmp(op->name, "replace") != 0 && strcmp(op->name, "remove") != 0)
        return "'op' is none of add, set, replace, remove, incr and move.";
    if (place.value.type == AIOCOSMOS_JSON_NONE) return "there is nothing at the path.";
    if (strcmp(op->name, "remove") == 0) emu_remove_at(x, document, &place);
    else emu_replace_at(x, document, &place, emu_str(op->value.ptr, op->value.len), op->value);
    return NULL;
}

/* How deep a document is, from its nodes. */
static bool emu_is_too_deep(const aiocosmos_json_doc *doc)
{
    uint32_t ends[AIOC_JSON_DEPTH_MAX], i;
    int depth = 0;
    for (i = 0; i < doc->count; i++) {
        while (depth > 0 && ends[depth - 1] <= i) depth--;
        if ((doc->nodes[i].info & AIOC_JSON_TYPE) < AIOCOSMOS_JSON_ARR) continue;
        if (depth == AIOC_JSON_DEPTH_MAX) return true;
        ends[depth++] = i + doc->nodes[i].next;
    }
    return false;
}

bool emu_patch(emu_exchange *x, aiocosmos_json operations, emu_text *document)
{
    aiocosmos_json_doc *doc = &x->core->doc2;
    aiocosmos_json operation;
    emu_patch_op op;
    size_t number;
    memset(&operation, 0, sizeof operation);
    if (document->failed || aioc_json_parse(doc, document->buffer.data, document->buffer.len) != 0)
        return emu_no_memory(x);                           /* what was stored is JSON */
    for (number = 0; aioc_json_next(operations, NULL, &operation); number++) {
        const char *wrong = emu_read_op(x->container, operation, &op);
        if (!wrong) wrong = emu_apply(x, document, &op);
        if (wrong) return emu_patch_wrong(x, number, wrong);
        if (document->failed) return emu_refuse(x, 503, 0, "The emulator is out of memory.");
        if (document->buffer.len > EMU_ITEM_MAX) return emu_refuse(x, 413, 0, "Request size is too large");
    }
    if (emu_is_too_deep(doc))
        return emu_refuse(x, 400, 0, "The patched item is invalid: nested deeper than %d levels.", AIOC_JSON_DEPTH_MAX);
    return true;
}
