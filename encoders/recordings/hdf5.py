"""HDF5: EventCV's and our own files, ESIM's, DSEC's, MVSEC's, v2e's and Metavision's."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.recordings.columns import ROWS, Part, beside, events_of, find_columns, parts_of, sensor
from spikesight.encoders.recordings.format import Opened, Parts, RecordingError

if TYPE_CHECKING:
    import h5py

ECF = 0x8ECF
HDF5PLUGIN = {32001: "Blosc", 32004: "LZ4", 32008: "bitshuffle", 32015: "Zstandard", 32026: "Blosc2"}


MOST_OBJECTS = 1 << 15  # arrays and groups of one file: twenty minutes of pictures beside the events are less
MOST_TABLES = 1 << 10  # arrays that are tried, where no names tell which are t, x, y and p


def open_hdf5(path: Path) -> Opened:
    """Four arrays t, x, y, p in one group, one array of records with these fields, or one of four columns.

    DSEC's `t_offset` is added to the times. Packed arrays are read by the filters of hdf5plugin, where that is there.
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
    """Load whatever unpacks arrays, HDF5_PLUGIN_PATH's plug-ins among it: for a process that may open no file later."""
    import h5py

    with suppress(ImportError):
        import hdf5plugin  # noqa: F401
    for code in (ECF, *HDF5PLUGIN):
        h5py.h5z.filter_avail(code)


def rows_of(path: Path) -> int:
    """How many events the file says it holds, before any is read. Raises RecordingError."""
    import h5py

    with h5py.File(path, "r") as file:
        return max((len(array) for array in _columns(file, _names(file))[0].values()), default=0)


def _names(file: "h5py.File") -> list[str]:
    """Its arrays, by links within the file alone. Raises RecordingError for more than MOST_OBJECTS."""
    from h5py import h5o  # pyright: ignore[reportAttributeAccessIssue] - it has no types

    names: list[str] = []
    seen = count(1)

    def look(name: bytes, info: Any) -> bool | None:
        if info.type == h5o.TYPE_DATASET:
            names.append(name.decode(errors="surrogateescape"))
        return True if next(seen) > MOST_OBJECTS else None  # the visit ends

    if h5o.visit(file.id, look, info=True):
        raise RecordingError(f"it holds more than {MOST_OBJECTS} arrays")
    return names


def _own(file: "h5py.File", name: str) -> "h5py.Dataset":
    """An array whose numbers lie in the file itself. Raises RecordingError.

    HDF5 can say that they lie in any other file, or in arrays of other HDF5 files. Who sends such a file is shown what
    whoever opens it may read, so it is asked before anything else of the array is: even its shape may be elsewhere.
    """
    import h5py

    array = file[name]
    assert isinstance(array, h5py.Dataset)
    stored = array.id.get_create_plist()
    if stored.get_external_count() or stored.get_layout() == h5py.h5d.VIRTUAL:
        raise RecordingError("an array of it lies in another file: only what a file holds itself is read")
    if array.dtype.hasobject:
        raise RecordingError("an array of it holds no plain numbers")  # but texts, or references to other places
    return array


def _size(file: "h5py.File") -> SensorSize | None:
    """By attributes: width and height, ESIM's `sensor_resolution` (height, width), Metavision's `geometry`."""
    attributes = file.attrs
    resolution, geometry = np.ravel(attributes.get("sensor_resolution", ())), attributes.get("geometry")
    if len(resolution) == 2:
        return sensor(resolution[1], resolution[0])
    if isinstance(geometry, str) and len(sides := geometry.split("x")) == 2 and all(map(str.isdecimal, sides)):
        return sensor(int(sides[0]), int(sides[1]))
    return sensor(attributes.get("width"), attributes.get("height"))


def _columns(file: "h5py.File", names: list[str]) -> tuple[dict[str, "h5py.Dataset"], str | None]:
    """The arrays t, x, y and p, or one table under no name, and the unit of t. Raises RecordingError."""
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
        offset = _own(file, "t_offset") if "t_offset" in names else None
        offset_us = int(np.ravel(offset[()])[0]) if offset is not None and offset.size == 1 else 0
        if "" in columns:
            yield from events_of(parts_of(_pieces(columns[""])), unit, notes, offset_us)
        else:
            yield from events_of(_column_parts(columns), unit, notes, offset_us)


def _column_parts(columns: "dict[str, h5py.Dataset]") -> Iterator[Part]:
    if len({array.shape for array in columns.values()}) != 1 or columns["t"].ndim != 1:
        raise RecordingError("its arrays t, x, y and p differ in shape")
    return beside({key: _pieces(array) for key, array in columns.items()})


def _pieces(array: "h5py.Dataset") -> Iterator[Any]:
    try:
        for begin in range(0, len(array), ROWS):
            yield np.asarray(array[begin : begin + ROWS])
    except (OSError, RuntimeError, KeyError) as error:
        np.empty((8, *(array.chunks or ())), array.dtype)  # where no room was left to unpack in, HDF5 does not say so
        raise RecordingError(_packed(array) or "it is damaged") from error


def _packed(array: "h5py.Dataset") -> str:
    """What is needed to unpack an array, nothing if all of it is there."""
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
