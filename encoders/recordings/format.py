"""The interface of file formats: a header, and events in pieces of bounded size."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import EVENTS, Events, SensorSize

HEAD_BYTES = 8192  # of a file, by which its format is told; a header is no longer
CHUNK_BYTES = 4 << 20  # of a long file, what is turned into events at once: up to 2 million of them
LONGEST_HEADER = 1 << 16  # bytes of text
READ_BYTES = 1 << 17  # through a buffer of this size, which stays in the processor's cache
LEAST_ROOM = 64  # events of one record and a little more fit any array that a decoder gets afresh


class RecordingError(ValueError):
    """A recording that cannot be read or written; the text is one sentence that names the file or its fault."""


class NoEventsKnown(RecordingError):
    """A whole file with no events in it, or with such as are written in a way that is not known here."""


def path_of(name: object) -> Path:
    """The path that somebody names. Raises RecordingError for what is none."""
    if not isinstance(name, (str, os.PathLike)) or "\0" in str(name):
        raise RecordingError(f"a file is named by its path, not by {name!r}")
    return Path(name)


def shown(text: object) -> str:
    """A stranger's words in a sentence of ours: a hundred letters, none of them a control character."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text)[:100])


def topic_of(path: Path) -> tuple[Path, str]:
    """`walk.mcap#/left/events` -> the file and the topic that is meant; the topic is empty where none is named."""
    file, mark, topic = str(path).rpartition("#/")
    return (Path(file), f"/{topic}") if mark and not path.exists() else (path, "")


class Pieces(Iterator[Events]):
    """Events of a file in pieces, each of about CHUNK_BYTES of it, or `whole`.

    `read` gives them, with room in each array for those of so many bytes; `size` is how many bytes there are. Events
    that are all wanted at once need no pieces: to join them costs more than to decode them.
    """

    def __init__(self, read: Callable[[int], Iterator[Events]], size: int) -> None:
        self._read, self._size = read, size
        self._drawn: Iterator[Events] | None = None

    def __next__(self) -> Events:
        if self._drawn is None:
            self._drawn = self._read(min(self._size, CHUNK_BYTES))
        return next(self._drawn)

    def whole(self) -> Iterator[Events]:
        """All events, in place of pieces: in one, unless they are more than a file of its size has as a rule."""
        return self._read(self._size)


@dataclass
class Opened:
    """A file about to be read: the sensor if the file names it, its events in pieces, and remarks for people.

    `chunks` reads as it is drawn from, and may add to `notes` (damage met on the way) until it ends.
    """

    size: SensorSize | None
    chunks: Iterator[Events]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Format:
    """One kind of file: the suffixes it is known by, how to open it, and how to write it (None: reading only).

    `clock_bits`: times are kept modulo this power of two; that of the first event may change, none between events.
    `mark`: the bytes that every such file begins with; empty where there are none. `fits` then tells, from a file's
    first HEAD_BYTES and its length in bytes, whether it is of this kind. `topics`: whether it holds several recordings,
    one of which a path may name (`topic_of`).
    """

    suffixes: tuple[str, ...]
    open: Callable[[Path], Opened]
    write: Callable[[Path, "Parts", SensorSize], None] | None = None
    clock_bits: int | None = None
    mark: bytes = b""
    fits: Callable[[bytes, int], bool] | None = None
    topics: bool = False


Parts = Iterable[Events]
"""Events to write, in order, in pieces that fit the memory; each piece holds at least one."""


Decode = Callable[[NDArray[np.uint8], Events], tuple[int, int]]
"""Bytes of whole records -> their events, at the beginning of an array: how many, and how many bytes they took.

The rest of the bytes comes again with a fresh array. A decoder keeps what it must from one call to the next.
"""


def fitted(own: Callable[[NDArray[np.uint8]], Events], record: int) -> Decode:
    """A Decode by a function that makes its own array, of at most one event a record of so many bytes."""

    def decode(data: NDArray[np.uint8], out: Events) -> tuple[int, int]:
        data = data[: len(out) * record]
        events = own(data)
        out[: len(events)] = events
        return len(events), len(data)

    return decode


def word_chunks(path: Path, start: int, record: int, decode: Decode, notes: list[str]) -> Pieces:
    """Events of a file of equal records from byte `start` on; bytes left over at the end are noted."""

    def read(at_once: int) -> Iterator[Events]:
        words = ((data, decode) for data in _words(path, start, record, notes))
        return decoded(words, at_once // max(record, 4))  # records of 2 bytes: the fewest are whole events

    return Pieces(read, path.stat().st_size - start)


def decoded(pieces: Iterable[tuple[NDArray[np.uint8], Decode]], room: int) -> Iterator[Events]:
    """Events of bytes, each with what decodes them, in arrays of `room` events and a few more."""
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


def _words(path: Path, start: int, record: int, notes: list[str]) -> Iterator[NDArray[np.uint8]]:
    """Whole records, through one buffer that stays in the processor's cache."""
    buffer = np.empty(READ_BYTES // record * record, np.uint8)
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while held := file.readinto(buffer.data):
            yield buffer[: held // record * record]
            if held % record:
                notes.append(f"the last {held % record} bytes are no whole record: the file is cut short")


def text_header(file: BinaryIO, mark: str, end: str) -> list[str]:
    """The lines at the beginning of `file` that start with `mark`; leaves the file at the first byte after them.

    The line `end` (small letters, no blanks) is the last. Many files have none, and their data may begin with the byte
    of the mark: a line then counts only if it is text, ended like the first one, and says something.
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
    """A line of UTF-8 without control characters other than tabs, None for anything else."""
    if not raw.endswith(ending):
        return None
    try:
        line = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        return None
    return line if line.replace("\t", "").isprintable() else None
