#include "base/err.h"

const char *weir_strerror(int code)
{
    switch (code) {
    case WEIR_OK:
        return "success";
    case WEIR_EAGAIN:
        return "not ready";
    case WEIR_EOF:
        return "closed by peer";
    case WEIR_ENOMEM:
        return "memory limit reached";
    case WEIR_EINVAL:
        return "invalid argument";
    case WEIR_EMALFORMED:
        return "malformed input";
    case WEIR_ERANGE:
        return "limit exceeded";
    case WEIR_EIO:
        return "system call failed";
    case WEIR_ECONNREFUSED:
        return "connection refused";
    case WEIR_ERESET:
        return "connection reset";
    case WEIR_ETIMEDOUT:
        return "timed out";
    case WEIR_ENOENT:
        return "not found";
    case WEIR_EPERM:
        return "not permitted";
    case WEIR_EINUSE:
        return "address in use";
    default:
        return "unknown error";
    }
}
