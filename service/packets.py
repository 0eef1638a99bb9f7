"""Event payloads of the wire -> EVENTS, in the three documented layouts. No sockets, no clock."""

import numpy as np
from numpy.typing import NDArray

from encoders.wire import RECORD_BYTES, T64, WireDecoder, pack
from service.messages import EVENTS_AER, EVENTS_T32, EVENTS_T64

MAX_TIME_US = 2**53  # beyond it a float64 on the client's side is no longer exact
LAYOUTS = {EVENTS_T64: "t64", EVENTS_T32: "t32", EVENTS_AER: "aestream"}


class PacketError(ValueError):
    """A payload that is no packet of events."""


class PacketDecoder:
    """Payloads of one stream; keeps the wraps of 32-bit times."""

    def __init__(self) -> None:
        self._decoders: dict[int, WireDecoder] = {}

    def decode(self, kind: int, payload: bytes, arrival_us: int) -> NDArray:
        """EVENTS of one message; `arrival_us` stands in for times that the layout leaves out. Raises PacketError."""
        layout = LAYOUTS[kind]
        if len(payload) % RECORD_BYTES[layout]:
            raise PacketError(f"the payload is not a whole number of {RECORD_BYTES[layout]}-byte records")
        if layout == "t64" and len(payload) and int(np.frombuffer(payload, T64)["t"].max()) >= MAX_TIME_US:
            raise PacketError("an event's time is beyond 2^53 microseconds")
        decoder = self._decoders.setdefault(kind, WireDecoder(layout))
        lost = decoder.n_bytes_lost
        events = decoder.decode([payload], arrival_us)
        if decoder.n_bytes_lost != lost:
            raise PacketError("the last event's time is missing")
        return events


def encode_t64(events: NDArray) -> bytes:
    """EVENTS in the t64 layout."""
    return pack(events, "t64")


def progress_us(events: NDArray, bin_us: int, gap_us: int, back_us: int) -> NDArray[np.int64]:
    """How far a stream's bins get with each event, int64 [n]: an upper bound of bins closed is progress / bin_us.

    A step forward counts up to the gap after which no empty bins are made; a clock restart closes one bin.
    """
    steps = np.diff(events["t"], prepend=events["t"][:1])
    return np.cumsum(np.where(steps < -back_us, bin_us, np.clip(steps, 0, gap_us + bin_us)))
