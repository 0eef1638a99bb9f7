"""Clips of drawn things before a camera, each seed another light, ground and path: turned by a hand, or walking by."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.emulator.pixels import Emulator
from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import write_recording
from tests.support.inputs.textures import texture

KINDS = ("mug", "key", "star")


def outline(kind: str) -> NDArray[np.uint8]:
    """A thing's mask, uint8 [200, 200], 255 inside."""
    mask = np.zeros((200, 200), np.uint8)
    if kind == "mug":
        cv2.rectangle(mask, (40, 50), (125, 165), 255, -1)
        cv2.ellipse(mask, (128, 105), (38, 36), 0, -90, 90, 255, 14)
    elif kind == "key":
        cv2.circle(mask, (48, 100), 34, 255, 16)
        cv2.line(mask, (82, 100), (185, 100), 255, 14)
        for x in (140, 168):
            cv2.line(mask, (x, 100), (x, 138), 255, 14)
    else:
        turns = np.arange(10) * np.pi / 5 - np.pi / 2
        reach = np.where(np.arange(10) % 2, 38, 92)[:, None]
        points = 100 + reach * np.stack([np.cos(turns), np.sin(turns)], 1)
        cv2.fillPoly(mask, [points.astype(np.int32)], 255)
    return mask


def clip(kind: str, seed: int, frames: int, fps: float = 30) -> list[NDArray[np.uint8]]:
    """Frames uint8 [240, 320, 3] of a thing that is turned, shifted and brought nearer, smoothly."""
    random = np.random.default_rng([KINDS.index(kind), seed])
    mask, ground, ink = outline(kind), random.uniform(150, 200, 3), random.uniform(30, 80, 3)
    speeds, phases = random.uniform(1.2, 2.6, 4), random.uniform(0, 2 * np.pi, 4)
    base, middle = random.uniform(0.7, 1.0), random.uniform(-25, 25, 2)
    made = []
    for n in range(frames):
        turn, across, down, near = np.sin(speeds * n / fps + phases)
        scale = base * (1 + 0.15 * near)
        move = cv2.getRotationMatrix2D((100, 100), 25 * turn, scale)
        move[:, 2] += (60 + middle[0] + 30 * across, 20 + middle[1] + 22 * down)
        alpha = cv2.warpAffine(mask, move, (320, 240), flags=cv2.INTER_AREA).astype(np.float32) / 255
        noise = random.standard_normal((240, 320), np.float32) * 1.5
        frame = cv2.merge([alpha * float(dark - light) + (noise + float(light)) for light, dark in zip(ground, ink)])
        made.append(np.asarray(frame, np.uint8))  # far from 0 and from 255
    return made


def passing(directions: tuple[str, ...], seed: int, fps: int = 30) -> Iterator[NDArray[np.uint8]]:
    """Frames uint8 [240, 320, 3] of a door: somebody walks by `left` or `right`, in 1.6 s, with 1.2 s between."""
    random = np.random.default_rng([seed, len(directions)])
    room = texture((240, 320), random).astype(np.float32)[..., None].repeat(3, 2)
    for direction in ("", *(step for way in directions for step in (way, ""))):
        coat = 0.3 * texture((170, 70), random).astype(np.float32)[..., None] + random.uniform(20, 60, 3)
        for n in range(round((1.6 if direction else 1.2) * fps)):
            picture = room.copy()
            share = n / (1.6 * fps)
            left = round((share if direction == "right" else 1 - share) * 460) - 105
            inside = slice(max(0, left), max(0, min(320, left + 70)))
            if direction and inside.stop > inside.start:
                mask = figure()[:, inside.start - left : inside.stop - left]
                part, person = picture[60:230, inside], coat[:, inside.start - left : inside.stop - left]
                part += mask[..., None] * (person - part)
            yield np.clip(picture + random.normal(0, 1.5, (240, 320, 1)), 0, 255).astype(np.uint8)


def figure() -> NDArray[np.float32]:
    """A head on a body, float32 [170, 70], 1 inside."""
    mask = np.zeros((170, 70), np.float32)
    cv2.circle(mask, (35, 24), 20, 1.0, -1)
    cv2.ellipse(mask, (35, 120), (32, 76), 0, 0, 360, 1.0, -1)
    return cv2.GaussianBlur(mask, (0, 0), 1.2).astype(np.float32)


def digit_on_paper(turn: float) -> NDArray[np.uint8]:
    """A card with a 3 that moves on a small circle; uint8 [480, 640, 3]."""
    frame = np.full((480, 640, 3), (88, 84, 80), np.uint8)
    x, y = round(320 + 40 * np.cos(turn)), round(240 + 30 * np.sin(turn))
    cv2.rectangle(frame, (x - 120, y - 150), (x + 120, y + 150), (225, 228, 230), -1)
    cv2.putText(frame, "3", (x - 82, y + 95), cv2.FONT_HERSHEY_SIMPLEX, 8.5, (40, 36, 34), 30, cv2.LINE_AA)
    return frame


def one_turn(shown: Callable[[float], NDArray[np.uint8]], frames: int = 45) -> list[NDArray[np.uint8]]:
    """What is shown, once around."""
    return [shown(2 * np.pi * n / frames) for n in range(frames)]


def mjpeg(path: Path, frames: list[NDArray[np.uint8]]) -> Path:
    """A video for Chromium's fake camera: JPEGs one after another, played at 30 a second."""
    path.write_bytes(b"".join(cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames))
    return path


def filmed(path: Path, frames: Iterable[NDArray[np.uint8]], size: SensorSize, seed: int = 0) -> Path:
    """Frames of any size at 30 a second as an event camera records them."""
    camera = Emulator(size, seed=seed)
    small = (cv2.resize(frame.mean(2).astype(np.uint8), (size.width, size.height)) for frame in frames)
    write_recording(
        path, (camera.push(np.asarray(grey, np.uint8), n * 100_000 // 3) for n, grey in enumerate(small)), size
    )
    return path
