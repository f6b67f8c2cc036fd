// weir help [COMMAND|directives]: everything said here comes from the tables.
#include "cli/cli.h"
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 96, INDENT = 6 };

// `text` in lines of at most WIDTH, each behind `indent` blanks.
static void wrap(FILE *out, const char *text, int indent)
{
    int column = 0;
    while (*text != '\0') {
        int size = (int)strcspn(text, " ");
        if (column > 0 && indent + column + 1 + size > WIDTH) {
            fputc('\n', out);
            column = 0;
        }
        if (column == 0)
            fprintf(out, "%*s", indent, "");
        else
            column += fputc(' ', out) == ' ';
        fprintf(out, "%.*s", size, text);
        column += size;
        text += size + (text[size] == ' ');
    }
    fputc('\n', out);
}

void cli_help_command(const struct cli_command *command, FILE *out)
{
    fprintf(out, "usage: weir %s%s%s%s\n\n", command->name,
            command->options[0].name != NULL ? " [OPTION]…" : "",
            command->operands[0] != '\0' ? " " : "", command->operands);
    wrap(out, command->text, 0);
    fputs("\noptions:\n", out);
    for (const struct cli_option *o = command->options; o->name != NULL; o++) {
        char letter[8] = "    ";
        if (o->letter != '\0')
            snprintf(letter, sizeof(letter), "-%c, ", o->letter);
        fprintf(out, "  %s--%s%s%s\n", letter, o->name, o->argument != NULL ? " " : "",
                o->argument != NULL ? o->argument : "");
        wrap(out, o->doc, INDENT + 4);
    }
    fputs("  -h, --help\n", out);
    wrap(out, "This text.", INDENT + 4);
}

static void help_commands(FILE *out)
{
    fputs("weir: a caching proxy for Redis\n\nusage: weir COMMAND …\n\n", out);
    const struct cli_command *command;
    for (unsigned i = 0; (command = cli_command_at(i)) != NULL; i++)
        fprintf(out, "  %-12s%s\n", command->name, command->summary);
    fputs(
        "\n`weir help COMMAND` says more, `weir help directives` lists what a configuration file\n"
        "knows. To begin: `weir serve`, or `weir serve --store redis://host:6379`.\n",
        out);
}

static void help_directive(const struct config_directive *d, const char *value, FILE *out)
{
    fprintf(out, "  %s %s\n", d->name, d->arguments);
    wrap(out, d->doc, INDENT);
    if (value[0] != '\0' && strcmp(value, "\"\"") != 0)
        fprintf(out, "%*sdefault: %s%s\n", INDENT, "", value, d->live ? "" : " · needs a restart");
    else if (!d->live)
        fprintf(out, "%*sneeds a restart\n", INDENT, "");
}

static void help_directives(FILE *out)
{
    fputs("Directives of a configuration file, of `-o 'DIRECTIVE …'` and, as weir-DIRECTIVE, of\n"
          "CONFIG GET and CONFIG SET. Those that need a restart are marked; the others follow HUP\n"
          "and CONFIG SET at once.\n\n",
          out);
    struct config *config = malloc(sizeof(*config));
    if (config == NULL)
        return;
    config_defaults(config);
    unsigned count;
    const struct config_directive *d = config_directives(&count);
    for (unsigned i = 0; i < count; i++) {
        char value[CONFIG_TEXT] = "";
        config_get(config, d[i].name, value, sizeof(value));
        help_directive(&d[i], value, out);
    }
    free(config);
    fputs("\nInside of a `cache [PREFIX…] { … }` block:\n\n", out);
    d = config_cache_directives(&count);
    for (unsigned i = 0; i < count; i++)
        help_directive(&d[i], "", out);
    fputs(
        "\nSizes: 1k = 1000, 1kb = 1024, mb, gb, tb. Times: 500ms, 10s, 5m, 1h; bare numbers are\n"
        "seconds. ${NAME} is replaced by the environment. `man weir.conf` has examples.\n",
        out);
}

static int take(void *context, const struct cli_option *option, const char *value)
{
    if (option == NULL)
        *(const char **)context = value;
    return 0;
}

static enum cli_status run(const struct cli_command *self, int argc, char **argv)
{
    const char *topic = NULL;
    int code = cli_parse(self, argc, argv, take, &topic);
    if (code != 0)
        return code < 0 ? CLI_OK : CLI_USAGE;
    if (topic == NULL) {
        help_commands(stdout);
        return CLI_OK;
    }
    if (strcmp(topic, "directives") == 0) {
        help_directives(stdout);
        return CLI_OK;
    }
    const struct cli_command *command = cli_command(topic);
    if (command == NULL) {
        cli_complain_unknown(topic);
        return CLI_USAGE;
    }
    cli_help_command(command, stdout);
    return CLI_OK;
}

static const struct cli_option NO_OPTIONS[] = {{0}};
const struct cli_command cli_help = {
    "help",
    "[COMMAND|directives]",
    "explain a command, or list what a configuration file knows",
    "Explains a command; `directives` lists everything a configuration file may hold.",
    1,
    NO_OPTIONS,
    run};
