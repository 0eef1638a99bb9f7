// Vectors of the widest kind the compiler was told about: 16 floats with AVX-512, 8 with AVX2, else 4 (SSE2, NEON, WebAssembly).
// Built with -ffp-contract=off, so a multiply-add is fused only where `fma_` says so: sums come out the same in every
// kernel that adds the same numbers in the same order.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>
#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
constexpr int LANES = 16;
constexpr int SCATTER_SUMS = 18;  // accumulators a scatter may hold in registers
constexpr int TILE = 12;          // output pixels of a dense tile, two vectors each
#elif defined(__AVX2__)
constexpr int LANES = 8;
constexpr int SCATTER_SUMS = 12;
constexpr int TILE = 6;
#else
constexpr int LANES = 4;
constexpr int SCATTER_SUMS = 12;
constexpr int TILE = 6;
#endif

// f, called with each flag as a constant, so that a kernel is compiled for every combination.
template <typename F>
auto constants(const F& f) { return f(); }
template <typename F, typename... More>
auto constants(const F& f, bool flag, More... more) {
    const auto rest = [&](auto own) { return constants([&](auto... others) { return f(own, others...); }, more...); };
    return flag ? rest(std::true_type()) : rest(std::false_type());
}

typedef float Floats __attribute__((vector_size(LANES * 4)));
typedef int32_t Ints __attribute__((vector_size(LANES * 4)));
typedef uint8_t Bytes __attribute__((vector_size(LANES)));
typedef uint8_t Bytes16 __attribute__((vector_size(16)));

static inline Floats load(const float* p) {
    Floats v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void store(float* p, Floats v) { memcpy(p, &v, sizeof v); }
static inline Floats all(float x) {  // one instruction: x + 0 would be an addition more, for the sake of -0
#if defined(__AVX512F__)
    return (Floats)_mm512_set1_ps(x);
#elif defined(__AVX2__)
    return (Floats)_mm256_set1_ps(x);
#else
    return Floats{} + x;
#endif
}

#if defined(__wasm__)
typedef double Doubles __attribute__((vector_size(LANES * 8)));
typedef int64_t Longs __attribute__((vector_size(LANES * 8)));
static inline Doubles doubles(Floats v) { return __builtin_convertvector(v, Doubles); }
// A sum of doubles as floats, as if it were rounded once: to an odd last bit where something was lost, and then to floats
// (Boldo and Melquiond 2008).
static __attribute__((noinline)) Floats rounded_once(Doubles a, Doubles b, Doubles sum) {
    const Doubles part = sum - a, lost = (a - (sum - part)) + (b - part);
    Longs bits = (Longs)sum;
    const Longs even = ((lost > 0) | (lost < 0)) & -(~bits & 1);
    bits += even & (((bits ^ (Longs)lost) >> 63) | 1);  // away from zero where sum and loss have one sign
    return __builtin_convertvector((Doubles)bits, Floats);
}
#endif

static inline Floats fma_(Floats a, Floats b, Floats c) {  // rounded once, but by processors without such an instruction
#if defined(__AVX512F__)
    return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
    return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
    return (Floats)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#elif defined(__wasm__)
    // In doubles the product is exact, and rounding the sum again, to floats, is as if it were done once, unless it lies
    // halfway between two floats, or among the smallest, which have fewer bits.
    constexpr int64_t BEHIND = (1 << 29) - 1, HALFWAY = 1 << 28, NORMAL = 0x381LL << 52;  // bits of a double
    const Doubles product = doubles(a) * doubles(b), other = doubles(c), sum = product + other;
    const Longs bits = (Longs)sum;
    if (__builtin_reduce_or(((bits & BEHIND) == HALFWAY) | ((bits & INT64_MAX) < NORMAL))) return rounded_once(product, other, sum);
    return __builtin_convertvector(sum, Floats);
#else
    return a * b + c;
#endif
}

#if defined(__AVX512BF16__)
constexpr bool HAS_PAIRS = true;
static inline Ints load(const uint32_t* p) {
    Ints v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline Ints all(uint32_t x) { return (Ints)_mm512_set1_epi32(int32_t(x)); }
static inline Floats fma_(Ints a, Ints b, Floats c) {  // pairs of bfloat16: c + a0 b0 + a1 b1
    return (Floats)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b);
}
#else
constexpr bool HAS_PAIRS = false;
#endif

// Small counts as floats. Compilers widen vectors of bytes one by one, so the instruction is named where there is one.
static inline Floats load_bytes(const uint8_t* p) {
#if defined(__AVX512F__)
    return (Floats)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif defined(__AVX2__)
    return (Floats)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#else
    Bytes b;
    memcpy(&b, p, sizeof b);
    return __builtin_convertvector(__builtin_convertvector(b, Ints), Floats);
#endif
}
static inline void store_bytes(uint8_t* p, Ints v) {
    Bytes b = __builtin_convertvector(v, Bytes);
    memcpy(p, &b, sizeof b);
}
static inline Floats masked(Ints mask, Floats v) { return (Floats)(mask & (Ints)v); }  // v where the mask is set, else 0
static inline Floats magnitude(Floats v) { return (Floats)((Ints)v & 0x7fffffff); }

// One step of leaky integrate-and-fire neurons with input x: V to what it is after it, U before a reset at once, and who fired,
// above `limit`. theta: what a reset subtracts.
template <bool DELAY, bool ZERO, bool INCLUSIVE>
inline void advance(Floats x, Floats& v, Floats& u, Ints& spike, Floats beta, Floats theta, Floats limit, Floats gain) {
    const Ints fired = !DELAY ? Ints{} : INCLUSIVE ? v >= limit : v > limit;
    u = ZERO ? masked(~fired, beta * v) + x * gain : beta * v + x * gain - masked(fired, theta);
    spike = INCLUSIVE ? u >= limit : u > limit;
    v = DELAY ? u : ZERO ? masked(~spike, u) : u - masked(spike, theta);
}

static inline float total(Floats v) {
    float sum = 0;
    for (int i = 0; i < LANES; ++i) sum += v[i];
    return sum;
}
static inline int64_t total(Ints v) {
    int64_t sum = 0;
    for (int i = 0; i < LANES; ++i) sum += v[i];
    return sum;
}
