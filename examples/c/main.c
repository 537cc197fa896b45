/* A night in CSV files to one line per epoch; see README.md. Files stand in for sensors: they are
 * read line by line, each sample when its time has come. */

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "stage.h"

static const char usage[] =
    "usage: stage --start SECONDS --epochs N [--heart-rate FILE] [--motion FILE | --acceleration FILE]\n"
    "             [--steps FILE] [--find-rem] [--features] [--cost]\n";

struct source {
    const char *path;
    FILE *file;
    int n_values, line;
    double row[5]; /* time and values that were read last and not pushed yet */
    bool waiting;
};

enum { HEART_RATE, MOTION, ACCELERATION, STEPS, N_SOURCES };

static struct stager stager; /* all memory that staging needs, but for the stack */

static void fail(const struct source *source, const char *what)
{
    fprintf(stderr, "%s, line %d: %s\n", source->path, source->line, what);
    exit(1);
}

/* Read the next line of numbers; a first line that begins with a letter is a header. */
static void advance(struct source *source)
{
    char line[256];
    source->waiting = false;
    while (source->file && fgets(line, sizeof line, source->file)) {
        char *at = line, *end = line;
        source->line++;
        if (source->line == 1 && isalpha((unsigned char)line[0]))
            continue;
        for (int number = 0; number <= source->n_values; number++, at = end + 1) {
            source->row[number] = strtod(at, &end);
            bool last = number == source->n_values;
            if (end == at || !isfinite(source->row[number]) || !strchr(last ? "\r\n" : ",", *end))
                fail(source, "expected numbers with commas between, time first");
        }
        source->waiting = true;
        return;
    }
}

static bool push(int kind, const double row[5])
{
    struct summary summary = {row[1], {row[2], row[3], row[4]}};
    switch (kind) {
    case HEART_RATE:
        return stager_push_heart_rate(&stager, row[0], row[1]);
    case MOTION:
        return stager_push_motion(&stager, row[0], &summary);
    case ACCELERATION:
        return stager_push_acceleration(&stager, row[0], &row[1]);
    default:
        return stager_push_steps(&stager, row[0], row[1]);
    }
}

/* Push what was measured until the end of the open epoch. */
static void measure(struct source sources[N_SOURCES])
{
    double now = stager_now(&stager);
    for (int kind = 0; kind < N_SOURCES; kind++) {
        struct source *source = &sources[kind];
        while (source->waiting && source->row[0] <= now
               && (source->row[0] < now || kind == MOTION)) {
            if (!push(kind, source->row))
                fail(source, "not in the order of time, or too many samples in 30 minutes");
            advance(source);
        }
    }
}

static void print_numbers(const double *numbers, int n)
{
    for (int at = 0; at < n; at++)
        if (isnan(numbers[at]))
            printf(",");
        else
            printf(",%.9g", numbers[at]);
}

static void print_header(bool features)
{
    static const char *const groups[] = {"predicted", "corrected", "probability"};
    printf("time,stage,reason,confidence");
    for (int group = 0; group < 3; group++)
        for (int class = 0; class < N_CLASSES; class++)
            printf(",%s_%s", groups[group], class_names[class]);
    for (int at = 0; features && at < N_FEATURES; at++)
        printf(",%s", feature_names[at]);
    printf("\n");
}

static void print_epoch(const struct epoch *epoch, bool features)
{
    const char *stage = epoch->stage < 0 ? "unscored" : class_names[epoch->stage];
    printf("%.17g,%s,%s", epoch->start, stage, reason_names[epoch->reason]);
    print_numbers(&epoch->confidence, 1);
    print_numbers(epoch->predicted, N_CLASSES);
    print_numbers(epoch->corrected, N_CLASSES);
    print_numbers(epoch->probabilities, N_CLASSES);
    print_numbers(epoch->features, features ? N_FEATURES : 0);
    printf("\n");
}

/* Place of a word among the arguments, 0 where it is not; counts those that were found. */
static int find(int argc, char **argv, const char *word, int *n_found)
{
    for (int at = 1; at < argc; at++)
        if (!strcmp(argv[at], word)) {
            ++*n_found;
            return at;
        }
    return 0;
}

/* The word behind it, NULL where there is none. */
static const char *find_value(int argc, char **argv, const char *word, int *n_found)
{
    int at = find(argc, argv, word, n_found);
    *n_found += at > 0;
    return at > 0 ? argv[at + 1] : NULL; /* argv ends with NULL */
}

int main(int argc, char **argv)
{
    struct source sources[N_SOURCES] = {
        [HEART_RATE] = {.n_values = 1}, [MOTION] = {.n_values = 4},
        [ACCELERATION] = {.n_values = 3}, [STEPS] = {.n_values = 1},
    };
    static const char *const options[N_SOURCES] = {
        [HEART_RATE] = "--heart-rate", [MOTION] = "--motion",
        [ACCELERATION] = "--acceleration", [STEPS] = "--steps",
    };
    int n_found = 1;
    struct epoch epoch;
    clock_t ticks = 0;

    const char *start_word = find_value(argc, argv, "--start", &n_found);
    const char *epochs_word = find_value(argc, argv, "--epochs", &n_found);
    bool find_rem = find(argc, argv, "--find-rem", &n_found);
    bool features = find(argc, argv, "--features", &n_found);
    bool cost = find(argc, argv, "--cost", &n_found);
    for (int kind = 0; kind < N_SOURCES; kind++)
        sources[kind].path = find_value(argc, argv, options[kind], &n_found);
    double start = start_word ? strtod(start_word, NULL) : NAN;
    long epochs = epochs_word ? strtol(epochs_word, NULL, 10) : 0;
    if (n_found != argc || !isfinite(start) || epochs < 1
        || (sources[MOTION].path && sources[ACCELERATION].path)) {
        fputs(usage, stderr);
        return 1;
    }
    for (int kind = 0; kind < N_SOURCES; kind++) {
        if (sources[kind].path && !(sources[kind].file = fopen(sources[kind].path, "r"))) {
            perror(sources[kind].path);
            return 1;
        }
        advance(&sources[kind]);
    }

    stager_begin(&stager, start);
    print_header(features);
    for (long number = 0; number < epochs; number++) {
        clock_t begin = clock();
        measure(sources);
        stager_close_epoch(&stager, find_rem, &epoch);
        ticks += clock() - begin;
        print_epoch(&epoch, features);
    }
    if (cost)
        fprintf(stderr, "%zu bytes of state, %.1f us an epoch\n", sizeof stager,
                1e6 * (double)ticks / CLOCKS_PER_SEC / (double)epochs);
    return 0;
}
