// Property: what is printed for any configuration loads back to the same configuration. Random
// configurations are made from random, mostly valid, texts of directives.
#include "config/directive.h"
#include "config_test.h"

enum { ROUNDS = 3000, TEXT_BYTES = 200000 };

static unsigned seed = 20240229;

static unsigned pick(unsigned count)
{
    return (unsigned)rand_r(&seed) % count;
}

// A word of printable and odd bytes, quoted as the printer of words would.
static void odd_word(struct print *text)
{
    char word[64];
    if (pick(8) == 0) {
        print_add(text, pick(2) ? "\"on\"" : "\"no\"");
        return;
    }
    static const char bytes[] = "ab:{}; #\"'\\$\t\x01\xc3\xa9*${X}";
    unsigned size = pick(20) + 1;
    for (unsigned i = 0; i < size; i++)
        word[i] = bytes[pick(sizeof(bytes) - 1)];
    word[size] = '\0';
    print_word(text, word);
}

static void random_value(struct print *text, const struct directive *d)
{
    static const char *const addresses[] = {"127.0.0.1:1", "h:0", "[::1]:9", "unix:/x", "off"};
    static const char *const urls[] = {"redis://u:p%40@h/3", "unix:/s", "redis://[::1]", "\"\""};
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    static const char *const commands[] = {"*", "get", "get mget", "HGETALL strlen zrange"};
    if (d->kind == &kind_bool || d->kind == &kind_admin || d->kind == &kind_cache)
        print_add(text, "%s", pick(2) ? "yes" : "off");
    else if (d->kind == &kind_level)
        print_add(text, "%s", levels[pick(4)]);
    else if (d->kind == &kind_address)
        print_add(text, "%s", addresses[pick(5)]);
    else if (d->kind == &kind_listen)
        print_add(text, "%s %s", addresses[pick(4)], addresses[pick(4)]);
    else if (d->kind == &kind_store)
        print_add(text, "%s", urls[pick(4)]);
    else if (d->kind == &kind_commands)
        print_add(text, "%s", commands[pick(4)]);
    else if (d->kind == &kind_mode)
        print_add(text, "%03o", pick(01000));
    else if (d->kind == &kind_path || d->kind == &kind_secret || d->kind == &kind_prefix)
        odd_word(text);
    else if (d->kind == &kind_requirepass_file || d->kind == &kind_password_file)
        print_add(text, "\"\"");
    else if (d->kind == &kind_micros && pick(3) == 0)
        print_add(text, "-1");
    else
        print_add(text, "%lu",
                  (unsigned long)(d->min + (uint64_t)rand_r(&seed) * 4097 % (d->max - d->min + 1)));
    if (d->kind == &kind_duration)
        print_add(text, "ms");
}

static void random_block(struct print *text)
{
    unsigned count;
    const struct directive *table = rule_table(&count);
    print_add(text, "cache ");
    for (unsigned i = pick(4); i > 0; i--) {
        odd_word(text);
        print_add(text, " ");
    }
    print_add(text, "{\n");
    for (unsigned i = 1; i < count; i++) {
        if (pick(2))
            continue;
        print_add(text, "%s ", table[i].shown.name);
        random_value(text, &table[i]);
        print_add(text, "\n");
    }
    print_add(text, "}\n");
}

static void random_text(char *out)
{
    struct print text = {out, TEXT_BYTES, 0};
    out[0] = '\0';
    unsigned count;
    const struct directive *table = directive_table(&count);
    for (unsigned i = 0; i < count; i++) {
        if (pick(3) == 0)
            continue;
        print_add(&text, "%s ", table[i].shown.name);
        random_value(&text, &table[i]);
        print_add(&text, "\n");
    }
    for (unsigned blocks = pick(5); blocks > 0; blocks--)
        random_block(&text);
}

// Every directive as it is printed, passwords too, in one text.
static void print_all(const struct config *config, char *out)
{
    struct print text = {out, TEXT_BYTES, 0};
    out[0] = '\0';
    unsigned count;
    const struct directive *table = directive_table(&count);
    for (unsigned i = 0; i < count; i++) {
        print_add(&text, "%s ", table[i].shown.name);
        table[i].kind->print(&table[i], config, true, &text);
        print_add(&text, "\n");
    }
    assert_true(text.size < TEXT_BYTES);
}

static void round_trip(void **state)
{
    struct fixture *f = *state;
    char *text = malloc(TEXT_BYTES), *again = malloc(TEXT_BYTES);
    unsigned taken = 0;
    for (int round = 0; round < ROUNDS; round++) {
        config_defaults(&f->config);
        random_text(text);
        if (config_load_text(&f->config, "random", text, f->error) != 0) // two prefixes alike
            continue;
        taken++;
        if (pick(2))
            config_finish(&f->config, f->error);
        print_all(&f->config, text);
        config_defaults(&f->other);
        if (config_load_text(&f->other, "printed", text, f->error) != 0)
            fail_msg("%s\n%s", f->error, text);
        print_all(&f->other, again);
        assert_string_equal(text, again);
        assert_memory_equal(&f->config, &f->other, sizeof(f->config));
    }
    assert_true(taken > ROUNDS / 2);
    free(text);
    free(again);
}

// config_get and config_set, one directive at a time: a live configuration can be carried over.
static void get_and_set(void **state)
{
    struct fixture *f = *state;
    char *text = malloc(TEXT_BYTES);
    unsigned count, carried = 0;
    const struct config_directive *d = config_directives(&count);
    for (int round = 0; round < ROUNDS / 3; round++) {
        config_defaults(&f->config);
        config_defaults(&f->other);
        random_text(text);
        if (config_load_text(&f->config, "random", text, f->error) != 0)
            continue;
        memset(f->config.requirepass, 0, CONFIG_TEXT); // never printed
        memset(f->config.store.password, 0, CONFIG_TEXT);
        for (unsigned i = 0; i < count; i++) {
            if (strstr(d[i].name, "-file") != NULL || strcmp(d[i].name, "requirepass") == 0)
                continue;
            assert_int_equal(config_get(&f->config, d[i].name, f->out, sizeof(f->out)), 0);
            if (config_set(&f->other, "CONFIG SET", d[i].name, f->out, f->error) != 0)
                fail_msg("%s %s: %s", d[i].name, f->out, f->error);
        }
        assert_memory_equal(&f->config, &f->other, sizeof(f->config));
        carried++;
    }
    assert_true(carried > 100);
    free(text);
}

static void get_is_bounded(void **state)
{
    struct fixture *f = *state;
    char out[8];
    load_ok(f, "logfile /a/long/path/to/a/file");
    assert_int_equal(config_get(&f->config, "logfile", out, sizeof(out)), WEIR_ERANGE);
    assert_string_equal(out, "/a/long");
    assert_int_equal(config_get(&f->config, "memroy", out, sizeof(out)), WEIR_ENOENT);
    assert_int_equal(config_get(&f->config, "LOGLEVEL", out, sizeof(out)), 0);
    assert_string_equal(out, "info");
}

int main(void)
{
    setenv("X", "expanded", 1);
    const struct CMUnitTest tests[] = {TEST(round_trip), TEST(get_and_set), TEST(get_is_bounded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
