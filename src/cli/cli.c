// The table of subcommands, and the one reader of options for all of them.
//
// getopt_long does the reading: its tables are made from ours for each call, its messages are
// replaced by ones that name the nearest option. Exit status: 0, 1 for what failed, 2 for a command
// line that was not understood. Rejected: argp, whose help and errors cannot be had as data for the
// manual page and the shells.
#include "cli/cli.h"
#include "config/suggest.h"
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 24 };

static const struct cli_command *const COMMANDS[] = {
    &cli_serve, &cli_check, &cli_stat, &cli_help, &cli_completion, &cli_man,
};
enum { COMMAND_COUNT = sizeof(COMMANDS) / sizeof(COMMANDS[0]) };

const struct cli_command *cli_command_at(unsigned index)
{
    return index < COMMAND_COUNT ? COMMANDS[index] : NULL;
}

const struct cli_command *cli_command(const char *name)
{
    for (unsigned i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(COMMANDS[i]->name, name) == 0)
            return COMMANDS[i];
    return NULL;
}

void cli_complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("weir: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

void cli_complain_unknown(const char *name)
{
    const char *best = NULL;
    for (unsigned i = 0; i < COMMAND_COUNT; i++)
        suggest_offer(name, COMMANDS[i]->name, &best);
    if (best != NULL)
        cli_complain("'%.60s' is not a command, did you mean '%s'?", name, best);
    else
        cli_complain("'%.60s' is not a command; `weir help` lists them", name);
}

// getopt's own tables, made from ours.
struct getopt_tables {
    struct option long_options[OPTIONS_MAX + 2];
    char letters[2 * OPTIONS_MAX + 8];
};

static void tables_fill(struct getopt_tables *tables, const struct cli_option *options)
{
    unsigned count = 0;
    char *letter = tables->letters;
    *letter++ = ':'; // a missing argument is told from an unknown option
    for (; options[count].name != NULL && count < OPTIONS_MAX; count++) {
        bool takes = options[count].argument != NULL;
        tables->long_options[count] = (struct option){
            options[count].name, takes ? required_argument : no_argument, NULL, 256 + (int)count};
        if (options[count].letter != '\0') {
            *letter++ = options[count].letter;
            if (takes)
                *letter++ = ':';
        }
    }
    tables->long_options[count] = (struct option){"help", no_argument, NULL, 'h'};
    tables->long_options[count + 1] = (struct option){0};
    memcpy(letter, "h", 2);
}

static const struct cli_option *option_of(const struct cli_option *options, int code)
{
    if (code >= 256)
        return &options[code - 256];
    for (; options->name != NULL; options++)
        if (options->letter == code)
            return options;
    return NULL;
}

static void complain_option(const struct cli_command *self, int code, char **argv)
{
    const char *word = argv[optind - 1];
    const char *best = NULL;
    char shown[64];
    if (optopt > 0 && optopt < 256 && strncmp(word, "--", 2) != 0)
        snprintf(shown, sizeof(shown), "-%c", optopt);
    else
        snprintf(shown, sizeof(shown), "%.60s", word);
    if (code == ':') {
        cli_complain("%s needs a value; see `weir help %s`", shown, self->name);
        return;
    }
    for (const struct cli_option *o = self->options; o->name != NULL; o++)
        if (strncmp(word, "--", 2) == 0)
            suggest_offer(word + 2, o->name, &best);
    if (best != NULL)
        cli_complain("%s knows no %s, did you mean --%s?", self->name, shown, best);
    else
        cli_complain("%s knows no %s; see `weir help %s`", self->name, shown, self->name);
}

int cli_parse(const struct cli_command *self, int argc, char **argv, cli_take *take, void *context)
{
    struct getopt_tables tables;
    tables_fill(&tables, self->options);
    opterr = 0;
    optind = 0; // glibc: begin anew
    int code;
    while ((code = getopt_long(argc, argv, tables.letters, tables.long_options, NULL)) != -1) {
        if (code == 'h') {
            cli_help_command(self, stdout);
            return -1;
        }
        const struct cli_option *option = option_of(self->options, code);
        if (code == '?' || code == ':' || option == NULL) {
            complain_option(self, code, argv);
            return CLI_USAGE;
        }
        if (take(context, option, optarg) != 0)
            return CLI_USAGE;
    }
    if ((unsigned)(argc - optind) > self->most) {
        cli_complain("'%.60s' is one argument too many; see `weir help %s`",
                     argv[optind + (int)self->most], self->name);
        return CLI_USAGE;
    }
    for (; optind < argc; optind++)
        if (take(context, NULL, argv[optind]) != 0)
            return CLI_USAGE;
    return 0;
}

int cli_main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "help";
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0 || strcmp(name, "-v") == 0) {
        printf("weir %s\n", WEIR_VERSION);
        return fflush(stdout) == 0 ? CLI_OK : CLI_FAILURE;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    const struct cli_command *command = cli_command(name);
    if (command == NULL) {
        cli_complain_unknown(name);
        return CLI_USAGE;
    }
    int skip = argc > 1;
    enum cli_status status = command->run(command, argc - skip, argv + skip);
    if (argc == 1)
        return CLI_USAGE;
    if (fflush(stdout) != 0 && status == CLI_OK)
        return CLI_FAILURE;
    return (int)status;
}
