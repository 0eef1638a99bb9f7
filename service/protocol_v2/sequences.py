"""Sequences: streams whose membranes are kept from request to request."""

import time
from dataclasses import dataclass, field

from spikesight.models.steps import Input, Outcome
from spikesight.service.http.errors import Overloaded
from spikesight.service.http.shares import Quota
from spikesight.service.protocol_v2.tensors import V2Error
from spikesight.service.scheduler.mailbox import Mailbox
from spikesight.service.scheduler.registry import Model
from spikesight.service.scheduler.request import LAST_STEP, RequestReceiver, Result

TOO_MANY = "too many sequences of this address: end one first"
RUNS = "the sequence has a request running: send one after the other"


class Sequence:
    """A sequence's job, open from request to request, and the receiver of its steps."""

    def __init__(self, model: Model, identity: int | str, client: str) -> None:
        self.model, self.identity, self.client = model, identity, client
        self.track = model.classifier.track()
        self.used = time.monotonic()
        self.receiver: RequestReceiver | None = None  # receiver of the running request
        self.job = model.scheduler.open(self, request=True, merge_steps=True)

    def answers_like(self, model: Model) -> bool:
        """Return whether the outputs are those of `model`, which may have replaced the sequence's own."""
        own, new = self.model.classifier, model.classifier
        same = own.labels == new.labels and own.contract == new.contract
        return same and (own.novelty is None) == (new.novelty is None)

    def outcome(self, inputs: list[Input], outcome: Outcome, queue_ms: float) -> bool:
        """Pass an outcome on to the running request."""
        if self.receiver is not None:
            self.receiver.outcome(inputs, outcome, queue_ms)
        return False

    def failed(self, error: Exception) -> None:
        """Pass a failure on to the running request."""
        if self.receiver is not None:
            self.receiver.failed(error)


@dataclass
class Sequences:
    """All open sequences of the service, by model and id."""

    quota: Quota
    idle_s: float
    mailbox: Mailbox
    _open: dict[tuple[str, int | str], Sequence] = field(default_factory=dict)

    def begin(self, model: Model, identity: int | str, client: str) -> Sequence:
        """Begin a sequence, ending one of the same id. Raises Overloaded, and V2Error 429 at the client's limit."""
        self.expire()
        key = (model.name, identity)
        if (before := self._open.get(key)) is not None:
            if before.receiver is not None:
                raise V2Error(RUNS)
            self.end(before)
        if (reached := self.quota.acquire(client)) is not None:
            raise Overloaded if reached == "total" else V2Error(TOO_MANY, 429)
        sequence = self._open[key] = Sequence(model, identity, client)
        return sequence

    def resume(self, model: Model, identity: int | str) -> Sequence:
        """Return an open sequence. Raises V2Error."""
        self.expire()
        sequence = self._open.get((model.name, identity))
        if sequence is None or sequence.job.closed or not sequence.answers_like(model):
            raise V2Error("unknown sequence: begin it with sequence_start")
        if sequence.receiver is not None:
            raise V2Error(RUNS)
        return sequence

    def end(self, sequence: Sequence) -> None:
        """End a sequence and release its membranes."""
        key = (sequence.model.name, sequence.identity)
        if self._open.get(key) is sequence:
            del self._open[key]
            self.quota.release(sequence.client)
        sequence.model.scheduler.close(sequence.job)

    def expire(self) -> None:
        """End sequences that have been unused for too long."""
        latest = time.monotonic() - self.idle_s
        for sequence in list(self._open.values()):
            if sequence.used < latest and sequence.receiver is None:
                self.end(sequence)

    async def run(self, sequence: Sequence, inputs: list[Input], deadline: float) -> Result:
        """Step one request's inputs. If it fails or misses its deadline the sequence ends, as its state is unknown."""
        receiver = RequestReceiver(sequence.track, 0, self.mailbox, LAST_STEP)
        receiver.begin(len(inputs))
        sequence.receiver, sequence.job.deadline = receiver, deadline
        try:
            sequence.model.scheduler.submit(sequence.job, inputs)
            return await receiver.result(deadline)
        except BaseException:
            self.end(sequence)
            raise
        finally:
            sequence.receiver, sequence.used = None, time.monotonic()
