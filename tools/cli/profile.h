/* profile.h: accounts by a name, kept in the user's config directory. */
#ifndef CLI_PROFILE_H
#define CLI_PROFILE_H

#include "tool.h"

enum { PROFILE_BYTES = 4096 };

/* The connection string of a profile. False: said why there is none. */
bool read_profile(tool *t, const char *name, char *out, size_t cap);

/* Whether an endpoint is on this machine, where emulators are. */
bool is_local(const char *endpoint);

/* A file in the config directory, which is made for nobody else. False: there is no such place. */
bool config_file(tool *t, const char *name, char *out, size_t cap);

int profile_list(tool *t);
int profile_add(tool *t);
int profile_delete(tool *t);

#endif
