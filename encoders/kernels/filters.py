"""Compiled loops of the noise filters (`preprocess.filters`)."""

import numpy as np

from spikesight.encoders.kernels.loop import loop


@loop
def background(events, last, time_us, keep):
    """Mark events with an event in one of the eight neighbours at most time_us before; last has a border of one."""
    for index in range(len(events)):
        event = events[index]
        t, x, y = event["t"], event["x"] + 1, event["y"] + 1
        latest = max(
            max(max(last[y - 1, x - 1], last[y - 1, x]), max(last[y - 1, x + 1], last[y, x - 1])),
            max(max(last[y, x + 1], last[y + 1, x - 1]), max(last[y + 1, x], last[y + 1, x + 1])),
        )
        keep[index] = t - latest <= time_us
        last[y, x] = t


@loop
def gate(events, last, newest, rule, interval, rate_hz, lone, keep):
    """Mark the events that a NoiseGate (`preprocess.filters`) lets through; return its new rate and count of lone
    events.

    `rule`: time_us, wide_us, needed, from_hz, strict_hz. An event is lone without an event of its eight neighbours at
    most time_us before. Above the rate from_hz lone events are dropped, above strict_hz those of which fewer than
    `needed` neighbours had one at most wide_us before. `interval`: length in us, length in seconds times pixels, and
    the weight of the newest. `rate_hz` is negative before the first interval has ended; last has a border of one.
    """
    time_us, wide_us, needed, from_hz, strict_hz = rule
    length_us, pixel_s, fresh = interval
    for index in range(len(events)):
        event = events[index]
        t, x, y = event["t"], event["x"] + 1, event["y"] + 1
        if t // length_us != newest // length_us:
            now_hz = lone / pixel_s
            rate_hz = now_hz if rate_hz < 0 else rate_hz + fresh * (now_hz - rate_hz)
            lone = 0
        newest = t
        latest, near = last[y - 1, x - 1], 0
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                if dy or dx:
                    latest = max(latest, last[y + dy, x + dx])
                    near += t - last[y + dy, x + dx] <= wide_us
        some = t - latest <= time_us
        lone += not some
        if 0 <= rate_hz <= from_hz:
            keep[index] = True
        elif rate_hz > strict_hz:
            keep[index] = near >= needed
        else:
            keep[index] = some
        last[y, x] = t
    return rate_hz, lone


@loop
def chosen(events, keep, out):
    """Copy the marked events to the start of `out`; return their number."""
    n = 0
    for index in range(len(events)):
        if keep[index]:
            out[n] = events[index]
            n += 1
    return n


@loop
def unmasked(events, mask, keep):
    """Mark the events whose pixel is not set in mask [H, W]; all must lie on it."""
    for index in range(len(events)):
        event = events[index]
        keep[index] = not mask[np.uint16(event["y"]), np.uint16(event["x"])]


@loop
def pool(events, columns, rows, nowhere, area, level, fired):
    """Sum the events' signs in `level` [H, W] of large pixels; a pixel fires when its sum reaches its area, either way.

    Fired events go to the start of `fired`, with time and polarity of the last event summed. Returns their number.
    """
    n = 0
    for index in range(len(events)):
        event = events[index]
        column, row = columns[event["x"]], rows[event["y"]]
        if column >= nowhere or row >= nowhere:
            continue
        step = 1 if event["p"] else -1
        level[row, column] += step
        if level[row, column] * step >= area[row, column]:
            level[row, column] = 0
            fired[n] = event
            fired[n]["x"], fired[n]["y"] = column, row
            n += 1
    return n
