"""A source that plays a recording in real time."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from spikesight.encoders.events import Events
from spikesight.encoders.recordings.files import packets, sensor_of
from spikesight.encoders.sources.address import PACKET_MS, Address, SourceEnded


def looped(packets: Callable[[], Iterable[Events]], rounds: float, gap_us: int) -> Iterator[Events]:
    """Repeat a recording's packets `rounds` times; a round starts `gap_us` after the last event of the one before."""
    end = done = 0
    while done < rounds:
        shift: int | None = None
        for packet in packets():
            if shift is None:
                shift = end + gap_us - int(packet["t"][0]) if done else 0
            moved = packet.copy()
            moved["t"] += shift
            end = int(moved["t"][-1])
            yield moved
        if shift is None:  # the recording is empty
            return
        done += 1


class FileDriver:
    """Plays a recording in real time. Options: speed (1; 0: as fast as possible), loop=1, packet_ms."""

    def __init__(
        self,
        address: Address,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        rounds: float | None = None,
    ) -> None:
        """Open the recording of `address`, to be played as often as its options say, or `rounds` times."""
        self._path, self._clock, self._sleep = Path(address.target), clock, sleep
        self._speed = address.number("speed", 1.0)
        rounds = rounds or (math.inf if address.options.get("loop", "0") != "0" else 1)
        self._packet_us = round(address.number("packet_ms", PACKET_MS, 0.1) * 1000)
        self.size = sensor_of(self._path)
        self._packets = looped(lambda: packets(self._path, self._packet_us, self.size), rounds, self._packet_us)
        self._next: Events | None = None
        self._begin_s: float | None = None
        self._begin_us: int  # time of the file's first event

    def read(self, timeout_s: float) -> Events | None:
        if self._next is None:
            self._next = next(self._packets, None)
            if self._next is None:
                raise SourceEnded
        if self._speed > 0:
            end_us = int(self._next["t"][-1])
            if self._begin_s is None:
                self._begin_s, self._begin_us = self._clock(), int(self._next["t"][0])
            ahead = self._begin_s + (end_us - self._begin_us) / 1e6 / self._speed - self._clock()
            if ahead > 0:
                self._sleep(min(ahead, timeout_s))
                if ahead > timeout_s:
                    return None
        packet, self._next = self._next, None
        return packet

    def close(self) -> None:
        self._packets = iter(())
