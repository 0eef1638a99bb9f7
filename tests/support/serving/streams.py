"""Streams: what a client asks for and hears, and a session stepped without a server."""

from encoders.events import make_events
from models.classifier import Stepper
from models.steps import Answer, Input
from service.client import Ack, Prediction, Stream
from service.stream.session import Session
from tests.support.models import EVENT_CONTRACT

SENSOR = {"width": EVENT_CONTRACT.sensor_width, "height": EVENT_CONTRACT.sensor_height}
STREAM = {"logits": True, **SENSOR}
QUIET_S = 0.4


def until(stream: Stream, seq: int) -> list[Prediction]:
    """All predictions up to the ack of message `seq`: an empty packet sent last."""
    found: list[Prediction] = []
    for message in stream.receive(20):
        if isinstance(message, Prediction):
            found.append(message)
        if isinstance(message, Ack) and message.seq == seq:
            return found
    raise AssertionError("no ack")


def finished(stream: Stream) -> list[Prediction]:
    """All predictions of what was sent."""
    return until(stream, stream.send_events(make_events([], [], [], []))) + quiet(stream)


def quiet(stream: Stream) -> list[Prediction]:
    """All predictions until nothing has come for QUIET_S seconds."""
    return [message for message in stream.receive(QUIET_S) if isinstance(message, Prediction)]


def predictions(stream: Stream, n: int) -> list[Prediction]:
    """The next n predictions."""
    found: list[Prediction] = []
    for message in stream.receive(20):
        if isinstance(message, Prediction):
            found.append(message)
            if len(found) == n:
                return found
    raise AssertionError(f"{len(found)} of {n} predictions")


class Alone:
    """A session stepped by itself, as the scheduler would."""

    def __init__(self, session: Session) -> None:
        self.session, self.stepper = session, Stepper(session.classifier, session.track)

    def step(self, inputs: list[Input]) -> list[Answer]:
        return [self.one(given) for given in inputs]

    def one(self, given: Input) -> Answer:
        return self.stepper.step(given)
