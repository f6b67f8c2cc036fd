// The page's files, put into the binary by the assembler, so that building them needs no tool.
#include "admin/internal.h"

#define EMBED(name, file)                                                                          \
    __asm__(".pushsection .rodata\n"                                                               \
            ".globl asset_" #name "\nasset_" #name ":\n"                                           \
            ".incbin \"admin/" file "\"\n"                                                         \
            ".globl asset_" #name "_end\nasset_" #name "_end:\n"                                   \
            ".byte 0\n.popsection\n");                                                             \
    extern const char asset_##name[], asset_##name##_end[];

EMBED(index, "index.html")
EMBED(style, "page.css")
EMBED(script, "page.js")
EMBED(icon, "icon.svg")

bool asset_find(const char *path, struct asset *out)
{
    static const struct {
        const char *path, *type, *begin, *end;
    } table[] = {
        {"/", "text/html; charset=utf-8", asset_index, asset_index_end},
        {"/page.css", "text/css; charset=utf-8", asset_style, asset_style_end},
        {"/page.js", "text/javascript; charset=utf-8", asset_script, asset_script_end},
        {"/icon.svg", "image/svg+xml", asset_icon, asset_icon_end},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(path, table[i].path) == 0) {
            size_t size = (size_t)(table[i].end - table[i].begin);
            *out = (struct asset){table[i].path, table[i].type, table[i].begin, size};
            return true;
        }
    }
    return false;
}
