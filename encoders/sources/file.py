"""A recording played in real time, as a source."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from spikesight.encoders.events import Events
from spikesight.encoders.recordings.files import packets, sensor_of
from spikesight.encoders.sources.address import PACKET_MS, Address, SourceEnded


class FileDriver:
    """A recording in real time. Options: speed (1; 0 is as fast as it can), loop=1, packet_ms."""

    def __init__(
        self,
        address: Address,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path, self._clock, self._sleep = Path(address.target), clock, sleep
        self._speed = address.number("speed", 1.0)
        self._loop = address.options.get("loop", "0") != "0"
        self._packet_us = round(address.number("packet_ms", PACKET_MS, 0.1) * 1000)
        self.size = sensor_of(self._path)
        self._packets = self._all()
        self._next: Events | None = None
        self._begin_s: float | None = None
        self._begin_us: int  # of the file's clock, at that time

    def _all(self) -> Iterator[Events]:
        shift = end = 0
        while True:
            first = True
            for packet in packets(self._path, self._packet_us, self.size):
                if first:  # a round goes on from the one before
                    shift = end + self._packet_us - int(packet["t"][0]) if end else 0
                    first = False
                moved = packet.copy()
                moved["t"] += shift
                end = int(moved["t"][-1])
                yield moved
            if not self._loop:
                return

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
