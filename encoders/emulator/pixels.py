"""The pixel model of an event camera: grey frames -> events.

The model is that of v2e (Hu et al., CVPRW 2021) with the reference always moved by whole thresholds: every pixel holds
a log intensity; each time the light is one threshold above (ON) or below (OFF) it, an event fires and the held value
moves by that threshold. Event times are interpolated between frames.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import EVENTS, Events, EventsError, SensorSize, empty_events
from spikesight.encoders.native.build import call

Floats = NDArray[np.float32]
NEVER_US = -(2**62)
LONGEST_INTERVAL_US = 10_000_000  # after a longer interval the pixels start anew


@dataclass(frozen=True)
class PixelModel:
    """Parameters of an event camera's pixels. Thresholds are steps of log intensity."""

    threshold_on: float = 0.2
    threshold_off: float = 0.2
    sigma: float = 0.03  # standard deviation of the thresholds over pixels
    linear_below: float = 20.0  # the response is linear up to this grey value, logarithmic above
    refractory_us: int = 0  # a pixel is silent this long after an event, but for noise
    leak_hz: float = 0.1  # leak rate: ON events per second of a pixel under constant light
    noise_hz: float = 0.0  # shot noise events per second of a dark pixel, at most one a frame; bright ones: a quarter
    cutoff_hz: float = 0.0  # bandwidth of the photoreceptor; 0: none
    steady: bool = False  # remove changes common to all pixels: auto-exposure and lamp flicker
    max_events: int = 0  # events of one frame; the rest comes with the next frame. 0: four per pixel

    def __post_init__(self) -> None:
        if min(self.threshold_on, self.threshold_off) < 0.01:
            raise EventsError(f"thresholds must be at least 0.01, not {self.threshold_on} and {self.threshold_off}")
        if min(self.sigma, self.refractory_us, self.leak_hz, self.noise_hz, self.cutoff_hz, self.max_events) < 0:
            raise EventsError("spread, refractory time, leak, noise, cut-off and the event limit cannot be negative")
        if self.linear_below < 1:
            raise EventsError(f"the linear part must reach to a grey value of 1 or more, not {self.linear_below}")


CLEAN = PixelModel(leak_hz=0.0)


def log_levels(linear_below: float) -> Floats:
    """Return [256] float32: ln I for grey values I above `linear_below`, a line from 0 to it below (v2e, lin-log)."""
    grey = np.arange(256, dtype=np.float64)
    line = grey * (math.log(linear_below) / linear_below)
    return np.where(grey <= linear_below, line, np.log(np.maximum(grey, 1))).astype(np.float32)


def thresholds(mean: float, sigma: float, shape: tuple[int, int], generator: np.random.Generator) -> Floats:
    """Draw a threshold for every pixel from a normal distribution, at least 0.01."""
    return np.maximum(generator.normal(mean, sigma, shape), 0.01).astype(np.float32)


@dataclass
class PixelState:
    """The state that an emulator carries from frame to frame; arrays are [H, W]."""

    reference: Floats  # log intensity at the last event
    last: Floats  # log intensity in the last frame
    free_us: NDArray[np.int64]  # time at which the refractory period ends
    t_us: int
    draw: int  # number of random draws so far
    shift: float  # log intensity removed as common to all pixels (`steady`)


class Emulator:
    """Converts a stream of grey frames to events. Equal seeds and frames give equal events, wherever the stream is cut.

    `now` holds the pixels' state; None before the first frame. `on`, `off` and `start`, float32 [H, W], are their
    thresholds and where they start from the first frame's log intensity.
    """

    def __init__(self, size: SensorSize, params: PixelModel | None = None, seed: int = 0) -> None:
        self.size, self.seed = size, seed
        self.now: PixelState | None = None
        self.retune(params or PixelModel())

    def retune(self, params: PixelModel) -> None:
        """Change the parameters from the next frame on; the pixels' state stays."""
        shape = (self.size.height, self.size.width)
        generator = np.random.default_rng(self.seed)
        self.params = params
        self.on = thresholds(params.threshold_on, params.sigma, shape, generator)
        self.off = thresholds(params.threshold_off, params.sigma, shape, generator)
        self.start = (generator.uniform(-0.5, 0.5, shape) * np.minimum(self.on, self.off)).astype(np.float32)
        self._levels = log_levels(params.linear_below)
        self._limit = params.max_events or 4 * shape[0] * shape[1]
        self._offsets, self._words = np.empty((2, self._limit + shape[0] * shape[1]), np.uint32)

    def push(self, grey: NDArray[np.uint8], t_us: int) -> Events:
        """Return the sorted events between the previous frame and this one (uint8 [H, W], captured at `t_us`).

        The first frame gives none, nor does one not later than the previous, or over ten seconds later: the pixels
        start anew from it. Raises EventsError for another size or dtype.
        """
        if grey.shape != (self.size.height, self.size.width) or grey.dtype != np.uint8:
            raise EventsError(f"expected a uint8 frame of {self.size}, got {grey.dtype} {grey.shape[::-1]}")
        state = self.now
        if state is None or not 0 < t_us - state.t_us <= LONGEST_INTERVAL_US:
            self._begin(grey, t_us)
            return empty_events()
        params, began_us = self.params, state.t_us
        seconds = (t_us - began_us) * 1e-6
        if params.steady:
            sample = np.s_[:: max(1, self.size.height // 60), :: max(1, self.size.width // 60)]
            change = self._levels[grey[sample]] - np.float32(state.shift) - state.last[sample]
            state.shift += float(np.median(change))
        shots = (params.noise_hz * seconds * (1 - 0.75 * np.arange(256) / 255)).astype(np.float32)
        n = call(
            "pixels_frame",
            np.ascontiguousarray(grey),
            self.size.width,
            self.size.height,
            began_us,
            t_us,
            self._levels - np.float32(state.shift),
            self.on,
            self.off,
            state.reference,
            state.last,
            state.free_us,
            params.leak_hz,
            params.cutoff_hz,
            params.refractory_us,
            self._limit,
            self.seed & 0xFFFFFFFF,
            state.draw & 0xFFFFFFFF,
            shots if params.noise_hz else None,
            self._offsets,
            self._words,
        )
        state.t_us, state.draw = t_us, state.draw + 2
        return in_order(self._offsets[:n], self._words[:n], began_us)

    def _begin(self, grey: NDArray[np.uint8], t_us: int) -> None:
        last = self._levels[grey]
        draw = self.now.draw if self.now else 0
        self.now = PixelState(last + self.start, last, np.full(grey.shape, NEVER_US, np.int64), t_us, draw, 0.0)


def in_order(offsets: NDArray[np.uint32], words: NDArray[np.uint32], t_us: int) -> Events:
    """Return the events at `offsets` (0 to 16 s) from t_us on, words x << 17 | y << 1 | p, stably sorted by time."""
    events, order = np.empty(len(words), EVENTS), np.empty(len(words), np.uint32)
    call("events_sorted", offsets, words, len(words), t_us, order, events)
    return events
