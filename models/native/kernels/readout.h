/* From a network's logits to an answer: the head of a taught network, the mean of the last steps, how familiar the input
 * is, and which label to show, as in models/networks/taught.py, models/novelty and models/steps.py. Sums of the read-out
 * are doubles, a few hundred a step. C99 that is C++ too; memory is handed in.
 */
#ifndef SPIKESIGHT_READOUT_H
#define SPIKESIGHT_READOUT_H
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Where a part of so many lines begins, and where it ends; neighbours share a line where `parts` do not divide them. */
static inline int32_t spikesight_begin_of(int32_t part, int32_t lines, int32_t parts) { return part * lines / parts; }
static inline int32_t spikesight_end_of(int32_t part, int32_t lines, int32_t parts) {
    return ((part + 1) * lines + parts - 1) / parts;
}

/* The share of what is not zero in a place of side x side of a map: bytes, or floats, from number `first` on, so far `apart`. */
static inline float spikesight_share(const void *x, bool floats, int32_t first, int32_t apart, int32_t height, int32_t width,
                                     int32_t side, int32_t place) {
    const int32_t top = spikesight_begin_of(place / side, height, side), bottom = spikesight_end_of(place / side, height, side);
    const int32_t left = spikesight_begin_of(place % side, width, side), right = spikesight_end_of(place % side, width, side);
    int32_t count = 0;
    for (int32_t v = top; v < bottom; ++v)
        for (int32_t u = left; u < right; ++u) {
            const int32_t at = first + (v * width + u) * apart;
            count += floats ? ((const float *)x)[at] != 0.0f : ((const uint8_t *)x)[at] != 0;
        }
    return (float)count / (float)((bottom - top) * (right - left));
}

/* How much pixel p of a place of reach x reach counts: those in its middle most, all together (reach / 2 + 1)^4; reach 0: 1. */
static inline int32_t spikesight_weight_at(int32_t reach, int32_t p) {
    const int32_t y = reach ? p / reach : 0, x = reach ? p % reach : 0, half = reach / 2 + 1;
    return (y < half ? y + 1 : reach - y) * (x < half ? x + 1 : reach - x);
}

/* ------------------------------------------------------------------------------------------------- a taught head */

typedef struct { /* linear in the square roots of what was observed in the last steps, cut into slices */
    uint32_t classes, slices, length; /* length: steps of a slice */
    uint32_t noted, observed;         /* of a step: rates of the layers in places, and those with the input's shares */
    uint32_t rates, places;           /* the first rates, of places x places each, are those of layers that are watched */
    uint32_t channels, height, width, input_places; /* of the input; the shares of input_places x input_places places */
    bool planes, floats;                            /* the input is [channels][height][width]; holds floats, not bytes */
    const float *weight, *bias;                     /* [slices observed][classes], [classes] */
    float *sums; /* [slices + 1][observed], the last of which is being filled */
    uint32_t steps;
} SpikesightHead;

static inline void spikesight_head_reset(SpikesightHead *h) {
    memset(h->sums, 0, sizeof *h->sums * (h->slices + 1) * h->observed);
    h->steps = 0;
}

/* Add a step's noted rates and its input; write the window's logits [classes] and watched rates [rates]. While a slice is
 * filled the older ones are interpolated. */
static inline void spikesight_head_step(SpikesightHead *h, const float *noted, const void *x, float *logits, float *rates) {
    const uint32_t places = h->places * h->places, filled = h->steps % h->length + 1;
    float *filling = h->sums + h->slices * h->observed;
    for (uint32_t v = 0; v < h->noted; ++v) filling[v] += noted[v];
    for (uint32_t v = h->noted; v < h->observed; ++v) {
        const int32_t side = (int32_t)h->input_places, place = (int32_t)(v - h->noted), channel = place / (side * side);
        const int32_t high = (int32_t)h->height, wide = (int32_t)h->width, first = h->planes ? channel * high * wide : channel;
        filling[v] += spikesight_share(x, h->floats, first, h->planes ? 1 : (int32_t)h->channels, high, wide, side, place % (side * side));
    }
    h->steps += 1;
    const float part = (float)filled / (float)h->length, scale = 1.0f / (float)(h->steps < h->length ? h->steps : h->length);
    const float *weight = h->weight;
    memcpy(logits, h->bias, h->classes * sizeof *logits);
    memset(rates, 0, h->rates * sizeof *rates);
    for (uint32_t slice = 0; slice < h->slices; ++slice)
        for (uint32_t v = 0; v < h->observed; ++v, weight += h->classes) {
            const float *older = h->sums + slice * h->observed, newer = slice + 1 < h->slices ? part : 1.0f;
            const float mean = ((1.0f - part) * older[v] + newer * older[h->observed + v]) * scale;
            const float feature = sqrtf(mean + 1e-3f);
            for (uint32_t k = 0; k < h->classes; ++k) logits[k] += weight[k] * feature;
            if (v < h->rates * places) rates[v / places] += mean;
        }
    for (uint32_t r = 0; r < h->rates; ++r) {
        const float rate = rates[r] * (1.0f / (float)(h->slices * places));
        rates[r] = rate > 0.0f ? rate : 0.0f;
    }
    if (h->steps >= 2 * h->length) h->steps -= h->length;
    if (filled < h->length) return;
    memmove(h->sums, h->sums + h->observed, sizeof *h->sums * h->slices * h->observed);
    memset(filling, 0, sizeof *h->sums * h->observed);
}

/* ---------------------------------------------------------------------------------------------------- the read-out */

typedef struct {
    /* parameters */
    int32_t classes, rates, centres; /* rates: of the layers that are watched; 0: what is unknown is not told */
    int32_t horizon, rests;          /* steps of a read-out, and of quiet inputs after which membranes begin from rest */
    double active, slope;             /* inputs with fewer values that are not zero are quiet; see models/novelty/score.py */
    double kept, first, other, least, lull, margin, inertia; /* of labels: models/steps.py */
    const float *whiten;   /* [rates][rates], from and to */
    const double *placed;  /* [rates][centres], the classes' means, whitened */
    const float (*lines)[8]; /* [horizon]: temperature, distance and its spread, energy and its spread, shown, kept, active */
    /* memory */
    float *recent;                  /* [horizon][classes + rates + 1]: logits, rates, active values of the last steps */
    double *mean;                   /* [classes + rates + 1], of them */
    double *probabilities;          /* [classes] */
    double *evidence, *share;       /* [classes + 2]: also of unknown, and of nothing */
    double *whitened, *distances;   /* [rates], [centres] */
    /* state */
    uint64_t seen;               /* steps since the network began from rest */
    int32_t quiet, best, step_label, label; /* classes, `classes` for unknown, classes + 1 for nothing; label -1: none yet */
    double in_distribution;                /* 0 to 1; -1: there is nothing */
} SpikesightReadout;

/* A step is the first since the network began from rest. */
static inline void spikesight_readout_reset(SpikesightReadout *r) {
    r->seen = 0;
    memset(r->evidence, 0, sizeof *r->evidence * (size_t)(r->classes + 2));
}

static inline void spikesight_readout_begin(SpikesightReadout *r) {
    r->quiet = 0;
    r->label = -1;
    spikesight_readout_reset(r);
}

/* Whether an input with so many values that are not zero ends a silence: membranes begin from rest then. */
static inline bool spikesight_readout_woken(SpikesightReadout *r, int32_t active) {
    const bool asleep = r->quiet >= r->rests;
    if (!r->rates) return false;
    if ((double)active < r->active) {
        r->quiet += !asleep;
        return false;
    }
    r->quiet = 0;
    return asleep;
}

static inline double spikesight_log_sum(const double *values, int32_t n, double scale) { /* of e^(value / scale) */
    double highest = values[0], sum = 0.0;
    for (int32_t k = 1; k < n; ++k) highest = values[k] > highest ? values[k] : highest;
    for (int32_t k = 0; k < n; ++k) sum += exp((values[k] - highest) / scale);
    return highest / scale + log(sum);
}

/* How familiar the mean rates are; `line` is that of the steps so far. */
static inline double spikesight_readout_known(SpikesightReadout *r, const float *line) {
    const double *rates = r->mean + r->classes;
    double nearest = INFINITY;
    memset(r->whitened, 0, sizeof *r->whitened * (size_t)r->rates);
    memset(r->distances, 0, sizeof *r->distances * (size_t)r->centres);
    for (int32_t from = 0; from < r->rates; ++from)
        for (int32_t to = 0; to < r->rates; ++to) r->whitened[to] += (double)r->whiten[from * r->rates + to] * sqrt(rates[from]);
    for (int32_t to = 0; to < r->rates; ++to)
        for (int32_t k = 0; k < r->centres; ++k) {
            const double away = r->whitened[to] - r->placed[to * r->centres + k];
            r->distances[k] += away * away;
        }
    for (int32_t k = 0; k < r->centres; ++k) nearest = r->distances[k] < nearest ? r->distances[k] : nearest;
    const double far = (log(nearest > 1e-12 ? nearest : 1e-12) - (double)line[1]) / (double)line[2];
    const double cold = (-spikesight_log_sum(r->mean, r->classes, 1.0) - (double)line[3]) / (double)line[4];
    const double exponent = r->slope * (far + cold - (double)line[6]) / ((double)line[6] - (double)line[5]);
    return 1.0 / (1.0 + exp(exponent < -60.0 ? -60.0 : exponent > 60.0 ? 60.0 : exponent));
}

/* The label to show: hypotheses are the classes, unknown and nothing. Each collects the log odds between it and what is
 * shown, never below 0 (Page 1954); the first with enough is shown next. */
static inline void spikesight_readout_weigh(SpikesightReadout *r) {
    const int32_t classes = r->classes, all = classes + 2, shown = r->label <= classes ? r->label : -1; /* nothing is none */
    const double score = r->in_distribution > 0.0 ? r->in_distribution : 0.0, least = r->least;
    double highest = -1.0, second = -1.0;
    int32_t best = 0;
    for (int32_t k = 0; k < classes; ++k) r->share[k] = r->probabilities[k] * score;
    r->share[classes] = r->in_distribution >= 0.0 ? 1.0 - r->in_distribution : 0.0;
    r->share[classes + 1] = r->in_distribution < 0.0 ? 1.0 : 0.0;
    for (int32_t k = 0; k < all; ++k) {
        const double lower = r->share[k] < highest ? r->share[k] : highest;
        second = lower > second ? lower : second;
        highest = r->share[k] > highest ? r->share[k] : highest;
    }
    for (int32_t k = 0; k < all; ++k) {
        const double share = r->share[k], rival = shown >= 0 ? r->share[shown] : share == highest ? second : highest;
        double gained = log((share > least ? share : least) / (rival > least ? rival : least)) / r->inertia;
        if (k == r->label || (gained > 0.0 && share - rival <= r->margin)) gained = 0.0;
        if (gained > 0.0 && k == classes + 1) gained *= r->lull; /* what is held still sends no events either */
        r->evidence[k] = r->evidence[k] + gained > 0.0 ? r->evidence[k] + gained : 0.0;
        if (r->evidence[k] > r->evidence[best]) best = k;
    }
    if (r->evidence[best] < (shown < 0 ? r->first : r->other)) return;
    memset(r->evidence, 0, sizeof *r->evidence * (size_t)all);
    r->label = best;
}

/* Add a step: logits [classes], rates [rates], and how many values of the input are not zero. */
static inline void spikesight_readout_step(SpikesightReadout *r, const float *logits, const float *rates, int32_t active) {
    const size_t classes = (size_t)r->classes, watched = (size_t)r->rates, values = classes + watched + 1, most = (size_t)r->horizon;
    float *row = r->recent + r->seen++ % most * values;
    const size_t steps = r->seen < most ? (size_t)r->seen : most;
    double temperature = 1.0;
    memcpy(row, logits, classes * sizeof *row);
    if (watched) memcpy(row + classes, rates, watched * sizeof *row);
    row[values - 1] = (float)active;
    memset(r->mean, 0, sizeof *r->mean * values);
    for (uint64_t i = r->seen - steps; i < r->seen; ++i) /* from the oldest to the newest */
        for (size_t v = 0; v < values; ++v) r->mean[v] += (double)r->recent[i % most * values + v];
    for (size_t v = 0; v < values; ++v) r->mean[v] /= (double)steps;
    if (r->rates) {
        const float *line = r->lines[steps - 1];
        temperature = (double)line[0];
        r->in_distribution = r->mean[values - 1] < (double)line[7] ? -1.0 : spikesight_readout_known(r, line);
    } else {
        r->in_distribution = r->mean[values - 1] > 0.0 ? 1.0 : -1.0; /* no line to judge by: nothing is what has no event at all */
    }
    const double sum = spikesight_log_sum(r->mean, r->classes, temperature);
    r->best = 0;
    for (int32_t k = 0; k < r->classes; ++k) {
        r->probabilities[k] = exp(r->mean[k] / temperature - sum);
        if (r->probabilities[k] > r->probabilities[r->best]) r->best = k;
    }
    r->step_label = r->in_distribution < 0.0 ? r->classes + 1 : r->in_distribution < r->kept ? r->classes : r->best;
    spikesight_readout_weigh(r);
}
#endif
