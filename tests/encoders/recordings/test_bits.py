"""AEDAT, EVT, DAT and N-MNIST to the bit: words by hand, packets, clocks, what headers tell, and what is damaged."""

import struct
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import lz4.frame as lz4
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikesight.encoders.events import EVENTS, Events, SensorSize
from spikesight.encoders.recordings import aedat, aedat4, format, nmnist, prophesee
from spikesight.encoders.recordings.aedat4 import AEDAT4_MARK, header, packets_of
from spikesight.encoders.recordings.aedat4 import NONE as UNPACKED
from spikesight.encoders.recordings.files import packets, read_recording
from spikesight.encoders.recordings.format import LARGEST_PACKET, RecordingError
from tests.support.inputs.formats import write, written
from tests.support.inputs.samples import DAVIS, random_events

DVS, DAVIS346, ATIS = SensorSize(128, 128), SensorSize(346, 260), SensorSize(304, 240)


def decoded(decode: format.Decode, data: NDArray[np.uint8], room: int = 64) -> Events:
    """All events of whole records, through arrays for `room` events each."""
    parts = [np.empty(0, EVENTS)]
    while len(data):
        out = np.empty(room, EVENTS)
        n, used = decode(data, out)
        parts.append(out[:n])
        data = data[used:]
    return np.concatenate(parts)


ON = 5 << 22 | 3 << 11 | 4  # time 5, column 3, row 4


@pytest.mark.parametrize(
    ("decoder", "words", "events"),
    [
        (  # nothing counts before a time base; one of zero is one
            lambda: prophesee.WordDecoder("evt2"),
            np.array([1 << 28 | ON, 8 << 28, 1 << 28 | ON, ON, 8 << 28 | 1, 1 << 28 | ON], "<u4"),
            [(5, 3, 4, True), (5, 3, 4, False), (64 + 5, 3, 4, True)],
        ),
        (
            lambda: prophesee.WordDecoder("evt21"),
            np.array([1 << 60 | ON << 32 | 5, 8 << 60, 1 << 60 | ON << 32 | 5, ON << 32 | 1 << 31], "<u8"),
            [(5, 3, 4, True), (5, 5, 4, True), (5, 34, 4, False)],
        ),
        (  # row 5, base column 100 ON, vectors of 12, 12 and 8 columns, a single event, a new row
            lambda: prophesee.WordDecoder("evt3"),
            np.array([0x8001, 0x6002, 5, 0x3864, 0x4009, 0x4800, 0x5081, 0x2007, 6, 0x6003, 0x3028, 0x5001], "<u2"),
            [(0x1002, x, 5, True) for x in (100, 103, 123, 124, 131)] + [(0x1002, 7, 5, False), (0x1003, 40, 6, False)],
        ),
        (
            lambda: prophesee.WordDecoder("dat"),
            np.array([5, 1 << 28 | 9 << 14 | 300, 3, 0x3FFF << 14 | 0x3FFF], "<u4"),
            [(5, 300, 9, True), (3, 0x3FFF, 0x3FFF, False)],
        ),
        (  # of the ATIS: column in 9 bits, row in 8, polarity in bit 17
            prophesee.dat_of_version_1,
            np.array([5, 1 << 17 | 0xFF << 9 | 0x1FF, 6, 1 << 18 | 1 << 9 | 2], "<u4"),
            [(5, 511, 255, True), (6, 2, 1, False)],
        ),
        (  # of a DVS128, whose clock wraps; frames and signals are no events
            lambda: format.as_decoder(aedat.Aedat2(DVS, davis=False).events, 8),
            np.array([1, 0xFFFFFFF0, 1 << 15, 0xFFFFFFF1, 1 << 31, 0xFFFFFFF2, 0, 5], ">u4"),
            [(0xFFFFFFF0, 127, 127, False), ((1 << 32) + 5, 127, 127, True)],
        ),
        (
            lambda: format.as_decoder(aedat.Aedat2(DAVIS, davis=True).events, 8),
            np.array([1 << 31, 1, 1 << 10, 2, 1 << 9, 3, 1 << 30, 4], ">u4"),
            [(3, 239, 179, False), (4, 239, 179 - 256, False)],
        ),
        (  # a row of 240 moves the clock on
            lambda: format.as_decoder(nmnist.Nmnist().events, 5),
            np.array([1, 2, 0x80, 0, 3, 0, 240, 0, 0, 0, 4, 239, 1, 2, 3, 0, 240, 0, 0, 0, 5, 6, 0, 0, 7], "u1"),
            [(3, 1, 2, True), (0x010203 + 8192, 4, 239, False), (7 + 2 * 8192, 5, 6, False)],
        ),
    ],
)
def test_what_words_mean(decoder: Callable[[], format.Decode], words: NDArray[np.generic], events: list) -> None:
    for room in (40, 100):
        assert decoded(decoder(), words.view(np.uint8), room).tolist() == events


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
def test_data_behind_a_header_may_begin_with_any_byte(name: str, end: bytes, tmp_path: Path) -> None:
    header = {"evt2": b"% evt 2.0\n", "evt21": b"% evt 2.1\n% format EVT21;endianness=legacy\n", "evt3": b"% evt 3.0\n"}
    path = tmp_path / "a.raw"
    for first in range(256):
        data, t = by_hand(name, first)
        path.write_bytes(header[name] + b"% geometry 640x480\n" + end + data)
        recording = read_recording(path)
        assert recording.events.tolist() == [(t, 5, 7, True)], first
        assert (recording.size, recording.warnings) == (SensorSize(640, 480), ())


def test_evt21_with_halves_in_order(tmp_path: Path) -> None:
    path, events, _ = written(tmp_path, "evt21", n=300)
    header, _, body = path.read_bytes().partition(b"% end\n")
    words = np.frombuffer(body, "<u4").reshape(-1, 2)[:, ::-1]
    path.write_bytes(header.replace(b";endianness=legacy", b"") + b"% end\n" + words.tobytes())
    assert np.array_equal(read_recording(path).events, events)


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("% geometry 2048x2048", (2048, 2048)),
        ("% geometry 2049x2", None),
        ("% geometry 1x1\n% width 5\n% height 6", (1, 1)),
        ("% Width 5\n% Height 6", (5, 6)),
        ("% format EVT2;height=6;width=5", (5, 6)),
        ("% width 5", None),
        ("% width 5\n% plugin gen41", (1280, 720)),
        ("% system gen31", (640, 480)),
        ("% plugin_name hal_plugin_imx636_evk4", (1280, 720)),
    ],
)
def test_the_sensor_of_a_header(header: str, size: tuple[int, int] | None, tmp_path: Path) -> None:
    path, _, _ = written(tmp_path, "evt2")
    path.write_bytes(f"% evt 2.0\n{header}\n".encode() + path.read_bytes().partition(b"% end\n")[2])
    assert prophesee.open_raw(path).size == (size and SensorSize(*size))


def time_words(kind: str, *steps: int, others: int = 0) -> bytes:
    """Behind a header that names nothing: time words so far from each other, then words that are none."""
    base, bits = (8 << 12, 12) if kind == "<u2" else (8 << 28, 28)
    words = [base | int(t) % (1 << bits) for t in np.cumsum([0x120, *steps])]
    return b"% date\n" + np.array(words + [0] * others, kind).tobytes()


STEP = 1 << 14


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"% evt 2.0\n", "evt2"),
        (b"% evt 2.1\n", "evt21"),
        (b"% format EVT21;a=b\n", "evt21"),
        (b"% format EVT3;height=1\n", "evt3"),
        (b"% version 2\n", "dat"),
        (b"% date\n\x00\x08", "dat"),
        (b"% date\n\x00\x07", None),
        (b"% evt 4\n\x00\x01", None),
        (time_words("<u4", STEP), "evt2"),
        (time_words("<u4", STEP + 1), "evt3"),
        (time_words("<u4"), None),
        (time_words("<u4", *[1] * 19, 1 << 20), None),
        (time_words("<u4", 1, others=3998), None),
        (time_words("<u2", 0, 1, 1), "evt3"),
        (time_words("<u2", 2), None),
    ],
)
def test_an_encoding_is_told_by_the_header_or_by_time_words(head: bytes, name: str | None) -> None:
    assert prophesee.file_format(head) == name


@pytest.mark.parametrize(
    ("header", "word", "size", "t", "x"),
    [
        (b"", (1 << 18) - 1, ATIS, 9, 511),
        (b"", 1 << 18, None, 9, 0),
        (b"% version 1\n", 1 << 18 | 3, ATIS, 9, 3),
        (b"% Version 1\n% Width 64\n% Height 48\n", 3, SensorSize(64, 48), 9, 3),
        (b"% version 2\n", 515, None, 9, 515),
        (b"% version 2\n% geometry 320x240\n% t0 1000\n", 5, SensorSize(320, 240), 1009, 5),
        (b"% version 2\n% t0 1000000000000000\n", 515, None, 9, 515),
    ],
)
def test_versions_of_dat(header: bytes, word: int, size: SensorSize | None, t: int, x: int, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"% date\n" + header + b"\x00\x08" + struct.pack("<II", 9, word))
    opened = prophesee.open_dat(tmp_path / "a")
    events = np.concatenate(list(opened.chunks))
    assert (opened.size, events["t"].tolist(), events["x"].tolist()) == (size, [t], [x])
    assert len(opened.notes) == (header == b"")


@pytest.mark.parametrize("size", [DVS, DAVIS, DAVIS346])
def test_aedat2_without_a_camera_name_goes_by_the_addresses(size: SensorSize, tmp_path: Path) -> None:
    events, path = random_events(2000, size), tmp_path / "some.aedat"
    write(path, events, size, "aedat2")
    lines = [line for line in path.read_bytes().split(b"\r\n", 3) if not line.startswith(b"# AEChip")]
    path.write_bytes(b"\r\n".join(lines))
    recording = read_recording(path)
    assert recording.size == size
    assert np.array_equal(recording.events, events)
    assert "names no camera" in recording.warnings[0]


@pytest.mark.parametrize("size", [DVS, DAVIS346])
@pytest.mark.parametrize("other", ["DAVIS240C", "Davis346blue", "DVXplorer_Lite"])
def test_preferences_may_be_long_and_name_other_cameras(size: SensorSize, other: str, tmp_path: Path) -> None:
    """As jAER writes them, behind the line of the camera and before the end."""
    events, path = random_events(500, size), tmp_path / "a.aedat"
    more = f'#  <node name="{other}"/>\r\n#  <entry key="AEChip.{other}" value="true"/>\r\n' * 3000
    end = b"# End of ASCII Header\r\n"
    path.write_bytes(write(path, events, size, "aedat2").read_bytes().replace(end, more.encode() + end))
    recording = read_recording(path)
    assert (recording.size, recording.warnings) == (size, ())
    assert np.array_equal(recording.events, events)


def packet(number: int, size: int = 8, overflows: int = 0, kind: int = 1, given: int | None = None) -> bytes:
    """A packet of AEDAT 3.1 with so many events, none of them valid."""
    header = aedat.PACKET_HEADER.pack(kind, 0, size, 4, overflows, number, number, number)
    return header + bytes(size * max(number, 0) if given is None else given)


SHORT, LOST = ["the last packet is cut short"], ["a packet header makes no sense; what follows it is lost"]
GOOD = aedat.PACKET_HEADER.pack(1, 0, 8, 4, 1, 2, 2, 2) + struct.pack("<4I", 9 << 17 | 5 << 2 | 3, 7, 1, 0x7FFFFFFF)
FOUND = [((1 << 31) + 7, 9, 5, True), ((1 << 32) - 1, 0, 0, False)]


@pytest.mark.parametrize(
    ("data", "n", "notes"),
    [
        (packet(1) + GOOD, 2, []),
        (packet(3, kind=2) + GOOD, 2, []),
        (packet(0, overflows=(1 << 30) - 1) + GOOD, 2, []),
        (packet(LARGEST_PACKET // 8, kind=2, given=0), 0, SHORT),
        (packet(LARGEST_PACKET // 8 + 1, kind=2, given=0) + GOOD, 0, LOST),
        (packet(0, overflows=1 << 30) + GOOD, 0, LOST),
        (packet(0, overflows=-1) + GOOD, 0, LOST),
        (packet(0, size=7) + GOOD, 0, LOST),
        (packet(-1) + GOOD, 0, LOST),
        (packet(1)[:27], 0, SHORT),
        (GOOD[:-1], 1, SHORT),
    ],
)
def test_packets_of_aedat3(data: bytes, n: int, notes: list[str], tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"#!AER-DAT3.1\r\n#!END-HEADER\r\n" + data)
    opened = aedat.open_aedat3(tmp_path / "a")
    assert np.concatenate([np.empty(0, EVENTS), *opened.chunks]).tolist() == FOUND[:n]
    assert opened.notes == notes


zstandard = pytest.importorskip("zstandard")


def of_stream_0(*parts: Events) -> list[tuple[int, bytes]]:
    return [(0, packet) for part in parts for packet in packets_of(part)]


def packed_in(folder: Path, given: Iterable[tuple[int, bytes]], compression: int = UNPACKED) -> Path:
    """A file of these packets (number of their stream, bytes)."""
    body = b"".join(struct.pack("<ii", stream, len(data)) + data for stream, data in given)
    (folder / "a.aedat4").write_bytes(AEDAT4_MARK + header(DAVIS, compression) + body)
    return folder / "a.aedat4"


def test_packets_of_all_sizes_between_those_of_other_streams(tmp_path: Path) -> None:
    events = random_events(3000, DAVIS)
    parts = of_stream_0(*(events[a:b] for a, b in ((0, 1), (1, 30), (30, 1500), (1500, 3000))))
    others = [(1, bytes(3)), (2, bytes(70_000)), (1, b""), (7, bytes(992))]
    path = packed_in(tmp_path, [packet for pair in zip(others, parts) for packet in pair])
    recording = read_recording(path)
    assert np.array_equal(recording.events, events)
    assert recording.warnings == ()
    assert sum(map(len, packets(path))) == 3000


def test_of_several_streams_of_events_the_first_is_read_and_that_is_told(tmp_path: Path) -> None:
    first, second = random_events(50, DAVIS), random_events(20, DAVIS)
    path = packed_in(tmp_path, [*of_stream_0(first), *((1, packet) for packet in packets_of(second))])
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
    path = packed_in(tmp_path, of_stream_0(events))
    path.write_bytes(path.read_bytes() + tail)
    recording = read_recording(path)
    assert np.array_equal(recording.events, events)
    (warning,) = recording.warnings
    assert words in warning


def test_packets_end_where_the_table_of_them_begins(tmp_path: Path) -> None:
    events = random_events(60, DAVIS)
    given = of_stream_0(events[:50], events[50:])
    path = packed_in(tmp_path, given)
    data = bytearray(path.read_bytes())
    table, begin = data.index(struct.pack("<q", -1)), len(AEDAT4_MARK + header(DAVIS, UNPACKED))
    for place, n in ((len(data) - 8 - len(given[1][1]), 50), (begin, 0), (begin - 1, 60), (len(data) + 1, 60)):
        struct.pack_into("<q", data, table, place)
        path.write_bytes(data)
        opened = aedat4.open_aedat4(path)
        assert sum(map(len, opened.chunks)) == n
        assert bool(opened.notes) == (place > len(data)), "the table, and what lies before it, is lost"


PACKET = next(packets_of(random_events(2, DAVIS)))


@given(st.lists(st.tuples(st.integers(0, 31), st.integers(0, 255)), max_size=2), st.integers(0, len(PACKET)))
def test_a_damaged_packet_is_an_error_or_events(changes: list[tuple[int, int]], end: int) -> None:
    packet = bytearray(PACKET)
    for place, value in changes:
        packet[place] = value
    with suppress(struct.error, ValueError):
        assert len(aedat4.records_in(bytes(packet[:end]))) <= 32


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_packed_packets_of_files_and_streams(codec: int, tmp_path: Path) -> None:
    events = random_events(3000, DAVIS)
    pack = lz4.compress if codec < 3 else zstandard.compress
    given = [(0, pack(packet)) for part in (events[:7], events[7:]) for packet in packets_of(part)]
    path = packed_in(tmp_path, [given[0], (1, bytes(70_000)), (0, given[1][1][:-40]), given[1]])
    data = bytearray(path.read_bytes())
    place = data.index(struct.pack("<iIq", UNPACKED, 16, -1))
    struct.pack_into("<i", data, place, codec)
    path.write_bytes(data)
    recording = read_recording(path)
    assert np.array_equal(recording.events, events)
    assert recording.warnings == ("1 damaged packets were left out",)
    start = len(AEDAT4_MARK) + 4 + aedat4.header_bytes(bytes(data[len(AEDAT4_MARK) :][:4]))
    stream = aedat4.Aedat4Stream(aedat4.parse_header(bytes(data[len(AEDAT4_MARK) + 4 : start])))
    pieces = [stream.push(bytes(data[at : at + 999])) for at in range(start, len(data), 999)]
    assert np.array_equal(np.concatenate(pieces), events)


def test_zstd_without_its_library_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed_in(tmp_path, of_stream_0(random_events(9, DAVIS)))
    path.write_bytes(path.read_bytes().replace(struct.pack("<iIq", UNPACKED, 16, -1), struct.pack("<iIq", 3, 16, -1)))
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
        aedat4.parse_header(table(node + filler * ((1 << 24) // len(filler))))


def table(text: str) -> bytes:
    """A flatbuffer IOHeader whose XML is this text."""
    vtable = struct.pack("<HHHHH", 10, 24, 4, 12, 8)
    body = struct.pack("<I4s6x", 24, b"IOHE") + vtable + struct.pack("<iiIq4x", 10, UNPACKED, 16, -1)
    return body + struct.pack("<I", len(text)) + text.encode() + b"\0"


def test_a_frame_that_would_fill_the_memory_is_damage(tmp_path: Path) -> None:
    blocks = b"".join(struct.pack("<I", 1) + b"\0" for _ in range(65))  # of up to 4 MiB each, as they say
    bomb = struct.pack("<IBBB", 0x184D2204, 0x40, 0x70, 0) + blocks + bytes(4)
    with pytest.raises(RecordingError, match="no events"):
        read_recording(packed_in(tmp_path, [(0, bomb), (0, lz4.compress(bytes(1 << 24)))], aedat4.LZ4))
