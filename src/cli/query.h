#pragma once
// One question to a RESP server, asked and answered before the call returns. For the command line
// only: it waits.
#include <stddef.h>
#include <sys/types.h>

enum { QUERY_WAIT_MS = 5000 };

// Connects to an address of loop/net.h's form. Returns a descriptor or a negative code.
int query_connect(const char *address);
// Sends one command. The reply, a simple or bulk string, is put into `out` and terminated. Returns
// its size, WEIR_EPERM when the reply is an error (then `out` has its text), or another negative
// code.
ssize_t query_ask(int fd, unsigned count, const char *const arguments[], char *out, size_t room);
// Both, and close.
ssize_t query(const char *address, unsigned count, const char *const arguments[], char *out,
              size_t room);
