"""Network outputs for events, as a camera would send them: UDP datagrams, or AEDAT 4 over TCP or a unix socket."""

import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.packets import RECORD_BYTES, encode
from spikesight.encoders.recordings.aedat4 import NONE, framed, header, packets_of

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
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.n_sent = self.n_dropped = self.n_missed = 0

    def send(self, events: Events) -> None:
        for datagram in encode(events, self._layout):
            self._socket.sendto(datagram, self._target)
        self.n_sent += len(events)

    def close(self) -> None:
        self._socket.close()


class DvSink:
    """A server for DV, dv-processing and Spikesight as readers: TCP on host and port, or a unix socket.

    It sends AEDAT 4 without compression. A slow reader holds up all; one that takes nothing for SLOW_S is left. Events
    sent, dropped and missed are counted for each reader and added up.
    """

    def __init__(self, size: SensorSize, host: str = "", port: int = 0, path: str = "") -> None:
        self._header, self._links = header(size, NONE), list[socket.socket]()
        self.n_missed = 0  # events while no reader was connected
        self.n_sent = 0  # events sent
        self.n_dropped = 0  # events that a reader did not take, because it was too slow or left
        self._server = _listen(host, port, path)
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


def _listen(host: str, port: int, path: str) -> socket.socket:
    try:
        if not path:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.create_server((host, port), family=family)
        if Path(path).is_socket():
            Path(path).unlink()  # left behind by an earlier server
        return socket.create_server(path, family=socket.AF_UNIX)
    except OSError as error:
        why = "the address is taken, or not of this machine"
        raise CameraError(f"cannot serve at {path or f'{host}:{port}'}: {why}") from error


Sink = UdpSink | DvSink
"""A network output for events."""


def open_sink(text: str, size: SensorSize) -> Sink:
    """Open `dv://host:port`, `dv+unix:///path` or `udp://host:port?format=t64`. Raises CameraError."""
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
    return UdpSink(host, port, options.get("format", "t64"))
