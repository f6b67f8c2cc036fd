// A mailbox is a stack that senders push whole batches onto and the receiver takes as one. Nothing
// is ever popped singly, so the usual trouble of lock-free stacks (ABA) cannot arise.
//
// An outbox is linked newest first, as the stack is: `last` (newest) -> ... -> `first` (oldest).
#include "loop/mailbox.h"

void mailbox_init(struct mailbox *box, struct loop *loop)
{
    atomic_init(&box->head, NULL);
    box->loop = loop;
}

struct mail *mailbox_take(struct mailbox *box)
{
    if (mailbox_empty(box))
        return NULL;
    struct mail *newest = atomic_exchange(&box->head, NULL);
    struct mail *list = NULL;
    while (newest != NULL) {
        struct mail *older = newest->next;
        newest->next = list;
        list = newest;
        newest = older;
    }
    return list;
}

bool mailbox_empty(const struct mailbox *box)
{
    return atomic_load(&box->head) == NULL;
}

void outbox_init(struct outbox *out, struct mailbox *to)
{
    *out = (struct outbox){.to = to};
}

void outbox_put(struct outbox *out, struct mail *mail)
{
    mail->next = out->last;
    out->last = mail;
    if (out->first == NULL)
        out->first = mail;
}

bool outbox_flush(struct outbox *out)
{
    if (out->first == NULL)
        return false;
    struct mail *head = atomic_load_explicit(&out->to->head, memory_order_relaxed);
    do
        out->first->next = head;
    while (!atomic_compare_exchange_weak(&out->to->head, &head, out->last));
    out->first = out->last = NULL;
    out->flushed++;
    // Always, even behind mail that is already there: its sender may have been preempted before it
    // woke the receiver.
    bool slept = loop_asleep(out->to->loop);
    loop_wake(out->to->loop);
    out->woke += slept;
    return slept;
}
