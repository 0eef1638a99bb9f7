/* What the words of cameras and of files mean, each handed over as the events in it. Written once, for Python and the C
 * export. C99 that is C++ too.
 */
#ifndef SPIKESIGHT_WORDS_H
#define SPIKESIGHT_WORDS_H
#include <stdbool.h>
#include <stdint.h>

typedef struct {   /* zeros at first, but the time base */
    int64_t high;  /* time base, wraps of the clock counted; -1: none seen yet */
    int64_t ahead; /* what N-MNIST's clock has gone on */
    uint32_t low, row, column;
    uint8_t polarity, has_row;
} SpikesightWords;

typedef void (*SpikesightPut)(void *yours, int64_t t, uint32_t x, uint32_t y, bool on);

static inline uint32_t spikesight_word(const uint8_t *b) {
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

/* The time base with the clock's wraps counted: a step back of more than half its range is one. */
static inline int64_t spikesight_next_high(int64_t high, int64_t fresh, int bits) {
    const int64_t period = (int64_t)1 << bits;
    if (high < 0) return fresh;
    fresh += high / period * period;
    return fresh < high - period / 2 ? fresh + period : fresh;
}

/* The place of the lowest bit that is set, of some: how many there are below it. */
static inline uint32_t spikesight_lowest(uint32_t bits) {
    uint32_t below = (bits & (~bits + 1u)) - 1u;
    below -= below >> 1 & 0x55555555u;
    below = (below & 0x33333333u) + (below >> 2 & 0x33333333u);
    return ((below + (below >> 4)) & 0x0F0F0F0Fu) * 0x01010101u >> 24;
}

static inline void spikesight_evt2_word(SpikesightWords *w, const uint8_t *b, SpikesightPut put, void *yours) {
    const uint32_t word = spikesight_word(b), kind = word >> 28;
    if (kind == 8) w->high = spikesight_next_high(w->high, (int64_t)(word & 0x0FFFFFFF) << 6, 34);
    else if (kind <= 1 && w->high >= 0) put(yours, w->high | (word >> 22 & 0x3F), word >> 11 & 0x7FF, word & 0x7FF, kind);
}

/* The upper half is a word of EVT 2, the lower one has a bit for each of 32 pixels. */
static inline void spikesight_evt21_word(SpikesightWords *w, const uint8_t *b, SpikesightPut put, void *yours) {
    const uint32_t word = spikesight_word(b + 4), kind = word >> 28;
    if (kind > 1) spikesight_evt2_word(w, b + 4, put, yours);
    for (uint32_t bits = kind <= 1 && w->high >= 0 ? spikesight_word(b) : 0; bits; bits &= bits - 1)
        put(yours, w->high | (word >> 22 & 0x3F), (word >> 11 & 0x7FF) + spikesight_lowest(bits), word & 0x7FF, kind);
}

static inline void spikesight_evt3_word(SpikesightWords *w, const uint8_t *b, SpikesightPut put, void *yours) {
    const uint32_t word = b[0] | (uint32_t)b[1] << 8, kind = word >> 12, value = word & 0x7FF;
    const bool ready = w->high >= 0 && w->has_row;
    if (kind == 0) w->row = value, w->has_row = 1;
    else if (kind == 2 && ready) put(yours, w->high | w->low, value, w->row, word >> 11 & 1);
    else if (kind == 3) w->column = value, w->polarity = word >> 11 & 1;
    else if (kind == 4 || kind == 5) { /* a vector of 12 or 8 columns */
        const uint32_t wide = kind == 4 ? 12 : 8, next = w->column + wide;
        for (uint32_t bits = ready ? word & ((1u << wide) - 1) : 0; bits; bits &= bits - 1)
            put(yours, w->high | w->low, w->column + spikesight_lowest(bits), w->row, w->polarity);
        w->column = next < 0x7FFF - 12 ? next : 0x7FFF - 12;
    } else if (kind == 6) w->low = word & 0xFFF;
    else if (kind == 8) w->high = spikesight_next_high(w->high, (int64_t)(word & 0xFFF) << 12, 24);
}

/* Of DAT files. */
static inline void spikesight_dat_word(SpikesightWords *w, const uint8_t *b, SpikesightPut put, void *yours) {
    const uint32_t word = spikesight_word(b + 4);
    w->high = spikesight_next_high(w->high, spikesight_word(b), 32);
    put(yours, w->high, word & 0x3FFF, word >> 14 & 0x3FFF, word >> 28 != 0);
}

static inline void spikesight_nmnist_word(SpikesightWords *w, const uint8_t *b, SpikesightPut put, void *yours) {
    if (b[1] == 240) w->ahead += 1 << 13; /* no event: the camera's clock has gone on */
    else put(yours, w->ahead + ((b[2] & 0x7F) << 16 | b[3] << 8 | b[4]), b[0], b[1], b[2] >> 7);
}
#endif
