"""npy, npz and HDF5: which arrays are events and which are none, rows in pieces, and what is written to the type."""

import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.recordings import arrays, columns, hdf5
from spikesight.encoders.recordings.format import Opened, RecordingError
from tests.support.inputs.samples import DAVIS, random_events

EVENTS = random_events(7, DAVIS)
COLUMNS = {name: EVENTS[name].astype(np.int64) for name in "txyp"}
TABLE = np.stack(list(COLUMNS.values()), axis=1)
WIDE = np.zeros(7, [(name, "<i8") for name in "txyp"])
for name in "txyp":
    WIDE[name] = EVENTS[name]


@pytest.fixture(autouse=True)
def _pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (arrays, hdf5):
        monkeypatch.setattr(module, "ROWS", 3)


def sizes(opened: Opened) -> list[int]:
    parts = list(opened.chunks)
    assert np.array_equal(np.concatenate(parts), EVENTS)
    return [len(part) for part in parts]


GOOD = {"records": WIDE, "table": TABLE, "by columns": np.asfortranarray(TABLE), "unsigned": TABLE.astype(np.uint32)}
WRONG = {
    "objects": np.array([None, 1]),
    "nothing a row": np.zeros((7, 0)),
    "bytes of nothing": np.zeros(7, "V0"),
    "a number": np.zeros(()),
    "a cube": np.zeros((7, 4, 1)),
    "three columns": TABLE[:, :3],
    "five columns": np.zeros((7, 5)),
    "one column": TABLE[:, 0],
    "texts": TABLE.astype("U8"),
    "complex": TABLE.astype(complex),
    "records in rows": WIDE[:, np.newaxis],
    "records of three": WIDE[["t", "x", "y"]],
}


@pytest.mark.parametrize("case", GOOD)
def test_arrays_that_are_events(case: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GOOD[case])
    assert sizes(arrays.open_npy(tmp_path / "a.npy")) == [3, 3, 1]
    np.savez(tmp_path / "a.npz", before=np.zeros(3), events=GOOD[case])
    assert sizes(arrays.open_npz(tmp_path / "a.npz")) == [3, 3, 1]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["before"], file["z/events"] = np.zeros(3), GOOD[case]
    assert sizes(hdf5.open_hdf5(tmp_path / "a.h5")) == [3, 3, 1]


@pytest.mark.parametrize("case", WRONG)
def test_arrays_that_are_none(case: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", WRONG[case], allow_pickle=True)
    with pytest.raises(RecordingError, match=r"no whole npy array|no table of numbers|not four columns"):
        arrays.open_npy(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", a=WRONG[case])
    with pytest.raises(RecordingError, match=r"no table"):
        arrays.open_npz(tmp_path / "a.npz")
    if case not in ("objects", "texts", "bytes of nothing"):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["a"] = WRONG[case]
        with pytest.raises(RecordingError, match="no table"):
            list(hdf5.open_hdf5(tmp_path / "a.h5").chunks)


@pytest.mark.parametrize(
    ("more", "size", "says"),
    [
        ({}, None, ""),
        ({"width": [240], "height": [180]}, DAVIS, ""),
        ({"width": np.uint64(240), "height": [180, 7]}, None, ""),
        ({"width": [], "height": [180]}, None, ""),
        ({"width": [240]}, None, ""),
        ({"p": COLUMNS["p"][:6]}, None, "differ in length"),
        ({"t": COLUMNS["t"][:, np.newaxis]}, None, "differ in length"),
    ],
)
def test_columns_of_npz(more: dict[str, Any], size: SensorSize | None, says: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **(COLUMNS | more))  # type: ignore[arg-type]
    if says:
        with pytest.raises(RecordingError, match=says):
            arrays.open_npz(tmp_path / "a.npz")
    else:
        opened = arrays.open_npz(tmp_path / "a.npz")
        assert (sizes(opened), opened.size) == ([3, 3, 1], size)


def test_of_rows_that_lie_by_columns_eight_are_read(tmp_path: Path) -> None:
    wide = np.asfortranarray(np.arange(30.0).reshape(3, 10))
    np.save(tmp_path / "a.npy", wide)
    with ExitStack() as stack:
        array = arrays.Array(lambda: (tmp_path / "a.npy").open("rb"), stack)
        assert array.read(2).tolist() == wide[:2, :8].tolist()
        assert array.read(1).tolist() == wide[2:, :8].tolist()


def test_what_npz_holds(tmp_path: Path) -> None:
    arrays.write_npz(tmp_path / "a.npz", [EVENTS[:3], EVENTS[3:]], DAVIS)
    with np.load(tmp_path / "a.npz") as found:
        assert {name: found[name].dtype.str for name in found.files} == {
            "t": "<i8", "x": "<u2", "y": "<u2", "p": "|u1", "width": "<u8", "height": "<u8",
        }  # fmt: skip
        assert (found["width"].tolist(), found["height"].tolist()) == ([240], [180])
        assert all(np.array_equal(found[name], EVENTS[name]) for name in "txyp")
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_DEFLATED}
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz"}


def test_what_hdf5_holds(tmp_path: Path) -> None:
    hdf5.write_hdf5(tmp_path / "a.h5", [EVENTS[:3], EVENTS[3:]], DAVIS)
    with h5py.File(tmp_path / "a.h5") as file:
        made: dict[str, Any] = {name: file[f"events/{name}"] for name in "txyp"}
        assert {name: one.dtype.str for name, one in made.items()} == {"t": "<i8", "x": "<u2", "y": "<u2", "p": "|u1"}
        assert all(np.array_equal(one, EVENTS[name]) for name, one in made.items())
        assert {(one.chunks, one.compression_opts, one.shuffle, one.maxshape) for one in made.values()} == {
            ((65_536,), 1, True, (None,))
        }
        assert dict(file.attrs) == {"width": 240, "height": 180, "timestamp_scale_ms": 0.001}


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ({}, None),
        ({"width": 240, "height": 180}, (240, 180)),
        ({"sensor_resolution": (180, 240)}, (240, 180)),
        ({"sensor_resolution": (180, 240, 1), "width": 5, "height": 6}, (5, 6)),
        ({"geometry": "640x480"}, (640, 480)),
        ({"geometry": "640x480x1", "width": 5, "height": 6}, (5, 6)),
        ({"geometry": "640xy", "width": 5, "height": 6}, (5, 6)),
        ({"geometry": 7}, None),
    ],
)
def test_sensors_of_hdf5(attributes: dict[str, Any], size: tuple[int, int] | None, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs.update(attributes)
    assert hdf5.open_hdf5(tmp_path / "a.h5").size == (size and SensorSize(*size))


def in_hdf5(folder: Path, more: dict[str, Any]) -> Events:
    with h5py.File(folder / "a.h5", "w") as file:
        for name, values in (COLUMNS | more).items():
            file[name if "_" in name else f"deep/events/{name}"] = values
    return np.concatenate(list(hdf5.open_hdf5(folder / "a.h5").chunks))


@pytest.mark.parametrize(("offset", "us"), [(70, 70), ([70], 70), ([70, 71], 0), ([], 0)])
def test_an_offset_of_times_is_one_number(offset: Any, us: int, tmp_path: Path) -> None:
    assert in_hdf5(tmp_path, {"t_offset": offset})["t"].tolist() == (EVENTS["t"] + us).tolist()


@pytest.mark.parametrize("more", [{"p": COLUMNS["p"][:6]}, dict.fromkeys("txyp", TABLE[:, :1])])
def test_columns_of_hdf5_are_flat_and_of_one_length(more: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="differ in shape"):
        in_hdf5(tmp_path, more)


def test_values_decide_by_the_first_4096_polarities() -> None:
    rows = np.tile([1.0, 1.0, 3.0, 1.0], (4098, 1))
    rows[4096, 3] = 7
    assert columns.order_of(rows) == "txyp"
    rows[4095, 3] = 7
    with pytest.raises(RecordingError):
        columns.order_of(rows)
