"""One request's way through the scheduler: admitted, decoded, stepped with whatever else runs, answered in time.

Sequences are streams that live from request to request, with their membranes (Open Inference Protocol).
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from spikesight.models.novelty.conformal import ERROR_RATE
from spikesight.models.steps import Answer, Input, Outcome, Track
from spikesight.service.http.errors import Expired, Overloaded, ServiceError
from spikesight.service.http.shares import Shares
from spikesight.service.scheduler.queue import Job
from spikesight.service.scheduler.registry import Model
from spikesight.service.scheduler.threads import Mailbox


@dataclass(frozen=True)
class Result:
    """A request's answers: one a step, or the last one alone."""

    answers: list[Answer]
    steps: int
    spikes: int
    synops: int
    n_events: int
    logits: list[float]  # the read-out's mean after the last step
    queue_ms: float
    infer_ms: float
    early: bool
    made_s: float  # time.perf_counter() when the inputs were there
    tick: int  # the scheduler's step that finished it


class RequestReceiver:
    """The receiver of a request's steps. Stops early once the confidence is reached or, `commits`, at a commitment."""

    def __init__(
        self,
        track: Track,
        mailbox: Mailbox,
        *,
        confidence: float | None = None,
        commits: bool = False,
        every: bool = True,
    ) -> None:
        self._track, self._mailbox = track, mailbox
        self._confidence, self._commits, self._every = confidence, commits, every
        self._answers: list[Answer] = []
        self._done = self._spikes = self._synops = self._n_events = 0
        self._queue_ms = self._begun = 0.0
        self._steps: int
        self.begun: float  # time.perf_counter() when the inputs were there
        self.future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    def begin(self, steps: int) -> None:
        """The inputs are there: so many."""
        self._steps, self.begun = steps, time.perf_counter()

    @property
    def several(self) -> bool:
        """Whether the answers between are of no use."""
        return not self._every and self._confidence is None and not self._commits

    def outcome(self, inputs: list[Input], outcome: Outcome, queue_ms: float) -> bool:
        """These inputs were stepped."""
        if not self._done:
            self._queue_ms, self._begun = queue_ms, time.perf_counter() - outcome.step_ms / 1e3
        self._done += len(inputs)
        self._track.absorb(inputs, outcome)
        self._spikes += sum(outcome.layer_spikes)
        self._synops += outcome.synops
        self._n_events += sum(given.n_events for given in inputs)
        last = self._done == self._steps
        if last or not self.several:
            answer = self._track.answer(inputs[-1], outcome)
            self._answers.append(answer)
            last |= self._confidence is not None and max(answer.prediction.probabilities) > self._confidence
            last |= self._commits and answer.prediction.committed is not None
        if last:
            self._finish(outcome.tick)
        return last

    def _finish(self, tick: int) -> None:
        mean = self._track.logits
        result = Result(
            self._answers if self._every else self._answers[-1:],
            self._done,
            self._spikes,
            self._synops,
            self._n_events,
            [] if mean is None else mean.tolist(),
            self._queue_ms,
            (time.perf_counter() - self._begun) * 1e3,
            self._done < self._steps,
            self.begun,
            tick,
        )
        self._mailbox.resolve(self.future, result)

    def failed(self, error: Exception) -> None:
        """No further step comes."""
        self._mailbox.reject(self.future, error)


async def run(
    model: Model,
    inputs: list[Input] | Callable[[], list[Input]],
    mailbox: Mailbox,
    *,
    deadline: float,
    confidence: float | None = None,
    error_rate: float | None = None,
    every: bool = True,
    offload: Callable[[Callable[[], None]], None] | None = None,
) -> Result:
    """Step the inputs in the company of everything else. `deadline` is on time.monotonic(); `every`: all answers;
    `error_rate` stops at the first step that commits itself at it.

    Inputs given as a function are decoded by it in the model's thread, or by `offload` in another one while streams are
    open. Raises Expired, Broken, Stopped, SessionError when the values overflow the network, or what decoding raises.
    """
    scheduler = model.scheduler
    track = model.classifier.track(error_rate=ERROR_RATE if error_rate is None else error_rate)
    receiver = RequestReceiver(track, mailbox, confidence=confidence, commits=error_rate is not None, every=every)
    job = scheduler.open(receiver, request=True, deadline=deadline, several=receiver.several)
    try:
        if callable(inputs):
            decode = counted(inputs, receiver)
            if not scheduler.submit_undecoded(job, decode):
                assert offload is not None
                offload(lambda: decode_and_submit(model, job, decode, mailbox))
        else:
            receiver.begin(len(inputs))
            scheduler.submit(job, inputs)
        return await asyncio.wait_for(receiver.future, max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        raise Expired from None
    finally:
        scheduler.close(job)


def counted(decode: Callable[[], list[Input]], receiver: RequestReceiver) -> Callable[[], list[Input]]:
    """`decode`, whose receiver is told how many inputs come."""

    def decoded() -> list[Input]:
        inputs = decode()
        receiver.begin(len(inputs))
        return inputs

    return decoded


def decode_and_submit(model: Model, job: Job, decode: Callable[[], list[Input]], mailbox: Mailbox) -> None:
    """In another thread than the model's; what `decode` raises goes to the receiver."""
    if job.closed:
        return
    try:
        model.scheduler.submit(job, decode())
    except Exception as error:
        job.receiver.failed(error)
        mailbox.flush()


TOO_MANY = "too many sequences of this address: end one first"


class SequenceError(ServiceError):
    """A sequence that is unknown, busy, or one too many."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(status, sentence)


class Sequence:
    """A job that stays open from request to request, and the receiver of its steps."""

    def __init__(self, model: Model, client: str) -> None:
        self.model, self.client = model, client
        self.track = model.classifier.track()
        self.used = time.monotonic()
        self.receiver: RequestReceiver | None = None  # of the request that runs
        self.job = model.scheduler.open(self, request=True, several=True)

    def outcome(self, inputs: list[Input], outcome: Outcome, queue_ms: float) -> bool:
        """These inputs were stepped."""
        if self.receiver is not None:
            self.receiver.outcome(inputs, outcome, queue_ms)
        return False

    def failed(self, error: Exception) -> None:
        """No further step comes."""
        if self.receiver is not None:
            self.receiver.failed(error)


@dataclass
class Sequences:
    """All sequences of the service, by model and id."""

    places: Shares
    idle_s: float
    _open: dict[tuple[str, int | str], Sequence] = field(default_factory=dict)

    def begin(self, model: Model, identity: int | str, client: str) -> Sequence:
        """A new sequence; one of the same id ends. Raises Overloaded, SequenceError: 429 at the address's share."""
        self.expire()
        key = (model.name, identity)
        if key in self._open:
            self.end(self.resume(model, identity), identity)
        if (reached := self.places.take(client)) is not None:
            raise Overloaded if reached == "total" else SequenceError(TOO_MANY, 429)
        sequence = self._open[key] = Sequence(model, client)
        return sequence

    def resume(self, model: Model, identity: int | str) -> Sequence:
        """One that was begun. Raises SequenceError."""
        self.expire()
        sequence = self._open.get((model.name, identity))
        if sequence is None or sequence.job.closed:
            raise SequenceError("unknown sequence: begin it with sequence_start")
        if sequence.receiver is not None:
            raise SequenceError("the sequence has a request running: send one after the other")
        return sequence

    def end(self, sequence: Sequence, identity: int | str) -> None:
        """Give its membranes up."""
        if self._open.get((sequence.model.name, identity)) is sequence:
            del self._open[sequence.model.name, identity]
            self.places.give(sequence.client)
        sequence.model.scheduler.close(sequence.job)

    def expire(self) -> None:
        """End those that nobody asked for in time."""
        latest = time.monotonic() - self.idle_s
        for (_, identity), sequence in list(self._open.items()):
            if sequence.used < latest and sequence.receiver is None:
                self.end(sequence, identity)

    async def run(
        self, sequence: Sequence, identity: int | str, inputs: list[Input], mailbox: Mailbox, deadline: float
    ) -> Result:
        """Step one request's inputs. A sequence that misses its deadline is over: its membranes are not known."""
        receiver = RequestReceiver(sequence.track, mailbox, every=False)
        receiver.begin(len(inputs))
        sequence.receiver, sequence.job.deadline = receiver, deadline
        try:
            sequence.model.scheduler.submit(sequence.job, inputs)
            return await asyncio.wait_for(receiver.future, max(0.0, deadline - time.monotonic()))
        except BaseException as error:
            self.end(sequence, identity)
            if isinstance(error, TimeoutError):
                raise Expired from None
            raise
        finally:
            sequence.receiver, sequence.used = None, time.monotonic()
