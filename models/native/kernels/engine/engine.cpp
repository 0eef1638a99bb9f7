// Event-driven inference of spiking networks: one call runs T steps of N streams through a list of layers.
//
// A layer fills a band of output rows with sums (a convolution, or a pooling), adds its shortcut, and lets its neurons
// take the sum as their current. Activations are bytes [H][W][C] (spikes, or sums of spikes), currents are floats of the
// same layout; C is padded to a multiple of 16 with channels that stay silent.
//
// A convolution has two kernels. `scatter` visits the non-zero inputs alone and adds their weight rows to the outputs
// they reach; `dense` multiplies everything. Both add the terms of an output in the order (kernel row, kernel column,
// channel), and adding a zero term changes nothing, so they give the same bits: which one runs is a matter of speed
// alone, chosen for each frame from its count of events. Streams never meet in a sum, so a stream's results do not
// depend on its company.
#include "dense.h"
#include "neurons.h"
#include "plan.h"
#include "readout.h"
#include "shortcuts.h"

namespace {

void prepare(Workspace& work, const Run& run, const Convolution& conv, const Convolution* sharing, int64_t f, char* memory, Input& out) {
    const Buffer& b = work.buffers[conv.buffer];
    const char* frame = work.frame(conv.buffer, f);
    out.reached = typed(b, frame, [&](const auto* data) { return reached(data, b, conv.reach); });
    out.possible = 0;
    for (int64_t p = 0; p < b.height * b.width; ++p) out.possible += conv.reach[p];
    out.possible *= b.channels;
    out.beside = sharing ? typed(b, frame, [&](const auto* data) { return reached(data, b, sharing->reach); }) : 0;
    out.events = run.force ? run.force == 1 : double(out.reached) < conv.density * double(out.possible);
    out.events = out.events && can_scatter(conv) && (!sharing || can_scatter(*sharing));
    const bool half = HAS_PAIRS && conv.by_pair && (!sharing || sharing->by_pair);
    typed(b, frame, [&](const auto* data) {
        if (out.events) list_frame(data, b, memory, out);
        else pad_frame(data, b, conv.pad, half, memory, out);
    });
}

// The sums of a pool's rows, from those of its convolution's rows that they see.
void fill_fused(Workspace& work, const Layer& conv, const Layer& layer, int64_t group_frame, int64_t number, const Band& band, Memory& scratch) {
    const int64_t chunk = layer.chunk, pad = layer.pool == 3 ? 0 : 1, row = conv.width * chunk;
    const int64_t first = std::max<int64_t>(0, 2 * band.first - pad), last = std::min(conv.height, 2 * band.last);
    auto* sums = reinterpret_cast<float*>(scratch.get((last - first) * row * 4));
    begin_sums(conv.bias + number * chunk, chunk, (last - first) * conv.width, sums);
    convolve(work.mains[group_frame], work.buffers[conv.main.buffer], conv.main, number, chunk, Band{first, last, conv.width, sums});
    const Buffer rows{1, conv.height, conv.width, chunk, 0};
    pool(sums - first * row, rows, layer.pool, 0, chunk, band);
}

void fill(Workspace& work, const Layer& layer, int64_t f, int64_t group_frame, int64_t number, const Band& band) {
    const int64_t pixels = (band.last - band.first) * band.width, first = number * layer.chunk;
    if (layer.pool) {
        const Buffer& b = work.buffers[layer.main.buffer];
        return typed(b, work.frame(layer.main.buffer, f), [&](const auto* data) { pool(data, b, layer.pool, first, layer.chunk, band); });
    }
    begin_sums(layer.bias + first, layer.chunk, pixels, band.sums);
    convolve(work.mains[group_frame], work.buffers[layer.main.buffer], layer.main, number, layer.chunk, band);
    if (layer.side.buffer >= 0) {
        const bool shared = layer.side.buffer == layer.main.buffer;
        const Input& in = shared ? work.mains[group_frame] : work.sides[group_frame];
        convolve(in, work.buffers[layer.side.buffer], layer.side, number, layer.chunk, band);
    }
}

// Shortcut, neurons and outputs of rows whose sums are there.
void finish_rows(Workspace& work, const Group& run, const Layer& layer, int64_t f, int64_t first, const Band& band) {
    const int64_t pixels = (band.last - band.first) * layer.width, at = band.first * layer.width * layer.channels;
    if (layer.before.buffer >= 0) add_before(work, layer, f, first, band);
    if (layer.current >= 0) {
        auto* current = reinterpret_cast<float*>(work.frame(layer.current, f)) + at + first;
        const int64_t chunk = layer.chunk, channels = layer.channels;  // copies: a store might change what is in memory
        for (int64_t p = 0; p < pixels; ++p)
            for (int64_t c = 0; c < chunk; c += LANES) store(current + p * channels + c, load(band.sums + p * chunk + c));
    }
    if (layer.neuron) {
        const int64_t place = run.stream(f) * run.state_size + layer.state + at;
        float* after = run.state_after + place;
        const bool begins = f % run.steps == 0;
        const float* before = begins && run.state_before ? run.state_before + place : after;
        if (begins && !run.state_before) rest(layer, after, pixels, first);
        auto* out = reinterpret_cast<uint8_t*>(work.frame(layer.spikes, f)) + at;
        const int64_t fired = firing(layer)(layer, band.sums, before, after, out, pixels, first);
        __atomic_fetch_add(run.layer_spikes + run.place(f) * run.spike_layers + layer.neuron - 1, fired, __ATOMIC_RELAXED);  // other rows' threads
    } else if (layer.spikes >= 0) {  // a pool of spikes
        auto* out = reinterpret_cast<uint8_t*>(work.frame(layer.spikes, f)) + at + first;
        const int64_t chunk = layer.chunk, channels = layer.channels;
        for (int64_t p = 0; p < pixels; ++p)
            for (int64_t c = 0; c < chunk; c += LANES)
                store_bytes(out + p * channels + c, __builtin_convertvector(load(band.sums + p * chunk + c), Ints));
    }
}

// A few rows at a time, so that what is done with a sum finds it in the nearest cache.
void finish_band(Workspace& work, const Group& run, const Layer& layer, int64_t f, int64_t first, const Band& band) {
    const int64_t row = band.width * layer.chunk, rows = std::max<int64_t>(1, 2048 / row);
    for (int64_t y = band.first; y < band.last; y += rows)
        finish_rows(work, run, layer, f, first, Band{y, std::min(band.last, y + rows), band.width, band.sums + (y - band.first) * row});
}

// Rows of a layer's output that are summed together: as many as stay in the cache, and so few that every thread has some.
int64_t rows_together(const Layer& layer, int64_t others, int64_t threads) {
    const int64_t near = std::max<int64_t>(16384 / (layer.width * layer.chunk), 4);
    const int64_t bands = std::max(ceil_div(layer.height, near), threads == 1 ? 1 : ceil_div(4 * threads, others));
    return std::max(ceil_div(layer.height, bands), std::min<int64_t>(layer.height, 4));
}

void run_layer(Workspace& work, const Group& run, size_t number, Crew& crew) {
    const Layer& layer = work.layers[number];
    const bool fused = layer.fused, convolves = !layer.pool || fused;
    const Layer& source = fused ? work.layers[number - 1] : layer;  // whose inputs are taken
    Statistics* statistics = &work.statistics[2 * (fused ? number - 1 : number)];  // of main and side
    const int64_t steps = run.steps, frames = steps * run.streams, chunks = layer.channels / layer.chunk;
    const bool same = work.frozen[source.main.buffer] && layer.side.buffer < 0 && layer.before.buffer < 0;  // sums of all steps
    const bool side = layer.side.buffer >= 0 && layer.side.buffer != layer.main.buffer;
    const Convolution* sharing = layer.side.buffer == layer.main.buffer ? &layer.side : nullptr;
    const size_t main_bytes = convolves ? input_bytes(work.buffers[source.main.buffer], source.main.pad) : 0;
    const size_t side_bytes = side ? input_bytes(work.buffers[layer.side.buffer], layer.side.pad) : 0;
    const int64_t group = std::clamp<int64_t>((32 << 20) / (main_bytes + side_bytes + 1), 1, frames);
    const int64_t inputs = convolves + side;
    char* main_memory = work.main.get(group * main_bytes + 64);
    char* side_memory = work.side.get(group * side_bytes + 64);
    work.mains.resize(group), work.sides.resize(group);
    for (int64_t begin = 0; begin < frames; begin += group) {
        const int64_t end = std::min(frames, begin + group);
        const auto repeats = [&](int64_t f) { return f > begin && f % steps && work.frozen[source.main.buffer]; };
        crew.share(inputs * (end - begin), [&](int64_t, int64_t job) {
            const int64_t f = begin + job / inputs, place = f - begin;
            if (repeats(f)) return;
            if (job % inputs == 0) prepare(work, run, source.main, sharing, f, main_memory + place * main_bytes, work.mains[place]);
            else prepare(work, run, layer.side, nullptr, f, side_memory + place * side_bytes, work.sides[place]);
        });
        for (int64_t f = begin; f < end && convolves; ++f) {
            Input& in = work.mains[f - begin];
            if (repeats(f)) in = work.mains[f - begin - 1];
            else statistics[0].add(in);
            if (side) statistics[1].add(work.sides[f - begin]);
            const int64_t beside = side ? work.sides[f - begin].reached : in.beside;
            run.synops[run.place(f)] += in.reached * source.main.fan_out + beside * layer.side.fan_out;
        }
        const int64_t first = begin / steps, streams = (end - 1) / steps - first + 1;  // that have frames in the group
        const int64_t rows = rows_together(layer, chunks * streams, crew.threads), bands = ceil_div(layer.height, rows);
        crew.share(chunks * streams * bands, [&](int64_t thread, int64_t job) {
            const int64_t chunk = job / (streams * bands), n = first + job / bands % streams, y = job % bands * rows;
            Desk& desk = work.desks[thread];
            const Band band{y, std::min(layer.height, y + rows), layer.width, reinterpret_cast<float*>(desk.band.get(rows * layer.width * layer.chunk * 4))};
            const int64_t f = std::max(begin, n * steps), next = std::min(end, (n + 1) * steps);
            for (int64_t g = f; g < next; ++g) {
                if (g > f && same) {
                } else if (fused) fill_fused(work, source, layer, g - begin, chunk, band, desk.scratch);
                else fill(work, layer, g, g - begin, chunk, band);
                finish_band(work, run, layer, g, chunk * layer.chunk, band);
            }
        });
    }
    if (layer.rate_channels || layer.after.buffer >= 0 || (run.probed && layer.neuron))
        crew.share(frames, [&](int64_t, int64_t f) {
            const auto* spikes = layer.neuron ? reinterpret_cast<const uint8_t*>(work.frame(layer.spikes, f)) : nullptr;
            if (spikes && run.probed && run.probed[run.stream(f)]) note_fired(layer, spikes, run.fired + run.place(f) * run.fired_size + layer.fired);
            if (layer.rate_channels) note_rates(layer, spikes, run.rates + run.place(f) * run.rates_size + layer.rate_first);
            if (layer.after.buffer >= 0) add_after(work, layer, f);
        });
}

void read_out(Workspace& work, const Group& run, Crew& crew) {
    const Readout& r = work.readout;
    const Buffer& b = work.buffers[r.buffer];
    crew.share(run.steps * run.streams, [&](int64_t thread, int64_t f) {
        float* logits = run.logits + run.place(f) * r.outputs;
        const bool one = r.outputs == r.classes;
        const int64_t sums = !one ? b.height * b.width * r.padded : b.channels;
        char* memory = work.desks[thread].scratch.get((sums + r.padded) * 4);
        auto* out = reinterpret_cast<float*>(memory) + sums;
        const int64_t active = typed(b, work.frame(r.buffer, f), [&](const auto* spikes) {
            if (!one) return read_places(r, b, spikes, reinterpret_cast<float*>(memory), logits);
            return read_frame(r, b, spikes, reinterpret_cast<int32_t*>(memory), out);
        });
        run.synops[run.place(f)] += active * r.classes;
        if (one) memcpy(logits, out, r.classes * 4);
    });
}

void run_group(Workspace& work, const Group& run, Crew& crew) {
    Crew alone(1);
    bool helped = false;
    take_input(work, run);
    for (size_t i = 0; i < work.layers.size(); ++i) {
        if (i + 1 < work.layers.size() && work.layers[i + 1].fused) continue;
        const int64_t frames = run.steps * run.streams, begin = nanoseconds(), before = crew.spent();
        helped = pays(work.cost[i] * frames, run);
        run_layer(work, run, i, helped ? crew : alone);
        const int64_t took = nanoseconds() - begin + crew.spent() - before;
        work.statistics[2 * (work.layers[i].fused ? i - 1 : i)].nanoseconds += took;
        int64_t& cost = work.cost[i];
        cost = cost ? std::min(took / frames, 2 * cost) : took / frames;  // a call that was interrupted tells little
    }
    read_out(work, run, helped ? crew : alone);  // as the last layer: others are awake, or not
}

// Neighbouring streams of a run; whether there was memory for them.
bool run_streams(Workspace& work, const Run& run, int64_t first, int64_t last, Crew& crew) {
    if (first == last) return true;
    work.buffers[0].is_float = run.x_is_float;
    work.steps = run.steps;
    work.frozen.assign(work.buffers.size(), false);
    work.frozen[0] = run.frozen;
    const Layer& stem = work.layers[0];
    if (stem.current >= 0 && !stem.neuron) work.frozen[stem.current] = run.frozen;
    if (int64_t(work.desks.size()) < crew.threads) work.desks.resize(crew.threads);
    const int64_t company = work.company(last - first);
    if (!work.reserve(run.steps * company)) return false;
    for (; first < last; first += company) {
        Group group{run, run.streams, first};
        group.streams = std::min(company, last - first);
        run_group(work, group, crew);
    }
    return true;
}

// Threads have streams of their own where there are enough, else they share every layer of the streams that are left.
bool run_all(Engine& of, Workspace& work, const Run& run) {
    const int64_t rows = run.steps * run.streams;
    memset(run.layer_spikes, 0, rows * run.spike_layers * 8);
    memset(run.synops, 0, rows * 8);
    int64_t frame = 0, longest = 0;
    for (const int64_t cost : work.cost) frame += cost, longest = std::max(longest, cost);
    Crew crew(pays(frame * run.steps * run.streams, run) ? run.threads : 1, run.hand_over), alone(1);
    const int64_t left = pays(longest * run.steps, run) ? run.streams % crew.threads : 0;
    const int64_t apart = crew.threads == 1 ? 0 : run.streams - left, company = std::max<int64_t>(1, ceil_div(apart, 2 * crew.threads));
    std::atomic<bool> whole{true};
    crew.share(ceil_div(apart, company), [&](int64_t thread, int64_t job) {
        Workspace* mine = thread ? of.take() : &work;
        if (!run_streams(*mine, run, job * company, std::min(apart, (job + 1) * company), alone)) whole = false;
        if (thread) of.give_back(mine);
    });
    return whole && run_streams(work, run, apart, run.streams, crew);
}

}  // namespace

extern "C" {

void* engine_plan(const Buffer* buffers, int64_t n_buffers, const Layer* layers, int64_t n_layers, const Readout* readout) {
    Plan plan;
    plan.buffers.assign(buffers, buffers + n_buffers);
    plan.layers.assign(layers, layers + n_layers);
    plan.readout = *readout;
    for (int64_t i = 0; i < n_layers; ++i)
        for (const Convolution* conv : {&layers[i].main, &layers[i].side})
            if (conv->buffer >= 0 && !layers[i].pool)
                plan.weights += layers[i].channels * conv->kernel * conv->kernel * buffers[conv->buffer].channels * 4;
    return new Engine(plan);
}

// When no call runs any more.
void engine_free(void* engine) { delete static_cast<Engine*>(engine); }

// 0 if all went well, 1 if memory ran out. The counts are set, not added to. From any thread.
int64_t engine_run(void* engine, const Run* run) {
    auto& of = *static_cast<Engine*>(engine);
    Workspace* work = of.take();
    const bool whole = run_all(of, *work, *run);
    of.give_back(work);
    return !whole;
}

// As `Engine::look` has it.
void engine_statistics(void* engine, int64_t* out) { static_cast<Engine*>(engine)->look(out); }

// Whether the library multiplies by a matrix unit, and the system lets it.
int64_t engine_has_matrix_unit() { return has_matrix_unit(); }
}
