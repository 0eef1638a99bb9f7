"""Compiled loops of the emulator.

They give the same events to the bit on every machine: float32 throughout, sums in fixed order, and random numbers from
a hash of (seed, draw, pixel) instead of a generator's state.
"""

import numpy as np

from spikesight.encoders.kernels.loop import loop


@loop(inline="always")
def uniform(seed, draw, pixel):
    """Return a float32 in [0, 1) from three uint32: the top 24 bits of Wellons' lowbias32 hash of their mixture."""
    h = np.uint32(seed ^ np.uint32(draw * np.uint32(0x9E3779B9)) ^ np.uint32(pixel * np.uint32(0x85EBCA6B)))
    h = np.uint32((h ^ (h >> np.uint32(16))) * np.uint32(0x7FEB352D))
    h = np.uint32((h ^ (h >> np.uint32(15))) * np.uint32(0x846CA68B))
    h = np.uint32(h ^ (h >> np.uint32(16)))
    return np.float32(h >> np.uint32(8)) * np.float32(1 / 16777216)


@loop
def sorted_events(offsets, words, n, t0, span, out):
    """Write n events in time order to `out` (dtype EVENTS) by a stable counting sort on microseconds.

    offsets uint32 in [0, span]; words x << 17 | y << 1 | p. For spans above 65536 us a bucket holds several
    microseconds and is sorted by insertion.
    """
    width = span // 65536 + 1
    n_buckets = span // width + 1
    starts = np.zeros(n_buckets + 1, np.int32)
    for i in range(n):
        starts[offsets[i] // width + 1] += 1
    for b in range(n_buckets):
        starts[b + 1] += starts[b]
    for i in range(n):
        bucket = offsets[i] // width
        place = starts[bucket]
        starts[bucket] = place + 1
        out[place]["t"] = t0 + np.int64(offsets[i])
        word = words[i]
        out[place]["x"] = np.int16(word >> np.uint32(17))
        out[place]["y"] = np.int16((word >> np.uint32(1)) & np.uint32(0xFFFF))
        out[place]["p"] = (word & np.uint32(1)) != 0
    if width > 1:
        for i in range(1, n):
            j = i
            while j > 0 and out[j - 1]["t"] > out[j]["t"]:
                t, x, y, p = out[j]["t"], out[j]["x"], out[j]["y"], out[j]["p"]
                out[j]["t"], out[j]["x"], out[j]["y"], out[j]["p"] = (
                    out[j - 1]["t"],
                    out[j - 1]["x"],
                    out[j - 1]["y"],
                    out[j - 1]["p"],
                )
                out[j - 1]["t"], out[j - 1]["x"], out[j - 1]["y"], out[j - 1]["p"] = t, x, y, p
                j -= 1


@loop
def frame_events(
    grey,
    levels,
    shots,
    on,
    off,
    reference,
    last,
    free_us,
    t0,
    dt,
    alpha,
    leak,
    refractory_us,
    seed,
    draw,
    limit,
    offsets,
    words,
):
    """Run the pixel model over one frame interval [t0, t0 + dt]; return (events written, pixels over the limit).

    levels [256]: log intensity by grey value, shots [256]: probability of a noise event in this interval; reference,
    last and free_us [H, W] are the state, updated in place. Crossings beyond `limit` remain in the reference. offsets
    and words hold at least limit + H·W.
    """
    height, width = grey.shape
    n = waiting = crossings = 0
    noisy = shots[0] > 0
    leaky = leak > 0
    slow = alpha < 1
    one, zero = np.float32(1), np.float32(0)
    for y in range(height):
        for x in range(width):
            before = last[y, x]
            level = levels[grey[y, x]]
            if slow:
                level = before + alpha * (level - before)
            last[y, x] = level
            r = reference[y, x]
            threshold_on, threshold_off = on[y, x], off[y, x]
            if leaky:
                r -= leak * threshold_on
                reference[y, x] = r
            if level < r + threshold_on and level > r - threshold_off:
                if noisy:
                    pixel = np.uint32(y * width + x)
                    chance, drawn = shots[grey[y, x]], uniform(seed, draw, pixel)
                    if drawn < chance:
                        part = uniform(seed, draw + np.uint32(1), pixel)
                        offsets[n] = np.uint32(part * dt)
                        polarity = np.uint32(drawn < chance * np.float32(0.5))
                        words[n] = np.uint32(x) << np.uint32(17) | np.uint32(y) << np.uint32(1) | polarity
                        n += 1
                        reference[y, x] = level
                continue
            change = level - before
            while True:
                if level >= r + threshold_on:
                    moved = r + threshold_on
                    polarity = np.uint32(1)
                elif level <= r - threshold_off:
                    moved = r - threshold_off
                    polarity = np.uint32(0)
                else:
                    break
                if crossings >= limit:
                    waiting += 1
                    break
                crossings += 1
                r = moved
                part = (r - before) / change if change != 0 else one
                part = min(max(part, zero), one)
                offset = np.uint32(part * dt)
                if refractory_us > 0:
                    t = t0 + np.int64(offset)
                    if t < free_us[y, x]:
                        continue
                    free_us[y, x] = t + refractory_us
                offsets[n] = offset
                words[n] = np.uint32(x) << np.uint32(17) | np.uint32(y) << np.uint32(1) | polarity
                n += 1
            reference[y, x] = r
    return n, waiting


@loop
def moving_image(padded, columns, rows, weights, step_us, on, off, start, alpha, refractory_us, offsets, words):
    """Write the signal events of every pixel of on/off [H, W] while an image slides over the sensor; return their
    count.
    padded   log intensity float32, wide enough that row + rows[k] + 1 and column + columns[k] + 1 exist for every step
    weights  [steps, 4] bilinear weights of each step: here, right, below, below right
    start    [H, W] offset of the reference from the first level
    alpha    how far the photoreceptor follows its input in one step (1: at once)
    """
    height, width = on.shape
    steps = len(rows)
    capacity = len(offsets)
    span_x = columns.max() + 1
    span_y = rows.max() + 1
    one = np.float32(1)
    n = 0
    for y in range(height):
        for x in range(width):
            flat = True
            background = padded[y, x]
            for v in range(y, y + span_y + 1):
                for u in range(x, x + span_x + 1):
                    flat &= padded[v, u] == background
            if flat:
                continue
            threshold_on, threshold_off = on[y, x], off[y, x]
            level = reference = np.float32(0)
            free_us = np.float32(-1)
            for k in range(steps):
                v, u = y + rows[k], x + columns[k]
                target = (
                    weights[k, 0] * padded[v, u]
                    + weights[k, 1] * padded[v, u + 1]
                    + weights[k, 2] * padded[v + 1, u]
                    + weights[k, 3] * padded[v + 1, u + 1]
                )
                if k == 0:
                    level = target
                    reference = target + start[y, x]
                    continue
                before = level
                level = before + alpha * (target - before)
                change = level - before
                while n < capacity:
                    if level >= reference + threshold_on:
                        reference += threshold_on
                        polarity = np.uint32(1)
                    elif level <= reference - threshold_off:
                        reference -= threshold_off
                        polarity = np.uint32(0)
                    else:
                        break
                    part = (reference - before) / change if change != 0 else one
                    part = min(max(part, np.float32(0)), one)
                    t = (np.float32(k - 1) + part) * step_us
                    if t >= free_us:
                        offsets[n] = np.uint32(t)
                        words[n] = np.uint32(x) << np.uint32(17) | np.uint32(y) << np.uint32(1) | polarity
                        n += 1
                        free_us = t + refractory_us
    return n
