#pragma once
// Addresses and store URLs, checked and brought into one form.
#include "config/report.h"

enum address_use {
    ADDRESS_LISTEN, // port 0 asks the kernel for a free one
    ADDRESS_STORE,  // a missing port is 6379
};

// "host:port", "[v6]:port" or "unix:/path". Returns 0 with the canonical form in `out`, or
// WEIR_EMALFORMED with the reason.
int address_parse(const char *text, enum address_use use, char out[CONFIG_TEXT],
                  char reason[CONFIG_REASON]);

// redis://[user[:password]@]host[:port][/db]   unix:/path   unix://[user[:password]@]/path[?db=N]
// User and password are percent-decoded. The reason never repeats what may hold a password.
int store_url_parse(const char *text, struct config_store *out, char reason[CONFIG_REASON]);
enum store_shown { STORE_NAME, STORE_MASKED, STORE_REVEALED }; // without password, "***", as it is
void store_url_print(const struct config_store *store, enum store_shown shown, struct print *text);
