/* What lies before a network: a camera's events put in order, summed to a smaller sensor or filtered where there is
 * noise, and binned. Written once: Python (encoders/preprocess, encoders/dvs.py), the C export and the page (in WebAssembly)
 * use it. C99 that is C++ too; sizes are parameters, memory is handed in, and nothing is allocated. The bins depend on the events
 * alone, however they come in pieces.
 */
#ifndef SPIKESIGHT_FRONT_H
#define SPIKESIGHT_FRONT_H
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    SPIKESIGHT_BACK_US = 100000, /* an event further behind the newest is a clock that began anew */
    SPIKESIGHT_GAP_US = 1000000, /* after so long without events no more empty bins are made */
    SPIKESIGHT_GATE_US = 5000,   /* interval over which the rate of lone events is measured */
    SPIKESIGHT_WIDE = 4,         /* strict filter: factor of the time, */
    SPIKESIGHT_NEEDED = 3,       /* and active pixels around */
    SPIKESIGHT_FINER = 2         /* pixels along the side of a large one, from which on they are summed */
};
#define SPIKESIGHT_FRESH 0.15    /* weight of the newest interval in the mean rate */
#define SPIKESIGHT_STRICT_HZ 7.0 /* rate of lone events, a pixel, above which the strict filter acts */
#define SPIKESIGHT_FURTHEST_US ((int64_t)1 << 60) /* times further from zero are damage */
#define SPIKESIGHT_NEVER_US (-((int64_t)1 << 62))

typedef struct {
    const uint8_t *x; /* events in each cell, [grid_height][grid_width][2]; with `planes` [2][grid_height][grid_width] */
    int64_t start_us, end_us;
    uint32_t n_events;
    bool reset; /* time jumped before it: membranes begin from rest */
} SpikesightBin;

typedef struct { /* the central `crop` of a side's lines, brought to `target` lines */
    int32_t margin, crop, target, least; /* least: how few lines go to one */
    uint64_t inverse;                    /* 2^40 / crop, since division is slow */
} SpikesightLines;

typedef struct {
    /* parameters */
    uint16_t width, height;           /* of the camera */
    uint16_t seen_width, seen_height; /* of what is binned: the camera, or the sensor to whose pixels it is summed */
    uint16_t grid_width, grid_height; /* of a bin */
    uint16_t shown;                   /* bins whose events a bin shows, itself among them */
    uint8_t ceiling;                  /* of a cell */
    bool planes;
    int64_t bin_us, filter_us; /* filter_us: how long a pixel counts as active */
    double from_hz;            /* rate of lone events, a pixel, from which noise is filtered */
    void (*close)(void *yours, const SpikesightBin *bin);
    void *yours;
    /* memory */
    uint8_t *open;   /* [2 grid_height grid_width] */
    uint16_t *since; /* the same, where shown > 1 */
    int32_t *level;  /* [seen_height seen_width] where the camera is summed, else NULL */
    int64_t *fired;  /* [(seen_height + 2) (seen_width + 2)] where noise is filtered, else NULL */
    /* state */
    int64_t origin, last, newest, filtered, interval;
    uint32_t n_open, lone;
    bool counting, reset, ordered, filtering, rated;
    double rate_hz;
    SpikesightLines sum_columns, sum_rows, columns, rows;
} SpikesightFront;

/* How many lines of `side` are seen where side x other is brought to target x to_other. */
static inline SpikesightLines spikesight_lines_of(int32_t side, int32_t other, int32_t target, int32_t to_other) {
    const int32_t seen = (int64_t)side * to_other > (int64_t)other * target ? other * target / to_other : side, crop = seen > 1 ? seen : 1;
    const SpikesightLines lines = {(side - crop) / 2, crop, target, crop / target, ((uint64_t)1 << 40) / (uint32_t)crop + 1};
    return lines;
}

/* Where line i goes; -1 outside. */
static inline int32_t spikesight_line(const SpikesightLines *lines, int32_t i) {
    const int32_t at = i - lines->margin;
    if ((uint32_t)at >= (uint32_t)lines->crop) return -1;
    return (int32_t)(((uint64_t)(at * lines->target) * lines->inverse) >> 40);
}

/* How many lines go to line i. */
static inline int32_t spikesight_lines_to(const SpikesightLines *lines, int32_t i) {
    const int32_t crop = lines->crop, target = lines->target;
    return ((i + 1) * crop + target - 1) / target - (i * crop + target - 1) / target;
}

/* Whether a camera's pixels are so much finer than those of a sensor that they are summed. */
static inline bool spikesight_sums(int32_t width, int32_t height, int32_t to_width, int32_t to_height) {
    return width / to_width >= SPIKESIGHT_FINER && height / to_height >= SPIKESIGHT_FINER;
}

/* Make ready for a stream: parameters and memory are there, and all else is zero. */
static inline void spikesight_front_begin(SpikesightFront *f) {
    f->sum_columns = spikesight_lines_of(f->width, f->height, f->seen_width, f->seen_height);
    f->sum_rows = spikesight_lines_of(f->height, f->width, f->seen_height, f->seen_width);
    f->columns = spikesight_lines_of(f->seen_width, f->seen_height, f->grid_width, f->grid_height);
    f->rows = spikesight_lines_of(f->seen_height, f->seen_width, f->grid_height, f->grid_width);
    for (int32_t i = 0; i < 2 * f->grid_height * f->grid_width && f->shown > 1; ++i) f->since[i] = f->shown;
}

static inline void spikesight_front_close(SpikesightFront *f) {
    const int32_t cells = 2 * f->grid_height * f->grid_width;
    for (int32_t i = 0; i < cells && f->shown > 1; ++i) {
        const int32_t since = f->open[i] ? 0 : f->reset ? f->shown : f->since[i] + 1;
        f->since[i] = (uint16_t)(since < f->shown ? since : f->shown);
        f->open[i] = f->since[i] < f->shown;
    }
    const SpikesightBin bin = {f->open, f->origin, f->origin + f->bin_us, f->n_open, f->reset};
    f->origin = bin.end_us;
    f->n_open = 0;
    f->reset = false;
    f->close(f->yours, &bin);
    memset(f->open, 0, (size_t)cells);
}

static inline void spikesight_front_close_until(SpikesightFront *f, int64_t end_us) {
    const int64_t horizon = f->origin + f->bin_us + SPIKESIGHT_GAP_US; /* what goes on from the open bin is not later */
    if (end_us > horizon) end_us = horizon;
    while (f->counting && f->origin + f->bin_us <= end_us) spikesight_front_close(f);
}

/* The stream has ended, or its clock began anew: close the open bin, if there are events in it. */
static inline void spikesight_front_stop(SpikesightFront *f) {
    if (f->counting && f->n_open) spikesight_front_close(f);
    f->reset = f->reset || f->counting;
    f->counting = false;
}

/* No event came until now_us: close the bins that end by then. */
static inline void spikesight_front_tick(SpikesightFront *f, int64_t now_us) {
    const int64_t limit = f->last + SPIKESIGHT_GAP_US;
    if (!f->counting) return;
    spikesight_front_close_until(f, now_us < limit ? now_us : limit);
    if (now_us > limit) spikesight_front_stop(f);
}

/* Make the bin of time t the open one, as an event does. */
static inline void spikesight_front_reach(SpikesightFront *f, int64_t t) {
    int64_t floor_us = f->origin > f->last ? f->origin : f->last;
    if (f->counting && (t < floor_us - SPIKESIGHT_BACK_US || t - f->last > SPIKESIGHT_GAP_US ||
                        t > f->origin + f->bin_us + SPIKESIGHT_GAP_US)) {
        if (t > f->last) spikesight_front_close_until(f, f->last + SPIKESIGHT_GAP_US);
        spikesight_front_stop(f);
    }
    if (!f->counting) f->origin = f->last = floor_us = t;
    f->counting = true;
    f->last = t < floor_us ? floor_us : t;
    while (f->origin + f->bin_us <= f->last) spikesight_front_close(f);
}

/* An event that was kept, to its cell of the open bin. */
static inline void spikesight_front_add(SpikesightFront *f, int64_t t, int32_t x, int32_t y, bool on) {
    const int32_t column = spikesight_line(&f->columns, x), row = spikesight_line(&f->rows, y);
    spikesight_front_reach(f, t);
    if (column < 0 || row < 0) return;
    const int32_t place = row * f->grid_width + column;
    uint8_t *cell = f->open + (f->planes ? on * f->grid_height * f->grid_width + place : 2 * place + on);
    *cell = (uint8_t)(*cell + (*cell < f->ceiling));
    ++f->n_open;
}

/* A finer camera: each pixel seen sums the signs of what it covers, and fires at its area. */
static inline bool spikesight_front_sum(SpikesightFront *f, int32_t *x, int32_t *y, bool on) {
    *x = spikesight_line(&f->sum_columns, *x);
    *y = spikesight_line(&f->sum_rows, *y);
    if (*x < 0 || *y < 0) return false;
    int32_t *level = f->level + *y * f->seen_width + *x;
    const int32_t sign = on ? 1 : -1, size = sign * *level + 1;
    *level += sign;
    if (size < f->sum_columns.least * f->sum_rows.least || size < spikesight_lines_to(&f->sum_columns, *x) * spikesight_lines_to(&f->sum_rows, *y)) return false;
    *level = 0;
    return true;
}

/* An interval has ended: average its rate of lone events with those before. */
static inline void spikesight_front_rate(SpikesightFront *f, int64_t t) {
    const double rate_hz = f->lone / ((double)f->seen_width * f->seen_height * SPIKESIGHT_GATE_US * 1e-6);
    if (f->filtering) {
        f->rate_hz = f->rated ? f->rate_hz + SPIKESIGHT_FRESH * (rate_hz - f->rate_hz) : rate_hz;
        f->rated = true;
        f->lone = 0;
    }
    f->interval = (t / SPIKESIGHT_GATE_US - (t % SPIKESIGHT_GATE_US < 0)) * SPIKESIGHT_GATE_US;
}

/* How many of a pixel and the eight around it had an event at or after a time. */
static inline int32_t spikesight_active(const int64_t *at, int32_t row, int64_t since_us) {
    int32_t active = 0;
    for (const int64_t *one = at - row - 1; one <= at + row - 1; one += row)
        active += (one[0] >= since_us) + (one[1] >= since_us) + (one[2] >= since_us);
    return active;
}

/* Whether an event passes the noise filter: by the rate of lone events, with none of the eight pixels around active
 * lately, all pass, or those that are not lone, or those with NEEDED such pixels in WIDE times the time. */
static inline bool spikesight_front_passes(SpikesightFront *f, int64_t t, int32_t x, int32_t y) {
    const int32_t row = f->seen_width + 2;
    int64_t *at = f->fired + (y + 1) * row + x + 1;
    if (!f->filtering || t < f->interval || t >= f->interval + SPIKESIGHT_GATE_US) spikesight_front_rate(f, t);
    if (!f->filtering || t < f->filtered)
        for (int32_t i = 0; i < (f->seen_height + 2) * row; ++i) f->fired[i] = SPIKESIGHT_NEVER_US;
    f->filtering = true;
    f->filtered = t;
    *at = SPIKESIGHT_NEVER_US; /* its own events do not count */
    const int32_t some = spikesight_active(at, row, t - f->filter_us);
    const bool strict = f->rated && f->rate_hz > SPIKESIGHT_STRICT_HZ;
    const int32_t near = strict ? spikesight_active(at, row, t - SPIKESIGHT_WIDE * f->filter_us) : 0;
    *at = t;
    f->lone += !some;
    if (strict) return near >= SPIKESIGHT_NEEDED;
    return some || (f->rated && f->rate_hz <= f->from_hz);
}

/* An event as it comes, at column x and row y, brighter where `on`. Where events are summed or filtered, those that are
 * not kept advance time too. */
static inline void spikesight_front_take(SpikesightFront *f, int64_t t, int32_t x, int32_t y, bool on) {
    const bool inside = x < f->width && y < f->height;
    t = t > SPIKESIGHT_FURTHEST_US ? SPIKESIGHT_FURTHEST_US : t < -SPIKESIGHT_FURTHEST_US ? -SPIKESIGHT_FURTHEST_US : t;
    if (!f->level && !f->fired) {
        if (inside) spikesight_front_add(f, t, x, y, on);
        return;
    }
    if (f->ordered && t < f->newest) {
        if (f->newest - t <= SPIKESIGHT_BACK_US) t = f->newest;
        else spikesight_front_stop(f); /* the clock began anew */
    }
    f->ordered = true;
    f->newest = t;
    if (inside && (f->level ? spikesight_front_sum(f, &x, &y, on) : spikesight_front_passes(f, t, x, y)))
        spikesight_front_add(f, t, x, y, on);
    spikesight_front_tick(f, t);
}
#endif
