"""Drivers of event cameras on the network: dv-processing's servers, and UDP datagrams."""

import socket
import time

from spikesight.encoders.events import Events
from spikesight.encoders.packets import RECORD_BYTES, WireDecoder
from spikesight.encoders.recordings.aedat4 import Aedat4Stream, header_bytes, parse_header
from spikesight.encoders.recordings.format import RecordingError
from spikesight.encoders.sources.address import Address, SourceError, SourceLost

ANSWER_S = 5.0  # how long a server may take to send its header
WANTED_BUFFER = 8 << 20  # requested UDP receive buffer, bytes


class DvDriver:
    """A camera served by dv-processing, DV or `spikesight play`: AEDAT 4 over a connection.

    Everything received before the server closes the connection is read.
    """

    def __init__(self, address: Address) -> None:
        self._socket = _connect(address)
        try:
            header = parse_header(self._exactly(header_bytes(self._exactly(4))))
        except (RecordingError, OSError) as error:
            self._socket.close()
            raise SourceLost(
                f"what answers at {address.text} is no camera's server that can be read: {error}"
            ) from error
        if header.size is None:
            self._socket.close()
            raise SourceError(f"{address.text} names no sensor")
        self.size = header.size
        self._stream = Aedat4Stream(header)
        self._buffer = memoryview(bytearray(1 << 18))

    def _exactly(self, n: int) -> bytes:
        data = bytearray()
        while len(data) < n:
            part = self._socket.recv(n - len(data))
            if not part:
                raise OSError("the connection is closed")
            data += part
        return bytes(data)

    def read(self, timeout_s: float) -> Events | None:
        self._socket.settimeout(timeout_s)
        try:
            n = self._socket.recv_into(self._buffer)
        except TimeoutError:
            return None
        if not n:
            raise SourceLost("the camera's server has closed the connection")
        try:
            return self._stream.push(self._buffer[:n])
        except RecordingError as error:
            raise SourceLost(str(error)) from error

    def close(self) -> None:
        self._socket.close()


def _connect(address: Address) -> socket.socket:
    try:
        return socket.create_connection((address.target, address.port), ANSWER_S)
    except OSError as error:
        raise SourceLost(f"nothing answers at {address.text}; start the camera's server first") from error


def family_of(host: str) -> socket.AddressFamily:
    """Return the family of a host's address."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


class UdpDriver:
    """Events in datagrams. Options: format, size, allow=ADDRESS (other senders are ignored).

    UDP does not authenticate senders: bind to loopback, or name the one address that may send.
    """

    def __init__(self, address: Address) -> None:
        layout = address.options.get("format", "t64")
        if layout not in RECORD_BYTES:
            raise SourceError(f"there is no layout '{layout}' in '{address.text}'; choose t64 or aestream")
        self.decoder = WireDecoder(layout)
        size = address.size()
        if size is None:
            raise SourceError(f"datagrams do not tell the sensor: add size=WIDTHxHEIGHT to '{address.text}'")
        self.size, self._allowed = size, address.options.get("allow")
        self._socket = socket.socket(family_of(address.target), socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WANTED_BUFFER)
        try:
            self._socket.bind((address.target, address.port))
        except OSError as error:
            self._socket.close()
            raise SourceError(f"cannot listen at {address.text}: {(error.strerror or str(error)).lower()}") from error
        self.port = self._socket.getsockname()[1]
        self._buffer = bytearray(4 << 20)

    def read(self, timeout_s: float) -> Events | None:
        """Return the events of all waiting datagrams, after at most `timeout_s`; None if there are none."""
        view, pieces, place = memoryview(self._buffer), [], 0
        self._socket.settimeout(timeout_s)
        for _ in range(4096):  # of all senders, or a flood of others would keep it here
            if place > len(view) - 65536:
                break
            try:
                length, sender = self._socket.recvfrom_into(view[place : place + 65536])
            except (TimeoutError, BlockingIOError):
                break
            self._socket.settimeout(0)
            if self._allowed in (None, sender[0]):
                pieces.append(view[place : place + length])
                place += length
        if not pieces:
            return None
        return self.decoder.decode(pieces, time.monotonic_ns() // 1000)

    def close(self) -> None:
        self._socket.close()
