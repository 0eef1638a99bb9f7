"""The parts of a source's string, the interface of drivers, and their errors."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from spikesight.encoders.events import Events, SensorSize

PACKET_MS = 5  # length of a packet of a camera, or of a recording played as one


class SourceError(ValueError):
    """A source that cannot be opened or read; the message is one sentence that says what to do."""


class SourceLost(Exception):
    """Raised by a driver whose device or peer has gone; the source may reopen it."""


class SourceEnded(Exception):
    """Raised by a driver at its end, for example of a file."""


@dataclass(frozen=True)
class Address:
    """A parsed source string: kind, target (host, path, serial, number), port, and options after `?`."""

    text: str
    kind: str
    target: str = ""
    port: int = 0
    options: Mapping[str, str] = field(default_factory=dict)

    def size(self) -> SensorSize | None:
        """Return the sensor size of the option size=WxH; None without it."""
        text = self.options.get("size")
        return SensorSize.parse(text) if text else None

    def number(self, name: str, default: float, lowest: float = 0.0) -> float:
        """Return a numeric option, at least `lowest`. Raises SourceError."""
        text = self.options.get(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not value >= lowest:
            raise SourceError(f"{name}={text} in '{self.text}' must be a number of at least {lowest:g}")
        return value


class Driver(Protocol):
    """An open device. `size` is known from then on; `read` waits at most `timeout_s`, and returns None for nothing."""

    size: SensorSize

    def read(self, timeout_s: float) -> Events | None: ...

    def close(self) -> None: ...


OpenDriver = Callable[[Address], Driver]


def library_of(name: str, what: str, extra: str) -> Any:
    """Import a library. Raises SourceError naming the extra, or the system package, that is missing."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise SourceError(f"{what} needs {name}: pip install 'spikesight[{extra}]'") from error
    except ImportError as error:
        raise SourceError(f"{what} needs {name}, which does not load: {lacking(error)}") from error


def lacking(error: ImportError) -> str:
    """Return what to install if a package's native library needs one of the system's.

    >>> lacking(ImportError("libatomic.so.1: cannot open shared object file: No such file or directory"))
    'it wants libatomic.so.1 of the system: apt install libatomic1'
    """
    library = str(error).partition(":")[0]
    if not library.startswith("lib"):
        return str(error)
    base, _, number = library.partition(".so.")
    return f"it wants {library} of the system: apt install {base}{number}"
