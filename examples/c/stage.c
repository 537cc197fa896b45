#include "stage.h"

#include <math.h>
#include <string.h>

#define TRUST 30.0        /* epochs of sleep after which a night weighs as much as the typical one */
#define AWAKE_EPOCHS 120  /* of certain wake that halve what is remembered */
#define BEFORE 20.0       /* epochs of sleep after which wake counts half as begin of sleep */
#define SEEN 8.0          /* epochs of wake before sleep with which its begin is half seen */
#define BOUND 1.0         /* nats */
#define FLOOR 1e-3        /* of probability, in prior correction */
#define KNOT 10.0         /* epochs of sleep between two entries of the typical course */
#define TINY 1e-9         /* of probability, in logarithms elsewhere */
#define PATIENCE 300.0f   /* s that a heart rate may be overdue */
#define DRIFT 4e-3f       /* g */
#define DRIFT_UNSEEN 1.8e-3f

_Static_assert(sizeof(struct stager) <= 64 * 1024, "the state is to fit into 64 KB");

const char *const reason_names[] = {"", "not_worn", "no_data"};

void stager_begin(struct stager *state, double start)
{
    memset(state, 0, sizeof *state);
    features_begin(&state->features, start);
    acceleration_begin(&state->acceleration);
}

double stager_now(const struct stager *state)
{
    return features_now(&state->features);
}

bool stager_push_heart_rate(struct stager *state, double time, double bpm)
{
    /* A watch writes 0 when it has lost the pulse. */
    return bpm < 25 || bpm > 240 || features_push_heart_rate(&state->features, time, bpm);
}

bool stager_push_motion(struct stager *state, double time, const struct summary *summary)
{
    return features_push_motion(&state->features, time, summary);
}

bool stager_push_steps(struct stager *state, double time, double steps)
{
    return features_push_steps(&state->features, time, steps);
}

bool stager_push_acceleration(struct stager *state, double time, const double xyz[3])
{
    struct acceleration *acceleration = &state->acceleration;
    struct summary summary;
    double end, since = time - state->features.start;
    if (time >= stager_now(state) || (acceleration->begun && since < acceleration->time))
        return false;
    if (acceleration_push(acceleration, since, xyz, &summary, &end))
        return features_push_motion(&state->features, state->features.start + end, &summary);
    return true;
}

static enum reason unscored(const double row[N_FEATURES])
{
    /* The package has its features in single precision. */
    float overdue = (float)row[HR_OVERDUE], five = (float)row[DRIFT_5M];
    if (overdue <= PATIENCE)
        return STAGED;
    if (row[MOTION_WINDOWS_5M] == 0)
        return NO_DATA;
    bool steady = five <= (isnan(overdue) ? DRIFT_UNSEEN : DRIFT) || (float)row[DRIFT_15M] <= DRIFT;
    return row[COUNTS_5M] == 0 && steady ? NOT_WORN : STAGED;
}

/* exp(scores), divided by their sum. */
static void shares(const double scores[N_CLASSES], double out[N_CLASSES])
{
    double most = scores[0], sum = 0;
    for (int class = 1; class < N_CLASSES; class++)
        most = fmax(most, scores[class]);
    for (int class = 0; class < N_CLASSES; class++)
        sum += out[class] = exp(scores[class] - most);
    for (int class = 0; class < N_CLASSES; class++)
        out[class] /= sum;
}

/* Entry of the typical course after so many epochs of sleep. */
static double expected(double asleep, int class)
{
    double at = fmin(asleep / KNOT, N_KNOTS - 1);
    int before = (int)floor(at), after = (int)ceil(at);
    return typical[before][class] + (at - before) * (typical[after][class] - typical[before][class]);
}

/* Draw the mean of the sleep so far to where it typically is; wake is the first class. */
static void correct(struct stager *state, const double predicted[N_CLASSES],
                    double corrected[N_CLASSES])
{
    double logs[N_CLASSES], mean = 0, awake = predicted[0];
    double kept = 1 - (1 - pow(0.5, 1.0 / AWAKE_EPOCHS)) * awake;
    double sleep = (1 - awake) * (1 - awake);
    for (int class = 0; class < N_CLASSES; class++)
        mean += (logs[class] = log(predicted[class] + FLOOR)) / N_CLASSES;
    state->asleep = kept * state->asleep + sleep;
    state->before += awake * pow(0.5, state->asleep / BEFORE);
    double squared = state->before * state->before;
    double seen = squared / (squared + SEEN * SEEN);
    for (int class = 0; class < N_CLASSES; class++) {
        double log_ratio = logs[class] - mean;
        state->sums[class] = kept * state->sums[class] + sleep * log_ratio;
        double surplus = state->sums[class] - state->asleep * expected(state->asleep, class);
        double deviation = seen * surplus / (state->asleep + TRUST);
        logs[class] = log_ratio - fmin(fmax(deviation, -BOUND), BOUND);
    }
    shares(logs, corrected);
}

static void decide(struct epoch *epoch, bool find_rem)
{
    double logs[N_CLASSES], entropy = 0, most = -1;
    for (int class = 0; class < N_CLASSES; class++)
        logs[class] = log(epoch->corrected[class] + TINY) / temperature;
    shares(logs, epoch->probabilities);
    for (int class = 0; class < N_CLASSES; class++) {
        double share = epoch->probabilities[class];
        double weighted = find_rem ? share * factors[class] : share;
        entropy -= share * log(share + TINY);
        if (weighted > most) {
            most = weighted;
            epoch->stage = class;
        }
    }
    epoch->confidence = fmin(fmax(1 - entropy / log(N_CLASSES), 0), 1);
    if (epoch->reason != STAGED) {
        epoch->stage = -1;
        epoch->confidence = 0;
    }
}

void stager_close_epoch(struct stager *state, bool find_rem, struct epoch *epoch)
{
    float values[N_COLUMNS], known[N_COLUMNS];
    struct summary summary;
    double end, now = stager_now(state), start = state->features.start;
    if (acceleration_close(&state->acceleration, now - start, &summary, &end))
        features_push_motion(&state->features, start + end, &summary);
    epoch->start = now - EPOCH_SECONDS;
    features_close_epoch(&state->features, epoch->features);
    for (int column = 0; column < N_COLUMNS; column++) {
        double value = epoch->features[columns[column]];
        known[column] = !isnan(value);
        values[column] = isnan(value) ? 0 : (float)value;
    }
    network_step(&state->network, values, known, epoch->predicted);
    /* Epochs in the dark count in the state as all others do. */
    if (N_KNOTS > 1)
        correct(state, epoch->predicted, epoch->corrected);
    else
        memcpy(epoch->corrected, epoch->predicted, sizeof epoch->corrected);
    epoch->reason = unscored(epoch->features);
    decide(epoch, find_rem);
}
