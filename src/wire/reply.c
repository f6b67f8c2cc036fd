// Looking inside a reply that is known to be complete.
#include "wire/element.h"

static struct slice drop(struct slice bytes, size_t count)
{
    return count == 0 ? bytes : slice_of(bytes.data + count, bytes.size - count);
}

// Passes elements that stand in front of another and are none themselves: attributes, and pushes
// behind those. Returns where the frame's own element begins.
static size_t skip_attributes(struct slice frame)
{
    size_t at = 0;
    struct resp_element element;
    bool resp3;
    int64_t inside = 0; // elements of an attribute still to pass
    while (at < frame.size) {
        uint8_t type = frame.data[at];
        if (inside == 0 && type != '|' && (type != '>' || at == 0))
            return at;
        long size = inside == 0 && type == '|' ? resp_element_parse(&element, drop(frame, at))
                                               : resp_reply_length(drop(frame, at), &resp3);
        if (size <= 0)
            return frame.size;
        at += (size_t)size;
        if (inside > 0)
            inside -= type != '>';
        else if (type == '|')
            inside = element.value;
    }
    return at;
}

bool resp_element_next(struct slice frame, size_t *cursor, struct slice *element)
{
    bool resp3;
    size_t at = *cursor;
    if (at == 0) {
        struct resp_element top;
        at = skip_attributes(frame);
        long head = resp_element_parse(&top, drop(frame, at));
        if (head <= 0 || top.kind != KIND_AGGREGATE)
            return false;
        at += (size_t)head;
    }
    while (at < frame.size) {
        long size = resp_reply_length(drop(frame, at), &resp3);
        if (size <= 0)
            return false;
        bool push = frame.data[at] == '>'; // out of band
        if (!push)
            *element = slice_of(frame.data + at, (size_t)size);
        at += (size_t)size;
        *cursor = at;
        if (!push)
            return true;
    }
    return false;
}

int64_t resp_count(struct slice frame)
{
    struct resp_element element;
    if (resp_element_parse(&element, drop(frame, skip_attributes(frame))) <= 0)
        return -2;
    if (element.kind == KIND_NULL)
        return -1;
    return element.kind == KIND_AGGREGATE ? element.value : -2;
}

bool resp_text(struct slice frame, struct slice *text)
{
    struct resp_element element;
    frame = drop(frame, skip_attributes(frame));
    long head = resp_element_parse(&element, frame);
    if (head <= 0 || element.type == '#')
        return false;
    if (element.kind == KIND_LINE) {
        *text = slice_of(frame.data + 1, (size_t)head - 3);
        return true;
    }
    if (element.kind != KIND_BULK || frame.size - (size_t)head < (size_t)element.value)
        return false;
    struct slice content = slice_of(frame.data + head, (size_t)element.value);
    *text = element.type == '=' && content.size >= 4 ? drop(content, 4) : content;
    return true;
}

bool resp_integer(struct slice frame, int64_t *value)
{
    struct slice text;
    frame = drop(frame, skip_attributes(frame));
    return frame.size > 0 && frame.data[0] == ':' && resp_text(frame, &text) &&
           number_parse(text.data, text.size, value);
}

bool resp_is_null(struct slice frame)
{
    struct resp_element element;
    return resp_element_parse(&element, drop(frame, skip_attributes(frame))) > 0 &&
           element.kind == KIND_NULL;
}
