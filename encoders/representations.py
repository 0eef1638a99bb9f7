"""Further pictures of a window of events, float32 [T, C, H, W], with the bins and the downsampling of binning.py.

signed    ON minus OFF                                                     C = 1
surface   exp(-(end of step - time of the last event) / τ), 0 without one  C = 2   (Lagorce et al. 2017, HOTS)
voxel     polarity ±1 shared between the two nearest of T points in time   C = 1   (Zhu et al. 2019)
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from encoders.binning import bin_events, check_bins, grid_for, place_events
from encoders.events import Events, SensorSize

Floats = NDArray[np.float32]


def signed_counts(
    events: Events, start_us: int, bin_us: int, steps: int, sensor: SensorSize, size: tuple[int, int] | None = None
) -> Floats:
    """ON minus OFF events of each cell, [T, 1, H, W]. Raises EventsError like bin_events."""
    check_bins(bin_us, steps)
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
    check_bins(bin_us, steps)
    grid = grid_for(sensor, size)
    window, cell = place_events(events, start_us, bin_us * steps, grid)
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
    check_bins(bin_us, steps)
    grid = grid_for(sensor, size)
    window, cell = place_events(events, start_us, bin_us * steps, grid)
    position = (window["t"] - start_us) * ((steps - 1) / (bin_us * steps))
    below = np.minimum(position.astype(np.int64), max(steps - 2, 0))
    share = position - below
    sign = np.where(window["p"], 1.0, -1.0)
    plane = grid.height * grid.width
    out = np.bincount(below * plane + cell, sign * (1 - share), steps * plane)
    if steps > 1:
        out += np.bincount((below + 1) * plane + cell, sign * share, steps * plane)
    return out.reshape(steps, 1, grid.height, grid.width).astype(np.float32)


REPRESENTATIONS: dict[str, Callable[..., Floats]] = {
    "signed": signed_counts,
    "surface": time_surface,
    "voxel": voxel_grid,
}
