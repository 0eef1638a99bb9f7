"""AEDAT 4: packets of many streams, the compiled loops against the lz4 package, damage that reaches nothing else."""

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikesight.encoders.events import Events
from spikesight.encoders.kernels import aedat4 as loops
from spikesight.encoders.recordings import aedat4
from spikesight.encoders.recordings.aedat4 import AEDAT4_MARK, LZ4, NONE, header, packets_of
from spikesight.encoders.recordings.files import packets, read_recording
from spikesight.encoders.recordings.format import RecordingError
from tests.support.inputs.samples import DAVIS, random_events

lz4 = pytest.importorskip("lz4.frame")


def of_stream_0(*parts: Events) -> list[tuple[int, bytes]]:
    return [(0, packet) for part in parts for packet in packets_of(part)]


def written(folder: Path, given: Iterable[tuple[int, bytes]], compression: int = NONE) -> Path:
    """A file of these packets (number of their stream, bytes)."""
    body = b"".join(struct.pack("<ii", stream, len(data)) + data for stream, data in given)
    (folder / "a.aedat4").write_bytes(AEDAT4_MARK + header(DAVIS, compression) + body)
    return folder / "a.aedat4"


def test_packets_of_all_sizes_between_those_of_other_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aedat4, "READ_BYTES", 1000)
    events = random_events(3000, DAVIS)
    parts = of_stream_0(*(events[a:b] for a, b in ((0, 1), (1, 30), (30, 1500), (1500, 3000))))
    others = [(1, bytes(3)), (2, bytes(70_000)), (1, b""), (7, bytes(992))]
    path = written(tmp_path, [packet for pair in zip(others, parts) for packet in pair])
    recording = read_recording(path)
    assert np.array_equal(recording.events, events)
    assert recording.warnings == ()
    assert sum(map(len, packets(path))) == 3000


def test_of_several_streams_of_events_the_first_is_read_and_that_is_told(tmp_path: Path) -> None:
    first, second = random_events(50, DAVIS), random_events(20, DAVIS)
    path = written(tmp_path, [*of_stream_0(first), *((1, packet) for packet in packets_of(second))])
    filler = b'<attr key="source" type="string">spikesight</attr>'
    other = b'<node name="1"><a key="typeIdentifier">EVTS<'.ljust(len(filler))
    path.write_bytes(path.read_bytes().replace(filler, other))
    recording = read_recording(path)
    assert np.array_equal(recording.events, first)
    assert recording.warnings == ("it holds 2 streams of events; the first is read",)


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        (struct.pack("<ii", 0, 100) + bytes(99), "cut short"),
        (struct.pack("<ii", 5, 100) + bytes(99), "cut short"),
        (b"1234567", "cut short"),
        (struct.pack("<ii", 0, -1), "makes no sense"),
        (struct.pack("<ii", 0, 1 << 29), "makes no sense"),
        (struct.pack("<ii", 0, 40) + bytes(range(200, 240)), "1 damaged packets were left out"),
        (struct.pack("<ii", 0, 3) + bytes(3), "1 damaged packets were left out"),
    ],
)
def test_damage_at_the_end_is_told(tail: bytes, words: str, tmp_path: Path) -> None:
    events = random_events(50, DAVIS)
    path = written(tmp_path, of_stream_0(events))
    path.write_bytes(path.read_bytes() + tail)
    recording = read_recording(path)
    assert np.array_equal(recording.events, events)
    (warning,) = recording.warnings
    assert words in warning


def test_packets_end_where_the_table_of_them_begins(tmp_path: Path) -> None:
    events = random_events(60, DAVIS)
    given = of_stream_0(events[:50], events[50:])
    path = written(tmp_path, given)
    data = bytearray(path.read_bytes())
    table, begin = data.index(struct.pack("<q", -1)), len(AEDAT4_MARK + header(DAVIS, NONE))
    for place, n in ((len(data) - 8 - len(given[1][1]), 50), (begin, 0), (begin - 1, 60), (len(data) + 1, 60)):
        struct.pack_into("<q", data, table, place)
        path.write_bytes(data)
        assert sum(map(len, aedat4.open_aedat4(path).chunks)) == n


PACKET = next(packets_of(random_events(2, DAVIS)))
changes = st.lists(st.tuples(st.integers(0, 31), st.integers(0, 255)), max_size=2)


@given(changes=changes, end=st.integers(0, len(PACKET)))
def test_nothing_outside_a_packet_is_read(changes: list[tuple[int, int]], end: int) -> None:
    packet = bytearray(PACKET)
    for place, value in changes:
        packet[place] = value
    found = set()
    for fill in (0, 1, 255):
        around = np.full(end + 80, fill, np.uint8)
        around[40 : 40 + end] = packet[:end]
        found.add(loops.records(around, 40, 40 + end))
    assert len(found) == 1
    ((first, count),) = found
    assert count <= 0 or 40 <= first <= first + 16 * count <= 40 + end
    if not changes:
        assert (first, count) == ((72, 2) if end == len(PACKET) else (0, -1))


@pytest.mark.parametrize("place", [14, 18])
def test_a_packet_without_events_is_no_damage(place: int) -> None:
    """Its vtable is too short for the field of the records, or has no place for it."""
    packet = np.frombuffer(bytearray(PACKET), np.uint8)
    packet[place] &= 5 if place == 14 else 0
    assert loops.records(packet, 0, len(packet)) == (0, 0)


def some_bytes(rng: np.random.Generator) -> bytes:
    """What LZ4 makes much, something and nothing of: runs, repeats near and far, short ones in themselves, records."""
    parts: list[bytes] = []
    for _ in range(int(rng.integers(1, 12))):
        length, period = int(rng.choice([1, 7, 40, 300, 5000])), int(rng.integers(4, 18))
        parts += [
            bytes([int(rng.integers(0, 256))]) * length,
            rng.bytes(int(rng.integers(1, 20))) * (length // 10 + 1),
            (rng.bytes(period) * 6)[: period + 18] + rng.bytes(20),
            *packets_of(random_events(length // 16 + 1, DAVIS)),
            rng.bytes(length),
        ][int(rng.integers(0, 5)) :][:1]
    return b"".join(parts)


def test_lz4_frames_unpack_as_by_the_lz4_package() -> None:
    rng = np.random.default_rng(0)
    for _ in range(150):
        data = some_bytes(rng)
        packed = lz4.compress(
            data,
            compression_level=int(rng.choice([0, 9])),
            block_size=int(rng.choice([lz4.BLOCKSIZE_MAX64KB, lz4.BLOCKSIZE_MAX256KB])),
            block_linked=bool(rng.integers(0, 2)),
            block_checksum=bool(rng.integers(0, 2)),
            content_checksum=bool(rng.integers(0, 2)),
            store_size=bool(rng.integers(0, 2)),
        )
        frame = np.frombuffer(packed, np.uint8)
        size = loops.unpacked_size(frame, 0, len(frame))
        assert size >= len(data)
        for room in (size, len(data)):  # also where there is not a byte to spare
            out = np.full(room + 64, 77, np.uint8)
            assert loops.unpack(frame, 0, out[:room]) == len(data)
            assert out[: len(data)].tobytes() == data
            assert (out[room:] == 77).all()
        if len(data) > 1:
            assert loops.unpack(frame, 0, out[: len(data) - 1]) == -1


def test_damaged_lz4_reads_and_writes_nothing_outside() -> None:
    rng = np.random.default_rng(1)
    for n in range(400):
        data = some_bytes(rng)[: 60_000 if n % 4 else 60]
        frame = bytearray(lz4.compress(data))
        for place in rng.integers(7, len(frame), int(rng.integers(1, 9))):
            frame[place] = rng.integers(0, 256)
        end, room, filled = int(rng.integers(0, len(frame) + 1)), int(rng.integers(0, 70_000)), set()
        for fill in (0, 255):
            around = np.full(len(frame) + 64, fill, np.uint8)
            around[:end] = frame[:end]
            out = np.full(room + 64, 77, np.uint8)
            whole = loops.unpacked_size(around, 0, end) >= 0
            filled.add(loops.unpack(around, 0, out[:room]) if whole else None)
            assert (out[room:] == 77).all()
        assert len(filled) == 1
        assert filled == {None} or -1 <= max(filled) <= room


def test_a_frame_that_would_fill_the_memory_is_damage(tmp_path: Path) -> None:
    blocks = b"".join(struct.pack("<I", 1) + b"\0" for _ in range(65))  # of up to 4 MiB each, as they say
    bomb = struct.pack("<IBBB", 0x184D2204, 0x40, 0x70, 0) + blocks + bytes(4)
    assert loops.unpacked_size(np.frombuffer(bomb, np.uint8), 0, len(bomb)) == -1
    with pytest.raises(RecordingError, match="no events"):
        read_recording(written(tmp_path, [(0, bomb)], LZ4))
