"""Turns a stream's answers into the records that sinks are sent."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from spikesight.models.steps import Answer

Post = Callable[[dict[str, Any]], None]


class Report:
    """Posts a record of every step, or (`every_step` False) only when the label or the objects change."""

    def __init__(self, post: Post, source: str, *, every_step: bool) -> None:
        self._post, self._source, self._every_step = post, source, every_step
        self._shown: tuple[object, ...] = ("",)

    def report_step(self, model: str, answer: Answer) -> None:
        """Post a record of this step's answer if it is due."""
        label = answer.prediction.label or self._shown[0]
        shown = label, *((one.id, one.label) for one in answer.prediction.objects or ())
        changed, self._shown = shown != self._shown, shown
        if changed or self._every_step:
            self._post(record_of(self._source, model, answer))

    def post_record(self, model: str, record: dict[str, Any]) -> None:
        """Post another kind of record of this stream."""
        self._post({"source": self._source, "model": model, "time": now()} | record)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def record_of(source: str, model: str, answer: Answer) -> dict[str, Any]:
    """Return the record of an answer.

    `label`: what is shown, "" before there is evidence; `top1`: the most probable class of this step, which may
    flicker; `probability` in [0, 1] of that class; `commitment`: None where the model has none; `time` of sending;
    `t_us`: the source's time, us; `objects`: only for a stream that looks for several.
    """
    prediction = answer.prediction
    return {
        "source": source,
        "model": model,
        "time": now(),
        "t_us": prediction.end_us,
        "step": prediction.step,
        "label": prediction.label,
        "top1": prediction.top1,
        "probability": round(prediction.confidence, 4),
        "in_distribution": None if prediction.in_distribution is None else round(prediction.in_distribution, 4),
        "commitment": prediction.commitment and prediction.commitment.fields(),
    } | ({} if prediction.objects is None else {"objects": [one.fields() for one in prediction.objects]})
