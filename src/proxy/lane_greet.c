// The first words on a new lane, and the ones that keep it trusted.
//
//   HELLO 3 [AUTH user password]        version, or a server too old for RESP3
//   CLIENT SETNAME, SELECT n, INFO server
//   CLIENT KILL ID old                  only if the same server process still holds the old lane:
//                                       no unread old write may run after a newer one
//   CLIENT TRACKING ON                  if the cache is on and the server is fit for it
//   ROLE                                answered: the lane is up
#include "base/err.h"
#include "base/log.h"
#include "proxy/core.h"
#include <stdio.h>
#include <stdlib.h>

enum { TRACKING_SINCE = 70005 }; // before, pushes may stand inside arrays (redis #8935, #9422, #11038)

// "*2\r\n$4\r\nAUTH\r\n…": weir's own commands, of at most 6 words.
static size_t compose(uint8_t *out, size_t room, const char *const *words, unsigned count)
{
    size_t size = resp_put_header(out, '*', count);
    for (unsigned i = 0; i < count; i++) {
        struct slice word = slice_str(words[i]);
        if (size + word.size + 2 * RESP_HEAD_ROOM > room)
            return 0;
        size += resp_put_bulk(out + size, word);
    }
    return size;
}

typedef void answered_fn(struct lane *lane, struct request *request, struct slice reply);

static bool ask(struct lane *lane, answered_fn *answered, struct fence *fence,
                const char *const *words, unsigned count)
{
    uint8_t frame[1024];
    size_t size = compose(frame, sizeof frame, words, count);
    if (size > 0 && lane_ask(lane, slice_of(frame, size), fence, answered) == 0)
        return true;
    lane_lost(lane, "out of buffer memory");
    return false;
}

#define ASK(lane, answered, ...)                                                                   \
    ask(lane, answered, NULL, (const char *const[]){__VA_ARGS__},                                  \
        sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void ignore(struct lane *lane, struct request *request, struct slice reply)
{
    (void)lane;
    (void)request;
    (void)reply;
}

static void refused(struct lane *lane, const char *what, struct slice reply)
{
    char why[200];
    snprintf(why, sizeof why, "%s refused: %.*s", what, (int)(reply.size < 100 ? reply.size : 100),
             (const char *)reply.data);
    char *end = strpbrk(why, "\r\n");
    if (end != NULL)
        *end = '\0';
    lane_lost(lane, why);
}

static void set_words(struct node *node, char *to, const char *from, size_t size)
{
    pthread_mutex_lock(&node->words);
    memcpy(to, from, size);
    pthread_mutex_unlock(&node->words);
}

static void set_cache_state(struct node *node, enum node_cache state)
{
    if (atomic_load(&node->cache_state) == state)
        return;
    atomic_store(&node->cache_state, state);
    log_write(state >= NODE_CACHE_OFF_VERSION ? LOG_WARN : LOG_INFO, "near cache", "node=%s %s",
              node->name, node_cache_words(node));
}

// ---- up ------------------------------------------------------------------------------------------

static void go_up(struct lane *lane, uint64_t vouched_ns)
{
    struct node *node = lane->node;
    lane->state = LANE_UP;
    lane->failures = 0;
    loop_timer_clear(node->home->loop, &lane->timer);
    if (lane->old_connection_id != 0)
        node_flush_epoch(node); // a SWAPDB may have been lost with the old one, and nobody pushes it
    if (lane->tracking) {
        atomic_store(&lane->vouched_ns, vouched_ns);
        atomic_store(&lane->floor, atomic_fetch_add(&node->proxy->epoch, 1) + 1);
    }
    log_write(LOG_INFO, "store up", "node=%s db=%u version=%s cache=%s", node->name, lane->db,
              node->version, lane->tracking ? "on" : "off");
    struct request *list = lane->wait_first;
    lane->wait_first = lane->wait_last = NULL;
    while (list != NULL) {
        struct request *request = list;
        list = list->lane_next;
        lane_accept(lane, request);
    }
}

static void describe_role(char out[160], struct slice reply)
{
    size_t cursor = 0;
    struct slice element, text, parts[3] = {{0}};
    for (unsigned i = 0; i < 3 && resp_element_next(reply, &cursor, &element); i++) {
        if (resp_text(element, &text))
            parts[i] = text;
    }
    if (slice_is(parts[0], "slave"))
        snprintf(out, 160, "slave %.*s %.*s", (int)(parts[1].size < 100 ? parts[1].size : 100),
                 (const char *)parts[1].data, (int)(parts[2].size < 8 ? parts[2].size : 8),
                 (const char *)parts[2].data);
    else
        snprintf(out, 160, "%.*s", (int)(parts[0].size < 20 ? parts[0].size : 20),
                 (const char *)parts[0].data);
}

static void role_answered(struct lane *lane, struct request *request, struct slice reply)
{
    struct node *node = lane->node;
    struct fence *fence = request->fence;
    request->fence = NULL;
    if (reply.size == 0 || resp_is_error(reply)) {
        if (lane->tracking)
            set_cache_state(node, NODE_CACHE_OFF_FORBIDDEN);
        lane->tracking = false;
        atomic_store(&lane->floor, UINT32_MAX);
    } else {
        char role[sizeof node->role] = "";
        describe_role(role, reply);
        if (strcmp(role, node->role) != 0) {
            if (node->role[0] != '\0') {
                log_write(LOG_WARN, "store changed role", "node=%s was=\"%s\" is=\"%s\"", node->name,
                          node->role, role);
                node_flush_epoch(node);
            }
            set_words(node, node->role, role, sizeof role);
        }
        if (lane->state == LANE_UP && lane->tracking &&
            request->start_ns > atomic_load(&lane->vouched_ns))
            atomic_store_explicit(&lane->vouched_ns, request->start_ns, memory_order_release);
    }
    if (lane->state == LANE_GREETING)
        go_up(lane, request->start_ns);
    if (fence != NULL)
        node_fence_answered(node, fence);
}

int lane_ask_role(struct lane *lane, struct fence *fence)
{
    lane->asked_ns = lane->node->home->now_ns;
    return lane_ask(lane, SLICE("*1\r\n$4\r\nROLE\r\n"), fence, role_answered);
}

// ---- tracking ------------------------------------------------------------------------------------

static void tracking_answered(struct lane *lane, struct request *request, struct slice reply)
{
    (void)request;
    if (!resp_is_error(reply)) {
        if (lane->state == LANE_GREETING)
            set_cache_state(lane->node, NODE_CACHE_ON);
        return;
    }
    lane->tracking = false;
    atomic_store(&lane->floor, UINT32_MAX);
    set_cache_state(lane->node, NODE_CACHE_OFF_FORBIDDEN);
}

static bool ask_tracking(struct lane *lane)
{
    lane->optin_sampled = atomic_load(&lane->node->mode) == NODE_SAMPLED;
    return lane->optin_sampled
               ? ASK(lane, tracking_answered, "CLIENT", "TRACKING", "ON", "OPTIN")
               : ASK(lane, tracking_answered, "CLIENT", "TRACKING", "ON");
}

void lane_track(struct lane *lane)
{
    if (lane->state == LANE_UP && lane->tracking &&
        ASK(lane, ignore, "CLIENT", "TRACKING", "OFF"))
        ask_tracking(lane);
}

// ---- greeting ------------------------------------------------------------------------------------

static bool info_field(struct slice info, const char *name, char *out, size_t room)
{
    size_t size = strlen(name);
    for (size_t i = 0; i + size < info.size; i++) {
        if ((i > 0 && info.data[i - 1] != '\n') || memcmp(info.data + i, name, size) != 0 ||
            info.data[i + size] != ':')
            continue;
        size_t from = i + size + 1, n = 0;
        while (from + n < info.size && n + 1 < room && info.data[from + n] > ' ') {
            out[n] = (char)info.data[from + n];
            n++;
        }
        out[n] = '\0';
        return true;
    }
    return false;
}

static void set_version(struct node *node)
{
    unsigned major = 0, minor = 0, patch = 0;
    if (sscanf(node->version, "%u.%u.%u", &major, &minor, &patch) < 2)
        major = 0;
    node->version_number = major * 10000 + minor % 100 * 100 + patch % 100;
    atomic_store(&node->version_shared, node->version_number);
    atomic_store(&node->fields_expire, node->version_number >= 70400);
}

static void info_answered(struct lane *lane, struct request *request, struct slice reply)
{
    (void)request;
    struct node *node = lane->node;
    char run_id[sizeof lane->run_id] = "";
    struct slice info;
    if (!resp_is_error(reply) && resp_text(reply, &info)) {
        info_field(info, "run_id", run_id, sizeof run_id);
        char version[sizeof node->version];
        if (!lane->resp3 && info_field(info, "redis_version", version, sizeof version))
            set_words(node, node->version, version, sizeof version);
    }
    set_version(node);
    bool same_process = run_id[0] != '\0' && strcmp(run_id, lane->run_id) == 0;
    if (!same_process)
        lane->old_connection_id = 0; // by now another client's number
    memcpy(lane->run_id, run_id, sizeof run_id);
    char old[24];
    snprintf(old, sizeof old, "%lld", (long long)lane->old_connection_id);
    if (lane->old_connection_id > 0 && lane->old_connection_id != lane->connection_id &&
        !ASK(lane, ignore, "CLIENT", "KILL", "ID", old))
        return;
    if (node->proxy->cache == NULL || !node->home->settings->config.cache)
        set_cache_state(node, NODE_CACHE_OFF_CONFIG);
    else if (!lane->resp3 || node->version_number < TRACKING_SINCE)
        set_cache_state(node, NODE_CACHE_OFF_VERSION);
    else {
        lane->tracking = true;
        if (!ask_tracking(lane))
            return;
    }
    if (lane_ask_role(lane, NULL) != 0)
        lane_lost(lane, "out of buffer memory");
}

static void select_answered(struct lane *lane, struct request *request, struct slice reply)
{
    (void)request;
    if (resp_is_error(reply))
        refused(lane, "SELECT", reply);
}

static void ask_rest(struct lane *lane)
{
    char db[8];
    snprintf(db, sizeof db, "%u", lane->db);
    if (ASK(lane, ignore, "CLIENT", "SETNAME", "weir-lane") &&
        (lane->db == 0 || ASK(lane, select_answered, "SELECT", db)))
        ASK(lane, info_answered, "INFO", "server");
}

static void auth_answered(struct lane *lane, struct request *request, struct slice reply)
{
    (void)request;
    if (resp_is_error(reply))
        refused(lane, "AUTH", reply);
    else
        ask_rest(lane);
}

static void hello_refused(struct lane *lane, struct slice reply)
{
    struct node *node = lane->node;
    if (slice_starts(reply, SLICE("-NOAUTH")) || slice_starts(reply, SLICE("-WRONGPASS"))) {
        refused(lane, "HELLO", reply);
        return;
    }
    atomic_store(&node->resp2_only, true);
    lane->resp3 = false; // a server without RESP3, or with the command forbidden
    if (node->password[0] == '\0')
        ask_rest(lane);
    else if (node->user[0] != '\0')
        ASK(lane, auth_answered, "AUTH", node->user, node->password);
    else
        ASK(lane, auth_answered, "AUTH", node->password);
}

static void hello_answered(struct lane *lane, struct request *request, struct slice reply)
{
    (void)request;
    struct node *node = lane->node;
    size_t cursor = 0;
    struct slice name, value, text;
    char version[sizeof node->version] = "";
    lane->connection_id = 0;
    if (reply.size == 0 || resp_is_error(reply)) {
        hello_refused(lane, reply);
        return;
    }
    lane->resp3 = true;
    atomic_store(&node->resp2_only, false);
    while (resp_element_next(reply, &cursor, &name) && resp_element_next(reply, &cursor, &value)) {
        if (!resp_text(name, &text))
            continue;
        struct slice word;
        if (slice_is(text, "version") && resp_text(value, &word))
            snprintf(version, sizeof version, "%.*s",
                     (int)(word.size < 31 ? word.size : 31), (const char *)word.data);
        else if (slice_is(text, "id"))
            resp_integer(value, &lane->connection_id);
    }
    set_words(node, node->version, version, sizeof version);
    ask_rest(lane);
}

void lane_greet(struct lane *lane)
{
    const struct node *node = lane->node;
    if (node->password[0] == '\0')
        ASK(lane, hello_answered, "HELLO", "3");
    else
        ASK(lane, hello_answered, "HELLO", "3", "AUTH",
            node->user[0] != '\0' ? node->user : "default", node->password);
}
