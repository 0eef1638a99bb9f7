"""The answer to a whole recording or image, from the answers to its steps. There is no other rule for it.

1. Each step is answered by the mean of the last T steps: a class, "unknown" or "nothing" (`Prediction.label`).
2. The label to show follows the steps without flickering (`StableLabel`); live streams show the same one.
3. An input of up to one window, T steps, shows one object: its label is that of its last step, which has seen all of
   it.
4. The label of a longer recording is the one shown for most of its last T steps, the later of two; if none was shown
   yet, that of its last step.
5. Segments are the intervals over which one label was shown; what rule 3 or its exception decides is one segment.
6. Probabilities, `in_distribution` and the commitment are those of the last step that says the recording's label;
   events, spikes and operations are sums over all steps.
7. The recording is committed to its label if that step is, and its end is not shifted.
8. An answer is right if its label is the true class; "unknown" and "nothing" are not. Its best guess, the class with
   the highest probability, is counted separately.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from spikesight.models.steps import Answer, Prediction


class Segment(NamedTuple):
    """An interval of a recording over which one label was shown."""

    start_us: int  # since the recording's beginning
    end_us: int
    label: str  # a class, "unknown" or "nothing"
    confidence: float | None  # mean probability of the class over the steps; None for "unknown" and "nothing"
    steps: int


class Verdict:
    """Takes the answers to a recording's steps in order, and answers the recording (see above).

    `labels`: the classes; `window`: the contract's T.
    """

    def __init__(self, labels: Sequence[str], window: int) -> None:
        self._labels, self._window = tuple(labels), window
        self._shown = list[Segment]()
        self._saying = dict[str, Prediction]()  # the last step that says each label
        self._first: Prediction | None = None
        self._last: Prediction | None = None
        self._step_label = ""  # of the last step
        self._recent = deque[str](maxlen=window)  # labels shown in the last steps, the latest first
        self.steps = self.n_events = self.spikes = self.synops = 0
        self._latency_ms = 0.0

    def push(self, answer: Answer, steps: int = 1) -> None:
        """Add the answer after the recording's next step; or after the next `steps`, within the first window."""
        p, label = answer.prediction, answer.prediction.label
        self._first, self._last = self._first or p, p
        self._saying[answer.step_label], self._step_label = p, answer.step_label
        self.steps, self.n_events = self.steps + steps, self.n_events + p.n_events
        self.spikes, self.synops = self.spikes + p.spikes, self.synops + p.synops
        self._latency_ms += p.latency_ms
        if label:
            self._recent.extendleft([label] * steps)
            self._extend(Segment(*self._times(p, p), label, self._confidence(label, p), 1))

    def _extend(self, step: Segment) -> None:
        """Add a step to the last segment, or begin another."""
        last = self._shown[-1] if self._shown else None
        if last is None or (last.label, last.end_us) != (step.label, step.start_us):
            self._shown.append(step)
            return
        sure, steps = step.confidence, last.steps + 1
        if last.confidence is not None and sure is not None:
            sure = last.confidence + (sure - last.confidence) / steps
        self._shown[-1] = Segment(last.start_us, step.end_us, step.label, sure, steps)

    def _times(self, first: Prediction, last: Prediction) -> tuple[int, int]:
        """Return where the first of some steps begins and the last ends, since the recording's beginning."""
        begin_us = first.start_us if self._first is None else self._first.start_us
        return first.start_us - begin_us, last.end_us - begin_us

    def _confidence(self, label: str, step: Prediction) -> float | None:
        return step.probabilities[self._labels.index(label)] if label in self._labels else None

    def _ends(self) -> tuple[Prediction, Prediction]:
        """Return the first and the last step. Raises ValueError without any."""
        if self._first is None or self._last is None:
            raise ValueError("no step was answered yet")
        return self._first, self._last

    @property
    def _whole(self) -> bool:
        """Whether the last step answers for all."""
        return self.steps <= self._window or not self._recent

    @property
    def label(self) -> str:
        """The recording's label: a class, "unknown" or "nothing". Raises ValueError before the first step."""
        return self._step_label if self._ends() and self._whole else Counter(self._recent).most_common(1)[0][0]

    @property
    def last_step(self) -> Prediction:
        """The last step's answer, with the label that the recording would have if it ended there."""
        return replace(self._ends()[1], label=self.label)

    @property
    def prediction(self) -> Prediction:
        """The recording's answer; `step` counts all steps, times are the recording's own. Raises ValueError before the
        first step.
        """
        (first, last), label = self._ends(), self.label
        said = self._saying.get(label, last)
        commitment = said.commitment and last.commitment and said.commitment._replace(shifted=last.commitment.shifted)
        if commitment:
            held = commitment.label == label and not commitment.shifted
            commitment = commitment._replace(at_us=said.end_us) if held else commitment.withdrawn()
        index = self._labels.index(label) if label in self._labels else said.index
        return replace(
            said,
            label=label,
            index=index,
            top1=self._labels[index],
            commitment=commitment,
            step=self.steps,
            start_us=first.start_us,
            end_us=last.end_us,
            n_events=self.n_events,
            spikes=self.spikes,
            synops=self.synops,
            latency_ms=self._latency_ms,
            objects=last.objects,
        )

    @property
    def segments(self) -> list[Segment]:
        """The recording's segments in order; steps before any label was shown belong to none. Raises ValueError before
        the first step.
        """
        if not self._whole:
            return list(self._shown)
        (first, last), label = self._ends(), self.label
        return [Segment(*self._times(first, last), label, self._confidence(label, last), self.steps)]
