// See model_redis.h. One connection's commands run in order; between the steps the world interleaves
// connections. Output of a connection is one stream: replies and pushes in execution order, a
// connection's own pushes behind the reply that caused them (behind the whole array of an EXEC).
#include "model_redis.h"
#include "base/err.h"
#include "loop/net.h"
#include "world.h"
#include <assert.h>
#include <strings.h>

enum { CONNS = 128, ENTRIES = 256, FIELDS = 8, TRACKED = 512, ARGS = 64, KEY = 64, WATCHES = 8 };

struct arg {
    const uint8_t *data;
    size_t size;
};

enum entry_type { ENTRY_NONE, ENTRY_STRING, ENTRY_HASH, ENTRY_LIST };

struct entry {
    enum entry_type type;
    unsigned db;
    char key[KEY];
    struct bytes value;            // a string
    struct bytes before;           // its last value (BUG_STALE_READS)
    struct field {
        char name[32];
        struct bytes value;
    } field[FIELDS];
    unsigned fields;
    struct bytes item[ARGS];       // a list, head first
    unsigned items;
    int64_t expire_ms;             // 0: none
};

struct conn {
    int fd;                        // -1: free
    uint64_t id;
    struct bytes in, out, own_pushes;
    bool resp3, tracking, optin, caching, in_multi, multi_failed, dirty_cas, closing;
    int reply_mode;                // 0 on, 1 off, 2 skip the next, 3 skip this one
    unsigned db;
    struct bytes queued;           // frames
    unsigned queued_count;
    struct {
        char key[KEY];
        unsigned db;
    } watch[WATCHES];
    unsigned watches;
    char blocked_on[KEY];          // BLPOP; empty: not blocked
    int64_t blocked_until_ms;
    char name[64];
};

struct redis {
    uint16_t port;
    int listener;
    uint64_t next_id, commands;
    char run_id[41];
    struct entry entry[ENTRIES];
    struct tracked {
        char key[KEY];
        uint64_t conn[CONNS];
        unsigned conns;
    } tracked[TRACKED];
    struct conn conn[CONNS];
    struct conn foreign;           // runs the foreign writer's commands
    struct conn *current;
    int64_t phase_ms, now_ms;
    bool active_expiry;
    enum redis_bug bug;
};

static void execute(struct redis *r, struct conn *c, int argc, struct arg *argv);

// ---- replies -------------------------------------------------------------------------------------

static void reply_bulk(struct bytes *out, const void *data, size_t size)
{
    bytes_printf(out, "$%zu\r\n", size);
    bytes_add(out, data, size);
    bytes_add(out, "\r\n", 2);
}

static void reply_null(struct conn *c)
{
    bytes_printf(&c->out, c->resp3 ? "_\r\n" : "$-1\r\n");
}

static void reply_int(struct conn *c, int64_t value)
{
    bytes_printf(&c->out, ":%lld\r\n", (long long)value);
}

static void reply_ok(struct conn *c)
{
    bytes_printf(&c->out, "+OK\r\n");
}

static void reply_error(struct conn *c, const char *text)
{
    bytes_printf(&c->out, "-%s\r\n", text);
}

// ---- tracking ------------------------------------------------------------------------------------

static struct conn *conn_by_id(struct redis *r, uint64_t id)
{
    for (int i = 0; i < CONNS; i++)
        if (r->conn[i].fd >= 0 && r->conn[i].id == id)
            return &r->conn[i];
    return NULL;
}

static void push(struct redis *r, struct conn *c, const char *key)
{
    struct bytes *out = c == r->current ? &c->own_pushes : &c->out;
    bytes_printf(out, ">2\r\n$10\r\ninvalidate\r\n");
    if (key == NULL) {
        bytes_printf(out, "_\r\n");
        return;
    }
    bytes_printf(out, "*1\r\n");
    reply_bulk(out, key, strlen(key));
}

static void remember(struct redis *r, struct conn *c, const char *key)
{
    struct tracked *slot = NULL;
    for (int i = 0; i < TRACKED; i++) {
        if (strcmp(r->tracked[i].key, key) == 0 && r->tracked[i].conns > 0) {
            slot = &r->tracked[i];
            break;
        }
        if (r->tracked[i].conns == 0 && slot == NULL)
            slot = &r->tracked[i];
    }
    assert(slot != NULL);
    if (slot->conns == 0)
        snprintf(slot->key, KEY, "%s", key);
    for (unsigned i = 0; i < slot->conns; i++)
        if (slot->conn[i] == c->id)
            return;
    if (slot->conns == CONNS)
        memmove(slot->conn, slot->conn + 1, --slot->conns * sizeof *slot->conn); // the long dead
    slot->conn[slot->conns++] = c->id;
}

static void invalidate(struct redis *r, const char *key)
{
    for (int i = 0; i < TRACKED; i++) {
        struct tracked *t = &r->tracked[i];
        if (t->conns == 0 || strcmp(t->key, key) != 0)
            continue;
        for (unsigned n = 0; n < t->conns; n++) {
            struct conn *c = conn_by_id(r, t->conn[n]);
            if (c != NULL && c->tracking && c->resp3 && r->bug != BUG_NO_PUSH)
                push(r, c, key);
        }
        t->conns = 0;
    }
}

static void invalidate_all(struct redis *r)
{
    for (int i = 0; i < CONNS; i++)
        if (r->conn[i].fd >= 0 && r->conn[i].tracking)
            push(r, &r->conn[i], NULL);
    for (int i = 0; i < TRACKED; i++)
        r->tracked[i].conns = 0;
}

static void touch_watchers(struct redis *r, unsigned db, const char *key)
{
    for (int i = 0; i < CONNS; i++)
        for (unsigned w = 0; r->conn[i].fd >= 0 && w < r->conn[i].watches; w++)
            if (r->conn[i].watch[w].db == db &&
                (key == NULL || strcmp(r->conn[i].watch[w].key, key) == 0))
                r->conn[i].dirty_cas = true;
}

static void modified(struct redis *r, unsigned db, const char *key)
{
    touch_watchers(r, db, key);
    invalidate(r, key);
}

// ---- entries -------------------------------------------------------------------------------------

static struct entry *entry_find(struct redis *r, unsigned db, const char *key)
{
    for (int i = 0; i < ENTRIES; i++)
        if (r->entry[i].type != ENTRY_NONE && r->entry[i].db == db &&
            strcmp(r->entry[i].key, key) == 0)
            return &r->entry[i];
    return NULL;
}

static void entry_clear(struct entry *e)
{
    bytes_free(&e->value);
    bytes_free(&e->before);
    for (unsigned i = 0; i < e->fields; i++)
        bytes_free(&e->field[i].value);
    for (unsigned i = 0; i < e->items; i++)
        bytes_free(&e->item[i]);
    memset(e, 0, sizeof *e);
}

static bool expired(const struct redis *r, const struct entry *e)
{
    return e->expire_ms != 0 && r->now_ms > e->expire_ms && r->bug != BUG_NO_EXPIRY;
}

static void entry_expire(struct redis *r, struct entry *e)
{
    char key[KEY];
    unsigned db = e->db;
    memcpy(key, e->key, KEY);
    entry_clear(e);
    modified(r, db, key);
}

// The living entry; an expired one is deleted on the way, with its push.
static struct entry *lookup(struct redis *r, struct conn *c, const char *key)
{
    struct entry *e = entry_find(r, c->db, key);
    if (e != NULL && expired(r, e)) {
        entry_expire(r, e);
        return NULL;
    }
    return e;
}

static struct entry *entry_new(struct redis *r, struct conn *c, const char *key,
                               enum entry_type type)
{
    for (int i = 0; i < ENTRIES; i++)
        if (r->entry[i].type == ENTRY_NONE) {
            r->entry[i].type = type;
            r->entry[i].db = c->db;
            snprintf(r->entry[i].key, KEY, "%s", key);
            return &r->entry[i];
        }
    abort();
}

static void key_of(char out[KEY], struct arg arg)
{
    assert(arg.size < KEY);
    memcpy(out, arg.data, arg.size);
    out[arg.size] = '\0';
}

static bool word_is(struct arg arg, const char *word)
{
    return arg.size == strlen(word) && strncasecmp((const char *)arg.data, word, arg.size) == 0;
}

static int64_t number_of(struct arg arg)
{
    char text[32];
    size_t size = arg.size < 31 ? arg.size : 31;
    memcpy(text, arg.data, size);
    text[size] = '\0';
    return atoll(text);
}

static void set_string(struct redis *r, struct conn *c, const char *key, const void *data,
                       size_t size)
{
    struct entry *e = lookup(r, c, key);
    struct bytes before = {0};
    if (e != NULL) {
        before = e->value;
        e->value = (struct bytes){0};
        entry_clear(e);
    }
    e = entry_new(r, c, key, ENTRY_STRING);
    e->before = before;
    if (r->bug == BUG_LOSES_WRITES && world_chance(50) && before.data != NULL)
        bytes_add(&e->value, before.data, before.size);
    else
        bytes_add(&e->value, data, size);
    modified(r, c->db, key);
}

// ---- commands on keys ----------------------------------------------------------------------------

#define COMMAND(name)                                                                              \
    static void cmd_##name(struct redis *r, struct conn *c, int argc, struct arg *argv)
#define UNUSED_ARGS (void)r, (void)c, (void)argc, (void)argv

static void reply_string(struct redis *r, struct conn *c, const struct entry *e)
{
    if (e == NULL)
        reply_null(c);
    else if (r->bug == BUG_STALE_READS && e->before.data != NULL && world_chance(100))
        reply_bulk(&c->out, e->before.data, e->before.size);
    else
        reply_bulk(&c->out, e->value.data, e->value.size);
}

COMMAND(get)
{
    (void)argc;
    char key[KEY];
    key_of(key, argv[1]);
    reply_string(r, c, lookup(r, c, key));
}

COMMAND(mget)
{
    char key[KEY];
    bytes_printf(&c->out, "*%d\r\n", argc - 1);
    for (int i = 1; i < argc; i++) {
        key_of(key, argv[i]);
        reply_string(r, c, lookup(r, c, key));
    }
}

COMMAND(set)
{
    char key[KEY];
    int64_t px = 0;
    bool nx = false, xx = false;
    key_of(key, argv[1]);
    for (int i = 3; i < argc; i++) {
        if (word_is(argv[i], "PX") && i + 1 < argc)
            px = number_of(argv[++i]);
        else if (word_is(argv[i], "NX"))
            nx = true;
        else if (word_is(argv[i], "XX"))
            xx = true;
    }
    bool there = lookup(r, c, key) != NULL;
    if ((nx && there) || (xx && !there)) {
        reply_null(c);
        return;
    }
    set_string(r, c, key, argv[2].data, argv[2].size);
    if (px > 0)
        entry_find(r, c->db, key)->expire_ms = r->now_ms + px;
    reply_ok(c);
}

COMMAND(mset)
{
    char key[KEY];
    for (int i = 1; i + 1 < argc; i += 2) {
        key_of(key, argv[i]);
        set_string(r, c, key, argv[i + 1].data, argv[i + 1].size);
    }
    reply_ok(c);
}

COMMAND(del)
{
    char key[KEY];
    int64_t count = 0;
    for (int i = 1; i < argc; i++) {
        key_of(key, argv[i]);
        struct entry *e = lookup(r, c, key);
        if (e == NULL)
            continue;
        entry_clear(e);
        modified(r, c->db, key);
        count++;
    }
    reply_int(c, count);
}

COMMAND(incr)
{
    (void)argc;
    char key[KEY], text[32];
    key_of(key, argv[1]);
    struct entry *e = lookup(r, c, key);
    int64_t value = 0;
    if (e != NULL)
        value = number_of((struct arg){e->value.data, e->value.size});
    int size = snprintf(text, sizeof text, "%lld", (long long)++value);
    int64_t expire_ms = e != NULL ? e->expire_ms : 0;
    set_string(r, c, key, text, (size_t)size);
    entry_find(r, c->db, key)->expire_ms = expire_ms;
    reply_int(c, value);
}

COMMAND(append)
{
    (void)argc;
    char key[KEY];
    key_of(key, argv[1]);
    struct entry *e = lookup(r, c, key);
    if (e == NULL)
        e = entry_new(r, c, key, ENTRY_STRING);
    bytes_add(&e->value, argv[2].data, argv[2].size);
    modified(r, c->db, key);
    reply_int(c, (int64_t)e->value.size);
}

COMMAND(strlen)
{
    (void)argc;
    char key[KEY];
    key_of(key, argv[1]);
    const struct entry *e = lookup(r, c, key);
    reply_int(c, e != NULL ? (int64_t)e->value.size : 0);
}

COMMAND(exists)
{
    char key[KEY];
    int64_t count = 0;
    for (int i = 1; i < argc; i++) {
        key_of(key, argv[i]);
        count += lookup(r, c, key) != NULL;
    }
    reply_int(c, count);
}

static void set_expiry(struct redis *r, struct conn *c, struct arg *argv, int64_t scale)
{
    char key[KEY];
    key_of(key, argv[1]);
    struct entry *e = lookup(r, c, key);
    int64_t life_ms = number_of(argv[2]) * scale;
    if (e != NULL && life_ms <= 0)
        entry_clear(e);
    else if (e != NULL)
        e->expire_ms = r->now_ms + life_ms;
    if (e != NULL)
        modified(r, c->db, key);
    reply_int(c, e != NULL);
}

COMMAND(pexpire)
{
    (void)argc;
    set_expiry(r, c, argv, 1);
}

COMMAND(expire)
{
    (void)argc;
    set_expiry(r, c, argv, 1000);
}

COMMAND(pttl)
{
    (void)argc;
    char key[KEY];
    key_of(key, argv[1]);
    const struct entry *e = lookup(r, c, key);
    reply_int(c, e == NULL ? -2 : e->expire_ms == 0 ? -1 : e->expire_ms - r->now_ms);
}

static struct field *field_find(struct entry *e, struct arg name)
{
    for (unsigned i = 0; e != NULL && i < e->fields; i++)
        if (strlen(e->field[i].name) == name.size &&
            memcmp(e->field[i].name, name.data, name.size) == 0)
            return &e->field[i];
    return NULL;
}

COMMAND(hset)
{
    char key[KEY];
    key_of(key, argv[1]);
    struct entry *e = lookup(r, c, key);
    if (e == NULL)
        e = entry_new(r, c, key, ENTRY_HASH);
    int64_t added = 0;
    for (int i = 2; i + 1 < argc; i += 2) {
        struct field *f = field_find(e, argv[i]);
        if (f == NULL) {
            assert(e->fields < FIELDS);
            f = &e->field[e->fields++];
            snprintf(f->name, sizeof f->name, "%.*s", (int)argv[i].size,
                     (const char *)argv[i].data);
            added++;
        }
        f->value.size = 0;
        bytes_add(&f->value, argv[i + 1].data, argv[i + 1].size);
    }
    modified(r, c->db, key);
    reply_int(c, added);
}

COMMAND(hget)
{
    (void)argc;
    char key[KEY];
    key_of(key, argv[1]);
    const struct field *f = field_find(lookup(r, c, key), argv[2]);
    if (f == NULL)
        reply_null(c);
    else
        reply_bulk(&c->out, f->value.data, f->value.size);
}

COMMAND(hgetall)
{
    (void)argc;
    char key[KEY];
    key_of(key, argv[1]);
    const struct entry *e = lookup(r, c, key);
    unsigned fields = e != NULL ? e->fields : 0;
    bytes_printf(&c->out, c->resp3 ? "%%%u\r\n" : "*%u\r\n", c->resp3 ? fields : 2 * fields);
    for (unsigned i = 0; i < fields; i++) {
        reply_bulk(&c->out, e->field[i].name, strlen(e->field[i].name));
        reply_bulk(&c->out, e->field[i].value.data, e->field[i].value.size);
    }
}

// ---- lists and blocking --------------------------------------------------------------------------

static void reply_popped(struct redis *r, struct conn *c, struct entry *e)
{
    char key[KEY];
    memcpy(key, e->key, KEY);
    bytes_printf(&c->out, "*2\r\n");
    reply_bulk(&c->out, key, strlen(key));
    reply_bulk(&c->out, e->item[0].data, e->item[0].size);
    bytes_free(&e->item[0]);
    memmove(e->item, e->item + 1, --e->items * sizeof *e->item);
    e->item[e->items] = (struct bytes){0};
    if (e->items == 0)
        entry_clear(e);
    modified(r, c->db, key);
}

static void serve_blocked(struct redis *r)
{
    struct conn *current = r->current;
    for (int i = 0; i < CONNS; i++) {
        struct conn *c = &r->conn[i];
        if (c->fd < 0 || c->blocked_on[0] == '\0')
            continue;
        struct entry *e = entry_find(r, c->db, c->blocked_on);
        if (e != NULL && e->type == ENTRY_LIST) {
            c->blocked_on[0] = '\0';
            reply_popped(r, c, e);
        } else if (r->now_ms >= c->blocked_until_ms) {
            c->blocked_on[0] = '\0';
            bytes_printf(&c->out, c->resp3 ? "_\r\n" : "*-1\r\n");
        }
    }
    r->current = current;
}

COMMAND(lpush)
{
    char key[KEY];
    key_of(key, argv[1]);
    struct entry *e = lookup(r, c, key);
    if (e == NULL)
        e = entry_new(r, c, key, ENTRY_LIST);
    for (int i = 2; i < argc; i++) {
        assert(e->items < ARGS);
        memmove(e->item + 1, e->item, e->items++ * sizeof *e->item);
        e->item[0] = (struct bytes){0};
        bytes_add(&e->item[0], argv[i].data, argv[i].size);
    }
    reply_int(c, e->items);
    modified(r, c->db, key);
}

COMMAND(blpop)
{
    char key[KEY];
    key_of(key, argv[1]);
    struct entry *e = lookup(r, c, key);
    if (e != NULL) {
        reply_popped(r, c, e);
        return;
    }
    char text[32];
    snprintf(text, sizeof text, "%.*s", (int)argv[argc - 1].size, (char *)argv[argc - 1].data);
    memcpy(c->blocked_on, key, KEY);
    c->blocked_until_ms = r->now_ms + (int64_t)(atof(text) * 1000.0);
    if (c->in_multi) {
        c->blocked_on[0] = '\0';
        bytes_printf(&c->out, c->resp3 ? "_\r\n" : "*-1\r\n");
    }
}

// ---- databases -----------------------------------------------------------------------------------

COMMAND(flushdb)
{
    UNUSED_ARGS;
    for (int i = 0; i < ENTRIES; i++)
        if (r->entry[i].type != ENTRY_NONE && r->entry[i].db == c->db)
            entry_clear(&r->entry[i]);
    touch_watchers(r, c->db, NULL);
    invalidate_all(r);
    reply_ok(c);
}

COMMAND(flushall)
{
    UNUSED_ARGS;
    for (int i = 0; i < ENTRIES; i++)
        entry_clear(&r->entry[i]);
    for (unsigned db = 0; db < MODEL_DBS; db++)
        touch_watchers(r, db, NULL);
    invalidate_all(r);
    reply_ok(c);
}

COMMAND(swapdb)
{
    (void)argc;
    unsigned a = (unsigned)number_of(argv[1]), b = (unsigned)number_of(argv[2]);
    for (int i = 0; i < ENTRIES; i++) {
        if (r->entry[i].db == a)
            r->entry[i].db = b;
        else if (r->entry[i].db == b)
            r->entry[i].db = a;
    }
    touch_watchers(r, a, NULL);
    touch_watchers(r, b, NULL);
    reply_ok(c); // and no push
}

COMMAND(select)
{
    (void)r;
    (void)argc;
    int64_t db = number_of(argv[1]);
    if (db < 0 || db >= 16) {
        reply_error(c, "ERR DB index is out of range");
        return;
    }
    c->db = (unsigned)db;
    reply_ok(c);
}

// ---- transactions --------------------------------------------------------------------------------

static void multi_end(struct conn *c)
{
    c->in_multi = c->multi_failed = c->dirty_cas = false;
    c->queued.size = 0;
    c->queued_count = 0;
    c->watches = 0;
}

COMMAND(multi)
{
    UNUSED_ARGS;
    if (c->in_multi) {
        reply_error(c, "ERR MULTI calls can not be nested");
        return;
    }
    c->in_multi = true;
    reply_ok(c);
}

COMMAND(discard)
{
    UNUSED_ARGS;
    if (!c->in_multi) {
        reply_error(c, "ERR DISCARD without MULTI");
        return;
    }
    multi_end(c);
    reply_ok(c);
}

COMMAND(watch)
{
    (void)r;
    for (int i = 1; i < argc; i++) {
        assert(c->watches < WATCHES);
        key_of(c->watch[c->watches].key, argv[i]);
        c->watch[c->watches++].db = c->db;
    }
    reply_ok(c);
}

COMMAND(unwatch)
{
    UNUSED_ARGS;
    c->watches = 0;
    c->dirty_cas = false;
    reply_ok(c);
}

static size_t frame_parse(const uint8_t *data, size_t size, int *argc, struct arg *argv);
static void run(struct redis *r, struct conn *c, int argc, struct arg *argv);

COMMAND(exec)
{
    UNUSED_ARGS;
    if (!c->in_multi) {
        reply_error(c, "ERR EXEC without MULTI");
        return;
    }
    // a watched key that has expired by now counts as changed, as it does for Redis
    for (unsigned w = 0; w < c->watches; w++) {
        struct entry *e = entry_find(r, c->watch[w].db, c->watch[w].key);
        if (e != NULL && expired(r, e))
            c->dirty_cas = true;
    }
    if (c->multi_failed) {
        reply_error(c, "EXECABORT Transaction discarded because of previous errors.");
    } else if (c->dirty_cas) {
        bytes_printf(&c->out, c->resp3 ? "_\r\n" : "*-1\r\n");
    } else {
        bytes_printf(&c->out, "*%u\r\n", c->queued_count);
        struct bytes frames = c->queued;
        c->queued = (struct bytes){0};
        for (size_t at = 0; at < frames.size;) {
            int count;
            struct arg args[ARGS];
            at += frame_parse(frames.data + at, frames.size - at, &count, args);
            run(r, c, count, args);
        }
        bytes_free(&frames);
    }
    multi_end(c);
}

// ---- connections ---------------------------------------------------------------------------------

COMMAND(hello)
{
    (void)r;
    if (argc > 1)
        c->resp3 = number_of(argv[1]) == 3;
    bytes_printf(&c->out, c->resp3 ? "%%7\r\n" : "*14\r\n");
    bytes_printf(&c->out, "$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n");
    bytes_printf(&c->out, "$5\r\nproto\r\n:%d\r\n$2\r\nid\r\n:%llu\r\n", c->resp3 ? 3 : 2,
                 (unsigned long long)c->id);
    bytes_printf(&c->out, "$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n");
    bytes_printf(&c->out, "$7\r\nmodules\r\n*0\r\n");
}

static void client_tracking(struct conn *c, int argc, struct arg *argv)
{
    bool on = argc > 2 && word_is(argv[2], "ON");
    bool optin = argc > 3 && word_is(argv[3], "OPTIN");
    if (on && c->tracking && c->optin != optin) {
        reply_error(c, "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking");
        return;
    }
    c->tracking = on;
    c->optin = optin;
    c->caching = false;
    reply_ok(c);
}

static void client_kill(struct redis *r, struct conn *c, int argc, struct arg *argv)
{
    struct conn *victim = NULL;
    if (argc == 4 && word_is(argv[2], "ID"))
        victim = conn_by_id(r, (uint64_t)number_of(argv[3]));
    if (victim != NULL)
        victim->closing = true;
    reply_int(c, victim != NULL);
}

COMMAND(client)
{
    if (argc < 2) {
        reply_error(c, "ERR wrong number of arguments for 'client' command");
    } else if (word_is(argv[1], "TRACKING")) {
        client_tracking(c, argc, argv);
    } else if (word_is(argv[1], "CACHING")) {
        if (!c->tracking || !c->optin) {
            reply_error(c, "ERR CLIENT CACHING can be called only when the client is in tracking "
                           "mode with OPTIN or OPTOUT mode enabled");
            return;
        }
        c->caching = true;
        reply_ok(c);
    } else if (word_is(argv[1], "ID")) {
        reply_int(c, (int64_t)c->id);
    } else if (word_is(argv[1], "KILL")) {
        client_kill(r, c, argc, argv);
    } else if (word_is(argv[1], "REPLY")) {
        if (word_is(argv[2], "OFF")) {
            c->reply_mode = 1;
        } else if (word_is(argv[2], "SKIP")) {
            c->reply_mode = c->reply_mode == 1 ? 1 : 2;
        } else {
            c->reply_mode = 0;
            reply_ok(c);
        }
    } else if (word_is(argv[1], "SETNAME")) {
        snprintf(c->name, sizeof c->name, "%.*s", (int)argv[2].size, (char *)argv[2].data);
        reply_ok(c);
    } else if (word_is(argv[1], "GETNAME")) {
        if (c->name[0] == '\0')
            reply_null(c);
        else
            reply_bulk(&c->out, c->name, strlen(c->name));
    } else {
        reply_ok(c); // NO-EVICT, SETINFO, …
    }
}

COMMAND(reset)
{
    UNUSED_ARGS;
    multi_end(c);
    c->resp3 = c->tracking = c->optin = c->caching = false;
    c->db = 0;
    c->name[0] = '\0';
    bytes_printf(&c->out, "+RESET\r\n");
}

COMMAND(role)
{
    UNUSED_ARGS;
    bytes_printf(&c->out, "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n");
}

COMMAND(info)
{
    UNUSED_ARGS;
    char text[256];
    int size = snprintf(text, sizeof text,
                        "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n"
                        "run_id:%s\r\n", r->run_id);
    if (c->resp3) {
        bytes_printf(&c->out, "=%d\r\ntxt:", size + 4);
        bytes_add(&c->out, text, (size_t)size);
        bytes_add(&c->out, "\r\n", 2);
    } else {
        reply_bulk(&c->out, text, (size_t)size);
    }
}

COMMAND(ping)
{
    (void)r;
    if (argc > 1)
        reply_bulk(&c->out, argv[1].data, argv[1].size);
    else
        bytes_printf(&c->out, "+PONG\r\n");
}

COMMAND(empty_list)
{
    UNUSED_ARGS;
    bytes_printf(&c->out, "*0\r\n");
}

COMMAND(ok)
{
    UNUSED_ARGS;
    reply_ok(c);
}

// ---- running -------------------------------------------------------------------------------------

enum { READS = 1, ALL_KEYS = 2, CONTROL = 4 };

static const struct command_entry {
    const char *name;
    void (*run)(struct redis *r, struct conn *c, int argc, struct arg *argv);
    int arity, flags; // READS: tracked, of its first key (ALL_KEYS: all arguments are keys)
} commands[] = {
    {"get", cmd_get, 2, READS},       {"mget", cmd_mget, -2, READS | ALL_KEYS},
    {"set", cmd_set, -3, 0},          {"mset", cmd_mset, -3, 0},
    {"del", cmd_del, -2, 0},          {"unlink", cmd_del, -2, 0},
    {"incr", cmd_incr, 2, 0},         {"append", cmd_append, 3, 0},
    {"strlen", cmd_strlen, 2, READS}, {"exists", cmd_exists, -2, READS | ALL_KEYS},
    {"pexpire", cmd_pexpire, -3, 0},  {"expire", cmd_expire, -3, 0},
    {"pttl", cmd_pttl, 2, READS},     {"hset", cmd_hset, -4, 0},
    {"hget", cmd_hget, 3, READS},     {"hgetall", cmd_hgetall, 2, READS},
    {"lpush", cmd_lpush, -3, 0},      {"blpop", cmd_blpop, -3, 0},
    {"flushdb", cmd_flushdb, -1, 0},  {"flushall", cmd_flushall, -1, 0},
    {"swapdb", cmd_swapdb, 3, 0},     {"select", cmd_select, 2, 0},
    {"multi", cmd_multi, 1, CONTROL}, {"exec", cmd_exec, 1, CONTROL},
    {"discard", cmd_discard, 1, CONTROL}, {"watch", cmd_watch, -2, CONTROL},
    {"unwatch", cmd_unwatch, 1, 0},   {"hello", cmd_hello, -1, 0},
    {"client", cmd_client, -2, 0},    {"reset", cmd_reset, 1, CONTROL},
    {"role", cmd_role, 1, 0},         {"info", cmd_info, -1, 0},
    {"ping", cmd_ping, -1, 0},        {"command", cmd_empty_list, -1, 0},
    {"auth", cmd_ok, -2, 0},          {"touch", cmd_exists, -2, ALL_KEYS},
};

static const struct command_entry *command_of(struct arg name)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (word_is(name, commands[i].name))
            return &commands[i];
    return NULL;
}

// One command, and what reading it registers.
static void run(struct redis *r, struct conn *c, int argc, struct arg *argv)
{
    const struct command_entry *command = command_of(argv[0]);
    bool caching = c->caching;
    command->run(r, c, argc, argv);
    r->commands++;
    bool sets_caching = word_is(argv[0], "client") && argc > 1 && word_is(argv[1], "CACHING");
    if (!sets_caching && !c->in_multi)
        c->caching = false;
    if (!(command->flags & READS) || !c->tracking || (c->optin && !caching))
        return;
    for (int i = 1; i < (command->flags & ALL_KEYS ? argc : 2); i++) {
        char key[KEY];
        key_of(key, argv[i]);
        remember(r, c, key);
    }
}

static void execute(struct redis *r, struct conn *c, int argc, struct arg *argv)
{
    const struct command_entry *command = command_of(argv[0]);
    size_t before = c->out.size;
    r->current = c;
    if (c->reply_mode == 2)
        c->reply_mode = 3;
    bool bad_arity = command != NULL && (command->arity > 0 ? argc != command->arity
                                                            : argc < -command->arity);
    if (command == NULL || bad_arity) {
        bytes_printf(&c->out,
                     command == NULL ? "-ERR unknown command '%.*s', with args beginning with: \r\n"
                                     : "-ERR wrong number of arguments for '%.*s' command\r\n",
                     (int)(argv[0].size < 100 ? argv[0].size : 100), (const char *)argv[0].data);
        c->multi_failed |= c->in_multi;
    } else if (c->in_multi && !(command->flags & CONTROL)) {
        bytes_printf(&c->queued, "*%d\r\n", argc);
        for (int i = 0; i < argc; i++)
            reply_bulk(&c->queued, argv[i].data, argv[i].size);
        c->queued_count++;
        bytes_printf(&c->out, "+QUEUED\r\n");
    } else {
        run(r, c, argc, argv);
    }
    if (c->reply_mode == 1 || c->reply_mode == 3)
        c->out.size = before;
    if (c->reply_mode == 3)
        c->reply_mode = 0;
    bytes_add(&c->out, c->own_pushes.data, c->own_pushes.size);
    c->own_pushes.size = 0;
    r->current = NULL;
    serve_blocked(r);
}

// Bytes of the first whole request, 0 when there is none yet.
static size_t frame_parse(const uint8_t *data, size_t size, int *argc, struct arg *argv)
{
    size_t at = 0;
    long count = 0;
    for (int i = -1; i < count; i++) {
        const uint8_t *end = at < size ? memchr(data + at, '\n', size - at) : NULL;
        if (end == NULL)
            return 0;
        assert(data[at] == (i < 0 ? '*' : '$')); // weir sends nothing else
        long value = strtol((const char *)data + at + 1, NULL, 10);
        at = (size_t)(end - data) + 1;
        if (i < 0) {
            count = value;
            assert(count > 0 && count <= ARGS);
            continue;
        }
        if (size - at < (size_t)value + 2)
            return 0;
        argv[i] = (struct arg){data + at, (size_t)value};
        at += (size_t)value + 2;
    }
    *argc = (int)count;
    return at;
}

// ---- the server ----------------------------------------------------------------------------------

static void conn_close(struct conn *c)
{
    net_close(c->fd);
    bytes_free(&c->in);
    bytes_free(&c->out);
    bytes_free(&c->own_pushes);
    bytes_free(&c->queued);
    memset(c, 0, sizeof *c);
    c->fd = -1;
}

static void accept_all(struct redis *r)
{
    int fd;
    while ((fd = net_accept(r->listener, NULL, 0)) >= 0) {
        int i = 0;
        while (i < CONNS && r->conn[i].fd >= 0)
            i++;
        assert(i < CONNS);
        r->conn[i] = (struct conn){.fd = fd, .id = r->next_id++};
    }
}

static void conn_step(struct redis *r, struct conn *c)
{
    uint8_t chunk[16384];
    if (c->closing) {
        conn_close(c);
        return;
    }
    ssize_t n = net_read(c->fd, chunk, sizeof chunk);
    if (n > 0) {
        bytes_add(&c->in, chunk, (size_t)n);
    } else if (n != WEIR_EAGAIN) {
        conn_close(c);
        return;
    }
    int argc;
    struct arg argv[ARGS];
    size_t size;
    for (unsigned most = 1 + (unsigned)world_below(8);
         most > 0 && c->blocked_on[0] == '\0' && !c->closing &&
         (size = frame_parse(c->in.data, c->in.size, &argc, argv)) > 0;
         most--) {
        execute(r, c, argc, argv);
        bytes_drop(&c->in, size);
        world_note_activity();
    }
    if (c->out.size > 0 && (n = net_write(c->fd, c->out.data, c->out.size)) > 0)
        bytes_drop(&c->out, (size_t)n);
}

static void set_time(struct redis *r)
{
    r->now_ms = r->phase_ms + (int64_t)((world_now() + 777777) / 1000000);
}

static void expire_cycle(struct redis *r)
{
    for (int i = 0; i < ENTRIES; i++)
        if (r->entry[i].type != ENTRY_NONE && expired(r, &r->entry[i]) && world_chance(500))
            entry_expire(r, &r->entry[i]);
}

void redis_step(struct redis *r)
{
    set_time(r);
    accept_all(r);
    serve_blocked(r);
    if (r->active_expiry && world_chance(20))
        expire_cycle(r);
    unsigned start = (unsigned)world_below(CONNS);
    for (unsigned i = 0; i < CONNS; i++) {
        struct conn *c = &r->conn[(start + i) % CONNS];
        if (c->fd >= 0 && world_chance(700))
            conn_step(r, c);
    }
}

uint64_t redis_next_event(const struct redis *r)
{
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < CONNS; i++)
        if (r->conn[i].fd >= 0 && r->conn[i].blocked_on[0] != '\0' &&
            r->conn[i].blocked_until_ms >= r->now_ms) {
            uint64_t at = world_now() +
                          (uint64_t)(r->conn[i].blocked_until_ms - r->now_ms + 1) * 1000000;
            next = at < next ? at : next;
        }
    return next;
}

void redis_foreign(struct redis *r, int argc, const char *const *argv)
{
    struct arg args[ARGS];
    for (int i = 0; i < argc; i++)
        args[i] = (struct arg){(const uint8_t *)argv[i], strlen(argv[i])};
    set_time(r);
    execute(r, &r->foreign, argc, args);
    bytes_free(&r->foreign.out);
    world_note_activity();
}

const struct bytes *redis_peek(const struct redis *r, unsigned db, const char *key)
{
    struct redis *unlocked = (struct redis *)(uintptr_t)r;
    const struct entry *e = entry_find(unlocked, db, key);
    return e == NULL || expired(r, e) ? NULL : &e->value;
}

static void new_run(struct redis *r)
{
    for (int i = 0; i < 40; i++)
        r->run_id[i] = "0123456789abcdef"[world_below(16)];
    r->next_id = 1 + world_below(50); // ids of another process may look alike
    r->phase_ms = 1700000000000 + (int64_t)world_below(1000);
    set_time(r);
}

struct redis *redis_create(uint16_t port)
{
    struct redis *r = calloc(1, sizeof *r);
    r->port = port;
    for (int i = 0; i < CONNS; i++)
        r->conn[i].fd = -1;
    r->foreign.fd = -1;
    new_run(r);
    r->listener = net_listen(&(struct net_address){.port = port}, 1);
    assert(r->listener >= 0);
    return r;
}

static void drop_all(struct redis *r)
{
    while (world_break(r->port, 0, true))
        ;
    for (int i = 0; i < CONNS; i++)
        if (r->conn[i].fd >= 0)
            conn_close(&r->conn[i]);
    for (int i = 0; i < ENTRIES; i++)
        entry_clear(&r->entry[i]);
    for (int i = 0; i < TRACKED; i++)
        r->tracked[i].conns = 0;
}

void redis_restart(struct redis *r)
{
    accept_all(r);
    drop_all(r);
    new_run(r);
}

void redis_destroy(struct redis *r)
{
    accept_all(r);
    drop_all(r);
    net_close(r->listener);
    bytes_free(&r->foreign.out);
    bytes_free(&r->foreign.in);
    bytes_free(&r->foreign.own_pushes);
    bytes_free(&r->foreign.queued);
    free(r);
}

void redis_set_bug(struct redis *r, enum redis_bug bug)
{
    r->bug = bug;
}

void redis_set_active_expiry(struct redis *r, bool on)
{
    r->active_expiry = on;
}

uint64_t redis_commands(const struct redis *r)
{
    return r->commands;
}
