// The event loop on epoll.
//
//   loop_poll:  asleep = 1 -> pending? -> epoll_wait -> asleep = 0, pending = 0 -> ready -> timers
//   loop_wake:  pending = 1 -> asleep? -> write the eventfd
//
// No wake-up is lost: either the sleeper sees `pending` before it waits, or the waker sees `asleep`
// after it set `pending` (both sides store first and load second, sequentially consistent). What the
// waker published before is visible to whoever looks after loop_poll returns. The eventfd is edge
// triggered and never read: a write is an event, its count is of no interest.
//
// A callback may remove any loop_fd: events of it still to be delivered in this round are blanked.
// Timers that fall due are first moved to a list of their own, so that one that sets itself to the
// past again waits for the next round.
#include "loop/loop.h"
#include "base/check.h"
#include "base/err.h"
#include "loop/clock.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { EVENTS = 256 };

struct loop {
    int epoll;
    int wake;
    int ready_next, ready_count; // events[ready_next ... ready_count) are still to be delivered
    _Atomic uint64_t idle_ns; // written by the owner only
    struct loop_timer timers; // sentinel of a ring, soonest first
    struct loop_timer due;    // sentinel of those being fired
    struct epoll_event events[EVENTS];
    _Alignas(64) atomic_bool asleep; // written by the owner, read by wakers
    atomic_bool pending;             // a wake-up was asked for since the last wait
};

static void ring_init(struct loop_timer *sentinel)
{
    sentinel->next = sentinel->previous = sentinel;
}

static void ring_insert_after(struct loop_timer *position, struct loop_timer *timer)
{
    timer->previous = position;
    timer->next = position->next;
    position->next->previous = timer;
    position->next = timer;
}

static void ring_remove(struct loop_timer *timer)
{
    timer->previous->next = timer->next;
    timer->next->previous = timer->previous;
    timer->next = timer->previous = NULL;
}

int loop_create(struct loop **out)
{
    struct loop *loop = aligned_alloc(64, (sizeof *loop + 63) / 64 * 64);
    if (loop == NULL)
        return WEIR_ENOMEM;
    *loop = (struct loop){.epoll = epoll_create1(EPOLL_CLOEXEC),
                          .wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    ring_init(&loop->timers);
    ring_init(&loop->due);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    if (loop->epoll < 0 || loop->wake < 0 ||
        epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->wake, &event) != 0) {
        loop_destroy(&loop);
        return WEIR_EIO;
    }
    *out = loop;
    return 0;
}

void loop_destroy(struct loop **loop)
{
    if (*loop == NULL)
        return;
    if ((*loop)->epoll >= 0)
        close((*loop)->epoll);
    if ((*loop)->wake >= 0)
        close((*loop)->wake);
    free(*loop);
    *loop = NULL;
}

static int control(struct loop *loop, int operation, struct loop_fd *source)
{
    struct epoll_event event = {.data.ptr = source};
    if (source->events & LOOP_READ)
        event.events |= EPOLLIN;
    if (source->events & LOOP_WRITE)
        event.events |= EPOLLOUT;
    if (epoll_ctl(loop->epoll, operation, source->fd, &event) == 0)
        return 0;
    return errno == ENOMEM || errno == ENOSPC ? WEIR_ENOMEM : WEIR_EIO;
}

int loop_add(struct loop *loop, struct loop_fd *source)
{
    return control(loop, EPOLL_CTL_ADD, source);
}

int loop_modify(struct loop *loop, struct loop_fd *source, uint32_t events)
{
    if (source->events == events)
        return 0;
    source->events = events;
    return control(loop, EPOLL_CTL_MOD, source);
}

void loop_remove(struct loop *loop, struct loop_fd *source)
{
    epoll_ctl(loop->epoll, EPOLL_CTL_DEL, source->fd, NULL);
    for (int i = loop->ready_next; i < loop->ready_count; i++)
        if (loop->events[i].data.ptr == source)
            loop->events[i].data.ptr = NULL;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t deadline_ns)
{
    CHECK(deadline_ns != 0);
    loop_timer_clear(loop, timer);
    timer->deadline_ns = deadline_ns;
    struct loop_timer *position = loop->timers.previous; // most are set behind all others
    while (position != &loop->timers && position->deadline_ns > deadline_ns)
        position = position->previous;
    ring_insert_after(position, timer);
}

void loop_timer_clear(struct loop *loop, struct loop_timer *timer)
{
    (void)loop;
    if (timer->deadline_ns == 0)
        return;
    ring_remove(timer);
    timer->deadline_ns = 0;
}

// The wait in milliseconds, rounded up so that a timer is due when it ends.
static int wait_ms(const struct loop *loop, int timeout_ms, uint64_t now_ns)
{
    const struct loop_timer *first = loop->timers.next;
    if (first == &loop->timers)
        return timeout_ms;
    if (first->deadline_ns <= now_ns)
        return 0;
    uint64_t left = (first->deadline_ns - now_ns + 999999) / 1000000;
    if (timeout_ms >= 0 && left > (uint64_t)timeout_ms)
        return timeout_ms;
    return left > 1000000 ? 1000000 : (int)left;
}

// Waits and collects. Returns the time after the wait.
static uint64_t collect(struct loop *loop, int timeout_ms)
{
    uint64_t before = clock_now_ns();
    int wait = wait_ms(loop, timeout_ms, before);
    if (wait != 0) {
        atomic_store(&loop->asleep, true);
        if (atomic_load(&loop->pending))
            wait = 0;
    }
    int count = epoll_wait(loop->epoll, loop->events, EVENTS, wait);
    atomic_store_explicit(&loop->asleep, false, memory_order_relaxed);
    if (atomic_load_explicit(&loop->pending, memory_order_relaxed))
        atomic_exchange(&loop->pending, false);
    loop->ready_next = 0;
    loop->ready_count = count > 0 ? count : 0; // EINTR: an empty round
    uint64_t after = clock_now_ns();
    if (wait != 0)
        atomic_store_explicit(&loop->idle_ns, loop_idle_ns(loop) + after - before,
                              memory_order_relaxed);
    return after;
}

static int deliver(struct loop *loop)
{
    int calls = 0;
    while (loop->ready_next < loop->ready_count) {
        struct epoll_event *event = &loop->events[loop->ready_next++];
        struct loop_fd *source = event->data.ptr;
        if (source == NULL)
            continue; // the eventfd, or removed in this round
        uint32_t ready = 0;
        if (event->events & EPOLLIN)
            ready |= LOOP_READ;
        if (event->events & EPOLLOUT)
            ready |= LOOP_WRITE;
        if (event->events & (EPOLLHUP | EPOLLERR))
            ready |= LOOP_HANGUP;
        source->ready(source, ready);
        calls++;
    }
    return calls;
}

static int fire(struct loop *loop, uint64_t now_ns)
{
    int calls = 0;
    while (loop->timers.next != &loop->timers && loop->timers.next->deadline_ns <= now_ns) {
        struct loop_timer *timer = loop->timers.next;
        ring_remove(timer);
        ring_insert_after(loop->due.previous, timer);
    }
    while (loop->due.next != &loop->due) {
        struct loop_timer *timer = loop->due.next;
        loop_timer_clear(loop, timer);
        timer->fire(timer, now_ns);
        calls++;
    }
    return calls;
}

int loop_poll(struct loop *loop, int timeout_ms)
{
    uint64_t now_ns = collect(loop, timeout_ms);
    int calls = deliver(loop);
    return calls + fire(loop, now_ns);
}

void loop_wake(struct loop *loop)
{
    if (atomic_load(&loop->pending) || atomic_exchange(&loop->pending, true))
        return; // somebody else's wake-up is under way and covers this one
    if (!atomic_load(&loop->asleep))
        return;
    uint64_t one = 1;
    ssize_t ignored = write(loop->wake, &one, sizeof one);
    (void)ignored; // full only after 2^64 - 2 wake-ups
}

bool loop_asleep(const struct loop *loop)
{
    return atomic_load(&loop->asleep);
}

uint64_t loop_idle_ns(const struct loop *loop)
{
    return atomic_load_explicit(&loop->idle_ns, memory_order_relaxed);
}
