// links: weir_wire weir_base
// Requests: the whole input against every cut of it, argument walks, the scanner, keys.
#include "base/err.h"
#include "wire/command.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        __builtin_trap();
}

// A copy that ends where the slice ends, so that AddressSanitizer sees every step beyond it.
static struct slice exact(struct slice bytes)
{
    uint8_t *copy = malloc(bytes.size > 0 ? bytes.size : 1);
    if (bytes.size > 0)
        memcpy(copy, bytes.data, bytes.size);
    return slice_of(copy, bytes.size);
}

static long parse(struct resp_request *request, struct slice bytes,
                  const struct resp_bounds *bounds, size_t *need)
{
    struct slice copy = exact(bytes);
    long verdict = resp_request_parse(request, copy, bounds, need);
    free((void *)copy.data);
    return verdict;
}

// Shorter cuts know nothing yet, promise no more than they may, and leave the outputs alone.
static void check_cuts(struct slice bytes, const struct resp_bounds *bounds, long verdict)
{
    size_t promised = 0, last = verdict > 0 ? (size_t)verdict : bytes.size;
    size_t step = last > 600 ? last / 300 : 1;
    for (size_t cut = 0; cut < last; cut += step) {
        struct resp_request request, before;
        memset(&request, 0x5a, sizeof request);
        memcpy(&before, &request, sizeof before);
        size_t need = 0;
        long early = parse(&request, slice_of(bytes.data, cut), bounds, &need);
        if (early != 0) {
            require(verdict < 0 && early == verdict);
            require(cut >= promised);
            return;
        }
        require(memcmp(&request, &before, sizeof request) == 0);
        require(need > cut);
        require(verdict <= 0 || need <= (size_t)verdict);
        promised = need > promised ? need : promised;
    }
    require(verdict >= 0 || promised <= bytes.size);
}

struct seen {
    struct slice frame;
    int count;
};

static void see_key(void *context, struct slice key)
{
    struct seen *seen = context;
    seen->count++;
    require(key.data >= seen->frame.data);
    require(key.data + key.size <= seen->frame.data + seen->frame.size);
}

static void check_array(const struct resp_request *request)
{
    size_t cursor = 0, count = 0;
    struct slice arg;
    while (resp_arg_next(request->frame, &cursor, &arg)) {
        if (count < RESP_ARGS)
            require(arg.data == request->argv[count].data && arg.size == request->argv[count].size);
        count++;
    }
    require(count == request->argc);

    // the scanner takes the same frame, unless line ends are not CRLF (which Redis lets pass)
    struct resp_scan scan;
    resp_scan_init(&scan);
    long passed = resp_scan_feed(&scan, request->frame);
    if (passed >= 0 && scan.done)
        require((size_t)passed == request->frame.size || request->argc == 0);

    if (request->argc == 0)
        return;
    struct seen seen = {request->frame, 0};
    const struct command *command = command_find(request->argv[0]);
    require(command != NULL);
    int keys = command_keys(command, request, see_key, &seen);
    require(keys == WEIR_EMALFORMED || keys == seen.count);
    require((unsigned)command_shape(command, request) <= RESP2_OTHER);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const struct resp_bounds all[] = {{LIMIT_MULTIBULK_ARGS, LIMIT_BULK_BYTES, true},
                                      {LIMIT_UNAUTH_ARGS, LIMIT_UNAUTH_BULK, false},
                                      {3, 20, true}};
    const struct resp_bounds *bounds = &all[data[size - 1] % 3];
    struct slice rest = slice_of(data, size - 1);
    while (rest.size > 0) {
        struct resp_request request;
        size_t need = 0;
        struct slice copy = exact(rest);
        long verdict = resp_request_parse(&request, copy, bounds, &need);
        check_cuts(rest, bounds, verdict);
        if (verdict == 0)
            require(need > rest.size);
        if (verdict > 0) {
            require(request.frame.data == copy.data && request.frame.size == (size_t)verdict);
            if (!request.is_inline)
                check_array(&request);
        }
        free((void *)copy.data);
        if (verdict <= 0)
            break;
        rest = slice_of(rest.data + verdict, rest.size - (size_t)verdict);
    }
    return 0;
}
