// Shortcuts without weights: what is added to a layer's sums before its neurons, and to their spikes.
#pragma once
#include "plan.h"
#include "scatter.h"

namespace {

int64_t shortcut_channel(const Shortcut& shortcut, int64_t c) { return c >= shortcut.first && c < shortcut.first + shortcut.channels ? c - shortcut.first : -1; }

template <typename T>
void add_frame(const Buffer& b, const T* data, const Layer& layer, int64_t first, const Band& band) {
    const Shortcut& shortcut = layer.before;
    const float* scale = shortcut.scale;
    const int64_t chunk = layer.chunk;  // a copy, as of the scale: a store to the sums might change what is in memory
    if (shortcut.stride == 1 && shortcut.first == 0 && b.channels == layer.channels) {
        const int64_t pixels = (band.last - band.first) * band.width;
        const T* from = data + band.first * band.width * b.channels + first;
        float* to = band.sums;
        for (int64_t p = 0; p < pixels; ++p, from += b.channels, to += chunk)
            for (int64_t c = 0; c < chunk; c += LANES) {
                Floats value = load_as_floats(from + c);
                if (scale) value *= load(scale + first + c);
                store(to + c, load(to + c) + value);
            }
        return;
    }
    for (int64_t y = band.first; y < band.last; ++y)
        for (int64_t x = 0; x < band.width; ++x) {
            float* to = band.sums + ((y - band.first) * band.width + x) * chunk;
            const T* from = data + (y * shortcut.stride * b.width + x * shortcut.stride) * b.channels;
            for (int64_t c = 0; c < chunk; ++c) {
                const int64_t source = shortcut_channel(shortcut, first + c);
                if (source >= 0) to[c] += scale ? float(from[source]) * scale[first + c] : float(from[source]);
            }
        }
}

void add_before(Workspace& work, const Layer& layer, int64_t f, int64_t first, const Band& band) {
    const Shortcut& shortcut = layer.before;
    const Buffer& b = work.buffers[shortcut.buffer];
    typed(b, work.frame(shortcut.buffer, f), [&](const auto* data) { add_frame(b, data, layer, first, band); });
}

void add_after(Workspace& work, const Layer& layer, int64_t f) {
    const Shortcut& shortcut = layer.after;
    const Buffer& b = work.buffers[shortcut.buffer];
    const auto* data = reinterpret_cast<const uint8_t*>(work.frame(shortcut.buffer, f));
    auto* out = reinterpret_cast<uint8_t*>(work.frame(layer.spikes, f));
    if (shortcut.stride == 1 && shortcut.first == 0 && b.channels == layer.channels) {
        const int64_t size = layer.height * layer.width * layer.channels;  // a copy: bytes may alias everything
        for (int64_t i = 0; i < size; ++i) out[i] = uint8_t(out[i] + data[i]);
        return;
    }
    for (int64_t y = 0; y < layer.height; ++y)
        for (int64_t x = 0; x < layer.width; ++x)
            for (int64_t c = 0; c < layer.channels; ++c) {
                const int64_t source = shortcut_channel(shortcut, c), from = (y * b.width + x) * shortcut.stride * b.channels;
                if (source >= 0) out[(y * layer.width + x) * layer.channels + c] += data[from + source];
            }
}

}  // namespace
