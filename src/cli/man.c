// weir man: the manual pages in roff. What can change with the program comes from its tables; man/
// holds the printed pages, and a test compares them with this.
//
// Only macros of man(7) are used, so man-db, mandoc and groff all read the pages. All text passes
// roff(), which alone knows what has to be escaped.
#include "cli/cli.h"
#include <stdlib.h>
#include <string.h>

// Text for roff: '-' and '\' are escaped, a line cannot begin a request, '…' and the like pass as
// they are (UTF-8, as man-db reads it).
static void roff(const char *text)
{
    bool begins = true;
    for (; *text != '\0'; text++) {
        if (begins && (*text == '.' || *text == '\''))
            fputs("\\&", stdout);
        begins = *text == '\n';
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
    }
}

static void paragraph(const char *text)
{
    printf(".PP\n");
    roff(text);
    printf("\n");
}

static void section(const char *name)
{
    printf(".SH %s\n", name);
}

static void example(const char *lines)
{
    printf(".PP\n.nf\n.RS 4\n");
    roff(lines);
    printf(".RE\n.fi\n");
}

// An entry: the tag bold, the argument in italics, both quoted as arguments of .BI.
static void tagged(const char *tag, const char *argument, const char *text)
{
    printf(".TP\n.BI \"");
    roff(tag);
    if (argument[0] != '\0') {
        printf(" \" \"");
        roff(argument);
    }
    printf("\"\n");
    roff(text);
    printf("\n");
}

// ---- weir(1)

static void command_section(const struct cli_command *command)
{
    printf(".SS \"weir %s\"\n\\fBweir %s\\fR", command->name, command->name);
    if (command->options[0].name != NULL)
        printf(" [\\fIOPTION\\fR]…");
    printf(" ");
    roff(command->operands);
    printf("\n");
    paragraph(command->text);
    for (const struct cli_option *o = command->options; o->name != NULL; o++) {
        char tag[80];
        if (o->letter != '\0')
            snprintf(tag, sizeof(tag), "-%c, --%s", o->letter, o->name);
        else
            snprintf(tag, sizeof(tag), "--%s", o->name);
        tagged(tag, o->argument != NULL ? o->argument : "", o->doc);
    }
}

static void page_weir(void)
{
    printf(".TH WEIR 1 \"\" \"weir %s\"\n", WEIR_VERSION);
    section("NAME");
    printf("weir \\- a caching proxy for Redis\n");
    section("SYNOPSIS");
    printf("\\fBweir\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR]… [\\fIARGUMENT\\fR]…\n");
    section("DESCRIPTION");
    roff(
        "weir stands in front of a Redis server and answers reads of hot keys from its own memory. "
        "The store itself tells it what changed, so a hit is never older than a stated bound; and "
        "the limit on its memory is a limit on the whole process.\n");
    section("COMMANDS");
    const struct cli_command *command;
    for (unsigned i = 0; (command = cli_command_at(i)) != NULL; i++)
        command_section(command);
    section("SIGNALS");
    tagged("TERM", "",
           "Stops accepting, lets requests under way finish for drain-timeout at most, "
           "then ends. A second TERM ends at once.");
    tagged("INT", "", "Ends at once.");
    tagged("HUP", "",
           "Reads the configuration again and opens the log file again. A configuration "
           "with an error is refused as a whole; the log says why. Changes that need a "
           "restart are named in the log.");
    section("EXIT STATUS");
    tagged("0", "", "All went well.");
    tagged("1", "", "Something failed; a sentence on standard error says what.");
    tagged("2", "", "The command line was not understood.");
    section("ENVIRONMENT");
    tagged("XDG_RUNTIME_DIR, TMPDIR", "",
           "Where the private redis-server's socket is made; /tmp "
           "otherwise.");
    tagged("PATH", "", "Where redis-server is looked for when no store is named.");
    tagged("REDISCLI_AUTH", "", "The password weir stat gives.");
    section("EXAMPLES");
    paragraph("To try it, with a private redis-server behind it:");
    example("weir serve\nredis-cli -p 6380 set greeting hello\nweir stat\n");
    paragraph("In front of an existing server, without writing its password on the command line:");
    example("weir serve --store 'redis://:${REDIS_PASSWORD}@cache.example:6379' --memory 1gb\n");
    section("SEE ALSO");
    printf("\\fBweir.conf\\fR(5), \\fBredis-cli\\fR(1), \\fBredis-server\\fR(1)\n");
}

// ---- weir.conf(5)

static void directives_section(const struct config_directive *d, unsigned count,
                               const struct config *defaults)
{
    for (unsigned i = 0; i < count; i++) {
        tagged(d[i].name, d[i].arguments, d[i].doc);
        char value[CONFIG_TEXT] = "";
        if (defaults == NULL)
            continue;
        config_get(defaults, d[i].name, value, sizeof(value));
        if (value[0] != '\0' && strcmp(value, "\"\"") != 0) {
            printf("Default: ");
            roff(value);
            printf(".\n");
        }
        if (!d[i].live)
            printf("Needs a restart.\n");
    }
}

static void page_grammar(void)
{
    roff(
        "A line holds a directive and its arguments, as in redis.conf. Words stand between blanks. "
        "In \"double quotes\" \\n, \\r, \\t, \\\", \\\\ and \\xHH have their usual meaning; in "
        "'single quotes' only \\' has one. A # at the start of a word begins a comment. ${NAME} is "
        "replaced by the environment, except in single quotes; a variable that is not set is an "
        "error. A { at the end of a line opens a block, a line } closes it; on one line, "
        "directives of a block stand between { and }, separated by a ; with blanks around it.\n");
    paragraph(
        "Sizes: 100, 1k = 1000, 1kb = 1024, and likewise m mb g gb tb. Times: 500ms, 10s, 5m, "
        "1h, 1d; a bare number is in seconds. Switches: yes, no, on, off.");
    paragraph("A file is taken as a whole or refused as a whole; `weir check FILE` says what is "
              "wrong with it. A directive that stands twice is an error, except listen and cache. "
              "Options of `weir serve` count more than the file.");
    paragraph("Clients on the same machine can ask and change directives with CONFIG GET weir-NAME "
              "and CONFIG SET weir-NAME VALUE. Passwords are never shown: *** stands for them.");
}

static void page_weir_conf(void)
{
    struct config *defaults = malloc(sizeof(*defaults));
    if (defaults == NULL)
        return;
    config_defaults(defaults);
    unsigned count;
    printf(".TH WEIR.CONF 5 \"\" \"weir %s\"\n", WEIR_VERSION);
    section("NAME");
    printf("weir.conf \\- configuration of weir\n");
    section("DESCRIPTION");
    page_grammar();
    section("DIRECTIVES");
    const struct config_directive *d = config_directives(&count);
    directives_section(d, count, defaults);
    free(defaults);
    section("\"CACHE BLOCKS\"");
    roff(
        "A cache block holds rules for the keys that begin with one of its prefixes, or, without a "
        "prefix, for all keys no other block is for. What a block leaves out it takes from that "
        "default block, wherever it stands. The same prefixes again change that block.\n");
    d = config_cache_directives(&count);
    directives_section(d, count, NULL);
    section("\"STORE URLS\"");
    tagged("redis://", "[user[:password]@]host[:port][/db]",
           "A Redis server over TCP; port 6379 and database 0 if not given. In user and password, "
           "special characters are percent-encoded: %40 is @.");
    tagged("unix:", "/path",
           "A Redis server on a Unix socket. "
           "unix://user:password@/path?db=3 gives the rest.");
    section("EXAMPLE");
    example("listen 127.0.0.1:6380\n"
            "listen unix:/run/weir/weir.sock\n"
            "store redis://cache.example:6379\n"
            "password-file /etc/weir/store-password\n"
            "memory 2gb\n"
            "cache {\n"
            "    max-stale 500ms\n"
            "}\n"
            "cache session: user: {\n"
            "    max-ttl 30s\n"
            "    commands get mget hgetall\n"
            "}\n"
            "cache lock: {\n"
            "    enabled no\n"
            "}\n");
    section("\"SEE ALSO\"");
    printf("\\fBweir\\fR(1)\n");
}

static int take(void *context, const struct cli_option *option, const char *value)
{
    if (option == NULL)
        *(const char **)context = value;
    return 0;
}

static enum cli_status run(const struct cli_command *self, int argc, char **argv)
{
    const char *page = "weir";
    int code = cli_parse(self, argc, argv, take, &page);
    if (code != 0)
        return code < 0 ? CLI_OK : CLI_USAGE;
    if (strcmp(page, "weir") == 0) {
        page_weir();
    } else if (strcmp(page, "weir.conf") == 0) {
        page_weir_conf();
    } else {
        cli_complain("there is no page '%.40s'; there are weir and weir.conf", page);
        return CLI_USAGE;
    }
    return CLI_OK;
}

static const struct cli_option NO_OPTIONS[] = {{0}};
const struct cli_command cli_man = {
    "man",
    "[weir|weir.conf]",
    "print a manual page",
    "Prints a manual page in roff, where the pages are not installed: `weir man weir.conf | man -l "
    "-`.",
    1,
    NO_OPTIONS,
    run};
