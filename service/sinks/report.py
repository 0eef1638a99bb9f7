"""A stream's answers -> the records that its sinks are sent."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from spikesight.models.steps import Answer

Post = Callable[[dict[str, Any]], None]


class Report:
    """Tells `post` of every step, or of every change of the steady label, which holds until there is another, or of the
    objects and theirs.
    """

    def __init__(self, post: Post, source: str, *, every_step: bool) -> None:
        self._post, self._source, self._every_step = post, source, every_step
        self._shown: tuple[object, ...] = ("",)

    def tell(self, model: str, answer: Answer) -> None:
        """One step's answer."""
        steady = answer.steady or self._shown[0]
        shown = steady, *((one.id, one.label) for one in answer.prediction.objects or ())
        changed, self._shown = shown != self._shown, shown
        if changed or self._every_step:
            self._post(record_of(self._source, model, answer))

    def send(self, model: str, record: dict[str, Any]) -> None:
        """A record of something else of the stream."""
        self._post({"source": self._source, "model": model, "time": now()} | record)


def now() -> str:
    """The time of sending."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def record_of(source: str, model: str, answer: Answer) -> dict[str, Any]:
    """The record of an answer.

    `label` is the steady one, "" before there is one; `step_label` that of the read-out alone, which may flicker;
    `probability` in [0, 1] of the best class; `committed` the label that the window may be held for, if
    any; `time` of sending, `t_us` the source's own time, microseconds; `objects` of a stream that looks for several.
    """
    prediction = answer.prediction
    return {
        "source": source,
        "model": model,
        "time": now(),
        "t_us": prediction.end_us,
        "step": prediction.step,
        "label": answer.steady,
        "step_label": prediction.label,
        "probability": round(prediction.confidence, 4),
        "known": None if prediction.known is None else round(prediction.known, 4),
        "committed": prediction.committed,
    } | ({} if prediction.objects is None else {"objects": [one._asdict() for one in prediction.objects]})
