#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "loop/mailbox.h"
#include <pthread.h>
#include <stdlib.h>

struct note {
    struct mail mail; // first
    unsigned sender, number;
};

static void keeps_order_and_empties(void **state)
{
    (void)state;
    struct loop *loop;
    assert_int_equal(loop_create(&loop), 0);
    struct mailbox box;
    struct outbox out;
    mailbox_init(&box, loop);
    outbox_init(&out, &box);
    struct note notes[5] = {0};
    assert_false(outbox_flush(&out));
    assert_null(mailbox_take(&box));
    for (unsigned i = 0; i < 5; i++) {
        notes[i].number = i;
        outbox_put(&out, &notes[i].mail);
        if (i == 2)
            assert_false(outbox_flush(&out));
    }
    outbox_flush(&out);
    assert_false(mailbox_empty(&box));
    struct mail *mail = mailbox_take(&box);
    for (unsigned i = 0; i < 5; i++, mail = mail->next)
        assert_int_equal(((struct note *)mail)->number, i);
    assert_null(mail);
    assert_true(mailbox_empty(&box));
    assert_int_equal(out.flushed, 2);
    assert_int_equal(out.woke, 0);
    loop_destroy(&loop);
}

enum { SENDERS = 3, NOTES = 30000 };

struct sender {
    pthread_t thread;
    struct mailbox *box;
    struct note *notes;
    unsigned id;
};

static void *send_notes(void *argument)
{
    struct sender *sender = argument;
    struct outbox out;
    outbox_init(&out, sender->box);
    for (unsigned i = 0; i < NOTES; i++) {
        sender->notes[i].sender = sender->id;
        sender->notes[i].number = i;
        outbox_put(&out, &sender->notes[i].mail);
        if (i % (1 + sender->id * 7) == 0)
            outbox_flush(&out);
    }
    outbox_flush(&out);
    return NULL;
}

// The receiver always waits without a bound: one lost wake-up hangs the test.
static void loses_no_wake_up(void **state)
{
    (void)state;
    struct loop *loop;
    assert_int_equal(loop_create(&loop), 0);
    struct mailbox box;
    mailbox_init(&box, loop);
    struct sender senders[SENDERS];
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.box = &box, .id = i};
        senders[i].notes = calloc(NOTES, sizeof(struct note));
        pthread_create(&senders[i].thread, NULL, send_notes, &senders[i]);
    }
    unsigned next[SENDERS] = {0};
    for (unsigned got = 0; got < SENDERS * NOTES;) {
        loop_poll(loop, -1);
        for (struct mail *mail = mailbox_take(&box); mail != NULL; mail = mail->next) {
            const struct note *note = (const struct note *)mail;
            assert_int_equal(note->number, next[note->sender]);
            next[note->sender]++;
            got++;
        }
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        pthread_join(senders[i].thread, NULL);
        free(senders[i].notes);
    }
    loop_destroy(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order_and_empties),
        cmocka_unit_test(loses_no_wake_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
