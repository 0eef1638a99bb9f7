// What the page without a server calls: the engine, and what lies between a camera and a network.
//
// A network is one block of memory, whose pointers are distances from its begin until `open`. The block is laid out by
// models/export/block.py: this head, and everything that it leads to.
#if defined(__wasm__)
#include "../tracker.h"
#include "../readout.h"
#include "engine.h"
#include "follow.h"
#include "front.h"
#include "pixels.h"
#include "pyramid.h"

#include <cstdlib>
#include <initializer_list>

extern "C" {
void* engine_plan(const Buffer*, int64_t, const Layer*, int64_t, const Readout*);
int64_t engine_run(void*, const Run*);
}

namespace {

struct Block {
    Run run;  // of one step
    Readout readout;
    int64_t n_buffers, n_layers;
    Buffer* buffers;
    Layer* layers;
    void* engine;
};

template <typename T>
void place(T*& pointer, const Block* block) {
    if (pointer) pointer = reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(block) + reinterpret_cast<uintptr_t>(pointer));
}

constexpr int32_t PACKET = 4096;  // most events that are pushed at once

// What these begin with is read by the page.
struct Stream {  // of events
    SpikesightPacked* packet;
    uint8_t* around;  // the crop of a network that follows what moves, else null
    SpikesightFront front;
    SpikesightFollow follow;
};

struct Eye {  // frames to events
    float* parameters;  // levels, on, off, start
    uint8_t* grey;
    SpikesightPacked* events;
    uint32_t* order;
    SpikesightPixels pixels;
};

struct Network {  // a block, and what becomes of its logits
    double *answer, *probabilities;  // answer: known, best, step_label, label, step
    float *logits, *rates;
    const Block* block;
    SpikesightReadout readout;
    SpikesightHead head;  // slices 0: there is none
};

struct View {  // a block that looks all over a view, and what is found
    double* told;  // tracker.h
    uint8_t* x;    // a bin at the finest level
    SpikesightTracker* finder;
    const Block* block;
    const SpikesightLevel* levels;
    int32_t n;
};

// Zeros for a T and all that it points to, in one piece.
template <typename T>
struct Memory {
    T* made;
    char* next;

    explicit Memory(size_t bytes) : made(static_cast<T*>(calloc(sizeof(T) + bytes + 16 * 16, 1))), next(reinterpret_cast<char*>(made + 1)) {}

    template <typename P>
    void place(P*& piece, size_t n) {
        piece = reinterpret_cast<P*>((uintptr_t(next) + 15) & ~uintptr_t(15));
        next = reinterpret_cast<char*>(piece + n);
    }
};

}  // namespace

#define EXPORTED(name) extern "C" __attribute__((export_name(#name)))

EXPORTED(memory_for) void* memory_for(size_t bytes) { return aligned_alloc(64, (bytes + 63) & ~size_t(63)); }

EXPORTED(release) void release(void* memory) { free(memory); }

extern "C" __attribute__((import_module("page"), import_name("closed"))) void closed(
    const uint8_t* x, double start_us, double end_us, int32_t n_events, int32_t reset);

// A stream of a camera's events to inputs of width x height, or null without memory. The network was trained on a sensor
// of small_width x small_height, or follows what moves on any (0). from_hz, shown and the rest: front.h, follow.h.
EXPORTED(stream_open) Stream* stream_open(int32_t camera_width, int32_t camera_height, int32_t small_width, int32_t small_height,
                                          int32_t width, int32_t height, double bin_us, double filter_us, double from_hz,
                                          int32_t shown, int32_t ceiling, double kept, double share) {
    const bool follows = !small_width, sums = !follows && spikesight_sums(camera_width, camera_height, small_width, small_height);
    const size_t wide = size_t(sums ? small_width : camera_width), high = size_t(sums ? small_height : camera_height);
    const size_t inputs = size_t(2) * width * height, cells = follows ? 2 * wide * high : inputs;
    Memory<Stream> memory(sizeof(SpikesightPacked) * PACKET + inputs + 3 * cells + 8 * (wide + 2) * (high + 2));
    Stream* stream = memory.made;
    if (!stream) return nullptr;
    SpikesightFront& front = stream->front;
    SpikesightFollow& follow = stream->follow;
    front.width = uint16_t(camera_width), front.height = uint16_t(camera_height);
    front.seen_width = uint16_t(wide), front.seen_height = uint16_t(high);
    front.grid_width = follow.width = uint16_t(width), front.grid_height = follow.height = uint16_t(height);
    front.shown = uint16_t(shown), front.ceiling = uint8_t(ceiling);
    front.bin_us = int64_t(bin_us), front.filter_us = int64_t(filter_us), front.from_hz = from_hz;
    front.planes = follow.planes = true;
    memory.place(stream->packet, PACKET);
    memory.place(front.open, cells);
    memory.place(front.since, cells);
    if (sums) memory.place(front.level, wide * high);
    else if (filter_us > 0) memory.place(front.fired, (wide + 2) * (high + 2));
    if (follows) {
        memory.place(stream->around, inputs);
        spikesight_follow_size(&follow, camera_width, camera_height);
        front.grid_width = follow.seen_width, front.grid_height = follow.seen_height;
        follow.kept = kept, follow.share = share;
        spikesight_follow_reset(&follow);
    }
    front.yours = stream;
    front.close = [](void* yours, const SpikesightBin* bin) {
        Stream* own = static_cast<Stream*>(yours);
        if (own->around) spikesight_follow_crop(&own->follow, bin->x, bin->reset, own->around);
        closed(own->around ? own->around : bin->x, double(bin->start_us), double(bin->end_us), int32_t(bin->n_events), bin->reset);
    };
    spikesight_front_begin(&front);
    return stream;
}

// n events, at most PACKET, that were written to the stream's packet.
EXPORTED(stream_push) void stream_push(Stream* stream, int32_t n) {
    for (const SpikesightPacked* event = stream->packet; event < stream->packet + n; ++event)
        spikesight_front_take(&stream->front, event->t, event->x, event->y, event->on != 0);
}

EXPORTED(stream_reach) void stream_reach(Stream* stream, double t_us) { spikesight_front_reach(&stream->front, int64_t(t_us)); }

EXPORTED(eye_open) Eye* eye_open(int32_t width, int32_t height, double leak_hz, double cutoff_hz, double silent_us) {
    const size_t size = size_t(width) * height, most = 4 * size;  // events of a frame
    Memory<Eye> memory(4 * 256 + (1 + 3 * 4 + 2 * 4 + 8) * size + (3 * 4 + sizeof(SpikesightPacked)) * most);
    Eye* eye = memory.made;
    if (!eye) return nullptr;
    SpikesightPixels& pixels = eye->pixels;
    pixels.width = uint16_t(width), pixels.height = uint16_t(height), pixels.limit = uint32_t(most);
    pixels.leak_hz = leak_hz, pixels.cutoff_hz = cutoff_hz, pixels.silent_us = int64_t(silent_us);
    memory.place(eye->grey, size);
    memory.place(eye->parameters, 256 + 3 * size);
    memory.place(pixels.reference, size);
    memory.place(pixels.last, size);
    memory.place(pixels.free_us, size);
    memory.place(pixels.offsets, most);
    memory.place(pixels.words, most);
    memory.place(eye->order, most);
    memory.place(eye->events, most);
    pixels.levels = eye->parameters;
    pixels.on = pixels.levels + 256, pixels.off = pixels.on + size, pixels.start = pixels.off + size;
    return eye;
}

EXPORTED(eye_forget) void eye_forget(Eye* eye) { eye->pixels.begun = false; }

// The number of events since the frame before this one, which was written to `grey`.
EXPORTED(eye_push) int32_t eye_push(Eye* eye, double t_us) {
    SpikesightPixels& pixels = eye->pixels;
    const int64_t began_us = pixels.t_us;
    const uint32_t n = spikesight_pixels_take(&pixels, eye->grey, int64_t(t_us));
    if (n) spikesight_sorted(pixels.offsets, pixels.words, n, began_us, eye->order, eye->events);
    return int32_t(n);
}

EXPORTED(open) void open_block(Block* block) {
    Run& run = block->run;
    place(run.x, block), place(run.state_before, block), place(run.state_after, block), place(run.logits, block);
    place(run.layer_spikes, block), place(run.synops, block), place(run.rates, block);
    place(run.fired, block), place(run.probed, block);
    place(block->readout.weight, block), place(block->readout.bias, block);
    place(block->buffers, block), place(block->layers, block);
    for (int64_t i = 0; i < block->n_layers; ++i) {
        Layer& layer = block->layers[i];
        place(layer.bias, block), place(layer.weight, block), place(layer.before.scale, block);
        for (Convolution* conv : {&layer.main, &layer.side}) place(conv->by_channel, block), place(conv->reach, block);
    }
    block->engine = engine_plan(block->buffers, block->n_buffers, block->layers, block->n_layers, &block->readout);
}

static void rest(const Run& run) { memset(run.state_after, 0, size_t(run.state_size) * sizeof(float)); }

// The read-out of an opened block, or null without memory. `sizes` and `rules` are the parameters of readout.h up to
// `inertia`; with rates, whiten and what follows are there. `taught`: those of a head up to `input_places`, or null.
EXPORTED(network_open) Network* network_open(const Block* block, const int32_t* sizes, const double* rules, const float* whiten,
                                             const double* placed, const float (*lines)[8], const uint32_t* taught,
                                             const float* weight, const float* bias) {
    SpikesightReadout readout{};
    SpikesightHead head{};
    memcpy(&readout.classes, sizes, 5 * sizeof *sizes);
    memcpy(&readout.active, rules, 9 * sizeof *rules);
    if (taught) memcpy(&head.classes, taught, 11 * sizeof *taught);
    readout.whiten = whiten, readout.placed = placed, readout.lines = lines;
    head.weight = weight, head.bias = bias, head.planes = true;
    const size_t values = size_t(readout.classes + readout.rates + 1), recent = values * readout.horizon;
    const size_t summed = (head.slices + 1) * head.observed;
    Memory<Network> memory(4 * (recent + summed + values) + 8 * (5 + 5 * values + readout.centres));
    Network* network = memory.made;
    if (!network) return nullptr;
    memory.place(network->answer, 5);
    memory.place(network->probabilities, readout.classes);
    memory.place(readout.mean, values);
    memory.place(readout.evidence, readout.classes + 2);
    memory.place(readout.share, readout.classes + 2);
    memory.place(readout.whitened, readout.rates);
    memory.place(readout.distances, readout.centres);
    memory.place(readout.recent, recent);
    memory.place(head.sums, summed);
    network->logits = block->run.logits, network->rates = block->run.rates;
    if (taught) {
        memory.place(network->logits, readout.classes);
        memory.place(network->rates, readout.rates);
    }
    readout.probabilities = network->probabilities;
    spikesight_readout_begin(&readout);
    network->block = block, network->readout = readout, network->head = head;
    return network;
}

static void rest(Network* network) {
    rest(network->block->run);
    if (network->head.slices) spikesight_head_reset(&network->head);
    spikesight_readout_reset(&network->readout);
}

EXPORTED(network_begin) void network_begin(Network* network) {
    rest(network);
    spikesight_readout_begin(&network->readout);
}

// A step on the block's x, of so many bytes; `reset`: from rest. 0, 1 for one from rest, -1 if memory ran out.
EXPORTED(network_step) int32_t network_step(Network* network, int32_t inputs, int32_t reset) {
    const Run& run = network->block->run;
    SpikesightReadout& readout = network->readout;
    const uint8_t* x = static_cast<const uint8_t*>(run.x);
    int32_t active = 0;
    for (int32_t i = 0; i < inputs; ++i) active += x[i] != 0;
    const bool fresh = spikesight_readout_woken(&readout, active) || reset;
    if (fresh) rest(network);
    if (engine_run(network->block->engine, &run)) return -1;
    if (network->head.slices) spikesight_head_step(&network->head, run.rates, x, network->logits, network->rates);
    spikesight_readout_step(&readout, network->logits, network->rates, active);
    const double answer[] = {readout.in_distribution, double(readout.best), double(readout.step_label), double(readout.label), double(readout.seen)};
    memcpy(network->answer, answer, sizeof answer);
    return fresh;
}

// What finds tracks with an opened block, or null without memory; sizes, places and n levels: tracker.h.
EXPORTED(view_open) View* view_open(const Block* block, const int32_t* sizes, SpikesightOutputCell* places, const SpikesightLevel* levels,
                                    int32_t n) {
    const size_t bytes = spikesight_tracker_bytes(sizes), told = spikesight_tracker_output_size(sizes[0]);
    const size_t inputs = size_t(2) * levels->height * levels->width;
    Memory<View> memory(sizeof(double) * told + inputs + sizeof(SpikesightTracker) + bytes);
    View* view = memory.made;
    if (!view) return nullptr;
    memory.place(view->told, told);
    memory.place(view->x, inputs);
    memory.place(view->finder, 1 + bytes / sizeof(SpikesightTracker));
    view->block = block, view->levels = levels, view->n = n;
    spikesight_tracker_begin(view->finder, sizes, places);
    return view;
}

// A step on the view's x; `reset`: from rest. 0, or -1 if memory ran out.
EXPORTED(view_step) int32_t view_step(View* view, int32_t reset) {
    const Run& run = view->block->run;
    SpikesightTracker* finder = view->finder;
    uint8_t* canvas = static_cast<uint8_t*>(const_cast<void*>(run.x));
    if (reset) rest(run), spikesight_tracker_reset(finder);
    spikesight_pyramid_canvas(view->levels, view->n, finder->height, finder->width, view->x, canvas);
    if (engine_run(view->block->engine, &run)) return -1;
    const bool moved = memchr(canvas, 1, size_t(2) * finder->height * finder->width);  // or no frame came
    spikesight_tracker_step(finder, canvas, run.logits, moved, view->told);
    return 0;
}
#endif
