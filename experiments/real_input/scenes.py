"""Draw films of a digit on paper or on another thing, as people hold it before a camera, from public data."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
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
Kind = Literal["plain", "harder", "tidy", "things"]
HARDER = ("ruled", "squared", "thin pen", "coloured ink", "fingers", "tilted", "whiteboard", "screen", "two scenes")
THINGS = ("phone", "chalk", "thick paint", "mug", "7-segment", "plate")
FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX)


@dataclass(frozen=True)
class Scene:
    """A sheet with a digit, held over a desk; `frame` draws it at a given time."""

    digit: NDArray[np.float32]  # [H, W], 0 paper to 1 ink
    desk: Picture
    ink: NDArray[np.float32]  # RGB
    sheet: NDArray[np.float32]  # RGB of the paper
    half: tuple[float, float]  # of the sheet, in pixels
    angle: float  # degrees
    light: tuple[float, float]  # shares by which the light falls off to the right and downwards
    shake: float  # pixels
    noise: float  # standard deviation in grey values
    lines: float = 0.0  # distance of printed lines, 0 for none
    squared: bool = False
    fingers: int = 0
    tilt: float = 0.0
    frame_px: int = 0  # width of a screen's dark frame
    flicker: float = 0.0  # amplitude of a 100 Hz lamp's flicker, as a share of the light
    seed: int = 0

    def frame(self, t_s: float) -> Picture:
        """Draw the picture at time `t_s`: the hand sways and trembles, and the sensor adds noise."""
        phase = np.random.default_rng(self.seed).uniform(0, 2 * np.pi, 7)
        matrix, target = self.place(t_s)
        picture = self.desk.copy()
        cv2.warpPerspective(
            self._page, matrix, (WIDTH, HEIGHT), dst=picture, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT
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

    def place(self, t_s: float) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Return the sheet's place at time `t_s`: the matrix [3, 3] from sheet to picture pixels, and its corners."""
        phase = np.random.default_rng(self.seed).uniform(0, 2 * np.pi, 7)
        sway = [np.sin(2 * np.pi * f * t_s + p) for f, p in zip((0.7, 0.9, 3.1, 2.7, 0.5), phase)]
        shift = np.array([sway[0] + 0.4 * sway[2], sway[1] + 0.4 * sway[3]]) * self.shake
        turn = np.deg2rad(self.angle + 2 * sway[4])
        extent = np.array([self._page.shape[1], self._page.shape[0]], np.float32)
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * extent
        middle = (corners - extent / 2) @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        middle[:, 0] *= 1 - self.tilt * middle[:, 1] / HEIGHT
        target = (middle + np.array([WIDTH / 2, HEIGHT / 2]) + shift).astype(np.float32)
        return cv2.getPerspectiveTransform(corners, target).astype(np.float64), target

    @property
    def corner(self) -> NDArray[np.int64]:
        """Upper left corner (x, y) of the digit on the sheet, including the frame."""
        height, width = self._page.shape[:2]
        return np.array([(width - self.digit.shape[0]) // 2, (height - self.digit.shape[0]) // 2])

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
    """A film of scenes one after the other, each for `seconds`, with the digit of each."""

    scenes: tuple[Scene, ...]
    labels: tuple[int, ...]
    seconds: float = 5.0
    kind: str = ""

    def frames(self) -> Iterator[tuple[int, Picture, int]]:
        """Yield (time in microseconds, picture, label) at RATE_HZ."""
        each = round(self.seconds * RATE_HZ)
        for n in range(each * len(self.scenes)):
            t_s = (n + 1) / RATE_HZ
            yield round(t_s * 1e6), self.scenes[n // each].frame(t_s), self.labels[n // each]


def pen(image: NDArray[np.uint8], size: int, thin: float = 1.0) -> NDArray[np.float32]:
    """Enlarge a written digit, uint8 [28, 28], to ink [size, size] with a pen's edge; `thin` < 1: a thin line."""
    big = cv2.resize(image.astype(np.float32) / 255, (size, size), interpolation=cv2.INTER_CUBIC)
    if thin < 1:
        solid = (big > 0.5).astype(np.uint8)
        inside = cv2.distanceTransform(solid, cv2.DIST_L2, 5)
        ridge = inside >= cv2.dilate(inside, np.ones((3, 3))) * 0.98
        line = cv2.dilate((ridge & (inside > 1)).astype(np.uint8), np.ones((max(2, int(size * 0.02)),) * 2, np.uint8))
        big = cv2.GaussianBlur(line.astype(np.float32), (0, 0), 1)
    return (1 / (1 + np.exp(-(big - 0.5) * 14))).astype(np.float32)


def printed(label: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a digit in a font of OpenCV, uint8 [28, 28]."""
    image = np.zeros((280, 280), np.uint8)
    font = FONTS[int(random.integers(len(FONTS)))]
    (width, height), _ = cv2.getTextSize(str(label), font, 8, 18)
    cv2.putText(image, str(label), (140 - width // 2, 140 + height // 2), font, 8, 255, 18, cv2.LINE_AA)
    return np.asarray(cv2.resize(image, (28, 28), interpolation=cv2.INTER_AREA), np.uint8)


def scene_of(digit: NDArray[np.uint8], photos: list[Path], kind: str, random: np.random.Generator, seed: int) -> Scene:
    """Make a random scene of a kind: "plain", "tidy" or one of HARDER; the desk is a photograph."""
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
    """Yield `count` clips of random digits of uint8 [N, 28, 28] and their labels; 3 of 20 show a printed digit."""
    order = np.random.default_rng(seed).permutation(len(digits))
    for n in range(count):
        random = np.random.default_rng((seed, n))
        style = {"harder": HARDER[n % len(HARDER)], "things": THINGS[n % len(THINGS)]}.get(kind, kind)
        shown, names = [], []
        for k in range(2 if style == "two scenes" else 1):
            index = int(order[n + k * count])
            label = int(labels[index])
            digit = printed(label, random) if n % 20 in (6, 12, 18) else digits[index]
            number = (seed * 1000 + n) * 2 + k
            scene = scene_of(digit, photos, style, random, number)
            shown.append(thing_of(scene, label, style, random) if kind == "things" else scene)
            names.append(label)
        yield Clip(tuple(shown), tuple(names), 2.5 if style == "two scenes" else 5.0, style)


SEGMENTS = {  # end points of a display's segments on a grid of 2 x 4
    "a": ((0, 0), (2, 0)), "b": ((2, 0), (2, 2)), "c": ((2, 2), (2, 4)), "d": ((0, 4), (2, 4)),
    "e": ((0, 2), (0, 4)), "f": ((0, 0), (0, 2)), "g": ((0, 2), (2, 2)),
}  # fmt: skip
LIT = ("abcdef", "bc", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc", "abcdefg", "abcdfg")


def segments(label: int, size: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Draw a digit of a seven-segment display, [size, size]."""
    image, unit, thick = np.zeros((size, size), np.float32), size / 6, max(3, round(size * random.uniform(0.05, 0.09)))
    slant, gap = random.uniform(0, 0.15), 0.12
    for name in LIT[label]:
        (x1, y1), (x2, y2) = SEGMENTS[name]
        ends = list[tuple[int, int]]()
        for x, y, ox, oy in ((x1, y1, x2, y2), (x2, y2, x1, y1)):
            x, y = x + gap * np.sign(ox - x), y + gap * np.sign(oy - y)
            ends.append((round(size / 2 + (x - 1 + slant * (2 - y)) * unit), round(size / 2 + (y - 2) * unit)))
        cv2.line(image, ends[0], ends[1], 1.0, thick, cv2.LINE_AA)
    return image


def thing_of(scene: Scene, label: int, style: str, random: np.random.Generator) -> Scene:
    """Return the scene with its digit on one of THINGS instead of a sheet. Raises ValueError for another `style`."""
    size, digit = scene.digit.shape[0], scene.digit
    grey = lambda low, high: np.full(3, random.uniform(low, high), np.float32)  # noqa: E731
    narrow, dim = (size * 0.62, size * 0.85), (random.uniform(0, 0.1), random.uniform(0, 0.1))
    if style == "phone":
        return replace(scene, ink=grey(215, 250), sheet=grey(8, 32), half=narrow, frame_px=10, light=dim)
    if style == "chalk":
        grain = cv2.GaussianBlur(random.random(digit.shape, np.float32), (0, 0), 1.2)
        board = np.array([[35, 62, 48], [40, 42, 45]], np.float32)[random.integers(2)]
        worn = digit * (0.55 + 0.9 * (grain > grain.mean())).clip(0, 1)
        return replace(scene, digit=worn.astype(np.float32), ink=grey(205, 240), sheet=board, half=(440, 340))
    if style == "thick paint":
        brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (max(3, round(size * random.uniform(0.04, 0.07))),) * 2)
        colour = np.array([[190, 30, 35], [25, 60, 160], [20, 20, 22]], np.float32)[random.integers(3)]
        return replace(scene, digit=cv2.dilate(digit, brush).astype(np.float32), ink=colour)
    if style == "mug":
        across = (np.arange(size, dtype=np.float32) - size / 2) / (size * 0.62)  # of the mug's radius
        source = np.arcsin(across.clip(-1, 1)) * size * 0.62 + size / 2
        x, y = np.meshgrid(source.astype(np.float32), np.arange(size, dtype=np.float32))
        round_ = cv2.remap(digit, x, y, cv2.INTER_LINEAR)
        cup = np.array([[238, 236, 230], [225, 205, 120], [120, 190, 200]], np.float32)[random.integers(3)]
        return replace(scene, digit=np.asarray(round_, np.float32), sheet=cup, half=(size * 0.62, size * 0.7))
    if style == "7-segment":
        lit = np.array([[235, 40, 35], [60, 235, 90], [120, 200, 250]], np.float32)[random.integers(3)]
        shown = segments(label, size, random)
        if random.random() < 0.3:  # liquid crystal
            return replace(scene, digit=shown, ink=grey(25, 45), sheet=grey(140, 170), half=narrow, frame_px=12)
        return replace(scene, digit=shown, ink=lit, sheet=grey(6, 22), half=narrow, frame_px=12, light=dim)
    if style != "plate":
        raise ValueError(f"there is no thing called {style}")
    bold = printed(label, random)
    white = random.random() < 0.4
    ink, sheet = (grey(225, 245), np.array([30, 50, 120], np.float32)) if white else (grey(15, 40), grey(215, 245))
    return replace(scene, digit=pen(bold, size), ink=ink, sheet=sheet, half=narrow, frame_px=5)
