"""Motions as a webcam films them: textured cut-outs before textured backgrounds, with the camera's noise and shake.

Unlike with the drawings of `drawn`, much of the network's grid sees events all the time: from fine texture, dark
noise and a shaking hand. Pictures are dead leaves (Lee, Mumford and Huang 2001), whose statistics are those of
photographs: opaque shapes of all sizes on top of each other, plus noise whose amplitude falls with frequency. The
camera's pixels are finer than the recording's and are summed (`Pool`), as for a live webcam.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from corpora.drawn import HEADINGS, SENSOR, Pose, eased, number_of
from corpora.films import Plane, laid
from corpora.others import dead_leaves
from spikesight.encoders.emulator.pixels import Emulator, PixelModel
from spikesight.encoders.events import Events, SensorSize, empty_events
from spikesight.encoders.preprocess.filters import Pool

FINE = (1, 2, 4)  # camera pixels along the side of one pixel of the recording
FRAMES_US = (16_667, 33_333, 40_000)
NOISE = 5.0  # largest standard deviation in grey values, of the finest pixels; larger pixels average it


Layer = tuple[Plane, Plane | None, Pose]  # a picture, its coverage (None: everywhere) and its path


def filmed_recording(motion: str, sensor: SensorSize = SENSOR, *, seed: int, duration_ms: int = 800) -> Events:
    """Return one recording of a motion, sorted, from time 0; equal seeds give equal events. Raises EventsError.

    A cut-out moves, or two alike, or sometimes the whole scene. `clockwise` and `counter-clockwise` include travel on a
    circle and rotation in place; `push` and `pull` are zooms of 1.15 to 4 times; in `still` the camera shakes, or there
    are no events at all.
    """
    random = np.random.default_rng([seed, number_of(motion), 2])
    fine, frame_us = int(random.choice(FINE)), int(random.choice(FRAMES_US))
    camera = SensorSize(fine * sensor.width, fine * sensor.height)
    times = np.arange(-(-duration_ms * 1000 // frame_us) + 1) * frame_us
    layers = _scene(motion, camera, times, random)
    emulator, seen = Emulator(camera, _pixels(random), int(random.integers(2**31))), Pool(camera, sensor)
    noise = random.uniform(0, NOISE) * fine / max(FINE) if random.random() < 0.8 else 0.0
    parts = [empty_events()]
    for frame, t_us in enumerate(times.tolist()):
        picture = np.zeros((camera.height, camera.width), np.float32)
        for plane, mask, route in layers:
            picture = laid(picture, plane, mask, route.matrix(plane.shape, camera, frame), cv2.BORDER_REFLECT)
        picture += noise * random.standard_normal(picture.shape, np.float32)
        parts.append(seen(emulator.push(picture.clip(0, 255).astype(np.uint8), t_us)))
    events = np.concatenate(parts)
    return events[events["t"] < duration_ms * 1000]


def _scene(motion: str, camera: SensorSize, times: NDArray[np.int64], random: np.random.Generator) -> list[Layer]:
    """Return the layers before the camera, from back to front."""
    shake, moved = _shake(motion, times, random), _moved(motion, times, random)
    light = random.uniform(0.1, 0.5) if random.random() < 0.4 else random.uniform(0.5, 1.0)
    background = light * dead_leaves(3 * camera.height // 2, 3 * camera.width // 2, random)
    if motion != "still" and random.random() < 0.2:
        return [(background, None, _joined(shake, moved))]
    layers: list[Layer] = [(background, None, shake)]
    side = camera.height // 2
    shown = 2 if random.random() < 0.2 else 1
    for _ in range(0 if motion == "still" and random.random() < 0.4 else shown):  # or an empty room
        cutout = max(light, 0.25) * random.uniform(0.7, 1.3) * dead_leaves(side, side, random)
        layers.append((cutout, cut(side, random), _joined(_placed(motion, moved, random), shake)))
    return layers


def _pixels(random: np.random.Generator) -> PixelModel:
    """Return a webcam's pixel model as the service uses it, or a similar one."""
    if random.random() < 0.5:
        return PixelModel(steady=bool(random.random() < 0.5))
    return PixelModel(
        threshold_on=random.uniform(0.12, 0.35),
        threshold_off=random.uniform(0.12, 0.35),
        noise_hz=random.choice([0.0, random.uniform(0, 4)]),
        steady=bool(random.random() < 0.5),
    )


def _shake(motion: str, times: NDArray[np.int64], random: np.random.Generator) -> Pose:
    """Return the path of the scene before a hand-held camera: tremor about the middle, often none."""
    most = 0.03 if motion == "still" else 0.015
    amount = random.choice([0.0, random.uniform(0, most)])
    x, y, turn, zoom = (_tremor(times, random) for _ in range(4))
    return Pose(amount * x, amount * y, 1 + 0.5 * amount * zoom, amount * turn)


def _tremor(times: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.float64]:
    """Return a smooth oscillation about 0 at 2 to 10 Hz with an amplitude of at most 1."""
    waves = int(random.integers(1, 3))
    hertz, phase = random.uniform(2, 10, waves), random.uniform(0, 2 * math.pi, waves)
    return np.sin(2 * math.pi * np.outer(times * 1e-6, hertz) + phase).mean(1)


def _moved(motion: str, times: NDArray[np.int64], random: np.random.Generator) -> Pose:
    """Return the path of the motion alone, even or easing, often over part of the recording; 0 in the middle."""
    start, length = random.choice([0.0, random.uniform(0, 0.2)]), random.choice([1.0, random.uniform(0.6, 1.0)])
    line = ((times / max(1, times[-1]) - start) / min(length, 1 - start)).clip(0, 1)
    along = eased(line, random.choice([0.0, random.uniform(0, 1)])) - 0.5
    x, y, scale, angle = np.zeros_like(along), np.zeros_like(along), np.ones_like(along), np.zeros_like(along)
    if motion in HEADINGS:
        heading = random.uniform(-0.3, 0.3) + HEADINGS[motion]
        reach = random.uniform(0.2, 1.0)
        x, y = reach * math.cos(heading) * along, reach * math.sin(heading) * along
        scale = random.choice([1.0, random.uniform(0.75, 1.33)]) ** along  # may come a little nearer or go away
    elif motion in ("clockwise", "counter-clockwise"):
        sign = 1 if motion == "clockwise" else -1  # y grows downwards
        if random.random() < 0.5:  # rotation in place
            angle = sign * 2 * math.pi * random.uniform(0.2, 1.2) * along
        else:
            phase = random.uniform(0, 2 * math.pi) + sign * 2 * math.pi * random.uniform(0.3, 1.5) * along
            radius, flat = random.uniform(0.12, 0.3), random.uniform(0.75, 1.3)
            x, y = radius * np.cos(phase), radius * flat * np.sin(phase)
            angle = random.choice([0.0, 1.0]) * (phase - phase[0])  # may turn with the path
    elif motion in ("push", "pull"):
        scale = math.exp(random.uniform(math.log(1.15), math.log(4))) ** (along if motion == "push" else -along)
    return Pose(x, y, scale, angle)


def _placed(motion: str, moved: Pose, random: np.random.Generator) -> Pose:
    """Return the path of a cut-out: the motion, offset to near the middle, with a random size and angle."""
    near = 0.1 if motion in ("clockwise", "counter-clockwise") else 0.2
    x, y = random.uniform(-near, near, 2)
    angle = 0.0 if random.random() < 0.5 else random.uniform(-math.pi, math.pi)
    return Pose(x + moved.x, y + moved.y, random.uniform(0.5, 1.2) * moved.scale, angle + moved.angle)


def _joined(inner: Pose, outer: Pose) -> Pose:
    """Combine a path inside a scene with the path of the scene, whose small turns and zooms are about the middle."""
    return Pose(inner.x + outer.x, inner.y + outer.y, inner.scale * outer.scale, inner.angle + outer.angle)


def cut(side: int, random: np.random.Generator) -> Plane:
    """Return the shape of a cut-out, an ellipse, rectangle or polygon: coverage [side, side] in [0, 1]."""
    mask = np.zeros((side, side), np.float32)
    half, form = side // 2, random.random()
    if form < 0.3:
        axes = (int(random.uniform(0.5, 0.98) * half), int(random.uniform(0.5, 0.98) * half))
        cv2.ellipse(mask, (half, half), axes, 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    elif form < 0.6:
        w, h = (int(random.uniform(0.4, 0.95) * half) for _ in range(2))
        mask[half - h : half + h, half - w : half + w] = 1
    else:
        corners = int(random.integers(4, 14))
        angles = np.sort(random.uniform(0, 2 * math.pi, corners))
        radii = random.uniform(0.5, 0.98, corners) * half
        points = half + np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)
        cv2.fillPoly(mask, [points.round().astype(np.int32)], 1.0, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), random.uniform(0.3, 2)), np.float32)
