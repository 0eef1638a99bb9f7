"""A background for things before a camera."""

import cv2
import numpy as np
from numpy.typing import NDArray


def texture(shape: tuple[int, int], random: np.random.Generator) -> NDArray[np.uint8]:
    """Return a background for a sheet, uint8 [H, W]: clouds of all sizes, with objects of even tones on them."""
    height, width = shape
    clouds = np.zeros(shape, np.float32)
    for cells in (3, 8, 24, 80):
        coarse = random.standard_normal((max(2, cells * height // width), cells), np.float32)
        clouds += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(random.uniform(5, 25))
    desk = clouds + np.float32(random.uniform(20, 150))
    for _ in range(int(random.integers(0, 12))):
        at = (int(random.integers(0, width)), int(random.integers(0, height)))
        axes = (int(random.integers(3, width // 4)), int(random.integers(3, height // 4)))
        tone, angle = random.uniform(5, 220), random.uniform(0, 180)
        if random.random() < 0.5:
            cv2.ellipse(desk, at, axes, angle, 0, 360, tone, -1)
        else:
            box = cv2.boxPoints((at, axes, angle)).astype(np.int32)
            cv2.fillPoly(desk, [box], tone)
    return cv2.GaussianBlur(desk, (0, 0), height / 240).clip(0, 255).astype(np.uint8)
