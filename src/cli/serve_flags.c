// The flags of `weir serve` as texts of directives, so that one parser reads them and the file.
// The same flag again adds a line to its text: `--listen A --listen B` listens on both.
#include "base/err.h"
#include "cli/serve.h"
#include <stdlib.h>
#include <string.h>

// A flag's value is one word, whatever is in it; ${ENV} still counts.
static char *directive_line(const char *directive, const char *value)
{
    char *line = malloc(strlen(directive) + 2 * strlen(value) + 4);
    if (line == NULL)
        return NULL;
    char *to = stpcpy(stpcpy(line, directive), " \"");
    for (; *value != '\0'; value++) {
        if (*value == '"' || *value == '\\')
            *to++ = '\\';
        *to++ = *value;
    }
    memcpy(to, "\"", 2);
    return line;
}

static struct flag *flag_find(struct serve_flags *flags, const char *place)
{
    for (unsigned i = 0; i < flags->count; i++)
        if (strcmp(flags->flag[i].place, place) == 0)
            return &flags->flag[i];
    if (flags->count == FLAGS_MAX)
        return NULL;
    struct flag *flag = &flags->flag[flags->count++];
    snprintf(flag->place, sizeof(flag->place), "%s", place);
    return flag;
}

static int flag_add(struct serve_flags *flags, const char *place, char *line)
{
    struct flag *flag = flag_find(flags, place);
    if (flag == NULL || line == NULL) {
        free(line);
        return CLI_FAILURE;
    }
    if (flag->text == NULL) {
        flag->text = line;
        return 0;
    }
    char *both;
    int size = asprintf(&both, "%s\n%s", flag->text, line);
    free(line);
    if (size < 0)
        return CLI_FAILURE;
    free(flag->text);
    flag->text = both;
    return 0;
}

int serve_flags_take(void *context, const struct cli_option *option, const char *value)
{
    struct serve_flags *flags = context;
    if (option == NULL) {
        flags->file = value;
        return 0;
    }
    if (strcmp(option->name, "check") == 0) {
        flags->check = true;
        return 0;
    }
    if (option->letter == 'o')
        return flag_add(flags, "-o", strdup(value));
    char place[32];
    snprintf(place, sizeof(place), "--%s", option->name);
    return flag_add(flags, place, directive_line(option->name, value));
}

void serve_flags_free(struct serve_flags *flags)
{
    for (unsigned i = 0; i < flags->count; i++)
        free(flags->flag[i].text);
    *flags = (struct serve_flags){0};
}

int serve_flags_load(const struct serve_flags *flags, struct config *out, char error[CONFIG_ERROR])
{
    struct config *config = malloc(sizeof(*config));
    if (config == NULL) {
        snprintf(error, CONFIG_ERROR, "out of memory");
        return WEIR_ENOMEM;
    }
    config_defaults(config);
    int code = flags->file != NULL ? config_load_file(config, flags->file, error) : 0;
    for (unsigned i = 0; i < flags->count && code == 0; i++)
        code = config_load_text(config, flags->flag[i].place, flags->flag[i].text, error);
    if (code == 0)
        code = config_finish(config, error);
    if (code == 0)
        *out = *config;
    explicit_bzero(config, sizeof(*config));
    free(config);
    return code;
}
