#include "network.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define CLIP 5.0f    /* standard deviations */
#define EPSILON 1e-5f /* of layer norms */

/* out = weights · in + bias; without bias where it is NULL. */
static void linear(int n_out, int n_in, const float *weights, const float *bias, const float *in,
                   float *out)
{
    for (int row = 0; row < n_out; row++, weights += n_in) {
        float sum = 0;
        for (int at = 0; at < n_in; at++)
            sum += weights[at] * in[at];
        out[row] = sum + (bias ? bias[row] : 0);
    }
}

/* Every second position of a convolution with zeros around, and then the larger of it and 0. */
static void convolve(int n_channels, int n_taps, int length, const float *weights,
                     const float *bias, const float *in, float *out)
{
    for (int channel = 0; channel < CHANNELS; channel++, weights += n_channels * n_taps)
        for (int centre = 0; centre < length; centre += 2) {
            float sum = bias[channel];
            for (int from = 0; from < n_channels; from++)
                for (int tap = 0; tap < n_taps; tap++) {
                    int at = centre + tap - n_taps / 2;
                    if (at >= 0 && at < length)
                        sum += weights[from * n_taps + tap] * in[from * length + at];
                }
            *out++ = fmaxf(sum, 0);
        }
}

/* Standardised columns, which of them are known, and what was found in the trace. */
static void read_inputs(const struct inputs *weights, const float *given, const float *known,
                        float out[N_INPUTS])
{
    float values[N_COLUMNS], trace[2][N_TRACE_STEPS];
    float first[CHANNELS][HALF_TRACE], second[CHANNELS][QUARTER_TRACE], found[2 * CHANNELS];

    for (int column = 0; column < N_COLUMNS; column++) {
        float scaled = (given[column] - weights->mean[column]) / weights->std[column];
        values[column] = known[column] * fminf(fmaxf(scaled, -CLIP), CLIP);
    }
    memcpy(out, values, N_SUMMARIES * sizeof *out);
    memcpy(out + N_SUMMARIES, known, N_SUMMARIES * sizeof *out);

    memcpy(trace[0], values + N_SUMMARIES, sizeof trace[0]);
    memcpy(trace[1], known + N_SUMMARIES, sizeof trace[1]);
    convolve(2, FIRST_TAPS, N_TRACE_STEPS, &weights->first[0][0][0], weights->first_bias,
             &trace[0][0], &first[0][0]);
    convolve(CHANNELS, SECOND_TAPS, HALF_TRACE, &weights->second[0][0][0], weights->second_bias,
             &first[0][0], &second[0][0]);
    for (int channel = 0; channel < CHANNELS; channel++) {
        float sum = 0, most = second[channel][0];
        for (int at = 0; at < QUARTER_TRACE; at++) {
            sum += second[channel][at];
            most = fmaxf(most, second[channel][at]);
        }
        found[channel] = sum / QUARTER_TRACE;
        found[CHANNELS + channel] = most;
    }
    linear(CHANNELS, 2 * CHANNELS, &weights->condense[0][0], weights->condense_bias, found,
           out + 2 * N_SUMMARIES);
}

static float sigmoid(float value)
{
    return 1 / (1 + expf(-value));
}

static void step_lstm(const struct lstm *weights, struct lstm_state *state, const float *values,
                      const float *known, float scores[N_CLASSES])
{
    float inputs[N_INPUTS], into[4 * HIDDEN], back[4 * HIDDEN];
    read_inputs(&weights->inputs, values, known, inputs);
    linear(4 * HIDDEN, N_INPUTS, &weights->into[0][0], weights->bias, inputs, into);
    linear(4 * HIDDEN, HIDDEN, &weights->back[0][0], NULL, state->hidden, back);
    for (int unit = 0; unit < HIDDEN; unit++) {
        float gates[4];
        for (int gate = 0; gate < 4; gate++)
            gates[gate] = into[gate * HIDDEN + unit] + back[gate * HIDDEN + unit];
        state->cell[unit] =
            sigmoid(gates[2]) * state->cell[unit] + sigmoid(gates[0]) * tanhf(gates[3]);
        state->hidden[unit] = sigmoid(gates[1]) * tanhf(state->cell[unit]);
    }
    linear(N_CLASSES, HIDDEN, &weights->output[0][0], weights->output_bias, state->hidden, scores);
}

static void normalise(const struct norm *weights, const float in[WIDTH], float out[WIDTH])
{
    float mean = 0, variance = 0;
    for (int at = 0; at < WIDTH; at++)
        mean += in[at] / WIDTH;
    for (int at = 0; at < WIDTH; at++)
        variance += (in[at] - mean) * (in[at] - mean) / WIDTH;
    for (int at = 0; at < WIDTH; at++)
        out[at] = (in[at] - mean) / sqrtf(variance + EPSILON) * weights->weight[at]
                  + weights->bias[at];
}

/* Shares that add up to one. */
static void softmax(float *scores, int n)
{
    float most = scores[0], sum = 0;
    for (int at = 1; at < n; at++)
        most = fmaxf(most, scores[at]);
    for (int at = 0; at < n; at++)
        sum += scores[at] = expf(scores[at] - most);
    for (int at = 0; at < n; at++)
        scores[at] /= sum;
}

/* What one head finds in the past and in the present epoch, each as the layer has seen it.
 *
 * A score is query · (key matrix · epoch), and so (query · key matrix) · epoch; likewise values are
 * made of the weighted mean of the epochs. Keys and values of the past are thus never computed. */
static void attend(const struct layer *weights, int head, const float *query, const float *present,
                   const float memory[REMEMBERED][WIDTH], uint32_t n_epochs, float *found)
{
    float asked[WIDTH] = {0}, mean[WIDTH] = {0}, scores[CONTEXT];
    int n_past = n_epochs < REMEMBERED ? (int)n_epochs : REMEMBERED;
    int first = head * HEAD_WIDTH;
    float slope = exp2f(-8.0f * (float)(head + 1) / HEADS);

    for (int row = first; row < first + HEAD_WIDTH; row++)
        for (int at = 0; at < WIDTH; at++)
            asked[at] += query[row] * weights->key[row][at];
    for (int back = 0; back <= n_past; back++) {
        const float *epoch =
            back ? memory[(n_epochs - (uint32_t)back) % REMEMBERED] : present;
        float sum = 0;
        for (int at = 0; at < WIDTH; at++)
            sum += asked[at] * epoch[at];
        scores[back] = sum / sqrtf(HEAD_WIDTH) - slope * (float)back;
    }
    softmax(scores, n_past + 1);
    for (int back = 0; back <= n_past; back++) {
        const float *epoch =
            back ? memory[(n_epochs - (uint32_t)back) % REMEMBERED] : present;
        for (int at = 0; at < WIDTH; at++)
            mean[at] += scores[back] * epoch[at];
    }
    linear(HEAD_WIDTH, WIDTH, weights->value[first], weights->value_bias + first, mean,
           found + first);
}

static void step_layer(const struct layer *weights, float memory[REMEMBERED][WIDTH],
                       uint32_t n_epochs, float hidden[WIDTH])
{
    float seen[WIDTH], query[WIDTH], found[WIDTH], added[WIDTH], wide[2 * WIDTH];
    normalise(&weights->attention_norm, hidden, seen);
    linear(WIDTH, WIDTH, &weights->query[0][0], weights->query_bias, seen, query);
    for (int head = 0; head < HEADS; head++)
        attend(weights, head, query, seen, (const float(*)[WIDTH])memory, n_epochs, found);
    memcpy(memory[n_epochs % REMEMBERED], seen, sizeof seen); /* in the place of the oldest */
    linear(WIDTH, WIDTH, &weights->project[0][0], weights->project_bias, found, added);
    for (int at = 0; at < WIDTH; at++)
        hidden[at] += added[at];

    normalise(&weights->forward_norm, hidden, seen);
    linear(2 * WIDTH, WIDTH, &weights->widen[0][0], weights->widen_bias, seen, wide);
    for (int at = 0; at < 2 * WIDTH; at++)
        wide[at] *= 0.5f * (1 + erff(wide[at] / sqrtf(2)));
    linear(WIDTH, 2 * WIDTH, &weights->narrow[0][0], weights->narrow_bias, wide, added);
    for (int at = 0; at < WIDTH; at++)
        hidden[at] += added[at];
}

static void step_transformer(const struct transformer *weights,
                             float memory[LAYERS][REMEMBERED][WIDTH], uint32_t n_epochs,
                             const float *values, const float *known, float scores[N_CLASSES])
{
    float inputs[N_INPUTS], hidden[WIDTH], last[WIDTH];
    read_inputs(&weights->inputs, values, known, inputs);
    linear(WIDTH, N_INPUTS, &weights->embed[0][0], weights->embed_bias, inputs, hidden);
    for (int layer = 0; layer < LAYERS; layer++)
        step_layer(&weights->layers[layer], memory[layer], n_epochs, hidden);
    normalise(&weights->norm, hidden, last);
    linear(N_CLASSES, WIDTH, &weights->output[0][0], weights->output_bias, last, scores);
}

void network_step(struct network *state, const float values[N_COLUMNS],
                  const float known[N_COLUMNS], double predicted[N_CLASSES])
{
    float scores[N_CLASSES];
    memset(predicted, 0, N_CLASSES * sizeof *predicted);
    for (int member = 0; member < N_LSTMS + N_TRANSFORMERS; member++) {
        int number = member - N_LSTMS;
        if (number < 0)
            step_lstm(&lstms[member], &state->lstms[member], values, known, scores);
        else
            step_transformer(&transformers[number], state->memory[number], state->n_epochs, values,
                             known, scores);
        softmax(scores, N_CLASSES);
        for (int class = 0; class < N_CLASSES; class++)
            predicted[class] += scores[class] / (N_LSTMS + N_TRANSFORMERS);
    }
    state->n_epochs++;
}
