/* pool_awake.h: whether a pool would ever go on by itself. Whoever includes it has included the implementation. */
#ifndef POOL_AWAKE_H
#define POOL_AWAKE_H

/* A host sleeps until a descriptor is ready or aiocosmos_next_timeout_ms() is over, and a step may end after any piece
 * of work. So at each such moment whatever the pool has still to do has to be announced: as work, by a timer that runs,
 * or by a source that is watched. NULL: it is; else what is not. */
static inline const char *aioc_pool_sleeps(const aioc_pool *pool)
{
    const aioc_pool_connection *c = pool->connections;
    const aioc_dns_name *name;
    const aioc_mem_node *at;
    bool work = aioc_pool_has_work(pool);
    uint32_t asking = 0;
    if (pool->queue.first && pool->open + pool->opening < pool->options.connections_max &&
        pool->queued > pool->opening &&
        !pool->idle.first && !work && !pool->pacing.armed) return "the queue waits for a connection that nobody opens";
    if (pool->queue.first && pool->idle.first && !work && !pool->memory_timer.armed)
        return "the queue waits beside idle connections";
    if (pool->idle.first && !pool->idle_timer.armed) return "idle connections never close";
    for (; c; c = c->next) {
        const aioc_stream *stream = &c->stream;
        bool opening = c->state == AIOC_POOL_OPENING, unsent = c->written < c->request_len;
        bool asks = stream->queue == &pool->place.asking;
        asking += asks;
        if (opening != (stream->state != AIOC_STREAM_OPEN)) return "pool and stream differ on whether it is open";
        if (opening != stream->limit.armed) return "a connection on its way has all the time";
        if (stream->state == AIOC_STREAM_RESOLVING && !asks) return "a connection asks nobody for its address";
        if ((stream->state == AIOC_STREAM_CONNECTING) != (stream->race != NULL)) return "a race for something else";
        if (stream->race && stream->race->open == 0 && !asks) return "a connect hears nothing";
        if (stream->race && stream->race->next < stream->race->count && !stream->race->stagger.armed)
            return "an address is never tried";
        if (c->state == AIOC_POOL_DRAINING && !c->timer.armed) return "an answer nobody wants has all the time";
        if (c->state == AIOC_POOL_PAUSED && !c->timer.armed) return "a reader that pauses never goes on";
        if (stream->state >= AIOC_STREAM_HANDSHAKE && c->state != AIOC_POOL_PAUSED &&
            !(stream->source.want & AIOCOSMOS_READABLE)) return "a connection hears nothing";
        if (c->state == AIOC_POOL_BUSY && unsent && !stream->broken && !(stream->source.want & AIOCOSMOS_WRITABLE))
            return "half a request is never sent";
    }
    for (at = pool->place.asking.first; at; at = at->next) {
        if (asking-- == 0) return "somebody else's stream asks for addresses";
        uint64_t asked = ((const aioc_stream *)at)->asked;
        if (at->next && asked == pool->place.resolver->answered && ((const aioc_stream *)at->next)->asked != asked)
            return "who has not asked is behind who has";
    }
    if (asking > 0) return "a stream is in no queue";
    for (name = pool->place.resolver->first; name && !name->lookup; name = name->next) continue;
    if (pool->place.asking.first && !name && !work) return "connections wait for a name that nobody looks up";
    return NULL;
}

#endif
