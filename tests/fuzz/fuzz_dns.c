/* Answers of name servers, hosts files and resolv.conf. */
#include "fuzz.h"

static void check_set(const aioc_dns_set *set, int family)
{
    size_t i;
    CHECK(set->count <= AIOC_DNS_FAMILY_MAX);
    for (i = 0; i < set->count; i++) CHECK_INT(set->addresses[i].family, family);
}

/* As it is, and with our id and question in front of it, so that what is behind is read. */
static void read_answer(aiocosmos_str bytes, bool ours, uint32_t type)
{
    aioc_dns_domain domain;
    aioc_dns_response response;
    unsigned char query[AIOC_DNS_QUERY_MAX];
    char *message;
    size_t len = bytes.len, question;
    aioc_dns_kind kind;
    CHECK(aioc_dns_domain_make(&domain, aioc_mem_str("a.example"), aioc_mem_str("")));
    question = aioc_dns_build_query(query, 0x3031, &domain, type);
    if (ours) {
        len = question + (bytes.len > 8 ? bytes.len - 8 : 0);
        message = (char *)malloc(len);
        memcpy(message, query, question);
        if (bytes.len) memcpy(message + 2, bytes.ptr, bytes.len < 2 ? bytes.len : 2);             /* flags */
        message[2] = (char)(((unsigned char)message[2] & 0x07u) | 0x80u);
        if (bytes.len > 2) memcpy(message + 6, bytes.ptr + 2, bytes.len < 8 ? bytes.len - 2 : 6);  /* counts */
        if (bytes.len > 8) memcpy(message + question, bytes.ptr + 8, bytes.len - 8);
    } else {
        message = fuzz_copy(bytes);
    }
    memset(&response, 0, sizeof response);
    response.ttl_s = UINT32_MAX;
    response.name = domain;
    kind = aioc_dns_parse_response(message, len, 0x3031, type, &response);
    check_set(&response.set, type == AIOC_DNS_A ? 4 : 6);
    CHECK(kind != AIOC_DNS_FOUND || response.set.count > 0);
    CHECK(kind != AIOC_DNS_FAILED || response.why);
    CHECK(!ours || kind != AIOC_DNS_FOREIGN);
    CHECK(response.chain <= AIOC_DNS_CHAIN_MAX + 1);
    CHECK(response.name.len > 0 && response.name.len <= sizeof response.name.labels);
    free(message);
}

static void read_files(aiocosmos_str text)
{
    aioc_dns_set six, four;
    aioc_dns_config config;
    aioc_dns_domain domain;
    unsigned index = 0, names = 0;
    memset(&six, 0, sizeof six);
    memset(&four, 0, sizeof four);
    memset(&config, 0, sizeof config);
    aioc_dns_parse_hosts(text, aioc_mem_str("a.example"), &six, &four);
    check_set(&six, 6);
    check_set(&four, 4);
    aioc_dns_parse_config(text, aiocosmos_system_platform(), &config);
    CHECK(config.server_count <= AIOC_DNS_SERVERS_MAX);
    while (aioc_dns_candidate(&config, aioc_mem_str("a"), &index, &domain)) CHECK(names++ <= AIOC_DNS_SEARCH_MAX);
}

/* A host that is accepted is a name that can be asked for, and no longer than one may be. */
static void read_host(aiocosmos_str text)
{
    char *host = fuzz_string(text);
    aioc_dns_domain domain;
    if (!aioc_dns_host_wrong(host) && aioc_dns_domain_make(&domain, aioc_mem_str(host), aioc_mem_str(""))) {
        unsigned char query[AIOC_DNS_QUERY_MAX];
        CHECK(aioc_dns_build_query(query, 1, &domain, AIOC_DNS_A) <= sizeof query);
    }
    aioc_dns_host_local(aioc_mem_str(host));
    free(host);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    unsigned what = fuzz_knob(&in) % 8;
    size_t len = in.len;
    char *copy = fuzz_copy(fuzz_rest(&in));
    aiocosmos_str text = aioc_text_view(copy, len);
    switch (what) {
    case 0: case 1: read_answer(text, true, what ? AIOC_DNS_A : AIOC_DNS_AAAA); break;
    case 2: read_answer(text, false, AIOC_DNS_A); break;
    case 3: read_host(text); break;
    default: read_files(text);
    }
    free(copy);
    return 0;
}
