"""Tables of many makers: which column is which, what times count, and rows that are none."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings import text
from spikesight.encoders.recordings.columns import find_columns
from spikesight.encoders.recordings.files import detect_format, read_recording
from spikesight.encoders.recordings.format import RecordingError
from tests.support.inputs.samples import DAVIS, random_events

EVENTS = random_events(2000, DAVIS)
TABLE = np.stack([EVENTS[name].astype(np.float64) for name in "txyp"], axis=1)


def same(path: Path, *, note: str = "", size: SensorSize = DAVIS) -> None:
    """The file holds EVENTS, and its one remark, if any, has these words."""
    found = read_recording(path)
    assert np.array_equal(found.events, EVENTS)
    assert found.size == size
    assert len(found.warnings) == bool(note)
    assert note in " ".join(found.warnings)


def lines(order: str = "txyp", seconds: bool = False, mark: str = ",", point: str = "") -> str:
    rows = []
    for t, x, y, p in EVENTS.tolist():
        cells = {"t": f"{t / 1e6:.6f}" if seconds else f"{t}{point}", "x": str(x), "y": str(y), "p": str(int(p))}
        rows.append(mark.join(cells[key] for key in order))
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize("order", ["txyp", "xytp", "xypt"])
def test_columns_without_names_are_told_by_their_values(order: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(lines(order))
    same(tmp_path / "a.csv")
    np.save(tmp_path / "a.npy", TABLE[:, ["txyp".index(key) for key in order]].astype(np.int64))
    same(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("head", "body", "note"),
    [
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


def test_an_index_column_is_left_out(tmp_path: Path) -> None:
    rows = [f"{n},{t},{x},{y},{p}\n" for n, (t, x, y, p) in enumerate(EVENTS.tolist())]
    (tmp_path / "a.csv").write_text(",t,x,y,p\n" + "".join(rows))  # True and False
    same(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("".join(rows))
    with pytest.raises(RecordingError, match="rows have 5 cells, and no line on top that names them"):
        read_recording(tmp_path / "a.csv")


@pytest.mark.parametrize("wrong", ["1,2,3", "1,2,3,1,5", "1,2,three,1", "", "1,,3,1", "1,2,3,inf", "nan,2,3,1"])
def test_every_row_is_checked(wrong: str, tmp_path: Path) -> None:
    good = lines().splitlines()
    (tmp_path / "a.csv").write_text("\n".join(["t,x,y,p", *good[:1000], wrong, *good[1000:], ""]))
    if not wrong:
        same(tmp_path / "a.csv")
        return
    with pytest.raises(RecordingError, match="line 1002 is no row of 4 numbers"):
        read_recording(tmp_path / "a.csv")


@pytest.mark.parametrize("head", ["", "t,x,y,p\n", "# one\n# two\n# t,x,y,p\n", "\ufefft,x,y,p\n", "t,x,y,p\r\n"])
@pytest.mark.parametrize("place", [3, 64, 65, 200])
def test_the_line_that_is_wrong_is_named_wherever_the_reader_stopped_for_breath(
    head: str, place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows come 64 at a time, of pieces of 500 bytes."""
    monkeypatch.setattr(text, "ROWS", 64)
    monkeypatch.setattr(text, "READ_BYTES", 500)
    end = "\r\n" if head.endswith("\r\n") else "\n"
    rows = [f"{n},1,2,1" for n in range(300)]
    rows[place:place] = ["", "1,2,three,1"]
    (tmp_path / "a.csv").write_bytes((head + end.join([*rows, ""])).encode())
    wrong = head.count("\n") + place + 2
    assert (tmp_path / "a.csv").read_bytes().split(b"\n")[wrong - 1].startswith(b"1,2,three")
    with pytest.raises(RecordingError, match=f"line {wrong} is no row of 4 numbers"):
        read_recording(tmp_path / "a.csv")


def test_a_last_line_that_is_cut_short_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t,x,y,p\n1,2,3,1\n2,3")
    found = read_recording(tmp_path / "a.csv")
    assert (len(found.events), found.warnings) == (1, ("the last line is cut short",))


@pytest.mark.parametrize(
    ("t", "name", "note"),
    [
        (EVENTS["t"] * 1000, "timestamp_ns", ""),
        (EVENTS["t"] * 1000 + 1_700_000_000 * 10**9, "t", "as nanoseconds"),
        (EVENTS["t"].astype(np.float64), "t", "as microseconds"),
        (EVENTS["t"] + 0.25, "t", "as microseconds"),
        (EVENTS["t"] / 1e6, "t", "as seconds"),
        (EVENTS["t"] / 1e3, "time_ms", ""),
        (EVENTS["t"] + 1_700_000_000 * 10**6, "t", ""),
        (EVENTS["t"].astype(np.uint32), "ts", ""),
    ],
)
def test_the_unit_of_times(t: NDArray[np.generic], name: str, note: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{name: t, "x": EVENTS["x"], "y": EVENTS["y"], "p": EVENTS["p"]})
    found = read_recording(tmp_path / "a.npz")
    assert np.array_equal(found.events["t"] - found.events["t"][0], EVENTS["t"] - EVENTS["t"][0])
    assert note in " ".join(found.warnings)
    assert len(found.warnings) == bool(note)


def test_arrays_of_numpy(tmp_path: Path) -> None:
    kind = np.dtype([("x", "<u2"), ("y", "<u2"), ("p", "?"), ("t", "<i8")])
    records = np.zeros(len(EVENTS), kind)
    for key in "txyp":
        records[key] = EVENTS[key]
    whole = TABLE.astype(np.int64)
    for number, array in enumerate((records, whole, np.asfortranarray(whole))):
        np.save(tmp_path / f"{number}.npy", array)
        np.savez_compressed(tmp_path / f"{number}.npz", events=array, name="a")
        for suffix in ("npy", "npz"):
            same(tmp_path / f"{number}.{suffix}")
    np.save(tmp_path / "wrong.npy", np.zeros((3, 5)))
    with pytest.raises(RecordingError, match="not four columns"):
        read_recording(tmp_path / "wrong.npy")
    (tmp_path / "cut.npy").write_bytes((tmp_path / "0.npy").read_bytes()[:-5])
    with pytest.raises(RecordingError, match="ends too early"):
        read_recording(tmp_path / "cut.npy")


def test_tables_of_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:  # v2e
        file["events"] = TABLE.astype(np.uint32)
    same(path)
    with h5py.File(path, "w") as file:  # MVSEC: seconds since 1970, polarities -1 and 1
        table = np.stack([TABLE[:, 1], TABLE[:, 2], 1.5e9 + TABLE[:, 0] / 1e6, 2 * TABLE[:, 3] - 1], axis=1)
        file["davis/left/events"], file["davis/left/image_raw_ts"] = table, np.zeros(4)
    found = read_recording(path)
    assert np.abs(found.events["t"] - 1_500_000_000_000_000 - EVENTS["t"]).max() <= 1
    assert np.array_equal(found.events["p"], EVENTS["p"])
    with h5py.File(path, "w") as file:  # DSEC
        for key in "txyp":
            file[f"events/{key}"] = EVENTS[key]
        file["t_offset"] = 51_648_500_000
    assert np.array_equal(read_recording(path).events["t"], EVENTS["t"] + 51_648_500_000)
    with h5py.File(path, "w") as file:  # ESIM
        for key, name in (("t", "ts"), ("x", "xs"), ("y", "ys"), ("p", "ps")):
            file[f"events/{name}"] = EVENTS[key] / 1e6 if key == "t" else EVENTS[key]
        file.attrs["sensor_resolution"] = (180, 240)
    same(path, note="as seconds")


def test_a_filter_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for key in "txyp":
            file.create_dataset(f"events/{key}", data=EVENTS[key], chunks=(2000,), compression=1)
    data = path.read_bytes()
    with h5py.File(path) as file:
        plist = file["events/t"].id.get_create_plist()  # type: ignore[union-attr]
        assert plist.get_filter(0)[0] == 1
    deflate = b"\x01\x00\x08\x00\x01\x00\x01\x00deflate\x00"
    assert data.count(deflate) == 4
    path.write_bytes(data.replace(deflate, b"\xcf\x8e" + deflate[2:]))
    with pytest.raises(RecordingError, match="packed with ECF: install Prophesee's plug-in"):
        read_recording(path)


def test_packed_with_blosc(tmp_path: Path) -> None:
    hdf5plugin = pytest.importorskip("hdf5plugin")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for key in "txyp":
            file.create_dataset(f"events/{key}", data=EVENTS[key], chunks=(500,), **hdf5plugin.Blosc())
    same(tmp_path / "a.h5")


def test_asl_dvs_stands_upright(tmp_path: Path) -> None:
    savemat = pytest.importorskip("scipy.io").savemat
    columns = {"ts": EVENTS["t"], "x": EVENTS["x"], "y": 179 - EVENTS["y"], "pol": EVENTS["p"].astype(np.uint8)}
    savemat(tmp_path / "a.mat", {key: value[:, np.newaxis] for key, value in columns.items()})
    assert detect_format(tmp_path / "a.mat") == "mat"
    same(tmp_path / "a.mat")


def test_names_of_columns() -> None:
    assert find_columns(["x", "y", "p"]) is None
    found = find_columns(["Timestamp (ms)", "X", "Y", '"polarity"'])
    assert found is not None
    assert (found.places, found.unit) == ({"t": 0, "x": 1, "y": 2, "p": 3}, "ms")
    assert find_columns(["ts", "x", "y", "p"]).unit is None  # type: ignore[union-attr]


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "READ_BYTES", 1000)
    (tmp_path / "a.csv").write_text("t,x,y,p\n1,2,3,1\n" + "1" * 3000)
    with pytest.raises(RecordingError, match="has no end"):
        read_recording(tmp_path / "a.csv")
