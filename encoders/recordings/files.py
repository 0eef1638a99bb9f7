"""Read and write recordings. A file's content tells its format; damage causes a warning or one RecordingError."""

import hashlib
import importlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from spikesight.encoders.events import (
    EVENTS,
    MAX_SIDE,
    NMNIST_SENSOR,
    Counters,
    Events,
    EventsError,
    Sanitiser,
    SensorSize,
    Size,
    as_events,
    empty_events,
    joined,
    make_events,
)
from spikesight.encoders.plugins import extend
from spikesight.encoders.recordings import (
    aedat,
    aedat4,
    arrays,
    bags,
    hdf5,
    nmnist,
    prophesee,
    text,
)
from spikesight.encoders.recordings.columns import events_of, sensor
from spikesight.encoders.recordings.format import (
    HEAD_BYTES,
    CutShort,
    Format,
    Opened,
    Pieces,
    RecordingError,
    path_of,
    to_read,
    topic_of,
)
from spikesight.encoders.words import counted

ASL_DVS = SensorSize(240, 180)
MAT_NAMES = {"t": "ts", "x": "x", "y": "y", "p": "pol"}


def open_mat(path: Path) -> Opened:
    """Open a file of arrays ts in microseconds, x, y counted from the bottom, and pol. It is read at once, by SciPy."""
    notes: list[str] = []
    return Opened(ASL_DVS, _mat_events(path, notes), notes)


def _mat_events(path: Path, notes: list[str]) -> Iterator[Events]:
    from scipy.io import loadmat  # takes long to import

    found = loadmat(path, variable_names=list(MAT_NAMES.values()))
    if not found.keys() >= set(MAT_NAMES.values()):
        raise RecordingError("it holds no arrays ts, x, y and pol, as ASL-DVS has them")
    columns = {key: np.ravel(found[name]) for key, name in MAT_NAMES.items()}
    if len({len(column) for column in columns.values()}) != 1:
        raise RecordingError("its arrays ts, x, y and pol differ in length")
    for events in events_of([columns], None, notes):
        events["y"] = ASL_DVS.height - 1 - events["y"]
        yield events


def open_es(path: Path) -> Opened:
    """Open an Event Stream file through faery (extra `es`)."""
    try:
        stream = importlib.import_module("faery").events_stream_from_file(path)
    except ImportError as error:
        raise RecordingError("Event Stream files (.es) need faery: pip install 'spikesight[es]'") from error
    packets = (make_events(packet["t"].astype(np.int64), packet["x"], packet["y"], packet["on"]) for packet in stream)
    return Opened(sensor(*stream.dimensions()), packets)


FORMATS: dict[str, Format] = {
    "aedat1": Format((".aedat",), aedat.open_aedat2, mark=b"#!AER-DAT1"),
    "aedat2": Format((".aedat", ".aedat2"), aedat.open_aedat2, mark=b"#!AER-DAT2"),
    "aedat3": Format((".aedat3", ".aedat31", ".aedat"), aedat.open_aedat3, mark=b"#!AER-DAT3"),
    "aedat4": Format((".aedat4",), aedat4.open_aedat4, aedat4.write_aedat4, mark=aedat4.AEDAT4_MARK[:10]),
    "evt2": Format((".evt2", ".raw"), prophesee.open_raw, fits=prophesee.fits("evt2")),
    "evt21": Format((".evt21", ".raw"), prophesee.open_raw, fits=prophesee.fits("evt21")),
    "evt3": Format((".raw", ".evt3"), prophesee.open_raw, prophesee.write_evt3, 24, fits=prophesee.fits("evt3")),
    "dat": Format((".dat",), prophesee.open_dat, fits=prophesee.fits("dat")),
    "hdf5": Format((".h5", ".hdf5"), hdf5.open_hdf5, hdf5.write_hdf5, mark=b"\x89HDF\r\n\x1a\n"),
    "npz": Format((".npz",), arrays.open_npz, arrays.write_npz, mark=b"PK\x03\x04"),
    "csv": Format((".csv", ".txt"), text.open_csv, text.write_csv, fits=text.fits),
    "nmnist": Format((".bin",), nmnist.open_nmnist, fits=nmnist.looks_like_nmnist),
    "es": Format((".es",), open_es, mark=b"Event Stream"),
    "mcap": Format((".mcap",), bags.opener(bags.mcap), mark=b"\x89MCAP0\r\n", topics=True),
    "bag": Format((".bag",), bags.opener(bags.ros1), mark=b"#ROSBAG V", topics=True),
    "db3": Format((".db3",), bags.opener(bags.sqlite), mark=b"SQLite format 3\0", topics=True),
    "npy": Format((".npy",), arrays.open_npy, mark=arrays.MAGIC),
    "mat": Format((".mat",), open_mat, mark=b"MATLAB 5.0 MAT-file"),
}
EXAMPLES = {  # a few events in each format that compiled loops read and that is not written
    "evt2": b"% evt 2.0\n% end\n" + bytes(3) + b"\x80" + bytes(4),
    "evt21": b"% evt 2.1\n% end\n" + bytes(7) + b"\x80\1" + bytes(7),
    "dat": b"% version 2\n\x0c\x08" + bytes(16),
}
LIBRARIES = ("scipy.io", "sqlite3", "bz2", "lz4.frame", "zstandard", "compression.zstd", "faery")  # of some readers
WRITABLE = tuple(name for name, kind in FORMATS.items() if kind.write)


def formats() -> dict[str, Format]:
    """Return FORMATS, including those of installed packages."""
    extend("formats", {Format: FORMATS})
    return FORMATS


def recognised(head: bytes, size: int) -> str | None:
    """Return the format of a file of `size` bytes that begins with `head` (HEAD_BYTES of it); None if unknown.

    A format's mark is more reliable than its `fits`, so all marks are compared first.
    """
    for kinds in (lambda: FORMATS, formats):  # plug-ins are only loaded if no built-in mark matches
        for name, kind in kinds().items():
            if kind.mark and head.startswith(kind.mark):
                return name
    return next((name for name, kind in FORMATS.items() if kind.fits and kind.fits(head, size)), None)


@dataclass(frozen=True)
class Recording:
    """All events of a file, sorted and on the sensor; `warnings` are sentences for users."""

    events: Events
    size: SensorSize
    format: str
    warnings: tuple[str, ...] = ()

    @property
    def truncated(self) -> bool:
        """Whether the file ends before its recording did, as far as its format can tell."""
        return any(isinstance(warning, CutShort) for warning in self.warnings)


def detect_format(path: Path | str) -> str:
    """Return the name in formats() that the file's content matches. Raises RecordingError if none does."""
    path, _ = topic_of(to_read(path))
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            size = file.seek(0, 2)
    except OSError as error:
        raise RecordingError(f"cannot open {path}: {(error.strerror or str(error)).lower()}") from error
    if not head:
        raise RecordingError(f"{path} is empty")
    if name := recognised(head, size):
        return name
    raise RecordingError(f"{path}, by its content, is not a recording of a kind known here ({', '.join(FORMATS)})")


@contextmanager
def _faults_named(path: Path) -> Iterator[None]:
    """Convert any error while a file is read to one RecordingError that names the file."""
    try:
        yield
    except RecordingError as error:
        raise RecordingError(f"cannot read {path}: {error}") from error
    except MemoryError as error:
        raise RecordingError(f"cannot read {path}: it asks for more memory than there is") from error
    except ModuleNotFoundError as error:  # not every package has a wheel for the newest Python
        raise RecordingError(f"cannot read {path}: that needs {error.name}: pip install {error.name}") from error
    except Exception as error:  # a foreign reader may raise anything
        raise RecordingError(f"cannot read {path}: it is damaged ({type(error).__name__})") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # raised by panics in Rust readers; not a subclass of Exception
            raise
        raise RecordingError(f"cannot read {path}: it is damaged") from None


def _open(path: Path) -> tuple[str, Opened]:
    name = detect_format(path)
    if topic_of(path)[1] and not FORMATS[name].topics:
        raise RecordingError(f"{topic_of(path)[0]} has no topics: it is {name}, and one recording")
    with _faults_named(path):
        return name, FORMATS[name].open(path)


def read_recording(path: Path | str) -> Recording:
    """Read all events of one file. Raises RecordingError if it is missing, empty, unknown or without events."""
    path = to_read(path)
    name, opened = _open(path)
    with _faults_named(path):  # also for a MemoryError
        chunks = opened.chunks.whole() if isinstance(opened.chunks, Pieces) else opened.chunks
        parts = [part for part in chunks if len(part)]
        events = joined(parts) if parts else empty_events()
        size = opened.size or _smallest_sensor(events, name)
    if not parts:
        raise RecordingError(f"there are no events in {path}")
    if size is None:
        raise RecordingError(f"no event of {path} lies on a sensor of any size")
    sanitiser = Sanitiser(size)
    with _faults_named(path):
        kept = sanitiser.push(events)
    if not len(kept):
        raise RecordingError(f"no event of {path} lies on its {size} sensor")
    return Recording(kept, size, name, (*opened.notes, *_remarks(sanitiser.counters, size)))


read = read_recording  # its name in `spikesight`


def _remarks(counters: Counters, size: SensorSize) -> list[str]:
    remarks = []
    if counters.n_outside:
        remarks.append(f"{counted(counters.n_outside, 'event')} outside the {size} sensor dropped")
    if counters.n_backward:
        remarks.append(
            f"time steps back {counters.n_backward} times ({counters.n_restarts} clock restarts); "
            "events were put in order"
        )
    return remarks


def _smallest_sensor(events: Events, name: str) -> SensorSize | None:
    """Return the sensor of a file that names none: N-MNIST's if events fit, else the smallest that holds them."""
    usable = events[(events["x"] >= 0) & (events["y"] >= 0) & (events["x"] < MAX_SIDE) & (events["y"] < MAX_SIDE)]
    if not len(usable):
        return None
    width, height = int(usable["x"].max()) + 1, int(usable["y"].max()) + 1
    if name == "nmnist" and width <= NMNIST_SENSOR.width and height <= NMNIST_SENSOR.height:
        return NMNIST_SENSOR
    return SensorSize(width, height)


class RecordingReader:
    """A file to be read in packets: `size` and `format` are known; call `packets` once."""

    def __init__(self, path: Path | str, size: Size | None = None) -> None:
        self.path = to_read(path)
        self.size = sensor_of(self.path) if size is None else SensorSize.of(size)
        self.format, self._opened = _open(self.path)
        self._sanitiser = Sanitiser(self.size)

    def warnings(self) -> tuple[str, ...]:
        """Return sentences about damage found so far; complete once all packets were read."""
        return (*self._opened.notes, *_remarks(self._sanitiser.counters, self.size))

    @property
    def truncated(self) -> bool:
        """Whether the file ends before its recording did; known once all packets were read."""
        return any(isinstance(note, CutShort) for note in self._opened.notes)

    def packets(self, packet_us: int = 10_000) -> Iterator[Events]:
        """Yield the file's events in order, `packet_us` at a time (see the function `packets`)."""
        if packet_us < 1:
            raise EventsError(f"a packet must last at least one microsecond, not {packet_us}")
        origin, rest = None, empty_events()
        with _faults_named(self.path):
            for chunk in self._opened.chunks:
                events = self._sanitiser.push(chunk)
                if not len(events):
                    continue
                origin = int(events["t"][0]) if origin is None else origin
                events = joined([rest, events]) if len(rest) else events
                number = (events["t"] - origin) // packet_us
                cuts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist()]
                for begin, end in pairwise(cuts):
                    yield events[begin:end]
                rest = events[cuts[-1] :].copy()
        if len(rest):
            yield rest
        if origin is None:
            raise RecordingError(f"there are no events in {self.path}")


def sensor_of(path: Path | str) -> SensorSize:
    """Return a file's sensor from its header, or, if it names none, by reading all events once."""
    path = to_read(path)
    name, opened = _open(path)
    if opened.size is not None:
        return opened.size
    width = height = 0
    with _faults_named(path):
        for chunk in opened.chunks:
            size = _smallest_sensor(chunk, name)
            if size is not None:
                width, height = max(width, size.width), max(height, size.height)
    if not width:
        raise RecordingError(f"there are no events in {path}")
    return SensorSize(width, height)


def packets(path: Path | str, packet_us: int = 10_000, size: Size | None = None) -> Iterator[Events]:
    """Yield a file's events in order, `packet_us` at a time from the first event; empty packets are left out.

    Only a few megabytes of the file are in memory at any time. Raises RecordingError like read_recording.
    """
    yield from RecordingReader(path, size).packets(packet_us)


def format_of(path: Path | str) -> str:
    """Return the format that a file's suffix stands for. Raises RecordingError."""
    path = path_of(path)
    suffix = path.suffix.lower()
    found = [name for name, kind in formats().items() if suffix in kind.suffixes]
    name = next((name for name in found if FORMATS[name].write), found[0] if found else None)
    if name is None:
        suffixes = sorted(FORMATS[name].suffixes[0] for name in WRITABLE)
        raise RecordingError(f"cannot tell a format from '{path.name}'; end it in one of {', '.join(suffixes)}")
    return name


def write_recording(
    path: Path | str,
    events: Events | Iterable[Events],
    size: Size,
    format: str | None = None,
    *,
    warn: Callable[[str], object] = lambda _: None,
    keep: bool = False,
) -> int:
    """Write sorted events (`as_events`), an array or an iterable of arrays, in the suffix's format or `format`.

    Arrays are written as they come, except for npz, which needs all events first. Returns the number of
    events. `warn` gets a sentence if the format cannot hold the time of the first event. Raises RecordingError; an
    older file at `path` stays until the new one is complete, or, with `keep`, broken off after some events.
    """
    path = path_of(path)
    name = format or format_of(path)
    if name not in formats():
        raise RecordingError(f"there is no format '{name}'; choose one of {', '.join(WRITABLE)}")
    write = FORMATS[name].write
    if write is None:
        raise RecordingError(f"{name} files can be read but not written")
    if path.exists() and not path.is_file():
        raise RecordingError(f"cannot write {path}: it is no file")
    pieces = events if not isinstance(events, np.ndarray) and isinstance(events, Iterable) else [events]
    sensor = SensorSize.of(size)
    counted = _Counted(pieces, sensor)
    unfinished = path.with_name(f".{path.stem}.part{FORMATS[name].suffixes[0]}")
    try:
        write(unfinished, counted, sensor)
        unfinished.replace(path)
    except (RecordingError, EventsError, OSError, ModuleNotFoundError) as error:
        why = (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
        kept = "; what came before is kept" if keep and _has_events(unfinished, sensor) else ""
        raise RecordingError(f"cannot write {path}: {why}{kept}") from error
    finally:
        with suppress(OSError):
            if keep and _has_events(unfinished, sensor):
                unfinished.replace(path)
            unfinished.unlink(missing_ok=True)
    bits = FORMATS[name].clock_bits
    if bits is not None and counted.first >> bits:
        begin = counted.first % (1 << bits)
        warn(f"{name} times have {bits} bits: the file begins at {begin:,} us, not at {counted.first:,} us")
    return counted.n


def _has_events(path: Path, size: SensorSize) -> bool:
    """Return whether a file that was perhaps broken off can be read."""
    with suppress(RecordingError):
        return next(packets(path, size=size), None) is not None
    return False


class _Counted:
    """Checks and counts the arrays on their way to a file and leaves out empty ones."""

    def __init__(self, parts: Iterable[Events], size: SensorSize) -> None:
        self.parts, self.size, self.n, self.first = parts, size, 0, 0

    def __iter__(self) -> Iterator[Events]:
        last = 0
        for given in self.parts:
            part = as_events(given, self.size)
            if not len(part):
                continue
            if int(part["t"][0]) < last:
                raise RecordingError("times below zero have no place in a file" if not self.n else "time steps back")
            last = int(part["t"][-1])
            self.first = self.first if self.n else int(part["t"][0])
            self.n += len(part)
            yield np.ascontiguousarray(part, EVENTS)
        if not self.n:
            raise RecordingError("there are no events")


DIGEST_BYTES = 1 << 20


def digest(recording: Path | bytes) -> str:
    """Return a recording's fingerprint: SHA-256 of its length and first MiB (and topic), 16 hex digits."""
    if isinstance(recording, bytes):
        length, head = len(recording), recording[:DIGEST_BYTES]
    else:
        path, topic = topic_of(recording)
        with path.open("rb") as file:
            head, length = file.read(DIGEST_BYTES) + topic.encode(), file.seek(0, 2)
    return hashlib.sha256(length.to_bytes(8, "big") + head).hexdigest()[:16]
