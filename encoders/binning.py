"""Bin a window of events into x_seq [T, 2, H, W]: half-open bins, exact integer arithmetic, every event in one bin.

Step k holds the events with start + k·bin <= t < start + (k+1)·bin. Channel 0 is OFF, 1 is ON. A larger sensor is
scaled to the network's size in the same loop: crop the centre of the sensor to the target's aspect ratio, then column =
(x - left)·W // crop_width (rows alike).
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import EVENTS, UNSORTED, Events, EventsError, SensorSize, as_events, count_backward
from spikesight.encoders.native.build import NUMBER, address, call, function

OUTSIDE = -1  # an event off the sensor ends the kernel with this, one that is not in order with another
CEILINGS = {"binary": 1, "count": 255}


@dataclass(frozen=True)
class Grid:
    """Lookup tables from sensor columns and rows to an H x W plane: uint32, row entries already multiplied by W."""

    columns: NDArray[np.uint32]
    rows: NDArray[np.uint32]
    height: int
    width: int

    @cached_property
    def table(self) -> NDArray[np.int64]:
        """Return what the kernel takes: addresses and lengths of `columns` and `rows`, and the cells of a bin."""
        sides = [number for side in (self.columns, self.rows) for number in (side.ctypes.data, len(side))]
        return np.array([*sides, 2 * self.height * self.width])


@lru_cache(maxsize=64)
def grid_for(sensor: SensorSize, size: tuple[int, int] | None) -> Grid:
    """Return the tables from a sensor to a (height, width) target, centre-cropped to the target's aspect ratio."""
    height, width = size or (sensor.height, sensor.width)
    if height < 1 or width < 1:
        raise EventsError(f"cannot bin events into {height} rows and {width} columns")
    columns, rows = np.empty(sensor.width, np.uint32), np.empty(sensor.height, np.uint32)
    call("grid_lines", sensor.width, sensor.height, width, height, 1, columns)
    call("grid_lines", sensor.height, sensor.width, height, width, width, rows)
    columns.flags.writeable = rows.flags.writeable = False
    return Grid(columns, rows, height, width)


def bin_events(
    events: Events,
    start_us: int,
    bin_us: int,
    steps: int,
    sensor: SensorSize,
    size: tuple[int, int] | None = None,
    *,
    mode: str = "binary",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Bin events (`as_events`) sorted by time: [steps, 2, H, W] of [start_us, start_us + steps·bin_us).

    mode   "binary" (a cell is 0 or 1) or "count" (counts up to 255); uint8, or the dtype of `out`, which may be
           float32 (then counts are not limited).
    size   (H, W) of the result; None: the sensor's size.
    out    a buffer to overwrite instead of a new array.

    Raises EventsError for an unknown mode, an event off the sensor, or events that are not sorted.
    """
    check_bins(bin_us, steps, mode)
    events, grid = as_events(events), grid_for(sensor, size)
    first, last = (bisect_left(events["t"], t) for t in (start_us, start_us + steps * bin_us))
    if count_backward(events[:first]) or count_backward(events[last:]):  # some may belong in between
        raise EventsError(UNSORTED)
    shape = (steps, 2, grid.height, grid.width)
    if out is None:
        out = np.empty(shape, np.uint8)
    elif out.shape != shape or not out.flags.c_contiguous or out.dtype not in (np.uint8, np.float32):
        what = f"{out.dtype} {out.shape}"
        raise EventsError(f"the buffer must be a contiguous uint8 or float32 array of shape {shape}, not {what}")
    add_counts(events[first:last], start_us, bin_us, grid, mode, out, clear=True)
    return out


def check_bins(bin_us: int, steps: int, mode: str = "binary") -> None:
    """Raise EventsError for an unknown mode, or a bin length or number of bins below 1."""
    if mode not in CEILINGS:
        raise EventsError(f"there is no binning '{mode}'; choose one of {', '.join(CEILINGS)}")
    if bin_us < 1 or steps < 1:
        raise EventsError(f"bins need at least one microsecond and one step, not {bin_us} and {steps}")


def add_counts(
    events: Events, start_us: int, bin_us: int, grid: Grid, mode: str, out: NDArray[Any], *, clear: bool = False
) -> Sequence[int]:
    """Add the window's events to `out` [T, 2, H, W] (`clear`: to zeros); return the number of events in each bin."""
    ceiling = 1 if mode == "binary" else CEILINGS[mode] if out.dtype == np.uint8 else np.inf
    totals, events = (NUMBER * len(out))(), np.ascontiguousarray(events, EVENTS)
    given = address(events), len(events), start_us, bin_us, address(grid.table), ceiling, address(out), out.itemsize
    fault = function("events_bins")(*given, len(out), totals, clear)
    if fault == OUTSIDE:
        raise EventsError(f"some events lie outside the {len(grid.columns)}x{len(grid.rows)} sensor")
    if fault:
        raise EventsError(UNSORTED)
    return totals


@dataclass(frozen=True)
class ToBins:
    """A transform of Tonic's kind: events to x_seq [T, 2, H, W], uint8, from the first event on.

    sensor_size   (width, height) of the events' sensor, or (width, height, polarities) as Tonic's data sets have it
    bin_us        length of a bin, microseconds
    steps         T; None: as many bins as the events fill
    size, mode    as for `bin_events`

    Raises EventsError as `bin_events` does.
    """

    sensor_size: tuple[int, ...]
    bin_us: int
    steps: int | None = None
    size: tuple[int, int] | None = None
    mode: str = "binary"

    def __call__(self, events: NDArray[Any]) -> NDArray[np.uint8]:
        sensor = SensorSize(*self.sensor_size[:2])
        known = as_events(events, sensor)
        first, last = (int(known["t"][0]), int(known["t"][-1])) if len(known) else (0, 0)
        steps = self.steps or (last - first) // self.bin_us + 1
        return bin_events(known, first, self.bin_us, steps, sensor, self.size, mode=self.mode)
