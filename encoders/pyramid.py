"""A sensor's full frame at several sizes side by side in one picture, so that a network finds objects of any size.

A network reads objects of one size, wherever they are. What is larger is read from a coarser picture of the same
events: the levels of a pyramid, each coarser by the square root of two, lie beside each other in one picture (a
canvas), which the network sees as one input. Cells without events cost it little.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from spikesight.encoders.events import SensorSize
from spikesight.encoders.native.build import call

FINEST, COARSEST = 192, 24  # cells along the longer side of the first level and, at least, of the last one
COARSER = 2**0.5  # from one level to the next
MARGIN, ALIGNED = 8, 8  # cells around a level; levels begin at multiples of ALIGNED, the stride of the network
LINE = 0.5  # of a cell's side
READ = 18  # cells, middle of the lengths that the network reads
LEAST_SIDE = 64  # pixels: a sensor with a shorter side shows nothing but the drawing, as that of N-MNIST
LONGEST = 4.0  # longer by shorter side: a view that is longer has no level in which objects would fit
SEEN = 34  # cells, side of what it sees of one place
MIN_LIT_CELLS, MAX_BINS = (
    100,
    32,
)  # cells lit in 3 x 3 tiles (of ALIGNED a side) that show an object; bins for which one is held


class Level(NamedTuple):
    """A level's place in the canvas, in cells."""

    top: int
    left: int
    height: int
    width: int
    factor: float  # sensor's pixels a cell


@dataclass(frozen=True)
class Pyramid:
    """The levels of a sensor's full frame and their places in the canvas; made by `pyramid_of`."""

    sensor: SensorSize
    levels: tuple[Level, ...]
    height: int  # of the canvas, in cells
    width: int
    moved: bool = False  # whether all that is seen is moved: what holds still sends events, too, and any light a cell

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the finest level, which events are binned to."""
        return self.levels[0].height, self.levels[0].width

    @property
    def finest(self) -> SensorSize:
        """The finest level as a sensor of its own, one pixel a cell."""
        return SensorSize(self.levels[0].width, self.levels[0].height)

    @cached_property
    def table(self) -> NDArray[np.int32]:
        """The levels as rows of pyramid.h's SpikesightLevel. A cell is lit by as many events, or cells of
        the finest level, as a line through LINE of it has pixels: stray events light none where many share a cell.
        """
        first = self.levels[0].factor
        sizes = [1.0 if self.moved else first, *(one.factor / first for one in self.levels[1:])]
        rows = [(*one[:4], max(1, round(LINE * size))) for one, size in zip(self.levels, sizes)]
        return np.array(rows, np.int32)

    def canvas(self, counts: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a bin's counts of events in the finest level, uint8 [2, rows, columns], at all levels: uint8
        [2, height, width] of 0 and 1.
        """
        out = np.empty((2, self.height, self.width), np.uint8)
        call("pyramid_canvas", self.table, len(self.table), *out.shape[1:], np.ascontiguousarray(counts), out)
        return out

    def level(self, canvas: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
        """Return the coarsest level of a canvas whose sides are this long at least, or else the finest, uint8
        [2, rows, columns].
        """
        long = [one for one in self.levels if min(one.height, one.width) >= side]
        one = (long or self.levels[:1])[-1]
        return canvas[:, one.top : one.top + one.height, one.left : one.left + one.width]

    def boxes(self, first: float, apart: int, rows: int, columns: int) -> NDArray[np.float64]:
        """Return the boxes [rows * columns, 4] (left, top, width, height) of what is read at each place of the canvas,
        in the sensor's pixels; zeros where a place is in no level. `first`, `apart`: cells from the canvas's corner to
        the middle of the first place, and from one place to the next.
        """
        y, x = (
            v.ravel()
            for v in np.meshgrid(first + apart * np.arange(rows), first + apart * np.arange(columns), indexing="ij")
        )
        found = np.zeros((len(x), 4))
        for one in self.levels:
            across, down = x - one.left, y - one.top
            inside = (across >= 0) & (across < one.width) & (down >= 0) & (down < one.height)
            middle = np.stack([across, down], 1)[inside] * one.factor
            side = READ * one.factor
            found[inside] = np.concatenate([middle - side / 2, np.full_like(middle, side)], 1)
        return found


class AdaptiveAccumulation:
    """Cells that stay lit until enough cells around them are: what hardly moves is drawn over many bins, what moves in
    one. As windows of as many events, not of as much time, but for each part of the view. `shape`: (..., height,
    width) of the bins, height and width multiples of ALIGNED.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._lit = np.empty((*shape[:-2], shape[-2] // ALIGNED, ALIGNED, shape[-1] // ALIGNED, ALIGNED), np.int32)
        self.clear()

    def clear(self) -> None:
        """Hold nothing."""
        self._bin = 0
        self._lit[:] = -MAX_BINS  # the bin in which a cell was lit last

    def push(self, x: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return what a bin shows, uint8 [..., 2, height, width], with what is held of those before. A tile shows the
        fewest of the last bins in which MIN_LIT_CELLS cells of it and the tiles around it were lit, MAX_BINS at most.
        """
        self._bin += 1
        lit = self._lit
        lit[x.reshape(lit.shape) > 0] = self._bin
        tiles = (*lit.shape[:-5], lit.shape[-4], lit.shape[-2])
        shown = np.nonzero(lit > self._bin - MAX_BINS)
        ages = self._bin - lit[shown]
        tile = np.ravel_multi_index((*shown[:-5], shown[-4], shown[-2]), tiles)
        counts = np.bincount(tile * MAX_BINS + ages, minlength=math.prod(tiles) * MAX_BINS).reshape(*tiles, MAX_BINS)
        for axis in (-3, -2):
            edge = [(0, 0)] * counts.ndim
            edge[axis] = (1, 1)
            counts = sliding_window_view(np.pad(counts, edge), 3, axis).sum(-1)
        oldest = (counts.cumsum(-1) < MIN_LIT_CELLS).sum(-1)
        out = np.zeros(lit.shape, np.uint8)
        out[shown] = ages <= oldest.ravel()[tile]
        return out.reshape(x.shape)


def shows_more(sensor: SensorSize) -> bool:
    """Return whether a sensor is large enough to show more than a drawing that fills it."""
    return min(sensor.width, sensor.height) >= LEAST_SIDE and not too_long(sensor)


def too_long(sensor: SensorSize) -> bool:
    """Return whether a view has no level in which objects would fit."""
    short, long = sorted((sensor.width, sensor.height))
    return long > LONGEST * short


@lru_cache(64)
def pyramid_of(sensor: SensorSize) -> Pyramid:
    """Return the pyramid of a sensor's full frame; sensors of like shape share the size of a canvas."""
    longest = max(sensor.width, sensor.height)
    factor, sizes = max(1.0, longest / FINEST), list[tuple[int, int, float]]()
    while longest / factor >= COARSEST or not sizes:
        sizes.append((max(1, round(sensor.height / factor)), max(1, round(sensor.width / factor)), factor))
        factor *= COARSER
    columns = [sizes[0:1], sizes[1:2] + sizes[4:5], sizes[2:4], sizes[5:]]  # a column stays below the first's height
    found, left, height = dict[float, Level](), MARGIN, 0
    for column in columns:
        top = MARGIN
        for rows, wide, size in column:
            found[size] = Level(top, left, rows, wide, size)
            top = _aligned(top + rows + 2 * MARGIN)
        height = max(height, top - MARGIN)
        left = _aligned(left + max((wide for _, wide, _ in column), default=-2 * MARGIN) + 2 * MARGIN)
    levels = tuple(found[size] for _, _, size in sizes)
    return Pyramid(sensor, levels, _aligned(height), _aligned(left - MARGIN))


@lru_cache(64)
def pyramid_of_frames(size: SensorSize) -> Pyramid:
    """Return the pyramid of a webcam's frames; small ones are enlarged by a whole factor."""
    k = -(-LEAST_SIDE // min(size.width, size.height))
    large = pyramid_of(SensorSize(k * size.width, k * size.height))
    return replace(
        large, levels=tuple(one._replace(factor=one.factor / k) for one in large.levels), sensor=size, moved=True
    )


def _aligned(length: int) -> int:
    return -(-length // ALIGNED) * ALIGNED
