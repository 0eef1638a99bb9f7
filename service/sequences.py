"""Sequences of the Open Inference Protocol: streams that live from request to request, with their membranes."""

import asyncio
import time
from dataclasses import dataclass, field

from service.jobs import Job, Result
from service.lanes import Expired, Lane, Overloaded
from service.mailbox import Mailbox
from service.registry import Model
from service.session import Input, Outcome, Run, Track


class SequenceError(ValueError):
    """A sequence that is unknown or busy."""


class Steps(Job):
    """The receiver of one request's steps; the lane stays open for the next request."""

    def outcome(self, given: Input, outcome: Outcome, queue_ms: float) -> bool:
        """One step was made."""
        super().outcome(given, outcome, queue_ms)
        return False

    def ran(self, given: list[Input], run: Run, queue_ms: float) -> bool:
        """Several steps were made."""
        super().ran(given, run, queue_ms)
        return False


@dataclass(eq=False)
class Sequence:
    """One sequence."""

    model: Model
    lane: Lane
    track: Track
    used: float  # time.monotonic()
    busy: bool = False


@dataclass
class Sequences:
    """All sequences of the service, by model and id."""

    limit: int
    idle_s: float
    _open: dict[tuple[str, int | str], Sequence] = field(default_factory=dict)

    def begin(self, model: Model, identity: int | str) -> Sequence:
        """A new sequence; one of the same id ends. Raises Overloaded, SequenceError."""
        self.expire()
        key = (model.name, identity)
        if key in self._open:
            self.end(self.resume(model, identity), identity)
        if len(self._open) >= self.limit:
            raise Overloaded
        track = Track(model.classifier)
        lane = model.scheduler.open(Steps(track, 0, Mailbox(), every=False), request=True, sums=True)
        self._open[key] = Sequence(model, lane, track, time.monotonic())
        return self._open[key]

    def resume(self, model: Model, identity: int | str) -> Sequence:
        """One that was begun. Raises SequenceError."""
        self.expire()
        sequence = self._open.get((model.name, identity))
        if sequence is None or sequence.lane.closed:
            raise SequenceError("unknown sequence: begin it with sequence_start")
        if sequence.busy:
            raise SequenceError("the sequence has a request running: send one after the other")
        return sequence

    def end(self, sequence: Sequence, identity: int | str) -> None:
        """Give its membranes up."""
        if self._open.get((sequence.model.name, identity)) is sequence:
            del self._open[sequence.model.name, identity]
        sequence.model.scheduler.close(sequence.lane)

    def expire(self) -> None:
        """End those that nobody asked for in time."""
        latest = time.monotonic() - self.idle_s
        for (_, identity), sequence in list(self._open.items()):
            if sequence.used < latest and not sequence.busy:
                self.end(sequence, identity)

    async def run(
        self, sequence: Sequence, identity: int | str, inputs: list[Input], mailbox: Mailbox, deadline: float
    ) -> Result:
        """Step one request's inputs. A sequence that misses its deadline is over: its membranes are not known."""
        steps = Steps(sequence.track, len(inputs), mailbox, every=False)
        sequence.lane.receiver, sequence.lane.deadline, sequence.busy = steps, deadline, True
        try:
            sequence.model.scheduler.submit(sequence.lane, inputs)
            return await asyncio.wait_for(steps.future, max(0.0, deadline - time.monotonic()))
        except BaseException as error:
            self.end(sequence, identity)
            if isinstance(error, TimeoutError):
                raise Expired from None
            raise
        finally:
            sequence.busy, sequence.used = False, time.monotonic()
