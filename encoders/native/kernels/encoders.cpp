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

CALLED front_sums(int64_t width, int64_t height, int64_t to_width, int64_t to_height) {
    return spikesight_sums(int32_t(width), int32_t(height), int32_t(to_width), int32_t(to_height));
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
    const uint32_t *columns;  // each one's part of a cell's index in one plane
    int64_t width;
    const uint32_t *rows;
    int64_t height, cells;  // cells: of both planes
};

// The parts of a cell's index of the lines of a side, where side x other is brought to target x to_other; a sum of two fits still,
// and lies behind all cells, where one is cropped away.
CALLED grid_lines(int64_t side, int64_t other, int64_t target, int64_t to_other, int64_t step, uint32_t* found) {
    const SpikesightLines lines = spikesight_lines_of(int32_t(side), int32_t(other), int32_t(target), int32_t(to_other));
    for (int32_t i = 0; i < side; ++i) {
        const int32_t line = spikesight_line(&lines, i);
        found[i] = line < 0 ? 1u << 30 : uint32_t(line * step);
    }
    return 0;
}

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

CALLED pyramid_canvas(const SpikesightLevel* levels, int64_t n, int64_t height, int64_t width, const uint8_t* counts, uint8_t* canvas) {
    spikesight_pyramid_canvas(levels, int32_t(n), int32_t(height), int32_t(width), counts, canvas);
    return 0;
}

// ------------------------------------------------------------------------------------------------- a stream to bins

namespace {

struct Stream {  // its cells lie behind it
    SpikesightFront front;
    SpikesightFollow follow;
    Grid grid;
    uint8_t* x;          // where the next bin that closes is written,
    int64_t (*told)[4];  // and its start_us, end_us, n_events and reset
};

void closed(void* yours, const SpikesightBin* bin) {
    Stream* s = static_cast<Stream*>(yours);
    const size_t cells = size_t(2) * s->follow.height * s->follow.width;
    const int64_t told[] = {bin->start_us, bin->end_us, bin->n_events, bin->reset};
    memcpy(s->told++, told, sizeof told);
    if (s->follow.kept > 0) {
        SpikesightFollow own = s->follow;
        own.planes = true;  // so that the compiler knows
        spikesight_follow_crop(&own, bin->x, bin->reset, s->x);
        s->follow = own;
    } else memcpy(s->x, bin->x, cells);
    s->x += cells;
}

// Add the first event, of a time that was reached, and those after it that lie in the open bin, in order; return what follows.
const Event* add_all(SpikesightFront* front, const Grid grid, const Event* one, const Event* end) {
    const int64_t until = front->origin + front->bin_us;
    uint8_t *const open = front->open, ceiling = front->ceiling;
    int64_t last = front->last;
    uint32_t count = 0;
    do {
        const uint32_t cell = grid.columns[one->x] + grid.rows[one->y] + uint32_t(grid.cells / 2) * one->on;
        last = one->t > last ? one->t : last;
        if (cell >= grid.cells) continue;
        open[cell] = uint8_t(open[cell] + (open[cell] < ceiling));
        ++count;
    } while (++one < end && one->t >= last && one->t < until && one->t - last <= SPIKESIGHT_GAP_US);
    front->n_open += count, front->last = last;
    return one;
}

}  // namespace

// The bytes of a stream to inputs of across x down; they are zeros that become one, if they are there. With `kept`, what is in the
// cells of the grid is followed.
CALLED stream_begin(Stream* s, const Grid* grid, int64_t wide, int64_t across, int64_t down, int64_t bin_us, int64_t shown,
                    int64_t ceiling, double kept, double share) {
    if (s) {
        SpikesightFront& front = s->front;
        SpikesightFollow& follow = s->follow;
        s->grid = *grid;
        front.width = front.seen_width = uint16_t(grid->width), front.height = front.seen_height = uint16_t(grid->height);
        front.grid_width = follow.seen_width = uint16_t(wide), front.grid_height = follow.seen_height = uint16_t(grid->cells / 2 / wide);
        follow.width = uint16_t(across), follow.height = uint16_t(down);
        follow.kept = kept, follow.share = share;
        front.planes = follow.planes = true;
        front.bin_us = bin_us, front.shown = uint16_t(shown), front.ceiling = uint8_t(ceiling);
        front.close = closed, front.yours = s;
        front.open = reinterpret_cast<uint8_t*>(s + 1);
        front.since = reinterpret_cast<uint16_t*>(front.open + grid->cells);
        spikesight_front_begin(&front);
        spikesight_follow_reset(&follow);
    }
    return int64_t(sizeof *s + grid->cells * (1 + sizeof(uint16_t)));
}

// Add events (how: 0), of which the kept ones count; if these are others, all are sorted by time. Or time goes on without any: to
// t_us as at an event (1), to t_us (2), or to the stream's end (3). The number of bins that close; without x at most how many would,
// where of events that are sorted t_us is 1.
CALLED stream_run(Stream* s, int64_t how, int64_t t_us, const Event* events, int64_t n, const Event* kept, int64_t n_kept, uint8_t* x,
                  int64_t (*told)[4]) {
    const Event *const end = events + n, *const last = kept + n_kept;
    SpikesightFront own = s->front;
    int64_t count = 0;
    s->x = x, s->told = told;
    if (!x) {
        own.grid_width = 0;  // there are no cells
        own.yours = &count;
        own.close = [](void* yours, const SpikesightBin*) { ++*static_cast<int64_t*>(yours); };
        const bool near = t_us && n > 1 && end[-1].t - events->t <= SPIKESIGHT_GAP_US;
        for (; !how && events < end; events += near ? n - 1 : 1) spikesight_front_reach(&own, events->t), own.n_open = 1;
    }
    if (how == 1) spikesight_front_reach(&own, t_us);
    else if (how == 2) spikesight_front_tick(&own, t_us);
    else if (how == 3) spikesight_front_stop(&own);
    if (!x) return count;
    for (const bool all = kept == events; events < end; events = all ? kept : events + 1) {
        spikesight_front_reach(&own, events->t);
        while (kept < last && kept->t <= events->t) {
            kept = add_all(&own, s->grid, kept, last);
            if (all) break;
        }
    }
    s->front = own;
    return s->told - told;
}

// Rows and columns of the bins from which what moves is cropped.
CALLED follow_size(int64_t width, int64_t height, int64_t* found) {
    SpikesightFollow f{};
    spikesight_follow_size(&f, int32_t(width), int32_t(height));
    found[0] = f.seen_height, found[1] = f.seen_width;
    return 0;
}

// Centre and half side of the square around what some events show.
CALLED follow_frame(const Event* events, int64_t n, double* found) {
    int32_t left = 0xFFFF, right = 0, top = 0xFFFF, bottom = 0;
    double crowd[SPIKESIGHT_CROWD] = {};
    for (const Event* one = events; one < events + n; ++one) {
        left = one->x < left ? one->x : left, right = one->x > right ? one->x : right;
        top = one->y < top ? one->y : top, bottom = one->y > bottom ? one->y : bottom;
    }
    const double width = (right - left + 1) / double(SPIKESIGHT_SIDE), height = (bottom - top + 1) / double(SPIKESIGHT_SIDE);
    for (const Event* one = events; one < events + n; ++one)
        crowd[int((one->y - top) / height) * SPIKESIGHT_SIDE + int((one->x - left) / width)] += 1.0;
    spikesight_around(crowd, width, height, found);
    found[0] += left, found[1] += top;
    return 0;
}
