/* http.c: one connection's HTTP/1.1 (RFC 9112), from the server's side. A request that comes in one piece is
 * served from where it lies; others are collected first. Answers are written once, into the connection's output. */
#include "http.h"
#include "answer.h"
#include "head.h"
#include "query.h"
#include "routes.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define EMU_OUTPUT_MAX  (8u * 1024u * 1024u)               /* answers that wait to be sent: more requests wait too */
#define EMU_INPUT_MAX   (EMU_HEAD_MAX + 2 * EMU_BODY_MAX)

typedef enum emu_phase { EMU_HEAD, EMU_BODY, EMU_CHUNK_SIZE, EMU_CHUNK_DATA, EMU_CHUNK_END, EMU_TRAILER } emu_phase;

struct aiocosmos_emulator_conn {
    emu_core *core;
    aiocosmos_emulator_state state, state_when_due;
    emu_text in, out, chunks;                              /* chunks: a chunked body, put together */
    size_t sent;                                           /* bytes of out */
    /* The request that is being received: */
    emu_phase phase;
    emu_head head;
    size_t head_len, body_len;
    size_t chunk_at, chunk_left;                           /* chunked: where in it reading goes on */
    bool told_to_continue;
    bool remote;                                           /* whoever sends it is on another machine */
    emu_job *job;                                          /* of the request, which is whole: it is served in slices */
    bool resuming;
    emu_fault fault;                                       /* of its own, action EMU_FAULT_NONE: it has none */
    /* Faults: */
    int64_t due_ms;
    size_t held;                                           /* bytes of out that may not be sent before due_ms */
    bool trickle;
};

/* One word of a list such as that of Connection (RFC 9110, 5.6.1). */
static bool emu_list_has(aiocosmos_str list, const char *word)
{
    size_t at = 0, end;
    for (; at < list.len; at = end + 1) {
        aiocosmos_str item;
        for (end = at; end < list.len && list.ptr[end] != ','; end++) continue;
        item = aioc_text_trim(emu_str(list.ptr + at, end - at));
        if (aioc_mem_same_nocase(item, aioc_mem_str(word))) return true;
    }
    return false;
}

/*------------------------------------------------------------------------------
 * MARK: - Answers
 *----------------------------------------------------------------------------*/

/* For what is wrong with the HTTP itself: nothing behind it can be trusted, so the connection ends. */
static void emu_conn_refuse(emu_conn *conn, int status, const char *why)
{
    char activity[EMU_GUID + 1];
    emu_make_guid(&conn->core->store.clock, activity);
    emu_text_clear(&conn->core->scratch);
    emu_put_format(&conn->core->scratch, "{\"code\":\"%s\",\"message\":\"%s\"}",
                   status == 503 ? "ServiceUnavailable" : "BadRequest", why);
    emu_put_format(&conn->out, "HTTP/1.1 %d %s\r\nx-ms-activity-id: %s\r\nx-ms-request-charge: 0\r\n"
                   "Content-Type: application/json\r\nContent-Length: %llu\r\nConnection: close\r\n\r\n", status,
                   emu_status_text(status), activity, (unsigned long long)conn->core->scratch.buffer.len);
    emu_put(&conn->out, conn->core->scratch.buffer.data, conn->core->scratch.buffer.len);
    conn->core->requests++;
    conn->state = AIOCOSMOS_EMULATOR_CLOSING;
}

/* What could not be received whole makes room for the answer. */
static void emu_conn_refuse_memory(emu_conn *conn, emu_text *partial)
{
    aioc_mem_buffer_free(partial->memory, &partial->buffer);
    emu_job_free(conn->job);
    conn->job = NULL;
    emu_conn_refuse(conn, 503, "The emulator is out of memory.");
    if (conn->out.failed) conn->state = AIOCOSMOS_EMULATOR_RESET;      /* half an answer is none */
}

/* Does to the answer, which begins at `start` in the output, what the fault says. */
static void emu_conn_apply(emu_conn *conn, emu_fault *fault, size_t start)
{
    size_t len = conn->out.buffer.len - start, at = fault->at < len ? fault->at : len, i;
    aiocosmos_emulator_state state = conn->state;
    switch (fault->action) {
    case EMU_FAULT_RESET: case EMU_FAULT_CLOSE: case EMU_FAULT_HANG:
        conn->out.buffer.len = start;
        if (fault->action != EMU_FAULT_HANG)
            state = fault->action == EMU_FAULT_RESET ? AIOCOSMOS_EMULATOR_RESET : AIOCOSMOS_EMULATOR_CLOSING;
        break;
    case EMU_FAULT_TRUNCATE:
        conn->out.buffer.len = start + at;
        state = AIOCOSMOS_EMULATOR_CLOSING;
        break;
    case EMU_FAULT_GARBLE:
        for (i = at; i < len && i < at + 8; i++) conn->out.buffer.data[start + i] ^= 0x55;
        break;
    case EMU_FAULT_TRICKLE: conn->trickle = true; break;
    case EMU_FAULT_END: state = AIOCOSMOS_EMULATOR_CLOSING; break;
    default: break;
    }
    if (fault->delay_ms > 0 || fault->action == EMU_FAULT_HANG) {
        conn->due_ms = fault->action == EMU_FAULT_HANG ? INT64_MAX
                                                       : emu_now(&conn->core->store.clock) + fault->delay_ms;
        conn->held = conn->out.buffer.len - start;
        conn->state_when_due = state;
        conn->state = AIOCOSMOS_EMULATOR_OPEN;
    } else {
        conn->state = state;
    }
}

/* One line a request: the answer's status, what was asked, what it cost, and why it was refused. */
static void emu_log(const emu_exchange *x, const emu_fault *fault)
{
    char line[1024], status[24];
    const emu_request *request = x->request;
    aiocosmos_str why = emu_str(x->core->body.buffer.data, x->core->body.buffer.len);
    size_t i, len;
    snprintf(status, sizeof status, x->sub_status ? "%d/%d" : "%d", x->status, x->sub_status);
    len = (size_t)snprintf(line, sizeof line, "%s %.*s %.*s %s %.2f RU%s%s%.*s", status,
                           EMU_CUT(request->verb_text, 16), EMU_CUT(request->target, 400), emu_kind_name(x->kind),
                           x->charge, fault ? ", by a fault" : "", x->status >= 400 && x->has_body ? ": " : "",
                           x->status >= 400 && x->has_body ? (int)(why.len < 400 ? why.len : 400) : 0,
                           why.ptr ? why.ptr : "");
    if (len >= sizeof line) len = sizeof line - 1;
    for (i = 0; i < len; i++) if ((unsigned char)line[i] < ' ') line[i] = ' ';
    x->core->options.log(x->core->options.log_user_data, line);
}

/* Serves one whole request. False: not to its end, conn->job is to go on with. */
static bool emu_conn_serve(emu_conn *conn, emu_request *request)
{
    emu_exchange *x = &conn->core->exchange;
    emu_fault *fault = conn->fault.action == EMU_FAULT_NONE ? NULL : &conn->fault;
    size_t start = conn->out.buffer.len;
    aiocosmos_str connection = request->header[EMU_H_CONNECTION];
    if (request->minor > 0) request->keep_alive = !emu_list_has(connection, "close");
    else request->keep_alive = emu_list_has(connection, "keep-alive");
    request->remote = conn->remote;
    emu_serve(x, conn->core, request, conn->job, &fault);
    conn->job = x->job;
    if (conn->job) {
        if (fault) conn->fault = *fault;
        return false;
    }
    if (conn->core->options.log) emu_log(x, fault);
    emu_answer_write(&conn->out, x, fault && fault->action == EMU_FAULT_CHUNKED);
    if (!request->keep_alive) conn->state = AIOCOSMOS_EMULATOR_CLOSING;
    if (conn->out.failed) {                                /* half an answer is none */
        conn->out.failed = false;
        conn->out.buffer.len = start;
        conn->state = AIOCOSMOS_EMULATOR_RESET;
        return true;
    }
    if (fault) emu_conn_apply(conn, fault, start);
    conn->fault.action = EMU_FAULT_NONE;
    return true;
}

/*------------------------------------------------------------------------------
 * MARK: - Receiving
 *----------------------------------------------------------------------------*/

/* Reads from the head how the body comes. False: the request was refused. */
static bool emu_conn_frame(emu_conn *conn, const char *data)
{
    aiocosmos_str length = emu_head_header(&conn->head, data, EMU_H_CONTENT_LENGTH);
    aiocosmos_str encoding = emu_head_header(&conn->head, data, EMU_H_TRANSFER_ENCODING);
    uint64_t number = 0;
    conn->body_len = 0;
    conn->phase = EMU_BODY;
    if (encoding.ptr) {
        if (length.ptr || conn->head.minor == 0 || !aioc_mem_same_nocase(encoding, aioc_mem_str("chunked"))) {
            emu_conn_refuse(conn, 400, "The transfer encoding is not understood.");
            return false;
        }
        conn->phase = EMU_CHUNK_SIZE;
        conn->chunk_at = conn->head_len;
        conn->chunks.buffer.len = 0;
    } else if (length.ptr && !aioc_text_parse_u64(length, &number)) {
        emu_conn_refuse(conn, 400, "The Content-Length is not a number.");
        return false;
    } else if (number > EMU_BODY_MAX) {
        emu_conn_refuse(conn, 413, "Request size is too large");
        return false;
    }
    conn->body_len = (size_t)number;
    return true;
}

static bool emu_chunk_size(emu_conn *conn, aiocosmos_str line)
{
    uint64_t size = 0;
    size_t i;
    for (i = 0; i < line.len && line.ptr[i] != ';' && line.ptr[i] != ' ' && line.ptr[i] != '\t'; i++) {
        int digit = emu_hex_digit(line.ptr[i]);
        if (digit < 0 || i >= 8) return false;
        size = size * 16 + (uint64_t)digit;
    }
    if (i == 0) return false;
    conn->chunk_left = (size_t)size;
    return size <= EMU_BODY_MAX - conn->chunks.buffer.len;
}

/* One line without its end; false: it has none. */
static bool emu_take_line(aiocosmos_str *rest, aiocosmos_str *line)
{
    if (!memchr(rest->ptr, '\n', rest->len)) return false;
    aioc_text_split(rest, '\n', line);
    if (line->len && line->ptr[line->len - 1] == '\r') line->len--;
    return true;
}

/* Reads as much of a chunked body (RFC 9112, 7.1) as is there. 1: all of it, and conn->chunk_at is behind it; 0: more
 * is to come; -1: refused. */
static int emu_conn_chunks(emu_conn *conn, const char *data, size_t len)
{
    for (;;) {
        aiocosmos_str rest = emu_str(data + conn->chunk_at, len - conn->chunk_at), line;
        if (conn->phase == EMU_CHUNK_DATA) {
            size_t take = rest.len < conn->chunk_left ? rest.len : conn->chunk_left;
            emu_put(&conn->chunks, rest.ptr, take);
            conn->chunk_at += take;
            conn->chunk_left -= take;
            if (conn->chunks.failed) return -1;
            if (conn->chunk_left) return 0;
            conn->phase = EMU_CHUNK_END;
            continue;
        }
        if (conn->chunk_at - conn->head_len - conn->chunks.buffer.len > EMU_BODY_MAX) return -1;
        if (!emu_take_line(&rest, &line)) return rest.len > 4096 ? -1 : 0;
        conn->chunk_at = len - rest.len;
        if (conn->phase == EMU_CHUNK_END) {
            if (line.len) return -1;
            conn->phase = EMU_CHUNK_SIZE;
        } else if (conn->phase == EMU_CHUNK_SIZE) {
            if (!emu_chunk_size(conn, line)) return -1;
            conn->phase = conn->chunk_left ? EMU_CHUNK_DATA : EMU_TRAILER;
        } else if (line.len == 0) {
            return 1;
        }
    }
}

/* A request of which all is there; returns its bytes. */
static size_t emu_conn_whole(emu_conn *conn, const char *data, emu_request *request)
{
    emu_head_request(&conn->head, data, request);
    if (conn->phase == EMU_BODY) {
        request->body = emu_str(data + conn->head_len, conn->body_len);
        return conn->head_len + conn->body_len;
    }
    request->body = emu_str(conn->chunks.buffer.data ? conn->chunks.buffer.data : data, conn->chunks.buffer.len);
    return conn->chunk_at;
}

/* The head, and what it says about the body. False: it is not all there, or was refused. */
static bool emu_conn_head(emu_conn *conn, const char *data, size_t len)
{
    if (*data == 0x16) {                                   /* a TLS record with a handshake (RFC 8446, 5.1) */
        emu_conn_refuse(conn, 400, "This port has no TLS: the endpoint begins with http://.");
        return false;
    }
    conn->head_len = emu_head_read(&conn->head, conn->core->header_slot, data, len);
    if (conn->head.refused) emu_conn_refuse(conn, conn->head.refused, conn->head.why);
    return conn->head_len > 0 && emu_conn_frame(conn, data);
}

/* RFC 9110, 10.1.1 */
static void emu_conn_continue(emu_conn *conn)
{
    if (conn->told_to_continue || conn->head.minor == 0 || !(conn->head.given >> EMU_H_EXPECT & 1)) return;
    emu_puts(&conn->out, "HTTP/1.1 100 Continue\r\n\r\n");
    conn->told_to_continue = true;
}

/* Bytes of the request at hand, when all of it is there and request has been filled; 0: it is not, or was refused. */
static size_t emu_conn_receive(emu_conn *conn, const char *data, size_t len, emu_request *request)
{
    int whole;
    if (conn->phase == EMU_HEAD && !emu_conn_head(conn, data, len)) return 0;
    if (conn->phase == EMU_BODY) {
        whole = len - conn->head_len >= conn->body_len;
    } else {
        whole = emu_conn_chunks(conn, data, len);
        if (whole < 0) {
            bool large = conn->chunk_left > EMU_BODY_MAX - conn->chunks.buffer.len;
            if (conn->chunks.failed) emu_conn_refuse_memory(conn, &conn->chunks);
            else if (large) emu_conn_refuse(conn, 413, "Request size is too large");
            else emu_conn_refuse(conn, 400, "The chunked body is malformed.");
            return 0;
        }
    }
    if (whole) return emu_conn_whole(conn, data, request);
    if (len == conn->head_len) emu_conn_continue(conn);
    return 0;
}

static bool emu_conn_ready(const emu_conn *conn)
{
    return conn->state == AIOCOSMOS_EMULATOR_OPEN && conn->due_ms < 0 && (!conn->job || conn->resuming) &&
           conn->out.buffer.len - conn->sent < EMU_OUTPUT_MAX;
}

/* Serves what is whole of so many bytes; returns how many that used. */
static size_t emu_conn_work(emu_conn *conn, const char *data, size_t len)
{
    emu_request request;
    size_t used = 0, size;
    while (emu_conn_ready(conn)) {
        if (conn->phase == EMU_HEAD && conn->head.scan == 0) {     /* empty lines in front mean nothing (RFC 9112, 2.2) */
            while (used < len && (data[used] == '\r' || data[used] == '\n')) used++;
        }
        if (used == len) break;
        if (conn->job) size = emu_conn_whole(conn, data + used, &request);
        else size = emu_conn_receive(conn, data + used, len - used, &request);
        conn->resuming = false;
        if (size == 0 || !emu_conn_serve(conn, &request)) break;
        used += size;
        conn->phase = EMU_HEAD;
        memset(&conn->head, 0, offsetof(emu_head, header));
        conn->told_to_continue = false;
        if (conn->chunks.buffer.cap > 65536) emu_text_clear(&conn->chunks);
    }
    return used;
}

static void emu_conn_work_input(emu_conn *conn)
{
    aioc_mem_buffer *in = &conn->in.buffer;
    size_t used = emu_conn_work(conn, in->data, in->len);
    if (used == 0) return;
    memmove(in->data, in->data + used, in->len - used);
    in->len -= used;
    if (in->len == 0 && in->cap > 65536) aioc_mem_buffer_free(&conn->core->store.memory, in);
}

/*------------------------------------------------------------------------------
 * MARK: - The connection
 *----------------------------------------------------------------------------*/

emu_conn *aiocosmos_emulator_conn_open(emu_core *core)
{
    emu_conn *conn = (emu_conn *)aioc_mem_zalloc(&core->store.memory, sizeof *conn);
    if (!conn) return NULL;
    conn->core = core;
    conn->in.memory = conn->out.memory = conn->chunks.memory = &core->store.memory;
    conn->due_ms = -1;
    return conn;
}

void aiocosmos_emulator_conn_remote(emu_conn *conn)
{
    conn->remote = true;
}

void aiocosmos_emulator_conn_close(emu_conn *conn)
{
    aioc_mem *memory = &conn->core->store.memory;
    emu_job_free(conn->job);
    aioc_mem_buffer_free(memory, &conn->in.buffer);
    aioc_mem_buffer_free(memory, &conn->out.buffer);
    aioc_mem_buffer_free(memory, &conn->chunks.buffer);
    aioc_mem_free(memory, conn, sizeof *conn);
}

void aiocosmos_emulator_conn_feed(emu_conn *conn, const char *bytes, size_t len)
{
    size_t used = 0;
    if (conn->state != AIOCOSMOS_EMULATOR_OPEN || len == 0) return;
    if (conn->in.buffer.len == 0) used = emu_conn_work(conn, bytes, len);
    if (used == len || conn->state != AIOCOSMOS_EMULATOR_OPEN) return;
    if (conn->in.buffer.len + len - used > EMU_INPUT_MAX) { /* who feeds on although it is full */
        conn->state = AIOCOSMOS_EMULATOR_RESET;
        return;
    }
    emu_put(&conn->in, bytes + used, len - used);
    if (conn->in.failed) emu_conn_refuse_memory(conn, &conn->in);
    else if (conn->in.buffer.len > len - used) emu_conn_work_input(conn);
}

aiocosmos_emulator_state aiocosmos_emulator_conn_state(const emu_conn *conn)
{
    return conn->state;
}

bool aiocosmos_emulator_conn_full(const emu_conn *conn)
{
    return conn->state == AIOCOSMOS_EMULATOR_OPEN && !emu_conn_ready(conn) && conn->in.buffer.len > EMU_BODY_MAX;
}

aiocosmos_emulator_wait aiocosmos_emulator_conn_waits(const emu_conn *conn)
{
    if (conn->job) return AIOCOSMOS_EMULATOR_WORKS;
    if (conn->in.buffer.len == 0) return AIOCOSMOS_EMULATOR_WAITS_FOR_REQUEST;
    return conn->phase == EMU_HEAD ? AIOCOSMOS_EMULATOR_WAITS_FOR_HEAD : AIOCOSMOS_EMULATOR_WAITS_FOR_BODY;
}

const char *aiocosmos_emulator_conn_output(emu_conn *conn, size_t *len)
{
    size_t ready = conn->out.buffer.len - conn->sent;
    if (conn->due_ms >= 0) ready -= conn->held;
    *len = conn->trickle && ready > 1 ? 1 : ready;
    return conn->out.buffer.data ? conn->out.buffer.data + conn->sent : "";
}

void aiocosmos_emulator_conn_sent(emu_conn *conn, size_t len)
{
    bool waited = !emu_conn_ready(conn);
    conn->sent += len;
    if (conn->sent == conn->out.buffer.len) {
        conn->sent = conn->out.buffer.len = 0;
        conn->trickle = false;
        if (conn->out.buffer.cap > 65536) aioc_mem_buffer_free(&conn->core->store.memory, &conn->out.buffer);
    }
    if (waited && emu_conn_ready(conn) && conn->in.buffer.len) emu_conn_work_input(conn);
}

int64_t aiocosmos_emulator_conn_due_ms(const emu_conn *conn)
{
    return conn->job ? emu_now(&conn->core->store.clock) : conn->due_ms;
}

void aiocosmos_emulator_conn_tick(emu_conn *conn)
{
    if (conn->job) {
        conn->resuming = true;
        emu_conn_work_input(conn);
        return;
    }
    if (conn->due_ms < 0 || conn->due_ms == INT64_MAX || emu_now(&conn->core->store.clock) < conn->due_ms) return;
    conn->due_ms = -1;
    conn->held = 0;
    conn->state = conn->state_when_due;
    if (conn->in.buffer.len) emu_conn_work_input(conn);
}
