/* Heart rate, motion and steps to one row of numbers per 30 s epoch; docs/edge.md has it in words. */
#ifndef FEATURE_ROW_H
#define FEATURE_ROW_H

#include <stdbool.h>
#include <stdint.h>

enum {
    EPOCH_SECONDS = 30,
    N_LEVELS = 1200,  /* epochs whose heart rate makes the baseline */
    N_CALM = 960,     /* epochs whose calm is remembered */
    N_TRACE = 30,     /* steps of the trace of heart rate */
    MAX_BEATS = 512,  /* heart rates of 30 minutes: one in 3.5 s */
    MAX_WINDOWS = 124 /* motion summaries of 30 minutes, of 15 s each, and a few more */
};

/* Columns in the order of the package, the trace at the end. */
enum feature {
    HR_30S, HR_SD_2M, HR_SD_10M, HR_STEP_SD_5M, HR_1M_VS_10M, HR_5M_VS_30M, HR_1M_VS_REST,
    HR_10M_VS_REST, HR_FLOOR_10H, HR_REST_10H, HR_SAMPLES_1M, HR_AGE, HR_OVERDUE,
    COUNTS_30S, COUNTS_5M, COUNTS_MAX_20M, STILL, POSTURE_30S, POSTURE_5M, PEAK_LENGTH,
    MOTION_WINDOWS_5M, DRIFT_5M, DRIFT_15M, CALM_2H, CALM_8H, SINCE_UP,
    SINCE_WALK,
    HR_TRACE,
    N_FEATURES = HR_TRACE + N_TRACE
};

/* 15 s of motion: an activity count, and the mean of each second's largest |x|, |y| and |z| in g. */
struct summary {
    double counts, peak[3];
};

/* The last 30 minutes of a signal, in rings: sample `n` is at `n` modulo the length. */
struct beats {
    double time[MAX_BEATS];
    float bpm[MAX_BEATS];
    uint32_t first, end; /* numbers of the oldest one kept, and of the next */
};

struct motion {
    double time[MAX_WINDOWS]; /* end of the window */
    struct summary summary[MAX_WINDOWS];
    uint32_t first, end;
};

struct features {
    double start;                   /* of the first epoch, in seconds on the samples' clock */
    uint32_t n_epochs;              /* closed so far */
    struct beats beats;
    struct motion motion;
    double levels[N_LEVELS];        /* mean heart rate of the last epochs, NaN where none; a ring */
    uint16_t ordered[N_LEVELS];     /* where the known levels are, the lowest first */
    uint16_t n_ordered;
    uint8_t calm[N_CALM / 8];       /* one bit for each of the last epochs: it was calm; a ring */
    uint32_t n_stirring;            /* epochs without calm up to now, one after the other */
    uint32_t last_up;               /* number of the last epoch that ended 20 of them, 0 for none */
    double last_movement;           /* all three: time, NaN for none */
    double last_steps, last_walk;
};

void features_begin(struct features *state, double start);

/* End of the open epoch. Heart rate and steps before it, and summaries up to it, have to be pushed
 * before the epoch is closed, each signal in the order of time. What belongs to a later epoch, is
 * older than what came before, or finds 30 minutes full is refused: false. */
double features_now(const struct features *state);
bool features_push_heart_rate(struct features *state, double time, double bpm);
bool features_push_motion(struct features *state, double time, const struct summary *summary);
bool features_push_steps(struct features *state, double time, double steps);

/* Row of the open epoch, NaN where unknown; the next one opens. */
void features_close_epoch(struct features *state, double row[N_FEATURES]);

#endif
