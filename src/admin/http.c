// Requests and answers; server.c says which thread runs this and what bounds it.
//
//   http_request: method, Host ── dispatch: path ── get_…: report ── answer buffer ── send_response
//
// An answer buffer is taken before the report is made, so that when none is free nothing is
// computed, and it comes back when libmicrohttpd has no more use for it. Alternatives rejected:
// malloc for each answer (a slow reader would hold as many as it asks for); one buffer (a stuck
// reader would shut out the rest).
#include "admin/http.h"
#include "admin/host.h"
#include <stdio.h>

// ---- answers
// -------------------------------------------------------------------------------------

static enum MHD_Result send_response(struct MHD_Connection *c, unsigned status, const char *type,
                                     struct MHD_Response *response)
{
    static const char *const headers[][2] = {
        {"Content-Security-Policy",
         "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Cache-Control", "no-store"},
    };
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, "Content-Type", type);
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        MHD_add_response_header(response, headers[i][0], headers[i][1]);
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, "Allow", "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(c, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result send_copy(struct MHD_Connection *c, unsigned status, const char *line)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(line), (void *)line, MHD_RESPMEM_MUST_COPY);
    return send_response(c, status, "text/plain; charset=utf-8", response);
}

static struct admin_answer *answer_borrow(struct admin *admin)
{
    for (unsigned i = 0; i < ADMIN_ANSWERS; i++) {
        if (!admin->answer[i].used) {
            admin->answer[i].used = true;
            return &admin->answer[i];
        }
    }
    return NULL;
}

// libmicrohttpd calls this on the HTTP thread, as it calls everything else.
static void answer_return(void *context)
{
    ((struct admin_answer *)context)->used = false;
}

// `answer` may be NULL; `size` is what was needed, perhaps more than there is.
static enum MHD_Result send_answer(struct MHD_Connection *c, const char *type,
                                   struct admin_answer *answer, size_t size)
{
    if (!answer)
        return send_copy(c, MHD_HTTP_SERVICE_UNAVAILABLE,
                         "weir: too many answers are still being read, try again\n");
    if (size == 0 || size > sizeof answer->text) {
        answer_return(answer);
        return send_copy(c, MHD_HTTP_SERVICE_UNAVAILABLE, "weir: no memory for this answer\n");
    }
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback_cls(
        size, answer->text, answer_return, answer);
    if (!response)
        answer_return(answer);
    return send_response(c, MHD_HTTP_OK, type, response);
}

static enum MHD_Result send_json(struct admin *admin, struct MHD_Connection *c, json_t *tree)
{
    struct admin_answer *answer = answer_borrow(admin);
    size_t size = 0;
    if (answer && tree)
        size = json_dumpb(tree, answer->text, sizeof answer->text,
                          JSON_COMPACT | JSON_REAL_PRECISION(6));
    json_decref(tree);
    return send_answer(c, "application/json", answer, size);
}

// ---- paths
// ---------------------------------------------------------------------------------------

static void collect_one(void *context, const struct stats_latency *one)
{
    struct admin *admin = context;
    unsigned at = admin->latencies;
    if (at < ADMIN_LATENCIES) {
        admin->latency[at] = *one;
        if (at == ADMIN_LATENCIES - 1)
            admin->latency[at].command = admin->latency[at].node = "other";
        admin->latencies++;
        return;
    }
    struct histogram_view *other = &admin->latency[ADMIN_LATENCIES - 1].view;
    other->count += one->view.count;
    other->sum_ns += one->view.sum_ns;
    for (unsigned i = 0; i < HISTOGRAM_CELLS; i++)
        other->cell[i] += one->view.cell[i];
}

void admin_collect(struct admin *admin)
{
    proxy_stats(admin->proxy, &admin->stats);
    admin->latencies = 0;
    proxy_latencies(admin->proxy, collect_one, admin);
}

static enum MHD_Result get_metrics(struct admin *admin, struct MHD_Connection *c)
{
    struct admin_answer *answer = answer_borrow(admin);
    size_t size = 0;
    if (answer) {
        admin_collect(admin);
        size = stats_render_prometheus(&admin->stats, admin->latency, admin->latencies,
                                       answer->text, sizeof answer->text);
        size = size < sizeof answer->text ? size : sizeof answer->text + 1;
    }
    return send_answer(c, "text/plain; version=0.0.4; charset=utf-8", answer, size);
}

static enum MHD_Result get_health(struct admin *admin, struct MHD_Connection *c)
{
    (void)admin;
    return send_copy(c, MHD_HTTP_OK, "ok\n");
}

static enum MHD_Result get_ready(struct admin *admin, struct MHD_Connection *c)
{
    char why[CONFIG_TEXT] = "", line[CONFIG_TEXT + 2];
    if (proxy_ready(admin->proxy, why))
        return send_copy(c, MHD_HTTP_OK, "ready\n");
    snprintf(line, sizeof line, "%s\n", why);
    return send_copy(c, MHD_HTTP_SERVICE_UNAVAILABLE, line);
}

static enum MHD_Result get_stats(struct admin *admin, struct MHD_Connection *c)
{
    const char *since = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "since");
    int64_t seq = 0;
    if (since && (slice_to_i64(slice_str(since), &seq) != 0 || seq < 0))
        return send_copy(c, MHD_HTTP_BAD_REQUEST, "weir: since takes a sequence number\n");
    return send_json(admin, c, api_stats(admin, (uint64_t)seq));
}

static enum MHD_Result get_slowlog(struct admin *admin, struct MHD_Connection *c)
{
    return send_json(admin, c, api_slowlog(admin));
}

static enum MHD_Result get_config(struct admin *admin, struct MHD_Connection *c)
{
    return send_json(admin, c, api_config(admin));
}

static enum MHD_Result send_wrong_host(struct admin *admin, struct MHD_Connection *c)
{
    char text[1024], address[NET_ADDRESS_TEXT + 16];
    net_address_format(&admin->address, address, sizeof address);
    snprintf(text, sizeof text,
             "weir: this address answers to the names localhost, 127.0.0.1 and [::1] with port %u, "
             "and the request's Host header names another.\n"
             "It listens on loopback (%s) and refuses other names, because a page elsewhere could "
             "read it through a browser by DNS rebinding.\n"
             "Behind a reverse proxy, have that send \"Host: 127.0.0.1:%u\"; or let weir listen on "
             "an address of the network that is meant to see it (admin HOST:PORT).\n",
             admin->address.port, address, admin->address.port);
    return send_copy(c, MHD_HTTP_FORBIDDEN, text);
}

static enum MHD_Result dispatch(struct admin *admin, struct MHD_Connection *c, const char *path)
{
    static const struct {
        const char *path;
        enum MHD_Result (*get)(struct admin *, struct MHD_Connection *);
    } table[] = {
        {"/metrics", get_metrics}, {"/healthz", get_health},      {"/readyz", get_ready},
        {"/api/stats", get_stats}, {"/api/slowlog", get_slowlog}, {"/api/config", get_config},
    };
    struct asset asset;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(path, table[i].path) == 0)
            return table[i].get(admin, c);
    }
    if (!asset_find(path, &asset))
        return send_copy(c, MHD_HTTP_NOT_FOUND, "weir: no such page\n");
    struct MHD_Response *response =
        MHD_create_response_from_buffer(asset.size, (void *)asset.data, MHD_RESPMEM_PERSISTENT);
    return send_response(c, MHD_HTTP_OK, asset.type, response);
}

// Called once when the headers are in, and again when the request is complete (GET and HEAD wait
// for that, since an answer before it would end the connection).
enum MHD_Result http_request(void *context, struct MHD_Connection *c, const char *path,
                             const char *method, const char *version, const char *upload,
                             size_t *upload_size, void **state)
{
    static const char headers_seen;
    struct admin *admin = context;
    (void)version;
    (void)upload;
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return send_copy(c, MHD_HTTP_METHOD_NOT_ALLOWED, "weir: only GET and HEAD\n");
    if (!*state) {
        *state = (void *)&headers_seen;
        return MHD_YES;
    }
    if (*upload_size > 0) { // a GET with a body: passed over
        *upload_size = 0;
        return MHD_YES;
    }
    const char *host = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Host");
    if (!host_allowed(&admin->address, host))
        return send_wrong_host(admin, c);
    return dispatch(admin, c, path);
}
