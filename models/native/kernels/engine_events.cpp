// Event by event: one stream's network, kept as it would be if the open bin closed now.
//
// An event that lights a cell of the input changes the sums of the outputs it reaches; where a sum, and with it a spike,
// is another, that goes on to the next layer, and nothing else is computed. A sum that changes is taken anew over its
// inputs, in the order of the engine's scatter, so that after any number of events every layer holds the bits of a step
// on the bin so far. Closing the bin leaks every memory once, and the next bin begins with what is still shown.
//
// Layers are those of the engine's plan, with neurons of the kind PACED, maximum pools and shortcuts before the neurons.
#include "engine_inputs.h"
#include "engine_readout.h"
#include "engine_scatter.h"

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
    int64_t shown;                 // bins that an input shows

    uint8_t* input() { return reinterpret_cast<uint8_t*>(maps[0].data.data()); }
    int64_t pixels() const { return buffers[0].height * buffers[0].width; }
};

// Outputs of a window of `kernel` inputs at every `stride` that see the input at (y, x).
template <typename F>
void reached_by(const Layer& layer, int64_t kernel, int64_t stride, int64_t pad, int64_t y, int64_t x, const F& f) {
    const int64_t top = std::max<int64_t>(0, ceil_div(y + pad - kernel + 1, stride)), bottom = std::min(layer.height - 1, (y + pad) / stride);
    const int64_t left = std::max<int64_t>(0, ceil_div(x + pad - kernel + 1, stride)), right = std::min(layer.width - 1, (x + pad) / stride);
    for (int64_t row = top; row <= bottom; ++row)
        for (int64_t column = left; column <= right; ++column) f(row * layer.width + column);
}

void spread(Events& e, Live& live, const Layer& layer, int64_t buffer, int64_t kernel, int64_t stride, int64_t pad) {
    const int64_t width = e.buffers[buffer].width;
    for (const int32_t pixel : e.maps[buffer].changed)
        reached_by(layer, kernel, stride, pad, pixel / width, pixel % width, [&](int64_t output) { live.mark(output); });
}

// What the changes of a layer's inputs reach.
void spread(Events& e, size_t number) {
    const Layer& layer = e.layers[number];
    Live& live = e.live[number];
    if (layer.pool) return spread(e, live, layer, layer.main.buffer, layer.pool == 3 ? 2 : 3, 2, layer.pool == 3 ? 0 : 1);
    for (const Convolution* conv : {&layer.main, &layer.side})
        if (conv->buffer >= 0) spread(e, live, layer, conv->buffer, conv->kernel, conv->stride, conv->pad);
    if (layer.before.buffer >= 0) spread(e, live, layer, layer.before.buffer, 1, layer.before.stride, 0);
}

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
    if (layer.before.buffer >= 0) add_shortcut(e, layer, row, column, sums);
}

// Whether the spikes at a pixel are others than before.
bool fire_pixel(Events& e, const Layer& layer, int64_t pixel, const float* sums) {
    const float* w = e.memory.data() + layer.state + pixel * layer.channels;
    auto* out = reinterpret_cast<uint8_t*>(e.maps[layer.spikes].data.data()) + pixel * layer.channels;
    const Floats limit = all(float(layer.limit)), gain = all(float(layer.gain));
    bool other = false;
    for (int64_t c = 0; c < layer.channels; c += LANES) {
        const Floats u = load(w + c) + load(sums + c) * gain;
        uint8_t spikes[LANES];
        store_bytes(spikes, (layer.inclusive ? u >= limit : u > limit) & 1);
        if (memcmp(out + c, spikes, LANES)) memcpy(out + c, spikes, LANES), other = true;
    }
    if (other) e.maps[layer.spikes].list(pixel, layer.channels);
    return other;
}

// Carry changes through all layers; `leaked`: memories are others, so every neuron may fire otherwise.
void pass(Events& e, bool leaked) {
    float sums[1024];
    for (size_t number = 0; number < e.layers.size(); ++number) {
        const Layer& layer = e.layers[number];
        Live& live = e.live[number];
        spread(e, number);
        for (const int32_t pixel : live.dirty) {
            float* held = live.sums.data() + int64_t(pixel) * layer.channels;
            live.marked[pixel] = 0;
            sum_pixel(e, layer, pixel, sums);
            if (!memcmp(held, sums, layer.channels * 4)) continue;
            memcpy(held, sums, layer.channels * 4);
            if (layer.current >= 0) {
                memcpy(e.maps[layer.current].data.data() + int64_t(pixel) * layer.channels * 4, sums, layer.channels * 4);
                e.maps[layer.current].mark(pixel);
            }
            if (layer.neuron && !leaked && fire_pixel(e, layer, pixel, held)) e.maps[layer.spikes].mark(pixel);
        }
        live.dirty.clear();
        if (layer.neuron && leaked)
            for (int64_t pixel = 0; pixel < layer.height * layer.width; ++pixel)
                if (fire_pixel(e, layer, pixel, live.sums.data() + pixel * layer.channels)) e.maps[layer.spikes].mark(pixel);
    }
    for (Map& map : e.maps) map.clear();
}

// The memories after the open bin, as `fire_paced` leaves them.
void leak(Events& e) {
    for (size_t number = 0; number < e.layers.size(); ++number) {
        const Layer& layer = e.layers[number];
        if (!layer.neuron) continue;
        const Floats keep = all(float(layer.beta)), back = all(float(layer.theta)), charge = all(float(layer.charge)), gain = all(float(layer.gain));
        const auto* spikes = reinterpret_cast<const uint8_t*>(e.maps[layer.spikes].data.data());
        float* w = e.memory.data() + layer.state;
        const float* sums = e.live[number].sums.data();
        for (int64_t i = 0; i < layer.height * layer.width * layer.channels; i += LANES) {
            const Floats fired = load_bytes(spikes + i);
            store(w + i, keep * load(w + i) + (charge * (load(sums + i) * gain) - fired * back));
        }
    }
}

void light(Events& e, int64_t cell, uint8_t on) {
    const int64_t pixels = e.pixels();
    uint8_t& value = e.input()[cell % pixels * e.buffers[0].channels + cell / pixels];
    if (value == on) return;
    value = on;
    e.maps[0].list(cell % pixels, e.buffers[0].channels);
    e.maps[0].mark(cell % pixels);
}

// The next bin begins: what came in the last `shown` bins is lit, this one's events to come.
void turn_page(Events& e) {
    for (size_t cell = 0; cell < e.since.size(); ++cell) {
        e.since[cell] = e.open[cell] ? 0 : uint16_t(std::min<int64_t>(e.since[cell] + 1, e.shown));
        e.open[cell] = 0;
        light(e, int64_t(cell), e.since[cell] + 1 < e.shown);
    }
}

void read_out(const Events& e, float* logits) {
    const Readout& r = e.readout;
    int32_t sums[1024];
    float out[1024];
    read_frame(r, e.buffers[r.buffer], reinterpret_cast<const uint8_t*>(e.maps[r.buffer].data.data()), sums, out);
    memcpy(logits, out, r.classes * 4);
}

}  // namespace

extern "C" {

void* events_plan(const Buffer* buffers, int64_t buffer_count, const Layer* layers, int64_t layer_count, const Readout* readout, int64_t state_size,
                  int64_t shown) {
    auto* e = new Events;
    e->buffers.assign(buffers, buffers + buffer_count);
    e->layers.assign(layers, layers + layer_count);
    e->readout = *readout, e->shown = shown;
    e->maps.resize(buffer_count), e->live.resize(layer_count), e->memory.resize(state_size);
    for (int64_t i = 0; i < buffer_count; ++i) {
        const Buffer& b = buffers[i];
        e->maps[i].data.resize(b.height * b.width * b.channels * (b.is_float ? 4 : 1) + 64);
        e->maps[i].marked.resize(b.height * b.width);
        if (b.is_float) continue;
        e->maps[i].index.resize(b.height * b.width * b.channels + 16), e->maps[i].count.resize(b.height * b.width);
    }
    int64_t most = 0;  // inputs of an output
    for (int64_t i = 0; i < layer_count; ++i)
        for (const Convolution* conv : {&layers[i].main, &layers[i].side})
            if (conv->buffer >= 0) most = std::max(most, buffers[conv->buffer].channels * conv->kernel * conv->kernel);
    e->scratch.offset.resize(most + 64), e->scratch.value.resize(most + 64);
    for (int64_t i = 0; i < layer_count; ++i) {
        const int64_t pixels = layers[i].height * layers[i].width;
        e->live[i].sums.resize(pixels * layers[i].channels), e->live[i].marked.resize(pixels);
    }
    e->since.resize(buffers[0].channels * e->pixels()), e->open.resize(e->since.size());
    return e;
}

void events_free(void* events) { delete static_cast<Events*>(events); }

// Go on from memories, and from what the bins before and the open one held.
void events_load(void* events, const float* memory, const uint16_t* since, const uint8_t* open) {
    auto& e = *static_cast<Events*>(events);
    memcpy(e.memory.data(), memory, e.memory.size() * 4);
    memcpy(e.since.data(), since, e.since.size() * 2);
    memcpy(e.open.data(), open, e.open.size());
    for (size_t cell = 0; cell < e.since.size(); ++cell) light(e, int64_t(cell), e.open[cell] || e.since[cell] + 1 < e.shown);
    for (Live& live : e.live) live.mark_all();
    pass(e, true);
}

void events_save(const void* events, float* memory, uint16_t* since, uint8_t* open) {
    const auto& e = *static_cast<const Events*>(events);
    memcpy(memory, e.memory.data(), e.memory.size() * 4);
    memcpy(since, e.since.data(), e.since.size() * 2);
    memcpy(open, e.open.data(), e.open.size());
}

// Events at these cells, channel-major, and the logits [K] with them. Nonzero, and nothing done, where one is no cell.
int64_t events_push(void* events, const int32_t* cells, int64_t count, float* logits) {
    auto& e = *static_cast<Events*>(events);
    for (int64_t i = 0; i < count; ++i)
        if (cells[i] < 0 || size_t(cells[i]) >= e.open.size()) return 1;
    for (int64_t i = 0; i < count; ++i) e.open[cells[i]] = 1, light(e, cells[i], 1);
    if (!e.maps[0].changed.empty()) pass(e, false);
    read_out(e, logits);
    return 0;
}

// Close the open bin and begin the next.
void events_step(void* events) {
    auto& e = *static_cast<Events*>(events);
    leak(e);
    turn_page(e);
    pass(e, true);
}

// The logits [K] of a step on the open bin so far.
void events_read(const void* events, float* logits) { read_out(*static_cast<const Events*>(events), logits); }
}
