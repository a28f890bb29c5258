/* account.c: which account, by options, the environment or for want of both, and the client for it. */
#include "account.h"
#include "io.h"
#include "profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A variable of the environment; an empty one is none. */
static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* The first of an option and a variable that is set; *from is its name. */
static const char *given(const tool *t, option_id option, const char *variable, const char **from)
{
    const char *value = has(t, option) ? t->option[option] : setting(variable);
    if (value) *from = has(t, option) ? options[option].name : variable;
    return value;
}

/* The key of --key-file, without the line end that editors put behind it. */
static bool read_key(tool *t, aiocosmos_options *o)
{
    size_t len;
    if (!read_all(t, t->option[OPT_KEY_FILE], t->key, sizeof t->key, &len)) return false;
    while (len && (t->key[len - 1] == '\n' || t->key[len - 1] == '\r' || t->key[len - 1] == ' ')) len--;
    t->key[len] = 0;
    o->key = t->key;
    t->key_from = options[OPT_KEY_FILE].name;
    if (len == 0) say(t, "--key-file %s: the file is empty", t->option[OPT_KEY_FILE]);
    return len > 0;
}

/* By what the account is to let us in: one option, else one variable, else what emulators take. */
static bool choose_key(tool *t, aiocosmos_options *o)
{
    if (has(t, OPT_KEY) + has(t, OPT_KEY_FILE) + has(t, OPT_TOKEN) > 1)
        return say(t, "--key, --key-file and --token: give one of them"), false;
    if (has(t, OPT_KEY_FILE)) return read_key(t, o);
    if (!has(t, OPT_TOKEN)) o->key = given(t, OPT_KEY, "AIOCOSMOS_KEY", &t->key_from);
    if (!has(t, OPT_KEY)) o->token = given(t, OPT_TOKEN, "AIOCOSMOS_TOKEN", &t->key_from);
    if (o->key && o->token) return say(t, "AIOCOSMOS_KEY and AIOCOSMOS_TOKEN are both set: unset one"), false;
    if (!o->key && !o->token && is_local(o->endpoint)) o->key = AIOCOSMOS_EMULATOR_KEY;
    if ((o->key && !*o->key) || (o->token && !*o->token)) return say(t, "%s: it is empty", t->key_from), false;
    if (o->key || o->token) return true;
    if (!strstr(o->endpoint, "://"))
        return say(t, "%s %s: it starts with https:// or http://", t->endpoint_from, o->endpoint), false;
    say(t, "the account's key is missing: set AIOCOSMOS_KEY or AIOCOSMOS_TOKEN, or give --key-file FILE");
    return false;
}

/* Where something else than --endpoint has named the account. */
static bool refuse_keys(tool *t, const char *variable)
{
    return say(t, "a key or token is given without --endpoint, and %s names another key", variable), false;
}

/* A token that would be passed over for the account's key would seem to allow what the key does. */
static bool has_own_key(tool *t, const char *variable)
{
    if (t->endpoint_from != variable || !setting("AIOCOSMOS_TOKEN")) return true;
    return say(t, "%s and AIOCOSMOS_TOKEN are both set: unset one; a token goes with AIOCOSMOS_ENDPOINT", variable),
           false;
}

/* By its name, from an option or the environment, which must not name another account then. */
static bool choose_profile(tool *t, aiocosmos_options *o, bool keyed)
{
    static const char variable[] = "AIOCOSMOS_PROFILE";
    const char *name = given(t, OPT_PROFILE, variable, &t->endpoint_from);
    if (has(t, OPT_PROFILE) && (has(t, OPT_CONNECTION_STRING) || has(t, OPT_ENDPOINT) || keyed))
        return say(t, "--profile names the account, and other options do too: choose one"), false;
    if (!has(t, OPT_PROFILE) && (setting("AIOCOSMOS_CONNECTION_STRING") || setting("AIOCOSMOS_ENDPOINT")))
        return say(t, "%s names an account, and other variables do too: unset one", variable), false;
    if (keyed) return refuse_keys(t, variable);
    t->key_from = t->endpoint_from;
    o->connection_string = t->profile;
    return has_own_key(t, variable) && read_profile(t, name, t->profile, sizeof t->profile);
}

/* Which account: what is given here, else what the environment says, else the local emulator. */
static bool choose_account(tool *t, aiocosmos_options *o)
{
    static const char variable[] = "AIOCOSMOS_CONNECTION_STRING";
    bool keyed = has(t, OPT_KEY) || has(t, OPT_KEY_FILE) || has(t, OPT_TOKEN);
    if (has(t, OPT_PROFILE) ||
        (setting("AIOCOSMOS_PROFILE") && !has(t, OPT_CONNECTION_STRING) && !has(t, OPT_ENDPOINT)))
        return choose_profile(t, o, keyed);
    if (has(t, OPT_CONNECTION_STRING) && (has(t, OPT_ENDPOINT) || keyed))
        return say(t, "--connection-string names endpoint and key: give it alone"), false;
    if (!has(t, OPT_ENDPOINT)) o->connection_string = given(t, OPT_CONNECTION_STRING, variable, &t->endpoint_from);
    if (o->connection_string) {
        t->key_from = t->endpoint_from;
        return keyed ? refuse_keys(t, variable) : has_own_key(t, variable);
    }
    o->endpoint = given(t, OPT_ENDPOINT, "AIOCOSMOS_ENDPOINT", &t->endpoint_from);
    t->local_by_default = !o->endpoint;
    if (!o->endpoint) o->endpoint = "http://localhost:8081";
    return choose_key(t, o);
}

/* For people: the host and port of the endpoint, wherever that was named. */
static void name_host(tool *t, const aiocosmos_options *o)
{
    const char *at = o->endpoint ? o->endpoint : strstr(o->connection_string, "AccountEndpoint=");
    const char *host = at ? strstr(at, "://") : NULL;
    if (host) snprintf(t->host, sizeof t->host, "%.*s", (int)strcspn(host + 3, "/;"), host + 3);
}

static bool read_ca(tool *t, aiocosmos_options *o)
{
    const size_t cap = (size_t)4 << 20;
    if (!has(t, OPT_CA)) return true;
    if (!t->ca) {
        t->ca = malloc(cap);
        if (!t->ca || !read_all(t, t->option[OPT_CA], t->ca, cap, &t->ca_len)) return false;
    }
    o->trust_pem = t->ca;
    o->trust_pem_len = t->ca_len;
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
        return say(t, "--timeout %s: a number of seconds from 0.001 to 1000000 is expected", text), false;
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
    if ((len == 3 && memcmp(why, "key", len) == 0) || (len == 5 && memcmp(why, "token", len) == 0)) from = t->key_from;
    fprintf(stderr, "aiocosmos: %s", from ? from : "");
    if (from == options[OPT_PROFILE].name) fprintf(stderr, " %s", t->option[OPT_PROFILE]);
    say_text(from ? rest : why, strlen(from ? rest : why));
    fputc('\n', stderr);
    if (strstr(why, "allow_http")) fputs("That is for an emulator on another machine.\n", stderr);
    if (strstr(why, "trust_pem") && !has(t, OPT_CA))
        fputs("The package ca-certificates has the usual ones; --ca FILE names others, in PEM.\n", stderr);
}

/* Returns the exit status. */
static int create_client(tool *t, aiocosmos_options *o)
{
    char why[256];
    name_host(t, o);
    if (t->command->prepare) t->command->prepare(o);
    if (aiocosmos_create(o, &t->client, why, sizeof why) == 0) return EXIT_DONE;
    say_wrong_setting(t, why);
    return see_help(t);
}

/* All but the account. */
static bool read_settings(tool *t, aiocosmos_options *o)
{
    long concurrency = 0;
    if (!read_ca(t, o) || !read_timeout(t, o) || !number_of(t, OPT_CONCURRENCY, 1, CONCURRENCY_MAX, &concurrency))
        return false;
    o->insecure = o->allow_http = has(t, OPT_INSECURE);
    o->user_agent = "aiocosmos-tool";
    o->connections_max = (uint32_t)concurrency;
    o->pending_max = CONCURRENCY_MAX + 24;
    return true;
}

int open_client(tool *t)
{
    aiocosmos_options o = {0};
    return choose_account(t, &o) && read_settings(t, &o) ? create_client(t, &o) : see_help(t);
}

int open_target(tool *t)
{
    aiocosmos_options o = {0};
    t->endpoint_from = t->key_from = NULL;
    if (has(t, OPT_TO_CONNECTION_STRING) && (has(t, OPT_TO_ENDPOINT) || has(t, OPT_TO_KEY))) {
        say(t, "--to-connection-string names endpoint and key: give it alone");
        return see_help(t);
    }
    if (!has(t, OPT_TO_ENDPOINT))
        o.connection_string = given(t, OPT_TO_CONNECTION_STRING, "AIOCOSMOS_TO_CONNECTION_STRING", &t->endpoint_from);
    t->key_from = t->endpoint_from;
    if (!o.connection_string) {
        o.endpoint = given(t, OPT_TO_ENDPOINT, "AIOCOSMOS_TO_ENDPOINT", &t->endpoint_from);
        o.key = given(t, OPT_TO_KEY, "AIOCOSMOS_TO_KEY", &t->key_from);
        if (!o.endpoint && !o.key) return EXIT_DONE;       /* the same account */
        if (!o.endpoint) return say(t, "%s is given without --to-endpoint", t->key_from), see_help(t);
        if (!o.key && is_local(o.endpoint)) o.key = AIOCOSMOS_EMULATOR_KEY;
        if (!o.key) return say(t, "the key of --to-endpoint is missing: set AIOCOSMOS_TO_KEY"), see_help(t);
    }
    t->client = NULL;
    return read_settings(t, &o) ? create_client(t, &o) : see_help(t);
}
