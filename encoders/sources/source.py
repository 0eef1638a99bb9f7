"""Live event sources addressed by one string: camera, network, file or webcam -> packets, each on its own thread.

  prophesee[:SERIAL] | inivation[:NAME]       an event camera on USB (neuromorphic-drivers, dv-processing)
  dv://host:port                              a camera on the network (DV, dv-processing)
  udp://host:port?format=t64&size=640x480     events in datagrams: t64 or aestream
  webcam:0                                    a webcam through the pixel model
  file:PATH?speed=1&loop=1                    a recording, in real time; a shipped sample by its name alone

A source's thread reads a driver and puts packets into a bounded queue; when the queue is full, the oldest packet is
dropped and counted. Nothing blocks for ever: read() waits no longer than its timeout, close() ends the thread.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from spikesight.encoders.events import Counters, Events, Sanitiser, SensorSize, empty_events, joined
from spikesight.encoders.plugins import extend
from spikesight.encoders.recordings.format import SAMPLES
from spikesight.encoders.sources.address import Address, OpenDriver, SourceEnded, SourceError, SourceLost
from spikesight.encoders.sources.devices import InivationDriver, PropheseeDriver, WebcamDriver
from spikesight.encoders.sources.file import FileDriver
from spikesight.encoders.sources.network import DvDriver, UdpDriver

RESTART_US = 100_000  # a larger step back in time is a clock restart, which is passed on to the bins
MAX_PACKETS, MAX_EVENTS = 512, 4_000_000  # bounds of the queue
MAX_JOINED = 200_000  # events that read_waiting() joins
BACK_OFF_S = (0.25, 0.5, 1.0, 2.0, 4.0)
READ_S = 0.1  # longest read of a driver, after which the thread checks whether to stop


def parse(text: str) -> Address:
    """Parse a source's string. Raises SourceError."""
    body, _, query = text.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if "://" in body:
        parts = urlsplit(body)
        try:
            port = parts.port
        except ValueError:
            port = None
        if parts.scheme not in ("dv", "udp") or not parts.hostname or not port:
            raise SourceError(f"'{text}' is no source; the network ones are dv://host:port and udp://host:port")
        return Address(text, parts.scheme, parts.hostname, port, options)
    if "/" not in body and body and (SAMPLES / f"{body}.raw").is_file():
        return Address(text, "file", body, 0, options)
    kind, _, target = body.partition(":")
    known = kinds()
    if kind not in known or (kind == "file" and not target):
        raise SourceError(f"'{text}' is no source; choose from {', '.join(sorted(known))}; a recording is file:PATH")
    return Address(text, kind, target, 0, options)


def kinds() -> Mapping[str, OpenDriver]:
    """Return DRIVERS, including those of installed packages."""
    extend("sources", {Callable: DRIVERS})
    return DRIVERS


STEADY_KINDS = {"file"}  # kinds that are not reopened after a failure


class Source:
    """A running source: `read` packets (sorted, on the sensor) while `running`; counters tell what was lost.

    Use it in a `with` block, or call close().
    """

    def __init__(
        self,
        address: Address,
        open_driver: OpenDriver,
        *,
        max_packets: int = MAX_PACKETS,
        max_events: int = MAX_EVENTS,
        back_off_s: tuple[float, ...] = BACK_OFF_S,
    ) -> None:
        self.address, self._open_driver, self._back_off_s = address, open_driver, back_off_s
        self._max_packets, self._max_events = max_packets, max_events
        self.n_events = self.n_dropped = self.n_reopened = 0
        self.fault: str | None = None  # why it stopped, or waits to reopen
        Sanitiser(SensorSize(1, 1)).push(empty_events())  # loads the compiled loop before the first packet arrives
        self._driver = open_driver(address)  # if this first opening fails, the caller gets the exception
        self.size = self._driver.size
        self._sanitiser = Sanitiser(self.size, sort_within_us=RESTART_US, keep_restarts=True)
        self._queue: deque[Events] = deque()
        self._n_queued = 0
        self._ready = threading.Condition()
        self._stop = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name=f"source {address.text}", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether packets are still to come, or left to read."""
        with self._ready:
            return bool(self._queue) or not self._ended

    @property
    def counters(self) -> Counters:
        """Counts of events off the sensor (dropped), steps back in time, and clock restarts among them."""
        return self._sanitiser.counters

    def read(self, timeout_s: float = READ_S) -> Events | None:
        """Return the oldest packet; None if none came in time (which is not the end: see `running`)."""
        with self._ready:
            if not self._queue and not self._ended:
                self._ready.wait(timeout_s)
            if not self._queue:
                return None
            packet = self._queue.popleft()
            self._n_queued -= len(packet)
            return packet

    def read_waiting(self, timeout_s: float = READ_S) -> Events | None:
        """Return all waiting packets as one, up to MAX_JOINED events and one packet more, so that a slow reader catches
        up. None as for `read`.
        """
        parts, n = [self.read(timeout_s)], 0
        while parts[-1] is not None and (n := n + len(parts[-1])) < MAX_JOINED and self._queue:
            parts.append(self.read(0))
        found = [part for part in parts if part is not None]
        return joined(found) if found else None

    def packets(self, timeout_s: float = READ_S) -> Iterator[Events | None]:
        """Yield the results of read() until the source ends; None whenever no packet came in time."""
        while self.running:
            yield self.read(timeout_s)

    def close(self) -> None:
        """End the thread and release the device. May be called more than once."""
        self._stop.set()
        with self._ready:
            self._ready.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(2.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    packet = self._driver.read(READ_S)
                except SourceEnded:
                    return
                except (SourceLost, OSError) as error:
                    self.fault = str(error) or "the device has gone"
                    if not self._reopen():
                        return
                    continue
                if packet is not None and len(packet):
                    self._put(self._sanitiser.push(packet))
        except Exception as error:
            self.fault = f"{self.address.text} failed: {type(error).__name__}: {error}"
        finally:
            self._close_driver()
            with self._ready:
                self._ended = True
                self._ready.notify_all()

    def _put(self, packet: Events) -> None:
        if not len(packet):
            return
        with self._ready:
            self._queue.append(packet)
            self.n_events += len(packet)
            self._n_queued += len(packet)
            while len(self._queue) > self._max_packets or (self._n_queued > self._max_events and len(self._queue) > 1):
                oldest = self._queue.popleft()
                self._n_queued -= len(oldest)
                self.n_dropped += len(oldest)
            self._ready.notify()

    def _close_driver(self) -> None:
        with suppress(Exception):  # a foreign library may raise anything about a device that has gone
            self._driver.close()

    def _reopen(self) -> bool:
        """Close the driver and reopen it, waiting longer each time; False if asked to stop, or if it cannot succeed."""
        self._close_driver()
        if self.address.kind in STEADY_KINDS:
            return False
        attempt = 0
        while not self._stop.wait(self._back_off_s[min(attempt, len(self._back_off_s) - 1)]):
            attempt += 1
            try:
                driver = self._open_driver(self.address)
            except (ValueError, SourceLost, OSError) as error:
                self.fault = str(error)
                continue
            if driver.size != self.size:
                driver.close()
                self.fault = f"the sensor is {driver.size} now, it was {self.size}"
                return False
            self._driver, self.fault = driver, None
            self.n_reopened += 1
            return True
        return False


def open_source(text: str, *, wait_s: float = 0.0, max_packets: int = MAX_PACKETS) -> Source:
    """Open a source by its string. `wait_s`: how long to keep trying.

    Raises SourceError: unknown kind, no such device, a missing extra, or no answer.
    """
    address = parse(text)
    open_driver = kinds()[address.kind]
    end = time.monotonic() + wait_s
    while True:
        try:
            return Source(address, open_driver, max_packets=max_packets)
        except (ValueError, SourceLost, OSError) as error:
            if time.monotonic() >= end:
                raise SourceError(str(error)) from None
            time.sleep(0.2)


DRIVERS: dict[str, OpenDriver] = {
    "prophesee": PropheseeDriver,
    "inivation": InivationDriver,
    "dv": DvDriver,
    "udp": UdpDriver,
    "webcam": WebcamDriver,
    "file": FileDriver,
}
