"""Streams: what a client asks for and hears, and a session stepped without a server."""

from spikesight.models.classifier import Stepper
from spikesight.models.classifier.session import Session
from spikesight.models.neurons.state import State, split_state, stack_states
from spikesight.models.steps import Answer, Input
from spikesight.service.client import Message, Prediction, Snapshot, Stream
from tests.support.models import EVENT_CONTRACT
from tests.support.waiting import PATIENCE_S

SENSOR = {"width": EVENT_CONTRACT.sensor_width, "height": EVENT_CONTRACT.sensor_height}
STREAM = {"logits": True, **SENSOR}


def answered(stream: Stream) -> list[Message]:
    """All messages until all that was sent is answered: the last is the stream's snapshot, which comes behind them."""
    stream.snapshot()
    found: list[Message] = []
    for message in stream.receive(PATIENCE_S):
        found.append(message)
        if isinstance(message, Snapshot):
            return found
    raise AssertionError("no snapshot")


def finished(stream: Stream) -> list[Prediction]:
    """All predictions of what was sent."""
    return [message for message in answered(stream) if isinstance(message, Prediction)]


def predictions(stream: Stream, n: int) -> list[Prediction]:
    """The next n predictions."""
    found: list[Prediction] = []
    for message in stream.receive(PATIENCE_S):
        if isinstance(message, Prediction):
            found.append(message)
            if len(found) == n:
                return found
    raise AssertionError(f"{len(found)} of {n} predictions")


class Alone:
    """A session stepped by itself, as the scheduler would."""

    def __init__(self, session: Session) -> None:
        self.session, self.stepper = session, Stepper(session.classifier, session.track)

    @property
    def state(self) -> State:
        """The membranes of all windows, as the scheduler hands them out."""
        states = [state for _, state in sorted(self.stepper.states.items())]
        return stack_states(states or [self.session.classifier.initial_state()])

    def go_on(self, state: State) -> None:
        """From a snapshot that the session was set to."""
        self.stepper = Stepper(self.session.classifier, self.session.track)
        self.stepper.states = dict(zip(self.session.windows(), split_state(state), strict=True))

    def step(self, inputs: list[Input]) -> list[Answer]:
        return [self.one(given) for given in inputs]

    def one(self, given: Input) -> Answer:
        return self.stepper.step(given)
