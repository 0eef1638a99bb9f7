"""aedat4: the compiled loops against the lz4 package and against the plain reader, whole and damaged."""

import struct
from pathlib import Path

import numpy as np
import pytest

from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.kernels import aedat4 as kernels
from spikesight.encoders.recordings import aedat4
from spikesight.encoders.recordings.files import packets, read_recording, write_recording
from spikesight.encoders.recordings.format import RecordingError

SIZE = SensorSize(240, 180)
RECORD = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1"), ("", "V3")])


def some_events(n: int, seed: int = 0) -> Events:
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, 400_000, n))
    return make_events(t, rng.integers(0, 240, n), rng.integers(0, 180, n), rng.integers(0, 2, n))


def flatbuffer(events: Events) -> bytes:
    """A size-prefixed EventPacket: its table has one field, the records."""
    records = np.zeros(len(events), RECORD)
    for name in "txyp":
        records[name] = events[name]
    body = struct.pack("<I4sHHHxxiI", 16, b"EVTS", 6, 8, 4, 8, 4) + struct.pack("<I", len(events)) + records.tobytes()
    return struct.pack("<I", len(body)) + body


def rewritten(folder: Path, packets: list[tuple[int, bytes]], compression: int = 0) -> Path:
    """A file with the header that EventCV writes, but other packets (number of their stream, bytes)."""
    path = folder / "rewritten.aedat4"
    write_recording(path, some_events(10), SIZE)
    header = aedat4._header(path)
    head = bytearray(path.read_bytes()[: header.start])
    table = len(aedat4.AEDAT4_MARK) + 4
    root = struct.unpack_from("<I", head, table)[0]
    struct.pack_into("<i", head, table + aedat4._field_place(bytes(head[table:]), root, 0), compression)
    struct.pack_into("<q", head, table + aedat4._field_place(bytes(head[table:]), root, 1), -1)
    path.write_bytes(head + b"".join(struct.pack("<ii", stream, len(data)) + data for stream, data in packets))
    return path


def test_packets_of_all_sizes_between_those_of_other_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aedat4, "READ_BYTES", 1000)
    events = some_events(3000)
    parts = [(0, flatbuffer(events[a:b])) for a, b in ((0, 1), (1, 30), (30, 30), (30, 1500), (1500, 3000))]
    others = [(1, bytes(3)), (2, bytes(70_000)), (1, b""), (7, bytes(992)), (1, bytes(5))]
    path = rewritten(tmp_path, [packet for pair in zip(others, parts) for packet in pair])
    recording = read_recording(path)
    assert np.array_equal(recording.events, events)
    assert recording.warnings == ()
    assert sum(map(len, packets(path))) == 3000


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
    events = some_events(50)
    path = rewritten(tmp_path, [(0, flatbuffer(events))])
    path.write_bytes(path.read_bytes() + tail)
    recording = read_recording(path)
    assert np.array_equal(recording.events, events)
    assert len(recording.warnings) == 1
    assert words in recording.warnings[0]


def some_bytes(rng: np.random.Generator) -> bytes:
    """What LZ4 makes much, something and nothing of: runs, repeats near and far, short ones in themselves, records."""
    parts: list[bytes] = []
    for _ in range(int(rng.integers(1, 12))):
        length = int(rng.choice([1, 7, 40, 300, 5000]))
        match int(rng.integers(0, 5)):
            case 0:
                parts.append(bytes([int(rng.integers(0, 256))]) * length)
            case 1:
                parts.append(rng.bytes(int(rng.integers(1, 20))) * (length // 10 + 1))
            case 2:
                period = int(rng.integers(4, 18))
                parts.append((rng.bytes(period) * 6)[: period + 18] + rng.bytes(20))
            case 3:
                parts.append(flatbuffer(some_events(length // 16 + 1, length)))
            case _:
                parts.append(rng.bytes(length))
    return b"".join(parts)


def test_lz4_frames_unpack_as_by_the_lz4_package() -> None:
    lz4 = pytest.importorskip("lz4.frame")
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
        frame = np.frombuffer(packed, np.uint8).copy()
        size = kernels.unpacked_size(frame, 0, len(frame))
        assert size >= len(data)
        for room in (size, len(data)):  # also where there is not a byte to spare
            out = np.full(room + 64, 77, np.uint8)
            assert kernels.unpack(frame, 0, out[:room]) == len(data)
            assert out[: len(data)].tobytes() == data
            assert (out[room:] == 77).all()
        if len(data) > 1:
            assert kernels.unpack(frame, 0, out[: len(data) - 1]) == -1


def test_damaged_lz4_writes_nothing_outside() -> None:
    lz4 = pytest.importorskip("lz4.frame")
    rng = np.random.default_rng(1)
    out = np.zeros(70_000 + 64, np.uint8)
    for _ in range(400):
        frame = np.frombuffer(lz4.compress(some_bytes(rng)[:60_000]), np.uint8).copy()
        for place in rng.integers(7, len(frame), int(rng.integers(1, 9))):
            frame[place] = rng.integers(0, 256)
        room = int(rng.integers(0, 70_000))
        out[room:] = 77
        if kernels.unpacked_size(frame, 0, len(frame)) >= 0:
            assert -1 <= kernels.unpack(frame, 0, out[:room]) <= room
        assert (out[room:] == 77).all()


def test_a_frame_that_would_fill_the_memory_is_damage(tmp_path: Path) -> None:
    blocks = b"".join(struct.pack("<I", 1) + b"\0" for _ in range(65))  # of up to 4 MiB each, as they say
    bomb = struct.pack("<IBBB", 0x184D2204, 0x40, 0x70, 0) + blocks + bytes(4)
    assert kernels.unpacked_size(np.frombuffer(bomb, np.uint8).copy(), 0, len(bomb)) == -1
    with pytest.raises(RecordingError, match="no events"):
        read_recording(rewritten(tmp_path, [(0, bomb)], compression=1))


def block(*parts: tuple[bytes, int, int]) -> np.ndarray:
    """An LZ4 block of (literals, offset, length) in a row; offset 0: the last literals, without a match."""
    made = b""
    for literals, offset, length in parts:
        many, long = len(literals), length - 4
        made += bytes([min(many, 15) << 4 | (min(long, 15) if offset else 0)])
        made += more(many - 15) if many >= 15 else b""
        made += literals
        if offset:
            made += struct.pack("<H", offset) + (more(long - 15) if long >= 15 else b"")
    return np.frombuffer(made, np.uint8).copy()


def more(rest: int) -> bytes:
    return b"\xff" * (rest // 255) + bytes([rest % 255])


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(b"abcd", 4, 4)], b"abcdabcd"),
        ([(b"ab", 2, 9)], b"ab" + b"ababababa"),
        ([(b"x", 1, 4)], b"xxxxx"),
        ([(b"x" * 14, 14, 18)], b"x" * 32),
        ([(b"x" * 15, 15, 19)], b"x" * 34),
        ([(b"y" * 270, 270, 274), (b"end", 0, 0)], b"y" * 544 + b"end"),
        ([(bytes(range(16)), 16, 18), (b"z", 0, 0)], bytes(range(16)) + bytes(range(16)) + b"\0\1z"),
        ([(bytes(range(20)), 20, 20), (b"", 5, 40), (b"q" * 40, 0, 0)], None),
    ],
)
def test_blocks_by_hand_fill_their_room_to_the_last_byte(
    parts: list[tuple[bytes, int, int]], expected: bytes | None
) -> None:
    packed = block(*parts)
    unpacked = expected or pytest.importorskip("lz4.block").decompress(packed.tobytes(), uncompressed_size=200)
    for spare in (0, 1, 15, 16, 63, 64, 65, 200):
        room = len(unpacked) + spare
        out = np.full(room + 64, 77, np.uint8)
        assert kernels.lz4_block(packed, 0, len(packed), out[:room], 0) == len(unpacked)
        assert out[: len(unpacked)].tobytes() == unpacked
        assert (out[room:] == 77).all()
    assert kernels.lz4_block(packed, 0, len(packed), np.zeros(len(unpacked) - 1, np.uint8), 0) == -1


@pytest.mark.parametrize(
    "wrong",
    [
        block((b"abcd", 5, 4)),  # reaches before the beginning
        block((b"abcd", 4, 4))[:-1],  # half an offset
        block((b"x" * 15, 15, 19))[:-1],  # no length of the match
        block((b"x" * 300, 0, 0))[:1],  # no length of the literals
        block((b"x" * 300, 0, 0))[:-1],  # a literal too few
        np.frombuffer(b"\x40abcd\x00\x00", np.uint8).copy(),  # an offset of nothing
    ],
)
def test_blocks_that_are_damaged(wrong: np.ndarray) -> None:
    for room in (64, 500):
        assert kernels.lz4_block(wrong, 0, len(wrong), np.zeros(room, np.uint8), 0) == -1


def test_a_block_reaches_into_what_was_written_before() -> None:
    out = np.frombuffer(b"before" + bytes(20), np.uint8).copy()
    packed = block((b"", 6, 6))
    assert kernels.lz4_block(packed, 0, len(packed), out, 6) == 12
    assert out[:12].tobytes() == b"beforebefore"


def test_packets_end_where_the_table_of_them_begins(tmp_path: Path) -> None:
    events = some_events(60)
    path = rewritten(tmp_path, [(0, flatbuffer(events[:50])), (0, flatbuffer(events[50:]))])
    data, head = bytearray(path.read_bytes()), aedat4._header(path)
    table = len(data) - len(flatbuffer(events[50:])) - 8
    at = len(aedat4.AEDAT4_MARK) + 4
    root = struct.unpack_from("<I", data, at)[0]
    for place, n in ((table, 50), (head.start, 0), (head.start - 1, 60), (len(data), 60), (len(data) + 1, 60)):
        struct.pack_into("<q", data, at + aedat4._field_place(bytes(data[at:]), root, 1), place)
        path.write_bytes(data)
        found = [part for part in aedat4.open_aedat4(path).chunks if len(part)]
        assert sum(map(len, found)) == n


def numbered(
    root: int = 20, vtable: int = 4, size: int = 6, offset: int = 4, vector: int = 4, count: int = 1
) -> bytearray:
    """A packet by its places: root table, its vtable with one field, the vector's place and length, one record."""
    data = bytearray(24 + 4 + 4 + 4 + 16)
    struct.pack_into("<II", data, 0, len(data) - 4, root - 4)
    struct.pack_into("<HHH", data, 8, size, 8, offset)
    struct.pack_into("<i", data, 20, root - 8 if vtable == 4 else vtable)
    struct.pack_into("<I", data, 24, vector)
    struct.pack_into("<I", data, 28, count)
    return data


@pytest.mark.parametrize(
    ("data", "end", "found"),
    [
        (numbered(), 48, (32, 1)),
        (numbered(), 47, (0, -1)),
        (numbered(count=0), 32, (32, 0)),
        (numbered(count=0), 31, (0, -1)),
        (numbered(count=0), 27, (0, -1)),
        (numbered(), 23, (0, -1)),
        (numbered(offset=0), 24, (0, 0)),
        (numbered(size=5), 24, (0, 0)),
        (numbered(size=6, offset=0), 24, (0, 0)),
        (numbered(vtable=21), 48, (0, -1)),  # before the packet
        (numbered(vtable=-24), 48, (0, 0)),  # a length of 0 at the very end
        (numbered(vtable=-25), 48, (0, -1)),
        (numbered(vector=20), 48, (48, 0)),
        (numbered(vector=21), 48, (0, -1)),
        (numbered(), 7, (0, -1)),
    ],
)
def test_where_records_lie(data: bytearray, end: int, found: tuple[int, int]) -> None:
    for shift in (0, 5):
        table = np.frombuffer(bytes(shift) + data[:end], np.uint8).copy()
        begin, count = kernels.records(table, shift, shift + end)
        assert (begin - shift if count >= 0 and begin else begin, count) == found


def vtable_at_the_end(length: int) -> np.ndarray:
    """A root table whose vtable is the last `length` bytes."""
    data = bytearray(12 + length)
    struct.pack_into("<III", data, 0, len(data) - 4, 4, (8 - 12) & 0xFFFFFFFF)
    data[12:] = struct.pack("<HHH", 6, 8, 0)[:length]
    return np.frombuffer(bytes(data), np.uint8).copy()


@pytest.mark.parametrize(("length", "found"), [(6, (0, 0)), (5, (0, -1)), (4, (0, -1)), (3, (0, -1))])
def test_a_vtable_is_read_to_its_end(length: int, found: tuple[int, int]) -> None:
    table = vtable_at_the_end(length)
    assert kernels.records(table, 0, len(table)) == found


@pytest.mark.parametrize("compression", [0, 1, 2])
def test_what_evutils_writes_is_read(compression: int, tmp_path: Path) -> None:
    """Its header's XML names the streams by number, without the paths that DV gives them."""
    writer = pytest.importorskip("evutils.io").EventWriter
    from evutils.types import Event_dtype

    events, path = some_events(20_000), tmp_path / "theirs.aedat4"
    theirs = np.zeros(len(events), Event_dtype)
    for name in "txyp":
        theirs[name] = events[name]
    with writer(path, width=SIZE.width, height=SIZE.height, compression=compression) as file:
        file.write(theirs)
    read = read_recording(path)
    assert (read.size, read.warnings) == (SIZE, ())
    assert np.array_equal(read.events, events)
