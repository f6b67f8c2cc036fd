#pragma once
// What a private connection with subscriptions says, told apart without matching replies to requests:
// how many subscriptions the last acknowledgement left, and where the answers to an UNSUBSCRIBE end.
//
// One UNSUBSCRIBE has any number of acknowledgements. So a PING with a token of weir's own goes behind
// it: its reply, never shown to the client, says that all of them have come.
#include "base/slice.h"

enum { SUBSCRIPTION_HEAD = 128, SUBSCRIPTION_TOKEN = 16, SUBSCRIPTION_PING = 64 };

struct subscription {
    bool probing;          // the PING is under way
    bool channels, shards; // the last acknowledgements left some
    uint8_t kept;          // bytes in `head`
    uint8_t withheld;      // of them, not yet shown: they may begin the reply to the PING
    uint8_t head[SUBSCRIPTION_HEAD]; // the first bytes of the present frame
    uint8_t tail[5];                 // and its last
    uint8_t token[SUBSCRIPTION_TOKEN];
};

enum subscription_part {
    SUBSCRIPTION_SHOW,     // *before, then this part
    SUBSCRIPTION_WITHHOLD, // nothing yet
    SUBSCRIPTION_PROBED,   // the frame was the reply to the PING
};

// Composes the PING and begins to look for its reply. Returns its size.
size_t subscription_probe(struct subscription *sub, uint64_t random, uint8_t out[SUBSCRIPTION_PING]);
// The next bytes of a frame, of which `frame_bytes` have come with them; `done` says it is complete.
enum subscription_part subscription_take(struct subscription *sub, struct slice part,
                                         uint64_t frame_bytes, bool done, struct slice *before);
