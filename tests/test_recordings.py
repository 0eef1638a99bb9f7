"""recordings: every format read, written, detected, damaged; foreign readers as oracles."""

import struct
from collections.abc import Callable
from pathlib import Path

import eventcv
import numpy as np
import pytest
import tonic.io
from numpy.typing import NDArray

from encoders import aedat4, formats, inivation, prophesee, tables
from encoders.events import EVENTS, Events, SensorSize, check_events, make_events
from encoders.recordings import (
    FORMATS,
    RecordingError,
    detect_format,
    packets,
    read_recording,
    read_recording_bytes,
    sensor_of,
    write_recording,
)

DAVIS = SensorSize(240, 180)
SIZES = {"nmnist": SensorSize(34, 34), "csv": DAVIS}


def random_events(n: int, size: SensorSize, span_us: int = 400_000, seed: int = 0, first_us: int = 0) -> Events:
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, span_us, n)) + first_us
    events = make_events(t, rng.integers(0, size.width, n), rng.integers(0, size.height, n), rng.integers(0, 2, n))
    events["x"][-1], events["y"][-1] = size.width - 1, size.height - 1  # formats without a header show the size
    return events


def written(folder: Path, name: str, n: int = 3000, **options: int) -> tuple[Path, Events, SensorSize]:
    size = SIZES.get(name, DAVIS)
    events = random_events(n, size, **options)
    path = folder / f"recording{FORMATS[name].suffixes[0]}"
    write_recording(path, events, size, name)
    return path, events, size


def from_eventcv(path: Path) -> Events:
    table = eventcv.load(str(path), time_unit="us").numpy()
    return make_events(table[:, 2].astype(np.int64), table[:, 0], table[:, 1], table[:, 3])


@pytest.fixture(params=["numba", "numpy"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "numpy":
        monkeypatch.setattr(prophesee, "kernels", lambda: None)
        monkeypatch.setattr(aedat4, "kernels", lambda: None)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("name", list(FORMATS))
def test_what_is_written_is_read_back(name: str, tmp_path: Path) -> None:
    if name == "es":
        pytest.importorskip("faery")
    path, events, size = written(tmp_path, name)
    assert detect_format(path) == name
    recording = read_recording(path)
    assert np.array_equal(recording.events, events)
    assert (recording.size, recording.format, recording.warnings) == (size, name, ())
    assert sensor_of(path) == size


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("nmnist",)])
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


def test_expelliarmus_reads_our_evt2(tmp_path: Path) -> None:
    expelliarmus = pytest.importorskip("expelliarmus")
    path, events, _ = written(tmp_path, "evt2")
    theirs = expelliarmus.Wizard(encoding="evt2").read(str(path))
    assert all(np.array_equal(events[name], theirs[name]) for name in "txyp")


def test_evutils_reads_our_evt21(tmp_path: Path) -> None:
    reader = pytest.importorskip("evutils.io").EventReader
    path, events, _ = written(tmp_path, "evt21")
    with reader(str(path.rename(path.with_suffix(".raw")))) as chunks:
        theirs = [{name: np.array(chunk[name]) for name in "txyp"} for chunk in chunks]
    assert all(np.array_equal(events[name], np.concatenate([part[name] for part in theirs])) for name in "txyp")


def test_tonic_reads_our_aedat3(tmp_path: Path) -> None:
    path, events, _ = written(tmp_path, "aedat3")
    version, start, *_ = tonic.io.read_aedat_header_from_file(str(path))
    theirs = tonic.io.get_aer_events_from_file(str(path), version, start)
    address = theirs["address"]
    assert np.array_equal(theirs["timeStamp"], events["t"])
    assert np.array_equal(address >> 17, events["x"])
    assert np.array_equal(address >> 2 & 0x7FFF, events["y"])
    assert np.array_equal(address >> 1 & 1, events["p"])


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


def test_evt3_times_agree_with_evt3(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    evt3 = pytest.importorskip("evt3")
    path, _, _ = written(tmp_path, "evt3")
    for file in (shared_data("recordings/evt3.raw"), path):
        theirs, ours = evt3.decode_file(str(file)), read_recording(file)
        assert ours.warnings == ()
        for name, column in (("t", "timestamp"), ("x", "x"), ("y", "y"), ("p", "polarity")):
            assert np.array_equal(ours.events[name], np.asarray(getattr(theirs, column))), name


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


def test_evt3_and_dat_of_one_camera_agree(shared_data: Callable[[str], Path]) -> None:
    first = read_recording(shared_data("recordings/evt3.raw")).events
    second = read_recording(shared_data("recordings/gen4.dat")).events
    assert all(np.array_equal(first[name], second[name]) for name in "xyp")


def test_nmnist_agrees_with_tonic(shared_data: Callable[[str], Path]) -> None:
    kind = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
    for path in sorted(shared_data("nmnist/Test").glob("*/*.bin"))[::10]:
        theirs, ours = tonic.io.read_mnist_file(str(path), dtype=kind), read_recording(path)
        assert ours.size == SensorSize(34, 34)
        assert all(np.array_equal(ours.events[name], theirs[name]) for name in "txyp")


def test_davis_aedat2_agrees_with_tonic(tmp_path: Path) -> None:
    size = SensorSize(346, 260)
    path = tmp_path / "davis.aedat"
    events = random_events(500, size)
    write_recording(path, events, size, "aedat2")
    data = path.read_bytes()
    first, rest = data.split(b"\r\n", 1)
    path.write_bytes(first + b"\r\n# Creation time: 1 2 3\r\n" + rest)
    recording = read_recording(path)
    (width, height), _, theirs = tonic.io.read_davis_346(str(path))
    assert (width, height) == (size.width, size.height)
    assert np.array_equal(recording.events, events)
    assert all(np.array_equal(events[name], theirs[name]) for name in "txyp")


def test_aedat2_without_a_camera_name_goes_by_the_addresses(tmp_path: Path) -> None:
    for size in (SensorSize(128, 128), SensorSize(240, 180), SensorSize(346, 260)):
        events = random_events(2000, size)
        path = tmp_path / "some.aedat"
        write_recording(path, events, size, "aedat2")
        lines = [line for line in path.read_bytes().split(b"\r\n", 3) if not line.startswith(b"# AEChip")]
        path.write_bytes(b"\r\n".join(lines))
        recording = read_recording(path)
        assert recording.size == size
        assert np.array_equal(recording.events, events)
        assert "names no camera" in recording.warnings[0]


def test_aedat2_leaves_out_frames_and_signals(tmp_path: Path) -> None:
    path, events, _ = written(tmp_path, "aedat2", n=50)
    extra = struct.pack(">II", 1 << 31 | 5, 7) + struct.pack(">II", 1 << 10, 8)
    path.write_bytes(path.read_bytes() + extra)
    assert np.array_equal(read_recording(path).events, events)


def test_aedat3_passes_over_other_packets_and_counts_overflows(tmp_path: Path) -> None:
    path, events, _ = written(tmp_path, "aedat3", first_us=(1 << 31) - 1000, span_us=10_000)
    data = path.read_bytes()
    start = data.index(b"#!END-HEADER\r\n") + 14
    foreign = inivation.PACKET_HEADER.pack(2, 0, 36, 4, 0, 2, 2, 2) + bytes(72)
    path.write_bytes(data[:start] + foreign + data[start:])
    assert np.array_equal(read_recording(path).events, events)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(("name", "bits"), [("evt2", 34), ("evt3", 24), ("dat", 32)])
def test_clocks_that_wrap_are_unwrapped(name: str, bits: int, tmp_path: Path) -> None:
    path, events, _ = written(tmp_path, name, first_us=(1 << bits) - 200_000)
    read = read_recording(path)
    assert read.warnings == ()
    assert np.array_equal(read.events["t"] - read.events["t"][0], events["t"] - events["t"][0])


def vector_words() -> tuple[NDArray[np.uint16], list[tuple[int, int, int, bool]]]:
    """EVT3 by hand: row 5, base column 100 ON, vectors of 12, 12 and 8 columns, then a single event and a new row."""
    words = [0x8001, 0x6002, 0x0005, 0x3000 | 0x800 | 100, 0x4000 | 0b1001, 0x4000 | 0x800, 0x5000 | 0x81]
    words += [0x2000 | 7, 0x0006, 0x6003, 0x3000 | 40, 0x5000 | 1]
    t = 0x1002
    expected = [(t, 100, 5, True), (t, 103, 5, True), (t, 123, 5, True), (t, 124, 5, True), (t, 131, 5, True)]
    expected += [(t, 7, 5, False), (t + 1, 40, 6, False)]
    return np.array(words, "<u2"), expected


def decoded(decode: formats.Decode, data: NDArray[np.uint8], room: int = 64) -> Events:
    """All events of whole records, through arrays for `room` events each."""
    parts = [np.empty(0, EVENTS)]
    while len(data):
        out = np.empty(room, EVENTS)
        n, used = decode(data, out)
        parts.append(out[:n])
        data = data[used:]
    return np.concatenate(parts)


@pytest.mark.usefixtures("engine")
def test_evt3_vectors() -> None:
    words, expected = vector_words()
    for cut in range(len(words) + 1):
        decode = prophesee.Evt3()
        parts = [decoded(decode, words[:cut].view(np.uint8)), decoded(decode, words[cut:].view(np.uint8))]
        assert np.concatenate(parts).tolist() == expected


@pytest.mark.parametrize(
    ("decoder", "record"), [(prophesee.Evt2, 4), (prophesee.Evt21, 8), (prophesee.Evt3, 2), (prophesee.Dat, 8)]
)
def test_numba_and_numpy_decode_noise_alike(decoder: type, record: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    for _ in range(25):
        data = rng.integers(0, 256, record * int(rng.integers(0, 2000))).astype(np.uint8)
        cut = len(data) // 2 // record * record
        monkeypatch.undo()
        one = decoder()
        compiled = np.concatenate([decoded(one, data[:cut]), decoded(one, data[cut:])])
        whole = decoded(decoder(), data, 100_000)
        monkeypatch.setattr(prophesee, "kernels", lambda: None)
        two = decoder()
        plain = np.concatenate([decoded(two, data[:cut]), decoded(two, data[cut:])])
        assert np.array_equal(compiled, plain)
        assert np.array_equal(compiled, whole)


def test_evt21_with_halves_in_order(tmp_path: Path) -> None:
    path, events, _ = written(tmp_path, "evt21", n=300)
    header, _, body = path.read_bytes().partition(b"% end\n")
    words = np.frombuffer(body, "<u4").reshape(-1, 2)[:, ::-1]
    path.write_bytes(header.replace(b"endianness=legacy;", b"") + b"% end\n" + words.tobytes())
    assert np.array_equal(read_recording(path).events, events)


def test_header_without_geometry(tmp_path: Path) -> None:
    path, events, _ = written(tmp_path, "evt2")
    body = path.read_bytes().partition(b"% end\n")[2]
    for line, size in ((b"% plugin_name hal_plugin_imx636_evk4\n", SensorSize(1280, 720)), (b"", DAVIS)):
        path.write_bytes(b"% evt 2.0\n" + line + body)
        recording = read_recording(path)
        assert recording.size == size
        assert len(recording.events) == len(events)


@pytest.mark.parametrize("name", list(FORMATS))
def test_packets_are_the_recording_in_pieces(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "es":
        pytest.importorskip("faery")
    path, events, _ = written(tmp_path, name)
    for module, constant in ((formats, "CHUNK_BYTES"), (formats, "WHOLE_BYTES"), (tables, "ROWS")):
        monkeypatch.setattr(module, constant, 1000)
    parts = list(packets(path, 7_000))
    assert np.array_equal(np.concatenate(parts), events)
    numbers = [(int(part["t"][0]) - int(events["t"][0])) // 7_000 for part in parts]
    assert numbers == sorted(set(numbers))
    assert all((part["t"][-1] - events["t"][0]) // 7_000 == number for part, number in zip(parts, numbers))


def test_a_long_file_does_not_sit_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    monkeypatch.setattr(formats, "WHOLE_BYTES", 1 << 20)  # or this one would not be long

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


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("csv", "es")])
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
        (b"t,x,y,p\n", "no events"),
        (b"t,x,y,p\n1,2,3\n", "no events|not 4 numbers|no row"),
        (b"t,x,y,p\n1,2,3,x\n", "no row of numbers"),
        (b"% evt 3.0\n% geometry 1280x720\n", "no events"),
        (b"% Version 2\n\x0c\x07abc", "no 8-byte events"),
        (b"#!AER-DAT4.0\r\n\xff\xff\xff\x7f", "header makes no sense"),
        (b"#!AER-DAT4.0\r\n\x00", "ends inside its header"),
        (b"PK\x03\x04 and no more", "no whole npz file"),
        (b"\x89HDF\r\n\x1a\n and no more", "no whole HDF5 file"),
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
    for text, expected in texts.items():
        path.write_text(text)
        assert read_recording(path).events.tolist() == expected


def test_uploads(tmp_path: Path) -> None:
    path, events, _ = written(tmp_path, "evt3", n=100)
    assert np.array_equal(read_recording_bytes(path.read_bytes(), "x.raw").events, events)
    with pytest.raises(RecordingError, match=r"cat\.raw") as caught:
        read_recording_bytes(b"nonsense", "../../cat.raw")
    assert "upload" not in str(caught.value)
    with pytest.raises(RecordingError, match="empty"):
        read_recording_bytes(b"", "")


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
