// Event by event: one stream's network, kept as it would be if the open bin closed now.
//
// An event that lights a cell of the input changes the sums of the outputs it reaches; where a sum, and with it a spike,
// is another, that goes on to the next layer, and nothing else is computed. A sum that changes is taken anew over its
// inputs, in the order of the engine's scatter, so that after any number of events every layer holds the bits of a step
// on the bin so far. Closing the bin leaks every memory once, and the next bin begins with what is still shown.
//
// Layers are those of the engine's plan, with neurons of the kind PACED, maximum pools and shortcuts before the neurons.
#include "live.h"

namespace {

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
    const auto& changed = e.maps[buffer].changed;
    if (int64_t(changed.size()) * kernel * kernel > layer.height * layer.width * stride * stride) return live.mark_all();  // nearly all anyway
    for (const int32_t pixel : changed)
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
        for (int i = 0; i < LANES; i += 4) {  // words: a library's comparison is called for each
            uint32_t before, now;
            memcpy(&before, out + c + i, 4), memcpy(&now, spikes + i, 4);
            other |= before != now;
        }
        memcpy(out + c, spikes, LANES);
    }
    if (other) e.maps[layer.spikes].list(pixel, layer.channels);
    return other;
}

// Carry changes through all layers; `leaked`: memories are others, so every neuron may fire otherwise.
void pass(Events& e, bool leaked) {
    float one[1024];
    for (size_t number = 0; number < e.layers.size(); ++number) {
        const Layer& layer = e.layers[number];
        Live& live = e.live[number];
        spread(e, number);
        const bool whole = many(layer, live.dirty.size());
        if (whole) sum_layer(e, layer, e.whole.data());
        for (const int32_t pixel : live.dirty) {
            float *held = live.sums.data() + int64_t(pixel) * layer.channels, *sums = whole ? e.whole.data() + int64_t(pixel) * layer.channels : one;
            live.marked[pixel] = 0;
            if (!whole) sum_pixel(e, layer, pixel, sums);
            if (layer.before.buffer >= 0) add_shortcut(e, layer, pixel / layer.width, pixel % layer.width, sums);
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
        e->whole.resize(std::max(e->whole.size(), e->live[i].sums.size()));
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
