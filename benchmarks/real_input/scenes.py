"""A digit on paper as people hold it before a camera, one picture at a time, drawn from data that users can get."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 640, 480
Picture = NDArray[np.uint8]  # [H, W, 3], RGB
PRINT = np.array([120, 150, 200], np.float32)  # of a sheet's lines
HARDER = ("ruled", "squared", "thin pen", "coloured ink", "fingers", "tilted")


@dataclass(frozen=True)
class Scene:
    """One sheet with one digit on one desk; `frame` shows it at a time."""

    digit: NDArray[np.float32]  # [H, W], 0 paper to 1 ink
    desk: NDArray[np.float32]  # [H, W, 3], 0 to 255
    ink: NDArray[np.float32]  # RGB
    sheet: float  # brightness, 0 to 255
    half: tuple[float, float]  # of the sheet, in pixels
    angle: float  # degrees
    light: tuple[float, float]  # falls off to the right and down by these shares
    shake: float  # pixels
    noise: float  # standard deviation in grey values
    lines: float = 0.0  # distance of printed lines, 0 for none
    squared: bool = False
    fingers: int = 0
    tilt: float = 0.0
    seed: int = 0

    def frame(self, t_s: float) -> Picture:
        """The picture at a time; the hand sways and trembles, the sensor adds noise of its own each time."""
        size = self.digit.shape[0]
        x0, y0 = WIDTH / 2 - self.half[0], HEIGHT / 2 - self.half[1]
        sheet = np.full((int(2 * self.half[1]), int(2 * self.half[0]), 3), self.sheet, np.float32)
        if self.lines:
            step = round(self.lines)
            sheet[step::step] = sheet[step::step] * 0.2 + PRINT * 0.8
            if self.squared:
                sheet[:, step::step] = sheet[:, step::step] * 0.2 + PRINT * 0.8
        top, left = (sheet.shape[0] - size) // 2, (sheet.shape[1] - size) // 2
        part = sheet[top : top + size, left : left + size]
        part += (self.ink - part) * self.digit[..., None]
        phase = np.random.default_rng(self.seed).uniform(0, 2 * np.pi, 6)
        sway = [np.sin(2 * np.pi * f * t_s + p) for f, p in zip((0.7, 0.9, 3.1, 2.7, 0.5, 7.0), phase)]
        shift = np.array([sway[0] + 0.4 * sway[2], sway[1] + 0.4 * sway[3]]) * self.shake
        turn = np.deg2rad(self.angle + 2 * sway[4])
        extent = np.array([sheet.shape[1], sheet.shape[0]], np.float32)
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * extent
        middle = corners - extent / 2
        middle = middle @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        middle[:, 0] *= 1 - self.tilt * middle[:, 1] / HEIGHT
        target = (middle + np.array([x0 + self.half[0], y0 + self.half[1]]) + shift).astype(np.float32)
        matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), target)
        paper = cv2.warpPerspective(sheet, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_AREA)
        mask = cv2.warpPerspective(np.ones(sheet.shape[:2], np.float32), matrix, (WIDTH, HEIGHT))[..., None]
        picture = self.desk * (1 - mask) + paper * mask
        for n in range(self.fingers):
            at = target[3] + (target[2] - target[3]) * (0.15 + 0.1 * n)
            cv2.ellipse(picture, (*map(int, at),), (22, 60), float(-20 + 10 * n), 0, 360, (214, 160, 132), -1)
        y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
        picture *= (1 - self.light[0] * x / WIDTH - self.light[1] * y / HEIGHT)[..., None]
        picture = cv2.GaussianBlur(picture, (0, 0), 1.0)
        random = np.random.default_rng((self.seed, round(t_s * 1e4)))
        picture += random.normal(0, self.noise, picture.shape)
        return picture.clip(0, 255).astype(np.uint8)


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


def scenes(digits: NDArray[np.uint8], photos: list[Path], seed: int, *, harder: bool = False) -> Iterator[Scene]:
    """One scene a digit (uint8 [N, 28, 28]); desks from photographs, all else drawn from the seed."""
    for n, digit in enumerate(digits):
        random = np.random.default_rng((seed, n))
        kind = HARDER[n % len(HARDER)] if harder else ""
        size = int(random.integers(190, 340))
        colour = (
            random.uniform(15, 70, 3) if kind != "coloured ink" else np.array([20.0, 40.0, random.uniform(150, 200)])
        )
        photo = cv2.imread(str(photos[int(random.integers(len(photos)))]), cv2.IMREAD_COLOR_RGB)
        assert photo is not None
        desk = cv2.GaussianBlur(cv2.resize(photo, (WIDTH, HEIGHT)), (0, 0), 2).astype(np.float32)
        half = size / 2 * random.uniform(1.25, 1.9), size / 2 * random.uniform(1.2, 1.7)
        yield Scene(
            pen(digit, size, 0.4 if kind == "thin pen" else 1.0),
            desk * random.uniform(0.4, 0.8),
            colour.astype(np.float32),
            random.uniform(200, 245),
            (max(half[0], size / 2 + 4), max(half[1], size / 2 + 4)),
            random.uniform(-12, 12),
            (random.uniform(0, 0.4), random.uniform(0, 0.25)),
            random.uniform(3, 20),
            random.uniform(2, 7),
            lines=float(random.uniform(24, 40)) if kind in ("ruled", "squared") else 0.0,
            squared=kind == "squared",
            fingers=3 if kind == "fingers" else 0,
            tilt=random.uniform(0.4, 0.8) if kind == "tilted" else 0.0,
            seed=seed * 1000 + n,
        )
