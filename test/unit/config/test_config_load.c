#include "config_test.h"
#include <unistd.h>

static void defaults(void **state)
{
    struct fixture *f = *state;
    const struct config *c = &f->config;
    assert_int_equal(c->listens, 1);
    assert_string_equal(c->listen[0].address, "127.0.0.1:6380");
    assert_string_equal(c->admin, "127.0.0.1:6381");
    assert_false(c->store_set);
    assert_int_equal(c->memory_bytes, 256 << 20);
    assert_int_equal(c->threads, 0);
    assert_true(c->cache);
    assert_int_equal(c->cache_rules, 1);
    assert_int_equal(c->cache_rule[0].prefixes, 0);
    assert_true(c->cache_rule[0].enabled);
    assert_int_equal(c->cache_rule[0].max_value_bytes, 1 << 20);
    assert_int_equal(c->cache_rule[0].max_ttl_ms, 3600000);
    assert_int_equal(c->cache_rule[0].max_stale_ms, 1000);
    assert_int_equal(c->cache_rule[0].commands, 0);
    assert_int_equal(c->maxclients, 10000);
    assert_int_equal(c->client_buffer_bytes, 1 << 20);
    assert_int_equal(c->timeout_ms, 0);
    assert_int_equal(c->store_timeout_ms, 60000);
    assert_int_equal(c->connect_timeout_ms, 1000);
    assert_int_equal(c->private_blocking, 64);
    assert_int_equal(c->private_transactions, 64);
    assert_string_equal(c->requirepass, "");
    assert_true(c->protected_mode);
    assert_int_equal(c->tcp_keepalive_s, 300);
    assert_int_equal(c->tcp_backlog, 511);
    assert_string_equal(c->unixsocketperm, "0700");
    assert_int_equal(c->slowlog_us, 10000);
    assert_true(c->admin_commands);
    assert_string_equal(c->logfile, "stderr");
    assert_int_equal(c->loglevel, LOG_INFO);
    assert_int_equal(c->drain_ms, 10000);
    assert_int_equal(config_finish(&f->config, f->error), 0);
}

static void every_directive(void **state)
{
    struct fixture *f = *state;
    load_ok(f, "# a comment\n"
               "listen 0.0.0.0:7000\nlisten [::1]:7000 unix:/run/weir.sock\nadmin off\n"
               "store redis://ann:p%40ss@cache.example/3\nmemory 1gb\nthreads 4\ncache off\n"
               "maxclients 100\nclient-buffer 64kb\ntimeout 5m\nstore-timeout 500ms\n"
               "connect-timeout 2\nprivate-blocking 1\nprivate-transactions 0\n"
               "requirepass \"a b\"\nprotected-mode no\ntcp-keepalive 60\ntcp-backlog 10\n"
               "unixsocketperm 770\nslowlog-log-slower-than -1\nadmin-commands deny\n"
               "logfile /var/log/weir.log\nloglevel warning\ndrain-timeout 1h\n");
    const struct config *c = &f->config;
    assert_int_equal(c->listens, 3);
    assert_string_equal(c->listen[0].address, "0.0.0.0:7000");
    assert_string_equal(c->listen[2].address, "unix:/run/weir.sock");
    assert_string_equal(c->admin, "off");
    assert_true(c->store_set);
    assert_string_equal(c->store.address, "cache.example:6379");
    assert_string_equal(c->store.user, "ann");
    assert_string_equal(c->store.password, "p@ss");
    assert_string_equal(c->store.name, "redis://ann@cache.example:6379/3");
    assert_int_equal(c->store.db, 3);
    assert_int_equal(c->memory_bytes, 1 << 30);
    assert_int_equal(c->threads, 4);
    assert_false(c->cache);
    assert_int_equal(c->timeout_ms, 300000);
    assert_int_equal(c->store_timeout_ms, 500);
    assert_int_equal(c->connect_timeout_ms, 2000);
    assert_string_equal(c->requirepass, "a b");
    assert_false(c->protected_mode);
    assert_string_equal(c->unixsocketperm, "0770");
    assert_true(c->slowlog_us == UINT64_MAX);
    assert_false(c->admin_commands);
    assert_int_equal(c->loglevel, LOG_WARN);
    assert_int_equal(c->drain_ms, 3600000);
    assert_string_equal(get(f, "store"), "redis://ann:***@cache.example:6379/3");
    assert_string_equal(get(f, "requirepass"), "***");
    assert_string_equal(get(f, "listen"), "0.0.0.0:7000 [::1]:7000 unix:/run/weir.sock");
}

static void cache_blocks(void **state)
{
    struct fixture *f = *state;
    load_ok(f,
            "cache user: session: {\n  prefix \"a b\"\n  max-ttl 10s\n  commands GET hgetall\n}\n"
            "cache tmp: { enabled no }\n"
            "cache {\n max-stale 250ms\n max-value 4kb ; commands get mget strlen\n}\n");
    load_ok(f, "cache tmp: { max-value 10b }"); // the same prefixes: the rule is changed
    const struct config *c = &f->config;
    assert_int_equal(config_finish(&f->config, f->error), 0);
    assert_true(c->cache);
    assert_int_equal(c->cache_rules, 3);
    assert_int_equal(c->cache_rule[0].max_stale_ms, 250);
    assert_int_equal(c->cache_rule[0].max_ttl_ms, 3600000);
    assert_int_equal(c->cache_rule[1].prefixes, 3);
    assert_string_equal(c->cache_rule[1].prefix[2], "a b");
    assert_int_equal(c->cache_rule[1].max_ttl_ms, 10000);
    assert_int_equal(c->cache_rule[1].max_stale_ms, 250); // from the default rule, given later
    assert_int_equal(c->cache_rule[1].commands, 2);
    assert_string_equal(c->cache_rule[1].command[0], "get");
    assert_true(c->cache_rule[1].enabled);
    assert_false(c->cache_rule[2].enabled);
    assert_int_equal(c->cache_rule[2].max_value_bytes, 10);
    assert_int_equal(c->cache_rule[2].commands, 3);
    assert_string_equal(get(f, "cache"),
                        "on\ncache {\n    enabled yes\n    max-value 4kb\n    max-ttl 1h\n"
                        "    max-stale 250ms\n    commands get mget strlen\n}\n"
                        "cache user: session: \"a b\" {\n    enabled yes\n    max-value 4kb\n"
                        "    max-ttl 10s\n    max-stale 250ms\n    commands get hgetall\n}\n"
                        "cache tmp: {\n    enabled no\n    max-value 10\n    max-ttl 1h\n"
                        "    max-stale 250ms\n    commands get mget strlen\n}");
}

static void errors_name_the_place(void **state)
{
    struct fixture *f = *state;
    load_bad(f, "\nmemroy 1gb\n",
             "weir.conf:2: unknown directive 'memroy', did you mean 'memory'?");
    load_bad(f, "memory lots", "weir.conf: memory: 'lots' is not a size like 256mb or 1gb");
    load_bad(f, "memory 1\n", "weir.conf:1: memory: '1' is out of bounds: 1mb to 64tb");
    load_bad(f, "memory\n", "weir.conf:1: memory takes one value: memory SIZE");
    load_bad(f, "memory 1gb 2gb", "weir.conf: memory takes one value: memory SIZE");
    load_bad(f, "memory 1gb\nmemory 2gb", "weir.conf:2: memory is given twice");
    load_bad(f, "maxmemory 1gb",
             "weir.conf: unknown directive 'maxmemory', did you mean 'memory'?");
    load_bad(f, "max-ttl 1s",
             "weir.conf: 'max-ttl' belongs into a cache block: cache { max-ttl … }");
    load_bad(f, "xyzzy", "weir.conf: unknown directive 'xyzzy'; `weir help directives` lists them");
    load_bad(f, "requirepass \"open", "weir.conf: a \" quote is not closed");
    load_bad(f, "threads 65", "weir.conf: threads: '65' is out of bounds: 0 to 64");
    load_bad(f, "threads -1", "weir.conf: threads: '-1' is not a number");
    load_bad(f, "timeout 99999999999999999999",
             "weir.conf: timeout: '99999999999999999999' is out of bounds: 0 to 365d");
    load_bad(f, "unixsocketperm 7777",
             "weir.conf: unixsocketperm: '7777' is out of bounds: 0000 to 0777");
    load_bad(f, "loglevel loud", "weir.conf: loglevel: 'loud' is none of debug, info, warn, error");
    load_bad(f, "protected-mode maybe", "weir.conf: protected-mode: 'maybe' is neither yes nor no");
    load_bad(f, "memory \"\x01\n\"",
             "weir.conf:1: a \" quote is not closed\n"
             "weir.conf:2: a \" quote is not closed");
    load_bad(f, "m\x1b[2J 1",
             "weir.conf: unknown directive 'm?[2J'; `weir help directives` lists "
             "them");
}

static void errors_of_blocks(void **state)
{
    struct fixture *f = *state;
    load_bad(f, "cache a {\n max-tll 1s\n}\n",
             "weir.conf:2: unknown word 'max-tll' in a cache block, did you mean 'max-ttl'?");
    load_bad(f, "\ncache a {\n max-ttl 1s\n", "weir.conf:2: this block is not closed by a '}'");
    load_bad(f, "}\n", "weir.conf:1: '}' closes nothing");
    load_bad(f, "{ }", "weir.conf: '{' without a directive in front of it");
    load_bad(f, "cache a { cache b { max-ttl 1s } }", "weir.conf: a block inside of a block");
    load_bad(f, "memory {\n max-ttl 1s\n}\n",
             "weir.conf:1: memory has no block (quote the '{' if it is part of a value)");
    load_bad(f, "cahce {\n max-ttl 1s\n}\n",
             "weir.conf:1: unknown directive 'cahce', did you mean 'cache'?");
    load_bad(f, "cache on { max-ttl 1s }",
             "weir.conf: `cache on` and a block stand on lines of their own (a prefix of that name "
             "is quoted)");
    load_bad(f, "cache a a { }", "weir.conf: prefix: 'a' is given twice");
    load_bad(f, "cache { max-stale 0 }", "weir.conf: max-stale: '0' is out of bounds: 10ms to 1h");
    load_bad(f, "cache { max-ttl 1s ; max-ttl 2s }", "weir.conf: max-ttl is given twice");
    load_bad(f, "cache { commands get GET }", "weir.conf: commands: 'GET' is given twice");
    load_bad(f, "cache { commands \"a b\" }",
             "weir.conf: commands: 'a b' is not the name of a command");
    load_bad(f, "cache user:",
             "weir.conf: cache: 'user:' is neither on nor off; a block of rules for a prefix is "
             "`cache user: { … }`");
    load_ok(f, "cache \"on\" { }"); // quoted: a prefix
    assert_string_equal(f->config.cache_rule[1].prefix[0], "on");
    assert_non_null(strstr(get(f, "cache"), "cache \"on\" {"));
}

static void many_errors_fit_or_are_counted(void **state)
{
    struct fixture *f = *state;
    char text[4096] = "";
    for (int i = 0; i < 40; i++)
        strcat(text, "memroy 1\n");
    assert_true(config_load_text(&f->config, "weir.conf", text, f->error) < 0);
    assert_non_null(strstr(f->error, "weir.conf:6: unknown directive 'memroy'"));
    assert_non_null(strstr(f->error, "\nand 33 more errors"));
    assert_true(strlen(f->error) < CONFIG_ERROR);
}

static void later_loads_win(void **state)
{
    struct fixture *f = *state;
    load_ok(f, "listen 1.1.1.1:1\nlisten 1.1.1.1:2\nstore redis://:secret@a\nmemory 1gb");
    load_ok(f, "listen 2.2.2.2:2");
    load_ok(f, "store redis://b");
    assert_int_equal(f->config.listens, 1);
    assert_string_equal(f->config.listen[0].address, "2.2.2.2:2");
    assert_string_equal(f->config.store.password, ""); // never sent to another store
    assert_int_equal(f->config.memory_bytes, 1 << 30);
}

static void set_one(void **state)
{
    struct fixture *f = *state;
    setenv("WEIR_TEST", "leaked", 1);
    assert_int_equal(config_set(&f->config, "CONFIG SET", "MEMORY", "2gb", f->error), 0);
    assert_true(f->config.memory_bytes == 2ull << 30);
    assert_int_equal(
        config_set(&f->config, "CONFIG SET", "requirepass", "a\"b c#${WEIR_TEST}", f->error), 0);
    assert_string_equal(f->config.requirepass, "a\"b c#${WEIR_TEST}");
    assert_int_equal(config_set(&f->config, "CONFIG SET", "requirepass", "\"\"", f->error), 0);
    assert_string_equal(f->config.requirepass, "");
    assert_int_equal(config_set(&f->config, "CONFIG SET", "requirepass", "", f->error), 0);
    assert_string_equal(f->config.requirepass, "");
    assert_int_equal(config_set(&f->config, "CONFIG SET", "logfile", "${WEIR_TEST}", f->error), 0);
    assert_string_equal(f->config.logfile, "${WEIR_TEST}");
    assert_int_equal(config_set(&f->config, "CONFIG SET", "cache", "u: { max-ttl 5s }", f->error),
                     0);
    assert_int_equal(f->config.cache_rule[1].max_ttl_ms, 5000);
    assert_true(config_set(&f->config, "CONFIG SET", "timeout", "1\nmemory 1gb", f->error) < 0);
    assert_string_equal(f->error, "CONFIG SET:2: only timeout is set here, not memory");
    assert_true(config_set(&f->config, "CONFIG SET", "memroy", "1", f->error) < 0);
    assert_string_equal(f->error, "CONFIG SET: unknown directive 'memroy', did you mean 'memory'?");
    assert_true(config_set(&f->config, "CONFIG SET", "timeout\nx", "1", f->error) < 0);
    assert_true(config_set(&f->config, "CONFIG SET", "requirepass-file", "/etc/passwd", f->error) <
                0);
    assert_true(config_set(&f->config, "CONFIG SET", "timeout", "", f->error) < 0);
}

static void finish_checks(void **state)
{
    struct fixture *f = *state;
    snprintf(f->config.file, sizeof(f->config.file), "weir.conf");
    load_ok(f, "listen 127.0.0.1:7 127.0.0.1:7\nadmin 127.0.0.1:7\nstore redis://127.0.0.1:7");
    assert_true(config_finish(&f->config, f->error) < 0);
    assert_non_null(strstr(f->error, "weir.conf: listen: 127.0.0.1:7 is given twice"));
    assert_non_null(strstr(f->error, "weir.conf: listen and admin are both 127.0.0.1:7"));
    assert_non_null(strstr(f->error, "weir.conf: store: 127.0.0.1:7 is where weir itself listens"));
    config_defaults(&f->config);
    load_ok(f, "listen 127.0.0.1:0 127.0.0.1:0\nadmin 127.0.0.1:0\ncache a b { }\ncache c b { }");
    assert_true(config_finish(&f->config, f->error) < 0);
    assert_string_equal(f->error, "configuration: the prefix 'b' stands in two cache blocks");
}

static void frozen(void **state)
{
    struct fixture *f = *state;
    f->other = f->config;
    config_frozen_changes(&f->config, &f->other, f->out, sizeof(f->out));
    assert_string_equal(f->out, "");
    load_ok(f, "listen 127.0.0.1:1\nmemory 1gb\nthreads 3\nstore redis://:a@b");
    config_frozen_changes(&f->other, &f->config, f->out, sizeof(f->out));
    assert_string_equal(f->out, "listen, store, threads");
    f->other = f->config;
    load_ok(f, "store redis://:c@b"); // the password alone
    config_frozen_changes(&f->other, &f->config, f->out, sizeof(f->out));
    assert_string_equal(f->out, "store");
    config_frozen_changes(&f->other, &f->config, f->out, 3);
    assert_string_equal(f->out, "st");
}

static char *file_with(struct fixture *f, const char *text)
{
    snprintf(f->out, sizeof(f->out), "/tmp/weir-config-XXXXXX");
    int fd = mkstemp(f->out);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    return strdup(f->out);
}

static void files(void **state)
{
    struct fixture *f = *state;
    char *secret = file_with(f, "hunter2\nsecond line\n"), text[512];
    snprintf(text, sizeof(text), "password-file %s\nstore redis://ann@a\nrequirepass-file %s\n",
             secret, secret);
    char *path = file_with(f, text);
    assert_int_equal(config_load_file(&f->config, path, f->error), 0);
    assert_string_equal(f->config.file, path);
    assert_string_equal(f->config.store.password, "hunter2");
    assert_string_equal(f->config.requirepass, "hunter2");
    assert_string_equal(get(f, "store"), "redis://ann@a:6379");
    assert_string_equal(get(f, "password-file"), secret);
    assert_string_equal(get(f, "requirepass"), "\"\"");
    load_ok(f, "store redis://c"); // a password belongs to its store
    assert_string_equal(f->config.store.password, "");
    assert_string_equal(f->config.password_file, "");
    load_ok(f, "requirepass other");
    assert_string_equal(f->config.requirepass_file, "");
    snprintf(text, sizeof(text), "store redis://:x@a\npassword-file %s", secret);
    load_bad(f, text,
             "weir.conf: the store's URL has a password and password-file is given: keep "
             "one");
    snprintf(text, sizeof(text), "requirepass x\nrequirepass-file %s", secret);
    load_bad(f, text, "weir.conf: requirepass and requirepass-file are both given: keep one");
    load_bad(f, "requirepass-file /nonexistent/x",
             "weir.conf: requirepass-file: cannot read "
             "/nonexistent/x: No such file or directory");
    assert_int_equal(config_load_file(&f->config, "/nonexistent", f->error), WEIR_ENOENT);
    assert_string_equal(f->error, "/nonexistent: cannot be read: No such file or directory");
    assert_int_equal(config_load_file(&f->config, "/tmp", f->error), WEIR_EIO);
    assert_string_equal(f->error, "/tmp: cannot be read: it is a directory");
    unlink(path);
    unlink(secret);
    free(path);
    free(secret);
}

static void secrets_stay_secret(void **state)
{
    struct fixture *f = *state;
    load_bad(f, "store redis://:***@a",
             "weir.conf: store: '***' stands for a password that was not shown: write the password "
             "itself, or use password-file");
    load_bad(f, "requirepass ***",
             "weir.conf: requirepass: '***' stands for a password that was "
             "not shown: write the password itself");
    const char *bad[] = {
        "store redis://:hunter2/x@a",
        "store redis://:hunter2@a:port",
        "store redis://u:hunter2%@a",
        "store redis://u:hunter2@",
        "store redis://u:hunter2@a/99",
        "store redi://u:hunter2@a",
        "store rediss://u:hunter2@a",
        "store u:hunter2@a",
        "store unix://u:hunter2@relative",
        "store redis://u:hunter2@a?x=1",
        "store redis://u:hunter2@[::1",
        "store //u:hunter2@a",
        "store hunter2",
        "requirepass hunter2 hunter2",
        "store redis://a hunter2",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_true(config_load_text(&f->config, "f", bad[i], f->error) < 0);
        if (strstr(f->error, "hunter2") != NULL)
            fail_msg("%s: %s", bad[i], f->error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults),
        TEST(every_directive),
        TEST(cache_blocks),
        TEST(errors_name_the_place),
        TEST(errors_of_blocks),
        TEST(many_errors_fit_or_are_counted),
        TEST(later_loads_win),
        TEST(set_one),
        TEST(finish_checks),
        TEST(frozen),
        TEST(files),
        TEST(secrets_stay_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
