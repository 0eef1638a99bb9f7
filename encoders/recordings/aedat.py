"""iniVation's older formats: AEDAT 1.0 and 2.0 (jAER), and AEDAT 3.1 (cAER, DVS Gesture)."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import Events, SensorSize, make_events, unwrap
from spikesight.encoders.recordings.format import LARGEST_PACKET, CutShort, Opened, as_decoder, text_header, word_chunks

CHIPS = {  # sensors by a part of the chip's name; the longest match counts
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
NAMED = re.compile(r"#\s*(?:aechip|source \d+):\s*(\S+)", re.IGNORECASE)  # a header's line about the camera


def _chip(lines: list[str]) -> str | None:
    """Return the chip of the first line that names the camera. jAER's preferences, further down, name others too."""
    named = next((found[1].lower() for line in lines if (found := NAMED.match(line))), "")
    return max((name for name in CHIPS if name in named), key=len, default=None)


# ----------------------------------------------------------------------------------------------------------- AEDAT 2.0


@dataclass
class Aedat2:
    """Decodes big-endian uint32 address and int32 time. Address layouts are jAER's, flipped so that row 0 is the top.

    DVS128: ON is bit 0 clear, column 127 - bits 1 to 7, row (from below) bits 8 to 14. DAVIS: bit 31 marks frames and
    IMU samples, bit 10 external signals; ON is bit 11, column W - 1 - bits 12 to 21, row (from below) bits 22 to 30.
    AEDAT 1.0 (`first_version`), of the DVS128 alone, has addresses of 16 bits.
    """

    size: SensorSize
    davis: bool
    first_version: bool = False
    last: int = -1

    def events(self, data: NDArray[np.uint8]) -> Events:
        """Decode bytes that are complete records."""
        record = np.dtype([("address", ">u2" if self.first_version else ">u4"), ("t", ">u4")])
        address, t = (data.view(record)[name].astype(np.int64) for name in ("address", "t"))
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
    """Open an AEDAT 1.0 or 2.0 file. The header names the chip, or the addresses tell it: a DVS128's have 15 bits."""
    with path.open("rb") as file:
        lines = text_header(file, "#", "#endofasciiheader")
        start = file.tell()
        sample = np.frombuffer(file.read(8 * 4096), np.uint8)
    notes: list[str] = []
    first = lines[:1] == ["#!AER-DAT1.0"]
    chip = "dvs128" if first else _chip(lines)
    if chip is None:
        addresses = sample[: len(sample) // 8 * 8].view(">u4")[::2]
        chip = "dvs128" if bool((addresses < 1 << 15).all()) else "davis240"
        if chip == "davis240" and bool(((addresses >> 12 & 0x3FF)[addresses >> 31 == 0] >= 240).any()):
            chip = "davis346"
        notes.append(f"the header names no camera known here; read as {chip.upper()}")
    decode, record = Aedat2(CHIPS[chip], chip.startswith("davis"), first), 6 if first else 8
    return Opened(CHIPS[chip], word_chunks(path, start, record, as_decoder(decode.events, record), notes), notes)


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
        end = file.seek(0, 2)
        file.seek(start)
        while header := file.read(PACKET_HEADER.size):
            if len(header) < PACKET_HEADER.size:
                notes.append(CutShort("the last packet is cut short"))
                return
            kind, _, size, _, overflows, _, number, _ = PACKET_HEADER.unpack(header)
            if size < 8 or number < 0 or not 0 <= overflows < 1 << 30 or size * number > LARGEST_PACKET:
                notes.append(CutShort("a packet header makes no sense; what follows it is lost"))
                return
            if file.tell() + size * number > end:
                notes.append(CutShort("the last packet is cut short"))
            if kind == 1:
                yield _aedat3_events(file.read(size * number), size, overflows)
            else:
                file.seek(size * number, 1)


def _aedat3_events(data: bytes, size: int, overflows: int) -> Events:
    """Decode polarity events: uint32 with valid (0), ON (1), y (2), x (17); int32 time; an overflow is 2^31 us."""
    records = np.frombuffer(data, np.uint8)[: len(data) // size * size].reshape(-1, size)
    words = np.ascontiguousarray(records[:, :8]).view("<u4")
    word, t = words.astype(np.int64).T
    t = (t & 0x7FFFFFFF) + (overflows << 31)
    return make_events(t, word >> 17, word >> 2 & 0x7FFF, word >> 1 & 1)[word & 1 == 1]
