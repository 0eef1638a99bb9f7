"""USB cameras whose biases are set individually, through neuromorphic-drivers.

    prophesee?bias.diff_on=30&bias.diff_off=30       by the driver's names for this camera
    usb:00042?biases=indoor.bias&rate=5000000        from a file in the format of Metavision Studio

No camera was available when this was written: it is tested against a stand-in and the library's own configurations.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any

from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.sources.address import Address, SourceError, SourceLost, library_of
from spikesight.encoders.sources.devices import NO_CAMERA, serial_of

LINE = re.compile(r"\s*(-?\d+)\s*%\s*(?:bias_)?(\w+)\s*")  # a line of a bias file: value, then name
RATE_PERIOD_US = 1000  # period over which the chip counts events for its rate limit
READ_S = 0.1


def asks_for_biases(address: Address) -> bool:
    """Return whether a source's string sets any bias."""
    return "biases" in address.options or any(name.startswith("bias.") for name in address.options)


def biases_wanted(address: Address) -> dict[str, int]:
    """Return the biases of a source's string by name; they override those of its file. Raises SourceError."""
    found = biases_in(Path(address.options["biases"])) if "biases" in address.options else {}
    for option, text in address.options.items():
        if option.startswith("bias."):
            if not re.fullmatch(r"-?\d{1,5}", text):
                raise SourceError(f"{option}={text} in '{address.text}' must be a whole number")
            found[option.removeprefix("bias.")] = int(text)
    return found


def biases_in(path: Path) -> dict[str, int]:
    """Return the biases of a file in the format of Metavision Studio, by name. Raises SourceError."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, ValueError):
        raise SourceError(f"the biases' file {path} cannot be read") from None
    matches = [LINE.fullmatch(line) for line in lines if line.strip()]
    if not all(matches):
        raise SourceError(f"{path} is no file of biases: its lines are VALUE % bias_NAME")
    return {match[2]: int(match[1]) for match in matches if match}


class BiasedDriver:
    """A USB camera with biases set by the user. Options: bias.NAME=VALUE, biases=FILE, rate=EVENTS_PER_SECOND."""

    def __init__(self, address: Address, library: Any = None) -> None:
        library = library or library_of("neuromorphic_drivers", "setting biases", "cameras")
        if "roi" in address.options or address.options.get("bias"):
            raise SourceError(f"roi and bias=adaptive do not go with single biases in '{address.text}': leave one out")
        try:
            kinds = {one.serial: one.name for one in library.list_devices() if one.serial is not None}
        except Exception as error:  # a machine without USB: "Other error"
            raise SourceError(f"{NO_CAMERA}. neuromorphic-drivers says: {error}") from None
        serial = serial_of(address, [(serial, kind.name.lower(), kind.value) for serial, kind in kinds.items()])
        configuration = configured(getattr(library, kinds[serial].name.lower()), address)
        try:
            self._camera = library.open(serial=serial, configuration=configuration, iterator_timeout=READ_S)
            found = self._camera.properties()
        except Exception as error:  # the library raises plain ones
            raise SourceLost(f"camera {serial} does not open: {error}") from error
        self.size = SensorSize(int(found.width), int(found.height))
        self.settings = {"camera": kinds[serial].value, "serial": serial, "biases": biases_of(configuration)}

    def read(self, timeout_s: float) -> Events | None:  # noqa: ARG002  (the wait is set when it is opened)
        try:
            _, packet = next(self._camera)
        except (StopIteration, RuntimeError) as error:
            raise SourceLost("the camera has stopped answering") from error
        events = None if packet is None else packet.polarity_events
        if events is None:
            return None
        return make_events(events["t"], events["x"], events["y"], events["on"])

    def close(self) -> None:
        self._camera.__exit__(None, None, None)


def biases_of(configuration: Any) -> dict[str, int]:
    """Return all biases that a configuration sets, by name."""
    biases = getattr(configuration, "biases", None)
    return {name: int(value) for name, value in vars(biases).items()} if dataclasses.is_dataclass(biases) else {}


def configured(module: Any, address: Address) -> Any:
    """Return a configuration of the camera's module with the biases and rate of the address. Raises SourceError."""
    configuration = module.Configuration()
    biases = getattr(configuration, "biases", None)
    names = [field.name for field in dataclasses.fields(biases)] if dataclasses.is_dataclass(biases) else []
    for name, value in biases_wanted(address).items():
        if name not in names:
            has = f"it has {', '.join(names)}" if names else "the driver sets none of its biases"
            raise SourceError(f"this camera has no bias '{name}': {has}")
        setattr(biases, name, type(getattr(biases, name))(value))  # some are booleans
    if "rate" in address.options:
        if not hasattr(module, "RateLimiter"):
            raise SourceError(f"this camera has no limit of its rate: take rate out of '{address.text}'")
        most = round(address.number("rate", 0, 1000) * RATE_PERIOD_US / 1e6)
        configuration.rate_limiter = module.RateLimiter(RATE_PERIOD_US, most)
    return configuration
