// The simulated clients. Keys by first letter, so that every command meets its own kind of value:
//   s plain strings   n counters   a appended to   t with a life   h hashes   w under WATCH
//   f written by others only      l lists
//
// A request that changes what later ones mean (SELECT, HELLO, RESET, MULTI, WATCH) is sent alone:
// the client waits for its reply, because when it fails the next ones would mean something else.
#include "client.h"
#include "base/err.h"
#include "loop/net.h"
#include "reply.h"
#include "world.h"
#include <assert.h>

enum { PENDING = 64, EFFECTS = 8, VERSIONS = 4096, FOREIGN_KEYS = 3, ITEMS = 4096 };

enum request_kind {
    R_GET, R_SET, R_SETNX, R_SETXX, R_SETPX, R_DEL, R_MGET, R_MSET, R_INCR, R_APPEND, R_EXISTS,
    R_STRLEN, R_PEXPIRE, R_PTTL, R_HSET, R_HGET, R_HGETALL, R_HDEL, R_FLUSHDB, R_FLUSHALL, R_SWAPDB,
    R_SELECT, R_HELLO, R_RESET, R_PING, R_MULTI, R_QUEUED, R_EXEC, R_WATCH, R_UNWATCH, R_LPUSH,
    R_BLPOP, R_FOREIGN_GET,
};

struct effect {
    char reg[HISTORY_NAME];
    struct op op;
};

struct pending {
    enum request_kind kind;
    struct effect effect[EFFECTS];
    unsigned effects;
    unsigned argument;  // db, protocol, f key
    char text[48];      // PING's, an item
    uint64_t invoke_ns;
    uint8_t client;
};

enum flow { FLOW_NONE, FLOW_WATCH, FLOW_READ, FLOW_MULTI, FLOW_QUEUE };

struct client {
    unsigned id;
    int fd; // -1: not connected
    bool connected;
    unsigned protocol, db;
    struct bytes in, out;
    struct pending pending[PENDING];
    unsigned first, count; // ring
    bool alone;            // nothing more until all replies are in
    enum flow flow;        // of a transaction
    bool cas;              // … under WATCH
    unsigned cas_key;
    uint32_t cas_expected;
    uint64_t next_send_ns, paused_until_ns, closed_after_ns;
    uint64_t serial;
    struct pending exec; // effects gathered while queueing
};

struct version {
    uint32_t content;
    uint64_t from_ns, until_ns; // until: its own expiry, UINT64_MAX without one
};

struct fleet {
    struct fleet_options options;
    struct history *history;
    struct client client[HISTORY_CLIENTS];
    struct version version[FOREIGN_KEYS][VERSIONS];
    unsigned versions[FOREIGN_KEYS];
    char item[ITEMS][48];
    bool popped[ITEMS];
    unsigned items;
    uint64_t quiet_until_ns, foreign_serial, replies, errors;
    unsigned violations;
    bool stopped;
    unsigned verify_at; // keys checked at the end
    struct reply_tree tree;
};

enum { LOSS_CLIENT = HISTORY_CLIENTS - 1, VERIFIER = HISTORY_CLIENTS - 2 };

// ---- violations ----------------------------------------------------------------------------------

__attribute__((format(printf, 3, 4))) static void violation(struct fleet *f, const struct client *c,
                                                           const char *format, ...)
{
    va_list args;
    f->violations++;
    fprintf(stderr, "VIOLATION at %llu.%06llu ms client %u: ",
            (unsigned long long)world_now() / 1000000, (unsigned long long)world_now() % 1000000,
            c->id);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

// ---- composing -----------------------------------------------------------------------------------

static const char letters[] = "snathwfl";
enum { KEYS_PER_LETTER = 4 };

static void key_text(char out[16], char letter)
{
    snprintf(out, 16, "%c%u", letter, (unsigned)world_below(letter == 'f' ? FOREIGN_KEYS
                                                                          : KEYS_PER_LETTER));
}

static void compose(struct client *c, unsigned argc, const struct bytes *argv)
{
    bytes_printf(&c->out, "*%u\r\n", argc);
    for (unsigned i = 0; i < argc; i++) {
        bytes_printf(&c->out, "$%zu\r\n", argv[i].size);
        bytes_add(&c->out, argv[i].data, argv[i].size);
        bytes_add(&c->out, "\r\n", 2);
    }
}

static struct bytes arg_text(const char *text)
{
    return (struct bytes){.data = (uint8_t *)(uintptr_t)text, .size = strlen(text)};
}

#define COMPOSE(c, ...)                                                                            \
    compose(c, sizeof((const struct bytes[]){__VA_ARGS__}) / sizeof(struct bytes),                 \
            (const struct bytes[]){__VA_ARGS__})
#define T(text) arg_text(text)

// A value nobody else writes. Sometimes long enough to span blocks, or not to fit a lane's request.
static struct bytes fresh_value(struct fleet *f, struct client *c, bool small)
{
    struct bytes value = {0};
    bytes_printf(&value, "v%u.%llu", c->id, (unsigned long long)c->serial++);
    size_t pad = world_below(12);
    if (!small && world_chance(150))
        pad = world_below(6000);
    else if (!small && f->options.large && world_chance(60))
        pad = world_below(200000);
    if (pad > 0) {
        struct bytes fill = {.data = malloc(pad), .size = pad};
        memset(fill.data, '.', pad);
        bytes_add(&value, fill.data, pad);
        free(fill.data);
    }
    return value;
}

static struct pending *pending_new(struct client *c, enum request_kind kind)
{
    assert(c->count < PENDING);
    struct pending *p = &c->pending[(c->first + c->count++) % PENDING];
    memset(p, 0, sizeof *p);
    p->kind = kind;
    p->invoke_ns = world_now();
    p->client = (uint8_t)c->id;
    return p;
}

static struct op *effect(struct client *c, struct pending *p, const char *reg, enum op_kind kind)
{
    assert(p->effects < EFFECTS);
    struct effect *e = &p->effect[p->effects++];
    snprintf(e->reg, sizeof e->reg, "%s", reg);
    e->op = (struct op){.kind = kind, .client = (uint8_t)c->id, .db = (uint8_t)c->db,
                        .invoke_ns = world_now()};
    return &e->op;
}

// ---- requests ------------------------------------------------------------------------------------

static void send_get(struct client *c, const char *key)
{
    effect(c, pending_new(c, R_GET), key, OP_GET);
    COMPOSE(c, T(world_chance(900) ? "GET" : "get"), T(key));
}

static void send_set(struct fleet *f, struct client *c, const char *key, enum request_kind kind)
{
    struct bytes value = fresh_value(f, c, false);
    struct op *op = effect(c, pending_new(c, kind), key,
                           kind == R_SET ? OP_SET : kind == R_SETNX ? OP_SETNX : OP_SETXX);
    op->content = history_intern(f->history, value.data, value.size);
    if (kind == R_SET)
        COMPOSE(c, T("SET"), T(key), value);
    else
        COMPOSE(c, T("SET"), T(key), value, T(kind == R_SETNX ? "NX" : "XX"));
    bytes_free(&value);
}

static void send_del(struct client *c, const char *key)
{
    effect(c, pending_new(c, R_DEL), key, OP_DEL);
    COMPOSE(c, T("DEL"), T(key));
}

// MGET, MSET or DEL of several distinct keys.
static void send_many(struct fleet *f, struct client *c, enum request_kind kind)
{
    unsigned keys = 2 + (unsigned)world_below(KEYS_PER_LETTER - 1);
    unsigned start = (unsigned)world_below(KEYS_PER_LETTER);
    struct pending *p = pending_new(c, kind);
    struct bytes argv[1 + 2 * KEYS_PER_LETTER];
    char name[KEYS_PER_LETTER][16];
    unsigned argc = 0;
    argv[argc++] = T(kind == R_MGET ? "MGET" : kind == R_MSET ? "MSET" : "DEL");
    for (unsigned i = 0; i < keys; i++) {
        snprintf(name[i], sizeof name[i], "s%u", (start + i) % KEYS_PER_LETTER);
        argv[argc++] = T(name[i]);
        struct op *op = effect(c, p, name[i],
                               kind == R_MGET ? OP_GET : kind == R_MSET ? OP_SET : OP_DEL);
        op->unchecked = kind == R_DEL;
        if (kind != R_MSET)
            continue;
        argv[argc] = fresh_value(f, c, true);
        op->content = history_intern(f->history, argv[argc].data, argv[argc].size);
        argc++;
    }
    compose(c, argc, argv);
    for (unsigned i = 2; kind == R_MSET && i < argc; i += 2)
        bytes_free(&argv[i]);
}

static void send_strings(struct fleet *f, struct client *c)
{
    char key[16];
    key_text(key, 's');
    switch (world_below(16)) {
    case 0: case 1: case 2:
        send_set(f, c, key, R_SET);
        break;
    case 3:
        send_set(f, c, key, world_chance(500) ? R_SETNX : R_SETXX);
        break;
    case 4:
        send_del(c, key);
        break;
    case 5: case 6:
        send_many(f, c, R_MGET);
        break;
    case 7:
        send_many(f, c, world_chance(800) ? R_MSET : R_DEL);
        break;
    case 8:
        effect(c, pending_new(c, R_EXISTS), key, OP_EXISTS);
        COMPOSE(c, T("EXISTS"), T(key));
        break;
    case 9:
        effect(c, pending_new(c, R_STRLEN), key, OP_STRLEN);
        COMPOSE(c, T("STRLEN"), T(key));
        break;
    default:
        send_get(c, key);
    }
}

static void send_counters(struct fleet *f, struct client *c)
{
    char key[16];
    if (world_chance(500)) {
        key_text(key, 'n');
        if (world_chance(400)) {
            effect(c, pending_new(c, R_INCR), key, OP_INCR);
            COMPOSE(c, T("INCR"), T(key));
        } else {
            send_get(c, key);
        }
        return;
    }
    key_text(key, 'a');
    if (world_chance(300)) {
        char suffix[32];
        snprintf(suffix, sizeof suffix, "<%u.%llu>", c->id, (unsigned long long)c->serial++);
        effect(c, pending_new(c, R_APPEND), key, OP_APPEND)->content =
            history_intern(f->history, suffix, strlen(suffix));
        COMPOSE(c, T("APPEND"), T(key), T(suffix));
    } else if (world_chance(150)) {
        send_del(c, key);
    } else {
        send_get(c, key);
    }
}

static void send_lives(struct fleet *f, struct client *c)
{
    char key[16], life[16];
    unsigned life_ms = 3 + (unsigned)world_below(world_chance(800) ? 100 : 2000);
    key_text(key, 't');
    snprintf(life, sizeof life, "%u", life_ms);
    switch (world_below(10)) {
    case 0: case 1: {
        struct bytes value = fresh_value(f, c, true);
        struct op *op = effect(c, pending_new(c, R_SETPX), key, OP_SETPX);
        op->content = history_intern(f->history, value.data, value.size);
        op->number = life_ms;
        COMPOSE(c, T("SET"), T(key), value, T("PX"), T(life));
        bytes_free(&value);
        break;
    }
    case 2:
        effect(c, pending_new(c, R_PEXPIRE), key, OP_PEXPIRE)->number = life_ms;
        COMPOSE(c, T("PEXPIRE"), T(key), T(life));
        break;
    case 3:
        effect(c, pending_new(c, R_PTTL), key, OP_PTTL);
        COMPOSE(c, T("PTTL"), T(key));
        break;
    case 4:
        if (world_chance(300))
            send_set(f, c, key, R_SET);
        else
            send_del(c, key);
        break;
    default:
        send_get(c, key);
    }
}

enum { HASH_FIELDS = 3 };

static void field_reg(char out[HISTORY_NAME], const char *key, unsigned field)
{
    snprintf(out, HISTORY_NAME, "%s/f%u", key, field);
}

static void send_hashes(struct fleet *f, struct client *c)
{
    char key[16], reg[HISTORY_NAME], name[8];
    unsigned field = (unsigned)world_below(HASH_FIELDS);
    key_text(key, 'h');
    field_reg(reg, key, field);
    snprintf(name, sizeof name, "f%u", field);
    unsigned choice = (unsigned)world_below(10);
    if (choice < 3) {
        struct bytes value = fresh_value(f, c, true);
        struct op *op = effect(c, pending_new(c, R_HSET), reg, OP_SET);
        op->content = history_intern(f->history, value.data, value.size);
        COMPOSE(c, T("HSET"), T(key), T(name), value);
        bytes_free(&value);
    } else if (choice < 6) {
        effect(c, pending_new(c, R_HGET), reg, OP_GET);
        COMPOSE(c, T("HGET"), T(key), T(name));
    } else {
        struct pending *p = pending_new(c, choice == 9 ? R_HDEL : R_HGETALL);
        for (unsigned i = 0; i < HASH_FIELDS; i++) {
            field_reg(reg, key, i);
            effect(c, p, reg, choice == 9 ? OP_DEL : OP_GET)->unchecked = choice == 9;
        }
        COMPOSE(c, T(choice == 9 ? "DEL" : "HGETALL"), T(key));
    }
}

static void send_foreign_get(struct client *c)
{
    char key[16];
    key_text(key, 'f');
    struct pending *p = pending_new(c, R_FOREIGN_GET);
    p->argument = (unsigned)atoi(key + 1);
    COMPOSE(c, T("GET"), T(key));
}

static void send_list(struct fleet *f, struct client *c)
{
    char key[16];
    key_text(key, 'l');
    if (world_chance(500) && f->items < ITEMS) {
        struct pending *p = pending_new(c, R_LPUSH);
        snprintf(p->text, sizeof p->text, "i%u.%llu", c->id, (unsigned long long)c->serial++);
        memcpy(f->item[f->items++], p->text, sizeof p->text);
        COMPOSE(c, T("LPUSH"), T(key), T(p->text));
    } else {
        pending_new(c, R_BLPOP);
        COMPOSE(c, T("BLPOP"), T(key), T("0.05"));
        c->alone = world_chance(700);
    }
}

static void send_global(struct client *c)
{
    static const enum request_kind kinds[] = {R_FLUSHDB, R_FLUSHALL, R_SWAPDB};
    static const char *const names[] = {"FLUSHDB", "FLUSHALL", "SWAPDB"};
    unsigned i = (unsigned)world_below(3);
    pending_new(c, kinds[i])->argument = c->db;
    if (i == 2)
        COMPOSE(c, T("SWAPDB"), T("0"), T("1"));
    else
        COMPOSE(c, T(names[i]));
}

static void send_connection_matters(struct client *c)
{
    struct pending *p;
    char text[16];
    switch (world_below(4)) {
    case 0:
        p = pending_new(c, R_SELECT);
        p->argument = (unsigned)world_below(HISTORY_DBS);
        snprintf(text, sizeof text, "%u", p->argument);
        COMPOSE(c, T("SELECT"), T(text));
        c->alone = true;
        break;
    case 1:
        p = pending_new(c, R_HELLO);
        p->argument = 2 + (unsigned)world_below(2);
        COMPOSE(c, T("HELLO"), T(p->argument == 2 ? "2" : "3"));
        c->alone = true;
        break;
    case 2:
        if (world_chance(300)) {
            p = pending_new(c, R_RESET);
            COMPOSE(c, T("RESET"));
            c->alone = true;
            break;
        }
        // fall through
    default:
        p = pending_new(c, R_PING);
        snprintf(p->text, sizeof p->text, "p%llu", (unsigned long long)c->serial++);
        COMPOSE(c, T("PING"), T(p->text));
    }
}

// A write whose reply the client does not want.
static void send_silent(struct fleet *f, struct client *c)
{
    char key[16];
    key_text(key, 's');
    if (getenv("SIM_OPS") != NULL)
        fprintf(stderr, "c%u sends a silent SET %s behind %u others\n", c->id, key, c->count);
    COMPOSE(c, T("CLIENT"), T("REPLY"), T("SKIP"));
    send_set(f, c, key, R_SET);
    struct pending *p = &c->pending[(c->first + --c->count) % PENDING];
    p->effect[0].op.unknown = true;
    history_add(f->history, key, &p->effect[0].op);
}

// ---- transactions --------------------------------------------------------------------------------

static void flow_begin(struct client *c)
{
    c->alone = true;
    c->cas = world_chance(500);
    memset(&c->exec, 0, sizeof c->exec);
    if (!c->cas) {
        pending_new(c, R_MULTI);
        COMPOSE(c, T("MULTI"));
        c->flow = FLOW_MULTI;
        return;
    }
    char key[16];
    c->cas_key = (unsigned)world_below(2);
    snprintf(key, sizeof key, "w%u", c->cas_key);
    pending_new(c, R_WATCH);
    COMPOSE(c, T("WATCH"), T(key));
    c->flow = FLOW_WATCH;
}

static void queue_one(struct fleet *f, struct client *c)
{
    char key[16];
    struct bytes value = fresh_value(f, c, true);
    pending_new(c, R_QUEUED);
    if (c->cas) {
        snprintf(key, sizeof key, "w%u", c->cas_key);
        struct op *op = effect(c, &c->exec, key, OP_CAS);
        op->expected = c->cas_expected;
        op->content = history_intern(f->history, value.data, value.size);
        COMPOSE(c, T("SET"), T(key), value);
    } else {
        unsigned choice = (unsigned)world_below(3);
        key_text(key, choice == 2 ? 'n' : 's');
        struct op *op = effect(c, &c->exec, key,
                               choice == 0 ? OP_SET : choice == 1 ? OP_GET : OP_INCR);
        if (choice == 0) {
            op->content = history_intern(f->history, value.data, value.size);
            COMPOSE(c, T("SET"), T(key), value);
        } else {
            COMPOSE(c, T(choice == 1 ? "GET" : "INCR"), T(key));
        }
    }
    bytes_free(&value);
}

// The step before went well: the next one.
static void flow_next(struct fleet *f, struct client *c)
{
    char key[16];
    snprintf(key, sizeof key, "w%u", c->cas_key);
    switch (c->flow) {
    case FLOW_WATCH:
        send_get(c, key);
        c->flow = FLOW_READ;
        break;
    case FLOW_READ:
        pending_new(c, R_MULTI);
        COMPOSE(c, T("MULTI"));
        c->flow = FLOW_MULTI;
        break;
    case FLOW_MULTI: {
        for (unsigned n = c->cas ? 1 : 1 + (unsigned)world_below(3); n > 0; n--)
            queue_one(f, c);
        struct pending *p = pending_new(c, R_EXEC);
        memcpy(p->effect, c->exec.effect, sizeof p->effect);
        p->effects = c->exec.effects;
        COMPOSE(c, T("EXEC"));
        c->flow = FLOW_QUEUE;
        break;
    }
    default:
        c->flow = FLOW_NONE;
    }
}

static void flow_abort(struct client *c)
{
    if (c->flow == FLOW_READ || (c->flow == FLOW_MULTI && c->cas)) {
        pending_new(c, R_UNWATCH);
        COMPOSE(c, T("UNWATCH"));
    }
    c->flow = FLOW_NONE;
}

static void send_something(struct fleet *f, struct client *c)
{
    if (f->options.hot && world_chance(700)) {
        if (world_chance(150))
            send_set(f, c, "s0", R_SET);
        else
            send_get(c, world_chance(800) ? "s0" : "t0");
        return;
    }
    unsigned choice = (unsigned)world_below(1000);
    if (choice < 350)
        send_strings(f, c);
    else if (choice < 500)
        send_counters(f, c);
    else if (choice < 650)
        send_lives(f, c);
    else if (choice < 770)
        send_hashes(f, c);
    else if (choice < 850)
        f->options.foreign && c->db == 0 ? send_foreign_get(c) : send_strings(f, c);
    else if (choice < 900)
        send_connection_matters(c);
    else if (choice < 910 && f->options.flushes)
        send_global(c);
    else if (choice < 915)
        send_silent(f, c);
    else if (choice < 940 && f->options.blocking)
        send_list(f, c);
    else if (choice < 970 && f->options.transactions && c->count == 0)
        flow_begin(c);
    else
        send_strings(f, c);
}

// ---- what others write ---------------------------------------------------------------------------

static void add_version(struct fleet *f, unsigned key, uint32_t content, uint64_t from_ns,
                        uint64_t until_ns)
{
    if (f->versions[key] < VERSIONS)
        f->version[key][f->versions[key]++] = (struct version){content, from_ns, until_ns};
}

void fleet_foreign(struct fleet *f, struct redis *redis)
{
    unsigned key = (unsigned)world_below(FOREIGN_KEYS);
    if (f->versions[key] + 4 >= VERSIONS)
        return;
    char name[16], value[32], life[16];
    snprintf(name, sizeof name, "f%u", key);
    snprintf(value, sizeof value, "%s=%llu", name, (unsigned long long)f->foreign_serial++);
    unsigned life_ms = 5 + (unsigned)world_below(300);
    snprintf(life, sizeof life, "%u", life_ms);
    uint64_t now = world_now();
    switch (world_below(4)) {
    case 0:
        redis_foreign(redis, 2, (const char *[]){"DEL", name});
        add_version(f, key, 0, now, UINT64_MAX);
        break;
    case 1:
        redis_foreign(redis, 5, (const char *[]){"SET", name, value, "PX", life});
        add_version(f, key, history_intern(f->history, value, strlen(value)), now,
                    now + (life_ms + 1) * 1000000ull);
        break;
    default:
        redis_foreign(redis, 3, (const char *[]){"SET", name, value});
        add_version(f, key, history_intern(f->history, value, strlen(value)), now, UINT64_MAX);
    }
}

// Was `content` what the key held at some moment in [invoke - max_stale, response]?
static bool foreign_fits(const struct fleet *f, unsigned key, uint32_t content, uint64_t invoke_ns,
                         uint64_t response_ns)
{
    uint64_t oldest_ns = invoke_ns > f->options.max_stale_ns ? invoke_ns - f->options.max_stale_ns
                                                            : 0;
    for (unsigned i = 0; i < f->versions[key]; i++) {
        const struct version *v = &f->version[key][i];
        uint64_t replaced_ns = i + 1 < f->versions[key] ? v[1].from_ns : UINT64_MAX;
        if (v->content == content && v->from_ns <= response_ns && replaced_ns >= oldest_ns &&
            v->until_ns >= invoke_ns)
            return true;
        uint64_t gone_ns = v->until_ns == UINT64_MAX ? UINT64_MAX : v->until_ns - 2000000;
        if (content == 0 && gone_ns <= response_ns && replaced_ns >= oldest_ns)
            return true; // it had expired
    }
    return false;
}

void fleet_data_lost(struct fleet *f)
{
    uint64_t now = world_now();
    for (unsigned key = 0; key < FOREIGN_KEYS; key++)
        add_version(f, key, 0, now, UINT64_MAX);
    // weir learns of it when its connections break; until then hits may be as old as max-stale
    for (unsigned db = 0; db < HISTORY_DBS; db++)
        history_add_all(f->history, &(struct op){.kind = OP_FLUSHDB, .client = LOSS_CLIENT,
                                                 .db = (uint8_t)db, .invoke_ns = now,
                                                 .unknown = true});
}

// ---- replies -------------------------------------------------------------------------------------

static void record(struct fleet *f, struct pending *p, bool unknown)
{
    for (unsigned i = 0; i < p->effects; i++) {
        p->effect[i].op.unknown = unknown;
        p->effect[i].op.response_ns = world_now();
        enum op_kind kind = p->effect[i].op.kind;
        bool reads = kind == OP_GET || kind == OP_EXISTS || kind == OP_STRLEN || kind == OP_PTTL;
        if (!unknown || !reads)
            history_add(f->history, p->effect[i].reg, &p->effect[i].op);
    }
    if (p->kind != R_FLUSHDB && p->kind != R_FLUSHALL && p->kind != R_SWAPDB)
        return;
    struct op op = {.kind = p->kind == R_FLUSHDB ? OP_FLUSHDB
                            : p->kind == R_FLUSHALL ? OP_FLUSHALL : OP_SWAPDB,
                    .client = p->client, .db = (uint8_t)p->argument,
                    .unknown = unknown, .invoke_ns = p->invoke_ns, .response_ns = world_now()};
    history_add_all(f->history, &op);
}

static bool contains(const struct reply *r, const char *text)
{
    return memmem(r->data, r->size, text, strlen(text)) != NULL;
}

static void take_error(struct fleet *f, struct client *c, struct pending *p, const struct reply *r)
{
    f->errors++;
    bool weirs = contains(r, "weir");
    bool aborted = p->kind == R_EXEC && (contains(r, "EXECABORT") || contains(r, "without MULTI"));
    if (!f->options.faults || (!weirs && !aborted))
        violation(f, c, "error to request kind %d: %.*s", (int)p->kind, (int)r->size,
                  (const char *)r->data);
    if (!aborted && !contains(r, "not applied"))
        record(f, p, true);
    if (p->kind != R_QUEUED)
        flow_abort(c);
}

static bool take_content(struct fleet *f, struct op *op, const struct reply *r)
{
    if (r->type == '_')
        op->content = 0;
    else if (r->type == '$')
        op->content = history_intern(f->history, r->data, r->size);
    return r->type == '_' || r->type == '$';
}

static bool take_map(struct fleet *f, struct pending *p, const struct reply *r, unsigned protocol)
{
    if (r->type != (protocol == 3 ? '%' : '*'))
        return false;
    unsigned at = r->first;
    unsigned pairs = (unsigned)(protocol == 3 ? r->number : r->number / 2);
    for (unsigned i = 0; i < pairs; i++) {
        const struct reply *name = &f->tree.node[at], *value = &f->tree.node[name->next];
        at = value->next;
        if (name->type != '$' || name->size != 2 || name->data[0] != 'f' ||
            name->data[1] - '0' >= HASH_FIELDS)
            return false;
        if (!take_content(f, &p->effect[name->data[1] - '0'].op, value))
            return false;
    }
    return true;
}

static bool take_elements(struct fleet *f, struct pending *p, const struct reply *r)
{
    if (r->type != '*' || r->number != p->effects)
        return false;
    unsigned at = r->first;
    for (unsigned i = 0; i < p->effects; i++, at = f->tree.node[at].next) {
        struct op *op = &p->effect[i].op;
        const struct reply *element = &f->tree.node[at];
        bool fits = true;
        if (op->kind == OP_GET) {
            fits = take_content(f, op, element);
        } else if (op->kind == OP_INCR) {
            fits = element->type == ':';
            op->content = history_intern(f->history, element->data, element->size);
        } else {
            fits = element->type == '+' && contains(element, "OK");
        }
        if (!fits)
            return false;
    }
    return true;
}

static bool is_ok(const struct reply *r, const char *word)
{
    return r->type == '+' && r->size == strlen(word) && memcmp(r->data, word, r->size) == 0;
}

static bool take_integer(struct fleet *f, struct pending *p, const struct reply *r)
{
    if (r->type != ':')
        return false;
    struct op *op = &p->effect[0].op;
    op->hit = r->number > 0;
    if (p->kind == R_INCR)
        op->content = history_intern(f->history, r->data, r->size);
    else if (p->kind != R_PEXPIRE)
        op->number = r->number;
    return true;
}

static bool take_popped(struct fleet *f, struct client *c, const struct reply *r)
{
    if (r->type == '_')
        return true;
    if (r->type != '*' || r->number != 2)
        return false;
    const struct reply *item = &f->tree.node[f->tree.node[r->first].next];
    for (unsigned i = 0; i < f->items; i++) {
        if (strlen(f->item[i]) != item->size || memcmp(f->item[i], item->data, item->size) != 0)
            continue;
        if (f->popped[i])
            violation(f, c, "item %s was popped twice", f->item[i]);
        f->popped[i] = true;
        return true;
    }
    return false; // nobody pushed it
}

static bool take_foreign(struct fleet *f, struct client *c, struct pending *p,
                         const struct reply *r)
{
    struct op op = {0};
    if (!take_content(f, &op, r))
        return false;
    if (!foreign_fits(f, p->argument, op.content, p->invoke_ns, world_now()))
        violation(f, c, "GET f%u gave '%.*s', older than max-stale, past its life or never written",
                  p->argument, r->type == '_' ? 4 : (int)r->size,
                  r->type == '_' ? "null" : (const char *)r->data);
    return true;
}

static bool take_exec(struct fleet *f, struct client *c, struct pending *p, const struct reply *r)
{
    c->flow = FLOW_NONE;
    if (r->type == '_')
        p->effects = 0; // a watched key changed
    else if (!take_elements(f, p, r))
        return false;
    return r->type != '_' || c->cas;
}

static bool take_good(struct fleet *f, struct client *c, struct pending *p, const struct reply *r)
{
    switch (p->kind) {
    case R_GET:
        if (c->flow == FLOW_READ && take_content(f, &p->effect[0].op, r))
            c->cas_expected = p->effect[0].op.content;
        return take_content(f, &p->effect[0].op, r);
    case R_HGET:
        return take_content(f, &p->effect[0].op, r);
    case R_SETNX: case R_SETXX:
        p->effect[0].op.hit = r->type == '+';
        return r->type == '_' || is_ok(r, "OK");
    case R_DEL: case R_HDEL: case R_INCR: case R_APPEND: case R_EXISTS: case R_STRLEN:
    case R_PEXPIRE: case R_PTTL: case R_HSET:
        return take_integer(f, p, r);
    case R_MGET:
        return take_elements(f, p, r);
    case R_HGETALL:
        return take_map(f, p, r, c->protocol);
    case R_SELECT:
        c->db = p->argument;
        return is_ok(r, "OK");
    case R_HELLO:
        c->protocol = p->argument;
        return r->type == (c->protocol == 3 ? '%' : '*');
    case R_RESET:
        c->protocol = 2;
        c->db = 0;
        return is_ok(r, "RESET");
    case R_PING:
        return r->type == '$' && r->size == strlen(p->text) && memcmp(r->data, p->text, r->size) == 0;
    case R_QUEUED:
        return is_ok(r, "QUEUED");
    case R_EXEC:
        return take_exec(f, c, p, r);
    case R_LPUSH:
        return r->type == ':';
    case R_BLPOP:
        return take_popped(f, c, r);
    case R_FOREIGN_GET:
        return take_foreign(f, c, p, r);
    default:
        return is_ok(r, "OK");
    }
}

static void trace_reply(const struct client *c, const struct pending *p, const struct reply *r)
{
    if (getenv("SIM_OPS") == NULL)
        return;
    fprintf(stderr, "%llu.%06llu c%u db%u sent %llu.%06llu kind %d",
            (unsigned long long)world_now() / 1000000, (unsigned long long)world_now() % 1000000,
            c->id, c->db, (unsigned long long)p->invoke_ns / 1000000,
            (unsigned long long)p->invoke_ns % 1000000, (int)p->kind);
    for (unsigned i = 0; i < p->effects; i++)
        fprintf(stderr, " %s:%s", op_names[p->effect[i].op.kind], p->effect[i].reg);
    fprintf(stderr, " -> %c%.*s\n", r->type, (int)(r->size < 40 ? r->size : 40),
            r->data != NULL ? (const char *)r->data : "");
}

static void take_reply(struct fleet *f, struct client *c)
{
    struct pending *p = &c->pending[c->first];
    const struct reply *r = &f->tree.node[0];
    trace_reply(c, p, r);
    c->first = (c->first + 1) % PENDING;
    c->count--;
    f->replies++;
    if (r->type == '-') {
        take_error(f, c, p, r);
    } else if (!take_good(f, c, p, r)) {
        violation(f, c, "wrong reply to request kind %d: type '%c' %.*s", (int)p->kind, r->type,
                  (int)(r->size < 60 ? r->size : 60), (const char *)r->data);
    } else {
        record(f, p, false);
        if (c->flow != FLOW_NONE && c->count == 0)
            flow_next(f, c);
    }
    if (c->count == 0 && c->flow == FLOW_NONE)
        c->alone = false;
}

// ---- connections ---------------------------------------------------------------------------------

static void disconnect(struct fleet *f, struct client *c)
{
    if (c->fd >= 0)
        net_close(c->fd);
    c->fd = -1;
    c->connected = false;
    for (; c->count > 0; c->count--, c->first = (c->first + 1) % PENDING)
        record(f, &c->pending[c->first], true);
    c->in.size = c->out.size = 0;
    c->alone = false;
    c->flow = FLOW_NONE;
    c->next_send_ns = world_now() + world_below(20000000);
}

static void client_connect(struct fleet *f, struct client *c)
{
    c->fd = net_connect(&(struct net_address){.port = f->options.port});
    if (c->fd < 0)
        c->fd = -1;
    c->protocol = 2;
    c->db = 0;
    c->connected = false;
}

// HELLO's own reply is in the new protocol already.
static unsigned reply_protocol(const struct client *c)
{
    const struct pending *p = &c->pending[c->first];
    return c->count > 0 && p->kind == R_HELLO ? p->argument : c->protocol;
}

static void client_read(struct fleet *f, struct client *c)
{
    uint8_t chunk[8192];
    if (world_now() < c->paused_until_ns)
        return;
    ssize_t n = net_read(c->fd, chunk, 1 + world_below(sizeof chunk));
    if (n == WEIR_EAGAIN)
        return;
    if (n < 0) {
        if (!f->options.faults)
            violation(f, c, "connection lost: %s", weir_strerror((int)n));
        disconnect(f, c);
        return;
    }
    bytes_add(&c->in, chunk, (size_t)n);
    long size;
    while (c->fd >= 0 &&
           (size = reply_parse(&f->tree, c->in.data, c->in.size, reply_protocol(c))) != 0) {
        if (size < 0 || c->count == 0) {
            violation(f, c, "%s: '%.*s'", size < 0 ? f->tree.error : "a reply to nothing",
                      (int)(c->in.size < 60 ? c->in.size : 60), (const char *)c->in.data);
            disconnect(f, c);
            return;
        }
        take_reply(f, c);
        bytes_drop(&c->in, (size_t)size);
    }
}

static void client_write(struct fleet *f, struct client *c)
{
    while (c->out.size > 0) {
        ssize_t n = net_write(c->fd, c->out.data, c->out.size);
        if (n < 0)
            break; // the read tells why
        bytes_drop(&c->out, (size_t)n);
        if (world_chance(200))
            break;
    }
    (void)f;
}

static void client_send(struct fleet *f, struct client *c)
{
    if (f->stopped || c->alone || c->out.size > 100000 || world_now() < c->next_send_ns ||
        world_now() < f->quiet_until_ns)
        return;
    unsigned batch = world_chance(f->options.hot ? 900 : 500) ? 1 : 1 + (unsigned)world_below(16);
    while (batch-- > 0 && c->count < PENDING - 8 && !c->alone)
        send_something(f, c);
    uint64_t think_ns = world_chance(700) ? 300000 : 20000000;
    c->next_send_ns = world_now() + world_below(think_ns);
    if (world_chance(10))
        c->paused_until_ns = world_now() + world_below(300000000);
}

static void client_step(struct fleet *f, struct client *c)
{
    if (c->fd < 0) {
        if (!f->stopped && world_now() >= c->next_send_ns)
            client_connect(f, c);
        return;
    }
    if (!c->connected) {
        int result = net_connect_result(c->fd);
        if (result < 0 && result != WEIR_EAGAIN)
            disconnect(f, c);
        c->connected = result == 0;
        return;
    }
    client_read(f, c);
    if (c->fd >= 0)
        client_send(f, c);
    if (c->fd >= 0)
        client_write(f, c);
}

// ---- the fleet -----------------------------------------------------------------------------------

struct fleet *fleet_create(const struct fleet_options *options, struct history *history)
{
    struct fleet *f = calloc(1, sizeof *f);
    f->options = *options;
    f->history = history;
    assert(options->clients <= VERIFIER);
    for (unsigned i = 0; i < HISTORY_CLIENTS; i++)
        f->client[i] = (struct client){.id = i, .fd = -1};
    for (unsigned k = 0; k < FOREIGN_KEYS; k++)
        add_version(f, k, 0, 0, UINT64_MAX);
    for (const char *letter = letters; *letter != 'f'; letter++)
        for (unsigned k = 0; k < KEYS_PER_LETTER; k++) {
            char reg[HISTORY_NAME];
            for (unsigned field = 0; field < HASH_FIELDS; field++) {
                if (*letter == 'h')
                    snprintf(reg, sizeof reg, "h%u/f%u", k, field);
                else
                    snprintf(reg, sizeof reg, "%c%u", *letter, k);
                history_register(history, reg);
            }
        }
    return f;
}

void fleet_destroy(struct fleet *f)
{
    fleet_close(f);
    for (unsigned i = 0; i < HISTORY_CLIENTS; i++) {
        bytes_free(&f->client[i].in);
        bytes_free(&f->client[i].out);
    }
    free(f);
}

void fleet_step(struct fleet *f)
{
    client_step(f, &f->client[world_below(f->options.clients)]);
}

uint64_t fleet_next_event(const struct fleet *f)
{
    uint64_t next = UINT64_MAX, now = world_now();
    for (unsigned i = 0; i < f->options.clients; i++) {
        const struct client *c = &f->client[i];
        uint64_t at_ns = c->paused_until_ns > now ? c->paused_until_ns : UINT64_MAX;
        if (!f->stopped && !c->alone && c->next_send_ns < at_ns)
            at_ns = c->next_send_ns > f->quiet_until_ns ? c->next_send_ns : f->quiet_until_ns;
        if (at_ns < next && at_ns > now)
            next = at_ns;
    }
    return next;
}

void fleet_pause(struct fleet *f, uint64_t ns)
{
    f->quiet_until_ns = world_now() + ns;
}

void fleet_stop(struct fleet *f)
{
    f->stopped = true;
    for (unsigned i = 0; i < f->options.clients; i++)
        f->client[i].paused_until_ns = 0;
}

bool fleet_quiet(const struct fleet *f)
{
    for (unsigned i = 0; i < f->options.clients; i++)
        if (f->client[i].fd >= 0 && (f->client[i].count > 0 || !f->client[i].connected))
            return false;
    return true;
}

void fleet_print_waiting(const struct fleet *f, FILE *out)
{
    for (unsigned i = 0; i < HISTORY_CLIENTS; i++) {
        const struct client *c = &f->client[i];
        if (c->fd >= 0 && (c->count > 0 || !c->connected))
            fprintf(out, "client %u fd %d waits for %u replies since %llu ms, first of kind %d, "
                         "%zu bytes unsent, connected %d\n",
                    i, c->fd, c->count,
                    (unsigned long long)(world_now() - c->pending[c->first].invoke_ns) / 1000000,
                    (int)c->pending[c->first].kind, c->out.size, c->connected);
    }
}

void fleet_close(struct fleet *f)
{
    for (unsigned i = 0; i < HISTORY_CLIENTS; i++)
        disconnect(f, &f->client[i]);
}

bool fleet_disconnect_one(struct fleet *f)
{
    struct client *c = &f->client[world_below(f->options.clients)];
    bool was = c->fd >= 0;
    disconnect(f, c);
    return was;
}

uint64_t fleet_replies(const struct fleet *f)
{
    return f->replies;
}

uint64_t fleet_errors(const struct fleet *f)
{
    return f->errors;
}

unsigned fleet_violations(const struct fleet *f)
{
    return f->violations;
}

// ---- the end: what weir says equals what the store holds ------------------------------------------

enum { VERIFY_KEYS = 5 * KEYS_PER_LETTER, VERIFY_ROUNDS = 2 };

static const char *verify_key(unsigned at, char out[16])
{
    static const char kinds[] = "snawf";
    unsigned n = at % KEYS_PER_LETTER;
    char kind = kinds[at / KEYS_PER_LETTER % 5];
    snprintf(out, 16, "%c%u", kind, kind == 'f' ? n % FOREIGN_KEYS : n);
    return out;
}

void fleet_verify_start(struct fleet *f)
{
    f->options.faults = false;
    f->verify_at = 0;
    client_connect(f, &f->client[VERIFIER]);
}

static void verify_send(struct client *c, unsigned at)
{
    char key[16];
    if (at == VERIFY_KEYS * VERIFY_ROUNDS) {
        COMPOSE(c, T("SELECT"), T("1"));
        pending_new(c, R_SELECT)->argument = 1;
        return;
    }
    COMPOSE(c, T("GET"), T(verify_key(at, key)));
    pending_new(c, R_GET);
}

static void verify_take(struct fleet *f, struct client *c, const struct redis *redis)
{
    char key[16];
    const struct reply *r = &f->tree.node[0];
    struct pending *p = &c->pending[c->first];
    c->first = (c->first + 1) % PENDING;
    c->count--;
    if (p->kind == R_SELECT) {
        c->db = p->argument;
        if (!is_ok(r, "OK"))
            violation(f, c, "SELECT failed at the end");
        return;
    }
    verify_key(f->verify_at - 1, key);
    const struct bytes *held = redis_peek(redis, c->db, key);
    bool same = held == NULL ? r->type == '_'
                             : r->type == '$' && r->size == held->size &&
                                   memcmp(r->data, held->data, r->size) == 0;
    if (!same)
        violation(f, c, "after all is quiet GET %s in db %u gives '%.*s', the store holds '%.*s'",
                  key, c->db, (int)(r->size < 40 ? r->size : 40), (const char *)r->data,
                  held == NULL ? 4 : (int)(held->size < 40 ? held->size : 40),
                  held == NULL ? "null" : (const char *)held->data);
}

bool fleet_verify_step(struct fleet *f, const struct redis *redis)
{
    struct client *c = &f->client[VERIFIER];
    uint8_t chunk[8192];
    if (!c->connected) {
        c->connected = net_connect_result(c->fd) == 0;
        return false;
    }
    if (c->count == 0) {
        if (f->verify_at == 2 * VERIFY_KEYS * VERIFY_ROUNDS + 1)
            return true;
        verify_send(c, f->verify_at++);
    }
    client_write(f, c);
    ssize_t n = net_read(c->fd, chunk, sizeof chunk);
    if (n < 0 && n != WEIR_EAGAIN) {
        violation(f, c, "connection lost at the end: %s", weir_strerror((int)n));
        return true;
    }
    if (n > 0)
        bytes_add(&c->in, chunk, (size_t)n);
    long size = reply_parse(&f->tree, c->in.data, c->in.size, 2);
    if (size < 0) {
        violation(f, c, "malformed at the end: %s", f->tree.error);
        return true;
    }
    if (size > 0) {
        verify_take(f, c, redis);
        bytes_drop(&c->in, (size_t)size);
    }
    return false;
}
