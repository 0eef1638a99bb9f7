"""Digits as people write and devices show them: strokes with the usual variants, seven segments; pen, marker or crayon.

MNIST has few of these forms: a 1 with a flag or a foot, a 7 with a bar, an open 4, a 3 with a flat top.
"""

import math

import cv2
import numpy as np

from spikesight.encoders.preprocess.fit import centred

Line = list[tuple[float, float]]
SIDE, MARGIN = 112, 24  # of a canvas, pixels


def _arc(x: float, y: float, across: float, down: float, begin: float, end: float) -> Line:
    """Return points of an ellipse around (x, y), from one angle to another; degrees, clockwise from the right."""
    turns = np.radians(np.linspace(begin, end, 14))
    return [(x + across * math.cos(a), y + down * math.sin(a)) for a in turns]


_STEM: Line = [(0.5, 0), (0.5, 1)]
_FLAG: Line = [(0.22, 0.28), (0.52, 0), (0.52, 1)]
_LONG_FLAG: Line = [(-0.05, 0.42), (0.6, 0), (0.6, 1)]
_STEEP_FLAG: Line = [(0.1, 0.4), (0.55, 0), (0.55, 1)]
_FLAT_FLAG: Line = [(-0.1, 0.28), (0.6, 0), (0.58, 1)]
FORMS: tuple[tuple[list[Line], ...], ...] = (
    ([_arc(0.5, 0.5, 0.34, 0.5, -90, 270)], [_arc(0.5, 0.5, 0.45, 0.5, -60, 300)]),
    (
        [_STEM],
        [_FLAG],
        [_STEEP_FLAG],
        [_LONG_FLAG],
        [_FLAT_FLAG],
        [_FLAG, [(0.2, 1), (0.84, 1)]],
        [_LONG_FLAG, [(0.25, 1), (0.9, 1)]],
        [_STEM, [(0.25, 1), (0.75, 1)]],
    ),
    (
        [[*_arc(0.47, 0.29, 0.36, 0.29, 180, 385), (0.1, 1), (0.9, 1)]],
        [[*_arc(0.5, 0.27, 0.33, 0.27, 200, 400), (0.15, 0.97), *_arc(0.3, 0.9, 0.1, 0.09, 180, 270), (0.9, 1)]],
    ),
    (
        [[*_arc(0.45, 0.26, 0.33, 0.26, 200, 440), *_arc(0.45, 0.75, 0.38, 0.25, -80, 150)]],
        [[(0.12, 0), (0.82, 0), (0.42, 0.4), *_arc(0.45, 0.7, 0.4, 0.3, -85, 150)]],
    ),
    (
        [[(0.66, 0), (0.06, 0.68), (0.95, 0.68)], [(0.66, 0), (0.66, 1)]],
        [[(0.22, 0), (0.14, 0.6), (0.9, 0.6)], [(0.72, 0.05), (0.68, 1)]],
        [[(0.4, 0), (0.1, 0.66), (0.92, 0.66)], [(0.68, 0.35), (0.66, 1)]],
    ),
    (
        [[(0.85, 0), (0.22, 0), (0.17, 0.44), *_arc(0.45, 0.68, 0.4, 0.31, -120, 150)]],
        [[(0.2, 0), (0.17, 0.45), *_arc(0.42, 0.7, 0.4, 0.3, -100, 140)], [(0.2, 0), (0.85, 0)]],
    ),
    (
        [[(0.72, 0), *_arc(0.5, 0.68, 0.36, 0.32, 195, -165)]],
        [[*_arc(0.62, 0.3, 0.4, 0.3, -70, -180), *_arc(0.5, 0.7, 0.3, 0.3, 180, -180)]],
    ),
    (
        [[(0.1, 0), (0.9, 0), (0.38, 1)]],
        [[(0.1, 0), (0.9, 0), (0.35, 1)], [(0.3, 0.5), (0.85, 0.5)]],
        [[(0.12, 0.18), (0.12, 0), (0.9, 0), (0.45, 1)]],
        [[(0.1, 0), (0.9, 0), *_arc(0.95, 0.95, 0.5, 0.75, -110, -175)]],
    ),
    (
        [_arc(0.5, 0.25, 0.29, 0.25, 90, 450), _arc(0.5, 0.74, 0.36, 0.26, -90, 270)],
        [[(0.8, 0.1), *_arc(0.5, 0.26, 0.33, 0.25, -40, -230), *_arc(0.5, 0.74, 0.36, 0.26, -50, 230), (0.8, 0.1)]],
    ),
    (
        [[*_arc(0.5, 0.3, 0.34, 0.3, 0, -360), (0.8, 1)]],
        [[*_arc(0.5, 0.3, 0.36, 0.3, 10, -350), *_arc(0.45, 0.65, 0.4, 0.35, -10, 130)]],
    ),
)
"""Forms of each digit, as lines in a box one unit wide and one high, from the top left."""

_ENDS = {
    "a": ((0, 0), (1, 0)), "b": ((1, 0), (1, 0.5)), "c": ((1, 0.5), (1, 1)), "d": ((0, 1), (1, 1)),
    "e": ((0, 0.5), (0, 1)), "f": ((0, 0), (0, 0.5)), "g": ((0, 0.5), (1, 0.5)),
}  # fmt: skip
SEGMENTS = ("abcdef", "bc", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc", "abcdefg", "abcdfg")
"""The lit segments of each digit, by their usual letters."""


def segments(lit: str) -> list[Line]:
    """Return the lines of these segments, a little apart from each other.

    >>> segments("g")
    [[(0.06, 0.5), (0.94, 0.5)]]
    """
    gap, lines = 0.06, list[Line]()
    for (x, y), (to_x, to_y) in (_ENDS[name] for name in lit):
        u, v = gap * (to_x > x), gap * (to_y > y) * 0.6
        lines.append([(x + u, y + v), (to_x - u, to_y - v)])
    return lines


def drawn(lines: list[Line], random: np.random.Generator) -> np.ndarray:
    """Draw lines in a unit box with a random slant, width, hand and pen, uint8 [28, 28], as an MNIST digit."""
    wide, slant, canvas = random.uniform(0.45, 0.85), random.uniform(-0.3, 0.2), np.zeros((SIDE, SIDE), np.uint8)
    lean, shaky = random.normal(0, 0.06, (2, 4)), random.uniform(0, 0.02)
    extent, width = SIDE - 2 * MARGIN, int(random.integers(3, 19))
    for line in lines:
        x, y = np.array(line, float).T
        x = (x - 0.5) * wide + slant * (0.5 - y) * 0.6 + lean[0, 0] * np.sin(3 * y + lean[0, 1] * 9)
        y = y + lean[1, 0] * np.sin(3 * x + lean[1, 1] * 9)
        points = np.stack([x + 0.5, y], 1) + random.normal(0, shaky, (len(x), 2))
        points = np.round(MARGIN + extent * points).astype(np.int32)
        cv2.polylines(canvas, [points], False, 255, width, cv2.LINE_AA)
    ink = canvas.astype(np.float32)
    if random.random() < 0.25:  # a crayon leaves gaps
        grain = cv2.GaussianBlur(
            random.standard_normal(canvas.shape).astype(np.float32), (0, 0), random.uniform(0.8, 2)
        )
        ink *= 1 - random.uniform(0.3, 0.9) * (grain > grain.std() * random.uniform(0.2, 1))
    rows, columns = np.nonzero(canvas > 64)
    return centred(ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1])


def digit(label: int, random: np.random.Generator) -> np.ndarray:
    """Draw a digit in a random form, one in four as seven segments, uint8 [28, 28]."""
    if random.random() < 0.25:
        return drawn(segments(SEGMENTS[label]), random)
    forms = FORMS[label]
    return drawn(forms[int(random.integers(len(forms)))], random)
