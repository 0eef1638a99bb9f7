"""Tables of many makers in text, NumPy's, HDF5's and MATLAB's files: columns, units, and what are no events."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from spikesight.encoders.events import FAR_US, SensorSize
from spikesight.encoders.recordings import arrays, hdf5, text
from spikesight.encoders.recordings.columns import EPOCH_NS, events_of, find_columns
from spikesight.encoders.recordings.files import read_recording
from spikesight.encoders.recordings.format import RecordingError
from tests.support.inputs.samples import DAVIS, random_events
from tests.support.refusals import refusal

EVENTS = random_events(2000, DAVIS)
COLUMNS = {name: EVENTS[name].astype(np.int64) for name in "txyp"}
TABLE = np.stack(list(COLUMNS.values()), axis=1)


def same(path: Path, *, note: str = "", size: SensorSize | None = DAVIS, later_us: int = 0) -> None:
    """The file holds EVENTS, and its one remark, if any, has these words."""
    found = read_recording(path)
    expected = EVENTS.copy()
    expected["t"] += later_us
    assert np.array_equal(found.events, expected)
    assert (found.size, len(found.warnings)) == (size, bool(note))
    assert note in " ".join(found.warnings)


def lines(order: str = "txyp", seconds: bool = False, mark: str = ",", point: str = "") -> str:
    rows = []
    for n, (t, x, y, p) in enumerate(EVENTS.tolist()):
        cells = {"t": f"{t / 1e6:.6f}" if seconds else f"{t}{point}", "x": str(x), "y": str(y), "p": str(int(p))}
        rows.append(mark.join((cells | {"n": str(n), "b": str(p)})[key] for key in order))
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize(
    ("head", "body", "note"),
    [
        ("", lines("txyp"), ""),
        ("", lines("xytp"), ""),
        ("", lines("xypt", mark=";"), ""),
        ("x,y,polarity,timestamp\n", lines("xypt"), ""),
        ("n,t,x,y,p\n", lines("ntxyb"), ""),  # an index, and True and False
        ("\ufefft,x,y,p\n", lines(), ""),  # a mark of UTF-8, as spreadsheets write it
        ("t,x@240,y@180,on\r\n", lines().replace("\n", "\r\n"), ""),  # faery's
        ("timestamp_us;x;y;polarity\n", lines(mark=";"), ""),
        ("t [s],x,y,p\n", lines(seconds=True), ""),
        ("#!events.txt\n# Format is time (float s), x, y, polarity\n", lines(seconds=True, mark=" "), "as seconds"),
        ("240 180\n", lines(seconds=True, mark=" "), "as seconds"),  # E2VID's
        ("t,x,y,p\n", lines(point=".0"), "as microseconds"),  # what pandas makes of whole times beside a gap
        ("# t x y p\n\n", lines(mark="\t"), ""),
    ],
)
def test_text_of_many_makes(head: str, body: str, note: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes((head + body).encode())
    same(tmp_path / "a.txt", note=note)


@pytest.mark.parametrize("head", ["t,x@640,y@480,p\n", "640 480\n"])
def test_a_sensor_on_top_is_the_files(head: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(head + "1 2 3 1\n".replace(" ", "," if "@" in head else " "))
    assert read_recording(tmp_path / "a.txt").size == SensorSize(640, 480)


@pytest.mark.parametrize("wrong", ["1,2,3", "1,2,3,1,5", "1,2,three,1", "1,,3,1", "1,2,3,inf", "nan,2,3,1"])
def test_every_row_is_checked(wrong: str, tmp_path: Path) -> None:
    good = lines().splitlines()
    (tmp_path / "a.csv").write_text("\n".join(["t,x,y,p", *good[:1000], wrong, *good[1000:], ""]))
    refusal(lambda: read_recording(tmp_path / "a.csv"), "line 1002 is no row of 4 numbers", RecordingError)


def test_lines_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text("t,x,y,p\n1,2,3,1\n2,3")
    found = read_recording(tmp_path / "a.csv")
    assert (len(found.events), found.warnings) == (1, ("the last line is cut short",))
    monkeypatch.setattr(text, "READ_BYTES", 1000)
    (tmp_path / "a.csv").write_text("t,x,y,p\n1,2,3,1\n" + "1" * 3000)
    refusal(lambda: read_recording(tmp_path / "a.csv"), "has no end", RecordingError)
    (tmp_path / "a.csv").write_text("0,1,2,3,1\n")
    with pytest.raises(RecordingError, match="rows have 5 cells, and no line on top that names them"):
        read_recording(tmp_path / "a.csv")


RECORDS = np.zeros(2000, [("x", "<u2"), ("y", "<u2"), ("p", "?"), ("t", "<i8")])
for key in "txyp":
    RECORDS[key] = EVENTS[key]
ARRAYS = {
    "records": RECORDS,
    "table": TABLE,
    "by columns": np.asfortranarray(TABLE),
    "other order": TABLE[:, [1, 2, 0, 3]],
    "unsigned": TABLE.astype(np.uint32),
}
WRONG = {
    "objects": np.array([None, 1]),
    "a number": np.zeros(()),
    "three columns": TABLE[:, :3],
    "an order of nobody": TABLE[:, [3, 0, 1, 2]],
    "five columns": np.zeros((7, 5)),
    "one column": TABLE[:, 0],
    "texts": TABLE.astype("U8"),
    "complex": TABLE.astype(complex),
    "records of three": RECORDS[["x", "y", "p"]],
}


def stored(folder: Path, array: np.ndarray, kind: str) -> Path:
    """An array in a file, behind one that is no events where the file can hold two."""
    path = folder / f"a.{kind}"
    if kind == "npy":
        np.save(path, array, allow_pickle=True)
    elif kind == "npz":
        np.savez_compressed(path, before=np.zeros(3), events=array)
    else:
        with h5py.File(path, "w") as file:
            file["before"], file["z/events"] = np.zeros(3), array
    return path


@pytest.mark.parametrize("case", ARRAYS)
@pytest.mark.parametrize("kind", ["npy", "npz", "h5"])
def test_arrays_that_are_events(case: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (arrays, hdf5):
        monkeypatch.setattr(module, "ROWS", 999)
    same(stored(tmp_path, ARRAYS[case], kind))


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("kind", ["npy", "npz", "h5"])
def test_arrays_that_are_none(case: str, kind: str, tmp_path: Path) -> None:
    if kind == "h5" and case in ("objects", "texts"):
        pytest.skip("h5py does not write it")
    says = r"no whole np[yz] file|no table|not four columns|no events|no plain|have no names"
    refusal(lambda: read_recording(stored(tmp_path, WRONG[case], kind)), says, RecordingError)


@pytest.mark.parametrize(
    ("more", "size", "says"),
    [
        ({"width": [640], "height": [480]}, SensorSize(640, 480), ""),
        ({"width": [], "height": [480]}, DAVIS, ""),
        ({"width": [2049], "height": [480]}, DAVIS, ""),
        ({"p": COLUMNS["p"][:6]}, None, "differ in"),
        ({"t": COLUMNS["t"][:, np.newaxis]}, None, "differ in"),
    ],
)
def test_columns_of_npz_and_hdf5(more: dict[str, Any], size: SensorSize, says: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **(COLUMNS | more))  # type: ignore[arg-type]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, values in (COLUMNS | more).items():
            if len(name) == 1:
                file[f"deep/events/{name}"] = values
            elif np.ndim(values) and len(values) == 1:
                file.attrs[name] = values
    for path in (tmp_path / "a.npz", tmp_path / "a.h5"):
        if says:
            with pytest.raises(RecordingError, match=says):
                read_recording(path)
        else:
            same(path, size=size)


def in_hdf5(folder: Path, names: dict[str, str], attributes: dict[str, Any], **more: Any) -> Path:
    """An HDF5 file of the columns by these names, seconds where t is `ts`."""
    with h5py.File(folder / "a.h5", "w") as file:
        for key, name in names.items():
            file[f"events/{name}"] = COLUMNS[key] / 1e6 if name == "ts" else COLUMNS[key]
        for name, values in more.items():
            file[name] = values
        file.attrs.update(attributes)
    return folder / "a.h5"


PLAIN = {name: name for name in "txyp"}


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ({"sensor_resolution": (480, 640)}, (640, 480)),
        ({"sensor_resolution": (480, 640, 1), "width": 500, "height": 400}, (500, 400)),
        ({"geometry": "640x480"}, (640, 480)),
        ({"geometry": "640x480x1", "width": 500, "height": 400}, (500, 400)),
        ({"geometry": "640xy"}, (240, 180)),
    ],
)
def test_sensors_of_hdf5(attributes: dict[str, Any], size: tuple[int, int], tmp_path: Path) -> None:
    same(in_hdf5(tmp_path, PLAIN, attributes), size=SensorSize(*size))


@pytest.mark.parametrize(("offset", "us"), [(51_648_500_000, 51_648_500_000), ([70], 70), ([70, 71], 0), ([], 0)])
def test_dsec_s_offset_of_times_is_one_number(offset: Any, us: int, tmp_path: Path) -> None:
    same(in_hdf5(tmp_path, PLAIN, {}, t_offset=offset), later_us=us)


def test_esim_s_and_mvsec_s_seconds(tmp_path: Path) -> None:
    same(in_hdf5(tmp_path, {"t": "ts", "x": "xs", "y": "ys", "p": "ps"}, {}), note="as seconds")
    table = np.stack([TABLE[:, 1], TABLE[:, 2], 1.5e9 + TABLE[:, 0] / 1e6, 2 * TABLE[:, 3] - 1], axis=1)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["davis/left/events"], file["davis/left/image_raw_ts"] = table, np.zeros(4)
        file["davis/right/events"] = table[:9]
    recording = read_recording(tmp_path / "a.h5")
    found = recording.events
    assert any("davis/right/events" in warning for warning in recording.warnings), "it is told which camera's are read"
    assert np.abs(found["t"] - 1_500_000_000_000_000 - EVENTS["t"]).max() <= 1
    assert np.array_equal(found["p"], EVENTS["p"])


def times(t: Any, unit: str | None = None) -> tuple[list[int], list[str]]:
    array, notes = np.asarray(t), list[str]()
    zeros = np.zeros(len(array), np.int64)
    (found,) = events_of([{"t": array, "x": zeros, "y": zeros, "p": zeros}], unit, notes)
    return found["t"].tolist(), notes


@pytest.mark.parametrize(
    ("t", "unit", "expected"),
    [
        ([0, 1999, 2000], "ns", [0, 1, 2]),
        ([0.0, 1499.0, 1501.0], "ns", [0, 1, 2]),
        ([3, 4], "ms", [3000, 4000]),
        ([0.0015, 2.5], "ms", [2, 2500]),
        ([0.25, 1.0000014], "s", [250_000, 1_000_001]),
        ([2**62], "s", [FAR_US // 1_000_000 * 1_000_000]),
        ([-(2**62)], "us", [-FAR_US]),
        ([1e300, -1e300], "s", [FAR_US, -FAR_US]),
        (np.array([2**64 - 1], np.uint64), "us", [FAR_US]),
    ],
)
def test_units(t: Any, unit: str, expected: list[int]) -> None:
    assert times(t, unit) == (expected, [])


@pytest.mark.parametrize("kind", ["<i8", "<u8", ">u8"])
@pytest.mark.parametrize("suffix", ["npz", "npy", "h5"])
def test_nanoseconds_of_a_date_of_today(kind: str, suffix: str, tmp_path: Path) -> None:
    later_us = 1_700_000_000_000_000
    records = np.zeros(2000, [("t", kind), ("x", "<i4"), ("y", "<i4"), ("p", "?")])
    for key, values in (COLUMNS | {"t": (COLUMNS["t"] + later_us) * 1000}).items():
        records[key] = values
    same(stored(tmp_path, records, suffix), later_us=later_us, note="as nanoseconds")


@pytest.mark.parametrize(
    ("t", "unit", "word"),
    [
        (np.array([0, EPOCH_NS]), "us", ""),
        (np.array([0, EPOCH_NS + 1]), "ns", "size"),
        (np.array([0.0, 5.0]), "us", "size"),
        (np.array([0.5, 1000.5]), "s", "fractions"),
        (np.array([0.5, 1000.75]), "us", "fractions"),
    ],
)
def test_a_unit_that_nobody_names_is_guessed_by_size_and_span(t: np.ndarray, unit: str, word: str) -> None:
    found, notes = times(t)
    assert found == times(t, unit)[0]
    assert len(notes) == bool(word)
    assert word in "".join(notes)


@pytest.mark.parametrize(("kind", "said"), [("f4", ["float32"]), ("f8", [])])
def test_times_of_too_few_digits_are_told(kind: str, said: list[str]) -> None:
    _, notes = times((1.7e9 + np.arange(5)).astype(kind), "s")
    assert [word in note for word, note in zip(said, notes)] == [True] * len(said) == [True] * len(notes)


@pytest.mark.parametrize(
    ("names", "places", "unit"),
    [
        ("events/ps events/ys events/xs events/ts", "pyxt", None),
        ("time_[us] col row sign", "txyp", "us"),
        ("Timestamp_(ns) u v ON", "txyp", "ns"),
        ("t_millis x_coordinate y_coordinates polarities", "txyp", "ms"),
        ("t_µs x y p", "txyp", "us"),
        ("'t' \"x\" y P", "txyp", None),
        ("n t t x y p x", "-t-xyp", None),
        ("tt x y p", None, None),
        ("t_hours x y p", None, None),
    ],
)
def test_names_of_columns(names: str, places: str | None, unit: str | None) -> None:
    found = find_columns(names.split())
    assert (found and (found.places, found.unit)) == (places and ({k: places.index(k) for k in "txyp"}, unit))


MATLAB = {name: COLUMNS[key][np.newaxis] for name, key in {"ts": "t", "x": "x", "y": "y", "pol": "p"}.items()}
MATLAB["y"] = 179 - MATLAB["y"]  # it counts from the bottom


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, np.uint32, np.int32])
def test_matlab_s_files(packed: bool, kind: type, tmp_path: Path) -> None:
    rows = {name: values.astype(kind) for name, values in MATLAB.items()}
    savemat(tmp_path / "a.mat", {"who": "somebody", "notes": {"a": 1}, **rows, "last": 3j}, do_compression=packed)
    same(tmp_path / "a.mat", note="as microseconds" if np.dtype(kind).kind == "f" else "")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({"ts": MATLAB["ts"]}, "holds no arrays ts, x, y and pol"),
        (MATLAB | {"pol": MATLAB["pol"][:, 1:]}, "differ in length"),
        (MATLAB | {"pol": 1j * MATLAB["pol"]}, "no flat arrays of numbers"),
        (MATLAB | {name: np.array(["a"] * 2000, object) for name in ("x",)}, "no flat arrays of numbers"),
    ],
)
def test_matlab_s_files_of_other_things(rows: dict[str, Any], says: str, tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", rows)
    refusal(lambda: read_recording(tmp_path / "a.mat"), says, RecordingError)
    (tmp_path / "a.mat").write_bytes((tmp_path / "a.mat").read_bytes()[:-9])
    with pytest.raises(RecordingError):
        read_recording(tmp_path / "a.mat")
