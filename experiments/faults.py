"""Corruptions of recordings, as they occur before and in an event camera: a suite to measure robustness.

After ImageNet-C (Hendrycks and Dietterich 2019), as DVS-Gesture-C does for events: every row of the suite is one fault
at one strength, and none is for training. A fault maps (EVENTS sorted by time, sensor, generator) to events sorted by
time from the same sensor; events moved off the sensor are dropped.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpora.noise import with_more, with_noise
from spikesight.encoders.events import Events, SensorSize

Random = np.random.Generator
Fault = Callable[[Events, SensorSize, Random], Events]
NO_PLACES = np.empty(0, np.intp)
SIDE = 34  # pixels: movements are for a sensor with this shorter side, and are scaled for others


class Corruption(NamedTuple):
    """One row of the suite."""

    name: str
    strength: str  # with unit
    fault: Fault


def placed(events: Events, x: NDArray, y: NDArray, sensor: SensorSize) -> Events:
    """Move events to coordinates x, y, which are rounded; events off the sensor are dropped."""
    x, y = np.floor(x + 0.5), np.floor(y + 0.5)
    inside = (x >= 0) & (x < sensor.width) & (y >= 0) & (y < sensor.height)
    moved = events[inside].copy()
    moved["x"], moved["y"] = x[inside], y[inside]
    return moved


def threshold(events: Events, sensor: SensorSize, random: Random, times: int) -> Events:
    """Raise the contrast threshold `times`-fold: a pixel fires when its events of one sign outweigh by that number."""
    level = random.integers(1 - times, times, (sensor.height, sensor.width)).tolist()
    keep = np.zeros(len(events), bool)
    for n, (_, x, y, p) in enumerate(events.tolist()):
        level[y][x] += 1 if p else -1
        keep[n] = level[y][x] == (times if p else -times)
        level[y][x] *= not keep[n]
    return events[keep]


def noise(events: Events, sensor: SensorSize, random: Random, hz: float = 0.0, hot: float = 0.0) -> Events:
    """Add noise events of every pixel at `hz`, and a share `hot` of pixels that fire all the time."""
    return with_noise(events, sensor, hz, hot, random=random)


def flicker(events: Events, sensor: SensorSize, random: Random, hz: float, share: float) -> Events:
    """Add light flicker from mains of `hz`: twice a period the light rises and falls, and each time every pixel fires
    with probability `share`, within a millisecond.
    """
    if not len(events):
        return events
    pixels = sensor.width * sensor.height
    turns = np.arange(float(events["t"][0]), float(events["t"][-1]), 1e6 / (4 * hz))  # rise, fall, rise, fall
    places = [np.flatnonzero(random.random(pixels) < share) for _ in turns]  # all at once would take gigabytes
    number, place = np.repeat(np.arange(len(turns)), [*map(len, places)]), np.concatenate([NO_PLACES, *places])
    t = turns[number] + random.uniform(0, 1000, len(number))
    return with_more(events, t.astype(np.int64), place, number % 2 == 0, sensor)


def dropped(events: Events, sensor: SensorSize, random: Random, share: float) -> Events:  # noqa: ARG001
    """Drop packets of 5 ms, each with probability `share`."""
    number = (events["t"] - events["t"][:1]) // 5000
    lost = random.random(int(number.max(initial=0)) + 1) < share
    return events[~lost[number]]


def shake(events: Events, sensor: SensorSize, random: Random, pixels: float) -> Events:
    """Shake the camera at 8 and 11 Hz by `pixels` to each side."""
    reach = pixels * min(sensor.width, sensor.height) / SIDE
    angle = 2e-6 * np.pi * np.outer([8.0, 11.0], events["t"]) + random.uniform(0, 2 * np.pi, (2, 1))
    x, y = reach * np.sin(angle)
    return placed(events, events["x"] + x, events["y"] + y, sensor)


def speed(events: Events, sensor: SensorSize, random: Random, times: float) -> Events:  # noqa: ARG001
    """Play the recording `times` times as fast."""
    faster, begin = events.copy(), events["t"][:1]
    faster["t"] = begin + ((events["t"] - begin) / times).astype(np.int64)
    return faster


def turned(events: Events, sensor: SensorSize, random: Random, times: float = 1.0, degrees: float = 0.0) -> Events:
    """Scale by `times` and rotate by `degrees` about the sensor's middle, to a random side.

    A pixel becomes a square: when growing, an event becomes several; when shrinking, some are dropped.
    """
    copies = np.floor(times**2 + random.random(len(events))).astype(int)
    events = np.repeat(events, copies)
    middle = (sensor.width - 1) / 2, (sensor.height - 1) / 2
    x, y = (events[axis] - half + random.uniform(-0.5, 0.5, len(events)) for axis, half in zip("xy", middle))
    angle = np.deg2rad(degrees) * (1 if random.random() < 0.5 else -1)
    cos, sin = times * np.cos(angle), times * np.sin(angle)
    return placed(events, cos * x - sin * y + middle[0], sin * x + cos * y + middle[1], sensor)


def covered(events: Events, sensor: SensorSize, random: Random, pixels: float) -> Events:
    """Cover a square with sides of `pixels` at a random place."""
    side = round(pixels * min(sensor.width, sensor.height) / SIDE)
    left, top = (int(random.integers(0, whole - side + 1)) for whole in (sensor.width, sensor.height))
    x, y = events["x"], events["y"]
    return events[(x < left) | (x >= left + side) | (y < top) | (y >= top + side)]


def mirrored(events: Events, sensor: SensorSize, random: Random) -> Events:  # noqa: ARG001
    """Swap left and right, as in a mirror or a webcam's selfie view. It is not in the suite, since mirroring may change
    the class.
    """
    return placed(events, sensor.width - 1 - events["x"].astype(float), events["y"], sensor)


def light_step(events: Events, sensor: SensorSize, random: Random, share: float) -> Events:
    """Switch the light on or off once: a `share` of the pixels fires within 5 ms."""
    if not len(events):
        return events
    place = np.flatnonzero(random.random(sensor.width * sensor.height) < share)
    begin = random.integers(int(events["t"][0]), int(events["t"][-1]) + 1)
    t = begin + random.integers(0, 5000, len(place))
    return with_more(events, t, place, np.full(len(place), random.random() < 0.5), sensor)


SUITE: tuple[Corruption, ...] = (
    *(Corruption("threshold", f"{n} times", partial(threshold, times=n)) for n in (2, 3)),
    *(Corruption("noise", f"{hz} Hz a pixel", partial(noise, hz=hz)) for hz in (1, 5, 10, 20)),
    *(Corruption("hot pixels", f"{share:.1%}", partial(noise, hot=share)) for share in (0.005, 0.01, 0.03)),
    *(
        Corruption("flicker", f"{hz} Hz, {share:.0%} of pixels", partial(flicker, hz=hz, share=share))
        for hz in (50, 60)
        for share in (0.02, 0.05)
    ),
    *(Corruption("dropped packets", f"{share:.0%}", partial(dropped, share=share)) for share in (0.1, 0.3)),
    *(Corruption("shake", f"{n} px of {SIDE}", partial(shake, pixels=n)) for n in (1, 2)),
    *(Corruption("speed", f"{n:g} times", partial(speed, times=n)) for n in (0.5, 2.0, 4.0)),
    *(Corruption("scale", f"{n:g} times", partial(turned, times=n)) for n in (0.8, 1.2)),
    *(Corruption("rotation", f"{n} degrees", partial(turned, degrees=n)) for n in (10, 20, 30)),
    *(Corruption("covered square", f"{n} px of {SIDE}", partial(covered, pixels=n)) for n in (10,)),
    *(Corruption("light step", f"{share:.0%} of pixels", partial(light_step, share=share)) for share in (0.2, 0.8)),
)
"""All faults at all strengths: 28 rows."""
