"""Compiled loops of the region-of-interest stage (`encoders.roi`), each a single pass over a packet of events."""

import numpy as np

from spikesight.encoders.kernels.loop import loop


@loop
def gather(events, begin, span_us, cell, off, counts):
    """Add events from index `begin` to the end of its `span_us` interval to `counts`, int32 [H, W], of squares with
    side `cell` in pixels; an OFF event counts as `off`. Return the index of the first event of the next interval.
    """
    span = events[begin]["t"] // span_us
    for index in range(begin, len(events)):
        event = events[index]
        if event["t"] // span_us != span:
            return index
        counts[np.uint16(event["y"]) // cell, np.uint16(event["x"]) // cell] += 1 if event["p"] else off
    return len(events)


@loop
def share_out(events, kept, cell, windows, scales, across, down, width, height, out):
    """Map events in windows [N, 2] (left, top) to sensors of width x height: scale by `scales`, then shift by (across,
    down). Write those on a sensor to the start of `out`; return their number.

    Bit n of `kept`, uint8 [H, W], marks window n's squares (side `cell`). The sensors are stacked: sensor n is shifted
    down by n heights.
    """
    n = 0
    for index in range(len(events)):
        event = events[index]
        shown = kept[np.uint16(event["y"]) // cell, np.uint16(event["x"]) // cell]
        for place in range(len(windows)):
            if not shown >> place & 1:
                continue
            x = np.floor((event["x"] - windows[place, 0]) * scales[place]) + across
            y = np.floor((event["y"] - windows[place, 1]) * scales[place]) + down
            if x >= 0 and x < width and y >= 0 and y < height:
                out[n] = event
                out[n]["x"], out[n]["y"] = x, y + place * height
                n += 1
    return n
