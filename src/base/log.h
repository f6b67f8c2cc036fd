#pragma once
// logfmt lines to stderr or a file, journald priorities when stderr is the journal. The layer that
// decides logs, once. Any thread.
//   log_write(LOG_WARN, "lane lost", "node=%s error=%s", name, weir_strerror(e));
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

// `path` NULL or "stderr" or "": stderr. Returns 0 or WEIR_EIO; on failure the old log stays.
int log_open(const char *path, enum log_level level);
void log_set_level(enum log_level level);
// Opens the path again, for rotation (HUP).
int log_reopen(void);
__attribute__((format(printf, 3, 4))) void log_write(enum log_level level, const char *message,
                                                     const char *fields, ...);
