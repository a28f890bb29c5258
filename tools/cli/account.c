/* account.c: which account, by options, the environment or for want of both, and the client for it. */
#include "account.h"
#include "io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A variable of the environment; an empty one is none. */
static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static bool is_local(const char *endpoint)
{
    const char *host = strstr(endpoint, "://");
    if (!host) return false;
    host += 3;
    return strncmp(host, "localhost", 9) == 0 || strncmp(host, "127.", 4) == 0 || strncmp(host, "[::1]", 5) == 0;
}

/* Which account: what is given here, else what the environment says, else the local emulator. */
static bool choose_account(tool *t, aiocosmos_options *o)
{
    static const char variable[] = "AIOCOSMOS_CONNECTION_STRING";
    o->connection_string = t->option[OPT_CONNECTION_STRING];
    if (o->connection_string && (has(t, OPT_ENDPOINT) || has(t, OPT_KEY)))
        return say(t, "--connection-string names endpoint and key: leave --endpoint and --key away"), false;
    if (!o->connection_string && !has(t, OPT_ENDPOINT)) o->connection_string = setting(variable);
    if (o->connection_string) {
        t->endpoint_from = has(t, OPT_CONNECTION_STRING) ? options[OPT_CONNECTION_STRING].name : variable;
        t->key_from = t->endpoint_from;
        if (has(t, OPT_KEY))
            return say(t, "--key is given without --endpoint, and %s names another key", variable), false;
        return true;
    }
    o->endpoint = has(t, OPT_ENDPOINT) ? t->option[OPT_ENDPOINT] : setting("AIOCOSMOS_ENDPOINT");
    o->key = has(t, OPT_KEY) ? t->option[OPT_KEY] : setting("AIOCOSMOS_KEY");
    if (o->endpoint) t->endpoint_from = has(t, OPT_ENDPOINT) ? options[OPT_ENDPOINT].name : "AIOCOSMOS_ENDPOINT";
    if (o->key) t->key_from = has(t, OPT_KEY) ? options[OPT_KEY].name : "AIOCOSMOS_KEY";
    t->local_by_default = !o->endpoint;
    if (!o->endpoint) o->endpoint = "http://localhost:8081";
    if (!o->key && is_local(o->endpoint)) o->key = AIOCOSMOS_EMULATOR_KEY;
    if (!o->key) say(t, "the account's key is missing: set AIOCOSMOS_KEY, or give --key KEY");
    return o->key != NULL;
}

static bool read_ca(tool *t, aiocosmos_options *o)
{
    const size_t cap = (size_t)4 << 20;
    if (!has(t, OPT_CA)) return true;
    t->ca = malloc(cap);
    if (!t->ca || !read_all(t, t->option[OPT_CA], t->ca, cap, &o->trust_pem_len)) return false;
    o->trust_pem = t->ca;
    if (o->trust_pem_len == 0) say(t, "--ca %s: the file is empty", t->option[OPT_CA]);
    return o->trust_pem_len > 0;
}

static bool read_timeout(tool *t, aiocosmos_options *o)
{
    const char *text = t->option[OPT_TIMEOUT];
    char *end;
    double seconds;
    if (!text) return true;
    seconds = strtod(text, &end);
    if (end == text || *end || !(seconds >= 0.001 && seconds <= 1e6))
        return say(t, "--timeout %s: a number of seconds is expected", text), false;
    o->request_timeout_ms = (uint32_t)(seconds * 1000.0);
    return true;
}

/* The library says which of its options is wrong; people want to know what they have set wrongly. */
static void say_wrong_setting(tool *t, const char *why)
{
    const char *rest = strchr(why, ':'), *from = NULL;
    size_t len = rest ? (size_t)(rest - why) : 0;
    if (len == 17 && memcmp(why, "connection_string", len) == 0) from = t->endpoint_from;
    if (len == 8 && memcmp(why, "endpoint", len) == 0) from = t->endpoint_from;
    if (len == 3 && memcmp(why, "key", len) == 0) from = t->key_from;
    if (from) say(t, "%s%s", from, rest);
    else say(t, "%s", why);
    if (strstr(why, "allow_http")) fputs("--insecure allows it, for an emulator on another machine.\n", stderr);
    if (strstr(why, "trust_pem") && !has(t, OPT_CA))
        fputs("The package ca-certificates has the usual ones; --ca FILE names others, in PEM.\n", stderr);
}

/* Returns the exit status. */
int open_client(tool *t)
{
    aiocosmos_options o = {0};
    char why[256];
    long concurrency = 0;
    if (!choose_account(t, &o) || !read_ca(t, &o) || !read_timeout(t, &o) ||
        !number_of(t, OPT_CONCURRENCY, 1, CONCURRENCY_MAX, &concurrency)) return see_help(t);
    o.insecure = o.allow_http = has(t, OPT_INSECURE);
    o.user_agent = "aiocosmos-tool";
    o.connections_max = (uint32_t)concurrency;
    o.pending_max = CONCURRENCY_MAX + 24;
    if (t->command->prepare) t->command->prepare(&o);
    if (aiocosmos_create(&o, &t->client, why, sizeof why) == 0) return EXIT_DONE;
    say_wrong_setting(t, why);
    return see_help(t);
}
