#pragma once
// The HTTP side: the page, /metrics, health and the JSON behind the page. Read-only. It has threads
// of its own and asks the proxy only through proxy/proxy.h's reports, so nothing here can slow a
// client's request by more than such a report does.
//
//   GET /               the page (with /page.css, /page.js, /icon.svg)
//   GET /metrics        Prometheus text
//   GET /healthz        200 while the process serves
//   GET /readyz         200, or 503 with what is missing
//   GET /api/stats      everything, as JSON; ?since=SEQ leaves out older seconds of the history
//   GET /api/slowlog    the last slow requests, newest first
//   GET /api/config     directives and values in force, passwords hidden
//
// Memory is fixed at start but for one JSON tree at a time, bounded by what it shows.
#include "config/config.h"

struct admin;
struct proxy;

// `address`: "host:port", "unix:/path", or "off" (then *out is NULL and all is well). Borrows the
// proxy, which must outlive it. On failure *out is untouched and `error` says what to do.
int admin_start(struct admin **out, struct proxy *proxy, const char *address,
                char error[CONFIG_ERROR]);
// Closes its connections and waits for its threads. *admin may be NULL.
void admin_stop(struct admin **admin);
