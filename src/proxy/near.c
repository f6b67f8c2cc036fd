// The near cache as the proxy uses it.
//
// An entry is found by (key, scope). The scope is what else makes the reply what it is, as short as
// can be, for it is stored with every entry:
//     GET in db 0          empty
//     GET in db n          [n]
//     any other command    [db] [command, 2 bytes] and each argument behind the key as [size] bytes
//
// A hit is served when (cache.md)   stamp >= lane.floor          nothing was lost since it was filled
//                                   now < expiry                 the cache checks
//                                   now - lane.vouched <= max-stale, or a fence was answered just now
//
// The value is copied straight into the output, behind a header whose length is guessed from the
// last one; the guess is nearly always right, and a wrong one costs a memmove.
#include "proxy/near.h"
#include "base/hash.h"
#include "proxy/core.h"
#include <string.h>

static bool build_scope(struct near_query *query, const struct resp_request *request)
{
    size_t size = 0;
    uint8_t *scope = query->scope;
    if (query->command->id == COMMAND_GET) {
        if (query->db != 0)
            scope[size++] = query->db;
    } else {
        if (request->argc > RESP_ARGS)
            return false;
        scope[size++] = query->db;
        scope[size++] = (uint8_t)query->command->id;
        scope[size++] = (uint8_t)(query->command->id >> 8);
        for (uint32_t i = 2; i < request->argc; i++) {
            struct slice argument = request->argv[i];
            if (argument.size > 255 || size + 1 + argument.size > LIMIT_CACHE_SCOPE)
                return false;
            scope[size++] = (uint8_t)argument.size;
            memcpy(scope + size, argument.data, argument.size);
            size += argument.size;
        }
    }
    query->ref.scope = slice_of(scope, size);
    return true;
}

// In sampled mode only one key in SAMPLE_ONE_IN is looked up and filled.
static bool sampled_out(const struct node *node, uint64_t hash)
{
    return atomic_load_explicit(&node->mode, memory_order_relaxed) == NODE_SAMPLED &&
           (hash >> 40) % SAMPLE_ONE_IN != 0;
}

static bool fits_rule(struct near_query *query, struct worker *worker, const struct node *node,
                      enum command_id id, struct slice key, uint64_t hash)
{
    if (!node_caching(node) || key.size > LIMIT_CACHE_KEY || sampled_out(node, hash))
        return false;
    query->rule = settings_rule(worker->settings, key);
    if (!query->rule->enabled || !near_rule_allows(query->rule, id))
        return false;
    query->ref.hash = hash;
    query->ref.key = key;
    return true;
}

bool near_query(struct near_query *query, struct worker *worker, const struct node *node,
                const struct command *command, const struct resp_request *request, uint64_t hash,
                uint8_t db)
{
    if (request->argc < 2 || (command->arity > 0 && request->argc != (uint32_t)command->arity))
        return false;
    if ((command->id == COMMAND_EXISTS || command->id == COMMAND_PFCOUNT) && request->argc != 2)
        return false;
    if ((command->flags & COMMAND_HASH_FIELDS) &&
        atomic_load_explicit(&node->fields_expire, memory_order_relaxed))
        return false;
    query->command = command;
    query->db = db;
    return fits_rule(query, worker, node, command->id, request->argv[1], hash) &&
           build_scope(query, request);
}

bool near_mget_key(struct near_query *query, struct worker *worker, const struct node *node,
                   struct slice key, uint64_t hash, uint8_t db)
{
    query->command = command_by_id(COMMAND_GET);
    query->db = db;
    return fits_rule(query, worker, node, COMMAND_MGET, key, hash) && build_scope(query, NULL);
}

static bool vouched(const struct worker *worker, const struct lane *lane,
                    const struct near_rule *rule)
{
    uint64_t at = atomic_load_explicit(&lane->vouched_ns, memory_order_acquire);
    return worker->now_ns <= at || worker->now_ns - at <= rule->max_stale_ns;
}

static uint32_t floor_of(const struct lane *lane)
{
    return atomic_load_explicit(&lane->floor, memory_order_acquire);
}

static size_t compose_null(const struct command *command, unsigned protocol, uint8_t *out)
{
    const char *text = "_\r\n";
    if (protocol == 2)
        text = command->shape == RESP2_NULL_ARRAY ? "*-1\r\n" : "$-1\r\n";
    size_t size = strlen(text);
    memcpy(out, text, size);
    return size;
}

// A whole stored RESP3 frame, at `out` already; rewritten there for a RESP2 client.
static size_t compose_frame(struct worker *worker, const struct command *command, unsigned protocol,
                            uint8_t *out, size_t size, size_t room)
{
    bool resp3 = false;
    if (protocol == 3 || (resp_reply_length(slice_of(out, size), &resp3) > 0 && !resp3))
        return size;
    long n = resp_to_resp2(slice_of(out, size), command->shape, worker->convert,
                           worker->convert_room);
    if (n <= 0 || (size_t)n > room)
        return 0;
    memcpy(out, worker->convert, (size_t)n);
    return (size_t)n;
}

// One entry, composed at `out`. Sets *position for cache_still.
static enum near_verdict fetch_one(struct worker *worker, const struct near_query *query,
                                   uint32_t floor, unsigned protocol, uint8_t *out, size_t room,
                                   size_t *size, uint64_t *position)
{
    if (room < RESP_HEAD_ROOM + 2)
        return NEAR_MISS;
    size_t guess = worker->header_size;
    struct cache_hit hit;
    enum cache_verdict verdict =
        cache_get(worker->proxy->cache, &query->ref, floor, clock_ms(worker->now_ns), out + guess,
                  room - RESP_HEAD_ROOM - 2, &hit);
    if (verdict != CACHE_HIT)
        return NEAR_MISS;
    *position = hit.position;
    worker->hit_age_bytes = hit.age_bytes;
    if (hit.kind == CACHE_NULL) {
        *size = compose_null(query->command, protocol, out);
        return NEAR_HIT;
    }
    if (hit.kind == CACHE_FRAME) {
        memmove(out, out + guess, hit.size);
        *size = compose_frame(worker, query->command, protocol, out, hit.size, room);
        return *size > 0 ? NEAR_HIT : NEAR_MISS;
    }
    if (hit.size != worker->header_value) {
        worker->header_value = hit.size;
        worker->header_size = resp_put_header(worker->header, '$', hit.size);
        memmove(out + worker->header_size, out + guess, hit.size);
        guess = worker->header_size;
    }
    memcpy(out, worker->header, guess);
    memcpy(out + guess + hit.size, "\r\n", 2);
    *size = guess + hit.size + 2;
    return NEAR_HIT;
}

// In sampled mode the sample has the whole cache to itself; a hit counts only if the entry would
// have survived in the cache's normal share, SAMPLE_ONE_IN times smaller.
static bool would_survive(struct worker *worker, const struct node *node)
{
    if (atomic_load_explicit(&node->mode, memory_order_relaxed) != NODE_SAMPLED)
        return true;
    return worker->hit_age_bytes * SAMPLE_ONE_IN <= worker->proxy->cache_log_bytes;
}

bool near_peek(struct worker *worker, const struct node *node, const struct near_query *query)
{
    uint32_t floor = floor_of(&node->lanes[query->db]);
    uint64_t now_ms = clock_ms(worker->now_ns);
    struct cache_hit hit;
    if (floor == UINT32_MAX)
        return false;
    if (atomic_load_explicit(&node->mode, memory_order_relaxed) != NODE_SAMPLED)
        return cache_peek(worker->proxy->cache, &query->ref, floor, now_ms);
    if (cache_get(worker->proxy->cache, &query->ref, floor, now_ms, NULL, 0, &hit) != CACHE_HIT)
        return false;
    worker->hit_age_bytes = hit.age_bytes;
    return would_survive(worker, node);
}

enum near_verdict near_fetch(struct worker *worker, const struct node *node,
                             const struct near_query *query, bool fenced, unsigned protocol,
                             uint8_t *out, size_t room, size_t *size)
{
    const struct lane *lane = &node->lanes[query->db];
    uint32_t floor = floor_of(lane);
    if (floor == UINT32_MAX)
        return NEAR_MISS;
    if (!fenced && !vouched(worker, lane, query->rule))
        return near_peek(worker, node, query) ? NEAR_STALE : NEAR_MISS;
    uint64_t position;
    enum near_verdict verdict =
        fetch_one(worker, query, floor, protocol, out, room, size, &position);
    if (verdict == NEAR_HIT && !would_survive(worker, node))
        return NEAR_MISS;
    return verdict;
}

enum near_verdict near_mget(struct worker *worker, const struct node *node,
                            const struct resp_request *request, uint8_t db, unsigned protocol,
                            bool fenced, uint8_t *out, size_t room, size_t *size)
{
    uint32_t floor = floor_of(&node->lanes[db]);
    uint32_t keys = request->argc - 1;
    if (floor == UINT32_MAX || keys == 0 || keys > LIMIT_MGET_FILLS || room < RESP_HEAD_ROOM)
        return NEAR_MISS;
    struct cache_ref refs[LIMIT_MGET_FILLS];
    uint64_t positions[LIMIT_MGET_FILLS];
    size_t used = resp_put_header(out, '*', keys), cursor = 0;
    struct slice key;
    resp_arg_next(request->frame, &cursor, &key); // the command's name
    for (uint32_t i = 0; i < keys; i++) {
        struct near_query query;
        size_t n;
        if (!resp_arg_next(request->frame, &cursor, &key) ||
            !near_mget_key(&query, worker, node, key, hash_key(key), db))
            return NEAR_MISS;
        if (!fenced && !vouched(worker, &node->lanes[db], query.rule))
            return near_peek(worker, node, &query) ? NEAR_STALE : NEAR_MISS;
        if (fetch_one(worker, &query, floor, protocol, out + used, room - used, &n,
                      &positions[i]) != NEAR_HIT)
            return NEAR_MISS;
        refs[i] = query.ref;
        refs[i].scope = slice_of(worker->mget_scope, query.ref.scope.size);
        used += n;
    }
    worker->mget_scope[0] = db;
    for (uint32_t i = 0; i < keys; i++) {
        if (!cache_still(worker->proxy->cache, &refs[i], positions[i]))
            return NEAR_MISS;
    }
    if (floor_of(&node->lanes[db]) != floor)
        return NEAR_MISS; // flushed meanwhile: some may be from before it, some from after
    *size = used;
    return NEAR_HIT;
}

bool near_mget_peek(struct worker *worker, const struct node *node,
                    const struct resp_request *request, uint8_t db)
{
    size_t cursor = 0;
    struct slice key;
    if (request->argc < 2 || request->argc - 1 > LIMIT_MGET_FILLS)
        return false;
    resp_arg_next(request->frame, &cursor, &key);
    while (resp_arg_next(request->frame, &cursor, &key)) {
        struct near_query query;
        if (!near_mget_key(&query, worker, node, key, hash_key(key), db) ||
            !near_peek(worker, node, &query))
            return false;
    }
    return true;
}

bool near_insert(struct worker *worker, const struct near_query *query, const struct fill *fill,
                 struct slice reply)
{
    if (fill->pttl_ms == 0 || fill->pttl_ms == INT64_MIN || resp_is_error(reply))
        return false;
    enum cache_kind kind = CACHE_FRAME;
    struct slice value = reply;
    if (resp_is_null(reply)) {
        kind = CACHE_NULL;
        value = slice_of(NULL, 0);
    } else if (reply.data[0] == '$' && resp_text(reply, &value)) {
        kind = CACHE_BULK;
    }
    if (value.size > query->rule->max_value_bytes)
        return false;
    uint64_t life_ms = query->rule->max_ttl_ms;
    if (fill->pttl_ms > 0 && (uint64_t)fill->pttl_ms < life_ms)
        life_ms = (uint64_t)fill->pttl_ms;
    return cache_insert(worker->proxy->cache, &query->ref, value, kind, fill->stamp,
                        clock_ms(fill->sent_ns) + life_ms) == 0;
}
