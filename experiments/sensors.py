"""Parameters of real event cameras for the emulator.

Sizes, thresholds and their spread are published by makers and in papers (below); bandwidth, refractory time, noise and
hot pixels depend on biases, light and temperature, and are assumed values for indoor use.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from corpora.noise import with_noise
from spikesight.encoders.events import Events, SensorSize


@dataclass(frozen=True)
class Camera:
    """Parameters of an event camera; thresholds are steps of log intensity."""

    size: SensorSize
    threshold_on: float
    threshold_off: float
    sigma: float  # standard deviation of the thresholds over pixels
    refractory_us: int
    cutoff_hz: float  # bandwidth of the photoreceptor
    noise_hz: float  # noise events per second of a pixel
    hot: float = 0.0  # share of pixels that fire all the time

    def pixels(self) -> dict[str, Any]:
        """Return the parameters that PixelModel and Saccades take."""
        return {name: value for name, value in vars(self).items() if name not in ("size", "hot")}

    def heated(self, events: Events, seed: int) -> Events:
        """Add the events of hot pixels; equal seeds give the same hot pixels."""
        return with_noise(events, self.size, 0.0, self.hot, random=np.random.default_rng(seed)) if self.hot else events


def contrast(percent: float) -> float:
    """Convert a contrast threshold in per cent of the light to a step of log intensity.

    >>> round(contrast(25), 3)
    0.223
    """
    return math.log(1 + percent / 100)


CAMERAS = {
    # Posch et al. 2011; pixel parameters as in Saccades, fitted to N-MNIST
    "atis": Camera(SensorSize(304, 240), 0.344, 0.340, 0.023, 1170, 40.0, 0.4),
    # Lichtsteiner et al. 2008: contrast of 15 % at best, spread of 2.1 %
    "dvs128": Camera(SensorSize(128, 128), contrast(20), contrast(20), 0.021, 500, 150.0, 0.1, 0.0005),
    # iniVation: contrast of 14.3 % ON and 22.5 % OFF; Brandli et al. 2014: spread of 3.5 %
    "davis346": Camera(SensorSize(346, 260), contrast(14.3), contrast(22.5), 0.035, 500, 150.0, 0.3, 0.001),
    # Prophesee: nominal contrast threshold of 30 %
    "genx320": Camera(SensorSize(320, 320), contrast(30), contrast(30), 0.03, 200, 250.0, 0.2, 0.0002),
    # Finateu et al. 2020, Sony: nominal contrast threshold of 25 %
    "imx636": Camera(SensorSize(1280, 720), contrast(25), contrast(25), 0.03, 200, 300.0, 0.1, 0.0001),
    # SynSense: the size; no pixel parameters are published
    "speck": Camera(SensorSize(128, 128), contrast(35), contrast(35), 0.06, 1000, 60.0, 1.0, 0.003),
}
"""Cameras by name."""
