"""Writing Prophesee's raw formats, EVT 2.0, 2.1 and 3.0, and DAT, so that every reader gets the same events."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.recordings.format import Parts, RecordingError
from spikesight.encoders.recordings.prophesee import Words

MOST_WRAPS = 1 << 20  # of a clock without an event: months of EVT3


def write_evt2(path: Path, parts: Parts, size: SensorSize) -> None:
    """EVT 2.0: a time word wherever the upper bits change (every 64 us at the earliest)."""
    _save(path, "2.0", "EVT2", size, parts, evt2_words, lambda t: 8 << 28 | t >> 6 & 0x0FFFFFFF, "<u4", 34)


def evt2_words(events: Events) -> Words:
    """Events as uint32 words, beginning with a time word."""
    t = events["t"]
    words = (
        events["p"].astype(np.uint32) << np.uint32(28)
        | (t & 0x3F).astype(np.uint32) << np.uint32(22)
        | events["x"].astype(np.uint32) << np.uint32(11)
        | events["y"].astype(np.uint32)
    )
    high = t >> 6
    changes = _changes(high)
    times = np.uint32(8 << 28) | (high[changes] & 0x0FFFFFFF).astype(np.uint32)
    return np.insert(words, changes, times).astype("<u4")


def write_evt21(path: Path, parts: Parts, size: SensorSize) -> None:
    """EVT 2.1 with one event a word, its halves the other way round as cameras write it ("legacy").

    As the format is described, but few read it so: of three other readers evutils alone (EventCV reads other events,
    faery refuses).
    """
    name = "EVT21;endianness=legacy"
    _save(path, "2.1", name, size, parts, evt21_words, lambda t: t >> 6 & 0x0FFFFFFF | 8 << 28, "<u8", 34)


def evt21_words(events: Events) -> Words:
    """Events as uint64 words, halves swapped, beginning with a time word."""
    t, x = events["t"], events["x"].astype(np.uint64)
    words = (
        events["p"].astype(np.uint64) << np.uint64(28)
        | (t & 0x3F).astype(np.uint64) << np.uint64(22)
        | (x & ~np.uint64(31)) << np.uint64(11)
        | events["y"].astype(np.uint64)
        | np.uint64(1) << (x & np.uint64(31)) + np.uint64(32)
    )
    high = t >> 6
    changes = _changes(high)
    times = np.uint64(8 << 28) | (high[changes] & 0x0FFFFFFF).astype(np.uint64)
    return np.insert(words, changes, times).astype("<u8")


def write_evt3(path: Path, parts: Parts, size: SensorSize) -> None:
    """EVT 3.0 with single events only: row and time words where they change, no vectors.

    Vectors that stand alone are read wrongly by several programs; single events are read by all.
    """
    _save(path, "3.0", "EVT3", size, parts, evt3_words, lambda t: 8 << 12 | t >> 12 & 0xFFF, "<u2", 24)


def evt3_words(events: Events) -> Words:
    """Events as uint16 words, beginning with time and row."""
    t, y = events["t"], events["y"].astype(np.uint16)
    high, low = t >> 12 & 0xFFF, (t & 0xFFF).astype(np.uint16)
    words = np.zeros((len(events), 4), np.uint16)  # time high, time low, row, column
    words[:, 0] = 0x8000 | high.astype(np.uint16)
    words[:, 1] = 0x6000 | low
    words[:, 2] = y
    words[:, 3] = 0x2000 | events["p"].astype(np.uint16) << 11 | events["x"].astype(np.uint16)
    wanted = np.ones(words.shape, bool)
    wanted[1:, 0] = np.diff(t >> 12) != 0
    wanted[1:, 1] = np.diff(t) != 0
    wanted[1:, 2] = np.diff(events["y"]) != 0
    return words[wanted].astype("<u2")


def write_dat(path: Path, parts: Parts, size: SensorSize) -> None:
    """Events in 8 bytes each behind a text header: Prophesee's DAT, version 2, times of 32 bits in microseconds."""
    header = f"% Data file containing CD events.\n% Version 2\n% Height {size.height}\n% Width {size.width}\n"
    last = -1
    with path.open("wb") as file:
        file.write(header.encode() + bytes([0x0C, 8]))
        for events in parts:
            if int(np.diff(events["t"], prepend=events["t"][0] if last < 0 else last).max()) >= 1 << 31:
                raise RecordingError("DAT's clock loses count where there are no events for 36 minutes; cut it there")
            last = int(events["t"][-1])
            file.write(dat_words(events).tobytes())


def dat_words(events: Events) -> Words:
    """Events as pairs of uint32: time, then address and polarity."""
    pairs = np.empty((len(events), 2), "<u4")
    pairs[:, 0] = events["t"] & 0xFFFFFFFF
    pairs[:, 1] = (
        events["p"].astype(np.uint32) << np.uint32(28)
        | events["y"].astype(np.uint32) << np.uint32(14)
        | events["x"].astype(np.uint32)
    )
    return pairs


def _changes(high: NDArray[np.int64]) -> NDArray[np.intp]:
    """Where a time word must stand: before the first event and wherever the upper bits differ from the event before."""
    return np.flatnonzero(np.concatenate([[True], high[1:] != high[:-1]])) if len(high) else np.zeros(0, np.intp)


def _save(
    path: Path,
    version: str,
    name: str,
    size: SensorSize,
    parts: Parts,
    words: Callable[[Events], Words],
    time_word: Callable[[int], int],
    kind: str,
    bits: int,
) -> None:
    """Header and words. Between events, each wrap of the clock shows as its last and its first time word.

    Readers count wraps by these; several count none but from the very end of the clock to its beginning.
    """
    header = (
        f"% evt {version}\n% format {name};height={size.height};width={size.width}\n% geometry {size}\n"
        "% integrator_name spikesight\n% end\n"
    )
    last = -1
    with path.open("wb") as file:
        file.write(header.encode())
        for part in parts:
            for events in _between_wraps(part, bits):
                first = int(events["t"][0])
                wraps = range((last >> bits) + 1, (first >> bits) + 1) if last >= 0 else range(0)
                if len(wraps) > MOST_WRAPS:
                    raise RecordingError(f"EVT {version} cannot hold a gap of {(first - last) / 8.64e10:.0f} days")
                ends = [time_word((wrap << bits) + step) for wrap in wraps for step in (-1, 0)]
                file.write(np.array(ends, kind).tobytes())
                file.write(words(events).tobytes())
                last = int(events["t"][-1])


def _between_wraps(events: Events, bits: int) -> Iterator[Events]:
    """Events cut where their clock begins anew."""
    cuts = (np.flatnonzero(np.diff(events["t"] >> bits)) + 1).tolist()
    for begin, end in pairwise([0, *cuts, len(events)]):
        yield events[begin:end]
