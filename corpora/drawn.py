"""A labelled data set made by code: drawn objects move in known ways before the emulated camera.

Every recording draws its own object (form, texture, size), background, contrast, path, speed, timing, jitter and sensor
noise, so that the recordings of a motion have only the motion in common.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from corpora.films import Matrix, laid, placed
from spikesight.encoders.emulator.pixels import Emulator, PixelModel
from spikesight.encoders.events import Events, EventsError, SensorSize

MOTIONS = ("still", "left", "right", "up", "down", "clockwise", "counter-clockwise", "push", "pull")
"""Motions as the camera sees them: `left` moves towards x = 0; `push` comes nearer and grows, `pull` goes away."""

HEADINGS = {"right": 0.0, "down": 0.5 * math.pi, "left": math.pi, "up": 1.5 * math.pi}  # radians
FRAME_US = 5_000  # the pixel model interpolates between frames
SENSOR = SensorSize(64, 64)


@dataclass(frozen=True)
class Pose:
    """Position of an object in each frame: float64 [F] each; centre and scale in sensor heights, angle in radians."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    scale: NDArray[np.float64]
    angle: NDArray[np.float64]

    def matrix(self, shape: tuple[int, ...], sensor: SensorSize, frame: int, scale: float = 1.0) -> Matrix:
        """Return the place of a page of this shape in a frame; `scale`: of the page where the path's scale is 1."""
        x = sensor.width / 2 + self.x[frame] * sensor.height
        y = sensor.height / 2 + self.y[frame] * sensor.height
        return placed(shape, x, y, self.angle[frame], scale * self.scale[frame])


def motion_recording(motion: str, sensor: SensorSize = SENSOR, *, seed: int, duration_ms: int = 800) -> Events:
    """Return one recording of a motion, sorted, from time 0; equal seeds give equal events. Raises EventsError."""
    random = np.random.default_rng([seed, number_of(motion)])
    frames = duration_ms * 1000 // FRAME_US + 1
    pose = _pose(motion, frames, random)
    level = random.uniform(30, 220)
    background = _texture(sensor.height, sensor.width, level, random)
    side = 4 * sensor.height // 5
    mask = _form(side, random)
    patch = _texture(side, side, _other_level(level, random), random)
    pixels = PixelModel(
        threshold_on=random.uniform(0.12, 0.35),
        threshold_off=random.uniform(0.12, 0.35),
        sigma=random.uniform(0.01, 0.05),
        noise_hz=random.choice([0.05, random.uniform(0.05, 4)]),  # never 0: a still scene has events too
        cutoff_hz=random.choice([0.0, random.uniform(30, 200)]),
    )
    camera = Emulator(sensor, pixels, int(random.integers(2**31)))
    flicker = random.choice([0.0, random.uniform(0, 0.02)])
    parts = []
    for frame in range(frames):
        picture = laid(background, patch, mask, pose.matrix(patch.shape, sensor, frame, 0.6 * sensor.height / side))
        light = 1 + flicker * math.sin(2 * math.pi * 100 * frame * FRAME_US * 1e-6)
        parts.append(camera.push((picture * light).clip(0, 255).astype(np.uint8), frame * FRAME_US))
    return np.concatenate(parts)


def number_of(motion: str) -> int:
    """Return the index of a motion in MOTIONS. Raises EventsError."""
    if motion not in MOTIONS:
        raise EventsError(f"there is no motion {motion!r}; choose one of {', '.join(MOTIONS)}")
    return MOTIONS.index(motion)


def eased(line: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Blend progress from 0 to 1 with an ease-in, ease-out curve; `share` 1 is the curve alone."""
    return (1 - share) * line + share * (3 * line**2 - 2 * line**3)


def _progress(frames: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Return progress from 0 to 1 over part of the recording, even or easing; constant before and after."""
    start, length = random.uniform(0, 0.25), random.uniform(0.6, 1.0)
    line = ((np.arange(frames) / max(1, frames - 1) - start) / min(length, 1 - start)).clip(0, 1)
    return eased(line, random.uniform(0, 1))


def _wander(frames: int, amount: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Return slow, smooth jitter about 0, like a hand's."""
    times = np.arange(frames) * FRAME_US * 1e-6
    hertz, phase = random.uniform(0.5, 3, 3), random.uniform(0, 2 * math.pi, 3)
    return amount * np.sin(2 * math.pi * np.outer(times, hertz) + phase).mean(1)


def _pose(motion: str, frames: int, random: np.random.Generator) -> Pose:
    """Return the object's offset, scale and angle over time."""
    progress = _progress(frames, random)
    shake = random.uniform(0, 0.008 if motion == "still" else 0.03)
    x = random.uniform(-0.25, 0.25) + _wander(frames, shake, random)
    y = random.uniform(-0.25, 0.25) + _wander(frames, shake, random)
    scale = random.uniform(0.5, 1.1) * (1 + _wander(frames, shake, random))
    angle = random.uniform(-math.pi, math.pi) + _wander(frames, 5 * shake, random)
    reach = random.uniform(0.5, 1.1)
    if motion in HEADINGS:
        tilt = random.uniform(-0.3, 0.3) + HEADINGS[motion]
        x = x + reach * math.cos(tilt) * (progress - 0.5)
        y = y + reach * math.sin(tilt) * (progress - 0.5)
    elif motion in ("clockwise", "counter-clockwise"):
        turns = random.uniform(0.8, 1.6) * (1 if motion == "clockwise" else -1)  # y grows downwards
        phase = random.uniform(0, 2 * math.pi) + 2 * math.pi * turns * progress
        radius, flat = random.uniform(0.15, 0.3), random.uniform(0.75, 1.3)
        x, y = 0.5 * x + radius * np.cos(phase), 0.5 * y + radius * flat * np.sin(phase)
        scale = 0.75 * scale
    elif motion in ("push", "pull"):
        growth = random.uniform(2.0, 4.0) ** (progress - 0.5)
        scale = 0.8 * scale * (growth if motion == "push" else 1 / growth)
    return Pose(x, y, scale, angle)


def _other_level(level: float, random: np.random.Generator) -> float:
    """Return a grey level that stands out from another: brighter or darker by a factor of at least 1.6."""
    factor = random.uniform(1.6, 4)
    brighter = random.random() < 0.5 if level * factor < 250 else False
    return level * factor if brighter or level / factor < 8 else level / factor


def _texture(height: int, width: int, level: float, random: np.random.Generator) -> NDArray[np.float32]:
    """Return smooth noise about a grey level, float32 [height, width] in [5, 250]."""
    cells = int(random.integers(2, 9))
    coarse = random.normal(0, 1, (cells, cells)).astype(np.float32)
    noise = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    strength = random.choice([0.0, random.uniform(0, 0.2)]) * level
    return (level + strength * noise).clip(5, 250).astype(np.float32)


def _form(side: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Return the outline of an object: coverage in [0, 1], float32 [side, side]."""
    corners = int(random.integers(3, 11))
    angles = np.sort(random.uniform(0, 2 * math.pi, corners))
    radii = random.uniform(0.25, 0.48, corners) * side
    points = np.stack([side / 2 + radii * np.cos(angles), side / 2 + radii * np.sin(angles)], 1)
    mask = np.zeros((side, side), np.float32)
    if random.random() < 0.3:
        axes = (int(random.uniform(0.2, 0.45) * side), int(random.uniform(0.2, 0.45) * side))
        cv2.ellipse(mask, (side // 2, side // 2), axes, 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    else:
        cv2.fillPoly(mask, [points.round().astype(np.int32)], 1.0, cv2.LINE_AA)
    if random.random() < 0.5:  # gaps, like those between fingers
        for _ in range(int(random.integers(1, 4))):
            a, b = (tuple(map(int, random.uniform(0, side, 2))) for _ in range(2))
            cv2.line(mask, a, b, 0.0, max(1, side // 16), cv2.LINE_AA)
    return cv2.GaussianBlur(mask, (0, 0), random.uniform(0.3, 1.2)).astype(np.float32)
