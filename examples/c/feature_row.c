#include "feature_row.h"

#include <math.h>
#include <string.h>

#define MINUTE 60.0
#define MEMORY (30 * MINUTE)        /* s of heart rate and motion that are looked back on */
#define DAY (24 * 3600.0)
#define PER_HOUR (3600.0 / EPOCH_SECONDS)
#define AT_REST 8.0                 /* bpm above the floor */
#define CALM_SHARE 0.1              /* of windows with movement */
#define UP_EPOCHS 20                /* without calm, one after the other: somebody is up */
#define N_UP 900                    /* epochs in which that is looked for */
#define TURN_FLOOR 1e-3             /* g, about the noise of a watch that lies still */
#define WINDOW 15.0                 /* s of a summary */
#define COVERED 0.8                 /* of a stretch have to be known to say that nothing moved */
#define TRACE_STEP 10.0             /* s */
#define TRACE_AGE 20.0              /* s for which a heart rate holds */

enum calmness { NO_MOTION, CALM, STIRRING };

void features_begin(struct features *state, double start)
{
    memset(state, 0, sizeof *state);
    state->start = start;
    state->last_movement = state->last_steps = state->last_walk = NAN;
}

double features_now(const struct features *state)
{
    return state->start + (state->n_epochs + 1.0) * EPOCH_SECONDS;
}

/* Samples */

static double beat_time(const struct beats *beats, uint32_t number)
{
    return beats->time[number % MAX_BEATS];
}

static double bpm(const struct beats *beats, uint32_t number)
{
    return beats->bpm[number % MAX_BEATS];
}

static double window_time(const struct motion *motion, uint32_t number)
{
    return motion->time[number % MAX_WINDOWS];
}

static const struct summary *summary(const struct motion *motion, uint32_t number)
{
    return &motion->summary[number % MAX_WINDOWS];
}

/* Whether the newest heart rate is the same once more. */
static bool is_copy(const struct beats *beats, double time, double value)
{
    uint32_t newest = beats->end - 1;
    return beats->end > beats->first && time == beat_time(beats, newest)
           && (float)value == (float)bpm(beats, newest);
}

/* Whether the newest summary is the same once more. */
static bool is_copy_of_summary(const struct motion *motion, double time,
                               const struct summary *given)
{
    uint32_t newest = motion->end - 1;
    return motion->end > motion->first && time == window_time(motion, newest)
           && !memcmp(given, summary(motion, newest), sizeof *given);
}

bool features_push_heart_rate(struct features *state, double time, double value)
{
    struct beats *beats = &state->beats;
    double now = features_now(state);
    if (time >= now || (beats->end > 0 && time < beat_time(beats, beats->end - 1)))
        return false;
    if (time < now - MEMORY || is_copy(beats, time, value))
        return true; /* nothing looks back on it any more, or it is known */
    if (beats->end - beats->first == MAX_BEATS) {
        if (beat_time(beats, beats->first) >= now - MEMORY)
            return false;
        beats->first++;
    }
    beats->time[beats->end % MAX_BEATS] = time;
    beats->bpm[beats->end % MAX_BEATS] = (float)value;
    beats->end++;
    return true;
}

bool features_push_motion(struct features *state, double time, const struct summary *given)
{
    struct motion *motion = &state->motion;
    double now = features_now(state);
    if (time > now || (motion->end > 0 && time < window_time(motion, motion->end - 1)))
        return false;
    if (time > now - MEMORY && !is_copy_of_summary(motion, time, given)) {
        if (motion->end - motion->first == MAX_WINDOWS) {
            if (window_time(motion, motion->first) > now - MEMORY)
                return false;
            motion->first++;
        }
        motion->time[motion->end % MAX_WINDOWS] = time;
        motion->summary[motion->end % MAX_WINDOWS] = *given;
        motion->end++;
    }
    if (given->counts > 0)
        state->last_movement = time;
    return true;
}

bool features_push_steps(struct features *state, double time, double steps)
{
    if (time >= features_now(state) || time < state->last_steps)
        return false;
    state->last_steps = time;
    if (steps > 0)
        state->last_walk = time;
    return true;
}

/* Number of the first heart rate at `time` or later. */
static uint32_t first_beat(const struct beats *beats, double time)
{
    uint32_t number = beats->end;
    while (number > beats->first && beat_time(beats, number - 1) >= time)
        number--;
    return number;
}

/* Number of the first summary later than `time`. */
static uint32_t first_window(const struct motion *motion, double time)
{
    uint32_t number = motion->end;
    while (number > motion->first && window_time(motion, number - 1) > time)
        number--;
    return number;
}

/* Heart rate; windows go from a number to the newest sample. Of nothing, 0 / 0 is NaN. */

static double mean_bpm(const struct beats *beats, uint32_t first)
{
    double sum = 0;
    for (uint32_t at = first; at < beats->end; at++)
        sum += bpm(beats, at);
    return sum / (beats->end - first);
}

static double spread_bpm(const struct beats *beats, uint32_t first)
{
    double mean = mean_bpm(beats, first), sum = 0;
    uint32_t n = beats->end - first;
    for (uint32_t at = first; at < beats->end; at++)
        sum += (bpm(beats, at) - mean) * (bpm(beats, at) - mean);
    return n >= 3 ? sqrt(sum / n) : NAN;
}

/* The same of differences between successive values. */
static double spread_steps(const struct beats *beats, uint32_t first)
{
    if (beats->end - first < 4)
        return NAN;
    uint32_t n = beats->end - first - 1;
    double mean = (bpm(beats, beats->end - 1) - bpm(beats, first)) / n, sum = 0;
    for (uint32_t at = first + 1; at < beats->end; at++) {
        double apart = bpm(beats, at) - bpm(beats, at - 1) - mean;
        sum += apart * apart;
    }
    return sqrt(sum / n);
}

/* Where a level is or belongs among the ordered ones: behind all that are lower, or not higher. */
static uint16_t place(const struct features *state, double level, bool behind_equal)
{
    uint16_t low = 0, high = state->n_ordered;
    while (low < high) {
        uint16_t middle = (uint16_t)((low + high) / 2);
        double other = state->levels[state->ordered[middle]];
        if (other < level || (behind_equal && other == level))
            low = (uint16_t)(middle + 1);
        else
            high = middle;
    }
    return low;
}

/* Put the epoch's level in the place of that of ten hours ago. */
static void remember_level(struct features *state, double level)
{
    uint16_t slot = (uint16_t)(state->n_epochs % N_LEVELS);
    uint16_t *ordered = state->ordered;
    if (state->n_epochs >= N_LEVELS && !isnan(state->levels[slot])) {
        uint16_t at = place(state, state->levels[slot], false);
        while (ordered[at] != slot)
            at++; /* of equal levels */
        state->n_ordered--;
        memmove(&ordered[at], &ordered[at + 1], (state->n_ordered - at) * sizeof *ordered);
    }
    state->levels[slot] = level;
    if (!isnan(level)) {
        uint16_t at = place(state, level, true);
        memmove(&ordered[at + 1], &ordered[at], (state->n_ordered - at) * sizeof *ordered);
        ordered[at] = slot;
        state->n_ordered++;
    }
}

/* Heart rate that holds at the end of each step of the trace, less the mean of those known. */
static void trace(const struct beats *beats, double now, double held[N_TRACE])
{
    double sum = 0;
    int known = 0;
    for (int step = 0; step < N_TRACE; step++) {
        double end = now - TRACE_STEP * (N_TRACE - 1 - step);
        uint32_t after = first_beat(beats, end);
        bool young = after > beats->first && end - beat_time(beats, after - 1) <= TRACE_AGE;
        held[step] = young ? bpm(beats, after - 1) : NAN;
        if (young) {
            sum += held[step];
            known++;
        }
    }
    for (int step = 0; step < N_TRACE; step++)
        held[step] -= sum / known;
}

static void heart_rate_features(struct features *state, double now, double row[N_FEATURES])
{
    struct beats *beats = &state->beats;
    beats->first = first_beat(beats, now - MEMORY);
    uint32_t five = first_beat(beats, now - 5 * MINUTE), ten = first_beat(beats, now - 10 * MINUTE);
    uint32_t one = first_beat(beats, now - MINUTE);
    double mean_1 = mean_bpm(beats, one), mean_10 = mean_bpm(beats, ten);

    row[HR_30S] = mean_bpm(beats, first_beat(beats, now - EPOCH_SECONDS));
    row[HR_SD_2M] = spread_bpm(beats, first_beat(beats, now - 2 * MINUTE));
    row[HR_SD_10M] = spread_bpm(beats, ten);
    row[HR_STEP_SD_5M] = spread_steps(beats, five);
    row[HR_1M_VS_10M] = mean_1 - mean_10;
    row[HR_5M_VS_30M] = mean_bpm(beats, five) - mean_bpm(beats, beats->first);
    row[HR_SAMPLES_1M] = beats->end - one;
    trace(beats, now, &row[HR_TRACE]);

    double floor_bpm = NAN, resting = NAN, rested = NAN;
    remember_level(state, row[HR_30S]);
    if (state->n_ordered > 0) {
        floor_bpm = state->levels[state->ordered[(int)(0.05 * (state->n_ordered - 1))]];
        int n = place(state, floor_bpm + AT_REST, true);
        resting = (state->levels[state->ordered[(n - 1) / 2]]
                   + state->levels[state->ordered[n / 2]]) / 2;
        rested = n / PER_HOUR;
    }
    row[HR_1M_VS_REST] = mean_1 - resting;
    row[HR_10M_VS_REST] = mean_10 - resting;
    row[HR_FLOOR_10H] = floor_bpm;
    row[HR_REST_10H] = rested;

    row[HR_AGE] = row[HR_OVERDUE] = NAN;
    uint32_t n = beats->end - beats->first;
    if (n > 0) {
        double newest = beat_time(beats, beats->end - 1);
        double gap = n > 1 ? (newest - beat_time(beats, beats->first)) / (n - 1) : 0;
        row[HR_AGE] = log1p(now - newest);
        row[HR_OVERDUE] = now - newest - gap;
    }
}

/* Motion; windows go from a number to the newest summary. */

static double mean_log_counts(const struct motion *motion, uint32_t first)
{
    double sum = 0;
    for (uint32_t at = first; at < motion->end; at++)
        sum += log1p(summary(motion, at)->counts);
    return sum / (motion->end - first);
}

static double max_log_counts(const struct motion *motion, uint32_t first)
{
    double most = NAN;
    for (uint32_t at = first; at < motion->end; at++)
        most = fmax(most, log1p(summary(motion, at)->counts));
    return most;
}

/* Logarithm of the mean turn; the first summary turns from the one before, if that is known. */
static double turning(const struct motion *motion, uint32_t first)
{
    double sum = 0;
    if (first == motion->end)
        return NAN;
    if (first == motion->first)
        first++;
    for (uint32_t at = first; at < motion->end; at++)
        for (int axis = 0; axis < 3; axis++)
            sum += fabs(summary(motion, at)->peak[axis] - summary(motion, at - 1)->peak[axis]);
    return log(sum / (motion->end - first) + TURN_FLOOR);
}

/* Range of the peaks of so many seconds before the newest summary, the axes added up. */
static double drift(const struct motion *motion, double now, double seconds)
{
    if (motion->end == motion->first)
        return NAN;
    double newest = window_time(motion, motion->end - 1), sum = 0;
    uint32_t first = first_window(motion, newest - seconds);
    if (now - newest > 5 * MINUTE || (motion->end - first) * WINDOW < COVERED * seconds)
        return NAN;
    for (int axis = 0; axis < 3; axis++) {
        double least = INFINITY, most = -INFINITY;
        for (uint32_t at = first; at < motion->end; at++) {
            least = fmin(least, summary(motion, at)->peak[axis]);
            most = fmax(most, summary(motion, at)->peak[axis]);
        }
        sum += most - least;
    }
    return sum;
}

static double mean_length(const struct motion *motion, uint32_t first)
{
    double sum = 0;
    for (uint32_t at = first; at < motion->end; at++) {
        const double *peak = summary(motion, at)->peak;
        sum += sqrt(peak[0] * peak[0] + peak[1] * peak[1] + peak[2] * peak[2]);
    }
    return sum / (motion->end - first);
}

static void motion_features(struct features *state, double now, double row[N_FEATURES])
{
    struct motion *motion = &state->motion;
    motion->first = first_window(motion, now - MEMORY);
    uint32_t epoch = first_window(motion, now - EPOCH_SECONDS);
    uint32_t five = first_window(motion, now - 5 * MINUTE);
    double still_since = isnan(state->last_movement) ? state->start : state->last_movement;

    row[COUNTS_30S] = mean_log_counts(motion, epoch);
    row[COUNTS_5M] = mean_log_counts(motion, five);
    row[COUNTS_MAX_20M] = max_log_counts(motion, first_window(motion, now - 20 * MINUTE));
    row[STILL] = motion->end > motion->first ? log1p((now - still_since) / MINUTE) : NAN;
    row[POSTURE_30S] = turning(motion, epoch);
    row[POSTURE_5M] = turning(motion, five);
    row[PEAK_LENGTH] = mean_length(motion, epoch);
    row[MOTION_WINDOWS_5M] = motion->end - five;
    row[DRIFT_5M] = drift(motion, now, 5 * MINUTE);
    row[DRIFT_15M] = drift(motion, now, 15 * MINUTE);
}

/* Rest: how calm the last hours were */

static enum calmness calmness(const struct motion *motion, double now)
{
    uint32_t first = first_window(motion, now - 10 * MINUTE), moved = 0;
    for (uint32_t at = first; at < motion->end; at++)
        moved += summary(motion, at)->counts > 0;
    if (first == motion->end)
        return NO_MOTION;
    return (double)moved / (motion->end - first) <= CALM_SHARE ? CALM : STIRRING;
}

/* Hours of calm among the last `n` epochs; epochs before the first were none. */
static double hours_of_calm(const struct features *state, uint32_t n)
{
    uint32_t calm = 0;
    for (uint32_t back = 0; back < n; back++) {
        uint32_t slot = (state->n_epochs + N_CALM - back) % N_CALM;
        calm += state->calm[slot / 8] >> slot % 8 & 1;
    }
    return calm / PER_HOUR;
}

static void rest_features(struct features *state, double now, double row[N_FEATURES])
{
    enum calmness current = calmness(&state->motion, now);
    uint32_t slot = state->n_epochs % N_CALM, n_epochs = state->n_epochs + 1;
    uint8_t bit = (uint8_t)(1 << slot % 8);
    state->calm[slot / 8] = (uint8_t)((state->calm[slot / 8] & ~bit) | (current == CALM ? bit : 0));
    state->n_stirring = current == STIRRING ? state->n_stirring + 1 : 0;
    if (state->n_stirring >= UP_EPOCHS)
        state->last_up = n_epochs;
    row[CALM_2H] = row[CALM_8H] = row[SINCE_UP] = NAN;
    if (current != NO_MOTION) {
        row[CALM_2H] = hours_of_calm(state, 240);
        row[CALM_8H] = hours_of_calm(state, N_CALM);
        row[SINCE_UP] = fmin(n_epochs - state->last_up, N_UP) / PER_HOUR;
    }
}

static double since_walk(const struct features *state, double now)
{
    if (!(now - state->last_steps <= DAY))
        return NAN;
    return log1p(fmin(now - state->last_walk, DAY) / MINUTE); /* fmin prefers what is no NaN */
}

void features_close_epoch(struct features *state, double row[N_FEATURES])
{
    double now = features_now(state);
    heart_rate_features(state, now, row);
    motion_features(state, now, row);
    rest_features(state, now, row);
    row[SINCE_WALK] = since_walk(state, now);
    state->n_epochs++;
}
