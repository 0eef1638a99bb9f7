"""Films of several digits before a camera, and of none: sheets, cards that cross or pass a line, faces, letters.

Films have 320 x 240 pixels and are seen as frames and as an emulated event camera sees them. In `sheets` two to six
digits are on paper in a hand, moved or nearly still; a digit is right if its label is shown in a box at its place for
most of the time after the first second. In `crossing` two cards pass each other: IDF1 (Ristani et al. 2016) of boxes
with their numbers. In `counting` cards pass a line in the middle: exact if each label's count is. In `none` is no
digit: the share of steps after the first second in which something has a label.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from corpora.handheld import texture
from corpora.others import Digits, scribble
from experiments.near import hershey_character
from experiments.real_input.scenes import pen
from spikesight.encoders.events import SensorSize

WIDTH, HEIGHT, RATE_HZ, SETTLED_US = 320, 240, 30, 1_000_000
SENSOR = SensorSize(WIDTH, HEIGHT)
ANSWERED_IN_US = 200_000  # of a step: films are drawn so much longer than what is counted
INK = 20 / 28  # of a picture of MNIST: its digit
OVERLAP = 0.5  # least intersection over union of a box that is at its place
UPRIGHT = (3, 4, 7)  # digits that are none upside down
TASKS = ("sheets", "crossing", "counting", "none")
Grey = NDArray[np.uint8]
Random = np.random.Generator
Motion = Callable[[float], tuple[float, float, float]]  # seconds to x, y of the middle and degrees


class Box(NamedTuple):
    """Where a digit is in a frame."""

    number: int
    label: str
    left: float
    top: float
    side: float


@dataclass(frozen=True)
class Layer:
    """A picture that moves: grey [h, w], what of it covers [h, w] 0 to 1, its path, and digits (label, x, y, side)."""

    page: Grey
    cover: NDArray[np.float32]
    path: Motion
    digits: tuple[tuple[str, float, float, float], ...] = ()


@dataclass(frozen=True)
class Film:
    """Layers before a desk, the first behind the others."""

    layers: Sequence[Layer]
    seconds: float
    seed: int
    desk: Grey = field(default_factory=lambda: np.zeros((HEIGHT, WIDTH), np.uint8))

    def frames(self) -> Iterator[tuple[int, Grey, list[Box]]]:
        """Yield (time in microseconds, frame, digits that are wholly in view)."""
        random = np.random.default_rng(self.seed)
        noise = random.uniform(1, 4)
        for n in range(round(self.seconds * RATE_HZ)):
            t_s, shown, picture = n / RATE_HZ, list[Box](), self.desk.astype(np.float32)
            for layer in self.layers:
                (x, y, degrees), (h, w) = layer.path(t_s), layer.page.shape
                matrix = cv2.getRotationMatrix2D((w / 2, h / 2), degrees, 1.0)
                matrix[:, 2] += (x - w / 2, y - h / 2)
                page, cover = (
                    cv2.warpAffine(one.astype(np.float32), matrix, (WIDTH, HEIGHT)) for one in (layer.page, layer.cover)
                )
                picture += cover * (page - picture)
                for label, along, down, side in layer.digits:
                    at = matrix @ (along, down, 1.0)
                    box = Box(len(shown), label, float(at[0]) - side / 2, float(at[1]) - side / 2, side)
                    if 0 <= box.left <= WIDTH - side and 0 <= box.top <= HEIGHT - side:
                        shown.append(box)
                    else:
                        shown.append(box._replace(label=""))
            seen = cv2.GaussianBlur(picture, (0, 0), 0.7) + random.standard_normal((HEIGHT, WIDTH)) * noise
            yield round(t_s * 1e6), seen.clip(0, 255).astype(np.uint8), [one for one in shown if one.label]


def swaying(x: float, y: float, amount: float, random: Random, degrees: float = 8) -> Motion:
    """Return how a hand holds something: it sways by `amount` pixels and trembles."""
    phase, angle = random.uniform(0, 2 * np.pi, 5), random.uniform(-degrees, degrees)

    def path(t_s: float) -> tuple[float, float, float]:
        sway = np.sin(2 * np.pi * np.array([0.7, 0.9, 3.1, 2.7, 0.5]) * t_s + phase)
        return x + amount * (sway[0] + 0.3 * sway[2]), y + amount * (sway[1] + 0.3 * sway[3]), angle + 1.5 * sway[4]

    return path


def straight(begin: tuple[float, float], velocity: tuple[float, float], from_s: float, degrees: float) -> Motion:
    """Return an even motion that is at `begin` at `from_s`."""
    return lambda t: (begin[0] + velocity[0] * (t - from_s), begin[1] + velocity[1] * (t - from_s), degrees)


def sheet(images: Sequence[Grey], labels: Sequence[str], side: int, columns: int, random: Random) -> tuple[Grey, tuple]:
    """Return paper with drawings of `side` pixels in rows, and where they are."""
    rows, cell = -(-len(images) // columns), round(side * random.uniform(1.25, 1.6))
    margin, tone, ink = round(side * random.uniform(0.2, 0.5)), random.uniform(170, 250), random.uniform(10, 100)
    page = np.full((rows * cell + 2 * margin, columns * cell + 2 * margin), tone, np.float32)
    digits = []
    for n, (image, label) in enumerate(zip(images, labels)):
        top, left = margin + n // columns * cell + (cell - side) // 2, margin + n % columns * cell + (cell - side) // 2
        part = page[top : top + side, left : left + side]
        part += (ink - part) * pen(image, side)
        digits.append((label, left + side / 2, top + side / 2, INK * side))
    return page.clip(0, 255).astype(np.uint8), tuple(digits)


def whole(page: Grey) -> NDArray[np.float32]:
    return np.ones(page.shape, np.float32)


def desk(random: Random) -> Grey:
    return texture((HEIGHT, WIDTH), random)


class Written(NamedTuple):
    """Digits to write: images [N, 28, 28] and labels [N]."""

    images: Grey
    labels: NDArray[np.int64]

    def draw(self, random: Random, n: int) -> tuple[list[Grey], list[str]]:
        rows = random.integers(len(self.labels), size=n)
        return [self.images[row] for row in rows], [str(self.labels[row]) for row in rows]


def card(written: Written, random: Random, path: Motion, side: int) -> Layer:
    images, labels = written.draw(random, 1)
    page, places = sheet(images, labels, side, 1, random)
    return Layer(page, whole(page), path, places)


def face(random: Random) -> tuple[Grey, NDArray[np.float32]]:
    """Return a head with hair, eyes, brows, nose and mouth, shaded, 150 x 120."""
    skin = random.uniform(90, 220)
    page, cover = np.full((150, 120), skin, np.float32), np.zeros((150, 120), np.float32)
    cv2.ellipse(cover, (60, 78), (46, 62), 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    cv2.ellipse(cover, (60, 60), (52, 56), 0, 180, 360, 1.0, -1, cv2.LINE_AA)
    hair = skin * random.uniform(0.1, 0.8)
    cv2.ellipse(page, (60, 45), (54, int(random.integers(20, 34))), 0, 180, 360, hair, -1, cv2.LINE_AA)
    for way in (-1, 1):
        eye = 60 + way * 19, 72
        cv2.ellipse(page, eye, (9, 5), 0, 0, 360, 240, -1, cv2.LINE_AA)
        cv2.circle(page, eye, 4, skin * 0.15, -1, cv2.LINE_AA)
        cv2.line(page, (eye[0] - 9, 61), (eye[0] + 9, 60), hair, 3, cv2.LINE_AA)
    cv2.line(page, (60, 78), (56, 95), skin * 0.7, 2, cv2.LINE_AA)
    cv2.ellipse(page, (60, 112), (16, int(random.integers(2, 9))), 0, 0, 180, skin * 0.5, -1, cv2.LINE_AA)
    shade = np.linspace(1, random.uniform(0.55, 0.9), 120, dtype=np.float32)
    return (page * shade).clip(0, 255).astype(np.uint8), np.asarray(cv2.GaussianBlur(cover, (0, 0), 1), np.float32)


def hand(random: Random) -> tuple[Grey, NDArray[np.float32]]:
    """Return a palm with some fingers spread, 150 x 130."""
    skin, page, cover = random.uniform(90, 220), np.zeros((150, 130), np.float32), np.zeros((150, 130), np.float32)
    page[:] = skin
    cv2.ellipse(cover, (65, 105), (34, 40), 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    up = random.permutation(5)[: int(random.integers(1, 6))]
    for finger in up:
        angle = np.deg2rad(-150 + 28 * finger if finger else -165)
        end = round(65 + 85 * np.cos(angle)), round(105 + (85 if finger else 60) * np.sin(angle))
        root = round(65 + 25 * np.cos(angle)), round(105 + 25 * np.sin(angle))
        cv2.line(cover, root, end, 1.0, int(random.integers(14, 20)), cv2.LINE_AA)
        cv2.line(page, root, end, skin * 0.85, 3, cv2.LINE_AA)
    return page.clip(0, 255).astype(np.uint8), np.asarray(cv2.GaussianBlur(cover, (0, 0), 1), np.float32)


def nothings(written: Written, photos: list[Path]) -> dict[str, Callable[[Random], Film]]:
    """Return kinds of films without a digit; each function draws one."""

    def held(page: Grey, cover: NDArray[np.float32] | None, random: Random) -> Film:
        grown, cover = random.uniform(0.8, 1.4), whole(page) if cover is None else cover
        parts = [cv2.resize(one, None, fx=grown, fy=grown, interpolation=cv2.INTER_AREA) for one in (page, cover)]
        path = swaying(WIDTH / 2, HEIGHT / 2, random.uniform(3, 16), random)
        return Film([Layer(np.asarray(parts[0], np.uint8), np.asarray(parts[1], np.float32), path)], 4, 0, desk(random))

    def drawn(draw: Callable[[Random], Grey], random: Random) -> Film:
        images = [draw(random) for _ in range(int(random.integers(1, 4)))]
        return held(sheet(images, [""] * len(images), int(random.integers(40, 60)), 3, random)[0], None, random)

    def photograph(random: Random) -> Film:
        grey = cv2.imread(str(photos[int(random.integers(len(photos)))]), cv2.IMREAD_GRAYSCALE)
        assert grey is not None
        page = np.asarray(cv2.resize(grey, (400, 300), interpolation=cv2.INTER_AREA), np.uint8)
        return Film([Layer(page, whole(page), swaying(160, 120, random.uniform(3, 16), random, 3))], 4, 0)

    def board(random: Random) -> Film:
        side, n = int(random.integers(12, 24)), 8
        rows, columns = np.indices((side * n, side * n)) // side
        tones = sorted(random.uniform(10, 245, 2))
        return held(np.where((rows + columns) % 2, *tones).astype(np.uint8), None, random)

    def paper(random: Random) -> Film:
        size = random.integers(60, 160, 2)
        return held(np.full(size, random.uniform(150, 250), np.uint8), None, random)

    def room(random: Random) -> Film:
        page = texture((320, 420), random)
        return Film([Layer(page, whole(page), swaying(160, 120, random.uniform(0.3, 10), random, 3))], 4, 0)

    def letter(random: Random) -> Grey:
        return hershey_character(str(random.choice(list("ACEFGHJKLMNPQRTUVWXYabdefhknprt"))), random)

    def overturned(random: Random) -> Grey:
        row = random.choice(np.flatnonzero(np.isin(written.labels, UPRIGHT)))
        return written.images[row][::-1, ::-1].copy()

    made: dict[str, Callable[[Random], Film]] = {
        "a room": room,
        "blank paper": paper,
        "faces": lambda random: held(*face(random), random),
        "hands": lambda random: held(*hand(random), random),
        "letters": lambda random: drawn(letter, random),
        "chessboards": board,
        "upside-down digits": lambda random: drawn(overturned, random),
        "scribbles": lambda random: drawn(lambda r: scribble(Digits(written.images, written.labels), r), random),
    }
    return made | ({"photographs": photograph} if photos else {})
