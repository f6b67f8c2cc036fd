#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void read_file(const char *path, char *out, size_t room)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t size = fread(out, 1, room - 1, file);
    out[size] = '\0';
    fclose(file);
}

static void writes_one_line_each(void **state)
{
    (void)state;
    char path[] = "/tmp/test_log_XXXXXX", moved[64], text[8192];
    close(mkstemp(path));
    assert_int_equal(log_open(path, LOG_INFO), 0);
    log_write(LOG_DEBUG, "hidden", "n=%d", 1);
    log_write(LOG_INFO, "plain", NULL);
    log_write(LOG_WARN, "lane lost", "node=%s", "a\nlevel=error\x1b");
    read_file(path, text, sizeof text);
    assert_null(strstr(text, "hidden"));
    assert_non_null(strstr(text, " level=info msg=\"plain\"\n"));
    assert_non_null(strstr(text, " level=warn msg=\"lane lost\" node=a?level=error?\n"));
    assert_memory_equal(text, "time=2", 6);

    char *huge = malloc(10000);
    memset(huge, 'x', 9999);
    huge[9999] = '\0';
    log_write(LOG_ERROR, "huge", "x=%s", huge);
    log_write(LOG_ERROR, huge, "x=%s", huge);
    read_file(path, text, sizeof text);
    assert_int_equal(text[strlen(text) - 1], '\n');
    assert_true(strlen(text) < 4 * 2048 + 200);
    free(huge);

    snprintf(moved, sizeof moved, "%s.1", path);
    assert_int_equal(rename(path, moved), 0);
    log_write(LOG_ERROR, "old file", NULL);
    assert_int_equal(log_reopen(), 0);
    log_set_level(LOG_ERROR);
    log_write(LOG_WARN, "below", NULL);
    log_write(LOG_ERROR, "new file", NULL);
    read_file(path, text, sizeof text);
    assert_non_null(strstr(text, "new file"));
    assert_null(strstr(text, "below"));
    assert_null(strstr(text, "old file"));

    assert_int_equal(log_open("/nonexistent/dir/log", LOG_DEBUG), WEIR_EIO);
    log_write(LOG_ERROR, "still here", NULL);
    read_file(path, text, sizeof text);
    assert_non_null(strstr(text, "still here"));
    assert_int_equal(log_open("stderr", LOG_INFO), 0);
    unlink(path);
    unlink(moved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(writes_one_line_each)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
