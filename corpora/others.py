"""Draw outliers near digits, from which a digit network learns to answer "none of the classes".

Letters, symbols, mirrored and upside-down digits, two digits, halves, scribbles, edges, figures, hands, textures; light
on dark as in MNIST. Characters that could be digits (O, I, l, S, ...) are left out, as are the kinds reserved for the
benchmark (experiments/near.py).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from corpora.printed import glyph
from spikesight.encoders.preprocess.fit import DIGIT_SIZE, centred

LETTERS = "ACEFGHJKLMNPQRTUVWXYacdefhkmnprtuvwxyԱԲԳԵԿՀՁՃՄՆՊՋՎՏՓՔաբգեթժխծկհձղճմնպջվտփֆ"  # Latin, Armenian
SYMBOLS = "#%@?+=×÷∑√∞≠±¶†€¥~^<>{}"
MIRRORED, HALVED = (2, 3, 4, 5, 6, 7, 9), (2, 3, 5)  # digits that are no digits when mirrored, when halved
OVERTURNED = (3, 4, 7)  # the same upside down, where 2 and 5 look as before and 6 is 9
SIDE = 112  # of a canvas for strokes, pixels
Random = np.random.Generator


class Digits(NamedTuple):
    """Handwritten digits from which outliers are made: images uint8 [M, 28, 28] and labels [M]."""

    images: np.ndarray
    labels: np.ndarray

    def draw(self, random: Random, of: tuple[int, ...] = tuple(range(10))) -> tuple[np.ndarray, int]:
        """Draw a random (image, label) among the classes `of`."""
        while True:
            at = int(random.integers(len(self.labels)))
            if self.labels[at] in of:
                return self.images[at], int(self.labels[at])


def two_digits(digits: Digits, random: Random) -> np.ndarray:
    """Draw two digits, anywhere from on top of each other to side by side."""
    (a, first), (b, second) = digits.draw(random), digits.draw(random)
    across, down = int(random.integers(0, 18)), int(random.integers(-4, 5))
    if across < 8 and (first == second or 1 in (first, second)):
        across += 9
    return fitted(side_by_side([a, b], across, down))


def side_by_side(images: list[np.ndarray], across: int, down: int) -> np.ndarray:
    """Draw digits on a canvas float32 [h, w], each `across` pixels right of and `down` pixels below the last one."""
    n = len(images) - 1
    canvas = np.zeros((DIGIT_SIZE + n * abs(down), DIGIT_SIZE + n * across), np.float32)
    for k, image in enumerate(images):
        top, left = (k if down > 0 else n - k) * abs(down), k * across
        part = canvas[top : top + DIGIT_SIZE, left : left + DIGIT_SIZE]
        np.maximum(part, image, out=part)
    return canvas


def fitted(canvas: np.ndarray) -> np.ndarray:
    """Crop a drawing float32 [h, w] to its ink and centre it as a digit, uint8 [28, 28]."""
    rows, columns = np.nonzero(canvas > 64)
    if not len(rows):
        return np.zeros((DIGIT_SIZE, DIGIT_SIZE), np.uint8)
    return centred(canvas[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1])


def half_digit(digits: Digits, random: Random) -> np.ndarray:
    """Erase a random digit on one side of a line through about its middle."""
    image, _ = digits.draw(random, HALVED)
    y, x = np.indices(image.shape) - (DIGIT_SIZE - 1) / 2
    angle = random.choice([0, 1, 2, 3]) * np.pi / 2 + random.normal(0, 0.2)
    return np.where(np.cos(angle) * x + np.sin(angle) * y > random.uniform(-2, 2), image, 0).astype(np.uint8)


def scribble(digits: Digits, random: Random) -> np.ndarray:  # noqa: ARG001
    """Draw a smooth curve through six to twelve random points."""
    places = random.uniform(8, SIDE - 8, (int(random.integers(6, 13)), 2))
    t = np.linspace(0, len(places) - 1, 200)
    curve = np.stack([np.interp(t, np.arange(len(places)), axis) for axis in places.T], 1).astype(np.float32)
    smooth = cv2.GaussianBlur(curve, (1, 0), sigmaX=0.1, sigmaY=random.uniform(2, 10))
    return fitted(stroked([smooth], random))


def stroked(lines: list[np.ndarray], random: Random) -> np.ndarray:
    """Draw lines [n, 2] with a pen of random width on a canvas float32 [SIDE, SIDE]."""
    canvas, wide = np.zeros((SIDE, SIDE), np.uint8), int(random.integers(4, 14))
    cv2.polylines(canvas, [np.round(line).astype(np.int32) for line in lines], False, 255, wide, cv2.LINE_AA)
    return canvas.astype(np.float32)


def edges(digits: Digits, random: Random) -> np.ndarray:  # noqa: ARG001
    """Draw straight edges and lines that cross the whole picture, like sheets, corners, rulings and grids."""
    canvas = np.zeros((SIDE, SIDE), np.float32)
    rows, columns = np.indices(canvas.shape) - SIDE / 2
    turn = random.uniform(0, np.pi / 2)
    for angle in (turn, turn + np.pi / 2)[: int(random.integers(1, 3))]:
        across = np.cos(angle) * columns + np.sin(angle) * rows - random.uniform(-SIDE / 4, SIDE / 4)
        if random.random() < 0.4:  # the edge of a plain surface
            drawn = across > 0
        else:  # lines
            apart = random.uniform(SIDE / 8, SIDE)
            drawn = abs(across - apart * np.round(across / apart)) < random.uniform(2, 8)
        canvas = np.maximum(canvas, drawn * 255.0) if random.random() < 0.5 else abs(canvas - drawn * 255.0)
    return cv2.resize(canvas, (DIGIT_SIZE, DIGIT_SIZE), interpolation=cv2.INTER_AREA).astype(np.uint8)


def figure(digits: Digits, random: Random) -> np.ndarray:  # noqa: ARG001
    """Draw a closed outline with two to four smaller shapes or arcs in it."""
    canvas, wide = np.zeros((SIDE, SIDE), np.uint8), int(random.integers(4, 10))
    for n in range(int(random.integers(3, 6))):
        middle = np.full(2, SIDE / 2) + (random.uniform(-22, 22, 2) if n else 0)
        radii = random.uniform(36, 48, 2) if n == 0 else random.uniform(4, 16, 2)
        corners = int(random.choice([3, 4, 5, 6, 40]))
        turns = random.uniform(0, 2 * np.pi) + np.linspace(0, 2 * np.pi, corners + 1)
        part = slice(None) if n == 0 or random.random() < 0.5 else slice(corners // 2 + 1)  # whole, or an arc
        line = (middle + radii * np.stack([np.cos(turns), np.sin(turns)], 1))[part]
        cv2.polylines(canvas, [np.round(line).astype(np.int32)], False, 255, wide, cv2.LINE_AA)
    return fitted(canvas.astype(np.float32))


def face(digits: Digits, random: Random) -> np.ndarray:  # noqa: ARG001
    """Draw a face: an outline, eyes, often a nose, a mouth."""
    canvas, wide = np.zeros((SIDE, SIDE), np.uint8), int(random.integers(3, 9))
    radii = random.uniform(34, 46, 2)
    shapes = [(np.full(2, SIDE / 2), radii, 0, 360)]
    apart, eye = radii[0] * random.uniform(0.3, 0.5), random.uniform(2, 8, 2)
    for side in (-1, 1):
        shapes.append((np.array([SIDE / 2 + side * apart, SIDE / 2 - radii[1] * 0.25]), eye, 0, 360))
    smile = random.choice([0, 180])
    mouth = np.array([SIDE / 2, SIDE / 2 + radii[1] * random.uniform(0.25, 0.5)])
    shapes.append((mouth, radii * random.uniform(0.2, 0.5, 2), smile, smile + 180))
    if random.random() < 0.5:
        shapes.append((np.full(2, SIDE / 2), random.uniform(2, 9, 2), 0, int(random.choice([180, 360]))))
    for at, (across, down), begin, end in shapes[int(random.random() < 0.2) :]:
        axes = max(1, round(across)), max(1, round(down))
        cv2.ellipse(canvas, (round(at[0]), round(at[1])), axes, 0, int(begin), int(end), 255, wide, cv2.LINE_AA)
    return fitted(canvas.astype(np.float32))


def hand(digits: Digits, random: Random) -> np.ndarray:  # noqa: ARG001
    """Draw a hand as a filled shape: a wrist, a palm, fingers that are stretched, bent or folded away; often lines."""
    canvas, turn, lines = np.zeros((SIDE, SIDE), np.float32), random.uniform(-0.9, 0.9), random.random() < 0.6
    palm, middle = random.uniform(15, 22), SIDE / 2 + random.uniform(-6, 6, 2) + (0, 14)

    def limb(begin: np.ndarray, angle: float, length: float, wide: float, bend: float) -> None:
        for _ in range(2):
            end = begin + length / 2 * np.array([np.sin(angle), -np.cos(angle)])
            ends = [tuple(int(v) for v in np.round(at)) for at in (begin, end)]
            cv2.line(canvas, ends[0], ends[1], 255, max(2, round(wide)), cv2.LINE_AA)
            if lines:
                cv2.circle(canvas, ends[1], max(1, round(wide / 3)), 150, 1, cv2.LINE_AA)
            begin, angle, wide = end, angle + bend, 0.85 * wide

    limb(middle, turn + math.pi + random.uniform(-0.3, 0.3), random.uniform(30, 120), 1.3 * palm, 0)
    fingers = [(-1.2, 0.9, 1.1), *((-0.42 + 0.28 * n, 1.5 + 0.2 * (n in (1, 2)), 0.75) for n in range(4))]
    spread, curl = random.uniform(0.5, 1.6), random.uniform(0, 1.2)
    for way, long, wide in fingers:
        if random.random() < 0.75:
            angle = turn + way * spread
            root = middle + 0.8 * palm * np.array([np.sin(angle), -np.cos(angle)])
            limb(root, angle, long * palm, wide * 0.6 * palm, random.uniform(-curl, curl))
    cv2.ellipse(canvas, (round(middle[0]), round(middle[1])), (round(palm), round(1.15 * palm)), 0, 0, 360, 255, -1)
    return fitted(canvas)


def dead_leaves(height: int, width: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Return a picture as rich as a photograph, [H, W], 2 to 250: opaque leaves of sizes like r^-3, 1/f noise, blur.

    Dead leaves (Lee, Mumford and Huang 2001) have the statistics of photographs.
    """
    contrast = random.uniform(15, 60)
    level = random.uniform(50, 190)
    picture = np.full((height, width), level, np.float32)
    largest = 0.5 * min(height, width)
    smallest = random.uniform(0.02, 0.1) * largest
    for u in random.uniform(0, 1, int(random.integers(20, 250))):
        radius = (smallest**-2 + u * (largest**-2 - smallest**-2)) ** -0.5
        at = random.uniform(0, width), random.uniform(0, height)
        grey = float(np.clip(random.normal(level, contrast), 2, 250))
        corners = int(random.integers(3, 9))
        angles = np.sort(random.uniform(0, 2 * math.pi, corners))
        if random.random() < 0.4:
            axes = (max(1, int(radius)), max(1, int(radius * random.uniform(0.3, 1))))
            cv2.ellipse(picture, (int(at[0]), int(at[1])), axes, float(random.uniform(0, 180)), 0, 360, grey, -1)
        else:
            points = np.array(at) + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
            cv2.fillPoly(picture, [points.round().astype(np.int32)], grey)
    for octave in range(2, 8):
        if (cells := 2**octave) > height:
            break
        coarse = random.standard_normal((cells, cells), np.float32)
        amount = random.uniform(0, 0.5) * contrast * 2.0 ** (1 - octave / 2)
        picture += amount * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    soft = random.uniform(0.3, 1.0) * max(1.0, height / 256)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), soft).clip(2, 250), np.float32)


def texture(digits: Digits, random: Random) -> np.ndarray:  # noqa: ARG001
    """Draw dead leaves, whose edges and spectrum are a photograph's."""
    side = DIGIT_SIZE * int(random.integers(1, 5))
    picture = dead_leaves(side, side, random)
    return cv2.resize(picture, (DIGIT_SIZE, DIGIT_SIZE), interpolation=cv2.INTER_AREA).astype(np.uint8)


KINDS: dict[str, Callable[[Digits, Random], np.ndarray]] = {
    "letters": lambda _, random: centred(glyph(str(random.choice(list(LETTERS))), random)),
    "symbols": lambda _, random: centred(glyph(str(random.choice(list(SYMBOLS))), random)),
    "mirrored digits": lambda digits, random: digits.draw(random, MIRRORED)[0][:, ::-1],
    "two digits": two_digits,
    "half digits": half_digit,
    "scribbles": scribble,
    "edges": edges,
    "upside-down digits": lambda digits, random: digits.draw(random, OVERTURNED)[0][::-1, ::-1],
    "figures": figure,
    "faces": face,
    "hands": hand,
    "textures": texture,
}
"""Kinds of outliers: each function draws one, uint8 [28, 28]."""
