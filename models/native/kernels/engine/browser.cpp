// The engine in a browser: a network is one block of memory, whose pointers are distances from its begin until `open`.
// The block is laid out by models/export/block.py: this head, and everything that it leads to.
#if defined(__wasm__)
#include "engine.h"

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

}  // namespace

#define EXPORTED(name) extern "C" __attribute__((export_name(#name)))

EXPORTED(memory_for) void* memory_for(size_t bytes) { return aligned_alloc(64, (bytes + 63) & ~size_t(63)); }

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

// 0 if all went well, 1 if memory ran out.
EXPORTED(step) int32_t step(const Block* block) { return int32_t(engine_run(block->engine, &block->run)); }
#endif
