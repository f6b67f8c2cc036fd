// links: weir_config weir_base
// Any text: loads or is refused without harm; what was loaded prints and loads back to the same
// text; a refusal has words and changes nothing.
#include "base/check.h"
#include "config/directive.h"
#include <stdio.h>
#include <stdlib.h>

static struct config config, back;
static char printed[1 << 20], again[1 << 20];

static void print_all(const struct config *from, char *out)
{
    struct print text = {out, sizeof(printed), 0};
    unsigned count;
    const struct directive *table = directive_table(&count);
    out[0] = '\0';
    for (unsigned i = 0; i < count; i++) {
        print_add(&text, "%s ", table[i].shown.name);
        table[i].kind->print(&table[i], from, true, &text);
        print_add(&text, "\n");
    }
    CHECK(text.size < sizeof(printed));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[CONFIG_ERROR];
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    setenv("HOST", "10.0.0.1", 1);
    unsetenv("NONE");
    if (strstr(text, "-file") != NULL) // no paths of this machine
        text[0] = '\0';
    config_defaults(&config);
    int code = config_load_text(&config, "fuzz", text, error);
    CHECK((code == 0) == (error[0] == '\0') && strlen(error) < CONFIG_ERROR);
    if (code == 0 && config_finish(&config, error) == 0) {
        print_all(&config, printed);
        config_defaults(&back);
        CHECK(config_load_text(&back, "printed", printed, error) == 0);
        print_all(&back, again);
        CHECK(strcmp(printed, again) == 0);
    }
    size_t word = strcspn(text, " \n");
    if (text[word] != '\0') {
        text[word] = '\0';
        config_set(&config, "CONFIG SET", text, text + word + 1, error);
    }
    free(text);
    return 0;
}
