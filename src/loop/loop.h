#pragma once
// The event loop: file descriptors, timers, and a wake-up from other threads. One per thread.
// Part of the platform seam (with clock.h and net.h): test/sim links a simulated one instead.
//
// Level triggered. A loop_fd is embedded in its owner; removing it inside any callback is safe: no
// event for it is delivered afterwards, even if it was already collected in this round.
#include <stdbool.h>
#include <stdint.h>

enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HANGUP = 4 }; // HANGUP is reported, never asked for

struct loop_fd {
    int fd;
    uint32_t events; // what is asked for: LOOP_READ | LOOP_WRITE
    void (*ready)(struct loop_fd *source, uint32_t events);
};

struct loop_timer {
    uint64_t deadline_ns; // 0 when not set
    struct loop_timer *next, *previous;
    void (*fire)(struct loop_timer *timer, uint64_t now_ns);
};

struct loop;

int loop_create(struct loop **out);
void loop_destroy(struct loop **loop);
int loop_add(struct loop *loop, struct loop_fd *source); // source->fd, events and ready are set
int loop_modify(struct loop *loop, struct loop_fd *source, uint32_t events);
void loop_remove(struct loop *loop, struct loop_fd *source);
// Sets or moves the timer. Few timers live at once (tens), so a sorted list serves.
void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t deadline_ns);
void loop_timer_clear(struct loop *loop, struct loop_timer *timer);
// One round: waits for events (at most `timeout_ms`, -1 for no bound, and no longer than the next
// timer), runs what is ready and due. Returns the number of callbacks run.
int loop_poll(struct loop *loop, int timeout_ms);
// From any thread: makes the current or next loop_poll return soon. Cheap when the loop is awake.
void loop_wake(struct loop *loop);
// From any thread: is the loop inside its wait (or about to enter it)?
bool loop_asleep(const struct loop *loop);
// CPU-less time spent waiting since creation, for the busy share of a thread.
uint64_t loop_idle_ns(const struct loop *loop);
