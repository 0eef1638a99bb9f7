"""Scenes without a digit, before a webcam and an event camera: blank paper, an empty room, things, people. Measured is
the share of the time without a label.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from benchmarks.common import report
from benchmarks.real_input.judge import SETTLED_US, Seen, watchers_of
from benchmarks.real_input.scenes import HEIGHT, RATE_HZ, WIDTH, Picture, scene_of
from benchmarks.real_input.unknown import film_paths
from spikesight.models.classifier import Classifier

SECONDS = 5.0
Film = Iterator[tuple[int, Picture]]  # (time in microseconds, uint8 [H, W, 3])
ROWS = ("blank paper", "empty noisy room", "a flat picture", "a thing held before it", "people signing, and traffic")


def picture_times() -> Iterator[tuple[int, float]]:
    """Return the times of a clip's pictures, in microseconds and in seconds."""
    return ((round((n + 1) / RATE_HZ * 1e6), (n + 1) / RATE_HZ) for n in range(round(SECONDS * RATE_HZ)))


def blank_paper(photos: list[Path], seed: int) -> Film:
    """Film a sheet of paper without a digit, held over a desk."""
    random = np.random.default_rng(seed)
    scene = scene_of(np.zeros((28, 28), np.uint8), photos, "plain", random, seed)
    scene = replace(scene, digit=np.zeros_like(scene.digit))
    return ((t_us, scene.frame(t_s)) for t_us, t_s in picture_times())


def grainy(picture: np.ndarray, sigma: float, random: np.random.Generator) -> Picture:
    """Add sensor noise with standard deviation `sigma`, grey values."""
    return (picture + random.normal(0, sigma, picture.shape)).clip(0, 255).astype(np.uint8)


def room(photos: list[Path], seed: int, *, flat: bool = False) -> Film:
    """Film a still photograph, or a uniform grey, with sensor noise."""
    random = np.random.default_rng(seed)
    photo = np.full((HEIGHT, WIDTH, 3), random.uniform(20, 230)) if flat else photo_of(photos, random)
    sigma = random.uniform(2, 7)
    return ((t_us, grainy(photo, sigma, random)) for t_us, _ in picture_times())


def thing(photos: list[Path], seed: int) -> Film:
    """Film a photograph that fills the picture and sways as if held by hand."""
    random = np.random.default_rng(seed)
    photo, sigma, shake = photo_of(photos, random), random.uniform(2, 7), random.uniform(3, 20)
    phase = random.uniform(0, 2 * np.pi, 4)
    for t_us, t_s in picture_times():
        sway = [np.sin(2 * np.pi * f * t_s + p) for f, p in zip((0.7, 0.9, 3.1, 2.7), phase)]
        shift = shake * np.array([sway[0] + 0.4 * sway[2], sway[1] + 0.4 * sway[3]])
        matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
        moved = cv2.warpAffine(photo, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        yield t_us, grainy(moved, sigma, random)


def photo_of(photos: list[Path], random: np.random.Generator) -> Picture:
    """Read a random photograph, RGB uint8 [HEIGHT, WIDTH, 3]."""
    photo = cv2.imread(str(photos[int(random.integers(len(photos)))]), cv2.IMREAD_COLOR_RGB)
    assert photo is not None
    return np.asarray(cv2.resize(photo, (WIDTH, HEIGHT)), np.uint8)


def filmed(path: Path) -> Film:
    """Read the first SECONDS of a video."""
    film = cv2.VideoCapture(str(path))
    rate = film.get(cv2.CAP_PROP_FPS) or 30
    for n in range(round(SECONDS * rate)):
        found, frame = film.read()
        if not found:
            return
        frame = cv2.cvtColor(cv2.resize(frame, (WIDTH, HEIGHT)), cv2.COLOR_BGR2RGB)
        yield round((n + 1) * 1e6 / rate), np.asarray(frame, np.uint8)


def films(name: str, photos: list[Path], root: Path, seed: int, count: int) -> Iterator[Film]:
    """Yield up to `count` clips of a row."""
    if name == ROWS[-1]:
        return (filmed(path) for path in islice(film_paths(root), count))
    make: Callable[[int], Film] = {
        ROWS[0]: lambda seed: blank_paper(photos, seed),
        ROWS[1]: lambda seed: room(photos, seed),
        ROWS[2]: lambda seed: room(photos, seed, flat=True),
        ROWS[3]: lambda seed: thing(photos, seed),
    }[name]
    return (make(1000 * seed + n) for n in range(count))


def labelled(classifier: Classifier, film: Film, objects: int = 0) -> dict[Seen, float]:
    """Return the share of steps after the first second in which a class is shown."""
    watchers = watchers_of(classifier, objects)
    for t_us, picture in film:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        for watcher in watchers.values():
            watcher.see(picture, grey, t_us, -1)
    shares: dict[Seen, float] = {}
    for seen, watcher in watchers.items():
        late = [label in classifier.labels for t_us, label, _ in watcher.said if t_us > SETTLED_US]
        shares[seen] = float(np.mean(late)) if late else 0.0
    return shares


def rows(classifier: Classifier, photos: list[Path], root: Path, seed: int, count: int, objects: int = 0) -> None:
    """Measure and report the table."""
    report.table("what is no digit", "input", "seen as", "clips", "without a label, %", "clips without any")
    print(
        f"\n| no digit, {count} clips, seed {seed}, {classifier.name} | seen as | without a label | clips without any |"
    )
    print("|---|---|---|---|")
    for name in ROWS:
        shares = [labelled(classifier, film, objects) for film in films(name, photos, root, seed, count)]
        for seen in ("frames", "events"):
            found = np.array([share[seen] for share in shares])
            free, without = 100 * float(1 - found.mean()), int((found == 0).sum())
            report.row(name, seen, len(found), free, without)
            print(f"| {name} | {seen} | {free:.1f} % of the time | {without} of {len(found)} |", flush=True)
