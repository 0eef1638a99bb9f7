"""HDF5: EventCV's and our own files, ESIM's, DSEC's, MVSEC's, v2e's and Metavision's."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encoders.events import Events, SensorSize
from encoders.recordings.columns import ROWS, Part, events_of, find_columns, parts_of, sensor
from encoders.recordings.format import Opened, Parts, RecordingError

if TYPE_CHECKING:
    import h5py

ECF = 0x8ECF
HDF5PLUGIN = {32001: "Blosc", 32004: "LZ4", 32008: "bitshuffle", 32015: "Zstandard", 32026: "Blosc2"}


def open_hdf5(path: Path) -> Opened:
    """Four arrays t, x, y, p in one group, one array of records with these fields, or one of four columns.

    DSEC's `t_offset` is added to the times. Packed arrays are read by the filters of hdf5plugin, where that is there.
    """
    import h5py

    with suppress(ImportError):
        import hdf5plugin  # noqa: F401  (registers its filters)
    try:
        file = h5py.File(path, "r")
        arrays: dict[str, h5py.Dataset] = {}
        file.visititems(lambda name, item: arrays.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        size = _size(file)
    except (OSError, RuntimeError) as error:
        raise RecordingError("it is no whole HDF5 file") from error
    notes: list[str] = []
    return Opened(size, _events(file, arrays, notes), notes)


def _size(file: "h5py.File") -> SensorSize | None:
    """By attributes: width and height, ESIM's `sensor_resolution` (height, width), Metavision's `geometry`."""
    attributes = file.attrs
    resolution, geometry = np.ravel(attributes.get("sensor_resolution", ())), attributes.get("geometry")
    if len(resolution) == 2:
        return sensor(resolution[1], resolution[0])
    if isinstance(geometry, str) and len(sides := geometry.split("x")) == 2 and all(map(str.isdecimal, sides)):
        return sensor(int(sides[0]), int(sides[1]))
    return sensor(attributes.get("width"), attributes.get("height"))


def _events(file: "h5py.File", arrays: "dict[str, h5py.Dataset]", notes: list[str]) -> Iterator[Events]:
    with file:
        offset = arrays.get("t_offset")
        offset_us = int(np.ravel(offset[()])[0]) if offset is not None and offset.size == 1 else 0
        for group in sorted({name.rpartition("/")[0] for name in arrays}):
            names = [name for name in arrays if name.rpartition("/")[0] == group]
            if found := find_columns(names):
                columns = {key: arrays[names[place]] for key, place in found.places.items()}
                yield from events_of(_column_parts(columns), found.unit, notes, offset_us)
                return
        for array in arrays.values():
            found = find_columns(array.dtype.names or ())
            four = array.ndim == 2 and array.shape[1] == 4 and array.dtype.kind in "iuf"
            if (found and array.ndim == 1) or four:
                yield from events_of(parts_of(_pieces(array)), found.unit if found else None, notes, offset_us)
                return
    raise RecordingError("it holds no arrays t, x, y and p, and no table of them")


def _column_parts(columns: "dict[str, h5py.Dataset]") -> Iterator[Part]:
    if len({array.shape for array in columns.values()}) != 1 or columns["t"].ndim != 1:
        raise RecordingError("its arrays t, x, y and p differ in shape")
    for part in zip(*map(_pieces, columns.values())):
        yield dict(zip(columns, part))


def _pieces(array: "h5py.Dataset") -> Iterator[Any]:
    try:
        for begin in range(0, len(array), ROWS):
            yield np.asarray(array[begin : begin + ROWS])
    except (OSError, RuntimeError, KeyError) as error:
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
