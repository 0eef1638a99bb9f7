// Runs a plan out of a file, as tests/models/native/test_build.py writes it, with the library it is linked to.
//   replay <plan> <result> [<threads>]: logits, membranes and synaptic operations; where threads are named, of the last of
//   some calls, of which several are made at once and each is shared among so many threads
#include "engine.h"

#include <pthread.h>

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

struct Caller {
    void* engine;
    Run run;
    int64_t state, logits, counts;  // bytes of what a call writes
    bool failed;
    pthread_t thread;
    void call() {
        run.state_after = static_cast<float*>(calloc(state, 1)), run.logits = static_cast<float*>(calloc(logits, 1));
        run.layer_spikes = static_cast<int64_t*>(calloc(counts, 1));
        run.synops = run.layer_spikes + run.steps * run.streams * run.spike_layers;
        failed = engine_run(engine, &run) != 0;
    }
};

static void* call_often(void* of) {
    for (int i = 0; i < 20; ++i) static_cast<Caller*>(of)->call();
    return nullptr;
}

int main(int count, char** arguments) {
    file = fopen(arguments[1], "rb");
    const int64_t* head = read<int64_t>(9);
    const int64_t buffers = head[0], layers = head[1], steps = head[3], streams = head[4], membranes = head[6], classes = head[7];
    const Buffer* buffer = read<Buffer>(buffers);
    Layer* layer = read<Layer>(layers);
    Readout* readout = read<Readout>(1);
    const char* numbers = read<char>(head[2]);
    const void* x = read<char>(head[5]);
    for (int64_t i = 0; i < layers; ++i) {
        Layer& l = layer[i];
        lead(numbers, l.main), lead(numbers, l.side), lead(numbers, l.bias), lead(numbers, l.before.scale);
        lead(numbers, l.after.scale), lead(numbers, l.weight);
    }
    lead(numbers, readout->weight), lead(numbers, readout->bias);
    Caller caller{};
    caller.engine = engine_plan(buffer, buffers, layer, layers, readout);
    caller.state = streams * membranes * 4, caller.logits = steps * streams * classes * 4;
    caller.counts = steps * streams * (head[8] + 1) * 8;
    Run& run = caller.run;
    run.steps = steps, run.streams = streams, run.x = x, run.state_size = membranes;
    run.state_before = static_cast<float*>(calloc(caller.state, 1));
    run.spike_layers = head[8];
    if (count > 3) {
        run.threads = atoi(arguments[3]);
        Caller others[3] = {caller, caller, caller};
        for (Caller& other : others) pthread_create(&other.thread, nullptr, call_often, &other);
        call_often(&caller);
        for (Caller& other : others) pthread_join(other.thread, nullptr);
    }
    caller.call();
    if (caller.failed) return 1;
    file = fopen(arguments[2], "wb");
    fwrite(run.logits, 1, caller.logits, file);
    fwrite(run.state_after, 1, caller.state, file);
    fwrite(run.synops, 8, steps * streams, file);
    return fclose(file);
}
