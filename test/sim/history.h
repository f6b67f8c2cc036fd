#pragma once
// What clients did and saw, and whether one linearizable register per key explains it.
//
// A register is one name over all databases, so that FLUSHDB, FLUSHALL and SWAPDB are operations on
// it like any other. An operation takes effect at one moment between its invocation and its
// response; operations of one client on one register take effect in the order it sent them; an
// operation whose outcome is unknown takes effect at any time after its invocation, or never.
#include "bytes.h"

enum { HISTORY_DBS = 2, HISTORY_CLIENTS = 12, HISTORY_NAME = 80 };

enum op_kind {
    OP_GET,     // result: content
    OP_SET,     // content
    OP_SETPX,   // content, number = ttl in ms
    OP_SETNX,   // content; hit: was set
    OP_SETXX,   // content; hit: was set
    OP_DEL,     // hit: was there
    OP_INCR,    // result: content
    OP_APPEND,  // content = suffix; number = new length
    OP_EXISTS,  // hit
    OP_STRLEN,  // number
    OP_PEXPIRE, // number = ttl in ms; hit: was there
    OP_PTTL,    // number = reply
    OP_CAS,     // expected -> content: nothing wrote since expected was read
    OP_CAS_FAILED, // an EXEC that gave null: no effect
    OP_FLUSHDB, OP_FLUSHALL,
    OP_SWAPDB,  // of 0 and 1
    OP_KINDS
};
extern const char *const op_names[OP_KINDS];

struct op {
    enum op_kind kind;
    uint8_t client, db;
    bool unknown;      // outcome unknown: response is never
    bool unchecked;    // hit and number were not seen (one DEL of many keys, a hash field, …)
    bool hit;
    uint32_t content, expected; // of the intern table; 0: missing
    int64_t number;
    uint64_t invoke_ns, response_ns;
};

struct history;
struct history *history_create(void);
void history_destroy(struct history *h);
// The number that stands for these bytes; 0 is never given.
uint32_t history_intern(struct history *h, const void *data, size_t size);
// Appends to a register (created at its first use). The order of calls of one client is its order.
void history_add(struct history *h, const char *name, const struct op *op);
// Every register that exists gets this operation (FLUSHALL, a restart of the server).
void history_add_all(struct history *h, const struct op *op);
// Makes the register, so that operations on all registers reach it.
void history_register(struct history *h, const char *name);

enum verdict { LINEARIZABLE, NOT_LINEARIZABLE, TOO_HARD };
struct history_report {
    unsigned registers, failed, too_hard;
    uint64_t ops, states;
};
// Checks all registers; what fails is printed to `out`.
struct history_report history_check(struct history *h, FILE *out);
