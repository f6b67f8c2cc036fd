#include "proxy/subscription.h"
#include <stdio.h>

size_t subscription_probe(struct subscription *sub, uint64_t random, uint8_t out[SUBSCRIPTION_PING])
{
    char token[SUBSCRIPTION_TOKEN + 1];
    snprintf(token, sizeof token, "%016llx", (unsigned long long)random);
    memcpy(sub->token, token, SUBSCRIPTION_TOKEN);
    sub->probing = true;
    return (size_t)snprintf((char *)out, SUBSCRIPTION_PING, "*2\r\n$4\r\nPING\r\n$16\r\n%s\r\n", token);
}

static void keep(struct subscription *sub, struct slice part)
{
    size_t room = SUBSCRIPTION_HEAD - (size_t)sub->kept;
    size_t n = part.size < room ? part.size : room;
    memcpy(sub->head + sub->kept, part.data, n);
    sub->kept = (uint8_t)(sub->kept + n);
    size_t last = part.size < sizeof sub->tail ? part.size : sizeof sub->tail;
    memmove(sub->tail, sub->tail + last, sizeof sub->tail - last);
    memcpy(sub->tail + sizeof sub->tail - last, part.data + part.size - last, last);
}

// "$16 token", or while subscriptions last, in RESP2, [pong, token].
static bool is_probe_reply(const struct subscription *sub)
{
    size_t size = SUBSCRIPTION_TOKEN + 2;
    return sub->kept >= size && memcmp(sub->head + sub->kept - size, sub->token, size - 2) == 0;
}

// An acknowledgement, [kind, channel, subscriptions left], as an array or as a push.
static void note(struct subscription *sub)
{
    static const struct {
        struct slice kind;
        bool shard;
    } kinds[] = {
        {SLICE("3\r\n$9\r\nsubscribe\r\n"), false},     {SLICE("3\r\n$10\r\npsubscribe\r\n"), false},
        {SLICE("3\r\n$11\r\nunsubscribe\r\n"), false},  {SLICE("3\r\n$12\r\npunsubscribe\r\n"), false},
        {SLICE("3\r\n$10\r\nssubscribe\r\n"), true},    {SLICE("3\r\n$12\r\nsunsubscribe\r\n"), true},
    };
    bool left = memcmp(sub->tail, "\n:0\r\n", sizeof sub->tail) != 0;
    if (sub->kept == 0 || (sub->head[0] != '*' && sub->head[0] != '>'))
        return;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!slice_starts(slice_of(sub->head + 1, sub->kept - 1u), kinds[i].kind))
            continue;
        if (kinds[i].shard)
            sub->shards = left;
        else
            sub->channels = left;
    }
}

enum subscription_part subscription_take(struct subscription *sub, struct slice part,
                                         uint64_t frame_bytes, bool done, struct slice *before)
{
    uint64_t start = frame_bytes - part.size;
    if (start == 0)
        sub->kept = sub->withheld = 0;
    keep(sub, part);
    bool hidden = sub->withheld == start; // nothing of it has been shown
    if (sub->probing && hidden && frame_bytes <= SUBSCRIPTION_HEAD) {
        if (!done) {
            sub->withheld = sub->kept;
            return SUBSCRIPTION_WITHHOLD;
        }
        if (is_probe_reply(sub)) {
            sub->probing = false;
            sub->withheld = 0;
            return SUBSCRIPTION_PROBED;
        }
    }
    *before = slice_of(sub->head, sub->withheld);
    sub->withheld = 0;
    if (done)
        note(sub);
    return SUBSCRIPTION_SHOW;
}
