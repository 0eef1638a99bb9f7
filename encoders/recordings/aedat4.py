"""AEDAT 4, the format of iniVation's DV: packets of many streams, compressed by LZ4 or zstd, each a flatbuffer."""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.recordings.columns import sensor
from spikesight.encoders.recordings.format import (
    LARGEST_PACKET,
    CutShort,
    Opened,
    Parts,
    Pieces,
    RecordingError,
    batched,
    unpacked,
)

AEDAT4_MARK = b"#!AER-DAT4.0\r\n"
CUT_SHORT = CutShort("the last packet is cut short")
SENSELESS = CutShort("a packet header makes no sense; what follows it is lost")
NO_HEADER = "its header makes no sense"
RECORD = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1"), ("", "V3")])
PACKET_EVENTS = 8000  # events in a packet that is written
NONE, LZ4 = 0, 1
CODECS = {NONE: "", LZ4: "lz4", 2: "lz4", 3: "zstd", 4: "zstd"}
NODE = re.compile(  # one token of the header's XML; bounded repetitions, so that it takes time linear in the length
    r'<node name="(\d{1,9})"(?: path="[^"<>]{0,200}outInfo/\d{1,9}/"|>)'
    r'|key="(typeIdentifier|sizeX|sizeY)"[^<>]{0,200}>(\w{0,9})<'
)


@dataclass(frozen=True)
class Aedat4Header:
    """Codec of the packets (`format.unpacked`), their byte range, the first event stream and its sensor."""

    codec: str
    start: int
    end: int
    stream: int
    size: SensorSize | None
    others: int = 0  # number of further event streams
    lost: bool = False  # the file ends before the table of its packets begins


def open_aedat4(path: Path) -> Opened:
    """Open an AEDAT 4 file."""
    with path.open("rb") as file:
        file.seek(len(AEDAT4_MARK))
        table = _exactly(file, header_bytes(_exactly(file, 4)))
        start = file.tell()
        header = parse_header(table, start, file.seek(0, 2))
    notes = [f"it holds {header.others + 1} streams of events; the first is read"] if header.others else []
    pieces = Pieces(lambda at_once: batched(_read(path, header, notes), 4 * at_once, events_of), header.end - start)
    return Opened(header.size, pieces, notes)


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
        places = [_field(table, root, index) for index in range(3)]
        codec = CODECS[struct.unpack_from("<i", table, places[0])[0] if places[0] else NONE]
        table_at = struct.unpack_from("<q", table, places[1])[0] if places[1] else -1
        text_at = places[2] + struct.unpack_from("<I", table, places[2])[0]
        text = table[text_at + 4 : text_at + 4 + struct.unpack_from("<I", table, text_at)[0]].decode("latin-1")
    except (struct.error, KeyError) as error:
        raise RecordingError(NO_HEADER) from error
    unpacked(codec, b"", 0)  # raises RecordingError without the codec's library
    inside = start <= table_at <= end
    return Aedat4Header(codec, start, table_at if inside else end, *_event_stream(text), table_at > end > 0)


def _event_stream(text: str) -> tuple[int, SensorSize | None, int]:
    """Return number and sensor of the first event stream in the header's XML, and how many others there are.

    evutils writes nodes without paths.
    """
    nodes: list[tuple[int, dict[str, str]]] = []
    for token in NODE.finditer(text):
        if token[1]:
            nodes.append((int(token[1]), {}))
        elif nodes:
            nodes[-1][1].setdefault(token[2], token[3])
    streams = [(number, found) for number, found in nodes if found.get("typeIdentifier") == "EVTS"]
    if not streams:
        raise RecordingError("it holds no stream of events")
    number, found = streams[0]
    width, height = (side if (side := found.get(f"size{axis}", "")).isdecimal() else None for axis in "XY")
    return number, sensor(width, height), len(streams) - 1


def _field(table: bytes, root: int, index: int) -> int:
    """Return the offset of a flatbuffer table's field, 0 if it is absent. Raises struct.error."""
    vtable = root - struct.unpack_from("<i", table, root)[0]
    if vtable < 0:
        raise struct.error("it lies before the table")
    if 4 + 2 * index >= struct.unpack_from("<H", table, vtable)[0]:
        return 0
    offset = struct.unpack_from("<H", table, vtable + 4 + 2 * index)[0]
    return root + offset if offset else 0


def _exactly(file: BinaryIO, n: int) -> bytes:
    data = file.read(n)
    if len(data) < n:
        raise RecordingError("the file ends inside its header")
    return data


def records_in(packet: bytes) -> memoryview:
    """Return the bytes of the RECORDs in a flatbuffer EventPacket with length prefix.

    Raises struct.error or ValueError if it is damaged.
    """
    table = packet[4:]
    place = _field(table, struct.unpack_from("<I", table)[0], 0)
    if not place:
        return memoryview(b"")
    place += struct.unpack_from("<I", table, place)[0]
    end = place + 4 + RECORD.itemsize * struct.unpack_from("<I", table, place)[0]
    if end > len(table):
        raise ValueError("its records are cut short")
    return memoryview(table)[place + 4 : end]


def events_of(parts: Sequence[memoryview]) -> Events:
    """Return the events of RECORDs: all at once, since each packet has few."""
    records = np.frombuffer(b"".join(parts), RECORD)
    return make_events(records["t"], records["x"], records["y"], records["p"] != 0)


def _read(path: Path, header: Aedat4Header, notes: list[str]) -> Iterator[memoryview]:
    """Yield the RECORDs of each packet; packets of other streams are skipped."""
    damaged = 0
    if header.lost:
        notes.append(CutShort("the file ends before the table of its packets: it is cut short"))
    for packet in _packets(path, header, notes):
        records = _records_or_none(packet, header.codec)
        if records is None:
            damaged += 1
        else:
            yield records
    if damaged:
        notes.append(f"{damaged} damaged packets were left out")


def _records_or_none(packet: bytes, codec: str) -> memoryview | None:
    """Return the RECORDs of a stored packet; None if it is damaged."""
    try:
        return records_in(unpacked(codec, packet, LARGEST_PACKET))
    except MemoryError:
        raise
    except Exception:  # each library raises its own types
        return None


def _packets(path: Path, header: Aedat4Header, notes: list[str]) -> Iterator[bytes]:
    """Yield the event stream's packets as stored, without their 8-byte frame."""
    with path.open("rb") as file:
        at = file.seek(header.start)
        while at < header.end:
            frame = file.read(8)
            stream, length = struct.unpack("<ii", frame) if len(frame) == 8 else (0, LARGEST_PACKET)
            if not 0 <= length <= LARGEST_PACKET:
                notes.append(SENSELESS)
                return
            at += 8 + length
            if at > header.end:
                notes.append(CUT_SHORT)
                return
            if stream == header.stream:
                yield file.read(length)
            else:
                file.seek(at)


# -------------------------------------------------------------------------------------------------- streams and writing


class Aedat4Stream:
    """Decodes the bytes of a running stream as they arrive into events of complete packets; damaged ones are left out.

    After the header, a stream equals a file.
    """

    def __init__(self, header: Aedat4Header) -> None:
        self._header, self._held, self._skip = header, bytearray(), 0

    def push(self, data: bytes | memoryview) -> Events:
        """Add bytes; return the events of packets now complete. Raises RecordingError if the bytes make no sense."""
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        self._held += data[skipped:]
        parts, at = list[memoryview](), 0
        while len(self._held) >= at + 8:
            stream, length = struct.unpack_from("<ii", self._held, at)
            end = at + 8 + length
            if not 0 <= length <= LARGEST_PACKET:
                raise RecordingError(SENSELESS)
            if stream == self._header.stream:
                if len(self._held) < end:
                    break
                records = _records_or_none(bytes(self._held[at + 8 : end]), self._header.codec)
                parts += [] if records is None else [records]
            at = end
        self._skip += max(0, at - len(self._held))
        del self._held[:at]
        return events_of(parts)


def header(size: SensorSize, compression: int) -> bytes:
    """Return a flatbuffer IOHeader with length prefix, for one event stream (number 0) and no packet table."""
    text = f"""<dv version="2.0">
    <node name="outInfo" path="/outInfo/">
        <node name="0" path="/outInfo/0/">
            <attr key="compression" type="string">{CODECS[compression].upper() or "NONE"}</attr>
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
            file.flush()  # what has come is kept, whatever ends the process
