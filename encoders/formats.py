"""What every file format offers the reader: a header, and events in pieces of bounded size."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from encoders.events import Events, SensorSize

CHUNK_BYTES = 16 << 20  # what is read from a file at once
WHOLE_BYTES = 4 * CHUNK_BYTES  # up to here a file is read in one piece: joining pieces costs more than decoding


class RecordingError(ValueError):
    """A recording that cannot be read or written; the text is one sentence that names the file or its fault."""


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
    """One kind of file: the suffixes it is known by, how to open it, and how to write it (None: reading only)."""

    suffixes: tuple[str, ...]
    open: Callable[[Path], Opened]
    write: Callable[[Path, "Parts", SensorSize], None] | None = None


Parts = Iterable[Events]
"""Events to write, in order, in pieces that fit the memory; each piece holds at least one."""


Decode = Callable[[NDArray[np.uint8]], Events]
"""Bytes of whole records -> their events; a decoder keeps what it must from one call to the next."""


def piece_bytes(size: int) -> int:
    """How much of a file of `size` bytes to turn into events at once."""
    return size if size <= WHOLE_BYTES else CHUNK_BYTES


def word_chunks(path: Path, start: int, record: int, decode: Decode, notes: list[str]) -> Iterator[Events]:
    """Events of a file of equal records from byte `start` on; bytes left over at the end are noted."""
    chunk = CHUNK_BYTES // record * record
    if path.stat().st_size - start <= WHOLE_BYTES:
        chunk = max(chunk, WHOLE_BYTES // record * record)
    with path.open("rb") as file:
        file.seek(start)
        while True:
            data = np.fromfile(file, np.uint8, chunk)
            whole = len(data) // record * record
            if whole:
                yield decode(data[:whole])
            if whole < len(data):
                notes.append(f"the last {len(data) - whole} bytes are no whole record: the file is cut short")
            if len(data) < chunk:
                return


def text_header(file: BinaryIO, mark: bytes, longest: int = 1 << 16) -> list[str]:
    """The lines at the beginning of `file` that start with `mark`; leaves the file at the first byte after them."""
    lines: list[str] = []
    while file.tell() < longest:
        place = file.tell()
        line = file.readline(4096)
        if not line.startswith(mark) or not line.endswith(b"\n"):
            file.seek(place)
            return lines
        lines.append(line.decode("latin-1").strip())
    raise RecordingError("the header has no end")
