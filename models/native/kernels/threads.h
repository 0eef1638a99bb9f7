// Work shared out among threads: POSIX threads, for a library that carries no C++ runtime of its own.
#pragma once
#include <pthread.h>

#include <cstdint>
#include <vector>

namespace {

// work(number, first, last) for equal shares of [0, jobs), the first of them here; returns when all are done. A thread
// that the system does not give is done without.
template <typename Work>
void share(int64_t jobs, int64_t threads, const Work& work) {
    struct Share {
        const Work* work;
        int64_t number, first, last;
        pthread_t thread;
        bool started;
    };
    const auto run = [](void* of) -> void* {
        auto* share = static_cast<Share*>(of);
        (*share->work)(share->number, share->first, share->last);
        return nullptr;
    };
    std::vector<Share> shares(threads);
    for (int64_t i = threads; i-- > 0;) {
        Share& s = shares[i] = {&work, i, i * jobs / threads, (i + 1) * jobs / threads, {}, false};
        s.started = i > 0 && pthread_create(&s.thread, nullptr, run, &s) == 0;
        if (!s.started) run(&s);
    }
    for (Share& s : shares)
        if (s.started) pthread_join(s.thread, nullptr);
}

}  // namespace
