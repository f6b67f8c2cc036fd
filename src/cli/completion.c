// weir completion bash|zsh: scripts for the shells, made from the tables of commands and
// directives.
//
// The scripts hold all words as text, so a completion starts no weir. They need nothing of the
// bash-completion package. Operands are files unless operand_values says otherwise; -o completes
// the names of directives.
#include "cli/cli.h"
#include <string.h>

static void words_print(const char *values) // "on|off" with blanks
{
    for (; *values != '\0'; values++)
        putchar(*values == '|' ? ' ' : *values);
}

static void commands_print(const char *separator)
{
    const struct cli_command *command;
    for (unsigned i = 0; (command = cli_command_at(i)) != NULL; i++)
        printf("%s%s", command->name, separator);
}

static void directives_print(void)
{
    unsigned count;
    const struct config_directive *d = config_directives(&count);
    for (unsigned i = 0; i < count; i++)
        printf("%s%s", i > 0 ? " " : "", d[i].name);
}

// What may stand as the first operand of `command`; NULL: a file.
static const char *operand_values(const struct cli_command *command)
{
    if (command == &cli_completion)
        return "bash|zsh";
    if (command == &cli_man)
        return "weir|weir.conf";
    return command->most == 0 || command == &cli_stat ? "" : NULL;
}

// ---- bash

static void bash_option_values(const struct cli_command *command, const struct cli_option *option)
{
    if (option->argument == NULL)
        return;
    printf("    \"%s --%s\"", command->name, option->name);
    if (option->letter != '\0')
        printf(" | \"%s -%c\"", command->name, option->letter);
    printf(") COMPREPLY=($(compgen -W \"");
    if (option->letter == 'o')
        directives_print();
    else if (option->values != NULL)
        words_print(option->values);
    printf("\" -- \"$cur\")); return ;;\n");
}

static void bash_command(const struct cli_command *command)
{
    printf("    %s) options=\"", command->name);
    for (const struct cli_option *o = command->options; o->name != NULL; o++)
        printf("--%s ", o->name);
    printf("--help\"");
    const char *values = operand_values(command);
    if (command == &cli_help) {
        printf(" files= operands=\"");
        commands_print(" ");
        printf("directives\"");
    } else if (values != NULL) {
        printf(" files= operands=\"");
        words_print(values);
        printf("\"");
    }
    printf(" ;;\n");
}

static void bash_print(void)
{
    printf("# bash completion for weir: source <(weir completion bash)\n"
           "_weir() {\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
           "    local command=${COMP_WORDS[1]} options= operands= files=yes\n"
           "    COMPREPLY=()\n"
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
           "        COMPREPLY=($(compgen -W \"");
    commands_print(" ");
    printf("--help --version\" -- \"$cur\"))\n"
           "        return\n"
           "    fi\n"
           "    case \"$command $prev\" in\n");
    const struct cli_command *command;
    for (unsigned i = 0; (command = cli_command_at(i)) != NULL; i++)
        for (const struct cli_option *o = command->options; o->name != NULL; o++)
            bash_option_values(command, o);
    printf("    esac\n"
           "    case \"$command\" in\n");
    for (unsigned i = 0; (command = cli_command_at(i)) != NULL; i++)
        bash_command(command);
    printf("    *) return ;;\n"
           "    esac\n"
           "    if [[ $cur == -* ]]; then\n"
           "        COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
           "    elif [ -n \"$files\" ]; then\n"
           "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
           "    else\n"
           "        COMPREPLY=($(compgen -W \"$operands\" -- \"$cur\"))\n"
           "    fi\n"
           "}\n"
           "complete -o filenames -F _weir weir\n");
}

// ---- zsh

// Inside of single quotes and of _arguments' [ ].
static void zsh_text(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            fputs("'\\''", stdout);
        else if (strchr("[]:\\", *text) != NULL)
            printf("\\%c", *text);
        else
            putchar(*text);
    }
}

static void zsh_option(const struct cli_option *option)
{
    printf("            ");
    const char *many = option->letter == 'o' || option->letter == 'l' ? "*" : "";
    if (option->letter != '\0' && many[0] == '\0')
        printf("'(-%c --%s)'", option->letter, option->name);
    if (option->letter != '\0')
        printf("{'%s-%c','%s--%s'}'[", many, option->letter, many, option->name);
    else
        printf("'--%s[", option->name);
    zsh_text(option->doc);
    printf("]");
    if (option->argument != NULL) {
        printf(":%s:", option->name);
        if (option->letter == 'o') {
            printf("(");
            directives_print();
            printf(")");
        } else if (option->values != NULL) {
            printf("(");
            words_print(option->values);
            printf(")");
        }
    }
    printf("' \\\n");
}

static void zsh_command(const struct cli_command *command)
{
    printf("        %s)\n            _arguments \\\n", command->name);
    for (const struct cli_option *o = command->options; o->name != NULL; o++)
        zsh_option(o);
    printf("            '(-h --help)'{-h,--help}'[explain this command]'");
    const char *values = operand_values(command);
    if (command == &cli_help) {
        printf(" \\\n            '1:topic:(");
        commands_print(" ");
        printf("directives)'");
    } else if (values == NULL) {
        printf(" \\\n            '1:file:_files'");
    } else if (values[0] != '\0') {
        printf(" \\\n            '1:what:(");
        words_print(values);
        printf(")'");
    }
    printf(" ;;\n");
}

static void zsh_print(void)
{
    printf("#compdef weir\n"
           "# zsh completion for weir: weir completion zsh > a directory of $fpath, as _weir\n"
           "_weir() {\n"
           "    local -a commands\n"
           "    commands=(\n");
    const struct cli_command *command;
    for (unsigned i = 0; (command = cli_command_at(i)) != NULL; i++) {
        printf("        '%s:", command->name);
        zsh_text(command->summary);
        printf("'\n");
    }
    printf("    )\n"
           "    if (( CURRENT == 2 )); then\n"
           "        _describe -t commands command commands\n"
           "        return\n"
           "    fi\n"
           "    shift words\n"
           "    (( CURRENT-- ))\n"
           "    case $words[1] in\n");
    for (unsigned i = 0; (command = cli_command_at(i)) != NULL; i++)
        zsh_command(command);
    printf("    esac\n"
           "}\n"
           "if [ \"$funcstack[1]\" = _weir ]; then _weir \"$@\"; else compdef _weir weir; fi\n");
}

static int take(void *context, const struct cli_option *option, const char *value)
{
    if (option == NULL)
        *(const char **)context = value;
    return 0;
}

static enum cli_status run(const struct cli_command *self, int argc, char **argv)
{
    const char *shell = "";
    int code = cli_parse(self, argc, argv, take, &shell);
    if (code != 0)
        return code < 0 ? CLI_OK : CLI_USAGE;
    if (strcmp(shell, "bash") == 0) {
        bash_print();
    } else if (strcmp(shell, "zsh") == 0) {
        zsh_print();
    } else {
        cli_complain("completion is for bash or zsh: weir completion bash");
        return CLI_USAGE;
    }
    return CLI_OK;
}

static const struct cli_option NO_OPTIONS[] = {{0}};
const struct cli_command cli_completion = {
    "completion",
    "bash|zsh",
    "print the completion script of a shell",
    "Prints a script that completes weir's commands, options and directives. For bash: `source "
    "<(weir completion bash)` in ~/.bashrc. For zsh: `source <(weir completion zsh)` in ~/.zshrc, "
    "behind compinit.",
    1,
    NO_OPTIONS,
    run};
