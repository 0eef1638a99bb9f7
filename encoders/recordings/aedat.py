"""iniVation's older formats: AEDAT 2.0 (jAER) and AEDAT 3.1 (cAER, DVS Gesture)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import Events, SensorSize, make_events, unwrap
from spikesight.encoders.kernels import LARGEST_PACKET
from spikesight.encoders.recordings.format import Opened, Parts, RecordingError, as_decoder, text_header, word_chunks

CHIPS = {  # sensors by the chip or source name in a header; the longest match counts
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


def _chip(lines: list[str]) -> str | None:
    text = "\n".join(lines).lower()
    return max((name for name in CHIPS if name in text), key=len, default=None)


# ----------------------------------------------------------------------------------------------------------- AEDAT 2.0


@dataclass
class Aedat2:
    """Decodes big-endian uint32 address and int32 time. Address layouts are jAER's, flipped so that row 0 is the top.

    DVS128: ON is bit 0 clear, column 127 - bits 1 to 7, row (from below) bits 8 to 14. DAVIS: bit 31 marks frames and
    IMU samples, bit 10 external signals; ON is bit 11, column W - 1 - bits 12 to 21, row (from below) bits 22 to 30.
    """

    size: SensorSize
    davis: bool
    last: int = -1

    def events(self, data: NDArray[np.uint8]) -> Events:
        """Decode bytes that are complete records."""
        address, t = data.view(">u4").reshape(-1, 2).astype(np.int64).T
        if self.davis:
            kept = address & (1 << 31 | 1 << 10) == 0
            x, y, p = address >> 12 & 0x3FF, address >> 22 & 0x1FF, address >> 11 & 1
        else:
            kept = address >> 15 == 0
            x, y, p = address >> 1 & 0x7F, address >> 8 & 0x7F, address & 1 ^ 1
        t = unwrap(t, 32, self.last)
        self.last = int(t[-1]) if len(t) else self.last
        events = make_events(t, self.size.width - 1 - x, self.size.height - 1 - y, p)
        return events if bool(kept.all()) else events[kept]


def open_aedat2(path: Path) -> Opened:
    """Open an AEDAT 2.0 file. The header names the chip, or the addresses tell it: a DVS128's have 15 bits."""
    with path.open("rb") as file:
        lines = text_header(file, "#", "#endofasciiheader")
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
    return Opened(CHIPS[chip], word_chunks(path, start, 8, as_decoder(decode.events, 8), notes), notes)


def write_aedat2(path: Path, parts: Parts, size: SensorSize) -> None:
    """Write AEDAT 2.0 like a DVS128 (up to 128 x 128) or DAVIS (240 x 180, 346 x 260). Raises for other sensors."""
    davis = {CHIPS["davis240"]: "Davis240C", CHIPS["davis346"]: "Davis346B"}.get(size)
    if davis is None and (size.width > 128 or size.height > 128):
        raise RecordingError(f"AEDAT 2 holds only sensors up to 128x128, 240x180 and 346x260, not {size}")
    name = f"eu.seebetter.ini.chips.davis.{davis}" if davis else "ch.unizh.ini.jaer.chip.retina.DVS128"
    chip = size if davis else DVS128
    with path.open("wb") as file:
        lines = ("#!AER-DAT2.0", "# This is a raw AE data file", f"# AEChip: {name}", "# End of ASCII Header", "")
        file.write("\r\n".join(lines).encode())
        for events in parts:
            if int(events["t"][-1]) >= 1 << 32:
                raise RecordingError("AEDAT 2 holds times below 2^32 us only; let the recording begin at 0 (--zero)")
            t, x, y, p = (events[name].astype(np.int64) for name in "txyp")
            x, y = chip.width - 1 - x, chip.height - 1 - y
            address = y << 22 | x << 12 | p << 11 if davis else y << 8 | x << 1 | p ^ 1
            file.write(np.stack([address, t], axis=1).astype(">u4").tobytes())


# ----------------------------------------------------------------------------------------------------------- AEDAT 3.1

PACKET_HEADER = struct.Struct("<hhiiiiii")  # type, source, size, time offset, overflows, capacity, number, valid


def open_aedat3(path: Path) -> Opened:
    """Open an AEDAT 3.1 file: packets of events of one type; polarity events are type 1."""
    with path.open("rb") as file:
        lines = text_header(file, "#", "#!end-header")
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
    """Decode polarity events: uint32 with valid (0), ON (1), y (2), x (17); int32 time; an overflow is 2^31 us."""
    records = np.frombuffer(data, np.uint8)[: len(data) // size * size].reshape(-1, size)
    words = np.ascontiguousarray(records[:, :8]).view("<u4")
    word, t = words.astype(np.int64).T
    t = (t & 0x7FFFFFFF) + (overflows << 31)
    return make_events(t, word >> 17, word >> 2 & 0x7FFF, word >> 1 & 1)[word & 1 == 1]


def write_aedat3(path: Path, parts: Parts, size: SensorSize) -> None:
    """Write AEDAT 3.1 in packets of at most 4096 events, none across an overflow of the clock. The header names the
    camera, so only sizes of iniVation's sensors are possible.
    """
    source = next((name for name, chip in CHIPS.items() if chip == size), None)
    if source is None:
        raise RecordingError(f"AEDAT 3.1 names a camera in place of a size, and none there has {size} pixels")
    with path.open("wb") as file:
        file.write(f"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 0: {source.upper()}\r\n#!END-HEADER\r\n".encode())
        for events in parts:
            t, x, y, p = (events[name].astype(np.int64) for name in "txyp")
            pairs = np.stack([x << 17 | y << 2 | p << 1 | 1, t & 0x7FFFFFFF], axis=1).astype("<u4")
            overflow = t >> 31
            cuts = {0, len(t), *range(0, len(t), 4096), *(np.flatnonzero(np.diff(overflow)) + 1).tolist()}
            for begin, end in pairwise(sorted(cuts)):
                n = end - begin
                file.write(PACKET_HEADER.pack(1, 0, 8, 4, int(overflow[begin]), n, n, n) + pairs[begin:end].tobytes())
