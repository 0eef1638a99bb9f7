// T steps of a layer of neurons at once, forward and backward, for training.
//
// The rule and its options are those of models/neurons/layers.py, operation for operation, so spikes and states have the plain
// loop's bits. The backward pass keeps nothing but the input: it walks a block of neurons forward again, into buffers
// that fit the cache, and then back through time. Arrays are [T][M]: time, then neurons in any order.
#include "lanes.h"
#include "threads.h"

#include <algorithm>
#include <memory>
#include <vector>

extern "C" {

struct Neurons {
    int64_t steps, count;                            // T, M
    int64_t delay, zero, inclusive, detach;
    int64_t learns, scaled;  // beta has a gradient; the input gain is 1 - beta
    int64_t surrogate;                               // in the order of models/neurons/fused.py
    double beta, theta, gain, slope;
    int64_t threads;
};
}

namespace {

using spikesight::share;

// Neurons walked through time together: long runs of memory for the prefetcher, buffers small enough for the cache.
constexpr int64_t FORWARD_BLOCK = 4096, BACKWARD_BLOCK = 2048, BACKWARD_FLOATS = 1 << 16;

// A step of a block lies megabytes from the one before, where no processor looks ahead: told to, it does, a step early.
// Any address will do, also beyond an array.
inline void soon(const float* p) { __builtin_prefetch(p); }

// A vector of n <= LANES floats; whole ones at full speed.
inline Floats load_some(const float* p, int64_t n) {
    if (n >= LANES) return load(p);
    Floats v{};
    memcpy(&v, p, n * 4);
    return v;
}
inline void store_some(float* p, Floats v, int64_t n) {
    if (n >= LANES) store(p, v);
    else memcpy(p, &v, n * 4);
}

template <bool DELAY, bool ZERO, bool INCLUSIVE>
void forward(const Neurons& n, const float* x, const float* before, float* spikes, float* after) {
    const Floats beta = all(float(n.beta)), theta = all(float(n.theta)), gain = all(float(n.gain)), one = all(1.0f);
    const int64_t blocks = (n.count + FORWARD_BLOCK - 1) / FORWARD_BLOCK;
    share(blocks, std::clamp<int64_t>(n.threads, 1, blocks), [&](int64_t, int64_t begin, int64_t end) {
        alignas(64) float v[FORWARD_BLOCK];
        for (int64_t b = begin; b < end; ++b) {
            const int64_t at = b * FORWARD_BLOCK, size = std::min(FORWARD_BLOCK, n.count - at);
            for (int64_t i = 0; i < size; i += LANES) store(v + i, before ? load_some(before + at + i, size - i) : Floats{});
            for (int64_t t = 0; t < n.steps; ++t) {
                const float* from = x + t * n.count + at;
                const float* next = t + 1 < n.steps ? from + n.count : x + at + FORWARD_BLOCK;
                float* to = spikes + t * n.count + at;
                for (int64_t i = 0; i < size; i += LANES) {
                    soon(next + i);
                    Floats state = load(v + i), u;
                    Ints spike;
                    advance<DELAY, ZERO, INCLUSIVE>(load_some(from + i, size - i), state, u, spike, beta, theta, theta, gain);
                    store(v + i, state);
                    store_some(to + i, masked(spike, one), size - i);
                }
            }
            for (int64_t i = 0; i < size; i += LANES) store_some(after + at + i, load(v + i), size - i);
        }
    });
}

// The surrogate's derivative at u = U - theta.
template <int KIND>
inline Floats derivative(Floats u, float slope) {
    const Floats a = magnitude(u);
    if constexpr (KIND == 0) {  // arctan
        const Floats q = u * (1.57079633f * slope);
        return slope / 2 / (1.0f + q * q);
    } else if constexpr (KIND == 1) {  // fast sigmoid
        const Floats q = 1.0f + slope * a;
        return 1.0f / (q * q);
    } else if constexpr (KIND == 2) {  // triangular
        const Floats rest = slope - a;
        return masked(rest > 0.0f, rest) * (1.0f / (slope * slope));
    } else {  // rectangular
        return masked(a < 0.5f / slope, all(slope));
    }
}

// dx, dbefore (unless null) and the gradient of beta from dspikes and dafter (either may be null: zero).
template <bool DELAY, bool ZERO, bool DETACH, int KIND>
double backward(const Neurons& n, const float* x, const float* before, const float* dspikes, const float* dafter, float* dx, float* dbefore) {
    const Floats beta = all(float(n.beta)), theta = all(float(n.theta)), gain = all(float(n.gain));
    const float slope = float(n.slope);
    const int64_t steps = n.steps, fitting = BACKWARD_FLOATS / (steps + 1) / 128 * 128;
    const int64_t row = std::clamp<int64_t>(fitting, 128, BACKWARD_BLOCK), blocks = (n.count + row - 1) / row;
    const int64_t ring = n.learns;  // V of every step for the leak's gradient, else the last one alone
    std::vector<double> of_beta(blocks);  // summed in order at the end: the same for any number of threads
    share(blocks, std::clamp<int64_t>(n.threads, 1, blocks), [&](int64_t, int64_t begin, int64_t end) {
        // Row t + 1 holds step t, row 0 the state before the first: potentials U, and with immediate reset V too.
        const std::unique_ptr<float[]> memory(new float[(steps + 1) * row * (!DELAY && ring ? 2 : 1) + 16]);
        float* potential = memory.get() + (16 - reinterpret_cast<uintptr_t>(memory.get()) / 4 % 16) % 16;
        alignas(64) float carry[BACKWARD_BLOCK], last[BACKWARD_BLOCK];
        float* state = ring ? potential + (steps + 1) * row : last;
        for (int64_t b = begin; b < end; ++b) {
            const int64_t at = b * row, size = std::min(row, n.count - at);
            for (int64_t i = 0; i < size; i += LANES) {
                const Floats v = before ? load_some(before + at + i, size - i) : Floats{};
                store((DELAY ? potential : state) + i, v);
                store(carry + i, dafter ? load_some(dafter + at + i, size - i) : Floats{});
            }
            for (int64_t t = 0; t < steps; ++t) {
                const float *from = x + t * n.count + at, *old = DELAY ? potential + t * row : state + ring * t * row;
                const float* next = t + 1 < steps ? from + n.count : dspikes ? dspikes + t * n.count + at : from;
                for (int64_t i = 0; i < size; i += LANES) {
                    soon(next + i);
                    Floats v = load(old + i), u;
                    Ints spike;
                    const Floats value = load_some(from + i, size - i);
                    if (n.inclusive) advance<DELAY, ZERO, true>(value, v, u, spike, beta, theta, theta, gain);
                    else advance<DELAY, ZERO, false>(value, v, u, spike, beta, theta, theta, gain);
                    store(potential + (t + 1) * row + i, u);
                    if (!DELAY) store(state + ring * (t + 1) * row + i, v);
                }
            }
            Floats gradient{};
            for (int64_t t = steps; t-- > 0;) {
                const float* ds = dspikes ? dspikes + t * n.count + at : nullptr;
                const float* next = t == 0 ? x + at + row : ds ? ds - n.count : carry;
                for (int64_t i = 0; i < size; i += LANES) {
                    soon(next + i);
                    const Floats g = ds ? load_some(ds + i, size - i) : Floats{};
                    const Floats u = load(potential + (t + 1) * row + i), c = load(carry + i);
                    const Floats s = derivative<KIND>(u - theta, slope);
                    Floats du, to_old;
                    if constexpr (DELAY) {
                        const Floats v = load(potential + t * row + i);
                        const Ints fired = n.inclusive ? v >= theta : v > theta;
                        du = c + g * s;
                        const Floats kept = ZERO ? masked(~fired, du) : du;  // what U[t-1] gave through its leak
                        to_old = beta * kept;
                        if constexpr (!DETACH) to_old -= du * (ZERO ? beta * v : theta) * derivative<KIND>(v - theta, slope);
                        if (n.learns) gradient += kept * v;
                    } else {
                        const Ints fired = n.inclusive ? u >= theta : u > theta;
                        Floats through = g;
                        if constexpr (!DETACH) through -= c * (ZERO ? u : theta);
                        du = through * s + (ZERO ? masked(~fired, c) : c);
                        to_old = beta * du;
                        if (n.learns) gradient += du * load(state + t * row + i);
                    }
                    if (n.learns && n.scaled) gradient -= du * load_some(x + t * n.count + at + i, size - i);
                    store(carry + i, to_old);
                    store_some(dx + t * n.count + at + i, du * gain, size - i);
                }
            }
            of_beta[b] = total(gradient);
            if (dbefore)
                for (int64_t i = 0; i < size; i += LANES) store_some(dbefore + at + i, load(carry + i), size - i);
        }
    });
    double sum = 0;
    for (double part : of_beta) sum += part;
    return sum;
}

}  // namespace

extern "C" {

void neurons_forward(const Neurons* n, const float* x, const float* before, float* spikes, float* after) {
    constants([&](auto delay, auto zero, auto inclusive) { forward<delay, zero, inclusive>(*n, x, before, spikes, after); },
              n->delay, n->zero, n->inclusive);
}

double neurons_backward(const Neurons* n, const float* x, const float* before, const float* dspikes, const float* dafter, float* dx, float* dbefore) {
    return constants([&](auto delay, auto zero, auto detach, auto second, auto odd) {
        return backward<delay, zero, detach, 2 * second + odd>(*n, x, before, dspikes, dafter, dx, dbefore);
    }, n->delay, n->zero, n->detach, n->surrogate / 2, n->surrogate % 2);
}
}
