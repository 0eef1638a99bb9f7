"""Moments in which a model was uncertain: clips that wait until a person says what they show."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from spikesight.models.steps import Input, Prediction
from spikesight.service.http.errors import ServiceError

SURE = 0.5  # certainty from which a window is no moment
GONE = "no such moment waits: it was named, or a less certain one took its place"


@dataclass(eq=False)
class Moment:
    """An uncertain window of inputs, and the model's prediction after it."""

    number: int
    source: str
    time: str  # ISO 8601
    inputs: list[Input]
    prediction: Prediction


def sureness(prediction: Prediction) -> float:
    """Return the certainty in [0, 1]: the best class's lead over the next, times how familiar the input is."""
    second, best = sorted((0.0, *prediction.probabilities))[-2:]
    return (best - second) * (1.0 if prediction.known is None else prediction.known)


class Moments:
    """Uncertain windows that wait for a correction, in memory: at most `most`; when full, the most certain is dropped.

    Consecutive uncertain windows of one source with the same best class count as one moment: the least certain.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._waiting: dict[int, Moment] = {}
        self._open: dict[str, Moment] = {}  # by source, while it stays uncertain
        self._numbers = 0

    def all(self) -> list[Moment]:
        """Return the moments, the least certain first."""
        return sorted(self._waiting.values(), key=lambda moment: sureness(moment.prediction))

    def offer(self, source: str, inputs: Sequence[Input], prediction: Prediction) -> None:
        """Keep a source's window if its prediction is uncertain."""
        last, sure = self._open.pop(source, None), sureness(prediction)
        if sure >= SURE or not self.most:
            return
        lasts = last is not None and last.number in self._waiting and last.prediction.index == prediction.index
        if last is not None and lasts:
            self._open[source] = last
            if sure < sureness(last.prediction):
                last.inputs, last.prediction, last.time = list(inputs), prediction, now()
            return
        self._numbers += 1
        moment = Moment(self._numbers, source, now(), list(inputs), prediction)
        self._waiting[moment.number] = self._open[source] = moment
        if len(self._waiting) > self.most:
            self.drop(self.all()[-1].number)

    def get(self, number: int) -> Moment:
        """Return the moment of this number. Raises ServiceError 404."""
        if number not in self._waiting:
            raise ServiceError(404, GONE)
        return self._waiting[number]

    def drop(self, number: int) -> None:
        """Drop a moment. Raises ServiceError 404."""
        del self._waiting[self.get(number).number]

    def forget(self) -> None:
        """Drop all moments; their numbers are not used again."""
        self._waiting.clear()
        self._open.clear()

    def update(self, predictions: dict[int, Prediction]) -> None:
        """Update moments, by number, with a new head's predictions; drop those it is certain of."""
        for number, prediction in predictions.items():
            if (moment := self._waiting.get(number)) is not None:
                moment.prediction = prediction
                if sureness(prediction) >= SURE:
                    del self._waiting[number]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
