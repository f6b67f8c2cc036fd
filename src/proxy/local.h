#pragma once
// What weir answers itself: everything that concerns the connection (HELLO, AUTH, CLIENT, SELECT,
// RESET, QUIT), its own directives (CONFIG GET/SET weir-…) and its own commands (WEIR …).
#include "proxy/request.h"

enum request_verdict local_start(struct client *client, const struct parsed *parsed);
// INFO's reply with the # Weir section added. False: the request asked for a section that excludes it.
bool local_add_info(struct client *client, const struct request *request, struct slice reply);
// The request took longer than slowlog-log-slower-than.
void local_slow(struct client *client, const struct request *request);

// client_command.c: CLIENT and its subcommands.
enum request_verdict client_command(struct client *client, const struct parsed *parsed);
// CLIENT LIST and KILL visit every worker in turn; this is one visit.
void client_command_visit(struct worker *worker, struct request *request);
void client_command_visited(struct request *request); // it is back at its own worker
bool local_set_name(struct client *client, struct slice name);
// weir_command.c: WEIR and CONFIG GET/SET weir-….
void weir_command(struct client *client, const struct parsed *parsed);
void weir_config(struct client *client, const struct parsed *parsed);

// "-ERR unknown subcommand 'x'. Try NAME HELP.\r\n" and the like, as Redis words them.
void local_unknown_subcommand(struct client *client, const char *command, struct slice subcommand);
void local_unknown_command(struct client *client, const struct resp_request *request);
void local_wrong_arity(struct client *client, const char *command);
void local_bulk(struct client *client, struct slice text);
void local_array(struct client *client, int64_t count);
void local_integer(struct client *client, int64_t value);
void local_map(struct client *client, int64_t pairs); // a flat array for RESP2
void local_null(struct client *client);
