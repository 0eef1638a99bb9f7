"""Compiled loops before the bins of a live stream, one pass over a packet each; packet borders do not matter."""

import numpy as np

from spikesight.encoders.kernels.loop import loop


@loop
def gather(events, begin, span_us, cell, off, counts):
    """Count the events from `begin` on in the same interval of `span_us`, in squares of `cell` pixels, OFF events as
    `off`, into counts int32 [H, W]; return the index of the first event of the next interval.
    """
    span = events[begin]["t"] // span_us
    for index in range(begin, len(events)):
        event = events[index]
        if event["t"] // span_us != span:
            return index
        counts[np.uint16(event["y"]) // cell, np.uint16(event["x"]) // cell] += 1 if event["p"] else off
    return len(events)


@loop
def crop(events, kept, cell, left, top, scale, across, down, width, height, out):
    """Map events in `kept` squares through a window at (left, top) to a sensor of width x height: scale by `scale`,
    then shift by (across, down). Write them to the start of `out`; return their number.
    """
    n = 0
    for index in range(len(events)):
        event = events[index]
        if not kept[np.uint16(event["y"]) // cell, np.uint16(event["x"]) // cell]:
            continue
        x, y = np.floor((event["x"] - left) * scale) + across, np.floor((event["y"] - top) * scale) + down
        if x >= 0 and x < width and y >= 0 and y < height:
            out[n] = event
            out[n]["x"], out[n]["y"] = x, y
            n += 1
    return n


@loop
def share_out(events, kept, cell, windows, scales, across, down, width, height, out):
    """Do as `crop` for several windows [N, 2] (left, top) at once; each has a bit in `kept`, uint8 [H, W].

    The target sensors are stacked vertically: window n is shifted down by n heights.
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
