// What comes from the store on a lane: replies, in the order of the requests, and invalidations
// between them. Frames are handled where they lie in the read buffer; only a frame that came in
// pieces is put together first. A reply too large for a client's buffer is passed over, and asked
// again on a private connection by the client's thread.
#include "base/check.h"
#include "base/hash.h"
#include "base/log.h"
#include "proxy/core.h"
#include "proxy/near.h"

// ---- invalidations
// -------------------------------------------------------------------------------

static void take_push(struct lane *lane, struct slice frame)
{
    struct node *node = lane->node;
    size_t cursor = 0;
    struct slice element, text, keys;
    if (!resp_element_next(frame, &cursor, &element) || !resp_text(element, &text) ||
        !slice_is(text, "invalidate") || !resp_element_next(frame, &cursor, &keys))
        return; // a kind of push that tracking does not send
    if (resp_is_null(keys)) {
        node_flush_epoch(node);
        return;
    }
    size_t at = 0;
    while (resp_element_next(keys, &at, &element)) {
        if (!resp_text(element, &text))
            continue;
        node_invalidate_key(node, hash_key(text));
        worker_count(node->home, METRIC_cache_invalidations_total, 1);
    }
}

// ---- fills
// ---------------------------------------------------------------------------------------

// An answer that comes before the one asked for: +OK of CACHING, or a PTTL, in the order of the
// keys.
static void take_prelude(struct request *request, struct slice frame)
{
    request->prelude_left--;
    if (frame.size == 0)
        return;
    if (frame.data[0] == '+')
        return;
    int64_t pttl_ms;
    struct fill *fill = request->fills;
    while (fill != NULL && fill->pttl_ms != INT64_MIN)
        fill = fill->next;
    if (fill != NULL)
        fill->pttl_ms = resp_integer(frame, &pttl_ms) ? pttl_ms : 0; // an error: don't fill
}

static bool may_fill(struct lane *lane, struct fill *fill)
{
    if (!fill->alive) {
        worker_count(lane->node->home, METRIC_cache_kills_total, 1);
        return false;
    }
    fill_remove(&lane->node->fills, fill);
    return fill->stamp >= atomic_load(&lane->floor);
}

static void insert(struct lane *lane, const struct near_query *query, const struct fill *fill,
                   struct slice reply)
{
    struct node *node = lane->node;
    bool inserted = near_insert(node->home, query, fill, reply);
    worker_count(node->home, inserted ? METRIC_cache_fills_total : METRIC_cache_refused_total, 1);
    if (inserted)
        node->filled_bytes += query->ref.key.size + reply.size;
}

static void fill_one(struct lane *lane, struct request *request, struct slice reply)
{
    static const struct resp_bounds bounds = {LIMIT_MULTIBULK_ARGS, LIMIT_BULK_BYTES, true};
    struct worker *home = lane->node->home;
    struct resp_request parsed;
    struct near_query query;
    size_t need;
    if (may_fill(lane, request->fills) &&
        resp_request_parse(&parsed, request_frame(home, request), &bounds, &need) > 0 &&
        near_query(&query, home, lane->node, request->command, &parsed, request->hash, request->db))
        insert(lane, &query, request->fills, reply);
}

static void fill_mget(struct lane *lane, struct request *request, struct slice reply)
{
    struct worker *home = lane->node->home;
    struct slice frame = request_frame(home, request), element;
    size_t cursor = 0;
    for (struct fill *fill = request->fills; fill != NULL; fill = fill->next) {
        struct near_query query;
        struct slice key = slice_of(frame.data + fill->key_offset, fill->key_size);
        if (!resp_element_next(reply, &cursor, &element))
            return;
        // MGET says null for a key of another type too, where GET says an error
        bool masked = resp_is_null(element) && fill->pttl_ms != -2;
        if (may_fill(lane, fill) && !masked &&
            near_mget_key(&query, home, lane->node, key, fill->hash, request->db))
            insert(lane, &query, fill, element);
    }
}

// Enters the reply into the cache where it may, and returns the requests that joined.
static struct request *finish_fills(struct lane *lane, struct request *request, struct slice reply)
{
    if (request->fills == NULL)
        return NULL;
    if (!(request->flags & REQUEST_LARGE) && request->command->id == COMMAND_MGET)
        fill_mget(lane, request, reply);
    else if (!(request->flags & REQUEST_LARGE))
        fill_one(lane, request, reply);
    return lane_drop_fills(lane, request);
}

// ---- replies
// -------------------------------------------------------------------------------------

static void answer(struct lane *lane, struct request *request, struct slice reply, bool resp3)
{
    struct worker *home = lane->node->home;
    if (request->flags & REQUEST_LARGE)
        request_return(home, request);
    else
        request_answer(home, request, reply, resp3);
}

// `reply` is empty for one that was passed over.
static void take_reply(struct lane *lane, struct slice reply, bool resp3)
{
    struct node *node = lane->node;
    struct request *request = lane->first;
    if (request->prelude_left > 0) {
        take_prelude(request, reply);
        return;
    }
    lane->first = request->lane_next;
    if (lane->first == NULL)
        lane->last = NULL;
    lane->in_flight--;
    if (request->internal != NULL) {
        request->internal(lane, request, reply);
        request_release(request);
        return;
    }
    if (reply.size == 0)
        request->flags |= REQUEST_LARGE;
    if (!(request->flags & REQUEST_READ))
        node_invalidate(node, request);
    bool large = reply.size == 0;
    struct request *waiters = finish_fills(lane, request, reply);
    answer(lane, request, reply, resp3);
    while (waiters != NULL) {
        struct request *waiter = waiters;
        waiters = waiter->lane_next;
        if (large)
            waiter->flags |= REQUEST_LARGE;
        answer(lane, waiter, reply, resp3);
    }
}

void lane_markers(struct lane *lane)
{
    struct worker *home = lane->node->home;
    static const struct resp_bounds bounds = {LIMIT_MULTIBULK_ARGS, LIMIT_BULK_BYTES, true};
    while (lane->first != NULL && lane->first->state == REQUEST_MARKER) {
        struct request *request = lane->first;
        lane->first = request->lane_next;
        if (lane->first == NULL)
            lane->last = NULL;
        lane->in_flight--;
        struct resp_request parsed;
        struct near_query query;
        size_t need, size = 0;
        enum near_verdict verdict = NEAR_MISS;
        CHECK(resp_request_parse(&parsed, request_frame(home, request), &bounds, &need) > 0);
        if (request->command->id == COMMAND_MGET)
            verdict = near_mget(home, lane->node, &parsed, request->db, 3, false,
                                home->turn_scratch, home->join_room, &size);
        else if (near_query(&query, home, lane->node, request->command, &parsed, request->hash,
                            request->db))
            verdict = near_fetch(home, lane->node, &query, false, 3, home->turn_scratch,
                                 home->join_room, &size);
        if (verdict != NEAR_HIT) {
            request_return(home, request);
            continue;
        }
        struct slice reply = slice_of(home->turn_scratch, size);
        bool resp3 = false;
        request->flags |= REQUEST_HIT;
        worker_count(home, METRIC_cache_hits_total, 1);
        if (resp_reply_length(reply, &resp3) > 0)
            request_answer(home, request, reply, resp3);
    }
}

// ---- the stream
// ----------------------------------------------------------------------------------

static bool take_frame(struct lane *lane, struct slice frame, char type, bool resp3)
{
    if (type == '>') {
        if (frame.size > 0)
            take_push(lane, frame);
        else
            node_flush_epoch(lane->node); // an invalidation too large to read names anything
        return true;
    }
    if (lane->first == NULL) {
        lane_lost(lane, "a reply to nothing that was asked");
        return false;
    }
    take_reply(lane, frame, resp3);
    if (lane->io.fd < 0)
        return false;
    lane_markers(lane);
    return lane->io.fd >= 0;
}

// May this reply be kept whole until it has come? Else it is passed over and asked again. A reply
// of a write can't be asked again: it may use what the budget has.
static bool may_keep(const struct lane *lane)
{
    const struct worker *home = lane->node->home;
    uint64_t size = lane->in.size + resp_scan_more(&lane->scan);
    bool read = lane->scan.top_type == '>' || lane->first == NULL ||
                lane->first->internal != NULL || (lane->first->flags & REQUEST_READ);
    if (read)
        return size <= home->join_room && size <= worker_client_room(home) + BLOCK_BYTES;
    return size <= home->join_room;
}

// Bytes of a frame that came in pieces. Returns how many were taken, negative when the lane is
// lost.
static long take_piece(struct lane *lane, struct slice bytes)
{
    struct worker *home = lane->node->home;
    long n = resp_scan_feed(&lane->scan, bytes);
    if (n < 0) {
        lane_lost(lane, "the store broke the protocol");
        return -1;
    }
    if (!lane->drain && (!may_keep(lane) ||
                         buf_append(&lane->in, &home->blocks, slice_of(bytes.data, (size_t)n)))) {
        lane->drain = true;
        buf_clear(&lane->in, &home->blocks);
    }
    if (!lane->scan.done)
        return n;
    struct slice frame = slice_of(home->join_scratch, lane->in.size);
    if (lane->in.size > home->join_room)
        frame.size = 0;
    else
        buf_copy(&lane->in, home->join_scratch);
    if (lane->drain)
        frame.size = 0;
    buf_clear(&lane->in, &home->blocks);
    lane->drain = lane->piecemeal = false;
    return take_frame(lane, frame, (char)lane->scan.top_type, lane->scan.resp3) ? n : -1;
}

void lane_input(struct lane *lane, struct slice bytes)
{
    while (bytes.size > 0) {
        if (!lane->piecemeal) {
            bool resp3 = false;
            long n = resp_reply_length(bytes, &resp3);
            if (n > 0) {
                if (!take_frame(lane, slice_of(bytes.data, (size_t)n), (char)bytes.data[0], resp3))
                    return;
                bytes = slice_of(bytes.data + n, bytes.size - (size_t)n);
                continue;
            }
            if (n < 0) {
                lane_lost(lane, "the store broke the protocol");
                return;
            }
            lane->piecemeal = true;
            resp_scan_init(&lane->scan);
        }
        long n = take_piece(lane, bytes);
        if (n < 0)
            return;
        bytes = slice_of(bytes.data + n, bytes.size - (size_t)n);
    }
}
