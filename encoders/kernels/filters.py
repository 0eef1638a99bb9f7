"""The compiled loops of the filters."""

import numba


@numba.njit(cache=True, nogil=True)
def refractory(events, last, time_us, keep):
    """Mark the events whose pixel has been silent for time_us since the last marked one."""
    for index in range(len(events)):
        event = events[index]
        t, x, y = event["t"], event["x"], event["y"]
        if t - last[y, x] >= time_us:
            last[y, x] = t
            keep[index] = True


@numba.njit(cache=True, nogil=True)
def background(events, last, time_us, keep):
    """Mark the events with an event of one of the eight neighbours at most time_us ago; last has a border of one."""
    for index in range(len(events)):
        event = events[index]
        t, x, y = event["t"], event["x"] + 1, event["y"] + 1
        latest = max(
            max(max(last[y - 1, x - 1], last[y - 1, x]), max(last[y - 1, x + 1], last[y, x - 1])),
            max(max(last[y, x + 1], last[y + 1, x - 1]), max(last[y + 1, x], last[y + 1, x + 1])),
        )
        keep[index] = t - latest <= time_us
        last[y, x] = t
