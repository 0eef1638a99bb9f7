// What is read off one frame of spikes: logits, rates, who fired.
#pragma once
#include "engine.h"
#include "../lanes.h"
#include "../readout.h"

#include <algorithm>

namespace {

// Logits, linear in the mean of the spikes over the image, or over the one place that it is, into out [padded]; sums
// [channels] of the spikes over all pixels are made on the way. How many are not zero.
template <typename T>
int64_t read_frame(const Readout& r, const Buffer& b, const T* spikes, int32_t* sums, float* out) {
    const int64_t pixels = b.height * b.width, channels = b.channels, half = r.reach / 2 + 1;
    const int64_t weights = r.reach ? half * half * half * half : pixels;
    int64_t active = 0;
    memset(sums, 0, channels * 4);
    for (int64_t p = 0; p < pixels; ++p) {
        const int32_t weight = spikesight_weight_at(int32_t(r.reach), int32_t(p));
        for (int64_t c = 0; c < channels; ++c) sums[c] += weight * int32_t(spikes[p * channels + c]);
    }
    memcpy(out, r.bias, r.padded * 4);
    for (int64_t c = 0; c < channels; ++c) {
        if (!sums[c]) continue;
        ++active;
        const Floats mean = all(float(sums[c]) / float(weights));
        for (int64_t k = 0; k < r.padded; k += LANES) store(out + k, fma_(mean, load(r.weight + c * r.padded + k), load(out + k)));
    }
    return active;
}

// The logits of each place, [rows][columns][K], linear in the mean of the spikes over its reach x reach pixels, of which the
// middle weighs most; sums [pixels][padded]: what each pixel adds. How many spikes are not zero.
template <typename T>
int64_t read_places(const Readout& r, const Buffer& b, const T* spikes, float* sums, float* out) {
    const int64_t padded = r.padded, rows = b.height - r.reach + 1, columns = b.width - r.reach + 1, half = r.reach / 2 + 1;
    int64_t active = 0;
    memset(sums, 0, b.height * b.width * padded * 4);
    for (int64_t i = 0; i < b.height * b.width * b.channels; ++i) {
        if (!spikes[i]) continue;
        ++active;
        const float* weight = r.weight + i % b.channels * padded;
        const float spike = float(spikes[i]) / float(half * half * half * half);
        for (int64_t k = 0; k < padded; ++k) sums[i / b.channels * padded + k] += spike * weight[k];
    }
    for (int64_t place = 0; place < rows * columns; ++place, out += r.classes) {
        memcpy(out, r.bias, r.classes * 4);
        for (int64_t i = 0; i < r.reach * r.reach; ++i) {
            const float weight = float(spikesight_weight_at(int32_t(r.reach), int32_t(i)));
            const float* sum = sums + ((place / columns + i / r.reach) * b.width + place % columns + i % r.reach) * padded;
            for (int64_t k = 0; k < r.classes; ++k) out[k] += weight * sum[k];
        }
    }
    return active;
}

// A bit a neuron, whether it fired; the first of eight is the highest.
void note_fired(const Layer& layer, const uint8_t* spikes, uint8_t* to) {
    for (int64_t i = 0; i < layer.height * layer.width * layer.channels; i += 8) {
        uint8_t bits = 0;
        for (int64_t one = i; one < i + 8; ++one) bits = uint8_t(2 * bits + (spikes[one] != 0));
        to[i / 8] = bits;
    }
}

// The share of each channel's neurons that fired in each place; spikes are 0 or 1.
void note_rates(const Layer& layer, const uint8_t* spikes, float* to) {
    const int32_t side = int32_t(layer.rate_places), height = side == 1 ? 1 : int32_t(layer.height);  // a whole map is one long row
    const int32_t width = int32_t(layer.height * layer.width) / height;
    for (int32_t place = 0; place < side * side; ++place) {
        const int32_t top = spikesight_begin_of(place / side, height, side), bottom = spikesight_end_of(place / side, height, side);
        const int32_t left = spikesight_begin_of(place % side, width, side), right = spikesight_end_of(place % side, width, side);
        for (int64_t first = 0; first < layer.rate_channels; first += 16) {
            int32_t fired[16] = {};
            for (int64_t y = top; y < bottom; ++y)
                for (int64_t x = left; x < right;) {
                    Bytes16 some{}, more;  // as many as a byte can count
                    for (const int64_t end = std::min<int64_t>(right, x + 255); x < end; ++x, some += more)
                        memcpy(&more, spikes + (y * width + x) * layer.channels + first, 16);
                    for (int c = 0; c < 16; ++c) fired[c] += some[c];
                }
            for (int64_t c = first; c < std::min(layer.rate_channels, first + 16); ++c)
                to[c * side * side + place] = float(fired[c - first]) / float((bottom - top) * (right - left));
        }
    }
}

}  // namespace
