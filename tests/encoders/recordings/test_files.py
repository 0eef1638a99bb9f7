"""Recordings of every format: written, read, in pieces, cut, damaged by the thousands; others read ours, we theirs.

pytest -m slow tests/encoders/recordings/test_files.py -k damaged   10,000 cases a format; SPIKESIGHT_FUZZ sets a number
"""

import os
import resource
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from spikesight.encoders.events import MAX_SIDE, Events, SensorSize, check_events, make_events
from spikesight.encoders.recordings import arrays, files, format, hdf5, text
from spikesight.encoders.recordings.files import FORMATS, packets, read_recording, sensor_of, write_recording
from spikesight.encoders.recordings.format import RecordingError
from tests.support.inputs.formats import write, written
from tests.support.inputs.samples import DAVIS, at, from_eventcv, random_events
from tests.support.refusals import refusal

every_format = pytest.mark.parametrize("name", FORMATS)


@every_format
def test_what_is_written_is_read_back(name: str, tmp_path: Path) -> None:
    path, events, size = written(tmp_path, name)
    recording = read_recording(path)
    assert np.array_equal(recording.events, events)
    assert (recording.size, recording.format, recording.warnings) == (size, name, ())
    assert sensor_of(path) == size
    assert list(tmp_path.iterdir()) == [path]
    assert files.detect_format(path.rename(tmp_path / "something.bin")) == name, "the content tells"


@every_format
def test_packets_are_the_recording_in_pieces(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, events, _ = written(tmp_path, name)
    for module, constant in ((format, "CHUNK_BYTES"), (arrays, "ROWS"), (hdf5, "ROWS"), (text, "READ_BYTES")):
        monkeypatch.setattr(module, constant, 1000)
    parts = list(packets(path, 7_000))
    assert np.array_equal(np.concatenate(parts), events)
    numbers = [(int(part["t"][0]) - int(events["t"][0])) // 7_000 for part in parts]
    assert numbers == sorted(set(numbers))
    assert all((part["t"][-1] - events["t"][0]) // 7_000 == number for part, number in zip(parts, numbers))


@pytest.mark.parametrize("name", ["aedat4", "npz", "hdf5", "evt3"])
def test_a_long_file_is_written_and_read_in_pieces(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part, path = random_events(20_000, DAVIS), tmp_path / "a"

    def parts() -> Iterator[Events]:
        for k in range(100):
            moved = part.copy()
            moved["t"] += 400_000 * k
            yield moved

    write_recording(path, [part], DAVIS, name)
    assert np.array_equal(read_recording(path).events, part), "loops are compiled"
    for module, constant in ((format, "CHUNK_BYTES"), (arrays, "ROWS"), (hdf5, "ROWS")):
        monkeypatch.setattr(module, constant, 100_000)
    tracemalloc.start()
    write_recording(path, parts(), DAVIS, name)
    n = sum(map(len, packets(path)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 100 * len(part)
    assert peak < 0.8 * n * part.itemsize


@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"es", "db3"}))
def test_a_file_that_is_cut_short_is_refused_or_says_so(name: str, tmp_path: Path) -> None:
    path, events, _ = written(tmp_path, name, n=20_000)
    assert not read_recording(path).truncated
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3] if name in ("bag", "mcap") else data[:-3])
    if name in ("npz", "npy", "hdf5", "mat"):
        with pytest.raises(RecordingError):
            read_recording(path)
        return
    recording, reader = read_recording(path), files.RecordingReader(path)
    assert np.array_equal(recording.events, events[: len(recording.events)])
    assert sum(map(len, reader.packets())) == len(recording.events)
    assert recording.truncated
    assert reader.truncated


def test_what_was_put_right_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t,x,y,p\n7,1,1,1\n5,1,1,1\n9,1,4000,1\n")
    outside, back = read_recording(tmp_path / "a.csv").warnings
    assert outside == "1 events outside the 2x2 sensor were dropped"
    assert back.startswith("time steps back 1 times (0 clock restarts)")


UNKNOWN = "not a recording of a kind known here"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"hello, this is a text\n" * 30, UNKNOWN),
        (bytes(range(256)) * 8, UNKNOWN),
        (b"\1\2\3\4\5" * 100, UNKNOWN),
        (b"1 2 3 x\n", UNKNOWN),
        (b"240 180\n240 180\n1 2 3 1\n", UNKNOWN),
        (bytes([3, 4, 0x80, 1, 2, 0]), UNKNOWN),
        (b"t,x,y,p\n", "no events"),
        (b"t,x,y,p\n1,2,3\n", "line 2 is no row of 4 numbers"),
        (b"% evt 3.0\n% geometry 1280x720\n", "no events"),
        (b"% Version 2\n\x0c\x07abc", "no 8-byte events"),
        (b"% Date 2019-05-05\n" + bytes(range(100, 200)), r"names no encoding: add the line '% evt 2\.0'"),
        (b"#!AER-DAT4.0\r\n\xff\xff\xff\x7f", "header makes no sense"),
        (b"#!AER-DAT4.0\r\n\x00", "ends inside its header"),
        (b"PK\x03\x04 and no more", "no whole npz file"),
        (b"\x89HDF\r\n\x1a\n and no more", "no whole HDF5 file"),
        (b"#ROSBAG V2.0\n" + bytes(100), "no messages with events.*but nothing; a record makes no sense"),
        (b"\x89MCAP0\r\n" + bytes(100), "no messages with events.*but nothing; the file is cut short"),
        (b"SQLite format 3\0" + bytes(100), "its tables cannot be read"),
    ],
)
def test_bad_files_get_one_sentence(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.rec"
    path.write_bytes(data)
    with pytest.raises(RecordingError, match=words) as caught:
        read_recording(path)
    assert str(path) in str(caught.value)


def test_what_is_no_file_and_a_missing_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.es").write_bytes(b"Event Stream\x02\x00\x00\x01")
    write_recording(tmp_path / "a.h5", at(1, 2), DAVIS)
    for name in ("faery", "h5py"):
        monkeypatch.setitem(sys.modules, name, None)
    wrong = {"none.raw": "no such file", "": "directory", "a.es": r"spikesight\[es\]", "a.h5": "h5py"}
    for name, words in wrong.items():
        refusal(partial(read_recording, tmp_path / name), words, RecordingError)


@pytest.mark.parametrize(
    ("suffix", "places", "size"),
    [
        ("csv", [(3, 0), (0, 5)], (4, 6)),
        ("csv", [(MAX_SIDE - 1, MAX_SIDE - 1)], (MAX_SIDE, MAX_SIDE)),
        ("csv", [(MAX_SIDE, 5), (5, MAX_SIDE), (-1, 5), (3, 2)], (4, 3)),
        ("csv", [(-1, 0), (MAX_SIDE, 0)], None),
        ("bin", [(33, 33)] * 9, (34, 34)),
        ("bin", [(3, 4)], (34, 34)),
        ("bin", [(34, 5), (0, 0)], (35, 6)),
    ],
)
def test_a_file_without_a_sensor(suffix: str, places: list, size: tuple[int, int] | None, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "csv":
        path.write_text("t,x,y,p\n" + "".join(f"{n},{x},{y},1\n" for n, (x, y) in enumerate(places)))
    else:
        x, y = zip(*places)
        write(path, make_events(range(len(x)), x, y, [1] * len(x)), DAVIS, "nmnist")
    if size is None:
        refusal(lambda: read_recording(path), "no event", RecordingError)
    else:
        assert sensor_of(path) == read_recording(path).size == SensorSize(*size)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.npy", "can be read but not written"),
        ("a.bin", "can be read but not written"),
        ("a.xyz", r"cannot tell a format.*\.aedat4, \.csv, \.h5, \.npz, \.raw"),
        ("none/a.csv", "no such file"),
    ],
)
def test_what_cannot_be_written_says_why(name: str, words: str, tmp_path: Path) -> None:
    refusal(lambda: write_recording(tmp_path / name, at(1, 2), DAVIS), words, RecordingError)
    assert not list(tmp_path.iterdir())


def test_a_sample_is_named_like_a_file_unless_one_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recording = read_recording("digit-3")
    assert (recording.size, recording.warnings) == (SensorSize(34, 34), ())
    assert sum(map(len, packets("digit-3"))) == len(recording.events) > 1000
    for name in (tmp_path / "digit-3", "digit-9", "nowhere/digit-3"):
        refusal(partial(read_recording, name), "no such file", RecordingError)
    write_recording("digit-3", at(1, 2), DAVIS, "csv")
    assert len(read_recording("digit-3").events) == 2


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        ([[5], [4]], "time steps back"),
        ([[5, 4]], "not sorted"),
        ([[-1, 5]], "below zero"),
        ([[], []], "there are no events"),
        ([[5], [], [5, 9]], None),
    ],
)
def test_pieces_on_their_way_to_a_file(pieces: list[list[int]], says: str | None, tmp_path: Path) -> None:
    path, given = tmp_path / "a.npz", [at(*t) for t in pieces]
    path.write_text("what was there")
    if says is None:
        assert write_recording(path, given, DAVIS) == sum(map(len, pieces))
        assert read_recording(path).events["t"].tolist() == [t for piece in pieces for t in piece]
    else:
        refusal(lambda: write_recording(path, given, DAVIS), says, RecordingError)
        assert path.read_text() == "what was there"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("gap", [9_000_000, 20_000_000, 5_000_000_000, 200_000_000_000])
def test_a_long_silence_is_kept(gap: int, tmp_path: Path) -> None:
    events = make_events([0, 5, gap, gap + 7, 2 * gap], [1, 2, 3, 4, 239], [1, 2, 3, 4, 179], [1, 0, 1, 0, 1])
    for cut in (1, 2, 3):
        write_recording(tmp_path / "a.evt3", [events[:cut], events[cut:]], DAVIS)
        assert np.array_equal(read_recording(tmp_path / "a.evt3").events, events)
    for parts in ([at(0, 1 << 45)], [at(0), at(1 << 45)]):
        refusal(partial(write_recording, tmp_path / "a.evt3", parts, DAVIS), "gap of 407 days", RecordingError)


@pytest.mark.parametrize(("name", "bits"), [("evt3", 24), ("npz", 64)])
@pytest.mark.parametrize("first", [1_589_163_147_368_868, (1 << 24) - 200_000])
def test_first_times_that_do_not_fit_are_told_with_wraps(name: str, bits: int, first: int, tmp_path: Path) -> None:
    said: list[str] = []
    events = random_events(100, DAVIS, first_us=first)
    write_recording(tmp_path / "a", events, DAVIS, name, warn=said.append)
    read = read_recording(tmp_path / "a").events
    assert np.array_equal(read["t"] - read["t"][0], events["t"] - events["t"][0])
    assert read["t"][0] == int(events["t"][0]) % (1 << bits)
    fits = int(events["t"][0]) < 1 << bits
    assert [f"not at {int(events['t'][0]):,} us" in sentence for sentence in said] == [True] * (not fits)


def test_a_digest_is_of_the_length_and_the_first_mebibyte(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096 + b"the end"
    path = tmp_path / "a"
    path.write_bytes(data)
    assert files.digest(path) == files.digest(data)
    others = [data[:-1], data + b".", data[: 1 << 20], b"x" + data[1:], data[: (1 << 20) - 1] + b"x" + data[1 << 20 :]]
    assert len({files.digest(one) for one in (data, *others)}) == 6
    assert files.digest(data[: 1 << 20] + b"another") == files.digest(data), "what lies behind is not read"


@pytest.mark.parametrize("name", ["evt3", "aedat4", "hdf5", "csv", "npz"])
def test_what_is_broken_off_is_kept_if_it_can_be_read(name: str, tmp_path: Path) -> None:
    def parts() -> Iterator[Events]:
        yield at(1, 2)
        raise KeyboardInterrupt

    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_recording(path, parts(), DAVIS, name, keep=True)
    assert path.read_bytes() == b"old" if name == "npz" else read_recording(path).events["t"].tolist() == [1, 2]
    assert list(tmp_path.iterdir()) == [path]


def columns(found: object, *names: str) -> Events:
    """Another program's arrays, by its names of t, x, y and p."""
    take = found.__getitem__ if hasattr(found, "__getitem__") else lambda name: getattr(found, name)  # type: ignore[union-attr]
    return make_events(*(np.asarray(take(name)).astype(np.int64) for name in names))


def by_faery(path: Path) -> Events:
    faery = pytest.importorskip("faery")
    parts = [*faery.events_stream_from_file(path, dimensions_fallback=(240, 180))]
    return columns(np.concatenate(parts), "t", "x", "y", "on")


def by_evt3(path: Path) -> Events:
    found = pytest.importorskip("evt3").decode_file(str(path))
    return columns(found, "timestamp", "x", "y", "polarity")


@pytest.mark.parametrize(
    ("name", "read"),
    [
        *((name, from_eventcv) for name in ("csv", "aedat4", "evt3", "hdf5", "npz")),
        *((name, by_faery) for name in ("aedat4", "evt3")),
        ("evt3", by_evt3),
    ],
)
def test_others_read_what_we_write(name: str, read: Callable[[Path], Events], tmp_path: Path) -> None:
    path, events, _ = written(tmp_path, name)
    assert np.array_equal(read(path), events)


@pytest.mark.parametrize("suffix", ["txt", "npz", "h5", "aedat4", "dat", "raw"])
def test_we_read_what_eventcv_writes(suffix: str, tmp_path: Path) -> None:
    eventcv = pytest.importorskip("eventcv")
    events, path = random_events(3000, DAVIS), tmp_path / f"theirs.{suffix}"
    table = np.stack([events["x"], events["y"], events["t"], events["p"]], axis=1).astype(np.int64)
    eventcv.save(eventcv.from_numpy(table, sensor_size=(240, 180), time_unit="us"), str(path))
    assert np.array_equal(read_recording(path).events, events)


@pytest.mark.parametrize("compression", [0, 1, 2])
def test_what_evutils_writes_is_read(compression: int, tmp_path: Path) -> None:
    """Its header's XML names the streams by number, without the paths that DV gives them."""
    writer = pytest.importorskip("evutils.io").EventWriter
    from evutils.types import Event_dtype

    events, path = random_events(20_000, DAVIS), tmp_path / "theirs.aedat4"
    theirs = np.zeros(len(events), Event_dtype)
    for name in "txyp":
        theirs[name] = events[name]
    with writer(path, width=240, height=180, compression=compression) as file:
        file.write(theirs)
    read = read_recording(path)
    assert (read.size, read.warnings) == (DAVIS, ())
    assert np.array_equal(read.events, events)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        *((name, from_eventcv) for name in ("davis346.aedat4", "evt2.raw", "evt3.raw", "gen4.dat")),
        ("evt3.raw", by_evt3),
        ("dvs.es", by_faery),
    ],
)
def test_real_files(name: str, read: Callable[[Path], Events], shared_data: Callable[[str], Path]) -> None:
    path = shared_data(f"recordings/{name}")
    recording = read_recording(path)
    assert np.array_equal(recording.events, read(path))
    assert recording.warnings == ()
    assert sum(map(len, packets(path, 50_000))) == len(recording.events)


REAL = {  # as the projects that recorded them count: events, ON, sums of columns and rows
    "ros2_evt3_640x480.db3": (343_474, 125_183, None),
    "ros2_libcaer_640x480.db3": (334_331, 181_908, (111_651_612, 82_801_007)),
    "ros2_mono.db3": (100, 50, (34_450, 26_450)),
    "ros2_evt3.mcap": (571_266, 211_043, None),
}


@pytest.mark.parametrize("name", REAL)
def test_real_bags(name: str, shared_data: Callable[[str], Path]) -> None:
    recording = read_recording(shared_data(f"bags/{name}"))
    n, on, sums = REAL[name]
    events = check_events(recording.events, recording.size)
    assert recording.warnings == ()
    assert (len(events), int(events["p"].sum())) == (n, on)
    if sums:
        assert tuple(int(events[key].astype(np.int64).sum()) for key in "xy") == sums


def test_a_real_file_of_jaer_with_its_preferences(shared_data: Callable[[str], Path]) -> None:
    recording = read_recording(shared_data("foreign/IMU_translBoxes.aedat"))
    assert (len(recording.events), recording.size, recording.warnings) == (162_771, DAVIS, ())


CASES = int(os.environ.get("SPIKESIGHT_FUZZ", "10000"))
MEMORY_BYTES = 1 << 30  # how much a damaged file of a few kilobytes may add to the process


def original(folder: Path, name: str) -> bytes:
    """A small file of this format."""
    return written(folder, name, n=400)[0].read_bytes()


def damaged(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Cut, flipped, spliced, doubled or overwritten somewhere; sometimes all of it."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        if not out:
            break
        place, length = int(rng.integers(0, len(out))), int(rng.integers(1, 64))
        match int(rng.integers(0, 6)):
            case 0:
                del out[place:]
            case 1:
                for k in rng.integers(0, len(out), length):
                    out[k] ^= 1 << int(rng.integers(0, 8))
            case 2:
                begin = int(rng.integers(0, len(other)))
                out[place : place + length] = other[begin : begin + length]
            case 3:
                out[place:place] = out[place : place + length]
            case 4:
                out[place : place + length] = bytes([int(rng.choice([0, 255]))]) * min(length, len(out) - place)
            case _:
                del out[place : place + length]
    return bytes(out)


def try_all(name: str, folder: Path, cases: int, seed: int) -> tuple[int, int]:
    """How many damaged files were read, and how many refused."""
    rng = np.random.default_rng(seed)
    data = original(folder, name)
    others = [original(folder, other) for other in ("evt2", "csv", "aedat3")]
    path = folder / f"damaged{FORMATS[name].suffixes[0]}"
    read = refused = 0
    for _ in range(cases):
        path.write_bytes(damaged(data, others[int(rng.integers(0, len(others)))], rng))
        try:
            recording = read_recording(path)
        except RecordingError as error:
            assert str(path) in str(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
            refused += 1
            continue
        check_events(recording.events, recording.size)
        assert len(recording.events) <= 100_000
        read += 1
    return read, refused


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("cases", [60, pytest.param(CASES, marks=pytest.mark.slow)])
def test_damaged_files(name: str, cases: int, tmp_path: Path) -> None:
    before = peak_bytes()
    read, refused = try_all(name, tmp_path, cases, seed=cases)
    assert read + refused == cases
    assert read or cases < 1000
    assert peak_bytes() - before < MEMORY_BYTES
