"""EVT 2.0, 2.1 and 3.0, DAT and Event Stream, to the bit: words by hand, and what tells one from another."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spikesight.encoders.events import EVENTS, SensorSize, make_events
from spikesight.encoders.recordings import event_stream, prophesee, prophesee_writer
from spikesight.encoders.recordings.format import RecordingError
from tests.support.inputs.samples import DAVIS, one, refused


def test_words_of_prophesee() -> None:
    events = make_events(
        [(5 << 12) + 67, (5 << 12) + 67, (5 << 12) + 68, (6 << 12) + 3], [9, 40, 1, 2], [7, 7, 7, 8], [1, 0, 1, 0]
    )
    high, last = (5 << 6) + 1, 6 << 6
    halves = [8 << 28 | high, 1 << 28 | 3 << 22 | 9 << 11 | 7, 3 << 22 | 40 << 11 | 7, 1 << 28 | 4 << 22 | 1 << 11 | 7]
    halves += [8 << 28 | last, 3 << 22 | 2 << 11 | 8]
    assert prophesee_writer.evt2_words(events).tolist() == halves
    pixels = [0, 1 << 9, 1 << 8, 1 << 1, 0, 1 << 2]
    bases = [halves[0], *(half & ~(31 << 11) for half in halves[1:4]), halves[4], halves[5] & ~(31 << 11)]
    assert prophesee_writer.evt21_words(events).tolist() == [p << 32 | b for p, b in zip(pixels, bases)]
    assert prophesee_writer.evt3_words(events).tolist() == [
        0x8005, 0x6043, 0x0007, 0x2809, 0x2028, 0x6044, 0x2801, 0x8006, 0x6003, 0x0008, 0x2002,
    ]  # fmt: skip
    assert prophesee_writer.dat_words(events[:2] ).tolist() == [
        [(5 << 12) + 67, 1 << 28 | 7 << 14 | 9], [(5 << 12) + 67, 7 << 14 | 40],
    ]  # fmt: skip
    assert prophesee_writer.dat_words(one((3 << 32) + 1, 0, 0, 1)).tolist() == [[1, 1 << 28]]
    far = one((1 << 34) + (1 << 12), 1, 2, 0)
    assert prophesee_writer.evt2_words(far)[0] == 8 << 28 | 1 << 6
    assert prophesee_writer.evt21_words(far)[0] == 8 << 28 | 1 << 6
    assert prophesee_writer.evt3_words(far)[0] == 0x8001


@pytest.mark.parametrize(
    ("write", "bits", "kind", "ends"),
    [
        (prophesee_writer.write_evt2, 34, "<u4", [0x8FFFFFFF, 0x80000000]),
        (prophesee_writer.write_evt21, 34, "<u8", [0x8FFFFFFF, 0x80000000]),
        (prophesee_writer.write_evt3, 24, "<u2", [0x8FFF, 0x8000]),
    ],
)
def test_a_silence_shows_each_wrap_of_its_clock(
    write: Callable[..., None], bits: int, kind: str, ends: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prophesee_writer, "MOST_WRAPS", 3)
    path, span = tmp_path / "a", 1 << bits

    def words(*t: int) -> list[int]:
        write(path, [make_events(t, [1] * len(t), [1] * len(t), [1] * len(t))], DAVIS)
        return np.frombuffer(path.read_bytes().partition(b"% end\n")[2], kind).tolist()

    assert words(span - 1, span + 9) == words(span - 1) + ends + words(9)
    assert words(5, 3 * span + 9) == words(5) + ends * 3 + words(9)
    assert words(7 * span + 5, 10 * span + 9) == words(5) + ends * 3 + words(9)
    with pytest.raises(RecordingError, match="days"):
        words(5, 4 * span)


def test_dat_holds_silences_of_less_than_half_its_clock(tmp_path: Path) -> None:
    longest = (1 << 31) - 1
    for gap, good in ((longest, True), (longest + 1, False)):
        for parts in ([make_events([7, 7 + gap], [1, 1], [1, 1], [1, 1])], [one(7, 1, 1, 1), one(7 + gap, 1, 1, 1)]):
            assert refused(prophesee_writer.write_dat, tmp_path / "a", parts, DAVIS) != good
    assert not refused(prophesee_writer.write_dat, tmp_path / "a", [one(1 << 40, 1, 1, 1)], DAVIS), "the first is free"
    head = b"% Data file containing CD events.\n% Version 2\n% Height 180\n% Width 240\n\x0c\x08"
    assert (tmp_path / "a").read_bytes() == head + struct.pack("<II", 0, 1 << 28 | 1 << 14 | 1)


def test_records_of_dat() -> None:
    out = np.empty(3, EVENTS)
    records = struct.pack("<4I", 5, 1 << 28 | 9 << 14 | 300, 6, 0x3FFF << 14 | 0x3FFF)
    for data, n in ((records, 2), (records * 2, 2)):
        assert prophesee.Dat()(np.frombuffer(data, np.uint8), out) == (n, 16)
    assert out[0].item() == (5, 300, 9, True)
    first = prophesee.Dat(first_version=True)
    assert first(np.frombuffer(struct.pack("<II", 5, 1 << 17 | 0xFF << 9 | 0x1FF), np.uint8), out) == (1, 8)
    assert out[0].item() == (5, 511, 255, True)
    assert first(np.frombuffer(struct.pack("<II", 6, 1 << 18 | 1 << 9 | 2), np.uint8), out) == (1, 8)
    assert out[0].item() == (6, 2, 1, False)


def time_words(kind: str, *steps: int, others: int = 0) -> bytes:
    base, bits = (8 << 12, 12) if kind == "<u2" else (8 << 28, 28)
    words = [base | int(t) % (1 << bits) for t in np.cumsum([0x120, *steps])]
    return np.array(words + [0] * others, kind).tobytes()


STEP = 1 << 14


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (time_words("<u4", STEP), "evt2"),
        (time_words("<u4", STEP + 1), "evt3"),
        (time_words("<u4", -5), "evt3"),
        (time_words("<u4"), None),
        (time_words("<u4", *[1] * 19, 1 << 20), None),
        (time_words("<u4", *[1] * 20, 1 << 20), "evt2"),
        (time_words("<u4", 1, others=3997), "evt2"),
        (time_words("<u4", 1, others=3998), None),
        (time_words("<u4", 1) + b"abc", "evt2"),
        (time_words("<u2", 1), "evt3"),
        (time_words("<u2", 0, 1, 1), "evt3"),
        (time_words("<u2", 2), None),
        (time_words("<u2", 0xFFF), None),
        (time_words("<u2", *[1] * 0xEE1), "evt3"),
        (b"", None),
    ],
)
def test_an_encoding_that_nobody_names_is_told_by_its_time_words(data: bytes, name: str | None) -> None:
    assert prophesee._told_by_words(data) == name


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("% geometry 640x480", (640, 480)),
        ("% geometry 2048x2048", (2048, 2048)),
        ("% geometry 2049x2", None),
        ("% geometry 2x0", None),
        ("% geometry 1x1\n% width 5\n% height 6", (1, 1)),
        ("% width 5\n% height 6", (5, 6)),
        ("% format evt3;height=6;width=5", (5, 6)),
        ("% width 5", None),
        ("% width 5\n% plugin gen41", (1280, 720)),
        ("% system gen31", (640, 480)),
        ("% plugin genx320", (320, 320)),
        ("% plugin imx646", (1280, 720)),
        ("% nothing", None),
    ],
)
def test_the_sensor_of_a_header(header: str, size: tuple[int, int] | None) -> None:
    assert prophesee._geometry(header) == (size and SensorSize(*size))


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"% evt 2.0\n", "evt2"), (b"% evt 2.1\n", "evt21"), (b"% evt 3.0\n", "evt3"),
        (b"% format EVT21;a=b\n", "evt21"),
        (b"% format EVT3;height=1\n", "evt3"), (b"% date\n\x00\x08", "dat"), (b"% date\n\x00\x07", None),
        (b"% date\n\x00", None), (b"% version 2\n", "dat"), (b"% evt 4\n\x00\x01", None),
    ],
)  # fmt: skip
def test_a_file_is_told_by_its_header(head: bytes, name: str | None) -> None:
    assert prophesee.file_format(head) == name


@pytest.mark.parametrize(
    ("header", "word", "size", "t", "x"),
    [
        (b"", (1 << 18) - 1, (304, 240), 9, 511),
        (b"", 1 << 18, None, 9, 0),
        (b"% version 1\n", 1 << 18 | 3, (304, 240), 9, 3),
        (b"% version 2\n", 515, None, 9, 515),
        (b"% version 2\n% t0 1000\n", 515, None, 1009, 515),
        (b"% version 2\n% t0 1000000000000000\n", 515, None, 9, 515),
    ],
)
def test_versions_of_dat(
    header: bytes, word: int, size: tuple[int, int] | None, t: int, x: int, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"% date\n" + header + b"\x00\x08" + struct.pack("<II", 9, word))
    opened = prophesee.open_dat(tmp_path / "a")
    events = np.concatenate(list(opened.chunks))
    assert (opened.size, events["t"].tolist(), events["x"].tolist()) == (size and SensorSize(*size), [t], [x])
    assert len(opened.notes) == (header == b"")


# --------------------------------------------------------------------------------------------------------- Event Stream


def test_event_streams_are_of_two_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faery")
    monkeypatch.setattr(event_stream, "ES_LATEST_US", 50)
    for t, good in ((50, True), (51, False)):
        assert refused(event_stream.write_es, tmp_path / "a.es", [one(3, 1, 1, 1), one(t, 5, 2, 0)], DAVIS) != good
    opened = event_stream.open_es(tmp_path / "a.es")
    assert (opened.size, np.concatenate(list(opened.chunks)).tolist()) == (DAVIS, [(3, 1, 1, True), (50, 5, 2, False)])
