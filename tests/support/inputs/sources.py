"""A scripted driver of a source, and the packets it gives."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.sources.address import SourceEnded
from tests.support.waiting import PATIENCE_S

SENSOR = SensorSize(34, 30)


def packet(first_us: int, n: int = 10, x: int = 1) -> Events:
    """n events of one pixel, a microsecond apart."""
    return make_events(first_us + np.arange(n), np.full(n, x), np.full(n, 2), np.ones(n))


def packets(n: int = 20, each: int = 10) -> list[Events]:
    """n packets of `each` events, one a millisecond, on 40x30 pixels."""
    t = 500_000 + np.arange(n * each) * 1000
    events = make_events(t, np.arange(n * each) % 40, np.arange(n * each) % 30, np.arange(n * each) % 2)
    return [events[k * each : (k + 1) * each] for k in range(n)]


def read_to(n: int, read: Callable[[float], Events | None]) -> Events:
    """At least n events, however many reads they take."""
    found: list[Events] = []
    while sum(map(len, found)) < n:
        part = read(PATIENCE_S)
        assert part is not None
        found.append(part)
    return np.concatenate(found)


class Script:
    """A driver that plays a script: packets, None (nothing yet), or exceptions to raise."""

    def __init__(self, steps: list[Any], size: SensorSize = SENSOR) -> None:
        self.steps, self.size, self.closed = list(steps), size, 0

    def read(self, timeout_s: float) -> Events | None:
        if not self.steps:
            raise SourceEnded
        step = self.steps.pop(0)
        if isinstance(step, BaseException):
            raise step
        if step is None:
            time.sleep(min(timeout_s, 0.001))
        return step

    def close(self) -> None:
        self.closed += 1
