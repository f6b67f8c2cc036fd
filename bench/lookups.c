// links: weir_cache weir_base
// Lookups alone: 1 and 2 threads, Zipf 0.99 over a million keys and one hot key, 64 B values,
// batches of 32 with prefetch, as the proxy does them. CPU time per lookup, so that a busy machine
// disturbs less; `scaling` is two threads' lookups a second over one's.
//   lookups [LOOKUPS]
#include "base/hash.h"
#include "cache/cache.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { KEYS = 1000000, VALUE = 64, BATCH = 32, KEY_ROOM = 24, SAMPLES = 1 << 20, ROUNDS = 9 };

struct bench {
    struct cache *cache;
    char (*keys)[KEY_ROOM];
    uint8_t *key_sizes;
    const uint32_t *samples;
    uint64_t lookups;
    pthread_barrier_t start;
};

struct worker {
    struct bench *bench;
    uint64_t seed, hits;
    double cpu_ns; // per lookup
};

static double clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void lookup_batch(struct worker *worker, const uint32_t *ids)
{
    const struct bench *bench = worker->bench;
    struct cache_ref refs[BATCH];
    uint8_t value[VALUE];
    struct cache_hit hit;
    for (int i = 0; i < BATCH; i++) {
        uint32_t id = ids[i];
        refs[i] = (struct cache_ref){.key = slice_of(bench->keys[id], bench->key_sizes[id])};
        refs[i].hash = hash_key(refs[i].key);
        cache_prefetch(bench->cache, refs[i].hash);
    }
    for (int i = 0; i < BATCH; i++)
        cache_prefetch_entry(bench->cache, refs[i].hash);
    for (int i = 0; i < BATCH; i++)
        worker->hits +=
            cache_get(bench->cache, &refs[i], 0, 1000, value, sizeof(value), &hit) == CACHE_HIT;
}

static void *run_worker(void *context)
{
    struct worker *worker = context;
    struct bench *bench = worker->bench;
    pthread_barrier_wait(&bench->start);
    double begin = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    uint64_t at = worker->seed;
    for (uint64_t i = 0; i < bench->lookups; i += BATCH) {
        lookup_batch(worker, bench->samples + at);
        at = (at + BATCH) % (SAMPLES - BATCH);
    }
    worker->cpu_ns = (clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin) / (double)bench->lookups;
    return NULL;
}

// CPU nanoseconds per lookup with so many threads.
static double run(struct bench *bench, unsigned threads)
{
    struct worker workers[2] = {{.bench = bench}, {.bench = bench, .seed = SAMPLES / 2}};
    pthread_t ids[2];
    double total = 0;
    pthread_barrier_init(&bench->start, NULL, threads);
    for (unsigned i = 0; i < threads; i++)
        pthread_create(&ids[i], NULL, run_worker, &workers[i]);
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        total += workers[i].cpu_ns;
        if (workers[i].hits != (bench->lookups + BATCH - 1) / BATCH * BATCH)
            printf("missed %lu\n", bench->lookups - workers[i].hits);
    }
    pthread_barrier_destroy(&bench->start);
    return total / threads;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof(double), ascending);
    return values[ROUNDS / 2];
}

// One and two threads in turns.
static void report(struct bench *bench, const char *name)
{
    double one[ROUNDS], two[ROUNDS], scaling[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        one[i] = run(bench, 1);
        two[i] = run(bench, 2);
        scaling[i] = 2 * one[i] / two[i];
    }
    printf("%s_1_thread_ns %.1f\n%s_2_threads_ns %.1f\n%s_scaling %.3f\n", name, median(one), name,
           median(two), name, median(scaling));
}

static uint32_t *zipf_samples(double exponent)
{
    double *sums = malloc(KEYS * sizeof(double)), sum = 0;
    uint32_t *samples = malloc(SAMPLES * sizeof(uint32_t));
    uint64_t random = 88172645463325252ULL;
    for (uint32_t i = 0; i < KEYS; i++)
        sums[i] = sum += 1 / pow(i + 1, exponent);
    for (uint32_t i = 0; i < SAMPLES; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        double wanted = (double)(random >> 11) / 9007199254740992.0 * sum;
        uint32_t low = 0, high = KEYS - 1;
        while (low < high) {
            uint32_t middle = (low + high) / 2;
            if (sums[middle] < wanted)
                low = middle + 1;
            else
                high = middle;
        }
        samples[i] = (uint32_t)((uint64_t)low * 611953 % KEYS); // scattered over the keys
    }
    free(sums);
    return samples;
}

static void fill(struct bench *bench)
{
    struct cache_options options = {.bytes = 256UL << 20, .prefault = true};
    uint8_t value[VALUE] = {0};
    if (cache_create(&bench->cache, &options) != 0)
        exit(1);
    bench->keys = malloc((size_t)KEYS * KEY_ROOM);
    bench->key_sizes = malloc(KEYS);
    for (uint32_t i = 0; i < KEYS; i++) {
        bench->key_sizes[i] = (uint8_t)snprintf(bench->keys[i], KEY_ROOM, "key:%012u", i);
        struct cache_ref ref = {.key = slice_of(bench->keys[i], bench->key_sizes[i])};
        ref.hash = hash_key(ref.key);
        if (cache_insert(bench->cache, &ref, slice_of(value, VALUE), CACHE_BULK, 1, 100000) != 0)
            exit(1);
    }
}

int main(int argc, char **argv)
{
    struct bench bench = {.lookups = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000000};
    hash_seed(1);
    fill(&bench);
    uint32_t *zipf = zipf_samples(0.99), *hot = calloc(SAMPLES, sizeof(uint32_t));
    bench.samples = zipf;
    report(&bench, "zipf");
    bench.samples = hot;
    report(&bench, "hot_key");
    cache_destroy(&bench.cache);
    free(zipf);
    free(hot);
    free(bench.keys);
    free(bench.key_sizes);
    return 0;
}
