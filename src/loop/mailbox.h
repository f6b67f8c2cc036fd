#pragma once
// Messages between threads: many senders, one receiver, no lock. A message is embedded in what is
// sent; sending it gives it away.
//   sender (own thread)   outbox_put × n, then outbox_flush: one exchange and at most one wake-up
//   receiver              mailbox_take: everything sent so far, oldest first per sender
#include "loop/loop.h"
#include <stdatomic.h>
#include <stddef.h>

struct mail {
    struct mail *next;
    uint32_t kind; // the receiver's own enum
};

struct mailbox {
    _Atomic(struct mail *) head; // newest first
    struct loop *loop;           // of the receiver, woken when it sleeps
};

struct outbox { // one per (sender, receiver)
    struct mail *first, *last;
    struct mailbox *to;
    uint64_t woke;     // flushes that found the receiver asleep
    uint64_t flushed;  // flushes
};

void mailbox_init(struct mailbox *box, struct loop *loop);
struct mail *mailbox_take(struct mailbox *box); // a list in sending order, or NULL
bool mailbox_empty(const struct mailbox *box);
void outbox_init(struct outbox *out, struct mailbox *to);
void outbox_put(struct outbox *out, struct mail *mail);
// Returns whether the receiver slept and had to be woken.
bool outbox_flush(struct outbox *out);
