/* The pixel model of an event camera: grey frames to events, as encoders/emulator/pixels.py describes it.
 * Floats are rounded at every step, so that events have the same bits on every machine.
 */
#ifndef SPIKESIGHT_PIXELS_H
#define SPIKESIGHT_PIXELS_H
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { SPIKESIGHT_LONGEST_US = 10000000, SPIKESIGHT_BLOCK = 64 }; /* pixels start anew after; are looked at together */

#pragma pack(push, 1)
typedef struct { /* an event as Python's arrays, and the page, have it */
    int64_t t;
    uint16_t x, y;
    uint8_t on;
} SpikesightPacked;
#pragma pack(pop)

typedef struct {
    /* parameters */
    uint16_t width, height;
    double leak_hz, cutoff_hz; /* cutoff_hz: the photoreceptor's bandwidth, 0: none */
    int64_t silent_us;         /* after an event */
    uint32_t limit;            /* crossings of one frame; what is over comes with the next */
    uint32_t seed, draw;       /* of the noise; the next frame has the second draw from this */
    const float *shots;        /* [256] probability of a noise event by grey value, where nothing crosses; NULL: no noise */
    const float *levels;       /* [256] log intensity by grey value */
    const float *on, *off, *start; /* [height width] thresholds, and where pixels start from the first frame */
    /* memory, [height width]; then for a frame's events: [limit], and [height width] more with noise */
    float *reference, *last; /* log intensity at the last event, in the last frame */
    int64_t *free_us;        /* time at which a pixel's silence ends */
    uint32_t *offsets, *words;
    /* state */
    int64_t t_us;
    bool begun; /* false: the next frame is the first */
} SpikesightPixels;

/* n events by a stable sort on their offsets, below 2^24, the lower half of the digits first. */
static inline void spikesight_sorted(const uint32_t *offsets, const uint32_t *words, uint32_t n, int64_t t_us, uint32_t *order,
                                     SpikesightPacked *events) {
    for (int half = 0; half < 24; half += 12) {
        uint32_t starts[4097] = {0};
        for (uint32_t i = 0; i < n; ++i) ++starts[(offsets[i] >> half & 4095) + 1];
        for (int b = 0; b < 4096; ++b) starts[b + 1] += starts[b];
        for (uint32_t i = 0; i < n; ++i) {
            const uint32_t at = half ? order[i] : i, word = words[at], place = starts[offsets[at] >> half & 4095]++;
            const SpikesightPacked event = {t_us + offsets[at], (uint16_t)(word >> 17), (uint16_t)(word >> 1), (uint8_t)(word & 1)};
            if (half) events[place] = event;
            else order[place] = at;
        }
    }
}

/* A number of 0 to 1 from a hash (Wellons' lowbias32) in place of a generator, so that it depends on no other pixel. */
static inline float spikesight_uniform(uint32_t seed, uint32_t draw, uint32_t pixel) {
    uint32_t h = seed ^ draw * 0x9E3779B9u ^ pixel * 0x85EBCA6Bu;
    h = (h ^ h >> 16) * 0x7FEB352Du;
    h = (h ^ h >> 15) * 0x846CA68Bu;
    h ^= h >> 16;
    return (float)(h >> 8) * (1.0f / 16777216.0f);
}

/* How many events there are between the previous frame and this one, [height][width], captured at t_us; they come to
 * offsets and words (x << 17 | y << 1 | on). The first frame gives none, nor does one not later than the previous, or much
 * later: the pixels start anew from it. */
static inline uint32_t spikesight_pixels_take(SpikesightPixels *p, const uint8_t *grey, int64_t t_us) {
    const int64_t began_us = p->t_us, interval_us = t_us - began_us;
    const bool begins = !p->begun || interval_us <= 0 || interval_us > SPIKESIGHT_LONGEST_US;
    p->t_us = t_us;
    p->begun = true;
    for (int32_t at = 0; at < p->height * p->width && begins; ++at) {
        p->last[at] = p->levels[grey[at]];
        p->reference[at] = p->last[at] + p->start[at];
        p->free_us[at] = -((int64_t)1 << 62);
    }
    if (begins) return 0;
    const double seconds = (double)interval_us * 1e-6, tau = 6.283185307179586;
    const float dt = (float)interval_us, leak = (float)(p->leak_hz * seconds);
    const float follows = (float)(1.0 - exp(-tau * p->cutoff_hz * seconds)); /* how far a pixel follows the light */
    const bool slow = p->cutoff_hz > 0.0;
    uint32_t n = 0, crossed = 0;
    for (int32_t first = 0, size = p->height * p->width; first < size; first += SPIKESIGHT_BLOCK) {
        const float *up = p->on + first, *down = p->off + first, *shots = p->shots;
        float level[SPIKESIGHT_BLOCK], *last = p->last + first, *reference = p->reference + first;
        bool crosses[SPIKESIGHT_BLOCK];
        const int32_t count = size - first < SPIKESIGHT_BLOCK ? size - first : SPIKESIGHT_BLOCK;
        for (int32_t i = 0; i < count; ++i) level[i] = p->levels[grey[first + i]];
        for (int32_t i = 0; i < count; ++i) {
            const float r = reference[i] - leak * up[i];
            level[i] = slow ? last[i] + follows * (level[i] - last[i]) : level[i];
            crosses[i] = (level[i] >= r + up[i]) | (level[i] <= r - down[i]);
            reference[i] = r;
        }
        for (int32_t i = 0; i < count; ++i) {
            const float before = last[i], change = level[i] - before;
            const uint32_t at = (uint32_t)(first + i), word = at % p->width << 17 | at / p->width << 1;
            last[i] = level[i];
            const float chance = shots && !crosses[i] ? shots[grey[at]] : 0.0f, drawn = chance > 0.0f ? spikesight_uniform(p->seed, p->draw, at) : 1.0f;
            if (drawn < chance) {
                p->offsets[n] = (uint32_t)(spikesight_uniform(p->seed, p->draw + 1, at) * dt);
                p->words[n++] = word | (drawn < chance * 0.5f);
                reference[i] = level[i];
            }
            while (crosses[i] && crossed < p->limit) {
                float r = reference[i];
                const bool rising = level[i] >= r + up[i];
                if (!rising && level[i] > r - down[i]) break;
                ++crossed;
                reference[i] = r = rising ? r + up[i] : r - down[i];
                float share = change != 0.0f ? (r - before) / change : 1.0f;
                share = share > 0.0f ? share : 0.0f;
                const uint32_t offset = (uint32_t)((share < 1.0f ? share : 1.0f) * dt);
                const int64_t t = began_us + offset;
                if (p->silent_us > 0 && t < p->free_us[at]) continue;
                if (p->silent_us > 0) p->free_us[at] = t + p->silent_us;
                p->offsets[n] = offset;
                p->words[n++] = word | rising;
            }
        }
    }
    return n;
}
#endif
