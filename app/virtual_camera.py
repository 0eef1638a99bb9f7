"""A recording as a network camera: packets in real time over TCP or UDP, with the faults of real cameras on request."""

import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import numpy as np

from encoders.events import Events, SensorSize
from encoders.recordings import write_recording
from encoders.wire import RECORD_BYTES, encode

SLOW_CLIENT_PACKETS = 50  # dv-processing's queue has no bound: beyond this, packets are dropped
FEW_EVENTS = 2000  # up to this many, a store is filled one by one


class CameraError(ValueError):
    """An address that cannot be served, in one sentence."""


@dataclass(frozen=True)
class Faults:
    """What goes wrong, and when; times in seconds of the recording, 0 or empty: not at all."""

    burst: int = 1  # so many packets are held back and sent together
    jitter_ms: float = 0.0  # a packet is late by up to this, in order
    gaps_s: tuple[tuple[float, float], ...] = ()  # (from, length): nothing is sent, and the events are lost
    disconnect_s: tuple[tuple[float, float], ...] = ()  # (from, length): the connection is closed and opened again
    clock_reset_s: float = 0.0  # the camera's clock begins at 0 again


@dataclass(frozen=True)
class Delivery:
    """What to do at `at_s` after the beginning: send events, or (None) close or open the connection."""

    at_s: float
    events: Events | None
    connected: bool = True


def schedule(packets: Iterable[Events], faults: Faults, *, speed: float = 1.0, seed: int = 0) -> Iterator[Delivery]:
    """When each packet is sent: at the time of its last event, or as the faults have it. Pure: no clock, no socket."""
    chance = random.Random(seed)
    origin: int | None = None
    held: list[Events] = []
    latest = at_s = 0.0
    down = False
    for packet in packets:
        origin = int(packet["t"][0]) if origin is None else origin
        at_s = (int(packet["t"][-1]) - origin) / 1e6
        cut = any(begin <= at_s < begin + length for begin, length in faults.disconnect_s)
        if cut != down:
            down = cut
            latest = max(latest, at_s / speed)
            yield Delivery(latest, None, connected=not down)
        if cut or any(begin <= at_s < begin + length for begin, length in faults.gaps_s):
            continue
        held.append(_reset(packet, origin, faults.clock_reset_s))
        if len(held) < faults.burst:
            continue
        late_s = chance.uniform(0, faults.jitter_ms) / 1e3
        latest = max(latest, at_s / speed + late_s)
        for one in held:
            yield Delivery(latest, one)
        held = []
    for one in held:
        yield Delivery(max(latest, at_s / speed), one)


def _reset(packet: Events, origin: int, clock_reset_s: float) -> Events:
    reset_us = origin + round(clock_reset_s * 1e6)
    if not clock_reset_s or int(packet["t"][0]) < reset_us:
        return packet
    moved = packet.copy()
    moved["t"] -= reset_us
    return moved


class Sink(Protocol):
    """Where a virtual camera sends to."""

    n_sent: int
    n_dropped: int

    def send(self, events: Events) -> None: ...

    def connect(self, *, connected: bool) -> None: ...

    def close(self) -> None: ...


class UdpSink:
    """Datagrams to one address. UDP knows no connection: while 'disconnected' nothing is sent."""

    def __init__(self, host: str, port: int, layout: str = "t64", *, big_endian: bool = False) -> None:
        import socket

        if layout not in RECORD_BYTES:
            raise CameraError(f"there is no layout '{layout}'; choose one of {', '.join(RECORD_BYTES)}")
        self._target, self._layout, self._big_endian = (host, port), layout, big_endian
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.n_sent = self.n_dropped = 0

    def send(self, events: Events) -> None:
        for datagram in encode(events, self._layout, big_endian=self._big_endian):
            self._socket.sendto(datagram, self._target)
        self.n_sent += len(events)

    def connect(self, *, connected: bool) -> None:
        pass

    def close(self) -> None:
        self._socket.close()


class DvSink:
    """A server that dv-processing's readers connect to: TCP on host and port, or a unix socket on a path."""

    def __init__(self, size: SensorSize, host: str = "", port: int = 0, path: str = "", library: Any = None) -> None:
        if library is None:
            try:
                import dv_processing as library
            except ImportError as error:
                raise CameraError("a dv:// camera needs dv_processing: pip install 'spikesight[cameras]'") from error
        self._dv, self._size, self._place = library, size, (host, port, path)
        self.n_sent = self.n_dropped = 0
        self._writer: Any = None
        self.connect(connected=True)

    def connect(self, *, connected: bool) -> None:
        self._writer = None  # releasing the writer closes the server
        if not connected:
            return
        host, port, path = self._place
        stream = self._dv.io.Stream.EventStream(0, "events", "spikesight", (self._size.width, self._size.height))
        try:
            where = (self._dv.Path(path),) if path else (host, port)
            self._writer = self._dv.io.NetworkWriter(*where, stream)
        except RuntimeError as error:
            raise CameraError(f"cannot serve at {path or f'{host}:{port}'}: the address is taken") from error

    @property
    def n_clients(self) -> int:
        """How many readers are connected."""
        return int(self._writer.getClientCount()) if self._writer is not None else 0

    def send(self, events: Events) -> None:
        if self._writer is None or not len(events):
            return
        if self._writer.getQueuedPacketCount() > SLOW_CLIENT_PACKETS:
            self.n_dropped += len(events)
            return
        for store in self._stores(events):
            self._writer.writeEvents(store)
        self.n_sent += len(events)

    def _stores(self, events: Events) -> Iterator[Any]:
        """dv-processing takes no arrays: few events go in one by one, many through a small AEDAT4 file."""
        if len(events) <= FEW_EVENTS:
            store = self._dv.EventStore()
            for t, x, y, p in events.tolist():
                store.push_back(t, x, y, p)
            yield store
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "packet.aedat4"
            write_recording(path, events, self._size)
            recording = self._dv.io.MonoCameraRecording(str(path))
            while (store := recording.getNextEventBatch()) is not None:
                yield store

    def close(self) -> None:
        self._writer = None


def open_sink(text: str, size: SensorSize) -> Sink:
    """`dv://host:port`, `dv+unix:///path` or `udp://host:port?format=t64`. Raises CameraError."""
    parts = urlsplit(text)
    options = dict(parse_qsl(parts.query))
    if parts.scheme == "dv+unix" and parts.path:
        return DvSink(size, path=unquote(parts.path))
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if parts.scheme not in ("dv", "udp") or not host or not port:
        raise CameraError(f"cannot send to '{text}'; write dv://host:port, dv+unix:///path or udp://host:port")
    if parts.scheme == "dv":
        return DvSink(size, host, port)
    return UdpSink(host, port, options.get("format", "t64"), big_endian=options.get("endian") == "big")


class VirtualCamera:
    """Send what a schedule says when it says it. `clock` and `sleep` are stood in for by tests."""

    def __init__(
        self,
        sink: Sink,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.sink, self._clock, self._sleep = sink, clock, sleep
        self.worst_late_s = 0.0

    def play(self, deliveries: Iterable[Delivery]) -> None:
        """All of them, in time."""
        begin = self._clock()
        for delivery in deliveries:
            ahead = begin + delivery.at_s - self._clock()
            if ahead > 0:
                self._sleep(ahead)
            else:
                self.worst_late_s = max(self.worst_late_s, -ahead)
            if delivery.events is None:
                self.sink.connect(connected=delivery.connected)
            else:
                self.sink.send(delivery.events)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sink.close()


def looped(packets: Callable[[], Iterable[Events]], rounds: float) -> Iterator[Events]:
    """A recording's packets again and again, time going on from round to round."""
    shift = end = done = 0
    while done < rounds:
        first = True
        for packet in packets():
            if first:
                shift = end + 10_000 - int(packet["t"][0]) if done else 0
                first = False
            moved = packet
            if shift:
                moved = packet.copy()
                moved["t"] += np.int64(shift)
            end = int(moved["t"][-1])
            yield moved
        done += 1
