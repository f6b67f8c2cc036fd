#pragma once
// Listening sockets: one thread accepts and hands each connection to the thread with the fewest
// clients, so that a few connections spread as evenly as many.
#include "config/config.h"
#include "loop/loop.h"

struct proxy;
struct worker;

struct listener {
    struct loop_fd io;
    struct worker *worker;
    char address[CONFIG_TEXT];
    bool is_unix, loopback;
};

// Opens the socket; `error` says what to do when it can't.
int listener_open(struct listener *listener, const struct config *config, const char *address,
                  char error[CONFIG_ERROR]);
int listener_start(struct listener *listener, struct worker *worker);
void listener_close(struct listener *listener);
