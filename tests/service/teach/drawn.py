"""A line that sways before a camera, and a model that was taught to tell lying ones from standing ones."""

import math
import time
from pathlib import Path

import numpy as np

from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.sources.address import Address
from spikesight.encoders.sources.source import Source
from spikesight.models.teach.few_shot import Example, FewShotLearner
from spikesight.service.teach.saving import write
from spikesight.service.teach.windows import BIN_US, STEPS
from tests.support.models import tiny

SENSOR = SensorSize(64, 48)
WINDOW_US = STEPS * BIN_US
LYING, ASLANT, STANDING = 0.0, math.pi / 4, math.pi / 2


def swaying(angle: float, seed: int, windows: int, more_us: int = 0) -> Events:
    """Events of a line at an angle, for so many windows."""
    random, count = np.random.default_rng([seed, windows]), 2000 * windows
    t = np.sort(random.integers(0, windows * WINDOW_US + more_us, count))
    along, thin, sway = random.uniform(-12, 12, count), random.normal(0, 0.8, count), 6 * np.sin(t / 2e5 + seed)
    x = 32 + math.cos(angle) * along - math.sin(angle) * thin + sway
    y = 24 + math.sin(angle) * along + math.cos(angle) * thin + sway / 2
    return make_events(t, x.astype(int), y.astype(int), random.random(count) < 0.5)


def taught_folder(folder: Path, *, correctable: bool = True) -> Path:
    """A model taught three takes of each."""
    learner = FewShotLearner(tiny().network, SENSOR, STEPS, BIN_US)  # type: ignore[arg-type]
    for seed in range(3):
        for label, angle in (("lying", LYING), ("standing", STANDING)):
            for _ in range(4):
                learner.show(Example(label, f"{label} {seed}", swaying(angle, seed, 1), SENSOR))
    write(folder, *learner.learn().checkpoint({"data": "drawn"}, {}), learner.shown if correctable else ())
    return folder


class Shows:
    """A driver: these events, a bin a packet, and then nothing more."""

    size = SENSOR

    def __init__(self, *parts: Events) -> None:
        self._packets = list[Events]()
        for number, part in enumerate(parts):
            later = part.copy()
            later["t"] += number and self._packets[-1]["t"][-1] + 1
            cuts = np.searchsorted(later["t"], np.arange(later["t"][0], later["t"][-1], BIN_US)[1:])
            self._packets += np.split(later, cuts)

    def read(self, timeout_s: float) -> Events | None:
        time.sleep(min(timeout_s, BIN_US * 1e-6))  # as long as a bin lasts
        return self._packets.pop(0) if self._packets else None

    def close(self) -> None:
        pass


def before_a_camera(*parts: Events) -> Source:
    return Source(Address("udp://127.0.0.1:3333", "udp", ""), lambda _: Shows(*parts))
