// Reads a text of directives into a configuration, all of it or nothing.
//
//   text ──lines──► words_split ──► statements ──► directive_set ──► kind->parse ──► working copy
//                                       │                                               │
//                                       ├─ {  block_open   }  block_close (rule.c)      │
//                                       └─ errors ──► report (several, up to the buffer)▼
//                                                                      secrets_apply, copied back
//
// Invariants: *config changes only when the whole text was right; an error inside of a block never
// makes its lines look like top-level directives; the input is bounded before it is read.
// A directive that stands twice in one text is an error, except `listen` and `cache`: the second of
// two `memory` lines is more often a forgotten one than a meant one. Over several loads (file, then
// flags) the later one wins.
// Rejected: applying what was right and skipping the rest (a half-applied file is a third state
// that nobody wrote).
#include "config/load.h"
#include "base/err.h"
#include "config/suggest.h"
#include "config/value.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_BYTES = 1024 * 1024 };

#define ERROR(load, ...)                                                                           \
    report_add(&(load)->report, WEIR_EMALFORMED, (load)->place, (load)->line, __VA_ARGS__)

// ---- one directive

static bool seen_before(struct load *load, uint64_t *seen, const struct directive *table,
                        const struct directive *d)
{
    uint64_t bit = 1ull << (d - table);
    bool before = (*seen & bit) != 0;
    *seen |= bit;
    if (before)
        ERROR(load, "%s is given twice", d->shown.name);
    return before;
}

static bool argument_count_right(struct load *load, const struct directive *d, unsigned count)
{
    bool right = count > 0 && (d->kind->most == 0 || count <= d->kind->most);
    if (!right)
        ERROR(load, "%s takes %s: %s %s", d->shown.name,
              d->kind->most == 1 ? "one value" : "at least one value", d->shown.name,
              d->shown.arguments);
    return right;
}

static void directive_apply(struct load *load, const struct directive *d, void *owner,
                            const struct word *argument, unsigned count)
{
    char reason[CONFIG_REASON] = "";
    struct setting setting = {d, load, owner, count, argument, reason};
    if (!argument_count_right(load, d, count))
        return;
    int code = d->kind->parse(&setting);
    if (code != 0)
        report_add(&load->report, code, load->place, load->line, "%s: %s", d->shown.name, reason);
}

static const struct directive *directive_known(struct load *load, const char *name)
{
    const struct directive *d = directive_find(name);
    if (d != NULL && load->only != NULL && d != load->only) {
        ERROR(load, "only %s is set here, not %s", load->only->shown.name, d->shown.name);
        return NULL;
    }
    if (d != NULL)
        return d;
    const char *nearest = directive_nearest(name);
    if (nearest != NULL)
        ERROR(load, "unknown directive '%.60s', did you mean '%s'?", name, nearest);
    else if (rule_find(name) != NULL)
        ERROR(load, "'%.60s' belongs into a cache block: cache { %.60s … }", name, name);
    else
        ERROR(load, "unknown directive '%.60s'; `weir help directives` lists them", name);
    return NULL;
}

static void directive_set(struct load *load, const struct word *word, unsigned count)
{
    const struct directive *d = directive_known(load, word[0].text);
    if (d == NULL)
        return;
    unsigned total;
    const struct directive *table = directive_table(&total);
    bool repeats = d->kind == &kind_listen || d->kind == &kind_cache;
    if (!repeats && seen_before(load, &load->seen, table, d))
        return;
    directive_apply(load, d, &load->config, word + 1, count - 1);
}

// ---- blocks

static void rule_set(struct load *load, const struct word *word, unsigned count)
{
    const struct directive *d = rule_find(word[0].text);
    unsigned total;
    const struct directive *table = rule_table(&total);
    if (d == NULL) {
        const char *best = NULL;
        for (unsigned i = 0; i < total; i++)
            suggest_offer(word[0].text, table[i].shown.name, &best);
        if (best != NULL)
            ERROR(load, "unknown word '%.60s' in a cache block, did you mean '%s'?", word[0].text,
                  best);
        else
            ERROR(load,
                  "unknown word '%.60s' in a cache block: it knows prefix, enabled, "
                  "max-value, max-ttl, max-stale, commands",
                  word[0].text);
        return;
    }
    if (d->kind == &kind_prefix || !seen_before(load, &load->rule_seen, table, d))
        directive_apply(load, d, &load->rule, word + 1, count - 1);
}

static void block_open(struct load *load, const struct word *word, unsigned count)
{
    load->block_line = load->line;
    load->block = BLOCK_SKIPPED;
    load->depth++;
    if (load->depth > 1) {
        ERROR(load, "a block inside of a block");
        return;
    }
    if (count == 0) {
        ERROR(load, "'{' without a directive in front of it");
        return;
    }
    const struct directive *d = directive_known(load, word[0].text);
    if (d == NULL)
        return;
    if (d->kind != &kind_cache) {
        ERROR(load, "%s has no block (quote the '{' if it is part of a value)", d->shown.name);
        return;
    }
    load->block = BLOCK_RULE;
    load->rule_seen = 0;
    rule_clear(&load->rule);
    bool on;
    if (count == 2 && word[1].bare && value_bool_parse(word[1].text, &on) == 0)
        ERROR(load,
              "`cache %s` and a block stand on lines of their own (a prefix of that name is "
              "quoted)",
              word[1].text);
    else if (count > 1)
        directive_apply(load, rule_find("prefix"), &load->rule, word + 1, count - 1);
}

// Takes over what the block has said, into the rule of the same prefixes or a new one.
static void rule_commit(struct load *load)
{
    struct config *config = &load->config;
    struct config_cache_rule *rule = NULL;
    for (unsigned i = 0; i < config->cache_rules && rule == NULL; i++)
        if (rule_same_prefixes(&config->cache_rule[i], &load->rule))
            rule = &config->cache_rule[i];
    if (rule == NULL) {
        if (config->cache_rules == CONFIG_CACHE_RULES) {
            ERROR(load, "more than %d cache blocks", CONFIG_CACHE_RULES);
            return;
        }
        config->cache_rule[config->cache_rules++] = load->rule;
        return;
    }
    unsigned count;
    const struct directive *table = rule_table(&count);
    for (unsigned i = 0; i < count; i++) {
        if ((load->rule_seen & (1ull << i)) == 0)
            continue;
        if (table[i].kind == &kind_bool)
            rule->enabled = load->rule.enabled;
        else if (table[i].kind == &kind_commands) {
            rule->commands = load->rule.commands;
            memcpy(rule->command, load->rule.command, sizeof(rule->command));
        } else {
            memcpy((char *)rule + table[i].field, (char *)&load->rule + table[i].field,
                   sizeof(uint64_t));
        }
    }
}

static void block_close(struct load *load)
{
    if (load->depth == 0) {
        ERROR(load, "'}' closes nothing");
        return;
    }
    if (--load->depth > 0)
        return;
    if (load->block == BLOCK_RULE && load->report.code == 0)
        rule_commit(load);
    load->block = BLOCK_NONE;
}

// ---- lines

enum mark { MARK_NONE, MARK_END, MARK_OPEN, MARK_CLOSE };

static enum mark mark_of(const struct load *load, const struct word *word)
{
    if (!word->bare)
        return MARK_NONE;
    if (strcmp(word->text, "{") == 0)
        return MARK_OPEN;
    if (strcmp(word->text, "}") == 0)
        return MARK_CLOSE;
    return strcmp(word->text, ";") == 0 && load->depth > 0 ? MARK_END : MARK_NONE;
}

static void statement(struct load *load, const struct word *word, unsigned count, enum mark mark)
{
    if (mark == MARK_OPEN) {
        block_open(load, word, count);
        return;
    }
    if (count > 0 && load->block == BLOCK_NONE)
        directive_set(load, word, count);
    else if (count > 0 && load->block == BLOCK_RULE)
        rule_set(load, word, count);
    if (mark == MARK_CLOSE)
        block_close(load);
}

static void line_read(struct load *load, struct slice line)
{
    char reason[WORDS_REASON];
    int code = words_split(&load->words, line, !load->is_client, reason);
    if (code != 0) {
        report_add(&load->report, code, load->place, load->line, "%s", reason);
        return;
    }
    const struct word *word = load->words.word;
    unsigned count = load->words.count, first = 0;
    for (unsigned i = 0; i < count; i++) {
        enum mark mark = mark_of(load, &word[i]);
        if (mark == MARK_NONE)
            continue;
        statement(load, word + first, i - first, mark);
        first = i + 1;
    }
    if (count > first)
        statement(load, word + first, count - first, MARK_END);
}

static void text_read(struct load *load, struct slice text, bool is_file)
{
    bool numbered = is_file || memchr(text.data, '\n', text.size) != NULL;
    const uint8_t *at = text.data, *end = at + text.size;
    for (unsigned line = 1; at < end; line++) {
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
        const uint8_t *stop = newline != NULL ? newline : end;
        load->line = numbered ? line : 0;
        line_read(load, slice_of(at, (size_t)(stop - at)));
        at = newline != NULL ? newline + 1 : end;
    }
    if (load->depth > 0) {
        load->line = load->block_line;
        ERROR(load, "this block is not closed by a '}'");
    }
}

// ---- the whole

// Files with passwords are read where they stand, but count after everything else, so that the
// order of `store` and `password-file` does not matter.
static void secrets_apply(struct load *load)
{
    struct config *config = &load->config;
    struct secret_file *file = &load->requirepass_file;
    load->line = 0;
    if (load->requirepass_given && config->requirepass[0] != '\0' && file->path[0] != '\0') {
        ERROR(load, "requirepass and requirepass-file are both given: keep one");
        return;
    }
    if (file->given && (file->path[0] != '\0' || config->requirepass_file[0] != '\0'))
        if (!load->requirepass_given || file->path[0] != '\0')
            config_copy(config->requirepass, file->secret);
    if (file->given || load->requirepass_given)
        config_copy(config->requirepass_file, file->path);

    file = &load->password_file;
    if (load->store_given && config->store.password[0] != '\0' && file->path[0] != '\0') {
        ERROR(load, "the store's URL has a password and password-file is given: keep one");
        return;
    }
    if (file->given && (file->path[0] != '\0' || config->password_file[0] != '\0'))
        if (!load->store_given || file->path[0] != '\0')
            config_copy(config->store.password, file->secret);
    if (file->given || load->store_given)
        config_copy(config->password_file, file->path);
}

static struct load *load_begin(const struct config *config, const char *place,
                               char error[CONFIG_ERROR])
{
    struct load *load = calloc(1, sizeof(*load));
    if (load == NULL) {
        snprintf(error, CONFIG_ERROR, "%.200s: out of memory", place);
        return NULL;
    }
    load->config = *config;
    load->place = place;
    report_begin(&load->report, error);
    return load;
}

static int load_end(struct load *load, struct config *config)
{
    if (load->report.code == 0)
        secrets_apply(load);
    int code = report_end(&load->report);
    if (code == 0)
        *config = load->config;
    explicit_bzero(load, sizeof(*load));
    free(load);
    return code;
}

int config_load_text(struct config *config, const char *name, const char *text,
                     char error[CONFIG_ERROR])
{
    struct load *load = load_begin(config, name, error);
    if (load == NULL)
        return WEIR_ENOMEM;
    text_read(load, slice_str(text), false);
    return load_end(load, config);
}

static void set_text(struct load *load, const char *arguments)
{
    char *text;
    int size =
        asprintf(&text, "%s %s", load->only->shown.name, arguments[0] != '\0' ? arguments : "\"\"");
    if (size < 0) {
        report_add(&load->report, WEIR_ENOMEM, load->place, 0, "out of memory");
        return;
    }
    text_read(load, slice_of(text, (size_t)size), false);
    free(text);
}

int config_set(struct config *config, const char *name, const char *directive,
               const char *arguments, char error[CONFIG_ERROR])
{
    struct load *load = load_begin(config, name, error);
    if (load == NULL)
        return WEIR_ENOMEM;
    load->is_client = true;
    load->only = directive_known(load, directive);
    if (load->only != NULL && load->only->kind == &kind_secret) {
        // a password is taken as it is, but for what CONFIG GET shows when there is none
        struct word verbatim = {strcmp(arguments, "\"\"") == 0 ? "" : arguments, false};
        directive_apply(load, load->only, &load->config, &verbatim, 1);
    } else if (load->only != NULL) {
        set_text(load, arguments);
    }
    return load_end(load, config);
}

// Returns bytes read into `out`, or a negative code with its reason reported.
static ssize_t file_read(struct load *load, const char *path, char *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat about;
    if (fd < 0 || fstat(fd, &about) != 0) {
        int code = errno == ENOENT ? WEIR_ENOENT : WEIR_EIO;
        report_add(&load->report, code, path, 0, "cannot be read: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return code;
    }
    size_t used = 0;
    ssize_t got = 1;
    while (used <= FILE_BYTES && (got = read(fd, out + used, FILE_BYTES + 1 - used)) > 0)
        used += (size_t)got;
    int error = errno;
    close(fd);
    if (got < 0 || used > FILE_BYTES) {
        report_add(&load->report, WEIR_EIO, path, 0, "cannot be read: %s",
                   S_ISDIR(about.st_mode) ? "it is a directory"
                   : got < 0              ? strerror(error)
                                          : "larger than 1 MB");
        return WEIR_EIO;
    }
    return (ssize_t)used;
}

int config_load_file(struct config *config, const char *path, char error[CONFIG_ERROR])
{
    struct load *load = load_begin(config, path, error);
    if (load == NULL)
        return WEIR_ENOMEM;
    char *text = malloc(FILE_BYTES + 1);
    ssize_t size = -1;
    if (strlen(path) >= CONFIG_TEXT)
        report_add(&load->report, WEIR_ERANGE, path, 0, "the path is too long");
    else if (text == NULL)
        report_add(&load->report, WEIR_ENOMEM, path, 0, "out of memory");
    else
        size = file_read(load, path, text);
    if (size >= 0) {
        snprintf(load->config.file, CONFIG_TEXT, "%s", path);
        text_read(load, slice_of(text, (size_t)size), true);
        explicit_bzero(text, (size_t)size);
    }
    free(text);
    return load_end(load, config);
}
