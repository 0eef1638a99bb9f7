// A frame of activations made ready for a kernel: lists of its events, or floats with a border of zeros.
#pragma once
#include "engine.h"
#include "../lanes.h"

#include <algorithm>
#include <cstdlib>

namespace {

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
    Memory() = default;
    Memory(Memory&& other) noexcept : data(other.data), size(other.size) { other.data = nullptr, other.size = 0; }
    ~Memory() { free(data); }
};

size_t aligned(size_t bytes) { return (bytes + 63) & ~size_t(63); }

struct Input {  // one frame, ready for one of the kernels
    bool events, binary;
    const uint32_t* start;  // [H W + 1]
    const uint16_t* index;  // channels of the non-zero inputs, pixel by pixel, ascending
    const float* value;     // theirs, unless all are 1
    const float* padded;    // [H + 2 pad][W + 2 pad][C]
    const uint16_t* halves;  // the same as bfloat16, in place of it
    int64_t pad;
    int64_t reached, possible;  // outputs that meet a non-zero input, over all pixels and channels; that could meet one
    int64_t beside;             // those of a side convolution of the same maps that meet one
};

// f(data) with the type that the buffer's frames have.
template <typename F>
auto typed(const Buffer& b, const char* data, const F& f) {
    if (b.is_float) return f(reinterpret_cast<const float*>(data));
    return f(reinterpret_cast<const uint8_t*>(data));
}

inline Floats load_as_floats(const float* p) { return load(p); }
inline Floats load_as_floats(const uint8_t* p) { return load_bytes(p); }

// Of eight bytes, the highest bit of each that is set.
inline uint64_t marks(const void* p) {
    constexpr uint64_t LOW = 0x7f7f7f7f7f7f7f7fULL;
    uint64_t v;
    memcpy(&v, p, 8);
    return (((v & LOW) + LOW) | v) & ~LOW;
}

#if defined(__AVX512BW__) && defined(__AVX512VL__)
// Which of 16 numbers are not zero.
inline __mmask16 set_of(const float* p) { return _mm512_cmp_ps_mask(_mm512_loadu_ps(p), _mm512_setzero_ps(), _CMP_NEQ_UQ); }
inline __mmask16 set_of(const uint8_t* p) {
    const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm_test_epi8_mask(v, v);
}

// The channels first + i of the mask's bits. No branch: what is written behind the new end is written over later.
inline uint16_t* list_lanes(__mmask16 mask, int64_t first, uint16_t* out) {
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i set = _mm512_maskz_compress_epi32(mask, _mm512_add_epi32(lanes, _mm512_set1_epi32(int(first))));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtepi32_epi16(set));
    return out + __builtin_popcount(mask);
}
#endif

template <typename T>
int64_t count_nonzero(const T* p, int64_t n) {
    int64_t count = 0, i = 0;
#if defined(__AVX512BW__) && defined(__AVX512VL__)
    for (; i + 16 <= n; i += 16) count += __builtin_popcount(set_of(p + i));
#endif
    if constexpr (sizeof(T) == 1)
        for (; i + 8 <= n; i += 8)
            if (const uint64_t set = marks(p + i)) count += __builtin_popcountll(set);
    for (; i < n; ++i) count += p[i] != 0;
    return count;
}

template <typename T>
uint16_t* list_pixel(const T* p, int64_t channels, uint16_t* out) {
    int64_t i = 0;
#if defined(__AVX512BW__) && defined(__AVX512VL__)
    for (; i + 16 <= channels; i += 16) out = list_lanes(set_of(p + i), i, out);
#endif
    if constexpr (sizeof(T) == 1)
        for (; i + 8 <= channels; i += 8)
            for (uint64_t m = marks(p + i); m; m &= m - 1) *out++ = uint16_t(i + (__builtin_ctzll(m) >> 3));
    for (; i < channels; ++i)
        if (p[i] != 0) *out++ = uint16_t(i);
    return out;
}

// The lists of a frame of two channels, as events have, without a branch on what is set.
inline uint16_t* list_pairs(const uint8_t* data, int64_t pixels, uint32_t* start, uint16_t* end) {
    const uint16_t* index = end;
    for (int64_t p = 0; p < pixels; ++p) {
        start[p] = uint32_t(end - index);
        for (uint16_t c = 0; c < 2; ++c) *end = c, end += data[2 * p + c] != 0;
    }
    return end;
}

size_t input_bytes(const Buffer& b, int64_t pad) {
    size_t pixels = b.height * b.width, entries = pixels * b.channels;
    size_t lists = aligned((pixels + 1) * 4) + aligned(entries * 2) + aligned(entries * 4) + 64;
    size_t beyond = 64 * b.channels * 2;  // a last block of pixels may reach as far; what it finds is dropped
    return std::max(lists, aligned((b.height + 2 * pad) * (b.width + 2 * pad) * b.channels * 4)) + beyond;
}

template <typename T>
void list_frame(const T* data, const Buffer& b, char* memory, Input& out) {
    const int64_t pixels = b.height * b.width, channels = b.channels;
    auto* start = reinterpret_cast<uint32_t*>(memory);
    auto* index = reinterpret_cast<uint16_t*>(memory + aligned((pixels + 1) * 4));
    uint16_t* end = index;
    if (sizeof(T) == 1 && channels == 2) end = list_pairs(reinterpret_cast<const uint8_t*>(data), pixels, start, index);
    else
        for (int64_t p = 0; p < pixels; ++p) {
            start[p] = uint32_t(end - index);
            end = list_pixel(data + p * channels, channels, end);
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

inline float widened(float x, float) { return x; }
inline uint16_t widened(float x, uint16_t) {  // exact for the small whole numbers that spikes are
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return uint16_t(bits >> 16);
}

template <typename T, typename Wide>
void pad_into(const T* data, const Buffer& b, int64_t pad, Wide* memory) {
    const int64_t row = b.width * b.channels, side = pad * b.channels, wide = row + 2 * side, height = b.height;
    memset(memory, 0, pad * wide * sizeof(Wide));
    for (int64_t y = 0; y < height; ++y) {
        Wide* to = memory + (y + pad) * wide;
        for (int64_t i = 0; i < side; ++i) to[i] = to[side + row + i] = 0;
        for (int64_t i = 0; i < row; ++i) to[side + i] = widened(float(data[y * row + i]), Wide{});
    }
    memset(memory + (height + pad) * wide, 0, pad * wide * sizeof(Wide));
}

template <typename T>
void pad_frame(const T* data, const Buffer& b, int64_t pad, bool half, char* memory, Input& out) {
    out.pad = pad;
    if (half) {
        out.halves = reinterpret_cast<uint16_t*>(memory);
        return pad_into(data, b, pad, reinterpret_cast<uint16_t*>(memory));
    }
    out.halves = nullptr, out.padded = reinterpret_cast<float*>(memory);
    if constexpr (sizeof(T) == 4)
        if (pad == 0) {
            out.padded = data;
            return;
        }
    pad_into(data, b, pad, reinterpret_cast<float*>(memory));
}

template <typename T>
int64_t reached(const T* data, const Buffer& b, const int32_t* reach) {  // outputs that meet a non-zero input
    int64_t sum = 0;
    if (b.channels == 2) {  // a loop of two for each pixel costs more than the pixel
        for (int64_t p = 0; p < b.height * b.width; ++p) sum += ((data[2 * p] != 0) + (data[2 * p + 1] != 0)) * reach[p];
        return sum;
    }
    for (int64_t p = 0; p < b.height * b.width; ++p) sum += count_nonzero(data + p * b.channels, b.channels) * reach[p];
    return sum;
}

}  // namespace
