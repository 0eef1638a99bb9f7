"""Segments of a recording: consecutive steps over which the same label was shown."""

from collections.abc import Sequence
from typing import NamedTuple

from spikesight.models.steps import Answer


class Segment(NamedTuple):
    """A stretch of a recording over which one label was shown."""

    start_us: int  # since the recording's beginning
    end_us: int
    label: str  # a class, "unknown" or "nothing"
    confidence: float | None  # mean probability of the class over the steps; None for "unknown" and "nothing"
    steps: int


class Timeline:
    """Merges consecutive answers with the same stable label into `segments`.

    Steps before any evidence belong to no segment.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.segments: list[Segment] = []
        self._labels, self._begin_us = list(labels), 0
        self._begun = False

    def push(self, answer: Answer) -> None:
        """Add the answer to the recording's next step."""
        p, label = answer.prediction, answer.steady
        if not self._begun:
            self._begin_us, self._begun = p.start_us, True
        if not label:
            return
        sure = p.probabilities[self._labels.index(label)] if label in self._labels else None
        step = Segment(p.start_us - self._begin_us, p.end_us - self._begin_us, label, sure, 1)
        last = self.segments[-1] if self.segments else None
        if last is None or (last.label, last.end_us) != (label, step.start_us):
            self.segments.append(step)
            return
        if last.confidence is not None and sure is not None:
            sure = last.confidence + (sure - last.confidence) / (last.steps + 1)
        self.segments[-1] = Segment(last.start_us, step.end_us, label, sure, last.steps + 1)
