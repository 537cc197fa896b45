#include "motion.h"

#include <math.h>
#include <string.h>

#define PI 3.14159265358979323846
#define RATE 50.0          /* Hz */
#define LOW 3.0            /* Hz, both: the band */
#define HIGH 11.0
#define MAX_GAP 1.0        /* s without a sample after which the filter starts anew */
#define BIN (5.0 / 128)    /* g */

/* Squared gain of the Butterworth band-pass at step `k` of 4096. */
static double gain(int k)
{
    double low = tan(PI * LOW / RATE), high = tan(PI * HIGH / RATE);
    double warped = tan(PI * fmin(k * RATE / 4096, 0.4999 * RATE) / RATE);
    double detuning = (warped * warped - low * high) / (warped * (high - low));
    return k == 0 ? 0 : 1 / (1 + pow(detuning, 10));
}

void acceleration_begin(struct acceleration *state)
{
    double sum = 0;
    memset(state, 0, sizeof *state);
    for (int k = 0; k <= 2048; k++) { /* the inverse Fourier transform of the gain */
        double weight = gain(k) * (k == 0 || k == 2048 ? 1 : 2) / 4096;
        for (int at = 0; at <= HALF; at++)
            state->kernel[at] += weight * cos(2 * PI * k * at / 4096);
    }
    for (int at = 0; at <= HALF; at++)
        sum += state->kernel[at] * (at == 0 ? 1 : 2);
    for (int at = 0; at <= HALF; at++)
        state->kernel[at] -= sum / TAPS; /* gravity leaves nothing behind */
}

/* Put the next value of the resampled z axis into the filter; magnitude of what comes out. */
static double filter(struct acceleration *state, double z)
{
    double sum = 0;
    state->newest = (state->newest + 1) % TAPS;
    state->line[state->newest] = z;
    for (int tap = 0; tap < TAPS; tap++)
        sum += state->kernel[tap < HALF ? HALF - tap : tap - HALF]
               * state->line[(state->newest + TAPS - tap) % TAPS];
    return fabs(sum);
}

/* Number of the last grid point at or before `time`, whatever the product rounds to. */
static double last_point(double time)
{
    double point = floor(time * RATE);
    if ((point + 1) / RATE <= time)
        return point + 1;
    return point / RATE > time ? point - 1 : point;
}

/* Loudest value of the filter up to this sample. */
static double loudness(struct acceleration *state, double time, double z)
{
    double loudest = 0, last = last_point(time);
    if (!state->begun || time - state->time > MAX_GAP) {
        for (int tap = 0; tap < TAPS; tap++)
            state->line[tap] = z;
    } else if (time > state->time) {
        double slope = (z - state->z) / (time - state->time);
        for (double point = state->next_point; point <= last; point++)
            loudest = fmax(loudest,
                           filter(state, slope * (point / RATE - state->time) + state->z));
    } else {
        return 0; /* of samples at one time the first makes the line */
    }
    state->next_point = last + 1;
    state->time = time;
    state->z = z;
    state->begun = true;
    return loudest;
}

static void close_window(struct acceleration *state, struct summary *summary, double *end)
{
    double sum = 0, n = 0;
    memset(summary, 0, sizeof *summary);
    for (int second = 0; second < WINDOW_SECONDS; second++) {
        sum += fmin(floor(state->maxima[second][0] / BIN), 128) + 1;
        n += state->present[second];
        for (int axis = 0; axis < 3; axis++)
            summary->peak[axis] += state->maxima[second][1 + axis];
    }
    summary->counts = 3.07 * fmax(sum - 18, 0);
    for (int axis = 0; axis < 3; axis++)
        summary->peak[axis] /= n;
    *end = (state->window + 1) * WINDOW_SECONDS;
    memset(state->maxima, 0, sizeof state->maxima);
    memset(state->present, 0, sizeof state->present);
    state->open = false;
}

bool acceleration_close(struct acceleration *state, double until, struct summary *summary,
                        double *end)
{
    if (!state->open || (state->window + 1) * WINDOW_SECONDS > until)
        return false;
    close_window(state, summary, end);
    return true;
}

bool acceleration_push(struct acceleration *state, double time, const double xyz[3],
                       struct summary *summary, double *end)
{
    double window = floor(time / WINDOW_SECONDS);
    bool closed = acceleration_close(state, window * WINDOW_SECONDS, summary, end);
    int second = (int)(floor(time) - window * WINDOW_SECONDS);
    double *maxima = state->maxima[second];
    state->window = window;
    state->open = state->present[second] = true;
    maxima[0] = fmax(maxima[0], loudness(state, time, xyz[2]));
    for (int axis = 0; axis < 3; axis++)
        maxima[1 + axis] = fmax(maxima[1 + axis], fabs(xyz[axis]));
    return closed;
}
