"""Compiled loops of the file readers.

Events are written to `out` as 13 bytes each, in two writes of 8; the next event overwrites the excess. So `out` needs
room for one event more than are written.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from spikesight.encoders.kernels.loop import loop

EVENT = np.int64(13)


def _put_8(_: Any, target: Any, at: Any, value: Any) -> Any:
    """Write an int64 as 8 bytes of a uint8 array, unaligned and unchecked.

    A processor needs one instruction; a loop over bytes, or over the fields of a packed record, several times as long.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        place = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(64).as_pointer())
        builder.store(args[2], place).align = 1
        return context.get_dummy_value()

    return types.void(target, at, value), generate


put_8: Any = intrinsic(_put_8)


@loop
def faults(events, width, height):
    """Return how many events lie outside width x height, and how many times are lower than the time before."""
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


@loop
def span(events):
    """Return the difference between the highest and lowest time; events must not be empty."""
    lowest = highest = events[0]["t"]
    for index in range(1, len(events)):
        t = events[index]["t"]
        lowest, highest = min(lowest, t), max(highest, t)
    return highest - lowest


@loop
def put_event(out, at, t, x, y, on):
    """Write an event to the 13 bytes from `at` on; the next three bytes are overwritten as well."""
    put_8(out, at, t)
    put_8(out, at + 8, x | y << 16 | on << 32)


@loop
def evt2(words, high, out):
    """Decode EVT2 words (uint32) to events in `out`; return their number and the new time base (-1: none seen yet)."""
    at = np.int64(0)
    for raw in words:
        word = np.int64(raw)
        kind = word >> 28
        if kind <= 1:
            if high < 0:
                continue
            put_event(out, at, high | word >> 22 & 0x3F, word >> 11 & 0x7FF, word & 0x7FF, kind)
            at += EVENT
        elif kind == 8:
            high = next_high(high, (word & 0x0FFFFFFF) << 6, 34)
    return at // EVENT, high


@loop(inline="always")
def next_high(high, fresh, bits):
    """Return the new time base with wraps of the clock added; a step back of more than half the range is a wrap."""
    if high < 0:
        return fresh
    period = np.int64(1) << bits
    fresh += high // period * period
    if fresh < high - (period >> 1):
        fresh += period
    return fresh


@loop(inline="always")
def place_of_lowest(bits):
    """Return the index of the lowest set bit of a uint32, by counting the bits below it."""
    below = (bits & (~bits + np.uint32(1))) - np.uint32(1)
    below = below - ((below >> np.uint32(1)) & np.uint32(0x55555555))
    below = (below & np.uint32(0x33333333)) + ((below >> np.uint32(2)) & np.uint32(0x33333333))
    below = (below + (below >> np.uint32(4))) & np.uint32(0x0F0F0F0F)
    return np.int64(np.uint32(below * np.uint32(0x01010101)) >> np.uint32(24))


@loop
def evt21(words, high, out):
    """Decode EVT2.1 words (uint64) to events in `out`, while it has room for 32 more.

    Returns the number of events, the number of words read, and the new time base (-1: none seen yet).
    """
    at, last = np.int64(0), np.int64(len(out)) - 33 * EVENT
    for place in range(len(words)):
        if at > last:
            return at // EVENT, place, high
        word = words[place]
        kind, half = np.int64(word >> np.uint64(60)), np.int64((word >> np.uint64(32)) & np.uint64(0x0FFFFFFF))
        if kind <= 1:
            if high < 0:
                continue
            t, x, y = high | half >> 22, half >> 11 & 0x7FF, half & 0x7FF
            bits = np.uint32(word & np.uint64(0xFFFFFFFF))
            while bits:
                put_event(out, at, t, x + place_of_lowest(bits), y, kind)
                at += EVENT
                bits &= bits - np.uint32(1)
        elif kind == 8:
            high = next_high(high, half << 6, 34)
    return at // EVENT, len(words), high


@loop
def evt3(words, state, out):
    """Decode EVT3 words (uint16) to events in `out`, while it has room for 12 more; return numbers of events and words.

    state int64 [6], updated in place: time base (-1: none seen yet), low 12 bits of time, y, base x, its polarity, and
    whether a row was seen.
    """
    high, low, y, base, polarity, known = state[0], state[1], state[2], state[3], state[4], state[5]
    place, n_words = np.int64(0), np.int64(len(words))
    while place < n_words and (high < 0 or known == 0):  # before the first event
        word = np.int64(words[np.uint64(place)])
        kind, value = word >> 12, word & 0x7FF
        if kind == 0:
            y, known = value, np.int64(1)
        elif kind == 3:
            base, polarity = value, word >> 11 & 1
        elif kind == 4 or kind == 5:
            base = base_after(base, kind)
        elif kind == 6:
            low = word & 0xFFF
        elif kind == 8:
            high = next_high(high, (word & 0xFFF) << 12, 24)
        place += 1
    # Rows, columns and low times come in an order that branch prediction cannot learn. So there is no branch for them:
    # each word writes an event, and only a column word advances `at`.
    at, last = np.int64(0), np.int64(len(out)) - 13 * EVENT
    newest = np.uint32(0x8000 | (high >> 12 & 0xFFF))  # the time base is sent repeatedly: only a change counts
    while place < n_words and at <= last:
        word = np.int64(words[np.uint64(place)])
        kind, value = word >> 12, word & 0x7FF
        y ^= (y ^ value) & -np.int64(kind == 0)
        low ^= (low ^ (word & 0xFFF)) & -np.int64(kind == 6)
        put_event(out, at, high | low, value, y, word >> 11 & 1)
        at += EVENT & -np.int64(kind == 2)
        if (np.uint32(word) ^ newest) - np.uint32(1) < np.uint32(0xFFF):  # both are time words, and they differ
            newest = np.uint32(word)
            high = next_high(high, (word & 0xFFF) << 12, 24)
        elif np.uint32(kind) - np.uint32(3) <= np.uint32(2):
            if kind == 3:
                base, polarity = value, word >> 11 & 1
            else:
                bits = np.uint32(word) & np.uint32(0xFFF if kind == 4 else 0xFF)
                while bits:
                    put_event(out, at, high | low, base + place_of_lowest(bits), y, polarity)
                    at += EVENT
                    bits &= bits - np.uint32(1)
                base = base_after(base, kind)
        place += 1
    state[0], state[1], state[2], state[3], state[4], state[5] = high, low, y, base, polarity, known
    return at // EVENT, place


@loop
def base_after(base, kind):
    """Return the base column after a vector of 12 (kind 4) or 8 columns."""
    return min(base + (12 if kind == 4 else 8), 0x7FFF - 12)


@loop
def dat(words, last, out):
    """Decode DAT records (two uint32 each) to events in `out`; return the unwrapped time of the last one."""
    base = last >> 32 << 32 if last >= 0 else np.int64(0)
    for index in range(len(words) // 2):
        t = base + np.int64(words[2 * index])
        if t < last - (np.int64(1) << 31):  # the clock has wrapped
            base += np.int64(1) << 32
            t += np.int64(1) << 32
        last = t
        word = np.int64(words[2 * index + 1])
        put_event(out, EVENT * index, last, word & 0x3FFF, word >> 14 & 0x3FFF, np.int64(word >> 28 > 0))
    return last
