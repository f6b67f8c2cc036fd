// The memory check against directories that look like /proc and /sys, and the descriptor limit.
#include "base/err.h"
#include "cli/limits.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h> // needs the headers above

static struct config config;
static char root[64], error[CONFIG_ERROR];

static void put(const char *path, const char *text)
{
    char whole[512];
    snprintf(whole, sizeof(whole), "%s%s", root, path);
    for (char *slash = whole + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(whole, 0700);
        *slash = '/';
    }
    FILE *file = fopen(whole, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int setup(void **state)
{
    (void)state;
    config_defaults(&config);
    strcpy(root, "/tmp/weir-limits-XXXXXX");
    assert_non_null(mkdtemp(root));
    put("/proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\n");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -r '%s'", root);
    return system(command);
}

static int check(uint64_t megabytes)
{
    config.memory_bytes = megabytes << 20;
    error[0] = '\0';
    return limits_check_memory(&config, root, error);
}

static void no_cgroup(void **state)
{
    (void)state;
    assert_int_equal(check(8192), 0);
    assert_int_equal(check(8193), WEIR_ERANGE);
    assert_string_equal(error,
                        "memory 8193mb is more than this process may have (8192mb, the "
                        "machine's memory): set `memory 7373mb` or less, or raise that limit");
}

static void version_2(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/system.slice/weir.service\n");
    put("/sys/fs/cgroup/system.slice/weir.service/memory.max", "max\n");
    assert_int_equal(check(4000), 0);
    put("/sys/fs/cgroup/system.slice/memory.max", "1073741824\n"); // a parent's counts too
    assert_int_equal(check(1024), 0);
    assert_int_equal(check(1025), WEIR_ERANGE);
    assert_non_null(strstr(error, "system.slice/memory.max"));
    put("/sys/fs/cgroup/system.slice/weir.service/memory.max", "536870912\n");
    assert_int_equal(check(513), WEIR_ERANGE);
    assert_non_null(strstr(error, "set `memory 461mb` or less"));
}

static void version_2_in_a_container(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/../../not/here\n");
    put("/sys/fs/cgroup/memory.max", "268435456\n");
    assert_int_equal(check(256), 0);
    assert_int_equal(check(257), WEIR_ERANGE);
    put("/proc/self/cgroup", "0::/\n");
    assert_int_equal(check(257), WEIR_ERANGE);
}

static void version_1(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "12:cpu,cpuacct:/a\n5:memory:/docker/x\n1:name=systemd:/b\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "134217728\n");
    assert_int_equal(check(128), 0);
    assert_int_equal(check(129), WEIR_ERANGE);
}

static void odd_files(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "\n:\n::\nmemory\n5:memory\n0::\n");
    assert_int_equal(check(8192), 0);
    put("/sys/fs/cgroup/memory.max", "");
    assert_int_equal(check(8192), 0);
}

// In a child, because a hard limit never comes back.
static int in_child(rlim_t hard, unsigned maxclients)
{
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {hard < 256 ? hard : 256, hard};
        if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
            _exit(9);
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            _exit(8);
        config.maxclients = maxclients;
        int code = limits_raise_files(&config, error);
        getrlimit(RLIMIT_NOFILE, &limit);
        if (write(pipes[1], error, sizeof(error)) != sizeof(error))
            _exit(7);
        _exit(code == 0 ? limit.rlim_cur >= maxclients + 256 ? 0 : 6 : 1);
    }
    int status;
    assert_int_equal(read(pipes[0], error, sizeof(error)), sizeof(error));
    waitpid(child, &status, 0);
    close(pipes[0]);
    close(pipes[1]);
    return WEXITSTATUS(status);
}

static void descriptors(void **state)
{
    (void)state;
    config.threads = 2; // 64 + 64 + 16 + 1 + 2 * 5 + 128 = 283 besides the clients
    error[0] = '\0';
    assert_int_equal(in_child(4096, 3000), 0);
    assert_int_equal(in_child(4096, 10000), 1);
    assert_string_equal(error,
                        "maxclients 10000 needs 10283 open files, but this process may have 4096: "
                        "raise it (`ulimit -n 10283`, or LimitNOFILE=10283 in the unit), or set "
                        "`maxclients 3813`");
    assert_int_equal(in_child(4096, 3813), 0);
    assert_int_equal(in_child(200, 1), 1);
    assert_string_equal(error, "weir needs 284 open files, but this process may have 200: raise it "
                               "(`ulimit -n 284`, or LimitNOFILE=284 in the unit)");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_cgroup), TEST(version_2), TEST(version_2_in_a_container),
        TEST(version_1), TEST(odd_files), TEST(descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
