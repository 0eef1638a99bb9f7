"""Moments in which a model was in doubt: the clips that wait until a person says what they were."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from spikesight.models.steps import Input, Prediction
from spikesight.service.http.errors import ServiceError

SURE = 0.5  # no moment: the best class leads by so much, where the input is familiar
GONE = "no such moment waits: it was named, or a less certain one took its place"


@dataclass(eq=False)
class Moment:
    """A window of inputs, and what the model took it for at its end."""

    number: int
    source: str
    time: str  # ISO 8601
    inputs: list[Input]
    prediction: Prediction


def sureness(prediction: Prediction) -> float:
    """In [0, 1]: by how much the best class leads the next, times how familiar the input is."""
    second, best = sorted((0.0, *prediction.probabilities))[-2:]
    return (best - second) * (1.0 if prediction.known is None else prediction.known)


class Moments:
    """Those that wait, in memory alone: at most `most`, of which the surest gives way.

    Windows in doubt that follow each other on one source, with one best class, are one moment: the least sure of them.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._waiting: dict[int, Moment] = {}
        self._open: dict[str, Moment] = {}  # of each source, while the doubt lasts
        self._numbers = 0

    def all(self) -> list[Moment]:
        """The least sure first."""
        return sorted(self._waiting.values(), key=lambda moment: sureness(moment.prediction))

    def offer(self, source: str, inputs: Sequence[Input], prediction: Prediction) -> None:
        """A window of a source, and its prediction."""
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
        """Raises ServiceError 404."""
        if number not in self._waiting:
            raise ServiceError(404, GONE)
        return self._waiting[number]

    def drop(self, number: int) -> None:
        """Let it go. Raises ServiceError 404."""
        del self._waiting[self.get(number).number]

    def forget(self) -> None:
        """Let all of them go; their numbers do not come again."""
        self._waiting.clear()
        self._open.clear()

    def judged(self, predictions: dict[int, Prediction]) -> None:
        """What another head says of moments, by number: those it is sure of wait no longer."""
        for number, prediction in predictions.items():
            if (moment := self._waiting.get(number)) is not None:
                moment.prediction = prediction
                if sureness(prediction) >= SURE:
                    del self._waiting[number]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
