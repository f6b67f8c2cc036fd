#include "reply.h"
#include <stdlib.h>
#include <string.h>

struct cursor {
    struct reply_tree *tree;
    const uint8_t *data;
    size_t size, at;
    unsigned protocol;
};

static long bad(struct cursor *c, const char *why)
{
    c->tree->error = why;
    return -1;
}

// The header line: 1 when whole; its text is [*from, *from + *size).
static long line(struct cursor *c, size_t *from, size_t *size)
{
    *from = c->at;
    for (size_t i = c->at; i < c->size; i++) {
        if (c->data[i] == '\n')
            return bad(c, "LF without CR");
        if (c->data[i] != '\r')
            continue;
        if (i + 1 == c->size)
            return 0;
        if (c->data[i + 1] != '\n')
            return bad(c, "CR without LF");
        *size = i - *from;
        c->at = i + 2;
        return 1;
    }
    return 0;
}

static bool number(const uint8_t *text, size_t size, int64_t *out)
{
    char copy[24];
    char *end;
    if (size == 0 || size >= sizeof copy)
        return false;
    memcpy(copy, text, size);
    copy[size] = '\0';
    *out = strtoll(copy, &end, 10);
    return *end == '\0' && copy[0] != ' ' && copy[0] != '+';
}

static long element(struct cursor *c, unsigned *index);

static long aggregate(struct cursor *c, unsigned node, int64_t count)
{
    unsigned *link = &c->tree->node[node].first;
    for (int64_t i = 0; i < count; i++) {
        unsigned child;
        long verdict = element(c, &child);
        if (verdict <= 0)
            return verdict;
        *link = child;
        link = &c->tree->node[child].next;
    }
    return 1;
}

static long bulk(struct cursor *c, struct reply *node)
{
    if (node->number < 0 || node->number > 1 << 30)
        return bad(c, "bulk length");
    size_t size = (size_t)node->number;
    if (c->size - c->at < size + 2)
        return 0;
    node->data = c->data + c->at;
    node->size = size;
    c->at += size + 2;
    return memcmp(node->data + size, "\r\n", 2) == 0 ? 1 : bad(c, "bulk without CRLF");
}

static long element(struct cursor *c, unsigned *index)
{
    static const char resp2[] = "+-:$*", resp3[] = "+-:$*_,#(=%~>!|";
    if (c->at == c->size)
        return 0;
    char type = (char)c->data[c->at++];
    if (type == '\0' || strchr(c->protocol == 2 ? resp2 : resp3, type) == NULL)
        return bad(c, "type is not of this protocol");
    size_t from, size;
    long verdict = line(c, &from, &size);
    if (verdict <= 0)
        return verdict;
    if (c->tree->count == REPLY_NODES)
        return bad(c, "too many elements");
    *index = c->tree->count++;
    struct reply *node = &c->tree->node[*index];
    *node = (struct reply){.type = type, .data = c->data + from, .size = size};
    if (strchr("+-,#(", type) != NULL)
        return 1;
    if (type == '_')
        return size == 0 ? 1 : bad(c, "null");
    if (!number(node->data, size, &node->number))
        return bad(c, "number");
    if (type == ':')
        return 1;
    if (node->number == -1 && (type == '$' || type == '*')) {
        node->type = '_';
        return c->protocol == 2 ? 1 : bad(c, "RESP2 null in RESP3");
    }
    if (type == '$' || type == '=' || type == '!')
        return bulk(c, node);
    if (node->number < 0)
        return bad(c, "negative count");
    return aggregate(c, *index, type == '%' || type == '|' ? 2 * node->number : node->number);
}

long reply_parse(struct reply_tree *tree, const uint8_t *data, size_t size, unsigned protocol)
{
    struct cursor c = {.tree = tree, .data = data, .size = size, .protocol = protocol};
    unsigned root;
    tree->count = 0;
    tree->error = "";
    long verdict = element(&c, &root);
    return verdict > 0 ? (long)c.at : verdict;
}
