#pragma once
// Simulated clients: they send random pipelines, parse replies with a parser of their own, check
// each reply's form at once, and record the rest in a history.
#include "history.h"
#include "model_redis.h"

struct fleet;

struct fleet_options {
    uint16_t port;
    unsigned clients;
    uint64_t max_stale_ns; // of hits on keys that others write
    bool flushes;          // FLUSHDB, FLUSHALL, SWAPDB (then nobody else writes)
    bool foreign;          // others write the f keys
    bool large;            // values beyond a lane's request
    bool faults;           // errors of weir and lost connections are to be expected
    bool transactions, blocking;
    bool hot;              // one key of each kind, asked for singly: reads join each other's fills
};

struct fleet *fleet_create(const struct fleet_options *options, struct history *history);
void fleet_destroy(struct fleet *fleet);
void fleet_step(struct fleet *fleet);            // one random client does something
uint64_t fleet_next_event(const struct fleet *fleet);
void fleet_pause(struct fleet *fleet, uint64_t ns); // nobody sends for that long
void fleet_stop(struct fleet *fleet);            // nothing new is sent from now on
bool fleet_quiet(const struct fleet *fleet);     // no reply is to come
void fleet_close(struct fleet *fleet);           // all connections
bool fleet_disconnect_one(struct fleet *fleet);  // a random client vanishes
// A foreign writer does something to the f keys.
void fleet_foreign(struct fleet *fleet, struct redis *redis);
// The store lost its data at this moment.
void fleet_data_lost(struct fleet *fleet);
uint64_t fleet_replies(const struct fleet *fleet);
uint64_t fleet_errors(const struct fleet *fleet);
unsigned fleet_violations(const struct fleet *fleet);
void fleet_print_waiting(const struct fleet *fleet, FILE *out);
// Reads every key through the port and compares it with the model. Call fleet_verify_start once,
// then step the world until it returns true.
void fleet_verify_start(struct fleet *fleet);
bool fleet_verify_step(struct fleet *fleet, const struct redis *redis);
