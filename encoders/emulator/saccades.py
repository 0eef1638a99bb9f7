"""Film a still image with a moving emulated camera: three saccades through the pixel model, as events."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache, reduce

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.emulator.pixels import Floats, in_order, thresholds
from spikesight.encoders.events import NMNIST_SENSOR, Events, EventsError, SensorSize
from spikesight.encoders.preprocess.fit import DIGIT_SIZE, EVEN, Still, fit_digit, fit_plain


@dataclass(frozen=True)
class Saccades:
    """How the camera moves before a still image, and the camera's parameters; the defaults reproduce N-MNIST.

    They were fitted to N-MNIST recordings and the MNIST images behind them (Orchard et al. 2015 only give the idea:
    three eye movements along a triangle, 100 ms each). `path_px`: where the top left corner of a 28 x 28 image lies on
    the 34 x 34 sensor at the corners of the triangle; larger sensors scale it. A movement has the speed profile 1 -
    cos. `inverted`: the recordings look as if the digits, which are light on dark in MNIST, had been dark on a bright
    screen; other pictures are shown as they are (`light_on_dark`).
    """

    path_px: tuple[tuple[float, float], ...] = ((-0.30, 1.54), (2.15, 7.54), (5.85, 1.09), (0.42, 1.03))
    starts_ms: tuple[float, ...] = (0.9, 96.2, 210.2)
    lengths_ms: tuple[float, ...] = (91.8, 100.5, 87.2)
    total_ms: float = 310.0
    threshold_on: float = 0.344
    threshold_off: float = 0.340
    sigma: float = 0.023
    floor: float = 21.5  # stray light, in grey values
    blur_px: float = 0.46
    cutoff_hz: float = 40.0
    refractory_us: float = 1170.0
    noise_hz: float = 0.4
    noise_on: float = 0.97  # share of the noise that is ON
    inverted: bool = True
    step_us: int = 1000

    def corner(self, unit: float) -> NDArray[np.float64]:
        """Return [2, steps]: x and y of a 28-unit image's corner on a 34-unit sensor at each step, in pixels."""
        t = np.arange(0, self.total_ms, self.step_us / 1000)
        corners = np.asarray(self.path_px) * unit
        position = np.repeat(corners[:1].T, len(t), axis=1)
        for index, (begin, length) in enumerate(zip(self.starts_ms, self.lengths_ms)):
            part = np.clip((t - begin) / length, 0, 1)
            part = part - np.sin(2 * np.pi * part) / (2 * np.pi)
            position += (corners[index + 1] - corners[index])[:, np.newaxis] * part
        return position


NMNIST = Saccades()


def saccades(
    image: NDArray[np.uint8], sensor: SensorSize = NMNIST_SENSOR, *, movement: Saccades = NMNIST, seed: int = 0
) -> Events:
    """Return the events of a camera moving before a still grey image (uint8 [H, W]): three saccades, about 0.3 s.

    The image is scaled so that its longer side takes 28/34 of the sensor's shorter one (an MNIST image on 34 x 34 is
    unchanged). What surrounds it continues it: the ground of its border, or its edge where the border is not even.
    Equal seeds give equal pixels and noise. Raises EventsError for a wrong image.
    """
    if image.ndim != 2 or image.dtype != np.uint8 or 0 in image.shape:
        raise EventsError(f"expected a grey uint8 image [H, W], got {image.dtype} {image.shape}")
    unit = min(sensor.width, sensor.height) / 34
    image = _fitted(image, max(2, round(28 * unit)))
    x, y = _path(movement, unit)
    x = x + (sensor.width - 34 * unit) / 2 + (28 * unit - image.shape[1]) / 2
    y = y + (sensor.height - 34 * unit) / 2 + (28 * unit - image.shape[0]) / 2
    generator = np.random.default_rng(seed)
    shape = (sensor.height, sensor.width)
    on = thresholds(movement.threshold_on, movement.sigma, shape, generator)
    off = thresholds(movement.threshold_off, movement.sigma, shape, generator)
    start = generator.uniform(-0.5, 0.5, shape).astype(np.float32) * np.minimum(on, off)
    canvas, columns, rows, weights = _views(image, x, y, shape)
    noise = _noise(movement, shape, generator)
    alpha = 1 - math.exp(-2e-6 * math.pi * movement.cutoff_hz * movement.step_us) if movement.cutoff_hz else 1.0
    light = _log_image(canvas, movement)
    offsets, words = _film(light, (columns, rows, weights), (on, off, start), alpha, movement)
    offsets, words = (np.append(signal, more) for signal, more in zip((offsets, words), noise))
    return in_order(offsets, words, 0)


def _film(
    padded: Floats,
    path: tuple[NDArray[np.int64], NDArray[np.int64], Floats],
    pixels: tuple[Floats, Floats, Floats],
    alpha: float,
    movement: Saccades,
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return the signal events while an image slides over the sensor, pixel by pixel: offsets in us, and words
    x << 17 | y << 1 | p.

    padded   log intensity, wide enough that row + rows[k] + 1 and column + columns[k] + 1 exist for every step
    path     columns [steps], rows [steps], bilinear weights [steps, 4] of each step: here, right, below, below right
    pixels   on, off: thresholds; start: offset of the reference from the first level; each [H, W]
    alpha    how far the photoreceptor follows its input in one step (1: at once)
    """
    columns, rows, weights = path
    (height, width), wide, light = pixels[0].shape, padded.shape[1], padded.ravel()
    seen = [padded[v : v + height, u : u + width] for v in range(rows.max() + 2) for u in range(columns.max() + 2)]
    lit = np.flatnonzero(np.any([one != seen[0] for one in seen], 0))  # other pixels never see anything change
    y, x = np.divmod(lit.astype(np.uint32), np.uint32(width))
    on, off, start = (one.ravel()[lit] for one in pixels)
    at, level, free_us = (y * wide + x).astype(np.intp), np.empty(0, np.float32), np.full(len(lit), -1, np.float32)
    high, low, found = level, level, [(lit[:0], free_us[:0], lit[:0] > 0)]
    for k, place in enumerate(rows * wide + columns):
        seen = (light[place + beside :][at] for beside in (0, 1, wide, wide + 1))
        target = reduce(np.add, map(np.multiply, weights[k], seen))
        if k == 0:
            level, high, low = target, target + start + on, target + start - off
        before, level = level, level + np.float32(alpha) * (target - level)
        crossed = np.flatnonzero((level >= high) | (level <= low))
        while len(crossed):
            rising, change = level[crossed] >= high[crossed], level[crossed] - before[crossed]
            moved = np.where(rising, high[crossed], low[crossed])
            high[crossed], low[crossed] = moved + on[crossed], moved - off[crossed]
            share = np.divide(moved - before[crossed], change, out=np.ones_like(moved), where=change != 0)
            t = (np.float32(k - 1) + np.clip(share, 0, 1)) * np.float32(movement.step_us)
            fires = t >= free_us[crossed]
            free_us[crossed[fires]] = t[fires] + np.float32(movement.refractory_us)
            found.append((crossed[fires], t[fires], rising[fires]))
            crossed = crossed[(level[crossed] >= high[crossed]) | (level[crossed] <= low[crossed])]
    place, t, rising = (np.concatenate(one) for one in zip(*found))
    order = np.argsort(place, kind="stable")
    place = place[order]
    return t[order].astype(np.uint32), x[place] << np.uint32(17) | y[place] << np.uint32(1) | rising[order]


def _fitted(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Scale the image so that its longer side is `side` pixels."""
    height, width = image.shape
    if max(height, width) == side:
        return image
    import cv2

    scale = side / max(height, width)
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, target, interpolation=method), np.uint8)


@lru_cache(maxsize=8)
def _path(movement: Saccades, unit: float) -> NDArray[np.float64]:
    return movement.corner(unit)


def ground(image: NDArray[np.uint8]) -> int | None:
    """Return the grey value of an even border, as around a drawing; None if the border is not even, as a photograph's.

    A few strokes may touch it.
    """
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    low, middle, high = np.quantile(border, (0.1, 0.5, 0.9))
    return round(middle) if high - low < EVEN * max(float(np.ptp(image)), 1.0) else None


def light_on_dark(image: NDArray[np.uint8]) -> bool:
    """Return whether a picture is a drawing of light on dark, as MNIST's, and not ink on paper or a photograph."""
    return (value := ground(image)) is not None and value < image.mean()


def _log_image(light: NDArray[np.uint8], movement: Saccades) -> Floats:
    """Return the log intensity of a picture behind the lens."""
    blurred = light.astype(np.float32)
    if movement.blur_px > 0:
        taps = np.exp(-0.5 * (np.arange(-2, 3) / movement.blur_px) ** 2)
        taps = (taps / taps.sum()).astype(np.float32)
        for _ in range(2):  # rows, then columns
            wide, n = np.pad(blurred, ((0, 0), (2, 2)), mode="edge"), blurred.shape[1]
            blurred = sum((tap * wide[:, k : k + n] for k, tap in enumerate(taps)), np.zeros_like(blurred)).T
    return np.log((255 - blurred if movement.inverted else blurred) + np.float32(movement.floor)).astype(np.float32)


def _views(
    image: NDArray[np.uint8], x: NDArray[np.float64], y: NDArray[np.float64], shape: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], Floats]:
    """Return a canvas that continues the image, and the sensor's position on it at each step: column, row, bilinear
    weights.
    """
    left, top = math.ceil(x.max()) + 4, math.ceil(y.max()) + 4  # the sensor's corner on the canvas if x = y = 0
    u, v = left - x, top - y
    columns, rows = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    below = max(shape[0] + int(rows.max()) + 2 - top - image.shape[0], 3)
    right = max(shape[1] + int(columns.max()) + 2 - left - image.shape[1], 3)
    sides, even = ((top, below), (left, right)), ground(image)
    canvas = np.pad(image, sides, mode="edge") if even is None else np.pad(image, sides, constant_values=even)
    across, down = (u - columns).astype(np.float32), (v - rows).astype(np.float32)
    weights = [(1 - across) * (1 - down), across * (1 - down), (1 - across) * down, across * down]
    return canvas, columns, rows, np.stack(weights, axis=1)


def _noise(
    movement: Saccades, shape: tuple[int, int], generator: np.random.Generator
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Draw noise events at random places and times: offsets in us, and words x << 17 | y << 1 | p."""
    n = int(generator.poisson(movement.noise_hz * movement.total_ms / 1000 * shape[0] * shape[1]))
    times = generator.integers(0, round(movement.total_ms * 1000), n).astype(np.uint32)
    x, y = (generator.integers(0, side, n).astype(np.uint32) for side in (shape[1], shape[0]))
    polarity = (generator.random(n) < movement.noise_on).astype(np.uint32)
    return times, x << np.uint32(17) | y << np.uint32(1) | polarity


def saccade_events(image: np.ndarray, sensor: SensorSize, still: Still, *, seed: int = 0) -> np.ndarray:
    """Return EVENTS of a camera with this sensor before the image, moved in three saccades (Orchard et al. 2015)."""
    if still == "digit":
        return saccades(fit_digit(image, DIGIT_SIZE, DIGIT_SIZE)[0], sensor, seed=seed)
    picture = fit_plain(image, sensor.height, sensor.width, 1)[0]
    return saccades(picture, sensor, movement=replace(NMNIST, inverted=light_on_dark(picture)), seed=seed)
