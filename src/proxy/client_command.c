// CLIENT and its subcommands, about weir's own clients. LIST and KILL concern all threads: the
// request itself travels from worker to worker as a message, and each adds what it knows.
#include "base/err.h"
#include "proxy/client.h"
#include "proxy/core.h"
#include "proxy/local.h"
#include "proxy/session.h"
#include <stdio.h>

static size_t describe(const struct client *client, char *out, size_t room)
{
    const struct worker *worker = client->worker;
    const struct client_identity *identity = &client->identity;
    char flags[4] = "N", *flag = flags;
    if (session_in_multi(client))
        *flag++ = 'x';
    if (session_subscribed(client))
        *flag++ = 'P';
    if (client->session != NULL && session_waits(client) && !session_subscribed(client))
        *flag++ = 'b';
    if (flag > flags)
        *flag = '\0';
    int n = snprintf(
        out, room,
        "id=%llu addr=%s laddr=%s fd=%d name=%s age=%llu idle=%llu flags=%s db=%u qbuf=%zu "
        "obl=%zu omem=%zu cmd=%s user=default resp=%u thread=%u outstanding=%u\n",
        (unsigned long long)identity->id, identity->address, identity->local, identity->fd,
        identity->name, (unsigned long long)((worker->now_ns - identity->created_ns) / 1000000000u),
        (unsigned long long)((worker->now_ns - client->active_ns) / 1000000000u), flags, identity->db,
        client->in.size, client_pending(client), client->out.size,
        client->last_command != NULL ? client->last_command->name : "NULL", identity->protocol,
        worker->index, client->outstanding);
    return n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
}

// ---- over all threads ----------------------------------------------------------------------------

struct filter { // of CLIENT LIST and CLIENT KILL
    int64_t id;           // -1: any
    struct slice address; // empty: any
    struct slice local;
    struct slice type;
    bool skip_me, old_form;
};

// 0, or WEIR_EINVAL for options that Redis does not know either.
static int parse_filter(const struct resp_request *request, struct filter *filter)
{
    *filter = (struct filter){.id = -1, .skip_me = true};
    if (request->argc == 3) {
        filter->address = request->argv[2];
        filter->old_form = true;
        filter->skip_me = false;
        return 0;
    }
    for (uint32_t i = 2; i < request->argc && i < RESP_ARGS; i += 2) {
        if (i + 1 >= request->argc || i + 1 >= RESP_ARGS)
            return WEIR_EINVAL;
        struct slice value = request->argv[i + 1];
        if (slice_is(request->argv[i], "id")) {
            if (slice_to_i64(value, &filter->id) != 0 || filter->id < 1)
                return WEIR_EINVAL;
        } else if (slice_is(request->argv[i], "addr")) {
            filter->address = value;
        } else if (slice_is(request->argv[i], "laddr")) {
            filter->local = value;
        } else if (slice_is(request->argv[i], "type")) {
            filter->type = value;
        } else if (slice_is(request->argv[i], "skipme")) {
            filter->skip_me = slice_is(value, "yes");
        } else if (!slice_is(request->argv[i], "user")) {
            return WEIR_EINVAL;
        }
    }
    return 0;
}

static bool matches(const struct filter *filter, const struct client *client)
{
    const struct client_identity *identity = &client->identity;
    if (filter->id != -1 && identity->id != (uint64_t)filter->id)
        return false;
    if (filter->address.size > 0 && !slice_equal(filter->address, slice_str(identity->address)))
        return false;
    if (filter->local.size > 0 && !slice_equal(filter->local, slice_str(identity->local)))
        return false;
    if (filter->type.size > 0)
        return slice_is(filter->type, session_subscribed(client) ? "pubsub" : "normal");
    return true;
}

static bool is_kill(const struct resp_request *request)
{
    return slice_is(request->argv[1], "kill");
}

static void visit_client(struct worker *worker, struct request *request,
                         const struct resp_request *parsed, const struct filter *filter,
                         struct client *client)
{
    char line[512];
    if (!matches(filter, client))
        return;
    if (!is_kill(parsed)) {
        if (request->reply.size < worker->join_room - sizeof line)
            buf_append(&request->reply, &worker->blocks,
                       slice_of(line, describe(client, line, sizeof line)));
        return;
    }
    bool itself = client->identity.id == request->hash;
    if (itself && filter->skip_me)
        return;
    request->key_size++; // the number killed
    if (itself)
        client->closing = true; // after its reply
    else
        client_close(client);
}

void client_command_visit(struct worker *worker, struct request *request)
{
    static const struct resp_bounds bounds = {LIMIT_MULTIBULK_ARGS, LIMIT_BULK_BYTES, true};
    struct resp_request parsed;
    struct filter filter;
    size_t need;
    resp_request_parse(&parsed, slice_of(request->frame, request->frame_size), &bounds, &need);
    parse_filter(&parsed, &filter);
    if (!is_kill(&parsed) && parsed.argc == 3)
        filter = (struct filter){.id = -1};
    struct client *next;
    for (struct client *client = worker->clients; client != NULL; client = next) {
        next = client->next;
        visit_client(worker, request, &parsed, &filter, client);
    }
    unsigned to = (worker->index + 1) % worker->proxy->workers;
    if (to != request->worker->index) {
        worker_send(worker, to, &request->mail, MAIL_VISIT);
        return;
    }
    worker_send(worker, to, &request->mail, MAIL_VISITED);
}

void client_command_visited(struct request *request)
{
    struct client *client = request->client;
    struct worker *worker = request->worker;
    static const struct resp_bounds bounds = {LIMIT_MULTIBULK_ARGS, LIMIT_BULK_BYTES, true};
    struct resp_request parsed;
    struct filter filter;
    size_t need;
    if (client == NULL) {
        request_release(request);
        return;
    }
    resp_request_parse(&parsed, slice_of(request->frame, request->frame_size), &bounds, &need);
    uint32_t killed = request->key_size;
    size_t size = request->reply.size;
    buf_copy(&request->reply, worker->turn_scratch);
    buf_clear(&request->reply, &worker->blocks);
    request_finish(client, request);
    if (!is_kill(&parsed)) {
        local_bulk(client, slice_of(worker->turn_scratch, size));
        return;
    }
    parse_filter(&parsed, &filter);
    if (!filter.old_form)
        local_integer(client, killed);
    else
        client_append_text(client, killed > 0 ? "+OK\r\n" : "-ERR No such client\r\n");
    if (client->closing)
        client_close_after_reply(client);
}

static enum request_verdict travel(struct client *client, const struct parsed *parsed)
{
    struct worker *worker = client->worker;
    struct filter filter;
    bool list_type = !is_kill(&parsed->request) && parsed->request.argc == 3;
    if (parsed->request.frame.size > REQUEST_INLINE_BYTES || list_type ||
        (parsed->request.argc > 2 && parse_filter(&parsed->request, &filter) != 0)) {
        client_append_text(client, "-ERR syntax error\r\n");
        return REQUEST_STARTED;
    }
    if (is_kill(&parsed->request) && parsed->request.argc < 3) {
        local_wrong_arity(client, "client|kill");
        return REQUEST_STARTED;
    }
    struct request *request = request_borrow(worker, parsed->request.frame);
    if (request == NULL) {
        client_append_text(client, "-ERR weir: out of buffer memory, not applied\r\n");
        return REQUEST_STARTED;
    }
    request->command = parsed->command;
    request->hash = client->identity.id; // who asks, for SKIPME
    request_hold(client, request);
    client_command_visit(worker, request);
    return REQUEST_STARTED;
}

// ---- one client ----------------------------------------------------------------------------------

static void reply_mode(struct client *client, const struct resp_request *request)
{
    if (request->argc != 3) {
        local_wrong_arity(client, "client|reply");
    } else if (slice_is(request->argv[2], "on")) {
        client->reply_mode = REPLY_ON;
        client_append_text(client, "+OK\r\n");
    } else if (slice_is(request->argv[2], "off")) {
        client->reply_mode = REPLY_OFF;
    } else if (slice_is(request->argv[2], "skip")) {
        if (client->reply_mode == REPLY_ON)
            client->reply_mode = REPLY_SKIP;
    } else {
        client_append_text(client, "-ERR syntax error\r\n");
    }
}

static void set_name(struct client *client, const struct resp_request *request)
{
    if (request->argc != 3)
        local_wrong_arity(client, "client|setname");
    else if (local_set_name(client, request->argv[2]))
        client_append_text(client, "+OK\r\n");
}

static void get_name(struct client *client)
{
    if (client->identity.name[0] == '\0')
        local_null(client);
    else
        local_bulk(client, slice_str(client->identity.name));
}

static void info(struct client *client)
{
    char line[512];
    local_bulk(client, slice_of(line, describe(client, line, sizeof line)));
}

static void help(struct client *client)
{
    static const char *const lines[] = {
        "CLIENT <subcommand> [<arg> [value] [opt] ...], about the clients of weir. Subcommands are:",
        "GETNAME", "ID", "INFO", "KILL <option> ...", "LIST", "NO-EVICT (ON|OFF)",
        "REPLY (ON|OFF|SKIP)", "SETINFO <option> <value>", "SETNAME <name>", "HELP",
    };
    local_array(client, sizeof lines / sizeof lines[0]);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        client_append_text(client, "+");
        client_append_text(client, lines[i]);
        client_append_text(client, "\r\n");
    }
}

enum request_verdict client_command(struct client *client, const struct parsed *parsed)
{
    const struct resp_request *request = &parsed->request;
    struct slice word = request->argc > 1 ? request->argv[1] : slice_of(NULL, 0);
    if (request->argc < 2)
        local_wrong_arity(client, "client");
    else if (slice_is(word, "id"))
        local_integer(client, (int64_t)client->identity.id);
    else if (slice_is(word, "setname"))
        set_name(client, request);
    else if (slice_is(word, "getname"))
        get_name(client);
    else if (slice_is(word, "info"))
        info(client);
    else if (slice_is(word, "list") || slice_is(word, "kill"))
        return travel(client, parsed);
    else if (slice_is(word, "reply"))
        reply_mode(client, request);
    else if (slice_is(word, "no-evict") || slice_is(word, "no-touch") || slice_is(word, "setinfo"))
        client_append_text(client, "+OK\r\n"); // nothing of the store's stands behind this connection
    else if (slice_is(word, "getredir"))
        local_integer(client, -1);
    else if (slice_is(word, "help"))
        help(client);
    else if (slice_is(word, "tracking") || slice_is(word, "caching") || slice_is(word, "pause") ||
             slice_is(word, "unpause") || slice_is(word, "unblock") || slice_is(word, "trackinginfo"))
        client_append_text(client, "-ERR weir: this CLIENT subcommand is not supported yet\r\n");
    else
        local_unknown_subcommand(client, "CLIENT", word);
    return REQUEST_STARTED;
}
