"""A digit on paper as people hold it before a camera, filmed for some seconds, drawn from data that users can get."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 640, 480
RATE_HZ = 30
Picture = NDArray[np.uint8]  # [H, W, 3], RGB
PRINT = np.array([120, 150, 200], np.float32)  # of a sheet's lines
Kind = Literal["plain", "harder", "tidy"]
HARDER = ("ruled", "squared", "thin pen", "coloured ink", "fingers", "tilted", "whiteboard", "screen", "two scenes")
FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX)


@dataclass(frozen=True)
class Scene:
    """One sheet with one digit on one desk; `frame` shows it at a time."""

    digit: NDArray[np.float32]  # [H, W], 0 paper to 1 ink
    desk: Picture
    ink: NDArray[np.float32]  # RGB
    sheet: NDArray[np.float32]  # RGB of the paper
    half: tuple[float, float]  # of the sheet, in pixels
    angle: float  # degrees
    light: tuple[float, float]  # falls off to the right and down by these shares
    shake: float  # pixels
    noise: float  # standard deviation in grey values
    lines: float = 0.0  # distance of printed lines, 0 for none
    squared: bool = False
    fingers: int = 0
    tilt: float = 0.0
    frame_px: int = 0  # of a screen's dark case around what it shows
    flicker: float = 0.0  # share of the light that a lamp of 100 Hz swings by
    seed: int = 0

    def frame(self, t_s: float) -> Picture:
        """The picture at a time; the hand sways and trembles, the sensor adds noise of its own each time."""
        phase = np.random.default_rng(self.seed).uniform(0, 2 * np.pi, 7)
        sway = [np.sin(2 * np.pi * f * t_s + p) for f, p in zip((0.7, 0.9, 3.1, 2.7, 0.5), phase)]
        shift = np.array([sway[0] + 0.4 * sway[2], sway[1] + 0.4 * sway[3]]) * self.shake
        turn = np.deg2rad(self.angle + 2 * sway[4])
        page = self._page
        extent = np.array([page.shape[1], page.shape[0]], np.float32)
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * extent
        middle = (corners - extent / 2) @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        middle[:, 0] *= 1 - self.tilt * middle[:, 1] / HEIGHT
        target = (middle + np.array([WIDTH / 2, HEIGHT / 2]) + shift).astype(np.float32)
        matrix = cv2.getPerspectiveTransform(corners, target)
        picture = self.desk.copy()
        cv2.warpPerspective(
            page, matrix, (WIDTH, HEIGHT), dst=picture, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT
        )
        for n in range(self.fingers):
            at = target[3] + (target[2] - target[3]) * (0.15 + 0.1 * n)
            cv2.ellipse(picture, (*map(int, at),), (22, 60), float(-20 + 10 * n), 0, 360, (214, 160, 132), -1)
        picture = cv2.GaussianBlur(picture, (0, 0), 1.0)
        bright = np.float32(1 + self.flicker * np.sin(2 * np.pi * 100 * t_s * 1.003 + phase[6]))
        random = np.random.default_rng((self.seed, round(t_s * 1e4)))
        top, left = random.integers(0, 64, 2)
        noise = self._noise[top : top + HEIGHT, left : left + WIDTH]
        lit = cv2.multiply(picture, self._shade * bright, dtype=cv2.CV_32F)
        return np.asarray(cv2.add(lit, noise, dtype=cv2.CV_8U), np.uint8)

    @cached_property
    def _page(self) -> Picture:
        """The sheet with the digit in its middle."""
        size = self.digit.shape[0]
        page = np.empty((int(2 * self.half[1]), int(2 * self.half[0]), 3), np.float32)
        page[:] = self.sheet
        if self.lines:
            step = round(self.lines)
            page[step::step] = page[step::step] * 0.2 + PRINT * 0.8
            if self.squared:
                page[:, step::step] = page[:, step::step] * 0.2 + PRINT * 0.8
        top, left = (page.shape[0] - size) // 2, (page.shape[1] - size) // 2
        part = page[top : top + size, left : left + size]
        part += (self.ink - part) * self.digit[..., None]
        case = self.frame_px
        page = page.clip(0, 255).astype(np.uint8)
        page = cv2.copyMakeBorder(page, case, case, case, case, cv2.BORDER_CONSTANT, value=(18, 18, 20))
        return np.asarray(page, np.uint8)

    @cached_property
    def _shade(self) -> NDArray[np.float32]:
        y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
        shade = 1 - self.light[0] * x / WIDTH - self.light[1] * y / HEIGHT
        return np.repeat(shade[..., None], 3, 2).astype(np.float32)

    @cached_property
    def _noise(self) -> NDArray[np.float32]:
        random = np.random.default_rng(self.seed)
        return random.standard_normal((HEIGHT + 64, WIDTH + 64, 3), np.float32) * np.float32(self.noise)


@dataclass(frozen=True)
class Clip:
    """Scenes one after the other, each shown for `seconds`, and the digit of each."""

    scenes: tuple[Scene, ...]
    labels: tuple[int, ...]
    seconds: float = 5.0
    kind: str = ""

    def frames(self) -> Iterator[tuple[int, Picture, int]]:
        """(time in microseconds, picture, label) at RATE_HZ."""
        each = round(self.seconds * RATE_HZ)
        for n in range(each * len(self.scenes)):
            t_s = (n + 1) / RATE_HZ
            yield round(t_s * 1e6), self.scenes[n // each].frame(t_s), self.labels[n // each]


def pen(image: NDArray[np.uint8], size: int, thin: float = 1.0) -> NDArray[np.float32]:
    """A written digit, uint8 [28, 28], as ink of `size` pixels with the edge of a pen."""
    big = cv2.resize(image.astype(np.float32) / 255, (size, size), interpolation=cv2.INTER_CUBIC)
    if thin < 1:
        solid = (big > 0.5).astype(np.uint8)
        inside = cv2.distanceTransform(solid, cv2.DIST_L2, 5)
        ridge = inside >= cv2.dilate(inside, np.ones((3, 3))) * 0.98
        line = cv2.dilate((ridge & (inside > 1)).astype(np.uint8), np.ones((max(2, int(size * 0.02)),) * 2, np.uint8))
        big = cv2.GaussianBlur(line.astype(np.float32), (0, 0), 1)
    return (1 / (1 + np.exp(-(big - 0.5) * 14))).astype(np.float32)


def printed(label: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """A digit of a font, uint8 [28, 28]."""
    image = np.zeros((280, 280), np.uint8)
    font = FONTS[int(random.integers(len(FONTS)))]
    (width, height), _ = cv2.getTextSize(str(label), font, 8, 18)
    cv2.putText(image, str(label), (140 - width // 2, 140 + height // 2), font, 8, 255, 18, cv2.LINE_AA)
    return np.asarray(cv2.resize(image, (28, 28), interpolation=cv2.INTER_AREA), np.uint8)


def scene_of(digit: NDArray[np.uint8], photos: list[Path], kind: str, random: np.random.Generator, seed: int) -> Scene:
    """One scene of a kind: "plain", "tidy" or one of HARDER; the desk from a photograph, all else drawn."""
    size = int(random.integers(190, 340))
    ink = random.uniform(15, 70, 3)
    if kind == "coloured ink":
        ink = np.array([[20.0, 40.0, 175.0], [170.0, 30.0, 30.0], [20.0, 110.0, 50.0]])[random.integers(3)]
    photo = cv2.imread(str(photos[int(random.integers(len(photos)))]), cv2.IMREAD_COLOR_RGB)
    assert photo is not None
    desk = cv2.GaussianBlur(cv2.resize(photo, (WIDTH, HEIGHT)), (0, 0), 2).astype(np.float32) * random.uniform(0.4, 0.8)
    half = size / 2 * random.uniform(1.25, 1.9), size / 2 * random.uniform(1.2, 1.7)
    paper = np.full(3, random.uniform(200, 245), np.float32)
    light = (random.uniform(0, 0.4), random.uniform(0, 0.25))
    shake, noise, angle = random.uniform(3, 20), random.uniform(2, 7), random.uniform(-12, 12)
    case = 0
    if kind == "tidy":
        half, light, shake, noise, angle = (420, 320), (0.05, 0.05), random.uniform(3, 8), 2.0, random.uniform(-5, 5)
    elif kind == "whiteboard":
        half, ink = (440, 340), np.array([[25.0, 35.0, 140.0], [150.0, 30.0, 35.0], [30, 30, 30]])[random.integers(3)]
    elif kind == "screen":  # half of them light on dark
        case, light = 14, (random.uniform(0, 0.1), random.uniform(0, 0.1))
        if random.random() < 0.5:
            ink, paper = np.full(3, 235.0), np.full(3, random.uniform(25, 50), np.float32)
    return Scene(
        pen(digit, size, 0.4 if kind == "thin pen" else 1.0),
        desk.clip(0, 255).astype(np.uint8),
        ink.astype(np.float32),
        paper,
        (max(half[0], size / 2 + 4), max(half[1], size / 2 + 4)),
        angle,
        light,
        shake,
        noise,
        lines=float(random.uniform(24, 40)) if kind in ("ruled", "squared") else 0.0,
        squared=kind == "squared",
        fingers=3 if kind == "fingers" else 0,
        tilt=random.uniform(0.4, 0.8) if kind == "tilted" else 0.0,
        frame_px=case,
        flicker=random.uniform(0, 0.03),
        seed=seed,
    )


def clips(
    digits: NDArray[np.uint8], labels: NDArray[np.integer], photos: list[Path], seed: int, count: int, kind: Kind
) -> Iterator[Clip]:
    """`count` clips of digits drawn from uint8 [N, 28, 28] and their labels; of 20, three show a font's digit."""
    order = np.random.default_rng(seed).permutation(len(digits))
    for n in range(count):
        random = np.random.default_rng((seed, n))
        style = HARDER[n % len(HARDER)] if kind == "harder" else kind
        shown, names = [], []
        for k in range(2 if style == "two scenes" else 1):
            index = int(order[n + k * count])
            label = int(labels[index])
            digit = printed(label, random) if n % 20 in (6, 12, 18) else digits[index]
            shown.append(scene_of(digit, photos, style, random, (seed * 1000 + n) * 2 + k))
            names.append(label)
        yield Clip(tuple(shown), tuple(names), 2.5 if style == "two scenes" else 5.0, style)
