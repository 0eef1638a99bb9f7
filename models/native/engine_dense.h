// The convolution that multiplies everything, and the pools.
#pragma once
#include "engine_scatter.h"

namespace {

// A number is a float, or a pair of bfloat16 of two neighbouring channels (then `channels` counts pairs).
template <int P, int V, typename Number>
void dense_tile(const Number* in, int64_t row, int64_t step, int64_t kernel, int64_t channels, const Number* weight,
                int64_t chunk, float* out) {
    constexpr int GROUPS = (P + 2) / 3;  // three neighbours share a pointer: their addresses cost nothing
    Floats sum[P][V];
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[p][v] = load(out + p * chunk + v * LANES);
    for (int64_t dy = 0; dy < kernel; ++dy)
        for (int64_t dx = 0; dx < kernel; ++dx) {
            const Number* at[GROUPS];
#pragma GCC unroll 8
            for (int g = 0; g < GROUPS; ++g) at[g] = in + dy * row + dx * channels + 3 * g * step;
            for (int64_t c = 0; c < channels; ++c, weight += chunk) {
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
void dense_row(int64_t pixels, const Number* in, int64_t row, int64_t step, int64_t kernel, int64_t channels,
               const Number* weight, int64_t chunk, float* out) {
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
    const int64_t tiles = (band.width + TILE - 1) / TILE;
    const int64_t vectors = std::min<int64_t>(2, chunk / LANES);
    for (int64_t y = band.first; y < band.last; ++y)
        for (int64_t t = 0; t < tiles; ++t) {
            const int64_t left = t * band.width / tiles, right = (t + 1) * band.width / tiles;
            const Number* from = origin + y * conv.stride * row + left * step;
            float* out = band.sums + ((y - band.first) * band.width + left) * chunk;
            for (int64_t part = 0; part < chunk; part += vectors * LANES) {
                if (vectors == 2)
                    dense_row<2>(right - left, from, row, step, conv.kernel, channels, weight + part, chunk, out + part);
                else
                    dense_row<1>(right - left, from, row, step, conv.kernel, channels, weight + part, chunk, out + part);
            }
        }
}

template <int CH, bool ONES>
void scatter_any(const Input& in, const Buffer& b, const Convolution& conv, const float* weight, const Band& band) {
    const int64_t k = conv.kernel, s = conv.stride;
    if (k == 3 && s == 1) scatter<3, 1, CH, ONES>(in, b, conv.pad, weight, band);
    else if (k == 3 && s == 2) scatter<3, 2, CH, ONES>(in, b, conv.pad, weight, band);
    else if (k == 1 && s == 1) scatter<1, 1, CH, ONES>(in, b, conv.pad, weight, band);
    else if (k == 1 && s == 2) scatter<1, 2, CH, ONES>(in, b, conv.pad, weight, band);
    else if (k == 7 && s == 2) scatter<7, 2, CH, ONES>(in, b, conv.pad, weight, band);
}

bool can_scatter(const Convolution& c) {
    return (c.stride == 1 || c.stride == 2) && (c.kernel == 1 || c.kernel == 3 || (c.kernel == 7 && c.stride == 2));
}

void convolve(const Input& in, const Buffer& b, const Convolution& conv, int64_t number, int64_t chunk, const Band& band) {
    const int64_t offset = number * conv.kernel * conv.kernel * b.channels * chunk;
    if (!in.events) {
#if defined(__AVX512BF16__)
        if (in.halves) {
            const auto* pairs = reinterpret_cast<const uint32_t*>(in.halves);
            return dense(pairs, in.pad, b.channels / 2, b, conv, conv.by_pair + offset / 2, chunk, band);
        }
#endif
        return dense(in.padded, in.pad, b.channels, b, conv, conv.by_tap + offset, chunk, band);
    }
    const float* weight = conv.by_channel + offset;
    if (chunk == 32) in.binary ? scatter_any<32, true>(in, b, conv, weight, band) : scatter_any<32, false>(in, b, conv, weight, band);
    else in.binary ? scatter_any<16, true>(in, b, conv, weight, band) : scatter_any<16, false>(in, b, conv, weight, band);
}

template <typename T>
void pool(const T* data, const Buffer& b, int64_t kind, int64_t first, int64_t chunk, const Band& band) {
    const bool maximum = kind != 2;
    const int64_t pad = kind == 3 ? 0 : 1;
    for (int64_t y = band.first; y < band.last; ++y)
        for (int64_t x = 0; x < band.width; ++x) {
            float* out = band.sums + ((y - band.first) * band.width + x) * chunk;
            const int64_t top = std::max<int64_t>(0, 2 * y - pad), bottom = std::min(b.height, 2 * y + 2);
            const int64_t left = std::max<int64_t>(0, 2 * x - pad), right = std::min(b.width, 2 * x + 2);
            for (int64_t c = 0; c < chunk; c += LANES) {
                Floats best = maximum ? load_as_floats(data + (top * b.width + left) * b.channels + first + c) : Floats{};
                for (int64_t v = top; v < bottom; ++v)
                    for (int64_t u = left; u < right; ++u) {
                        Floats value = load_as_floats(data + (v * b.width + u) * b.channels + first + c);
                        if (maximum) best = value > best ? value : best;
                        else best += value;
                    }
                store(out + c, maximum ? best : best / 9.0f);
            }
        }
}

}  // namespace
