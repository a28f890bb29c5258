/* interrupt.c: Ctrl-C and SIGTERM, for what ends in good order. */
#include "interrupt.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/select.h>

static struct interrupt {
    volatile sig_atomic_t came;
    aiocosmos_client *volatile client, *volatile other;
} interrupt;

static void on_signal(int signal_number)
{
    int kept = errno;
    (void)signal_number;
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
    action.sa_flags = (int)(SA_RESTART | SA_RESETHAND);
    sigemptyset(&action.sa_mask);
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
