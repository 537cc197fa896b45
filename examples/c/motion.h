/* Raw acceleration, sample by sample, to 15 s summaries; docs/edge.md has it in words. */
#ifndef MOTION_H
#define MOTION_H

#include <stdbool.h>

#include "feature_row.h"

enum { WINDOW_SECONDS = 15, HALF = 50, TAPS = 2 * HALF + 1 };

struct acceleration {
    double kernel[HALF + 1];             /* of the filter, from its centre */
    double line[TAPS];                   /* newest values of the resampled z axis; a ring */
    double next_point;                   /* number of the next value of it */
    double time, z;                      /* of the newest sample, seconds since the start */
    double window;                       /* number of the open window */
    double maxima[WINDOW_SECONDS][4];    /* of its seconds: filtered z, and |x|, |y|, |z| */
    bool present[WINDOW_SECONDS];
    bool begun, open;                    /* there was a sample, the window has one */
    int newest;                          /* where the newest value is in the line */
};

void acceleration_begin(struct acceleration *state);

/* Take a sample in g, `time` seconds after the start of the night and no earlier than the last. If
 * it begins another window, the one before is closed: true, with its summary and its end. */
bool acceleration_push(struct acceleration *state, double time, const double xyz[3],
                       struct summary *summary, double *end);

/* The same for the open window once all samples before its end have come. */
bool acceleration_close(struct acceleration *state, double until, struct summary *summary,
                        double *end);

#endif
