"""Clips of drawn things that a hand turns before a camera: each seed another light, ground, path and size."""

import cv2
import numpy as np
from numpy.typing import NDArray

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
        alpha = cv2.warpAffine(mask, move, (320, 240), flags=cv2.INTER_AREA).astype(np.float32)[..., None] / 255
        frame = ground * (1 - alpha) + ink * alpha + random.normal(0, 1.5, (240, 320, 1))
        made.append(np.clip(frame, 0, 255).astype(np.uint8))
    return made
