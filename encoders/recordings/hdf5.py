"""HDF5 files of EventCV, ESIM, DSEC, MVSEC, v2e, Metavision and ourselves."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.recordings.columns import ROWS, Part, events_of, find_columns, parts_of, sensor, zipped
from spikesight.encoders.recordings.format import Opened, Parts, RecordingError

if TYPE_CHECKING:
    import h5py

ECF = 0x8ECF
HDF5PLUGIN = {32001: "Blosc", 32004: "LZ4", 32008: "bitshuffle", 32015: "Zstandard", 32026: "Blosc2"}


MOST_OBJECTS = 1 << 15  # arrays and groups in one file: even twenty minutes of frames beside the events are fewer
MOST_TABLES = 1 << 10  # arrays that are tried if no names tell which are t, x, y and p


def open_hdf5(path: Path) -> Opened:
    """Open four arrays t, x, y, p in one group, an array of records with these fields, or one of four columns.

    DSEC's `t_offset` is added to the times. Compressed arrays are read by the filters of hdf5plugin, if installed.
    """
    import h5py

    with suppress(ImportError):
        import hdf5plugin  # noqa: F401  (registers its filters)
    try:
        file = h5py.File(path, "r")
        names = _names(file)
        size = _size(file)
    except (OSError, RuntimeError) as error:
        raise RecordingError("it is no whole HDF5 file") from error
    notes: list[str] = []
    return Opened(size, _events(file, names, notes), notes)


def load_filters() -> None:
    """Load all decompression filters, also plug-ins of HDF5_PLUGIN_PATH, for a process that may open no files later."""
    import h5py

    with suppress(ImportError):
        import hdf5plugin  # noqa: F401
    for code in (ECF, *HDF5PLUGIN):
        h5py.h5z.filter_avail(code)


def rows_of(path: Path) -> int:
    """Return how many events the file claims to hold, without reading any. Raises RecordingError."""
    import h5py

    with h5py.File(path, "r") as file:
        return max((len(array) for array in _columns(file, _names(file))[0].values()), default=0)


def _names(file: "h5py.File") -> list[str]:
    """Return the names of the file's own arrays. Raises RecordingError for more than MOST_OBJECTS objects."""
    from h5py import h5o  # pyright: ignore[reportAttributeAccessIssue] - it has no types

    names: list[str] = []
    seen = count(1)

    def look(name: bytes, info: Any) -> bool | None:
        if info.type == h5o.TYPE_DATASET:
            names.append(name.decode(errors="surrogateescape"))
        return True if next(seen) > MOST_OBJECTS else None  # True ends the visit

    if h5o.visit(file.id, look, info=True):
        raise RecordingError(f"it holds more than {MOST_OBJECTS} arrays")
    return names


def _own(file: "h5py.File", name: str) -> "h5py.Dataset":
    """Return an array whose data are in the file itself. Raises RecordingError.

    HDF5 arrays can refer to data in any other file. A hostile file could so show its sender what the reading process
    may read. This is checked before anything else of the array, since even its shape may come from elsewhere.
    """
    import h5py

    array = file[name]
    assert isinstance(array, h5py.Dataset)
    stored = array.id.get_create_plist()
    if stored.get_external_count() or stored.get_layout() == h5py.h5d.VIRTUAL:
        raise RecordingError("an array of it lies in another file: only what a file holds itself is read")
    if array.dtype.hasobject:
        raise RecordingError("an array of it holds no plain numbers")  # but strings or references
    return array


def _size(file: "h5py.File") -> SensorSize | None:
    """Return the sensor by attributes: width and height, ESIM's `sensor_resolution`, Metavision's `geometry`."""
    attributes = file.attrs
    resolution, geometry = np.ravel(attributes.get("sensor_resolution", ())), attributes.get("geometry")
    if len(resolution) == 2:
        return sensor(resolution[1], resolution[0])
    if isinstance(geometry, str) and len(sides := geometry.split("x")) == 2 and all(map(str.isdecimal, sides)):
        return sensor(int(sides[0]), int(sides[1]))
    return sensor(attributes.get("width"), attributes.get("height"))


def _columns(file: "h5py.File", names: list[str]) -> tuple[dict[str, "h5py.Dataset"], str | None]:
    """Return the arrays t, x, y and p, or one table under "", and the unit of t. Raises RecordingError."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.rpartition("/")[0], []).append(name)
    for _, group in sorted(groups.items()):
        if found := find_columns(group):
            return {key: _own(file, group[place]) for key, place in found.places.items()}, found.unit
    fault = RecordingError("it holds no arrays t, x, y and p, and no table of them")
    for name in names[:MOST_TABLES]:
        try:
            array = _own(file, name)
        except RecordingError as error:
            fault = error
            continue
        found = find_columns(array.dtype.names or ())
        four = array.ndim == 2 and array.shape[1] == 4 and array.dtype.kind in "iuf"
        if (found and array.ndim == 1) or four:
            return {"": array}, found.unit if found else None
    raise fault


def _events(file: "h5py.File", names: list[str], notes: list[str]) -> Iterator[Events]:
    with file:
        columns, unit = _columns(file, names)
        notes += _other_cameras(names, columns)
        offset = _own(file, "t_offset") if "t_offset" in names else None
        offset_us = int(np.ravel(offset[()])[0]) if offset is not None and offset.size == 1 else 0
        if "" in columns:
            yield from events_of(parts_of(_pieces(columns[""])), unit, notes, offset_us)
        else:
            yield from events_of(_column_parts(columns), unit, notes, offset_us)


def _other_cameras(names: list[str], columns: "dict[str, h5py.Dataset]") -> list[str]:
    """Return a note if a file holds more events under the same name in other groups, as MVSEC's of two cameras do."""
    read = str(next(iter(columns.values())).name).strip("/")
    place = read if "" in columns else read.rpartition("/")[0]
    others = {name if "" in columns else name.rpartition("/")[0] for name in names} - {place}
    same = sorted(other for other in others if other.rpartition("/")[2] == place.rpartition("/")[2])
    return [f"its events at {place} are read, not those at {', '.join(same)}"] if same else []


def _column_parts(columns: "dict[str, h5py.Dataset]") -> Iterator[Part]:
    if len({array.shape for array in columns.values()}) != 1 or columns["t"].ndim != 1:
        raise RecordingError("its arrays t, x, y and p differ in shape")
    return zipped({key: _pieces(array) for key, array in columns.items()})


def _pieces(array: "h5py.Dataset") -> Iterator[Any]:
    try:
        for begin in range(0, len(array), ROWS):
            yield np.asarray(array[begin : begin + ROWS])
    except (OSError, RuntimeError, KeyError) as error:
        np.empty((8, *(array.chunks or ())), array.dtype)  # raises MemoryError, which HDF5 does not report
        raise RecordingError(_packed(array) or "it is damaged") from error


def _packed(array: "h5py.Dataset") -> str:
    """Return what must be installed to decompress an array, as a sentence; empty if nothing is missing."""
    import h5py

    steps = array.id.get_create_plist()
    for step in range(steps.get_nfilters()):
        code = steps.get_filter(step)[0]
        if code == ECF and not h5py.h5z.filter_avail(code):
            return "its events are packed with ECF: install Prophesee's plug-in hdf5_ecf and set HDF5_PLUGIN_PATH"
        if not h5py.h5z.filter_avail(code):
            name = HDF5PLUGIN.get(code, f"filter {code}")
            return f"its arrays are packed with {name}, which needs hdf5plugin: pip install 'spikesight[formats]'"
    return ""


def write_hdf5(path: Path, parts: Parts, size: SensorSize) -> None:
    """Write a group `events` with t, x, y, p, and attributes width and height, as EventCV does.

    Raises RecordingError, leaving no file, if it cannot be completed: without its end nothing in it can be read.
    """
    import h5py

    file = h5py.File(path, "w")
    try:
        _fill(file, parts, size)
    finally:
        try:
            file.close()
        except RuntimeError:  # h5py's, as on a full disk
            path.unlink(missing_ok=True)
            raise RecordingError("the file cannot be completed: is the disk full?") from None


def _fill(file: "h5py.File", parts: Parts, size: SensorSize) -> None:
    kinds = {"t": np.int64, "x": np.uint16, "y": np.uint16, "p": np.uint8}
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
