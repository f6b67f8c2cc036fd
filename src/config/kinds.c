// Kinds of value that are words: switches, levels, paths, secrets, addresses, the store. Numbers
// are in numbers.c, what stands in cache blocks in rule.c.
//
// Secrets: a print without `reveal` shows "***" for a password, and "***" is refused when it is
// read back, so that a saved CONFIG GET never becomes a password by accident. A secret that came
// from a file is printed as its path only.
#include "base/err.h"
#include "config/address.h"
#include "config/load.h"
#include "config/value.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

static char *field_text(const struct setting *setting)
{
    return (char *)setting->owner + setting->directive->field;
}

static int text_set(const struct setting *setting, const char *value)
{
    if (strlen(value) >= CONFIG_TEXT)
        return setting_refuse(setting, "longer than %d bytes", CONFIG_TEXT - 1);
    config_copy(field_text(setting), value);
    return 0;
}

static void text_show(const struct directive *d, const void *owner, bool reveal, struct print *text)
{
    (void)reveal;
    print_word(text, (const char *)owner + d->field);
}

static int bool_read(const struct setting *setting)
{
    const char *text = setting->argument[0].text;
    if (value_bool_parse(text, (bool *)field_text(setting)) != 0)
        return setting_refuse(setting, "'%.40s' is neither yes nor no", text);
    return 0;
}

static void bool_show(const struct directive *d, const void *owner, bool reveal, struct print *text)
{
    (void)reveal;
    print_add(text, *((const bool *)((const char *)owner + d->field)) ? "yes" : "no");
}

const struct kind kind_bool = {1, bool_read, bool_show};

static int admin_read(const struct setting *setting)
{
    const char *text = setting->argument[0].text;
    if (strcasecmp(text, "allow") != 0 && strcasecmp(text, "deny") != 0)
        return bool_read(setting);
    *(bool *)field_text(setting) = strcasecmp(text, "allow") == 0;
    return 0;
}

const struct kind kind_admin = {1, admin_read, bool_show};

static const struct {
    const char *name;
    enum log_level level;
} LEVELS[] = {
    {"debug", LOG_DEBUG},   {"info", LOG_INFO},   {"warn", LOG_WARN},    {"error", LOG_ERROR},
    {"verbose", LOG_DEBUG}, {"notice", LOG_INFO}, {"warning", LOG_WARN},
};

static int level_read(const struct setting *setting)
{
    const char *text = setting->argument[0].text;
    for (size_t i = 0; i < sizeof(LEVELS) / sizeof(LEVELS[0]); i++) {
        if (strcasecmp(text, LEVELS[i].name) == 0) {
            *(enum log_level *)field_text(setting) = LEVELS[i].level;
            return 0;
        }
    }
    return setting_refuse(setting, "'%.40s' is none of debug, info, warn, error", text);
}

static void level_show(const struct directive *d, const void *owner, bool reveal,
                       struct print *text)
{
    (void)reveal;
    enum log_level level = *(const enum log_level *)((const char *)owner + d->field);
    for (size_t i = 0; i < 4; i++)
        if (LEVELS[i].level == level)
            print_add(text, "%s", LEVELS[i].name);
}

const struct kind kind_level = {1, level_read, level_show};

static int path_read(const struct setting *setting)
{
    const char *text = setting->argument[0].text;
    return text_set(setting, text[0] == '\0' ? "stderr" : text); // logfile "" is Redis's default
}

const struct kind kind_path = {1, path_read, text_show};

static int address_read(const struct setting *setting)
{
    const char *text = setting->argument[0].text;
    if (strcasecmp(text, "off") == 0 || strcasecmp(text, "no") == 0)
        return text_set(setting, "off");
    char address[CONFIG_TEXT];
    int code = address_parse(text, ADDRESS_LISTEN, address, setting->reason);
    return code != 0 ? code : text_set(setting, address);
}

const struct kind kind_address = {1, address_read, text_show};

// The first listen of a load replaces what was there before: the default, or what the file says
// when flags follow it.
static int listen_read(const struct setting *setting)
{
    struct config *config = setting->owner;
    struct load *load = setting->load;
    if (load == NULL || !load->listen_given)
        config->listens = 0;
    if (load != NULL)
        load->listen_given = true;
    for (unsigned i = 0; i < setting->count; i++) {
        char address[CONFIG_TEXT];
        int code =
            address_parse(setting->argument[i].text, ADDRESS_LISTEN, address, setting->reason);
        if (code != 0)
            return code;
        if (config->listens == CONFIG_LISTENERS)
            return setting_refuse(setting, "more than %d addresses", CONFIG_LISTENERS);
        config_copy(config->listen[config->listens++].address, address);
    }
    return 0;
}

static void listen_show(const struct directive *d, const void *owner, bool reveal,
                        struct print *text)
{
    (void)d;
    (void)reveal;
    const struct config *config = owner;
    for (unsigned i = 0; i < config->listens; i++) {
        print_add(text, "%s", i > 0 ? " " : "");
        print_word(text, config->listen[i].address);
    }
}

const struct kind kind_listen = {0, listen_read, listen_show};

static int store_read(const struct setting *setting)
{
    struct config *config = setting->owner;
    const char *text = setting->argument[0].text;
    struct config_store store = {0};
    if (text[0] != '\0') { // "" goes back to a private redis-server
        int code = store_url_parse(text, &store, setting->reason);
        if (code != 0)
            return code;
    }
    config->store = store;
    config->store_set = text[0] != '\0';
    setting->load->store_given = true;
    return 0;
}

static void store_show(const struct directive *d, const void *owner, bool reveal,
                       struct print *text)
{
    (void)d;
    const struct config *config = owner;
    char url[4 * CONFIG_TEXT] = "";
    struct print shown = {url, sizeof(url), 0};
    if (config->store_set)
        store_url_print(&config->store,
                        config->password_file[0] != '\0' ? STORE_NAME
                        : reveal                         ? STORE_REVEALED
                                                         : STORE_MASKED,
                        &shown);
    print_word(text, url);
}

const struct kind kind_store = {1, store_read, store_show};

static int secret_read(const struct setting *setting)
{
    const char *text = setting->argument[0].text;
    if (strcmp(text, "***") == 0)
        return setting_refuse(setting, "'***' stands for a password that was not shown: write the "
                                       "password itself");
    setting->load->requirepass_given = true;
    return text_set(setting, text);
}

static void secret_show(const struct directive *d, const void *owner, bool reveal,
                        struct print *text)
{
    const struct config *config = owner;
    const char *secret = (const char *)owner + d->field;
    bool from_file = config->requirepass_file[0] != '\0';
    print_word(text, from_file || secret[0] == '\0' ? "" : reveal ? secret : "***");
}

const struct kind kind_secret = {1, secret_read, secret_show};

// The first line of the file. O_NONBLOCK, so that a pipe without a writer cannot hang a reload.
static int secret_file_load(const struct setting *setting, struct secret_file *out)
{
    const char *path = setting->argument[0].text;
    if (setting->load->is_client)
        return setting_refuse(setting, "a file is named in the configuration file only");
    if (strlen(path) >= CONFIG_TEXT)
        return setting_refuse(setting, "longer than %d bytes", CONFIG_TEXT - 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return setting_refuse(setting, "cannot read %.120s: %s", path, strerror(errno));
    char line[CONFIG_TEXT + 1];
    ssize_t size = read(fd, line, sizeof(line));
    int error = errno;
    close(fd);
    if (size < 0)
        return setting_refuse(setting, "cannot read %.120s: %s", path, strerror(error));
    const char *newline = memchr(line, '\n', (size_t)size);
    size_t length = newline != NULL ? (size_t)(newline - line) : (size_t)size;
    if (length > 0 && line[length - 1] == '\r')
        length--;
    if (length == 0 || length >= CONFIG_TEXT || memchr(line, '\0', length) != NULL)
        return setting_refuse(setting,
                              "the first line of %.120s must be a password of 1 to %d "
                              "bytes",
                              path, CONFIG_TEXT - 1);
    memcpy(out->secret, line, length);
    out->secret[length] = '\0';
    config_copy(out->path, path);
    return 0;
}

static int secret_file_read(const struct setting *setting, struct secret_file *out)
{
    int code = 0;
    if (setting->argument[0].text[0] != '\0')
        code = secret_file_load(setting, out);
    if (code == 0)
        out->given = true;
    return code;
}

static int requirepass_file_read(const struct setting *setting)
{
    return secret_file_read(setting, &setting->load->requirepass_file);
}

static int password_file_read(const struct setting *setting)
{
    return secret_file_read(setting, &setting->load->password_file);
}

const struct kind kind_requirepass_file = {1, requirepass_file_read, text_show};
const struct kind kind_password_file = {1, password_file_read, text_show};
