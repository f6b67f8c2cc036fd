#pragma once
// DNS rebinding: a hostile page whose name resolves to 127.0.0.1 can make a browser ask our port,
// but the Host header then carries that page's name. So a listener on loopback answers only to
// loopback's own names.
#include "loop/net.h"

// Is this a listener to which the rule applies?
bool host_is_loopback(const struct net_address *listener);
// `host` is the header's value, or NULL when there is none (no browser leaves it out).
bool host_allowed(const struct net_address *listener, const char *host);
