#pragma once
// What `weir serve` says when it is up.
#include "cli/private_store.h"
#include "proxy/proxy.h"
#include <stdio.h>

// `store` is NULL when it is not weir's own.
void banner_print(FILE *out, struct proxy *proxy, const struct config *config,
                  const struct private_store *store);
