"""Recordings in NumPy's files, .npy and .npz."""

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.columns import ROWS, Part, events_of, find_columns, parts_of, sensor
from spikesight.encoders.recordings.format import Opened, Parts, RecordingError

MAGIC = b"\x93NUMPY"
FAULTS = (ValueError, EOFError, KeyError, NotImplementedError, OSError, zipfile.BadZipFile, zlib.error)


@contextmanager
def _loaded(given: Path | BinaryIO) -> Iterator[Any]:
    """Load an array by its path, to stay on disk, or an opened archive, whose arrays are read when asked for."""
    try:
        yield np.load(given, "r" if isinstance(given, Path) else None, allow_pickle=False)
    except FAULTS as error:
        whole = RecordingError(f"it is no whole {'npy' if isinstance(given, Path) else 'npz'} file")
        raise error if isinstance(error, RecordingError) else whole from error


def is_table(array: NDArray[Any]) -> bool:
    """Return whether an array holds events by itself: records with the fields, or four columns."""
    if array.dtype.names:
        return array.ndim == 1 and find_columns(array.dtype.names) is not None
    return array.ndim == 2 and array.shape[1] == 4 and array.dtype.kind in "iuf"


def _opened(table: NDArray[Any]) -> Opened:
    """Return the events of a table."""
    notes: list[str] = []
    found = find_columns(table.dtype.names or ())
    pieces = (table[begin : begin + ROWS] for begin in range(0, len(table), ROWS))
    return Opened(None, events_of(parts_of(pieces), found.unit if found else None, notes), notes)


def open_npy(path: Path) -> Opened:
    """Open an array of records with fields t, x, y, p, or of four columns whose values tell their order."""
    with _loaded(path) as array:
        if not is_table(array):
            raise RecordingError("its array has no fields t, x, y and p, and not four columns")
        return _opened(array)


def open_npz(path: Path) -> Opened:
    """Open arrays t, x, y, p of equal length and perhaps width and height, or one array as in a .npy file."""
    notes: list[str] = []
    with path.open("rb") as file, _loaded(file) as archive:
        found = find_columns(archive.files)
        if found is None:
            for name in archive.files:
                if is_table(array := archive[name]):
                    return _opened(array)
            raise RecordingError("it holds no arrays t, x, y and p, and no table of them")
        columns = {key: archive.files[place] for key, place in found.places.items()}
        size = sensor(*(archive[name] if name in archive.files else None for name in ("width", "height")))
    return Opened(size, events_of(_column_parts(path, columns), found.unit, notes), notes)


def _column_parts(path: Path, names: dict[str, str]) -> Iterator[Part]:
    """Yield the rows of flat arrays, a few at a time."""
    with path.open("rb") as whole, _loaded(whole) as archive, ExitStack() as stack:
        columns = {key: _column(stack.enter_context(archive.zip.open(f"{name}.npy"))) for key, name in names.items()}
        shapes = {shape for shape, _, _ in columns.values()}
        if len(shapes) != 1 or len(shape := shapes.pop()) != 1:
            raise RecordingError("its arrays t, x, y and p differ in shape")
        for begin in range(0, n := shape[0], ROWS):
            rows = min(ROWS, n - begin)
            yield {
                key: np.frombuffer(file.read(rows * kind.itemsize), kind, rows)
                for key, (_, kind, file) in columns.items()
            }


def _column(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any], BinaryIO]:
    """Return the shape and the type of a .npy array, and the file at its numbers."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(file)
    return shape, kind, file


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
