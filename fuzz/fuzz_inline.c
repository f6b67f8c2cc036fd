// links: weir_wire weir_base
// resp_inline_split against a naive twin, and its output against the request parser.
#include "../test/model/resp_twin.h"
#include "wire/resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        __builtin_trap();
}

// The line as a C string without its end, as the twin wants it.
static char *trimmed(const uint8_t *data, size_t size)
{
    char *line = malloc(size + 1);
    if (size > 0)
        memcpy(line, data, size);
    if (size > 0 && line[size - 1] == '\n')
        size -= size > 1 && line[size - 2] == '\r' ? 2 : 1;
    line[size] = 0;
    return line;
}

static void same_words(const uint8_t *array, long size, const struct twin_words *words)
{
    const struct resp_bounds bounds = {INT32_MAX, LIMIT_BULK_BYTES, true};
    struct resp_request request;
    size_t need = 0, cursor = 0;
    struct slice arg;
    require(resp_request_parse(&request, slice_of(array, (size_t)size), &bounds, &need) == size);
    require(request.argc == (uint32_t)words->count && !request.is_inline);
    for (int i = 0; i < words->count; i++) {
        require(resp_arg_next(request.frame, &cursor, &arg));
        require(slice_equal(arg, slice_of(words->text[i], words->size[i])));
    }
    require(!resp_arg_next(request.frame, &cursor, &arg));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct twin_words words;
    if (size > LIMIT_INLINE_BYTES)
        return 0;
    size_t room = 4 * size + 64;
    uint8_t *out = malloc(room);
    char *line = trimmed(data, size);
    long verdict = resp_inline_split(slice_of(data, size), out, room);
    twin_split(&words, line);
    if (words.count < 0)
        require(verdict == RESP_ERR_UNBALANCED);
    else if (words.count == 0)
        require(verdict == 0);
    else
        same_words(out, verdict, &words);
    twin_free(&words);
    free(line);
    free(out);
    return 0;
}
