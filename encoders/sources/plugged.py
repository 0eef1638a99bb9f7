"""List the cameras that are plugged in, as far as the installed drivers can tell, without opening them."""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spikesight.encoders.sources.address import SourceError, library_of
from spikesight.encoders.sources.devices import NO_CAMERA

VIDEO_DEVICES = "/sys/class/video4linux"  # where Linux lists webcams


class Plugged(NamedTuple):
    """One camera: the source string that opens it, its name, and the driver that found it."""

    source: str
    name: str
    driver: str


def plugged_in(libraries: Mapping[str, Any] | None = None) -> tuple[list[Plugged], list[str]]:
    """Return all cameras found, and sentences about what could not be checked. `libraries` replace the real ones."""
    found, remarks = list(_webcams(Path(VIDEO_DEVICES))), []
    for name, list_cameras in (("eventcv", _eventcv), ("dv_processing", _dv_processing)):
        try:
            library = (libraries or {}).get(name) or library_of(name, "a USB camera", "cameras")
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                for camera in list_cameras(library):
                    found += [camera] if camera.source not in {other.source for other in found} else []
            remarks += [str(warning.message) for warning in caught]
        except SourceError as error:
            remarks.append(str(error))
        except Exception as error:  # a foreign library may raise anything
            remarks.append(f"{name} could not be asked: {type(error).__name__}: {error}")
    if not any(camera.driver != "webcam" for camera in found):
        remarks.insert(0, NO_CAMERA)
    return found, remarks


def _eventcv(library: Any) -> Iterator[Plugged]:
    for camera in library.list_cameras():
        yield Plugged(f"usb:{camera['serial']}", str(camera["name"]), "EventCV")


def _dv_processing(library: Any) -> Iterator[Plugged]:
    """Yield cameras by names such as DVXplorer_DXA00080; the driver opens the first one."""
    for name in map(str, library.io.camera.discover()):
        yield Plugged("inivation", name, "dv-processing")


def _webcams(folder: Path) -> Iterator[Plugged]:
    for device in sorted(folder.glob("video[0-9]*")):
        name = device / "name"
        if (device / "index").is_file() and (device / "index").read_text().strip() != "0":
            continue  # a second node of the same webcam, for metadata
        yield Plugged(f"webcam:{device.name[5:]}", name.read_text().strip() if name.is_file() else "", "webcam")
