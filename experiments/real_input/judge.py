"""Judge a model's answers to clips, seen by a webcam and by an event camera, and to noisy recordings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import cv2
import numpy as np

from corpora.noise import with_noise
from experiments.real_input.scenes import HEIGHT, WIDTH, Clip
from spikesight.encoders.emulator.pixels import Emulator
from spikesight.encoders.events import Events, SensorSize
from spikesight.models.classifier import Classifier, Stepper
from spikesight.models.classifier.session import Session

SENSOR = SensorSize(WIDTH, HEIGHT)
SETTLED_US = 1_000_000  # labels before this time do not count
STEADY = 0.8  # share of the time with the right label that counts as steady
Seen = Literal["frames", "events"]


@dataclass(frozen=True)
class Verdict:
    """Result on one clip, after its first second."""

    right: bool  # the most frequent label is right
    steady: bool  # the label was right at least STEADY of the time
    changes: int  # number of label changes


class Watcher:
    """A model that watches one clip as `frames` or `events`."""

    def __init__(self, classifier: Classifier, seen: Seen) -> None:
        self.session = Session(classifier, SENSOR)
        self.stepper = Stepper(classifier, self.session.track)
        self.camera = Emulator(SENSOR) if seen == "events" else None
        self.said: list[tuple[int, str, str]] = []  # end of the step, label, truth

    def see(self, picture: np.ndarray, grey: np.ndarray, t_us: int, truth: int) -> None:
        """Process the next picture of the clip."""
        if self.camera is None:
            inputs = self.session.frame(picture, t_us)
        else:
            inputs = [*self.session.push(self.camera.push(grey, t_us)), *self.session.tick(t_us)]
        answers = [self.stepper.step(given) for given in inputs]
        self.said += [(given.end_us, answer.steady, str(truth)) for given, answer in zip(inputs, answers)]

    def verdict(self) -> Verdict:
        """Return the result; a clip without answers counts as wrong."""
        late = [(label, truth) for t_us, label, truth in self.said if t_us > SETTLED_US]
        share = np.mean([label == truth for label, truth in late]) if late else 0.0
        labels = [label for label, _ in late]
        most = max(set(labels), key=labels.count, default="")
        truths = {truth for _, truth in late}
        right = most in truths if len(truths) == 1 else share > 0.5
        return Verdict(bool(right), bool(share >= STEADY), sum(a != b for a, b in pairwise(labels)))


def watch(clip: Clip, classifier: Classifier) -> dict[Seen, Verdict]:
    """Judge one clip, seen both as frames and as events."""
    watchers: dict[Seen, Watcher] = {}
    watchers["frames"], watchers["events"] = Watcher(classifier, "frames"), Watcher(classifier, "events")
    for t_us, picture, truth in clip.frames():
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        for watcher in watchers.values():
            watcher.see(picture, grey, t_us, truth)
    return {seen: watcher.verdict() for seen, watcher in watchers.items()}


def noisy_right(
    classifier: Classifier,
    recordings: Sequence[tuple[Events, SensorSize, str]],
    rates: Sequence[float],
    hots: Sequence[float],
) -> Iterator[tuple[str, int]]:
    """Yield (row name, number of correct recordings) for each rate of noise and each share of hot pixels."""
    rows = [(f"{rate:g} Hz a pixel", rate, 0.0) for rate in rates] + [(f"{hot:.0%} hot", 0.0, hot) for hot in hots]
    for name, rate, hot in rows:
        right = 0
        for number, (events, size, truth) in enumerate(recordings):
            random = np.random.default_rng((7, number))
            noisy = with_noise(events, size, rate, hot, random=random)
            right += classifier.labels[classifier.predict_events(noisy, size)[-1].index] == truth
        yield name, right
