"""Films: layers that move over a ground before a noisy camera. Corpora and experiments draw all films so."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import SensorSize

Grey = NDArray[np.uint8]  # [H, W]
Plane = NDArray[np.float32]  # [H, W], grey values, or how much of a pixel is covered
Matrix = NDArray[np.float64]  # [2, 3], from a layer's pixels to the picture's


class Box(NamedTuple):
    """Where a marked object is in a frame."""

    number: int
    label: str
    left: float
    top: float
    side: float


@dataclass(frozen=True)
class Layer:
    """A picture that moves: grey [h, w], how much of it covers [h, w] (None: all), its path and marked things."""

    page: Grey | Plane
    cover: Plane | None
    path: Callable[[float], Matrix]  # seconds to its place
    marks: tuple[tuple[str, float, float, float], ...] = ()  # label, x, y of the middle, side


def placed(shape: tuple[int, ...], x: float, y: float, angle: float = 0.0, scale: float = 1.0) -> Matrix:
    """Return the matrix that puts the middle of a page at (x, y), turned by `angle` (radians) and scaled."""
    cos, sin, right, down = scale * math.cos(angle), scale * math.sin(angle), shape[1] / 2, shape[0] / 2
    return np.array([[cos, -sin, x - cos * right + sin * down], [sin, cos, y - sin * right - cos * down]])


def laid(
    below: Plane, page: Grey | Plane, cover: Plane | None, matrix: Matrix, beyond: int = cv2.BORDER_REPLICATE
) -> Plane:
    """Draw a page over a picture; `beyond`: what OpenCV puts beyond its edges, where `cover` is None."""
    size = below.shape[1], below.shape[0]
    moved = cv2.warpAffine(page.astype(np.float32), matrix, size, borderMode=beyond)
    if cover is None:
        return np.asarray(moved, np.float32)
    return np.asarray(below + cv2.warpAffine(cover, matrix, size) * (moved - below), np.float32)


@dataclass(frozen=True)
class Film:
    """Layers over a ground [H, W], the first behind the others."""

    ground: Grey | Plane
    layers: Sequence[Layer]
    seconds: float
    seed: int = 0
    rate_hz: int = 30
    noise: float = 0.0  # standard deviation, grey values
    blur: float = 0.0  # standard deviation, pixels
    light: Callable[[float], float] = lambda _: 1.0  # seconds to the brightness

    @property
    def size(self) -> SensorSize:
        return SensorSize(self.ground.shape[1], self.ground.shape[0])

    def frames(self) -> Iterator[tuple[int, Grey, list[Box]]]:
        """Yield (time in microseconds, frame, marked objects that are wholly in view)."""
        random, (height, width) = np.random.default_rng(self.seed), self.ground.shape
        for n in range(round(self.seconds * self.rate_hz)):
            t_s, shown, picture = n / self.rate_hz, list[Box](), self.ground.astype(np.float32)
            for number, layer in enumerate(self.layers):
                matrix = layer.path(t_s)
                picture = laid(picture, layer.page, layer.cover, matrix)
                for mark, (label, x, y, side) in enumerate(layer.marks):
                    left, top = (matrix @ (x, y, 1.0) - side / 2).tolist()
                    if 0 <= left <= width - side and 0 <= top <= height - side:
                        shown.append(Box(100 * number + mark, label, left, top, side))
            picture *= np.float32(self.light(t_s))
            if self.blur:
                picture = cv2.GaussianBlur(picture, (0, 0), self.blur)
            if self.noise:
                picture = picture + self.noise * random.standard_normal(picture.shape, np.float32)
            yield round(t_s * 1e6), picture.clip(0, 255).astype(np.uint8), shown
