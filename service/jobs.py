"""One request's way through the scheduler: admitted, decoded, stepped with whatever else runs, answered in time."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from service.lanes import Expired
from service.mailbox import Mailbox
from service.registry import Model
from service.session import Answer, Input, Outcome, Run, Track

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
    job = Job(Track(model.classifier), 0, mailbox, confidence=confidence, every=every)
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
