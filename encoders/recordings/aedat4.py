"""AEDAT 4, the format of iniVation's DV: packets of many streams, compressed by LZ4 or zstd, each a flatbuffer."""

import re
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from spikesight.encoders import kernels
from spikesight.encoders.events import EVENTS, MAX_SIDE, Events, SensorSize, joined, make_events
from spikesight.encoders.kernels import LARGEST_PACKET
from spikesight.encoders.recordings.format import CHUNK_BYTES, READ_BYTES, Opened, Parts, Pieces, RecordingError

AEDAT4_MARK = b"#!AER-DAT4.0\r\n"
CUT_SHORT = "the last packet is cut short"
SENSELESS = "a packet header makes no sense; what follows it is lost"
NO_HEADER = "its header makes no sense"
RECORD = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1"), ("", "V3")])
PACKET_EVENTS = 8000  # events in a packet that is written, so that it fits the reader's buffer
NONE, LZ4 = 0, 1


@dataclass(frozen=True)
class Aedat4Header:
    """Compression (0 none, 1 and 2 LZ4, 3 and 4 zstd), byte range of the packets, first event stream and its sensor."""

    compression: int
    start: int
    end: int
    stream: int
    size: SensorSize | None
    others: int = 0  # number of further event streams


def open_aedat4(path: Path) -> Opened:
    """Open an AEDAT 4 file. zstd is read through EventCV, a few megabytes of packets at a time."""
    header = _header(path)
    notes = [f"it holds {header.others + 1} streams of events; the first is read"] if header.others else []
    if header.compression not in (0, 1, 2):
        return Opened(header.size, _read_foreign(path, header, notes), notes)
    pieces = Pieces(lambda at_once: _read_compiled(path, header, notes, at_once), header.end - header.start)
    return Opened(header.size, pieces, notes)


def _header(path: Path) -> Aedat4Header:
    with path.open("rb") as file:
        file.seek(len(AEDAT4_MARK))
        table = _exactly(file, header_bytes(_exactly(file, 4)))
        start = file.tell()
        end = file.seek(0, 2)
    return parse_header(table, start, end)


def header_bytes(prefix: bytes) -> int:
    """Return the length of the header that follows its first four bytes. Raises RecordingError."""
    (length,) = struct.unpack("<I", prefix)
    if length > 1 << 22:
        raise RecordingError(NO_HEADER)
    return length


def parse_header(table: bytes, start: int = 0, end: int = 0) -> Aedat4Header:
    """Parse a flatbuffer IOHeader; packets lie from `start` to `end`. Raises RecordingError."""
    try:
        root = struct.unpack_from("<I", table)[0]
        compression = _field(table, root, 0, "<i", 0)
        table_at = _field(table, root, 1, "<q", -1)
        text_at = _field_place(table, root, 2)
        text_at += struct.unpack_from("<I", table, text_at)[0]
        text = table[text_at + 4 : text_at + 4 + struct.unpack_from("<I", table, text_at)[0]].decode("latin-1")
    except (struct.error, IndexError) as error:
        raise RecordingError(NO_HEADER) from error
    return Aedat4Header(compression, start, table_at if start <= table_at <= end else end, *_event_stream(text))


def _event_stream(text: str) -> tuple[int, SensorSize | None, int]:
    """Return number and sensor of the first event stream in the header's XML, and how many others there are.

    evutils writes nodes without paths.
    """
    nodes = re.split(r'<node name="(?=\d+"(?: path="[^"]*outInfo/\d+/"|>))', text)[1:]
    streams = [node for node in nodes if re.search(r'key="typeIdentifier"[^>]*>EVTS<', node)]
    if not streams:
        raise RecordingError("it holds no stream of events")
    first = streams[0]
    sides = [re.search(rf'key="size{axis}"[^>]*>(\d+)<', first) for axis in "XY"]
    found = [int(side.group(1)) for side in sides if side]
    size = SensorSize(*found) if len(found) == 2 and all(1 <= side <= MAX_SIDE for side in found) else None
    return int(first[: first.index('"')]), size, len(streams) - 1


def _field_place(table: bytes, root: int, index: int) -> int:
    """Return the offset of a flatbuffer table's field; 0 if it is absent."""
    vtable = root - struct.unpack_from("<i", table, root)[0]
    if vtable < 0 or 4 + 2 * index >= struct.unpack_from("<H", table, vtable)[0]:
        return 0
    offset = struct.unpack_from("<H", table, vtable + 4 + 2 * index)[0]
    return root + offset if offset else 0


def _field(table: bytes, root: int, index: int, kind: str, default: int) -> int:
    place = _field_place(table, root, index)
    return struct.unpack_from(kind, table, place)[0] if place else default


def _exactly(file: BinaryIO, n: int) -> bytes:
    data = file.read(n)
    if len(data) < n:
        raise RecordingError("the file ends inside its header")
    return data


def _packets(path: Path, header: Aedat4Header, notes: list[str]) -> Iterator[bytes]:
    """Yield the event stream's packets as stored, without their 8-byte frame."""
    with path.open("rb") as file:
        file.seek(header.start)
        while file.tell() < header.end:
            frame = file.read(8)
            if len(frame) < 8:
                notes.append(CUT_SHORT)
                return
            stream, length = struct.unpack("<ii", frame)
            if not 0 <= length <= LARGEST_PACKET:
                notes.append(SENSELESS)
                return
            if file.tell() + length > header.end:
                notes.append(CUT_SHORT)
                return
            if stream == header.stream:
                yield file.read(length)
            else:
                file.seek(length, 1)


def _read_compiled(path: Path, header: Aedat4Header, notes: list[str], at_once: int) -> Iterator[Events]:
    """Read through one buffer that stays in the processor's cache; packets of other streams are skipped unread."""
    loops = kernels.compiled("aedat4")
    compressed = header.compression != 0
    buffer, scratch = np.empty(READ_BYTES, np.uint8), np.empty(READ_BYTES, np.uint8)
    room = at_once // (4 if compressed else 16)  # events; few files have fewer bytes per event
    events, n, damaged, at = np.empty(room, EVENTS), 0, 0, header.start
    with path.open("rb", buffering=0) as file:
        while at < header.end:
            file.seek(at)
            held = file.readinto(buffer.data[: header.end - at])
            why, done, n, bad, need = loops.packets(
                buffer[:held], header.stream, compressed, scratch, events.view(np.uint8), n
            )
            at, damaged = at + done, damaged + bad
            if why == loops.SENSELESS:
                notes.append(SENSELESS)
                break
            if why == loops.ROOM:
                yield events[:n]
                events, n = np.empty(max(room, need), EVENTS), 0
            elif why == loops.SCRATCH:
                scratch = np.empty(need, np.uint8)
            elif at > header.end or (not done and (need <= len(buffer) or need > header.end - at)):
                notes.append(CUT_SHORT)
                break
            elif need > len(buffer):
                buffer = np.empty(need, np.uint8)
    if n:
        yield events[:n]
    if damaged:
        notes.append(f"{damaged} damaged packets were left out")


def _read_foreign(path: Path, header: Aedat4Header, notes: list[str]) -> Iterator[Events]:
    """Read through EventCV: write small files with the same header and some of the packets each."""
    with path.open("rb") as file:
        head = file.read(header.start)
    batch: list[bytes] = []
    for packet in _packets(path, header, notes):
        batch.append(struct.pack("<ii", header.stream, len(packet)) + packet)
        if sum(map(len, batch)) > CHUNK_BYTES // 4:
            yield from _through_eventcv(head, batch, notes)
            batch = []
    if batch:
        yield from _through_eventcv(head, batch, notes)


def _through_eventcv(head: bytes, batch: list[bytes], notes: list[str]) -> Iterator[Events]:
    import eventcv

    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part.aedat4"
        part.write_bytes(head + b"".join(batch))
        try:
            table = eventcv.load(str(part), time_unit="us").numpy()
        except (ValueError, OSError, RuntimeError):
            if len(batch) > 1:  # find the damaged packets
                for packet in batch:
                    yield from _through_eventcv(head, [packet], notes)
            else:
                notes.append("a damaged packet was left out")
            return
        yield make_events(table[:, 2].astype(np.int64), table[:, 0], table[:, 1], table[:, 3])


# -------------------------------------------------------------------------------------------------- streams and writing


class Aedat4Stream:
    """Decodes the bytes of a running stream as they arrive into events of complete packets.

    After the header, a stream equals a file. zstd is not supported.
    """

    def __init__(self, header: Aedat4Header) -> None:
        self._stream, self._compressed = header.stream, header.compression != NONE
        self._held, self._need, self._skip = bytearray(), 8, 0
        self._scratch = np.empty(READ_BYTES, np.uint8)

    def push(self, data: bytes | memoryview) -> Events:
        """Add bytes; return the events of packets now complete. Raises RecordingError if the bytes make no sense."""
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        self._held += data[skipped:]
        if len(self._held) < self._need:
            return np.empty(0, EVENTS)
        loops = kernels.compiled("aedat4")
        parts: list[Events] = []
        held, at, room = np.frombuffer(bytearray(self._held), np.uint8), 0, len(self._held) // 4
        while len(held) - at >= self._need:
            out = np.empty(room, EVENTS)
            why, done, n, _, need = loops.packets(
                held[at:], self._stream, self._compressed, self._scratch, out.view(np.uint8), 0
            )
            if why == loops.SENSELESS:
                raise RecordingError(SENSELESS)
            parts.append(out[:n])
            at += done
            self._need = need if why == loops.MORE else 8
            if why == loops.ROOM:
                room = max(room, need)
            elif why == loops.SCRATCH:
                self._scratch = np.empty(need, np.uint8)
        self._skip = max(0, at - len(held))
        del self._held[:at]
        return joined(parts)


def header(size: SensorSize, compression: int) -> bytes:
    """Return a flatbuffer IOHeader with length prefix, for one event stream (number 0) and no packet table."""
    names = {NONE: "NONE", LZ4: "LZ4"}
    text = f"""<dv version="2.0">
    <node name="outInfo" path="/outInfo/">
        <node name="0" path="/outInfo/0/">
            <attr key="compression" type="string">{names[compression]}</attr>
            <attr key="originalModuleName" type="string">spikesight</attr>
            <attr key="originalOutputName" type="string">events</attr>
            <attr key="typeDescription" type="string">Array of events (polarity ON/OFF).</attr>
            <attr key="typeIdentifier" type="string">EVTS</attr>
            <node name="info" path="/outInfo/0/info/">
                <attr key="sizeX" type="int">{size.width}</attr>
                <attr key="sizeY" type="int">{size.height}</attr>
                <attr key="source" type="string">spikesight</attr>
            </node>
        </node>
    </node>
</dv>
""".encode()
    vtable = struct.pack("<HHHHH", 10, 24, 4, 12, 8)  # length of vtable and table, then offsets of fields
    table = struct.pack("<iiIq4x", 10, compression, 16, -1)
    body = struct.pack("<I4s6x", 24, b"IOHE") + vtable + table + struct.pack("<I", len(text)) + text
    body += bytes(4 - len(text) % 4)
    return struct.pack("<I", len(body)) + body


def packets_of(events: Events) -> Iterator[bytes]:
    """Yield events as flatbuffers EventPacket with length prefix."""
    for begin in range(0, len(events), PACKET_EVENTS):
        part = events[begin : begin + PACKET_EVENTS]
        records = np.zeros(len(part), RECORD)
        for name in "txyp":
            records[name] = part[name]
        body = struct.pack("<I4s2xHHHiII", 16, b"EVTS", 6, 8, 4, 6, 4, len(part)) + records.tobytes()
        yield struct.pack("<I", len(body)) + body


def framed(packet: bytes) -> bytes:
    """Return a packet with the 8-byte frame of stream 0, as in a file or connection."""
    return struct.pack("<ii", 0, len(packet)) + packet


def write_aedat4(path: Path, parts: Parts, size: SensorSize) -> None:
    """Write AEDAT 4 with LZ4, without the packet table at the end, which readers build themselves."""
    import lz4.frame

    with path.open("wb") as file:
        file.write(AEDAT4_MARK + header(size, LZ4))
        for events in parts:
            file.writelines(framed(lz4.frame.compress(packet)) for packet in packets_of(events))
