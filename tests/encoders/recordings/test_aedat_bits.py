"""AEDAT 2 and 3.1 and N-MNIST, to the bit, and where each one's room ends: words by hand, no other reader asked."""

import struct
from pathlib import Path

import numpy as np
import pytest

from spikesight.encoders.events import EVENTS, SensorSize, make_events
from spikesight.encoders.kernels import LARGEST_PACKET
from spikesight.encoders.recordings import aedat, nmnist
from tests.support.inputs.samples import one, refused

DVS, DAVIS = SensorSize(128, 128), SensorSize(240, 180)
SHORT, LOST = "the last packet is cut short", "a packet header makes no sense; what follows it is lost"


# ------------------------------------------------------------------------------------------------------------- AEDAT 2


@pytest.mark.parametrize(
    ("size", "event", "address"),
    [
        (DVS, (7, 0, 0, 0), 127 << 8 | 127 << 1 | 1),
        (DVS, (7, 127, 126, 1), 1 << 8),
        (DVS, (0xFFFFFFFF, 64, 127, 0), 63 << 1 | 1),
        (DAVIS, (7, 239, 0, 1), 179 << 22 | 1 << 11),
        (DAVIS, (7, 0, 179, 0), 239 << 12),
        (SensorSize(346, 260), (7, 0, 0, 1), 259 << 22 | 345 << 12 | 1 << 11),
    ],
)
def test_words_of_aedat2(size: SensorSize, event: tuple[int, int, int, int], address: int) -> None:
    davis, events = size != DVS, one(*event)
    words = aedat.aedat2_words(events, size, davis=davis)
    assert words.tobytes() == struct.pack(">II", address, event[0])
    decode, out = aedat.Aedat2(size, davis, event[0] - 5), np.empty(3, EVENTS)
    assert decode(np.frombuffer(words.tobytes() * 2, np.uint8), out) == (2, 16)
    assert out[:2].tolist() == [*events.tolist()] * 2
    assert decode.last == event[0]


def test_aedat2_counts_on_where_its_clock_wraps() -> None:
    decode = aedat.Aedat2(DVS, davis=False)
    for t, expected in ((0xFFFFFFF0, 0xFFFFFFF0), (5, (1 << 32) + 5), (9, (1 << 32) + 9)):
        data = np.frombuffer(struct.pack(">II", 0, t), np.uint8)
        assert decode.events(data)["t"].tolist() == [expected]
    assert len(decode.events(np.empty(0, np.uint8))) == 0
    assert decode.last == (1 << 32) + 9


@pytest.mark.parametrize(
    ("davis", "address", "kept"),
    [
        (False, 1 << 15, 0), (False, 1 << 31, 0), (False, 1 << 14, 1), (True, 1 << 31, 0), (True, 1 << 10, 0),
        (True, 1 << 9, 1), (True, 1 << 30, 1), (True, 1 << 31 | 1 << 10, 0),
    ],
)  # fmt: skip
def test_addresses_that_are_no_events(davis: bool, address: int, kept: int) -> None:
    data = np.frombuffer(struct.pack(">IIII", address, 1, 0, 2), np.uint8)
    assert len(aedat.Aedat2(DAVIS if davis else DVS, davis).events(data)) == kept + 1


def test_cameras_are_told_by_their_addresses(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for address, size in [
        ((1 << 15) - 1, DVS), (1 << 15, DAVIS), (1 << 22 | 239 << 12, DAVIS),
        (1 << 22 | 240 << 12, SensorSize(346, 260)), (1 << 31 | 240 << 12, DAVIS),
    ]:  # fmt: skip
        path.write_bytes(b"#!AER-DAT2.0\r\n" + struct.pack(">II", address, 1) * 2)
        assert aedat.open_aedat2(path).size == size
    path.write_bytes(b"#!AER-DAT2.0\r\n" + struct.pack(">II", 0, 1) * 4095 + struct.pack(">II", 1 << 15, 1))
    assert aedat.open_aedat2(path).size == DAVIS
    path.write_bytes(b"#!AER-DAT2.0\r\n" + struct.pack(">II", 0, 1) * 4096 + struct.pack(">II", 1 << 15, 1))
    assert aedat.open_aedat2(path).size == DVS, "the first ones are asked"


@pytest.mark.parametrize(
    ("size", "name"),
    [
        (DVS, "DVS128"), (SensorSize(1, 1), "DVS128"), (DAVIS, "Davis240C"), (SensorSize(346, 260), "Davis346B"),
        (SensorSize(129, 1), None), (SensorSize(1, 129), None), (SensorSize(240, 181), None),
    ],
)  # fmt: skip
def test_sensors_of_aedat2(size: SensorSize, name: str | None, tmp_path: Path) -> None:
    if name is None:
        assert refused(aedat.write_aedat2, tmp_path / "a", [one(1, 0, 0, 1)], size)
    else:
        aedat.write_aedat2(tmp_path / "a", [one(1, 0, 0, 1)] * 2, size)
        assert f"{name}\r\n# End of ASCII Header\r\n".encode() in (tmp_path / "a").read_bytes()
        assert sum(map(len, aedat.open_aedat2(tmp_path / "a").chunks)) == 2


# ------------------------------------------------------------------------------------------------------------- AEDAT 3


def packet(number: int, size: int = 8, overflows: int = 0, kind: int = 1, given: int | None = None) -> bytes:
    header = aedat.PACKET_HEADER.pack(kind, 0, size, 4, overflows, number, number, number)
    return header + bytes(size * max(number, 0) if given is None else given)


GOOD = aedat.PACKET_HEADER.pack(1, 0, 8, 4, 1, 2, 2, 2) + struct.pack("<4I", 9 << 17 | 5 << 2 | 3, 7, 1, 0x7FFFFFFF)


@pytest.mark.parametrize(
    ("data", "n", "note"),
    [
        (b"", 2, None),
        (packet(0), 2, None),
        (packet(1), 2, None),  # it is not valid
        (packet(3, kind=2), 2, None),
        (packet(0, overflows=(1 << 30) - 1), 2, None),
        (packet(0, overflows=1 << 30), 0, LOST),
        (packet(0, overflows=-1), 0, LOST),
        (packet(0, size=7), 0, LOST),
        (packet(-1), 0, LOST),
        (packet(LARGEST_PACKET // 8 + 1, kind=2, given=0), 0, LOST),
        (packet(1)[:27], 0, SHORT),
        (GOOD[:-1], 1, SHORT),
        (packet(2, given=8), 0, SHORT),
    ],
)
def test_packets_of_aedat3(data: bytes, n: int, note: str | None, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"#!AER-DAT3.1\r\n#!END-HEADER\r\n" + data + (GOOD if note is None else b""))
    opened = aedat.open_aedat3(path)
    events = np.concatenate([np.empty(0, EVENTS), *opened.chunks])
    assert events.tolist() == [((1 << 31) + 7, 9, 5, True), ((1 << 32) - 1, 0, 0, False)][:n]
    assert opened.notes == ([] if note is None else [note])


def test_a_foreign_packet_may_be_of_the_largest_size(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"#!AER-DAT3.1\r\n#!END-HEADER\r\n" + packet(LARGEST_PACKET // 8, kind=2, given=0))
    opened = aedat.open_aedat3(path)
    assert (sum(map(len, opened.chunks)), opened.notes) == (0, [])


def test_packets_of_aedat3_end_at_4096_events_and_where_the_clock_overflows() -> None:
    t = np.concatenate([np.arange(4100), (1 << 31) + np.arange(3)])
    events = make_events(t, t % 7, t % 5, t % 2)
    made = list(aedat.aedat3_packets(events))
    heads = [aedat.PACKET_HEADER.unpack_from(part) for part in made]
    assert heads == [(1, 0, 8, 4, overflow, n, n, n) for overflow, n in ((0, 4096), (0, 4), (1, 3))]
    last = events[-1]
    word = int(last["x"]) << 17 | int(last["y"]) << 2 | int(last["p"]) << 1 | 1
    assert made[-1][-8:] == struct.pack("<II", word, 2)
    assert [len(part) for part in aedat.aedat3_packets(events[:8])] == [28 + 64]


# ------------------------------------------------------------------------------------------------------------- N-MNIST


def test_records_of_nmnist() -> None:
    assert nmnist.nmnist_records(one((1 << 23) - 1, 255, 239, 1)).tolist() == [[255, 239, 0xFF, 0xFF, 0xFF]]
    assert nmnist.nmnist_records(one(0x010203, 3, 4, 0)).tolist() == [[3, 4, 1, 2, 3]]
    assert refused(nmnist.nmnist_records, one(1 << 23, 0, 0, 1))
    assert len(nmnist.nmnist_records(one(0, 0, 0, 0)[:0])) == 0


@pytest.mark.parametrize(("width", "height", "good"), [(256, 240, True), (257, 240, False), (256, 241, False)])
def test_sensors_of_nmnist(width: int, height: int, good: bool, tmp_path: Path) -> None:
    given = tmp_path / "a", [one(0, 0, 0, 1)], SensorSize(width, height)
    assert refused(nmnist.write_nmnist, *given) != good


def test_marks_of_nmnist_move_the_clock_on() -> None:
    decode, mark = nmnist.Nmnist(), [0, 240, 0, 0, 0]
    rows = [[1, 2, 0x80, 0, 3], mark, [4, 239, 0x01, 2, 3], mark, mark, [5, 6, 0, 0, 7]]
    events = decode.events(np.array(rows, np.uint8).ravel())
    assert events.tolist() == [(3, 1, 2, True), (0x010203 + 8192, 4, 239, False), (7 + 3 * 8192, 5, 6, False)]
    assert decode.events(np.array(rows[:1], np.uint8).ravel())["t"].tolist() == [3 + 3 * 8192]
    for last, ahead in (([mark, rows[0]], 4), ([rows[0], mark], 4), (rows[:1], 5)):
        assert decode.events(np.array(last, np.uint8).ravel())["t"].tolist() == [3 + ahead * 8192]


def times(*t: int) -> bytes:
    return b"".join(bytes([n % 200, 250, *at.to_bytes(3, "big")]) for n, at in enumerate(t))


@pytest.mark.parametrize(
    ("head", "size", "good"),
    [
        (times(1), 5, True),
        (times(1), 10, True),
        (times(1) + b"\x01", 6, False),
        (times(1)[:4], 5, False),
        (times(1)[:4], 4, False),
        (bytes(5), 5, False),
        (bytes(10), 10, False),
        (times(1) * 2, 10, False),
        (times(1, 2), 10, True),
        (times(1, 2) + b"\x00", 11, True),
        (times(2, 1), 10, False),
        (times(*range(50), *range(51)), 505, False),
        (times(*range(50), *range(52)), 510, True),
        (b"\t\n\r ~abcdefghij", 15, False),
        (b"\t\n\r ~abcde\x7f\x00\x00\x01\x01", 15, False),
    ],
)
def test_what_looks_like_nmnist(head: bytes, size: int, good: bool) -> None:
    assert nmnist.looks_like_nmnist(head, size) == good
    assert nmnist.looks_like_nmnist(bytes([31, 0, 0, 0, 65]), 5)
    assert nmnist.TEXT[:4] + nmnist.TEXT[-1:] == b"\t\n\r ~"
