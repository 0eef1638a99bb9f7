// What is kept of one stream event by event, and the sums of its outputs taken anew: one output at a time, or a whole
// layer's in one scatter, with the same bits.
#pragma once
#include "inputs.h"
#include "readout.h"
#include "scatter.h"

#include <vector>

namespace {

struct Map {  // a buffer's values, and its pixels that are others than before the last pass
    std::vector<char> data;
    std::vector<uint16_t> index;  // of bytes, [H W C]: each pixel's channels that are not zero, ascending
    std::vector<uint16_t> count;  // [H W], how many they are
    std::vector<uint8_t> marked;  // [H W]
    std::vector<int32_t> changed;
    void list(int64_t pixel, int64_t channels) {
        uint16_t* to = index.data() + pixel * channels;
        const auto* bytes = reinterpret_cast<const uint8_t*>(data.data()) + pixel * channels;
        uint16_t found[2048];
        count[pixel] = uint16_t(list_pixel(bytes, channels, found) - found);
        memcpy(to, found, count[pixel] * 2);
    }
    void mark(int64_t pixel) {
        if (!marked[pixel]) marked[pixel] = 1, changed.push_back(int32_t(pixel));
    }
    void clear() {
        for (const int32_t pixel : changed) marked[pixel] = 0;
        changed.clear();
    }
};

struct Live {  // a layer's sums; its outputs to take anew
    std::vector<float> sums;  // [H W C]
    std::vector<uint8_t> marked;
    std::vector<int32_t> dirty;
    void mark(int64_t pixel) {
        if (!marked[pixel]) marked[pixel] = 1, dirty.push_back(int32_t(pixel));
    }
    void mark_all() {
        for (size_t pixel = 0; pixel < marked.size(); ++pixel) mark(int64_t(pixel));
    }
};

struct Scratch {  // the weights that one output meets
    std::vector<uint32_t> offset;
    std::vector<float> value;
};

struct Events {
    std::vector<Buffer> buffers;
    std::vector<Layer> layers;
    Readout readout;
    std::vector<Map> maps;
    std::vector<Live> live;
    std::vector<float> memory;     // membranes, at the begin of the open bin
    std::vector<uint16_t> since;   // [2 H W], bins since each cell's last event, up to the bin before
    std::vector<uint8_t> open;     // [2 H W], whether one came in the open bin
    Scratch scratch;
    Memory lists[2], chunk;        // of a whole layer: the events of main's and side's inputs, the sums of some of its channels
    std::vector<float> whole;      // all its sums
    int64_t shown;                 // bins that an input shows

    uint8_t* input() { return reinterpret_cast<uint8_t*>(maps[0].data.data()); }
    int64_t pixels() const { return buffers[0].height * buffers[0].width; }
};

// The inputs that an output sees, pixel by pixel: f(their map's pixel, the tap that they meet).
template <typename F>
void seen_by(const Buffer& b, const Convolution& conv, int64_t row, int64_t column, const F& f) {
    const int64_t top = row * conv.stride - conv.pad, left = column * conv.stride - conv.pad, kernel = conv.kernel;
    for (int64_t y = std::max<int64_t>(top, 0); y < std::min(top + kernel, b.height); ++y)
        for (int64_t x = std::max<int64_t>(left, 0); x < std::min(left + kernel, b.width); ++x) f(y * b.width + x, (y - top) * kernel + x - left);
}

// Where the weights of an output's non-zero inputs begin, in the order of a scatter's sums, and the inputs' values unless
// all are 1. One flat list: loops over each pixel's few would be mispredicted at nearly every end.
template <int CH, bool ONES>
int64_t weights_met(const Map& map, const Buffer& b, const Convolution& conv, int64_t row, int64_t column, uint32_t* offset, float* value) {
    const auto* data = reinterpret_cast<const uint8_t*>(map.data.data());
    const auto taps = uint32_t(conv.kernel * conv.kernel);
    int64_t n = 0;
    seen_by(b, conv, row, column, [&](int64_t pixel, int64_t tap) {
        const uint16_t* index = map.index.data() + pixel * b.channels;
        for (int64_t first = 0; first < map.count[pixel]; first += 16)
            for (int64_t i = first; i < first + 16; ++i) {  // as many as a vector; what is beyond the count is written over
                offset[n + i] = (index[i] * taps + uint32_t(tap)) * CH;
                if constexpr (!ONES) value[n + i] = i < b.channels ? float(data[pixel * b.channels + index[i] % b.channels]) : 0;
            }
        n += map.count[pixel];
    });
    return n;
}

// The sums of N chunks of CH channels.
template <int CH, int N, bool ONES>
void add_weights(const uint32_t* offset, const float* value, int64_t count, const float* weight, int64_t size, float* sums) {
    constexpr int V = CH / LANES;
    Floats sum[N][V];
    for (int n = 0; n < N; ++n)
        for (int v = 0; v < V; ++v) sum[n][v] = load(sums + n * CH + v * LANES);
    for (int64_t i = 0; i < count; ++i) {
        const float* w = weight + offset[i];
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n)
#pragma GCC unroll 8
            for (int v = 0; v < V; ++v) {
                const Floats term = load(w + n * size + v * LANES);
                sum[n][v] = ONES ? sum[n][v] + term : fma_(all(value[i]), term, sum[n][v]);
            }
    }
    for (int n = 0; n < N; ++n)
        for (int v = 0; v < V; ++v) store(sums + n * CH + v * LANES, sum[n][v]);
}

// Currents reach an output through its one tap, all channels of them.
int64_t currents_met(const Map& map, const Buffer& b, const Convolution& conv, int64_t chunk, int64_t row, int64_t column, uint32_t* offset,
                     float* value) {
    const auto* data = reinterpret_cast<const float*>(map.data.data());
    int64_t n = 0;
    seen_by(b, conv, row, column, [&](int64_t pixel, int64_t tap) {
        for (int64_t c = 0; c < b.channels; ++c, ++n)
            offset[n] = uint32_t((c * conv.kernel * conv.kernel + tap) * chunk), value[n] = data[pixel * b.channels + c];
    });
    return n;
}

template <int CH, bool ONES>
void add_all(const Scratch& scratch, int64_t count, const Buffer& b, const Convolution& conv, int64_t channels, float* sums) {
    const uint32_t* offset = scratch.offset.data();
    const float* value = scratch.value.data();
    const int64_t size = b.channels * conv.kernel * conv.kernel;  // weights of an output channel
    int64_t first = 0;
    for (; first + 2 * CH <= channels; first += 2 * CH)
        add_weights<CH, 2, ONES>(offset, value, count, conv.by_channel + first * size, CH * size, sums + first);
    if (first < channels) add_weights<CH, 1, ONES>(offset, value, count, conv.by_channel + first * size, CH * size, sums + first);
}

template <int CH>
void convolve_pixel(Scratch& scratch, const Map& map, const Buffer& b, const Convolution& conv, int64_t channels, int64_t row, int64_t column,
                    float* sums) {
    uint32_t* offset = scratch.offset.data();
    float* value = scratch.value.data();
    if (b.is_float) add_all<CH, false>(scratch, currents_met(map, b, conv, CH, row, column, offset, value), b, conv, channels, sums);
    else if (b.binary) add_all<CH, true>(scratch, weights_met<CH, true>(map, b, conv, row, column, offset, value), b, conv, channels, sums);
    else add_all<CH, false>(scratch, weights_met<CH, false>(map, b, conv, row, column, offset, value), b, conv, channels, sums);
}

void pool_pixel(const float* data, const Buffer& b, int64_t kind, int64_t row, int64_t column, float* sums) {
    const int64_t pad = kind == 3 ? 0 : 1;
    bool first = true;
    for (int64_t y = std::max<int64_t>(0, 2 * row - pad); y < std::min(b.height, 2 * row + 2); ++y)
        for (int64_t x = std::max<int64_t>(0, 2 * column - pad); x < std::min(b.width, 2 * column + 2); ++x, first = false) {
            const float* from = data + (y * b.width + x) * b.channels;
            for (int64_t c = 0; c < b.channels; ++c) sums[c] = first || from[c] > sums[c] ? from[c] : sums[c];
        }
}

void add_shortcut(Events& e, const Layer& layer, int64_t row, int64_t column, float* sums) {
    const Shortcut& shortcut = layer.before;
    const Buffer& b = e.buffers[shortcut.buffer];
    typed(b, e.maps[shortcut.buffer].data.data(), [&](const auto* data) {
        const auto* from = data + (row * shortcut.stride * b.width + column * shortcut.stride) * b.channels;
        for (int64_t c = 0; c < shortcut.channels; ++c) {
            const float value = float(from[c]);
            sums[shortcut.first + c] += shortcut.scale ? value * shortcut.scale[shortcut.first + c] : value;
        }
    });
}

void sum_pixel(Events& e, const Layer& layer, int64_t pixel, float* sums) {
    const int64_t row = pixel / layer.width, column = pixel % layer.width;
    if (layer.pool) {
        const auto* data = reinterpret_cast<const float*>(e.maps[layer.main.buffer].data.data());
        pool_pixel(data, e.buffers[layer.main.buffer], layer.pool, row, column, sums);
    } else {
        memcpy(sums, layer.bias, layer.channels * 4);
        for (const Convolution* conv : {&layer.main, &layer.side}) {
            if (conv->buffer < 0) continue;
            const Buffer& b = e.buffers[conv->buffer];
            const Map& map = e.maps[conv->buffer];
            if (layer.chunk == 32) convolve_pixel<32>(e.scratch, map, b, *conv, layer.channels, row, column, sums);
            else convolve_pixel<16>(e.scratch, map, b, *conv, layer.channels, row, column, sums);
        }
    }
}

// Whether a layer's outputs are so many to be taken anew that one scatter over all inputs is cheaper.
bool many(const Layer& layer, size_t outputs) {
    const bool scatters = !layer.pool && can_scatter(layer.main) && (layer.side.buffer < 0 || can_scatter(layer.side));
    return scatters && 2 * int64_t(outputs) > layer.height * layer.width;
}

// All sums of a layer, [H W C]; the same bits as pixel by pixel.
void sum_layer(Events& e, const Layer& layer, float* sums) {
    const int64_t pixels = layer.height * layer.width, size = layer.chunk;
    const Convolution* convs[2] = {&layer.main, &layer.side};
    Input inputs[2] = {};
    for (int i = 0; i < 2 && convs[i]->buffer >= 0; ++i) {
        const Buffer& b = e.buffers[convs[i]->buffer];
        typed(b, e.maps[convs[i]->buffer].data.data(), [&](const auto* data) { list_frame(data, b, e.lists[i].get(input_bytes(b, 0)), inputs[i]); });
    }
    for (int64_t first = 0; first < layer.channels; first += size) {
        const bool alone = size == layer.channels;
        float* part = alone ? sums : reinterpret_cast<float*>(e.chunk.get(pixels * size * 4));
        const Band band{0, layer.height, layer.width, part};
        begin_sums(layer.bias + first, size, pixels, part);
        for (int i = 0; i < 2 && convs[i]->buffer >= 0; ++i) {
            const Buffer& b = e.buffers[convs[i]->buffer];
            scatter_chunk(inputs[i], b, *convs[i], size, convs[i]->by_channel + first * b.channels * convs[i]->kernel * convs[i]->kernel, band);
        }
        for (int64_t p = 0; p < pixels && !alone; ++p) memcpy(sums + p * layer.channels + first, part + p * size, size * 4);
    }
}

}  // namespace
