// The convolution that multiplies everything, and the pools.
#pragma once
#include "matrix.h"

namespace {

// P outputs side by side, V vectors each. A number is a float, or a pair of bfloat16 of two neighbouring channels (then
// `channels` counts pairs).
template <int P, int V, typename Number>
void dense_tile(const Number* in, int64_t row, int64_t step, int64_t kernel, int64_t channels, const Number* weight, int64_t chunk,
                float* out) {
    constexpr int GROUPS = (P + 2) / 3;  // three neighbours share a pointer: their addresses cost nothing
    Floats sum[P][V];
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[p][v] = load(out + p * chunk + v * LANES);
    for (int64_t dy = 0; dy < kernel; ++dy) {  // the channels of a row's taps lie one after the other
        const Number* at[GROUPS];
#pragma GCC unroll 8
        for (int g = 0; g < GROUPS; ++g) at[g] = in + dy * row + 3 * g * step;
        for (int64_t c = 0; c < kernel * channels; ++c, weight += chunk) {
            decltype(load(weight)) w[V];
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) w[v] = load(weight + v * LANES);
#pragma GCC unroll 16
            for (int p = 0; p < P; ++p) {
                const auto x = all(at[p / 3][(p % 3) * step]);
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) sum[p][v] = fma_(x, w[v], sum[p][v]);
            }
#pragma GCC unroll 8
            for (int g = 0; g < GROUPS; ++g) ++at[g];
        }
    }
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) store(out + p * chunk + v * LANES, sum[p][v]);
}

template <int V, int P = TILE, typename Number>
void dense_row(int64_t pixels, const Number* in, int64_t row, int64_t step, int64_t kernel, int64_t channels, const Number* weight,
               int64_t chunk, float* out) {
    if constexpr (P >= 1) {
        if (pixels == P) dense_tile<P, V, Number>(in, row, step, kernel, channels, weight, chunk, out);
        else dense_row<V, P - 1>(pixels, in, row, step, kernel, channels, weight, chunk, out);
    }
}

template <typename Number>
void dense(const Number* padded, int64_t pad, int64_t channels, const Buffer& b, const Convolution& conv, const Number* weight,
           int64_t chunk, const Band& band) {
    const int64_t row = (b.width + 2 * pad) * channels, step = conv.stride * channels;
    const Number* origin = padded + (pad - conv.pad) * (row + channels);
    const int64_t tiles = (band.width + TILE - 1) / TILE, vectors = std::min<int64_t>(2, chunk / LANES);
    for (int64_t y = band.first; y < band.last; ++y)
        for (int64_t t = 0; t < tiles; ++t) {
            const int64_t left = t * band.width / tiles, right = (t + 1) * band.width / tiles;
            const Number* from = origin + y * conv.stride * row + left * step;
            float* out = band.sums + ((y - band.first) * band.width + left) * chunk;
            for (int64_t part = 0; part < chunk; part += vectors * LANES) {
                const auto kind = vectors == 2 ? dense_row<2, TILE, Number> : dense_row<1, TILE, Number>;
                kind(right - left, from, row, step, conv.kernel, channels, weight + part, chunk, out + part);
            }
        }
}

void convolve(const Input& in, const Buffer& b, const Convolution& conv, int64_t number, int64_t chunk, const Band& band) {
    const int64_t offset = number * conv.kernel * conv.kernel * b.channels * chunk;
    if (!in.events) {
#if defined(__AMX_BF16__)
        if (in.halves && conv.matrix) {
            const uint32_t* pairs = conv.by_pair + offset / 2;
            if (conv.parts == 3) return matrix<3>(in.halves, in.pad, b, conv, pairs, conv.part, band);
            return matrix<1>(in.halves, in.pad, b, conv, pairs, conv.part, band);
        }
#endif
#if defined(__AVX512BF16__)
        if (in.halves) {
            const auto* pairs = reinterpret_cast<const uint32_t*>(in.halves);
            return dense(pairs, in.pad, b.channels / 2, b, conv, conv.by_pair + offset / 2, chunk, band);
        }
#endif
        return dense(in.padded, in.pad, b.channels, b, conv, conv.by_tap + offset, chunk, band);
    }
    scatter_chunk(in, b, conv, chunk, conv.by_channel + offset, band);
}

template <bool MAXIMUM, typename T>
inline __attribute__((always_inline)) Floats pool_window(const T* corner, int64_t rows, int64_t columns, int64_t row, int64_t channels) {
    Floats best = MAXIMUM ? load_as_floats(corner) : Floats{};
#pragma GCC unroll 3
    for (int64_t v = 0; v < rows; ++v)
#pragma GCC unroll 3
        for (int64_t u = 0; u < columns; ++u) {
            const Floats value = load_as_floats(corner + v * row + u * channels);
            if constexpr (MAXIMUM) best = value > best ? value : best;
            else best += value;
        }
    return MAXIMUM ? best : best / 9.0f;
}

template <bool MAXIMUM, typename T>
void pool_band(const T* data, const Buffer& b, int64_t pad, int64_t first, int64_t chunk, const Band& band) {
    const int64_t channels = b.channels, row = b.width * channels, height = b.height, width = b.width;
    for (int64_t y = band.first; y < band.last; ++y)
        for (int64_t x = 0; x < band.width; ++x) {
            float* out = band.sums + ((y - band.first) * band.width + x) * chunk;
            const int64_t top = std::max<int64_t>(0, 2 * y - pad), rows = std::min(height, 2 * y + 2) - top;
            const int64_t left = std::max<int64_t>(0, 2 * x - pad), columns = std::min(width, 2 * x + 2) - left;
            const T* corner = data + top * row + left * channels + first;
            if (rows == 3 && columns == 3)
                for (int64_t c = 0; c < chunk; c += LANES) store(out + c, pool_window<MAXIMUM>(corner + c, 3, 3, row, channels));
            else
                for (int64_t c = 0; c < chunk; c += LANES) store(out + c, pool_window<MAXIMUM>(corner + c, rows, columns, row, channels));
        }
}

template <typename T>
void pool(const T* data, const Buffer& b, int64_t kind, int64_t first, int64_t chunk, const Band& band) {
    const int64_t pad = kind == 3 ? 0 : 1;
    kind == 2 ? pool_band<false>(data, b, pad, first, chunk, band) : pool_band<true>(data, b, pad, first, chunk, band);
}

}  // namespace
