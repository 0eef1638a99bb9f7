// What Python calls: the rules of front.h, follow.h, pixels.h, pyramid.h and words.h, and bins, on arrays that it made and measured.
#include "follow.h"
#include "front.h"
#include "pixels.h"
#include "pyramid.h"
#include "words.h"

#define CALLED extern "C" int64_t

using Event = SpikesightPacked;

// How many events lie off a sensor, times n + 1, and how many times are lower than the time before.
CALLED events_faults(const Event* events, int64_t n, int64_t width, int64_t height) {
    int64_t outside = 0, backward = 0;
    for (int64_t i = 0; i < n; ++i) {
        outside += (events[i].x >= width) | (events[i].y >= height);
        backward += i && events[i].t < events[i - 1].t;
    }
    return outside * (n + 1) + backward;
}

CALLED front_bytes() { return sizeof(SpikesightFront); }

// Filter or sum the events of a camera, to those of seen_width x seen_height; from_hz below 0: no lone event passes.
CALLED front_begin(SpikesightFront* f, int64_t width, int64_t height, int64_t seen_width, int64_t seen_height, int64_t filter_us,
                   double from_hz, int32_t* level, int64_t* fired) {
    f->level = level, f->fired = fired;
    f->width = uint16_t(width), f->height = uint16_t(height);
    f->seen_width = f->grid_width = uint16_t(seen_width), f->seen_height = f->grid_height = uint16_t(seen_height);
    f->filter_us = filter_us, f->from_hz = from_hz;
    spikesight_front_begin(f);
    return 0;
}

// Events of the camera in order of time; those that pass are written to `passed`. Returns their number.
CALLED front_pass(SpikesightFront* f, const Event* events, int64_t n, Event* passed) {
    SpikesightFront own = *f;  // a copy: a store to the memory might change what is in *f
    const auto pass = [&](auto passes) {
        Event* next = passed;
        for (int64_t i = 0; i < n; ++i) {
            int32_t x = events[i].x, y = events[i].y;
            if (x < own.width && y < own.height && passes(events[i], x, y)) *next++ = {events[i].t, uint16_t(x), uint16_t(y), events[i].on};
        }
        *f = own;
        return next - passed;
    };
    if (own.level) return pass([&](const Event& event, int32_t& x, int32_t& y) { return spikesight_front_sum(&own, &x, &y, event.on); });
    return pass([&](const Event& event, int32_t x, int32_t y) {
        if (own.from_hz < 0) own.interval = event.t;  // no rate is measured
        return spikesight_front_passes(&own, event.t, x, y);
    });
}

struct Grid {
    const uint32_t *columns;  // each one's part of a cell's index in one plane, encoders/binning.py's NOWHERE outside
    int64_t width;
    const uint32_t *rows;
    int64_t height, cells;  // cells: of both planes
};

// Add sorted events to their cells of out [steps][cells], up to `ceiling`, and to totals [steps]; `clear` sets a step to
// zero first. 0, or encoders/binning.py's.
template <typename T>
static int64_t bins(const Event* events, int64_t n, int64_t start_us, int64_t bin_us, const Grid grid, double ceiling, T* out,
                    int64_t steps, int64_t* totals, bool clear) {
    const T most = T(ceiling);
    int64_t i = 0;
    while (i < n && events[i].t < start_us) ++i;
    for (int64_t step = 0; step < steps; ++step, out += grid.cells) {
        const int64_t low = start_us + step * bin_us, begin = i;
        int64_t outside = 0;
        if (clear) memset(out, 0, size_t(grid.cells) * sizeof *out);
        for (; i < n && events[i].t < low + bin_us; ++i) {
            const Event& event = events[i];
            if (event.x >= grid.width || event.y >= grid.height) return -1;
            if (event.t < low) return -2;
            const uint32_t cell = grid.columns[event.x] + grid.rows[event.y] + uint32_t(grid.cells / 2) * event.on;
            if (cell >= grid.cells) ++outside;
            else out[cell] = T(out[cell] + (out[cell] < most));
        }
        totals[step] += i - begin - outside;
    }
    return 0;
}

CALLED events_bins(const Event* events, int64_t n, int64_t start_us, int64_t bin_us, const Grid* grid, double ceiling, void* out,
                   int64_t bytes, int64_t steps, int64_t* totals, int64_t clear) {
    const auto fill = [&](auto* own) { return bins(events, n, start_us, bin_us, *grid, ceiling, own, steps, totals, clear); };
    return bytes == 1 ? fill(static_cast<uint8_t*>(out)) : fill(static_cast<float*>(out));
}

// One frame of the pixel model (pixels.h) at t_us, after one at began_us; returns the number of events.
CALLED pixels_frame(const uint8_t* grey, int64_t width, int64_t height, int64_t began_us, int64_t t_us, const float* levels,
                    const float* on, const float* off, float* reference, float* last, int64_t* free_us, double leak_hz,
                    double cutoff_hz, int64_t silent_us, int64_t limit, int64_t seed, int64_t draw, const float* shots,
                    uint32_t* offsets, uint32_t* words) {
    SpikesightPixels p = {uint16_t(width), uint16_t(height), leak_hz, cutoff_hz, silent_us, uint32_t(limit), uint32_t(seed), uint32_t(draw),
                          shots, levels, on, off, nullptr, reference, last, free_us, offsets, words, began_us, true};
    return spikesight_pixels_take(&p, grey, t_us);
}

CALLED events_sorted(const uint32_t* offsets, const uint32_t* words, int64_t n, int64_t t_us, uint32_t* order, Event* events) {
    spikesight_sorted(offsets, words, uint32_t(n), t_us, order, events);
    return 0;
}

// As many of n words as give no more than `room` events, which are written to out; their number, and in `used` how many words.
template <auto WORD, int BYTES, int MOST>
static int64_t decode(SpikesightWords* words, const uint8_t* bytes, int64_t n, Event* out, int64_t room, int64_t* used) {
    const auto put = [](void* to, int64_t t, uint32_t x, uint32_t y, bool on) { *(*static_cast<Event**>(to))++ = {t, uint16_t(x), uint16_t(y), on}; };
    SpikesightWords own = *words;
    Event* next = out;
    int64_t i = 0;
    for (; i < n && next + MOST <= out + room; ++i) WORD(&own, bytes + BYTES * i, put, &next);
    *words = own, *used = i;
    return next - out;
}

// kind: of encoders/recordings/prophesee.py.
CALLED words_decoded(int64_t kind, SpikesightWords* words, const uint8_t* bytes, int64_t n, Event* out, int64_t room, int64_t* used) {
    static constexpr decltype(&decode<spikesight_evt2_word, 4, 1>) KINDS[] = {
        decode<spikesight_evt2_word, 4, 1>, decode<spikesight_evt21_word, 8, 32>, decode<spikesight_evt3_word, 2, 12>,
        decode<spikesight_dat_word, 8, 1>};
    return KINDS[kind](words, bytes, n, out, room, used);
}

CALLED view_atlas(const SpikesightLevel* levels, int64_t n, int64_t height, int64_t width, const uint8_t* counts, uint8_t* atlas) {
    spikesight_atlas(levels, int32_t(n), int32_t(height), int32_t(width), counts, atlas);
    return 0;
}

CALLED follow_around(const double* crowd, double width, double height, double* found) {
    return spikesight_around(crowd, width, height, found), 0;
}

CALLED follow_crop(double* crowd, const uint8_t* seen, int64_t seen_height, int64_t seen_width, int64_t height, int64_t width, double kept,
                   double share, int64_t reset, uint8_t* x) {
    SpikesightFollow f = {uint16_t(seen_width), uint16_t(seen_height), uint16_t(width), uint16_t(height), true, kept, share, {}};
    memcpy(f.crowd, crowd, sizeof f.crowd);
    spikesight_follow_crop(&f, seen, reset, x);
    memcpy(crowd, f.crowd, sizeof f.crowd);
    return 0;
}
