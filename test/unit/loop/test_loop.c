#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "loop/clock.h"
#include "loop/loop.h"
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct end {
    struct loop_fd source; // first
    int other;
    int calls;
    uint32_t seen;
    struct loop *loop;
    struct end *victim;
};

static void on_ready(struct loop_fd *source, uint32_t events)
{
    struct end *end = (struct end *)source;
    end->calls++;
    end->seen |= events;
    if (end->victim != NULL) {
        loop_remove(end->loop, &end->victim->source);
        loop_remove(end->loop, &end->source);
    }
}

static void end_open(struct end *end, struct loop *loop, uint32_t events)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    *end = (struct end){.source = {pair[0], events, on_ready}, .other = pair[1], .loop = loop};
    assert_int_equal(loop_add(loop, &end->source), 0);
}

static void end_close(struct end *end)
{
    close(end->source.fd);
    close(end->other);
}

static int set_up(void **state)
{
    return loop_create((struct loop **)state);
}

static int tear_down(void **state)
{
    loop_destroy((struct loop **)state);
    return *state != NULL;
}

static void reports_what_was_asked_for(void **state)
{
    struct loop *loop = *state;
    struct end end;
    end_open(&end, loop, LOOP_READ);
    assert_int_equal(loop_poll(loop, 0), 0);
    assert_int_equal(write(end.other, "x", 1), 1);
    assert_int_equal(loop_poll(loop, -1), 1);
    assert_int_equal(end.seen, LOOP_READ);
    assert_int_equal(loop_poll(loop, 0), 1); // level triggered
    end.seen = 0;
    assert_int_equal(loop_modify(loop, &end.source, LOOP_WRITE), 0);
    assert_int_equal(loop_poll(loop, -1), 1);
    assert_int_equal(end.seen, LOOP_WRITE);
    end.seen = 0;
    assert_int_equal(loop_modify(loop, &end.source, 0), 0);
    assert_int_equal(loop_poll(loop, 0), 0);
    shutdown(end.other, SHUT_RDWR);
    assert_int_equal(loop_poll(loop, -1), 1);
    assert_int_equal(end.seen, LOOP_HANGUP);
    loop_remove(loop, &end.source);
    assert_int_equal(loop_poll(loop, 0), 0);
    end_close(&end);
}

static void removal_cancels_collected_events(void **state)
{
    struct loop *loop = *state;
    struct end a, b; // each removes both
    end_open(&a, loop, LOOP_WRITE);
    end_open(&b, loop, LOOP_WRITE);
    a.victim = &b;
    b.victim = &a;
    assert_int_equal(loop_poll(loop, -1), 1);
    assert_int_equal(a.calls + b.calls, 1);
    assert_int_equal(loop_poll(loop, 0), 0);
    end_close(&a);
    end_close(&b);
}

static void serves_more_than_a_round_holds(void **state)
{
    struct loop *loop = *state;
    enum { COUNT = 400 };
    struct end *ends = calloc(COUNT, sizeof *ends);
    for (int i = 0; i < COUNT; i++)
        end_open(&ends[i], loop, LOOP_WRITE);
    for (int round = 0; round < 4; round++)
        loop_poll(loop, -1);
    for (int i = 0; i < COUNT; i++) {
        assert_true(ends[i].calls > 0);
        loop_remove(loop, &ends[i].source);
        end_close(&ends[i]);
    }
    free(ends);
}

struct test_timer {
    struct loop_timer timer; // first
    int fired;
    int *order, position;
    struct loop *loop;
    struct test_timer *clears;
    uint64_t again_ns;
};

static void on_fire(struct loop_timer *timer, uint64_t now_ns)
{
    struct test_timer *self = (struct test_timer *)timer;
    assert_int_equal(timer->deadline_ns, 0);
    assert_true(now_ns > 0);
    self->fired++;
    if (self->order != NULL)
        self->position = (*self->order)++;
    if (self->clears != NULL)
        loop_timer_clear(self->loop, &self->clears->timer);
    if (self->again_ns != 0)
        loop_timer_set(self->loop, timer, self->again_ns);
}

static void timers_fire_in_order(void **state)
{
    struct loop *loop = *state;
    int order = 0;
    struct test_timer t[4];
    for (int i = 0; i < 4; i++)
        t[i] = (struct test_timer){.timer.fire = on_fire, .order = &order, .loop = loop};
    uint64_t now = clock_now_ns();
    loop_timer_set(loop, &t[0].timer, now + CLOCK_MS(3));
    loop_timer_set(loop, &t[1].timer, now + CLOCK_MS(1));
    loop_timer_set(loop, &t[2].timer, now + CLOCK_MS(1)); // equal: in the order they were set
    loop_timer_set(loop, &t[3].timer, now + CLOCK_MS(3600000));
    loop_timer_set(loop, &t[0].timer, now + CLOCK_MS(2)); // moved
    while (order < 3)
        assert_in_range(loop_poll(loop, -1), 0, 3);
    assert_int_equal(t[1].position, 0);
    assert_int_equal(t[2].position, 1);
    assert_int_equal(t[0].position, 2);
    assert_int_equal(t[3].fired, 0);
    loop_timer_clear(loop, &t[3].timer);
    loop_timer_clear(loop, &t[3].timer);
    assert_int_equal(t[3].timer.deadline_ns, 0);
    assert_true(loop_idle_ns(loop) > 0);
}

static void timers_change_timers(void **state)
{
    struct loop *loop = *state;
    struct test_timer victim = {.timer.fire = on_fire, .loop = loop};
    struct test_timer killer = {.timer.fire = on_fire, .loop = loop, .clears = &victim};
    struct test_timer restless = {.timer.fire = on_fire, .loop = loop, .again_ns = 1};
    loop_timer_set(loop, &killer.timer, 1);
    loop_timer_set(loop, &victim.timer, 2);
    loop_timer_set(loop, &restless.timer, 3);
    assert_int_equal(loop_poll(loop, -1), 2);
    assert_int_equal(killer.fired, 1);
    assert_int_equal(victim.fired, 0);
    assert_int_equal(restless.fired, 1); // once a round, although due again
    assert_int_equal(loop_poll(loop, -1), 1);
    assert_int_equal(restless.fired, 2);
    loop_timer_clear(loop, &restless.timer);
}

static void a_wake_before_the_wait_counts(void **state)
{
    struct loop *loop = *state;
    assert_false(loop_asleep(loop));
    loop_wake(loop);
    loop_wake(loop);
    assert_int_equal(loop_poll(loop, -1), 0); // returns at all
}

static void a_used_descriptor_is_refused(void **state)
{
    struct loop *loop = *state;
    struct loop_fd source = {.fd = -1, .events = LOOP_READ, .ready = on_ready};
    assert_int_equal(loop_add(loop, &source), WEIR_EIO);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reports_what_was_asked_for),    TEST(removal_cancels_collected_events),
        TEST(serves_more_than_a_round_holds), TEST(timers_fire_in_order),
        TEST(timers_change_timers),          TEST(a_wake_before_the_wait_counts),
        TEST(a_used_descriptor_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
