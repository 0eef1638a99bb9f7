// Shortcuts without weights: what is added to a layer's sums before its neurons, and to their spikes.
#pragma once
#include "plan.h"
#include "scatter.h"

namespace {

// The input's channels to those of channels [first, first + chunk) that they are for, of rows [top, bottom) of outputs
// [height][width][chunk]; `to` is the first of these rows.
template <typename T, typename Number>
void add_frame(const Shortcut& shortcut, const Buffer& b, const T* data, int64_t first, int64_t chunk, int64_t top, int64_t bottom,
               int64_t width, Number* to) {
    const int64_t begin = std::max(first, shortcut.first), count = std::min(first + chunk, shortcut.first + shortcut.channels) - begin;
    const float* scale = shortcut.scale ? shortcut.scale + begin : nullptr;
    for (int64_t y = top; y < bottom; ++y)
        for (int64_t x = 0; x < width; ++x, to += chunk) {
            const T* __restrict from = data + (y * b.width + x) * shortcut.stride * b.channels + begin - shortcut.first;
            Number* __restrict sums = to + begin - first;  // a store to them changes nothing of the input
            int64_t c = 0;
            if constexpr (sizeof(Number) == sizeof(float))
                for (; c + LANES <= count; c += LANES) {
                    const Floats value = load_as_floats(from + c);
                    store(sums + c, load(sums + c) + (scale ? value * load(scale + c) : value));
                }
            for (; c < count; ++c) sums[c] = Number(scale ? sums[c] + float(from[c]) * scale[c] : sums[c] + from[c]);
        }
}

void add_before(Workspace& work, const Layer& layer, int64_t f, int64_t first, const Band& band) {
    const Buffer& b = work.buffers[layer.before.buffer];
    typed(b, work.frame(layer.before.buffer, f), [&](const auto* data) {
        add_frame(layer.before, b, data, first, layer.chunk, band.first, band.last, band.width, band.sums);
    });
}

void add_after(Workspace& work, const Layer& layer, int64_t f) {
    const auto* data = reinterpret_cast<const uint8_t*>(work.frame(layer.after.buffer, f));
    auto* out = reinterpret_cast<uint8_t*>(work.frame(layer.spikes, f));
    add_frame(layer.after, work.buffers[layer.after.buffer], data, 0, layer.channels, 0, layer.height, layer.width, out);
}

}  // namespace
