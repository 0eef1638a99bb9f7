"""`spikesight play`: play a recording as a network camera."""

import argparse
import math
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress

from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.packets import RECORD_BYTES, encode
from spikesight.encoders.recordings.aedat4 import NONE, framed, header, packets_of
from spikesight.encoders.sources.address import Address, SourceEnded, SourceError
from spikesight.encoders.sources.file import FileDriver
from spikesight.encoders.sources.network import family_of
from spikesight.encoders.sources.source import parse
from spikesight.encoders.words import counted
from spikesight.training.progress import say

SLOW_S = 5.0  # seconds in which a reader must take a packet
LEAVE_S = 1.0


class CameraError(ValueError):
    """An address that cannot be sent to or served."""


def wait_until(done: Callable[[], bool], seconds: float) -> bool:
    """Wait until `done` returns True, checking every 10 ms; return False after `seconds`."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


class UdpSink:
    """Datagrams to one address."""

    def __init__(self, host: str, port: int, layout: str = "t64") -> None:
        if layout not in RECORD_BYTES:
            raise CameraError(f"there is no layout '{layout}'; choose one of {', '.join(RECORD_BYTES)}")
        self._target, self._layout = (host, port), layout
        self._socket = socket.socket(family_of(host), socket.SOCK_DGRAM)
        self.n_sent = self.n_dropped = self.n_missed = 0

    def send(self, events: Events) -> None:
        for datagram in encode(events, self._layout):
            self._socket.sendto(datagram, self._target)
        self.n_sent += len(events)

    def close(self) -> None:
        self._socket.close()


class DvSink:
    """A server for DV, dv-processing and Spikesight as readers, over TCP.

    It sends AEDAT 4 without compression. A slow reader holds up all; one that takes nothing for SLOW_S is left. Events
    sent, dropped and missed are counted for each reader and added up.
    """

    def __init__(self, size: SensorSize, host: str, port: int) -> None:
        self._header, self._links = header(size, NONE), list[socket.socket]()
        self.n_missed = 0  # events while no reader was connected
        self.n_sent = 0  # events sent
        self.n_dropped = 0  # events that a reader did not take, because it was too slow or left
        try:
            self._server = socket.create_server((host, port), family=family_of(host))
        except OSError as error:
            raise CameraError(f"cannot serve at {host}:{port}: the address is taken, or not of this machine") from error
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # the server has been closed
            while True:
                link, _ = self._server.accept()
                link.settimeout(SLOW_S)
                with suppress(OSError):
                    link.sendall(self._header)
                    self._links.append(link)

    @property
    def n_clients(self) -> int:
        """Number of connected readers; forgets those that have left."""
        for link in select.select(self._links, [], [], 0)[0]:
            with suppress(OSError):
                if link.recv(4096):  # readers send nothing
                    continue
            self._leave(link)
        return len(self._links)

    def _leave(self, link: socket.socket) -> None:
        self._links.remove(link)
        link.close()

    def send(self, events: Events) -> None:
        if not self.n_clients:
            self.n_missed += len(events)
        data = b"".join(map(framed, packets_of(events)))
        for link in list(self._links):
            try:
                link.sendall(data)
                self.n_sent += len(events)
            except OSError:
                self.n_dropped += len(events)
                self._leave(link)

    def close(self) -> None:
        """End the stream, wait up to LEAVE_S for readers to disconnect, and stop the server.

        A reader of dv-processing loses data that it has received but not yet handed on when the server closes first.
        """
        for link in self._links:
            with suppress(OSError):
                link.shutdown(socket.SHUT_WR)
        wait_until(lambda: not self.n_clients, LEAVE_S)
        with suppress(OSError):  # wakes the thread that accepts
            self._server.shutdown(socket.SHUT_RDWR)
        for one in (self._server, *self._links):
            one.close()


Sink = UdpSink | DvSink
"""A network output for events."""


def open_sink(text: str, size: SensorSize) -> Sink:
    """Open `dv://host:port` or `udp://host:port?format=t64`. Raises CameraError."""
    try:
        address = parse(text)
    except SourceError:
        address = Address(text, "")
    if address.kind == "dv":
        return DvSink(size, address.target, address.port)
    if address.kind == "udp":
        return UdpSink(address.target, address.port, address.options.get("format", "t64"))
    raise CameraError(f"cannot send to '{text}'; write dv://host:port or udp://host:port")


DESCRIPTION = """Play a recording of events in its own time, as a camera on the network would send it.

  spikesight play FILE --to dv://127.0.0.1:7777           as a network camera (TCP, for DV and dv-processing too)
  spikesight play FILE --to udp://127.0.0.1:3333?format=aestream --loop 0
"""


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("file", metavar="FILE")
    add("--to", required=True, metavar="ADDRESS", help="dv://host:port, udp://host:port?format=t64")
    add("--speed", type=float, default=1.0, help="2 is twice as fast (default: 1)")
    add("--loop", type=int, default=1, metavar="N", help="play N times; 0 is for ever (default: 1)")
    add("--packet", type=float, default=5.0, metavar="MS", help="length of a packet (default: 5)")
    add("--wait", type=float, default=30.0, metavar="S", help="wait for a receiver over TCP (default: 30)")


def run(args: argparse.Namespace) -> int:
    """Play until the recording ends; return the exit code."""
    if args.speed <= 0 or args.packet <= 0:
        raise ValueError("--speed and --packet must be above 0")
    options = {"speed": str(args.speed), "packet_ms": str(args.packet)}
    driver = FileDriver(
        Address(args.file, "file", args.file, options=options), rounds=args.loop if args.loop > 0 else math.inf
    )
    sink = open_sink(args.to, driver.size)
    with closing(sink):
        say(f"{args.file}, {driver.size} pixels, to {args.to}")
        if isinstance(sink, DvSink) and not wait_until(lambda: sink.n_clients > 0, args.wait):
            print(f"nobody connected within {args.wait:g} s", file=sys.stderr)
            return 1
        with suppress(SourceEnded):
            while True:
                if (packet := driver.read(1.0)) is not None:
                    sink.send(packet)
    missed = f", {sink.n_missed:,} while nobody was connected" if sink.n_missed else ""
    print(f"{counted(sink.n_sent, 'event')} sent, {sink.n_dropped:,} dropped for a slow receiver{missed}")
    return 0
