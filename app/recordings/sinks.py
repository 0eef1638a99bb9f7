"""Network outputs for events, as a camera would send them: UDP datagrams, or AEDAT 4 over TCP or a unix socket."""

import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.packets import RECORD_BYTES, encode
from spikesight.encoders.recordings.aedat4 import NONE, framed, header, packets_of

SLOW_CLIENT_BYTES = 64 << 20  # queued for a slow reader (4 million events); beyond that packets are dropped
LAST_PACKETS_S = 30.0  # time for a reader to receive what is queued when a recording has ended
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

    It sends AEDAT 4 without compression. A reader that is too slow loses the newest packets. Events sent, dropped and
    missed are counted for each reader and added up.
    """

    def __init__(self, size: SensorSize, host: str = "", port: int = 0, path: str = "") -> None:
        self._size, self._place = size, (host, port, path)
        self.n_missed = 0  # events while no reader was connected
        self.n_sent = 0  # events sent
        self.n_dropped = 0  # events dropped because a reader was too slow, or left before they were sent
        self._clients: list[_Client] = []
        self._lock = threading.Lock()
        self._server = self._listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """Stop the server and close all connections; data already sent still arrives."""
        with suppress(OSError):  # wakes the thread that accepts
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for client in self._connected():
            client.close(socket.SHUT_WR)

    def _listen(self) -> socket.socket:
        host, port, path = self._place
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

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._server.accept()
            except OSError:  # the server has been closed
                return
            with self._lock:
                self._clients.append(_Client(link, header(self._size, NONE), self.count))

    def _connected(self) -> list["_Client"]:
        with self._lock:
            self._clients = [client for client in self._clients if not client.gone]
            return list(self._clients)

    def count(self, sent: int = 0, dropped: int = 0) -> None:
        """Count events that were sent to a reader, or dropped."""
        with self._lock:
            self.n_sent += sent
            self.n_dropped += dropped

    @property
    def n_clients(self) -> int:
        """Number of connected readers."""
        return len(self._connected())

    @property
    def n_waiting(self) -> int:
        """Bytes queued for all readers."""
        return sum(client.n_waiting for client in self._connected())

    def send(self, events: Events) -> None:
        if not len(events):
            return
        clients = self._connected()
        if not clients:
            self.n_missed += len(events)
            return
        data = b"".join(map(framed, packets_of(events)))
        for client in clients:
            client.put(data, len(events))

    def close(self) -> None:
        """Wait up to LAST_PACKETS_S until all is sent, then LEAVE_S for readers to disconnect, and stop the server.

        A reader of dv-processing loses data that it has received but not yet handed on when the server closes first.
        """
        wait_until(lambda: not self.n_waiting, LAST_PACKETS_S)
        wait_until(lambda: not self.n_clients, LEAVE_S)
        self.stop()


class _Client:
    """One reader's connection, with a thread that sends queued data and one that notices when the reader leaves."""

    def __init__(self, link: socket.socket, greeting: bytes, count: Callable[..., None]) -> None:
        self._link, self._count, self._waiting = link, count, deque([(greeting, 0)])
        self.n_waiting = len(greeting)  # bytes
        self.gone = False
        self._changed = threading.Condition()
        threading.Thread(target=self._send, daemon=True).start()
        threading.Thread(target=self._listen, daemon=True).start()

    def put(self, data: bytes, n_events: int) -> None:
        """Queue data to be sent, or drop it if too much is queued."""
        with self._changed:
            if self.gone or self.n_waiting + len(data) > SLOW_CLIENT_BYTES:
                self._count(dropped=n_events)
                return
            self._waiting.append((data, n_events))
            self.n_waiting += len(data)
            self._changed.notify()

    def close(self, how: int = socket.SHUT_RDWR) -> None:
        """Close the connection."""
        with self._changed:
            self.gone = True
            self._count(dropped=sum(n_events for _, n_events in self._waiting))
            self._waiting.clear()
            self._changed.notify()
        with suppress(OSError):
            self._link.shutdown(how)

    def _send(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self.gone)
                if self.gone:
                    return
                data, n_events = self._waiting[0]
            try:
                self._link.sendall(data)
            except OSError:
                self.close()
                return
            with self._changed:
                if not self.gone:
                    self._waiting.popleft()
                    self.n_waiting -= len(data)
                    self._count(sent=n_events)

    def _listen(self) -> None:
        with suppress(OSError):
            while self._link.recv(4096):
                pass
        self.close()
        self._link.close()


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
