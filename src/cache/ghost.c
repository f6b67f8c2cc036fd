// Ghosts: fingerprints of keys that left the cache, in sets of 16 (one cache line).
//
//   fingerprint   │ hash bits (20) │ age (12) │      0 is free
//
// The age is the number of additions so far, in ticks of 1/1024 of the table, modulo 4096. A ghost
// counts only while it is younger than the tail, so that the table behaves as the FIFO of the
// S3-FIFO paper although each set only replaces its own oldest. Ghosts that were taken make room
// in that FIFO; they are assumed to have lain evenly in it, so that the tail moves by the distance
// of one ghost that is left. Ages cannot be mistaken after they wrap: a set is overwritten about
// once per table's worth of additions, an age wraps after four.
#include "cache/shard.h"

enum { AGE_BITS = 12, AGE_MASK = (1 << AGE_BITS) - 1, TICKS = 1024, TAIL_SHIFT = 8 };

void ghost_init(struct ghosts *ghosts, void *table, uint32_t sets)
{
    uint32_t unit = sets * GHOST_WAYS / TICKS;
    *ghosts = (struct ghosts){.sets = sets, .unit = unit == 0 ? 1 : unit, .table = table};
}

static uint32_t *set_of(const struct ghosts *ghosts, uint64_t hash)
{
    // The low half chooses the set: the high bits chose the shard.
    uint64_t set = ((hash & 0xffffffff) * ghosts->sets) >> 32;
    return ghosts->table + set * GHOST_WAYS;
}

static uint32_t print_of(uint64_t hash)
{
    uint32_t print = (uint32_t)(hash >> 32) << AGE_BITS;
    return print == 0 ? 1U << AGE_BITS : print;
}

static uint32_t age_of(const struct ghosts *ghosts, uint32_t ghost)
{
    return ((uint32_t)(ghosts->clock / ghosts->unit) - ghost) & AGE_MASK;
}

static uint32_t *find(const struct ghosts *ghosts, uint64_t hash)
{
    uint64_t window = ghosts->clock - (ghosts->tail >> TAIL_SHIFT);
    uint32_t *set = set_of(ghosts, hash);
    uint32_t print = print_of(hash);
    for (int i = 0; i < GHOST_WAYS; i++)
        if ((set[i] & ~(uint32_t)AGE_MASK) == print)
            return (uint64_t)age_of(ghosts, set[i]) * ghosts->unit < window ? &set[i] : NULL;
    return NULL;
}

bool ghost_has(const struct ghosts *ghosts, uint64_t hash)
{
    return find(ghosts, hash) != NULL;
}

bool ghost_take(struct ghosts *ghosts, uint64_t hash)
{
    uint32_t *ghost = find(ghosts, hash);
    if (ghost == NULL)
        return false;
    *ghost = 0;
    if (ghosts->live > 1)
        ghosts->live--;
    return true;
}

static void advance(struct ghosts *ghosts, uint64_t capacity)
{
    uint64_t now = ++ghosts->clock << TAIL_SHIFT;
    uint64_t longest = (uint64_t)ghosts->sets * GHOST_WAYS * 3 << TAIL_SHIFT;
    for (ghosts->live++; ghosts->live > capacity && ghosts->live > 1; ghosts->live--)
        ghosts->tail += (now - ghosts->tail) / ghosts->live;
    if (now - ghosts->tail > longest)
        ghosts->tail = now - longest;
}

void ghost_add(struct ghosts *ghosts, uint64_t hash, uint64_t capacity)
{
    uint32_t *set = set_of(ghosts, hash), *oldest = set, print = print_of(hash);
    advance(ghosts, capacity);
    for (int i = 0; i < GHOST_WAYS; i++) {
        if (set[i] == 0 || (set[i] & ~(uint32_t)AGE_MASK) == print) {
            oldest = &set[i];
            break;
        }
        if (age_of(ghosts, set[i]) > age_of(ghosts, *oldest))
            oldest = &set[i];
    }
    *oldest = print | ((uint32_t)(ghosts->clock / ghosts->unit) & AGE_MASK);
}
