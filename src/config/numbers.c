// Kinds of value that are a number: each names how text becomes a number and back, and how wide its
// field is; bounds come from the directive.
//
// A value out of bounds is told its bounds in the words it would be written in (1mb to 64tb), which
// is why a number is printed by the same table that parses it. `wide` fields are uint64_t, `narrow`
// ones unsigned; a narrow directive's `max` keeps its value within an unsigned.
#include "base/err.h"
#include "config/directive.h"
#include "config/value.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

int setting_refuse(const struct setting *setting, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(setting->reason, CONFIG_REASON, format, arguments);
    va_end(arguments);
    return WEIR_EMALFORMED;
}

struct number {
    int (*parse)(const char *text, uint64_t *out);
    void (*print)(struct print *text, uint64_t value);
    const char *what;
};

static void count_print(struct print *text, uint64_t value)
{
    print_add(text, "%" PRIu64, value);
}

static void seconds_print(struct print *text, uint64_t value)
{
    print_add(text, "%" PRIu64, value);
}

static int seconds_parse(const char *text, uint64_t *out)
{
    uint64_t ms;
    int code = value_duration_parse(text, &ms);
    if (code == 0 && ms % 1000 != 0)
        code = WEIR_EMALFORMED;
    if (code == 0)
        *out = ms / 1000;
    return code;
}

static int mode_parse(const char *text, uint64_t *out)
{
    size_t size = strlen(text);
    if (size < 3 || size > 4 || strspn(text, "01234567") != size)
        return WEIR_EMALFORMED;
    uint64_t mode = 0;
    for (; *text != '\0'; text++)
        mode = mode * 8 + (uint64_t)(*text - '0');
    *out = mode;
    return 0;
}

static void mode_print(struct print *text, uint64_t value)
{
    print_add(text, "%04" PRIo64, value);
}

// A bare number is in microseconds, as Redis has it; with a unit it is a time.
static int micros_parse(const char *text, uint64_t *out)
{
    if (value_count_parse(text, out) == 0)
        return 0;
    uint64_t ms;
    int code = value_duration_parse(text, &ms);
    if (code == 0 && __builtin_mul_overflow(ms, 1000, &ms))
        code = WEIR_ERANGE;
    if (code == 0)
        *out = ms;
    return code;
}

static const struct number SIZE = {value_size_parse, value_size_print, "a size like 256mb or 1gb"};
static const struct number DURATION = {value_duration_parse, value_duration_print,
                                       "a time like 500ms, 10s, 5m or 1h"};
static const struct number SECONDS = {seconds_parse, seconds_print, "a number of seconds"};
static const struct number COUNT = {value_count_parse, count_print, "a number"};
static const struct number MODE = {mode_parse, mode_print, "octal permissions like 0700"};
static const struct number MICROS = {micros_parse, count_print,
                                     "a number of microseconds (-1 for never)"};

static int number_read(const struct setting *setting, const struct number *number, uint64_t *out)
{
    const struct directive *d = setting->directive;
    const char *text = setting->argument[0].text;
    uint64_t value = 0;
    int code = number->parse(text, &value);
    if (code == WEIR_EMALFORMED)
        return setting_refuse(setting, "'%.40s' is not %s", text, number->what);
    if (code != 0 || value < d->min || value > d->max) {
        char least[32], most[32];
        struct print a = {least, sizeof(least), 0}, b = {most, sizeof(most), 0};
        number->print(&a, d->min);
        number->print(&b, d->max);
        setting_refuse(setting, "'%.40s' is out of bounds: %s to %s", text, least, most);
        return WEIR_ERANGE;
    }
    *out = value;
    return 0;
}

static int wide_read(const struct setting *setting, const struct number *number)
{
    return number_read(setting, number,
                       (uint64_t *)((char *)setting->owner + setting->directive->field));
}

static int narrow_read(const struct setting *setting, const struct number *number)
{
    uint64_t value = 0;
    int code = number_read(setting, number, &value);
    if (code == 0)
        *(unsigned *)((char *)setting->owner + setting->directive->field) = (unsigned)value;
    return code;
}

static uint64_t wide(const struct directive *d, const void *owner)
{
    return *(const uint64_t *)((const char *)owner + d->field);
}

static unsigned narrow(const struct directive *d, const void *owner)
{
    return *(const unsigned *)((const char *)owner + d->field);
}

#define NUMBER_KIND(name, number, width)                                                           \
    static int name##_read(const struct setting *setting)                                          \
    {                                                                                              \
        return width##_read(setting, &(number));                                                   \
    }                                                                                              \
    static void name##_show(const struct directive *d, const void *owner, bool reveal,             \
                            struct print *text)                                                    \
    {                                                                                              \
        (void)reveal;                                                                              \
        (number).print(text, width(d, owner));                                                     \
    }                                                                                              \
    const struct kind kind_##name = {1, name##_read, name##_show};

NUMBER_KIND(size, SIZE, wide)
NUMBER_KIND(duration, DURATION, wide)
NUMBER_KIND(seconds, SECONDS, narrow)
NUMBER_KIND(count, COUNT, narrow)

static int mode_read(const struct setting *setting)
{
    uint64_t mode = 0;
    int code = number_read(setting, &MODE, &mode);
    if (code == 0)
        snprintf((char *)setting->owner + setting->directive->field, 8, "%04o", (unsigned)mode);
    return code;
}

static void mode_show(const struct directive *d, const void *owner, bool reveal, struct print *text)
{
    (void)reveal;
    print_add(text, "%s", (const char *)owner + d->field);
}

const struct kind kind_mode = {1, mode_read, mode_show};

static int micros_read(const struct setting *setting)
{
    if (strcmp(setting->argument[0].text, "-1") != 0)
        return wide_read(setting, &MICROS);
    *(uint64_t *)((char *)setting->owner + setting->directive->field) = UINT64_MAX;
    return 0;
}

static void micros_show(const struct directive *d, const void *owner, bool reveal,
                        struct print *text)
{
    (void)reveal;
    if (wide(d, owner) == UINT64_MAX)
        print_add(text, "-1");
    else
        print_add(text, "%" PRIu64, wide(d, owner));
}

const struct kind kind_micros = {1, micros_read, micros_show};
