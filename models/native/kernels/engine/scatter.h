// The event-driven convolution: each non-zero input adds its weight rows to the outputs that it reaches.
#pragma once
#include "inputs.h"

namespace {

constexpr int vectors_of(int chunk, int outputs) {  // side by side in a scatter: a power of two that divides the chunk
    int v = chunk / LANES;
    while (v > 1 && v * outputs > SCATTER_SUMS) v /= 2;
    return v;
}

// The events of one pixel to the NY x NX outputs that they reach; S is the step between the taps of neighbours.
template <int NY, int NX, int K, int S, int CH, bool ONES>
inline void scatter_pixel(const uint16_t* index, const float* value, int64_t n, const float* weight, float* out, int64_t row) {
    constexpr int V = vectors_of(CH, NY * NX);
    for (int part = 0; part < CH; part += V * LANES) {
        Floats sum[NY][NX][V];
#pragma GCC unroll 4
        for (int y = 0; y < NY; ++y)
#pragma GCC unroll 4
            for (int x = 0; x < NX; ++x)
#pragma GCC unroll 8
                for (int v = 0; v < V; ++v) sum[y][x][v] = load(out + y * row + x * CH + part + v * LANES);
        for (int64_t i = 0; i < n; ++i) {
            const float* w = weight + int64_t(index[i]) * (K * K * CH) + part;
            Floats factor;
            if constexpr (!ONES) factor = all(value[i]);
#pragma GCC unroll 4
            for (int y = 0; y < NY; ++y)
#pragma GCC unroll 4
                for (int x = 0; x < NX; ++x)
#pragma GCC unroll 8
                    for (int v = 0; v < V; ++v) {
                        Floats term = load(w - (y * K + x) * S * CH + v * LANES);
                        if constexpr (ONES) sum[y][x][v] += term;
                        else sum[y][x][v] = fma_(factor, term, sum[y][x][v]);
                    }
        }
#pragma GCC unroll 4
        for (int y = 0; y < NY; ++y)
#pragma GCC unroll 4
            for (int x = 0; x < NX; ++x)
#pragma GCC unroll 8
                for (int v = 0; v < V; ++v) store(out + y * row + x * CH + part + v * LANES, sum[y][x][v]);
    }
}

// Whether n numbers have the same bits; false where they are no whole vectors.
inline bool alike(const float* a, const float* b, int64_t n) {
    if (n % LANES) return false;
    Ints differ{};
    for (int64_t i = 0; i < n; i += LANES) differ |= (Ints)load(a + i) != (Ints)load(b + i);
    return !total(differ);
}

// The values of one pixel to the output below it. In a still picture neighbours are often alike: the same values of the
// same channels onto the same sums give what the pixel before gave.
template <int CH>
struct Column {
    float before[CH];
    const float *value = nullptr, *after = nullptr;

    void add(const uint16_t* index, const float* given, int64_t n, int64_t channels, const float* weight, float* out, int64_t row) {
        const bool all_given = n == channels;  // so that the channels are the same
        if (all_given && value && alike(given, value, n) && alike(out, before, CH)) {
            memcpy(out, after, sizeof before);
            return;
        }
        memcpy(before, out, sizeof before);
        scatter_pixel<1, 1, 1, 1, CH, false>(index, given, n, weight, out, row);
        value = all_given ? given : nullptr, after = out;
    }
};

int64_t ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

struct Band {
    int64_t first, last;  // output rows [first, last)
    int64_t width;        // outputs a row
    float* sums;          // [last - first][width][CH]
};

template <int K, int S, int CH, bool ONES>
void scatter(const Input& in, const Buffer& b, int64_t pad, const float* weight, const Band& band) {
    const int64_t row = band.width * CH;
    Column<CH> column;
    const int64_t y_end = std::min(b.height, (band.last - 1) * S - pad + K);
    for (int64_t y = std::max<int64_t>(0, band.first * S - pad); y < y_end; ++y) {
        const int64_t top = std::max(ceil_div(y + pad - K + 1, S), band.first);
        const int64_t rows = std::min((y + pad) / S, band.last - 1) - top + 1;
        if (rows <= 0) continue;
        const int64_t dy = y + pad - top * S;
        const uint32_t* start = in.start + y * b.width;
        float* sums = band.sums + (top - band.first) * row;
        for (int64_t x = 0; x < b.width; ++x) {
            const int64_t n = start[x + 1] - start[x];
            if (!n) continue;
            const int64_t left = std::max<int64_t>(ceil_div(x + pad - K + 1, S), 0);
            const int64_t columns = std::min((x + pad) / S, band.width - 1) - left + 1;
            if (K == 1 && columns <= 0) continue;
            const int64_t dx = x + pad - left * S;
            const uint16_t* index = in.index + start[x];
            const float* value = ONES ? nullptr : in.value + start[x];
            const float* w = weight + (dy * K + dx) * CH;
            float* out = sums + left * CH;
#define SPIKESIGHT_SCATTER(NY, NX) \
    case NY * 4 + NX: scatter_pixel<NY, NX, K, S, CH, ONES>(index, value, n, w, out, row); break;
            if constexpr (K == 1 && !ONES) column.add(index, value, n, b.channels, w, out, row);
            else if constexpr (K == 1) scatter_pixel<1, 1, K, S, CH, ONES>(index, value, n, w, out, row);
            else if constexpr (K == 3 && S == 1) {
                switch (rows * 4 + columns) {
                    SPIKESIGHT_SCATTER(3, 3) SPIKESIGHT_SCATTER(3, 2) SPIKESIGHT_SCATTER(2, 3) SPIKESIGHT_SCATTER(2, 2)
                    SPIKESIGHT_SCATTER(1, 1) SPIKESIGHT_SCATTER(1, 2) SPIKESIGHT_SCATTER(2, 1) SPIKESIGHT_SCATTER(1, 3)
                    SPIKESIGHT_SCATTER(3, 1)
                }
            } else if constexpr (K == 3) {
                switch (rows * 4 + columns) {
                    SPIKESIGHT_SCATTER(1, 1) SPIKESIGHT_SCATTER(1, 2) SPIKESIGHT_SCATTER(2, 1) SPIKESIGHT_SCATTER(2, 2)
                }
            } else
                for (int64_t r = 0; r < rows; ++r)
                    for (int64_t c = 0; c < columns; ++c)
                        scatter_pixel<1, 1, K, S, CH, ONES>(index, value, n, w - (r * K + c) * S * CH, out + r * row + c * CH, row);
#undef SPIKESIGHT_SCATTER
        }
    }
}

bool can_scatter(const Convolution& c) {
    return (c.stride == 1 || c.stride == 2) && (c.kernel == 1 || c.kernel == 3 || (c.kernel == 7 && c.stride == 2));
}

void begin_sums(const float* bias, int64_t chunk, int64_t pixels, float* sums) {
    Floats value[32 / LANES];
    for (int64_t v = 0; v < chunk / LANES; ++v) value[v] = load(bias + v * LANES);
    for (int64_t p = 0; p < pixels; ++p)
        for (int64_t v = 0; v < chunk / LANES; ++v) store(sums + p * chunk + v * LANES, value[v]);
}

void scatter_chunk(const Input& in, const Buffer& b, const Convolution& conv, int64_t chunk, const float* weight, const Band& band) {
    constants([&](auto wide, auto ones, auto halves) {
        constexpr int CH = wide ? 32 : 16, S = halves ? 2 : 1;
        if (conv.kernel == 1) scatter<1, S, CH, ones>(in, b, conv.pad, weight, band);
        else if (conv.kernel == 3) scatter<3, S, CH, ones>(in, b, conv.pad, weight, band);
        else if constexpr (halves) scatter<7, S, CH, ones>(in, b, conv.pad, weight, band);
    }, chunk == 32, in.binary, conv.stride == 2);
}

}  // namespace
