"""Finding the drawing in a camera's picture: strokes of one tone on an even ground, wherever sheet and desk are."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Generic, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.encoders import kernels

SEARCH_SIDE = 320  # larger pictures are searched at this size
STROKE = 0.2  # of the shorter side: no stroke is wider
LEVELS = (0.12, 0.24, 0.4)  # how much darker than its ground ink is at least: pencil, print, pen on ruled paper
SMALLEST, LARGEST = 0.07, 0.98  # length of a drawing by the shorter side
THICK = 0.27  # half a stroke's width by its drawing's length: thicker is no stroke
FILLED, BAR = 0.75, 0.3  # of the rectangle around it: more is no drawing, unless its sides are such: a 1
BEYOND = 0.15, 0.45  # of a bar's length, from its ends: where the edge of a sheet goes on, and a 1 does not
GOES_ON = 0.8  # of that, at either end
PART = 0.06  # of the largest part's area: smaller ones do not belong to the drawing
REACH = 0.7  # of the largest part's length, between middles: parts further away do not belong to it,
GAP = 0.1  # unless, in a picture, the group's box is within so much of that length: a pen may fail
NEVER = -1.0  # no boxes are so near
RING = 0.1  # of a drawing's length: the ground around its strokes that is judged
FRAME = 0.3  # of the shorter side: the frame of a sheet or a screen is at least so long
EDGE, CORNER = 0.12, 0.1  # of its sides: how near to a rectangle's edge its strokes lie, and to its corners
ENCLOSING = 0.1  # of likeness: what strokes are ahead of the ground that they enclose
LEAST = 0.42  # likeness of what is taken for a drawing
TRIED = 6  # parts of a level that are tried, the largest ones
OWN = 2  # pixels beside a stroke that are its blur, and not its ground

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
T = TypeVar("T")
Pieces = Generator[None, None, T]  # work that may pause at each fraction of a millisecond


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
        """The drawing with its box in pixels of another size."""
        left, top, width, height = (factor * v for v in (self.left, self.top, self.width, self.height))
        return replace(self, left=left, top=top, width=width, height=height)


def find_drawing(image: Picture) -> Drawing | None:
    """The drawing in uint8 [H, W] or RGB [H, W, 3], or None where there is none.

    Light is evened out by dividing by what the picture would be without ink (a morphological closing, wider than any
    stroke); ink is what stays dark, by one of the levels, and is looked for in the negative too. Of all groups of
    parts the one is taken that most looks like strokes (long, thin, of one tone) on an even ground; but strokes before
    the ground that they enclose, unless that is much likelier: then it is ink, and they are its sheet.
    """
    factor = min(1.0, SEARCH_SIDE / max(image.shape[:2]))
    if min(image.shape[:2]) * factor < 1:  # a strip of less than a pixel, once scaled, shows nothing
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
    """Work in pieces, for those who have other things to do meanwhile."""

    def __init__(self, pieces: Pieces[T]) -> None:
        self._pieces = pieces
        self._found: list[T] = []
        self.done = 0  # pieces

    def go_on(self) -> None:
        """One piece more, unless all is done."""
        self.done += 1
        try:
            if not self._found:
                next(self._pieces)
        except StopIteration as end:
            self._found.append(end.value)

    def result(self) -> T:
        """Finish the search; what it found."""
        while not self._found:
            self.go_on()
        return self._found[0]


def _encloses(outer: Drawing, inner: Drawing) -> bool:
    """Whether a box lies in another's."""
    across = outer.left <= inner.left and inner.left + inner.width <= outer.left + outer.width
    return across and outer.top <= inner.top and inner.top + inner.height <= outer.top + outer.height


class Parts(NamedTuple):
    """What hangs together above a level, as `cv2.connectedComponentsWithStats` gives it."""

    labels: NDArray[Any]  # [H, W], the part that each pixel belongs to
    stats: NDArray[Any]  # [N, 5]: left, top, width, height, area
    centres: NDArray[Any]  # [N, 2]
    kept: NDArray[np.bool_]  # [N], those that may belong to a drawing


class Group(NamedTuple):
    """Parts that may be one drawing, and the box around them in the picture's pixels."""

    labels: NDArray[Any]  # [H, W], the part that each pixel belongs to
    members: NDArray[np.uint8]  # 1 for the group's parts
    left: int
    top: int
    width: int
    height: int

    def around(self, margin: int) -> tuple[slice, slice]:
        """Where the box and so much beside it lie in the picture."""
        rows = slice(max(0, self.top - margin), self.top + self.height + margin)
        return rows, slice(max(0, self.left - margin), self.left + self.width + margin)

    def strokes(self, cut: tuple[slice, slice]) -> Picture:
        """A part of the picture, 1 on the group's pixels."""
        return self.members[self.labels[cut]]

    def drawing(self, ink: Floats, likeness: float, peak: float, ground: float) -> Drawing:
        """The group as a drawing, of the picture's ink [H, W] and what `likeness_of` says."""
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
    """Find what is most like a drawing in the dark of a picture uint8 [H, W], at its own size; None for nothing.

    A bar beyond whose end ink of the level `faint` goes on is no drawing: it is the strongest part of a sheet's edge.
    Parts less than `gap` of the largest one's length apart belong together, however long their row. None is longer than
    `largest` of the picture's shorter side.
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
    """(how much darker than its ground each pixel is, 0 to 1; the ground's brightness, 0 to 1), float32 [H, W]."""
    side = round(min(image.shape[:2]) * STROKE) | 1
    window = np.ones((side, side), np.uint8)
    calm = cv2.medianBlur(image, 3)
    ground = cv2.blur(cv2.morphologyEx(calm, cv2.MORPH_CLOSE, window), (9, 9)).astype(np.float32)
    ink = 1 - np.minimum((calm.astype(np.float32) + 2) / (ground + 2), 1)
    if image.ndim == 2:
        return ink.astype(np.float32), (ground / 255).astype(np.float32)
    return ink.max(2).astype(np.float32), (ground.mean(2) / 255).astype(np.float32)


def parts_of(ink: Floats, level: float) -> Parts:
    """The parts of [H, W] above a level; none is kept that touches the picture's border or is a frame."""
    height, width = ink.shape
    _, labels, stats, centres = cv2.connectedComponentsWithStats((ink > level).astype(np.uint8))
    x, y, w, h, area = (stats[:, k] for k in range(5))
    kept = (x > 1) & (y > 1) & (x + w < width - 1) & (y + h < height - 1) & (area > 8)
    kept[0] = False  # the ground
    for n in np.flatnonzero(kept & (np.maximum(w, h) >= FRAME * min(height, width))):
        kept[n] = not is_frame(_part(labels, stats, int(n)))
    return Parts(labels, stats, centres, kept)


def groups_of(parts: Parts, gap: float, largest: float, reach: float = REACH, tried: int = TRIED) -> Iterator[Group]:
    """Parts that may be one drawing, around each of the `tried` largest. With `reach` and `gap` below 0 each part is
    one by itself.
    """
    shorter = min(parts.labels.shape)
    lengths = SMALLEST * shorter, largest * shorter
    members, boxes = _loops().groups(parts.stats, parts.centres, parts.kept, *lengths, tried, reach, gap, PART)
    for those, box in zip(members, boxes.tolist()):
        if max(box[2:]) <= lengths[1]:
            yield Group(parts.labels, those, *box)


def placed(group: Group, shape: tuple[int, ...]) -> float:
    """How much a group in a picture [H, W] is where the one drawing would be that is shown: large, in the middle."""
    height, width = shape
    size = min(1.0, max(group.width, group.height) / (0.3 * min(height, width))) ** 0.5
    middle = np.hypot((group.left + group.width / 2) / width - 0.5, (group.top + group.height / 2) / height - 0.5)
    return size * (1 - 0.5 * float(middle))


def likeness_of(
    group: Group, ink: Floats, ground: Floats, beaten: float, prior: float = 1.0
) -> tuple[float, float, float]:
    """(how much a group looks like strokes on an even ground, the ink's tone, the ground's brightness), 0 to 1 each.

    A likeness of up to `beaten` may be given as 0: most groups are judged by the first looks alone. `prior`: the most
    that it can be.
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
    """The mask of one part, uint8 [h, w] of its box."""
    x, y, w, h = stats[number, :4]
    return (labels[y : y + h, x : x + w] == number).astype(np.uint8)


def _is_thick(strokes: Picture, length: int) -> bool:
    """Whether they are thicker somewhere than strokes of a drawing of this length."""
    bordered = cv2.copyMakeBorder(strokes, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return bool(cv2.distanceTransform(bordered, cv2.DIST_L2, 3).max() > THICK * length)


def _is_solid(strokes: Picture) -> bool:
    """Whether they fill the rectangle around them, however it is turned, as things and sheets do."""
    across, along = sorted(cv2.minAreaRect(_loops().outline(strokes))[1])
    return across > BAR * along and cv2.countNonZero(strokes) > FILLED * across * along


def above(ink: Floats, level: float) -> Picture:
    """1 where ink is above a level, or beside it."""
    return np.asarray(cv2.dilate((ink > level).astype(np.uint8), np.ones((3, 3), np.uint8)), np.uint8)


def goes_on(group: Group, faint: Picture) -> bool:
    """Whether a group is a bar, beyond one of whose ends a line goes on: where `faint` is above 0."""
    middle, sides, degrees = cv2.minAreaRect(_loops().outline(group.strokes(group.around(0))))
    across, along = sorted(sides)
    if across > BAR * along:
        return False
    angle = np.deg2rad(degrees if sides[0] == along else degrees + 90)
    reach = along * (0.5 + np.linspace(*BEYOND, 8)) * np.array([[1], [-1]])
    x = np.rint(group.left + middle[0] + reach * np.cos(angle)).astype(int)
    y = np.rint(group.top + middle[1] + reach * np.sin(angle)).astype(int)
    inside = (x >= 0) & (y >= 0) & (x < faint.shape[1]) & (y < faint.shape[0])
    lit = (faint[y * inside, x * inside] > 0) | ~inside  # an edge may leave the picture
    return bool(lit.mean(1).max() > GOES_ON)


def is_frame(strokes: Picture) -> bool:
    """Whether strokes, uint8 [h, w], are the sides of a rectangle: the edge of a sheet or a screen, and no drawing."""
    middle, (width, height), degrees = cv2.minAreaRect(_loops().outline(strokes))
    if min(width, height) < 0.4 * max(width, height):
        return False
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    near, corners = _loops().along_edges(strokes, *middle, width, height, cos, sin, EDGE, CORNER)
    return corners == 4 and near > 0.9


def _loops() -> ModuleType:
    return kernels.compiled("drawing")
