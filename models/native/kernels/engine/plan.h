// A network as it is called: its plan, the memory of a call, and the streams of a call that go through its layers together.
#pragma once
#include "inputs.h"
#include "../threads.h"

#include <pthread.h>
#include <vector>

namespace {

using spikesight::Crew;
using spikesight::nanoseconds;

struct Statistics {
    int64_t reached = 0, possible = 0, scattered = 0, frames = 0, nanoseconds = 0;
    void add(const Input& in) { reached += in.reached, possible += in.possible, frames += 1, scattered += in.events; }
};

struct Plan {
    std::vector<Buffer> buffers;
    std::vector<Layer> layers;
    Readout readout;
    int64_t weights = 0;  // their bytes
};

struct Desk {  // memory of one thread
    Memory band, scratch;
};

struct Workspace : Plan {  // all that a call writes to, with a copy of the plan: the weights are where they were
    std::vector<Memory> memory;  // of the buffers
    Memory main, side;
    std::vector<Desk> desks;  // one a thread
    std::vector<Input> mains, sides;
    std::vector<Statistics> statistics;
    std::vector<int64_t> cost;  // of a layer: nanoseconds that a frame took the last time, all threads together, or twice those before
    int64_t steps = 1;
    std::vector<bool> frozen;  // buffers that hold one frame a stream for all steps

    explicit Workspace(const Plan& plan) : Plan(plan), memory(plan.buffers.size()), statistics(2 * plan.layers.size()),
                                            cost(plan.layers.size()) {}
    char* frame(int64_t buffer, int64_t f) {
        const Buffer& b = buffers[buffer];
        if (frozen[buffer]) f -= f % steps;
        return memory[buffer].data + f * bytes(b);
    }
    static int64_t bytes(const Buffer& b) { return aligned(b.height * b.width * b.channels * (b.is_float ? 4 : 1)); }
    bool reserve(int64_t frames) {
        for (size_t i = 0; i < buffers.size(); ++i)
            if (!memory[i].get(frames * bytes(buffers[i]))) return false;
        return true;
    }
    // How many streams go through all layers together: what a layer gives is still near when the next one takes it, and
    // their activations are so much more than the weights that reading these again for the next streams costs little.
    int64_t company(int64_t streams) const {
        int64_t activations = 1;
        for (const Buffer& b : buffers) activations += steps * bytes(b);
        return std::clamp<int64_t>(4 * weights / activations, 1, streams);
    }
};

struct Engine {  // may be called by several threads: each call has a workspace, so there are as many as calls at once
    const Plan plan;
    pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
    std::vector<Workspace*> idle;  // the one used last at the end, whose memory is still in the cache

    explicit Engine(const Plan& plan) : plan(plan) {}
    ~Engine() {
        for (Workspace* work : idle) delete work;
    }
    Workspace* take() {
        pthread_mutex_lock(&turn);
        Workspace* work = nullptr;
        if (!idle.empty()) work = idle.back(), idle.pop_back();
        pthread_mutex_unlock(&turn);
        return work ? work : new Workspace(plan);
    }
    void give_back(Workspace* work) {
        pthread_mutex_lock(&turn);
        idle.push_back(work);
        pthread_mutex_unlock(&turn);
    }
    // [layers][main, side][reached, possible, scattered, frames, nanoseconds (both, under main)] since the last look; what
    // a call counts that still runs is found by the next one.
    void look(int64_t* out) {
        memset(out, 0, 2 * plan.layers.size() * 5 * 8);
        pthread_mutex_lock(&turn);
        for (Workspace* work : idle)
            for (size_t i = 0; i < work->statistics.size(); ++i) {
                Statistics& s = work->statistics[i];
                const int64_t fields[5] = {s.reached, s.possible, s.scattered, s.frames, s.nanoseconds};
                for (int field = 0; field < 5; ++field) out[5 * i + field] += fields[field];
                s = Statistics{};
            }
        pthread_mutex_unlock(&turn);
    }
};

struct Group : Run {  // neighbouring streams of a run
    int64_t all, first;  // streams of the run: so many lie in a step of x and of all that is given; the group's first
    int64_t stream(int64_t f) const { return first + f / steps; }
    // The row of a frame in what is given [T, N, ...].
    int64_t place(int64_t f) const { return f % steps * all + stream(f); }
};

// Whether another thread's help with so many nanoseconds of work is worth a hand-over.
bool pays(int64_t work, const Run& run) { return run.threads > 1 && work >= 2 * run.hand_over; }

void take_input(Workspace& work, const Group& run) {
    Buffer& b = work.buffers[0];
    const int64_t pixels = b.height * b.width;
    for (int64_t n = 0; n < run.streams; ++n)
        for (int64_t t = 0; t < (run.frozen ? 1 : run.steps); ++t) {
            const int64_t from = (t * run.all + run.first + n) * b.channels * pixels;
            char* to = work.frame(0, n * run.steps + t);
            const auto take = [&](auto* into, const auto* x) {
                for (int64_t c = 0; c < b.channels; ++c)
                    for (int64_t p = 0; p < pixels; ++p) into[p * b.channels + c] = x[from + c * pixels + p];
            };
            if (run.x_is_float) take(reinterpret_cast<float*>(to), static_cast<const float*>(run.x));
            else take(reinterpret_cast<uint8_t*>(to), static_cast<const uint8_t*>(run.x));
        }
}

}  // namespace
