/* interrupt.c: Ctrl-C and SIGTERM, for what ends in good order. */
#include "interrupt.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>

enum { ECHO_MS = 500 };                    /* nobody presses Ctrl-C again so soon and means it */

static struct interrupt {
    volatile sig_atomic_t came;
    aiocosmos_client *volatile client, *volatile other;
} interrupt;

interruption interruption_of_signal(void)
{
    static struct timespec first;
    static volatile sig_atomic_t seen;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!seen) first = now;
    else return (now.tv_sec - first.tv_sec) * 1000 + (now.tv_nsec - first.tv_nsec) / 1000000 < ECHO_MS
                    ? INTERRUPT_ECHO : INTERRUPT_AGAIN;
    seen = 1;
    return INTERRUPT_FIRST;
}

static void on_signal(int signal_number)
{
    int kept = errno;
    if (interruption_of_signal() == INTERRUPT_AGAIN) {
        signal(signal_number, SIG_DFL);
        raise(signal_number);
    }
    interrupt.came = 1;
    aiocosmos_wake(interrupt.client);
    if (interrupt.other) aiocosmos_wake(interrupt.other);
    errno = kept;
}

/* SA_RESTART: a file that is slow to write must not fail for a signal. A wait in poll() ends all the same. */
void catch_interrupts(aiocosmos_client *client, aiocosmos_client *other)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGINT);
    sigaddset(&action.sa_mask, SIGTERM);
    interrupt.client = client;
    interrupt.other = other;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool was_interrupted(void)
{
    return interrupt.came != 0;
}

void release_interrupts(void)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

/* A signal that comes just before the wait ends it too: it is let in only there. */
void wait_or_interrupt(long ms)
{
    sigset_t stopping, before;
    struct timespec span;
    span.tv_sec = ms / 1000;
    span.tv_nsec = ms % 1000 * 1000000;
    sigemptyset(&stopping);
    sigaddset(&stopping, SIGINT);
    sigaddset(&stopping, SIGTERM);
    sigprocmask(SIG_BLOCK, &stopping, &before);
    if (!interrupt.came) pselect(0, NULL, NULL, NULL, &span, &before);
    sigprocmask(SIG_SETMASK, &before, NULL);
}
