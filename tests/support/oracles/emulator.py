"""Slow and plain twins of the emulator's compiled loops, in numpy: the same events to the bit."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def uniform(seed: np.uint32, draw: np.uint32, pixel: NDArray[np.uint32]) -> Floats:
    """A float32 in [0, 1) for every pixel; see emulator.uniform."""
    h = seed ^ np.uint32(int(draw) * 0x9E3779B9 & 0xFFFFFFFF) ^ pixel * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x7FEB352D)
    h = (h ^ (h >> np.uint32(15))) * np.uint32(0x846CA68B)
    h = h ^ (h >> np.uint32(16))
    return (h >> np.uint32(8)).astype(np.float32) * np.float32(1 / 16777216)


def sorted_events(
    offsets: NDArray[np.uint32], words: NDArray[np.uint32], n: int, t0: int, span: int, out: NDArray[np.void]
) -> None:
    """Put n events in time order into `out`; see emulator.sorted_events."""
    assert n == 0 or int(offsets[:n].max()) <= span
    order = np.argsort(offsets[:n], kind="stable")
    word = words[:n][order]
    out["t"][:n] = t0 + offsets[:n][order].astype(np.int64)
    out["x"][:n] = word >> np.uint32(17)
    out["y"][:n] = (word >> np.uint32(1)) & np.uint32(0xFFFF)
    out["p"][:n] = word & np.uint32(1)


def frame_events(
    grey: NDArray[np.uint8],
    levels: Floats,
    shots: Floats,
    on: Floats,
    off: Floats,
    reference: Floats,
    last: Floats,
    free_us: NDArray[np.int64],
    t0: int,
    dt: np.float32,
    alpha: np.float32,
    leak: np.float32,
    refractory_us: int,
    seed: np.uint32,
    draw: np.uint32,
    limit: int,
    offsets: NDArray[np.uint32],
    words: NDArray[np.uint32],
) -> tuple[int, int]:
    """One frame interval of the pixel model; see emulator.frame_events."""
    before = last.copy()
    level = np.asarray(levels[grey], np.float32)
    if alpha < 1:
        level = np.asarray(before + alpha * (level - before), np.float32)
    last[:] = level
    if leak > 0:
        reference -= leak * on
    rows, columns = np.nonzero((level >= reference + on) | (level <= reference - off))
    quiet = np.ones(grey.shape, bool)
    quiet[rows, columns] = False
    pixel = np.arange(grey.size, dtype=np.uint32).reshape(grey.shape)
    counts = _crossings(level[rows, columns], reference[rows, columns], on[rows, columns], off[rows, columns])
    first = np.cumsum(counts) - counts
    allowed = np.clip(limit - first, 0, counts)
    waiting = int(np.count_nonzero(allowed < counts))
    found = [
        _crossing_events(before, level, reference, on, off, free_us, rows, columns, allowed, t0, dt, refractory_us)
    ]
    if shots[0] > 0:
        drawn = uniform(seed, draw, pixel)
        rows, columns = np.nonzero(quiet & (drawn < shots[grey]))
        part = uniform(seed, np.uint32(draw + np.uint32(1)), pixel[rows, columns])
        polarity = drawn[rows, columns] < shots[grey[rows, columns]] * np.float32(0.5)
        reference[rows, columns] = level[rows, columns]
        found.append((pixel[rows, columns], np.zeros(len(rows), np.int64), part * dt, polarity))
    pixels, turns, times, polarities = (np.concatenate(column) for column in zip(*found))
    order = np.lexsort((turns, pixels))
    n = len(order)
    offsets[:n] = times[order].astype(np.uint32)
    words[:n] = _words(pixels[order], polarities[order], grey.shape[1])
    return n, waiting


def _crossings(level: Floats, reference: Floats, on: Floats, off: Floats) -> NDArray[np.int64]:
    """How many thresholds lie between reference and level, summed one by one as the compiled loop does."""
    counts = np.zeros(len(level), np.int64)
    reference = reference.copy()
    while True:
        up, down = level >= reference + on, level <= reference - off
        if not (up | down).any():
            return counts
        counts += up | down
        reference = np.where(up, reference + on, np.where(down, reference - off, reference))


def _crossing_events(
    before: Floats,
    level: Floats,
    reference: Floats,
    on: Floats,
    off: Floats,
    free_us: NDArray[np.int64],
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    allowed: NDArray[np.int64],
    t0: int,
    dt: np.float32,
    refractory_us: int,
) -> tuple[NDArray[np.uint32], NDArray[np.int64], Floats, NDArray[np.bool_]]:
    """Pixel, turn, time offset and polarity of the allowed crossings; the reference and free_us are moved in place."""
    pixels, turns, times, polarities = [], [], [], []
    for turn in range(int(allowed.max(initial=0))):
        keep = allowed > turn
        r, c = rows[keep], columns[keep]
        up = level[r, c] >= reference[r, c] + on[r, c]
        moved = np.where(up, reference[r, c] + on[r, c], reference[r, c] - off[r, c])
        reference[r, c] = moved
        change = level[r, c] - before[r, c]
        part = np.divide(moved - before[r, c], change, out=np.ones_like(change), where=change != 0)
        offset = np.clip(part, np.float32(0), np.float32(1)) * dt
        if refractory_us > 0:
            t = t0 + offset.astype(np.int64)
            free = t >= free_us[r, c]
            r, c, up, offset = r[free], c[free], up[free], offset[free]
            free_us[r, c] = t[free] + refractory_us
        pixels.append((r * level.shape[1] + c).astype(np.uint32))
        turns.append(np.full(len(r), turn))
        times.append(offset)
        polarities.append(up)
    if not pixels:
        return np.zeros(0, np.uint32), np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, bool)
    return np.concatenate(pixels), np.concatenate(turns), np.concatenate(times), np.concatenate(polarities)


def _words(pixels: NDArray[np.uint32], polarities: NDArray[np.bool_], width: int) -> NDArray[np.uint32]:
    y, x = np.divmod(pixels.astype(np.uint32), np.uint32(width))
    return x << np.uint32(17) | y << np.uint32(1) | polarities.astype(np.uint32)


def moving_image(
    padded: Floats,
    columns: NDArray[np.int64],
    rows: NDArray[np.int64],
    weights: Floats,
    step_us: np.float32,
    on: Floats,
    off: Floats,
    start: Floats,
    alpha: np.float32,
    refractory_us: np.float32,
    offsets: NDArray[np.uint32],
    words: NDArray[np.uint32],
) -> int:
    """Signal events while an image slides over the sensor; see emulator.moving_image."""
    height, width = on.shape
    level = reference = np.zeros((height, width), np.float32)
    free = np.full((height, width), -1, np.float32)
    capacity = len(offsets)
    pixels, times, polarities = [], [], []
    for k, (v, u) in enumerate(zip(rows.tolist(), columns.tolist())):
        window = padded[v : v + height + 1, u : u + width + 1]
        w = weights[k]
        target = w[0] * window[:-1, :-1] + w[1] * window[:-1, 1:] + w[2] * window[1:, :-1] + w[3] * window[1:, 1:]
        if k == 0:
            level, reference = target, target + start
            continue
        before, level = level, level + alpha * (target - level)
        change = level - before
        while True:
            up, down = level >= reference + on, level <= reference - off
            r, c = np.nonzero(up | down)
            if not len(r):
                break
            reference = np.where(up, reference + on, np.where(down, reference - off, reference))
            delta = change[r, c]
            part = np.divide(reference[r, c] - before[r, c], delta, out=np.ones_like(delta), where=delta != 0)
            t = (np.float32(k - 1) + np.clip(part, np.float32(0), np.float32(1))) * step_us
            fires = t >= free[r, c]
            r, c, t = r[fires], c[fires], t[fires]
            free[r, c] = t + refractory_us
            pixels.append((r * width + c).astype(np.uint32))
            times.append(t)
            polarities.append(up[r, c])
    if not pixels:
        return 0
    pixel, t, p = np.concatenate(pixels), np.concatenate(times), np.concatenate(polarities)
    order = np.argsort(pixel, kind="stable")[:capacity]
    offsets[: len(order)] = t[order].astype(np.uint32)
    words[: len(order)] = _words(pixel[order], p[order], width)
    return len(order)
