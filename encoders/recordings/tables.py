"""Formats that are tables: npz, csv and HDF5."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from encoders.events import MAX_SIDE, Events, SensorSize, make_events
from encoders.recordings.format import CHUNK_BYTES, Opened, Parts, RecordingError

ROWS = 1 << 20  # events read from a table at once
NAMES = {  # what the columns are called, here and elsewhere
    "t": ("t", "ts", "time", "timestamp", "timestamps", "time_us", "t_us"),
    "x": ("x", "xs", "x_coordinates", "u", "col", "column"),
    "y": ("y", "ys", "y_coordinates", "v", "row"),
    "p": ("p", "ps", "pol", "polarity", "polarities", "on"),
}


def _columns(names: list[str]) -> dict[str, str] | None:
    """Which of `names` are t, x, y and p; None unless all four are there."""
    plain = {name.rsplit("/", 1)[-1].strip().lower(): name for name in names}
    found = {key: next((plain[word] for word in words if word in plain), "") for key, words in NAMES.items()}
    return found if all(found.values()) else None


def _microseconds(t: NDArray[Any]) -> NDArray[np.int64]:
    """Whole numbers are microseconds; fractions are seconds."""
    return np.rint(t * 1e6).astype(np.int64) if np.issubdtype(t.dtype, np.floating) else t.astype(np.int64)


def _size(width: Any, height: Any) -> SensorSize | None:
    sides = [int(np.asarray(side).ravel()[0]) for side in (width, height) if side is not None and np.size(side)]
    return SensorSize(*sides) if len(sides) == 2 and all(1 <= side <= MAX_SIDE for side in sides) else None


# ----------------------------------------------------------------------------------------------------------------- npz


@dataclass
class _Column:
    """One array of an npz file, read from front to back."""

    file: BinaryIO
    dtype: np.dtype[np.generic]
    n: int

    def read(self, n: int) -> NDArray[np.generic]:
        data = self.file.read(n * self.dtype.itemsize)
        if len(data) < n * self.dtype.itemsize:
            raise RecordingError("an array of it ends too early")
        return np.frombuffer(data, self.dtype)


def open_npz(path: Path) -> Opened:
    """Arrays t, x, y, p of equal length and, if there, width and height; unpacked a piece at a time."""
    try:
        with path.open("rb") as file:
            archive = zipfile.ZipFile(file)
            names = _columns([name.removesuffix(".npy") for name in archive.namelist()])
            if names is None:
                raise RecordingError("it holds no arrays t, x, y and p")
            columns = {key: _column(archive, name) for key, name in names.items()}
            if len({column.n for column in columns.values()}) != 1:
                raise RecordingError("its arrays t, x, y and p differ in length")
            sides = [_first(archive, name) for name in ("width", "height")]
    except (zipfile.BadZipFile, KeyError, NotImplementedError) as error:
        raise RecordingError("it is no whole npz file") from error
    return Opened(_size(*sides), _npz_chunks(path, names))


def _column(archive: zipfile.ZipFile, name: str) -> _Column:
    file = archive.open(f"{name}.npy")
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if len(shape) != 1 or dtype.hasobject or dtype.itemsize == 0 or dtype.kind not in "biuf":
        raise RecordingError(f"its array {name} is no flat array of numbers")
    return _Column(file, dtype, shape[0])  # pyright: ignore[reportArgumentType]


def _first(archive: zipfile.ZipFile, name: str) -> object:
    """The first number of an array, None if there is no such array."""
    if f"{name}.npy" not in archive.namelist():
        return None
    column = _column(archive, name)
    return column.read(1) if column.n else None


def _npz_chunks(path: Path, names: dict[str, str]) -> Iterator[Events]:
    with path.open("rb") as file:  # not the archive: its members would hold it open
        archive = zipfile.ZipFile(file)
        columns = {key: _column(archive, name) for key, name in names.items()}
        left = columns["t"].n
        while left > 0:
            n = min(left, ROWS)
            try:
                part = {key: column.read(n) for key, column in columns.items()}
            except (zipfile.BadZipFile, EOFError, zlib_error()) as error:
                raise RecordingError("it is damaged") from error
            yield make_events(_microseconds(part["t"]), part["x"], part["y"], part["p"])
            left -= n


def zlib_error() -> type[Exception]:
    """zlib is optional in Python; without it no packed npz opens in the first place."""
    try:
        from zlib import error
    except ImportError:
        return EOFError
    return error


def write_npz(path: Path, parts: Parts, size: SensorSize) -> None:
    """t int64, x and y uint16, p uint8, width and height: the layout that EventCV writes. Wants all events at once."""
    events = np.concatenate(list(parts))
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            t=events["t"],
            x=events["x"].astype(np.uint16),
            y=events["y"].astype(np.uint16),
            p=events["p"].astype(np.uint8),
            width=np.array([size.width], np.uint64),
            height=np.array([size.height], np.uint64),
        )


# ----------------------------------------------------------------------------------------------------------------- csv


def open_csv(path: Path) -> Opened:
    """Rows of t, x, y, p, by commas or blanks; a header row may name them in another order.

    Whole times are microseconds, fractions seconds.
    """
    with path.open("rb") as file:
        first = file.readline(4096)
    words = _words(first)
    names = _columns(words)
    if names is None and not csv_row(first):
        raise RecordingError("its first line names no columns t, x, y and p, and is no row of four numbers")
    order = [words.index(names[key]) for key in "txyp"] if names else [0, 1, 2, 3]
    return Opened(None, _csv_chunks(path, order, len(words), skip=names is not None))


def _words(line: bytes) -> list[str]:
    return line.decode("latin-1").strip().lstrip("#%").replace(",", " ").replace(";", " ").split()


def named_columns(line: bytes) -> bool:
    """Is this a header that names columns t, x, y and p?"""
    return _columns(_words(line)) is not None


def csv_row(line: bytes) -> bool:
    """Is this a row of at least four numbers?"""
    try:
        return len([float(word) for word in _words(line)]) >= 4
    except ValueError:
        return False


def _csv_chunks(path: Path, order: list[int], width: int, *, skip: bool) -> Iterator[Events]:
    with path.open("rb") as file:
        if skip:
            file.readline()
        while lines := file.readlines(CHUNK_BYTES // 4):
            text = b" ".join(lines).replace(b",", b" ").replace(b";", b" ").strip()
            fractions = b"." in text or b"e" in text
            try:
                numbers = np.array(text.split(), np.float64 if fractions else np.int64)
            except (ValueError, OverflowError) as error:
                raise RecordingError("a row of it is no row of numbers") from error
            if len(numbers) % width or not bool(np.isfinite(numbers).all()):
                raise RecordingError(f"a row of it has not {width} numbers")
            t, x, y, p = (numbers.reshape(-1, width)[:, k] for k in order)
            if fractions and bool((np.abs(t) > 1e12).any()):
                raise RecordingError("its times are too large for seconds")
            sides = np.clip([x, y], -1, 1 << 14)
            yield make_events(_microseconds(t), sides[0], sides[1], p)


def write_csv(path: Path, parts: Parts, size: SensorSize) -> None:  # noqa: ARG001
    """Header t,x,y,p, then a row an event; p is 0 or 1."""
    with path.open("wb") as file:
        file.write(b"t,x,y,p\n")
        for events in parts:
            for begin in range(0, len(events), ROWS):
                part = events[begin : begin + ROWS]
                table = np.stack([part["t"], part["x"], part["y"], part["p"]], axis=1).tolist()
                file.write("".join(f"{t},{x},{y},{p}\n" for t, x, y, p in table).encode())


# ---------------------------------------------------------------------------------------------------------------- HDF5


def open_hdf5(path: Path) -> Opened:
    """Four arrays t, x, y, p in one group, under their usual names, or one array of records with these fields."""
    import h5py

    try:
        file = h5py.File(path, "r")
        arrays: dict[str, h5py.Dataset] = {}
        file.visititems(lambda name, item: arrays.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        sides = [file.attrs.get(name) for name in ("width", "height")]
    except (OSError, RuntimeError) as error:
        raise RecordingError("it is no whole HDF5 file") from error
    return Opened(_size(*sides), _hdf5_chunks(file, arrays))


def _hdf5_chunks(file: object, arrays: dict) -> Iterator[Events]:
    with file:  # pyright: ignore[reportGeneralTypeIssues]
        groups = {name.rpartition("/")[0] for name in arrays}
        for group in sorted(groups):
            names = _columns([name for name in arrays if name.rpartition("/")[0] == group])
            if names is not None:
                yield from _hdf5_rows({key: arrays[name] for key, name in names.items()}, None)
                return
        for array in arrays.values():
            fields = _columns(list(array.dtype.names or ()))
            if fields is not None:
                yield from _hdf5_rows(dict.fromkeys("txyp", array), fields)
                return
    raise RecordingError("it holds no arrays t, x, y and p")


def _hdf5_rows(arrays: dict, fields: dict[str, str] | None) -> Iterator[Events]:
    if len({array.shape for array in arrays.values()}) != 1 or arrays["t"].ndim != 1:
        raise RecordingError("its arrays t, x, y and p differ in shape")
    try:
        for begin in range(0, len(arrays["t"]), ROWS):
            part = {key: np.asarray(array[begin : begin + ROWS]) for key, array in arrays.items()}
            if fields is not None:
                part = {key: records[fields[key]] for key, records in part.items()}
            yield make_events(_microseconds(part["t"]), part["x"], part["y"], part["p"])
    except (OSError, RuntimeError, KeyError) as error:
        raise RecordingError("it is damaged, or packed in a way that needs a plug-in") from error


def write_hdf5(path: Path, parts: Parts, size: SensorSize) -> None:
    """Group `events` with t, x, y, p, width and height as attributes: the layout that EventCV writes."""
    import h5py

    kinds = {"t": np.int64, "x": np.uint16, "y": np.uint16, "p": np.uint8}
    with h5py.File(path, "w") as file:
        columns = {
            name: file.create_dataset(
                f"events/{name}", (0,), kind, maxshape=(None,), chunks=(1 << 16,), compression=1, shuffle=True
            )
            for name, kind in kinds.items()
        }
        for events in parts:
            for name, column in columns.items():
                begin = len(column)
                column.resize((begin + len(events),))
                column[begin:] = events[name]
        file.attrs.update({"width": np.uint64(size.width), "height": np.uint64(size.height)})
        file.attrs["timestamp_scale_ms"] = 0.001
