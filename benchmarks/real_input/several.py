"""Several digits at once, on one sheet or moving past each other: boxes, identities and counts of tracked objects.

An object is right if its box and a digit's have an IoU of at least 0.5 and its label is the digit's. Intervals are
bootstrapped over films. One picture of each failed film is saved.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from benchmarks.common import report
from benchmarks.real_input.judge import SETTLED_US, Seen, watchers_of
from benchmarks.real_input.scenes import HEIGHT, RATE_HZ, WIDTH, Picture, pen, scene_of
from spikesight.app.webcam.counting import Counting
from spikesight.encoders.roi.candidates import overlap
from spikesight.models.classifier import Classifier
from spikesight.models.steps import Object

SECONDS = 5.0
SAME = 0.5  # intersection over union from which two boxes match
FAILED = 0.85  # a film fails if a smaller share of its digits is found, or if the count is not exact
SHOWN_US = 2_500_000  # time of the picture that is saved of a failed film
KINDS = ("two to four on a sheet", "two to eight that cross")
LINE = f"line:{WIDTH // 2},0,{WIDTH // 2},{HEIGHT}"
Digits = tuple[NDArray[np.uint8], NDArray[np.integer]]


class Truth(NamedTuple):
    """A digit in a picture."""

    id: int
    label: str
    box: tuple[float, float, float, float]  # left, top, width, height


Film = Iterator[tuple[int, Picture, list[Truth]]]  # time in microseconds, picture, what is in it


def picture_times() -> Iterator[tuple[int, float]]:
    """Return the times of a film's pictures, in microseconds and in seconds."""
    return ((round((n + 1) / RATE_HZ * 1e6), (n + 1) / RATE_HZ) for n in range(round(SECONDS * RATE_HZ)))


def box_of(ink: NDArray[np.float32], x: float = 0, y: float = 0) -> tuple[float, float, float, float]:
    """Return the bounding box of a drawing's ink; the drawing's corner is at (x, y)."""
    rows, columns = np.nonzero(ink > 0.5)
    left, top = columns.min(), rows.min()
    return x + left, y + top, columns.max() + 1 - left, rows.max() + 1 - top


def sheet(digits: Digits, photos: list[Path], seed: int) -> Film:
    """Film two to four digits side by side on a sheet held by hand, as in `scenes.scene_of`."""
    random = np.random.default_rng(seed)
    count, canvas = int(random.integers(2, 5)), np.zeros((460, 460), np.float32)
    truths, x = list[tuple[str, tuple[float, ...]]](), 0
    for index in random.choice(len(digits[0]), count, replace=False):
        size = int(random.integers(400 // count - 20, 440 // count)) if count > 2 else int(random.integers(130, 200))
        y = int(230 - size / 2 + random.uniform(-15, 15))
        ink = pen(digits[0][index], size)
        canvas[y : y + size, x : x + size] = np.maximum(canvas[y : y + size, x : x + size], ink)
        truths.append((str(digits[1][index]), box_of(ink, x, y)))
        x += size
    scene = scene_of(np.zeros((28, 28), np.uint8), photos, "plain", random, seed)
    scene = replace(scene, digit=canvas, half=(250.0, 234.0), shake=8.0)
    for t_us, t_s in picture_times():
        matrix, _ = scene.place(t_s)
        yield t_us, scene.frame(t_s), [Truth(n, *map_box(of, matrix, scene.corner)) for n, of in enumerate(truths, 1)]


def map_box(
    of: tuple[str, tuple[float, ...]], matrix: NDArray[np.float64], corner: NDArray[np.int64]
) -> tuple[str, tuple[float, float, float, float]]:
    """Map a digit's box from the sheet to the picture; return (label, box)."""
    label, (left, top, width, height) = of
    corners = np.array([[left, top], [left + width, top], [left + width, top + height], [left, top + height]]) + corner
    x, y, w, h = cv2.boundingRect(cv2.perspectiveTransform(corners[None].astype(np.float32), matrix)[0])
    return label, (x, y, w, h)


@dataclass(frozen=True)
class Mover:
    """A digit that moves horizontally across the picture."""

    ink: NDArray[np.float32]
    label: str
    x: float  # of its corner at time 0
    y: float
    speed: float  # pixels a second

    def at(self, t_s: float) -> tuple[float, float]:
        return self.x + self.speed * t_s, self.y


def movers(digits: Digits, seed: int) -> Film:
    """Film two to eight digits that move past each other from both sides, on a uniform background."""
    random = np.random.default_rng(seed)
    crowd = list[Mover]()
    for n, index in enumerate(random.choice(len(digits[0]), int(random.integers(2, 9)), replace=False)):
        size, right = int(random.integers(80, 120)), bool(n % 2)
        x = random.uniform(WIDTH * 0.65, WIDTH - size - 5) if right else random.uniform(5, WIDTH * 0.35 - size)
        y, speed = random.uniform(5, HEIGHT - size - 5), random.uniform(40, 90)
        crowd.append(Mover(pen(digits[0][index], size), str(digits[1][index]), x, y, -speed if right else speed))
    paper, ink, noise = random.uniform(190, 240), random.uniform(15, 60), random.uniform(2, 5)
    for t_us, t_s in picture_times():
        cover, truths = np.zeros((HEIGHT, WIDTH), np.float32), list[Truth]()
        for n, one in enumerate(crowd, 1):
            x, y = one.at(t_s)
            matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
            cover = np.maximum(cover, cv2.warpAffine(one.ink, matrix, (WIDTH, HEIGHT)))
            box = box_of(one.ink, x, y)
            if box[0] > 2 and box[0] + box[2] < WIDTH - 2:  # a digit at the picture's edge does not count
                truths.append(Truth(n, one.label, box))
        picture = paper + (ink - paper) * cover[..., None] + random.normal(0, noise, (HEIGHT, WIDTH, 3))
        yield t_us, picture.clip(0, 255).astype(np.uint8), truths


class Score:
    """Counts and matches of a film's steps, as frames or as events."""

    def __init__(self) -> None:
        self.shown = self.right = self.said = 0  # digits, those found, objects
        self.mates, self.n_truths, self.n_objects = Counter[tuple[int, int]](), Counter[int](), Counter[int]()
        self.passed = Counter[tuple[str, str]]()  # true crossings of the line
        self._counting, self._truth = Counting.of(LINE), Counting.of(LINE)

    def add(self, objects: tuple[Object, ...], truths: list[Truth], t_us: int) -> None:
        """Add the objects found after a step and the digits that were there."""
        self._counting.push(objects, t_us)
        self._truth.push([Object(one.id, one.box, one.label, 1.0, 1.0, None) for one in truths], t_us)
        if t_us <= SETTLED_US:
            return
        self.shown, self.said = self.shown + len(truths), self.said + len(objects)
        self.n_truths.update(one.id for one in truths)
        self.n_objects.update(one.id for one in objects)
        shared = overlap(*(np.array([one.box for one in side], float).reshape(-1, 4) for side in (truths, objects)))
        for n, m in zip(*linear_sum_assignment(-shared)):
            if shared[n, m] >= SAME:
                self.mates[truths[n].id, objects[m].id] += 1
                self.right += truths[n].label == objects[m].label

    def idf1(self) -> float:
        """Return the identity F1 score, IDF1 (Ristani et al. 2016)."""
        ours, theirs = sorted(self.n_truths), sorted(self.n_objects)
        table = np.array([[self.mates[n, m] for m in theirs] for n in ours]).reshape(len(ours), len(theirs))
        kept = int(table[linear_sum_assignment(-table)].sum())
        return 2 * kept / max(1, self.n_truths.total() + self.n_objects.total())

    @property
    def counted(self) -> bool:
        """Whether the counts of line crossings, by label and direction, are exact."""
        return self._counting.counts == self._truth.counts

    @property
    def failed(self) -> bool:
        return not self.counted or self.right < FAILED * self.shown


def judged(classifier: Classifier, film: Film) -> tuple[dict[Seen, Score], dict[Seen, Picture]]:
    """Judge one film, as frames and as events; return scores and pictures with the boxes of digits and objects."""
    watchers = watchers_of(classifier, objects=8)
    scores: dict[Seen, Score] = {seen: Score() for seen in watchers}
    pictures = dict[Seen, Picture]()
    for t_us, picture, truths in film:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        for seen, watcher in watchers.items():
            for answer in watcher.see(picture, np.asarray(grey, np.uint8), t_us, -1):
                scores[seen].add(answer.prediction.objects or (), truths, t_us)
                if t_us >= SHOWN_US and seen not in pictures:
                    pictures[seen] = drawn(picture, truths, answer.prediction.objects or ())
    return scores, pictures


def drawn(picture: Picture, truths: list[Truth], objects: tuple[Object, ...]) -> Picture:
    """Draw boxes and labels of digits (green) and of objects (blue) on a copy of half the size."""
    out = picture.copy()
    for colour, thick, below, things in (((20, 130, 20), 2, True, truths), ((40, 80, 255), 4, False, objects)):
        for one in things:
            left, top, width, height = (round(v) for v in one.box)
            cv2.rectangle(out, (left, top), (left + width, top + height), colour, thick)
            at = left, top + height + 34 if below else top - 8
            cv2.putText(out, one.label, at, cv2.FONT_HERSHEY_SIMPLEX, 1.2, colour, 3, cv2.LINE_AA)
    return np.asarray(cv2.resize(out, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)


def found_interval(films: list[Score], random: np.random.Generator) -> tuple[float, float]:
    """Return the bootstrapped 95 % interval, over films, of the share of digits that is found."""
    counts = np.array([(one.right, one.shown) for one in films])
    again = counts[random.integers(len(films), size=(2000, len(films)))].sum(1)
    low, high = np.quantile(again[:, 0] / np.maximum(again[:, 1], 1), (0.025, 0.975))
    return float(low), float(high)


def rows(
    classifier: Classifier, digits: Digits, photos: list[Path], seed: int, count: int, kept: Path | None = None
) -> None:
    """Measure and report `count` films of each kind. `kept`: the file for pictures of failed films."""
    columns = ("input", "seen as", "films", "objects that are none, %", "IDF1", "counts exact", "digits found, %")
    report.table("several digits", *columns, "low", "high")
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    failed = list[Picture]()
    for name in KINDS:
        films = [
            judged(classifier, sheet(digits, photos, n) if "sheet" in name else movers(digits, n))
            for n in range(1000 * seed, 1000 * seed + count)
        ]
        for seen in ("frames", "events"):
            scores = [film[seen] for film, _ in films]
            failed += [shown[seen] for film, shown in films if film[seen].failed and seen in shown]
            right, shown, said = (sum(getattr(one, what) for one in scores) for what in ("right", "shown", "said"))
            found, wrong = 100 * right / max(1, shown), 100 * (1 - right / max(1, said))
            low, high = (100 * side for side in found_interval(scores, np.random.default_rng(seed)))
            identity, exact = float(np.mean([one.idf1() for one in scores])), sum(one.counted for one in scores)
            report.row(name, seen, count, wrong, identity, exact, found, low, high)
            line = f"{wrong:.0f} | {identity:.2f} | {exact} | {found:.0f} ({low:.0f} to {high:.0f})"
            print(f"| {name} | {seen} | {count} | {line} |", flush=True)
    if kept is not None and failed:
        cv2.imwrite(str(kept), cv2.cvtColor(tiled(failed), cv2.COLOR_RGB2BGR))


def tiled(pictures: list[Picture], across: int = 4) -> Picture:
    """Arrange pictures of one size in rows of `across`."""
    blank = np.full_like(pictures[0], 255)
    lines = [[*pictures[n : n + across], *[blank] * (across - len(pictures[n : n + across]))]
             for n in range(0, len(pictures), across)]  # fmt: skip
    return np.vstack([np.hstack(line) for line in lines])
