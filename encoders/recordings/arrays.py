"""Recordings in NumPy's files, .npy and .npz."""

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.columns import ROWS, Part, events_of, find_columns, parts_of, sensor, zipped
from spikesight.encoders.recordings.format import Opened, Parts, RecordingError

MAGIC = b"\x93NUMPY"
OpenFile = Callable[[], BinaryIO]


class Array:
    """A .npy array of numbers or records, [n] or [n, k], read by rows from front to back, in C or Fortran order."""

    def __init__(self, opened: OpenFile, stack: ExitStack) -> None:
        file = stack.enter_context(opened())
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, self.dtype = read(file)
        if self.dtype.hasobject or self.dtype.itemsize == 0 or not 1 <= len(shape) <= 2 or 0 in shape[1:]:
            raise RecordingError("an array of it is no table of numbers")
        self.n, self.shape = shape[0], shape
        self._width = shape[1] if len(shape) == 2 and not by_columns else 1
        self._files = [file]
        if len(shape) == 2 and by_columns:  # Fortran order: one open file for each column
            begin = file.tell()
            self._files += [stack.enter_context(opened()) for _ in range(min(shape[1], 8) - 1)]
            for column, one in enumerate(self._files):
                one.seek(begin + column * self.n * self.dtype.itemsize)

    def read(self, n: int) -> NDArray[np.generic]:
        """Return the next n rows. Raises RecordingError if there are fewer."""
        size = n * self._width * self.dtype.itemsize
        try:
            parts = [file.read(size) for file in self._files]
        except (zipfile.BadZipFile, EOFError, zlib.error) as error:
            raise RecordingError("it is damaged") from error
        if any(len(part) < size for part in parts):
            raise RecordingError("an array of it ends too early")
        columns = [np.frombuffer(part, self.dtype) for part in parts]
        return columns[0].reshape(n, *self.shape[1:]) if len(columns) == 1 else np.stack(columns, axis=1)

    def pieces(self) -> Iterator[NDArray[np.generic]]:
        """Yield all rows, at most ROWS at a time."""
        for begin in range(0, self.n, ROWS):
            yield self.read(min(ROWS, self.n - begin))

    @property
    def is_table(self) -> bool:
        """Whether the array holds events by itself: records with the fields, or four columns."""
        if self.dtype.names:
            return len(self.shape) == 1 and find_columns(self.dtype.names) is not None
        return len(self.shape) == 2 and self.shape[1] == 4 and self.dtype.kind in "iuf"

    @property
    def unit(self) -> str | None:
        """Unit of the times if a field's name tells it; None otherwise."""
        found = find_columns(self.dtype.names or ())
        return found.unit if found else None


def open_npy(path: Path) -> Opened:
    """Open an array of records with fields t, x, y, p, or of four columns whose values tell their order."""
    with ExitStack() as stack:
        array = _array(lambda: path.open("rb"), stack)
    if not array.is_table:
        raise RecordingError("its array has no fields t, x, y and p, and not four columns")
    notes: list[str] = []
    return Opened(None, events_of(_npy_parts(path), array.unit, notes), notes)


def _npy_parts(path: Path) -> Iterator[Part]:
    with ExitStack() as stack:
        yield from parts_of(Array(lambda: path.open("rb"), stack).pieces())


def _array(opened: OpenFile, stack: ExitStack) -> Array:
    try:
        return Array(opened, stack)
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise error if isinstance(error, RecordingError) else RecordingError("it is no whole npy array") from error


def open_npz(path: Path) -> Opened:
    """Open arrays t, x, y, p of equal length and perhaps width and height, or one array as in a .npy file."""
    notes: list[str] = []
    try:
        with ExitStack() as stack:
            archive = stack.enter_context(zipfile.ZipFile(path))
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            found = find_columns(names)
            if found is None:
                for name in names:
                    if (array := _member(archive, name, stack)).is_table:
                        return Opened(None, events_of(_table_parts(path, name), array.unit, notes), notes)
                raise RecordingError("it holds no arrays t, x, y and p, and no table of them")
            columns = {key: names[place] for key, place in found.places.items()}
            if len({_member(archive, name, stack).shape for name in columns.values()}) != 1:
                raise RecordingError("its arrays t, x, y and p differ in length")
            sides = [_first(archive, name, stack) if name in names else None for name in ("width", "height")]
            return Opened(sensor(*sides), events_of(_column_parts(path, columns), found.unit, notes), notes)
    except (zipfile.BadZipFile, KeyError, NotImplementedError) as error:
        raise RecordingError("it is no whole npz file") from error


def _member(archive: zipfile.ZipFile, name: str, stack: ExitStack) -> Array:
    return _array(lambda: archive.open(f"{name}.npy"), stack)  # type: ignore[arg-type,return-value]


def _first(archive: zipfile.ZipFile, name: str, stack: ExitStack) -> object:
    """Return the first number of an array or a scalar; None if the array is empty."""
    try:
        array = _member(archive, name, stack)
    except RecordingError:
        return None
    return array.read(1) if array.n else None


def _table_parts(path: Path, name: str) -> Iterator[Part]:
    with ExitStack() as stack:
        yield from parts_of(_member(stack.enter_context(zipfile.ZipFile(path)), name, stack).pieces())


def _column_parts(path: Path, names: dict[str, str]) -> Iterator[Part]:
    with ExitStack() as stack:
        archive = stack.enter_context(zipfile.ZipFile(path))
        yield from zipped({key: _member(archive, name, stack).pieces() for key, name in names.items()})


def write_npz(path: Path, parts: Parts, size: SensorSize) -> None:
    """Write t int64, x and y uint16, p uint8, width and height, as EventCV does.

    An array's header contains its length, so events are buffered in temporary files beside the new one.
    """
    kinds = {"t": np.int64, "x": np.uint16, "y": np.uint16, "p": np.uint8}
    with ExitStack() as stack:
        waiting = {name: stack.enter_context(tempfile.TemporaryFile(dir=path.parent)) for name in kinds}
        n = 0
        for events in parts:
            n += len(events)
            for name, kind in kinds.items():
                waiting[name].write(events[name].astype(kind).tobytes())
        archive = stack.enter_context(zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1))
        for name, kind in kinds.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                descr = np.lib.format.dtype_to_descr(np.dtype(kind))
                np.lib.format.write_array_header_1_0(
                    member,  # type: ignore[arg-type]
                    {"descr": descr, "fortran_order": False, "shape": (n,)},
                )
                waiting[name].seek(0)
                shutil.copyfileobj(waiting[name], member)
        for name, side in (("width", size.width), ("height", size.height)):
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.array([side], np.uint64))  # type: ignore[arg-type]
