"""What is shown to a camera: digits on sheets and objects, cards, faces, hands, letters, photographs, cut-outs."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from corpora import strokes
from corpora.drawn import HEADINGS
from corpora.filmed import cut
from corpora.films import Box, Film, Grey, Layer, Matrix, Plane, placed
from corpora.others import Digits, dead_leaves, scribble
from corpora.printed import glyph
from experiments.near import hershey_character
from spikesight.encoders.emulator.pixels import Emulator
from spikesight.encoders.events import SensorSize
from spikesight.encoders.preprocess.fit import centred
from spikesight.models.classifier import Classifier, Stepper
from spikesight.models.classifier.session import Session
from spikesight.models.steps import Detection

VIEW = SensorSize(320, 240)
INK = 20 / 28  # of a picture of MNIST: its digit
STYLES = {
    "plain": ("plain",),
    "harder": ("ruled", "squared", "thin pen", "fingers", "whiteboard", "screen"),
    "things": ("phone", "chalk", "thick paint", "mug", "7-segment", "plate"),
    "tidy": ("tidy",),
}
UPRIGHT = (3, 4, 7)  # digits that are none upside down
SECONDS = 1.2  # of a film of a motion
NOTHING_MOVES = ("shaken camera", "empty noisy room")
Random = np.random.Generator
Path_ = Callable[[float], Matrix]


class Step(NamedTuple):
    """What a model says in a step, and what is there."""

    end_us: int
    shown_label: str  # what is shown
    label: str  # of this step alone
    things: tuple[Detection, ...]
    shown: list[Box]


def watch(classifier: Classifier, film: Film, seen: str) -> Iterator[Step]:
    """Yield what a model says of a film that it sees as `frames` or `events`."""
    session = Session(classifier, film.size)
    stepper, eye = Stepper(classifier, session.readout), Emulator(film.size, seed=film.seed)
    truth = dict[int, list[Box]]()
    for t_us, grey, truth[t_us] in film.frames():
        if seen == "events":
            inputs = [*session.push(eye.push(grey, t_us)), *session.tick(t_us)]
        else:
            inputs = session.frame(np.repeat(grey[..., None], 3, 2), t_us)
        for given in inputs:
            answer, at = stepper.step(given), min(truth, key=lambda t: abs(t - given.end_us))
            one = answer.prediction
            yield Step(given.end_us, one.label, one.top1, one.objects or (), truth[at])


class Written(NamedTuple):
    """Digits to write: images [N, 28, 28] and labels [N]."""

    images: Grey
    labels: NDArray[np.int64]

    def draw(self, random: Random, n: int) -> tuple[list[Grey], list[str]]:
        rows = random.integers(len(self.labels), size=n)
        return [self.images[row] for row in rows], [str(self.labels[row]) for row in rows]


def swaying(shape: tuple[int, ...], amount: float, random: Random, degrees: float = 8) -> Path_:
    """Return how a hand holds a page in the middle of the view: it sways by `amount` pixels and trembles."""
    phase, angle = random.uniform(0, 2 * np.pi, 5), random.uniform(-degrees, degrees)

    def path(t_s: float) -> Matrix:
        sway = np.sin(2 * np.pi * np.array([0.7, 0.9, 3.1, 2.7, 0.5]) * t_s + phase)
        x, y = VIEW.width / 2 + amount * (sway[0] + 0.3 * sway[2]), VIEW.height / 2 + amount * (sway[1] + 0.3 * sway[3])
        return placed(shape, x, y, math.radians(angle + 1.5 * sway[4]))

    return path


def whole(page: Grey | Plane) -> Plane:
    return np.ones(page.shape, np.float32)


def desk(random: Random) -> Plane:
    return dead_leaves(VIEW.height, VIEW.width, random)


def held(page: Grey | Plane, cover: Plane | None, random: Random, amount: tuple[float, float] = (3, 16)) -> Film:
    """Return a film of a page in a hand over a desk."""
    path = swaying(page.shape, random.uniform(*amount), random)
    return before_camera([Layer(page, whole(page) if cover is None else cover, path)], 4, random)


def before_camera(layers: Sequence[Layer], seconds: float, random: Random, ground: Plane | None = None) -> Film:
    ground = desk(random) if ground is None else ground
    return Film(ground, layers, seconds, int(random.integers(2**31)), noise=random.uniform(1, 4), blur=0.7)


def pen(image: Grey, size: int, *, thin: bool = False) -> Plane:
    """Enlarge a written digit, uint8 [28, 28], to ink [size, size] with a pen's edge."""
    big = cv2.resize(image.astype(np.float32) / 255, (size, size), interpolation=cv2.INTER_CUBIC)
    if thin:
        inside = cv2.distanceTransform((big > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
        ridge = (inside >= cv2.dilate(inside, np.ones((3, 3))) * 0.98) & (inside > 1)
        line = cv2.dilate(ridge.astype(np.float32), np.ones((max(2, size // 50),) * 2))
        big = cv2.GaussianBlur(line, (0, 0), 1)
    return (1 / (1 + np.exp(-(big - 0.5) * 14))).astype(np.float32)


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


def card(written: Written, random: Random, begin: tuple[float, float], speed: float, from_s: float, side: int) -> Layer:
    """Return a card with a digit that moves evenly to the right, or left, and is at `begin` at `from_s`."""
    images, labels = written.draw(random, 1)
    page, marks = sheet(images, labels, side, 1, random)
    angle = math.radians(random.uniform(-8, 8))
    path = lambda t: placed(page.shape, begin[0] + speed * (t - from_s), begin[1], angle)  # noqa: E731
    return Layer(page, whole(page), path, marks)


def clip(style: str, image: Grey, label: int, photos: Sequence[Path], random: Random) -> Film:
    """Return a film of five seconds of a digit, uint8 [28, 28], on paper or an object, over a photograph."""
    side, tone, paper = int(random.integers(95, 170)), random.uniform(15, 70), random.uniform(200, 245)
    if style == "7-segment":
        image = strokes.drawn(strokes.segments(strokes.SEGMENTS[label]), random)
    elif style == "plate":
        image = centred(glyph(str(label), random))
    ink = pen(image, side, thin=style == "thin pen")
    if style == "chalk":
        ink *= np.float32(0.55) + np.float32(0.45) * (random.random(ink.shape) < 0.5)
    elif style == "thick paint":
        ink = cv2.dilate(ink, np.ones((side // 18,) * 2))
    elif style == "mug":
        across = (np.arange(side) - side / 2) / (side * 0.62)  # of the mug's radius
        source = (np.arcsin(across) * side * 0.62 + side / 2).astype(np.float32)
        ink = cv2.remap(ink, *np.meshgrid(source, np.arange(side, dtype=np.float32)), cv2.INTER_LINEAR)
    if style in ("phone", "chalk", "7-segment") or (style == "screen" and random.random() < 0.5):
        tone, paper = paper, random.uniform(8, 50)
    wide, tall = (2.6, 2.2) if style in ("tidy", "whiteboard") else random.uniform((1.25, 1.2), (1.9, 1.7)).tolist()
    page = np.full((round(side * tall), round(side * wide)), paper, np.float32)
    if style in ("ruled", "squared"):
        page[:: max(8, side // 8)] *= 0.7
    if style == "squared":
        page[:, :: max(8, side // 8)] *= 0.7
    top, left = (page.shape[0] - side) // 2, (page.shape[1] - side) // 2
    part = page[top : top + side, left : left + side]
    part += (tone - part) * ink
    for finger in range(3 * (style == "fingers")):
        cv2.ellipse(page, (side // 5 + side // 6 * finger, page.shape[0]), (11, 30), 0, 0, 360, 165, -1)
    page *= np.linspace(1, random.uniform(0.95 if style == "tidy" else 0.6, 1), page.shape[1], dtype=np.float32)
    if style in ("screen", "phone", "7-segment"):
        page = np.asarray(cv2.copyMakeBorder(page, 7, 7, 7, 7, cv2.BORDER_CONSTANT, value=18), np.float32)
    path = swaying(page.shape, random.uniform(1.5, 4 if style == "tidy" else 10), random, 5 if style == "tidy" else 12)
    ground = 0.6 * photograph(photos[int(random.integers(len(photos)))], (VIEW.width, VIEW.height))
    return before_camera([Layer(page, whole(page), path)], 5, random, ground)


def photograph(path: Path, size: tuple[int, int]) -> Plane:
    """Read a picture, grey, at this width and height."""
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def moving(kind: str, photos: Sequence[Path], random: Random, *, on_circle: bool) -> Film:
    """Return a film of a motion, or of NOTHING_MOVES: a cut-out of a photograph over another, in any light."""
    behind, before = random.choice(len(photos), 2, replace=False)
    light, size = random.uniform(0.15, 1.0), (640, 480)  # includes dark rooms, where noise makes most events
    (x, y), scale, speed = random.uniform(-0.12, 0.12, 2), random.uniform(0.3, 0.55), random.uniform(0.4, 0.9)
    waves = random.uniform(3, 8, 2), random.uniform(0, 2 * np.pi, 2)
    turns, zooms = {"clockwise": 1, "counter-clockwise": -1}, {"push": 1, "pull": -1}

    def middle(t: float) -> NDArray[np.float64]:
        sway = 6 * np.sin(2 * np.pi * waves[0] * t + waves[1]) * (kind == "shaken camera")
        return np.array(size) / 2 + sway

    def path(t: float) -> Matrix:
        step = speed * (t - SECONDS / 2)
        way = np.array([x, y])
        if kind in HEADINGS:
            way = way + step * np.array([math.cos(HEADINGS[kind]), math.sin(HEADINGS[kind])])
        angle = 2 * math.pi * step * turns.get(kind, 0)
        if angle and on_circle:
            way, angle = way + 0.2 * np.array([math.cos(angle), math.sin(angle)]), 0.0
        grown = scale * 2 ** (zooms.get(kind, 0) * step) * size[1] / 320
        at = middle(t) + way * size[1]
        return placed((320, 320), float(at[0]), float(at[1]), angle, grown)

    ground = light * photograph(photos[behind], size)
    layers = [Layer(ground, None, lambda t: placed(ground.shape, *middle(t).tolist()))]
    if kind != "empty noisy room":
        cutout = max(0.3, light) * random.uniform(0.7, 1.3) * photograph(photos[before], (320, 320))
        layers.append(Layer(cutout, cut(320, random), path))
    return Film(ground, layers, SECONDS, int(random.integers(2**31)), noise=2.5)


def face(random: Random) -> tuple[Grey, Plane]:
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


def hand(random: Random) -> tuple[Grey, Plane]:
    """Return a palm with some fingers spread, 150 x 130."""
    skin, cover = random.uniform(90, 220), np.zeros((150, 130), np.float32)
    page = np.full(cover.shape, skin, np.float32)
    cv2.ellipse(cover, (65, 105), (34, 40), 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    for finger in random.permutation(5)[: int(random.integers(1, 6))]:
        angle = np.deg2rad(-150 + 28 * finger if finger else -165)
        end = round(65 + 85 * np.cos(angle)), round(105 + (85 if finger else 60) * np.sin(angle))
        root = round(65 + 25 * np.cos(angle)), round(105 + 25 * np.sin(angle))
        cv2.line(cover, root, end, 1.0, int(random.integers(14, 20)), cv2.LINE_AA)
        cv2.line(page, root, end, skin * 0.85, 3, cv2.LINE_AA)
    return page.clip(0, 255).astype(np.uint8), np.asarray(cv2.GaussianBlur(cover, (0, 0), 1), np.float32)


def nothings(written: Written, photos: Sequence[Path]) -> dict[str, Callable[[Random], Film]]:
    """Return kinds of films without a digit; each function draws one."""

    def drawn(draw: Callable[[Random], Grey], random: Random) -> Film:
        images = [draw(random) for _ in range(int(random.integers(1, 4)))]
        return held(sheet(images, [""] * len(images), int(random.integers(40, 60)), 3, random)[0], None, random)

    def board(random: Random) -> Film:
        side = int(random.integers(12, 24))
        rows, columns = np.indices((side * 8, side * 8)) // side
        return held(np.where((rows + columns) % 2, *random.uniform(10, 245, 2)).astype(np.uint8), None, random)

    def letter(random: Random) -> Grey:
        return hershey_character(str(random.choice(list("ACEFGHJKLMNPQRTUVWXYabdefhknprt"))), random)

    def overturned(random: Random) -> Grey:
        row = random.choice(np.flatnonzero(np.isin(written.labels, UPRIGHT)))
        return written.images[row][::-1, ::-1].copy()

    made: dict[str, Callable[[Random], Film]] = {
        "a room": lambda random: held(dead_leaves(320, 420, random), None, random, (0.3, 10)),
        "blank paper": lambda random: held(
            np.full(random.integers(60, 160, 2), random.uniform(150, 250), np.float32), None, random
        ),
        "faces": lambda random: held(*face(random), random),
        "hands": lambda random: held(*hand(random), random),
        "letters": lambda random: drawn(letter, random),
        "chessboards": board,
        "upside-down digits": lambda random: drawn(overturned, random),
        "scribbles": lambda random: drawn(lambda r: scribble(Digits(*written), r), random),
    }
    if photos:
        made["photographs"] = lambda random: held(
            photograph(photos[int(random.integers(len(photos)))], (400, 300)), None, random
        )
    return made
