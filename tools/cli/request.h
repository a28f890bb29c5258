/* request.h: one request, and the keys of items. */
#ifndef CLI_REQUEST_H
#define CLI_REQUEST_H

#include "tool.h"

#include <poll.h>

enum {
    KEY_LEVELS = 3,
    FDS_MAX = CONCURRENCY_MAX + 64         /* that a client has */
};

/* Returns the exit status. */
typedef int (*use_fn)(tool *t, const aiocosmos_result *result, void *user_data);

/* Sends a request and waits; what comes back goes to `use`, failures to stderr. Returns the exit status. */
int perform(tool *t, const aiocosmos_request *request, use_fn use, void *user_data);
/* What goes to stdout is JSON: an answer that is not is an error. */
int print_answer(tool *t, const aiocosmos_result *result, void *user_data);
int perform_and_print(tool *t, const aiocosmos_request *request);

/* What a client waits for, into room for FDS_MAX. */
size_t list_fds(aiocosmos_client *client, struct pollfd *out);

/* The values of --param, which the tool keeps. False: said what is wrong. */
bool params_of(tool *t, aiocosmos_query_request *request);
/* A query and the condition of --where, if one is given; to be freed. NULL: said why. */
char *sql_where(tool *t, const char *select);

bool pk_of_option(tool *t, aiocosmos_pk *pk);
/* The key of a document. Unset: there is none, and the client's last error says why. */
aiocosmos_pk pk_of_document(tool *t, aiocosmos_str text);
/* The name of a property that the service adds. */
bool is_system(aiocosmos_json name);
bool is_set(const aiocosmos_pk *pk);
/* The definition of the container holds a partition key that cannot be. Returns the exit status. */
int say_unknown_key(tool *t);
/* Makes known to the client by what the container places its items. */
int read_definition(tool *t);

#endif
