"""A stream's answers as JSON text."""

import base64
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoders.events import SensorSize
from service.session import Answer


@dataclass(eq=False, slots=True)
class Ticket:
    """Which message an input belongs to."""

    seq: int
    t_ms: float
    last: bool = False  # of its message
    picture: tuple[NDArray, SensorSize] | None = None  # its events and their sensor, shown after the last answer


def prediction_text(ticket: Ticket, answer: Answer, queue_ms: float, dropped: int, *, logits: bool = False) -> str:
    """One prediction as JSON."""
    prediction = answer.prediction
    extra = {"logits": prediction.logits} if logits else {}
    return json.dumps(
        {
            "type": "prediction",
            "seq": ticket.seq,
            "t": ticket.t_ms,
            "step": prediction.step,
            "start_us": prediction.start_us,
            "end_us": prediction.end_us,
            "label": prediction.label,
            "index": prediction.index,
            "probabilities": prediction.probabilities,
            "confidence": prediction.probabilities[prediction.index],
            "steady": answer.steady,
            "n_events": prediction.n_events,
            "spikes": prediction.spikes,
            "layer_spikes": answer.layer_spikes,
            "synops": prediction.synops,
            "total_spikes": answer.total_spikes,
            "total_synops": answer.total_synops,
            "raster": base64.b64encode(np.packbits(answer.raster).tobytes()).decode(),
            "queue_ms": round(queue_ms, 3),
            "step_ms": round(prediction.latency_ms, 3),
            "dropped": dropped,
            "reset": answer.reset,
            **extra,
        }
    )
