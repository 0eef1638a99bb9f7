// What Python's encoders call: the rules of front.h and pixels.h, and bins, on arrays that Python made and measured.
#include "front.h"
#include "pixels.h"

#define CALLED extern "C" int64_t

#pragma pack(push, 1)
struct Event {
    int64_t t;
    uint16_t x, y;
    bool on;
};
#pragma pack(pop)

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
    int64_t kept = 0;
    for (int64_t i = 0; i < n; ++i) {
        Event event = events[i];
        int32_t x = event.x, y = event.y;
        if (x >= f->width || y >= f->height) continue;
        if (f->from_hz < 0) f->interval = event.t;  // no rate is measured
        if (f->level ? !spikesight_front_sum(f, &x, &y, event.on) : !spikesight_front_passes(f, event.t, x, y)) continue;
        event.x = uint16_t(x), event.y = uint16_t(y);
        passed[kept++] = event;
    }
    return kept;
}

// Add sorted events to their cells of out [steps][cells], up to `ceiling`, and to totals [steps]; `clear` sets a step to
// zero first. columns, rows: each one's part of a cell's index in one plane, NOWHERE outside. 0, or encoders/binning.py's.
template <typename T>
static int64_t bins(const Event* events, int64_t n, int64_t start_us, int64_t bin_us, const uint32_t* columns, int64_t width,
                    const uint32_t* rows, int64_t height, double ceiling, T* out, int64_t steps, int64_t cells,
                    int64_t* totals, bool clear) {
    const uint32_t plane = uint32_t(cells / 2);
    const T most = T(ceiling);
    int64_t i = 0;
    while (i < n && events[i].t < start_us) ++i;
    for (int64_t step = 0; step < steps; ++step, out += cells) {
        const int64_t low = start_us + step * bin_us, begin = i;
        int64_t outside = 0;
        if (clear) memset(out, 0, size_t(cells) * sizeof *out);
        for (; i < n && events[i].t < low + bin_us; ++i) {
            const Event& event = events[i];
            if (event.x >= width || event.y >= height) return -1;
            if (event.t < low) return -2;
            const uint32_t cell = columns[event.x] + rows[event.y] + plane * event.on;
            if (cell >= cells) ++outside;
            else out[cell] = T(out[cell] + (out[cell] < most));
        }
        totals[step] += i - begin - outside;
    }
    return 0;
}

CALLED events_bins(const Event* events, int64_t n, int64_t start_us, int64_t bin_us, const uint32_t* columns, int64_t width,
                   const uint32_t* rows, int64_t height, double ceiling, void* out, int64_t bytes, int64_t steps, int64_t cells,
                   int64_t* totals, int64_t clear) {
    const auto fill = [&](auto* own) {
        return bins(events, n, start_us, bin_us, columns, width, rows, height, ceiling, own, steps, cells, totals, clear);
    };
    return bytes == 1 ? fill(static_cast<uint8_t*>(out)) : fill(static_cast<float*>(out));
}

// One frame of the pixel model (pixels.h) at t_us, after one at began_us; returns the number of events.
CALLED pixels_frame(const uint8_t* grey, int64_t width, int64_t height, int64_t began_us, int64_t t_us, const float* levels,
                    const float* on, const float* off, float* reference, float* last, int64_t* free_us, double leak_hz,
                    double cutoff_hz, int64_t silent_us, int64_t limit, uint32_t* offsets, uint32_t* words) {
    SpikesightPixels p = {uint16_t(width), uint16_t(height), leak_hz, cutoff_hz, silent_us, uint32_t(limit), levels, on, off, nullptr,
                          reference, last, free_us, offsets, words, nullptr, began_us, true};
    return spikesight_pixels_take(&p, grey, t_us);
}

CALLED events_sorted(const uint32_t* offsets, const uint32_t* words, int64_t n, int64_t t_us, int64_t span_us, uint32_t* starts,
                     uint8_t* events) {
    spikesight_sorted(offsets, words, uint32_t(n), t_us, uint32_t(span_us), starts, events);
    return 0;
}
