"""Encode and decode events in UDP datagrams, in two layouts that event-camera programs send.

t64          13 bytes an event: time uint64 (us), x uint16, y uint16, ON uint8          (faery t64_x16_y16_on8)
aestream     words of 4 bytes: bit 31 no time follows, 30 to 16 x, 15 ON, 14 to 0 y; else a word with the time follows
             (AEStream, SPIF; port 3333)

All are little-endian. A datagram holds whole records.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import EVENTS, Events, empty_events, make_events, unwrap

T64 = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "u1")])
RECORD_BYTES = {"t64": 13, "aestream": 4}
EVENT_BYTES = {"t64": 13, "aestream": 8}  # bytes that encode() writes for an event
NO_TIME = np.uint32(1 << 31)
LATEST_US = 2**62  # later times, from a faulty sender, would overflow in sums
LONGEST_DATAGRAM = 1472  # payload bytes that pass an Ethernet link without fragmentation


class WireDecoder:
    """Decodes the datagrams of one stream, counting wraps of 32-bit clocks; `n_bytes_lost`: of incomplete records."""

    def __init__(self, layout: str) -> None:
        if layout not in RECORD_BYTES:
            raise ValueError(f"there is no layout '{layout}'; choose one of {', '.join(RECORD_BYTES)}")
        self.layout = layout
        self.n_bytes_lost = 0
        self._last = -1

    def decode(self, datagrams: Sequence[bytes | memoryview], arrival_us: int) -> Events:
        """Decode datagrams in order of arrival. `arrival_us`: the time of events that carry none."""
        if not datagrams:
            return empty_events()
        record = RECORD_BYTES[self.layout]
        whole = []
        for datagram in datagrams:
            lost = len(datagram) % record
            self.n_bytes_lost += lost
            whole.append(datagram[: len(datagram) - lost] if lost else datagram)
        data = np.frombuffer(whole[0] if len(whole) == 1 else b"".join(whole), np.uint8)
        if self.layout == "t64":
            return self._t64(data)
        words = data.view("<u4").astype(np.uint32, copy=False)
        return self._words(words, [len(datagram) // 4 for datagram in whole], arrival_us)

    def _t64(self, data: NDArray[np.uint8]) -> Events:
        """Decode t64, whose layout equals EVENTS byte for byte, except that ON or the time may be any number."""
        raw = data.copy().view(T64)  # copied as bytes, which is faster: see `joined`
        if len(raw) and (raw["on"].max() > 1 or raw["t"].max() > LATEST_US):
            raw["on"] = raw["on"] > 0
            raw["t"] = np.minimum(raw["t"], LATEST_US)
        return raw.view(EVENTS)  # coordinates above 32767 become negative, so they are off any sensor

    def _unwrapped(self, times: NDArray[np.uint32]) -> NDArray[np.int64]:
        t = unwrap(times.astype(np.int64), 32, self._last)
        self._last = int(t[-1]) if len(t) else self._last
        return t

    def _words(self, words: NDArray[np.uint32], lengths: list[int], arrival_us: int) -> Events:
        untimed = words >= NO_TIME
        if bool(untimed.all()):
            return _from_words(words, np.full(len(words), arrival_us, np.int64))
        if all(length % 2 == 0 for length in lengths) and not bool(untimed[::2].any()):
            return _from_words(words[::2], self._unwrapped(words[1::2]))
        at = self._walk(untimed.tolist(), lengths)
        timed = ~untimed[at]
        t = np.full(len(at), arrival_us, np.int64)
        t[timed] = self._unwrapped(words[at[timed] + 1])
        return _from_words(words[at], t)

    def _walk(self, untimed: list[bool], lengths: list[int]) -> NDArray[np.intp]:
        """Return the indices of event words. Time words are skipped, since they may have bit 31 set, too."""
        at: list[int] = []
        begin = 0
        for length in lengths:
            index, end = begin, begin + length
            while index < end:
                step = 1 if untimed[index] else 2
                if index + step > end:
                    self.n_bytes_lost += 4
                else:
                    at.append(index)
                index += step
            begin = end
        return np.asarray(at, np.intp)


def _from_words(words: NDArray[np.uint32], t: NDArray[np.int64]) -> Events:
    return make_events(t, words >> 16 & 0x7FFF, words & 0x7FFF, words >> 15 & 1)


def encode(events: Events, layout: str, *, longest: int = LONGEST_DATAGRAM) -> Iterator[bytes]:
    """Yield datagrams of at most `longest` bytes with whole events; aestream events carry their times."""
    data = memoryview(pack(events, layout))
    step = max(1, longest // EVENT_BYTES[layout]) * EVENT_BYTES[layout]
    for begin in range(0, len(data), step):
        yield bytes(data[begin : begin + step])


def pack(events: Events, layout: str) -> bytes:
    """Encode all events as one block of bytes. Raises ValueError for an unknown layout, or a negative time in t64."""
    if layout == "t64":
        if len(events) and events["t"].min() < 0:
            raise ValueError("the layout t64 has no times below 0: shift them")
        raw = np.empty(len(events), T64)
        raw["t"], raw["x"], raw["y"], raw["on"] = (events[name] for name in "txyp")
    elif layout == "aestream":
        t, x, y, p = (events[name].astype(np.int64) for name in "txyp")
        raw = np.stack([x << 16 | p << 15 | y, t & 0xFFFFFFFF], axis=1).astype("<u4")
    else:
        raise ValueError(f"there is no layout '{layout}'; choose one of {', '.join(RECORD_BYTES)}")
    return raw.tobytes()
