"""MATLAB's .mat files of ASL-DVS (Bi et al. 2019): arrays ts in microseconds, x, y counted from the bottom, pol."""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.recordings.columns import ROWS, Part, events_of, zipped
from spikesight.encoders.recordings.format import Opened, RecordingError

SENSOR = SensorSize(240, 180)
NAMES = {"t": "ts", "x": "x", "y": "y", "p": "pol"}
ORDERS = {b"IM": "<", b"MI": ">"}
TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
MATRIX, COMPRESSED = 14, 15
NUMBERS = range(6, 16)  # classes of numeric arrays
IMAGINARY = 0x800  # flag of complex numbers
HEAD, ORDER_AT, TAG, SMALL, LONGEST = 128, 126, 8, 4, 256  # bytes; LONGEST bounds names (63 in MATLAB)


class Inflated(io.RawIOBase):
    """A stream that decompresses the next `size` bytes of a file by zlib, no further than it is read."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left, self._zlib, self._packed = file, size, zlib.decompressobj(), b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Decompress into a buffer; return the number of bytes (see io.RawIOBase)."""
        out, view = b"", memoryview(buffer)
        while not out and not self._zlib.eof and (self._packed or self._left):
            if not self._packed:
                self._packed = self._file.read(min(self._left, io.DEFAULT_BUFFER_SIZE))
                self._left = self._left - len(self._packed) if self._packed else 0
            out = self._zlib.decompress(self._packed, len(view))
            self._packed = self._zlib.unconsumed_tail
        view[: len(out)] = out
        return len(out)


class Variable:
    """An array in a level 5 file (MathWorks, MAT-File Format), read from front to back."""

    def __init__(self, file: BinaryIO, place: int) -> None:
        file.seek(ORDER_AT)
        self._order = ORDERS.get(file.read(2), "<")
        file.seek(place)
        self._file = file
        kind, size, _ = self._tag()
        self.end = place + TAG + size
        if kind == COMPRESSED:
            self._file = io.BufferedReader(Inflated(file, size))
            kind, _, _ = self._tag()
        (flags,) = struct.unpack(f"{self._order}I", self._element()[:4].ljust(4, b"\0"))
        self.name = ""
        if kind == MATRIX and flags & 0xFF in NUMBERS and not flags & IMAGINARY:
            self._element()  # the dimensions, ignored: a row and a column are read alike
            self.name = self._element().decode("latin-1")
            kind, self._size, self._small = self._tag()
            self._dtype = np.dtype(self._order + TYPES.get(kind, "V1"))

    def __len__(self) -> int:
        return self._size // self._dtype.itemsize

    def pieces(self) -> Iterator[NDArray[np.generic]]:
        """Yield all numbers, at most ROWS at a time. Raises RecordingError if there are fewer than declared."""
        if self._small:
            yield np.frombuffer(self._small, self._dtype, len(self))
            return
        for begin in range(0, len(self), ROWS):
            n = min(ROWS, len(self) - begin)
            yield np.frombuffer(self._bytes(n * self._dtype.itemsize), self._dtype)

    def _tag(self) -> tuple[int, int, bytes]:
        """Read the tag of the next element: type, size, and the content if it is a small element."""
        raw = self._bytes(TAG)
        kind, size = struct.unpack(f"{self._order}II", raw)
        if kind >> 16 > SMALL:
            raise RecordingError("it is damaged")
        return (kind & 0xFFFF, kind >> 16, raw[TAG - SMALL :]) if kind >> 16 else (kind, size, b"")

    def _element(self) -> bytes:
        """Read the next element, at most LONGEST bytes."""
        _, size, small = self._tag()
        if size > LONGEST:
            raise RecordingError("it is damaged")
        return small[:size] or self._bytes(size + -size % TAG)[:size]

    def _bytes(self, n: int) -> bytes:
        try:
            data = self._file.read(n)
        except zlib.error as error:
            raise RecordingError("it is damaged") from error
        if len(data) < n:
            raise RecordingError("it ends too early")
        return data


def open_mat(path: Path) -> Opened:
    """Open a file of the four arrays; the sensor is that of the data set."""
    with path.open("rb") as file:
        places = _places(file)
        if not places.keys() >= set(NAMES.values()):
            raise RecordingError("it holds no arrays ts, x, y and pol, as ASL-DVS has them")
        if len({len(Variable(file, places[name])) for name in NAMES.values()}) != 1:
            raise RecordingError("its arrays ts, x, y and pol differ in length")
    notes: list[str] = []
    return Opened(SENSOR, _upright(events_of(_parts(path, places), None, notes)), notes)


def _places(file: BinaryIO) -> dict[str, int]:
    """Return the offsets of numeric arrays by name, until the four are found."""
    end, place, places = file.seek(0, io.SEEK_END), HEAD, {}
    while place < end and not places.keys() >= set(NAMES.values()):
        variable = Variable(file, place)
        places[variable.name], place = place, variable.end
    return places


def _parts(path: Path, places: dict[str, int]) -> Iterator[Part]:
    with ExitStack() as stack:
        files = {key: stack.enter_context(path.open("rb")) for key in NAMES}
        yield from zipped({key: Variable(files[key], places[name]).pieces() for key, name in NAMES.items()})


def _upright(pieces: Iterator[Events]) -> Iterator[Events]:
    for events in pieces:
        events["y"] = SENSOR.height - 1 - events["y"]
        yield events
