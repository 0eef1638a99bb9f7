"""Find objects in a network's answers at all places of a full frame, tell them apart over time, and read out each.

The network answers at each place of each level of a pyramid (encoders/pyramid.py), "none of the classes" included. What
becomes of its answers stands in models/native/kernels/tracker.h, for the page as well; here is what that works on.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.native.build import call
from spikesight.encoders.pyramid import READ, SEEN, Pyramid
from spikesight.models.networks.output_cells import CELL_OFFSET, CELL_WINDOW, STRIDE
from spikesight.models.steps import Input

WINDOW = 3  # steps over which the answers at a place are averaged before objects are looked for
MAX_DETECTIONS = 8  # objects at once
OUTPUT_CELL = np.dtype([("box", "f8", 3), ("at", "i4", 3), ("kind", "i4"), ("sure", "f8", 2)])
"""A place in the kernel. `box`: middle and length of what is read there, in the sensor's pixels. `at`: its number among
those of the network's map, row and column in the canvas from which on it sees SEEN cells.
"""


@lru_cache(64)
def output_cells_of(pyramid: Pyramid) -> NDArray[np.void]:
    """Return the places of a pyramid's canvas that lie in a level, OUTPUT_CELL [P]."""
    rows, columns = pyramid.height // STRIDE - CELL_WINDOW + 1, pyramid.width // STRIDE - CELL_WINDOW + 1
    boxes = pyramid.boxes(CELL_OFFSET, STRIDE, rows, columns)
    numbers = np.flatnonzero(boxes[:, 2])
    places = np.zeros(len(numbers), OUTPUT_CELL)
    places["box"] = (boxes[:, :3] + boxes[:, 3:] * [0.5, 0.5, 0])[numbers]
    places["at"] = np.stack([numbers, *STRIDE * np.stack(np.divmod(numbers, columns))], 1)
    return places


def sizes_of(pyramid: Pyramid, classes: int, most: int = MAX_DETECTIONS) -> NDArray[np.int32]:
    """Return the parameters of the kernel's SpikesightTracker, in its order."""
    sizes = [classes, len(output_cells_of(pyramid)), most, WINDOW, pyramid.height, pyramid.width, SEEN, READ]
    return np.array(sizes, np.int32)


def corner_of(pyramid: Pyramid, logits: NDArray[np.floating]) -> tuple[int, int]:
    """Return row and column in the canvas from which on the likeliest of its places, logits [P, K], sees."""
    numbers, rows, columns = output_cells_of(pyramid)["at"].T
    likeliest = int(logits[numbers].max(1).argmax())
    return int(rows[likeliest]), int(columns[likeliest])


class TrackerOutput(NamedTuple):
    """What a step tells of a full frame: of the leading object, or where there is none."""

    in_distribution: float  # sum of the classes' shares
    best: int  # the best class
    step_label: int  # of this step: a class; K: unknown; K + 1: nothing
    label: int  # the stable one, which is shown
    probabilities: list[float]  # [K]
    logits: list[float]  # [K]
    things: list[list[float]]  # in reading order: id, label, probability, known, left, top, width, height


class Tracker:
    """Finds up to `most` objects of one stream, step by step. `classes`: how many logits each place has."""

    def __init__(self, classes: int, most: int = MAX_DETECTIONS) -> None:
        self._classes, self._most = classes, most
        self._pyramid: Pyramid | None = None
        self._issued = 0  # numbers of objects that were given

    def update(self, given: Input, logits: NDArray[np.float32]) -> TrackerOutput:
        """Return what a step tells; `logits`: those of all places. After a reset, all objects are new."""
        assert given.pyramid is not None
        if given.pyramid != self._pyramid:
            self._begin(given.pyramid)
        moved = given.pyramid.moved and given.n_events > 0  # or no frame came
        x, logits = np.ascontiguousarray(given.x), np.ascontiguousarray(logits, np.float32)
        call("tracker_step", self._memory, x, logits, moved, given.reset, self._told)
        known, *numbers = self._told[:6].tolist()
        best, step_label, label, self._issued, count = map(int, numbers)
        means, things = np.split(self._told[6:], [2 * self._classes])
        probabilities, own = means.reshape(2, -1).tolist()
        return TrackerOutput(known, best, step_label, label, probabilities, own, things.reshape(-1, 8)[:count].tolist())

    def _begin(self, pyramid: Pyramid) -> None:
        """Take memory for another view."""
        sizes = sizes_of(pyramid, self._classes, self._most)
        self._pyramid, self._places = pyramid, output_cells_of(pyramid).copy()
        self._memory = np.zeros(call("tracker_bytes", sizes), np.uint8)
        self._told = np.zeros(call("tracker_output_size", self._classes))
        call("tracker_begin", self._memory, sizes, self._places, self._issued)
