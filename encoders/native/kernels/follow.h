/* A bin cropped around what moves, by the events of the last bins, weighted by age: for networks taught or trained so. */
#ifndef SPIKESIGHT_FOLLOW_H
#define SPIKESIGHT_FOLLOW_H
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { SPIKESIGHT_SIDE = 16, SPIKESIGHT_CROWD = 16 * 16, SPIKESIGHT_FINEST = 128 }; /* cells of the grid, a side and all; of a bin, at most */
#define SPIKESIGHT_PRIOR 300.0 /* events, spread evenly, with which a stream begins */
#define SPIKESIGHT_EXTENT 2.2  /* half the side of the crop, in mean distances of the events from their median */

typedef struct {
    uint16_t seen_width, seen_height; /* of a bin */
    uint16_t width, height;           /* of the crop */
    bool planes;                      /* both are [2][height][width], not [height][width][2] */
    double kept, share;               /* what is kept of the counts from bin to bin, and the weight of a new one's */
    double crowd[SPIKESIGHT_CROWD];
} SpikesightFollow;

/* Median of the positions 0.5, 1.5, ... with these weights, and the mean distance from it. */
static inline double spikesight_median(const double *weights, double *spread) {
    double sum = 0.0, before = 0.0, away = 0.0;
    int at = 0;
    for (int i = 0; i < SPIKESIGHT_SIDE; ++i) sum += weights[i];
    while (before + weights[at] < sum / 2.0) before += weights[at++];
    const double median = at + (sum / 2.0 - before) / weights[at];
    for (int i = 0; i < SPIKESIGHT_SIDE; ++i) away += fabs(i + 0.5 - median) * weights[i];
    *spread = away / sum;
    return median;
}

/* Middle (across, down) and half side of the square around an object, by the events in cells of a width and height. */
static inline void spikesight_around(const double *crowd, double width, double height, double found[3]) {
    double mean = 0.0, most = 0.0, columns[SPIKESIGHT_SIDE] = {0.0}, rows[SPIKESIGHT_SIDE] = {0.0}, spread_x, spread_y;
    for (int i = 0; i < SPIKESIGHT_CROWD; ++i) mean += crowd[i] / SPIKESIGHT_CROWD, most = fmax(most, crowd[i]);
    for (int i = 0; i < SPIKESIGHT_CROWD; ++i) { /* noise is spread evenly, an object is not */
        const double above = most > mean ? fmax(crowd[i] - mean, 0.0) : 1.0;
        columns[i % SPIKESIGHT_SIDE] += above, rows[i / SPIKESIGHT_SIDE] += above;
    }
    found[0] = spikesight_median(columns, &spread_x) * width;
    found[1] = spikesight_median(rows, &spread_y) * height;
    found[2] = fmax(SPIKESIGHT_EXTENT * hypot(spread_x * width, spread_y * height), 1.0);
}

/* Take the cells of a sensor's bins: its pixels, or fewer. */
static inline void spikesight_follow_size(SpikesightFollow *f, int32_t width, int32_t height) {
    const double scale = fmin(1.0, SPIKESIGHT_FINEST / fmax(width, height));
    f->seen_width = (uint16_t)fmax(rint(width * scale), 1.0);
    f->seen_height = (uint16_t)fmax(rint(height * scale), 1.0);
}

static inline void spikesight_follow_reset(SpikesightFollow *f) {
    for (int i = 0; i < SPIKESIGHT_CROWD; ++i) f->crowd[i] = SPIKESIGHT_PRIOR / SPIKESIGHT_CROWD;
}

/* What a bin shows to x, the input around the object; `reset`: time jumped before. */
static inline void spikesight_follow_crop(SpikesightFollow *f, const uint8_t *seen, bool reset, uint8_t *x) {
    const int32_t size = f->seen_height * f->seen_width;
    const int32_t cell_height = (f->seen_height + SPIKESIGHT_SIDE - 1) / SPIKESIGHT_SIDE;
    const int32_t cell_width = (f->seen_width + SPIKESIGHT_SIDE - 1) / SPIKESIGHT_SIDE;
    double found[SPIKESIGHT_CROWD] = {0.0}, around[3];
    if (reset) spikesight_follow_reset(f);
    for (int32_t i = 0; i < 2 * size; ++i) {
        const int32_t at = f->planes ? i % size : i / 2;
        if (seen[i]) found[at / f->seen_width / cell_height * SPIKESIGHT_SIDE + at % f->seen_width / cell_width] += 1.0;
    }
    for (int i = 0; i < SPIKESIGHT_CROWD; ++i) f->crowd[i] = f->crowd[i] * f->kept + f->share * found[i];
    spikesight_around(f->crowd, cell_width, cell_height, around);
    memset(x, 0, 2u * f->height * f->width);
    for (int32_t i = 0; i < 2 * size; ++i) {
        const int32_t at = f->planes ? i % size : i / 2, on = f->planes ? i / size : i % 2;
        if (!seen[i]) continue;
        const double u = floor(((at % f->seen_width + 0.5 - around[0]) / around[2] + 1.0) / 2.0 * f->width);
        const double v = floor(((at / f->seen_width + 0.5 - around[1]) / around[2] + 1.0) / 2.0 * f->height);
        if (u < 0.0 || u >= f->width || v < 0.0 || v >= f->height) continue;
        const int32_t place = (int32_t)v * f->width + (int32_t)u;
        x[f->planes ? on * f->height * f->width + place : 2 * place + on] = 1;
    }
}
#endif
