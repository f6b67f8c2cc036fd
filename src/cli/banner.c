#include "cli/banner.h"
#include <stdlib.h>
#include <unistd.h>

// How redis-cli is told to connect to `address`: "-p 6380", "-h host -p 6380", "-s /path".
static void redis_cli_options(const char *address, char *out, size_t room)
{
    const char *colon = strrchr(address, ':');
    int host = colon != NULL ? (int)(colon - address) : 0;
    if (strncmp(address, "unix:", 5) == 0)
        snprintf(out, room, "-s %s", address + 5);
    else if (strncmp(address, "127.0.0.1:", 10) == 0 || strncmp(address, "0.0.0.0:", 8) == 0)
        snprintf(out, room, "-p %s", colon + 1);
    else if (address[0] == '[')
        snprintf(out, room, "-h %.*s -p %s", host - 2, address + 1, colon + 1);
    else
        snprintf(out, room, "-h %.*s -p %s", host, address, colon != NULL ? colon + 1 : "6380");
}

// The first address listened on; with port 0, the port the kernel gave.
static void first_listen(struct proxy *proxy, const struct config *config, char out[CONFIG_TEXT])
{
    const char *address = config->listen[0].address;
    size_t size = strlen(address);
    struct stats *stats = calloc(1, sizeof(*stats));
    snprintf(out, CONFIG_TEXT, "%s", address);
    if (stats != NULL && size > 2 && strcmp(address + size - 2, ":0") == 0) {
        proxy_stats(proxy, stats);
        if (stats->listen[0] != '\0')
            snprintf(out, CONFIG_TEXT, "%.*s", (int)strcspn(stats->listen, ", "), stats->listen);
    }
    free(stats);
}

void banner_print(FILE *out, struct proxy *proxy, const struct config *config,
                  const struct private_store *store)
{
    char listen[CONFIG_TEXT], client[CONFIG_TEXT + 32], memory[32];
    first_listen(proxy, config, listen);
    redis_cli_options(listen, client, sizeof(client));
    config_get(config, "memory", memory, sizeof(memory));
    fprintf(out, "weir %s on %s", WEIR_VERSION, listen);
    for (unsigned i = 1; i < config->listens; i++)
        fprintf(out, ", %s", config->listen[i].address);
    unsigned threads = proxy_threads(proxy);
    fprintf(out, ": cache %s, memory %s, %u thread%s\n", config->cache ? "on" : "off", memory,
            threads, threads == 1 ? "" : "s");
    if (store != NULL)
        fprintf(out,
                "  store  a private redis-server was started (pid %d); it saves nothing and "
                "ends with weir\n",
                store->pid);
    else
        fprintf(out, "  store  %s\n", config->store.name);
    fprintf(out, "  try    redis-cli %s set greeting hello; redis-cli %s get greeting\n", client,
            client);
    if (strcmp(listen, "127.0.0.1:6380") == 0)
        fprintf(out, "  watch  weir stat\n");
    else
        fprintf(out, "  watch  weir stat %s\n", listen);
    if (strncmp(config->admin, "unix:", 5) == 0)
        fprintf(out, "  page   %s\n", config->admin);
    else if (strcmp(config->admin, "off") != 0)
        fprintf(out, "  page   http://%s/\n", config->admin);
    fprintf(out, "  stop   Ctrl-C, or kill %d to let requests under way finish first\n", getpid());
    fflush(out);
}
