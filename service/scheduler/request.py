"""One request's way through the scheduler: admitted, decoded, stepped with whatever else runs, answered in time.

Sequences are streams that live from request to request, with their membranes (Open Inference Protocol).
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from models.steps import Answer, Input, Outcome, Run, Track
from service.http.errors import Expired, Overloaded
from service.scheduler.queue import Lane
from service.scheduler.registry import Model
from service.scheduler.threads import Mailbox

NO_RASTER = np.zeros(0, np.uint8)  # of several steps at once: nobody looks at it


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


class Job:
    """The receiver of a request's steps. Stops early once the confidence is reached."""

    def __init__(
        self, track: Track, steps: int, mailbox: Mailbox, *, confidence: float | None = None, every: bool = True
    ) -> None:
        self._track, self._steps, self._mailbox = track, steps, mailbox
        self._confidence, self._every = confidence, every
        self._answers: list[Answer] = []
        self._done = self._spikes = self._synops = self._n_events = 0
        self._queue_ms = self._begun = 0.0
        self.begun = 0.0  # time.perf_counter() when the inputs were there
        self.future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    def begin(self, steps: int) -> None:
        """The inputs are there: so many."""
        self._steps, self.begun = steps, time.perf_counter()

    def outcome(self, given: Input, outcome: Outcome, queue_ms: float) -> bool:
        """One step was made."""
        if not self._done:
            self._queue_ms, self._begun = queue_ms, time.perf_counter() - outcome.step_ms / 1e3
        self._done += 1
        self._track.absorb(given, outcome)
        self._spikes += sum(outcome.layer_spikes)
        self._synops += outcome.synops
        self._n_events += given.n_events
        last = self._done == self._steps
        if last or self._every or self._confidence is not None:
            answer = self._track.answer(given, outcome)
            self._answers.append(answer)
            last |= self._confidence is not None and max(answer.prediction.probabilities) > self._confidence
        if last:
            self._finish(outcome.tick)
        return last

    def ran(self, given: list[Input], run: Run, queue_ms: float) -> bool:
        """Several steps were made; only the sums and the last answer are wanted."""
        if not self._done:
            self._queue_ms, self._begun = queue_ms, time.perf_counter() - run.step_ms / 1e3
        self._done += len(given)
        self._track.absorb_run(given, run)
        self._spikes += run.spikes
        self._synops += run.synops
        self._n_events += sum(one.n_events for one in given)
        last = self._done == self._steps
        if last:
            end = Outcome(run.logits[-1], [run.spikes], run.synops, NO_RASTER, run.step_ms, run.tick)
            self._answers.append(self._track.answer(given[-1], end))
            self._finish(run.tick)
        return last

    def _finish(self, tick: int) -> None:
        mean = self._track.readout.mean
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
    every: bool = True,
    apart: Callable[[Callable[[], None]], None] | None = None,
) -> Result:
    """Step the inputs in the company of everything else. `deadline` is on time.monotonic(); `every`: all answers.

    Inputs that must first be made are made in the model's thread, or by `apart` in another one while streams are open.
    Raises Expired, Broken, Stopped, SessionError when the values overflow the network, or what making them raises.
    """
    job = Job(
        Track(model.classifier.labels, model.classifier.contract.horizon),
        0,
        mailbox,
        confidence=confidence,
        every=every,
    )
    lane = model.scheduler.open(job, request=True, deadline=deadline, sums=not every and confidence is None)
    try:
        if callable(inputs):
            make = inputs
            assert apart is not None

            def made() -> list[Input]:
                given = make()
                job.begin(len(given))
                return given

            def prepare() -> None:
                if lane.closed:
                    return
                try:
                    model.scheduler.submit(lane, made())
                except Exception as error:
                    job.failed(error)
                    mailbox.flush()

            if not model.scheduler.submit_made(lane, made):
                apart(prepare)
        else:
            job.begin(len(inputs))
            model.scheduler.submit(lane, inputs)
        return await asyncio.wait_for(job.future, max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        raise Expired from None
    finally:
        model.scheduler.close(lane)


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
        track = Track(model.classifier.labels, model.classifier.contract.horizon)
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
