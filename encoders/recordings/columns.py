"""Find the columns t, x, y and p of any table, and the unit of times, and convert them to events.

Column names decide if there are any. Otherwise values do: polarities are 0 and 1 or -1 and 1, times do not fall.
Guesses are noted for the user.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import FAR_US, MAX_SIDE, NAMES, Events, SensorSize, make_events
from spikesight.encoders.recordings.format import RecordingError

ROWS = 1 << 18  # rows of a table read at once
UNITS = {  # microseconds
    "ns": (1e-3, "ns|nsecs?|nanos|nanoseconds"),
    "us": (1.0, "us|µs|usecs?|micros|microseconds"),
    "ms": (1e3, "ms|msecs?|millis|milliseconds"),
    "s": (1e6, "s|secs?|seconds"),
}
ORDERS = ("txyp", "xytp", "xypt")  # orders of unnamed columns: RPG's and v2e's, MVSEC's, Metavision's
EPOCH_NS = 10**17  # larger integer times are nanoseconds: as microseconds they would be 3,000 years
SHORTEST, RAREST = 1_000, 0.1  # fractional times of a longer span and mean step, in their unit, are not seconds
COARSE_US = 100  # least step of times, stored as real numbers of few digits, that is told
Part = Mapping[str, NDArray[Any]]
"""Some rows of a table: arrays of equal length under the keys t, x, y and p."""


@dataclass(frozen=True)
class Columns:
    """Indices of t, x, y and p among a table's columns, and the unit of t and the sensor if the names tell them."""

    places: dict[str, int]
    unit: str | None
    size: SensorSize | None


def find_columns(names: Sequence[str]) -> Columns | None:
    """Find the four columns by name; None unless all are there. Faery's `x@640` also tells the sensor's width."""
    places: dict[str, int] = {}
    sides: dict[str, int] = {}
    unit = None
    for place, name in enumerate(names):
        word, _, side = name.rsplit("/", 1)[-1].strip().strip("\"'").lower().partition("@")
        for key, words in NAMES.items():
            plain, found = _unit_of(word) if key == "t" else (word, None)
            if key not in places and re.fullmatch(words, plain):
                places[key] = place
                sides |= {key: int(side)} if side.isdecimal() else {}
                unit = found if key == "t" else unit
    return Columns(places, unit, sensor(sides.get("x"), sides.get("y"))) if len(places) == 4 else None


def _unit_of(word: str) -> tuple[str, str | None]:
    """Split `timestamp_ns` or `t [ns]` into the word and its unit."""
    for unit, (_, words) in UNITS.items():
        if found := re.fullmatch(rf"(.+?)[ _]*(?:[_ ]|\[|\()(?:{words})[\])]?", word):
            return found.group(1), unit
    return word, None


def sensor(width: Any, height: Any) -> SensorSize | None:
    """Return a sensor of two numbers of any type; None if they are missing or out of range."""
    sides = [int(np.asarray(side).ravel()[0]) for side in (width, height) if side is not None and np.size(side)]
    return SensorSize(*sides) if len(sides) == 2 and all(1 <= side <= MAX_SIDE for side in sides) else None


def order_of(rows: NDArray[Any]) -> str:
    """Return which of ORDERS the four columns [n, 4] have, judged by values. Raises RecordingError."""
    _check_finite(rows)
    for order in ORDERS:
        t, x, y, p = (rows[:, order.index(key)] for key in "txyp")
        off = {float(value) for value in np.unique(p[:4096])} - {1.0}
        sides = bool(((x >= 0) & (y >= 0)).all()) and bool((x % 1 == 0).all() and (y % 1 == 0).all())
        if off in ({0.0}, {-1.0}, set()) and sides and float((np.diff(t) >= 0).mean() if len(t) > 1 else 1) > 0.99:
            return order
    raise RecordingError("its columns have no names, and by their values are neither t,x,y,p nor x,y,t,p nor x,y,p,t")


def parts_of(tables: Iterable[NDArray[Any]]) -> Iterator[Part]:
    """Convert pieces of one array, structured or [n, 4], to columns. Raises RecordingError."""
    order = ""
    for table in tables:
        if table.dtype.names:
            found = find_columns(table.dtype.names)
            if found is None or table.ndim != 1:
                raise RecordingError("it holds no fields t, x, y and p")
            yield {key: table[table.dtype.names[place]] for key, place in found.places.items()}
        else:
            order = order or order_of(table)
            yield {key: table[:, order.index(key)] for key in "txyp"}


def zipped(columns: Mapping[str, Iterator[NDArray[Any]]]) -> Iterator[Part]:
    """Zip pieces of separate columns t, x, y and p into pieces of one table."""
    for part in zip(*columns.values()):
        yield dict(zip(columns, part))


def events_of(parts: Iterable[Part], unit: str | None, notes: list[str], offset_us: int = 0) -> Iterator[Events]:
    """Yield the events of pieces of a table; if `unit` is None, the first piece tells it. Raises RecordingError."""
    coarse = False
    for part in parts:
        t = part["t"]
        if not len(t):
            continue
        if not all(column.dtype.kind in "biuf" and column.ndim == 1 for column in part.values()):
            raise RecordingError("its columns t, x, y and p are no flat arrays of numbers")
        for column in part.values():
            _check_finite(column)
        if unit is None:
            unit = _guessed(t, notes)
        step = float(np.spacing(np.abs(t).max())) * UNITS[unit][0] if t.dtype in ("f2", "f4") else 0.0
        if step > COARSE_US and not coarse:
            coarse = True
            notes.append(f"its times are {t.dtype} and so large that they are known to {step:,.0f} us only")
        x, y = (np.clip(part[key], -1, 1 << 14) if part[key].dtype.kind != "b" else part[key] for key in "xy")
        yield make_events(_microseconds(t, unit) + offset_us, x, y, part["p"])


def _check_finite(numbers: NDArray[Any]) -> None:
    """Raise RecordingError for infinities and NaN."""
    if numbers.dtype.kind == "f" and not bool(np.isfinite(numbers).all()):
        raise RecordingError("a number of it is not finite")


def _guessed(t: NDArray[Any], notes: list[str]) -> str:
    """Guess the unit of times. Integers are microseconds, or nanoseconds if too large for that."""
    largest = int(max(abs(int(t.max())), abs(int(t.min()))))
    whole = t.dtype.kind != "f" or bool((t % 1 == 0).all())
    if whole:
        unit = "ns" if largest > EPOCH_NS else "us"
        if unit == "us" and t.dtype.kind != "f":
            return unit
    else:
        span = float(t.max()) - float(t.min())
        unit = "us" if span > SHORTEST and span / len(t) > RAREST else "s"
    long = {"ns": "nanoseconds", "us": "microseconds", "s": "seconds"}[unit]
    notes.append(f"its times name no unit; by their {'size' if whole else 'fractions and span'} read as {long}")
    return unit


def _microseconds(t: NDArray[Any], unit: str) -> NDArray[np.int64]:
    if t.dtype.kind == "f":
        return np.rint(np.clip(t.astype(np.float64) * UNITS[unit][0], -FAR_US, FAR_US)).astype(np.int64)
    if unit == "ns":
        t = t // 1000  # before unsigned times are cut: FAR_US as nanoseconds is a day of 2006
    if t.dtype.kind == "u":
        t = np.minimum(t, np.array(FAR_US if t.dtype.itemsize == 8 else np.iinfo(t.dtype).max, t.dtype))
    t = t.astype(np.int64)
    factor = max(1, int(UNITS[unit][0]))
    return np.clip(t, -FAR_US // factor, FAR_US // factor) * factor
