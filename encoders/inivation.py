"""iniVation's formats: AEDAT 2.0 (jAER), AEDAT 3.1 (cAER, DVS Gesture) and AEDAT 4 (DV)."""

import importlib
import re
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from encoders.events import EVENTS, MAX_SIDE, Events, SensorSize, make_events
from encoders.formats import CHUNK_BYTES, WHOLE_BYTES, Opened, Parts, RecordingError, text_header, word_chunks
from encoders.prophesee import kernels, unwrap

CHIPS = {  # what a header's chip or source name says about the sensor; the longest name that fits counts
    "dvs128": SensorSize(128, 128),
    "davis240": SensorSize(240, 180),
    "davis128": SensorSize(128, 128),
    "davis208": SensorSize(208, 192),
    "davis346": SensorSize(346, 260),
    "davis640": SensorSize(640, 480),
    "dvxplorer": SensorSize(640, 480),
    "dvxplorer_lite": SensorSize(320, 240),
    "dvs132s": SensorSize(132, 104),
}
DVS128 = CHIPS["dvs128"]
LARGEST_PACKET = 1 << 28  # bytes; a size beyond this is damage


def _chip(lines: list[str]) -> str | None:
    text = "\n".join(lines).lower()
    return max((name for name in CHIPS if name in text), key=len, default=None)


# ----------------------------------------------------------------------------------------------------------- AEDAT 2.0


@dataclass
class Aedat2:
    """Big-endian uint32 address and int32 time. The address layouts are jAER's, turned so that row 0 is the top.

    DVS128: ON is bit 0 clear, column 127 - bits 1 to 7, row (from below) bits 8 to 14. DAVIS: bit 31 marks frames and
    IMU samples, bit 10 external signals; ON is bit 11, column W - 1 - bits 12 to 21, row (from below) bits 22 to 30.
    """

    size: SensorSize
    davis: bool
    last: int = -1

    def __call__(self, data: NDArray[np.uint8]) -> Events:
        pairs = data.view(">u4").reshape(-1, 2)
        address, t = pairs[:, 0].astype(np.uint32), pairs[:, 1].astype(np.int64)
        if self.davis:
            kept = (address >> np.uint32(31) | address >> np.uint32(10) & np.uint32(1)) == 0
            x = address >> np.uint32(12) & np.uint32(0x3FF)
            y = address >> np.uint32(22) & np.uint32(0x1FF)
            p = address >> np.uint32(11) & np.uint32(1)
        else:
            kept = address >> np.uint32(15) == 0
            x = address >> np.uint32(1) & np.uint32(0x7F)
            y = address >> np.uint32(8) & np.uint32(0x7F)
            p = address & np.uint32(1) ^ np.uint32(1)
        t = unwrap(t, 32, self.last)
        self.last = int(t[-1]) if len(t) else self.last
        x, y = self.size.width - 1 - x.astype(np.int64), self.size.height - 1 - y.astype(np.int64)
        events = make_events(t, x, y, p)
        return events if bool(kept.all()) else events[kept]


def open_aedat2(path: Path) -> Opened:
    """An AEDAT 2.0 file. The chip is told by the header, or by the addresses: those of a DVS128 have 15 bits."""
    with path.open("rb") as file:
        lines = text_header(file, b"#")
        start = file.tell()
        sample = np.frombuffer(file.read(8 * 4096), np.uint8)
    notes: list[str] = []
    chip = _chip(lines)
    if chip is None:
        addresses = sample[: len(sample) // 8 * 8].view(">u4")[::2]
        chip = "dvs128" if bool((addresses < 1 << 15).all()) else "davis240"
        if chip == "davis240" and bool(((addresses >> 12 & 0x3FF)[addresses >> 31 == 0] >= 240).any()):
            chip = "davis346"
        notes.append(f"the header names no camera; read as {chip.upper()}")
    decode = Aedat2(CHIPS[chip], davis=chip.startswith("davis"))
    return Opened(CHIPS[chip], word_chunks(path, start, 8, decode, notes), notes)


def write_aedat2(path: Path, parts: Parts, size: SensorSize) -> None:
    """AEDAT 2.0 as a DVS128 (up to 128 x 128) or a DAVIS (240 x 180, 346 x 260) would; other sensors do not fit."""
    davis = {CHIPS["davis240"]: "Davis240C", CHIPS["davis346"]: "Davis346B"}.get(size)
    if davis is None and (size.width > 128 or size.height > 128):
        raise RecordingError(f"AEDAT 2 holds only sensors up to 128x128, 240x180 and 346x260, not {size}")
    name = f"eu.seebetter.ini.chips.davis.{davis}" if davis else "ch.unizh.ini.jaer.chip.retina.DVS128"
    with path.open("wb") as file:
        file.write(f"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n# AEChip: {name}\r\n".encode())
        for events in parts:
            file.write(aedat2_words(events, size if davis else DVS128, davis=davis is not None).tobytes())


def aedat2_words(events: Events, size: SensorSize, *, davis: bool) -> NDArray[np.uint32]:
    """Events as pairs of big-endian uint32: address, time."""
    if len(events) and int(events["t"][-1]) >= 1 << 32:
        raise RecordingError("AEDAT 2 holds times below 2^32 us only; shift the recording to begin at 0")
    width, height = size.width, size.height
    x, y = (width - 1 - events["x"]).astype(np.uint32), (height - 1 - events["y"]).astype(np.uint32)
    p = events["p"].astype(np.uint32)
    pairs = np.empty((len(events), 2), ">u4")
    pairs[:, 0] = y << np.uint32(22) | x << np.uint32(12) | p << np.uint32(11)
    if not davis:
        pairs[:, 0] = y << np.uint32(8) | x << np.uint32(1) | (p ^ np.uint32(1))
    pairs[:, 1] = events["t"]
    return pairs


# ----------------------------------------------------------------------------------------------------------- AEDAT 3.1

PACKET_HEADER = struct.Struct("<hhiiiiii")  # type, source, size, time offset, overflows, capacity, number, valid


def open_aedat3(path: Path) -> Opened:
    """An AEDAT 3.1 file: packets of events of one type; polarity events are type 1."""
    with path.open("rb") as file:
        lines = text_header(file, b"#")
        start = file.tell()
    notes: list[str] = []
    chip = _chip(lines)
    return Opened(CHIPS[chip] if chip else None, _aedat3_chunks(path, start, notes), notes)


def _aedat3_chunks(path: Path, start: int, notes: list[str]) -> Iterator[Events]:
    with path.open("rb") as file:
        file.seek(start)
        while header := file.read(PACKET_HEADER.size):
            if len(header) < PACKET_HEADER.size:
                notes.append("the last packet is cut short")
                return
            kind, _, size, _, overflows, _, number, _ = PACKET_HEADER.unpack(header)
            if size < 8 or number < 0 or not 0 <= overflows < 1 << 30 or size * number > LARGEST_PACKET:
                notes.append("a packet header makes no sense; what follows it is lost")
                return
            if kind != 1:
                file.seek(size * number, 1)
                continue
            data = file.read(size * number)
            if len(data) < size * number:
                notes.append("the last packet is cut short")
            yield _aedat3_events(data, size, overflows)


def _aedat3_events(data: bytes, size: int, overflows: int) -> Events:
    """Polarity events: uint32 with valid (0), ON (1), y (2 to 16), x (17 to 31); int32 time; an overflow is 2^31 us."""
    records = np.frombuffer(data, np.uint8)[: len(data) // size * size].reshape(-1, size)
    words = np.ascontiguousarray(records[:, :8]).view("<u4")
    word = words[:, 0]
    t = (words[:, 1] & np.uint32(0x7FFFFFFF)).astype(np.int64) + (overflows << 31)
    x, y = (word >> np.uint32(17)).astype(np.int64), (word >> np.uint32(2) & np.uint32(0x7FFF)).astype(np.int64)
    return make_events(t, x, y, word >> np.uint32(1) & np.uint32(1))[(word & np.uint32(1)) == 1]


def write_aedat3(path: Path, parts: Parts, size: SensorSize) -> None:
    """AEDAT 3.1 in packets of 4096 events; sensors that iniVation made only, for the header names the camera."""
    source = next((name for name, chip in CHIPS.items() if chip == size), None)
    if source is None:
        raise RecordingError(f"AEDAT 3.1 names a camera in place of a size, and none there has {size} pixels")
    with path.open("wb") as file:
        file.write(f"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 0: {source.upper()}\r\n#!END-HEADER\r\n".encode())
        for events in parts:
            file.writelines(aedat3_packets(events))


def aedat3_packets(events: Events) -> Iterator[bytes]:
    """Events as packets of at most 4096, each with its header; no packet spans an overflow of the clock."""
    word = (
        np.uint32(1)
        | events["p"].astype(np.uint32) << np.uint32(1)
        | events["y"].astype(np.uint32) << np.uint32(2)
        | events["x"].astype(np.uint32) << np.uint32(17)
    )
    pairs = np.stack([word, (events["t"] & 0x7FFFFFFF).astype(np.uint32)], axis=1).astype("<u4")
    overflow = events["t"] >> 31
    cuts = np.flatnonzero(np.diff(overflow)) + 1
    cuts = np.unique(np.concatenate([np.arange(0, len(events) + 4096, 4096).clip(max=len(events)), cuts, [0]]))
    for begin, end in pairwise(cuts.tolist()):
        n = end - begin
        yield PACKET_HEADER.pack(1, 0, 8, 4, int(overflow[begin]), n, n, n) + pairs[begin:end].tobytes()


# ------------------------------------------------------------------------------------------------------------- AEDAT 4

AEDAT4_MARK = b"#!AER-DAT4.0\r\n"


@dataclass(frozen=True)
class Aedat4Header:
    """Compression (0 none, 1 and 2 LZ4, 3 and 4 zstd), where packets begin and end, the event stream and its sensor."""

    compression: int
    start: int
    end: int
    stream: int
    size: SensorSize | None


def open_aedat4(path: Path) -> Opened:
    """An AEDAT 4 file. Packets are read and unpacked one by one; zstd ones go through EventCV, a few MB at a time."""
    header = _aedat4_header(path)
    notes: list[str] = []
    unpacks = kernels() is not None or lz4_frame() is not None
    own = header.compression == 0 or (header.compression in (1, 2) and unpacks)
    chunks = _aedat4_own(path, header, notes) if own else _aedat4_foreign(path, header, notes)
    return Opened(header.size, chunks, notes)


def _aedat4_header(path: Path) -> Aedat4Header:
    with path.open("rb") as file:
        file.seek(len(AEDAT4_MARK))
        (length,) = struct.unpack("<I", _exactly(file, 4))
        if length > 1 << 22:
            raise RecordingError("its header makes no sense")
        table = _exactly(file, length)
        start = file.tell()
        end = file.seek(0, 2)
    try:
        root = struct.unpack_from("<I", table)[0]
        compression = _field(table, root, 0, "<i", 0)
        table_at = _field(table, root, 1, "<q", -1)
        text_at = _field_place(table, root, 2)
        text_at += struct.unpack_from("<I", table, text_at)[0]
        text = table[text_at + 4 : text_at + 4 + struct.unpack_from("<I", table, text_at)[0]].decode("latin-1")
    except (struct.error, IndexError) as error:
        raise RecordingError("its header makes no sense") from error
    stream, size = _event_stream(text)
    return Aedat4Header(compression, start, table_at if start <= table_at <= end else end, stream, size)


def _event_stream(text: str) -> tuple[int, SensorSize | None]:
    """Number and sensor of the first stream of events in the header's XML."""
    for part in re.split(r'<node name="(?=\d+" path="[^"]*outInfo/\d+/")', text)[1:]:
        if re.search(r'key="typeIdentifier"[^>]*>EVTS<', part):
            sides = [re.search(rf'key="size{axis}"[^>]*>(\d+)<', part) for axis in "XY"]
            found = [int(side.group(1)) for side in sides if side]
            size = SensorSize(*found) if len(found) == 2 and all(1 <= side <= MAX_SIDE for side in found) else None
            return int(part[: part.index('"')]), size
    raise RecordingError("it holds no stream of events")


def _field_place(table: bytes, root: int, index: int) -> int:
    """Where a flatbuffer table's field lies, 0 if it is absent."""
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


def _aedat4_packets(path: Path, header: Aedat4Header, notes: list[str]) -> Iterator[bytes]:
    """The event stream's packets as they lie in the file, without their 8-byte frame."""
    with path.open("rb") as file:
        file.seek(header.start)
        while file.tell() < header.end:
            frame = file.read(8)
            if len(frame) < 8:
                notes.append("the last packet is cut short")
                return
            stream, length = struct.unpack("<ii", frame)
            if not 0 <= length <= LARGEST_PACKET:
                notes.append("a packet header makes no sense; what follows it is lost")
                return
            if stream != header.stream:
                file.seek(length, 1)
                continue
            data = file.read(length)
            if len(data) < length:
                notes.append("the last packet is cut short")
                return
            yield data


def _aedat4_own(path: Path, header: Aedat4Header, notes: list[str]) -> Iterator[Events]:
    damaged = n = 0
    waiting: list[NDArray[np.uint8]] = []
    for packet in _aedat4_packets(path, header, notes):
        try:
            records = _packet_records(_unpacked(packet, header.compression))
        except (RecordingError, struct.error, IndexError):
            damaged += 1
            continue
        waiting.append(records)
        n += records.size
        if n >= WHOLE_BYTES:
            yield _record_events(waiting)
            waiting, n = [], 0
    if waiting:
        yield _record_events(waiting)
    if damaged:
        notes.append(f"{damaged} damaged packets were left out")


def _packet_records(table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A size-prefixed flatbuffer EventPacket -> its events as [n, 16] bytes."""
    head = table[: 1 << 10].tobytes()
    root = 4 + struct.unpack_from("<I", head, 4)[0]
    place = _field_place(head, root, 0)
    if not place:
        return np.zeros((0, 16), np.uint8)
    place += struct.unpack_from("<I", head, place)[0]
    n = struct.unpack_from("<I", head, place)[0]
    records = table[place + 4 : place + 4 + 16 * n]
    if len(records) < 16 * n:
        raise RecordingError("a packet is shorter than it says")
    return records.reshape(-1, 16)


def _record_events(parts: list[NDArray[np.uint8]]) -> Events:
    """16-byte records (time int64, x and y int16, ON uint8, padding) -> events."""
    events = np.empty(sum(map(len, parts)), EVENTS)
    layout = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1"), ("", "V3")])
    loops, end = kernels(), 0
    for records in parts:
        begin, end = end, end + len(records)
        if loops is not None:
            loops.aedat4_events(records, events[begin:end])
            continue
        found = np.ascontiguousarray(records).view(layout)[:, 0]
        events[begin:end] = make_events(found["t"], found["x"], found["y"], found["p"])
    return events


def _unpacked(packet: bytes, compression: int) -> NDArray[np.uint8]:
    return np.frombuffer(packet, np.uint8) if compression == 0 else _unpack_lz4(packet)


@cache
def lz4_frame() -> Any:
    """The lz4 package's frames, None where it is not installed."""
    try:
        return importlib.import_module("lz4.frame")
    except ImportError:
        return None


def _unpack_lz4(data: bytes) -> NDArray[np.uint8]:
    """An LZ4 frame (frame format 1.6) without dictionary: by the lz4 package, or by our own slower loop."""
    blocks, largest = _lz4_blocks(data)  # first of all: nothing is unpacked that would not fit
    if (library := lz4_frame()) is not None:
        try:
            return np.frombuffer(library.decompress(data), np.uint8)
        except (RuntimeError, ValueError, EOFError) as error:
            raise RecordingError("a packet is no LZ4 frame") from error
    loops, source = kernels(), np.frombuffer(data, np.uint8)
    assert loops is not None
    out, end = np.empty(len(blocks) * largest, np.uint8), 0
    for begin, stop, raw in blocks:
        if raw:
            out[end : end + stop - begin] = source[begin:stop]
            end += stop - begin
        elif (end := loops.lz4_block(source[begin:stop], out, end)) < 0:
            raise RecordingError("a packet's LZ4 block is damaged")
    return out[:end]


def _lz4_blocks(data: bytes) -> tuple[list[tuple[int, int, bool]], int]:
    """Begin, end and whether it is stored as it is, of each block of a frame; and the most a block unpacks to."""
    magic, flags, sizes = struct.unpack_from("<IBB", data)
    code = sizes >> 4 & 7
    if magic != 0x184D2204 or flags >> 6 != 1 or code < 4 or flags & 1:
        raise RecordingError("a packet is no LZ4 frame")
    largest = 1 << 8 + 2 * code
    place = 7 + (8 if flags & 8 else 0)
    blocks: list[tuple[int, int, bool]] = []
    while (length := struct.unpack_from("<I", data, place)[0]) != 0:
        raw, length = bool(length >> 31), length & 0x7FFFFFFF
        place += 4
        blocks.append((place, place + length, raw))
        place += length + (4 if flags & 16 else 0)
        if place > len(data) or length > largest or len(blocks) * largest > LARGEST_PACKET:
            raise RecordingError("a packet's blocks reach beyond it")
    return blocks, largest


def _aedat4_foreign(path: Path, header: Aedat4Header, notes: list[str]) -> Iterator[Events]:
    """Through EventCV: a small file with the same header and some of the packets at a time."""
    with path.open("rb") as file:
        head = file.read(header.start)
    batch: list[bytes] = []
    for packet in _aedat4_packets(path, header, notes):
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


def write_aedat4(path: Path, parts: Parts, size: SensorSize) -> None:
    """AEDAT 4 with LZ4, by EventCV, which wants all events at once."""
    import eventcv

    events = np.concatenate(list(parts))
    table = np.stack([events["x"], events["y"], events["t"], events["p"]], axis=1).astype(np.int64)
    eventcv.save(eventcv.from_numpy(table, sensor_size=(size.width, size.height), time_unit="us"), str(path))
