"""Recordings: every format read, written, detected, damaged; foreign readers as oracles."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import eventcv
import numpy as np
import pytest
import tonic.io

from spikesight.encoders.events import Events, SensorSize, check_events, make_events
from spikesight.encoders.recordings import arrays, format, hdf5, text
from spikesight.encoders.recordings.files import (
    FORMATS,
    WRITABLE,
    detect_format,
    digest,
    packets,
    read_recording,
    recognised,
    sensor_of,
    write_recording,
)
from spikesight.encoders.recordings.format import Format, Opened, RecordingError
from tests.support.inputs.samples import DAVIS, from_eventcv, random_events, written


@pytest.mark.parametrize("name", WRITABLE)
def test_what_is_written_is_read_back(name: str, tmp_path: Path) -> None:
    if name == "es":
        pytest.importorskip("faery")
    path, events, size = written(tmp_path, name)
    assert detect_format(path) == name
    recording = read_recording(path)
    assert np.array_equal(recording.events, events)
    assert (recording.size, recording.format, recording.warnings) == (size, name, ())
    assert sensor_of(path) == size


@pytest.mark.parametrize("name", [name for name in WRITABLE if name not in ("nmnist",)])
def test_detection_does_not_go_by_the_name(name: str, tmp_path: Path) -> None:
    if name == "es":
        pytest.importorskip("faery")
    path, events, _ = written(tmp_path, name, n=200)
    moved = path.rename(tmp_path / "something.bin")
    assert detect_format(moved) == name
    if name not in ("es",):  # faery goes by the name
        assert len(read_recording(moved).events) == len(events)


@pytest.mark.parametrize("name", ["aedat4", "evt2", "evt3", "dat", "hdf5", "npz"])
def test_eventcv_reads_what_we_write(name: str, tmp_path: Path) -> None:
    path, events, _ = written(tmp_path, name)
    path = path.rename(path.with_suffix(".raw")) if name.startswith("evt") else path  # EventCV goes by the name
    assert np.array_equal(from_eventcv(path), events)


def test_eventcv_reads_our_csv_and_we_read_theirs(tmp_path: Path) -> None:
    path, events, size = written(tmp_path, "csv")
    assert np.array_equal(from_eventcv(path), events)
    table = np.stack([events["x"], events["y"], events["t"], events["p"]], axis=1).astype(np.int64)
    stream = eventcv.from_numpy(table, sensor_size=(size.width, size.height), time_unit="us")
    for suffix in ("txt", "npz", "h5", "aedat4", "dat", "raw"):
        theirs = tmp_path / f"theirs.{suffix}"
        eventcv.save(stream, str(theirs))
        assert np.array_equal(read_recording(theirs).events, events), suffix


def test_faery_reads_what_we_write(tmp_path: Path) -> None:
    faery = pytest.importorskip("faery")
    for name in ("aedat4", "evt2", "evt3", "dat", "es"):
        path, events, size = written(tmp_path, name)
        path = path.rename(path.with_suffix(".raw")) if name.startswith("evt") else path
        stream = faery.events_stream_from_file(path, dimensions_fallback=(size.width, size.height))
        parts = list(stream)
        for ours, theirs in (("t", "t"), ("x", "x"), ("y", "y"), ("p", "on")):
            assert np.array_equal(events[ours], np.concatenate([part[theirs] for part in parts])), (name, ours)


def test_foreign_readers_count_the_wraps_of_a_silence(tmp_path: Path) -> None:
    evt3 = pytest.importorskip("evt3")
    path, events, size = written(tmp_path, "evt3", n=400)
    events["t"][200:] += 50_000_000
    events["t"][300:] += 16_000_000  # from late in one turn of the clock to early in the next
    write_recording(path, events, size, "evt3")
    assert np.array_equal(np.asarray(evt3.decode_file(str(path)).timestamp), events["t"])
    path = path.rename(path.with_suffix(".raw"))
    assert np.array_equal(from_eventcv(path), events)
    assert np.array_equal(read_recording(path).events, events)


@pytest.mark.parametrize("name", ["davis346.aedat4", "evt2.raw", "evt3.raw", "gen4.dat"])
def test_real_files_agree_with_eventcv(name: str, shared_data: Callable[[str], Path]) -> None:
    path = shared_data(f"recordings/{name}")
    recording = read_recording(path)
    assert np.array_equal(recording.events, from_eventcv(path))
    assert recording.warnings == ()
    assert sum(map(len, packets(path, 50_000))) == len(recording.events)


def test_the_event_stream_file_agrees_with_faery(shared_data: Callable[[str], Path]) -> None:
    pytest.importorskip("faery")
    recording = read_recording(shared_data("recordings/dvs.es"))
    assert len(recording.events) == 473_225
    assert recording.size == SensorSize(320, 240)


def test_nmnist_agrees_with_tonic(shared_data: Callable[[str], Path]) -> None:
    kind = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
    for path in sorted(shared_data("nmnist/Test").glob("*/*.bin"))[::10]:
        theirs, ours = tonic.io.read_mnist_file(str(path), dtype=kind), read_recording(path)
        assert ours.size == SensorSize(34, 34)
        assert all(np.array_equal(ours.events[name], theirs[name]) for name in "txyp")


@pytest.mark.parametrize(("name", "bits"), [("evt2", 34), ("evt3", 24), ("dat", 32)])
def test_clocks_that_wrap_are_unwrapped(name: str, bits: int, tmp_path: Path) -> None:
    path, events, _ = written(tmp_path, name, first_us=(1 << bits) - 200_000)
    read = read_recording(path)
    assert read.warnings == ()
    assert np.array_equal(read.events["t"] - read.events["t"][0], events["t"] - events["t"][0])


@pytest.mark.parametrize("name", WRITABLE)
def test_packets_are_the_recording_in_pieces(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "es":
        pytest.importorskip("faery")
    path, events, _ = written(tmp_path, name)
    for module, constant in (
        (format, "CHUNK_BYTES"),
        (arrays, "ROWS"),
        (hdf5, "ROWS"),
        (text, "ROWS"),
    ):
        monkeypatch.setattr(module, constant, 1000)
    parts = list(packets(path, 7_000))
    assert np.array_equal(np.concatenate(parts), events)
    numbers = [(int(part["t"][0]) - int(events["t"][0])) // 7_000 for part in parts]
    assert numbers == sorted(set(numbers))
    assert all((part["t"][-1] - events["t"][0]) // 7_000 == number for part, number in zip(parts, numbers))


def test_a_long_file_does_not_sit_in_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "long.dat"
    size = SensorSize(640, 480)
    write_recording(path, random_events(100_000, size, span_us=10_000_000), size)
    data = path.read_bytes()
    start = data.index(bytes([0x0C, 8])) + 2
    with path.open("ab") as file:
        for k in range(1, 60):
            pairs = np.frombuffer(data[start:], "<u4").reshape(-1, 2).copy()
            pairs[:, 0] += 10_000_000 * k
            file.write(pairs.tobytes())
    tracemalloc.start()
    n = sum(map(len, packets(path)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 6_000_000
    assert peak < 160e6  # all of it would take 78 MB as events alone, several times that while sorting out


@pytest.mark.parametrize("name", ["dat", "evt3", "aedat4"])
def test_a_whole_recording_is_read_in_one_piece(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    path, events = tmp_path / "long", random_events(100_000, DAVIS)
    write_recording(path, events, DAVIS, name)
    read_recording(path)  # loops are compiled
    monkeypatch.setattr(format, "CHUNK_BYTES", 100_000)
    tracemalloc.start()
    read = read_recording(path).events
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(read, events)
    assert isinstance(read.base, np.ndarray)
    assert peak < 1.9 * read.base.nbytes  # pieces would be there twice when joined


@pytest.mark.parametrize("name", ["aedat4", "npz", "hdf5", "evt3"])
def test_a_long_file_is_written_in_pieces(name: str, tmp_path: Path) -> None:
    import tracemalloc

    part = random_events(20_000, DAVIS)

    def parts() -> Iterator[Events]:
        for k in range(60):
            moved = part.copy()
            moved["t"] += 400_000 * k
            yield moved

    write_recording(tmp_path / "warm", [part], DAVIS, name)
    tracemalloc.start()
    write_recording(tmp_path / "a", parts(), DAVIS, name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6  # all of it would take 16 MB as events alone
    assert sum(map(len, packets(tmp_path / "a"))) == 60 * len(part)


@pytest.mark.parametrize("name", [name for name in WRITABLE if name not in ("csv", "es")])
def test_a_cut_file_gives_what_is_left_or_one_sentence(name: str, tmp_path: Path) -> None:
    path, events, size = written(tmp_path, name)
    data = path.read_bytes()
    for keep in (0.9, 0.5, 0.1, 0.01):
        path.write_bytes(data[: int(len(data) * keep) | 1])
        try:
            recording = read_recording(path)
        except RecordingError:
            continue
        check_events(recording.events, recording.size)
        assert len(recording.events) < len(events)
        assert max(recording.size.width, recording.size.height) <= max(size.width, size.height)


def test_half_a_record_at_the_end_is_told(tmp_path: Path) -> None:
    for name in ("evt2", "evt21", "evt3", "dat", "aedat2", "aedat3", "nmnist"):
        path, events, _ = written(tmp_path, name)
        path.write_bytes(path.read_bytes()[:-1])
        recording = read_recording(path)
        assert "cut short" in recording.warnings[0], name
        assert np.array_equal(recording.events, events[: len(recording.events)]), name


def test_damage_is_counted(tmp_path: Path) -> None:
    path, _, _ = written(tmp_path, "evt2")
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for place in rng.integers(200, len(data), 200):
        data[place] ^= 1 << int(rng.integers(0, 8))
    path.write_bytes(data)
    recording = read_recording(path)
    check_events(recording.events, recording.size)
    assert any("outside" in text for text in recording.warnings)
    assert any("steps back" in text for text in recording.warnings)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"hello, this is a text\n" * 30, "not a recording of a kind known here"),
        (bytes(range(256)) * 8, "not a recording of a kind known here"),
        (bytes(1000), "not a recording of a kind known here"),
        (b"aaaabbbbccccddddeeee", "not a recording of a kind known here"),
        (b"1 2 3", "not a recording of a kind known here"),
        (b"\1" * 5, "not a recording of a kind known here"),
        (b"\1\2\3\4\5" * 100, "not a recording of a kind known here"),
        (b"t,x,y,p\n", "no events"),
        (b"t,x,y,p\n1,2,3\n", "line 2 is no row of 4 numbers"),
        (b"t,x,y,p\n0,1,2,0\n1,2,3,x\n", "line 3 is no row of 4 numbers"),
        (b"% evt 3.0\n% geometry 1280x720\n", "no events"),
        (b"% Version 2\n\x0c\x07abc", "no 8-byte events"),
        (b"#!AER-DAT4.0\r\n\xff\xff\xff\x7f", "header makes no sense"),
        (b"#!AER-DAT4.0\r\n\x00", "ends inside its header"),
        (b"PK\x03\x04 and no more", "no whole npz file"),
        (b"\x89HDF\r\n\x1a\n and no more", "no whole HDF5 file"),
        (b"#ROSBAG V2.0\n" + bytes(100), "a ROS 1 bag, which holds messages of any kind: write its events to csv"),
        (b"\x89MCAP0\r\n" + bytes(100), "an MCAP file, which holds messages of any kind: write its events to csv"),
        (b"SQLite format 3\0" + bytes(100), "a ROS 2 bag, which holds messages of any kind: write its events to csv"),
    ],
)
def test_bad_files_get_one_sentence(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.rec"
    path.write_bytes(data)
    with pytest.raises(RecordingError, match=words) as caught:
        read_recording(path)
    assert str(path) in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no such file"):
        read_recording(tmp_path / "none.raw")
    with pytest.raises(RecordingError, match="directory"):
        read_recording(tmp_path)


def test_csv_of_many_makes(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    texts = {
        "t,x,y,p\n10,1,2,1\n20,3,4,0\n": [(10, 1, 2, True), (20, 3, 4, False)],
        "10 1 2 1\n20 3 4 -1\n": [(10, 1, 2, True), (20, 3, 4, False)],
        "x,y,polarity,timestamp\n1,2,1,10\n": [(10, 1, 2, True)],
        "# t x y p\n10 1 2 1": [(10, 1, 2, True)],
        "0.5 1 2 1\n0.500001 3 4 0\n": [(500_000, 1, 2, True), (500_001, 3, 4, False)],
    }
    for written_text, expected in texts.items():
        path.write_text(written_text)
        assert read_recording(path).events.tolist() == expected


@pytest.mark.parametrize("marked", [True, False])
def test_a_format_that_is_added_is_recognised(marked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _, _ = written(tmp_path, "nmnist", n=100)
    data = path.read_bytes() if marked else b"\0no kind of ours" * 9
    kind = Format((".own",), lambda _: Opened(None, iter([make_events([0], [1], [2], [1])])))
    kind = (
        replace(kind, mark=data[:9])
        if marked
        else replace(kind, fits=lambda head, size: (head, size) == (data, len(data)))
    )
    assert recognised(data, len(data)) == ("nmnist" if marked else None)
    monkeypatch.setitem(FORMATS, "own", kind)
    path.write_bytes(data)
    assert recognised(data, len(data)) == read_recording(path).format == "own"


@pytest.mark.parametrize(
    ("name", "size", "first_us", "words"),
    [
        ("a.bin", SensorSize(300, 34), 0, "256x240"),
        ("a.bin", SensorSize(34, 34), 1 << 23, "8.4 s"),
        ("a.aedat2", SensorSize(640, 480), 0, "AEDAT 2 holds only"),
        ("a.aedat3", SensorSize(7, 7), 0, "none there has 7x7 pixels"),
        ("a.xyz", SensorSize(7, 7), 0, "cannot tell a format"),
        ("a.dat", SensorSize(7, 7), -5, "below zero"),
        ("none/a.dat", SensorSize(7, 7), 0, "no such file"),
    ],
)
def test_what_cannot_be_written_says_why(
    name: str, size: SensorSize, first_us: int, words: str, tmp_path: Path
) -> None:
    with pytest.raises(RecordingError, match=words):
        write_recording(tmp_path / name, random_events(10, size, first_us=first_us, span_us=3), size)
    with pytest.raises(RecordingError, match="there are no events"):
        write_recording(tmp_path / "a.dat", random_events(10, size)[:0], size)


@pytest.mark.parametrize("name", ["evt2", "evt21", "evt3"])
@pytest.mark.parametrize("gap", [9_000_000, 20_000_000, 5_000_000_000, 200_000_000_000])
def test_a_long_silence_is_kept(name: str, gap: int, tmp_path: Path) -> None:
    events = make_events([0, 5, gap, gap + 7, 3 * gap], [1, 2, 3, 4, 239], [1, 2, 3, 4, 179], [1, 0, 1, 0, 1])
    for cut in (1, 2, 3):
        write_recording(tmp_path / "a", [events[:cut], events[cut:]], DAVIS, name)
        assert np.array_equal(read_recording(tmp_path / "a").events, events)


@pytest.mark.parametrize(
    ("name", "gap", "words"),
    [
        ("dat", 1 << 31, "no events for 36 minutes"),
        ("evt3", 1 << 45, "gap of 407 days"),
        ("es", 8_000_000_000, "begin at 0"),
    ],
)
def test_a_silence_that_a_format_cannot_hold(name: str, gap: int, words: str, tmp_path: Path) -> None:
    if name == "es":
        pytest.importorskip("faery")
    with pytest.raises(RecordingError, match=words):
        write_recording(tmp_path / "a", make_events([0, gap], [1, 2], [1, 2], [1, 0]), DAVIS, name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "bits"), [("evt2", 34), ("evt21", 34), ("evt3", 24), ("dat", 32), ("npz", 64)])
def test_a_first_time_that_does_not_fit_is_told(name: str, bits: int, tmp_path: Path) -> None:
    told: list[str] = []
    first = 1_589_163_147_368_868
    events = random_events(100, DAVIS, first_us=first)
    write_recording(tmp_path / "a", events, DAVIS, name, warn=told.append)
    read = read_recording(tmp_path / "a").events
    assert np.array_equal(read["t"] - read["t"][0], events["t"] - events["t"][0])
    if bits < 64:
        assert f"not at {int(events['t'][0]):,} us" in told.pop()
        assert read["t"][0] == events["t"][0] % (1 << bits)
    assert not told


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faery", None)
    path = tmp_path / "a.es"
    path.write_bytes(b"Event Stream\x02\x00\x00\x01")
    with pytest.raises(RecordingError, match=r"spikesight\[es\]"):
        read_recording(path)


def test_a_digest_is_of_the_length_and_the_first_mebibyte(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096 + b"the end"
    path = tmp_path / "a"
    path.write_bytes(data)
    assert digest(path) == digest(data)
    assert len(digest(data)) == 16
    others = [data[:-1], data + b".", data[: 1 << 20], b"x" + data[1:], data[: (1 << 20) - 1] + b"x" + data[1 << 20 :]]
    assert len({digest(one) for one in (data, *others)}) == 6
    assert digest(data[: 1 << 20] + b"another") == digest(data), "what lies behind is not read"
