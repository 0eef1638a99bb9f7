// Work shared out among threads that are kept: POSIX threads, for a library that carries no C++ runtime of its own.
//
// A process has one set of workers, which grows to what is asked for. Nobody works there but for a call that holds it
// (`Crew`): meanwhile another call works alone, and so does what a call shares out while it shares something out. A
// round of jobs waits for no worker: whoever comes takes the next job, and one that wakes up late finds none left. So on
// a busy machine a call costs what it costs alone, and a waking.
//
// Between the rounds of a call workers look out for the next one for as long as falling asleep and being woken takes;
// then, and after the call, they sleep. In a process that was forked there are none: its first call makes its own.
#pragma once
#if defined(__wasm__)  // a page has one thread, and no use for a clock
#include <cstdint>
#include <ctime>

namespace spikesight {

inline int64_t nanoseconds() { return 0; }

struct Crew {
    static constexpr int64_t threads = 1;
    explicit Crew(int64_t, int64_t = 0) {}
    template <typename Work>
    void share(int64_t jobs, const Work& work) const {
        for (int64_t i = 0; i < jobs; ++i) work(0, i);
    }
    int64_t spent() const { return 0; }
};

}  // namespace spikesight
#else
#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <ctime>

namespace spikesight __attribute__((visibility("hidden"))) {

inline int64_t nanoseconds() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

// Whether it comes true within so many nanoseconds.
template <typename Condition>
bool soon(int64_t within, const Condition& condition) {
    for (const int64_t end = nanoseconds() + within; !condition();)
        if (nanoseconds() >= end) return false;
    return true;
}

struct Workers {
    const pid_t process = getpid();
    std::atomic<bool> held{false};  // by a call, which alone begins rounds and adds workers
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t begun = PTHREAD_COND_INITIALIZER, left = PTHREAD_COND_INITIALIZER;
    int64_t count = 0, numbered = 0;  // threads begun, and those that have their number
    // Written under the lock; the atomic ones are looked at without it by who waits a little before he sleeps.
    bool open = false;               // a round that may be entered
    std::atomic<int64_t> round{0};   // its number
    std::atomic<int64_t> inside{0};  // workers in it
    // Of a round: written under the lock while nobody is inside, read by those who entered under the lock.
    void (*job)(const void* work, int64_t worker, int64_t job) = nullptr;
    const void* work = nullptr;
    int64_t jobs = 0, limit = 0, patience = 0;  // limit: workers of a lower number may enter
    fenv_t arithmetic;                          // the caller's: rounding, and what becomes of the smallest numbers
    std::atomic<int64_t> next{0}, spent{0};     // spent: nanoseconds of all workers in all rounds

    void take_jobs(int64_t worker) {
        for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < jobs;) job(work, worker, i);
    }

    void live() {
        pthread_mutex_lock(&lock);
        const int64_t worker = ++numbered;
        int64_t seen = 0;
        for (;;) {
            while (!open || round.load() == seen || worker >= limit) pthread_cond_wait(&begun, &lock);
            seen = round.load();
            ++inside;
            const int64_t wait = patience;
            pthread_mutex_unlock(&lock);
            const int64_t begin = nanoseconds();
            fesetenv(&arithmetic);
            take_jobs(worker);
            spent += nanoseconds() - begin;
            pthread_mutex_lock(&lock);
            if (--inside == 0) pthread_cond_signal(&left);
            pthread_mutex_unlock(&lock);
            soon(wait, [&] { return round.load() != seen || !held.load(); });
            pthread_mutex_lock(&lock);
        }
    }

    // Have so many workers and the caller, as far as the system gives them. The caller holds these workers.
    int64_t grow(int64_t threads) {
        if (count + 1 >= threads) return threads;
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the program's own threads
        const auto run = [](void* of) -> void* {
            static_cast<Workers*>(of)->live();
            return nullptr;
        };
        for (pthread_t thread; count + 1 < threads && pthread_create(&thread, nullptr, run, this) == 0; ++count) pthread_detach(thread);
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
        return std::min(threads, count + 1);
    }
};

inline std::atomic<Workers*> the_workers{nullptr};  // never freed: they sleep until the process ends

// This process's. Those that a parent had before a fork are left as they were then, a lock perhaps held for ever.
inline Workers* own_workers() {
    for (Workers* found = the_workers.load();;) {
        if (found && found->process == getpid()) return found;
        auto* made = new Workers;
        if (the_workers.compare_exchange_strong(found, made)) return made;
        delete made;
    }
}

// A call's hold on the workers, if it wants any and they are free.
class Crew {
    Workers* workers = nullptr;

   public:
    int64_t threads = 1;  // that share the work, the caller's among them

    // patience: nanoseconds that a thread is awake for nothing, before it sleeps.
    explicit Crew(int64_t wanted, int64_t patience = 0) {
        if (wanted < 2) return;
        Workers* found = own_workers();
        if (found->held.exchange(true)) return;
        workers = found;
        threads = workers->grow(wanted);
        workers->patience = patience;
    }
    Crew(const Crew&) = delete;
    ~Crew() {
        if (workers) workers->held.store(false);
    }

    // work(thread, job) for all jobs, in any order, by this thread (0) and others; returns when all are done.
    template <typename Work>
    void share(int64_t jobs, const Work& work) {
        if (!workers || threads < 2 || jobs < 2) {
            for (int64_t i = 0; i < jobs; ++i) work(0, i);
            return;
        }
        Workers& w = *workers;
        pthread_mutex_lock(&w.lock);
        w.job = [](const void* of, int64_t thread, int64_t job) { (*static_cast<const Work*>(of))(thread, job); };
        w.work = &work, w.jobs = jobs, w.limit = threads;
        fegetenv(&w.arithmetic);
        w.next.store(0);
        w.open = true;
        ++w.round;
        pthread_cond_broadcast(&w.begun);
        pthread_mutex_unlock(&w.lock);
        w.take_jobs(0);
        pthread_mutex_lock(&w.lock);
        w.open = false;  // from here on `inside` only falls
        pthread_mutex_unlock(&w.lock);
        const auto alone = [&] { return w.inside.load() == 0; };
        if (soon(w.patience, alone)) return;
        pthread_mutex_lock(&w.lock);
        while (!alone()) pthread_cond_wait(&w.left, &w.lock);
        pthread_mutex_unlock(&w.lock);
    }

    // Nanoseconds that other threads have spent on the jobs of this call and of those before.
    int64_t spent() const { return workers ? workers->spent.load() : 0; }
};

// work(number, first, last) for `shares` equal parts of [0, jobs), on as many threads; returns when all are done.
template <typename Work>
void share(int64_t jobs, int64_t shares, const Work& work) {
    Crew(shares).share(shares, [&](int64_t, int64_t i) { work(i, i * jobs / shares, (i + 1) * jobs / shares); });
}

}  // namespace spikesight
#endif
