"""Streams: what a client asks for and hears, and a session stepped without a server."""

from weakref import WeakKeyDictionary

from spikesight.models.classifier import Stepper
from spikesight.models.classifier.session import Session
from spikesight.models.steps import Answer, Input
from spikesight.service.client import Bad, EventPicture, Message, Stream, StreamPrediction
from tests.support.models import EVENT_CONTRACT
from tests.support.waiting import PATIENCE_S

SENSOR = {"width": EVENT_CONTRACT.sensor_width, "height": EVENT_CONTRACT.sensor_height}
STREAM = {"logits": True, "picture": True, **SENSOR}

ANSWERED = WeakKeyDictionary[Stream, int]()  # how many messages of a stream were answered before


def answered(stream: Stream) -> list[Message]:
    """All messages until all that was sent is answered: each by its picture, which comes last, or an error."""
    found: list[Message] = []
    left = set(range(ANSWERED.get(stream, 0) + 1, stream.seq + 1))
    for message in stream.receive(PATIENCE_S):
        found.append(message)
        if isinstance(message, EventPicture | Bad):
            left.discard(message.seq)
        if not left:
            ANSWERED[stream] = stream.seq
            return found
    raise AssertionError("no answer")


def finished(stream: Stream) -> list[StreamPrediction]:
    """All predictions of what was sent, on a stream with pictures."""
    return [message for message in answered(stream) if isinstance(message, StreamPrediction)]


def predictions(stream: Stream, n: int) -> list[StreamPrediction]:
    """The next n predictions."""
    found: list[StreamPrediction] = []
    for message in stream.receive(PATIENCE_S):
        if isinstance(message, StreamPrediction):
            found.append(message)
            if len(found) == n:
                return found
    raise AssertionError(f"{len(found)} of {n} predictions")


class Alone:
    """A session stepped by itself, as the scheduler would."""

    def __init__(self, session: Session) -> None:
        self.session, self.stepper = session, Stepper(session.classifier, session.readout)

    def step(self, inputs: list[Input]) -> list[Answer]:
        return [self.stepper.step(given) for given in inputs]
