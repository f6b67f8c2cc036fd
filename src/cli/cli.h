#pragma once
// The command line: one table of subcommands and their options drives parsing, help, the man page
// and completion. One file for each subcommand.
#include "config/config.h"
#include <stdio.h>

enum cli_status { CLI_OK = 0, CLI_FAILURE = 1, CLI_USAGE = 2 };

struct cli_option {
    char letter; // '\0': none
    const char *name;
    const char *argument; // NULL: a switch
    const char *doc;
    const char *values; // the only values it takes, separated by '|', or NULL
};

struct cli_command {
    const char *name;
    const char *operands;             // as shown: "[FILE]"
    const char *summary;              // a line
    const char *text;                 // a paragraph for help and the man page
    unsigned most;                    // operands
    const struct cli_option *options; // ends with a NULL name; --help is always understood
    enum cli_status (*run)(const struct cli_command *self, int argc, char **argv);
};

// argv[0] is "weir". Returns the exit status.
int cli_main(int argc, char **argv);

const struct cli_command *cli_command_at(unsigned index); // NULL behind the last
const struct cli_command *cli_command(const char *name);  // or NULL
// Says that there is no such subcommand, and which one is near.
void cli_complain_unknown(const char *name);

// Reads the options of `self` and hands each to `take`, operands with option NULL. `take` returns
// 0, or an error after having said it. Returns 0, CLI_USAGE after saying what is wrong, or -1 when
// help was asked for and printed.
typedef int cli_take(void *context, const struct cli_option *option, const char *value);
int cli_parse(const struct cli_command *self, int argc, char **argv, cli_take *take, void *context);
// "weir: " message to stderr.
__attribute__((format(printf, 1, 2))) void cli_complain(const char *format, ...);

extern const struct cli_command cli_serve, cli_check, cli_stat, cli_help, cli_completion, cli_man;

void cli_help_command(const struct cli_command *command, FILE *out);
