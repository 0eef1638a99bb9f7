"""Event payloads of the wire -> EVENTS, in the three documented layouts. No sockets, no clock."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from encoders.events import EVENTS
from service.messages import EVENTS_AER, EVENTS_T32, EVENTS_T64, T32, T64

MAX_TIME_US = 2**53  # beyond it a float64 on the client's side is no longer exact
HALF_WRAP = 2**31


class PacketError(ValueError):
    """A payload that is no packet of events."""


@dataclass
class PacketDecoder:
    """Payloads of one stream; keeps the wraps of 32-bit times."""

    wraps: int = 0
    last: int = field(default=0)  # the last 32-bit time seen

    def decode(self, kind: int, payload: bytes, arrival_us: int) -> NDArray:
        """EVENTS of one message; `arrival_us` stands in for times that the layout leaves out."""
        if kind == EVENTS_T64:
            return self._t64(payload)
        if kind == EVENTS_T32:
            return self._t32(payload)
        if kind == EVENTS_AER:
            return self._words(payload, arrival_us)
        raise PacketError("not a layout of events")

    def _t64(self, payload: bytes) -> NDArray:
        raw = records(payload, T64)
        if len(raw) and int(raw["t"].max()) >= MAX_TIME_US:
            raise PacketError("an event's time is beyond 2^53 microseconds")
        events = np.empty(len(raw), EVENTS)
        events["t"], events["x"], events["y"] = raw["t"], coordinate(raw["x"]), coordinate(raw["y"])
        events["p"] = raw["on"] > 0
        return events

    def _t32(self, payload: bytes) -> NDArray:
        raw = records(payload, T32)
        events = np.empty(len(raw), EVENTS)
        events["t"] = self._unwrap(raw["t"])
        events["x"], events["y"], events["p"] = coordinate(raw["x"]), raw["yp"] >> 1, raw["yp"] & 1
        return events

    def _words(self, payload: bytes, arrival_us: int) -> NDArray:
        """AEStream words: bit 31 clear means that a word with the time follows."""
        if len(payload) % 4:
            raise PacketError("the payload is not a whole number of 4-byte words")
        words = np.frombuffer(payload, "<u4")
        at, timed = event_words(words)
        chosen = words[at]
        events = np.empty(len(chosen), EVENTS)
        events["t"] = arrival_us
        if timed.any():
            events["t"][timed] = self._unwrap(words[at[timed] + 1])
        events["x"], events["y"] = chosen >> 16 & 0x7FFF, chosen & 0x7FFF
        events["p"] = chosen >> 15 & 1
        return events

    def _unwrap(self, times: NDArray) -> NDArray[np.int64]:
        """A step back of more than 2^31 is a wrap, a smaller one is left to the binner."""
        if not len(times):
            return np.zeros(0, np.int64)
        steps = np.diff(times.astype(np.int64), prepend=self.last)
        turns = np.cumsum(steps < -HALF_WRAP) - np.cumsum(steps > HALF_WRAP)
        wraps = np.maximum(self.wraps + turns, 0)
        self.wraps, self.last = int(wraps[-1]), int(times[-1])
        return times.astype(np.int64) + (wraps << 32)


def records(payload: bytes, layout: np.dtype) -> NDArray:
    """The payload as records; PacketError when one is cut."""
    if len(payload) % layout.itemsize:
        raise PacketError(f"the payload is not a whole number of {layout.itemsize}-byte events")
    return np.frombuffer(payload, layout)


def coordinate(values: NDArray) -> NDArray:
    """uint16 coordinates as int16; those above 32767 become -1, which every sensor drops."""
    return np.where(values > 0x7FFF, 0xFFFF, values).astype(np.uint16).view(np.int16)


def event_words(words: NDArray) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Indices of event words, and whether a time follows each. A time may itself have bit 31 set."""
    untimed = (words >> 31).astype(bool)
    if untimed.all():
        return np.arange(len(words)), np.zeros(len(words), bool)
    if len(words) % 2 == 0 and not untimed[::2].any():
        at = np.arange(0, len(words), 2)
        return at, np.ones(len(at), bool)
    picked: list[int] = []
    index = 0
    while index < len(words):
        if not untimed[index] and index + 1 == len(words):
            raise PacketError("the last event's time is missing")
        picked.append(index)
        index += 1 if untimed[index] else 2
    at = np.asarray(picked, np.intp)
    return at, ~untimed[at]


def encode_t64(events: NDArray) -> bytes:
    """EVENTS in the t64 layout."""
    raw = np.empty(len(events), T64)
    raw["t"], raw["x"], raw["y"], raw["on"] = events["t"], events["x"], events["y"], events["p"]
    return raw.tobytes()


def progress_us(events: NDArray, bin_us: int, gap_us: int, back_us: int) -> NDArray[np.int64]:
    """How far a stream's bins get with each event, int64 [n]: an upper bound of bins closed is progress / bin_us.

    A step forward counts up to the gap after which no empty bins are made; a clock restart closes one bin.
    """
    steps = np.diff(events["t"], prepend=events["t"][:1])
    return np.cumsum(np.where(steps < -back_us, bin_us, np.clip(steps, 0, gap_us + bin_us)))
