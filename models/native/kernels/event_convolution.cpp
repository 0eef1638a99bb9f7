// Convolutions of spikes for training, 3x3 with stride 1 and padding 1: the forward pass and the gradient of the weights,
// from the events alone. x [M][H][W][Ci] is mostly zero; y and its gradient are [M][H][W][Co]. Threads share out the
// images; every output is summed by one thread, every weight's gradient in the order of the threads' shares.
#include "engine/scatter.h"
#include "threads.h"

#include <vector>

extern "C" {

struct EventConvolution {
    int64_t images, height, width, inputs, outputs;
    int64_t chunk, threads;  // chunk: output channels handled together, 16 or 32
    int64_t is_half;         // x is bfloat16, else float
    const void* x;
    const float* weight;    // forward: [chunk][Ci][9][CH]
    const float* gradient;  // backward: of y
    float* out;             // forward: y; backward: [chunk][Ci][9][CH]
};
}

namespace {

using spikesight::share;

template <typename T>
void forward(const EventConvolution& e, const T* x, int64_t first, int64_t last) {
    const Buffer b{1, e.height, e.width, e.inputs, 0, 0};
    const int64_t pixels = e.height * e.width, group = std::clamp<int64_t>(4096 / pixels, 1, last - first);
    Memory lists, band;
    const size_t bytes = input_bytes(b, 0);
    char* memory = lists.get(group * bytes);
    auto* sums = reinterpret_cast<float*>(band.get(pixels * e.chunk * 4));
    std::vector<Input> inputs(group);
    const Band whole{0, e.height, e.width, sums};
    for (int64_t begin = first; begin < last; begin += group) {
        const int64_t end = std::min(last, begin + group);
        for (int64_t m = begin; m < end; ++m) list_frame(x + m * pixels * e.inputs, b, memory + (m - begin) * bytes, inputs[m - begin]);
        for (int64_t part = 0; part < e.outputs / e.chunk; ++part)
            for (int64_t m = begin; m < end; ++m) {
                const float* w = e.weight + part * e.inputs * 9 * e.chunk;
                const Input& in = inputs[m - begin];
                memset(sums, 0, pixels * e.chunk * 4);
                if (e.chunk == 32) in.binary ? scatter<3, 1, 32, true>(in, b, 1, w, whole) : scatter<3, 1, 32, false>(in, b, 1, w, whole);
                else in.binary ? scatter<3, 1, 16, true>(in, b, 1, w, whole) : scatter<3, 1, 16, false>(in, b, 1, w, whole);
                float* y = e.out + m * pixels * e.outputs + part * e.chunk;
                for (int64_t p = 0; p < pixels; ++p) memcpy(y + p * e.outputs, sums + p * e.chunk, e.chunk * 4);
            }
    }
}

struct Events {  // of a group of images, channel by channel
    std::vector<uint32_t> start, at;  // at: pixels of the gradient with a border of zeros
    std::vector<float> value;
    bool ones = true;
};

template <typename T>
void list_channels(const EventConvolution& e, const T* x, int64_t begin, int64_t end, Events& out) {
    struct Entry {
        uint32_t at, channel;
        float value;
    };
    const int64_t wide = e.width + 2, plane = (e.height + 2) * wide;
    std::vector<uint16_t> index(e.inputs + 16);
    std::vector<Entry> entries;
    out.start.assign(e.inputs + 1, 0);
    for (int64_t m = begin; m < end; ++m)
        for (int64_t v = 0; v < e.height; ++v)
            for (int64_t u = 0; u < e.width; ++u) {
                const T* p = x + ((m * e.height + v) * e.width + u) * e.inputs;
                const auto at = uint32_t((m - begin) * plane + (v + 1) * wide + u + 1);
                const uint16_t* stop = list_pixel(p, e.inputs, index.data());
                for (const uint16_t* c = index.data(); c < stop; ++c) {
                    entries.push_back({at, *c, as_float(p[*c])});
                    ++out.start[*c + 1];
                }
            }
    for (int64_t c = 0; c < e.inputs; ++c) out.start[c + 1] += out.start[c];
    out.at.resize(entries.size()), out.value.resize(entries.size()), out.ones = true;
    std::vector<uint32_t> next(out.start.begin(), out.start.end() - 1);
    for (const Entry& entry : entries) {
        const uint32_t slot = next[entry.channel]++;
        out.at[slot] = entry.at, out.value[slot] = entry.value;
        out.ones &= entry.value == 1.0f;
    }
}

// dW[c][tap] += the gradient of the output that the event at each position reaches through the tap, times the event.
template <int CH, bool ONES>
void weight_gradient(const EventConvolution& e, const Events& events, const float* padded, float* out) {
    constexpr int V = vectors_of(CH, 9);
    const int64_t row = (e.width + 2) * CH;
    for (int64_t c = 0; c < e.inputs; ++c)
        for (int part = 0; part < CH; part += V * LANES) {
            Floats sum[9][V]{};
            for (uint32_t i = events.start[c]; i < events.start[c + 1]; ++i) {
                const float* at = padded + int64_t(events.at[i]) * CH + part;
                Floats factor;
                if constexpr (!ONES) factor = all(events.value[i]);
#pragma GCC unroll 9
                for (int tap = 0; tap < 9; ++tap)
#pragma GCC unroll 4
                    for (int v = 0; v < V; ++v) {
                        const Floats g = load(at + (1 - tap / 3) * row + (1 - tap % 3) * CH + v * LANES);
                        if constexpr (ONES) sum[tap][v] += g;
                        else sum[tap][v] = fma_(factor, g, sum[tap][v]);
                    }
            }
            for (int tap = 0; tap < 9 && events.start[c] < events.start[c + 1]; ++tap)
                for (int v = 0; v < V; ++v) {
                    float* to = out + (c * 9 + tap) * CH + part + v * LANES;
                    store(to, load(to) + sum[tap][v]);
                }
        }
}

template <typename T>
void backward(const EventConvolution& e, const T* x, int64_t first, int64_t last, float* out) {
    const int64_t pixels = e.height * e.width, wide = e.width + 2, plane = (e.height + 2) * wide;
    const int64_t group = std::clamp<int64_t>(1024 / pixels, 1, last - first);
    std::vector<float> padded(group * plane * e.chunk, 0.0f);
    Events events;
    for (int64_t begin = first; begin < last; begin += group) {
        const int64_t end = std::min(last, begin + group);
        list_channels(e, x, begin, end, events);
        for (int64_t part = 0; part < e.outputs / e.chunk; ++part) {
            for (int64_t m = begin; m < end; ++m)
                for (int64_t v = 0; v < e.height; ++v)
                    for (int64_t u = 0; u < e.width; ++u)
                        memcpy(&padded[((m - begin) * plane + (v + 1) * wide + u + 1) * e.chunk],
                               e.gradient + (m * pixels + v * e.width + u) * e.outputs + part * e.chunk, e.chunk * 4);
            float* to = out + part * e.inputs * 9 * e.chunk;
            const float* g = padded.data();
            if (e.chunk == 32) events.ones ? weight_gradient<32, true>(e, events, g, to) : weight_gradient<32, false>(e, events, g, to);
            else events.ones ? weight_gradient<16, true>(e, events, g, to) : weight_gradient<16, false>(e, events, g, to);
        }
    }
}

template <typename Work>
void with_input(const EventConvolution& e, const Work& work) {
    if (e.is_half) work(static_cast<const uint16_t*>(e.x));
    else work(static_cast<const float*>(e.x));
}

}  // namespace

extern "C" {

void event_convolution_forward(const EventConvolution* e) {
    with_input(*e, [&](const auto* x) {
        share(e->images, e->threads, [&](int64_t, int64_t first, int64_t last) { forward(*e, x, first, last); });
    });
}

void event_convolution_backward(const EventConvolution* e) {
    const int64_t size = e->outputs * e->inputs * 9;
    std::vector<std::vector<float>> others(e->threads - 1, std::vector<float>(size, 0.0f));
    memset(e->out, 0, size * 4);
    with_input(*e, [&](const auto* x) {
        share(e->images, e->threads, [&](int64_t number, int64_t first, int64_t last) {
            backward(*e, x, first, last, number ? others[number - 1].data() : e->out);
        });
    });
    for (auto& other : others)
        for (int64_t i = 0; i < size; ++i) e->out[i] += other[i];
}
}
