"""Write Prophesee's raw formats, EVT 2.0, 2.1 and 3.0, and DAT, such that all readers get the same events."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.recordings.format import Parts, RecordingError
from spikesight.encoders.recordings.prophesee import Words

MOST_WRAPS = 1 << 20  # most clock wraps without an event: months in EVT3


@dataclass(frozen=True)
class Encoding:
    """One of the EVT formats: its names, bits of its clock, and encoders of events and of a time word."""

    version: str
    name: str
    bits: int
    words: Callable[[Events], Words]
    time_word: Callable[[NDArray[np.int64]], NDArray[np.int64]]
    kind: str

    def write(self, path: Path, parts: Parts, size: SensorSize) -> None:
        """Write header and words."""
        header = (
            f"% evt {self.version}\n% format {self.name};height={size.height};width={size.width}\n"
            f"% geometry {size}\n% integrator_name spikesight\n% end\n"
        )
        with path.open("wb") as file:
            file.write(header.encode())
            file.writelines(data for _, data in encoded(parts, self))


def evt2_words(events: Events) -> Words:
    """Encode events as uint32 words, with a time word wherever the upper bits change (at most every 64 us)."""
    return _with_times(events, events["x"].astype(np.int64) << 11).astype("<u4")


def evt21_words(events: Events) -> Words:
    """Encode events as uint64 words, one each, halves swapped as cameras write them ("legacy").

    This follows the format's description, but few programs read it so: of three other readers only evutils does
    (EventCV reads other events, faery refuses).
    """
    x = events["x"].astype(np.int64)
    return _with_times(events, (x & ~31) << 11 | np.int64(1) << (x & 31) + 32).astype("<u8")


def _with_times(events: Events, columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return words of EVT 2.0, or of 2.1 with halves swapped: columns, rows, low times and polarities, and time words
    before the first event and wherever the upper bits differ from the event before.
    """
    t, y, p = (events[name].astype(np.int64) for name in "typ")
    changes = np.flatnonzero(np.diff(t >> 6, prepend=-1))
    return np.insert(columns | p << 28 | (t & 0x3F) << 22 | y, changes, _time_word(t[changes]))


def _time_word(t: NDArray[np.int64]) -> NDArray[np.int64]:
    return 8 << 28 | t >> 6 & 0x0FFFFFFF


def evt3_words(events: Events) -> Words:
    """Encode events as uint16 words: row and time words where they change, single events and no vectors.

    Several programs misread vectors that stand alone; all programs read single events.
    """
    t, x, y, p = (events[name].astype(np.int64) for name in "txyp")
    words = np.stack([0x8000 | t >> 12 & 0xFFF, 0x6000 | t & 0xFFF, y, 0x2000 | p << 11 | x], axis=1)
    wanted = np.ones(words.shape, bool)
    wanted[1:, :3] = np.diff(np.stack([t >> 12, t, y], axis=1), axis=0) != 0
    return words[wanted].astype("<u2")


EVT2 = Encoding("2.0", "EVT2", 34, evt2_words, _time_word, "<u4")
EVT21 = Encoding("2.1", "EVT21;endianness=legacy", 34, evt21_words, _time_word, "<u8")
EVT3 = Encoding("3.0", "EVT3", 24, evt3_words, lambda t: 8 << 12 | t >> 12 & 0xFFF, "<u2")


def write_dat(path: Path, parts: Parts, size: SensorSize) -> None:
    """Write Prophesee's DAT, version 2: a text header, then 8 bytes an event, times of 32 bits in microseconds."""
    header = f"% Data file containing CD events.\n% Version 2\n% Height {size.height}\n% Width {size.width}\n"
    last = -1
    with path.open("wb") as file:
        file.write(header.encode() + bytes([0x0C, 8]))
        for events in parts:
            if int(np.diff(events["t"], prepend=events["t"][0] if last < 0 else last).max()) >= 1 << 31:
                raise RecordingError("DAT's clock loses count where there are no events for 36 minutes; cut it there")
            last = int(events["t"][-1])
            t, x, y, p = (events[name].astype(np.int64) for name in "txyp")
            file.write(np.stack([t & 0xFFFFFFFF, p << 28 | y << 14 | x], axis=1).astype("<u4").tobytes())


def encoded(parts: Iterable[Events], to: Encoding) -> Iterator[tuple[Events, bytes]]:
    """Yield pieces in order, cut where the clock wraps, and the words of each. Raises RecordingError.

    Between events, each wrap of the clock is written as its last and first time word. Readers count wraps by these;
    several only count a step from the very end of the clock to its beginning.
    """
    last = -1
    for part in parts:
        for events in np.split(part, np.flatnonzero(np.diff(part["t"] >> to.bits)) + 1):
            first = int(events["t"][0])
            wraps = range((last >> to.bits) + 1, (first >> to.bits) + 1) if last >= 0 else range(0)
            if len(wraps) > MOST_WRAPS:
                raise RecordingError(f"EVT {to.version} cannot hold a gap of {(first - last) / 8.64e10:.0f} days")
            ends = np.array([(wrap << to.bits) + step for wrap in wraps for step in (-1, 0)], np.int64)
            yield events, to.time_word(ends).astype(to.kind).tobytes() + to.words(events).tobytes()
            last = int(events["t"][-1])
