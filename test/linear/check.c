// check: is a recorded history of a store linearizable, key by key?
//
//   check [-s SLACK_MS] [-b BUDGET] FILE…      exit 0 yes, 1 no (and where), 2 usage, 3 undecided
//
// A history has a line for each operation, times in nanoseconds of one monotonic clock:
//
//   KEY CLIENT OPERATION ARGUMENT TTL_MS RESULT INVOKED RETURNED
//   k1  3      set       =a       0      ok     100     250
//   k1  4      get       -        0      =a     120     300        or nil
//   k1  4      del       -        0      :1     310     350
//   k1  5      incr      -        0      :7     …                  or err: not an integer
//   k1  5      append    =b       0      :2     …
//   k1  6      getset    =c       0      =ab    …                  or nil; a WATCH that held, too
//   k1  6      set       =d       50     ?      400     0          outcome unknown
//
// Each key is a register of its own that starts out missing (linearizability is local, so keys are
// judged one by one). The search is Wing and Gong's with Lowe's memory of configurations:
//
//   calls and returns in time order      c1 c2 r1 c3 r3 r2 …
//   candidates                           calls before the first return still in the list
//   step      take a candidate whose result fits the state, out of the list with its return
//   stuck     put the last one back and try the next; nothing left to try: not linearizable
//
// What keeps it quick:
//  - A read that fits the state now, and changes nothing, is taken at once and for good: any order
//    that has it later is as good with it here.
//  - A configuration is remembered as (known operations taken, state). Operations of unknown outcome
//    are optional and may happen at any later time; the configuration that has used fewer of them
//    can do whatever the other can, so one with a superset is not looked at.
//  - A value that a read still to come has returned is not overwritten while nothing is left that
//    could write it again.
//  - Values that no read returned differ by their length alone.
//  - One of unknown outcome is taken only right before an operation that notices: any other order is
//    as good with it later, or without it.
//  - Commands of one client on one key keep their order, pipelined or not.
//
// Expiry: a value set with a TTL is gone at some moment between INVOKED + TTL and RETURNED + TTL of
// its SET. An operation that returned before the first must see it, one that was invoked after the
// second must not, one in between may do either. SLACK_MS widens both ends (the store's clock ticks in
// milliseconds).
//
// Rejected: taking the set of all reachable states forward in time. It needs no going back, but each
// operation of unknown outcome doubles it for the rest of the history.
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { GET, SET, GETSET, DEL, INCR, APPEND, KINDS };
static const char *const kind_names[KINDS] = {"get", "set", "getset", "del", "incr", "append"};

enum result { R_OK, R_NIL, R_VALUE, R_NUMBER, R_ERROR, R_UNKNOWN };

enum { NIL = -1, NONE = -1 };

struct op {
    int key, client;
    enum kind kind;
    enum result result;
    int argument, returned_value; // interned texts
    int64_t number, ttl, invoked, returned;
    int previous; // of the same client and key, index within the key's operations; NONE
    bool twin;    // of unknown outcome, and nobody returned what it wrote: one is as good as another
    int unknown;  // its bit among the operations of unknown outcome; NONE when the outcome is known
    bool taken;
    int produces, produces_count; // values it may leave that a read returned: in search.produced
    uint64_t zobrist[2];
};

static int64_t slack_ns = 5 * 1000000ll;
static uint64_t budget = 4000000;

static void *grow(void *memory, size_t bytes)
{
    void *grown = realloc(memory, bytes);
    if (!grown) {
        fprintf(stderr, "check: out of memory\n");
        exit(2);
    }
    return grown;
}

// ---- texts by number -----------------------------------------------------------------------------
struct texts {
    char **text;
    uint32_t *size;
    int count, room;
    int *slot; // open addressing
    uint32_t slots;
};

static uint64_t hash_bytes(const char *data, size_t size)
{
    uint64_t h = 1469598103934665603ull;
    for (size_t i = 0; i < size; i++)
        h = (h ^ (uint8_t)data[i]) * 1099511628211ull;
    return h ^ (h >> 29);
}

static void texts_rehash(struct texts *t)
{
    t->slots = t->slots ? t->slots * 2 : 1024;
    t->slot = grow(t->slot, t->slots * sizeof(int));
    memset(t->slot, 0xff, t->slots * sizeof(int));
    for (int i = 0; i < t->count; i++) {
        uint64_t at = hash_bytes(t->text[i], t->size[i]);
        while (t->slot[at & (t->slots - 1)] >= 0)
            at++;
        t->slot[at & (t->slots - 1)] = i;
    }
}

static int intern(struct texts *t, const char *data, size_t size)
{
    if ((uint32_t)t->count * 2 >= t->slots)
        texts_rehash(t);
    uint64_t at = hash_bytes(data, size);
    for (int id; (id = t->slot[at & (t->slots - 1)]) >= 0; at++)
        if (t->size[id] == size && memcmp(t->text[id], data, size) == 0)
            return id;
    if (t->count == t->room) {
        t->room = t->room ? t->room * 2 : 512;
        t->text = grow(t->text, (size_t)t->room * sizeof(char *));
        t->size = grow(t->size, (size_t)t->room * sizeof(uint32_t));
    }
    char *copy = grow(NULL, size + 1);
    memcpy(copy, data, size);
    copy[size] = 0;
    t->text[t->count] = copy;
    t->size[t->count] = (uint32_t)size;
    t->slot[at & (t->slots - 1)] = t->count;
    return t->count++;
}

static struct texts keys, values;

// ---- who wants a value, and who can make it -------------------------------------------------------
// By interned text, for the key under search: operations not yet taken that returned it, and such
// that may leave it behind.
struct demand {
    int wanted, makers;
    int key; // the one for which `visible` was found out
    bool visible;
};

static struct {
    struct demand *of;
    int room;
    int key;       // counts the keys, from 1
    int *returned; // all values that were returned, each once
    int count;
} demands;

static struct demand *demand_of(int value)
{
    if (value >= demands.room) {
        size_t room = (size_t)values.count * 2;
        demands.of = grow(demands.of, room * sizeof(struct demand));
        memset(demands.of + demands.room, 0,
               (room - (size_t)demands.room) * sizeof(struct demand));
        demands.room = (int)room;
    }
    return &demands.of[value];
}

static bool text_integer(int value, int64_t *out)
{
    const char *text = values.text[value];
    char *end;
    if (values.size[value] == 0 || values.size[value] > 19 || text[0] == ' ' || text[0] == '+')
        return false;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return *end == 0 && errno == 0;
}

static bool starts_a_returned_value(int value)
{
    for (int i = 0; i < demands.count; i++) {
        int whole = demands.returned[i];
        if (values.size[whole] >= values.size[value] &&
            memcmp(values.text[whole], values.text[value], values.size[value]) == 0)
            return true;
    }
    return false;
}

// Values that nobody returned, nor anything that grew from them, differ in their length only: one
// stands for all of a length.
static int faceless(int value)
{
    struct demand *d = demand_of(value);
    int64_t number;
    if (d->key != demands.key) {
        d->key = demands.key;
        d->visible = starts_a_returned_value(value) || text_integer(value, &number);
    }
    if (d->visible)
        return value;
    char text[4096];
    if (values.size[value] > sizeof(text))
        return value;
    memset(text, '~', values.size[value]);
    return intern(&values, text, values.size[value]);
}

// ---- the register --------------------------------------------------------------------------------
struct state {
    int value;  // NIL or an interned text
    int expiry; // the SET whose TTL it carries, or NONE
};

static int number_text(int64_t number)
{
    char text[32];
    return intern(&values, text, (size_t)snprintf(text, sizeof(text), "%" PRId64, number));
}

static int joined_text(int head, int tail)
{
    if (head == NIL)
        return tail;
    size_t size = values.size[head] + values.size[tail];
    char *text = grow(NULL, size + 1);
    memcpy(text, values.text[head], values.size[head]);
    memcpy(text + values.size[head], values.text[tail], values.size[tail]);
    int id = intern(&values, text, size);
    free(text);
    return id;
}

static bool fits(const struct op *op, enum result result, int64_t number)
{
    return op->result == R_UNKNOWN ||
           (op->result == result && (result != R_NUMBER || op->number == number));
}

// What `op` does to a register, expiry aside. False when its result does not fit.
static bool apply(const struct op *op, int self, struct state *s)
{
    int64_t number = 0;
    switch (op->kind) {
    case GET:
        return op->result == R_NIL ? s->value == NIL : s->value == op->returned_value;
    case SET:
        *s = (struct state){faceless(op->argument), op->ttl ? self : NONE};
        return fits(op, R_OK, 0);
    case GETSET:
        number = s->value; // not a number here: what was there
        *s = (struct state){faceless(op->argument), NONE};
        return op->result == R_UNKNOWN ||
               (op->result == R_NIL ? number == NIL : number == op->returned_value);
    case DEL:
        number = s->value != NIL;
        *s = (struct state){NIL, NONE};
        return fits(op, R_NUMBER, number);
    case INCR:
        if (s->value != NIL && !text_integer(s->value, &number))
            return fits(op, R_ERROR, 0);
        s->value = number_text(number + 1);
        return fits(op, R_NUMBER, number + 1);
    case APPEND:
        s->value = faceless(joined_text(s->value, op->argument));
        return fits(op, R_NUMBER, values.size[s->value]);
    default:
        return false;
    }
}

enum variant { LIVE, EXPIRED, VARIANTS };

// The same with expiry: as if the value were still there, or as if its time had come before.
static bool step(const struct op *ops, int index, struct state *s, enum variant variant)
{
    const struct op *op = &ops[index];
    if (s->expiry == NONE)
        return variant == LIVE && apply(op, index, s);
    const struct op *set = &ops[s->expiry];
    if (variant == LIVE)
        return (set->unknown != NONE || op->invoked <= set->returned + set->ttl + slack_ns) &&
               apply(op, index, s);
    if (op->unknown == NONE && op->returned < set->invoked + set->ttl - slack_ns)
        return false;
    *s = (struct state){NIL, NONE};
    return apply(op, index, s);
}

// ---- configurations seen -------------------------------------------------------------------------
struct seen {
    struct seen *next;
    uint64_t hash[2];
    uint64_t used[]; // bits of the operations of unknown outcome taken
};

struct memory {
    struct seen **bucket;
    size_t buckets;
    uint64_t count;
    size_t words;
};

static void memory_init(struct memory *m, size_t words)
{
    *m = (struct memory){.buckets = 1 << 12, .words = words};
    m->bucket = calloc(m->buckets, sizeof(*m->bucket));
    if (!m->bucket)
        exit(2);
}

static void memory_deinit(struct memory *m)
{
    for (size_t i = 0; i < m->buckets; i++)
        for (struct seen *s = m->bucket[i], *next; s; s = next) {
            next = s->next;
            free(s);
        }
    free(m->bucket);
}

static void memory_rehash(struct memory *m)
{
    size_t buckets = m->buckets * 4;
    struct seen **bucket = calloc(buckets, sizeof(*bucket));
    if (!bucket)
        exit(2);
    for (size_t i = 0; i < m->buckets; i++)
        for (struct seen *s = m->bucket[i], *next; s; s = next) {
            next = s->next;
            s->next = bucket[s->hash[0] & (buckets - 1)];
            bucket[s->hash[0] & (buckets - 1)] = s;
        }
    free(m->bucket);
    m->bucket = bucket;
    m->buckets = buckets;
}

static bool subset(const uint64_t *a, const uint64_t *b, size_t words)
{
    for (size_t i = 0; i < words; i++)
        if (a[i] & ~b[i])
            return false;
    return true;
}

// Notes a configuration. False when one that can do as much was there before.
static bool memory_add(struct memory *m, const uint64_t hash[2], const uint64_t *used)
{
    struct seen **link = &m->bucket[hash[0] & (m->buckets - 1)];
    while (*link) {
        struct seen *s = *link;
        if (s->hash[0] == hash[0] && s->hash[1] == hash[1]) {
            if (subset(s->used, used, m->words))
                return false;
            if (subset(used, s->used, m->words)) { // the new one makes this one needless
                *link = s->next;
                free(s);
                continue;
            }
        }
        link = &s->next;
    }
    struct seen *s = grow(NULL, sizeof(*s) + m->words * sizeof(uint64_t));
    memcpy(s->hash, hash, sizeof(s->hash));
    memcpy(s->used, used, m->words * sizeof(uint64_t));
    if (++m->count > m->buckets)
        memory_rehash(m);
    s->next = m->bucket[hash[0] & (m->buckets - 1)];
    m->bucket[hash[0] & (m->buckets - 1)] = s;
    return true;
}

// ---- the search ----------------------------------------------------------------------------------
struct event {
    struct event *next, *previous, *match; // match: the return of a call (NULL when unknown)
    int64_t when;
    int op;
    bool is_return;
};

enum pass { READS, KNOWN, UNKNOWN, PASSES };

struct frame {
    struct event *event;
    struct state before;
    uint8_t pass, variant;
    bool forced; // a read taken for good: nothing else to try here
};

struct search {
    struct op *ops;
    int count, known_left;
    int *produced, produced_count, produced_room;
    struct event head; // head.next is the first
    struct event *events;
    struct state state;
    uint64_t set_hash[2];
    uint64_t *used;
    struct memory memory;
    struct frame *stack;
    int depth;
    int *best; // the longest order found, for the report
    int best_depth;
    int best_stuck;
    struct state best_state;
};

static uint64_t mix(uint64_t *x)
{
    uint64_t z = *x += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static int by_time(const void *a, const void *b)
{
    const struct event *x = a, *y = b;
    if (x->when != y->when)
        return x->when < y->when ? -1 : 1;
    if (x->is_return != y->is_return)
        return x->is_return ? 1 : -1; // touching intervals count as concurrent
    return x->op - y->op;
}

static void link_events(struct search *s)
{
    int n = 0;
    s->events = grow(NULL, (size_t)s->count * 2 * sizeof(struct event));
    for (int i = 0; i < s->count; i++) {
        s->events[n++] = (struct event){.when = s->ops[i].invoked, .op = i};
        if (s->ops[i].unknown == NONE)
            s->events[n++] = (struct event){.when = s->ops[i].returned, .op = i, .is_return = true};
    }
    qsort(s->events, (size_t)n, sizeof(struct event), by_time);
    struct event *last = &s->head, **call = grow(NULL, (size_t)s->count * sizeof(*call));
    for (int i = 0; i < n; i++) {
        struct event *e = &s->events[i];
        e->previous = last;
        last = last->next = e;
        if (e->is_return)
            call[e->op]->match = e;
        else
            call[e->op] = e;
    }
    last->next = NULL;
    free(call);
}

static void unlink_event(struct event *e)
{
    e->previous->next = e->next;
    if (e->next)
        e->next->previous = e->previous;
}

static void relink_event(struct event *e)
{
    e->previous->next = e;
    if (e->next)
        e->next->previous = e;
}

static void toggle(struct search *s, const struct op *op)
{
    if (op->unknown != NONE) {
        s->used[op->unknown / 64] ^= 1ull << (op->unknown % 64);
        return;
    }
    s->set_hash[0] ^= op->zobrist[0];
    s->set_hash[1] ^= op->zobrist[1];
}

static bool is_new(struct search *s, const struct state *state)
{
    uint64_t seed = ((uint64_t)(uint32_t)state->value << 32) | (uint32_t)state->expiry;
    uint64_t hash[2] = {s->set_hash[0] ^ mix(&seed), 0};
    hash[1] = s->set_hash[1] ^ mix(&seed);
    return memory_add(&s->memory, hash, s->used);
}

// Counts an operation in (+1) or out (-1) of those not yet taken.
static void demand_count(const struct search *s, const struct op *op, int by)
{
    if (op->result == R_VALUE)
        demand_of(op->returned_value)->wanted += by;
    for (int i = 0; i < op->produces_count; i++)
        demand_of(s->produced[op->produces + i])->makers += by;
}

static void produces(struct search *s, struct op *op, int value)
{
    if (s->produced_count == s->produced_room) {
        s->produced_room = s->produced_room ? s->produced_room * 2 : 256;
        s->produced = grow(s->produced, (size_t)s->produced_room * sizeof(int));
    }
    s->produced[s->produced_count++] = value;
    op->produces_count++;
}

static bool ends_with(int value, int tail)
{
    return values.size[value] >= values.size[tail] &&
           memcmp(values.text[value] + values.size[value] - values.size[tail], values.text[tail],
                  values.size[tail]) == 0;
}

// Which returned values may `op` leave behind? A bound from above: it may say more, never less.
static void find_products(struct search *s, struct op *op, const int *returned, int count)
{
    int64_t number;
    op->produces = s->produced_count;
    op->produces_count = 0;
    if (op->kind == SET || op->kind == GETSET)
        produces(s, op, op->argument);
    else if (op->kind == INCR && op->result == R_NUMBER)
        produces(s, op, number_text(op->number));
    else if (op->kind == INCR || op->kind == APPEND)
        for (int i = 0; i < count; i++)
            if (op->kind == INCR ? text_integer(returned[i], &number)
                                 : ends_with(returned[i], op->argument))
                produces(s, op, returned[i]);
}

static bool is_twin(const struct op *op)
{
    int64_t number;
    if (op->unknown == NONE || op->argument == NIL || op->ttl || text_integer(op->argument, &number))
        return false;
    for (int i = 0; i < demands.count; i++)
        if (strstr(values.text[demands.returned[i]], values.text[op->argument]))
            return false;
    return true;
}

static void demands_begin(struct search *s)
{
    demands.key++;
    demands.count = 0;
    demands.returned = grow(demands.returned, (size_t)s->count * sizeof(int));
    for (int i = 0; i < s->count; i++)
        if (s->ops[i].result == R_VALUE && demand_of(s->ops[i].returned_value)->wanted++ == 0)
            demands.returned[demands.count++] = s->ops[i].returned_value;
    for (int i = 0; i < demands.count; i++)
        demand_of(demands.returned[i])->wanted = 0;
    for (int i = 0; i < s->count; i++)
        s->ops[i].twin = is_twin(&s->ops[i]);
    for (int i = 0; i < s->count; i++)
        find_products(s, &s->ops[i], demands.returned, demands.count);
    for (int i = 0; i < s->count; i++)
        demand_count(s, &s->ops[i], 1);
}

static void demands_end(struct search *s)
{
    for (int i = 0; i < s->count; i++) {
        if (s->ops[i].result == R_VALUE)
            *demand_of(s->ops[i].returned_value) = (struct demand){0};
        for (int k = 0; k < s->ops[i].produces_count; k++)
            *demand_of(s->produced[s->ops[i].produces + k]) = (struct demand){0};
    }
    free(s->produced);
}

// Would `op`, which leaves `after`, bury a value for good that somebody has yet to read?
static bool buries(const struct search *s, const struct op *op, const struct state *after)
{
    int value = s->state.value;
    if (value == NIL || value == after->value)
        return false;
    const struct demand *d = demand_of(value);
    return d->wanted > (op->result == R_VALUE && op->returned_value == value) && d->makers == 0;
}

static void take(struct search *s, struct event *e, struct frame frame, struct state state)
{
    struct op *op = &s->ops[e->op];
    s->stack[s->depth++] = frame;
    op->taken = true;
    demand_count(s, op, -1);
    s->state = state;
    s->known_left -= op->unknown == NONE;
    unlink_event(e);
    if (e->match)
        unlink_event(e->match);
}

static void put_back(struct search *s)
{
    struct frame *f = &s->stack[--s->depth];
    struct op *op = &s->ops[f->event->op];
    if (f->event->match)
        relink_event(f->event->match);
    relink_event(f->event);
    op->taken = false;
    demand_count(s, op, 1);
    s->known_left += op->unknown == NONE;
    toggle(s, op);
    s->state = f->before;
}

// By its result an operation that changes nothing wherever it stands. (A SET that happens to find its
// own value is none: elsewhere it would change something.)
static bool is_read(const struct op *op)
{
    return op->kind == GET || op->result == R_ERROR || (op->kind == DEL && op->number == 0);
}

// Does `o` tell the register `without` from the register `with`?
static bool notices(const struct search *s, int o, const struct state *without,
                    const struct state *with)
{
    for (int v = LIVE; v < VARIANTS; v++) {
        struct state a = *with;
        if (!step(s->ops, o, &a, (enum variant)v))
            continue;
        bool same = false;
        for (int u = LIVE; u < VARIANTS && !same; u++) {
            struct state b = *without;
            same = step(s->ops, o, &b, (enum variant)u) && a.value == b.value &&
                   a.expiry == b.expiry;
        }
        if (!same)
            return true;
    }
    return false;
}

// Is there a use for an operation of unknown outcome that turns `without` into `with` now? Either
// something known can come next and notices, or another unknown one that builds on it is of use.
static bool is_useful(struct search *s, const struct state *without, const struct state *with,
                      int depth)
{
    struct event *e = s->head.next;
    for (; e && !e->is_return; e = e->next) {
        const struct op *op = &s->ops[e->op];
        if (op->unknown == NONE && (op->previous == NONE || s->ops[op->previous].taken) &&
            notices(s, e->op, without, with))
            return true;
    }
    for (e = s->head.next; e && !e->is_return; e = e->next) {
        struct op *op = &s->ops[e->op];
        if (op->unknown == NONE || op->taken || (op->kind != INCR && op->kind != APPEND))
            continue;
        struct state next = *with;
        if (depth == 0)
            return true; // who knows
        op->taken = true;
        bool useful = step(s->ops, e->op, &next, LIVE) && is_useful(s, with, &next, depth - 1);
        op->taken = false;
        if (useful)
            return true;
    }
    return false;
}

// Is there an earlier one that does as well? Only the first of such twins is tried.
static bool has_elder_twin(const struct search *s, int index)
{
    const struct op *op = &s->ops[index];
    for (int i = 0; op->twin && i < index; i++) {
        const struct op *elder = &s->ops[i];
        if (elder->twin && !elder->taken && elder->kind == op->kind && elder->ttl == 0 &&
            values.size[elder->argument] == values.size[op->argument])
            return true;
    }
    return false;
}

// May `op` be tried in this pass, and how would it leave the register?
static bool candidate(struct search *s, int index, enum pass pass, enum variant variant,
                      struct state *after)
{
    const struct op *op = &s->ops[index];
    if ((pass == UNKNOWN) != (op->unknown != NONE) || has_elder_twin(s, index))
        return false;
    if (op->previous != NONE && !s->ops[op->previous].taken)
        return false;
    *after = s->state;
    if (!step(s->ops, index, after, variant))
        return false;
    if (buries(s, op, after))
        return false;
    bool same = after->value == s->state.value && after->expiry == s->state.expiry;
    if (pass == UNKNOWN) {
        struct op *self = &s->ops[index];
        self->taken = true; // not a use for itself
        bool useful = !same && is_useful(s, &s->state, after, 3);
        self->taken = false;
        return useful;
    }
    return (pass == READS) == (same && is_read(op));
}

// Tries everything from (pass, event, variant) on; true when one was taken.
static bool advance(struct search *s, int pass, struct event *event, int variant)
{
    for (; pass < PASSES; pass++, event = s->head.next, variant = LIVE) {
        for (; event && !event->is_return; event = event->next, variant = LIVE) {
            for (; variant < VARIANTS; variant++) {
                struct state after;
                if (!candidate(s, event->op, (enum pass)pass, (enum variant)variant, &after))
                    continue;
                struct op *op = &s->ops[event->op];
                toggle(s, op);
                if (pass != READS && !is_new(s, &after)) {
                    toggle(s, op);
                    continue;
                }
                struct frame frame = {event, s->state, (uint8_t)pass, (uint8_t)variant,
                                      pass == READS};
                take(s, event, frame, after);
                return true;
            }
        }
    }
    return false;
}

static void note_best(struct search *s)
{
    if (s->depth < s->best_depth)
        return;
    s->best_depth = s->depth;
    for (int i = 0; i < s->depth; i++)
        s->best[i] = s->stack[i].event->op;
    s->best_state = s->state;
    s->best_stuck = NONE;
    for (struct event *e = s->head.next; e && s->best_stuck == NONE; e = e->next)
        if (e->is_return)
            s->best_stuck = e->op;
}

// Goes back to the last choice that has something left to try. False: there is none.
static bool backtrack(struct search *s)
{
    while (s->depth > 0) {
        struct frame f = s->stack[s->depth - 1];
        put_back(s);
        if (!f.forced && advance(s, f.pass, f.event, f.variant + 1))
            return true;
    }
    return false;
}

enum verdict { LINEARIZABLE, VIOLATION, UNDECIDED };

static enum verdict search_run(struct search *s)
{
    while (s->known_left > 0) {
        if (s->memory.count > budget)
            return UNDECIDED;
        if (advance(s, READS, s->head.next, LIVE))
            continue;
        note_best(s);
        if (!backtrack(s))
            return VIOLATION;
    }
    return LINEARIZABLE;
}

// ---- one key -------------------------------------------------------------------------------------
static void print_op(const struct op *op, const char *mark, int64_t origin)
{
    printf("  %s client %-3d %s", mark, op->client, kind_names[op->kind]);
    if (op->argument != NIL)
        printf(" %.40s", values.text[op->argument]);
    if (op->ttl)
        printf(" px %" PRId64, op->ttl / 1000000);
    printf(" -> ");
    switch (op->result) {
    case R_OK: printf("ok"); break;
    case R_NIL: printf("nil"); break;
    case R_VALUE: printf("'%.60s'", values.text[op->returned_value]); break;
    case R_NUMBER: printf("%" PRId64, op->number); break;
    case R_ERROR: printf("error"); break;
    case R_UNKNOWN: printf("outcome unknown"); break;
    }
    printf("   [%.3f ms", (double)(op->invoked - origin) / 1e6);
    if (op->unknown == NONE)
        printf(", %.3f ms", (double)(op->returned - origin) / 1e6);
    printf("]\n");
}

static void report(const struct search *s)
{
    int64_t origin = s->ops[0].invoked;
    printf("key %s: not linearizable: %d operations, at most %d in a valid order, which ends with\n",
           keys.text[s->ops[0].key], s->count, s->best_depth);
    for (int i = s->best_depth > 8 ? s->best_depth - 8 : 0; i < s->best_depth; i++)
        print_op(&s->ops[s->best[i]], " ", origin);
    printf("  the value is then %s%.60s%s, and this does not fit:\n",
           s->best_state.value == NIL ? "missing" : "'",
           s->best_state.value == NIL ? "" : values.text[s->best_state.value],
           s->best_state.value == NIL ? "" : "'");
    if (s->best_stuck == NONE)
        return;
    const struct op *stuck = &s->ops[s->best_stuck];
    print_op(stuck, "!", origin);
    printf("  at the same time:\n");
    int shown = 0;
    for (int i = 0; i < s->count && shown < 16; i++) {
        const struct op *op = &s->ops[i];
        if (op != stuck && op->invoked <= stuck->returned &&
            (op->unknown != NONE || op->returned >= stuck->invoked)) {
            print_op(op, "|", origin);
            shown++;
        }
    }
}

static int link_clients(struct op *ops, int count)
{
    int unknown = 0;
    uint64_t seed = 1;
    for (int i = 0; i < count; i++) {
        struct op *op = &ops[i];
        op->unknown = op->result == R_UNKNOWN ? unknown++ : NONE;
        op->zobrist[0] = mix(&seed);
        op->zobrist[1] = mix(&seed);
        op->previous = NONE;
        for (int j = i - 1; j >= 0 && i - j < 4096; j--)
            if (ops[j].client == op->client && ops[j].unknown == NONE) {
                op->previous = op->unknown == NONE ? j : NONE;
                break;
            }
    }
    return unknown;
}

static enum verdict check_key(struct op *ops, int count)
{
    struct search s = {.ops = ops, .count = count, .state = {NIL, NONE}, .best_depth = -1};
    int unknown = link_clients(ops, count);
    size_t words = ((size_t)unknown + 63) / 64;
    s.known_left = count - unknown;
    s.used = calloc(words + 1, sizeof(uint64_t));
    s.stack = grow(NULL, (size_t)count * sizeof(struct frame));
    s.best = grow(NULL, (size_t)count * sizeof(int));
    if (!s.used)
        exit(2);
    memory_init(&s.memory, words);
    link_events(&s);
    demands_begin(&s);
    enum verdict verdict = search_run(&s);
    if (verdict == VIOLATION)
        report(&s);
    else if (verdict == UNDECIDED)
        printf("key %s: undecided after %" PRIu64 " configurations of %d operations, %d unknown\n",
               keys.text[ops[0].key], s.memory.count, count, unknown);
    demands_end(&s);
    memory_deinit(&s.memory);
    free(s.events);
    free(s.used);
    free(s.stack);
    free(s.best);
    return verdict;
}

// ---- reading -------------------------------------------------------------------------------------
struct history {
    struct op *ops;
    size_t count, room;
};

static bool parse_result(struct op *op, const char *text)
{
    if (strcmp(text, "?") == 0)
        op->result = R_UNKNOWN;
    else if (strcmp(text, "ok") == 0)
        op->result = R_OK;
    else if (strcmp(text, "nil") == 0)
        op->result = R_NIL;
    else if (strcmp(text, "err") == 0)
        op->result = R_ERROR;
    else if (text[0] == ':')
        op->result = R_NUMBER, op->number = strtoll(text + 1, NULL, 10);
    else if (text[0] == '=')
        op->result = R_VALUE, op->returned_value = intern(&values, text + 1, strlen(text + 1));
    else
        return false;
    bool answers_value = op->result == R_NIL || op->result == R_VALUE;
    if (op->kind == GET) // without a result it is no part of the history
        return answers_value;
    return op->result == R_UNKNOWN || (op->kind == GETSET) == answers_value;
}

static bool parse_line(struct op *op, char *line)
{
    char *field[8], *rest = line;
    for (int i = 0; i < 8; i++)
        if (!(field[i] = strtok_r(i ? NULL : line, " \t\n", &rest)))
            return false;
    *op = (struct op){.kind = KINDS, .argument = NIL, .returned_value = NIL};
    for (int k = 0; k < KINDS; k++)
        if (strcmp(field[2], kind_names[k]) == 0)
            op->kind = (enum kind)k;
    if (op->kind == KINDS || !parse_result(op, field[5]))
        return false;
    bool writes_text = op->kind == SET || op->kind == GETSET || op->kind == APPEND;
    if (writes_text != (field[3][0] == '='))
        return false;
    if (field[3][0] == '=')
        op->argument = intern(&values, field[3] + 1, strlen(field[3] + 1));
    op->key = intern(&keys, field[0], strlen(field[0]));
    op->client = atoi(field[1]);
    op->ttl = strtoll(field[4], NULL, 10) * 1000000;
    op->invoked = strtoll(field[6], NULL, 10);
    op->returned = op->result == R_UNKNOWN ? INT64_MAX : strtoll(field[7], NULL, 10);
    return op->returned >= op->invoked;
}

static bool read_history(struct history *h, const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file) {
        fprintf(stderr, "check: %s: %s\n", path, strerror(errno));
        return false;
    }
    char *line = NULL;
    size_t room = 0;
    bool good = true;
    for (size_t number = 1; good && getline(&line, &room, file) > 0; number++) {
        if (line[0] == '#' || line[0] == '\n')
            continue;
        if (h->count == h->room) {
            h->room = h->room ? h->room * 2 : 4096;
            h->ops = grow(h->ops, h->room * sizeof(struct op));
        }
        good = parse_line(&h->ops[h->count], line);
        if (!good)
            fprintf(stderr, "check: %s:%zu: not an operation\n", path, number);
        h->count += good;
    }
    free(line);
    fclose(file);
    return good;
}

// By key, then by invocation; what one client invoked at the same moment (a pipeline) keeps the
// order of the file.
static int by_key(const void *a, const void *b)
{
    const struct op *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    if (x->invoked != y->invoked)
        return x->invoked < y->invoked ? -1 : 1;
    return x->previous < y->previous ? -1 : x->previous > y->previous;
}

static int check_history(struct history *h)
{
    size_t tally[3] = {0}, known_keys = 0, unknown = 0, reads = 0;
    for (size_t i = 0; i < h->count; i++) {
        h->ops[i].previous = (int)i; // the line, for by_key
        unknown += h->ops[i].result == R_UNKNOWN;
        reads += h->ops[i].kind == GET;
    }
    qsort(h->ops, h->count, sizeof(struct op), by_key);
    for (size_t i = 0, end; i < h->count; i = end) {
        for (end = i + 1; end < h->count && h->ops[end].key == h->ops[i].key; end++)
            ;
        tally[check_key(h->ops + i, (int)(end - i))]++;
        known_keys++;
    }
    printf("%zu operations (%zu reads, %zu of unknown outcome) on %zu keys: "
           "%zu linearizable, %zu not, %zu undecided\n",
           h->count, reads, unknown, known_keys, tally[LINEARIZABLE], tally[VIOLATION],
           tally[UNDECIDED]);
    return tally[VIOLATION] ? 1 : tally[UNDECIDED] ? 3 : 0;
}

int main(int argc, char **argv)
{
    struct history history = {0};
    int i = 1;
    for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
        if (strcmp(argv[i], "-s") == 0)
            slack_ns = (int64_t)(atof(argv[i + 1]) * 1e6);
        else if (strcmp(argv[i], "-b") == 0)
            budget = strtoull(argv[i + 1], NULL, 10);
        else
            break;
    }
    if (i >= argc || argv[i][0] == '-') {
        fprintf(stderr, "usage: check [-s SLACK_MS] [-b BUDGET] FILE...\n");
        return 2;
    }
    for (; i < argc; i++)
        if (!read_history(&history, argv[i]))
            return 2;
    return check_history(&history);
}
