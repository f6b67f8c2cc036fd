#pragma once
// The command table: Redis 7.0's own, generated from a server's COMMAND reply by
// tools/gen_commands.py into wire/command_table.inc, with weir's classification beside it
// (wire/command.c holds that part by hand).
#include "base/slice.h"
#include "wire/resp.h"

enum command_flag {
    COMMAND_WRITE = 1 << 0, // the server's flag
    COMMAND_READONLY = 1 << 1,
    COMMAND_BLOCKING = 1 << 2,
    COMMAND_MOVABLE_KEYS = 1 << 3,
    COMMAND_ADMIN = 1 << 4,
    COMMAND_PUBSUB = 1 << 5,
    COMMAND_NOSCRIPT = 1 << 6,
    COMMAND_LOADING = 1 << 7,
    COMMAND_FAST = 1 << 8,
    COMMAND_NO_AUTH = 1 << 9, // may be sent before authentication
    // weir's own
    COMMAND_CACHEABLE = 1 << 16,   // a reply may enter the near cache; every change of it pushes
    COMMAND_FLUSH = 1 << 17,       // changes keys it does not name: FLUSHALL, FLUSHDB, SWAPDB
    COMMAND_HASH_FIELDS = 1 << 18, // cached only where hash fields can't expire on their own
};

// Who answers.
enum command_route {
    ROUTE_LANE,    // shared connection: bounded work and reply, keys at known places or keyless
    ROUTE_PRIVATE, // a private connection for this one command (scripts, KEYS, SORT, admin, …)
    ROUTE_SESSION, // a private connection that is kept: MULTI, WATCH, SUBSCRIBE, MONITOR, …
    ROUTE_LOCAL,   // weir: HELLO, AUTH, CLIENT, SELECT, RESET, QUIT, WEIR, …
};

enum command_id {
    COMMAND_UNKNOWN = 0,
#define COMMAND(id, ...) COMMAND_##id,
#include "wire/command_ids.inc" // generated: COMMAND(GET, "get") … top-level commands only
#undef COMMAND
    COMMAND_COUNT
};

struct command {
    const char *name; // lower case
    enum command_id id;
    int16_t arity;                         // as Redis: negative means at least
    int16_t first_key, last_key, key_step; // as COMMAND INFO: 0 when there are none at fixed places
    uint32_t flags;
    enum command_route route;
    enum resp2_shape shape;
};

// The command of this name in any letter case, or the entry of COMMAND_UNKNOWN (route PRIVATE,
// flags COMMAND_WRITE: what isn't known may write). Never NULL. A few nanoseconds.
const struct command *command_find(struct slice name);
const struct command *command_by_id(enum command_id id);

// The shape of this request's reply: command->shape, except where the arguments decide (LPOP with a
// count, …).
enum resp2_shape command_shape(const struct command *command, const struct resp_request *request);

// Calls `key` for each key of the request, in order, by the table's positions or, for commands with
// movable keys (ZUNIONSTORE, XREADGROUP, LMPOP, EVAL, SORT … STORE, …), by their own rule. Returns
// the number of keys, or WEIR_EMALFORMED when the arguments do not fit the command (it is then the
// store's to refuse).
int command_keys(const struct command *command, const struct resp_request *request,
                 void (*key)(void *context, struct slice key), void *context);
