"""Compiled loops of the drawing detection (`preprocess.drawing`) that have no counterpart in cv2.

Results equal those of numpy on the same pixels: quantiles bit for bit; means are summed in float64.
"""

import numpy as np

from spikesight.encoders.kernels.loop import loop


@loop
def groups(stats, centres, kept, shortest, longest, most, reach, gap, share):
    """Group parts (connected components) around each of the `most` largest with a length from `shortest` to `longest`.

    stats int [n, 5] (left, top, width, height, area), centres [n, 2]; kept bool [n]: parts that may be in a group. A
    part joins if it is not longer than the group's first part, has at least `share` of the first part's area, and lies
    near: its centre within `reach` lengths of the first part's, or its box within `gap` lengths of the group's box, as
    a failing pen breaks strokes. Return members, uint8 [k, n], and boxes, int64 [k, 4] (left, top, width, height).
    """
    members, boxes = np.zeros((most, len(stats)), np.uint8), np.zeros((most, 4), np.int64)
    tried = np.zeros(len(stats), np.bool_)
    for k in range(most):
        head, area = -1, 0
        for n in range(len(stats)):
            long = max(stats[n, 2], stats[n, 3])
            if kept[n] and not tried[n] and stats[n, 4] > area and long >= shortest and long <= longest:
                head, area = n, stats[n, 4]
        if head < 0:
            return members[:k], boxes[:k]
        tried[head], long = True, max(stats[head, 2], stats[head, 3])
        left, top = stats[head, 0], stats[head, 1]
        right, bottom = left + stats[head, 2], top + stats[head, 3]
        members[k, head], grown = 1, True
        while grown:
            grown = False
            for n in range(len(stats)):
                other = max(stats[n, 2], stats[n, 3]) > long or stats[n, 4] < share * area
                if not kept[n] or members[k, n] or other:
                    continue
                x, y, x_end, y_end = stats[n, 0], stats[n, 1], stats[n, 0] + stats[n, 2], stats[n, 1] + stats[n, 3]
                apart = max(abs(centres[n, 0] - centres[head, 0]), abs(centres[n, 1] - centres[head, 1]))
                between = max(x - right, left - x_end, y - bottom, top - y_end)
                if apart >= reach * long and between >= gap * long:
                    continue
                members[k, n], grown = 1, True
                left, top, right, bottom = min(left, x), min(top, y), max(right, x_end), max(bottom, y_end)
        boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3] = left, top, right - left, bottom - top
    return members, boxes


@loop
def tones(strokes, wide, close, ink, ground):
    """Measure a mask of strokes [h, w] and the ring around them, the pixels set in `wide` but not in `close`.

    `ink`, `ground`: float32 [h, w]. Return the 80 % quantile and the standard deviation of the strokes' ink, the ring's
    mean ink, and mean and standard deviation of the ring's `ground`. Without ring pixels, the means are negative.
    """
    inked, around = np.empty(strokes.size, np.float32), np.empty(strokes.size, np.float32)
    n, m, stray = 0, 0, 0.0
    for y in range(strokes.shape[0]):
        for x in range(strokes.shape[1]):
            if strokes[y, x]:
                inked[n] = ink[y, x]
                n += 1
            if wide[y, x] and not close[y, x]:
                around[m] = ground[y, x]
                stray += ink[y, x]
                m += 1
    if m == 0:
        return 1.0, 0.0, -1.0, -1.0, 0.0
    mean, deviation = moments(around[:m])
    return quantile(inked[:n], 0.8), moments(inked[:n])[1], stray / m, mean, deviation


@loop
def moments(values):
    """Return the mean and the (population) standard deviation of float32 values [n]."""
    total = squares = 0.0
    for value in values:
        total += value
    mean = total / len(values)
    for value in values:
        squares += (value - mean) ** 2
    return mean, np.sqrt(squares / len(values))


@loop
def quantile(values, share):
    """Return the quantile `share` (0 to 1) of float32 values, interpolated linearly and rounded to float32."""
    at = (len(values) - 1) * share
    low = int(at)
    high = min(low + 1, len(values) - 1)
    ordered = np.partition(values, high)
    below, above = ordered[: low + 1].max(), ordered[high]
    part, step = at - low, np.float64(np.float32(above - below))
    return np.float64(np.float32(above - step * (1 - part) if part >= 0.5 else below + step * part))
