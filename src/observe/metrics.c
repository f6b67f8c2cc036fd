#include "observe/metrics.h"

enum { gauge, counter };

const struct metric_info *metric_info(enum metric id)
{
    static const struct metric_info table[METRIC_COUNT] = {
#define METRIC(name, type, help) {#name, help, type},
        METRICS(METRIC)
#undef METRIC
    };
    return &table[id];
}
