/* A night as it happens: samples in, and at the end of each epoch its stage. */
#ifndef STAGE_H
#define STAGE_H

#include <stdbool.h>

#include "feature_row.h"
#include "model.h"
#include "motion.h"
#include "network.h"

enum reason { STAGED, NOT_WORN, NO_DATA };

extern const char *const reason_names[];

/* All that is remembered: in memory that the caller has, and nothing else is ever allocated. */
struct stager {
    struct features features;
    struct acceleration acceleration;
    struct network network;
    double before, asleep, sums[N_CLASSES]; /* of the prior correction */
};

struct epoch {
    double start;
    double features[N_FEATURES];
    double predicted[N_CLASSES];     /* by the networks */
    double corrected[N_CLASSES];     /* after the prior correction */
    double probabilities[N_CLASSES]; /* after the temperature; of no use where there is a reason */
    double confidence;
    int stage;                       /* place in class_names, -1 where unscored */
    enum reason reason;              /* why it is unscored */
};

/* Begin a night; any clock, in seconds. */
void stager_begin(struct stager *state, double start);

/* End of the open epoch. Everything before it has to be pushed before the epoch is closed, each
 * signal in the order of time; what was before the night, first. Motion is either summaries, which
 * are stamped with the end of their 15 s, or raw acceleration in g. False if a sample was refused;
 * see feature_row.h. A heart rate that is none is left out. */
double stager_now(const struct stager *state);
bool stager_push_heart_rate(struct stager *state, double time, double bpm);
bool stager_push_motion(struct stager *state, double time, const struct summary *summary);
bool stager_push_acceleration(struct stager *state, double time, const double xyz[3]);
bool stager_push_steps(struct stager *state, double time, double steps);

/* Stage the open epoch, and open the next. */
void stager_close_epoch(struct stager *state, bool find_rem, struct epoch *epoch);

#endif
