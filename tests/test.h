/* test.h: the whole test framework. A test program is one file:
 *
 *     #include "test.h"
 *
 *     TEST(two_and_two_make_four)
 *     {
 *         CHECK_INT(2 + 2, 4);
 *     }
 *
 * main() is here. It runs the tests in the order of the file, or those whose names contain one of the arguments. The
 * first check that fails prints one line and leaves the test; a check may stand in any function that the test calls, on
 * the thread that runs it. The last line is "PROGRAM: N passed, N failed", and ", N skipped" where some were; the exit
 * status is 1 if one failed. A test that crashes or runs out of time is named and counted, and ends the program. */
#ifndef TEST_H
#define TEST_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef BUILD_DIR
#define BUILD_DIR "build" /* where the emulator of this build is, from the root of the repository */
#endif

#define TEST(NAME)                                                 \
    static void test_run_##NAME(void);                             \
    __attribute__((constructor)) static void test_add_##NAME(void) \
    {                                                              \
        static test_case self = {#NAME, test_run_##NAME, NULL};    \
        test_add(&self);                                           \
    }                                                              \
    static void test_run_##NAME(void)

/* What was got comes first, then what was wanted. CHECK_MEM compares LEN bytes as memcmp does, CHECK_TEXT compares LEN
 * bytes that no NUL ends with a whole string. */
#define CHECK(CONDITION)           ((CONDITION) ? (void)0 : test_fail(__FILE__, __LINE__, "%s", #CONDITION))
#define CHECK_INT(GOT, WANT)       test_check_int(__FILE__, __LINE__, #GOT, (long long)(GOT), (long long)(WANT))
#define CHECK_STR(GOT, WANT)       test_check_str(__FILE__, __LINE__, #GOT, (GOT), (WANT))
#define CHECK_MEM(GOT, WANT, LEN)  test_check_mem(__FILE__, __LINE__, #GOT, (GOT), (WANT), (LEN))
#define CHECK_TEXT(GOT, LEN, WANT) test_check_text(__FILE__, __LINE__, #GOT, (GOT), (LEN), (WANT))
#define SKIP(WHY)                  test_leave(TEST_SKIPPED, __FILE__, __LINE__, "skipped: %s", (WHY))
#define test_fail(...)             test_leave(TEST_FAILED, __VA_ARGS__)

typedef struct test_case {
    const char *name;
    void (*run)(void);
    struct test_case *next;
} test_case;

enum { TEST_FAILED = 1, TEST_SKIPPED };

static struct {
    test_case *first, *last, *running;
    int passed, failed, skipped;
    const char *program;
    jmp_buf leave;
} test;

static inline void test_add(test_case *added)
{
    *(test.last ? &test.last->next : &test.first) = added;
    test.last = added;
}

/* Prints one line and jumps back to test_run; outside of a test, as in a fuzzer, it ends the program. */
__attribute__((noreturn, format(printf, 4, 5)))
static inline void test_leave(int how, const char *file, int line, const char *format, ...)
{
    va_list values;
    printf("%s:%d: %s: ", file, line, test.running ? test.running->name : "");
    va_start(values, format);
    vprintf(format, values);
    va_end(values);
    printf("\n");
    fflush(stdout);
    if (!test.running) abort();
    longjmp(test.leave, how);
}

static inline void test_check_int(const char *file, int line, const char *what, long long got, long long want)
{
    if (got != want) test_fail(file, line, "%s is %lld, not %lld", what, got, want);
}

static inline void test_check_text(const char *file, int line, const char *what, const char *got, size_t len,
                                   const char *want)
{
    if (len == strlen(want) && (len == 0 || memcmp(got, want, len) == 0)) return;
    test_fail(file, line, "%s is \"%.*s\", not \"%s\"", what, (int)len, got ? got : "", want);
}

static inline void test_check_str(const char *file, int line, const char *what, const char *got, const char *want)
{
    if (got && want ? strcmp(got, want) == 0 : got == want) return;
    test_fail(file, line, "%s is \"%s\", not \"%s\"", what, got ? got : "(NULL)", want ? want : "(NULL)");
}

static inline void test_check_mem(const char *file, int line, const char *what, const void *got, const void *want,
                                  size_t len)
{
    const unsigned char *g = got, *w = want;
    size_t i;
    for (i = 0; i < len && g[i] == w[i]; i++) continue;
    if (i < len) test_fail(file, line, "%s: byte %zu of %zu is %02x, not %02x", what, i, len, g[i], w[i]);
}

#ifndef TEST_WITHOUT_MAIN
static void test_run(test_case *running)
{
    test.running = running;
    switch (setjmp(test.leave)) {
    case 0: running->run(); test.passed++; break;
    case TEST_SKIPPED: test.skipped++; break;
    default: test.failed++;
    }
}

static void test_summary(void)
{
    printf("%s: %d passed, %d failed", test.program, test.passed, test.failed);
    if (test.skipped) printf(", %d skipped", test.skipped);
    printf("\n");
}

/* printf is no function for a signal handler, but at worst a program that has failed fails without a summary. */
static void test_on_signal(int number)
{
    printf("%s: stopped by signal %d\n", test.running->name, number);
    test.failed++;
    test_summary();
    signal(number, SIG_DFL);
    raise(number);
}

int main(int argc, char **argv)
{
    static const int fatal[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTERM};
    test_case *next;
    int i;
    setvbuf(stdout, NULL, _IOLBF, 0);
    test.program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
    for (i = 0; i < (int)(sizeof fatal / sizeof fatal[0]); i++) {
        struct sigaction old;
        if (sigaction(fatal[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL) signal(fatal[i], test_on_signal);
    }
    for (next = test.first; next; next = next->next) {
        for (i = 1; i < argc && !strstr(next->name, argv[i]); i++) continue;
        if (argc == 1 || i < argc) test_run(next);
    }
    test_summary();
    return test.failed ? 1 : 0;
}
#endif

#endif
