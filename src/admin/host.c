#include "admin/host.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

bool host_is_loopback(const struct net_address *listener)
{
    return !listener->is_unix &&
           (strncmp(listener->host, "127.", 4) == 0 || strcmp(listener->host, "::1") == 0 ||
            strcasecmp(listener->host, "localhost") == 0);
}

static bool matches(const char *host, const char *name, uint16_t port)
{
    bool v6 = strchr(name, ':') != NULL;
    char expected[NET_ADDRESS_TEXT + 16];
    snprintf(expected, sizeof expected, v6 ? "[%s]:%u" : "%s:%u", name, port);
    if (strcasecmp(host, expected) == 0)
        return true;
    snprintf(expected, sizeof expected, v6 ? "[%s]" : "%s", name);
    return port == 80 && strcasecmp(host, expected) == 0; // clients leave http's own port out
}

bool host_allowed(const struct net_address *listener, const char *host)
{
    if (!host || !host_is_loopback(listener))
        return true;
    return matches(host, "localhost", listener->port) ||
           matches(host, "127.0.0.1", listener->port) || matches(host, "::1", listener->port) ||
           matches(host, listener->host, listener->port);
}
