// weir check FILE: is this configuration right?
#include "cli/cli.h"
#include <stdlib.h>

static int take(void *context, const struct cli_option *option, const char *value)
{
    if (option == NULL)
        *(const char **)context = value;
    return 0;
}

static enum cli_status run(const struct cli_command *self, int argc, char **argv)
{
    const char *path = NULL;
    int code = cli_parse(self, argc, argv, take, &path);
    if (code != 0)
        return code < 0 ? CLI_OK : CLI_USAGE;
    if (path == NULL) {
        cli_complain("check needs a file: weir check /etc/weir/weir.conf");
        return CLI_USAGE;
    }
    struct config *config = malloc(sizeof(*config));
    char error[CONFIG_ERROR] = "out of memory";
    bool right = false;
    if (config != NULL) {
        config_defaults(config);
        right = config_load_file(config, path, error) == 0 && config_finish(config, error) == 0;
    }
    free(config);
    if (right)
        printf("%s: ok\n", path);
    else
        fprintf(stderr, "%s\n", error);
    return right ? CLI_OK : CLI_FAILURE;
}

static const struct cli_option NO_OPTIONS[] = {{0}};
const struct cli_command cli_check = {
    "check",
    "FILE",
    "say whether a configuration file is right",
    "Reads a configuration file as `weir serve` would and prints what is wrong with it, each error "
    "with its line. Nothing is started. The exit status is 1 when something is wrong.",
    1,
    NO_OPTIONS,
    run};
