// Which arguments of a request are keys: by the table's positions, or by the rule of the command.
//
//     fixed     GET k   MSET k v k v   BLPOP k k 0            first_key, last_key, key_step
//     counted   EVAL s 2 k k a   ZUNION 2 k k   LMPOP 1 k     a number of keys and then the keys
//     stored    SORT k … STORE d   GEORADIUS k … STOREDIST d  an option names one more
//     streams   XREAD … STREAMS k k id id                     the first half of what follows
//     under     XGROUP CREATE k   OBJECT ENCODING k           a subcommand has the key behind it
//
// The rules are those of Redis's own getkeys functions, so that what weir takes for the keys of a
// well-formed command is what the server takes. Arguments are walked forwards, once.
#include "base/err.h"
#include "wire/command.h"

struct keys {
    const struct resp_request *request;
    void (*key)(void *context, struct slice key);
    void *context;
    size_t cursor;  // of resp_arg_next
    uint32_t index; // of the argument it gives next
};

// Argument `index`; calls must ask for rising ones. An empty slice if the frame is short.
static struct slice argument(struct keys *keys, uint32_t index)
{
    const struct resp_request *request = keys->request;
    if (index < RESP_ARGS && index < request->argc)
        return request->argv[index];
    struct slice arg = {NULL, 0};
    while (keys->index <= index) {
        if (!resp_arg_next(request->frame, &keys->cursor, &arg))
            return (struct slice){NULL, 0};
        keys->index++;
    }
    return arg;
}

static void found(struct keys *keys, uint32_t index)
{
    struct slice key = argument(keys, index);
    if (keys->key != NULL)
        keys->key(keys->context, key);
}

static int fixed_keys(struct keys *keys, const struct command *command)
{
    int64_t argc = keys->request->argc;
    int64_t last = command->last_key < 0 ? argc + command->last_key : command->last_key;
    if (command->first_key <= 0)
        return 0;
    if (last >= argc)
        return WEIR_EMALFORMED;
    int count = 0;
    for (int64_t at = command->first_key; at <= last; at += command->key_step, count++)
        found(keys, (uint32_t)at);
    return count;
}

// `first` (0 for none) is a key too: the destination that stands before the number. Scripts alone
// may have no keys.
static int counted_keys(struct keys *keys, uint32_t first, uint32_t number, int64_t least)
{
    uint32_t argc = keys->request->argc;
    int64_t count;
    if (slice_to_i64(argument(keys, number), &count) != 0 || count < least ||
        count > (int64_t)argc - number - 1)
        return WEIR_EMALFORMED;
    if (first > 0)
        found(keys, first);
    for (uint32_t i = 0; i < count; i++)
        found(keys, number + 1 + i);
    return (int)count + (first > 0);
}

// The key at 1 and each destination after STORE (or STOREDIST). The server writes to the last of
// them alone; one too many does no harm.
static int stored_keys(struct keys *keys, uint32_t options, bool sort)
{
    uint32_t argc = keys->request->argc;
    int count = 1;
    found(keys, 1);
    for (uint32_t at = options; at + 1 < argc; at++) {
        struct slice word = argument(keys, at);
        if (sort && slice_is(word, "limit")) {
            at += 2;
        } else if (sort && (slice_is(word, "get") || slice_is(word, "by"))) {
            at += 1;
        } else if (slice_is(word, "store") || (!sort && slice_is(word, "storedist"))) {
            found(keys, ++at);
            count++;
        }
    }
    return count;
}

static int stream_keys(struct keys *keys)
{
    uint32_t argc = keys->request->argc;
    for (uint32_t at = 1; at < argc; at++) {
        struct slice word = argument(keys, at);
        if (slice_is(word, "block") || slice_is(word, "count")) {
            at += 1;
        } else if (slice_is(word, "group")) {
            at += 2;
        } else if (slice_is(word, "streams")) {
            uint32_t names = argc - at - 1;
            if (names == 0 || names % 2 != 0)
                return WEIR_EMALFORMED;
            for (uint32_t i = 0; i < names / 2; i++)
                found(keys, at + 1 + i);
            return (int)(names / 2);
        } else if (!slice_is(word, "noack")) {
            return WEIR_EMALFORMED;
        }
    }
    return WEIR_EMALFORMED;
}

static int migrate_keys(struct keys *keys)
{
    uint32_t argc = keys->request->argc;
    struct slice single = argument(keys, 3);
    for (uint32_t at = 6; at < argc; at++) {
        struct slice word = argument(keys, at);
        if (slice_is(word, "auth")) {
            at += 1;
        } else if (slice_is(word, "auth2")) {
            at += 2;
        } else if (slice_is(word, "keys") && single.size == 0) {
            for (uint32_t i = at + 1; i < argc; i++)
                found(keys, i);
            return (int)(argc - at - 1);
        }
    }
    found(keys, 3);
    return 1;
}

// Containers whose subcommands take one key behind their name.
static int subcommand_keys(struct keys *keys, const char *const *subcommands)
{
    struct slice word = argument(keys, 1);
    for (; *subcommands != NULL; subcommands++) {
        if (!slice_is(word, *subcommands))
            continue;
        if (keys->request->argc < 3)
            return WEIR_EMALFORMED;
        found(keys, 2);
        return 1;
    }
    return 0;
}

static int own_rule(struct keys *keys, const struct command *command)
{
    static const char *const xgroup[] = {"create",         "setid",       "destroy",
                                         "createconsumer", "delconsumer", NULL};
    static const char *const xinfo[] = {"stream", "groups", "consumers", NULL};
    static const char *const object[] = {"encoding", "freq", "idletime", "refcount", NULL};
    static const char *const memory[] = {"usage", NULL};
    switch (command->id) {
    case COMMAND_EVAL:
    case COMMAND_EVALSHA:
    case COMMAND_EVAL_RO:
    case COMMAND_EVALSHA_RO:
    case COMMAND_FCALL:
    case COMMAND_FCALL_RO:
        return counted_keys(keys, 0, 2, 0);
    case COMMAND_BLMPOP:
    case COMMAND_BZMPOP:
        return counted_keys(keys, 0, 2, 1);
    case COMMAND_LMPOP:
    case COMMAND_ZMPOP:
    case COMMAND_SINTERCARD:
    case COMMAND_ZDIFF:
    case COMMAND_ZINTER:
    case COMMAND_ZINTERCARD:
    case COMMAND_ZUNION:
        return counted_keys(keys, 0, 1, 1);
    case COMMAND_ZDIFFSTORE:
    case COMMAND_ZINTERSTORE:
    case COMMAND_ZUNIONSTORE:
        return counted_keys(keys, 1, 2, 1);
    case COMMAND_SORT:
        return stored_keys(keys, 2, true);
    case COMMAND_GEORADIUS:
        return stored_keys(keys, 6, false);
    case COMMAND_GEORADIUSBYMEMBER:
        return stored_keys(keys, 5, false);
    case COMMAND_XREAD:
    case COMMAND_XREADGROUP:
        return stream_keys(keys);
    case COMMAND_MIGRATE:
        return migrate_keys(keys);
    case COMMAND_XGROUP:
        return subcommand_keys(keys, xgroup);
    case COMMAND_XINFO:
        return subcommand_keys(keys, xinfo);
    case COMMAND_OBJECT:
        return subcommand_keys(keys, object);
    case COMMAND_MEMORY:
        return subcommand_keys(keys, memory);
    default:
        return fixed_keys(keys, command);
    }
}

int command_keys(const struct command *command, const struct resp_request *request,
                 void (*key)(void *context, struct slice key), void *context)
{
    int64_t argc = request->argc;
    if (command->arity >= 0 ? argc != command->arity : argc < -command->arity)
        return WEIR_EMALFORMED;
    struct keys keys = {.request = request, .key = key, .context = context};
    if (command->first_key > 0 && (command->flags & COMMAND_MOVABLE_KEYS) == 0)
        return fixed_keys(&keys, command);
    return own_rule(&keys, command);
}
