"""A recording as a network camera: packets in real time over TCP or UDP, with the faults of real cameras on request."""

import multiprocessing
import os
import random
import struct
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import numpy as np

from encoders.events import EVENTS, Events, SensorSize
from encoders.packets import RECORD_BYTES, encode
from encoders.recordings.files import write_recording
from encoders.sources.address import SourceError, library_of

SLOW_CLIENT_PACKETS = 400  # 2 s of them, at most 64 MB: dv-processing has no bound of its own; beyond it packets go
LAST_PACKETS_S = 5.0  # how long readers have for what waits for them when a recording has ended
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

    @property
    def n_dropped(self) -> int: ...

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
    """A server that dv-processing's readers connect to: TCP on host and port, or a unix socket on a path.

    The server runs in a process of its own: dv-processing's writer can wait for its own thread for ever when it is
    released while a client leaves, and a camera that loses its connection is then simply a process that ends.
    """

    def __init__(self, size: SensorSize, host: str = "", port: int = 0, path: str = "") -> None:
        try:
            library_of("dv_processing", "a dv:// camera", "cameras")
        except SourceError as error:
            raise CameraError(str(error)) from error
        self._size, self._place = size, (host, port, path)
        self.n_sent = 0
        self._n_dropped_before = 0
        self._server: tuple[BaseProcess, Connection] | None = None
        self.connect(connected=True)

    def connect(self, *, connected: bool) -> None:
        """Begin to serve, or end it with all connections."""
        if self._server is not None:
            self._n_dropped_before = self.n_dropped
            process, link = self._server
            self._server = None
            process.terminate()
            process.join(5)
            link.close()
        if not connected:
            return
        host, port, path = self._place
        if path:
            Path(path).unlink(missing_ok=True)  # what an ended server of ours has left
        context = multiprocessing.get_context("spawn")
        link, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._size, host, port, path), daemon=True)
        process.start()
        theirs.close()
        try:
            fault = link.recv_bytes().decode()
        except EOFError:
            fault = "the server did not start"
        if fault:
            process.join(5)
            raise CameraError(f"cannot serve at {path or f'{host}:{port}'}: {fault}")
        self._server = process, link

    def _status(self) -> tuple[int, int, int]:
        """Readers connected, packets waiting for them, and events dropped."""
        if self._server is None:
            return 0, 0, 0
        self._server[1].send_bytes(b"?")
        return STATUS.unpack(self._server[1].recv_bytes())

    @property
    def n_clients(self) -> int:
        """How many readers are connected."""
        return self._status()[0]

    @property
    def n_waiting(self) -> int:
        """Packets that the readers have not taken yet."""
        return self._status()[1]

    @property
    def n_dropped(self) -> int:
        """Events dropped because a reader was too slow."""
        return self._n_dropped_before + self._status()[2]

    def send(self, events: Events) -> None:
        if self._server is None or not len(events):
            return
        self._server[1].send_bytes(b"!" + events.tobytes())
        self.n_sent += len(events)

    def close(self) -> None:
        end = time.monotonic() + LAST_PACKETS_S
        while self.n_waiting and self.n_clients and time.monotonic() < end:
            time.sleep(0.02)
        if self.n_clients:
            time.sleep(0.2)  # the last packet has left the queue, not the machine
        self.connect(connected=False)


STATUS = struct.Struct("<qqq")


def _serve(link: Connection, size: SensorSize, host: str, port: int, path: str) -> None:
    """The server's process: events in, and a status when asked, until the link ends."""
    import dv_processing as dv

    stream = dv.io.Stream.EventStream(0, "events", "spikesight", (size.width, size.height))
    try:
        writer = dv.io.NetworkWriter(dv.Path(path), stream) if path else dv.io.NetworkWriter(host, port, stream)
    except RuntimeError:
        link.send_bytes(b"the address is taken, or not of this machine")
        return
    link.send_bytes(b"")
    n_dropped = 0
    while True:
        try:
            message = link.recv_bytes()
        except (EOFError, OSError):
            os._exit(0)  # without the writer's own end, which may wait for ever
        waiting = writer.getQueuedPacketCount()
        if message == b"?":
            link.send_bytes(STATUS.pack(writer.getClientCount(), waiting, n_dropped))
            continue
        events = np.frombuffer(message, EVENTS, offset=1)
        if waiting > SLOW_CLIENT_PACKETS:
            n_dropped += len(events)
            continue
        for store in stores(dv, events, size):
            writer.writeEvents(store)


def stores(dv: Any, events: Events, size: SensorSize) -> Iterator[Any]:
    """Events as stores of dv-processing, which take no arrays: few one by one, many through a small AEDAT4 file."""
    if len(events) <= FEW_EVENTS:
        store = dv.EventStore()
        for t, x, y, p in events.tolist():
            store.push_back(t, x, y, p)
        yield store
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "packet.aedat4"
        write_recording(path, events, size)
        recording = dv.io.MonoCameraRecording(str(path))
        while (store := recording.getNextEventBatch()) is not None:
            yield store


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
