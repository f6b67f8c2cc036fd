#pragma once
// What session.c and session_reply.c share: a private connection, and the steps of its life.
#include "proxy/session.h"
#include "proxy/subscription.h"

enum quota { QUOTA_NONE, QUOTA_BLOCKING, QUOTA_TRANSACTIONS };

struct session {
    struct loop_fd io;
    struct worker *worker;
    struct client *client; // NULL in the pool
    struct node *node;
    struct session *next, *dirty_next;
    struct buf out, held;
    struct resp_scan scan;
    uint64_t idle_since_ns, deadline_ns;
    uint64_t outstanding;             // requests sent, replies not yet complete
    uint64_t ready;                   // complete replies in `held`
    uint64_t covered_ready;           // of them, within `covered`
    size_t covered;                   // bytes of `held` that the fence under way covers
    struct request *fence;            // under way
    struct subscription subscription; // looked at while `subscribed`
    enum quota quota;
    uint32_t swallow; // replies to weir's own first words
    uint8_t protocol, db, multi_db;
    bool connecting, dirty, reading, fencing, refused;
    bool in_multi, watching, subscribed, monitoring, blocking, reask, unclean;
    bool multi_selects, multi_subscribes; // queued in MULTI: SELECT multi_db, SUBSCRIBE
    bool exec_selects;   // the reply of EXEC, which is the last to come, decides on multi_db
    bool flushes;        // keys change that no invalidation names (SWAPDB)
    bool skipping;       // the next reply is not for the client (CLIENT REPLY SKIP)
    size_t skipped;      // bytes of such a reply at the head of `held`
    bool frame_open;     // a reply has begun and not ended
    bool frame_released; // its beginning has been given to the client
    bool started;        // something of the present replies has been given to the client
    bool broken;         // the connection has gone, whole replies still wait for their fence
};

void session_end_if_done(struct session *session);
void session_lost(struct session *session, const char *why);
void session_mark_dirty(struct session *session);
void session_probed(struct session *session);
void session_ready(struct loop_fd *io, uint32_t events);
void session_set_events(struct session *session, uint32_t events);
