// The linear read-out of one frame: its logits are linear in the mean of the spikes over the image.
#pragma once
#include "engine.h"
#include "lanes.h"

namespace {

// Logits into out [padded]; sums [channels] of the spikes over all pixels are made on the way. How many are not zero.
template <typename T>
int64_t read_frame(const Readout& r, const Buffer& b, const T* spikes, int32_t* sums, float* out) {
    const int64_t pixels = b.height * b.width, channels = b.channels;
    int64_t active = 0;
    memset(sums, 0, channels * 4);
    for (int64_t p = 0; p < pixels; ++p)
        for (int64_t c = 0; c < channels; ++c) sums[c] += int32_t(spikes[p * channels + c]);
    memcpy(out, r.bias, r.padded * 4);
    for (int64_t c = 0; c < channels; ++c) {
        if (!sums[c]) continue;
        ++active;
        const Floats mean = all(float(sums[c]) / float(pixels));
        for (int64_t k = 0; k < r.padded; k += LANES) store(out + k, fma_(mean, load(r.weight + c * r.padded + k), load(out + k)));
    }
    return active;
}

}  // namespace
