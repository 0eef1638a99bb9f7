"""Reading Prophesee's raw formats, EVT 2.0, 2.1 and 3.0, and DAT: headers and decoders.

Bit layouts after Prophesee's published format descriptions. Time bases wrap (34 bits in EVT2, 24 in EVT3, 32 in DAT)
and are unwrapped; a smaller step back is left for the sanitiser. Each decoder is a loop in numba and the same in numpy.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders import kernels
from encoders.events import MAX_SIDE, Events, SensorSize, empty_events, unwrap
from encoders.recordings.format import Decode, Opened, RecordingError, fit, text_header, word_chunks

SENSORS = {  # what a plugin or system name says where the header has no geometry
    "genx320": SensorSize(320, 320),
    "gen31": SensorSize(640, 480),
    "gen3": SensorSize(640, 480),
    "gen41": SensorSize(1280, 720),
    "gen4": SensorSize(1280, 720),
    "imx636": SensorSize(1280, 720),
    "imx646": SensorSize(1280, 720),
}
Words = NDArray[np.unsignedinteger]


# ----------------------------------------------------------------------------------------------------------- decoders


@dataclass
class Evt2:
    """uint32 words: kind (28), low time (22), x (11), y (0); kind 0 OFF, 1 ON, 8 the upper 28 bits of time."""

    high: int = -1

    def __call__(self, data: NDArray[np.uint8], out: Events) -> tuple[int, int]:
        """See format.Decode."""
        if (loops := kernels.compiled("readers")) is None:
            return fit(self.plain, data, out, 4)
        data = data[: 4 * (len(out) - 1)]
        n, self.high = loops.evt2(data.view("<u4"), self.high, out.view(np.uint8))
        return n, len(data)

    def plain(self, data: NDArray[np.uint8]) -> Events:
        """The numpy twin of readers.evt2."""
        words = data.view("<u4")
        kind = words >> np.uint32(28)
        base, self.high = _bases(kind == 8, (words & np.uint32(0x0FFFFFFF)).astype(np.int64) << 6, 34, self.high)
        kept = (kind <= 1) & (base >= 0)
        word = words[kept]
        events = empty_events(len(word))
        events["t"] = base[kept] | (word >> np.uint32(22) & np.uint32(0x3F))
        events["x"] = word >> np.uint32(11) & np.uint32(0x7FF)
        events["y"] = word & np.uint32(0x7FF)
        events["p"] = kind[kept] == 1
        return events


def _bases(is_high: NDArray[np.bool_], value: NDArray[np.int64], bits: int, high: int) -> tuple[NDArray[np.int64], int]:
    """For every word the time base in force, -1 before the first; and the last one."""
    places = np.flatnonzero(is_high)
    highs = np.concatenate([[high], unwrap(value[places], bits, high)]).astype(np.int64)
    return highs[np.cumsum(is_high)], int(highs[-1])


@dataclass
class Evt21:
    """uint64 words: kind (60), low time (54), base x (43), y (32), one bit for each of 32 pixels (0)."""

    swapped: bool = False  # "legacy" files hold the two halves of a word the other way round
    high: int = -1

    def __call__(self, data: NDArray[np.uint8], out: Events) -> tuple[int, int]:
        """See format.Decode."""
        if (loops := kernels.compiled("readers")) is None:
            return fit(self.plain, data, out, 8, 32)
        n, used, self.high = loops.evt21(self._words(data), self.high, out.view(np.uint8))
        return n, 8 * used

    def _words(self, data: NDArray[np.uint8]) -> Words:
        words = data.view("<u8")
        return words >> np.uint64(32) | words << np.uint64(32) if self.swapped else words

    def plain(self, data: NDArray[np.uint8]) -> Events:
        """The numpy twin of readers.evt21."""
        words = self._words(data)
        kind = words >> np.uint64(60)
        value = (words >> np.uint64(32) & np.uint64(0x0FFFFFFF)).astype(np.int64) << 6
        base, self.high = _bases(kind == 8, value, 34, self.high)
        kept = (kind <= 1) & (base >= 0)
        word, base, kind = words[kept], base[kept], kind[kept]
        index, bit = np.nonzero(word[:, np.newaxis] >> np.arange(32, dtype=np.uint64) & np.uint64(1))
        events = empty_events(len(index))
        events["t"] = (base | (word >> np.uint64(54) & np.uint64(0x3F)).astype(np.int64))[index]
        events["x"] = (word >> np.uint64(43) & np.uint64(0x7FF)).astype(np.int64)[index] + bit
        events["y"] = (word >> np.uint64(32) & np.uint64(0x7FF)).astype(np.int64)[index]
        events["p"] = (kind == 1)[index]
        return events


@dataclass
class Evt3:
    """uint16 words that change one thing each: row, time, base column; an event is a column or a bit of a vector."""

    state: NDArray[np.int64] = field(default_factory=lambda: np.array([-1, 0, 0, 0, 0, 0], np.int64))

    def __call__(self, data: NDArray[np.uint8], out: Events) -> tuple[int, int]:
        """See format.Decode."""
        if (loops := kernels.compiled("readers")) is None:
            return fit(self.plain, data, out, 2, 12)
        n, used = loops.evt3(data.view("<u2"), self.state, out.view(np.uint8))
        return n, 2 * used

    def plain(self, data: NDArray[np.uint8]) -> Events:
        """The numpy twin of readers.evt3."""
        words = data.view("<u2")
        kind = words >> np.uint16(12)
        value = words.astype(np.int64) & 0xFFF
        high, last_high = _bases(kind == 8, value << 12, 24, int(self.state[0]))
        low = _held(kind == 6, value, int(self.state[1]))
        y = _held(kind == 0, value & 0x7FF, int(self.state[2]))
        polarity = _held(kind == 3, value >> 11, int(self.state[4]))
        known = np.logical_or.accumulate(kind == 0) | bool(self.state[5])
        vector = (kind == 4) | (kind == 5)
        base = _vector_bases(kind, value & 0x7FF, int(self.state[3]))
        usable = (high >= 0) & known
        single = np.flatnonzero((kind == 2) & usable)
        places = np.flatnonzero(vector & usable)
        bits = np.where(kind[places] == 4, value[places], value[places] & 0xFF)
        index, bit = np.nonzero(bits[:, np.newaxis] >> np.arange(12) & 1)
        word = np.concatenate([single, places[index]])
        x = np.concatenate([value[single] & 0x7FF, base[places][index] + bit])
        on = np.concatenate([value[single] >> 11 & 1, polarity[places][index]])
        order = np.argsort(word, kind="stable")
        word = word[order]
        events = empty_events(len(word))
        events["t"], events["x"], events["y"], events["p"] = (high | low)[word], x[order], y[word], on[order]
        if len(words):
            after = int(base[-1]) + {4: 12, 5: 8}.get(int(kind[-1]), 0)
            self.state[:] = last_high, low[-1], y[-1], min(after, 0x7FFF - 12), polarity[-1], known[-1]
        return events


def _held(is_set: NDArray[np.bool_], value: NDArray[np.int64], before: int) -> NDArray[np.int64]:
    """For every word the value last set, `before` until the first."""
    return np.concatenate([[before], value[is_set]])[np.cumsum(is_set)]


def _vector_bases(kind: Words, value: NDArray[np.int64], before: int) -> NDArray[np.int64]:
    """For every word the base column in force: the last one set, moved on by the vectors since (8 or 12 each)."""
    moved = np.cumsum(np.select([kind == 4, kind == 5], [12, 8], 0))
    is_set = kind == 3
    anchor = np.concatenate([[before], value[is_set] - moved[is_set]])[np.cumsum(is_set)]
    moved_before = np.concatenate([[0], moved[:-1]]) if len(moved) else moved
    return np.minimum(anchor + moved_before * ~is_set + moved * is_set, 0x7FFF - 12)


@dataclass
class Dat:
    """Two uint32 a record: time; x (0), y (14), polarity (28)."""

    last: int = -1

    def __call__(self, data: NDArray[np.uint8], out: Events) -> tuple[int, int]:
        """See format.Decode."""
        if (loops := kernels.compiled("readers")) is None:
            return fit(self.plain, data, out, 8)
        data = data[: 8 * (len(out) - 1)]
        self.last = loops.dat(data.view("<u4"), self.last, out.view(np.uint8))
        return len(data) // 8, len(data)

    def plain(self, data: NDArray[np.uint8]) -> Events:
        """The numpy twin of readers.dat."""
        pairs = data.view("<u4").reshape(-1, 2)
        events = empty_events(len(pairs))
        t = unwrap(pairs[:, 0].astype(np.int64), 32, self.last)
        self.last = int(t[-1]) if len(t) else self.last
        events["t"] = t
        events["x"] = pairs[:, 1] & np.uint32(0x3FFF)
        events["y"] = pairs[:, 1] >> np.uint32(14) & np.uint32(0x3FFF)
        events["p"] = (pairs[:, 1] >> np.uint32(28)) > 0
        return events


# ------------------------------------------------------------------------------------------------------------ headers


def open_raw(path: Path) -> Opened:
    """An EVT 2.0, 2.1 or 3.0 file; the encoding comes from its header."""
    with path.open("rb") as file:
        lines = text_header(file, b"%")
        start = file.tell()
    header = "\n".join(lines).lower()
    record, decode = _decoder(header)
    notes: list[str] = []
    return Opened(_geometry(header), word_chunks(path, start, record, decode, notes), notes)


def raw_format(head: bytes) -> str | None:
    """evt2, evt21 or evt3, by the first kilobytes of a file; None for anything else."""
    header = head[: head.rfind(b"\n%") + 80].decode("latin-1").lower()  # what follows may be kilobytes of events
    for pattern, name in ((r"evt ?3", "evt3"), (r"evt ?2\.?1", "evt21"), (r"evt ?2", "evt2")):
        if re.search(rf"^% (format )?{pattern}\b", header, re.MULTILINE):
            return name
    return None


def _decoder(header: str) -> tuple[int, Decode]:
    match raw_format(header.encode("latin-1")):
        case "evt3":
            return 2, Evt3()
        case "evt21":
            return 8, Evt21(swapped="legacy" in header)
        case "evt2":
            return 4, Evt2()
    raise RecordingError("the header names no encoding that is known here (EVT 2.0, 2.1 and 3.0 are)")


def _geometry(header: str) -> SensorSize | None:
    """The sensor by `geometry 640x480`, by `width=640;height=480`, by Width and Height lines, or by a sensor's name."""
    width = re.search(r"^% width (\d+)|width=(\d+)", header, re.MULTILINE)
    height = re.search(r"^% height (\d+)|height=(\d+)", header, re.MULTILINE)
    pair = re.search(r"^% geometry (\d+)x(\d+)", header, re.MULTILINE)
    if pair is None and width and height:
        found = (int(width.group(1) or width.group(2)), int(height.group(1) or height.group(2)))
    elif pair is not None:
        found = (int(pair.group(1)), int(pair.group(2)))
    else:
        return next((size for name, size in SENSORS.items() if name in header), None)
    return SensorSize(*found) if all(1 <= side <= MAX_SIDE for side in found) else None


def open_dat(path: Path) -> Opened:
    """A DAT file: text header, two bytes that give kind and size of the records, records of 8 bytes."""
    with path.open("rb") as file:
        header = "\n".join(text_header(file, b"%")).lower()
        kind = file.read(2)
        start = file.tell()
    if len(kind) < 2 or kind[1] != 8:
        raise RecordingError("it has no 8-byte events")
    notes: list[str] = []
    return Opened(_geometry(header), word_chunks(path, start, 8, Dat(), notes), notes)
