/* A bin cropped around what moves, by the events of the last bins, weighted by their age: for networks that were taught,
 * or trained, so. Sums are taken in the order of NumPy's, so that encoders/roi/alignment.py has the same last digit.
 */
#ifndef SPIKESIGHT_FOLLOW_H
#define SPIKESIGHT_FOLLOW_H
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { SPIKESIGHT_SIDE = 16, SPIKESIGHT_FINEST = 128 }; /* of the grid in which events are counted; of a bin's cells */
#define SPIKESIGHT_PRIOR 300.0 /* events, spread evenly, with which a stream begins */
#define SPIKESIGHT_EXTENT 2.2  /* half the side of the crop, in mean distances of the events from their median */

typedef struct {
    uint16_t seen_width, seen_height; /* of a bin */
    uint16_t width, height;           /* of the crop */
    bool planes;                      /* both are [2][height][width], not [height][width][2] */
    double kept, share;               /* what is kept of the counts from bin to bin, and the weight of a new one's */
    double crowd[SPIKESIGHT_SIDE * SPIKESIGHT_SIDE];
} SpikesightFollow;

static inline double spikesight_sum(const double *a, int n) { /* n: a multiple of 8, up to 128; or twice that */
    double r[8];
    if (n > 128) return spikesight_sum(a, n / 2) + spikesight_sum(a + n / 2, n / 2);
    memcpy(r, a, sizeof r);
    for (int i = 8; i < n; ++i) r[i % 8] += a[i];
    return ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
}

/* Median of the positions 0.5, 1.5, ... with these weights, and the mean distance from it. */
static inline double spikesight_median(const double *weights, double *spread) {
    double sums[SPIKESIGHT_SIDE], away[SPIKESIGHT_SIDE], sum = 0.0;
    int at = 0;
    for (int i = 0; i < SPIKESIGHT_SIDE; ++i) sums[i] = sum += weights[i];
    while (sums[at] < sum / 2.0) ++at;
    const double median = at + (sum / 2.0 - (sums[at] - weights[at])) / weights[at];
    for (int i = 0; i < SPIKESIGHT_SIDE; ++i) away[i] = fabs(i + 0.5 - median) * weights[i];
    *spread = spikesight_sum(away, SPIKESIGHT_SIDE) / sum;
    return median;
}

/* Take the cells of a sensor's bins: its pixels, or fewer. */
static inline void spikesight_follow_size(SpikesightFollow *f, int32_t width, int32_t height) {
    const double longest = width > height ? width : height;
    const double scale = longest > SPIKESIGHT_FINEST ? SPIKESIGHT_FINEST / longest : 1.0;
    const double cells_wide = rint(width * scale), cells_high = rint(height * scale);
    f->seen_width = (uint16_t)(cells_wide > 1.0 ? cells_wide : 1.0);
    f->seen_height = (uint16_t)(cells_high > 1.0 ? cells_high : 1.0);
}

static inline void spikesight_follow_reset(SpikesightFollow *f) {
    enum { ALL = SPIKESIGHT_SIDE * SPIKESIGHT_SIDE };
    for (int i = 0; i < ALL; ++i) f->crowd[i] = SPIKESIGHT_PRIOR / ALL;
}

/* What a bin shows to x, the input around the thing; `reset`: time jumped before. */
static inline void spikesight_follow_crop(SpikesightFollow *f, const uint8_t *seen, bool reset, uint8_t *x) {
    enum { SIDE = SPIKESIGHT_SIDE, ALL = SIDE * SIDE };
    const int32_t size = f->seen_height * f->seen_width;
    const int32_t cell_height = (f->seen_height + SIDE - 1) / SIDE, cell_width = (f->seen_width + SIDE - 1) / SIDE;
    double above[ALL], columns[SIDE] = {0.0}, rows[SIDE], found[ALL] = {0.0}, spread_x, spread_y;
    bool any = false;
    if (reset) spikesight_follow_reset(f);
    for (int32_t i = 0; i < 2 * size; ++i) {
        const int32_t at = f->planes ? i % size : i / 2;
        if (seen[i]) found[at / f->seen_width / cell_height * SIDE + at % f->seen_width / cell_width] += 1.0;
    }
    for (int i = 0; i < ALL; ++i) f->crowd[i] = f->crowd[i] * f->kept + f->share * found[i];
    const double mean = spikesight_sum(f->crowd, ALL) / ALL;
    for (int i = 0; i < ALL; ++i) {
        above[i] = f->crowd[i] > mean ? f->crowd[i] - mean : 0.0; /* noise is spread evenly, a thing is not */
        any = any || above[i] != 0.0;
    }
    for (int i = 0; i < ALL && !any; ++i) above[i] = 1.0;
    for (int y = 0; y < SIDE; ++y) {
        rows[y] = spikesight_sum(above + y * SIDE, SIDE);
        for (int i = 0; i < SIDE; ++i) columns[i] += above[y * SIDE + i];
    }
    const double middle_x = spikesight_median(columns, &spread_x) * cell_width;
    const double middle_y = spikesight_median(rows, &spread_y) * cell_height;
    const double extent = SPIKESIGHT_EXTENT * hypot(spread_x * cell_width, spread_y * cell_height), half = extent > 1.0 ? extent : 1.0;
    memset(x, 0, 2u * f->height * f->width);
    for (int32_t i = 0; i < 2 * size; ++i) {
        const int32_t at = f->planes ? i % size : i / 2, on = f->planes ? i / size : i % 2;
        if (!seen[i]) continue;
        const double u = floor(((at % f->seen_width + 0.5 - middle_x) / half + 1.0) / 2.0 * f->width);
        const double v = floor(((at / f->seen_width + 0.5 - middle_y) / half + 1.0) / 2.0 * f->height);
        if (u < 0.0 || u >= f->width || v < 0.0 || v >= f->height) continue;
        const int32_t place = (int32_t)v * f->width + (int32_t)u;
        x[f->planes ? on * f->height * f->width + place : 2 * place + on] = 1;
    }
}
#endif
