"""EVT2, EVT2.1, EVT3 and DAT: decoded to the bit, against vectors by hand and foreign readers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spikesight.encoders import kernels
from spikesight.encoders.events import EVENTS, Events, SensorSize, make_events
from spikesight.encoders.recordings import format, prophesee
from spikesight.encoders.recordings.files import read_recording, write_recording
from spikesight.encoders.recordings.format import RecordingError
from tests.support.inputs.samples import DAVIS, written


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


def test_evt3_times_agree_with_evt3(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    evt3 = pytest.importorskip("evt3")
    path, _, _ = written(tmp_path, "evt3")
    for file in (shared_data("recordings/evt3.raw"), path):
        theirs, ours = evt3.decode_file(str(file)), read_recording(file)
        assert ours.warnings == ()
        for name, column in (("t", "timestamp"), ("x", "x"), ("y", "y"), ("p", "polarity")):
            assert np.array_equal(ours.events[name], np.asarray(getattr(theirs, column))), name


def test_evt3_and_dat_of_one_camera_agree(shared_data: Callable[[str], Path]) -> None:
    first = read_recording(shared_data("recordings/evt3.raw")).events
    second = read_recording(shared_data("recordings/gen4.dat")).events
    assert all(np.array_equal(first[name], second[name]) for name in "xyp")


def vector_words() -> tuple[NDArray[np.uint16], list[tuple[int, int, int, bool]]]:
    """EVT3 by hand: row 5, base column 100 ON, vectors of 12, 12 and 8 columns, then a single event and a new row."""
    words = [0x8001, 0x6002, 0x0005, 0x3000 | 0x800 | 100, 0x4000 | 0b1001, 0x4000 | 0x800, 0x5000 | 0x81]
    words += [0x2000 | 7, 0x0006, 0x6003, 0x3000 | 40, 0x5000 | 1]
    t = 0x1002
    expected = [(t, 100, 5, True), (t, 103, 5, True), (t, 123, 5, True), (t, 124, 5, True), (t, 131, 5, True)]
    expected += [(t, 7, 5, False), (t + 1, 40, 6, False)]
    return np.array(words, "<u2"), expected


def decoded(decode: format.Decode, data: NDArray[np.uint8], room: int = 64) -> Events:
    """All events of whole records, through arrays for `room` events each."""
    parts = [np.empty(0, EVENTS)]
    while len(data):
        out = np.empty(room, EVENTS)
        n, used = decode(data, out)
        parts.append(out[:n])
        data = data[used:]
    return np.concatenate(parts)


def test_evt3_vectors() -> None:
    words, expected = vector_words()
    for cut in range(len(words) + 1):
        decode = prophesee.Evt3()
        parts = [decoded(decode, words[:cut].view(np.uint8)), decoded(decode, words[cut:].view(np.uint8))]
        assert np.concatenate(parts).tolist() == expected


@pytest.mark.parametrize(
    ("decoder", "record"), [(prophesee.Evt2, 4), (prophesee.Evt21, 8), (prophesee.Evt3, 2), (prophesee.Dat, 8)]
)
def test_noise_in_two_pieces_is_what_it_is_whole(decoder: type, record: int) -> None:
    rng = np.random.default_rng(1)
    for _ in range(25):
        data = rng.integers(0, 256, record * int(rng.integers(0, 2000))).astype(np.uint8)
        cut = len(data) // 2 // record * record
        one = decoder()
        pieces = np.concatenate([decoded(one, data[:cut]), decoded(one, data[cut:])])
        assert np.array_equal(pieces, decoded(decoder(), data, 100_000))


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


def by_hand(name: str, first: int) -> tuple[bytes, int]:
    """The words of one event at column 5 and row 7, ON, the lowest byte of its time word `first`; and its time."""
    if name == "evt3":
        return np.array([0x8300 | first, 0x600A, 0x0007, 0x2800 | 5], "<u2").tobytes(), (0x300 | first) << 12 | 10
    high = 0x0A2000 | first  # a blank and the end of a line
    words = [8 << 28 | high, 1 << 28 | 3 << 22 | 5 << 11 | 7]
    if name == "evt2":
        return np.array(words, "<u4").tobytes(), high << 6 | 3
    return np.array([words[0], 0, 1 << 28 | 3 << 22 | 7, 1 << 5], "<u4").tobytes(), high << 6 | 3


@pytest.mark.parametrize("end", [b"", b"% end\n"])
@pytest.mark.parametrize("name", ["evt2", "evt21", "evt3"])
def test_data_may_begin_with_any_byte(name: str, end: bytes, tmp_path: Path) -> None:
    header = {"evt2": b"% evt 2.0\n", "evt21": b"% evt 2.1\n% format EVT21;endianness=legacy\n", "evt3": b"% evt 3.0\n"}
    path = tmp_path / "a.raw"
    for first in range(256):
        data, t = by_hand(name, first)
        path.write_bytes(header[name] + b"% geometry 640x480\n" + end + data)
        recording = read_recording(path)
        assert recording.events.tolist() == [(t, 5, 7, True)], first
        assert (recording.size, recording.warnings) == (SensorSize(640, 480), ())


def test_an_end_line_ends_a_header_whatever_follows(tmp_path: Path) -> None:
    """What follows here would be a line of a header, too; an empty line before the end is none of its ends."""
    path = tmp_path / "a.raw"
    data = np.array([0x8000, 0x0007, 0x2805], "<u2").tobytes()
    path.write_bytes(b"% evt 3.0\n%\n% geometry 640x480\n% end\n" + b"% date 2024\n" + data)
    recording = read_recording(path)
    assert [event[1:] for event in recording.events.tolist()] == [(5, 7, True)]
    assert recording.size == SensorSize(640, 480)


@pytest.mark.parametrize("name", ["evt2", "evt21", "evt3"])
def test_our_files_may_begin_at_any_time(name: str, tmp_path: Path) -> None:
    step = 4096 if name == "evt3" else 64
    for first in range(256):
        events = make_events([first * step, first * step + 7], [1, 2], [3, 4], [0, 1])
        write_recording(tmp_path / "a", events, DAVIS, name)
        assert np.array_equal(read_recording(tmp_path / "a").events, events)


def test_dat_version_1(tmp_path: Path) -> None:
    """Of the ATIS: column in 9 bits, row in 8, polarity in bit 17."""
    rng = np.random.default_rng(0)
    t, x, y, p = np.arange(500) * 10, rng.integers(0, 304, 500), rng.integers(0, 240, 500), rng.integers(0, 2, 500)
    words = np.stack([t, x | y << 9 | p << 17], axis=1).astype("<u4").tobytes()
    path = tmp_path / "a.dat"
    header = b"% Data file containing TD events.\n"
    for version, notes in ((b"% Version 1\n", 0), (b"", 1)):
        path.write_bytes(header + version + b"\x00\x08" + words)
        recording = read_recording(path)
        assert np.array_equal(recording.events, make_events(t, x, y, p))
        assert recording.size == SensorSize(304, 240)
        assert len(recording.warnings) == notes


def test_a_header_that_names_no_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(b"% Date 2019-05-05\n% integrator_name Prophesee\n" + bytes(range(100, 200)))
    with pytest.raises(RecordingError, match=r"names no encoding: add the line '% evt 2\.0'"):
        read_recording(path)


def test_a_time_base_of_zero_is_one_and_nothing_counts_before_it() -> None:
    readers, out = kernels.compiled("readers"), np.zeros(64, EVENTS)
    on = 5 << 22 | 3 << 11 | 4
    words = np.array([1 << 28 | on, 8 << 28, 1 << 28 | on, 0 << 28 | on, 8 << 28 | 1, 1 << 28 | on], np.uint32)
    n, high = readers.evt2(words, -1, out.view(np.uint8))
    assert (n, high) == (3, 64)
    assert out[:3].tolist() == [(5, 3, 4, True), (5, 3, 4, False), (64 + 5, 3, 4, True)]
    wide = np.array([1 << 60 | on << 32 | 0b101, 8 << 60, 1 << 60 | on << 32 | 0b101], np.uint64)
    n, used, high = readers.evt21(wide, -1, out.view(np.uint8))
    assert (n, used, high) == (2, 3, 0)
    assert out[:2].tolist() == [(5, 3, 4, True), (5, 5, 4, True)]
