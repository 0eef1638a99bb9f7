"""Drivers of event cameras on the network: dv-processing's servers, and datagrams."""

import socket
import time
from collections.abc import Callable
from typing import Any

from encoders.events import Events, SensorSize, make_events
from encoders.packets import WireDecoder
from encoders.sources.address import Address, SourceError, SourceLost, library_of

WANTED_BUFFER = 8 << 20  # bytes of UDP receive buffer asked for


class DvDriver:
    """A camera on the network, or any source with dv-processing's reading interface (`reader` opens it)."""

    def __init__(self, address: Address, reader: Callable[[], Any] | None = None) -> None:
        try:
            self._reader: Any = reader() if reader else self._connect(address)
            width, height = self._reader.getEventResolution()
        except (RuntimeError, IndexError, TypeError) as error:  # many-line C++ texts
            raise SourceLost(f"nothing answers at {address.text}; start the camera's server first") from error
        self.size = SensorSize(int(width), int(height))

    @staticmethod
    def _connect(address: Address) -> Any:
        dv = library_of("dv_processing", f"'{address.text}'", "cameras")
        if address.kind == "dv+unix":
            return dv.io.NetworkReader(address.target)
        return dv.io.NetworkReader(address.target, address.port)

    def read(self, timeout_s: float) -> Events | None:
        end = time.monotonic() + timeout_s
        while self._reader is not None:
            batch = self._reader.getNextEventBatch()
            if batch is not None and len(batch):
                found = batch.numpy()
                return make_events(found["timestamp"], found["x"], found["y"], found["polarity"])
            if not self._reader.isRunning():
                raise SourceLost("the camera's server has closed the connection")
            if time.monotonic() >= end:
                return None
            time.sleep(0.0005)
        return None

    def close(self) -> None:
        self._reader = None  # dv-processing closes a connection when its reader is released


class UdpDriver:
    """Events in datagrams. Options: format, size, endian=big, allow=ADDRESS (others are ignored).

    UDP proves no sender: bind to loopback, or name the one address that may send.
    """

    def __init__(self, address: Address) -> None:
        layout = address.options.get("format", "t64")
        try:
            self.decoder = WireDecoder(layout, big_endian=address.options.get("endian") == "big")
        except ValueError as error:
            raise SourceError(f"{error} in '{address.text}'") from None
        size = address.size()
        if size is None:
            raise SourceError(f"datagrams do not tell the sensor: add size=WIDTHxHEIGHT to '{address.text}'")
        self.size, self._allowed = size, address.options.get("allow")
        self.n_refused = 0  # datagrams of other senders
        family = socket.AF_INET6 if ":" in address.target else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WANTED_BUFFER)
        self.buffer_bytes = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        try:
            self._socket.bind((address.target, address.port))
        except OSError as error:
            self._socket.close()
            raise SourceError(f"cannot listen at {address.text}: {(error.strerror or str(error)).lower()}") from error
        self.port = self._socket.getsockname()[1]
        self._buffer = bytearray(4 << 20)

    def advice(self) -> str | None:
        """What to change when the system grants less buffer than a fast camera needs."""
        if self.buffer_bytes >= WANTED_BUFFER:
            return None
        return (
            f"the system grants {self.buffer_bytes} bytes of receive buffer; "
            f"above 1 million events a second raise it: sysctl -w net.core.rmem_max={WANTED_BUFFER}"
        )

    def read(self, timeout_s: float) -> Events | None:
        """Everything that waits, after at most `timeout_s`."""
        view, pieces, place = memoryview(self._buffer), [], 0
        self._socket.settimeout(timeout_s)
        while place < len(view) - 65536 and len(pieces) < 4096:
            try:
                length, sender = self._socket.recvfrom_into(view[place : place + 65536])
            except (TimeoutError, BlockingIOError):
                break
            self._socket.settimeout(0)
            if self._allowed is not None and sender[0] != self._allowed:
                self.n_refused += 1
                continue
            pieces.append(view[place : place + length])
            place += length
        if not pieces:
            return None
        return self.decoder.decode(pieces, time.monotonic_ns() // 1000)

    def close(self) -> None:
        self._socket.close()
