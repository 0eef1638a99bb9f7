// One step of each kind of neuron on a band of summed currents.
#pragma once
#include "engine.h"
#include "../lanes.h"

namespace {

enum Kind { LIF, CLIF, PSN, PACED };

// How many of a band's neurons fire: step(at, sum, c) moves those from `at` on, of channels first + c on, and says which.
template <typename Step>
int64_t each(const Layer& layer, const float* sums, uint8_t* out, int64_t pixels, int64_t first, const Step& step) {
    const int64_t chunk = layer.chunk, channels = layer.channels;
    Ints count{};
    for (int64_t p = 0; p < pixels; ++p)
        for (int64_t c = 0; c < chunk; c += LANES) {
            const int64_t at = p * channels + first + c;
            const Ints spike = step(at, load(sums + p * chunk + c), c);
            store_bytes(out + at, spike & 1);
            count -= spike;
        }
    return total(count);
}

// BOUNDED keeps the membrane after a step in [low, high].
template <bool DELAY, bool ZERO, bool INCLUSIVE, bool BOUNDED = false>
int64_t fire(const Layer& layer, const float* sums, const float* before, float* after, uint8_t* out, int64_t pixels, int64_t first) {
    const Floats beta = all(float(layer.beta)), theta = all(float(layer.theta)), gain = all(float(layer.gain));
    const Floats limit = all(float(layer.limit)), low = all(float(layer.low)), high = all(float(layer.high));
    return each(layer, sums, out, pixels, first, [&](int64_t at, Floats sum, int64_t) {
        Floats v = load(before + at), u;
        Ints spike;
        advance<DELAY, ZERO, INCLUSIVE>(sum, v, u, spike, beta, theta, limit, gain);
        if constexpr (BOUNDED) {
            v = v > low ? v : low;
            v = v < high ? v : high;
        }
        store(after + at, v);
        return spike;
    });
}

// LIF at another pace than the trained one (models/neurons/pace.py): the state is the memory, to which the current adds.
template <bool INCLUSIVE>
int64_t fire_paced(const Layer& layer, const float* sums, const float* before, float* after, uint8_t* out, int64_t pixels, int64_t first) {
    const Floats keep = all(float(layer.beta)), back = all(float(layer.theta)), charge = all(float(layer.charge));
    const Floats limit = all(float(layer.limit)), gain = all(float(layer.gain));
    return each(layer, sums, out, pixels, first, [&](int64_t at, Floats sum, int64_t) {
        const Floats w = load(before + at), current = sum * gain;
        const Ints spike = INCLUSIVE ? w + current >= limit : w + current > limit;
        store(after + at, keep * w + (charge * current - masked(spike, back)));
        return spike;
    });
}

// 1 / (1 + e^-x), to two units in the last place.
inline Floats sigmoid(Floats x) {
    const Floats most = all(87.0f), z = magnitude(x) > most ? most : magnitude(x);  // e^-z, z >= 0
    const Floats n = __builtin_convertvector(__builtin_convertvector(z * 1.44269504f + 0.5f, Ints), Floats);
    const Floats r = n * 0.693359375f - z - n * 2.12194440e-4f;  // n ln 2 - z, in two parts; |r| <= ln 2 / 2
    Floats p = all(1.9875691500e-4f);
    for (const float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f}) p = fma_(p, r, all(c));
    p = fma_(p, r * r, r) + 1.0f;
    const Floats e = p * (Floats)((127 - __builtin_convertvector(n, Ints)) << 23);  // times 2^-n
    const Ints below = x < Floats{};
    return (masked(below, e) + masked(~below, all(1.0f))) / (e + 1.0f);
}

// CLIF: the second part of the state counts recent spikes and deepens the reset.
template <bool INCLUSIVE>
int64_t fire_clif(const Layer& layer, const float* sums, const float* before, float* after, uint8_t* out, int64_t pixels, int64_t first) {
    const Floats beta = all(float(layer.beta)), theta = all(float(layer.theta)), gain = all(float(layer.gain)), rest = all(float(1 - layer.beta));
    const int64_t part = layer.height * layer.width * layer.channels;
    return each(layer, sums, out, pixels, first, [&](int64_t at, Floats sum, int64_t) {
        const Floats u = beta * load(before + at) + sum * gain;
        const Ints spike = INCLUSIVE ? u >= theta : u > theta;
        const Floats m = load(before + part + at) * sigmoid(rest * u) + masked(spike, all(1.0f));
        store(after + at, u - masked(spike, theta + sigmoid(m)));
        store(after + part + at, m);
        return spike;
    });
}

// Which lanes are of so many channels: those of the padding stay silent, also where neurons may fire at 0.
inline Ints within(int64_t channels) {
    Ints lane{};
#pragma GCC unroll 16
    for (int i = 0; i < LANES; ++i) lane[i] = i;
    return lane < int32_t(channels);
}

// Sliding PSN: a filter of the last inputs; the state holds those before this one, the newest first.
int64_t fire_psn(const Layer& layer, const float* sums, const float* before, float* after, uint8_t* out, int64_t pixels, int64_t first) {
    const int64_t part = layer.height * layer.width * layer.channels, taps = layer.taps;
    const int64_t left = layer.main.fan_out - first;  // of the network's channels
    return each(layer, sums, out, pixels, first, [&](int64_t at, Floats sum, int64_t c) {
        Floats y = all(layer.weight[taps]) + layer.weight[0] * sum;
        for (int64_t i = 1; i < taps; ++i) y += layer.weight[i] * load(before + (i - 1) * part + at);
        for (int64_t i = taps - 2; i > 0; --i) store(after + i * part + at, load(before + (i - 1) * part + at));
        store(after + at, sum);
        return (y >= Floats{}) & within(left - c);
    });
}

using Fire = int64_t (*)(const Layer&, const float*, const float*, float*, uint8_t*, int64_t, int64_t);
Fire firing(const Layer& n) {
    return constants([&](auto delay, auto zero, auto inclusive) -> Fire {
        if (n.kind == CLIF) return fire_clif<inclusive>;
        if (n.kind == PSN) return fire_psn;
        if (n.kind == PACED) return fire_paced<inclusive>;
        return n.bounded ? fire<false, false, inclusive, true> : fire<delay, zero, inclusive>;
    }, n.delay, n.zero, n.inclusive);
}

// Membranes at rest: those of some pixels' channels from `first` on, all parts of the state.
void rest(const Layer& layer, float* membranes, int64_t pixels, int64_t first) {
    const int64_t size = layer.height * layer.width * layer.channels, kind = layer.kind;
    const int64_t parts = kind == PSN ? layer.taps - 1 : kind == CLIF ? 2 : 1;
    for (int64_t part = 0; part < parts; ++part)
        for (int64_t p = 0; p < pixels; ++p) memset(membranes + part * size + p * layer.channels + first, 0, layer.chunk * 4);
}

}  // namespace
