"""The compiled loops of the file readers. Imported only where numba is present; the readers hold numpy twins."""

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def faults(events, width, height):
    """How many events lie outside width x height, and how many times are lower than the one before."""
    outside = backward = 0
    w, h = np.uint16(width), np.uint16(height)
    last = events[0]["t"] if len(events) else 0
    for index in range(len(events)):
        event = events[index]
        t = event["t"]
        outside += (np.uint16(event["x"]) >= w) | (np.uint16(event["y"]) >= h)
        backward += t < last
        last = t
    return outside, backward


@numba.njit(cache=True, nogil=True)
def evt2(words, high, out):
    """EVT2 words (uint32) -> events in `out`; how many, and the time base after them (-1: none met yet)."""
    n = 0
    for word in words:
        kind = word >> np.uint32(28)
        if kind <= 1:
            if high < 0:
                continue
            event = out[n]
            event["t"] = high | np.int64((word >> np.uint32(22)) & np.uint32(0x3F))
            event["x"] = np.int16((word >> np.uint32(11)) & np.uint32(0x7FF))
            event["y"] = np.int16(word & np.uint32(0x7FF))
            event["p"] = kind == 1
            n += 1
        elif kind == 8:
            high = next_high(high, np.int64(word & np.uint32(0x0FFFFFFF)) << 6, 34)
    return n, high


@numba.njit(cache=True, nogil=True, inline="always")
def next_high(high, fresh, bits):
    """The time base with the clock's wraps counted: a step back of more than half its range is one."""
    if high < 0:
        return fresh
    period = np.int64(1) << bits
    fresh += high // period * period
    if fresh < high - (period >> 1):
        fresh += period
    return fresh


@numba.njit(cache=True, nogil=True, inline="always")
def place_of_lowest(bits):
    """The place of the lowest set bit of a uint32: the set bits of what lies below it, counted."""
    below = (bits & (~bits + np.uint32(1))) - np.uint32(1)
    below = below - ((below >> np.uint32(1)) & np.uint32(0x55555555))
    below = (below & np.uint32(0x33333333)) + ((below >> np.uint32(2)) & np.uint32(0x33333333))
    below = (below + (below >> np.uint32(4))) & np.uint32(0x0F0F0F0F)
    return np.int64(np.uint32(below * np.uint32(0x01010101)) >> np.uint32(24))


@numba.njit(cache=True, nogil=True)
def evt21(words, high, out):
    """EVT2.1 words (uint64) -> events in `out`, while it has room for 32 more.

    How many events, how many words they took, and the time base after them (-1: none met yet).
    """
    n = 0
    room = len(out) - 32
    for place in range(len(words)):
        if n > room:
            return n, place, high
        word = words[place]
        kind = word >> np.uint64(60)
        if kind <= 1:
            if high < 0:
                continue
            t = high | np.int64((word >> np.uint64(54)) & np.uint64(0x3F))
            x = np.int64((word >> np.uint64(43)) & np.uint64(0x7FF))
            y = np.int16((word >> np.uint64(32)) & np.uint64(0x7FF))
            mask = np.uint32(word & np.uint64(0xFFFFFFFF))
            while mask:
                event = out[n]
                event["t"], event["x"], event["y"], event["p"] = t, np.int16(x + place_of_lowest(mask)), y, kind == 1
                n += 1
                mask &= mask - np.uint32(1)
        elif kind == 8:
            high = next_high(high, np.int64((word >> np.uint64(32)) & np.uint64(0x0FFFFFFF)) << 6, 34)
    return n, len(words), high


@numba.njit(cache=True, nogil=True)
def evt3(words, state, out):
    """EVT3 words (uint16) -> events in `out`, while it has room for 12 more; how many, and how many words they took.

    state int64 [6], changed in place: time base (-1: none met yet), low 12 bits of time, y, base x, its polarity, and
    whether a row has been met. Rows, columns and low times come in no pattern a processor could foresee, so each word
    writes an event and only a column word moves on to the next.
    """
    high, low, y, base, polarity, known = state[0], state[1], state[2], state[3], state[4], state[5]
    n = np.uint64(0)
    room = np.uint64(max(len(out) - 12, 0))
    used = len(words) if len(out) >= 12 else 0
    last_high = np.uint16(0)
    for place in range(used):
        if n > room:
            used = place
            break
        word = words[place]
        kind = word >> np.uint16(12)
        value = np.int64(word & np.uint16(0x07FF))
        y = value if kind == 0 else y
        known = 1 if kind == 0 else known
        low = np.int64(word & np.uint16(0x0FFF)) if kind == 6 else low
        event = out[n]
        event["t"] = high | low
        event["x"] = np.int16(value)
        event["y"] = np.int16(y)
        event["p"] = (word & np.uint16(0x0800)) != 0
        usable = (high >= 0) & (known != 0)
        n += np.uint64((kind == 2) & usable)
        if kind - np.uint16(3) <= np.uint16(2) and kind >= 3:
            if kind == 3:
                base, polarity = value, np.int64((word >> np.uint16(11)) & np.uint16(1))
                continue
            bits = np.uint32(word) & np.uint32(0xFFF if kind == 4 else 0xFF)
            while bits and usable:
                event = out[n]
                event["t"], event["x"], event["y"] = high | low, np.int16(base + place_of_lowest(bits)), np.int16(y)
                event["p"] = polarity != 0
                n += np.uint64(1)
                bits &= bits - np.uint32(1)
            base = min(base + (12 if kind == 4 else 8), 0x7FFF - 12)
        elif (kind == 8) & (word != last_high):  # sent again and again: only a new one is worth a look
            last_high = word
            high = next_high(high, np.int64(word & np.uint16(0x0FFF)) << 12, 24)
    state[0], state[1], state[2], state[3], state[4], state[5] = high, low, y, base, polarity, known
    return np.int64(n), used


@numba.njit(cache=True, nogil=True)
def dat(words, last, out):
    """DAT records (two uint32 each) -> events in `out`; the time of the last one, unwrapped."""
    for index in range(len(out)):
        last = next_high(last, np.int64(words[2 * index]), 32)
        word = words[2 * index + 1]
        event = out[index]
        event["t"] = last
        event["x"] = np.int16(word & np.uint32(0x3FFF))
        event["y"] = np.int16((word >> np.uint32(14)) & np.uint32(0x3FFF))
        event["p"] = (word >> np.uint32(28)) > 0
    return last
