// The slow log and the configuration, as JSON.
#include "admin/internal.h"
#include "admin/tree.h"

// The next "$5\r\nhello\r\n" of a request that may have been cut anywhere. False at the end.
static bool next_argument(struct slice *rest, struct slice *argument)
{
    size_t at = 1, size = 0;
    if (rest->size < 4 || rest->data[0] != '$')
        return false;
    while (at < rest->size && rest->data[at] >= '0' && rest->data[at] <= '9' && size <= UINT32_MAX)
        size = size * 10 + (size_t)(rest->data[at++] - '0');
    if (at + 2 > rest->size || rest->data[at] != '\r' || rest->data[at + 1] != '\n')
        return false;
    at += 2;
    size_t there = size < rest->size - at ? size : rest->size - at;
    *argument = slice_of(rest->data + at, there);
    at += there;
    at = at + 2 < rest->size ? at + 2 : rest->size;
    *rest = slice_of(rest->data + at, rest->size - at);
    return true;
}

static bool has_password(struct slice command)
{
    static const char *const names[] = {"auth", "hello", "acl", "config", "migrate"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (slice_is(command, names[i]))
            return true;
    }
    return false;
}

static json_t *arguments_of(const struct slowlog_entry *e)
{
    json_t *array = json_array();
    struct slice frame = slice_of(e->args, e->args_size <= sizeof e->args ? e->args_size : 0);
    const uint8_t *line = frame.size ? memchr(frame.data, '\n', frame.size) : NULL;
    if (frame.size == 0 || frame.data[0] != '*' || !line) { // inline, or no more than a header
        json_array_append_new(array, tree_bytes(frame));
        return array;
    }
    struct slice rest = slice_of(line + 1, frame.size - (size_t)(line + 1 - frame.data));
    struct slice argument;
    bool hidden = false;
    while (next_argument(&rest, &argument)) {
        bool first = json_array_size(array) == 0;
        json_array_append_new(array, hidden ? tree_text("***") : tree_bytes(argument));
        if (first)
            hidden = has_password(argument);
    }
    return array;
}

json_t *api_slowlog(struct admin *admin)
{
    struct slowlog *log = proxy_slowlog(admin->proxy);
    unsigned count = log ? slowlog_get(log, admin->slow, SLOWLOG_ENTRIES) : 0;
    json_t *root = json_object(), *array = json_array();
    for (unsigned i = 0; i < count; i++) {
        const struct slowlog_entry *e = &admin->slow[i];
        json_t *object = json_object();
        tree_put(object, "id", tree_number(e->id));
        tree_put(object, "wall_us", tree_number(e->wall_us));
        tree_put(object, "duration_us", tree_number(e->duration_us));
        tree_put(object, "argc", tree_number(e->argc));
        tree_put(object, "args", arguments_of(e));
        tree_put(object, "client", tree_text(e->client));
        tree_put(object, "name", tree_text(e->name));
        tree_put(object, "where", tree_text(e->where));
        json_array_append_new(array, object);
    }
    tree_put(root, "entries", array);
    return root;
}

json_t *api_config(struct admin *admin)
{
    unsigned count = 0;
    const struct config_directive *directives = config_directives(&count);
    json_t *root = json_object(), *array = json_array();
    proxy_config(admin->proxy, &admin->config);
    tree_put(root, "file", tree_text(admin->config.file));
    for (unsigned i = 0; i < count; i++) {
        char value[4096];
        if (config_get(&admin->config, directives[i].name, value, sizeof value) != 0)
            continue;
        json_t *object = json_object();
        tree_put(object, "name", tree_text(directives[i].name));
        tree_put(object, "value", tree_text(value));
        tree_put(object, "live", json_boolean(directives[i].live));
        tree_put(object, "doc", tree_text(directives[i].doc));
        json_array_append_new(array, object);
    }
    tree_put(root, "directives", array);
    return root;
}
