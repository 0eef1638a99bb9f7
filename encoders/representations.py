"""Further pictures of a window of events, float32 [T, C, H, W], with the bins and the downsampling of binning.py.

signed    ON minus OFF                                                     C = 1
surface   exp(-(end of step - time of the last event) / τ), 0 without one  C = 2   (Lagorce et al. 2017, HOTS)
voxel     polarity ±1 shared between the two nearest of T points in time   C = 1   (Zhu et al. 2019)
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from encoders.binning import NOWHERE, Grid, bin_events, grid_for
from encoders.events import Events, EventsError, SensorSize

Floats = NDArray[np.float32]


def signed_counts(
    events: Events, start_us: int, bin_us: int, steps: int, sensor: SensorSize, size: tuple[int, int] | None = None
) -> Floats:
    """ON minus OFF events of each cell, [T, 1, H, W]. Raises EventsError like bin_events."""
    grid = grid_for(sensor, size)
    counts = np.empty((steps, 2, grid.height, grid.width), np.float32)
    bin_events(events, start_us, bin_us, steps, sensor, size, mode="count", out=counts)
    return counts[:, 1:] - counts[:, :1]


def time_surface(
    events: Events,
    start_us: int,
    bin_us: int,
    steps: int,
    sensor: SensorSize,
    size: tuple[int, int] | None = None,
    *,
    decay_us: float = 50_000.0,
) -> Floats:
    """How recent each cell's last event is at the end of each step, 0 to 1, [T, 2, H, W]; it fades over all steps."""
    grid = grid_for(sensor, size)
    window, cell = _placed(events, start_us, bin_us * steps, grid)
    plane = grid.height * grid.width
    last = np.full(2 * plane, -np.inf)
    out = np.zeros((steps, 2, grid.height, grid.width), np.float32)
    edges = np.searchsorted(window["t"], start_us + bin_us * np.arange(steps + 1))
    for step in range(steps):
        part = slice(edges[step], edges[step + 1])
        last[cell[part] + plane * window["p"][part]] = window["t"][part]  # sorted by time: the last one stays
        end = start_us + bin_us * (step + 1)
        out[step] = np.exp((last - end) / decay_us).reshape(2, grid.height, grid.width)
    return out


def voxel_grid(
    events: Events, start_us: int, bin_us: int, steps: int, sensor: SensorSize, size: tuple[int, int] | None = None
) -> Floats:
    """Polarities ±1, each shared linearly between the two nearest of `steps` points in time, [T, 1, H, W].

    The first point lies at the beginning of the window, the last at its end; the sum over all cells is ON minus OFF.
    """
    grid = grid_for(sensor, size)
    window, cell = _placed(events, start_us, bin_us * steps, grid)
    position = (window["t"] - start_us) * ((steps - 1) / (bin_us * steps))
    below = np.minimum(position.astype(np.int64), max(steps - 2, 0))
    share = position - below
    sign = np.where(window["p"], 1.0, -1.0)
    plane = grid.height * grid.width
    out = np.bincount(below * plane + cell, sign * (1 - share), steps * plane)
    if steps > 1:
        out += np.bincount((below + 1) * plane + cell, sign * share, steps * plane)
    return out.reshape(steps, 1, grid.height, grid.width).astype(np.float32)


def _placed(events: Events, start_us: int, span_us: int, grid: Grid) -> tuple[Events, NDArray[np.int64]]:
    """The window's events in the field of view, and each one's cell in a plane. Raises EventsError."""
    t = events["t"]
    if bool((t[1:] < t[:-1]).any()):
        raise EventsError("the events are not sorted by time; sort them, or pass them through sanitise()")
    begin, end = np.searchsorted(t, (start_us, start_us + span_us)).tolist()
    window = events[begin:end]
    x, y = window["x"].astype(np.int64), window["y"].astype(np.int64)
    if len(x) and (x.min() < 0 or y.min() < 0 or x.max() >= len(grid.columns) or y.max() >= len(grid.rows)):
        raise EventsError(f"some events lie outside the {len(grid.columns)}x{len(grid.rows)} sensor")
    cell = grid.columns[x].astype(np.int64) + grid.rows[y]
    kept = cell < NOWHERE
    return window[kept], cell[kept]


REPRESENTATIONS: dict[str, Callable[..., Floats]] = {
    "signed": signed_counts,
    "surface": time_surface,
    "voxel": voxel_grid,
}
