"""N-MNIST's five bytes an event -> EVENTS, compiled: an epoch from files costs as little as it can."""

import numba


@numba.njit(cache=True, nogil=True)
def decode(records, side, out):
    """records uint8 [n, 5] -> out EVENTS [n]; False where an event is a marker, off the sensor or out of order."""
    last = 0
    for i in range(len(records)):
        x, y, mark = records[i, 0], records[i, 1], records[i, 2]
        t = (mark & 0x7F) << 16 | records[i, 3] << 8 | records[i, 4]
        if x >= side or y >= side or t < last:
            return False
        last = t
        event = out[i]
        event["t"], event["x"], event["y"], event["p"] = t, x, y, mark >= 128
    return True
