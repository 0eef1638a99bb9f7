// Dense convolutions of spikes on the matrix unit (AMX), which multiplies bfloat16 and sums in float. Spikes are small
// whole numbers, exact in bfloat16; a float weight is the exact sum of three bfloat16 numbers. So three products have a
// float's precision: only the order of summation differs from the other kernels'.
#pragma once
#include "scatter.h"

#if defined(__AMX_BF16__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

constexpr int64_t MATRIX_INPUTS = 32, MATRIX_OUTPUTS = 32, MATRIX_PIXELS = 32;  // of a block: two tiles by two

#if defined(__AMX_BF16__)
// Whether the system lets this process use the tiles; asked once.
bool has_matrix_unit() {
    constexpr long REQUEST = 0x1023, TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    static const bool granted = syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
    return granted;
}

void configure_tiles() {
    alignas(64) struct {
        uint8_t palette = 1, start = 0, reserved[14] = {};
        uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};  // a row's
        uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } shape;
    _tile_loadconfig(&shape);
}

// 32 (TWO) or 16 pixels, `step` numbers apart, by 32 outputs to `block` [32][32]. Tiles 0 to 3: sums, 4 and 5: pixels,
// 6 and 7: weights.
template <int PARTS, bool TWO>
void matrix_block(const uint16_t* in, int64_t row, int64_t step, int64_t kernel, int64_t channels, const uint32_t* weight, int64_t part,
                  float* block) {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (TWO) {
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t dy = 0; dy < kernel; ++dy)
        for (int64_t dx = 0; dx < kernel; ++dx) {
            const uint16_t* at = in + dy * row + dx * channels;
            for (int64_t c = 0; c < channels; c += MATRIX_INPUTS, weight += MATRIX_INPUTS / 2 * MATRIX_OUTPUTS) {
                _tile_loadd(4, at + c, step * 2);
                if constexpr (TWO) _tile_loadd(5, at + c + 16 * step, step * 2);
#pragma GCC unroll 3
                for (int i = 0; i < PARTS; ++i) {
                    _tile_loadd(6, weight + i * part, MATRIX_OUTPUTS * 4);
                    _tile_dpbf16ps(0, 4, 6);
                    if constexpr (TWO) _tile_dpbf16ps(2, 5, 6);
                    _tile_loadd(7, weight + i * part + 16, MATRIX_OUTPUTS * 4);
                    _tile_dpbf16ps(1, 4, 7);
                    if constexpr (TWO) _tile_dpbf16ps(3, 5, 7);
                }
            }
        }
    constexpr int64_t ROW = MATRIX_OUTPUTS * 4;
    _tile_stored(0, block, ROW);
    _tile_stored(1, block + 16, ROW);
    if constexpr (TWO) {
        _tile_stored(2, block + 16 * MATRIX_OUTPUTS, ROW);
        _tile_stored(3, block + 16 * MATRIX_OUTPUTS + 16, ROW);
    }
}

// `part`: pairs between a part of the weights and the next. With stride 1 the pixels of all rows lie evenly, those of the
// border among them, so a block goes on from row to row and drops what falls on the border.
template <int PARTS>
void matrix(const uint16_t* padded, int64_t pad, const Buffer& b, const Convolution& conv, const uint32_t* weight, int64_t part,
            const Band& band) {
    const int64_t channels = b.channels, row = (b.width + 2 * pad) * channels, step = conv.stride * channels, rows = band.last - band.first;
    const uint16_t* origin = padded + (pad - conv.pad) * (row + channels) + band.first * conv.stride * row;
    const bool even = conv.stride == 1;
    const int64_t wide = even ? b.width + 2 * pad : band.width, runs = even ? 1 : rows;
    const int64_t pixels = even ? (rows - 1) * wide + band.width : band.width;
    alignas(64) float block[MATRIX_PIXELS * MATRIX_OUTPUTS];
    configure_tiles();
    for (int64_t run = 0; run < runs; ++run)
        for (int64_t first = 0; first < pixels; first += MATRIX_PIXELS) {
            const uint16_t* in = origin + run * conv.stride * row + first * step;
            const int64_t count = std::min(MATRIX_PIXELS, pixels - first);
            if (count > 16) matrix_block<PARTS, true>(in, row, step, conv.kernel, channels, weight, part, block);
            else matrix_block<PARTS, false>(in, row, step, conv.kernel, channels, weight, part, block);
            int64_t y = run + first / wide, x = first % wide;
            for (int64_t i = 0; i < count; ++i) {
                if (x < band.width) {
                    float* out = band.sums + (y * band.width + x) * MATRIX_OUTPUTS;
                    for (int64_t c = 0; c < MATRIX_OUTPUTS; c += LANES) store(out + c, load(out + c) + load(block + i * MATRIX_OUTPUTS + c));
                }
                if (++x == wide) x = 0, ++y;
            }
        }
    _tile_release();
}
#else
bool has_matrix_unit() { return false; }
#endif

}  // namespace
