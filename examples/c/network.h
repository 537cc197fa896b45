/* The networks of a model, one epoch at a time: LSTMs and Transformers, both over the same inputs. */
#ifndef NETWORK_H
#define NETWORK_H

#include <stdint.h>

#include "model.h"

enum {
    N_SUMMARIES = N_COLUMNS - N_TRACE_STEPS, /* columns that are no step of the trace */
    N_INPUTS = 2 * N_SUMMARIES + CHANNELS,
    HALF_TRACE = (N_TRACE_STEPS + 1) / 2,
    QUARTER_TRACE = (HALF_TRACE + 1) / 2,
    FIRST_TAPS = 7,
    SECOND_TAPS = 5,
    HEAD_WIDTH = WIDTH / HEADS,
    REMEMBERED = CONTEXT - 1
};

/* Weights: a row for each output. */

struct inputs {
    float mean[N_COLUMNS], std[N_COLUMNS];
    float first[CHANNELS][2][FIRST_TAPS], first_bias[CHANNELS];
    float second[CHANNELS][CHANNELS][SECOND_TAPS], second_bias[CHANNELS];
    float condense[CHANNELS][2 * CHANNELS], condense_bias[CHANNELS];
};

struct lstm { /* gates in the order of ONNX: input, output, forget, cell */
    struct inputs inputs;
    float into[4 * HIDDEN][N_INPUTS], back[4 * HIDDEN][HIDDEN], bias[4 * HIDDEN];
    float output[N_CLASSES][HIDDEN], output_bias[N_CLASSES];
};

struct norm {
    float weight[WIDTH], bias[WIDTH];
};

struct layer {
    struct norm attention_norm;
    float key[WIDTH][WIDTH]; /* its bias adds the same to all scores, and so nothing */
    float value[WIDTH][WIDTH], value_bias[WIDTH];
    float query[WIDTH][WIDTH], query_bias[WIDTH];
    float project[WIDTH][WIDTH], project_bias[WIDTH];
    struct norm forward_norm;
    float widen[2 * WIDTH][WIDTH], widen_bias[2 * WIDTH];
    float narrow[WIDTH][2 * WIDTH], narrow_bias[WIDTH];
};

struct transformer {
    struct inputs inputs;
    float embed[WIDTH][N_INPUTS], embed_bias[WIDTH];
    struct layer layers[LAYERS];
    struct norm norm;
    float output[N_CLASSES][WIDTH], output_bias[N_CLASSES];
};

extern const struct lstm lstms[N_LSTMS];
extern const struct transformer transformers[N_TRANSFORMERS];

struct lstm_state {
    float hidden[HIDDEN], cell[HIDDEN];
};

struct network {
    struct lstm_state lstms[N_LSTMS];
    float memory[N_TRANSFORMERS][LAYERS][REMEMBERED][WIDTH]; /* past epochs as each layer saw them */
    uint32_t n_epochs; /* epoch n is at n modulo REMEMBERED */
};

/* Mean of all members' probabilities of the next epoch, from values of the model's columns, 0 where
 * unknown, and 1 where known. The state before the first epoch is all zeros. */
void network_step(struct network *state, const float values[N_COLUMNS],
                  const float known[N_COLUMNS], double predicted[N_CLASSES]);

#endif
