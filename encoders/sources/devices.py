"""Drivers of local devices: Prophesee's and iniVation's cameras on USB, each by one library, and webcams.

No event camera was available when these were written: they are tested against stand-ins.
"""

import dataclasses
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spikesight.encoders.emulator.pixels import Emulator, PixelModel
from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.sources.address import Address, SourceError, SourceLost, library_of

NO_CAMERA = (
    "No event camera found. Plugged in? On Linux install the udev rules (neuromorphic-drivers brings an installer: "
    "neuromorphic-drivers-install-udev-rules), then plug the camera in again"
)
BIAS = re.compile(r"\s*(-?\d{1,9})\s*%\s*(?:bias_)?(\w+)\s*")  # a line of a bias file: value, then name
READ_S = 0.1
VIDEO_DEVICES = "/sys/class/video4linux"  # where Linux lists webcams


class Plugged(NamedTuple):
    """One camera: the source string that opens it, its name, and the driver that found it."""

    source: str
    name: str
    driver: str


def chosen(address: Address, serials: list[str]) -> str:
    """Return the camera of the address, by its serial or the first. Raises SourceError if there is none."""
    if not serials:
        raise SourceError(NO_CAMERA)
    if address.target and address.target not in serials:
        others = ", ".join(f"{address.kind}:{serial}" for serial in serials)
        raise SourceError(f"there is no camera '{address.text}' here; plugged in: {others}")
    return address.target or serials[0]


def _refuse(address: Address, *known: str) -> None:
    if unknown := sorted(address.options.keys() - {*known}):
        raise SourceError(f"there is no option {unknown[0]} of this camera: take it out of '{address.text}'")


# ----------------------------------------------------------------------------------------------------------- Prophesee


def prophesees(library: Any) -> dict[str, Any]:
    """Return the plugged-in cameras with Prophesee's sensors, kind by serial; `library` is neuromorphic_drivers."""
    listed = ((one.serial, one.name) for one in library.list_devices() if one.serial is not None)
    return {serial: kind for serial, kind in listed if kind.name.lower().startswith(("prophesee", "centuryarks"))}


class PropheseeDriver:
    """A camera with a sensor of Prophesee's, through neuromorphic-drivers.

    Option: biases=FILE, in the format of Metavision Studio.
    """

    def __init__(self, address: Address, library: Any = None) -> None:
        library = library or library_of("neuromorphic_drivers", "a Prophesee camera", "cameras")
        _refuse(address, "biases")
        try:
            kinds = prophesees(library)
        except Exception as error:  # a machine without USB: "Other error"
            raise SourceError(f"{NO_CAMERA}. neuromorphic-drivers says: {error}") from None
        serial = chosen(address, list(kinds))
        configuration = configured(getattr(library, kinds[serial].name.lower()), address)
        try:
            self._camera = library.open(serial=serial, configuration=configuration, iterator_timeout=READ_S)
            found = self._camera.properties()
        except Exception as error:  # the library raises plain ones
            raise SourceLost(f"camera {serial} does not open; is another program using it? ({error})") from error
        self.size = SensorSize(int(found.width), int(found.height))

    def read(self, timeout_s: float) -> Events | None:  # noqa: ARG002  (the wait is set when it is opened)
        try:
            _, packet = next(self._camera)
        except (StopIteration, RuntimeError) as error:
            raise SourceLost("the camera has stopped answering") from error
        events = None if packet is None else packet.polarity_events
        return None if events is None else make_events(events["t"], events["x"], events["y"], events["on"])

    def close(self) -> None:
        self._camera.__exit__(None, None, None)


def biases_in(path: Path) -> dict[str, int]:
    """Return the biases of a file in the format of Metavision Studio, by name. Raises SourceError."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, ValueError):
        raise SourceError(f"the biases' file {path} cannot be read") from None
    matches = [BIAS.fullmatch(line) for line in lines if line.strip()]
    if not all(matches):
        raise SourceError(f"{path} is no file of biases: its lines are VALUE % bias_NAME")
    return {match[2]: int(match[1]) for match in matches if match}


def biases_of(configuration: Any) -> dict[str, int]:
    """Return all biases that a configuration sets, by name."""
    biases = getattr(configuration, "biases", None)
    return {name: int(value) for name, value in vars(biases).items()} if dataclasses.is_dataclass(biases) else {}


def configured(module: Any, address: Address) -> Any:
    """Return a configuration of the camera's module with the biases of the address. Raises SourceError."""
    configuration = module.Configuration()
    has = biases_of(configuration)
    for name, value in (biases_in(Path(address.options["biases"])) if "biases" in address.options else {}).items():
        if name not in has:
            raise SourceError(f"this camera has no bias '{name}': it has {', '.join(has) or 'none that can be set'}")
        setattr(configuration.biases, name, type(getattr(configuration.biases, name))(value))  # some are booleans
    return configuration


# ----------------------------------------------------------------------------------------------------------- iniVation


class InivationDriver:
    """A camera of iniVation's, through dv-processing. Option: roi=LEFT,TOP,WIDTH,HEIGHT on the chip."""

    def __init__(self, address: Address, library: Any = None) -> None:
        library = library or library_of("dv_processing", "an iniVation camera", "cameras")
        _refuse(address, "roi")
        name = chosen(address, list(map(str, library.io.camera.discover())))
        try:
            self._camera: Any = library.io.camera.open(name)
            width, height = self._camera.getEventResolution()
        except (RuntimeError, IndexError, TypeError) as error:  # with C++ messages of many lines
            raise SourceLost(f"the camera '{name}' does not open; is another program using it?") from error
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


def region(address: Address) -> tuple[int, int, int, int]:
    """Parse the option roi: left, top, width and height in pixels. Raises SourceError."""
    parts = address.options["roi"].split(",")
    numbers = [int(part) for part in parts if part.isascii() and part.isdecimal() and len(part) < 6]
    if len(parts) != 4 or len(numbers) != 4 or 0 in numbers[2:]:
        raise SourceError(f"roi in '{address.text}' is LEFT,TOP,WIDTH,HEIGHT in pixels")
    left, top, width, height = numbers
    return left, top, width, height


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


# ---------------------------------------------------------------------------------------------------------- plugged in


def plugged_in(libraries: Mapping[str, Any] | None = None) -> tuple[list[Plugged], list[str]]:
    """Return all cameras found, without opening them, and sentences about what could not be checked.

    `libraries` replace the real ones.
    """
    found, remarks = list(_webcams(Path(VIDEO_DEVICES))), []
    for name, listed in (("neuromorphic_drivers", _prophesee), ("dv_processing", _inivation)):
        try:
            found += listed((libraries or {}).get(name) or library_of(name, "a USB camera", "cameras"))
        except SourceError as error:
            remarks.append(str(error))
        except Exception as error:  # a foreign library may raise anything
            remarks.append(f"{name} could not be asked: {type(error).__name__}: {error}")
    if not any(camera.driver != "webcam" for camera in found):
        remarks.insert(0, NO_CAMERA)
    return found, remarks


def _prophesee(library: Any) -> Iterator[Plugged]:
    for serial, kind in prophesees(library).items():
        yield Plugged(f"prophesee:{serial}", str(kind.value), "neuromorphic-drivers")


def _inivation(library: Any) -> Iterator[Plugged]:
    for name in map(str, library.io.camera.discover()):
        yield Plugged(f"inivation:{name}", name, "dv-processing")


def _webcams(folder: Path) -> Iterator[Plugged]:
    for device in sorted(folder.glob("video[0-9]*")):
        name = device / "name"
        if (device / "index").is_file() and (device / "index").read_text().strip() != "0":
            continue  # a second node of the same webcam, for metadata
        yield Plugged(f"webcam:{device.name[5:]}", name.read_text().strip() if name.is_file() else "", "webcam")
