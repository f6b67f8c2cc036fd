#pragma once
// What stands between the clients and the store: weir's proxy, stepped without threads, or nothing
// (the clients then talk to the model itself, which tests the simulation).
#include "client.h"

struct subject;

struct subject_options {
    uint16_t port, store_port;
    unsigned threads;
    uint64_t max_stale_ms;
    bool cache;
};

enum fault { // at which the states of all requests under way are counted
    FAULT_SPLIT, FAULT_LANE_RESET, FAULT_LANE_EOF, FAULT_BLACKHOLE, FAULT_RESTART, FAULT_REFUSE,
    FAULT_BLOCKS, FAULT_CLIENT_GONE, FAULT_KINDS
};
extern const char *const fault_names[FAULT_KINDS];
enum { SUBJECT_STATES = 16 };

struct subject *subject_create(const struct subject_options *options);
void subject_destroy(struct subject *subject);
unsigned subject_threads(const struct subject *subject);
void subject_step(struct subject *subject, unsigned thread);
// Adds the states of all requests of clients to counts[fault][state].
void subject_count(struct subject *subject, enum fault fault,
                   uint64_t counts[FAULT_KINDS][SUBJECT_STATES]);
// Is a request in one of the states that last shortest (JOINED, FENCE)?
bool subject_rare_moment(const struct subject *subject);
unsigned subject_states(void);
const char *subject_state_name(unsigned state);
// The n-th borrow of buffer memory from now fails (sticky: and all later); 0 ends it.
void subject_fail_blocks(struct subject *subject, uint64_t n, bool sticky);
// Clients are gone and all is quiet: what is still borrowed that should not be, printed to `out`.
unsigned subject_leaks(struct subject *subject, FILE *out);
uint64_t subject_hits(struct subject *subject);
void subject_print(struct subject *subject, FILE *out);
