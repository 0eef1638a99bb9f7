// The structures of the engine, field by field those of models/engine/structs.py.
#pragma once
#include <cstdint>

extern "C" {

struct Buffer {
    int64_t is_float, height, width, channels;  // channels as laid out
    int64_t binary;                             // bytes known to be 0 or 1
};

struct Shortcut {  // without weights
    int64_t buffer;                  // -1: none
    int64_t stride, first, channels;  // output channel `first + c` takes input channel c; identity: 1, 0, all
    const float* scale;               // [output channels] of `before`, null: 1
};

struct Convolution {
    int64_t buffer;  // -1: none
    int64_t kernel, stride, pad;
    const float* by_channel;  // [chunk][Ci][K K][CH]: for scatter
    const float* by_tap;      // [chunk][K K][Ci][CH]: for dense
    const uint32_t* by_pair;  // [parts][chunk][K K][Ci / 2][CH] pairs of bfloat16, in place of by_tap; or null
    int64_t parts, part;      // bfloat16 numbers that sum to a weight: 1, or 3 for a float; pairs from one to the next
    int64_t matrix;           // multiplied by the matrix unit
    const int32_t* reach;     // [H W]: outputs that each input pixel feeds
    int64_t fan_out;          // true output channels, also of a pool
    double density;           // scatter below this effective density
};

struct Layer {
    int64_t pool;  // of main.buffer, stride 2; 0: convolution, 1: maximum, 2: average (3x3, pad 1), 3: maximum (2x2)
    int64_t fused;  // it pools the sums of the layer before, in its own pass
    Convolution main, side;
    int64_t height, width, channels, chunk;  // of the output; channels padded, chunk 16 or 32
    const float* bias;                       // [channels], or null
    Shortcut before, after;                  // added to the current; added to the spikes
    int64_t current, spikes;                 // buffers written, -1: not kept
    int64_t neuron, kind;                    // neuron 0: none; kind: LIF, CLIF, PSN, PACED
    int64_t delay, zero, inclusive, bounded;
    double beta, theta, gain;                // theta: what a reset subtracts
    double limit;                            // the threshold compared with: theta, less a start that the state leaves out
    double low, high;                        // of the membrane after a step, where bounded
    double charge;                           // PACED: of the current, what stays in the memory; beta and theta likewise
    int64_t state;  // offset of the membranes in a stream's state; further parts follow, each of the layer's size
    int64_t taps;           // PSN: inputs a spike depends on
    const float* weight;    // PSN: [taps + 1], the newest input's first, the bias last
    int64_t fired;  // where its bits begin among those of a stream
    int64_t rate_channels, rate_first;  // its channels whose rates are noted, and where: 0: none
    int64_t rate_places;                // a side: each channel notes [places, places] parts of its map
};

struct Readout {
    int64_t buffer, classes, padded;
    int64_t reach, outputs;  // reach > 0: of each place, reach x reach pixels of the map; so many logits in all
    const float* weight;  // [C][padded]
    const float* bias;    // [padded]
};

struct Run {
    int64_t steps, streams;
    const void* x;  // [T, N, C, H, W], bytes or floats
    int64_t x_is_float;
    const float* state_before;  // [N, state_size], streams' membranes; null: at rest
    float* state_after;
    int64_t state_size;
    float* logits;         // [T, N, outputs]
    int64_t* layer_spikes;  // [T, N, L]
    int64_t* synops;        // [T, N]
    float* rates;           // [T, N, S]: shares of channels' neurons that fired in each place, of layers that note them
    uint8_t* fired;         // [T, N, F]: bits of all neurons, whether they fired: layers, pixels, channels
    const uint8_t* probed;  // [N]: whose are noted; null: nobody's
    int64_t spike_layers, fired_size, rates_size;
    int64_t force;   // 0: choose; 1: always scatter; 2: always dense
    int64_t threads, hand_over;  // that may share the work; what another's beginning and end cost, in nanoseconds
    int64_t frozen;  // the input is the same in all steps: x is [N, C, H, W], and the first layer sums it once
};
}
