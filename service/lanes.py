"""Lanes: what waits for the network, whose it is, and who is told."""

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from models.classifier import Input
from service.rows import Row, release
from service.session import Outcome, Run


class Overloaded(Exception):
    """The queue of requests is full."""


class Expired(Exception):
    """The deadline passed before the answer."""


class Broken(Exception):
    """The network failed on this input."""


class Stopped(Exception):
    """The scheduler has ended."""


class Receiver(Protocol):
    """Whoever waits for a lane's outcomes. Called by whoever steps the network: be quick."""

    def outcome(self, given: Input, outcome: Outcome, queue_ms: float) -> bool:
        """One step was made; True when no further step is wanted."""
        ...

    def ran(self, given: list[Input], run: Run, queue_ms: float) -> bool:
        """The same for several steps, for lanes that want sums."""
        ...

    def failed(self, error: Exception) -> None:
        """The lane is closed; no outcome will follow."""
        ...


@dataclass(eq=False, slots=True)
class Lane:
    """One stream or request: its membranes and the inputs that wait."""

    receiver: Receiver
    request: bool  # a request is served oldest first; a stream by turns
    sums: bool  # its receiver wants the sums of many steps, not each step
    quantum: int  # steps after which a long request lets others pass
    deadline: float  # time.monotonic() after which nothing is computed; inf for streams
    row: Row | None = None  # None: fresh membranes
    waiting: "deque[tuple[Input, float]]" = field(default_factory=deque)  # with time.perf_counter() of arrival
    queued: bool = False  # in a queue, or being stepped
    closed: bool = False
    forget: bool = False  # the next input starts with fresh membranes
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick did."""

    batch: int
    steps: int  # of each lane, one after the other
    step_s: float  # of all of them
    queue_s: list[float]
    synops: int
    spikes: int


Taken = tuple[Lane, list[Input], float]
"""A lane of one tick, the inputs it is stepped with, and when the first of them came (time.perf_counter())."""


def forget(lane: Lane) -> None:
    """Give a lane's membranes up."""
    if lane.row is not None:
        release([lane.row])
        lane.row = None


def position(item: Taken) -> tuple[int, int]:
    """Where a lane's membranes lie; fresh ones first."""
    row = item[0].row
    return (0, 0) if row is None else (id(row.batch), row.index)


def check(given: Input, shape: tuple[int, int, int]) -> Input:
    """The input itself, or ValueError: one bad item must never join a batch."""
    if given.x.shape != shape or given.x.dtype not in (np.uint8, np.float32):
        raise ValueError(f"an input must be uint8 or float32 {list(shape)}")
    return given
