"""The interface of file formats: a header, and events in pieces of bounded size."""

import importlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import EVENTS, Events, SensorSize, joined
from spikesight.encoders.words import counted

HEAD_BYTES = 8192  # first bytes of a file, by which its format is recognised
CHUNK_BYTES = 4 << 20  # bytes of a long file that are decoded at once: up to 2 million events
LARGEST_PACKET = 1 << 28  # bytes of one packet of AEDAT 3 or 4, or of a bag; a larger size means damage
LONGEST_HEADER = 1 << 20  # bytes of a text header: jAER writes its preferences there
SAMPLES = Path(__file__).parents[1] / "sources" / "samples"  # shipped recordings
READ_BYTES = 1 << 17  # size of the read buffer, which stays in the processor's cache
LEAST_ROOM = 64  # extra events in each array, so that one record always fits


class RecordingError(ValueError):
    """A recording that cannot be read or written; the message is one sentence that names the file or the fault."""


class NoEventsKnown(RecordingError):
    """An intact file without events, or with events in a coding that is not supported."""


class CutShort(str):
    """A remark for users that a file ends, or makes no sense any more, before its recording ended: events are lost."""


def path_of(name: object) -> Path:
    """Convert to a Path. Raises RecordingError if `name` is not a path."""
    if not isinstance(name, (str, os.PathLike)) or "\0" in str(name):
        raise RecordingError(f"a file is named by its path, not by {name!r}")
    return Path(name)


def to_read(name: object) -> Path:
    """Return the path of a recording to be read: `name`, or where no such file is, the shipped sample of that name."""
    path = path_of(name)
    shipped = SAMPLES / f"{path.name}.raw"
    return shipped if path.name == str(name) and shipped.is_file() and not path.exists() else path


def shown(text: object) -> str:
    """Make foreign text safe for a message: at most 100 characters, none of them a control character."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text)[:100])


def topic_of(path: Path) -> tuple[Path, str]:
    """Split `walk.mcap#/left/events` into the file and the topic; the topic is empty if none is named."""
    file, mark, topic = str(path).rpartition("#/")
    return (Path(file), f"/{topic}") if mark and not path.exists() else (path, "")


class Pieces(Iterator[Events]):
    """Iterator over a file's events in arrays, each from about CHUNK_BYTES of it, or all at once by `whole`.

    `read(n)` yields arrays with room for the events of n bytes; `size`: bytes of the file's data. If all events are
    wanted at once, `whole` is better: joining pieces costs more than decoding.
    """

    def __init__(self, read: Callable[[int], Iterator[Events]], size: int) -> None:
        self._read, self._size = read, size
        self._drawn: Iterator[Events] | None = None

    def __next__(self) -> Events:
        if self._drawn is None:
            self._drawn = self._read(min(self._size, CHUNK_BYTES))
        return next(self._drawn)

    def whole(self) -> Iterator[Events]:
        """Return all events, usually in one array; more only if the file is unusually dense."""
        return self._read(self._size)


@dataclass
class Opened:
    """A file about to be read: its sensor if the file names it, its events in pieces, and remarks for users.

    `chunks` reads the file as it is iterated and may add to `notes` (damage found on the way) until its end.
    """

    size: SensorSize | None
    chunks: Iterator[Events]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Format:
    """A file format: its suffixes, how to open it, and how to write it (None: reading only).

    `clock_bits`: times are stored modulo 2 to this power; the time of the first event may change, differences do not.
    `mark`: the bytes with which every file begins; empty if there are none. Then `fits` decides by a file's first
    HEAD_BYTES and its length. `topics`: whether a file holds several recordings, of which a path may name one
    (`topic_of`).
    """

    suffixes: tuple[str, ...]
    open: Callable[[Path], Opened]
    write: Callable[[Path, "Parts", SensorSize], None] | None = None
    clock_bits: int | None = None
    mark: bytes = b""
    fits: Callable[[bytes, int], bool] | None = None
    topics: bool = False


Parts = Iterable[Events]
"""Events to write, in order, in arrays that fit in memory; each has at least one event."""


Decode = Callable[[NDArray[np.uint8], Events], tuple[int, int]]
"""A decoder (bytes of whole records, out) -> (events written to the start of out, bytes used).

It is called again with the remaining bytes and a new array. A decoder keeps its state between calls.
"""


def as_decoder(own: Callable[[NDArray[np.uint8]], Events], record: int) -> Decode:
    """Return a Decode from a function that makes its own array, with at most one event per record."""

    def decode(data: NDArray[np.uint8], out: Events) -> tuple[int, int]:
        data = data[: len(out) * record]
        events = own(data)
        out[: len(events)] = events
        return len(events), len(data)

    return decode


def word_chunks(path: Path, start: int, record: int, decode: Decode, notes: list[str]) -> Pieces:
    """Return the events of a file of equal records from byte `start` on; leftover bytes at the end are noted."""

    def read(at_once: int) -> Iterator[Events]:
        words = ((data, decode) for data in _words(path, start, record, notes))
        return decoded(words, at_once // max(record, 4))  # few records of 2 bytes are a whole event

    return Pieces(read, path.stat().st_size - start)


def decoded(pieces: Iterable[tuple[NDArray[np.uint8], Decode]], room: int) -> Iterator[Events]:
    """Decode bytes, given with their decoders, into arrays of `room` events and a few more."""
    room += LEAST_ROOM
    events, n = np.empty(room, EVENTS), 0
    for data, decode in pieces:
        while len(data):
            found, used = decode(data, events[n:])
            n, data = n + found, data[used:]
            if len(data):
                yield events[:n]
                events, n = np.empty(room, EVENTS), 0
    if n:
        yield events[:n]


def batched(parts: Iterable[Any], room: int, join: Callable[[list[Any]], Events] = joined) -> Iterator[Events]:
    """Join small arrays of events, or what `join` makes events of, whenever their lengths sum up to `room`."""
    held, n = list[Any](), 0
    for part in parts:
        held.append(part)
        n += len(part)
        if n > room:
            yield join(held)
            held, n = [], 0
    if n:
        yield join(held)


def _words(path: Path, start: int, record: int, notes: list[str]) -> Iterator[NDArray[np.uint8]]:
    """Yield whole records, read through one buffer that stays in the processor's cache."""
    buffer = np.empty(READ_BYTES // record * record, np.uint8)
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while held := file.readinto(buffer.data):
            yield buffer[: held // record * record]
            if held % record:
                rest = counted(held % record, "byte")
                notes.append(CutShort(f"the file is cut short, with {rest} of a record at its end"))


def text_header(file: BinaryIO, mark: str, end: str) -> list[str]:
    """Read the lines at the start of `file` that begin with `mark`; leave the file at the first byte after them.

    The line `end` (lower case, no blanks) is the last. Many files have none, and their data may begin with the mark's
    byte: then a line counts only if it is text, ends like the first line, and is longer than the mark.
    """
    begin, marked = file.tell(), mark[:1].encode()
    lines: list[str] = []
    while file.tell() < LONGEST_HEADER and (raw := file.readline(4096)).startswith(marked) and raw.endswith(b"\n"):
        lines.append(raw.decode("latin-1").strip())
        if lines[-1].replace(" ", "").lower() == end:
            return lines
    file.seek(begin)
    lines, ending = [], b"\n"
    while file.tell() < LONGEST_HEADER:
        place = file.tell()
        raw = file.readline(4096)
        line = _text(raw, ending)
        if line is None or not line.startswith(mark) or len(line) == len(mark):
            file.seek(place)
            return lines
        ending = b"\r\n" if raw.endswith(b"\r\n") else b"\n"
        lines.append(line)
    raise RecordingError("the header has no end")


def _text(raw: bytes, ending: bytes) -> str | None:
    """Return a line of UTF-8 without control characters except tabs; None for anything else."""
    if not raw.endswith(ending):
        return None
    try:
        line = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        return None
    return line if line.replace("\t", "").isprintable() else None


# -------------------------------------------------------------------------------------------------------- decompression

READ_AT_ONCE = 1 << 20
EXPANDS = 255  # most bytes that LZ4 makes of one


def unpacked(codec: str, data: bytes, most: int) -> bytes:
    """Decompress bz2, lz4 or zstd (or nothing: "") to `most` bytes at most; further ones are lost.

    Raises NoEventsKnown for an unknown codec, RecordingError if a library is missing, and an error of the codec's
    library for damage.
    """
    if codec in ("", "none"):
        return data
    if codec == "bz2":
        return importlib.import_module("bz2").BZ2Decompressor().decompress(data, most)
    if codec == "lz4":
        frame = importlib.import_module("lz4.frame").LZ4FrameDecompressor()
        return frame.decompress(data, min(most, EXPANDS * len(data)))  # it takes the memory before it begins
    if codec != "zstd":
        raise NoEventsKnown(f"it is packed with '{shown(codec)}', which is not known here")
    parts, left, reader = list[bytes](), most, zstd_reader()(io.BytesIO(data))
    while left and (part := reader.read(min(left, READ_AT_ONCE))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def zstd_reader() -> Callable[[BinaryIO], Any]:
    """Return what reads zstd: Python's own from 3.14 on, else zstandard. Raises RecordingError without either."""
    try:
        return importlib.import_module("compression.zstd").ZstdFile
    except ImportError:
        pass
    try:
        return importlib.import_module("zstandard").ZstdDecompressor().stream_reader
    except ImportError as error:
        raise RecordingError(
            "it is packed with zstd, which needs zstandard: pip install 'spikesight[formats]'"
        ) from error
