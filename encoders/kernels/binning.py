"""Compiled loops of binning; the entry point is fill_counts().

Events are read as packed records; `columns` [sensor width] and `rows` [sensor height] are uint32 tables whose sum is
the cell in one polarity plane, and is >= 2**30 if the event is cropped away. Every coordinate is checked before it is
used as an index: a bad one ends the loop with OUTSIDE, an event in the wrong bin with UNSORTED.
"""

import numpy as np

from spikesight.encoders.kernels.loop import loop

OUTSIDE = -1
UNSORTED = -2


@loop
def first_at_or_after(events, t):
    """Return the index of the first event with time >= t, in events sorted by time."""
    low, high = 0, len(events)
    while low < high:
        middle = (low + high) >> 1
        if events[middle]["t"] < t:
            low = middle + 1
        else:
            high = middle
    return low


@loop
def fill_counts(events, start_us, bin_us, columns, rows, ceiling, out, totals, clear):
    """Add each event to its cell of out [T, 2, H, W], up to `ceiling`, and to totals [T]; return 0 on success.

    `clear` sets `out` to zero first, step by step, so that a large step is still in the cache when its events are added
    in unpredictable order.
    """
    steps = out.shape[0]
    plane = np.uint32(out.shape[2] * out.shape[3])
    cells = out.reshape(steps, 2 * out.shape[2] * out.shape[3])
    n_cells = np.uint32(2) * plane
    width, height = np.uint16(len(columns)), np.uint16(len(rows))
    begin = first_at_or_after(events, start_us)
    for step in range(steps):
        low = start_us + step * bin_us
        high = low + bin_us
        end = first_at_or_after(events, high)
        target = cells[step]
        if clear:
            target[:] = 0
        total = 0
        for index in range(np.uint64(begin), np.uint64(end)):  # unsigned, so numba does not test for negative indices
            event = events[index]
            x, y, t = np.uint16(event["x"]), np.uint16(event["y"]), event["t"]
            if x >= width or y >= height:
                return OUTSIDE
            if t < low or t >= high:
                return UNSORTED
            cell = columns[x] + rows[y] + plane * np.uint32(event["p"])
            if cell >= n_cells:
                continue
            value = target[cell]
            target[cell] = value + (value < ceiling)
            total += 1
        totals[step] += total
        begin = end
    return 0
