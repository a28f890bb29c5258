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
    bool work = aioc_pool_has_work(pool);
    uint32_t resolving = 0;
    if (pool->first && pool->open + pool->opening < pool->options.connections_max && pool->queued > pool->opening &&
        !pool->idle && !work && !pool->patience.armed) return "the queue waits for a connection that nobody opens";
    if (pool->first && pool->idle && !work && !pool->hunger.armed) return "the queue waits beside idle connections";
    if (pool->idle && !pool->idle_timer.armed) return "idle connections never close";
    for (; c; c = c->next) {
        bool unsent = c->written < c->request_len;
        if (c->stage == AIOC_POOL_RESOLVING) resolving++;
        if (c->stage < AIOC_POOL_IDLE && !c->timer.armed) return "a connection on its way has all the time";
        if (c->stage == AIOC_POOL_CONNECTING && (!c->dial || c->dial->open == 0)) return "a connect hears nothing";
        if (c->stage == AIOC_POOL_DRAINING && !c->timer.armed) return "an answer nobody wants has all the time";
        if (c->paused && !c->timer.armed) return "a reader that pauses never goes on";
        if (c->stage >= AIOC_POOL_SHAKING && !c->paused && !(c->source.want & AIOCOSMOS_READABLE))
            return "a connection hears nothing";
        if (c->stage == AIOC_POOL_BUSY && unsent && !c->broken && !(c->source.want & AIOCOSMOS_WRITABLE))
            return "half a request is never sent";
    }
    if (resolving != pool->resolving) return "connections that wait for the name are counted wrongly";
    for (name = pool->resolver->first; name && !name->lookup; name = name->next) continue;
    if (resolving > 0 && !name && !work) return "connections wait for a name that nobody looks up";
    return NULL;
}

#endif
