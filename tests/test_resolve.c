/* The resolve layer: its text and message forms alone, then whole look-ups on a platform that is made of a clock, two
 * files and name servers by script, so that every timeout is exact and none is waited for; at last some over real
 * sockets. */
#define AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#include "test.h"
#include "heap.h"
#include "texts.h"
#include "by_hand.h"

/*--- Addresses and names ----------------------------------------------------*/

static bool parses(const char *text, aiocosmos_address *out)
{
    aiocosmos_str zone;
    return aioc_text_address(str(text), out, &zone);
}

TEST(addresses_stand_once_and_in_turns)
{
    aioc_dns_set six, four;
    aiocosmos_address address, out[AIOC_DNS_ADDRESSES_MAX];
    size_t i;
    six.count = four.count = 0;
    memset(&address, 0, sizeof address);
    for (i = 0; i < 12; i++) {
        address.family = 4;
        address.ip[3] = (uint8_t)i;
        aioc_dns_set_add(&four, &address);
        aioc_dns_set_add(&four, &address);
    }
    CHECK_INT(four.count, AIOC_DNS_FAMILY_MAX);
    address.family = 6;
    aioc_dns_set_add(&six, &address);
    address.scope = 1;
    aioc_dns_set_add(&six, &address);
    CHECK_INT(six.count, 2);
    CHECK_INT(aioc_dns_interleave(&six, &four, out), 10);
    for (i = 0; i < 10; i++) CHECK_INT(out[i].family, i == 0 || i == 2 ? 6 : 4);
}

TEST(hosts_that_cannot_be_are_refused_with_the_reason)
{
    char long_label[80], long_host[300];
    const char *why;
    size_t i;
    static const char *const fine[] = {"a", "a.", "a.b", "A-b_c.example", "1.example", "a1", "xn--bcher-kva.example",
                                       "9.9a"};
    static const char *const wrong[][2] = {
        {"", "is no host name"}, {".", "is no host name"}, {"a..b", "is no host name"}, {".a", "is no host name"},
        {"a b", "has a character"}, {"a/b", "has a character"}, {"a:1", "has a character"}, {"a\n", "has a character"},
        {"b\xc3\xbc" "cher", "has letters beyond ASCII"}, {"1.2.3", "is neither"}, {"1.2.3.256", "is neither"},
        {"a.5", "is neither"}, {"5.", "is neither"}, {"12", "is neither"},
    };
    for (i = 0; i < COUNT(fine); i++) CHECK(aioc_dns_host_wrong(fine[i]) == NULL);
    for (i = 0; i < COUNT(wrong); i++) {
        why = aioc_dns_host_wrong(wrong[i][0]);
        if (!why || strncmp(why, wrong[i][1], strlen(wrong[i][1])) != 0) {
            test_fail(__FILE__, __LINE__, "\"%s\": %s", wrong[i][0], why ? why : "(fine)");
        }
    }
    memset(long_label, 'a', 64);
    long_label[63] = '\0';
    CHECK(aioc_dns_host_wrong(long_label) == NULL);
    long_label[63] = 'a';
    long_label[64] = '\0';
    CHECK(aioc_dns_host_wrong(long_label) != NULL);
    for (i = 0; i < sizeof long_host; i++) long_host[i] = i % 2 ? '.' : 'a';
    long_host[253] = '\0';
    CHECK(aioc_dns_host_wrong(long_host) == NULL);                /* 253 characters */
    long_host[253] = '.';
    long_host[254] = '\0';
    CHECK(aioc_dns_host_wrong(long_host) == NULL);                /* and a last dot */
    long_host[254] = 'a';
    long_host[255] = '\0';
    CHECK(aioc_dns_host_wrong(long_host) != NULL);
}

TEST(localhost_is_known_by_any_name)
{
    static const char *const yes[] = {"localhost", "LocalHost", "localhost.", "a.localhost", "a.b.LOCALHOST."};
    static const char *const no[] = {"", "local", "xlocalhost", "localhost.example", "localhost..", "a-localhost"};
    size_t i;
    for (i = 0; i < COUNT(yes); i++) CHECK(aioc_dns_host_local(str(yes[i])));
    for (i = 0; i < COUNT(no); i++) CHECK(!aioc_dns_host_local(str(no[i])));
}

/*--- Files ------------------------------------------------------------------*/

static void print_addresses(char *out, size_t cap, const aiocosmos_address *addresses, size_t count)
{
    char text[AIOC_TEXT_ADDRESS_MAX];
    size_t i, len = 0;
    *out = '\0';
    for (i = 0; i < count; i++) {
        aioc_text_put_address(&addresses[i], text);
        len += (size_t)snprintf(out + len, cap - len, i ? " %s" : "%s", text);
    }
}

static void hosts_of(const char *text, size_t len, const char *host, char *out, size_t cap)
{
    char *copy = exact_copy(text, len);
    aioc_dns_set six, four;
    aiocosmos_address both[AIOC_DNS_ADDRESSES_MAX];
    aiocosmos_str view;
    six.count = four.count = 0;
    view.ptr = copy;
    view.len = len;
    aioc_dns_parse_hosts(view, str(host), &six, &four);
    print_addresses(out, cap, both, aioc_dns_interleave(&six, &four, both));
    free(copy);
}

static const char hosts_text[] =
    "# comment\n127.0.0.1 localhost\n10.0.0.1\tDB.example db # cosmos\n\n  10.0.0.2   db\r\n::2 db\n"
    "fe80::1%eth0 db\nnonsense db\n10.0.0.300 db\n10.0.0.3 other#db\n10.0.0.1 db\n#10.0.0.4 db\n10.0.0.5 last.";

TEST(hosts_files_are_read)
{
    char got[400];
    hosts_of(hosts_text, strlen(hosts_text), "db", got, sizeof got);
    CHECK_STR(got, "::2 10.0.0.1 10.0.0.2");
    hosts_of(hosts_text, strlen(hosts_text), "db.EXAMPLE.", got, sizeof got);
    CHECK_STR(got, "10.0.0.1");
    hosts_of(hosts_text, strlen(hosts_text), "other", got, sizeof got);
    CHECK_STR(got, "10.0.0.3");
    hosts_of(hosts_text, strlen(hosts_text), "last", got, sizeof got);
    CHECK_STR(got, "10.0.0.5");
    hosts_of(hosts_text, strlen(hosts_text), "cosmos", got, sizeof got);
    CHECK_STR(got, "");
    hosts_of("1.1.1.1 a\0" "2.2.2.2 a\n", 20, "a", got, sizeof got);
    CHECK_STR(got, "1.1.1.1");
}

static uint32_t only_eth0(void *user_data, const char *name)
{
    (void)user_data;
    return strcmp(name, "eth0") == 0 ? 12 : 0;
}

static void config_of(const char *text, size_t len, aioc_dns_config *config)
{
    aiocosmos_platform table = aioc_platform_system;
    char *copy = exact_copy(text, len);
    aiocosmos_str view;
    view.ptr = copy;
    view.len = len;
    table.zone = only_eth0;
    aioc_dns_parse_config(view, &table, config);
    free(copy);
}

static const char config_text[] =
    "; comment\n# comment\nnameserver 10.0.0.1\nnameserver nonsense\nnameserver fe80::53%eth1\n"
    "nameserver fe80::53%eth0 # this link\n"
    "nameserver\t::1\nnameserver 10.0.0.4\ndomain old.example\nsearch a.example b.example. . c\n"
    "options ndots:5 timeout:1 attempts:1 rotate\nsortlist 1.2.3.4\n";

TEST(resolv_conf_is_read)
{
    aioc_dns_config config;
    char got[200];
    config_of(config_text, strlen(config_text), &config);
    print_addresses(got, sizeof got, config.servers, config.server_count);
    CHECK_STR(got, "10.0.0.1 fe80::53%12 ::1");
    CHECK_INT(config.servers[2].port, 53);
    CHECK_INT(config.search_count, 3);
    CHECK_STR(config.search[1], "b.example.");
    CHECK_STR(config.search[2], "c");
    CHECK_INT(config.rounds, 1);
    CHECK_INT(config.last_us, 1000000);
    config_of("search a b c d e f g h\n", 23, &config);
    CHECK_INT(config.search_count, AIOC_DNS_SEARCH_MAX);
    print_addresses(got, sizeof got, config.servers, config.server_count);
    CHECK_STR(got, "127.0.0.1");
    CHECK_INT(config.rounds, 2);
    CHECK_INT(config.last_us, AIOC_DNS_LAST_US);
    config_of("", 0, &config);
    CHECK_INT(config.server_count, 1);
    CHECK_INT(config.search_count, 0);
}

TEST(files_may_be_cut_or_garbled_anywhere)
{
    aioc_dns_config config;
    char got[400], *copy;
    size_t len, i;
    int round;
    for (len = 0; len <= strlen(config_text); len++) config_of(config_text, len, &config);
    for (len = 0; len <= strlen(hosts_text); len++) hosts_of(hosts_text, len, "db", got, sizeof got);
    for (round = 0; round < 20000; round++) {
        bool hosts = round % 2 != 0;
        const char *text = hosts ? hosts_text : config_text;
        len = strlen(text);
        copy = exact_copy(text, len);
        for (i = random_below(8) + 1; i > 0; i--) copy[random_below((unsigned)len)] = (char)random_below(256);
        if (hosts) hosts_of(copy, len, "db", got, sizeof got);
        else config_of(copy, len, &config);
        CHECK(hosts || (config.server_count + config.named >= 1 && config.server_count <= AIOC_DNS_SERVERS_MAX));
        free(copy);
    }
}

static void print_domain(char *out, const unsigned char *labels)
{
    for (; *labels; labels += *labels + 1) {
        memcpy(out, labels + 1, *labels);
        out += *labels;
        if (labels[*labels + 1]) *out++ = '.';
    }
    *out = '\0';
}

static void candidates_of(const char *config_lines, const char *host, char *out)
{
    aioc_dns_config config;
    aioc_dns_domain name;
    unsigned index = 0;
    config_of(config_lines, strlen(config_lines), &config);
    *out = '\0';
    while (aioc_dns_candidate(&config, str(host), &index, &name)) {
        print_domain(out + strlen(out), name.labels);
        strcat(out, " ");
    }
}

TEST(names_with_a_dot_are_asked_for_as_they_are_first)
{
    char got[1000], label[64];
    candidates_of("", "db", got);
    CHECK_STR(got, "db ");
    candidates_of("search a.x b.x.", "db", got);
    CHECK_STR(got, "db.a.x db.b.x db ");
    candidates_of("search a.x b.x\noptions ndots:5", "db.ns", got);
    CHECK_STR(got, "db.ns db.ns.a.x db.ns.b.x ");
    candidates_of("search a.x", "db.ns.", got);
    CHECK_STR(got, "db.ns ");
    candidates_of("search a.x", "db.", got);
    CHECK_STR(got, "db ");
    candidates_of("search a..x .. b", "db", got);                      /* what makes no name is left out */
    CHECK_STR(got, "db.b db ");
    memset(label, 'l', 63);
    label[63] = '\0';
    snprintf(got, sizeof got, "search %s.%s.%s.%s b", label, label, label, label);
    candidates_of(got, "db", got + 500);
    CHECK_STR(got + 500, "db.b db ");
}

/*--- Messages ---------------------------------------------------------------*/

typedef struct message {
    size_t len;
    unsigned char bytes[4096];
} message;

static void put(message *m, const void *bytes, size_t len)
{
    memcpy(m->bytes + m->len, bytes, len);
    m->len += len;
}

static void put16(message *m, unsigned value)
{
    aioc_text_store16be(m->bytes + m->len, value);
    m->len += 2;
}

static void put_name(message *m, const char *name)
{
    aioc_dns_domain domain;
    CHECK(aioc_dns_domain_make(&domain, str(name), str("")));
    put(m, domain.labels, domain.len);
}

/* section: 0 answer, 1 authority, 2 additional. */
static void put_record(message *m, int section, const char *owner, unsigned type, uint32_t ttl, const void *data,
                       size_t len)
{
    unsigned char *count = m->bytes + 6 + 2 * section;
    put_name(m, owner);
    put16(m, type);
    put16(m, 1);
    put16(m, ttl >> 16);
    put16(m, ttl & 0xFFFF);
    put16(m, (unsigned)len);
    put(m, data, len);
    aioc_text_store16be(count, aioc_text_load16be(count) + 1);
}

static void put_alias(message *m, const char *owner, uint32_t ttl, const char *target)
{
    aioc_dns_domain domain;
    CHECK(aioc_dns_domain_make(&domain, str(target), str("")));
    put_record(m, 0, owner, AIOC_DNS_CNAME, ttl, domain.labels, domain.len);
}

static void put_address(message *m, const char *owner, uint32_t ttl, const char *text)
{
    aiocosmos_address address;
    CHECK(parses(text, &address));
    put_record(m, 0, owner, address.family == 4 ? AIOC_DNS_A : AIOC_DNS_AAAA, ttl, address.ip,
               address.family == 4 ? 4 : 16);
}

static void put_soa(message *m, const char *owner)
{
    static const unsigned char data[22] = {0};
    put_record(m, 1, owner, AIOC_DNS_SOA, 60, data, sizeof data);
}

/* An answer from a recursive server, so far with the question only. */
static void begin_answer(message *m, unsigned id, const char *name, unsigned type, unsigned code)
{
    memset(m, 0, sizeof *m);
    put16(m, id);
    put16(m, 0x8180 | code);
    put16(m, 1);
    m->len = 12;
    put_name(m, name);
    put16(m, type);
    put16(m, 1);
}

static aioc_dns_kind judge_chained(const unsigned char *bytes, size_t len, const char *name, unsigned type,
                                   unsigned chain, aioc_dns_response *out)
{
    char *copy = exact_copy(bytes, len);
    aioc_dns_kind kind;
    memset(out, 0, sizeof *out);
    out->ttl_s = UINT32_MAX;
    out->chain = chain;
    CHECK(aioc_dns_domain_make(&out->name, str(name), str("")));
    kind = aioc_dns_parse_response(copy, len, 0x1234, type, out);
    free(copy);
    return kind;
}

static aioc_dns_kind judge(const message *m, const char *name, unsigned type, aioc_dns_response *out)
{
    return judge_chained(m->bytes, m->len, name, type, 0, out);
}

#define A AIOC_DNS_A
#define AAAA AIOC_DNS_AAAA

TEST(a_question_is_written)
{
    static const unsigned char want[] = {0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 2, 'b', 'c', 0, 0, 28, 0, 1};
    unsigned char got[AIOC_DNS_QUERY_MAX];
    aioc_dns_domain domain;
    CHECK(aioc_dns_domain_make(&domain, str("a.bc"), str("")));
    CHECK_INT(aioc_dns_build_query(got, 0x1234, &domain, AAAA), sizeof want);
    CHECK_MEM(got, want, sizeof want);
}

TEST(answers_are_read)
{
    aioc_dns_response response;
    char got[400];
    message m;
    begin_answer(&m, 0x1234, "Db.example", A, 0);                      /* a server may change the case: RFC 4343 */
    put_address(&m, "db.EXAMPLE", 60, "10.0.0.1");
    put_address(&m, "db.example", 30, "10.0.0.2");
    put_address(&m, "other.example", 1, "10.0.0.3");
    put_address(&m, "db.example", 2, "::1");                           /* of the other type */
    CHECK_INT(judge(&m, "db.example", A, &response), AIOC_DNS_FOUND);
    print_addresses(got, sizeof got, response.set.addresses, response.set.count);
    CHECK_STR(got, "10.0.0.1 10.0.0.2");
    CHECK_INT(response.ttl_s, 30);
    begin_answer(&m, 0x1234, "db", AAAA, 0);
    put_address(&m, "db", 0x80000000u, "2001:db8::1");
    CHECK_INT(judge(&m, "db", AAAA, &response), AIOC_DNS_FOUND);
    CHECK_INT(response.ttl_s, 0);
    print_addresses(got, sizeof got, response.set.addresses, response.set.count);
    CHECK_STR(got, "2001:db8::1");
}

TEST(aliases_are_followed_in_any_order)
{
    aioc_dns_response response;
    message m;
    begin_answer(&m, 0x1234, "a", A, 0);
    put_address(&m, "c", 60, "10.0.0.1");
    put_alias(&m, "b", 7, "c");
    put_alias(&m, "a", 9, "b");
    CHECK_INT(judge(&m, "a", A, &response), AIOC_DNS_FOUND);
    CHECK_INT(response.ttl_s, 7);
    CHECK_INT(response.chain, 2);
    begin_answer(&m, 0x1234, "a", A, 0);                               /* leads to a name that it has nothing of */
    put_alias(&m, "a", 9, "b.example");
    CHECK_INT(judge(&m, "a", A, &response), AIOC_DNS_ELSEWHERE);
    CHECK_MEM(response.name.labels, "\1b\7example", 11);
    CHECK_INT(response.chain, 1);
    m.bytes[m.len - 12]++;                                             /* data longer than the name in it */
    m.bytes[m.len++] = 0;
    CHECK_INT(judge(&m, "a", A, &response), AIOC_DNS_FAILED);
    m.bytes[--m.len - 12]--;
    put_soa(&m, "example");                                            /* and says that there is nothing */
    CHECK_INT(judge(&m, "a", A, &response), AIOC_DNS_NO_DATA);
}

TEST(a_chain_has_at_most_16_aliases)
{
    aioc_dns_response response;
    char from[16], to[16];
    message m;
    int i, links;
    for (links = 16; links <= 17; links++) {
        begin_answer(&m, 0x1234, "n0", A, 0);
        for (i = 0; i < links; i++) {
            snprintf(from, sizeof from, "n%d", i);
            snprintf(to, sizeof to, "n%d", i + 1);
            put_alias(&m, from, 60, to);
        }
        put_address(&m, to, 60, "10.0.0.1");
        CHECK_INT(judge(&m, "n0", A, &response), links == 16 ? AIOC_DNS_FOUND : AIOC_DNS_FAILED);
    }
    begin_answer(&m, 0x1234, "a", A, 0);
    put_alias(&m, "a", 60, "b");
    CHECK_INT(judge_chained(m.bytes, m.len, "a", A, 15, &response), AIOC_DNS_ELSEWHERE);
    CHECK_INT(judge_chained(m.bytes, m.len, "a", A, 16, &response), AIOC_DNS_FAILED);
    put_alias(&m, "b", 60, "a");                                       /* a loop */
    CHECK_INT(judge(&m, "a", A, &response), AIOC_DNS_FAILED);
    CHECK_STR(response.why, "has a chain of more than 16 aliases for it");
}

TEST(refusals_are_told_apart)
{
    aioc_dns_response response;
    message m;
    begin_answer(&m, 0x1234, "a", A, 3);
    CHECK_INT(judge(&m, "a", A, &response), AIOC_DNS_NO_NAME);
    begin_answer(&m, 0x1234, "a", A, 0);
    CHECK_INT(judge(&m, "a", A, &response), AIOC_DNS_NO_DATA);
    m.bytes[3] &= 0x7F;                                                /* no recursion, no authority: not its job */
    CHECK_INT(judge(&m, "a", A, &response), AIOC_DNS_FAILED);
    m.bytes[2] |= 4;
    CHECK_INT(judge(&m, "a", A, &response), AIOC_DNS_NO_DATA);
    begin_answer(&m, 0x1234, "a", A, 2);
    CHECK_INT(judge(&m, "a", A, &response), AIOC_DNS_FAILED);
    CHECK_STR(response.why, "answered SERVFAIL");
    m.bytes[5] = 0;                                                    /* without the question */
    m.len = 12;
    CHECK_INT(judge(&m, "a", A, &response), AIOC_DNS_FAILED);
    m.bytes[3] = 0x83;
    CHECK_INT(judge(&m, "a", A, &response), AIOC_DNS_FOREIGN);
    begin_answer(&m, 0x1234, "a", A, 0);
    m.bytes[2] |= 2;
    CHECK_INT(judge(&m, "a", A, &response), AIOC_DNS_TRUNCATED);
}

TEST(answers_to_others_are_ignored)
{
    aioc_dns_response response;
    message m;
    begin_answer(&m, 0x1235, "a", A, 0);
    CHECK_INT(judge(&m, "a", A, &response), AIOC_DNS_FOREIGN);
    begin_answer(&m, 0x1234, "b", A, 0);
    CHECK_INT(judge(&m, "a", A, &response), AIOC_DNS_FOREIGN);
    begin_answer(&m, 0x1234, "a.b", A, 0);
    CHECK_INT(judge(&m, "a", A, &response), AIOC_DNS_FOREIGN);
    begin_answer(&m, 0x1234, "a", AAAA, 0);
    CHECK_INT(judge(&m, "a", A, &response), AIOC_DNS_FOREIGN);
    begin_answer(&m, 0x1234, "a", A, 0);
    m.bytes[m.len - 1] = 3;                                            /* class CH */
    CHECK_INT(judge(&m, "a", A, &response), AIOC_DNS_FOREIGN);
    begin_answer(&m, 0x1234, "a", A, 0);
    m.bytes[2] &= 0x7F;                                                /* a question */
    CHECK_INT(judge(&m, "a", A, &response), AIOC_DNS_FOREIGN);
    begin_answer(&m, 0x1234, "a", A, 0);
    m.bytes[2] |= 0x28;                                                /* an update */
    CHECK_INT(judge(&m, "a", A, &response), AIOC_DNS_FOREIGN);
    begin_answer(&m, 0x1234, "a", A, 0);
    m.bytes[5] = 2;
    CHECK_INT(judge(&m, "a", A, &response), AIOC_DNS_FOREIGN);
}

/* "a" 12..14, type and class to 18; then a record whose owner is what is given. */
static aioc_dns_kind judge_owner(const void *owner, size_t len, aioc_dns_response *response)
{
    static const unsigned char rest[] = {0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, 1};
    message m;
    begin_answer(&m, 0x1234, "a", A, 0);
    put(&m, owner, len);
    put(&m, rest, sizeof rest);
    m.bytes[7] = 1;
    return judge(&m, "a", A, response);
}

TEST(compression_pointers_lead_backwards_or_nowhere)
{
    aioc_dns_response response;
    CHECK_INT(judge_owner("\xC0\x0C", 2, &response), AIOC_DNS_FOUND);
    CHECK_INT(response.set.addresses[0].ip[0], 10);
    CHECK_INT(judge_owner("\x01" "a\xC0\x0E", 4, &response), AIOC_DNS_FOUND);
    CHECK_INT(judge_owner("\x01" "b\xC0\x0E", 4, &response), AIOC_DNS_NO_DATA);
    CHECK_INT(judge_owner("\xC0\x13", 2, &response), AIOC_DNS_FAILED);              /* to itself */
    CHECK_INT(judge_owner("\x01" "a\xC0\x13", 4, &response), AIOC_DNS_FAILED);      /* a loop with a label */
    CHECK_INT(judge_owner("\xC0\x20", 2, &response), AIOC_DNS_FAILED);              /* forward */
    CHECK_INT(judge_owner("\xFF\xFF", 2, &response), AIOC_DNS_FAILED);
    CHECK_INT(judge_owner("\x40\x00", 2, &response), AIOC_DNS_FAILED);              /* label types of old drafts */
    CHECK_INT(judge_owner("\x80\x00", 2, &response), AIOC_DNS_FAILED);
    CHECK_STR(response.why, "sent a malformed answer");
}

TEST(names_of_255_bytes_are_read_and_longer_ones_refused)
{
    unsigned char bytes[300];
    aioc_dns_message view;
    aioc_dns_domain domain;
    size_t at;
    int labels;
    for (labels = 126; labels <= 128; labels++) {
        int i;
        size_t len = 0;
        for (i = 0; i < labels; i++) {
            bytes[len++] = 1;
            bytes[len++] = 'x';
        }
        bytes[len++] = 0;
        view.bytes = bytes;
        view.len = len;
        at = 0;
        CHECK_INT(aioc_dns_read_domain(view, &at, &domain), labels <= 127);
        if (labels <= 127) CHECK_INT(at, len);
    }
    /* 16 pointers are followed, the 17th is not. */
    for (labels = 16; labels <= 17; labels++) {
        int i;
        bytes[0] = 0;
        for (i = 0; i < labels; i++) {
            aioc_text_store16be(bytes + 1 + 2 * i, (unsigned)(0xC000 | (i ? 2 * i - 1 : 0)));
        }
        view.bytes = bytes;
        view.len = (size_t)(1 + 2 * labels);
        at = view.len - 2;
        CHECK_INT(aioc_dns_read_domain(view, &at, &domain), labels == 16);
        if (labels == 16) CHECK_INT(at, view.len);
    }
}

TEST(the_first_128_records_are_looked_at)
{
    aioc_dns_response response;
    message m;
    int others, i;
    for (others = 127; others <= 128; others++) {
        begin_answer(&m, 0x1234, "a", A, 0);
        for (i = 0; i < others; i++) put_record(&m, 0, "b", 99, 60, "", 0);
        put_address(&m, "a", 60, "10.0.0.1");
        CHECK_INT(judge(&m, "a", A, &response), others == 127 ? AIOC_DNS_FOUND : AIOC_DNS_NO_DATA);
    }
}

static void a_rich_answer(message *m)
{
    begin_answer(m, 0x1234, "db.example", A, 0);
    put_alias(m, "db.example", 60, "gateway.example");
    put(m, "\xC0\x0C", 2);                                             /* db.example, an unknown type */
    put16(m, 99);
    put16(m, 1);
    put16(m, 0);
    put16(m, 60);
    put16(m, 0);
    m->bytes[7]++;
    put_address(m, "gateway.example", 60, "10.0.0.1");
    put_address(m, "gateway.example", 60, "10.0.0.2");
}

TEST(a_cut_answer_is_no_answer)
{
    aioc_dns_response response;
    message m;
    size_t len;
    a_rich_answer(&m);
    CHECK_INT(judge(&m, "db.example", A, &response), AIOC_DNS_FOUND);
    for (len = 0; len < m.len; len++) {
        aioc_dns_kind kind = judge_chained(m.bytes, len, "db.example", A, 0, &response);
        CHECK_INT(kind, len < 28 ? AIOC_DNS_FOREIGN : AIOC_DNS_FAILED);
    }
    m.bytes[m.len - 5] = 5;                                            /* an address of five bytes */
    CHECK_INT(judge(&m, "db.example", A, &response), AIOC_DNS_FAILED);
    m.bytes[m.len - 5] = 3;
    CHECK_INT(judge(&m, "db.example", A, &response), AIOC_DNS_FAILED);
}

TEST(garbled_answers_do_no_harm)
{
    aioc_dns_response response;
    message m, garbled;
    size_t at;
    int round;
    a_rich_answer(&m);
    put_soa(&m, "example");
    for (at = 0; at < m.len; at++) {
        for (round = 0; round < 256; round++) {
            garbled = m;
            garbled.bytes[at] = (unsigned char)round;
            judge(&garbled, "db.example", A, &response);
        }
    }
    for (round = 0; round < 50000; round++) {
        unsigned changes = random_below(6) + 1;
        garbled = m;
        while (changes-- > 0) garbled.bytes[12 + random_below((unsigned)m.len - 12)] = (unsigned char)random_below(256);
        aioc_text_store16be(garbled.bytes + 6, random_below(8));
        judge_chained(garbled.bytes, m.len - random_below(20), "db.example", A, 0, &response);
        CHECK(response.set.count <= AIOC_DNS_FAMILY_MAX && response.name.len <= AIOC_DNS_DOMAIN_MAX);
    }
}

/*--- A world of script ------------------------------------------------------*/

/* How a server answers questions. The first line that fits counts; NULL and 0 fit all. */
typedef struct line {
    const char *server, *name;
    unsigned type;
    int when;                                                          /* 'u' over UDP, 't' over TCP, 0 both */
    uint64_t delay_ms;
    const char *says;                                                  /* see server_says */
} line;

static struct {
    const line *lines;
    char log[4096];                                                    /* the questions: "0 10.0.0.1 A db, 400 ..." */
    heap_state heap;
    aioc_mem memory;
    aioc_reactor reactor;
    aioc_dns resolver;
    struct asker *waiting;
    uint64_t heard;
} earth;

static const line *find_line(const world_socket *s, const char *name, unsigned type)
{
    char server[AIOC_TEXT_ADDRESS_MAX];
    const line *l;
    aioc_text_put_address(&s->peer, server);
    for (l = earth.lines; l && l->says; l++) {
        if (l->server && strcmp(l->server, server) != 0) continue;
        if (l->name && name && strcmp(l->name, name) != 0) continue;
        if (l->type && type && l->type != type) continue;
        if (l->when && l->when != (s->datagram ? 'u' : 't')) continue;
        return l;
    }
    return NULL;
}

static void server_opens(world_socket *s)
{
    const line *l = find_line(s, NULL, 0);
    CHECK_INT(s->peer.port, 53);
    if (l && (l->says[0] == '!' || (l->says[0] == '?' && !s->datagram))) s->comes_to = atoi(l->says + 1);
    if (l && l->says[0] == '!') s->decided_us = 0;
}

static void server_posts(world_socket *s, const line *l, int io, const void *bytes, size_t len)
{
    world_post(s, net.now_us + l->delay_ms * 1000, world_arrive, false, io, bytes, len);
}

/* Answers as says tells: words divided by spaces.
 *   IP          an address of the last name      TTL=n       of the records that follow
 *   ->NAME      an alias                         SOA         in the authority section
 *   NX SERVFAIL REFUSED TC                       BADID BADQ  not our id, not our question
 *   SILENT      nothing                          SHORT       half of it
 *   ID2         a forgery first                  CLOSE       end of the stream
 *   EMPTY       no byte                          =IO         receiving fails; alone, !IO: opening, ?IO: connecting */
static void server_says(world_socket *s, const line *l, unsigned id, const char *name, unsigned type)
{
    char text[2048], owner[300], *word, *rest = text;
    uint32_t ttl = 60;
    message m, framed;
    snprintf(text, sizeof text, "%s", l->says);
    snprintf(owner, sizeof owner, "%s", name);
    begin_answer(&m, id, name, type, 0);
    while ((word = strtok_r(rest, " ", &rest)) != NULL) {
        aiocosmos_address address;
        if (strcmp(word, "SILENT") == 0) return;
        else if (strncmp(word, "TTL=", 4) == 0) ttl = (uint32_t)strtoul(word + 4, NULL, 10);
        else if (strncmp(word, "->", 2) == 0) {
            put_alias(&m, owner, ttl, word + 2);
            snprintf(owner, sizeof owner, "%s", word + 2);
        } else if (strcmp(word, "SOA") == 0) put_soa(&m, "zone");
        else if (strcmp(word, "NX") == 0) m.bytes[3] |= 3;
        else if (strcmp(word, "SERVFAIL") == 0) m.bytes[3] |= 2;
        else if (strcmp(word, "REFUSED") == 0) m.bytes[3] |= 5;
        else if (strcmp(word, "TC") == 0) m.bytes[2] |= 2;
        else if (strcmp(word, "BADID") == 0) m.bytes[1] ^= 1;
        else if (strcmp(word, "BADQ") == 0) m.bytes[13] ^= 1;
        else if (strcmp(word, "SHORT") == 0) m.len /= 2;
        else if (strcmp(word, "EMPTY") == 0) m.len = 0;
        else if (strcmp(word, "ID2") == 0) {
            message forged = m;
            forged.bytes[0] ^= 1;
            put_address(&forged, owner, ttl, "66.6.6.6");
            server_posts(s, l, 0, forged.bytes, forged.len);
        } else if (strcmp(word, "CLOSE") == 0 || word[0] == '=') {
            server_posts(s, l, word[0] == '=' ? atoi(word + 1) : 1, NULL, 0);
            return;
        } else if (parses(word, &address)) {
            if ((type == A) == (address.family == 4)) put_address(&m, owner, ttl, word);
        } else test_fail(__FILE__, __LINE__, "\"%s\"?", word);
    }
    framed.len = 0;
    if (!s->datagram) put16(&framed, (unsigned)m.len);
    put(&framed, m.bytes, m.len);
    server_posts(s, l, 0, framed.bytes, framed.len);
}

static void server_is_asked(world_socket *s, const unsigned char *bytes, size_t len)
{
    char name[256], server[AIOC_TEXT_ADDRESS_MAX], entry[400];
    unsigned type = aioc_text_load16be(bytes + len - 4);
    const line *l;
    CHECK(len > 16 && bytes[2] == 1 && bytes[5] == 1);
    print_domain(name, bytes + 12);
    aioc_text_put_address(&s->peer, server);
    snprintf(entry, sizeof entry, "%s%llu %s%s %s %s", earth.log[0] ? ", " : "",
             (unsigned long long)(net.now_us / 1000), server, s->datagram ? "" : " tcp", type == A ? "A" : "AAAA",
             name);
    if (strlen(earth.log) + strlen(entry) < sizeof earth.log) strcat(earth.log, entry);
    l = find_line(s, name, type);
    if (l) server_says(s, l, aioc_text_load16be(bytes), name, type);
}

static void server_hears(world_socket *s, const char *bytes, size_t len)
{
    const unsigned char *out;
    if (s->datagram) {
        server_is_asked(s, (const unsigned char *)bytes, len);
        return;
    }
    world_gather(s, bytes, len);
    out = (const unsigned char *)s->out;
    if (s->out_len >= 2 && s->out_len == aioc_text_load16be(out) + 2) server_is_asked(s, out + 2, s->out_len - 2);
}

static void open_earth(const line *lines)
{
    const aiocosmos_platform *platform = made_up();
    aiocosmos_allocator allocator;
    memset(&earth, 0, sizeof earth);
    earth.lines = lines;
    net.now_us = 0;
    net.v4.delay_us = net.v6.delay_us = 1000;
    net.config = "nameserver 10.0.0.1\n";
    net.servers.open = server_opens;
    net.servers.hear = server_hears;
    earth.memory = rationed(&earth.heap, ULONG_MAX - 1);
    allocator = aioc_mem_allocator(&earth.memory);
    CHECK_INT(aioc_reactor_open(&earth.reactor, platform, &allocator), 0);
    aioc_dns_open(&earth.resolver, &earth.reactor, &earth.memory, NULL, NULL);
}

/* And nothing may be left. */
static void close_earth(void)
{
    uint64_t due_us;
    aioc_dns_close(&earth.resolver);
    CHECK(!aioc_reactor_timer_next(&earth.reactor, &due_us));
    CHECK_INT(earth.reactor.source_count, 0);
    CHECK_INT(net.open, 0);
    CHECK_INT(earth.memory.used, 0);
    aioc_reactor_close(&earth.reactor);
    aioc_mem_close(&earth.memory);
}

static void tell_askers(void);

/* One event, or one timer; then those who wait ask again, if they should. False: nothing to do now. */
static bool step(void)
{
    bool some;
    aioc_reactor_tick(&earth.reactor);
    some = aioc_reactor_dispatch_one(&earth.reactor) || aioc_reactor_timer_run_one(&earth.reactor);
    if (!some) {
        CHECK_INT(aioc_reactor_poll(&earth.reactor, 0), 0);
        some = aioc_reactor_dispatch_one(&earth.reactor);
    }
    if (earth.resolver.answered != earth.heard) tell_askers();
    earth.heard = earth.resolver.answered;
    return some;
}

/* Lets time pass, from one thing that happens to the next. */
static void run_to(uint64_t until_ms)
{
    for (;;) {
        while (step()) continue;
        if (net.now_us >= until_ms * 1000) return;
        pass_to_next(&earth.reactor, until_ms * 1000);
    }
}

/* One who asks, and what came of it: "now 10.0.0.1", or "10.0.0.1 at 400", an error in parentheses. */
typedef struct asker {
    struct asker *next;  /* in the list of those who wait */
    const char *host;
    int told;            /* how often something came later */
    uint64_t at_ms;
    bool more;           /* addresses may come */
    char got[1024];
} asker;

static void asker_note(asker *a, const aioc_dns_found *answer)
{
    char text[800];
    print_addresses(text, sizeof text, answer->addresses, answer->count);
    CHECK((answer->count > 0) == (answer->error == NULL));
    if (answer->error) snprintf(text, sizeof text, "(%s)", answer->error);
    a->at_ms = net.now_us / 1000;
    a->more = answer->more;
    if (a->told) snprintf(a->got, sizeof a->got, "%s at %llu", text, (unsigned long long)a->at_ms);
    else snprintf(a->got, sizeof a->got, "now %s", text);
}

static int ask(asker *a, const char *host)
{
    aioc_dns_found answer;
    uint64_t answered = earth.resolver.answered;
    int result;
    memset(a, 0, sizeof *a);
    a->host = host;
    aioc_reactor_tick(&earth.reactor);
    result = aioc_dns_ask(&earth.resolver, host, &answer);
    CHECK_INT(earth.resolver.answered, answered);                         /* from the reactor only */
    if (result == AIOC_DNS_LATER) {
        snprintf(a->got, sizeof a->got, "waits");
        a->next = earth.waiting;
        earth.waiting = a;
    } else {
        asker_note(a, &answer);
    }
    CHECK_INT(result < 0, result != AIOC_DNS_LATER && answer.error != NULL);
    return result;
}

static void tell_askers(void)
{
    asker **at = &earth.waiting;
    while (*at) {
        asker *a = *at;
        aioc_dns_found answer;
        if (aioc_dns_ask(&earth.resolver, a->host, &answer) == AIOC_DNS_LATER) {
            at = &a->next;
            continue;
        }
        *at = a->next;
        a->told++;
        asker_note(a, &answer);
    }
}

static asker first, second;

/* Asks a fresh world one name and lets ten seconds pass. */
static const char *resolve(const char *config, const line *lines, const char *host)
{
    memset(&first, 0, sizeof first);
    open_earth(lines);
    if (config) net.config = config;
    if (ask(&first, host) == AIOC_DNS_LATER) {
        run_to(10000);
        CHECK_INT(first.told, 1);
    }
    close_earth();
    return first.got;
}

/*--- Answers without asking -------------------------------------------------*/

TEST(literals_and_localhost_ask_nobody)
{
    open_earth(NULL);
    net.hosts = "9.9.9.9 localhost\n";
    ask(&first, "10.1.2.3");
    CHECK_STR(first.got, "now 10.1.2.3");
    ask(&first, "2001:DB8::1");
    CHECK_STR(first.got, "now 2001:db8::1");
    ask(&first, "[::1]");
    CHECK_STR(first.got, "now ::1");
    ask(&first, "localhost");
    CHECK_STR(first.got, "now ::1 127.0.0.1");
    ask(&first, "a.LOCALHOST.");
    CHECK_STR(first.got, "now ::1 127.0.0.1");
    CHECK_INT(net.files_read, 0);
    CHECK_INT(ask(&first, "fe80::1%eth0"), AIOCOSMOS_E_DNS);
    CHECK_STR(first.got, "now (\"fe80::1%eth0\" names a network interface that is not there)");
    net.eth0 = 12;
    ask(&first, "[fe80::1%eth0]");
    CHECK_STR(first.got, "now fe80::1%12");
    CHECK_INT(ask(&first, "fe80::1%../x"), AIOCOSMOS_E_DNS);
    CHECK_INT(ask(&first, "[10.0.0.1]"), AIOCOSMOS_E_DNS);
    CHECK_INT(ask(&first, ""), AIOCOSMOS_E_DNS);
    CHECK_INT(ask(&first, "1.2.3.4.5"), AIOCOSMOS_E_DNS);
    CHECK_STR(first.got, "now (\"1.2.3.4.5\" is neither an IPv4 address nor a host name)");
    CHECK_INT(net.count, 0);
    close_earth();
}

TEST(the_hosts_file_is_read_at_most_once_a_second)
{
    static const line lines[] = {{NULL, NULL, 0, 0, 0, "10.0.0.9"}, {0}};
    open_earth(lines);
    net.hosts = "10.0.0.1 db\n::1 db\n";
    ask(&first, "DB");
    CHECK_STR(first.got, "now ::1 10.0.0.1");
    net.hosts = "10.0.0.2 db\n";
    ask(&first, "db");
    CHECK_STR(first.got, "now ::1 10.0.0.1");
    CHECK_INT(net.files_read, 1);
    run_to(1000);
    ask(&first, "db");
    CHECK_STR(first.got, "now 10.0.0.2");
    net.hosts = NULL;
    run_to(2000);
    ask(&first, "db");
    run_to(3000);
    CHECK_STR(first.got, "10.0.0.9 at 2000");
    close_earth();
}

TEST(a_line_removed_from_the_hosts_file_is_gone)
{
    static const line good[] = {{NULL, NULL, 0, 0, 0, "TTL=1 10.0.0.9"}, {0}};
    static const line failing[] = {{NULL, NULL, 0, 0, 0, "SERVFAIL"}, {0}};
    open_earth(good);
    ask(&first, "db");
    run_to(1000);
    net.hosts = "10.0.0.1 db\n";
    ask(&first, "db");
    CHECK_STR(first.got, "now 10.0.0.1");
    net.hosts = NULL;
    earth.lines = failing;
    run_to(2000);
    ask(&first, "db");
    run_to(3000);
    CHECK_STR(first.got, "(db could not be looked up: name server 10.0.0.1 answered SERVFAIL) at 2000");
    close_earth();
}

TEST(large_hosts_files_are_read_to_a_limit)
{
    const size_t size = AIOC_DNS_FILE_MAX + 100;
    char *text = malloc(size + 1);
    size_t at;
    for (at = 0; at < size; at++) text[at] = at % 40 == 39 ? '\n' : '#';
    text[size] = '\0';
    memcpy(text + 400000, "10.0.0.1 far\n", 13);
    memcpy(text + (AIOC_DNS_FILE_MAX - 12), "\n10.0.0.1 cut.example\n", 22);   /* "cu" is within the limit */
    open_earth(NULL);
    net.hosts = text;
    ask(&first, "far");
    CHECK_STR(first.got, "now 10.0.0.1");
    CHECK_INT(ask(&first, "cu"), AIOC_DNS_LATER);
    run_to(10000);
    close_earth();
    free(text);
}

/*--- Servers ----------------------------------------------------------------*/

TEST(both_families_are_asked_at_once)
{
    static const line lines[] = {{NULL, NULL, A, 0, 20, "10.0.0.7 10.0.0.8"}, {NULL, NULL, AAAA, 0, 30, "::7"}, {0}};
    CHECK_STR(resolve(NULL, lines, "db.example"), "::7 10.0.0.7 10.0.0.8 at 30");
    CHECK_STR(earth.log, "0 10.0.0.1 AAAA db.example, 0 10.0.0.1 A db.example");
    CHECK_INT(net.count, 2);
}

TEST(without_resolv_conf_this_machine_is_asked)
{
    static const line lines[] = {{"127.0.0.1", NULL, 0, 0, 0, "10.0.0.7"}, {0}};
    CHECK_STR(resolve("", lines, "db.example"), "10.0.0.7 at 0");
}

TEST(a_table_without_name_servers_and_zones_will_do)
{
    static const line lines[] = {{"127.0.0.1", NULL, 0, 0, 0, "10.0.0.7"}, {0}};
    open_earth(lines);
    shaky.platform.name_servers = NULL;
    shaky.platform.zone = NULL;
    ask(&first, "db.example");
    run_to(1000);
    CHECK_STR(first.got, "10.0.0.7 at 0");
    CHECK_INT(ask(&first, "fe80::1%eth0"), AIOCOSMOS_E_DNS);
    close_earth();
}

TEST(servers_behind_an_interface_are_asked_through_it)
{
    static const line lines[] = {{"fe80::1%12", NULL, 0, 0, 0, "10.0.0.7"}, {0}};
    open_earth(lines);
    net.config = "nameserver fe80::1%eth1\nnameserver fe80::1%eth0\n";
    net.eth0 = 12;
    ask(&first, "db.example");
    run_to(1000);
    CHECK_STR(first.got, "10.0.0.7 at 0");
    close_earth();
    CHECK_STR(resolve("nameserver fe80::1%eth1\n", lines, "db.example"),
              "(db.example could not be looked up: none of this machine's name servers can be used) at 0");
}

TEST(a_silent_server_is_followed_by_the_next_after_400_ms)
{
    static const line lines[] = {{"10.0.0.1", NULL, 0, 0, 0, "SILENT"}, {"10.0.0.2", NULL, 0, 0, 5, "10.0.0.7"}, {0}};
    CHECK_STR(resolve("nameserver 10.0.0.1\nnameserver 10.0.0.2\n", lines, "db.x"), "10.0.0.7 at 405");
    CHECK_STR(earth.log, "0 10.0.0.1 AAAA db.x, 0 10.0.0.1 A db.x, 400 10.0.0.2 AAAA db.x, 400 10.0.0.2 A db.x");
}

TEST(a_slow_server_is_heard_after_the_next_was_asked)
{
    static const line lines[] = {{"10.0.0.1", NULL, 0, 0, 700, "10.0.0.7"}, {"10.0.0.2", NULL, 0, 0, 5000, "10.0.0.8"},
                                 {0}};
    CHECK_STR(resolve("nameserver 10.0.0.1\nnameserver 10.0.0.2\n", lines, "db.x"), "10.0.0.7 at 700");
}

TEST(all_servers_are_asked_twice_then_it_is_given_up)
{
    CHECK_STR(resolve(NULL, NULL, "db.x"),
              "(db.x could not be looked up: name server 10.0.0.1 did not answer) at 2400");
    CHECK_INT(net.count, 4);
    CHECK_STR(resolve("nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n", NULL, "db.x"),
              "(db.x could not be looked up: name server 10.0.0.3 did not answer) at 4000");
    CHECK_INT(net.count, 12);
    CHECK_STR(resolve("nameserver 10.0.0.1\noptions timeout:1 attempts:1", NULL, "db.x"),
              "(db.x could not be looked up: name server 10.0.0.1 did not answer) at 1000");
}

TEST(a_server_that_fails_is_followed_by_the_next_at_once)
{
    static const struct { const char *says, *text; } table[] = {
        {"SERVFAIL", "answered SERVFAIL"}, {"REFUSED", "answered REFUSED"},
        {"!-3", "refused: nobody listens there"},
        {"!-4", "failed: the host cannot be reached (no route, firewall, no answer in time)"},
        {"!-5", "failed: this machine is out of descriptors, ports or memory"},
        {"!-6", "failed: this machine does not support that kind of address"}, {"!-7", "failed: the system refused"},
        {"=-3", "refused: nobody listens there"},
    };
    char want[200];
    size_t i;
    for (i = 0; i < COUNT(table); i++) {
        line lines[] = {{"10.0.0.1", NULL, 0, 0, 0, NULL}, {"10.0.0.2", NULL, 0, 0, 0, "10.0.0.7"}, {0}};
        lines[0].says = table[i].says;
        CHECK_STR(resolve("nameserver 10.0.0.1\nnameserver 10.0.0.2\n", lines, "db.x"), "10.0.0.7 at 0");
        snprintf(want, sizeof want, "(db.x could not be looked up: name server 10.0.0.1 %s) at 0", table[i].text);
        CHECK_STR(resolve(NULL, lines, "db.x"), want);
        CHECK_INT(net.count, 4);                                    /* two families, twice */
    }
}

TEST(servers_that_were_asked_are_waited_for_when_no_more_can_be)
{
    static const line lines[] = {{"10.0.0.2", NULL, 0, 0, 0, "!-4"}, {0}};
    CHECK_STR(resolve("nameserver 10.0.0.1\nnameserver 10.0.0.2\noptions attempts:1\n", lines, "db.x"),
              "(db.x could not be looked up: name server 10.0.0.2 failed: the host cannot be reached (no route, firewall, "
              "no answer in time)) at 2400");
}

TEST(a_reason_says_more_than_silence)
{
    static const line lines[] = {{"10.0.0.1", NULL, 0, 0, 0, "REFUSED"}, {0}};
    CHECK_STR(resolve("nameserver 10.0.0.1\nnameserver 10.0.0.2\n", lines, "db.x"),
              "(db.x could not be looked up: name server 10.0.0.1 answered REFUSED) at 2400");
}

TEST(forgeries_are_ignored)
{
    static const line forged[] = {{NULL, NULL, 0, 0, 0, "ID2 10.0.0.7"}, {0}};
    static const line wrong[] = {{NULL, NULL, 0, 0, 0, "BADID 10.0.0.7"}, {0}};
    static const line other[] = {{NULL, NULL, 0, 0, 0, "BADQ 10.0.0.7"}, {0}};
    static const line empty[] = {{NULL, NULL, 0, 0, 0, "EMPTY"}, {0}};
    static const line cut[] = {{NULL, NULL, 0, 0, 0, "SHORT 10.0.0.7"}, {0}};
    const char *silence = "(db.x could not be looked up: name server 10.0.0.1 did not answer) at 2400";
    CHECK_STR(resolve(NULL, forged, "db.x"), "10.0.0.7 at 0");
    CHECK_STR(resolve(NULL, wrong, "db.x"), silence);
    CHECK_STR(resolve(NULL, other, "db.x"), silence);
    CHECK_STR(resolve(NULL, empty, "db.x"), silence);
    CHECK_STR(resolve(NULL, cut, "db.x"), silence);
}

TEST(ids_and_sockets_are_new_for_each_question)
{
    open_earth(NULL);
    ask(&first, "db.x");
    run_to(500);
    CHECK_INT(earth.reactor.source_count, 4);
    {
        const aioc_dns_lookup *lookup = earth.resolver.first->lookup;
        uint32_t ids[4];
        int i, j, n = 4;
        for (i = 0; i < n; i++) {
            const aioc_dns_exchange *exchange = &lookup->queries[i / 2].exchanges[i % 2];
            CHECK(exchange->source.fd >= 0);
            ids[i] = exchange->id;
        }
        for (i = 0; i < n; i++) for (j = 0; j < i; j++) CHECK(ids[i] != ids[j]);
    }
    close_earth();
    open_earth(NULL);
    net.entropy_io = AIOCOSMOS_IO_AGAIN;
    ask(&first, "db.x");
    run_to(500);
    CHECK_STR(first.got, "(db.x could not be looked up: name server 10.0.0.1 could not be asked: no random numbers) "
              "at 0");
    close_earth();
    open_earth(NULL);
    shaky_fail(CALL_WATCH, 1, true, AIOCOSMOS_IO_LIMIT);
    ask(&first, "db.x");
    run_to(500);
    CHECK_STR(first.got, "(db.x could not be looked up: name server 10.0.0.1 failed: this machine is out of "
              "descriptors, ports or memory) at 0");
    close_earth();
}

TEST(a_truncated_answer_is_fetched_over_tcp)
{
    static const line lines[] = {{NULL, NULL, 0, 'u', 0, "TC"}, {NULL, NULL, 0, 't', 0, "10.0.0.7 10.0.0.8 ::7"}, {0}};
    int chunk;
    for (chunk = 0; chunk < 90; chunk++) {
        open_earth(lines);
        net.send_max = net.receive_max = (size_t)chunk;
        ask(&first, "db.x");
        run_to(1);
        CHECK_INT(first.told, 1);
        ask(&second, "db.x");
        CHECK_STR(second.got, "now ::7 10.0.0.7 10.0.0.8");
        close_earth();
    }
}

TEST(tcp_that_fails_leads_to_the_next_server)
{
    static const struct { const char *says, *text; } table[] = {
        {"CLOSE", "failed: the other side closed the connection"},
        {"=-2", "failed: the other side closed the connection"}, {"TC", "sent a malformed answer"},
        {"BADID", "sent a malformed answer"}, {"EMPTY", "sent a malformed answer"},
        {"SHORT", "sent a malformed answer"},
        {"?-3", "refused: nobody listens there"},
        {"!-4", "failed: the host cannot be reached (no route, firewall, no answer in time)"},
    };
    size_t i;
    for (i = 0; i < COUNT(table); i++) {
        char want[200];
        line lines[] = {{"10.0.0.1", NULL, 0, 'u', 0, "TC"}, {"10.0.0.1", NULL, 0, 't', 0, NULL},
                        {"10.0.0.2", NULL, 0, 0, 0, "10.0.0.7"}, {0}};
        lines[1].says = table[i].says;
        resolve("nameserver 10.0.0.1\nnameserver 10.0.0.2\n", lines, "db.x");
        CHECK_MEM(first.got, "10.0.0.7 at ", 12);
        CHECK(first.at_ms <= 1);
        snprintf(want, sizeof want, "(db.x could not be looked up: name server 10.0.0.1 %s) at ", table[i].text);
        resolve(NULL, lines, "db.x");
        CHECK_MEM(first.got, want, strlen(want));
        CHECK(first.at_ms <= 2);
    }
}

TEST(aliases_that_leave_the_answer_are_asked_for)
{
    static const line lines[] = {{NULL, "a.x", 0, 0, 0, "->b.x ->c.x"}, {NULL, "c.x", A, 0, 0, "->d.x 10.0.0.7"},
                                 {NULL, "c.x", AAAA, 0, 0, "SOA"}, {0}};
    static const line loop[] = {{NULL, "a.x", 0, 0, 0, "->b.x"}, {NULL, "b.x", 0, 0, 0, "->a.x"}, {0}};
    CHECK_STR(resolve(NULL, lines, "a.x"), "10.0.0.7 at 0");
    CHECK_STR(earth.log, "0 10.0.0.1 AAAA a.x, 0 10.0.0.1 A a.x, 0 10.0.0.1 AAAA c.x, 0 10.0.0.1 A c.x");
    CHECK_STR(resolve(NULL, loop, "a.x"),
              "(a.x could not be looked up: name server 10.0.0.1 has a chain of more than 16 aliases for it) at 0");
}

TEST(no_such_name_is_told_from_no_address_and_from_no_answer)
{
    static const line absent[] = {{NULL, NULL, 0, 0, 0, "NX SOA"}, {0}};
    static const line bare[] = {{NULL, NULL, 0, 0, 0, "SOA"}, {0}};
    static const line mixed[] = {{NULL, NULL, AAAA, 0, 0, "SOA"}, {NULL, NULL, A, 0, 0, "NX"}, {0}};
    static const line slow[] = {{"10.0.0.1", NULL, 0, 0, 700, "NX"}, {0}};
    static const line broken[] = {{NULL, NULL, AAAA, 0, 0, "NX"}, {NULL, NULL, A, 0, 0, "10.0.0.7"}, {0}};
    static const line half[] = {{NULL, NULL, AAAA, 0, 0, "NX"}, {NULL, NULL, A, 0, 0, "SERVFAIL"}, {0}};
    static const line one[] = {{NULL, NULL, AAAA, 0, 0, "SERVFAIL"}, {NULL, NULL, A, 0, 90, "10.0.0.7"}, {0}};
    CHECK_STR(resolve(NULL, absent, "db.x"), "(db.x does not exist, says name server 10.0.0.1) at 0");
    CHECK_STR(resolve(NULL, bare, "db.x"),
              "(db.x has neither an IPv4 nor an IPv6 address, says name server 10.0.0.1) at 0");
    CHECK_STR(resolve(NULL, mixed, "db.x"),
              "(db.x has neither an IPv4 nor an IPv6 address, says name server 10.0.0.1) at 0");
    CHECK_STR(resolve("nameserver 10.0.0.1\nnameserver 10.0.0.2\n", slow, "db.x"),
              "(db.x does not exist, says name server 10.0.0.1) at 700");
    CHECK_STR(resolve(NULL, broken, "db.x"), "10.0.0.7 at 0");
    CHECK_STR(resolve(NULL, half, "db.x"),
              "(db.x could not be looked up: name server 10.0.0.1 answered SERVFAIL) at 0");
    CHECK_STR(resolve(NULL, one, "db.x"), "10.0.0.7 at 90");
}

TEST(search_domains_are_tried)
{
    static const line lines[] = {{NULL, "db.b.x", A, 0, 0, "10.0.0.7"}, {NULL, "db.b.x", AAAA, 0, 0, "SOA"},
                                 {NULL, NULL, 0, 0, 0, "NX"}, {0}};
    static const line failing[] = {{NULL, "db.a.x", 0, 0, 0, "SERVFAIL"}, {NULL, "db", A, 0, 0, "10.0.0.8"},
                                   {NULL, NULL, 0, 0, 0, "NX"}, {0}};
    const char *config = "nameserver 10.0.0.1\nsearch a.x b.x\n";
    CHECK_STR(resolve(config, lines, "db"), "10.0.0.7 at 0");
    CHECK_STR(earth.log, "0 10.0.0.1 AAAA db.a.x, 0 10.0.0.1 A db.a.x, 0 10.0.0.1 AAAA db.b.x, 0 10.0.0.1 A db.b.x");
    CHECK_STR(resolve(config, lines, "db.b.x"), "10.0.0.7 at 0");
    CHECK_STR(earth.log, "0 10.0.0.1 AAAA db.b.x, 0 10.0.0.1 A db.b.x");
    CHECK_STR(resolve(config, lines, "nil.y."), "(nil.y. does not exist, says name server 10.0.0.1) at 0");
    CHECK_STR(earth.log, "0 10.0.0.1 AAAA nil.y, 0 10.0.0.1 A nil.y");
    CHECK_STR(resolve(config, failing, "db"), "10.0.0.8 at 0");
    /* A domain that could not be asked about: nobody may say that the name does not exist. */
    CHECK_STR(resolve(config, failing, "cb"), "(cb does not exist, says name server 10.0.0.1) at 0");
    {
        static const line doubtful[] = {{NULL, "db.a.x", 0, 0, 0, "SERVFAIL"}, {NULL, NULL, 0, 0, 0, "NX"}, {0}};
        CHECK_STR(resolve(config, doubtful, "db"),
                  "(db could not be looked up: name server 10.0.0.1 answered SERVFAIL) at 0");
    }
    /* Where nobody answers, the next domain would meet the same silence. */
    CHECK_STR(resolve(config, NULL, "db"), "(db could not be looked up: name server 10.0.0.1 did not answer) at 2400");
    {
        static const line muted[] = {{NULL, "db.a.x", 0, 0, 0, "SERVFAIL"}, {0}};
        CHECK_STR(resolve(config, muted, "db"),
                  "(db could not be looked up: name server 10.0.0.1 did not answer) at 2400");
    }
}

/* RFC 8305, 3. */
TEST(ipv4_is_not_waited_for_and_ipv6_for_50_ms)
{
    static const line late_a[] = {{NULL, NULL, AAAA, 0, 10, "::7"}, {NULL, NULL, A, 0, 300, "10.0.0.7"}, {0}};
    static const line late_aaaa[] = {{NULL, NULL, A, 0, 10, "10.0.0.7"}, {NULL, NULL, AAAA, 0, 59, "::7"}, {0}};
    open_earth(late_a);
    ask(&first, "db.x");
    run_to(200);
    CHECK_STR(first.got, "::7 at 10");
    CHECK(first.more);
    ask(&second, "db.x");
    CHECK_STR(second.got, "now ::7");
    CHECK(second.more);
    run_to(400);
    ask(&second, "db.x");
    CHECK_STR(second.got, "now ::7 10.0.0.7");                         /* what came late is kept, too */
    CHECK(!second.more);
    CHECK_INT(first.told, 1);
    close_earth();
    CHECK_STR(resolve(NULL, late_aaaa, "db.x"), "::7 10.0.0.7 at 59");
    CHECK(!first.more);
}

TEST(a_short_answer_serves_until_the_silent_family_is_given_up)
{
    static const line lines[] = {{NULL, NULL, A, 0, 0, "TTL=1 10.0.0.7"}, {0}};
    open_earth(lines);
    ask(&first, "db.x");
    run_to(2000);
    CHECK_STR(first.got, "10.0.0.7 at 50");
    ask(&second, "db.x");
    CHECK_STR(second.got, "now 10.0.0.7");
    run_to(3399);
    ask(&second, "db.x");
    CHECK_STR(second.got, "now 10.0.0.7");                             /* and a second more */
    run_to(3400);
    CHECK_INT(ask(&second, "db.x"), AIOC_DNS_LATER);
    run_to(4000);
    close_earth();
}

/* Its address leads to a place that says that it is not there any more: what comes from now on counts. */
TEST(a_name_that_is_forgotten_is_asked_for_anew)
{
    static const line old[] = {{NULL, NULL, A, 0, 0, "TTL=300 10.0.0.7"}, {0}};
    static const line moved[] = {{NULL, NULL, A, 0, 100, "TTL=300 10.0.0.8"}, {0}};
    open_earth(old);                                           /* nobody ever answers for AAAA */
    ask(&first, "db.x");
    run_to(200);
    CHECK_STR(first.got, "10.0.0.7 at 50");
    earth.lines = moved;
    aioc_dns_forget(&earth.resolver, "DB.x");
    CHECK_INT(ask(&first, "db.x"), AIOC_DNS_LATER);
    run_to(400);
    CHECK_STR(first.got, "10.0.0.8 at 350");
    run_to(20000);
    aioc_dns_forget(&earth.resolver, "db.x");
    earth.lines = NULL;                                                /* silence: then what was known */
    ask(&first, "db.x");
    run_to(21900);
    CHECK_STR(first.got, "10.0.0.8 at 21800");
    earth.lines = old;
    aioc_dns_forget(&earth.resolver, "db.x");
    CHECK_INT(ask(&first, "db.x"), AIOC_DNS_LATER);
    run_to(30000);
    CHECK(strstr(first.got, "10.0.0.7 at ") == first.got);
    close_earth();
}

/*--- Many askers, and the cache ---------------------------------------------*/

TEST(one_question_serves_all_who_wait)
{
    static const line lines[] = {{NULL, NULL, 0, 0, 20, "10.0.0.7"}, {0}};
    static asker askers[50];
    int i;
    open_earth(lines);
    for (i = 0; i < 50; i++) CHECK_INT(ask(&askers[i], i % 2 ? "db.x" : "DB.X"), AIOC_DNS_LATER);
    run_to(1000);
    CHECK_INT(net.count, 2);
    for (i = 0; i < 50; i++) CHECK_INT(askers[i].told, 1);
    close_earth();
}

TEST(a_look_up_that_nobody_waits_for_still_fills_the_cache)
{
    static const line lines[] = {{NULL, NULL, 0, 0, 20, "10.0.0.7"}, {0}};
    open_earth(lines);
    ask(&first, "db.x");
    earth.waiting = NULL;
    run_to(100);
    CHECK_INT(first.told, 0);
    ask(&second, "db.x");
    CHECK_STR(second.got, "now 10.0.0.7");
    close_earth();
}

static void check_kept(const char *says, uint64_t ms)
{
    line lines[] = {{NULL, "db.x", 0, 0, 0, NULL}, {NULL, "long.x", 0, 0, 0, "TTL=300 10.0.0.7 ::1"},
                    {NULL, "short.x", 0, 0, 0, "TTL=7 10.0.0.7 ::1"}, {0}};
    lines[0].says = says;
    open_earth(lines);
    ask(&first, "db.x");
    run_to(ms - 1);
    CHECK_INT(first.told, 1);
    CHECK(ask(&first, "db.x") != AIOC_DNS_LATER);
    run_to(ms);
    CHECK_INT(ask(&first, "db.x"), AIOC_DNS_LATER);
    run_to(ms + 10);
    CHECK_INT(first.told, 1);
    close_earth();
}

TEST(answers_are_kept_as_long_as_they_say_within_limits)
{
    check_kept("TTL=0 10.0.0.7", 1000);
    check_kept("TTL=17 10.0.0.7 ::1", 17000);
    check_kept("TTL=86400 10.0.0.7", 300000);
    check_kept("TTL=50 ->b.x TTL=20 ->c.x TTL=60 10.0.0.7 ::1", 20000);
    check_kept("TTL=5 ->long.x", 5000);                                /* an alias that leaves the answer counts, too */
    check_kept("TTL=300 ->short.x", 7000);
    check_kept("NX", 5000);
    check_kept("SOA", 5000);
    check_kept("SERVFAIL", 1000);
}

TEST(an_expired_answer_is_used_when_nobody_answers)
{
    static const line good[] = {{NULL, NULL, 0, 0, 0, "TTL=10 10.0.0.7"}, {0}};
    static const line late[] = {{NULL, NULL, 0, 0, 2000, "TTL=10 10.0.0.8"}, {0}};
    static const line failing[] = {{NULL, NULL, 0, 0, 0, "SERVFAIL"}, {0}};
    static const line absent[] = {{NULL, NULL, 0, 0, 0, "NX"}, {0}};
    open_earth(good);
    ask(&first, "db.x");
    run_to(10000);
    earth.lines = failing;
    ask(&first, "db.x");
    CHECK_STR(first.got, "waits");
    run_to(20000);
    CHECK_STR(first.got, "10.0.0.7 at 10000");
    ask(&first, "db.x");
    CHECK_STR(first.got, "now 10.0.0.7");                              /* for 30 s more */
    run_to(40000);
    earth.lines = NULL;                                                /* silence */
    ask(&first, "db.x");
    run_to(42000);
    CHECK_STR(first.got, "10.0.0.7 at 41800");
    ask(&first, "db.x");
    CHECK_STR(first.got, "now 10.0.0.7");
    run_to(80000);
    earth.lines = late;                                                /* comes after the old one has been used */
    ask(&first, "db.x");
    run_to(83000);
    CHECK_STR(first.got, "10.0.0.7 at 81800");
    ask(&first, "db.x");
    CHECK_STR(first.got, "now 10.0.0.8");
    run_to(100000);
    earth.lines = absent;                                              /* that is an answer: what was known is wrong */
    ask(&first, "db.x");
    run_to(110000);
    CHECK_STR(first.got, "(db.x does not exist, says name server 10.0.0.1) at 100000");
    earth.lines = failing;
    ask(&first, "db.x");
    run_to(120000);
    CHECK_STR(first.got, "(db.x could not be looked up: name server 10.0.0.1 answered SERVFAIL) at 110000");
    close_earth();
}

TEST(an_expired_answer_is_used_for_a_day)
{
    static const line good[] = {{NULL, NULL, 0, 0, 0, "TTL=10 10.0.0.7"}, {0}};
    open_earth(good);
    ask(&first, "db.x");
    run_to(86400000 + 9000);
    earth.lines = NULL;
    ask(&first, "db.x");
    CHECK_STR(first.got, "waits");
    run_to(86400000 + 12000);
    CHECK_STR(first.got, "(db.x could not be looked up: name server 10.0.0.1 did not answer) at 86411400");
    close_earth();
}

static int names_held(const aioc_dns *resolver)
{
    const aioc_dns_name *name;
    int count = 0;
    for (name = resolver->first; name; name = name->next) count++;
    return count;
}

TEST(the_cache_holds_64_names_and_forgets_the_least_used)
{
    static const line lines[] = {{NULL, NULL, 0, 0, 0, "TTL=300 10.0.0.7"}, {0}};
    char name[32];
    int i;
    open_earth(lines);
    for (i = 0; i < 64; i++) {
        snprintf(name, sizeof name, "n%d.x", i);
        CHECK_INT(ask(&first, name), AIOC_DNS_LATER);
        run_to(10);
    }
    CHECK_INT(names_held(&earth.resolver), 64);
    CHECK_INT(ask(&first, "n0.x"), 0);                         /* used: n1 is the oldest now */
    CHECK_INT(ask(&first, "new.x"), AIOC_DNS_LATER);
    run_to(20);
    CHECK_INT(names_held(&earth.resolver), 64);
    CHECK_INT(ask(&first, "n0.x"), 0);
    CHECK_INT(ask(&first, "n2.x"), 0);
    CHECK_INT(ask(&first, "n1.x"), AIOC_DNS_LATER);
    run_to(30);
    close_earth();
}

TEST(more_than_64_look_ups_at_once_are_refused)
{
    static asker askers[65];
    char name[32];
    int i;
    open_earth(NULL);
    for (i = 0; i < 65; i++) {
        snprintf(name, sizeof name, "n%d.x", i);
        CHECK_INT(ask(&askers[i], name), i < 64 ? AIOC_DNS_LATER : AIOCOSMOS_E_DNS);
    }
    CHECK_STR(askers[64].got, "now (\"n64.x\" could not be looked up: too many other names are)");
    run_to(5000);
    for (i = 0; i < 64; i++) CHECK_INT(askers[i].told, 1);
    close_earth();
}

/*--- The host's hook --------------------------------------------------------*/

typedef struct host_hook {
    int calls, answer;                                                 /* answer: addresses given at once; -1: later */
    uint64_t question;
    char host[300];
} host_hook;

static int hook_answer(host_hook *hook, int count)
{
    aiocosmos_address addresses[20];
    int i;
    memset(addresses, 0, sizeof addresses);
    for (i = 0; i < count; i++) {
        addresses[i].family = 4;
        addresses[i].ip[0] = 9;
        addresses[i].ip[3] = (uint8_t)(i + 1);
        addresses[i].port = 1;
    }
    return aioc_dns_answer(&earth.resolver, hook->question, addresses, (size_t)count, 10);
}

static void hook_ask(void *user, const char *host, uint64_t question)
{
    host_hook *hook = user;
    hook->calls++;
    hook->question = question;
    snprintf(hook->host, sizeof hook->host, "%s", host);
    if (hook->answer >= 0) CHECK_INT(hook_answer(hook, hook->answer), 0);
}

static host_hook with_hook(int answer)
{
    host_hook hook;
    memset(&hook, 0, sizeof hook);
    open_earth(NULL);
    net.hosts = "10.0.0.1 db.x\n";
    hook.answer = answer;
    return hook;
}

TEST(the_hook_answers_at_once_or_later)
{
    host_hook hook = with_hook(2);
    earth.resolver.ask = hook_ask;
    earth.resolver.ask_user = &hook;
    ask(&first, "db.X");
    CHECK_STR(first.got, "waits");
    CHECK_INT(hook.calls, 0);
    run_to(1);
    CHECK_STR(first.got, "9.0.0.1 9.0.0.2 at 0");
    CHECK_STR(hook.host, "db.x");
    ask(&first, "db.x");
    CHECK_STR(first.got, "now 9.0.0.1 9.0.0.2");
    CHECK_INT(hook_answer(&hook, 1), AIOCOSMOS_E_ARGUMENT);            /* answered already */
    run_to(10000);
    hook.answer = -1;
    ask(&first, "db.x");
    ask(&second, "db.x");
    run_to(11000);
    CHECK_INT(first.told, 0);
    CHECK_INT(hook.calls, 2);
    CHECK_INT(hook_answer(&hook, 20), 0);
    CHECK_INT(first.told, 0);                                          /* who waits asks when it sees that */
    CHECK_INT(hook_answer(&hook, 1), AIOCOSMOS_E_ARGUMENT);
    run_to(11001);
    CHECK_INT(first.told + second.told, 2);
    CHECK_MEM(first.got, "9.0.0.1 9.0.0.2 ", 16);
    CHECK_INT(earth.resolver.first->count, AIOC_DNS_ADDRESSES_MAX);
    CHECK_INT(earth.resolver.first->addresses[0].port, 0);
    CHECK_INT(net.count + net.files_read, 0);
    ask(&first, "localhost");
    CHECK_STR(first.got, "now ::1 127.0.0.1");
    close_earth();
}

TEST(the_hook_may_know_nothing_or_say_nothing)
{
    host_hook hook = with_hook(0);
    aiocosmos_address odd;
    earth.resolver.ask = hook_ask;
    earth.resolver.ask_user = &hook;
    ask(&first, "db.x");
    run_to(1);
    CHECK_STR(first.got, "(db.x does not exist, says the host's resolver) at 0");
    CHECK_INT(ask(&first, "db.x"), AIOCOSMOS_E_DNS);
    hook.answer = -1;
    ask(&first, "other.x");
    run_to(29999);
    CHECK_INT(first.told, 0);
    memset(&odd, 0, sizeof odd);
    CHECK_INT(aioc_dns_answer(&earth.resolver, hook.question, &odd, 1, 1), AIOCOSMOS_E_ARGUMENT);
    CHECK_INT(aioc_dns_answer(&earth.resolver, hook.question + 1, NULL, 0, 1), AIOCOSMOS_E_ARGUMENT);
    CHECK_INT(aioc_dns_answer(&earth.resolver, 0, NULL, 0, 1), AIOCOSMOS_E_ARGUMENT);
    run_to(40000);
    CHECK_STR(first.got, "(other.x could not be looked up: the host's resolver did not answer) at 30001");
    CHECK_INT(hook_answer(&hook, 1), AIOCOSMOS_E_ARGUMENT);
    close_earth();
}

TEST(an_expired_answer_of_a_silent_hook_is_used)
{
    host_hook hook = with_hook(1);
    earth.resolver.ask = hook_ask;
    earth.resolver.ask_user = &hook;
    ask(&first, "db.x");
    run_to(10000);
    hook.answer = -1;
    ask(&first, "db.x");
    run_to(20000);
    CHECK_STR(first.got, "9.0.0.1 at 11800");
    CHECK_INT(hook_answer(&hook, 2), 0);
    ask(&second, "db.x");
    CHECK_STR(second.got, "now 9.0.0.1 9.0.0.2");
    run_to(20001);
    CHECK_INT(first.told, 1);
    close_earth();
}

/*--- Failure everywhere -----------------------------------------------------*/

static const line eventful[] = {{"10.0.0.1", NULL, A, 'u', 10, "SERVFAIL"}, {NULL, "a.x", 0, 'u', 10, "->b.x"},
                                {NULL, "b.x", A, 'u', 10, "TC"}, {NULL, "b.x", A, 't', 10, "10.0.0.7"},
                                {NULL, "b.x", AAAA, 'u', 10, "TC"}, {NULL, "b.x", AAAA, 't', 10, "CLOSE"}, {0}};
static const char eventful_config[] = "nameserver 10.0.0.1\nnameserver 10.0.0.2\n";

TEST(without_memory_a_look_up_fails_and_the_next_succeeds)
{
    unsigned long n;
    int refused = 0, failed = 0;
    CHECK_MEM(resolve(eventful_config, eventful, "a.x"), "10.0.0.7 at ", 12);
    for (n = 0; n < 200; n++) {
        int result;
        open_earth(eventful);
        net.config = eventful_config;
        heap_fail(&earth.heap, n + 1, ULONG_MAX);
        result = ask(&first, "a.x");
        if (result == AIOC_DNS_LATER) {
            run_to(20000);
            CHECK_INT(first.told, 1);
            failed += first.got[0] == '(';
        } else {
            CHECK_INT(result, AIOCOSMOS_E_NOMEM);
            CHECK_STR(first.got, "now (\"a.x\" could not be looked up: out of memory)");
            refused++;
        }
        if (earth.heap.failed == 0) break;                         /* it never ran out */
        heap_recover(&earth.heap);
        run_to(40000);
        if (first.got[0] == '(' || result < 0) {
            CHECK_INT(ask(&first, "a.x"), AIOC_DNS_LATER);
            run_to(60000);
            CHECK_MEM(first.got, "10.0.0.7 at ", 12);
        }
        close_earth();
    }
    CHECK(n > 8 && n < 200 && refused >= 3 && failed >= 2);
    close_earth();
}

/* Each allocation behind ask fails, and only that one: what is left to try is tried. */
TEST(one_failed_allocation_on_the_wire_is_survived)
{
    unsigned long n;
    for (n = 1; n < 100; n++) {
        bool survived;
        open_earth(eventful);
        net.config = eventful_config;
        CHECK_INT(ask(&first, "a.x"), AIOC_DNS_LATER);
        heap_fail(&earth.heap, n, 1);
        run_to(20000);
        CHECK_INT(first.told, 1);
        survived = first.got[0] != '(';
        CHECK_INT(survived, n > 1);                                    /* the first is to read resolv.conf */
        CHECK(survived || strcmp(first.got, "(a.x could not be looked up: out of memory) at 0") == 0);
        close_earth();
        if (earth.heap.failed == 0) break;
    }
    CHECK(n > 8 && n < 100);
}

/* The nth call of each kind fails, alone or with all behind it: the look-up ends, and the next one succeeds. */
TEST(every_call_to_the_system_may_fail_in_a_look_up)
{
    unsigned long n, last;
    int call, error, on, failed = 0;
    for (call = 0; call < CALLS; call++) {
        for (error = 0; error < (int)COUNT(shaky_errors) * 2; error++) {
            if (shaky_errors[error / 2] == AIOCOSMOS_IO_AGAIN) continue;       /* what is ready and says so is ready again */
            if (call == CALL_WAIT) continue;                           /* is for the reactor to tell */
            on = error % 2;
            for (n = 1, last = 1; n <= last && n < 40; n++) {
                int result;
                open_earth(eventful);
                net.config = eventful_config;
                shaky_fail(call, n, on, shaky_errors[error / 2]);
                result = ask(&first, "a.x");
                if (result == AIOC_DNS_LATER) run_to(60000);
                if (result == AIOC_DNS_LATER) CHECK_INT(first.told, 1);
                last = shaky.calls[call];
                failed += first.got[0] == '(';
                shaky_recover();
                net.now_us += 60000000;
                CHECK_INT(ask(&second, "a.x"), AIOC_DNS_LATER);
                run_to(180000);
                CHECK_MEM(second.got, "10.0.0.7 at ", 12);
                close_earth();
            }
        }
    }
    CHECK(failed > 10);
}

TEST(it_may_be_closed_at_any_moment)
{
    int steps, after;
    for (steps = 0; steps < 200; steps++) {
        open_earth(eventful);
        net.config = eventful_config;
        net.send_max = net.receive_max = 7;
        ask(&first, "a.x");
        for (after = 0; after < steps && first.told == 0; after++) {
            if (!step()) net.now_us += 1000;
        }
        close_earth();
        if (first.told) break;
    }
    CHECK(steps > 20 && steps < 200);
}

/*--- Real sockets -----------------------------------------------------------*/

/* The system's own platform, except that port 53 of any server is a socket of ours and the files are given. */
typedef struct loopback {
    aiocosmos_platform platform;
    int udp, tcp, accepted[8], accepted_count;
    uint16_t port;
    int truncated, streams;
} loopback;

static int loopback_open(void *user_data, intptr_t *out, bool datagram, const aiocosmos_address *peer)
{
    loopback *l = user_data;
    aiocosmos_address moved = *peer;
    moved.port = l->port;
    return aioc_platform_system.socket_open(NULL, out, datagram, &moved);
}

static ptrdiff_t loopback_name_servers(void *user_data, void *out, size_t cap)
{
    static const char text[] = "nameserver 127.0.0.1\n";
    (void)user_data;
    CHECK(cap >= sizeof text);
    memcpy(out, text, sizeof text - 1);
    return (ptrdiff_t)sizeof text - 1;
}

/* The same free port for UDP and TCP. False: there was none in ten tries. */
static bool loopback_bind(loopback *l)
{
    int tries;
    for (tries = 0; tries < 10; tries++) {
        struct sockaddr_in in;
        socklen_t len = sizeof in;
        memset(&in, 0, sizeof in);
        in.sin_family = AF_INET;
        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        l->udp = socket(AF_INET, SOCK_DGRAM, 0);
        l->tcp = socket(AF_INET, SOCK_STREAM, 0);
        if (bind(l->udp, (struct sockaddr *)&in, len) == 0 && getsockname(l->udp, (struct sockaddr *)&in, &len) == 0 &&
            bind(l->tcp, (struct sockaddr *)&in, len) == 0 && listen(l->tcp, 4) == 0) {
            l->port = ntohs(in.sin_port);
            return fcntl(l->udp, F_SETFL, O_NONBLOCK) == 0 && fcntl(l->tcp, F_SETFL, O_NONBLOCK) == 0;
        }
        close(l->udp);
        close(l->tcp);
    }
    return false;
}

/* Answers whatever waits: truncated over UDP, whole over TCP. Never blocks. */
static void loopback_serve_stream(loopback *l, int stream)
{
    unsigned char question[600];
    ssize_t got = recv(stream, question, sizeof question, MSG_DONTWAIT);
    message m, framed;
    unsigned type;
    if (got <= 0) return;                                              /* not yet, or it has its answer */
    CHECK(got > 18 && aioc_text_load16be(question) == (unsigned)got - 2);
    type = aioc_text_load16be(question + got - 4);
    begin_answer(&m, aioc_text_load16be(question + 2), "db.x", type, 0);
    put_address(&m, "db.x", 60, type == A ? "10.0.0.7" : "2001:db8::7");
    memset(&framed, 0, sizeof framed);
    put16(&framed, (unsigned)m.len);
    put(&framed, m.bytes, m.len);
    CHECK_INT(send(stream, framed.bytes, framed.len, 0), framed.len);
    l->streams++;
}

static void loopback_serve(loopback *l)
{
    unsigned char question[600];
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    ssize_t got;
    message m;
    int i;
    while ((got = recvfrom(l->udp, question, sizeof question, 0, (struct sockaddr *)&from, &len)) > 0) {
        begin_answer(&m, aioc_text_load16be(question), "db.x", aioc_text_load16be(question + got - 4), 0);
        m.bytes[2] |= 2;
        CHECK_INT(sendto(l->udp, m.bytes, m.len, 0, (struct sockaddr *)&from, len), m.len);
        l->truncated++;
    }
    while (l->accepted_count < 8 && (i = accept(l->tcp, NULL, NULL)) >= 0) l->accepted[l->accepted_count++] = i;
    for (i = 0; i < l->accepted_count; i++) loopback_serve_stream(l, l->accepted[i]);
}

static void loopback_resolve(loopback *l, bool serve, char text[400])
{
    aioc_reactor reactor;
    aioc_mem memory;
    aioc_dns resolver;
    aiocosmos_allocator allocator;
    aioc_dns_found answer;
    int turns;
    l->platform = aioc_platform_system;
    l->platform.user_data = l;
    l->platform.socket_open = loopback_open;
    l->platform.name_servers = loopback_name_servers;
    aioc_mem_init(&memory, NULL, 1 << 20);
    allocator = aioc_mem_allocator(&memory);
    CHECK_INT(aioc_reactor_open(&reactor, &l->platform, &allocator), 0);
    aioc_dns_open(&resolver, &reactor, &memory, NULL, NULL);
    CHECK_INT(aioc_dns_ask(&resolver, "db.x", &answer), AIOC_DNS_LATER);
    for (turns = 0; turns < 2000 && resolver.answered == 0; turns++) {
        aioc_reactor_tick(&reactor);
        while (aioc_reactor_timer_run_one(&reactor)) continue;
        aioc_reactor_poll(&reactor, 5);
        while (aioc_reactor_dispatch_one(&reactor)) continue;
        if (serve) loopback_serve(l);
    }
    CHECK(aioc_dns_ask(&resolver, "db.x", &answer) != AIOC_DNS_LATER);
    print_addresses(text, 400, answer.addresses, answer.count);
    if (answer.error) snprintf(text, 400, "(%s)", answer.error);
    aioc_dns_close(&resolver);
    CHECK_INT(reactor.source_count, 0);
    aioc_reactor_close(&reactor);
    aioc_mem_close(&memory);
}

TEST(real_sockets_truncated_then_tcp_then_nobody)
{
    loopback l;
    char text[400];
    memset(&l, 0, sizeof l);
    if (!loopback_bind(&l)) SKIP("no port is free for both UDP and TCP");
    loopback_resolve(&l, true, text);
    CHECK_STR(text, "2001:db8::7 10.0.0.7");
    CHECK_INT(l.truncated, 2);
    CHECK_INT(l.streams, 2);
    while (l.accepted_count > 0) close(l.accepted[--l.accepted_count]);
    close(l.udp);
    close(l.tcp);
    loopback_resolve(&l, false, text);                                 /* the kernel says so at once */
    CHECK_STR(text, "(db.x could not be looked up: name server 127.0.0.1 refused: nobody listens there)");
}
