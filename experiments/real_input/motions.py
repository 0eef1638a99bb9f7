"""The motion model before a webcam: cut-outs of photographs that move over photographs, and scenes without motion.

Frames are processed as a webcam's are: full pictures through `Session.frame`. The label at the end of the clip counts.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.common import report
from corpora.drawn import MOTIONS
from spikesight.models.classifier import Classifier, Stepper
from spikesight.models.classifier.session import Session
from spikesight.models.statistics import interval

WIDTH, HEIGHT, RATE = 640, 480, 30
NOISE = 2.5  # standard deviation of the sensor's noise, in grey values
SECONDS = 1.2
NOTHING_MOVES = ("shaken camera", "empty noisy room")
Grey = NDArray[np.float32]  # [H, W], 0 to 255


@dataclass(frozen=True)
class Clip:
    """A cut-out that moves over a photograph; `kind` is a motion, or one of NOTHING_MOVES (truth: still)."""

    kind: str
    background: Grey
    cutout: Grey
    mask: Grey  # of the cut-out, 0 to 1
    start: tuple[float, float]  # centre, in picture heights from the middle
    size: float  # of the cut-out at its middle time, in heights
    speed: float  # heights, turns or doublings a second
    on_circle: bool  # rotations: the cut-out travels on a circle, or turns in place
    seed: int

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Yield frames uint8 [H, W, 3] at RATE for SECONDS."""
        random = np.random.default_rng((self.seed, 1))
        sway = random.uniform(3, 8, 2), random.uniform(0, 2 * np.pi, 2)
        for n in range(round(SECONDS * RATE)):
            t = n / RATE
            picture = self.background if self.kind == "empty noisy room" else self._over(t - SECONDS / 2)
            if self.kind == "shaken camera":
                dx, dy = 6 * np.sin(2 * np.pi * sway[0] * t + sway[1])
                move = np.array([[1, 0, dx], [0, 1, dy]])
                picture = cv2.warpAffine(picture, move, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
            grey = (picture + random.normal(0, NOISE, picture.shape)).clip(0, 255).astype(np.uint8)
            yield np.repeat(grey[..., np.newaxis], 3, axis=2)

    def _over(self, t: float) -> Grey:
        """Draw the picture without noise, `t` seconds from the clip's middle."""
        x, y = self.start
        angle, size, step = 0.0, self.size, self.speed * t
        heading = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}.get(self.kind, (0, 0))
        x, y = x + heading[0] * step, y + heading[1] * step
        turn = {"clockwise": 1, "counter-clockwise": -1}.get(self.kind, 0) * 2 * math.pi * step
        if turn and self.on_circle:
            x, y = x + 0.2 * math.cos(turn), y + 0.2 * math.sin(turn)
        else:
            angle = turn
        size *= 2 ** ({"push": 1, "pull": -1}.get(self.kind, 0) * step)
        zoom, middle = size * HEIGHT / self.cutout.shape[0], self.cutout.shape[0] / 2
        cos, sin = zoom * math.cos(angle), zoom * math.sin(angle)
        at = WIDTH / 2 + x * HEIGHT, HEIGHT / 2 + y * HEIGHT
        matrix = np.array(
            [[cos, -sin, at[0] - (cos - sin) * middle], [sin, cos, at[1] - (sin + cos) * middle]], np.float64
        )
        cutout, cover = (cv2.warpAffine(plane, matrix, (WIDTH, HEIGHT)) for plane in (self.cutout, self.mask))
        return (self.background + cover * (cutout - self.background)).astype(np.float32)


def truth_of(kind: str) -> str:
    """Return the right label of a clip."""
    return "still" if kind in NOTHING_MOVES else kind


def clips(photos: list[Path], kind: str, count: int, seed: int) -> Iterator[Clip]:
    """Yield `count` clips of a kind; the seed determines photographs, light, shape, place and speed."""
    index = (*MOTIONS, *NOTHING_MOVES).index(kind)
    for n in range(count):
        random = np.random.default_rng((seed, index, n))
        behind, before = random.choice(len(photos), 2, replace=False)
        background = cv2.resize(_photo(photos[behind]), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        light = np.float32(random.uniform(0.15, 1.0))  # includes dark rooms, where noise makes most events
        cutout = cv2.resize(_photo(photos[before]), (320, 320), interpolation=cv2.INTER_AREA)
        yield Clip(
            kind,
            light * background,
            np.float32(max(0.3, light) * random.uniform(0.7, 1.3)) * cutout,
            _form(random),
            (random.uniform(-0.12, 0.12), random.uniform(-0.12, 0.12)),
            random.uniform(0.3, 0.55),
            random.uniform(0.4, 0.8) if kind in ("clockwise", "counter-clockwise") else random.uniform(0.4, 1.0),
            bool(n % 2),
            seed * 1000 + index * 100 + n,
        )


def _photo(path: Path) -> Grey:
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    return picture.astype(np.float32)


def _form(random: np.random.Generator) -> Grey:
    """Draw the mask of a cut-out: an ellipse, a rectangle or a polygon in 320 x 320."""
    mask = np.zeros((320, 320), np.float32)
    form = random.integers(3)
    if form == 0:
        cv2.ellipse(mask, (160, 160), (150, int(random.integers(90, 150))), 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    elif form == 1:
        half = random.integers(100, 150, 2)
        mask[160 - half[1] : 160 + half[1], 160 - half[0] : 160 + half[0]] = 1
    else:
        angles = np.sort(random.uniform(0, 2 * math.pi, 9))
        points = 160 + random.uniform(90, 155, (9, 1)) * np.stack([np.cos(angles), np.sin(angles)], 1)
        cv2.fillPoly(mask, [points.round().astype(np.int32)], 1.0, cv2.LINE_AA)
    return cv2.GaussianBlur(mask, (0, 0), 1.5).astype(np.float32)


def answer(classifier: Classifier, clip: Clip) -> str:
    """Return the model's label at the end of the clip."""
    session, stepper = Session(classifier), Stepper(classifier)
    label = ""
    for n, frame in enumerate(clip.frames()):
        for given in session.frame(frame, round(n * 1e6 / RATE)):
            label = stepper.step(given).prediction.label
    return label


def rows(classifier: Classifier, photos: list[Path], count: int, seed: int) -> None:
    """Measure and report the motion model on `count` clips of each kind, made of these photographs.

    The model has seen none of the photographs: its training films contain none.
    """
    report.table("motions before a webcam", "clips", "right", "of", "low", "high")
    print(f"\n| clips, {count} of a kind, seed {seed} | {classifier.name} | said |\n|---|---|---|")
    total = 0
    for kind in (*MOTIONS, *NOTHING_MOVES):
        said = Counter(answer(classifier, clip) for clip in clips(photos, kind, count, seed))
        correct = said[truth_of(kind)]
        total += correct * (kind in MOTIONS)
        _row(kind, correct, count, ", ".join(f"{label} {n}" for label, n in said.most_common()))
    _row("all nine motions", total, count * len(MOTIONS), "")


def _row(kind: str, correct: int, count: int, said: str) -> None:
    low, high = interval(correct, count)
    report.row(kind, correct, count, low, high)
    print(f"| {kind} | {correct} of {count} ({low:.0%} to {high:.0%}) | {said} |", flush=True)
