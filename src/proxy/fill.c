#include "proxy/fill.h"
#include "base/check.h"
#include <stddef.h>

static struct fill **bucket_of(struct fill_table *table, uint64_t hash)
{
    return &table->bucket[hash % FILL_BUCKETS];
}

void fill_insert(struct fill_table *table, struct fill *fill)
{
    struct fill **bucket = bucket_of(table, fill->hash);
    fill->chain = *bucket;
    fill->alive = true;
    *bucket = fill;
    table->alive++;
}

void fill_remove(struct fill_table *table, struct fill *fill)
{
    if (!fill->alive)
        return;
    struct fill **link = bucket_of(table, fill->hash);
    while (*link != fill) {
        CHECK(*link != NULL);
        link = &(*link)->chain;
    }
    *link = fill->chain;
    fill->alive = false;
    table->alive--;
}

unsigned fill_kill(struct fill_table *table, uint64_t hash)
{
    unsigned killed = 0;
    struct fill **link = bucket_of(table, hash);
    while (*link != NULL) {
        struct fill *fill = *link;
        if (fill->hash != hash) {
            link = &fill->chain;
            continue;
        }
        *link = fill->chain;
        fill->alive = false;
        killed++;
    }
    table->alive -= killed;
    return killed;
}

unsigned fill_kill_all(struct fill_table *table)
{
    unsigned killed = 0;
    for (unsigned i = 0; i < FILL_BUCKETS && table->alive != killed; i++) {
        for (struct fill *fill = table->bucket[i]; fill != NULL; fill = fill->chain) {
            fill->alive = false;
            killed++;
        }
        table->bucket[i] = NULL;
    }
    table->alive = 0;
    return killed;
}

struct fill *fill_find(const struct fill_table *table, uint64_t hash)
{
    struct fill *fill = table->bucket[hash % FILL_BUCKETS];
    while (fill != NULL && fill->hash != hash)
        fill = fill->chain;
    return fill;
}
