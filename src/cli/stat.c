// weir stat: a line a second about a running weir, from the # Weir section of its INFO.
//
// Rates are differences of counters between two looks, over the time between them as this process
// measured it; the first look prints nothing. Counters that went down mean that weir was started
// anew: that interval is left out. A column whose name weir does not report shows '-'.
#include "base/err.h"
#include "cli/cli.h"
#include "cli/query.h"
#include "config/value.h"
#include "loop/clock.h"
#include "loop/net.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REPLY_BYTES = 64 * 1024, HEADER_EVERY = 20 };

enum field {
    REQUESTS,
    HITS,
    MISSES,
    FILLS,
    KILLS,
    STORE_REQUESTS,
    RECEIVED,
    SENT, // counters
    CLIENTS,
    P99_HIT,
    P99_STORE,
    RSS,
    LIMIT, // as they are
    FIELD_COUNT,
    COUNTERS = CLIENTS,
};

static const struct {
    const char *name; // in INFO
    const char *part; // "p99": inside of a list of name=value
    const char *json;
} FIELDS[FIELD_COUNT] = {
    [REQUESTS] = {"requests_total", NULL, "ops_per_s"},
    [HITS] = {"cache_hits_total", NULL, "hits_per_s"},
    [MISSES] = {"cache_misses_total", NULL, "misses_per_s"},
    [FILLS] = {"cache_fills_total", NULL, "fills_per_s"},
    [KILLS] = {"cache_kills_total", NULL, "kills_per_s"},
    [STORE_REQUESTS] = {"store_requests_total", NULL, "store_ops_per_s"},
    [RECEIVED] = {"received_bytes_total", NULL, "received_bytes_per_s"},
    [SENT] = {"sent_bytes_total", NULL, "sent_bytes_per_s"},
    [CLIENTS] = {"clients", NULL, "clients"},
    [P99_HIT] = {"latency_hit_usec", "p99", "p99_hit_us"},
    [P99_STORE] = {"latency_store_usec", "p99", "p99_store_us"},
    [RSS] = {"rss", NULL, "rss_bytes"},
    [LIMIT] = {"memory_limit", NULL, "memory_bytes"},
};

struct look {
    uint64_t at_ns;
    bool known[FIELD_COUNT];
    double value[FIELD_COUNT];
};

struct options {
    const char *address;
    uint64_t interval_ms, count; // count 0: without end
    bool json;
};

// ---- reading

// The text behind "name:" at the start of a line, or NULL.
static const char *line_of(const char *info, const char *name)
{
    size_t size = strlen(name);
    for (const char *at = info; at != NULL; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, name, size) == 0 && at[size] == ':')
            return at + size + 1;
        if (*at == '\0')
            break;
    }
    return NULL;
}

static const char *part_of(const char *list, const char *part)
{
    size_t size = strlen(part);
    for (;;) {
        if (strncmp(list, part, size) == 0 && list[size] == '=')
            return list + size + 1;
        list += strcspn(list, ",\r\n");
        if (*list != ',')
            return NULL;
        list++;
    }
}

static bool info_read(const char *info, struct look *look)
{
    bool any = false;
    for (enum field f = 0; f < FIELD_COUNT; f++) {
        const char *text = line_of(info, FIELDS[f].name);
        if (text != NULL && FIELDS[f].part != NULL)
            text = part_of(text, FIELDS[f].part);
        char *end;
        double value = text != NULL ? strtod(text, &end) : 0;
        look->known[f] = text != NULL && end != text;
        look->value[f] = look->known[f] ? value : 0;
        any |= look->known[f];
    }
    return any;
}

static int look_take(int fd, char *reply, struct look *look, const char *address)
{
    const char *const ask[] = {"INFO", "weir"};
    ssize_t size = query_ask(fd, 2, ask, reply, REPLY_BYTES);
    look->at_ns = clock_now_ns();
    if (size == WEIR_EPERM && strncmp(reply, "NOAUTH", 6) == 0)
        cli_complain("%s asks for a password: set REDISCLI_AUTH", address);
    else if (size == WEIR_EPERM)
        cli_complain("%s answers: %.200s", address, reply);
    else if (size < 0)
        cli_complain("%s: %s", address, weir_strerror((int)size));
    else if (!info_read(reply, look))
        cli_complain("%s is not a weir: its INFO has no weir section", address);
    else
        return 0;
    return WEIR_EIO;
}

static int log_in(int fd, char *reply, const char *address)
{
    const char *password = getenv("REDISCLI_AUTH");
    if (password == NULL)
        return 0;
    const char *const ask[] = {"AUTH", password};
    ssize_t size = query_ask(fd, 2, ask, reply, REPLY_BYTES);
    if (size >= 0 || strstr(reply, "without any password configured") != NULL)
        return 0;
    cli_complain("%s refuses the password of REDISCLI_AUTH: %.200s", address, reply);
    return WEIR_EPERM;
}

// ---- printing

// The rates and values between two looks, in one array; false when weir was started anew.
static bool difference(const struct look *before, const struct look *now, double out[FIELD_COUNT])
{
    double seconds = (double)(now->at_ns - before->at_ns) / 1e9;
    for (enum field f = 0; f < FIELD_COUNT; f++) {
        out[f] = now->value[f];
        if (f < COUNTERS)
            out[f] = seconds > 0 ? (now->value[f] - before->value[f]) / seconds : 0;
        if (f < COUNTERS && now->value[f] < before->value[f])
            return false;
    }
    return true;
}

static double hit_ratio(const double rate[FIELD_COUNT])
{
    double reads = rate[HITS] + rate[MISSES];
    return reads > 0 ? rate[HITS] / reads : 0;
}

static void print_json(const struct look *look, const double rate[FIELD_COUNT])
{
    printf("{\"hit_ratio\":%.4f", hit_ratio(rate));
    for (enum field f = 0; f < FIELD_COUNT; f++) {
        if (look->known[f])
            printf(",\"%s\":%.*f", FIELDS[f].json, f < COUNTERS || FIELDS[f].part != NULL, rate[f]);
        else
            printf(",\"%s\":null", FIELDS[f].json);
    }
    printf("}\n");
}

static void print_header(void)
{
    printf("%9s %6s %9s %9s %8s %8s %9s %7s %8s %8s %8s %8s %15s\n", "ops/s", "hit%", "hits",
           "misses", "fills", "kills", "store/s", "clients", "in MB/s", "out MB/s", "p99 hit",
           "p99 sto", "memory");
}

static void print_cell(const struct look *look, const double rate[FIELD_COUNT], enum field f,
                       int width, int digits, double factor)
{
    if (look->known[f])
        printf("%*.*f ", width, digits, rate[f] * factor);
    else
        printf("%*s ", width, "-");
}

static void print_line(const struct look *look, const double rate[FIELD_COUNT])
{
    print_cell(look, rate, REQUESTS, 9, 0, 1);
    printf("%6.1f ", hit_ratio(rate) * 100);
    print_cell(look, rate, HITS, 9, 0, 1);
    print_cell(look, rate, MISSES, 9, 0, 1);
    print_cell(look, rate, FILLS, 8, 0, 1);
    print_cell(look, rate, KILLS, 8, 0, 1);
    print_cell(look, rate, STORE_REQUESTS, 9, 0, 1);
    print_cell(look, rate, CLIENTS, 7, 0, 1);
    print_cell(look, rate, RECEIVED, 8, 2, 1e-6);
    print_cell(look, rate, SENT, 8, 2, 1e-6);
    print_cell(look, rate, P99_HIT, 8, 1, 1);
    print_cell(look, rate, P99_STORE, 8, 1, 1);
    char memory[48];
    snprintf(memory, sizeof(memory), "%.0f/%.0fmb", rate[RSS] / 1048576, rate[LIMIT] / 1048576);
    printf("%15s\n", memory);
}

// ---- the loop

static void pause_ms(uint64_t ms)
{
    struct timespec left = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0) {
    }
}

static enum cli_status watch(int fd, char *reply, const struct options *options)
{
    struct look before, now;
    double rate[FIELD_COUNT];
    if (look_take(fd, reply, &before, options->address) != 0)
        return CLI_FAILURE;
    for (uint64_t line = 0; options->count == 0 || line < options->count;) {
        pause_ms(options->interval_ms);
        if (look_take(fd, reply, &now, options->address) != 0)
            return CLI_FAILURE;
        if (difference(&before, &now, rate)) {
            if (!options->json && line % HEADER_EVERY == 0)
                print_header();
            if (options->json)
                print_json(&now, rate);
            else
                print_line(&now, rate);
            line++;
        }
        before = now;
        if (fflush(stdout) != 0)
            return CLI_FAILURE;
    }
    return CLI_OK;
}

static int take(void *context, const struct cli_option *option, const char *value)
{
    struct options *options = context;
    if (option == NULL) {
        options->address = value;
    } else if (strcmp(option->name, "json") == 0) {
        options->json = true;
    } else if (strcmp(option->name, "count") == 0) {
        if (value_count_parse(value, &options->count) != 0 || options->count == 0) {
            cli_complain("--count: '%.40s' is not a number of lines", value);
            return CLI_USAGE;
        }
    } else if (value_duration_parse(value, &options->interval_ms) != 0 ||
               options->interval_ms < 10 || options->interval_ms > 86400000) {
        cli_complain("--interval: '%.40s' is not a time from 10ms to 24h", value);
        return CLI_USAGE;
    }
    return 0;
}

static enum cli_status run(const struct cli_command *self, int argc, char **argv)
{
    struct options options = {"127.0.0.1:6380", 1000, 0, false};
    int code = cli_parse(self, argc, argv, take, &options);
    if (code != 0)
        return code < 0 ? CLI_OK : CLI_USAGE;
    int fd = query_connect(options.address);
    if (fd < 0) {
        cli_complain("no weir answers at %.200s (%s); is `weir serve` running?", options.address,
                     weir_strerror(fd));
        return CLI_FAILURE;
    }
    char *reply = malloc(REPLY_BYTES);
    enum cli_status status = CLI_FAILURE;
    if (reply != NULL && log_in(fd, reply, options.address) == 0)
        status = watch(fd, reply, &options);
    free(reply);
    net_close(fd);
    return status;
}

static const struct cli_option OPTIONS[] = {
    {'i', "interval", "TIME", "Time between two lines, 1s by default.", NULL},
    {'n', "count", "N", "Ends after this many lines.", NULL},
    {'j', "json", NULL, "One JSON object a line.", NULL},
    {0},
};

const struct cli_command cli_stat = {
    "stat",
    "[ADDRESS]",
    "watch a running weir, a line a second",
    "Prints a line a second about the weir at ADDRESS (127.0.0.1:6380 by default): requests a "
    "second, hit ratio, hits, misses, fills, killed fills, requests to the store, clients, "
    "traffic, "
    "the 99th percentile in microseconds of hits and of requests to the store since the start, and "
    "memory against its limit. A password is taken from the environment's REDISCLI_AUTH.",
    1,
    OPTIONS,
    run};
