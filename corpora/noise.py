"""Sensor noise: random events of every pixel, and hot pixels that fire all the time."""

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import EVENTS, Events, SensorSize, joined

HOT_HZ = 500.0


def with_noise(
    events: Events, size: SensorSize, rate_hz: float, hot: float = 0.0, *, random: np.random.Generator
) -> Events:
    """Add noise of `rate_hz` in each pixel, and a share `hot` of pixels that fire at HOT_HZ, to sorted events."""
    if not len(events):
        return events
    start, end = int(events["t"][0]), int(events["t"][-1]) + 1
    pixels = size.width * size.height
    everywhere = random.integers(0, pixels, random.poisson(rate_hz * (end - start) * 1e-6 * pixels))
    chosen = random.choice(pixels, round(hot * pixels), replace=False)
    hot_ones = np.repeat(chosen, random.poisson(HOT_HZ * (end - start) * 1e-6, len(chosen)))
    places = np.concatenate([everywhere, hot_ones])
    return with_more(events, random.integers(start, end, len(places)), places, random.random(len(places)) < 0.5, size)


def with_more(events: Events, t: NDArray, places: NDArray, p: NDArray, size: SensorSize) -> Events:
    """Merge in events at numbered places of the sensor (row after row); sorted, equal times in given order."""
    more = np.empty(len(t), EVENTS)
    more["t"], more["p"] = t, p
    more["y"], more["x"] = np.divmod(places, size.width)
    both = joined([events, more])
    return both[np.argsort(both["t"], kind="stable")]
