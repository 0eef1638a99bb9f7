"""Recordings on disk -> events. The format is told by content; damage becomes a warning or one RecordingError."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.events import MAX_SIDE, Events, EventsError, SensorSize, empty_events, make_events, sanitise


class RecordingError(ValueError):
    """A recording that cannot be read or written; the text is one sentence that names the file."""


@dataclass(frozen=True)
class Recording:
    """All events of a file, sorted and on the sensor; `warnings` are sentences for people."""

    events: Events
    size: SensorSize
    format: str
    warnings: tuple[str, ...] = ()


Decoded = tuple[Events, SensorSize | None]
"""A reader's answer: events as they lie in the file, and the sensor if the file names it."""


def read_nmnist(path: Path) -> Decoded:
    """N-MNIST and N-Caltech101 .bin (Orchard et al. 2015): 40-bit events, x, y, polarity bit, 23-bit time in us."""
    raw = np.fromfile(path, np.uint8)
    records = raw[: len(raw) // 5 * 5].reshape(-1, 5).astype(np.int64)
    t = (records[:, 2] & 0x7F) << 16 | records[:, 3] << 8 | records[:, 4]
    overflow = records[:, 1] == 240  # a marker, not an event: the clock has wrapped after 2^13 us
    t += np.cumsum(overflow) << 13
    events = make_events(t, records[:, 0], records[:, 1], records[:, 2] >> 7)[~overflow]
    return events, None


def read_eventcv(path: Path) -> Decoded:
    """Whatever EventCV reads: AEDAT4, AEDAT 2, EVT2, EVT3, DAT, HDF5."""
    import eventcv  # the only reader of these; imported here so that .bin needs nothing

    stream = eventcv.load(str(path), time_unit="us")
    table: NDArray[np.uint64] = stream.numpy()
    width, height = stream.sensor_size
    size = SensorSize(width, height) if 1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE else None
    return make_events(table[:, 2].astype(np.int64), table[:, 0], table[:, 1], table[:, 3]), size


@dataclass(frozen=True)
class Format:
    """One kind of file: the suffix it is known by, and the function that reads it."""

    suffix: str
    read: Callable[[Path], Decoded]


FORMATS: dict[str, Format] = {
    "nmnist": Format(".bin", read_nmnist),
    "aedat4": Format(".aedat4", read_eventcv),
    "evt2": Format(".raw", read_eventcv),
    "evt3": Format(".raw", read_eventcv),
    "dat": Format(".dat", read_eventcv),
}


def detect_format(path: Path | str) -> str:
    """The name in FORMATS that the file's content fits. Raises RecordingError where none does."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(4096)
        size = path.stat().st_size
    except OSError as error:
        raise RecordingError(f"cannot open {path}: {(error.strerror or str(error)).lower()}") from error
    if not head:
        raise RecordingError(f"{path} is empty")
    if head.startswith(b"#!AER-DAT4"):
        return "aedat4"
    if head.startswith(b"%"):
        text = head.decode("latin-1").lower()
        if "% evt 3" in text or "format evt3" in text:
            return "evt3"
        if "% evt 2" in text or "format evt2" in text:
            return "evt2"
        return "dat"
    if path.suffix == ".bin" and size % 5 == 0:
        return "nmnist"
    raise RecordingError(f"{path} is not a recording of a kind known here ({', '.join(FORMATS)})")


def read_recording(path: Path | str) -> Recording:
    """All events of one file. Raises RecordingError: missing, empty, of no known kind, or without a single event."""
    path = Path(path)
    name = detect_format(path)
    try:
        events, size = FORMATS[name].read(path)
    except (ValueError, OSError, RuntimeError) as error:
        raise RecordingError(f"{path} is damaged: {error}") from error
    if not len(events):
        raise RecordingError(f"there are no events in {path}")
    if size is None:
        size = _smallest_sensor(events, name)
    kept, counters = sanitise(events, size)
    warnings = []
    if counters.n_outside:
        warnings.append(f"{counters.n_outside} events outside the {size} sensor were dropped")
    if counters.n_backward:
        warnings.append(
            f"time steps back {counters.n_backward} times ({counters.n_restarts} clock restarts); "
            "events were put in order"
        )
    if not len(kept):
        raise RecordingError(f"no event of {path} lies on its {size} sensor")
    return Recording(kept, size, name, tuple(warnings))


NMNIST_SENSOR = SensorSize(34, 34)


def _smallest_sensor(events: Events, name: str) -> SensorSize:
    """The sensor of a file that names none: N-MNIST's if everything fits, else the smallest that holds all events."""
    width, height = int(events["x"].max()) + 1, int(events["y"].max()) + 1
    if name == "nmnist" and width <= NMNIST_SENSOR.width and height <= NMNIST_SENSOR.height:
        return NMNIST_SENSOR
    return SensorSize(min(max(width, 1), MAX_SIDE), min(max(height, 1), MAX_SIDE))


def read_recording_bytes(data: bytes, name: str) -> Recording:
    """An uploaded recording; `name` gives only the suffix. Raises RecordingError, which names the upload."""
    suffix = "".join(c for c in Path(name).suffix if c.isalnum() or c == ".")[:10]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"upload{suffix}"
        path.write_bytes(data)
        try:
            return read_recording(path)
        except RecordingError as error:
            raise RecordingError(str(error).replace(str(path), name or "the upload")) from None


def packets(path: Path | str, packet_us: int = 10_000) -> Iterator[Events]:
    """The file's events in order, `packet_us` at a time; packets without events are left out."""
    if packet_us < 1:
        raise EventsError(f"a packet must last at least one microsecond, not {packet_us}")
    events = read_recording(path).events
    number = (events["t"] - events["t"][0]) // packet_us
    cuts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(events)]
    for begin, end in pairwise(cuts):
        yield events[begin:end] if end > begin else empty_events()
