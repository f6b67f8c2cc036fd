#pragma once
// Answers one HTTP request: libmicrohttpd's MHD_AccessHandlerCallback, with struct admin as
// context.
#include "admin/internal.h"
#include <microhttpd.h>

enum MHD_Result http_request(void *context, struct MHD_Connection *c, const char *path,
                             const char *method, const char *version, const char *upload,
                             size_t *upload_size, void **state);
