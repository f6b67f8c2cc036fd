// The checker: Wing and Gong's search, over the frontier of each client's sequence.
//
// A state of the search is how many operations of each client have taken effect, which unknown ones
// have, and what the register holds. The next operation to take effect is one that was invoked
// before the earliest response among all that have not; each choice is tried, states seen before
// are not tried again (Lowe's memo). Expiry is part of the register: a value with a life may vanish
// at any time in the window in which its store may have counted it as expired.
#include "history.h"

enum { MAX_REGISTERS = 256, MAX_UNKNOWN = 60, STATES_MAX = 150000 };

const char *const op_names[OP_KINDS] = {
    "GET",  "SET",    "SETPX", "SETNX", "SETXX",      "DEL",     "INCR",     "APPEND", "EXISTS",
    "STRLEN", "PEXPIRE", "PTTL",  "CAS",   "CAS_FAILED", "FLUSHDB", "FLUSHALL", "SWAPDB",
};

struct sequence {
    struct op *op;
    unsigned count, room;
};

struct reg {
    char name[HISTORY_NAME];
    struct sequence client[HISTORY_CLIENTS];
    struct sequence unknown;
};

struct history {
    struct reg reg[MAX_REGISTERS];
    unsigned regs;
    struct bytes *content; // by number; 0 unused
    uint32_t contents, content_room;
    uint32_t *bucket, buckets;
};

static uint64_t mix(uint64_t h, uint64_t v)
{
    h ^= v;
    h *= 0x9e3779b97f4a7c15ull;
    return h ^ (h >> 29);
}

static uint64_t hash_bytes(const uint8_t *data, size_t size)
{
    uint64_t h = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < size; i++)
        h = (h ^ data[i]) * 0x100000001b3ull;
    return mix(h, size);
}

struct history *history_create(void)
{
    struct history *h = calloc(1, sizeof *h);
    h->contents = 1;
    h->buckets = 1 << 16;
    h->bucket = calloc(h->buckets, sizeof *h->bucket);
    return h;
}

void history_destroy(struct history *h)
{
    for (unsigned i = 0; i < h->regs; i++) {
        for (unsigned c = 0; c < HISTORY_CLIENTS; c++)
            free(h->reg[i].client[c].op);
        free(h->reg[i].unknown.op);
    }
    for (uint32_t i = 1; i < h->contents; i++)
        bytes_free(&h->content[i]);
    free(h->content);
    free(h->bucket);
    free(h);
}

uint32_t history_intern(struct history *h, const void *data, size_t size)
{
    uint32_t at = (uint32_t)hash_bytes(data, size) % h->buckets;
    for (; h->bucket[at] != 0; at = (at + 1) % h->buckets) {
        const struct bytes *seen = &h->content[h->bucket[at]];
        if (seen->size == size && memcmp(seen->data, data, size) == 0)
            return h->bucket[at];
    }
    if (h->contents + 1 >= h->buckets)
        abort();
    if (h->contents >= h->content_room) {
        h->content_room = h->content_room * 2 + 256;
        h->content = realloc(h->content, h->content_room * sizeof *h->content);
    }
    h->content[h->contents] = (struct bytes){0};
    bytes_add(&h->content[h->contents], data, size);
    h->bucket[at] = h->contents;
    return h->contents++;
}

static struct reg *reg_of(struct history *h, const char *name)
{
    for (unsigned i = 0; i < h->regs; i++)
        if (strcmp(h->reg[i].name, name) == 0)
            return &h->reg[i];
    if (h->regs == MAX_REGISTERS)
        abort();
    struct reg *reg = &h->reg[h->regs++];
    snprintf(reg->name, sizeof reg->name, "%s", name);
    return reg;
}

void history_register(struct history *h, const char *name)
{
    reg_of(h, name);
}

static void reg_add(struct reg *reg, const struct op *op)
{
    struct sequence *s = op->unknown ? &reg->unknown : &reg->client[op->client];
    if (s->count == s->room) {
        s->room = s->room * 2 + 16;
        s->op = realloc(s->op, s->room * sizeof *s->op);
    }
    s->op[s->count] = *op;
    if (op->unknown)
        s->op[s->count].response_ns = UINT64_MAX;
    s->count++;
}

void history_add(struct history *h, const char *name, const struct op *op)
{
    reg_add(reg_of(h, name), op);
}

void history_add_all(struct history *h, const struct op *op)
{
    for (unsigned i = 0; i < h->regs; i++)
        reg_add(&h->reg[i], op);
}

// ---- the register --------------------------------------------------------------------------------

struct value {
    uint32_t content;
    uint64_t lo_ns, hi_ns; // it vanishes somewhere in between; 0: never
};

struct state {
    struct value value[HISTORY_DBS];
};

static int64_t decimal(const struct history *h, uint32_t content)
{
    char text[32] = "";
    if (content != 0)
        snprintf(text, sizeof text, "%.*s", (int)h->content[content].size,
                 (const char *)h->content[content].data);
    return atoll(text);
}

enum { SLACK_NS = 2000000 }; // the store counts whole milliseconds of its own clock

static struct value with_life(uint32_t content, const struct op *op)
{
    uint64_t life_ns = (uint64_t)op->number * 1000000;
    return (struct value){content, op->invoke_ns + life_ns - SLACK_NS / 2,
                          op->unknown ? UINT64_MAX : op->response_ns + life_ns + SLACK_NS};
}

static bool pttl_fits(const struct value *v, const struct op *op)
{
    if (v->content == 0 || v->lo_ns == 0)
        return op->number == (v->content == 0 ? -2 : -1);
    if (op->number < 0)
        return false;
    uint64_t left_ns = (uint64_t)op->number * 1000000;
    return op->invoke_ns + left_ns <= v->hi_ns && op->response_ns + left_ns + SLACK_NS >= v->lo_ns;
}

static bool apply_append(struct history *h, struct value *v, const struct op *op)
{
    struct bytes joined = {0};
    if (v->content != 0)
        bytes_add(&joined, h->content[v->content].data, h->content[v->content].size);
    bytes_add(&joined, h->content[op->content].data, h->content[op->content].size);
    bool fits = op->unknown || op->unchecked || (int64_t)joined.size == op->number;
    if (fits)
        v->content = history_intern(h, joined.data, joined.size);
    bytes_free(&joined);
    return fits;
}

static bool apply_incr(struct history *h, struct value *v, const struct op *op)
{
    char text[32];
    int size = snprintf(text, sizeof text, "%lld", (long long)decimal(h, v->content) + 1);
    uint32_t content = history_intern(h, text, (size_t)size);
    v->content = content;
    return op->unknown || op->unchecked || content == op->content;
}

// The effect of `op` on `s`; false when its result does not fit.
static bool apply(struct history *h, struct state *s, const struct op *op)
{
    struct value *v = &s->value[op->db];
    bool blind = op->unknown || op->unchecked;
    bool there = v->content != 0;
    switch (op->kind) {
    case OP_GET:
        return op->unknown || v->content == op->content;
    case OP_SET:
        *v = (struct value){.content = op->content};
        return true;
    case OP_SETPX:
        *v = with_life(op->content, op);
        return true;
    case OP_SETNX:
    case OP_SETXX: {
        bool sets = there == (op->kind == OP_SETXX);
        if (sets)
            *v = (struct value){.content = op->content};
        return blind || sets == op->hit;
    }
    case OP_DEL:
        *v = (struct value){0};
        return blind || there == op->hit;
    case OP_INCR:
        return apply_incr(h, v, op);
    case OP_APPEND:
        return apply_append(h, v, op);
    case OP_EXISTS:
        return blind || there == op->hit;
    case OP_STRLEN:
        return blind || op->number == (there ? (int64_t)h->content[v->content].size : 0);
    case OP_PEXPIRE:
        if (there)
            *v = with_life(v->content, op);
        return blind || there == op->hit;
    case OP_PTTL:
        return blind || pttl_fits(v, op);
    case OP_CAS: {
        bool fits = v->content == op->expected;
        *v = (struct value){.content = op->content};
        return fits;
    }
    case OP_CAS_FAILED:
        return true;
    case OP_FLUSHDB:
        *v = (struct value){0};
        return true;
    case OP_FLUSHALL:
        *s = (struct state){0};
        return true;
    case OP_SWAPDB: {
        struct value first = s->value[0];
        s->value[0] = s->value[1];
        s->value[1] = first;
        return true;
    }
    default:
        return false;
    }
}

// ---- the search ----------------------------------------------------------------------------------

struct search {
    struct history *h;
    const struct reg *reg;
    unsigned at[HISTORY_CLIENTS];
    uint64_t unknown_done; // bits
    uint64_t *seen, seen_room, states;
    unsigned best;         // most operations that any path has placed
    unsigned stuck[HISTORY_CLIENTS];
    bool exhausted;
};

// Remembers this state; true when it was seen before.
static bool seen_before(struct search *search, const struct state *s)
{
    uint64_t key = mix(1, search->unknown_done);
    for (unsigned c = 0; c < HISTORY_CLIENTS; c++)
        key = mix(key, search->at[c]);
    for (unsigned db = 0; db < HISTORY_DBS; db++)
        key = mix(mix(mix(key, s->value[db].content), s->value[db].lo_ns), s->value[db].hi_ns);
    key |= 1;
    for (uint64_t i = key % search->seen_room;; i = (i + 1) % search->seen_room) {
        if (search->seen[i] == key)
            return true;
        if (search->seen[i] == 0) {
            search->seen[i] = key;
            if (++search->states > STATES_MAX)
                search->exhausted = true;
            return false;
        }
    }
}

static bool explore(struct search *search, const struct state *s);

// `op` takes effect next, the value having expired before or not.
static bool place(struct search *search, const struct state *s, const struct op *op)
{
    for (unsigned gone = 0; gone < 1u << HISTORY_DBS; gone++) {
        struct state next = *s;
        bool possible = true;
        for (unsigned db = 0; db < HISTORY_DBS; db++) {
            struct value *v = &next.value[db];
            bool expires = gone >> db & 1;
            if (expires && (v->content == 0 || v->lo_ns == 0 || op->response_ns < v->lo_ns))
                possible = false;
            else if (!expires && v->content != 0 && v->lo_ns != 0 && op->invoke_ns > v->hi_ns)
                possible = false;
            else if (expires)
                *v = (struct value){0};
        }
        if (possible && apply(search->h, &next, op) && explore(search, &next))
            return true;
    }
    return false;
}

static bool explore(struct search *search, const struct state *s)
{
    const struct reg *reg = search->reg;
    uint64_t horizon_ns = UINT64_MAX;
    unsigned placed = 0, left = 0;
    for (unsigned c = 0; c < HISTORY_CLIENTS; c++) {
        placed += search->at[c];
        const struct sequence *seq = &reg->client[c];
        left += seq->count - search->at[c];
        // a client's responses come in order: its next one is its earliest
        if (search->at[c] < seq->count && seq->op[search->at[c]].response_ns < horizon_ns)
            horizon_ns = seq->op[search->at[c]].response_ns;
    }
    if (placed > search->best) {
        search->best = placed;
        memcpy(search->stuck, search->at, sizeof search->stuck);
    }
    if (left == 0)
        return true;
    if (search->exhausted || seen_before(search, s))
        return false;
    for (unsigned c = 0; c < HISTORY_CLIENTS; c++) {
        if (search->at[c] == reg->client[c].count)
            continue;
        const struct op *op = &reg->client[c].op[search->at[c]];
        if (op->invoke_ns > horizon_ns)
            continue;
        search->at[c]++;
        if (place(search, s, op))
            return true;
        search->at[c]--;
    }
    for (unsigned u = 0; u < reg->unknown.count; u++) {
        const struct op *op = &reg->unknown.op[u];
        if ((search->unknown_done >> u & 1) || op->invoke_ns > horizon_ns)
            continue;
        search->unknown_done |= 1ull << u;
        if (place(search, s, op))
            return true;
        search->unknown_done &= ~(1ull << u);
    }
    return false;
}

// ---- reports -------------------------------------------------------------------------------------

static void print_op(FILE *out, const struct history *h, const struct op *op, const char *mark)
{
    fprintf(out, "  %s c%-2u db%u %-10s [%llu.%03llu, ", mark, op->client, op->db,
            op_names[op->kind], (unsigned long long)op->invoke_ns / 1000000,
            (unsigned long long)op->invoke_ns / 1000 % 1000);
    if (op->response_ns == UINT64_MAX)
        fprintf(out, "unknown]");
    else
        fprintf(out, "%llu.%03llu]", (unsigned long long)op->response_ns / 1000000,
                (unsigned long long)op->response_ns / 1000 % 1000);
    if (op->content != 0)
        fprintf(out, " '%.*s'", (int)(h->content[op->content].size < 24
                                          ? h->content[op->content].size : 24),
                (const char *)h->content[op->content].data);
    else if (op->kind == OP_GET)
        fprintf(out, " missing");
    if (op->kind == OP_CAS)
        fprintf(out, " expected %u", op->expected);
    fprintf(out, " n=%lld hit=%d\n", (long long)op->number, op->hit);
}

static void print_failure(FILE *out, const struct search *search)
{
    const struct reg *reg = search->reg;
    fprintf(out, "register '%s' is not linearizable: at most %u operations fit; around there:\n",
            reg->name, search->best);
    for (unsigned c = 0; c < HISTORY_CLIENTS; c++) {
        unsigned at = search->stuck[c];
        for (unsigned i = at > 4 ? at - 4 : 0; i < reg->client[c].count && i < at + 3; i++)
            print_op(out, search->h, &reg->client[c].op[i], i < at ? "placed" : i == at ? "NEXT  "
                                                                                       : "      ");
    }
    for (unsigned u = 0; u < reg->unknown.count && u < 20; u++)
        print_op(out, search->h, &reg->unknown.op[u], "maybe ");
}

static enum verdict check(struct history *h, const struct reg *reg, FILE *out, uint64_t *states)
{
    if (reg->unknown.count > MAX_UNKNOWN)
        return TOO_HARD;
    struct search search = {.h = h, .reg = reg, .seen_room = STATES_MAX * 2};
    search.seen = calloc(search.seen_room, sizeof *search.seen);
    struct state empty = {0};
    bool fits = explore(&search, &empty);
    free(search.seen);
    *states += search.states;
    if (fits)
        return LINEARIZABLE;
    if (search.exhausted)
        return TOO_HARD;
    print_failure(out, &search);
    return NOT_LINEARIZABLE;
}

struct history_report history_check(struct history *h, FILE *out)
{
    struct history_report report = {.registers = h->regs};
    for (unsigned i = 0; i < h->regs; i++) {
        for (unsigned c = 0; c < HISTORY_CLIENTS; c++)
            report.ops += h->reg[i].client[c].count;
        report.ops += h->reg[i].unknown.count;
        enum verdict verdict = check(h, &h->reg[i], out, &report.states);
        report.failed += verdict == NOT_LINEARIZABLE;
        report.too_hard += verdict == TOO_HARD;
    }
    return report;
}
