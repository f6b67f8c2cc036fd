// The commands that concern the connection. They are answered when nothing of the client is under
// way, so their place among its replies is certain; errors are worded as Redis words them.
//
// Inside MULTI Redis queues most of these too, and in a RESP2 subscription it refuses them: then the
// client's private connection gets them (belongs_to_session), so that the store's own rules hold.
#include "proxy/local.h"
#include "base/err.h"
#include "proxy/client.h"
#include "proxy/core.h"
#include "proxy/session.h"
#include <stdio.h>

// ---- composing -----------------------------------------------------------------------------------

static void header(struct client *client, char type, int64_t value)
{
    uint8_t out[RESP_HEAD_ROOM];
    client_append(client, slice_of(out, resp_put_header(out, type, value)));
}

void local_bulk(struct client *client, struct slice text)
{
    header(client, '$', (int64_t)text.size);
    client_append(client, text);
    client_append_text(client, "\r\n");
}

void local_array(struct client *client, int64_t count)
{
    header(client, '*', count);
}

void local_integer(struct client *client, int64_t value)
{
    header(client, ':', value);
}

void local_map(struct client *client, int64_t pairs)
{
    if (client->identity.protocol == 3)
        header(client, '%', pairs);
    else
        header(client, '*', 2 * pairs);
}

void local_null(struct client *client)
{
    client_append_text(client, client->identity.protocol == 3 ? "_\r\n" : "$-1\r\n");
}

static int shown(struct slice text, size_t most)
{
    return (int)(text.size < most ? text.size : most);
}

void local_unknown_subcommand(struct client *client, const char *command, struct slice subcommand)
{
    char line[256];
    snprintf(line, sizeof line, "-ERR unknown subcommand '%.*s'. Try %s HELP.\r\n",
             shown(subcommand, 128), (const char *)subcommand.data, command);
    client_append_text(client, line);
}

void local_unknown_command(struct client *client, const struct resp_request *request)
{
    char args[192] = "", line[512];
    size_t size = 0;
    for (uint32_t i = 1; i < request->argc && i < RESP_ARGS && size < 128; i++)
        size += (size_t)snprintf(args + size, sizeof args - size, "'%.*s' ",
                                 shown(request->argv[i], 128 - size),
                                 (const char *)request->argv[i].data);
    int n = snprintf(line, sizeof line, "-ERR unknown command '%.*s', with args beginning with: %s",
                     shown(request->argv[0], 128), (const char *)request->argv[0].data, args);
    for (char *c = line; c < line + n; c++) {
        if (*c == '\r' || *c == '\n')
            *c = ' ';
    }
    client_append_text(client, line);
    client_append_text(client, "\r\n");
}

void local_wrong_arity(struct client *client, const char *command)
{
    char line[160];
    snprintf(line, sizeof line, "-ERR wrong number of arguments for '%s' command\r\n", command);
    client_append_text(client, line);
}

// ---- AUTH and HELLO ------------------------------------------------------------------------------

// Compares in a time that depends on the secret's length only.
static bool same_secret(const char *secret, struct slice given)
{
    size_t size = strlen(secret);
    unsigned difference = (unsigned)(size ^ given.size) != 0;
    for (size_t i = 0; i < size; i++)
        difference |= (unsigned)(uint8_t)secret[i] ^ (i < given.size ? given.data[i] : 0xffu);
    return difference == 0;
}

static bool authenticate(struct client *client, struct slice user, struct slice password)
{
    const struct config *config = &client->worker->settings->config;
    bool known = slice_equal(user, SLICE("default"));
    if (!known || (config->requirepass[0] != '\0' && !same_secret(config->requirepass, password))) {
        client_append_text(client,
                           "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
        return false;
    }
    client->identity.authenticated = true;
    client->reparse = true;
    return true;
}

static void auth(struct client *client, const struct resp_request *request)
{
    const struct config *config = &client->worker->settings->config;
    if (request->argc > 3) {
        client_append_text(client, "-ERR syntax error\r\n");
        return;
    }
    if (request->argc < 2) {
        local_wrong_arity(client, "auth");
        return;
    }
    if (request->argc == 2 && config->requirepass[0] == '\0') {
        client_append_text(client, "-ERR AUTH <password> called without any password configured for "
                                   "the default user. Are you sure your configuration is correct?\r\n");
        return;
    }
    struct slice user = request->argc == 3 ? request->argv[1] : SLICE("default");
    if (authenticate(client, user, request->argv[request->argc - 1]))
        client_append_text(client, "+OK\r\n");
}

static bool valid_name(struct slice name)
{
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] < '!' || name.data[i] > '~')
            return false;
    }
    return true;
}

bool local_set_name(struct client *client, struct slice name)
{
    if (!valid_name(name)) {
        client_append_text(client, "-ERR Client names cannot contain spaces, newlines or special "
                                   "characters.\r\n");
        return false;
    }
    size_t size = name.size < LIMIT_CLIENT_NAME ? name.size : LIMIT_CLIENT_NAME;
    memcpy(client->identity.name, name.data, size);
    client->identity.name[size] = '\0';
    return true;
}

static void hello_reply(struct client *client)
{
    const struct node *node = proxy_node(client->worker->proxy);
    uint32_t number = atomic_load(&node->version_shared);
    char version[32];
    snprintf(version, sizeof version, "%u.%u.%u", number / 10000, number / 100 % 100, number % 100);
    local_map(client, 7);
    local_bulk(client, SLICE("server"));
    local_bulk(client, SLICE("redis"));
    local_bulk(client, SLICE("version"));
    local_bulk(client, slice_str(version));
    local_bulk(client, SLICE("proto"));
    local_integer(client, client->identity.protocol);
    local_bulk(client, SLICE("id"));
    local_integer(client, (int64_t)client->identity.id);
    local_bulk(client, SLICE("mode"));
    local_bulk(client, SLICE("standalone"));
    local_bulk(client, SLICE("role"));
    local_bulk(client, SLICE("master"));
    local_bulk(client, SLICE("modules"));
    local_array(client, 0);
}

static void hello(struct client *client, const struct resp_request *request)
{
    int64_t protocol = client->identity.protocol;
    uint32_t i = 1;
    if (request->argc > 1 && slice_to_i64(request->argv[i++], &protocol) != 0) {
        client_append_text(client, "-ERR Protocol version is not an integer or out of range\r\n");
        return;
    }
    bool unknown = atomic_load(&proxy_node(client->worker->proxy)->resp2_only);
    if (protocol < 2 || protocol > (unknown ? 2 : 3)) {
        client_append_text(client, "-NOPROTO unsupported protocol version\r\n");
        return;
    }
    for (; i < request->argc && i < RESP_ARGS; i++) {
        uint32_t more = request->argc - i - 1;
        if (slice_is(request->argv[i], "auth") && more >= 2) {
            if (!authenticate(client, request->argv[i + 1], request->argv[i + 2]))
                return;
            i += 2;
        } else if (slice_is(request->argv[i], "setname") && more >= 1) {
            if (!local_set_name(client, request->argv[++i]))
                return;
        } else {
            char line[200];
            snprintf(line, sizeof line, "-ERR Syntax error in HELLO option '%.*s'\r\n",
                     shown(request->argv[i], 128), (const char *)request->argv[i].data);
            client_append_text(client, line);
            return;
        }
    }
    if (!client->identity.authenticated) {
        client_append_text(client,
                           "-NOAUTH HELLO must be called with the client already authenticated, "
                           "otherwise the HELLO AUTH <user> <pass> option can be used to "
                           "authenticate the client and select the RESP protocol version at the same "
                           "time\r\n");
        return;
    }
    client->identity.protocol = (uint8_t)protocol;
    hello_reply(client);
}

// ---- SELECT, RESET -------------------------------------------------------------------------------

static void select_db(struct client *client, const struct resp_request *request)
{
    int64_t db;
    if (request->argc != 2) {
        local_wrong_arity(client, "select");
    } else if (slice_to_i64(request->argv[1], &db) != 0) {
        client_append_text(client, "-ERR value is not an integer or out of range\r\n");
    } else if (db < 0 || db >= LIMIT_DBS) {
        client_append_text(client, "-ERR DB index is out of range\r\n");
    } else {
        client->identity.db = (uint8_t)db;
        client_append_text(client, "+OK\r\n");
    }
}

static void reset(struct client *client)
{
    const struct settings *settings = client->worker->settings;
    if (client->session != NULL)
        session_abandon(client);
    client->identity.db = (uint8_t)settings->config.store.db;
    client->identity.protocol = 2;
    client->identity.name[0] = '\0';
    client->identity.authenticated = settings->config.requirepass[0] == '\0';
    client->reply_mode = REPLY_ON;
    client->reparse = true;
    client_append_text(client, "+RESET\r\n");
}

// ---- dispatch ------------------------------------------------------------------------------------

// Inside MULTI Redis queues nearly everything, and in a RESP2 subscription it refuses nearly
// everything: there the store answers.
static bool belongs_to_session(const struct client *client, const struct command *command)
{
    if (client->session == NULL || command->id == COMMAND_QUIT || command->id == COMMAND_RESET)
        return false;
    return session_in_multi(client) ||
           (session_subscribed(client) && client->identity.protocol == 2) ||
           (command->id == COMMAND_SELECT && session_kept(client));
}

static enum request_verdict answer(struct client *client, const struct parsed *parsed);

enum request_verdict local_start(struct client *client, const struct parsed *parsed)
{
    bool skip = client->reply_mode == REPLY_SKIP && parsed->command->id != COMMAND_CLIENT;
    if (belongs_to_session(client, parsed->command))
        return session_request(client, parsed);
    if (client->first != NULL || session_pending(client))
        return REQUEST_STALLED;
    if (skip)
        client->reply_mode = REPLY_OFF; // for all parts of the answer
    enum request_verdict verdict = answer(client, parsed);
    if (skip && client->reply_mode == REPLY_OFF)
        client->reply_mode = REPLY_ON;
    return verdict;
}

static enum request_verdict answer(struct client *client, const struct parsed *parsed)
{
    const struct resp_request *request = &parsed->request;
    switch (parsed->command->id) {
    case COMMAND_AUTH:
        auth(client, request);
        break;
    case COMMAND_HELLO:
        hello(client, request);
        break;
    case COMMAND_CLIENT:
        return client_command(client, parsed);
    case COMMAND_SELECT:
        select_db(client, request);
        break;
    case COMMAND_RESET:
        reset(client);
        break;
    case COMMAND_QUIT:
        client_append_text(client, "+OK\r\n");
        client_close_after_reply(client);
        break;
    case COMMAND_CONFIG:
        weir_config(client, parsed);
        break;
    case COMMAND_INFO:
        local_add_info(client, NULL, slice_of(NULL, 0));
        break;
    default:
        weir_command(client, parsed);
    }
    return REQUEST_STARTED;
}

// ---- INFO ----------------------------------------------------------------------------------------

static bool wants_weir(const struct request *request)
{
    static const struct resp_bounds bounds = {LIMIT_MULTIBULK_ARGS, LIMIT_BULK_BYTES, true};
    struct resp_request parsed;
    size_t need;
    if (request->frame_size > REQUEST_INLINE_BYTES ||
        resp_request_parse(&parsed, slice_of(request->frame, request->frame_size), &bounds,
                           &need) <= 0)
        return false;
    for (uint32_t i = 1; i < parsed.argc && i < RESP_ARGS; i++) {
        if (slice_is(parsed.argv[i], "all") || slice_is(parsed.argv[i], "everything") ||
            slice_is(parsed.argv[i], "default") || slice_is(parsed.argv[i], "weir"))
            return true;
    }
    return parsed.argc == 1;
}

bool local_add_info(struct client *client, const struct request *request, struct slice reply)
{
    struct worker *worker = client->worker;
    struct slice text = {NULL, 0};
    if (request != NULL && (!wants_weir(request) || !resp_text(reply, &text) || resp_is_error(reply) ||
                            text.size > worker->convert_room / 2))
        return false;
    struct stats stats;
    proxy_stats(worker->proxy, &stats);
    char *out = (char *)worker->convert;
    size_t size = text.size;
    if (size > 0)
        memcpy(out, text.data, size);
    if (size > 0)
        size += (size_t)snprintf(out + size, 4, "\r\n");
    size += stats_render_info(&stats, out + size, worker->convert_room - size);
    if (client->identity.protocol == 3) {
        uint8_t head[RESP_HEAD_ROOM];
        client_append(client, slice_of(head, resp_put_header(head, '=', (int64_t)size + 4)));
        client_append_text(client, "txt:");
        client_append(client, slice_of(out, size));
        client_append_text(client, "\r\n");
    } else {
        local_bulk(client, slice_of(out, size));
    }
    return true;
}

// ---- slow requests -------------------------------------------------------------------------------

void local_slow(struct client *client, const struct request *request)
{
    struct worker *worker = client->worker;
    struct slowlog_entry entry = {
        .wall_us = clock_wall_us(),
        .duration_us = (worker->now_ns - request->start_ns) / 1000,
    };
    if (request->frame_size <= REQUEST_INLINE_BYTES) {
        entry.args_size = request->frame_size;
        memcpy(entry.args, request->frame, request->frame_size);
    } else {
        struct iovec head;
        buf_vectors(&request->frame_rest, &head, 1);
        entry.args_size =
            (uint32_t)(head.iov_len < SLOWLOG_ARGS_BYTES ? head.iov_len : SLOWLOG_ARGS_BYTES);
        memcpy(entry.args, head.iov_base, entry.args_size);
    }
    snprintf(entry.client, sizeof entry.client, "%s", client->identity.address);
    snprintf(entry.name, sizeof entry.name, "%.63s", client->identity.name);
    snprintf(entry.where, sizeof entry.where, "%.63s",
             request->flags & REQUEST_HIT ? "cache" : proxy_node(worker->proxy)->name);
    slowlog_add(worker->proxy->slowlog, &entry);
}
