// One seed, one life of weir: clients, a store, another writer, faults.
//
//   sim SEED [STEPS]        replays one seed and prints what it found
//   sim --seeds FROM COUNT  runs many; checks at the end that every fault met every state
//   sim --hours N           runs until the time is over
//   sim --direct …          without weir between: the simulation tests itself
//   sim --bug NAME …        with a bug in the store's model that the oracles must find
//
// Exit status 0: nothing found.
#include "subject.h"
#include "world.h"
#include <assert.h>
#include <time.h>

enum { WEIR_PORT = 6380, STORE_PORT = 6379, DEFAULT_STEPS = 30000 };

struct plan {      // what the seed decided
    bool faults[FAULT_KINDS];
    bool any_fault, foreign, flushes;
    unsigned threads;
    uint64_t max_stale_ms;
    struct world_options world;
};

struct run {
    uint64_t seed;
    struct plan plan;
    struct redis *redis;
    struct subject *subject; // NULL with --direct
    struct history *history;
    struct fleet *fleet;
    uint64_t fault_end_ns;   // of a black hole, refusals or missing blocks under way
    uint64_t splits_seen, activity_seen;
    unsigned idle;           // steps in a row in which nothing happened
};

struct totals {
    uint64_t runs, failed, replies, errors, ops, states, too_hard, hits, commands, steps;
    uint64_t counts[FAULT_KINDS][SUBJECT_STATES];
    uint64_t injected[FAULT_KINDS];
};

struct arguments {
    bool direct, coverage;
    enum redis_bug bug;
    uint64_t first, count, steps;
    double hours;
};

static void make_plan(struct plan *plan)
{
    memset(plan, 0, sizeof *plan);
    plan->threads = 1 + (unsigned)world_below(3);
    plan->max_stale_ms = world_chance(200) ? 1 + world_below(6)
                                           : 30 + world_below(world_chance(500) ? 100 : 1500);
    plan->foreign = world_chance(400);
    plan->flushes = !plan->foreign && world_chance(400);
    plan->any_fault = world_chance(700);
    for (unsigned i = 0; i < FAULT_KINDS; i++)
        plan->faults[i] = plan->any_fault && world_chance(400);
    plan->world.latency_ns = 5000 + world_below(world_chance(700) ? 200000 : 5000000);
    plan->world.split_permil = world_chance(700) ? (uint32_t)world_below(500) : 0;
    plan->world.pipe_bytes = 2000 + world_below(world_chance(500) ? 20000 : 500000);
}

// ---- time ----------------------------------------------------------------------------------------

static uint64_t min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

// Everybody once; when nothing happened, time jumps to where something will.
static void everybody(struct run *run)
{
    uint64_t before = world_activity();
    for (unsigned t = 0; run->subject != NULL && t < subject_threads(run->subject); t++)
        subject_step(run->subject, t);
    redis_step(run->redis);
    for (unsigned i = 0; i < HISTORY_CLIENTS; i++)
        fleet_step(run->fleet);
    if (world_activity() != before) {
        world_advance(world_below(20000));
        return;
    }
    uint64_t next = min64(world_next_event(), fleet_next_event(run->fleet));
    next = min64(next, redis_next_event(run->redis));
    if (run->fault_end_ns != 0)
        next = min64(next, run->fault_end_ns);
    uint64_t now = world_now();
    next = min64(next, now + 20000000);
    world_advance(next > now ? next - now : 1 + world_below(1000));
}

static void somebody(struct run *run)
{
    unsigned threads = run->subject != NULL ? subject_threads(run->subject) : 0;
    unsigned who = (unsigned)world_below(threads + 4);
    world_advance(world_below(2000));
    if (who < threads)
        subject_step(run->subject, who);
    else if (who == threads)
        redis_step(run->redis);
    else
        fleet_step(run->fleet);
    run->idle = world_activity() == run->activity_seen ? run->idle + 1 : 0;
    run->activity_seen = world_activity();
    if (run->idle > 10 || world_chance(30))
        everybody(run);
}

// ---- faults --------------------------------------------------------------------------------------

static void count(struct run *run, struct totals *totals, enum fault fault)
{
    totals->injected[fault]++;
    if (run->subject != NULL)
        subject_count(run->subject, fault, totals->counts);
}

static void end_fault(struct run *run)
{
    if (run->fault_end_ns == 0 || world_now() < run->fault_end_ns)
        return;
    run->fault_end_ns = 0;
    world_freeze(STORE_PORT, false);
    world_set_fate(STORE_PORT, FATE_ACCEPT);
    if (run->subject != NULL)
        subject_fail_blocks(run->subject, 0, false);
}

static bool inject(struct run *run, enum fault fault)
{
    uint64_t stale_ns = run->plan.max_stale_ms * 1000000;
    switch (fault) {
    case FAULT_LANE_RESET:
    case FAULT_LANE_EOF:
        return world_break(STORE_PORT, (unsigned)world_below(world_connections(STORE_PORT)),
                           fault == FAULT_LANE_RESET);
    case FAULT_BLACKHOLE:
        world_freeze(STORE_PORT, true);
        run->fault_end_ns = world_now() + world_below(3 * stale_ns);
        return true;
    case FAULT_RESTART:
        redis_restart(run->redis);
        fleet_data_lost(run->fleet);
        return true;
    case FAULT_REFUSE:
        world_set_fate(STORE_PORT, world_chance(500) ? FATE_REFUSE : FATE_BLACKHOLE);
        world_break(STORE_PORT, 0, true);
        run->fault_end_ns = world_now() + world_below(2 * stale_ns);
        return true;
    case FAULT_BLOCKS:
        subject_fail_blocks(run->subject, 1 + world_below(40), world_chance(300));
        run->fault_end_ns = world_now() + world_below(50000000);
        return true;
    case FAULT_CLIENT_GONE:
        return fleet_disconnect_one(run->fleet);
    default:
        return false;
    }
}

static void maybe_fault(struct run *run, struct totals *totals)
{
    end_fault(run);
    if (world_splits() != run->splits_seen) {
        run->splits_seen = world_splits();
        if (world_chance(20))
            count(run, totals, FAULT_SPLIT);
    }
    if (!run->plan.any_fault || run->fault_end_ns != 0 || run->subject == NULL)
        return;
    if (!world_chance(4) && !(world_chance(20) && subject_rare_moment(run->subject)))
        return;
    enum fault fault = (enum fault)world_below(FAULT_KINDS);
    if (!run->plan.faults[fault] || fault == FAULT_SPLIT)
        return;
    if (fault == FAULT_RESTART && !world_chance(100))
        return;
    if (getenv("SIM_TRACE") != NULL)
        fprintf(stderr, "fault %s at %llu.%06llu ms\n", fault_names[fault],
                (unsigned long long)world_now() / 1000000, (unsigned long long)world_now() % 1000000);
    count(run, totals, fault);
    inject(run, fault);
}

// ---- one seed ------------------------------------------------------------------------------------

static void run_create(struct run *run, const struct arguments *arguments)
{
    static const struct world_options calm = {.latency_ns = 1000, .pipe_bytes = 100000};
    world_init(run->seed, &calm);
    make_plan(&run->plan);
    if (arguments->direct)
        run->plan.any_fault = run->plan.foreign = false;
    world_init(run->seed, &run->plan.world);
    run->history = history_create();
    run->redis = redis_create(STORE_PORT);
    redis_set_bug(run->redis, arguments->bug);
    redis_set_active_expiry(run->redis, world_chance(500));
    struct subject_options options = {.port = WEIR_PORT, .store_port = STORE_PORT,
                                      .threads = run->plan.threads, .cache = world_chance(900),
                                      .max_stale_ms = run->plan.max_stale_ms};
    run->subject = arguments->direct ? NULL : subject_create(&options);
    struct fleet_options fleet = {
        .port = arguments->direct ? STORE_PORT : WEIR_PORT,
        .clients = 1 + (unsigned)world_below(8),
        .max_stale_ns = run->plan.max_stale_ms * 1000000,
        .flushes = run->plan.flushes, .foreign = run->plan.foreign, .large = world_chance(200),
        .faults = run->plan.any_fault, .transactions = world_chance(700),
        .blocking = world_chance(500), .hot = world_chance(300),
    };
    run->fleet = fleet_create(&fleet, run->history);
}

static unsigned settle(struct run *run)
{
    run->fault_end_ns = run->fault_end_ns != 0 ? 1 : 0;
    end_fault(run);
    fleet_stop(run->fleet);
    uint64_t deadline_ns = world_now() + 60ull * 1000000000;
    while (!fleet_quiet(run->fleet) && world_now() < deadline_ns)
        everybody(run);
    if (!fleet_quiet(run->fleet)) {
        fprintf(stderr, "clients wait for ever:\n");
        fleet_print_waiting(run->fleet, stderr);
        if (run->subject != NULL)
            subject_print(run->subject, stderr);
        return 1;
    }
    uint64_t quiet_ns = world_now() + run->plan.max_stale_ms * 1000000 + 6000000000;
    while (world_now() < quiet_ns)
        everybody(run);
    fleet_verify_start(run->fleet);
    deadline_ns = world_now() + 60ull * 1000000000;
    while (!fleet_verify_step(run->fleet, run->redis)) {
        if (world_now() >= deadline_ns) {
            fprintf(stderr, "the last reads wait for ever\n");
            if (run->subject != NULL)
                subject_print(run->subject, stderr);
            return 1;
        }
        everybody(run);
    }
    return 0;
}

static unsigned close_all(struct run *run, struct totals *totals)
{
    unsigned found = 0;
    fleet_close(run->fleet);
    uint64_t quiet_ns = world_now() + 2000000000;
    while (world_now() < quiet_ns)
        everybody(run);
    if (run->subject != NULL) {
        // vouching goes on for ever: look for a moment when nothing is under way
        FILE *nowhere = fopen("/dev/null", "w");
        for (unsigned i = 0; i < 2000 && subject_leaks(run->subject, nowhere) != 0; i++)
            everybody(run);
        fclose(nowhere);
        if (subject_leaks(run->subject, stderr) != 0) {
            found++;
            subject_print(run->subject, stderr);
        }
        totals->hits += subject_hits(run->subject);
        subject_destroy(run->subject);
    }
    totals->commands += redis_commands(run->redis);
    redis_destroy(run->redis);
    return found;
}

static bool run_seed(uint64_t seed, const struct arguments *arguments, struct totals *totals)
{
    struct run run = {.seed = seed};
    run_create(&run, arguments);
    for (uint64_t step = 0; step < arguments->steps && fleet_violations(run.fleet) == 0; step++) {
        somebody(&run);
        maybe_fault(&run, totals);
        if (run.plan.foreign && world_chance(5))
            fleet_foreign(run.fleet, run.redis);
    }
    unsigned found = fleet_violations(run.fleet);
    if (found == 0)
        found += settle(&run);
    found += close_all(&run, totals);
    found += fleet_violations(run.fleet) != 0;
    totals->replies += fleet_replies(run.fleet);
    totals->errors += fleet_errors(run.fleet);
    fleet_destroy(run.fleet);
    struct history_report report = history_check(run.history, stderr);
    found += report.failed;
    history_destroy(run.history);
    world_deinit();
    totals->ops += report.ops;
    totals->states += report.states;
    totals->too_hard += report.too_hard;
    totals->runs++;
    totals->steps += arguments->steps;
    totals->failed += found != 0;
    if (found != 0)
        fprintf(stderr, "seed %llu failed: replay with 'sim %llu %llu'\n", (unsigned long long)seed,
                (unsigned long long)seed, (unsigned long long)arguments->steps);
    return found == 0;
}

// ---- the whole -----------------------------------------------------------------------------------

static void print_totals(const struct totals *t)
{
    printf("%llu seeds, %llu failed; %llu steps, %llu replies (%llu errors), %llu commands at the "
           "store, %llu hits\n",
           (unsigned long long)t->runs, (unsigned long long)t->failed, (unsigned long long)t->steps,
           (unsigned long long)t->replies, (unsigned long long)t->errors,
           (unsigned long long)t->commands, (unsigned long long)t->hits);
    printf("%llu operations checked in %llu states, %llu registers too hard\n",
           (unsigned long long)t->ops, (unsigned long long)t->states,
           (unsigned long long)t->too_hard);
}

// DONE is passed through within one step of a worker, so no fault from outside can meet it.
static bool is_lasting(unsigned state)
{
    return strcmp(subject_state_name(state), "done") != 0;
}

// Requests under way in each state when each fault struck. Returns how many pairs never met.
static unsigned print_coverage(const struct totals *t)
{
    unsigned missing = 0;
    printf("%-12s %9s", "fault", "injected");
    for (unsigned s = 0; s < subject_states(); s++)
        printf(" %9s", subject_state_name(s));
    for (unsigned f = 0; f < FAULT_KINDS; f++) {
        printf("\n%-12s %9llu", fault_names[f], (unsigned long long)t->injected[f]);
        for (unsigned s = 0; s < subject_states(); s++) {
            printf(" %9llu", (unsigned long long)t->counts[f][s]);
            missing += is_lasting(s) && t->counts[f][s] == 0;
        }
    }
    printf("\n%u pairs of fault and state were not reached\n", missing);
    return missing;
}

static enum redis_bug bug_of(const char *name)
{
    static const char *const names[] = {"none", "no-push", "loses-writes", "stale-reads",
                                        "no-expiry"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return (enum redis_bug)i;
    fprintf(stderr, "sim: no such bug: %s\n", name);
    exit(2);
}

static void parse(struct arguments *a, int argc, char **argv)
{
    unsigned numbers = 0;
    *a = (struct arguments){.first = 1, .count = 1, .steps = DEFAULT_STEPS};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--direct") == 0) {
            a->direct = true;
        } else if (strcmp(argv[i], "--coverage") == 0) {
            a->coverage = true;
        } else if (strcmp(argv[i], "--bug") == 0 && i + 1 < argc) {
            a->bug = bug_of(argv[++i]);
        } else if (strcmp(argv[i], "--hours") == 0 && i + 1 < argc) {
            a->hours = atof(argv[++i]);
            a->first = (uint64_t)time(NULL) * 1000;
        } else if (strcmp(argv[i], "--seeds") == 0 && i + 2 < argc) {
            a->first = strtoull(argv[++i], NULL, 10);
            a->count = strtoull(argv[++i], NULL, 10);
        } else if (numbers++ == 0) {
            a->first = strtoull(argv[i], NULL, 10);
        } else {
            a->steps = strtoull(argv[i], NULL, 10);
        }
    }
}

int main(int argc, char **argv)
{
    static struct totals totals;
    struct arguments arguments;
    parse(&arguments, argc, argv);
    time_t end = time(NULL) + (time_t)(arguments.hours * 3600);
    for (uint64_t i = 0; arguments.hours > 0 ? time(NULL) < end : i < arguments.count; i++)
        if (!run_seed(arguments.first + i, &arguments, &totals) && totals.failed >= 20)
            break;
    print_totals(&totals);
    unsigned missing = arguments.direct ? 0 : print_coverage(&totals);
    return totals.failed != 0 || (arguments.coverage && missing != 0);
}
