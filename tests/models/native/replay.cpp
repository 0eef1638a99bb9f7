// Runs a plan out of a file, as tests/models/native/test_arm64.py writes it, with the library it is linked to.
//   replay <plan> <result>: logits, membranes and synaptic operations
#include "engine.h"

#include <cstdio>
#include <cstdlib>

extern "C" {
void* engine_plan(const Buffer*, int64_t, const Layer*, int64_t, const Readout*);
int64_t engine_run(void*, const Run*);
}

static FILE* file;

template <typename T>
static T* read(int64_t count) {
    T* data = static_cast<T*>(aligned_alloc(64, (count * sizeof(T) + 63) / 64 * 64 + 64));
    if (fread(data, sizeof(T), count, file) != size_t(count)) exit(2);
    return data;
}

template <typename T>
static void lead(const char* numbers, const T*& pointer) {  // in the file a pointer is its offset plus one; 0: null
    const auto offset = reinterpret_cast<int64_t>(pointer);
    pointer = offset ? reinterpret_cast<const T*>(numbers + offset - 1) : nullptr;
}

static void lead(const char* numbers, Convolution& c) {
    lead(numbers, c.by_channel), lead(numbers, c.by_tap), lead(numbers, c.by_pair), lead(numbers, c.reach);
}

int main(int, char** arguments) {
    file = fopen(arguments[1], "rb");
    const int64_t* head = read<int64_t>(10);
    const int64_t buffers = head[0], layers = head[1], steps = head[3], streams = head[4], membranes = head[6], classes = head[7];
    const Buffer* buffer = read<Buffer>(buffers);
    Layer* layer = read<Layer>(layers);
    Readout* readout = read<Readout>(1);
    const char* numbers = read<char>(head[2]);
    const void* x = read<char>(head[5]);
    for (int64_t i = 0; i < layers; ++i) {
        Layer& l = layer[i];
        lead(numbers, l.main), lead(numbers, l.side), lead(numbers, l.bias), lead(numbers, l.before.scale);
        lead(numbers, l.after.scale), lead(numbers, l.weight), lead(numbers, l.raster);
    }
    lead(numbers, readout->weight), lead(numbers, readout->bias);
    auto* before = static_cast<float*>(calloc(streams * membranes, 4));
    auto* after = static_cast<float*>(calloc(streams * membranes, 4));
    auto* logits = static_cast<float*>(calloc(steps * streams * classes, 4));
    auto* counts = static_cast<int64_t*>(calloc(streams * (head[8] + 1), 8));
    auto* raster = static_cast<uint8_t*>(calloc(streams * head[9], 1));
    Run run{};
    run.steps = steps, run.streams = streams, run.x = x;
    run.state_before = before, run.state_after = after, run.state_size = membranes;
    run.logits = logits, run.layer_spikes = counts, run.synops = counts + streams * head[8], run.raster = raster;
    run.spike_layers = head[8], run.raster_rows = head[9];
    if (engine_run(engine_plan(buffer, buffers, layer, layers, readout), &run)) return 1;
    file = fopen(arguments[2], "wb");
    fwrite(logits, 4, steps * streams * classes, file);
    fwrite(after, 4, streams * membranes, file);
    fwrite(run.synops, 8, streams, file);
    return fclose(file);
}
