"""Where the drawing is in a camera's picture: strokes of one tone on an even ground, wherever sheet and desk are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SEARCH_SIDE = 320  # larger pictures are searched at this size
STROKE = 0.2  # of the shorter side: no stroke is wider
LEVELS = (0.12, 0.24, 0.4)  # how much darker than its ground ink is at least: pencil, print, pen on ruled paper
SMALLEST, LARGEST = 0.07, 0.98  # length of a drawing by the shorter side
THICK = 0.27  # half a stroke's width by its drawing's length: thicker is no stroke
FILLED, BAR = 0.75, 0.3  # of the rectangle around it: more is no drawing, unless its sides are such: a 1
PART = 0.06  # of the largest part's area: smaller ones do not belong to the drawing
REACH = 0.7  # of the largest part's length, between middles: parts further away do not belong to it
RING = 0.1  # of a drawing's length: the ground around its strokes that is looked at
FRAME = 0.3  # of the shorter side: the frame of a sheet or a screen is at least so long
EDGE, CORNER = 0.12, 0.1  # of its sides: how near to a rectangle's edge its strokes lie, and to its corners
LEAST = 0.42  # likeness of what is taken for a drawing
TRIED = 6  # parts of a level that are looked at, the largest ones

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Drawing:
    """Strokes found in a picture; the box in the picture's pixels."""

    ink: Floats  # [h, w], 0 ground to 1 ink: what lies in the box
    left: float
    top: float
    width: float
    height: float
    likeness: float  # 0 to 1
    ground: float  # brightness around the strokes, 0 to 255

    def scaled(self, factor: float) -> "Drawing":
        """The same box in pixels of another size."""
        left, top, width, height = (factor * v for v in (self.left, self.top, self.width, self.height))
        return replace(self, left=left, top=top, width=width, height=height)


def find_drawing(image: Picture, levels: Sequence[float] = LEVELS) -> Drawing | None:
    """The drawing in uint8 [H, W] or RGB [H, W, 3], or None where there is none.

    Light is evened out by dividing by what the picture would be without ink (a morphological closing, wider than any
    stroke); ink is what stays dark, by one of the levels, and is looked for in the negative too. Of all groups of
    parts the one is taken that most looks like strokes (long, thin, of one tone) on an even ground; but strokes before
    the ground that they enclose.
    """
    factor = min(1.0, SEARCH_SIDE / max(image.shape[:2]))
    if factor < 1:
        image = np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)
    dark, light = (_likeliest(np.asarray(one, np.uint8), levels) for one in (image, 255 - image))
    if light is not None:
        light = replace(light, ground=255 - light.ground)
    if dark is None or light is None:
        best = dark or light
    elif _encloses(dark, light) != _encloses(light, dark):
        best = dark if _encloses(dark, light) else light
    else:
        best = max(dark, light, key=lambda drawing: drawing.likeness)
    return best and best.scaled(1 / factor)


def _encloses(outer: Drawing, inner: Drawing) -> bool:
    """Whether a box lies in another's."""
    right, bottom = (inner.left + inner.width, inner.top + inner.height)
    return (
        outer.left <= inner.left
        and outer.top <= inner.top
        and right <= outer.left + outer.width
        and bottom <= outer.top + outer.height
    )


def _likeliest(image: Picture, levels: Sequence[float]) -> Drawing | None:
    """What of the dark in a picture looks most like a drawing."""
    best: Drawing | None = None
    ink, ground = _ink(image)
    for mask in _groups(ink, levels):
        likeness, peak, around = _likeness(mask, ink, ground)
        if likeness < LEAST or (best is not None and likeness <= best.likeness):
            continue
        left, top, width, height = cv2.boundingRect(mask)
        cut = np.s_[top : top + height, left : left + width]
        kept = cv2.dilate(mask, np.ones((3, 3), np.uint8))[cut]
        strokes = ((ink[cut] / peak - 0.15) / 0.7).clip(0, 1) * kept
        best = Drawing(strokes.astype(np.float32), left, top, width, height, likeness, 255 * around)
    return best


def _ink(image: Picture) -> tuple[Floats, Floats]:
    """(how much darker than its ground each pixel is, 0 to 1; the ground's brightness, 0 to 1), float32 [H, W]."""
    side = round(min(image.shape[:2]) * STROKE) | 1
    window = np.ones((side, side), np.uint8)
    calm = cv2.medianBlur(image, 3)
    ground = cv2.blur(cv2.morphologyEx(calm, cv2.MORPH_CLOSE, window), (9, 9)).astype(np.float32)
    ink = 1 - np.minimum((calm.astype(np.float32) + 2) / (ground + 2), 1)
    if image.ndim == 2:
        return ink.astype(np.float32), (ground / 255).astype(np.float32)
    return ink.max(2).astype(np.float32), (ground.mean(2) / 255).astype(np.float32)


def _groups(ink: Floats, levels: Sequence[float]) -> Iterator[Picture]:
    """Masks uint8 [H, W] of parts that may be one drawing: none touches the picture's border or is solid."""
    height, width = ink.shape
    shorter = min(height, width)
    for level in levels:
        _, labels, stats, centres = cv2.connectedComponentsWithStats((ink > level).astype(np.uint8))
        x, y, w, h, area = (stats[1:, k] for k in range(5))
        inside = (x > 1) & (y > 1) & (x + w < width - 1) & (y + h < height - 1)
        parts = 1 + np.flatnonzero(inside & (area > 8))
        long = np.maximum(stats[:, 2], stats[:, 3])
        parts = parts[[long[n] < FRAME * shorter or not is_frame(_part(labels, stats, int(n))) for n in parts]]
        heads = parts[(long[parts] >= SMALLEST * shorter) & (long[parts] <= LARGEST * shorter)]
        for head in heads[np.argsort(-stats[heads, 4])][:TRIED]:
            near = np.abs(centres[parts] - centres[head]).max(1) < REACH * long[head]
            group = parts[near & (stats[parts, 4] >= PART * stats[head, 4]) & (long[parts] <= long[head])]
            yield np.isin(labels, group).astype(np.uint8)


def _likeness(mask: Picture, ink: Floats, ground: Floats) -> tuple[float, float, float]:
    """(how much a mask looks like strokes on an even ground, the ink's tone, the ground's brightness), 0 to 1 each."""
    left, top, width, height = cv2.boundingRect(mask)
    length, shorter = max(width, height), min(mask.shape)
    reach = max(3, round(RING * length))
    y0, x0 = max(0, top - reach - 1), max(0, left - reach - 1)
    cut = np.s_[y0 : top + height + reach + 1, x0 : left + width + reach + 1]
    strokes, near, base = mask[cut], ink[cut], ground[cut]
    depth = cv2.distanceTransform(np.pad(strokes, 1), cv2.DIST_L2, 3).max()
    if depth > THICK * length or length > LARGEST * shorter or _is_solid(strokes) or is_frame(strokes):
        return 0.0, 1.0, 0.0
    wide = cv2.dilate(strokes, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    ring = (wide > 0) & (cv2.dilate(strokes, np.ones((5, 5), np.uint8)) == 0)
    if not ring.any():
        return 0.0, 1.0, 0.0
    tones = near[strokes > 0]
    peak = float(np.quantile(tones, 0.8))
    around = base[ring]
    mean = float(around.mean())
    clean = max(0.0, 1 - 2.5 * float(near[ring].mean()) / peak)
    even = max(0.0, 1 - 4 * float(around.std()) / (mean + 0.02))
    one_tone = max(0.0, 1 - 1.5 * float(tones.std()) / peak)
    contrast = min(1.0, peak / 0.5)
    size = min(1.0, length / (0.3 * shorter)) ** 0.5
    middle = np.hypot((left + width / 2) / mask.shape[1] - 0.5, (top + height / 2) / mask.shape[0] - 0.5)
    bright = min(1.0, 0.4 + mean / 0.5)
    return clean * even * one_tone * contrast * size * bright * (1 - 0.5 * float(middle)), peak, mean


def _part(labels: NDArray[Any], stats: NDArray[Any], number: int) -> Picture:
    """The mask of one part, uint8 [h, w] of its box."""
    x, y, w, h = stats[number, :4]
    return (labels[y : y + h, x : x + w] == number).astype(np.uint8)


def _is_solid(strokes: Picture) -> bool:
    """Whether they fill the rectangle around them, however it is turned, as things and sheets do."""
    across, along = sorted(cv2.minAreaRect(cv2.findNonZero(strokes))[1])
    return across > BAR * along and int(strokes.sum()) > FILLED * across * along


def is_frame(strokes: Picture) -> bool:
    """Whether strokes, uint8 [h, w], are the sides of a rectangle: the edge of a sheet or a screen, and no drawing."""
    y, x = np.nonzero(strokes)
    (middle_x, middle_y), (width, height), degrees = cv2.minAreaRect(np.stack([x, y], 1).astype(np.float32))
    if min(width, height) < 0.4 * max(width, height):
        return False
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    u = ((x - middle_x) * cos + (y - middle_y) * sin) / width
    v = ((y - middle_y) * cos - (x - middle_x) * sin) / height
    inside, corner = 0.5 - np.maximum(abs(u), abs(v)), 0.5 - np.minimum(abs(u), abs(v)) < CORNER
    corners = {(bool(a > 0), bool(b > 0)) for a, b in zip(u[corner], v[corner])}
    return len(corners) == 4 and float((inside < EDGE).mean()) > 0.9
