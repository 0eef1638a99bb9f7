// Event-driven inference of spiking networks: one call runs T steps of N streams through a list of layers.
//
// A layer fills a band of output rows with sums (a convolution, or a pooling), adds its shortcut, and lets its neurons
// take the sum as their current. Activations are bytes [H][W][C] (spikes, or sums of spikes), currents are floats of the
// same layout; C is padded to a multiple of 16 with channels that stay silent.
//
// A convolution has two kernels. `scatter` visits the non-zero inputs alone and adds their weight rows to the outputs
// they reach; `dense` multiplies everything. Both add the terms of an output in the order (kernel row, kernel column,
// channel), and adding a zero term changes nothing, so they give the same bits: which one runs is a matter of speed
// alone, chosen for each frame from its count of events. Streams never meet in a sum, so a stream's results do not
// depend on its company.
#include "lanes.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <vector>

extern "C" {

struct Buffer {
    int64_t is_float, height, width, channels;  // channels as laid out
    int64_t binary;                             // bytes known to be 0 or 1
};

struct Carry {  // a shortcut without weights
    int64_t buffer;                  // -1: none
    int64_t stride, first, channels;  // output channel `first + c` takes input channel c; identity: 1, 0, all
    const float* scale;               // [output channels] of `before`, null: 1
};

struct Convolution {
    int64_t buffer;  // -1: none
    int64_t kernel, stride, pad;
    const float* by_channel;  // [chunk][Ci][K K][CH]: for scatter
    const float* by_tap;      // [chunk][K K][Ci][CH]: for dense
    const int32_t* reach;     // [H W]: outputs that each input pixel feeds
    int64_t fan_out;          // true output channels
    double density;           // scatter below this effective density
};

struct Layer {
    int64_t pool;  // 0: convolution, 1: max-pool, 2: average pool (3x3, stride 2, pad 1) of main.buffer
    Convolution main, side;
    int64_t height, width, channels, chunk;  // of the output; channels padded, chunk 16 or 32
    const float* bias;                       // [channels], or null
    Carry before, after;                     // added to the current; added to the spikes
    int64_t current, spikes;                 // buffers written, -1: not kept
    int64_t neuron, delay, zero, inclusive;  // neuron 0: none
    double beta, theta, gain;                // theta: what a reset subtracts
    double limit;                            // the threshold compared with: theta, less a start that the state leaves out
    int64_t state;  // offset of the membranes in a stream's state
    const int32_t* raster;
    int64_t raster_rows, raster_first;
};

struct Readout {
    int64_t buffer, classes, padded;
    const float* weight;  // [C][padded]
    const float* bias;    // [padded]
};

struct Run {
    int64_t steps, streams;
    const void* x;  // [T, N, C, H, W], bytes or floats
    int64_t x_is_float;
    const float* const* state_before;  // [N] streams' membranes
    float* const* state_after;
    float* logits;         // [T, N, K]
    int64_t* layer_spikes;  // [N, L]
    int64_t* synops;        // [N]
    uint8_t* raster;        // [N, R]
    int64_t spike_layers, raster_rows;
    int64_t force;   // 0: choose; 1: always scatter; 2: always dense
    int64_t frozen;  // the input is the same in all steps: x is [N, C, H, W], and the first layer sums it once
};
}

namespace {

// ---------------------------------------------------------------------------------------------------- memory

struct Memory {  // grows, never shrinks, 64-byte aligned, huge pages where the system gives them by itself
    char* data = nullptr;
    size_t size = 0;
    char* get(size_t bytes) {
        if (bytes > size) {
            free(data);
            size = (bytes + (bytes >> 3) + 4095) & ~size_t(4095);
            data = static_cast<char*>(aligned_alloc(64, size));
            if (!data) size = 0;
        }
        return data;
    }
    ~Memory() { free(data); }
};

size_t aligned(size_t bytes) { return (bytes + 63) & ~size_t(63); }

// ---------------------------------------------------------------------------------------------------- inputs

struct Input {  // one frame, ready for one of the kernels
    bool events, binary;
    const uint32_t* start;  // [H W + 1]
    const uint16_t* index;  // channels of the non-zero inputs, pixel by pixel, ascending
    const float* value;     // theirs, unless all are 1
    const float* padded;    // [H + 2 pad][W + 2 pad][C]
    int64_t pad, reached;   // reached: outputs that meet a non-zero input, over all pixels and channels
};

int64_t count_bytes(const uint8_t* p, int64_t n) {
    int64_t count = 0;
#if defined(__AVX512BW__) && defined(__AVX512VL__)
    if (n % 16 == 0) {
        for (int64_t i = 0; i < n; i += 16) {
            __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i));
            count += __builtin_popcount(_mm_test_epi8_mask(v, v));
        }
        return count;
    }
#endif
    for (int64_t i = 0; i < n; ++i) count += p[i] != 0;
    return count;
}

template <typename T>
int64_t count_nonzero(const T* p, int64_t n) {
    if constexpr (sizeof(T) == 1) return count_bytes(p, n);
    int64_t count = 0;
    for (int64_t i = 0; i < n; ++i) count += p[i] != 0;
    return count;
}

template <typename T>
uint16_t* list_pixel(const T* p, int64_t channels, uint16_t* out) {
    int64_t i = 0;
    if constexpr (sizeof(T) == 1) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
        for (; i + 16 <= channels; i += 16) {
            __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i));
            for (uint32_t m = _mm_test_epi8_mask(v, v); m; m &= m - 1) *out++ = uint16_t(i + __builtin_ctz(m));
        }
#else
        for (; i + 8 <= channels; i += 8) {
            uint64_t v;
            memcpy(&v, p + i, 8);
            constexpr uint64_t low = 0x7f7f7f7f7f7f7f7fULL;
            for (uint64_t m = (((v & low) + low) | v) & ~low; m; m &= m - 1) *out++ = uint16_t(i + (__builtin_ctzll(m) >> 3));
        }
#endif
    }
    for (; i < channels; ++i)
        if (p[i] != 0) *out++ = uint16_t(i);
    return out;
}

size_t input_bytes(const Buffer& b, int64_t pad) {
    size_t pixels = b.height * b.width, entries = pixels * b.channels;
    size_t lists = aligned((pixels + 1) * 4) + aligned(entries * 2) + aligned(entries * 4);
    return std::max(lists, aligned((b.height + 2 * pad) * (b.width + 2 * pad) * b.channels * 4));
}

template <typename T>
void list_frame(const T* data, const Buffer& b, char* memory, Input& out) {
    const int64_t pixels = b.height * b.width;
    auto* start = reinterpret_cast<uint32_t*>(memory);
    auto* index = reinterpret_cast<uint16_t*>(memory + aligned((pixels + 1) * 4));
    uint16_t* end = index;
    for (int64_t p = 0; p < pixels; ++p) {
        start[p] = uint32_t(end - index);
        end = list_pixel(data + p * b.channels, b.channels, end);
    }
    start[pixels] = uint32_t(end - index);
    out.start = start, out.index = index, out.binary = b.binary;
    if (b.binary) return;
    auto* value = reinterpret_cast<float*>(memory + aligned((pixels + 1) * 4) + aligned(pixels * b.channels * 2));
    bool ones = true;
    for (int64_t p = 0; p < pixels; ++p)
        for (uint32_t i = start[p]; i < start[p + 1]; ++i) {
            value[i] = float(data[p * b.channels + index[i]]);
            ones &= value[i] == 1.0f;
        }
    out.value = value, out.binary = ones;
}

template <typename T>
void pad_frame(const T* data, const Buffer& b, int64_t pad, float* memory, Input& out) {
    out.pad = pad;
    if constexpr (sizeof(T) == 4)
        if (pad == 0) {
            out.padded = data;
            return;
        }
    const int64_t row = b.width * b.channels, side = pad * b.channels, wide = row + 2 * side;
    memset(memory, 0, pad * wide * 4);
    for (int64_t y = 0; y < b.height; ++y) {
        float* to = memory + (y + pad) * wide;
        for (int64_t i = 0; i < side; ++i) to[i] = to[side + row + i] = 0;
        for (int64_t i = 0; i < row; ++i) to[side + i] = float(data[y * row + i]);
    }
    memset(memory + (b.height + pad) * wide, 0, pad * wide * 4);
    out.padded = memory;
}

template <typename T>
int64_t reached(const T* data, const Buffer& b, const int32_t* reach, int64_t& nonzero) {
    int64_t sum = 0;
    nonzero = 0;
    for (int64_t p = 0; p < b.height * b.width; ++p) {
        int64_t n = count_nonzero(data + p * b.channels, b.channels);
        nonzero += n, sum += n * reach[p];
    }
    return sum;
}

// ---------------------------------------------------------------------------------------------------- scatter

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

int64_t ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

struct Band {
    int64_t first, last;  // output rows [first, last)
    int64_t width;        // outputs a row
    float* sums;          // [last - first][width][CH]
};

template <int K, int S, int CH, bool ONES>
void scatter(const Input& in, const Buffer& b, int64_t pad, const float* weight, const Band& band) {
    const int64_t row = band.width * CH;
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
            const int64_t dx = x + pad - left * S;
            const uint16_t* index = in.index + start[x];
            const float* value = ONES ? nullptr : in.value + start[x];
            const float* w = weight + (dy * K + dx) * CH;
            float* out = sums + left * CH;
#define SPIKESIGHT_SCATTER(NY, NX) \
    case NY * 4 + NX: scatter_pixel<NY, NX, K, S, CH, ONES>(index, value, n, w, out, row); break;
            if constexpr (K == 1) {
                if (columns > 0) scatter_pixel<1, 1, 1, 1, CH, ONES>(index, value, n, w, out, row);
            } else if constexpr (K == 3 && S == 1) {
                switch (rows * 4 + columns) {
                    SPIKESIGHT_SCATTER(3, 3) SPIKESIGHT_SCATTER(3, 2) SPIKESIGHT_SCATTER(2, 3) SPIKESIGHT_SCATTER(2, 2)
                    SPIKESIGHT_SCATTER(1, 1) SPIKESIGHT_SCATTER(1, 2) SPIKESIGHT_SCATTER(2, 1) SPIKESIGHT_SCATTER(1, 3)
                    SPIKESIGHT_SCATTER(3, 1)
                }
            } else if constexpr (K == 3) {
                switch (rows * 4 + columns) {
                    SPIKESIGHT_SCATTER(1, 1) SPIKESIGHT_SCATTER(1, 2) SPIKESIGHT_SCATTER(2, 1) SPIKESIGHT_SCATTER(2, 2)
                }
            } else {
                for (int64_t r = 0; r < rows; ++r)
                    for (int64_t c = 0; c < columns; ++c)
                        scatter_pixel<1, 1, K, S, CH, ONES>(
                            index, value, n, w - (r * K + c) * S * CH, out + r * row + c * CH, row);
            }
#undef SPIKESIGHT_SCATTER
        }
    }
}

// ---------------------------------------------------------------------------------------------------- dense

template <int P, int V>
void dense_tile(const float* in, int64_t row, int64_t step, int64_t kernel, int64_t channels, const float* weight,
                int64_t chunk, float* out) {
    constexpr int GROUPS = (P + 2) / 3;  // three neighbours share a pointer: their addresses cost nothing
    Floats sum[P][V];
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[p][v] = load(out + p * chunk + v * LANES);
    for (int64_t dy = 0; dy < kernel; ++dy)
        for (int64_t dx = 0; dx < kernel; ++dx) {
            const float* at[GROUPS];
#pragma GCC unroll 8
            for (int g = 0; g < GROUPS; ++g) at[g] = in + dy * row + dx * channels + 3 * g * step;
            for (int64_t c = 0; c < channels; ++c, weight += chunk) {
                Floats w[V];
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) w[v] = load(weight + v * LANES);
#pragma GCC unroll 16
                for (int p = 0; p < P; ++p) {
                    Floats x = all(at[p / 3][(p % 3) * step]);
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

template <int V, int P = TILE>
void dense_row(int64_t pixels, const float* in, int64_t row, int64_t step, int64_t kernel, int64_t channels,
               const float* weight, int64_t chunk, float* out) {
    if constexpr (P >= 1) {
        if (pixels == P) dense_tile<P, V>(in, row, step, kernel, channels, weight, chunk, out);
        else dense_row<V, P - 1>(pixels, in, row, step, kernel, channels, weight, chunk, out);
    }
}

void dense(const Input& in, const Buffer& b, const Convolution& conv, const float* weight, int64_t chunk, const Band& band) {
    const int64_t row = (b.width + 2 * in.pad) * b.channels, step = conv.stride * b.channels;
    const float* origin = in.padded + (in.pad - conv.pad) * (row + b.channels);
    const int64_t tiles = (band.width + TILE - 1) / TILE;
    const int64_t vectors = std::min<int64_t>(2, chunk / LANES);
    for (int64_t y = band.first; y < band.last; ++y)
        for (int64_t t = 0; t < tiles; ++t) {
            const int64_t left = t * band.width / tiles, right = (t + 1) * band.width / tiles;
            const float* from = origin + y * conv.stride * row + left * step;
            float* out = band.sums + ((y - band.first) * band.width + left) * chunk;
            for (int64_t part = 0; part < chunk; part += vectors * LANES) {
                if (vectors == 2)
                    dense_row<2>(right - left, from, row, step, conv.kernel, b.channels, weight + part, chunk, out + part);
                else
                    dense_row<1>(right - left, from, row, step, conv.kernel, b.channels, weight + part, chunk, out + part);
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
    if (!in.events) return dense(in, b, conv, conv.by_tap + offset, chunk, band);
    const float* weight = conv.by_channel + offset;
    if (chunk == 32) in.binary ? scatter_any<32, true>(in, b, conv, weight, band) : scatter_any<32, false>(in, b, conv, weight, band);
    else in.binary ? scatter_any<16, true>(in, b, conv, weight, band) : scatter_any<16, false>(in, b, conv, weight, band);
}

void pool(const float* data, const Buffer& b, bool maximum, int64_t first, int64_t chunk, const Band& band) {
    for (int64_t y = band.first; y < band.last; ++y)
        for (int64_t x = 0; x < band.width; ++x) {
            float* out = band.sums + ((y - band.first) * band.width + x) * chunk;
            const int64_t top = std::max<int64_t>(0, 2 * y - 1), bottom = std::min(b.height, 2 * y + 2);
            const int64_t left = std::max<int64_t>(0, 2 * x - 1), right = std::min(b.width, 2 * x + 2);
            for (int64_t c = 0; c < chunk; c += LANES) {
                Floats best = maximum ? load(data + (top * b.width + left) * b.channels + first + c) : Floats{};
                for (int64_t v = top; v < bottom; ++v)
                    for (int64_t u = left; u < right; ++u) {
                        Floats value = load(data + (v * b.width + u) * b.channels + first + c);
                        if (maximum) best = value > best ? value : best;
                        else best += value;
                    }
                store(out + c, maximum ? best : best / 9.0f);
            }
        }
}

// ---------------------------------------------------------------------------------------------------- neurons

template <bool DELAY, bool ZERO, bool INCLUSIVE>
int64_t fire(const Layer& layer, const float* sums, const float* before, float* after, uint8_t* out, int64_t pixels, int64_t first) {
    const Floats beta = all(float(layer.beta)), theta = all(float(layer.theta)), gain = all(float(layer.gain));
    const Floats limit = all(float(layer.limit));
    const int64_t chunk = layer.chunk, channels = layer.channels;
    Ints count{};
    for (int64_t p = 0; p < pixels; ++p)
        for (int64_t c = 0; c < chunk; c += LANES) {
            const int64_t at = p * channels + first + c;
            Floats v = load(before + at), u, current = load(sums + p * chunk + c) * gain;
            if constexpr (DELAY) {
                Ints fired = INCLUSIVE ? v >= limit : v > limit;
                u = ZERO ? masked(~fired, beta * v) + current : beta * v + current - masked(fired, theta);
            } else {
                u = beta * v + current;
            }
            Ints spike = INCLUSIVE ? u >= limit : u > limit;
            if constexpr (DELAY) store(after + at, u);
            else store(after + at, ZERO ? masked(~spike, u) : u - masked(spike, theta));
            store_bytes(out + at, spike & 1);
            count -= spike;
        }
    return total(count);
}

using Fire = int64_t (*)(const Layer&, const float*, const float*, float*, uint8_t*, int64_t, int64_t);
Fire firing(const Layer& n) {
    static const Fire kinds[8] = {fire<false, false, false>, fire<false, false, true>, fire<false, true, false>, fire<false, true, true>,
                                  fire<true, false, false>,  fire<true, false, true>,  fire<true, true, false>,  fire<true, true, true>};
    return kinds[(n.delay ? 4 : 0) + (n.zero ? 2 : 0) + (n.inclusive ? 1 : 0)];
}

// ---------------------------------------------------------------------------------------------------- plan

struct Statistics {
    int64_t reached = 0, possible = 0, scattered = 0, frames = 0, nanoseconds = 0;
};

struct Plan {
    std::vector<Buffer> buffers;
    std::vector<Layer> layers;
    Readout readout;
    std::vector<Memory> memory;  // of the buffers
    Memory main, side, band, scratch;
    std::vector<Input> mains, sides;
    std::vector<Statistics> statistics;
    int64_t steps = 1;
    std::vector<bool> frozen;  // buffers that hold one frame a stream for all steps

    char* frame(int64_t buffer, int64_t f) {
        const Buffer& b = buffers[buffer];
        if (frozen[buffer]) f -= f % steps;
        return memory[buffer].data + f * aligned(b.height * b.width * b.channels * (b.is_float ? 4 : 1));
    }
    bool reserve(int64_t frames) {
        for (size_t i = 0; i < buffers.size(); ++i) {
            const Buffer& b = buffers[i];
            if (!memory[i].get(frames * aligned(b.height * b.width * b.channels * (b.is_float ? 4 : 1)))) return false;
        }
        return true;
    }
};

void take_input(Plan& plan, const Run& run) {
    Buffer& b = plan.buffers[0];
    const int64_t pixels = b.height * b.width;
    for (int64_t n = 0; n < run.streams; ++n)
        for (int64_t t = 0; t < (run.frozen ? 1 : run.steps); ++t) {
            const int64_t from = (t * run.streams + n) * b.channels * pixels;
            char* to = plan.frame(0, n * run.steps + t);
            for (int64_t c = 0; c < b.channels; ++c)
                for (int64_t p = 0; p < pixels; ++p) {
                    if (run.x_is_float)
                        reinterpret_cast<float*>(to)[p * b.channels + c] = static_cast<const float*>(run.x)[from + c * pixels + p];
                    else
                        reinterpret_cast<uint8_t*>(to)[p * b.channels + c] = static_cast<const uint8_t*>(run.x)[from + c * pixels + p];
                }
        }
}

void prepare(Plan& plan, const Run& run, const Convolution& conv, const Convolution* sharing, int64_t f, char* memory, Input& out,
             Statistics& statistics) {
    const Buffer& b = plan.buffers[conv.buffer];
    const char* data = plan.frame(conv.buffer, f);
    const auto* bytes = reinterpret_cast<const uint8_t*>(data);
    const auto* floats = reinterpret_cast<const float*>(data);
    int64_t nonzero;
    const int64_t sum = b.is_float ? reached(floats, b, conv.reach, nonzero) : reached(bytes, b, conv.reach, nonzero);
    int64_t possible = 0;
    for (int64_t p = 0; p < b.height * b.width; ++p) possible += conv.reach[p];
    possible *= b.channels;
    out.reached = sum;
    run.synops[f / run.steps] += sum * conv.fan_out;
    out.events = run.force ? run.force == 1 : double(sum) < conv.density * double(possible);
    out.events = out.events && can_scatter(conv) && (!sharing || can_scatter(*sharing));
    statistics.reached += sum, statistics.possible += possible, statistics.frames += 1, statistics.scattered += out.events;
    if (out.events) b.is_float ? list_frame(floats, b, memory, out) : list_frame(bytes, b, memory, out);
    else if (b.is_float) pad_frame(floats, b, conv.pad, reinterpret_cast<float*>(memory), out);
    else pad_frame(bytes, b, conv.pad, reinterpret_cast<float*>(memory), out);
}

int64_t carried_channel(const Carry& carry, int64_t c) { return c >= carry.first && c < carry.first + carry.channels ? c - carry.first : -1; }

void add_before(Plan& plan, const Layer& layer, int64_t f, int64_t first, const Band& band) {
    const Carry& carry = layer.before;
    const Buffer& b = plan.buffers[carry.buffer];
    const char* data = plan.frame(carry.buffer, f);
    const bool same = carry.stride == 1 && carry.first == 0 && b.channels == layer.channels;
    for (int64_t y = band.first; y < band.last; ++y)
        for (int64_t x = 0; x < band.width; ++x) {
            float* to = band.sums + ((y - band.first) * band.width + x) * layer.chunk;
            const int64_t from = (y * carry.stride * b.width + x * carry.stride) * b.channels;
            if (same) {
                for (int64_t c = 0; c < layer.chunk; c += LANES) {
                    Floats value = b.is_float ? load(reinterpret_cast<const float*>(data) + from + first + c)
                                              : load_bytes(reinterpret_cast<const uint8_t*>(data) + from + first + c);
                    if (carry.scale) value *= load(carry.scale + first + c);
                    store(to + c, load(to + c) + value);
                }
                continue;
            }
            for (int64_t c = 0; c < layer.chunk; ++c) {
                const int64_t source = carried_channel(carry, first + c);
                if (source < 0) continue;
                const float value = b.is_float ? reinterpret_cast<const float*>(data)[from + source]
                                               : float(reinterpret_cast<const uint8_t*>(data)[from + source]);
                to[c] += carry.scale ? value * carry.scale[first + c] : value;
            }
        }
}

uint8_t carried(const Plan& plan, const Carry& carry, const uint8_t* data, int64_t y, int64_t x, int64_t c) {
    const Buffer& b = plan.buffers[carry.buffer];
    const int64_t source = carried_channel(carry, c);
    return source < 0 ? 0 : data[(y * carry.stride * b.width + x * carry.stride) * b.channels + source];
}

void add_after(Plan& plan, const Layer& layer, int64_t f) {
    const Carry& carry = layer.after;
    const Buffer& b = plan.buffers[carry.buffer];
    const auto* data = reinterpret_cast<const uint8_t*>(plan.frame(carry.buffer, f));
    auto* out = reinterpret_cast<uint8_t*>(plan.frame(layer.spikes, f));
    if (carry.stride == 1 && carry.first == 0 && b.channels == layer.channels) {
        for (int64_t i = 0; i < layer.height * layer.width * layer.channels; ++i) out[i] = uint8_t(out[i] + data[i]);
        return;
    }
    for (int64_t y = 0; y < layer.height; ++y)
        for (int64_t x = 0; x < layer.width; ++x)
            for (int64_t c = 0; c < layer.channels; ++c)
                out[(y * layer.width + x) * layer.channels + c] += carried(plan, carry, data, y, x, c);
}

void note_raster(Plan& plan, const Run& run, const Layer& layer, int64_t f) {
    const auto* out = reinterpret_cast<const uint8_t*>(plan.frame(layer.spikes, f));
    uint8_t* to = run.raster + (f / run.steps) * run.raster_rows + layer.raster_first;
    for (int64_t r = 0; r < layer.raster_rows; ++r) to[r] |= out[layer.raster[r]];
}

void fill(Plan& plan, const Layer& layer, int64_t f, int64_t group_frame, int64_t number, const Band& band) {
    const int64_t pixels = (band.last - band.first) * band.width, first = number * layer.chunk;
    if (layer.pool) {
        const auto* data = reinterpret_cast<const float*>(plan.frame(layer.main.buffer, f));
        return pool(data, plan.buffers[layer.main.buffer], layer.pool == 1, first, layer.chunk, band);
    }
    for (int64_t p = 0; p < pixels; ++p) memcpy(band.sums + p * layer.chunk, layer.bias + first, layer.chunk * 4);
    convolve(plan.mains[group_frame], plan.buffers[layer.main.buffer], layer.main, number, layer.chunk, band);
    if (layer.side.buffer >= 0) {
        const bool shared = layer.side.buffer == layer.main.buffer;
        const Input& in = shared ? plan.mains[group_frame] : plan.sides[group_frame];
        convolve(in, plan.buffers[layer.side.buffer], layer.side, number, layer.chunk, band);
    }
}

// Shortcut, neurons and outputs of a band whose sums are there.
void finish_band(Plan& plan, const Run& run, const Layer& layer, int64_t f, int64_t first, const Band& band) {
    const int64_t pixels = (band.last - band.first) * layer.width, at = band.first * layer.width * layer.channels, n = f / run.steps;
    if (layer.before.buffer >= 0) add_before(plan, layer, f, first, band);
    if (layer.current >= 0) {
        auto* current = reinterpret_cast<float*>(plan.frame(layer.current, f)) + at + first;
        for (int64_t p = 0; p < pixels; ++p) memcpy(current + p * layer.channels, band.sums + p * layer.chunk, layer.chunk * 4);
    }
    if (layer.neuron) {
        float* after = run.state_after[n] + layer.state + at;
        const float* before = f % run.steps ? after : run.state_before[n] + layer.state + at;
        auto* out = reinterpret_cast<uint8_t*>(plan.frame(layer.spikes, f)) + at;
        run.layer_spikes[n * run.spike_layers + layer.neuron - 1] += firing(layer)(layer, band.sums, before, after, out, pixels, first);
    }
}

void run_layer(Plan& plan, const Run& run, size_t number) {
    const Layer& layer = plan.layers[number];
    const int64_t frames = run.steps * run.streams;
    const bool same = plan.frozen[layer.main.buffer] && layer.side.buffer < 0 && layer.before.buffer < 0;  // sums of all steps
    const int64_t rows = std::clamp<int64_t>(16384 / (layer.width * layer.chunk), std::min<int64_t>(layer.height, 4), layer.height);
    auto* sums = reinterpret_cast<float*>(plan.band.get(rows * layer.width * layer.chunk * 4));
    const bool side = layer.side.buffer >= 0 && layer.side.buffer != layer.main.buffer;
    const size_t main_bytes = layer.pool ? 0 : input_bytes(plan.buffers[layer.main.buffer], layer.main.pad);
    const size_t side_bytes = side ? input_bytes(plan.buffers[layer.side.buffer], layer.side.pad) : 0;
    const int64_t group = std::clamp<int64_t>((32 << 20) / (main_bytes + side_bytes + 1), 1, frames);
    char* main_memory = plan.main.get(group * main_bytes + 64);
    char* side_memory = plan.side.get(group * side_bytes + 64);
    plan.mains.resize(group), plan.sides.resize(group);
    for (int64_t begin = 0; begin < frames; begin += group) {
        const int64_t end = std::min(frames, begin + group);
        for (int64_t f = begin; f < end && !layer.pool; ++f) {
            const Convolution* sharing = layer.side.buffer == layer.main.buffer ? &layer.side : nullptr;
            Input& in = plan.mains[f - begin];
            if (f > begin && f % run.steps && plan.frozen[layer.main.buffer]) {
                in = plan.mains[f - begin - 1];
                run.synops[f / run.steps] += in.reached * layer.main.fan_out;
                continue;
            }
            prepare(plan, run, layer.main, sharing, f, main_memory + (f - begin) * main_bytes, in, plan.statistics[2 * number]);
            Statistics& statistics = plan.statistics[2 * number + 1];
            if (side) prepare(plan, run, layer.side, nullptr, f, side_memory + (f - begin) * side_bytes, plan.sides[f - begin], statistics);
            else if (sharing) {
                const Buffer& b = plan.buffers[layer.side.buffer];
                const char* data = plan.frame(layer.side.buffer, f);
                int64_t nonzero;
                const int64_t sum = b.is_float ? reached(reinterpret_cast<const float*>(data), b, layer.side.reach, nonzero)
                                               : reached(reinterpret_cast<const uint8_t*>(data), b, layer.side.reach, nonzero);
                run.synops[f / run.steps] += sum * layer.side.fan_out;
            }
        }
        for (int64_t chunk = 0; chunk < layer.channels / layer.chunk; ++chunk)
            for (int64_t next, f = begin; f < end; f = next) {  // one stream's frames of the group
                next = std::min(end, (f / run.steps + 1) * run.steps);
                for (int64_t y = 0; y < layer.height; y += rows) {
                    const Band band{y, std::min(layer.height, y + rows), layer.width, sums};
                    for (int64_t g = f; g < next; ++g) {
                        if (g == f || !same) fill(plan, layer, g, g - begin, chunk, band);
                        finish_band(plan, run, layer, g, chunk * layer.chunk, band);
                    }
                }
            }
    }
    for (int64_t f = 0; f < frames; ++f) {
        if (layer.neuron) note_raster(plan, run, layer, f);
        if (layer.after.buffer >= 0) add_after(plan, layer, f);
    }
}

void read_out(Plan& plan, const Run& run) {
    const Readout& r = plan.readout;
    const Buffer& b = plan.buffers[r.buffer];
    const int64_t pixels = b.height * b.width;
    auto* sums = reinterpret_cast<int32_t*>(plan.scratch.get((b.channels + r.padded) * 4));
    auto* out = reinterpret_cast<float*>(sums + b.channels);
    for (int64_t f = 0; f < run.steps * run.streams; ++f) {
        const auto* spikes = reinterpret_cast<const uint8_t*>(plan.frame(r.buffer, f));
        const int64_t n = f / run.steps, t = f % run.steps;
        memset(sums, 0, b.channels * 4);
        for (int64_t p = 0; p < pixels; ++p)
            for (int64_t c = 0; c < b.channels; ++c) sums[c] += spikes[p * b.channels + c];
        memcpy(out, r.bias, r.padded * 4);
        for (int64_t c = 0; c < b.channels; ++c) {
            if (!sums[c]) continue;
            run.synops[n] += r.classes;
            const float mean = float(sums[c]) / float(pixels);
            for (int64_t k = 0; k < r.padded; k += LANES) store(out + k, fma_(all(mean), load(r.weight + c * r.padded + k), load(out + k)));
        }
        memcpy(run.logits + (t * run.streams + n) * r.classes, out, r.classes * 4);
    }
}

}  // namespace

extern "C" {

void* engine_plan(const Buffer* buffers, int64_t n_buffers, const Layer* layers, int64_t n_layers, const Readout* readout) {
    auto* plan = new Plan{};
    plan->buffers.assign(buffers, buffers + n_buffers);
    plan->layers.assign(layers, layers + n_layers);
    plan->readout = *readout;
    plan->memory.resize(n_buffers);
    plan->statistics.resize(2 * n_layers);
    return plan;
}

void engine_free(void* plan) { delete static_cast<Plan*>(plan); }

// 0 if all went well, 1 if memory ran out. The counts and the raster are set, not added to.
int64_t engine_run(void* plan_, const Run* run) {
    auto& plan = *static_cast<Plan*>(plan_);
    plan.buffers[0].is_float = run->x_is_float;
    if (!plan.reserve(run->steps * run->streams)) return 1;
    memset(run->layer_spikes, 0, run->streams * run->spike_layers * 8);
    memset(run->synops, 0, run->streams * 8);
    memset(run->raster, 0, run->streams * run->raster_rows);
    plan.steps = run->steps;
    plan.frozen.assign(plan.buffers.size(), false);
    plan.frozen[0] = run->frozen;
    const Layer& stem = plan.layers[0];
    if (stem.current >= 0 && !stem.neuron) plan.frozen[stem.current] = run->frozen;
    take_input(plan, *run);
    for (size_t i = 0; i < plan.layers.size(); ++i) {
        const auto begin = std::chrono::steady_clock::now();
        run_layer(plan, *run, i);
        plan.statistics[2 * i].nanoseconds += std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin).count();
    }
    read_out(plan, *run);
    return 0;
}

// [layers][main, side][reached, possible, scattered, frames, nanoseconds (both, under main)] since the last call.
void engine_statistics(void* plan_, int64_t* out) {
    auto& plan = *static_cast<Plan*>(plan_);
    for (size_t i = 0; i < plan.statistics.size(); ++i) {
        Statistics& s = plan.statistics[i];
        const int64_t fields[5] = {s.reached, s.possible, s.scattered, s.frames, s.nanoseconds};
        memcpy(out + 5 * i, fields, sizeof fields);
        s = Statistics{};
    }
}

int64_t engine_lanes() { return LANES; }
}
