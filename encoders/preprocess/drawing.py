"""Detection of the drawing in a camera's picture: strokes of one tone on an even background, on any sheet or desk."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Generic, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.encoders import kernels

SEARCH_SIDE = 320  # larger pictures are searched at this size
STROKE = 0.2  # widest stroke by the picture's shorter side
LEVELS = (0.12, 0.24, 0.4)  # ink thresholds, as darkness relative to the background: pencil, print, pen on ruled paper
SMALLEST, LARGEST = 0.07, 0.98  # length of a drawing by the picture's shorter side
FILLED, BAR = 0.75, 0.3  # most filled share of a drawing's rectangle, unless its sides' ratio is below BAR: a 1
BEYOND = 0.15, 0.45  # in a bar's lengths beyond its ends: where a sheet's edge goes on, and a 1 does not
GOES_ON = 0.8  # least inked share of that stretch, at either end, for a bar that goes on
PART = 0.06  # least area of a drawing's part by that of its largest part
REACH = 0.7  # in lengths of the largest part, between centres: parts further away do not belong to it,
GAP = 0.1  # unless they are within so many lengths of the group's box: a pen may fail
NEAR, NEVER = (REACH, GAP), (-1.0, -1.0)  # no two parts are within the latter
RING = 0.1  # width of the background ring around strokes that is judged, in drawing lengths
FRAME = 0.3  # least length of a sheet's or screen's frame by the picture's shorter side
EDGE, CORNER = 0.12, 0.1  # largest distance of a frame's strokes from a rectangle's edges and corners, by its sides
ENCLOSING = 0.1  # likeness that enclosing strokes gain against the background inside them
LIKELY, LEAST = 0.1, 0.42  # likeness that a candidate exceeds, and least likeness of a still picture's drawing
TRIED = 16  # number of parts per threshold, largest first, around which groups are tried
OWN = 2  # pixels beside a stroke that belong to its blur, not to the background

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
T = TypeVar("T")
Pieces = Generator[None, None, T]  # a generator that yields between short pieces of work and returns a T


@dataclass(frozen=True)
class Drawing:
    """Strokes found in a picture, and the box around them in the picture's pixels."""

    ink: Floats  # [h, w], the box's content: 0 background to 1 ink
    left: float
    top: float
    width: float
    height: float
    likeness: float  # to strokes on an even background, 0 to 1
    ground: float  # brightness around the strokes, 0 to 255


def find_drawing(image: Picture) -> Drawing | None:
    """Return the drawing in a picture, uint8 [H, W] or RGB [H, W, 3]; None if there is none (`as_one`)."""
    found, scale = in_picture(image)
    best = max(as_one(found), key=lambda one: one.likeness, default=None)
    return None if best is None or best.likeness < LEAST else best.drawing(scale)


class Search(Generic[T]):
    """A search split into pieces of work, so that a caller can interleave other work."""

    def __init__(self, pieces: Pieces[T]) -> None:
        self._pieces = pieces
        self._found: list[T] = []
        self.done = 0  # pieces of work

    def go_on(self) -> None:
        """Run one more piece of the search, unless it is finished."""
        self.done += 1
        try:
            if not self._found:
                next(self._pieces)
        except StopIteration as end:
            self._found.append(end.value)

    def result(self) -> T:
        """Run the search to its end; return what it found."""
        while not self._found:
            self.go_on()
        return self._found[0]


class Candidate(NamedTuple):
    """Connected parts of ink that may be one drawing, in pixels of the picture that was searched."""

    box: Sequence[int]  # left, top, width, height
    labels: NDArray[Any]  # [H, W], the number of each pixel's part; 0 for the background
    members: NDArray[np.uint8]  # [N], 1 for the candidate's parts
    ink: Floats  # [H, W], of the whole picture: 0 background to 1 ink
    likeness: float = 0.0  # to strokes on an even background, 0 to 1
    peak: float = 1.0  # the strokes' ink, 0 to 1 (80 % quantile)
    ground: float = 1.0  # brightness of the background around the strokes, 0 to 1

    def around(self, margin: int = 0) -> tuple[slice, slice]:
        """Return slices (rows, columns) of the picture that cut out the box and `margin` pixels around it."""
        left, top, width, height = self.box
        rows = slice(max(0, top - margin), top + height + margin)
        return rows, slice(max(0, left - margin), left + width + margin)

    def strokes(self, cut: tuple[slice, slice]) -> Picture:
        """Return the mask of the candidate in a cut-out of the picture: 1 on its pixels."""
        return self.members[self.labels[cut]]

    def placed(self) -> "Candidate":
        """Return the candidate rated also by size and place: as the only drawing it is large, and in the middle."""
        (height, width), (left, top, wide, high) = self.ink.shape, self.box
        size = min(1.0, max(wide, high) / (0.3 * min(height, width))) ** 0.5
        middle = np.hypot((left + wide / 2) / width - 0.5, (top + high / 2) / height - 0.5)
        return self._replace(likeness=self.likeness * size * (1 - 0.5 * float(middle)))

    def encloses(self, other: "Candidate") -> bool:
        """Return whether the other's box lies within this one's, and one is dark and the other light."""
        box, inner = np.array(self.box), np.array(other.box)
        begin, end = inner[:2] - box[:2], box[:2] + box[2:] - inner[:2] - inner[2:]
        return other.ink is not self.ink and bool((begin >= 0).all() and (end >= 0).all())

    def drawing(self, scale: float) -> Drawing:
        """Return the candidate as a drawing, in a picture whose pixels are `scale` times as many a side."""
        cut = self.around()
        kept = cv2.dilate(self.strokes(cut), np.ones((3, 3), np.uint8))
        strokes = ((self.ink[cut] / self.peak - 0.15) / 0.7).clip(0, 1) * kept
        box = (scale * side for side in self.box)
        return Drawing(strokes.astype(np.float32), *box, likeness=self.likeness, ground=255 * self.ground)


def as_one(found: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates rated as the only drawing shown; those of the other tone that strokes enclose are dropped
    unless they are much likelier: then they are the ink, and what encloses them is its sheet.
    """
    found = [one.placed() for one in found]
    return [one for one in found if all(one.likeness > by.likeness + ENCLOSING or not by.encloses(one) for by in found)]


def in_picture(image: Picture) -> tuple[list[Candidate], float]:
    """Return candidates, dark or light, in a picture uint8 [H, W] or RGB [H, W, 3], and the length of one of their
    pixels in the picture's: larger pictures are searched at SEARCH_SIDE.
    """
    factor = min(1.0, SEARCH_SIDE / max(image.shape[:2]))
    if min(image.shape[:2]) * factor < 1:  # less than a pixel wide once scaled
        return [], 1.0
    if factor < 1:
        image = np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)
    found, negative = (Search(dark(np.asarray(one, np.uint8))).result() for one in (image, 255 - image))
    return [*found, *(one._replace(ground=1 - one.ground) for one in negative)], 1 / factor


def dark(
    image: Picture, levels: Sequence[float] = LEVELS, largest: float = LARGEST, faint: float | None = None
) -> Pieces[list[Candidate]]:
    """Search a picture at full size for dark candidates: each part alone, and grouped with its neighbours.

    Uneven light is removed by dividing by an estimate of the background (a morphological closing, wider than any
    stroke); ink is what stays darker than a threshold of `levels`. `largest`: longest candidate, by the picture's
    shorter side. `faint`: a lower threshold; a bar beyond whose end ink above it goes on is part of a sheet's edge.
    """
    found = list[Candidate]()
    ink, ground = ink_of(image)
    beyond = None if faint is None else cv2.dilate((ink > faint).astype(np.uint8), np.ones((3, 3), np.uint8))
    shortest, longest = SMALLEST * min(ink.shape), largest * min(ink.shape)
    for level in levels:
        yield
        labels, *parts = parts_of(ink, level)
        for near in (NEVER, NEAR):
            yield
            members, boxes = _loops().groups(*parts, shortest, longest, TRIED, *near, PART)
            for those, box in zip(members, boxes.tolist()):
                if max(box[2:]) > longest or (near is NEAR and those.sum() < 2):
                    continue
                one = rated(Candidate(box, labels, those, ink), ground)
                if one.likeness > LIKELY and (beyond is None or not goes_on(one, beyond)):
                    found.append(one)
    return found


def ink_of(image: Picture) -> tuple[Floats, Floats]:
    """Return ink (darkness relative to the background) and the background's brightness, float32 [H, W], 0 to 1."""
    side = round(min(image.shape[:2]) * STROKE) | 1
    window = np.ones((side, side), np.uint8)
    calm = cv2.medianBlur(image, 3)
    ground = cv2.blur(cv2.morphologyEx(calm, cv2.MORPH_CLOSE, window), (9, 9)).astype(np.float32)
    ink = 1 - np.minimum((calm.astype(np.float32) + 2) / (ground + 2), 1)
    if image.ndim == 2:
        return ink.astype(np.float32), (ground / 255).astype(np.float32)
    return ink.max(2).astype(np.float32), (ground.mean(2) / 255).astype(np.float32)


def parts_of(ink: Floats, level: float) -> tuple[NDArray[Any], ...]:
    """Return the connected parts of ink [H, W] above `level`, as `cv2.connectedComponentsWithStats` does: labels
    [H, W], stats [N, 5], centres [N, 2]; and which may belong to a drawing, bool [N]: not if tiny, a frame, or at the
    border.
    """
    height, width = ink.shape
    _, labels, stats, centres = cv2.connectedComponentsWithStats((ink > level).astype(np.uint8))
    x, y, w, h, area = (stats[:, k] for k in range(5))
    kept = (x > 1) & (y > 1) & (x + w < width - 1) & (y + h < height - 1) & (area > 8)
    kept[0] = False  # the background
    for n in np.flatnonzero(kept & (np.maximum(w, h) >= FRAME * min(height, width))):
        box = labels[y[n] : y[n] + h[n], x[n] : x[n] + w[n]]
        kept[n] = not is_frame((box == n).astype(np.uint8))
    return labels, stats, centres, kept


def rated(one: Candidate, ground: Floats) -> Candidate:
    """Return a candidate with its likeness to strokes on an even background, peak and ground, from `ground` [H, W].

    One of up to LIKELY is given as it was, with 0, so that most candidates need only cheap tests.
    """
    reach = max(3, round(RING * max(one.box[2:])))
    cut = one.around(reach + 1)
    strokes = one.strokes(cut)
    wide, close = (cv2.dilate(strokes, np.ones((2 * n + 1, 2 * n + 1), np.uint8)) for n in (reach, OWN))
    peak, uneven, stray, mean, spread = _loops().tones(strokes, wide, close, one.ink[cut], ground[cut])
    clean = max(0.0, 1 - 2.5 * stray / peak)
    even = max(0.0, 1 - 4 * spread / (mean + 0.02))
    one_tone = max(0.0, 1 - 1.5 * uneven / peak)
    likeness = clean * even * one_tone * min(1.0, peak / 0.5) * min(1.0, 0.4 + mean / 0.5)
    if likeness <= LIKELY or _is_solid(strokes) or is_frame(strokes):
        return one
    return one._replace(likeness=likeness, peak=peak, ground=mean)


def _is_solid(strokes: Picture) -> bool:
    """Return whether strokes fill the rotated rectangle around them, as objects and sheets do."""
    across, along = sorted(cv2.minAreaRect(_loops().outline(strokes))[1])
    return across > BAR * along and cv2.countNonZero(strokes) > FILLED * across * along


def goes_on(one: Candidate, faint: NDArray[Any]) -> bool:
    """Return whether a candidate is a bar that goes on beyond an end, in the mask `faint` [H, W] of fainter ink."""
    middle, sides, degrees = cv2.minAreaRect(_loops().outline(one.strokes(one.around())))
    across, along = sorted(sides)
    if across > BAR * along:
        return False
    angle = np.deg2rad(degrees if sides[0] == along else degrees + 90)
    reach = along * (0.5 + np.linspace(*BEYOND, 8)) * np.array([[1], [-1]])
    x = np.rint(one.box[0] + middle[0] + reach * np.cos(angle)).astype(int)
    y = np.rint(one.box[1] + middle[1] + reach * np.sin(angle)).astype(int)
    inside = (x >= 0) & (y >= 0) & (x < faint.shape[1]) & (y < faint.shape[0])
    lit = (faint[y * inside, x * inside] > 0) | ~inside  # a sheet's edge may leave the picture
    return bool(lit.mean(1).max() > GOES_ON)


def is_frame(strokes: Picture) -> bool:
    """Return whether strokes, uint8 [h, w], are the sides of a rectangle: the edge of a sheet or screen."""
    middle, (width, height), degrees = cv2.minAreaRect(_loops().outline(strokes))
    if min(width, height) < 0.4 * max(width, height):
        return False
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    near, corners = _loops().along_edges(strokes, *middle, width, height, cos, sin, EDGE, CORNER)
    return corners == 4 and near > 0.9


def _loops() -> ModuleType:
    return kernels.compiled("drawing")
