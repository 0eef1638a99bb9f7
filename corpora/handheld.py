"""Draw digits on sheets of paper that a never quite still hand holds before an event camera.

Sheet, desk, light from one side, flicker, printed lines, fingers, pens of any width, light on dark, and frame noise:
grey frames for the pixel model (`pixels`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import SensorSize

RATE_HZ = 30
Grey = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """How one sheet is held and lit. Lengths are relative to the picture's height."""

    page: Grey  # [H, W], the sheet with the drawing in the middle
    size: int  # pixels a side that the drawing was scaled to
    desk: Grey  # background, of the sensor's size
    shake: float  # amplitude of the hand's sway; 0: nothing moves
    angle: float  # degrees
    tilt: float  # perspective, 0 for none
    fall: tuple[float, float]  # loss of light to the right and downwards
    flicker: float  # amplitude, as a share of the light
    noise: float  # standard deviation of the frames in grey values
    fingers: int
    phase: tuple[float, ...]  # phases of sway, tremor, turn and lamp


def draw_sheet(digit: Grey, sensor: SensorSize, random: np.random.Generator) -> Sheet:
    """Return a sheet with a digit, uint8 [28, 28] (light on dark); everything else is drawn from `random`."""
    height, width = sensor.height, sensor.width
    size = round(height * random.uniform(0.35, 0.75))
    ink = _pen(digit, size, random)
    half = [size / 2 * random.uniform(1.2, 2.4), size / 2 * random.uniform(1.2, 2.0)]
    tone, paper = random.uniform(10, 110), random.uniform(170, 250)
    if random.random() < 0.15:
        tone, paper = paper, random.uniform(20, 60)
    page = np.full((int(2 * half[1]), int(2 * half[0])), paper, np.float32)
    if random.random() < 0.3:
        step, print_ = max(4, round(height * random.uniform(0.04, 0.1))), paper * random.uniform(0.5, 0.9)
        page[step::step] = print_
        if random.random() < 0.5:
            page[:, step::step] = print_
    top, left = (page.shape[0] - size) // 2, (page.shape[1] - size) // 2
    part = page[top : top + size, left : left + size]
    part += (tone - part) * ink
    if random.random() < 0.15:
        case = round(height * 0.03)
        page = cv2.copyMakeBorder(page, case, case, case, case, cv2.BORDER_CONSTANT, value=20)
    return Sheet(
        page=page.clip(0, 255).astype(np.uint8),
        size=size,
        desk=texture((height, width), random),
        shake=random.uniform(0.004, 0.045),
        angle=random.uniform(-14, 14),
        tilt=random.uniform(-0.8, 0.8) if random.random() < 0.3 else 0.0,
        fall=(random.uniform(-0.4, 0.4), random.uniform(-0.25, 0.25)),
        flicker=random.uniform(0, 0.03),
        noise=random.uniform(1, 7),
        fingers=int(random.integers(1, 4)) if random.random() < 0.2 else 0,
        phase=tuple(random.uniform(0, 2 * np.pi, 6)),
    )


def frames(sheet: Sheet, seconds: float, random: np.random.Generator) -> Iterator[tuple[int, Grey]]:
    """Yield (time in microseconds, uint8 [H, W]) at RATE_HZ."""
    height, width = sheet.desk.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    shade = 1 - np.abs(sheet.fall[0]) * (x / width if sheet.fall[0] > 0 else 1 - x / width)
    shade -= np.abs(sheet.fall[1]) * (y / height if sheet.fall[1] > 0 else 1 - y / height)
    noise = random.standard_normal((height + 32, width + 32), np.float32) * np.float32(sheet.noise)
    extent = np.array([sheet.page.shape[1], sheet.page.shape[0]], np.float32)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * extent
    for n in range(round(seconds * RATE_HZ)):
        t_s = (n + 1) / RATE_HZ
        sway = [np.sin(2 * np.pi * f * t_s + p) for f, p in zip((0.7, 0.9, 3.1, 2.7, 0.5), sheet.phase)]
        shift = np.array([sway[0] + 0.4 * sway[2], sway[1] + 0.4 * sway[3]]) * sheet.shake * height
        turn = np.deg2rad(sheet.angle + 2 * sway[4] * (sheet.shake > 0))
        middle = (corners - extent / 2) @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        middle[:, 0] *= 1 - sheet.tilt * middle[:, 1] / height
        target = (middle + np.array([width / 2, height / 2]) + shift).astype(np.float32)
        picture = sheet.desk.copy()
        matrix = cv2.getPerspectiveTransform(corners, target)
        cv2.warpPerspective(
            sheet.page, matrix, (width, height), dst=picture, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT
        )
        for k in range(sheet.fingers):
            at = target[3] + (target[2] - target[3]) * (0.15 + 0.1 * k)
            axes = (round(height * 0.046), round(height * 0.125))
            cv2.ellipse(picture, (int(at[0]), int(at[1])), axes, float(-20 + 10 * k), 0, 360, 165, -1)
        picture = cv2.GaussianBlur(picture, (0, 0), max(0.6, height / 480))
        bright = np.float32(1 + sheet.flicker * np.sin(2 * np.pi * 100.3 * t_s + sheet.phase[5]))
        top, left = random.integers(0, 32, 2)
        added = noise[top : top + height, left : left + width]
        lit = cv2.multiply(picture, shade * bright, dtype=cv2.CV_32F)
        yield round(t_s * 1e6), np.asarray(cv2.add(lit, added, dtype=cv2.CV_8U), np.uint8)


def texture(shape: tuple[int, int], random: np.random.Generator) -> Grey:
    """Return a background for a sheet, uint8 [H, W]: clouds of all sizes, with objects of even tones on them."""
    height, width = shape
    clouds = np.zeros(shape, np.float32)
    for cells in (3, 8, 24, 80):
        coarse = random.standard_normal((max(2, cells * height // width), cells), np.float32)
        clouds += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(random.uniform(5, 25))
    desk = clouds + np.float32(random.uniform(20, 150))
    for _ in range(int(random.integers(0, 12))):
        at = (int(random.integers(0, width)), int(random.integers(0, height)))
        axes = (int(random.integers(3, width // 4)), int(random.integers(3, height // 4)))
        tone, angle = random.uniform(5, 220), random.uniform(0, 180)
        if random.random() < 0.5:
            cv2.ellipse(desk, at, axes, angle, 0, 360, tone, -1)
        else:
            box = cv2.boxPoints((at, axes, angle)).astype(np.int32)
            cv2.fillPoly(desk, [box], tone)
    return cv2.GaussianBlur(desk, (0, 0), height / 240).clip(0, 255).astype(np.uint8)


def _pen(digit: Grey, size: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Return ink float32 [size, size], 0 to 1; the pen's width is between thin and MNIST's."""
    big = cv2.resize(digit.astype(np.float32) / 255, (size, size), interpolation=cv2.INTER_CUBIC)
    if random.random() < 0.3:
        inside = cv2.distanceTransform((big > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
        ridge = (inside >= cv2.dilate(inside, np.ones((3, 3))) * 0.98) & (inside > 1)
        width = max(2, int(size * random.uniform(0.015, 0.05)))
        big = cv2.GaussianBlur(cv2.dilate(ridge.astype(np.float32), np.ones((width, width))), (0, 0), 1)
    return (1 / (1 + np.exp(-(big - 0.5) * 14))).astype(np.float32)
