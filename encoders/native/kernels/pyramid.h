/* A picture of a full frame at several sizes (encoders/pyramid.py): a canvas, in which each level has its place. C99 that is C++ too. */
#ifndef SPIKESIGHT_PYRAMID_H
#define SPIKESIGHT_PYRAMID_H
#include <stdint.h>
#include <string.h>

typedef struct {
    int32_t top, left, height, width; /* in the canvas, in cells */
    int32_t least; /* cells of the finest level that light one of this; of the finest itself: events that light one */
} SpikesightLevel;

/* A bin's counts of events at the finest level, [2][height][width] of levels[0], at all n levels: [2][height][width] of 0 and 1.
 * No cell has more than 255 of the finest. */
static inline void spikesight_pyramid_canvas(const SpikesightLevel *levels, int32_t n, int32_t height, int32_t width, const uint8_t *counts,
                                    uint8_t *canvas) {
    const int32_t rows = levels->height, columns = levels->width;
    memset(canvas, 0, 2 * (size_t)height * (size_t)width);
    for (int32_t row = 0; row < 2 * rows; ++row)
        for (int32_t column = 0; column < columns; ++column) {
            if (counts[row * columns + column] < levels->least) continue;
            for (const SpikesightLevel *one = levels; one < levels + n; ++one) {
                const int32_t line = row / rows * height + one->top + row % rows * one->height / rows;
                ++canvas[line * width + one->left + column * one->width / columns];
            }
        }
    for (int32_t i = 0; i < 2 * n; ++i) {
        const SpikesightLevel one = levels[i / 2];
        for (int32_t line = i % 2 * height + one.top, end = line + one.height; line < end; ++line)
            for (int32_t u = one.left; u < one.left + one.width; ++u)
                canvas[line * width + u] = canvas[line * width + u] >= (i < 2 ? 1 : one.least);
    }
}
#endif
