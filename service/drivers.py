"""What reads a device, by kind of source. Every library is imported when its kind is opened, or passed in for tests.

No camera was at hand when these were written: USB, Speck and webcam drivers are tested against stand-ins.
"""

import importlib
import importlib.util
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from encoders.emulator import Emulator, PixelModel
from encoders.events import Events, SensorSize, make_events
from encoders.recordings import packets, sensor_of
from encoders.wire import WireDecoder
from service.sources import Address, Driver, OpenDriver, SourceEnded, SourceError, SourceLost

NO_CAMERA = (
    "No event camera found. Plugged in? On Linux install the udev rules (neuromorphic-drivers brings an installer: "
    "neuromorphic-drivers-install-udev-rules), then plug the camera in again"
)
PACKET_MS = 5  # what one USB or file packet covers
WANTED_BUFFER = 8 << 20  # bytes of UDP receive buffer asked for


def _library(name: str, what: str, extra: str) -> Any:
    """A library by name. Raises SourceError that names the extra it comes with."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SourceError(f"{what} needs {name}: pip install 'spikesight[{extra}]'") from error


# ----------------------------------------------------------------------------------------------------------------- USB


class EventcvDriver:
    """A camera on USB through EventCV: Prophesee EVK3 and EVK4, CenturyArks, DVXplorer, DAVIS346."""

    def __init__(self, address: Address, library: Any = None) -> None:
        library = library or _library("eventcv", "a USB event camera", "cameras")
        serial = self._choose(library, address)
        options: dict[str, Any] = {"dt_ms": PACKET_MS}
        if address.options.get("rate"):
            options["max_event_rate"] = address.number("rate", 0)
        try:
            self._camera = library.stream(serial, **options)
        except Exception as error:  # the library's own texts say nothing ("Other error")
            raise SourceLost(f"camera {serial} does not open; is another program using it?") from error
        width, height = self._camera.sensor_size
        self.size = SensorSize(int(width), int(height))

    @staticmethod
    def _choose(library: Any, address: Address) -> str:
        """The serial of the camera meant: the one named, or the first of the maker."""
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            cameras = library.list_cameras()
        if not cameras:
            hint = "; ".join(str(warning.message) for warning in told)
            raise SourceError(f"{NO_CAMERA}. {hint}".rstrip(". "))
        if address.kind == "usb":
            found = [camera for camera in cameras if camera["serial"] == address.target]
        else:
            makers = {"prophesee": ("prophesee", "centuryarks"), "inivation": ("inivation", "davis", "dvx", "dvs")}
            found = [camera for camera in cameras if str(camera["kind"]).startswith(makers[address.kind])]
        if not found:
            others = ", ".join(f"{camera['name']} (usb:{camera['serial']})" for camera in cameras)
            raise SourceError(f"there is no camera '{address.text}' here; plugged in: {others}")
        return found[0]["serial"]

    def read(self, timeout_s: float) -> Events | None:
        try:
            stream = self._camera.read(timeout_ms=max(1, int(timeout_s * 1000)))
        except Exception as error:
            raise SourceLost("the camera has stopped answering") from error
        if stream is None:
            return None
        table = stream.numpy()
        return make_events(table[:, 2].astype(np.int64), table[:, 0], table[:, 1], table[:, 3])

    def close(self) -> None:
        self._camera.close()


def open_inivation(address: Address) -> Driver:
    """EventCV first; a camera that only dv-processing knows is opened with that, where it is installed."""
    try:
        return EventcvDriver(address)
    except SourceError:
        if importlib.util.find_spec("dv_processing") is None:
            raise
        library = _library("dv_processing", "this camera", "cameras")
        if not library.io.camera.discover():
            raise
        return DvDriver(address, reader=library.io.camera.open)


# ------------------------------------------------------------------------------------------------------------- network


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
        dv = _library("dv_processing", f"'{address.text}'", "cameras")
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


# --------------------------------------------------------------------------------------------------------------- Speck


class SpeckDriver:
    """SynSense Speck2f through samna, as its maker delivers it. Written after samna's documents, never run on one."""

    def __init__(self, address: Address, library: Any = None) -> None:
        samna: Any = self._makers_library() if library is None else library
        devices: list[Any] = samna.device.get_unopened_devices()
        speck = [device for device in devices if "speck" in str(device.device_type_name).lower()]
        if not speck:
            raise SourceError("No Speck found. Plugged in?")
        self._samna, self._device = samna, samna.device.open_device(speck[0])
        model = self._device.get_model()
        self._graph = samna.graph.EventFilterGraph()
        self._sink = samna.graph.sink_from(model.get_source_node())
        configuration = samna.speck2f.configuration.SpeckConfiguration()
        configuration.dvs_layer.monitor_enable = True
        model.apply_configuration(configuration)
        self.size = address.size() or SensorSize(128, 128)

    @staticmethod
    def _makers_library() -> Any:
        """samna, unless it is the registry's stand-in, whose import would install software by itself."""
        found = importlib.util.find_spec("samna")
        folder = Path(found.origin).parent if found and found.origin else None
        if folder is None or not any(folder.rglob("*.so")):
            raise SourceError(
                "a Speck needs samna from its maker, SynSense; the package of that name elsewhere is a stub"
            )
        return importlib.import_module("samna")

    def read(self, timeout_s: float) -> Events | None:
        end = time.monotonic() + timeout_s
        while not (found := self._sink.get_events()):
            if time.monotonic() >= end:
                return None
            time.sleep(0.001)
        spikes = [event for event in found if hasattr(event, "timestamp")]
        columns = ([getattr(spike, name) for spike in spikes] for name in ("timestamp", "x", "y", "p"))
        t, x, y, p = columns
        return make_events(t, x, y, p)

    def close(self) -> None:
        self._samna.device.close_device(self._device)


# -------------------------------------------------------------------------------------------------------------- webcam


class WebcamDriver:
    """A webcam's frames through the pixel model. Options: size (default 320x240), threshold, noise, steady=0."""

    def __init__(self, address: Address, library: Any = None, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._cv2 = library or _library("cv2", "a webcam", "cameras")
        number = address.target or "0"
        if not number.isdecimal():
            raise SourceError(f"'{address.text}' is no webcam; write webcam:0")
        self._capture = self._cv2.VideoCapture(int(number))
        if not self._capture.isOpened():
            raise SourceError(f"webcam {number} does not open; plugged in, and free?")
        self.size, self._clock = address.size() or SensorSize(320, 240), clock
        threshold = address.number("threshold", 0.2, 0.01)
        params = PixelModel(
            threshold_on=threshold,
            threshold_off=threshold,
            noise_hz=address.number("noise", 0.0),
            steady=address.options.get("steady", "1") != "0",
        )
        self._emulator = Emulator(self.size, params)

    def read(self, timeout_s: float) -> Events | None:  # noqa: ARG002  (a frame comes when the camera has one)
        good, frame = self._capture.read()
        t_us = self._clock() // 1000
        if not good:
            raise SourceLost("the webcam gives no more frames")
        grey = self._cv2.cvtColor(frame, self._cv2.COLOR_BGR2GRAY)
        target = (self.size.width, self.size.height)
        scaled = self._cv2.resize(grey, target, interpolation=self._cv2.INTER_AREA)
        return self._emulator.push(np.asarray(scaled, np.uint8), t_us)

    def close(self) -> None:
        self._capture.release()


# ---------------------------------------------------------------------------------------------------------------- file


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
        self._begin_us = 0

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


DRIVERS: Mapping[str, OpenDriver] = {
    "prophesee": EventcvDriver,
    "inivation": open_inivation,
    "usb": EventcvDriver,
    "dv": DvDriver,
    "dv+unix": DvDriver,
    "udp": UdpDriver,
    "speck": SpeckDriver,
    "webcam": WebcamDriver,
    "file": FileDriver,
}
