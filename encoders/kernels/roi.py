"""The compiled loops in front of the bins of a live stream: one pass over a packet each, whatever it is cut into."""

import numpy as np

from spikesight.encoders.kernels.loop import loop


@loop
def gather(events, begin, span_us, cell, off, counts):
    """Count the events from `begin` on that lie in its whole `span_us` of time, in squares of `cell` pixels, OFF events
    as `off`; counts int32 [H, W]. Where the first of another span is.
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
    """Events of the squares that are `kept`, through a window at (left, top), in pixels of a sensor of width x height
    that lie `scale` times as dense, moved by (across, down). How many; they are written to the begin of `out`.
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
    """As `crop`, through several windows [N, 2] (left, top) at once; each has a bit of `kept`, uint8 [H, W].

    The sensors lie one below the other: what is seen through window n lies n heights further down.
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
