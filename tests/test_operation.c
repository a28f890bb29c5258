/* The operation layer without a network: what outcomes lead to, order keys, cancelling, what a full client says. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

/*--- The retry policy ---------------------------------------------------------*/

enum { AGAIN = 1, OVER = 0 };

static const aioc_op_role plain = { NULL, NULL, NULL, false, false };

typedef struct policy_case {
    const char *what;
    aioc_op_situation now;
    aioc_op_outcome seen;
    int again, status, fate;
} policy_case;

static aioc_op_situation reading(void)
{
    aioc_op_situation now;
    memset(&now, 0, sizeof now);
    now.retries_max = 9;
    now.throttle_wait_max_ms = 20000;
    now.answered_once = true;
    now.random = 12345;
    return now;
}

static aioc_op_situation writing(void)
{
    aioc_op_situation now = reading();
    now.is.write = true;
    return now;
}

static aioc_op_outcome lost(int error, bool sent)
{
    aioc_op_outcome seen;
    memset(&seen, 0, sizeof seen);
    seen.error = error;
    seen.sent = sent;
    return seen;
}

static aioc_op_outcome answer(int http_status, int sub_status)
{
    aioc_op_outcome seen;
    memset(&seen, 0, sizeof seen);
    seen.sent = seen.from_service = true;
    seen.http_status = http_status;
    seen.sub_status = sub_status;
    return seen;
}

static void check_policy(const char *what, aioc_op_situation now, aioc_op_outcome seen, int again, int status,
                         int fate)
{
    aioc_op_verdict verdict = aioc_op_judge(&now, &seen);
    if (verdict.again != (again == AGAIN) || (!verdict.again && (verdict.status != status || verdict.fate != fate)))
        printf("  %s: again %d, status %d, fate %d\n", what, verdict.again, verdict.status, verdict.fate);
    CHECK_INT(verdict.again, again == AGAIN);
    if (verdict.again) return;
    CHECK_INT(verdict.status, status);
    CHECK_INT(verdict.fate, fate);
}

TEST(policy_answers)
{
    check_policy("200", reading(), answer(200, 0), OVER, 0, AIOCOSMOS_FATE_ANSWERED);
    check_policy("201", writing(), answer(201, 0), OVER, 0, AIOCOSMOS_FATE_ANSWERED);
    check_policy("304", reading(), answer(304, 0), OVER, 304, AIOCOSMOS_FATE_ANSWERED);
    check_policy("400", writing(), answer(400, 0), OVER, 400, AIOCOSMOS_FATE_ANSWERED);
    check_policy("404", reading(), answer(404, 0), OVER, 404, AIOCOSMOS_FATE_ANSWERED);
    check_policy("409", writing(), answer(409, 0), OVER, 409, AIOCOSMOS_FATE_ANSWERED);
    check_policy("412", writing(), answer(412, 0), OVER, 412, AIOCOSMOS_FATE_ANSWERED);
    check_policy("413", writing(), answer(413, 0), OVER, 413, AIOCOSMOS_FATE_ANSWERED);
    check_policy("400/1024", reading(), answer(400, 1024), AGAIN, 0, 0);
    check_policy("449", writing(), answer(449, 0), AGAIN, 0, 0);
    check_policy("410/1002", writing(), answer(410, 1002), AGAIN, 0, 0);
    check_policy("503", writing(), answer(503, 0), AGAIN, 0, 0);
    check_policy("403/3", writing(), answer(403, 3), AGAIN, 0, 0);
    check_policy("403/1008", reading(), answer(403, 1008), AGAIN, 0, 0);
    check_policy("403/0", writing(), answer(403, 0), OVER, 403, AIOCOSMOS_FATE_ANSWERED);
    check_policy("404/1002", reading(), answer(404, 1002), AGAIN, 0, 0);
    check_policy("404/1003", reading(), answer(404, 1003), AGAIN, 0, 0);
}

TEST(policy_of_lost_answers)
{
    aioc_op_situation now;
    check_policy("read", reading(), lost(AIOCOSMOS_E_CONNECT, true), AGAIN, 0, 0);
    check_policy("write not sent", writing(), lost(AIOCOSMOS_E_CONNECT, false), AGAIN, 0, 0);
    check_policy("write sent", writing(), lost(AIOCOSMOS_E_CONNECT, true), OVER, AIOCOSMOS_E_CONNECT,
                 AIOCOSMOS_FATE_MAYBE_APPLIED);
    check_policy("garbled", writing(), lost(AIOCOSMOS_E_PROTOCOL, true), OVER, AIOCOSMOS_E_PROTOCOL,
                 AIOCOSMOS_FATE_MAYBE_APPLIED);
    check_policy("too large", reading(), lost(AIOCOSMOS_E_TOO_LARGE, true), OVER, AIOCOSMOS_E_TOO_LARGE,
                 AIOCOSMOS_FATE_NOT_SENT);
    check_policy("certificate", writing(), lost(AIOCOSMOS_E_TLS, false), OVER, AIOCOSMOS_E_TLS,
                 AIOCOSMOS_FATE_NOT_SENT);
    now = writing();
    now.is.repeatable = true;
    check_policy("with if_match", now, lost(AIOCOSMOS_E_CONNECT, true), AGAIN, 0, 0);
    now = writing();
    now.past.retries = 9;
    check_policy("retries are used up", now, lost(AIOCOSMOS_E_CONNECT, false), OVER, AIOCOSMOS_E_CONNECT,
                 AIOCOSMOS_FATE_NOT_SENT);
    now = reading();
    now.answered_once = false;
    now.past.retries = now.past.tries[AIOC_OP_TRANSPORT] = 3;
    check_policy("nobody ever answered", now, lost(AIOCOSMOS_E_CONNECT, false), OVER, AIOCOSMOS_E_CONNECT,
                 AIOCOSMOS_FATE_NOT_SENT);
}

/* The line of the guide beside aiocosmos_error against the policy: how often reads and writes are tried again, how a
 * write ends. */
static void check_guide_line(const char *name, int status, int sub_status, const char *tries, char fate)
{
    static const char fates[] = "ANM";
    int w;
    for (w = 0; w < 2; w++) {
        aioc_op_situation now = w ? writing() : reading();
        aioc_op_outcome seen = status > 0 ? answer(status, sub_status) : lost(status, fate != 'N');
        aioc_op_verdict verdict;
        int count = 0;
        seen.from_service = status > 0 || status == AIOCOSMOS_E_TOO_LARGE;
        if (status == AIOCOSMOS_E_TOO_LARGE) seen.http_status = 200;
        for (;;) {
            verdict = aioc_op_judge(&now, &seen);
            if (!verdict.again || count == 9) break;
            now.past.tries[verdict.reason]++;
            now.past.retries += verdict.counts;
            count++;
        }
        if (count != (tries[w] == '+' ? 9 : tries[w] == '-' ? 0 : tries[w] - '0'))
            printf("  %s: a %s is tried again %d times\n", name, w ? "write" : "read", count);
        CHECK_INT(count, tries[w] == '+' ? 9 : tries[w] == '-' ? 0 : tries[w] - '0');
        now.past.retries = now.retries_max = 0;
        verdict = aioc_op_judge(&now, &seen);
        CHECK_INT(verdict.again, false);
        CHECK_INT(verdict.status, status);
        if (w) CHECK_INT(fates[verdict.fate], fate);
    }
}

static int error_named(const char *name)
{
    static const struct { const char *name; int error; } names[] = {
        { "E_CONNECT", AIOCOSMOS_E_CONNECT }, { "E_DNS", AIOCOSMOS_E_DNS }, { "E_TLS", AIOCOSMOS_E_TLS },
        { "E_PROTOCOL", AIOCOSMOS_E_PROTOCOL }, { "E_TOO_LARGE", AIOCOSMOS_E_TOO_LARGE }
    };
    size_t i;
    for (i = 0; i < sizeof names / sizeof *names; i++) if (strcmp(names[i].name, name) == 0) return names[i].error;
    return atoi(name);
}

TEST(the_error_guide_says_what_the_policy_does)
{
    FILE *file = fopen("aiocosmos.h", "r");
    char line[256], name[16], tries[2], fate;
    int lines = 0;
    bool guide = false;
    CHECK(file != NULL);
    while (file && fgets(line, sizeof line, file)) {
        const char *sub;
        if (strncmp(line, " *     status ", 14) == 0) guide = true;
        if (!guide || sscanf(line, " * %15s %c %c %c ", name, &tries[0], &tries[1], &fate) != 4) continue;
        if (!strchr("-+13", tries[0]) || !strchr("-+13", tries[1]) || !strchr("ANM", fate)) continue;
        sub = strchr(name, '/');
        check_guide_line(name, error_named(name), sub ? atoi(sub + 1) : 0, tries, fate);
        lines++;
        if (strcmp(name, "E_TOO_LARGE") == 0) break;
    }
    if (file) fclose(file);
    CHECK_INT(lines, 25);
}

TEST(policy_keeps_the_doubt_of_an_earlier_attempt)
{
    static const int echoes[] = { 404, 409, 412 };
    aioc_op_situation now = writing();
    size_t i;
    now.past.doubt = true;
    for (i = 0; i < 3; i++)
        check_policy("echo", now, answer(echoes[i], 0), OVER, echoes[i], AIOCOSMOS_FATE_MAYBE_APPLIED);
    check_policy("success clears it", now, answer(200, 0), OVER, 0, AIOCOSMOS_FATE_ANSWERED);
    now.is.repeatable = true;
    now.past.retries = 9;
    check_policy("not sent this time", now, lost(AIOCOSMOS_E_CONNECT, false), OVER, AIOCOSMOS_E_CONNECT,
                 AIOCOSMOS_FATE_MAYBE_APPLIED);
}

/* Somebody who is not the service may say that it did not process a request, or that ranges or a rate have changed. */
TEST(policy_of_answers_that_are_not_the_services)
{
    static const int statuses[] = { 408, 410, 429, 449, 500, 502, 503, 504 };
    size_t i;
    for (i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        aioc_op_outcome seen = answer(statuses[i], 0);
        aioc_op_situation now = reading();
        seen.from_service = false;
        CHECK_INT(aioc_op_judge(&now, &seen).reason, AIOC_OP_UNCLEAR);
        check_policy("a write", writing(), seen, OVER, statuses[i], AIOCOSMOS_FATE_MAYBE_APPLIED);
        check_policy("a read", now, seen, AGAIN, 0, 0);
        now.past.tries[AIOC_OP_UNCLEAR] = 3;
        check_policy("its fourth", now, seen, OVER, statuses[i], AIOCOSMOS_FATE_NOT_SENT);
    }
}

TEST(policy_of_unclear_answers)
{
    static const int unclear[] = { 408, 500, 502, 504 };
    aioc_op_situation now = writing();
    size_t i;
    now.is.repeatable = true;
    for (i = 0; i < 4; i++) {
        check_policy("read", reading(), answer(unclear[i], 0), AGAIN, 0, 0);
        check_policy("write", writing(), answer(unclear[i], 0), OVER, unclear[i], AIOCOSMOS_FATE_MAYBE_APPLIED);
        check_policy("repeatable write", now, answer(unclear[i], 0), AGAIN, 0, 0);
    }
}

TEST(policy_of_throttling)
{
    aioc_op_situation now = writing();
    aioc_op_outcome seen = answer(429, 3200);
    aioc_op_verdict verdict;
    seen.retry_after_ms = 250;
    verdict = aioc_op_judge(&now, &seen);
    CHECK(verdict.again && verdict.counts);
    CHECK_INT(verdict.reason, AIOC_OP_THROTTLE);
    now.past.throttle_wait_ms = 19800;
    check_policy("the total wait is used up", now, seen, OVER, 429, AIOCOSMOS_FATE_ANSWERED);
    now.throttle_wait_max_ms = AIOCOSMOS_OFF;
    check_policy("no limit of the wait", now, seen, AGAIN, 0, 0);
    now.past.retries = 9;
    check_policy("retries are used up", now, seen, OVER, 429, AIOCOSMOS_FATE_ANSWERED);
    now.patient = true;
    verdict = aioc_op_judge(&now, &seen);
    CHECK(verdict.again && !verdict.counts);
    seen.retry_after_ms = 0;
    verdict = aioc_op_judge(&now, &seen);
    CHECK(verdict.again && verdict.wait_us > 0);
}

TEST(policy_waits_as_long_as_it_is_told_and_up_to_a_fifth_more)
{
    static const int statuses[] = { 429, 449, 503, 410 };
    aioc_op_situation now = writing();
    aioc_op_outcome seen;
    uint64_t least_us, most_us, wait_us;
    size_t i;
    int k;
    for (i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        seen = answer(statuses[i], 0);
        seen.retry_after_ms = 5000;
        least_us = UINT64_MAX;
        most_us = 0;
        for (k = 0; k < 2000; k++) {
            now.random = 2654435761u * (uint32_t)k;
            wait_us = aioc_op_judge(&now, &seen).wait_us;
            if (wait_us < least_us) least_us = wait_us;
            if (wait_us > most_us) most_us = wait_us;
        }
        CHECK(least_us >= 5000000 && least_us < 5100000);
        CHECK(most_us > 5900000 && most_us <= 6000000);
        /* A time that is shorter than our own back-off holds for 429 alone. */
        seen.retry_after_ms = 1;
        memset(now.past.tries, 4, sizeof now.past.tries);
        wait_us = aioc_op_judge(&now, &seen).wait_us;
        CHECK(statuses[i] == 429 ? wait_us >= 1000 && wait_us <= 1200 : wait_us > 50000);
        memset(now.past.tries, 0, sizeof now.past.tries);
    }
}

/* An operation that meets one trouble after another has the patience of each for each. */
TEST(policy_counts_by_reason)
{
    static const int unclear[] = { 408, 500, 502, 504 }, other[][2] = { { 400, 1024 }, { 404, 1003 }, { 410, 1000 } };
    aioc_op_situation now = reading();
    aioc_op_outcome seen = lost(AIOCOSMOS_E_CONNECT, true);
    size_t i;
    now.past.retries = now.past.tries[AIOC_OP_THROTTLE] = 3;
    for (i = 0; i < 4; i++) check_policy("its first after three 429", now, answer(unclear[i], 0), AGAIN, 0, 0);
    CHECK(aioc_op_judge(&now, &seen).wait_us > 0);
    seen.reused = seen.silent = true;
    CHECK_INT(aioc_op_judge(&now, &seen).wait_us, 0);
    now.past.tries[AIOC_OP_TRANSPORT] = 1;
    CHECK(aioc_op_judge(&now, &seen).wait_us > 0);
    now.past.tries[AIOC_OP_UNCLEAR] = 3;
    for (i = 0; i < 4; i++)
        check_policy("its fourth", now, answer(unclear[i], 0), OVER, unclear[i], AIOCOSMOS_FATE_ANSWERED);
    now.past.tries[AIOC_OP_TRANSPORT] = 3;
    check_policy("its fourth", now, lost(AIOCOSMOS_E_PROTOCOL, true), OVER, AIOCOSMOS_E_PROTOCOL,
                 AIOCOSMOS_FATE_NOT_SENT);
    for (i = 0; i < 3; i++) {
        now.past.tries[AIOC_OP_METADATA] = 0;
        check_policy("its first", now, answer(other[i][0], other[i][1]), AGAIN, 0, 0);
        now.past.tries[AIOC_OP_METADATA] = 1;
        check_policy("its second", now, answer(other[i][0], other[i][1]), OVER, other[i][0], AIOCOSMOS_FATE_ANSWERED);
    }
    now.past.retries = 9;
    now.past.tries[AIOC_OP_UNCLEAR] = 0;
    check_policy("all together", now, answer(500, 0), OVER, 500, AIOCOSMOS_FATE_ANSWERED);
}

TEST(policy_tries_a_new_signature_once)
{
    aioc_op_situation now = writing();
    aioc_op_outcome seen = answer(403, 0);
    seen.clock_was_off = true;
    check_policy("skewed", now, seen, AGAIN, 0, 0);
    now.past.fresh_signature = true;
    check_policy("still refused", now, seen, OVER, 403, AIOCOSMOS_FATE_ANSWERED);
    now.past.fresh_signature = false;
    seen = answer(401, 0);
    check_policy("a wrong key", now, seen, OVER, 401, AIOCOSMOS_FATE_ANSWERED);
    seen.token_expired = true;
    check_policy("an expired token", now, seen, AGAIN, 0, 0);
}

TEST(policy_looks_for_another_container_when_a_replica_lags_long)
{
    aioc_op_situation now = reading();
    aioc_op_outcome seen = answer(404, 1002);
    int tries;
    now.past.retries = now.past.tries[AIOC_OP_THROTTLE] = 4;
    for (tries = 0; tries < 5; tries++, now.past.retries++) {
        aioc_op_verdict verdict;
        now.past.tries[AIOC_OP_SESSION] = (uint8_t)tries;
        verdict = aioc_op_judge(&now, &seen);
        CHECK(verdict.again);
        CHECK_INT((verdict.flags & AIOC_OP_FORGET) != 0, tries == 2);
    }
    check_policy("never stale", now, seen, OVER, 404, AIOCOSMOS_FATE_ANSWERED);
    now.retries_max = now.past.retries = now.past.tries[AIOC_OP_SESSION] = 0;  /* the last try looks */
    CHECK(aioc_op_judge(&now, &seen).flags & AIOC_OP_FORGET);
}

TEST(policy_without_retries)
{
    aioc_op_situation now = reading();
    now.retries_max = 0;
    check_policy("410/1000", now, answer(410, 1000), OVER, 410, AIOCOSMOS_FATE_ANSWERED);
    check_policy("404/1003", now, answer(404, 1003), OVER, 404, AIOCOSMOS_FATE_ANSWERED);
    check_policy("429", now, answer(429, 0), OVER, 429, AIOCOSMOS_FATE_ANSWERED);
    check_policy("503", now, answer(503, 0), OVER, 503, AIOCOSMOS_FATE_ANSWERED);
    check_policy("lost", now, lost(AIOCOSMOS_E_CONNECT, false), OVER, AIOCOSMOS_E_CONNECT, AIOCOSMOS_FATE_NOT_SENT);
}

/* What the head of an answer says holds, even if its body does not come. */
TEST(policy_of_an_answer_that_broke_off)
{
    aioc_op_situation now = writing();
    aioc_op_outcome seen = answer(201, 0);
    seen.error = AIOCOSMOS_E_TOO_LARGE;
    check_policy("applied", now, seen, OVER, AIOCOSMOS_E_TOO_LARGE, AIOCOSMOS_FATE_ANSWERED);
    seen.error = AIOCOSMOS_E_CONNECT;
    now.is.repeatable = true;
    check_policy("applied, and not again", now, seen, OVER, AIOCOSMOS_E_CONNECT, AIOCOSMOS_FATE_ANSWERED);
    check_policy("a read", reading(), seen, AGAIN, 0, 0);
    seen.http_status = 412;
    check_policy("not applied", now, seen, OVER, 412, AIOCOSMOS_FATE_ANSWERED);
    seen.http_status = 503;
    check_policy("not processed", writing(), seen, AGAIN, 0, 0);
    seen.from_service = false;
    check_policy("of a proxy", writing(), seen, OVER, AIOCOSMOS_E_CONNECT, AIOCOSMOS_FATE_MAYBE_APPLIED);
}

TEST(policy_if_not_exists)
{
    aioc_op_situation now = writing();
    now.is.if_not_exists = now.is.repeatable = true;
    check_policy("exists", now, answer(409, 0), OVER, 0, AIOCOSMOS_FATE_ANSWERED);
    now.past.doubt = true;
    check_policy("exists, perhaps by us", now, answer(409, 0), OVER, 0, AIOCOSMOS_FATE_ANSWERED);
    check_policy("lost", now, lost(AIOCOSMOS_E_CONNECT, true), AGAIN, 0, 0);
}

/* A failover takes longer than nine tries, and what else goes wrong meanwhile has a patience of its own. */
TEST(policy_waits_for_a_failover)
{
    aioc_op_situation now = writing();
    aioc_op_outcome seen = answer(403, 3);
    uint64_t waited_us = 0;
    int tries;
    now.past.retries = 9;
    for (tries = 0; tries < 120; tries++) {
        aioc_op_verdict verdict;
        now.past.tries[AIOC_OP_MOVED] = (uint8_t)tries;
        verdict = aioc_op_judge(&now, &seen);
        CHECK(verdict.again && !verdict.counts);
        CHECK_INT(verdict.wait_us == 0, tries == 0);
        waited_us += verdict.wait_us;
    }
    CHECK(waited_us > 60000000);
    now.past.tries[AIOC_OP_MOVED] = 120;
    check_policy("no failover lasts so long", now, seen, OVER, 403, AIOCOSMOS_FATE_ANSWERED);
    now.past.retries = now.retries_max = now.past.tries[AIOC_OP_MOVED] = 0;
    check_policy("no retries", now, seen, OVER, 403, AIOCOSMOS_FATE_ANSWERED);
}

/* The table itself: each row is met, and what it says of where to go and of the container is the verdict's. */
TEST(policy_follows_its_table)
{
    const size_t count = sizeof aioc_op_rules / sizeof *aioc_op_rules - 1;      /* the last is of what has no row */
    size_t i;
    for (i = 0; i < count; i++) {
        const aioc_op_rule *rule = &aioc_op_rules[i];
        int sub_status = rule->sub_status == -1 ? 77 : rule->sub_status;
        aioc_op_situation now = reading();
        aioc_op_outcome seen = rule->status > 0 ? answer(rule->status, sub_status) : lost(rule->status, true);
        aioc_op_verdict verdict = aioc_op_judge(&now, &seen);
        CHECK(rule->base_ms <= rule->max_ms);
        CHECK(aioc_op_rule_of(rule->status, sub_status) == rule);
        CHECK(verdict.again && verdict.reason == rule->reason);
        CHECK_INT(verdict.where, rule->where);
        CHECK_INT(verdict.flags, rule->flags);
        CHECK_INT(verdict.counts, !(rule->flags & AIOC_OP_FREE));
        now.is.by_range = true;                     /* its owner goes elsewhere */
        verdict = aioc_op_judge(&now, &seen);
        CHECK_INT(verdict.again, !(rule->flags & (AIOC_OP_DOUBT | AIOC_OP_FORGET)));
        now = writing();
        verdict = aioc_op_judge(&now, &seen);
        CHECK_INT(verdict.doubt, (rule->flags & AIOC_OP_UNSURE) != 0);
    }
}

/* Whether the truth is that it was not applied: not all of it went, or the service itself says so. */
static bool not_applied(const aioc_op_outcome *seen)
{
    int status = seen->http_status;
    if (!seen->sent) return true;
    return seen->from_service && status >= 300 && status != 408 && status != 500 && status != 502 &&
           status != 504;
}

/* What holds for every verdict. */
static void check_verdict(const aioc_op_situation *now, const aioc_op_outcome *seen)
{
    aioc_op_verdict verdict = aioc_op_judge(now, seen);
    int status = seen->http_status;
    bool success = seen->from_service && ((status >= 200 && status < 300) || (status == 409 && now->is.if_not_exists));
    bool bodiless = success && seen->error && status < 300;
    bool doubt = !success && now->is.write && (now->past.doubt || !not_applied(seen));
    if (bodiless || (seen->error && !seen->from_service)) CHECK_INT(verdict.status, seen->error);
    else if (seen->from_service) CHECK_INT(verdict.status, success ? 0 : status);
    else CHECK(verdict.status == status || verdict.status == AIOCOSMOS_E_PROTOCOL);
    CHECK_INT(verdict.status == 0, success && !bodiless);
    if (bodiless && !now->is.write) return;                   /* such a read is one without an answer */
    CHECK_INT(verdict.doubt, doubt);
    if (success) CHECK_INT(verdict.fate, AIOCOSMOS_FATE_ANSWERED);
    if (success) CHECK(!verdict.again);
    if (now->is.write) CHECK_INT(verdict.fate == AIOCOSMOS_FATE_MAYBE_APPLIED, doubt);
    if (now->is.write && verdict.fate == AIOCOSMOS_FATE_NOT_SENT) CHECK(!seen->sent);
    if (verdict.fate == AIOCOSMOS_FATE_ANSWERED) CHECK(seen->from_service);
    if (verdict.status == 304 || verdict.status == 404 || verdict.status == 409 || verdict.status == 412)
        CHECK(seen->from_service);
    if (doubt && !now->is.repeatable) CHECK(!verdict.again);
    if (!verdict.again) return;
    CHECK(verdict.sign_anew ? !now->past.fresh_signature : verdict.reason != AIOC_OP_FINAL);
    if (verdict.counts) CHECK(now->past.retries < now->retries_max);
    if (!verdict.counts) CHECK(verdict.sign_anew || verdict.reason == AIOC_OP_MOVED ||
                               (now->patient && verdict.reason == AIOC_OP_THROTTLE));
    CHECK(verdict.wait_us <= (seen->retry_after_ms > 5000 ? seen->retry_after_ms * UINT64_C(1200) : 6000000));
    if (verdict.wait_us) CHECK(verdict.wait_us >= seen->retry_after_ms * UINT64_C(1000));
}

/* Each status, with and without proof of who answered, to each kind of request in each situation. */
TEST(policy_never_says_more_than_is_known)
{
    static const int subs[] = { 0, 3, 1000, 1002, 1003, 1007, 1008, 1013, 1022, 1024, 3200, 5006 };
    static const int errors[] = { AIOCOSMOS_E_CONNECT, AIOCOSMOS_E_DNS, AIOCOSMOS_E_TLS, AIOCOSMOS_E_PROTOCOL,
        AIOCOSMOS_E_TOO_LARGE, AIOCOSMOS_E_NOMEM };
    enum { STATUSES = 405 };
    unsigned i, k, bits;
    for (i = 0; i < STATUSES + 6; i++) {
        for (k = 0; k < sizeof subs / sizeof *subs; k++) {
            for (bits = 0; bits < 1u << 13; bits++) {
                aioc_op_outcome seen = answer(i < STATUSES ? 200 + (int)i : 0, subs[k]);
                aioc_op_situation now = reading();
                if (i >= STATUSES) seen = lost(errors[i - STATUSES], true);
                if (i >= STATUSES && k > 0) break;
                if (bits >> 12 & 1) seen.error = errors[bits % 6];     /* behind the head, or it counts for nothing */
                if (subs[k] && !(bits & 1)) continue;         /* a sub-status is proof */
                seen.from_service = i < STATUSES && (bits & 1);
                seen.sent = (bits >> 1 & 1) != 0;
                seen.clock_was_off = seen.from_service && (bits >> 2 & 1);
                seen.reused = seen.silent = (bits >> 3 & 1) != 0;
                now.is.write = (bits >> 4 & 1) != 0;
                now.is.repeatable = (bits >> 5 & 1) != 0;
                now.is.if_not_exists = now.is.repeatable && now.is.write && (bits >> 6 & 1);
                now.past.doubt = now.is.write && now.is.repeatable && (bits >> 7 & 1);
                now.patient = (bits >> 8 & 1) != 0;
                now.is.by_range = (bits >> 9 & 1) != 0;
                now.past.fresh_signature = (bits >> 10 & 1) != 0;
                if (bits >> 11 & 1) seen.retry_after_ms = 6000;
                else now.past.retries = 9;
                now.random = bits * 2654435761u + i;
                check_verdict(&now, &seen);
            }
        }
    }
}

/* However an operation's troubles follow each other: it ends, a write in doubt at once, and the tries are bounded. */
TEST(policy_comes_to_an_end)
{
    static const int statuses[][2] = { { 403, 0 }, { 404, 1002 }, { 404, 1003 }, { 404, 1013 }, { 408, 0 },
        { 410, 1000 }, { 410, 1002 }, { 429, 0 }, { 449, 0 }, { 500, 0 }, { 503, 0 }, { 400, 1024 }, { 401, 0 } };
    uint32_t random = 1, round;
    for (round = 0; round < 20000; round++) {
        aioc_op_situation now = round % 2 ? writing() : reading();
        uint32_t tries = 0, again = 0;
        now.is.repeatable = round % 4 == 3;
        now.retries_max = round % 17;
        do {
            aioc_op_outcome seen;
            aioc_op_verdict verdict;
            const int *status;
            random = random * 1664525u + 1013904223u;
            status = statuses[(random >> 8) % 13];
            seen = answer(status[0], status[1]);
            if (random >> 28 == 0) seen = lost(AIOCOSMOS_E_CONNECT, random >> 27 & 1);
            if (random >> 28 == 1 && !status[1]) seen.from_service = false;
            seen.clock_was_off = status[0] == 401;
            now.random = random;
            verdict = aioc_op_judge(&now, &seen);
            again = verdict.again;
            now.past.doubt = verdict.doubt;
            now.past.tries[verdict.reason]++;
            now.past.retries += verdict.counts;
            if (verdict.sign_anew) now.past.fresh_signature = true;
            tries++;
            CHECK(tries <= now.retries_max + 2);
            if (again && now.past.doubt) CHECK(now.is.repeatable);
        } while (again);
    }
}

TEST(backoff_doubles_to_its_limit)
{
    uint32_t retries;
    for (retries = 0; retries < 40; retries++) {
        uint64_t full = retries < 5 ? 50000ull << retries : 1000000ull;
        uint64_t low = aioc_op_backoff_us(retries, 50, 1000, 0);
        uint64_t high = aioc_op_backoff_us(retries, 50, 1000, UINT32_MAX);
        CHECK(low >= full / 2 && low <= full);
        CHECK(high >= full / 2 && high <= full);
    }
}

/*--- Operations without a server --------------------------------------------------*/

static aiocosmos_client *new_client(void)
{
    aiocosmos_options options = {0};
    aiocosmos_client *client = NULL;
    char why[256];
    options.endpoint = "http://localhost:1";
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.default_database = "db";
    CHECK_INT(aiocosmos_create(&options, &client, why, sizeof why), 0);
    return client;
}

static aiocosmos_request item_request(aiocosmos_kind kind)
{
    aiocosmos_request request = {0};
    static const char body[] = "{\"id\":\"x\"}";
    request.kind = kind;
    request.container = "c";
    request.pk = aiocosmos_pk1(aiocosmos_s("p"));
    if (kind != AIOCOSMOS_CREATE_ITEM && kind != AIOCOSMOS_UPSERT_ITEM) request.id = "x";
    if (kind != AIOCOSMOS_READ_ITEM && kind != AIOCOSMOS_DELETE_ITEM) {
        request.body.ptr = body;
        request.body.len = sizeof body - 1;
    }
    return request;
}

/* However much of a result is missing: one line, nothing twice, nothing empty. */
TEST(descriptions_have_no_holes)
{
    static const int statuses[] = { 0, 304, 404, 429, 201, AIOCOSMOS_E_TIMEOUT, AIOCOSMOS_E_TLS };
    static const char *const messages[] = { "", "404 Not Found", "no answer",
        "429 Too Many Requests (3200): slow down" };
    static const char *const holes[] = { "  ", ", ,", ",,", ": ,", "::", ";;", "; ;", "activity ;",
        "activity  ", "(null)" };
    aiocosmos_client *client = new_client();
    aioc_op *op = NULL;
    aioc_request_spec spec;
    aiocosmos_request request = item_request(AIOCOSMOS_READ_ITEM);
    uint32_t bits;
    size_t s, m, i;
    CHECK_INT(aioc_request_build(&client->engine.builder, &request, &spec), 0);
    CHECK_INT(aioc_op_accept(&client->engine, &spec, &plain, NULL, &op), 0);
    for (s = 0; s < sizeof statuses / sizeof *statuses; s++) {
        for (m = 0; m < sizeof messages / sizeof *messages; m++) {
            for (bits = 0; bits < 96; bits++) {
                aioc_op_delivery delivery;
                aiocosmos_result result;
                char line[1024], http[32];
                const char *at;
                int count = 0;
                memset(&delivery, 0, sizeof delivery);
                memset(&result, 0, sizeof result);
                delivery.op = op;
                result.internal = &delivery;
                result.status = statuses[s];
                result.http_status = bits & 1 ? (statuses[s] > 0 ? statuses[s] : 503) : 0;
                result.sub_status = bits & 2 ? 1002 : 0;
                result.message = aioc_mem_str(messages[m]);
                result.activity_id = aioc_mem_str(bits & 4 ? "theirs" : bits & 8 ? "" : NULL);
                result.attempts = bits & 16 ? 2 : 0;
                result.fate = (aiocosmos_fate)(bits >> 5);
                CHECK(aiocosmos_result_describe(&result, line, sizeof line) < sizeof line);
                for (i = 0; i < sizeof holes / sizeof *holes; i++)
                    if (strstr(line, holes[i])) CHECK_STR(line, holes[i]);
                sprintf(http, "%d", result.http_status);
                for (at = line; (at = strstr(at, http)) != NULL; at++) count++;
                if (result.http_status && (result.status < 0 || strtol(messages[m], NULL, 10) == 0) && count != 1)
                    CHECK_STR(line, "its status once");
                CHECK_INT(strstr(line, "activity") != NULL, result.activity_id.len > 0);
            }
        }
    }
    aiocosmos_destroy(client);
}

/*--- Raw requests ----------------------------------------------------------------*/

static aiocosmos_request raw_request(const char *verb, const char *link)
{
    aiocosmos_request request = {0};
    request.kind = AIOCOSMOS_RAW;
    request.raw_verb = verb;
    request.raw_link = link;
    return request;
}

/* Each route of the service, and what its documentation has signed. */
TEST(raw_requests_know_what_is_signed)
{
    static const struct { const char *path, *type, *link; bool in_container, item_data; } cases[] = {
        { "", "", "", false, false },
        { "dbs", "dbs", "", false, false },
        { "dbs/D", "dbs", "dbs/D", false, false },
        { "dbs/D/colls", "colls", "dbs/D", false, false },
        { "dbs/D/colls/C", "colls", "dbs/D/colls/C", false, false },
        { "dbs/D/colls/C/docs", "docs", "dbs/D/colls/C", true, true },
        { "dbs/D/colls/C/docs/I", "docs", "dbs/D/colls/C/docs/I", true, true },
        { "dbs/D/colls/C/pkranges", "pkranges", "dbs/D/colls/C", true, false },
        { "dbs/D/colls/C/sprocs", "sprocs", "dbs/D/colls/C", true, false },
        { "dbs/D/colls/C/sprocs/S", "sprocs", "dbs/D/colls/C/sprocs/S", true, true },
        { "dbs/D/colls/C/triggers/T", "triggers", "dbs/D/colls/C/triggers/T", true, true },
        { "dbs/D/colls/C/udfs", "udfs", "dbs/D/colls/C", true, false },
        { "dbs/D/colls/C/conflicts", "conflicts", "dbs/D/colls/C", true, false },
        { "dbs/D/colls/C/operations/partitionkeydelete", "colls", "dbs/D/colls/C", true, false },
        { "dbs/D/users", "users", "dbs/D", false, false },
        { "dbs/D/users/U/permissions", "permissions", "dbs/D/users/U", false, false },
        { "dbs/D/users/U/permissions/P", "permissions", "dbs/D/users/U/permissions/P", false, false },
        { "dbs/dbs/colls/docs/docs/colls", "docs", "dbs/dbs/colls/docs/docs/colls", true, true },
        { "dbs/operations/users/operations/operations/x", "users", "dbs/operations/users/operations", false, false },
        { "offers", "offers", "", false, false },
        { "offers/AbCd", "offers", "abcd", false, false } };
    aiocosmos_client *client = new_client();
    size_t i;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        aiocosmos_request request = raw_request("POST", cases[i].path);
        aioc_mem_buffer head = { NULL, 0, 0 };
        aioc_mem_writer out;
        aioc_request_spec spec;
        aioc_op *op;
        char line[128];
        aiocosmos_str signed_link;
        CHECK_INT(aioc_request_build(&client->engine.builder, &request, &spec), 0);
        CHECK_INT(aioc_op_accept(&client->engine, &spec, &plain, NULL, &op), 0);
        memset(client->engine.builder.body.data, 'x', client->engine.builder.body.len);    /* it has a copy */
        signed_link = aioc_protocol_signed_link(op->type, aioc_op_link(op));
        if (signed_link.len != strlen(cases[i].link) || memcmp(signed_link.ptr, cases[i].link, signed_link.len) != 0)
            CHECK_STR(cases[i].path, "signed for otherwise");
        CHECK_STR(op->type, cases[i].type);
        CHECK_STR(op->verb, "POST");
        out = aioc_mem_write(client->engine.memory, &head);
        aioc_request_put_start(&out, op->verb, aioc_text_view(op->texts, op->ends[AIOC_OP_TAIL]));
        CHECK(out.ok);
        sprintf(line, "POST /%s HTTP/1.1\r\n", cases[i].path);
        CHECK_INT(head.len, strlen(line));
        CHECK_MEM(head.data, line, head.len);
        CHECK_INT(op->container != NULL, cases[i].in_container);
        if (op->container) CHECK_STR(op->container->link.ptr, cases[i].path[4] == 'D' ? "dbs/D/colls/C"
                                                                                  : "dbs/dbs/colls/docs");
        CHECK_INT(op->now.is.item_data, cases[i].item_data);
        aioc_mem_buffer_free(client->engine.memory, &head);
    }
    aiocosmos_destroy(client);
}

TEST(raw_requests_are_encoded_in_the_path_only)
{
    aiocosmos_client *client = new_client();
    aiocosmos_request request = raw_request("GET", "dbs/a b/colls/caf\xC3\xA9/docs/50%");
    aioc_mem_buffer head = { NULL, 0, 0 };
    aioc_mem_writer line;
    aioc_request_spec spec;
    aioc_op *op;
    CHECK_INT(aioc_request_build(&client->engine.builder, &request, &spec), 0);
    CHECK_INT(spec.link.len, strlen(request.raw_link));
    CHECK(!spec.is.write && spec.lines.len == 0 && spec.pk_text.len == 0);
    CHECK_INT(aioc_op_accept(&client->engine, &spec, &plain, NULL, &op), 0);
    line = aioc_mem_write(client->engine.memory, &head);
    aioc_request_put_start(&line, op->verb, aioc_text_view(op->texts, op->ends[AIOC_OP_TAIL]));
    CHECK(line.ok && aioc_mem_append(client->engine.memory, &head, "", 1));
    CHECK_STR(head.data, "GET /dbs/a%20b/colls/caf%C3%A9/docs/50%25 HTTP/1.1\r\n");
    aioc_mem_buffer_free(client->engine.memory, &head);
    aiocosmos_destroy(client);
}

TEST(a_full_client_says_so)
{
    aiocosmos_options options = {0};
    aiocosmos_client *client;
    aiocosmos_request request = item_request(AIOCOSMOS_READ_ITEM);
    aiocosmos_op first, op;
    options.endpoint = "http://localhost:1";
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.default_database = "db";
    options.pending_max = 3;
    CHECK_INT(aiocosmos_create(&options, &client, NULL, 0), 0);
    CHECK_INT(aiocosmos_submit(client, &request, &first), 0);
    CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
    CHECK_INT(aiocosmos_submit(client, &request, NULL), 0);
    CHECK_INT(aiocosmos_submit(client, &request, NULL), AIOCOSMOS_E_FULL);
    CHECK(strstr(aiocosmos_last_error(client), "3 operations are pending: step first"));
    CHECK(aiocosmos_cancel(client, first));
    CHECK_INT(aiocosmos_step(client, 0) >= 0, 1);
    CHECK(!aiocosmos_cancel(client, first));
    CHECK_INT(aiocosmos_submit(client, &request, &op), 0);
    CHECK(op.id != first.id);
    aiocosmos_destroy(client);
}

typedef struct endings { int count, statuses[16]; uint64_t ids[16]; } endings;

static void note_ending(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    endings *seen = user_data;
    (void)client;
    CHECK(seen->count < 16);
    seen->ids[seen->count] = result->op.id;
    seen->statuses[seen->count++] = result->status;
}

TEST(cancel_and_destroy_complete_each_operation_once)
{
    aiocosmos_client *client = new_client();
    endings seen = {0};
    aiocosmos_request request = item_request(AIOCOSMOS_READ_ITEM);
    aiocosmos_op ops[4];
    int i;
    request.done = note_ending;
    request.user_data = &seen;
    request.order_key = 7;
    for (i = 0; i < 4; i++) CHECK_INT(aiocosmos_submit(client, &request, &ops[i]), 0);
    CHECK(aiocosmos_cancel(client, ops[2]));
    CHECK(aiocosmos_cancel(client, ops[2]));
    CHECK_INT(seen.count, 0);
    CHECK(aiocosmos_step(client, 0) >= 1);
    CHECK_INT(seen.count, 1);
    CHECK(seen.ids[0] == ops[2].id);
    CHECK_INT(seen.statuses[0], AIOCOSMOS_E_CANCELLED);
    aiocosmos_destroy(client);
    CHECK_INT(seen.count, 4);
    for (i = 1; i < 4; i++) CHECK_INT(seen.statuses[i], AIOCOSMOS_E_SHUTDOWN);
}

/*--- Answers, handed to operations without a network ------------------------------*/

typedef struct reply {
    aioc_http_response response;
    aioc_pool_outcome outcome;
} reply;

static reply reply_with(int status, const char *body)
{
    reply made;
    memset(&made, 0, sizeof made);
    made.response.status = status;
    made.response.body = aioc_mem_str(body);
    made.outcome.sent = true;
    made.response.wanted[AIOC_PROTOCOL_H_ACTIVITY] = aioc_mem_str("0");
    return made;
}

static void set_header(reply *made, int which, const char *value)
{
    made->response.wanted[which] = aioc_mem_str(value);
}

/* As if the pool had sent it, and this were the answer. */
static void give(aioc_op *op, reply *made)
{
    made->outcome.response = &made->response;
    aioc_op_answered(&op->attempt.exchange, &made->outcome);
}

static aioc_op *submit(aiocosmos_client *client, const aiocosmos_request *request)
{
    aiocosmos_op op;
    CHECK_INT(aiocosmos_submit(client, request, &op), 0);
    return aioc_op_find(&client->engine, op);
}

TEST(only_an_etag_makes_a_write_repeatable)
{
    aiocosmos_client *client = new_client();
    aiocosmos_request request = item_request(AIOCOSMOS_REPLACE_ITEM);
    CHECK(!submit(client, &request)->now.is.repeatable);
    request.if_match = aiocosmos_text("*");
    CHECK(!submit(client, &request)->now.is.repeatable);
    request.if_match = aiocosmos_text("\"e\"");
    CHECK(submit(client, &request)->now.is.repeatable);
    aiocosmos_destroy(client);
}

TEST(a_wrong_clock_is_corrected_for_all_that_were_under_way)
{
    aiocosmos_client *client = new_client();
    aiocosmos_request request = item_request(AIOCOSMOS_READ_ITEM);
    aioc_op *ops[3];
    char date[AIOC_AUTH_DATE_LEN + 1] = "";
    int64_t now_s = client->platform.wall_ms(client->platform.user_data) / 1000;
    int i;
    for (i = 0; i < 3; i++) ops[i] = submit(client, &request);
    aioc_auth_date(date, now_s + 3600);
    for (i = 0; i < 3; i++) ops[i]->attempt.wall_s = i < 2 ? now_s : now_s + 3600;   /* the last: by the right clock */
    for (i = 0; i < 3; i++) {
        reply made = reply_with(401, "");
        set_header(&made, AIOC_PROTOCOL_H_DATE, date);
        CHECK_INT(aioc_op_clock_was_off(ops[i], &made.response), i < 2);
    }
    CHECK(client->engine.endpoint.skew_ms > 3590000 && client->engine.endpoint.skew_ms < 3610000);
    aiocosmos_destroy(client);
}

/* It is right by now, and what was signed by it before has been refused. */
TEST(a_clock_that_was_set_meanwhile_was_off)
{
    aiocosmos_client *client = new_client();
    aiocosmos_request request = item_request(AIOCOSMOS_READ_ITEM);
    aioc_op *op = submit(client, &request);
    reply made = reply_with(401, "");
    char date[AIOC_AUTH_DATE_LEN + 1] = "";
    int64_t now_s = client->platform.wall_ms(client->platform.user_data) / 1000;
    aioc_auth_date(date, now_s);
    set_header(&made, AIOC_PROTOCOL_H_DATE, date);
    op->attempt.wall_s = now_s - 3600;
    CHECK(aioc_op_clock_was_off(op, &made.response));
    CHECK(client->engine.endpoint.skew_ms > -10000 && client->engine.endpoint.skew_ms < 10000);
    op->attempt.wall_s = now_s;
    CHECK(!aioc_op_clock_was_off(op, &made.response));
    aiocosmos_destroy(client);
}

typedef struct asked { int times; const char *answer_link; } asked;

static void on_token_wanted(aiocosmos_client *client, const char *resource_link, const char *claims, void *user_data)
{
    asked *host = user_data;
    CHECK(claims == NULL);
    CHECK_STR(resource_link, "dbs/db/colls/c");
    CHECK(++host->times < 10);
    if (host->answer_link) CHECK_INT(aiocosmos_set_token(client, host->answer_link, "a.b.c", 0), 0);
}

static aiocosmos_client *new_token_client(asked *host)
{
    aiocosmos_options options = {0};
    aiocosmos_client *client = NULL;
    options.endpoint = "http://localhost:1";
    options.default_database = "db";
    options.token_fn = on_token_wanted;
    options.token_user_data = host;
    CHECK_INT(aiocosmos_create(&options, &client, NULL, 0), 0);
    return client;
}

TEST(a_token_that_does_not_fit_is_not_asked_for_again)
{
    asked host = {0, "dbs/other"};
    aiocosmos_client *client = new_token_client(&host);
    aiocosmos_request request = item_request(AIOCOSMOS_READ_ITEM);
    aioc_op *op = submit(client, &request), *other = submit(client, &request);
    CHECK_INT(aiocosmos_step(client, 0), 0);
    CHECK_INT(host.times, 1);
    CHECK(op->state == AIOC_OP_WANTS_TOKEN && other->state == AIOC_OP_WANTS_TOKEN);
    CHECK(aiocosmos_next_timeout_ms(client) > 0);
    CHECK_INT(aiocosmos_set_token(client, "dbs/db", "a.b.c", 0), 0);
    CHECK(op->state == AIOC_OP_READY && other->state == AIOC_OP_READY);
    aiocosmos_destroy(client);
}

TEST(a_refused_token_is_dropped_but_not_its_successor)
{
    asked host = {0, NULL};
    aiocosmos_client *client = new_token_client(&host);
    aiocosmos_request request = item_request(AIOCOSMOS_READ_ITEM);
    aioc_op *early = submit(client, &request), *late = submit(client, &request);
    reply made = reply_with(401, "");
    CHECK_INT(aiocosmos_set_token(client, "", "a.b.c", 0), 0);
    CHECK(aioc_op_authorization(early, 0).len > 0);
    CHECK_INT(aiocosmos_set_token(client, "", "d.e.f", 0), 0);
    CHECK_INT(aiocosmos_set_token(client, "dbs/other", "g.h.i", 0), 0);
    CHECK(aioc_op_authorization(late, 0).len > 0);
    give(early, &made);
    CHECK_INT(client->engine.tokens.held.count, 2);
    give(late, &made);
    CHECK_INT(client->engine.tokens.held.count, 1);
    aiocosmos_destroy(client);
}

TEST(an_item_without_its_key_waits_for_the_definition)
{
    aiocosmos_client *client = new_client();
    aiocosmos_request request = item_request(AIOCOSMOS_CREATE_ITEM);
    aioc_op *op = submit(client, &request);
    CHECK(!aioc_op_waits_for_metadata(op));
    request.pk = aiocosmos_pk1(aiocosmos_none());
    op = submit(client, &request);
    CHECK(aioc_op_waits_for_metadata(op) && op->waiter.definition);
    CHECK(aioc_mem_same(aioc_account_pk_header(op->container, aioc_op_part(op, AIOC_OP_PK)), aioc_mem_str("[{}]")));
    op->container->pk_def.system_key = true;
    CHECK(aioc_mem_same(aioc_account_pk_header(op->container, aioc_op_part(op, AIOC_OP_PK)), aioc_mem_str("[]")));
    aiocosmos_destroy(client);
}

/* A token from elsewhere tells of a range that is not known here: it may be the key's own by now, so it is sent. */
TEST(a_given_token_of_an_unknown_range_is_sent)
{
    static const char feed[] =
        "{\"PartitionKeyRanges\":[{\"id\":\"0\",\"minInclusive\":\"\",\"maxExclusive\":\"FF\"}]}";
    static const char *const given[] = {"0:-1#9", "1:-1#7"}, *const sent[] = {"x-ms-session-token: 0:-1#9\r\n",
        "x-ms-session-token: 0:-1#5,1:-1#7\r\n"};
    aiocosmos_client *client = new_client();
    aiocosmos_request request = item_request(AIOCOSMOS_READ_ITEM);
    aioc_mem *memory = &client->memory;
    aiocosmos_json_doc doc;
    int i;
    for (i = 0; i < 2; i++) {
        aioc_mem_buffer out = {NULL, 0, 0};
        aioc_mem_writer head;
        aioc_op *op;
        request.session_token = aiocosmos_text(given[i]);
        op = submit(client, &request);
        if (i == 0) {
            aioc_account_container *container = op->container;
            aioc_json_open(&doc, memory);
            CHECK_INT(aioc_json_parse(&doc, feed, sizeof feed - 1), 0);
            CHECK(aioc_account_add_ranges(container, aioc_json_root(&doc)));
            aioc_json_close(&doc);
            container->pk_def.version = 2;
            container->pk_def.path_count = 1;
            aioc_account_settle(container,
                                aioc_account_finish_ranges(container) ? AIOC_ACCOUNT_KNOWN : AIOC_ACCOUNT_UNAVAILABLE,
                                0);
            CHECK_INT(container->knowledge, AIOC_ACCOUNT_KNOWN);
            CHECK_INT(aiocosmos_session_merge(client, NULL, "c", aioc_mem_str("0:-1#5")), 0);
        }
        head = aioc_mem_write(memory, &out);
        aioc_op_put_session(op, &head);
        CHECK(head.ok);
        CHECK_TEXT(out.data, out.len, sent[i]);
        aioc_mem_buffer_free(memory, &out);
    }
    aiocosmos_destroy(client);
}

/*--- Pages ------------------------------------------------------------------------*/

typedef struct pages {
    int calls, status, more, failures;
    aiocosmos_cursor query;
    bool close_on_failure;
    aioc_op *submitted;
} pages;

static void note_page(aiocosmos_client *client, const aiocosmos_page *page, void *user_data)
{
    pages *seen = user_data;
    (void)client;
    seen->calls++;
    seen->status = page->result->status;
    seen->more = page->more;
}

static void note_failure(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    pages *seen = user_data;
    aiocosmos_request request = item_request(AIOCOSMOS_READ_ITEM);
    CHECK(result->status != 0);
    CHECK_INT(seen->calls, 0);
    seen->failures++;
    if (!seen->close_on_failure) return;
    seen->submitted = submit(client, &request);
    aiocosmos_cursor_close(client, seen->query);
}

/* The page that a query with this text is waiting for. */
static aioc_op *ask_page(aiocosmos_client *client, pages *seen, bool skip_empty)
{
    aiocosmos_query_request request = {0};
    request.container = "c";
    request.sql = "SELECT * FROM c";
    request.pk = aiocosmos_pk3(aiocosmos_s("k"), aiocosmos_s("l"), aiocosmos_s("m"));   /* surely a whole key */
    request.skip_empty = skip_empty;
    memset(seen, 0, sizeof *seen);
    client->options.on_failure = note_failure;
    client->options.on_failure_user_data = seen;
    CHECK_INT(aiocosmos_query_open(client, &request, &seen->query), 0);
    CHECK_INT(aiocosmos_cursor_next(client, seen->query, note_page, seen), 0);
    return aioc_page_find(&client->pages, seen->query)->op;
}

TEST(a_page_that_is_none_is_a_failure_like_others)
{
    aiocosmos_client *client = new_client();
    pages seen;
    reply made = reply_with(200, "{\"Documents\":7}");
    give(ask_page(client, &seen, false), &made);
    CHECK_INT(seen.failures, 1);
    CHECK_INT(seen.calls, 1);
    CHECK_INT(seen.status, AIOCOSMOS_E_PROTOCOL);
    aiocosmos_destroy(client);
}

TEST(closing_a_query_in_on_failure_cancels_nothing_else)
{
    aiocosmos_client *client = new_client();
    pages seen;
    reply made = reply_with(400, "");
    aioc_op *op = ask_page(client, &seen, false);
    seen.close_on_failure = true;
    give(op, &made);
    CHECK_INT(seen.failures, 1);
    CHECK_INT(seen.calls, 1);
    CHECK_INT(seen.status, 400);
    CHECK_INT(seen.submitted->stop, 0);                    /* it has the slot that the page had */
    CHECK_INT(aiocosmos_cursor_next(client, seen.query, note_page, &seen), AIOCOSMOS_E_ARGUMENT);
    client->options.on_failure = NULL;
    aiocosmos_destroy(client);
}

TEST(skipping_empty_pages_has_one_deadline)
{
    aiocosmos_client *client = new_client();
    pages seen;
    reply made = reply_with(200, "{\"Documents\":[]}");
    aioc_op *op = ask_page(client, &seen, true);
    uint64_t deadline_us = op->deadline_us;
    set_header(&made, AIOC_PROTOCOL_H_CONTINUATION, "next");
    client->reactor.now_us += 10000000;
    give(op, &made);
    CHECK_INT(seen.calls, 0);
    op = aioc_page_find(&client->pages, seen.query)->op;
    CHECK(op->deadline_us == deadline_us);
    client->reactor.now_us = op->deadline_us;
    give(op, &made);
    CHECK_INT(seen.calls, 1);
    CHECK_INT(seen.status, 0);
    CHECK(seen.more);
    aiocosmos_destroy(client);
}

/*--- Bulk -------------------------------------------------------------------------*/

static aiocosmos_pull pull_one(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    (void)client;
    (void)user_data;
    item->kind = AIOCOSMOS_READ_ITEM;
    item->id = "x";
    item->pk = aiocosmos_pk1(aiocosmos_s("p"));
    return AIOCOSMOS_PULL_ITEM;
}

TEST(a_429_that_ends_an_item_lowers_the_concurrency_too)
{
    aiocosmos_client *client = new_client();
    aiocosmos_bulk_request request = {0};
    aiocosmos_bulk_totals totals;
    reply made = reply_with(429, "");
    aioc_op *item = NULL;
    aiocosmos_op op;
    uint32_t i;
    request.container = "c";
    request.next = pull_one;
    request.concurrency_max = 8;
    request.timeout_ms = 1000;
    request.single_items = true;
    CHECK_INT(aiocosmos_bulk(client, &request, &op), 0);
    CHECK(aioc_bulk_work(&client->bulks, false));          /* pulls */
    CHECK(aioc_bulk_work(&client->bulks, false));          /* sends */
    for (i = 0; i < client->engine.slot_count; i++)
        if (client->engine.slots[i].op && client->engine.slots[i].op->role == &aioc_bulk_batch_role)
            item = client->engine.slots[i].op;
    CHECK(item);
    item->attempt_us = client->reactor.now_us;
    set_header(&made, AIOC_PROTOCOL_H_RETRY_AFTER, "60000");
    give(item, &made);
    CHECK(aiocosmos_bulk_get_totals(client, op, &totals));
    CHECK_INT(totals.failed, 1);
    CHECK_INT(totals.throttled, 1);
    CHECK_INT(totals.concurrency, 1);                      /* of the one that was under way */
    CHECK(aioc_bulk_work(&client->bulks, false));          /* and its place is free again */
    aiocosmos_destroy(client);
}

typedef struct source { int pulled, failed; aiocosmos_str body; } source;

static aiocosmos_pull pull_large(aiocosmos_client *client, aiocosmos_bulk_item *item, void *user_data)
{
    source *from = user_data;
    (void)client;
    item->pk = aiocosmos_pk1(aiocosmos_s("p"));
    item->body = from->body;
    return ++from->pulled <= 64 ? AIOCOSMOS_PULL_ITEM : AIOCOSMOS_PULL_END;
}

static void count_failed(aiocosmos_client *client, const aiocosmos_result *result, void *item_data, void *user_data)
{
    source *from = user_data;
    (void)client;
    (void)item_data;
    if (result->status == AIOCOSMOS_E_FULL || result->status == AIOCOSMOS_E_NOMEM) from->failed++;
}

TEST(a_bulk_stops_pulling_before_memory_runs_out)
{
    static char text[100000];
    aiocosmos_options options = {0};
    aiocosmos_bulk_request request = {0};
    aiocosmos_client *client;
    source from = {0};
    options.endpoint = "http://localhost:1";
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.default_database = "db";
    options.memory_max = (size_t)1 << 20;
    CHECK_INT(aiocosmos_create(&options, &client, NULL, 0), 0);
    from.body = aioc_text_view(text, (size_t)snprintf(text, sizeof text, "{\"id\":\"x\",\"t\":\"%90000s\"}", ""));
    request.container = "c";
    request.single_items = true;                            /* in batches it waits for the definition first */
    request.next = pull_large;
    request.item_done = count_failed;
    request.user_data = &from;
    CHECK_INT(aiocosmos_bulk(client, &request, NULL), 0);
    while (aioc_bulk_work(&client->bulks, false)) continue;
    CHECK(from.pulled > 2 && from.pulled < 12);            /* each is there twice: as an item and as a request */
    CHECK_INT(from.failed, 0);
    aiocosmos_destroy(client);
}

/*--- Run --------------------------------------------------------------------------*/

static void take_and_free(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    aiocosmos_body body = aiocosmos_result_take_body(result);
    (void)client;
    (void)user_data;
    aiocosmos_body_free(&body);
}

TEST(run_hands_over_a_body_that_done_has_taken_and_freed)
{
    static const aioc_op_role role = { aioc_client_ran, NULL, NULL, false, false };
    static const char text[] = "{\"id\":\"x\"}";
    aiocosmos_client *client = new_client();
    aiocosmos_request request = item_request(AIOCOSMOS_READ_ITEM);
    aioc_op *op = submit(client, &request);
    aioc_http_parser parser;
    reply made = reply_with(200, "");
    aiocosmos_body body;
    aioc_client_runner runner;
    aioc_http_open(&parser, &client->memory, &aioc_protocol_headers, 1024, 1024);
    CHECK(aioc_mem_append(&client->memory, &parser.body, text, sizeof text - 1));
    parser.phase = AIOC_HTTP_COMPLETE;
    made.response.body = aioc_text_view(parser.body.data, parser.body.len);
    made.outcome.parser = &parser;
    memset(&runner, 0, sizeof runner);
    runner.out = &body;
    op->done = take_and_free;
    op->role = &role;
    op->owner = &runner;
    give(op, &made);
    CHECK(runner.done);
    CHECK_TEXT(body.text.ptr, body.text.len, text);
    aiocosmos_body_free(&body);
    aioc_http_reset(&parser);
    aiocosmos_destroy(client);
}

/*--- A server that never answers ------------------------------------------------------*/

static void note_attempts(aiocosmos_client *client, const aiocosmos_result *result, void *user_data)
{
    aiocosmos_attempt *only = user_data, none;
    (void)client;
    CHECK_INT(result->status, AIOCOSMOS_E_TIMEOUT);
    CHECK_INT(result->attempts, 1);
    CHECK(aiocosmos_result_attempt(result, 0, only));
    CHECK(!aiocosmos_result_attempt(result, 1, &none));
}

TEST(an_attempt_that_was_given_up_is_told_of)
{
    aiocosmos_options options = {0};
    aiocosmos_client *client;
    aiocosmos_request request = item_request(AIOCOSMOS_READ_ITEM);
    aiocosmos_attempt attempt;
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    char endpoint[64];
    int server = socket(AF_INET, SOCK_STREAM, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_INT(bind(server, (struct sockaddr *)&address, sizeof address), 0);
    CHECK_INT(listen(server, 8), 0);
    CHECK_INT(getsockname(server, (struct sockaddr *)&address, &len), 0);
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%u", (unsigned)ntohs(address.sin_port));
    options.endpoint = endpoint;
    options.key = AIOCOSMOS_EMULATOR_KEY;
    options.default_database = "db";
    CHECK_INT(aiocosmos_create(&options, &client, NULL, 0), 0);
    memset(&attempt, 0, sizeof attempt);
    request.timeout_ms = 50;
    request.done = note_attempts;
    request.user_data = &attempt;
    CHECK_INT(aiocosmos_run(client, &request, NULL), AIOCOSMOS_E_TIMEOUT);
    CHECK_INT(attempt.number, 1);
    CHECK_INT(attempt.status, AIOCOSMOS_E_TIMEOUT);
    CHECK(attempt.first_byte_us > 0 && attempt.first_byte_us < 10000000);
    aiocosmos_destroy(client);
    close(server);
}
