"""AEDAT 4: packets of many streams, packed or not, in files and streams, and what is damaged."""

import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import lz4.frame as lz4
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikesight.encoders.events import Events
from spikesight.encoders.recordings import aedat4
from spikesight.encoders.recordings.aedat4 import (
    AEDAT4_MARK,
    LZ4,
    NONE,
    Aedat4Stream,
    events_in,
    header,
    header_bytes,
    packets_of,
    parse_header,
)
from spikesight.encoders.recordings.files import packets, read_recording
from spikesight.encoders.recordings.format import RecordingError
from tests.support.inputs.samples import DAVIS, random_events

zstandard = pytest.importorskip("zstandard")


def of_stream_0(*parts: Events) -> list[tuple[int, bytes]]:
    return [(0, packet) for part in parts for packet in packets_of(part)]


def written(folder: Path, given: Iterable[tuple[int, bytes]], compression: int = NONE) -> Path:
    """A file of these packets (number of their stream, bytes)."""
    body = b"".join(struct.pack("<ii", stream, len(data)) + data for stream, data in given)
    (folder / "a.aedat4").write_bytes(AEDAT4_MARK + header(DAVIS, compression) + body)
    return folder / "a.aedat4"


def test_packets_of_all_sizes_between_those_of_other_streams(tmp_path: Path) -> None:
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
        opened = aedat4.open_aedat4(path)
        assert sum(map(len, opened.chunks)) == n
        assert bool(opened.notes) == (place > len(data)), "the table, and what lies before it, is lost"


PACKET = next(packets_of(random_events(2, DAVIS)))


@given(
    changes=st.lists(st.tuples(st.integers(0, 31), st.integers(0, 255)), max_size=2), end=st.integers(0, len(PACKET))
)
def test_a_damaged_packet_is_an_error_or_events(changes: list[tuple[int, int]], end: int) -> None:
    packet = bytearray(PACKET)
    for place, value in changes:
        packet[place] = value
    with suppress(struct.error, ValueError):
        assert len(events_in(bytes(packet[:end]))) <= 2


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_packed_packets_of_files_and_streams(codec: int, tmp_path: Path) -> None:
    events = random_events(3000, DAVIS)
    pack = lz4.compress if codec < 3 else zstandard.compress
    given = [(0, pack(packet)) for part in (events[:7], events[7:]) for packet in packets_of(part)]
    path = written(tmp_path, [given[0], (1, bytes(70_000)), (0, given[1][1][:-40]), given[1]])
    data = bytearray(path.read_bytes())
    place = data.index(struct.pack("<iIq", NONE, 16, -1))
    struct.pack_into("<i", data, place, codec)
    path.write_bytes(data)
    recording = read_recording(path)
    assert np.array_equal(recording.events, events)
    assert recording.warnings == ("1 damaged packets were left out",)
    start = len(AEDAT4_MARK) + 4 + header_bytes(bytes(data[len(AEDAT4_MARK) :][:4]))
    stream = Aedat4Stream(parse_header(bytes(data[len(AEDAT4_MARK) + 4 : start])))
    pieces = [stream.push(bytes(data[at : at + 999])) for at in range(start, len(data), 999)]
    assert np.array_equal(np.concatenate(pieces), events)


def test_zstd_without_its_library_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, of_stream_0(random_events(9, DAVIS)))
    path.write_bytes(path.read_bytes().replace(struct.pack("<iIq", NONE, 16, -1), struct.pack("<iIq", 3, 16, -1)))
    for name in ("zstandard", "compression.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RecordingError, match=r"needs zstandard: pip install 'spikesight\[formats\]'"):
        read_recording(path)


@pytest.mark.attack(
    "recordings", "AEDAT 4 with a header of megabytes of nodes", "read in time linear in its length, or 400"
)
@pytest.mark.parametrize(
    "filler", ['key="typeIdentifier"', 'key="sizeX"', '<node name="1" path="outInfo/1/', "outInfo/1/"]
)
def test_a_long_header_takes_linear_time(filler: str) -> None:
    """A second; a search that begins anew at every key takes minutes."""
    node = '<node name="1">'
    with pytest.raises(RecordingError, match="no stream of events"):
        parse_header(table(node + filler * ((1 << 24) // len(filler))))


def table(text: str) -> bytes:
    """A flatbuffer IOHeader whose XML is this text."""
    vtable = struct.pack("<HHHHH", 10, 24, 4, 12, 8)
    body = struct.pack("<I4s6x", 24, b"IOHE") + vtable + struct.pack("<iiIq4x", 10, NONE, 16, -1)
    return body + struct.pack("<I", len(text)) + text.encode() + b"\0"


def test_a_frame_that_would_fill_the_memory_is_damage(tmp_path: Path) -> None:
    blocks = b"".join(struct.pack("<I", 1) + b"\0" for _ in range(65))  # of up to 4 MiB each, as they say
    bomb = struct.pack("<IBBB", 0x184D2204, 0x40, 0x70, 0) + blocks + bytes(4)
    with pytest.raises(RecordingError, match="no events"):
        read_recording(written(tmp_path, [(0, bomb), (0, lz4.compress(bytes(1 << 24)))], LZ4))
