"""Slow and plain twins of the compiled loops of encoders/kernels, in numpy: the same arguments, answers and bits.

Only the loops of AEDAT 4 differ in form: `read_aedat4` stands in for the reader that calls them.
"""

import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spikesight.encoders.binning import NOWHERE
from spikesight.encoders.events import EVENTS, Events, empty_events, make_events, unwrap
from spikesight.encoders.kernels import drawing
from spikesight.encoders.preprocess.filters import NEVER_US
from spikesight.encoders.recordings import aedat4
from spikesight.encoders.recordings.format import RecordingError
from tests.support.oracles import emulator

OUTSIDE, UNSORTED = -1, -2


def by_oracles(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on every loop is its plain twin."""
    monkeypatch.setattr("spikesight.encoders.kernels.compiled", oracle)
    monkeypatch.setattr("spikesight.encoders.recordings.aedat4._read_compiled", read_aedat4)


def oracle(name: str) -> ModuleType:
    """In place of kernels.compiled(); test_drawing_loops.py has numpy's calls for those of drawings."""
    return {"emulator": emulator, "drawing": drawing}.get(name, sys.modules[__name__])


# ------------------------------------------------------------------------------------------------- binning and filters


def fill_counts(
    events: Events,
    start_us: int,
    bin_us: int,
    columns: NDArray[np.uint32],
    rows: NDArray[np.uint32],
    limit: Any,
    out: NDArray[Any],
    totals: NDArray[np.int64],
    clear: bool,
) -> int:
    steps, _, height, width = out.shape
    span_us = steps * bin_us
    begin, end = np.searchsorted(events["t"], (start_us, start_us + span_us)).tolist()
    window = events[begin:end]
    t, x, y = window["t"], window["x"].astype(np.int64), window["y"].astype(np.int64)
    if len(x) and (x.min() < 0 or y.min() < 0 or x.max() >= len(columns) or y.max() >= len(rows)):
        return OUTSIDE
    if len(t) and (t[0] < start_us or t[-1] >= start_us + span_us or bool((t[1:] < t[:-1]).any())):
        return UNSORTED
    place = columns[x].astype(np.int64) + rows[y]
    window, place = window[place < NOWHERE], place[place < NOWHERE]
    step = (window["t"] - start_us) // bin_us
    cell = (step * 2 + window["p"]) * (height * width) + place
    counts = np.bincount(cell, minlength=out.size).reshape(out.shape)
    if clear:
        out.fill(0)
    out += np.minimum(counts, limit - out.astype(np.int64)).astype(out.dtype)
    totals += np.bincount(step, minlength=steps)
    return 0


def refractory(events: Events, last: NDArray[np.int64], time_us: int, keep: NDArray[np.bool_]) -> None:
    for index, (t, x, y, _) in enumerate(events.tolist()):
        if t - last[y, x] >= time_us:
            last[y, x] = t
            keep[index] = True


def background(events: Events, last: NDArray[np.int64], time_us: int, keep: NDArray[np.bool_]) -> None:
    for index, (t, x, y, _) in enumerate(events.tolist()):
        around = last[y : y + 3, x : x + 3].copy()
        around[1, 1] = NEVER_US
        keep[index] = t - int(around.max()) <= time_us
        last[y + 1, x + 1] = t


def supported(
    events: Events, last: NDArray[np.int64], time_us: int, wide_us: int, needed: int, some: NDArray[np.bool_],
    many: NDArray[np.bool_],
) -> None:  # fmt: skip
    for index, (t, x, y, _) in enumerate(events.tolist()):
        ago = t - np.delete(last[y : y + 3, x : x + 3].ravel(), 4)
        some[index], many[index] = ago.min() <= time_us, np.count_nonzero(ago <= wide_us) >= needed
        last[y + 1, x + 1] = t


def chosen(events: Events, keep: NDArray[np.bool_], out: Events) -> int:
    n = int(np.count_nonzero(keep))
    out[:n] = events[keep]
    return n


def unmasked(events: Events, mask: NDArray[np.bool_], keep: NDArray[np.bool_]) -> None:
    keep[:] = ~mask[events["y"], events["x"]]


def turn(opened: NDArray[np.uint8], shown: int, since: NDArray[np.uint16], x: NDArray[np.uint8]) -> None:
    since[:] = np.where(opened > 0, 0, np.minimum(since + 1, shown))
    x[:] = since < shown


def gather(events: Events, begin: int, span_us: int, cell: int, counts: NDArray[np.int32]) -> int:
    spans = events["t"][begin:] // span_us
    others = np.flatnonzero(spans != spans[0])
    end = begin + int(others[0]) if len(others) else len(events)
    np.add.at(counts, (events["y"][begin:end] // cell, events["x"][begin:end] // cell), 1)
    return end


def crop(
    events: Events, kept: NDArray[np.bool_], cell: int, left: float, top: float, scale: float, across: int, down: int,
    width: int, height: int, seen: Events,
) -> int:  # fmt: skip
    x = np.floor((events["x"] - left) * scale).astype(np.int64) + across
    y = np.floor((events["y"] - top) * scale).astype(np.int64) + down
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & kept[events["y"] // cell, events["x"] // cell]
    n = int(np.count_nonzero(inside))
    seen[:n] = events[inside]
    seen["x"][:n], seen["y"][:n] = x[inside], y[inside]
    return n


def pool(
    events: Events, columns: NDArray[np.uint32], rows: NDArray[np.uint32], nowhere: int, area: NDArray[np.int64],
    level: NDArray[np.int64], fired: Events,
) -> int:  # fmt: skip
    n = 0
    for event in events:
        at = int(rows[event["y"]]), int(columns[event["x"]])
        if max(at) >= nowhere:
            continue
        level[at] += 1 if event["p"] else -1
        if abs(level[at]) >= area[at]:
            level[at] = 0
            fired[n] = event
            fired["y"][n], fired["x"][n] = at
            n += 1
    return n


# ------------------------------------------------------------------------------------------------------------- readers


def faults(events: Events, width: int, height: int) -> tuple[int, int]:
    t, x, y = events["t"], events["x"], events["y"]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return len(events) - int(np.count_nonzero(inside)), int(np.count_nonzero(t[1:] < t[:-1]))


def foreign(records: NDArray[np.void], latest: int) -> bool:
    return bool((records["t"] > latest).any() or (records["on"] > 1).any())


def span(events: Events) -> int:
    return int(events["t"].max() - events["t"].min())


def _put(events: Events, out: NDArray[np.uint8]) -> int:
    out.view(EVENTS)[: len(events)] = events
    return len(events)


def _bases(is_high: NDArray[np.bool_], value: NDArray[np.int64], bits: int, high: int) -> tuple[NDArray[np.int64], int]:
    """For every word the time base in force, -1 before the first; and the last one."""
    places = np.flatnonzero(is_high)
    highs = np.concatenate([[high], unwrap(value[places], bits, high)]).astype(np.int64)
    return highs[np.cumsum(is_high)], int(highs[-1])


def evt2(words: NDArray[np.uint32], high: int, out: NDArray[np.uint8]) -> tuple[int, int]:
    kind = words >> np.uint32(28)
    base, high = _bases(kind == 8, (words & np.uint32(0x0FFFFFFF)).astype(np.int64) << 6, 34, high)
    kept = (kind <= 1) & (base >= 0)
    word = words[kept]
    events = empty_events(len(word))
    events["t"] = base[kept] | (word >> np.uint32(22) & np.uint32(0x3F))
    events["x"] = word >> np.uint32(11) & np.uint32(0x7FF)
    events["y"] = word & np.uint32(0x7FF)
    events["p"] = kind[kept] == 1
    return _put(events, out), high


def evt21(words: NDArray[np.uint64], high: int, out: NDArray[np.uint8]) -> tuple[int, int, int]:
    words = words[: len(out) // 13 // 32]  # of at most 32 events each
    kind = words >> np.uint64(60)
    value = (words >> np.uint64(32) & np.uint64(0x0FFFFFFF)).astype(np.int64) << 6
    base, high = _bases(kind == 8, value, 34, high)
    kept = (kind <= 1) & (base >= 0)
    word, base, kind = words[kept], base[kept], kind[kept]
    index, bit = np.nonzero(word[:, np.newaxis] >> np.arange(32, dtype=np.uint64) & np.uint64(1))
    events = empty_events(len(index))
    events["t"] = (base | (word >> np.uint64(54) & np.uint64(0x3F)).astype(np.int64))[index]
    events["x"] = (word >> np.uint64(43) & np.uint64(0x7FF)).astype(np.int64)[index] + bit
    events["y"] = (word >> np.uint64(32) & np.uint64(0x7FF)).astype(np.int64)[index]
    events["p"] = (kind == 1)[index]
    return _put(events, out), len(words), high


def evt3(words: NDArray[np.uint16], state: NDArray[np.int64], out: NDArray[np.uint8]) -> tuple[int, int]:
    words = words[: len(out) // 13 // 12]  # of at most 12 events each
    kind = words >> np.uint16(12)
    value = words.astype(np.int64) & 0xFFF
    high, last_high = _bases(kind == 8, value << 12, 24, int(state[0]))
    low = _held(kind == 6, value, int(state[1]))
    y = _held(kind == 0, value & 0x7FF, int(state[2]))
    polarity = _held(kind == 3, value >> 11, int(state[4]))
    known = np.logical_or.accumulate(kind == 0) | bool(state[5])
    vector = (kind == 4) | (kind == 5)
    base = _vector_bases(kind, value & 0x7FF, int(state[3]))
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
        state[:] = last_high, low[-1], y[-1], min(after, 0x7FFF - 12), polarity[-1], known[-1]
    return _put(events, out), len(words)


def _held(is_set: NDArray[np.bool_], value: NDArray[np.int64], before: int) -> NDArray[np.int64]:
    """For every word the value last set, `before` until the first."""
    return np.concatenate([[before], value[is_set]])[np.cumsum(is_set)]


def _vector_bases(kind: NDArray[np.uint16], value: NDArray[np.int64], before: int) -> NDArray[np.int64]:
    """For every word the base column in force: the last one set, moved on by the vectors since (8 or 12 each)."""
    moved = np.cumsum(np.select([kind == 4, kind == 5], [12, 8], 0))
    is_set = kind == 3
    anchor = np.concatenate([[before], value[is_set] - moved[is_set]])[np.cumsum(is_set)]
    moved_before = np.concatenate([[0], moved[:-1]]) if len(moved) else moved
    return np.minimum(anchor + moved_before * ~is_set + moved * is_set, 0x7FFF - 12)


def dat(words: NDArray[np.uint32], last: int, out: NDArray[np.uint8]) -> int:
    pairs = words.reshape(-1, 2)
    events = empty_events(len(pairs))
    events["t"] = unwrap(pairs[:, 0].astype(np.int64), 32, last)
    events["x"] = pairs[:, 1] & np.uint32(0x3FFF)
    events["y"] = pairs[:, 1] >> np.uint32(14) & np.uint32(0x3FFF)
    events["p"] = (pairs[:, 1] >> np.uint32(28)) > 0
    _put(events, out)
    return int(events["t"][-1]) if len(events) else last


def rows(
    data: NDArray[np.uint8], delimiter: int, columns: NDArray[np.int64], out: NDArray[np.float64]
) -> tuple[int, int, bool]:
    n = at = 0
    for raw in data.tobytes().splitlines(keepends=True):
        line = raw.decode("latin-1").strip()
        if n == len(out):
            return n, at, False
        if line and line[0] not in "#%":
            cells = raw.decode("latin-1").rstrip("\n").split(None if delimiter == ord(" ") else chr(delimiter))
            try:
                numbers = [_cell(cell) for cell, column in zip(cells, columns) if column >= 0]
            except ValueError:
                return n, at, True
            if len(cells) != len(columns):
                return n, at, True
            out[n, columns[columns >= 0]] = numbers
            n += 1
        at += len(raw)
    return n, at, False


def _cell(cell: str) -> float:
    word = cell.strip().strip('"').lower()
    if word in ("true", "false"):
        return float(word == "true")
    if not word or word.strip("+-.0123456789e"):  # Python's own words for infinity and the like
        raise ValueError(word)
    return float(word)


# -------------------------------------------------------------------------------------------------------------- AEDAT 4

RECORD = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1"), ("", "V3")])


def read_aedat4(path: Path, header: aedat4.Aedat4Header, notes: list[str], _: int) -> Iterator[Events]:
    """In place of aedat4._read_compiled: packet by packet, compressed ones through EventCV."""
    if header.compression:
        yield from aedat4._read_foreign(path, header, notes)
        return
    damaged = 0
    for packet in aedat4._packets(path, header, notes):
        try:
            found = aedat4_events(packet)
        except (RecordingError, struct.error, IndexError):
            damaged += 1
            continue
        if len(found):
            yield found
    if damaged:
        notes.append(f"{damaged} damaged packets were left out")


def aedat4_events(table: bytes) -> Events:
    """A size-prefixed flatbuffer EventPacket -> its events."""
    root = 4 + struct.unpack_from("<I", table, 4)[0]
    place = aedat4._field_place(table, root, 0)
    if not place:
        return empty_events()
    place += struct.unpack_from("<I", table, place)[0]
    n = struct.unpack_from("<I", table, place)[0]
    if len(table) < place + 4 + 16 * n:
        raise RecordingError("a packet is shorter than it says")
    found = np.frombuffer(table, RECORD, n, place + 4)
    return make_events(found["t"], found["x"], found["y"], found["p"])
