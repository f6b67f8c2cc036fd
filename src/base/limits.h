#pragma once
// Every cap of the data path stands here, with its reason.

enum {
    LIMIT_INLINE_BYTES = 64 * 1024,      // an inline command's line, as Redis (PROTO_INLINE_MAX_SIZE)
    LIMIT_MULTIBULK_ARGS = 1024 * 1024,  // of a request; Redis 7.0 itself takes up to INT_MAX
    LIMIT_UNAUTH_ARGS = 10,              // before authentication, as Redis
    LIMIT_UNAUTH_BULK = 16384,
    LIMIT_LANE_REQUEST = 64 * 1024,      // larger requests go by a private connection
    LIMIT_CACHE_KEY = 1024,              // longer keys are not cached
    LIMIT_CACHE_SCOPE = 128,             // signature of a cached command (its other arguments)
    LIMIT_CACHE_VALUE = 8 * 1024 * 1024, // what max-value may be set to
    LIMIT_WRITE_KEYS = 256,              // a write of more keys goes by a private connection
    LIMIT_MGET_FILLS = 64,               // an MGET of more keys is not filled
    LIMIT_OUTSTANDING = 1024,            // requests of one client under way; then it isn't read
    LIMIT_READ_SCRATCH = 256 * 1024,     // a thread's buffer for one read
    LIMIT_DBS = 16,                      // lanes of one node, one per database
    LIMIT_WORKERS = 64,
    LIMIT_CLIENT_NAME = 64,              // bytes of CLIENT SETNAME that are kept
};
#define LIMIT_BULK_BYTES (512LL * 1024 * 1024) // proto-max-bulk-len of Redis
