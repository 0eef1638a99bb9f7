"""What the scheduler's tests share: inputs, listeners, and a classifier that can be held."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from spikesight.models.classifier import Classifier
from spikesight.models.neurons.state import State
from spikesight.models.steps import Input, Outcome, Step
from spikesight.service.http.metrics import Metrics
from spikesight.service.scheduler.mailbox import Mailbox
from spikesight.service.scheduler.queue import Job
from spikesight.service.scheduler.scheduler import Scheduler
from spikesight.service.served.registry import ServedModel
from spikesight.service.settings import Settings
from tests.support.models import tiny
from tests.support.waiting import PATIENCE_S

SHAPE = (2, 16, 12)


def inputs(n: int, seed: int = 0) -> list[Input]:
    """n seeded inputs of SHAPE for `tiny`."""
    random = np.random.default_rng(seed)
    return [Input((random.random(SHAPE) < 0.2).astype(np.uint8), t, t + 1, 0, False) for t in range(n)]


@dataclass
class Listener:
    """Collects a job's outcomes."""

    wanted: int = 1_000_000
    outcomes: list[Outcome] = field(default_factory=list)
    steps: int = 0
    errors: list[Exception] = field(default_factory=list)
    queue_ms: list[float] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)  # that handed something over
    done: threading.Event = field(default_factory=threading.Event)

    def outcome(self, inputs: list[Input], outcome: Outcome, queue_ms: float) -> bool:
        self.queue_ms.append(queue_ms)
        assert len(inputs) == len(outcome.logits)
        self.outcomes.append(outcome)
        self.steps += len(inputs)
        self.threads.add(threading.get_ident())
        if self.steps == self.wanted:
            self.done.set()
        return False

    @property
    def logits(self) -> list[np.ndarray]:
        """[K] of every step."""
        return [row for outcome in self.outcomes for row in outcome.logits]

    def failed(self, error: Exception) -> None:
        self.errors.append(error)
        self.done.set()

    def wait(self) -> "Listener":
        assert self.done.wait(PATIENCE_S)
        return self


class Gated(Classifier):
    """A classifier, else `tiny`, whose steps wait for permission, and remember their batch."""

    def __init__(self, made: Classifier | None = None) -> None:
        made = made or tiny()
        super().__init__(made.network, made.card, "tiny")
        self.gate, self.entered = threading.Event(), threading.Event()
        self.batches: list[int] = []
        self.poison: float | None = None

    def step(self, x: torch.Tensor, state: State, probe: Sequence[bool] = ()) -> Step:
        self.entered.set()
        assert self.gate.wait(PATIENCE_S)
        if self.poison is not None and bool((x == self.poison).any()):
            raise ValueError("a bad item")
        self.batches.append(len(x))
        return super().step(x, state, probe)


@contextmanager
def scheduling(classifier: Classifier, **options: Any) -> Iterator[Scheduler]:
    """A scheduler that runs, and whose thread has ended afterwards."""
    scheduler = Scheduler(classifier, **options)
    scheduler.start()
    try:
        yield scheduler
    finally:
        getattr(classifier, "gate", threading.Event()).set()
        scheduler.stop()
        assert not scheduler._thread.is_alive()


def open_with(
    scheduler: Scheduler, given: list[Input], *, request: bool = False, deadline: float = float("inf")
) -> tuple[Job, Listener]:
    """A job with its work submitted, and who listens to it."""
    listener = Listener(len(given))
    job = scheduler.open(listener, request=request, deadline=deadline)
    scheduler.submit(job, given)
    return job, listener


def equal(listener: Listener, given: list[Input]) -> bool:
    """Whether it hears, in the end, what these inputs give without any company, bit for bit."""
    return np.array_equal(listener.wait().logits, alone(given))


def alone(given: list[Input], classifier: Classifier | None = None) -> list[np.ndarray]:
    """The logits of every input, stepped without any company, by `tiny` unless another is given."""
    classifier, logits = classifier or tiny(), []
    state = fresh = classifier.initial_state(1, given[0].x.shape)
    for one in given:
        state = fresh if one.reset else state
        result = classifier.step(torch.from_numpy(one.x[None]), state)
        state = result.state
        logits.append(result.logits[0].numpy())
    return logits


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop go on until the condition holds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(classifier: Classifier) -> AsyncIterator[tuple[ServedModel, Mailbox]]:
    """A model whose thread runs, and what hands its answers to this event loop."""
    mailbox = Mailbox()
    mailbox.attach(asyncio.get_running_loop())
    gate = getattr(classifier, "gate", threading.Event())
    gate.set()  # the model's own first step passes
    model = ServedModel(classifier, Settings(), Metrics(), mailbox)
    gate.clear()
    model.scheduler.start()
    try:
        yield model, mailbox
    finally:
        gate.set()
        model.scheduler.stop()
