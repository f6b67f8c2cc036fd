#include "admin/tree.h"
#include <math.h>
#include <stdint.h>
#include <stdio.h>

json_t *tree_bytes(struct slice bytes)
{
    json_t *valid = json_stringn((const char *)bytes.data, bytes.size);
    if (valid)
        return valid;
    char shown[4 * TREE_BYTES + 1];
    size_t size = 0;
    for (size_t i = 0; i < bytes.size && size + 5 <= sizeof shown; i++) {
        uint8_t c = bytes.data[i];
        if (c >= ' ' && c <= '~')
            shown[size++] = (char)c;
        else
            size += (size_t)snprintf(shown + size, 5, "\\x%02x", c);
    }
    return json_stringn(shown, size);
}

json_t *tree_text(const char *value)
{
    return tree_bytes(slice_str(value));
}

json_t *tree_number(uint64_t value)
{
    return json_integer(value < INT64_MAX ? (json_int_t)value : INT64_MAX);
}

json_t *tree_real(double value)
{
    return json_real(isfinite(value) ? value : 0);
}

json_t *tree_micros(uint64_t ns)
{
    return tree_real((double)ns / 1000);
}

void tree_put(json_t *object, const char *name, json_t *value)
{
    json_object_set_new(object, name, value);
}
