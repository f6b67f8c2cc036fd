// Addresses and store URLs (grammar in address.h).
//
//   redis://user:p%40ss@cache.example:6379/3
//   └scheme┘└──userinfo─┘└─── address ───┘└db
//
// A URL is cut from the left: scheme, userinfo up to the last '@' before the path, then the rest.
// Kinds of store that this version does not speak are known by name, so that their users read that
// instead of a syntax error. Reasons never quote the URL: it may hold a password even where its
// form is wrong.
#include "config/address.h"
#include "base/err.h"
#include "base/limits.h"
#include "config/value.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

enum { HOST_MAX = 120, UNIX_PATH_MAX_BYTES = 107, STORE_PORT = 6379 };

__attribute__((format(printf, 2, 3))) static int refuse(char reason[CONFIG_REASON],
                                                        const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, CONFIG_REASON, format, arguments);
    va_end(arguments);
    return WEIR_EMALFORMED;
}

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool all_of(const char *text, size_t size, const char *others)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] == '\0' || (!is_alnum(text[i]) && strchr(others, text[i]) == NULL))
            return false;
    return true;
}

static int unix_path_check(const char *path, char reason[CONFIG_REASON])
{
    if (path[0] != '/')
        return refuse(reason, "a Unix socket is named by its whole path: unix:/run/weir.sock");
    if (strlen(path) > UNIX_PATH_MAX_BYTES)
        return refuse(reason, "the path of a Unix socket has at most %d bytes, this one has %zu",
                      UNIX_PATH_MAX_BYTES, strlen(path));
    for (const char *c = path; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return refuse(reason, "a control byte in the path of a Unix socket");
    return 0;
}

static int port_parse(const char *text, enum address_use use, uint64_t *out,
                      char reason[CONFIG_REASON])
{
    uint64_t port;
    if (value_count_parse(text, &port) != 0 || port > 65535 || (port == 0 && use == ADDRESS_STORE))
        return refuse(reason, "'%.20s' is not a port: %d to 65535", text, use == ADDRESS_STORE);
    *out = port;
    return 0;
}

static int missing_host(const char *port, enum address_use use, char reason[CONFIG_REASON])
{
    if (use == ADDRESS_STORE)
        return refuse(reason, "the host is missing: write redis://127.0.0.1:%.5s", port);
    return refuse(
        reason,
        "the host is missing: write 127.0.0.1:%.5s for this machine only, or 0.0.0.0:%.5s "
        "for every interface",
        port, port);
}

int address_parse(const char *text, enum address_use use, char out[CONFIG_TEXT],
                  char reason[CONFIG_REASON])
{
    if (strncmp(text, "unix:", 5) == 0) {
        const char *path = text + 5;
        while (path[0] == '/' && path[1] == '/') // unix:///path
            path++;
        int code = unix_path_check(path, reason);
        if (code == 0)
            snprintf(out, CONFIG_TEXT, "unix:%s", path);
        return code;
    }
    if (text[0] == '/')
        return refuse(reason, "a path needs its scheme: write unix:%.100s", text);

    bool bracket = text[0] == '[';
    const char *host = text + bracket;
    size_t size = strcspn(host, bracket ? "]" : ":");
    const char *rest = host + size + (bracket && host[size] == ']');
    if (bracket && (host[size] != ']' || !all_of(host, size, ":.%-_") || size < 2))
        return refuse(reason, "'%.60s' is not an IPv6 address and port like [::1]:6380", text);
    if (!bracket && strchr(rest + (*rest != '\0'), ':') != NULL)
        return refuse(reason, "an IPv6 address stands in brackets: [::1]:6380");
    if (!bracket && size > 0 && *rest == '\0' && strspn(host, "0123456789") == size)
        return missing_host(host, use, reason);
    if (size == 0 || (size == 1 && host[0] == '*'))
        return missing_host(*rest == ':' ? rest + 1 : "6379", use, reason);
    if (size > HOST_MAX || (!bracket && !all_of(host, size, ".-_")))
        return refuse(reason, "'%.60s' is not a host:port or unix:/path", text);

    uint64_t port = STORE_PORT;
    if (*rest == ':') {
        int code = port_parse(rest + 1, use, &port, reason);
        if (code != 0)
            return code;
    } else if (*rest != '\0' || use == ADDRESS_LISTEN) {
        return refuse(reason, "the port is missing: write %.*s:6380", (int)(rest - text), text);
    }
    snprintf(out, CONFIG_TEXT, "%.*s:%" PRIu64, (int)(rest - text), text, port);
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int percent_decode(const char *text, size_t size, char out[CONFIG_TEXT], const char *what,
                          char reason[CONFIG_REASON])
{
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '%') {
            int high = i + 2 < size ? hex_digit(text[i + 1]) : -1;
            int low = i + 2 < size ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0 || high + low == 0)
                return refuse(reason,
                              "a '%%' in the %s must be followed by two hex digits (%%25 is "
                              "'%%' itself)",
                              what);
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (used >= CONFIG_TEXT - 1)
            return refuse(reason, "the %s is longer than %d bytes", what, CONFIG_TEXT - 1);
        out[used++] = c;
    }
    out[used] = '\0';
    return 0;
}

static int userinfo_parse(const char *text, size_t size, struct config_store *out,
                          char reason[CONFIG_REASON])
{
    const char *colon = memchr(text, ':', size);
    size_t user_size = colon != NULL ? (size_t)(colon - text) : size;
    int code = percent_decode(text, user_size, out->user, "user", reason);
    if (code == 0 && strlen(out->user) > 64)
        code = refuse(reason, "the user is longer than 64 bytes");
    if (code == 0 && colon != NULL)
        code = percent_decode(colon + 1, size - user_size - 1, out->password, "password", reason);
    if (code == 0 && strcmp(out->password, "***") == 0)
        code = refuse(reason, "'***' stands for a password that was not shown: write the password "
                              "itself, or use password-file");
    return code;
}

static int db_parse(const char *text, struct config_store *out, char reason[CONFIG_REASON])
{
    uint64_t db = 0;
    if (*text != '\0' && (value_count_parse(text, &db) != 0 || db >= LIMIT_DBS))
        return refuse(reason, "'%.20s' is not a database: 0 to %d", text, LIMIT_DBS - 1);
    out->db = (unsigned)db;
    return 0;
}

// "//[userinfo@]" in front of `text` into the store; *rest is what follows.
static int authority_parse(const char *text, struct config_store *out, const char **rest,
                           char reason[CONFIG_REASON])
{
    size_t size = strcspn(text, "/?#");
    const char *at = memrchr(text, '@', size);
    *rest = at != NULL ? at + 1 : text;
    if (at == NULL && strchr(text, '@') != NULL)
        return refuse(reason,
                      "in a user or password '/', '?', '#' and '%%' are written %%2F, %%3F, "
                      "%%23 and %%25");
    return at != NULL ? userinfo_parse(text, (size_t)(at - text), out, reason) : 0;
}

static int redis_parse(const char *text, struct config_store *out, char reason[CONFIG_REASON])
{
    const char *host;
    int code = authority_parse(text, out, &host, reason);
    if (code != 0)
        return code;
    size_t size = strcspn(host, "/?#");
    if (host[size] == '?' || host[size] == '#' || strpbrk(host + size, "?#") != NULL)
        return refuse(reason, "a store URL takes no '?' or '#' (in a password they are %%3F and "
                              "%%23)");
    char address[CONFIG_TEXT];
    if (size == 0 || size >= sizeof(address))
        return refuse(reason, "the host is missing: write redis://127.0.0.1:6379");
    memcpy(address, host, size);
    address[size] = '\0';
    code = address_parse(address, ADDRESS_STORE, out->address, reason);
    return code != 0 ? code : db_parse(host + size + (host[size] == '/'), out, reason);
}

static int unix_parse(const char *text, struct config_store *out, char reason[CONFIG_REASON])
{
    const char *path = text;
    int code = 0;
    if (strncmp(text, "//", 2) == 0)
        code = authority_parse(text + 2, out, &path, reason);
    if (code != 0)
        return code;
    char address[CONFIG_TEXT];
    size_t size = strcspn(path, "?");
    if (size >= sizeof(address) - sizeof("unix:"))
        return refuse(reason, "the path of a Unix socket has at most %d bytes",
                      UNIX_PATH_MAX_BYTES);
    snprintf(address, sizeof(address), "unix:%.*s", (int)size, path);
    code = address_parse(address, ADDRESS_STORE, out->address, reason);
    if (code != 0 || path[size] == '\0')
        return code;
    if (strncmp(path + size, "?db=", 4) != 0)
        return refuse(reason, "only ?db=N may follow the path of a Unix socket");
    return db_parse(path + size + 4, out, reason);
}

// Named, so that the answer is "not yet" and not "syntax error".
static int kind_refuse(const char *text, char reason[CONFIG_REASON])
{
    static const struct {
        const char *scheme, *what;
    } later[] = {
        {"rediss", "TLS to the store"},       {"redis+cluster", "Redis Cluster"},
        {"redis+sentinel", "Redis Sentinel"}, {"memcached", "memcached"},
        {"rediss+cluster", "Redis Cluster"},  {"memcache", "memcached"},
    };
    size_t size = strcspn(text, ":");
    for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++)
        if (size == strlen(later[i].scheme) && strncasecmp(text, later[i].scheme, size) == 0)
            return refuse(reason,
                          "%s:// (%s) is not supported in this version: use redis:// or "
                          "unix:",
                          later[i].scheme, later[i].what);
    if (strncmp(text + size, "://", 3) == 0 && all_of(text, size, "+-."))
        return refuse(reason, "'%.*s' is no kind of store: use redis://host:port/db or unix:/path",
                      (int)(size < 20 ? size : 20), text);
    return refuse(reason, "a store is a URL: redis://host:port/db or unix:/path");
}

int store_url_parse(const char *text, struct config_store *out, char reason[CONFIG_REASON])
{
    struct config_store store = {0};
    int code;
    if (strncasecmp(text, "redis://", 8) == 0)
        code = redis_parse(text + 8, &store, reason);
    else if (strncasecmp(text, "unix:", 5) == 0)
        code = unix_parse(text + 5, &store, reason);
    else
        code = kind_refuse(text, reason);
    if (code != 0)
        return code;
    struct print name = {store.name, sizeof(store.name), 0};
    store_url_print(&store, STORE_NAME, &name);
    if (name.size >= sizeof(store.name))
        return refuse(reason, "the URL without its password is longer than %d bytes",
                      CONFIG_TEXT - 1);
    *out = store;
    return 0;
}

static void percent_encode(struct print *text, const char *bytes)
{
    for (const unsigned char *c = (const unsigned char *)bytes; *c != '\0'; c++) {
        if (is_alnum((char)*c) || strchr("-._~", *c) != NULL)
            print_add(text, "%c", *c);
        else
            print_add(text, "%%%02X", *c);
    }
}

void store_url_print(const struct config_store *store, enum store_shown shown, struct print *text)
{
    const char *address = store->address;
    bool is_unix = strncmp(address, "unix:", 5) == 0;
    bool password = store->password[0] != '\0' && shown != STORE_NAME;
    bool userinfo = store->user[0] != '\0' || password;
    print_add(text, "%s", !is_unix ? "redis://" : userinfo ? "unix://" : "unix:");
    percent_encode(text, store->user);
    if (password && shown == STORE_MASKED)
        print_add(text, ":***");
    if (password && shown == STORE_REVEALED) {
        print_add(text, ":");
        percent_encode(text, store->password);
    }
    print_add(text, "%s%s", userinfo ? "@" : "", is_unix ? address + 5 : address);
    if (store->db != 0)
        print_add(text, "%s%u", is_unix ? "?db=" : "/", store->db);
}
