// The command table and how a name finds its entry.
//
//     "GeT" -> words: first and last bytes, folded -> one multiply each -> slot -> id -> entry
//
// The generator chose factors under which no two names share a slot, so one comparison decides. All
// of it is constant data: no start-up step, no locks.
//
// The table has two sources: command_table.inc is the server's (arity, key positions, flags),
// command_class.inc is weir's judgement (route, RESP2 shape, what may be cached).
// Rejected: gperf (another tool for the same), a trie (a branch for every letter), filling a hash
// table at start (state, and an order of initialization).
#include "wire/command.h"
#include "base/err.h"
#include <assert.h>

#include "wire/command_class.inc"

#define ENTRY_(ID, NAME, ARITY, FIRST, LAST, STEP, FLAGS, ROUTE, SHAPE, MORE)                      \
    [COMMAND_##ID] = {NAME, COMMAND_##ID,     ARITY,         FIRST,        LAST,                   \
                      STEP, (FLAGS) | (MORE), ROUTE_##ROUTE, RESP2_##SHAPE},
#define ENTRY(...) ENTRY_(__VA_ARGS__)
#define ROW(ID, NAME, ARITY, FIRST, LAST, STEP, FLAGS)                                             \
    ENTRY(ID, NAME, ARITY, FIRST, LAST, STEP, FLAGS, CLASS_##ID)

static const struct command commands[COMMAND_COUNT] = {
    [COMMAND_UNKNOWN] = {"", COMMAND_UNKNOWN, -1, 0, 0, 0, COMMAND_WRITE, ROUTE_PRIVATE,
                         RESP2_OTHER},
#include "wire/command_table.inc"
};

#undef ROW
#undef C
#undef H
#undef W
#undef F

// ---- finding a name ----------------------------------------------------------------------------
enum { NAME_ROOM = 24 };
static const struct {
    uint8_t size;
    uint8_t text[NAME_ROOM];
} names[COMMAND_COUNT] = {
#define COMMAND(ID, NAME) [COMMAND_##ID] = {sizeof(NAME) - 1, NAME},
#include "wire/command_ids.inc"
#undef COMMAND
};

#define HASH(BITS, FIRST, LAST)                                                                    \
    enum { SLOT_BITS = (BITS) };                                                                   \
    static const uint64_t first_factor = (FIRST), last_factor = (LAST);
#define SLOT(AT, ID)
#include "wire/command_hash.inc"
#undef HASH
#undef SLOT

static_assert(COMMAND_COUNT <= UINT8_MAX, "slots hold ids in a byte");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "the generator hashes little-endian words");
static const uint8_t slots[1 << SLOT_BITS] = {
#define HASH(BITS, FIRST, LAST)
#define SLOT(AT, ID) [AT] = COMMAND_##ID,
#include "wire/command_hash.inc"
#undef HASH
#undef SLOT
};

static inline uint64_t load64(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static inline uint32_t load32(const uint8_t *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

// ASCII letters to lower case, eight at once; other bytes stay.
static inline uint64_t fold(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101ull;
    uint64_t low = word & 0x7f * ones;
    uint64_t from_a = low + (0x80 - 'A') * ones, past_z = low + (0x7f - 'Z') * ones;
    uint64_t upper = (from_a ^ past_z) & ~word & 0x80 * ones;
    return word | upper >> 2;
}

struct words {
    uint64_t first, last;
};

// First and last bytes of a name of at least one. They overlap in names under 16 bytes and are all
// of it then. tools/gen_commands.py has the twin of this.
static inline struct words words_of(const uint8_t *text, size_t size)
{
    if (size >= 8)
        return (struct words){load64(text), load64(text + size - 8)};
    if (size >= 4)
        return (struct words){load32(text), load32(text + size - 4)};
    return (struct words){text[0] | (uint64_t)text[size / 2] << 8 | (uint64_t)text[size - 1] << 16,
                          0};
}

const struct command *command_find(struct slice name)
{
    if (name.size == 0 || name.size > NAME_ROOM)
        return &commands[COMMAND_UNKNOWN];
    struct words words = words_of(name.data, name.size);
    words.first = fold(words.first);
    words.last = fold(words.last);
    uint64_t mixed = (words.first ^ name.size) * first_factor + words.last * last_factor;
    unsigned id = slots[mixed >> (64 - SLOT_BITS)];
    if (names[id].size != name.size)
        return &commands[COMMAND_UNKNOWN];
    const uint8_t *text = names[id].text;
    struct words wanted = words_of(text, name.size);
    bool same = wanted.first == words.first && wanted.last == words.last;
    if (name.size > 16) // the middle, which the words leave out
        same &= load64(text + 8) == fold(load64(name.data + 8));
    return &commands[same ? id : COMMAND_UNKNOWN];
}

const struct command *command_by_id(enum command_id id)
{
    return &commands[(unsigned)id < COMMAND_COUNT ? id : COMMAND_UNKNOWN];
}

enum resp2_shape command_shape(const struct command *command, const struct resp_request *request)
{
    bool pops = command->id == COMMAND_LPOP || command->id == COMMAND_RPOP;
    return pops && request->argc > 2 ? RESP2_NULL_ARRAY : command->shape;
}
