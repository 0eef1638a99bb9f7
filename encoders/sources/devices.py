"""Drivers of local devices: event cameras on USB, a Speck, a webcam.

No camera was available when these were written: they are tested against stand-ins.
"""

import importlib
import importlib.util
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from spikesight.encoders.emulator.pixels import Emulator, PixelModel
from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.sources.address import PACKET_MS, Address, SourceError, SourceLost, library_of

NO_CAMERA = (
    "No event camera found. Plugged in? On Linux install the udev rules (neuromorphic-drivers brings an installer: "
    "neuromorphic-drivers-install-udev-rules), then plug the camera in again"
)


MAKERS = {"prophesee": ("prophesee", "centuryarks"), "inivation": ("inivation", "davis", "dvx", "dvs")}


def serial_of(address: Address, cameras: list[tuple[str, str, str]], hint: str = "") -> str:
    """Return the serial of the camera that the address names, of (serial, kind, name) each, or the maker's first.

    Raises SourceError; `hint` is added if there is no camera at all.
    """
    if not cameras:
        raise SourceError(f"{NO_CAMERA}. {hint}".rstrip(". "))
    for serial, kind, _ in cameras:
        if serial == address.target if address.kind == "usb" else kind.startswith(MAKERS[address.kind]):
            return serial
    others = ", ".join(f"{name} (usb:{serial})" for serial, _, name in cameras)
    raise SourceError(f"there is no camera '{address.text}' here; plugged in: {others}")


class EventcvDriver:
    """A USB camera through EventCV: Prophesee EVK3 and EVK4, CenturyArks, DVXplorer, DAVIS346.

    Options: rate=EVENTS_PER_SECOND and roi=LEFT,TOP,WIDTH,HEIGHT, applied on the chip of Prophesee's sensors;
    bias=adaptive, which keeps the initial event rate (Nair et al. 2024; EVK4 and DAVIS346).
    """

    def __init__(self, address: Address, library: Any = None) -> None:
        library = library or library_of("eventcv", "a USB event camera", "cameras")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            cameras = [(one["serial"], str(one["kind"]), one["name"]) for one in library.list_cameras()]
        serial = serial_of(address, cameras, "; ".join(str(warning.message) for warning in caught))
        options: dict[str, Any] = {"dt_ms": PACKET_MS}
        if address.options.get("rate"):
            options["max_event_rate"] = address.number("rate", 0)
        if "roi" in address.options:
            options["roi"] = region(address)
        if "bias" in address.options:
            if address.options["bias"] != "adaptive":
                raise SourceError(f"bias in '{address.text}' can be adaptive, nothing else")
            options["adaptive_bias"] = True
        try:
            self._camera = library.stream(serial, **options)
        except Exception as error:  # the library's own messages are not helpful ("Other error")
            raise SourceLost(f"camera {serial} does not open; is another program using it?") from error
        width, height = self._camera.sensor_size
        self.size = SensorSize(int(width), int(height))
        name = next(name for number, _, name in cameras if number == serial)
        self.settings = {"camera": str(name), "serial": str(serial)}

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


def region(address: Address) -> tuple[int, int, int, int]:
    """Parse the option roi: left, top, width and height in pixels. Raises SourceError."""
    parts = address.options["roi"].split(",")
    numbers = [int(part) for part in parts if part.isascii() and part.isdecimal() and len(part) < 6]
    if len(parts) != 4 or len(numbers) != 4 or 0 in numbers[2:]:
        raise SourceError(f"roi in '{address.text}' is LEFT,TOP,WIDTH,HEIGHT in pixels")
    left, top, width, height = numbers
    return left, top, width, height


class DvCameraDriver:
    """A USB camera that dv-processing supports but EventCV does not. Option: roi=LEFT,TOP,WIDTH,HEIGHT on the chip."""

    def __init__(self, address: Address, library: Any) -> None:
        if ignored := {"rate", "bias"} & set(address.options):
            raise SourceError(f"dv-processing sets no {ignored.pop()}: take it out of '{address.text}'")
        try:
            self._camera: Any = library.io.camera.open()
            width, height = self._camera.getEventResolution()
        except (RuntimeError, IndexError, TypeError) as error:  # with C++ messages of many lines
            raise SourceLost(f"the camera '{address.text}' does not open; is another program using it?") from error
        self.size = SensorSize(int(width), int(height))
        if "roi" in address.options:
            try:
                self._camera.setCropArea(region(address))
            except RuntimeError:
                raise SourceError(f"roi in '{address.text}' does not lie on the sensor, {self.size}") from None

    def read(self, timeout_s: float) -> Events | None:
        end = time.monotonic() + timeout_s
        while True:
            running = self._camera.isRunning()
            batch = self._camera.getNextEventBatch()  # read once more after the end, for events still buffered
            if batch is not None and len(batch):
                found = batch.numpy()
                return make_events(found["timestamp"], found["x"], found["y"], found["polarity"])
            if not running:
                raise SourceLost("the camera has stopped answering")
            if time.monotonic() >= end:
                return None
            time.sleep(0.0005)

    def close(self) -> None:
        self._camera = None  # released with its last reference


class SpeckDriver:
    """SynSense Speck2f through samna, its maker's library. Written from samna's documents, never run on a device."""

    def __init__(self, address: Address, library: Any = None) -> None:
        samna: Any = self._makerslibrary() if library is None else library
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
    def _makerslibrary() -> Any:
        """Import samna, unless it is the package index's stub, whose import would install software by itself."""
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


class WebcamDriver:
    """A webcam's frames through the pixel model. Options: size (default 320x240), threshold, noise, steady=0."""

    def __init__(self, address: Address, library: Any = None, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._cv2 = library or library_of("cv2", "a webcam", "cameras")
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

    def read(self, timeout_s: float) -> Events | None:  # noqa: ARG002  (waits for the camera's next frame)
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
