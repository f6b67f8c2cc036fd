// CLIENT and its subcommands, about weir's own clients.
//
// A client is its thread's: no other may look at it. LIST and KILL concern all threads: the
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

static bool is_kill(const struct resp_request *request)
{
    return slice_is(request->argv[1], "kill");
}

static bool is_type(struct slice type)
{
    return slice_is(type, "normal") || slice_is(type, "pubsub") || slice_is(type, "master") ||
           slice_is(type, "replica") || slice_is(type, "slave");
}

// NULL, or Redis's words for what is wrong; `room` is for those that name it.
static const char *parse_filter(const struct resp_request *request, struct filter *filter,
                                char room[200])
{
    *filter = (struct filter){.id = -1, .skip_me = true};
    if (request->argc == 3) {
        filter->address = request->argv[2];
        filter->old_form = true;
        filter->skip_me = false;
        return NULL;
    }
    for (uint32_t i = 2; i < request->argc && i < RESP_ARGS; i += 2) {
        if (i + 1 >= request->argc || i + 1 >= RESP_ARGS)
            return "-ERR syntax error\r\n";
        struct slice value = request->argv[i + 1];
        if (slice_is(request->argv[i], "id")) {
            if (slice_to_i64(value, &filter->id) != 0 || filter->id < 1)
                return is_kill(request) ? "-ERR client-id should be greater than 0\r\n"
                                        : "-ERR Invalid client ID\r\n";
        } else if (slice_is(request->argv[i], "addr")) {
            filter->address = value;
        } else if (slice_is(request->argv[i], "laddr")) {
            filter->local = value;
        } else if (slice_is(request->argv[i], "type")) {
            filter->type = value;
            if (!is_type(value)) {
                snprintf(room, 200, "-ERR Unknown client type '%.*s'\r\n",
                         (int)(value.size < 128 ? value.size : 128), (const char *)value.data);
                return room;
            }
        } else if (slice_is(request->argv[i], "skipme") &&
                   (slice_is(value, "yes") || slice_is(value, "no"))) {
            filter->skip_me = slice_is(value, "yes");
        } else if (!slice_is(request->argv[i], "user")) {
            return "-ERR syntax error\r\n";
        }
    }
    return NULL;
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
    char room[200];
    parse_filter(&parsed, &filter, room);
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
    char room[200];
    parse_filter(&parsed, &filter, room);
    bool kill = is_kill(&parsed);
    uint32_t killed = request->key_size;
    size_t size = request->reply.size;
    buf_copy(&request->reply, worker->turn_scratch);
    buf_clear(&request->reply, &worker->blocks);
    request_finish(client, request); // and with it what was parsed
    if (!kill) {
        local_bulk(client, slice_of(worker->turn_scratch, size));
        return;
    }
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
    char room[200];
    const char *wrong = NULL;
    bool half = !is_kill(&parsed->request) && parsed->request.argc == 3;
    if (parsed->request.frame.size > REQUEST_INLINE_BYTES || half)
        wrong = "-ERR syntax error\r\n";
    else if (parsed->request.argc > 2)
        wrong = parse_filter(&parsed->request, &filter, room);
    if (wrong != NULL) {
        client_append_text(client, wrong);
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
    if (slice_is(request->argv[2], "on")) {
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
    if (local_set_name(client, request->argv[2]))
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

// Has it too many or too few words? Then that has been said.
static bool wrong_arity(struct client *client, const struct resp_request *request)
{
    static const struct {
        const char *word, *name;
        uint32_t argc;
    } fixed[] = {
        {"id", "client|id", 2},           {"getname", "client|getname", 2},
        {"info", "client|info", 2},       {"getredir", "client|getredir", 2},
        {"help", "client|help", 2},       {"setname", "client|setname", 3},
        {"reply", "client|reply", 3},     {"no-evict", "client|no-evict", 3},
        {"no-touch", "client|no-touch", 3}, {"setinfo", "client|setinfo", 4},
    };
    if (request->argc < 2) {
        local_wrong_arity(client, "client");
        return true;
    }
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        if (slice_is(request->argv[1], fixed[i].word) && request->argc != fixed[i].argc) {
            local_wrong_arity(client, fixed[i].name);
            return true;
        }
    }
    return false;
}

// For libraries that say it at every connect: there is nothing to be switched here.
static void accept_switch(struct client *client, const struct resp_request *request)
{
    bool known = request->argc == 4 || slice_is(request->argv[2], "on") ||
                 slice_is(request->argv[2], "off");
    client_append_text(client, known ? "+OK\r\n" : "-ERR syntax error\r\n");
}

enum request_verdict client_command(struct client *client, const struct parsed *parsed)
{
    const struct resp_request *request = &parsed->request;
    struct slice word = request->argc > 1 ? request->argv[1] : slice_of(NULL, 0);
    if (wrong_arity(client, request))
        return REQUEST_STARTED;
    if (slice_is(word, "id"))
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
        accept_switch(client, request);
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
