"""Detection of the drawing in a camera's picture: strokes of one tone on an even background, on any sheet or desk."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
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
THICK = 0.27  # largest half width of a stroke by the drawing's length
FILLED, BAR = 0.75, 0.3  # most filled share of a drawing's rectangle, unless its sides' ratio is below BAR: a 1
BEYOND = 0.15, 0.45  # in a bar's lengths beyond its ends: where a sheet's edge goes on, and a 1 does not
GOES_ON = 0.8  # least inked share of that stretch, at either end, for a bar that goes on
PART = 0.06  # least area of a drawing's part by that of its largest part
REACH = 0.7  # in lengths of the largest part, between centres: parts further away do not belong to it,
GAP = 0.1  # unless they are within so many lengths of the group's box: a pen may fail
NEVER = -1.0  # a distance that no two parts or boxes are within
RING = 0.1  # width of the background ring around strokes that is judged, in drawing lengths
FRAME = 0.3  # least length of a sheet's or screen's frame by the picture's shorter side
EDGE, CORNER = 0.12, 0.1  # largest distance of a frame's strokes from a rectangle's edges and corners, by its sides
ENCLOSING = 0.1  # likeness that enclosing strokes gain against the background inside them
LEAST = 0.42  # least likeness of a drawing
TRIED = 6  # number of parts per threshold, largest first, around which groups are tried
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

    def scaled(self, factor: float) -> "Drawing":
        """Return the drawing with its box multiplied by `factor`; the ink stays."""
        left, top, width, height = (factor * v for v in (self.left, self.top, self.width, self.height))
        return replace(self, left=left, top=top, width=width, height=height)


def find_drawing(image: Picture) -> Drawing | None:
    """Return the drawing in a picture, uint8 [H, W] or RGB [H, W, 3]; None if there is none.

    Uneven light is removed by dividing by an estimate of the background (a morphological closing, wider than any
    stroke); ink is what stays darker than a threshold of LEVELS. The negative is searched too. The group of connected
    parts that looks most like strokes (long, thin, of one tone) on an even background is returned. Strokes win against
    the background that they enclose unless that is much likelier: then it is the ink, and they are its sheet.
    """
    factor = min(1.0, SEARCH_SIDE / max(image.shape[:2]))
    if min(image.shape[:2]) * factor < 1:  # less than a pixel wide once scaled
        return None
    if factor < 1:
        image = np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)
    dark, light = (
        Search(dark_drawing(np.asarray(one, np.uint8), LEVELS, gap=GAP)).result() for one in (image, 255 - image)
    )
    if light is not None:
        light = replace(light, ground=255 - light.ground)
    if dark is None or light is None:
        best = dark or light
    else:
        ahead = ENCLOSING * (_encloses(dark, light) - _encloses(light, dark))
        best = dark if dark.likeness + ahead >= light.likeness else light
    return best and best.scaled(1 / factor)


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


def _encloses(outer: Drawing, inner: Drawing) -> bool:
    """Return whether the box of `inner` lies within that of `outer`."""
    across = outer.left <= inner.left and inner.left + inner.width <= outer.left + outer.width
    return across and outer.top <= inner.top and inner.top + inner.height <= outer.top + outer.height


class Parts(NamedTuple):
    """Connected parts of ink above a threshold, as given by `cv2.connectedComponentsWithStats`."""

    labels: NDArray[Any]  # [H, W], the number of each pixel's part; 0 for the background
    stats: NDArray[Any]  # [N, 5]: left, top, width, height, area
    centres: NDArray[Any]  # [N, 2], x and y
    kept: NDArray[np.bool_]  # [N], parts that may belong to a drawing


class Group(NamedTuple):
    """Parts that may be one drawing, and the box around them in the picture's pixels."""

    labels: NDArray[Any]  # [H, W], the number of each pixel's part; 0 for the background
    members: NDArray[np.uint8]  # [N], 1 for the group's parts
    left: int
    top: int
    width: int
    height: int

    def around(self, margin: int) -> tuple[slice, slice]:
        """Return slices (rows, columns) of the picture that cut out the box and `margin` pixels around it."""
        rows = slice(max(0, self.top - margin), self.top + self.height + margin)
        return rows, slice(max(0, self.left - margin), self.left + self.width + margin)

    def strokes(self, cut: tuple[slice, slice]) -> Picture:
        """Return the mask of the group in a cut-out of the picture: 1 on the group's pixels."""
        return self.members[self.labels[cut]]

    def drawing(self, ink: Floats, likeness: float, peak: float, ground: float) -> Drawing:
        """Return the group as a drawing, from the picture's ink [H, W] and the results of `likeness_of`."""
        box = self.around(0)
        kept = cv2.dilate(self.strokes(box), np.ones((3, 3), np.uint8))
        strokes = ((ink[box] / peak - 0.15) / 0.7).clip(0, 1) * kept
        return Drawing(strokes.astype(np.float32), *self[2:], likeness, 255 * ground)


def dark_drawing(
    image: Picture,
    levels: Sequence[float],
    faint: float | None = None,
    gap: float = NEVER,
    largest: float = LARGEST,
) -> Pieces[Drawing | None]:
    """Search a picture at full size for the dark group most like a drawing; return None if there is none.

    The picture is uint8 [H, W] or RGB [H, W, 3]. `levels`: ink thresholds. `faint`: a lower threshold; a bar beyond
    whose end ink above it goes on is part of a sheet's edge, no drawing. `gap`: parts closer than this, in lengths of
    the largest part, belong together. `largest`: longest drawing, by the picture's shorter side.
    """
    best, beaten = None, float(np.nextafter(LEAST, 0))
    ink, ground = ink_of(image)
    beyond = None if faint is None else above(ink, faint)
    for level in levels:
        yield
        for group in groups_of(parts_of(ink, level), gap, largest):
            likeness, peak, around = likeness_of(group, ink, ground, beaten, placed(group, ink.shape))
            if likeness <= beaten or (beyond is not None and goes_on(group, beyond)):
                continue
            best, beaten = group.drawing(ink, likeness, peak, around), likeness
    return best


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


def parts_of(ink: Floats, level: float) -> Parts:
    """Return the connected parts of ink [H, W] above `level`; drop those that are tiny, frames, or at the border."""
    height, width = ink.shape
    _, labels, stats, centres = cv2.connectedComponentsWithStats((ink > level).astype(np.uint8))
    x, y, w, h, area = (stats[:, k] for k in range(5))
    kept = (x > 1) & (y > 1) & (x + w < width - 1) & (y + h < height - 1) & (area > 8)
    kept[0] = False  # the background
    for n in np.flatnonzero(kept & (np.maximum(w, h) >= FRAME * min(height, width))):
        kept[n] = not is_frame(_part(labels, stats, int(n)))
    return Parts(labels, stats, centres, kept)


def groups_of(parts: Parts, gap: float, largest: float, reach: float = REACH, tried: int = TRIED) -> Iterator[Group]:
    """Yield groups of parts that may be a drawing, around each of the `tried` largest (see REACH, GAP, LARGEST). If
    `reach` and `gap` are negative, each part is a group of its own.
    """
    shorter = min(parts.labels.shape)
    lengths = SMALLEST * shorter, largest * shorter
    members, boxes = _loops().groups(parts.stats, parts.centres, parts.kept, *lengths, tried, reach, gap, PART)
    for those, box in zip(members, boxes.tolist()):
        if max(box[2:]) <= lengths[1]:
            yield Group(parts.labels, those, *box)


def placed(group: Group, shape: tuple[int, ...]) -> float:
    """Return a score, 0 to 1, of a group's size and place in a picture [H, W]: highest if large and in the middle."""
    height, width = shape
    size = min(1.0, max(group.width, group.height) / (0.3 * min(height, width))) ** 0.5
    middle = np.hypot((group.left + group.width / 2) / width - 0.5, (group.top + group.height / 2) / height - 0.5)
    return size * (1 - 0.5 * float(middle))


def likeness_of(
    group: Group, ink: Floats, ground: Floats, beaten: float, prior: float = 1.0
) -> tuple[float, float, float]:
    """Return a group's likeness to strokes on an even background, the ink's tone and the background's brightness.

    All are 0 to 1. A likeness of up to `beaten` may be given as 0, so that most groups need only cheap tests. `prior`:
    a factor of the likeness, hence its upper bound.
    """
    none, length = (0.0, 1.0, 0.0), max(group.width, group.height)
    if prior <= beaten:
        return none
    reach = max(3, round(RING * length))
    cut = group.around(reach + 1)
    strokes = group.strokes(cut)
    wide, close = (cv2.dilate(strokes, np.ones((2 * n + 1, 2 * n + 1), np.uint8)) for n in (reach, OWN))
    peak, uneven, stray, mean, spread = _loops().tones(strokes, wide, close, ink[cut], ground[cut])
    clean = max(0.0, 1 - 2.5 * stray / peak)
    even = max(0.0, 1 - 4 * spread / (mean + 0.02))
    one_tone = max(0.0, 1 - 1.5 * uneven / peak)
    likeness = prior * clean * even * one_tone * min(1.0, peak / 0.5) * min(1.0, 0.4 + mean / 0.5)
    if mean < 0 or likeness <= beaten or _is_thick(strokes, length) or _is_solid(strokes) or is_frame(strokes):
        return none
    return likeness, peak, mean


def _part(labels: NDArray[Any], stats: NDArray[Any], number: int) -> Picture:
    """Return the mask, uint8 [h, w], of one part within its box."""
    x, y, w, h = stats[number, :4]
    return (labels[y : y + h, x : x + w] == number).astype(np.uint8)


def _is_thick(strokes: Picture, length: int) -> bool:
    """Return whether strokes are thicker anywhere than those of a drawing of `length` pixels."""
    bordered = cv2.copyMakeBorder(strokes, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return bool(cv2.distanceTransform(bordered, cv2.DIST_L2, 3).max() > THICK * length)


def _is_solid(strokes: Picture) -> bool:
    """Return whether strokes fill the rotated rectangle around them, as objects and sheets do."""
    across, along = sorted(cv2.minAreaRect(_loops().outline(strokes))[1])
    return across > BAR * along and cv2.countNonZero(strokes) > FILLED * across * along


def above(ink: Floats, level: float) -> Picture:
    """Return a mask: 1 on and next to pixels with ink above `level`."""
    return np.asarray(cv2.dilate((ink > level).astype(np.uint8), np.ones((3, 3), np.uint8)), np.uint8)


def goes_on(group: Group, faint: Picture) -> bool:
    """Return whether a group is a bar that goes on beyond an end, in the mask `faint` [H, W] of fainter ink."""
    middle, sides, degrees = cv2.minAreaRect(_loops().outline(group.strokes(group.around(0))))
    across, along = sorted(sides)
    if across > BAR * along:
        return False
    angle = np.deg2rad(degrees if sides[0] == along else degrees + 90)
    reach = along * (0.5 + np.linspace(*BEYOND, 8)) * np.array([[1], [-1]])
    x = np.rint(group.left + middle[0] + reach * np.cos(angle)).astype(int)
    y = np.rint(group.top + middle[1] + reach * np.sin(angle)).astype(int)
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
