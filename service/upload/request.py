"""Run one request through the scheduler: admit, decode, step in batches with other jobs, answer before the deadline."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field

from spikesight.models.classifier.readout import DetectionReadout
from spikesight.models.classifier.verdict import Verdict
from spikesight.models.neurons.probe import Inside, Probe
from spikesight.models.novelty.conformal import ERROR_RATE
from spikesight.models.steps import Answer, Input, Outcome, StreamReadout
from spikesight.service.http.errors import ServiceError, before
from spikesight.service.scheduler.mailbox import Mailbox
from spikesight.service.served.registry import ServedModel


@dataclass(frozen=True, kw_only=True)
class AnswerSpec:
    """Which answers a request wants, and when it may stop before the last step."""

    every: bool = True  # an answer for every step; False: only the last
    confidence: float | None = None  # stop at the first step whose best probability exceeds this
    error_rate: float | None = None  # stop at the first step that commits to a label at this error rate
    objects: int = 0  # how many objects to look for at most, each in its own window
    probe: Probe = False  # whether to return the activity inside the network, too


EVERY_STEP, LAST_STEP = AnswerSpec(), AnswerSpec(every=False)


@dataclass(frozen=True, kw_only=True)
class Result:
    """The answer of a request, with times."""

    verdict: Verdict
    answers: list[Answer]  # to every step; empty if the request does not want them
    logits: list[float]  # mean logits of the read-out after the last step
    queue_ms: float
    infer_ms: float
    early: bool
    decoded_s: float  # time.perf_counter() when the inputs had been decoded
    inside: list[Inside] = field(default_factory=list)  # activity inside the network in every step, if probed

    @property
    def steps(self) -> int:
        """Number of steps made."""
        return self.verdict.steps


class RequestReceiver:
    """Collects the outcomes of a request's steps into a Result."""

    def __init__(
        self, track: StreamReadout | DetectionReadout, window: int, mailbox: Mailbox, wanted: AnswerSpec = EVERY_STEP
    ) -> None:
        self._track, self._mailbox, self._wanted, self._window = track, mailbox, wanted, window
        self._answers: list[Answer] = []
        self._inside: list[Inside] = []
        self._verdict = Verdict(track.labels, window)
        self._queue_ms = self._begun = 0.0
        self._steps: int
        self.begun: float  # time.perf_counter() when the inputs had been decoded
        self.future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    def begin(self, steps: int) -> None:
        """Record the number of steps, and the time, when the inputs have been decoded. Raises ServiceError for none."""
        if not steps:  # nothing would ever be stepped, nor answered
            raise ServiceError(400, "there is nothing in this sample to answer")
        self._steps, self.begun = steps, time.perf_counter()

    @property
    def merge_steps(self) -> bool:
        """Whether several steps may be merged into one outcome, because only the last answer is wanted."""
        return self._wanted == LAST_STEP

    def outcome(self, inputs: list[Input], outcome: Outcome, queue_ms: float) -> bool:
        """Handle the outcome of these inputs; return True if the request is finished."""
        if not self._verdict.steps:
            self._queue_ms, self._begun = queue_ms, time.perf_counter() - outcome.step_ms / 1e3
        if outcome.inside is not None:
            self._inside.append(outcome.inside)
        merged = len(inputs) == 1 or self._steps <= self._window  # within a window only the last answer counts
        last = False
        for part, made in [(inputs, outcome)] if merged else outcome.each(inputs):
            answer = self._track.read(part, made)
            self._verdict.push(answer, len(part))
            self._answers += [answer._replace(prediction=self._verdict.last_step)] if self._wanted.every else []
            aim = self._wanted.confidence
            last |= aim is not None and max(answer.prediction.probabilities) > aim
            commitment = self._verdict.prediction.commitment if self._wanted.error_rate is not None else None
            last |= commitment is not None and commitment.label is not None
        last |= self._verdict.steps == self._steps
        if last:
            self._finish()
        return last

    def _finish(self) -> None:
        mean = self._track.logits
        result = Result(
            verdict=self._verdict,
            answers=self._answers,
            logits=[] if mean is None else mean.tolist(),
            queue_ms=self._queue_ms,
            infer_ms=(time.perf_counter() - self._begun) * 1e3,
            early=self._verdict.steps < self._steps,
            decoded_s=self.begun,
            inside=self._inside,
        )
        self._mailbox.resolve(self.future, result)

    def failed(self, error: Exception) -> None:
        """Pass the failure to whoever awaits the result."""
        self._mailbox.reject(self.future, error)


async def run_request(
    model: ServedModel,
    decode: Callable[[], list[Input]],
    mailbox: Mailbox,
    thread: Executor,
    *,
    deadline: float,
    wanted: AnswerSpec = EVERY_STEP,
) -> Result:
    """Decode one request in a `thread`, and step it, batched with all other jobs. `deadline` is on time.monotonic().

    Raises Expired, Broken, Stopped, SessionError when the values overflow the network, and what `decode` raises.
    """
    error_rate = ERROR_RATE if wanted.error_rate is None else wanted.error_rate
    track = model.classifier.readout(wanted.objects, error_rate=error_rate)
    receiver = RequestReceiver(track, model.classifier.contract.steps, mailbox, wanted)
    job = model.scheduler.open(receiver, request=True, deadline=deadline, merge_steps=receiver.merge_steps)
    job.probe = wanted.probe
    try:
        inputs = await before(deadline, asyncio.get_running_loop().run_in_executor(thread, decode))
        receiver.begin(len(inputs))
        model.scheduler.submit(job, inputs)
        return await before(deadline, receiver.future)
    finally:
        model.scheduler.close(job)
