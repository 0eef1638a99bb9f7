/* One step of a spiking ResNet. Convolutions visit what is not zero alone: each adds its weights to the sums that it
 * reaches, in the order kernel row, kernel column, channel, as in Python, so that the sums have the same bits. */
#include "spikesight.h"

#include <float.h>
#include <math.h>
#include <string.h>

#if FLT_EVAL_METHOD != 0 || defined(__FAST_MATH__)
#error "float sums must be floats: build without -ffast-math, on x86 with SSE2"
#endif
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif
#ifndef SPIKESIGHT_FUSED
#define SPIKESIGHT_FUSED 1
#endif

typedef SpikesightLayer Layer;
typedef SpikesightMap Map;

static float fused(float a, float b, float c) { return SPIKESIGHT_FUSED ? fmaf(a, b, c) : a * b + c; }
static int least(int a, int b) { return a < b ? a : b; }
static int most(int a, int b) { return a > b ? a : b; }

static const uint8_t *bytes_of(const Spikesight *s, const Map *map) { return (const uint8_t *)(s->scratch + map->at); }
static float value_of(const Spikesight *s, const Map *map, int at) {
    return map->is_float ? s->scratch[map->at + (uint32_t)at] : (float)bytes_of(s, map)[at];
}

typedef struct { /* what is not zero in one pixel, a part of its channels */
    int n;
    bool ones;
    int channel[16];
    float value[16];
} Events;

/* The events' weights to one output's sums, four of them at a time, which stay in registers. */
static void add_weights(const Events *e, const SpikesightWeight *weight, int step, int channels, float *sum) {
    int o = 0;
    for (; o + 4 <= channels && e->ones; o += 4) {
        float s0 = sum[o], s1 = sum[o + 1], s2 = sum[o + 2], s3 = sum[o + 3];
        for (int i = 0; i < e->n; ++i) {
            const SpikesightWeight *w = weight + e->channel[i] * step + o;
            s0 += (float)w[0], s1 += (float)w[1], s2 += (float)w[2], s3 += (float)w[3];
        }
        sum[o] = s0, sum[o + 1] = s1, sum[o + 2] = s2, sum[o + 3] = s3;
    }
    for (; o < channels; ++o)
        for (int i = 0; i < e->n; ++i) sum[o] = fused(e->value[i], (float)weight[e->channel[i] * step + o], sum[o]);
}

/* What a pixel's events add to the sums [last - first][width][channels] of output rows first to last. */
static void scatter(const SpikesightConvolution *k, int y, int x, const Events *e, int channels, int first, int last, int width,
                    float *sums) {
    const int step = k->kernel * k->kernel * channels;
    for (int dy = (y + k->pad) % k->stride; dy < k->kernel; dy += k->stride) {
        const int row = (y + k->pad - dy) / k->stride;
        if (y + k->pad < dy || row < first || row >= last) continue;
        for (int dx = (x + k->pad) % k->stride; dx < k->kernel; dx += k->stride) {
            const int column = (x + k->pad - dx) / k->stride;
            if (x + k->pad < dx || column >= width) continue;
            const SpikesightWeight *weight = k->weight + (dy * k->kernel + dx) * channels;
            add_weights(e, weight, step, channels, sums + ((row - first) * width + column) * channels);
        }
    }
}

static void convolve(const Spikesight *s, const SpikesightConvolution *k, int channels, int first, int last, int width, float *sums) {
    const Map *in = &spikesight_maps[k->source];
    const int end = least(in->height, (last - 1) * k->stride - k->pad + k->kernel);
    for (int y = most(0, first * k->stride - k->pad); y < end; ++y)
        for (int x = 0; x < in->width; ++x) {
            Events e = {.n = 0, .ones = true};
            for (int c = 0; c < in->channels; ++c) {
                const float value = value_of(s, in, (y * in->width + x) * in->channels + c);
                if (value == 0.0f) continue;
                e.channel[e.n] = c;
                e.value[e.n++] = value;
                e.ones = e.ones && value == 1.0f;
                if (e.n < 16) continue;
                scatter(k, y, x, &e, channels, first, last, width, sums);
                e = (Events){.n = 0, .ones = true};
            }
            if (e.n) scatter(k, y, x, &e, channels, first, last, width, sums);
        }
    if (k->scale)
        for (int p = 0; p < (last - first) * width; ++p)
            for (int o = 0; o < channels; ++o) sums[p * channels + o] *= k->scale[o];
}

static void begin_sums(const float *bias, int channels, int pixels, float *sums) {
    for (int p = 0; p < pixels; ++p) memcpy(sums + p * channels, bias, (size_t)channels * sizeof *sums);
}

/* One row of what is pooled, to the sums of the rows that see it. */
static void pool_row(const Layer *l, const float *values, int y, int width, float *sums) {
    const int pad = l->pool == SPIKESIGHT_HALVE ? 0 : 1;
    for (int row = y / 2; row <= least((y + pad) / 2, l->height - 1); ++row)
        for (int x = 0; x < width; ++x)
            for (int column = x / 2; column <= least((x + pad) / 2, l->width - 1); ++column) {
                const float *value = values + x * l->channels;
                float *sum = sums + (row * l->width + column) * l->channels;
                for (int c = 0; c < l->channels; ++c) {
                    if (l->pool == SPIKESIGHT_AVERAGE) sum[c] += value[c];
                    else if (value[c] > sum[c]) sum[c] = value[c];
                }
            }
}

/* The pooled sums of a convolution, or of a map; row by row, for all of a convolution's would take much memory. */
static void pool(Spikesight *s, const Layer *l, float *sums) {
    const SpikesightConvolution *k = &l->main;
    const Map *in = &spikesight_maps[k->source];
    const bool convolves = k->weight != NULL;
    const int height = convolves ? (in->height + 2 * k->pad - k->kernel) / k->stride + 1 : in->height;
    const int width = convolves ? (in->width + 2 * k->pad - k->kernel) / k->stride + 1 : in->width;
    const int size = l->height * l->width * l->channels;
    float *row = s->scratch + l->row;
    for (int i = 0; i < size; ++i) sums[i] = l->pool == SPIKESIGHT_AVERAGE ? 0.0f : -FLT_MAX;
    for (int y = 0; y < height; ++y) {
        if (convolves) {
            begin_sums(l->bias, l->channels, width, row);
            convolve(s, k, l->channels, y, y + 1, width, row);
        } else {
            for (int i = 0; i < width * l->channels; ++i) row[i] = value_of(s, in, y * width * l->channels + i);
        }
        pool_row(l, row, y, width, sums);
    }
    if (l->pool == SPIKESIGHT_AVERAGE)
        for (int i = 0; i < size; ++i) sums[i] /= 9.0f;
}

/* A shortcut to the sums, or to the spikes where there are no sums. */
static void add(const Spikesight *s, const Layer *l, const SpikesightShortcut *shortcut, float *sums, uint8_t *spikes) {
    const Map *in = &spikesight_maps[shortcut->source];
    for (int y = 0; y < l->height; ++y)
        for (int x = 0; x < l->width; ++x)
            for (int c = 0; c < in->channels; ++c) {
                const int to = (y * l->width + x) * l->channels + shortcut->first + c;
                const float value = value_of(s, in, (y * in->width + x) * shortcut->stride * in->channels + c);
                if (sums) sums[to] += value;
                else spikes[to] = (uint8_t)(spikes[to] + (uint8_t)value);
            }
}

/* 1 / (1 + e^-x), to two units in the last place. */
static float sigmoid(float x) {
    static const float terms[] = {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
    const float z = fabsf(x) > 87.0f ? 87.0f : fabsf(x); /* e^-z, z >= 0 */
    const int32_t n = (int32_t)(z * 1.44269504f + 0.5f);
    const float r = (float)n * 0.693359375f - z - (float)n * 2.12194440e-4f; /* n ln 2 - z, in two parts */
    float p = 1.9875691500e-4f, power;
    for (int i = 0; i < 5; ++i) p = fused(p, r, terms[i]);
    const uint32_t bits = (uint32_t)(127 - n) << 23; /* 2^-n */
    memcpy(&power, &bits, sizeof power);
    const float e = (fused(p, r * r, r) + 1.0f) * power;
    return (x < 0.0f ? e : 1.0f) / (e + 1.0f);
}

static bool over(const Layer *l, float u) { return l->inclusive ? u >= l->limit : u > l->limit; }

/* The layer's neurons take the sums as their currents: the spikes, 0 or 1, to out. Which kind is which: models/neurons
 * of the project. */
static void fire(Spikesight *s, const Layer *l, const float *sums, uint8_t *out) {
    const int size = l->height * l->width * l->channels;
    float *v = s->state + l->state;
    for (int i = 0; i < size; ++i) {
        const float current = sums[i] * l->gain;
        bool spike;
        if (l->neuron == SPIKESIGHT_LIF) {
            const bool fired = l->delay && over(l, v[i]);
            const float kept = fired && l->zero ? 0.0f : l->beta * v[i], u = kept + current - (fired && !l->zero ? l->theta : 0.0f);
            spike = over(l, u);
            v[i] = l->delay || !spike ? u : l->zero ? 0.0f : u - l->theta;
        } else if (l->neuron == SPIKESIGHT_PACED) { /* the state is the memory, to which the current adds */
            spike = over(l, v[i] + current);
            v[i] = l->beta * v[i] + (l->charge * current - (spike ? l->theta : 0.0f));
        } else if (l->neuron == SPIKESIGHT_CLIF) { /* the second part counts recent spikes and deepens the reset */
            const float u = l->beta * v[i] + current;
            spike = over(l, u);
            const float m = v[size + i] * sigmoid(l->charge * u) + (spike ? 1.0f : 0.0f);
            v[i] = u - (spike ? l->theta + sigmoid(m) : 0.0f);
            v[size + i] = m;
        } else { /* PSN: a filter of the last inputs, the newest first */
            float y = l->filter[l->taps] + l->filter[0] * sums[i];
            for (int tap = 1; tap < l->taps; ++tap) y += l->filter[tap] * v[(tap - 1) * size + i];
            for (int tap = l->taps - 2; tap > 0; --tap) v[tap * size + i] = v[(tap - 1) * size + i];
            if (l->taps > 1) v[i] = sums[i];
            spike = y >= 0.0f;
        }
        out[i] = spike;
    }
}

/* The share of each channel's neurons that fired in each place. */
static void note_rates(Spikesight *s, const Layer *l, const uint8_t *spikes) {
    const int side = l->places;
    float *to = s->noted + l->rates;
    for (int c = 0; c < l->channels; ++c)
        for (int place = 0; place < side * side; ++place)
            *to++ = spikesight_share(spikes, false, c, l->channels, l->height, l->width, side, place);
}

static void run_layer(Spikesight *s, const Layer *l) {
    float *sums = s->scratch + l->sums;
    if (l->pool) {
        pool(s, l, sums);
    } else {
        begin_sums(l->bias, l->channels, l->height * l->width, sums);
        convolve(s, &l->main, l->channels, 0, l->height, l->width, sums);
        if (l->side.source >= 0) convolve(s, &l->side, l->channels, 0, l->height, l->width, sums);
    }
    if (l->before.source >= 0) add(s, l, &l->before, sums, NULL);
    if (l->spikes < 0) return;
    uint8_t *out = (uint8_t *)(s->scratch + spikesight_maps[l->spikes].at);
    if (l->neuron == SPIKESIGHT_QUIET) /* pooled spikes */
        for (int i = 0; i < l->height * l->width * l->channels; ++i) out[i] = (uint8_t)sums[i];
    else fire(s, l, sums, out);
    if (l->places) note_rates(s, l, out);
    if (l->after.source >= 0) add(s, l, &l->after, NULL, out);
}

/* Logits, linear in the mean of the last spikes over the image, or over a place, whose middle weighs most; or those of a head. */
static void read_out(Spikesight *s) {
    if (SPIKESIGHT_SLICES) {
        spikesight_head_step(&s->head, s->noted, s->scratch + spikesight_maps[0].at, s->logits, s->rates);
        return;
    }
    const Map *map = &spikesight_maps[SPIKESIGHT_LAST];
    const uint8_t *spikes = bytes_of(s, map);
    const int reach = SPIKESIGHT_REACH, half = reach / 2 + 1, pixels = map->height * map->width;
    memcpy(s->logits, spikesight_bias, sizeof s->logits);
    for (int c = 0; c < map->channels; ++c) {
        int32_t sum = 0;
        for (int p = 0; p < pixels; ++p) sum += spikesight_weight_at(reach, p) * spikes[p * map->channels + c];
        if (!sum) continue;
        const float mean = (float)sum / (float)(reach ? half * half * half * half : pixels), *weight = spikesight_weight + c * SPIKESIGHT_CLASSES;
        for (int k = 0; k < SPIKESIGHT_CLASSES; ++k) s->logits[k] = fused(mean, weight[k], s->logits[k]);
    }
    memcpy(s->rates, s->noted, SPIKESIGHT_RATES * sizeof *s->rates);
}

/* The network on the input that lies in its map. */
static void run_network(Spikesight *s) {
    for (int i = 0; i < SPIKESIGHT_LAYERS; ++i) run_layer(s, &spikesight_layers[i]);
    read_out(s);
}

