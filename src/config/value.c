#include "config/value.h"
#include "base/err.h"
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

struct unit {
    const char *name;
    uint64_t factor;
};

// Digits, then one of `units` (ended by a NULL name), or nothing: then `bare` is the factor.
static int scaled_parse(const char *text, const struct unit *units, uint64_t bare, uint64_t *out)
{
    uint64_t number = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*at - '0'), &number))
            return WEIR_ERANGE;
    if (at == text)
        return WEIR_EMALFORMED;
    uint64_t factor = bare;
    if (*at != '\0') {
        while (units->name != NULL && strcasecmp(at, units->name) != 0)
            units++;
        if (units->name == NULL)
            return WEIR_EMALFORMED;
        factor = units->factor;
    }
    if (__builtin_mul_overflow(number, factor, &number))
        return WEIR_ERANGE;
    *out = number;
    return 0;
}

// The largest unit that divides the number; `units` go from small to large.
static void scaled_print(struct print *text, const struct unit *units, uint64_t number)
{
    const struct unit *best = NULL;
    for (const struct unit *unit = units; unit->name != NULL; unit++)
        if (number % unit->factor == 0)
            best = unit;
    if (number == 0 || best == NULL)
        print_add(text, "%" PRIu64, number);
    else
        print_add(text, "%" PRIu64 "%s", number / best->factor, best->name);
}

static const struct unit BINARY[] = {
    {"kb", 1ull << 10}, {"mb", 1ull << 20}, {"gb", 1ull << 30}, {"tb", 1ull << 40}, {NULL, 0}};
static const struct unit SIZES[] = {{"b", 1},           {"k", 1000},        {"m", 1000000},
                                    {"g", 1000000000},  {"kb", 1ull << 10}, {"mb", 1ull << 20},
                                    {"gb", 1ull << 30}, {"tb", 1ull << 40}, {NULL, 0}};
static const struct unit TIMES[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                    {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
static const struct unit NONE[] = {{NULL, 0}};

int value_count_parse(const char *text, uint64_t *out)
{
    return scaled_parse(text, NONE, 1, out);
}

int value_size_parse(const char *text, uint64_t *out)
{
    return scaled_parse(text, SIZES, 1, out);
}

int value_duration_parse(const char *text, uint64_t *out)
{
    return scaled_parse(text, TIMES, 1000, out);
}

int value_bool_parse(const char *text, bool *out)
{
    bool yes = strcasecmp(text, "yes") == 0 || strcasecmp(text, "on") == 0;
    if (!yes && strcasecmp(text, "no") != 0 && strcasecmp(text, "off") != 0)
        return WEIR_EMALFORMED;
    *out = yes;
    return 0;
}

void value_size_print(struct print *text, uint64_t bytes)
{
    scaled_print(text, BINARY, bytes);
}

void value_duration_print(struct print *text, uint64_t ms)
{
    scaled_print(text, TIMES, ms);
}
