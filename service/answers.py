"""A stream's answers as JSON text, without spaces, the fields in this order."""

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from encoders.events import SensorSize
from service.registry import Model
from service.session import Answer

SNAPSHOT_BEGIN = '{"type":"snapshot"'


@dataclass(eq=False, slots=True)
class Ticket:
    """Which message an input belongs to."""

    seq: int
    t_ms: float
    last: bool = False  # of its message
    picture: tuple[NDArray, SensorSize] | None = None  # its events and their sensor, shown after the last answer


def text(**fields: Any) -> str:
    """A message."""
    return to_json(fields).decode()


def ready_text(model: Model) -> str:
    """The answer to hello."""
    classifier = model.classifier
    return text(
        type="ready",
        model=model.name,
        labels=classifier.labels,
        layers=classifier.layer_names,
        raster_rows=model.raster_rows,
        step_us=classifier.contract.bin_us,
        steps=classifier.contract.steps,
        ann_macs=classifier.ann_macs,
    )


def prediction_text(ticket: Ticket, answer: Answer, queue_ms: float, dropped: int, *, logits: bool = False) -> str:
    """One step's prediction."""
    prediction = answer.prediction
    extra = {"logits": prediction.logits} if logits else {}
    return text(
        type="prediction",
        seq=ticket.seq,
        t=ticket.t_ms,
        step=prediction.step,
        start_us=prediction.start_us,
        end_us=prediction.end_us,
        label=prediction.label,
        index=prediction.index,
        probabilities=prediction.probabilities,
        confidence=prediction.probabilities[prediction.index],
        steady=answer.steady,
        n_events=prediction.n_events,
        spikes=prediction.spikes,
        layer_spikes=answer.layer_spikes,
        synops=prediction.synops,
        total_spikes=answer.total_spikes,
        total_synops=answer.total_synops,
        raster=base64.b64encode(np.packbits(answer.raster).tobytes()).decode(),
        queue_ms=round(queue_ms, 3),
        step_ms=round(prediction.latency_ms, 3),
        dropped=dropped,
        reset=answer.reset,
        **extra,
    )


def identity(answer: str) -> str:
    """What tells an answer from others of its stream, whoever computes it: of a prediction its message and step."""
    return answer.partition(',"start_us"')[0]


def ack_text(ticket: Ticket, dropped: int) -> str:
    """A message closed no bin, or its last answer was skipped."""
    return text(type="ack", seq=ticket.seq, t=ticket.t_ms, dropped=dropped)


def error_text(seq: int, error: str) -> str:
    """A message could not be taken."""
    return text(type="error", seq=seq, error=error)


def snapshot_text(model: str, state: bytes) -> str:
    """A session's state."""
    return text(type="snapshot", model=model, state=base64.b64encode(state).decode())
