#pragma once
// One table of error codes for the whole project. Functions return 0 or a negative code from here;
// errno stops at the wrapper of the system call that set it (see loop/net.h).

enum weir_err {
    WEIR_OK = 0,
    WEIR_EAGAIN = -1,    // nothing to do now; the loop says when
    WEIR_EOF = -2,       // the peer closed its side
    WEIR_ENOMEM = -3,    // the budget has no room; shed load
    WEIR_EINVAL = -4,    // an argument is out of range
    WEIR_EMALFORMED = -5, // bytes of a peer or a file break their grammar
    WEIR_ERANGE = -6,    // a bound of base/limits.h or of the configuration was met
    WEIR_EIO = -7,       // a system call failed; the wrapper logged or kept which
    WEIR_ECONNREFUSED = -8,
    WEIR_ERESET = -9,    // the connection broke
    WEIR_ETIMEDOUT = -10,
    WEIR_ENOENT = -11,
    WEIR_EPERM = -12,
    WEIR_EINUSE = -13, // the address is taken by another listener
};

// A short English phrase for `code`, never NULL.
const char *weir_strerror(int code);
