/* one_client_a_thread.c: four workers, each with a client and a loop of its own; clients share nothing, so there is
 * nothing to lock but the queue of jobs, and a new job wakes its worker. With the emulator:
 * cc -I. -pthread -o build/workers examples/one_client_a_thread.c -lbearssl && build/workers */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORKERS = 4, JOBS = 400 };                /* jobs of each */
typedef struct worker {
    pthread_t thread;
    aiocosmos_client *client;                    /* of the worker's thread, but for aiocosmos_wake() */
    int stored;
    pthread_mutex_t lock;                        /* of what follows: how many were given, whether there will be more */
    int given;
    bool is_last;
} worker;
static worker workers[WORKERS];

static void on_stored(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    (void)client;
    if (result->status == 0) ((worker *)user_data)->stored++;
    else printf("%d: %.*s\n", result->status, (int)result->message.len, result->message.ptr);
}

static int store(worker *w, int number)
{
    char text[64], id[32];                       /* submit copies them */
    aiocosmos_request request = {0};
    snprintf(id, sizeof id, "%d-%d", (int)(w - workers), number);
    snprintf(text, sizeof text, "{\"id\":\"%s\"}", id);
    request.kind = AIOCOSMOS_UPSERT_ITEM;
    request.container = "jobs";
    request.pk = aiocosmos_pk_s(id);
    request.body = aiocosmos_text(text);
    request.done = on_stored;
    request.user_data = w;
    return aiocosmos_submit(w->client, &request, NULL);
}

static void *work(void *argument)
{
    worker *w = argument;
    int taken = 0, given;
    bool is_last;
    do {
        pthread_mutex_lock(&w->lock);
        given = w->given, is_last = w->is_last;
        pthread_mutex_unlock(&w->lock);
        for (; taken < given; taken++) {
            int status = store(w, taken);
            if (status == AIOCOSMOS_E_FULL) break;               /* after the next step */
            if (status < 0) puts(aiocosmos_last_error(w->client));
        }
        aiocosmos_step(w->client, is_last && aiocosmos_pending(w->client) == 0 ? 0 : 1000);
    } while (!is_last || taken < given || aiocosmos_pending(w->client) > 0);
    return NULL;
}

static void give(worker *w, int jobs, bool is_last)
{
    pthread_mutex_lock(&w->lock);
    w->given += jobs, w->is_last = is_last;
    pthread_mutex_unlock(&w->lock);
    aiocosmos_wake(w->client);                   /* the one call for another thread's client; none is forgotten */
}

int main(void)
{
    aiocosmos_options options = {0};
    aiocosmos_request make = {0};
    char why[256];
    int i, stored = 0;
    options.connection_string = getenv("AIOCOSMOS_CONNECTION_STRING");
    if (!options.connection_string) options.connection_string = AIOCOSMOS_EMULATOR_CONNECTION;
    options.default_database = "example-threads";
    for (i = 0; i < WORKERS; i++) {
        pthread_mutex_init(&workers[i].lock, NULL);
        if (aiocosmos_create(&options, &workers[i].client, why, sizeof why) < 0) return puts(why), 1;
    }
    make.kind = AIOCOSMOS_CREATE_DATABASE;
    make.if_not_exists = true;
    if (aiocosmos_run(workers[0].client, &make, NULL) != 0) return puts(aiocosmos_last_error(workers[0].client)), 1;
    make.kind = AIOCOSMOS_CREATE_CONTAINER;
    make.container = "jobs";
    make.partition_key_paths[0] = "/id";
    if (aiocosmos_run(workers[0].client, &make, NULL) != 0) return puts(aiocosmos_last_error(workers[0].client)), 1;
    for (i = 0; i < WORKERS; i++)
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) return puts("no thread"), 1;
    for (i = 0; i < WORKERS * JOBS; i++) give(&workers[i % WORKERS], 1, i >= WORKERS * (JOBS - 1));
    for (i = 0; i < WORKERS; i++) {
        pthread_join(workers[i].thread, NULL);
        aiocosmos_destroy(workers[i].client);    /* nobody else uses it any more */
        stored += workers[i].stored;
    }
    printf("%d jobs stored by %d clients\n", stored, WORKERS);
    return stored == WORKERS * JOBS ? 0 : 1;
}
/* In Java, with azure-cosmos, one client serves all threads, and has threads of its own:
 *     jobs.parallelStream().forEach(job -> container.upsertItem(job)); */
