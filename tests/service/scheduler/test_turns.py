"""Whose turn it is, batch by batch, with no thread and no network: streams in a circle, requests oldest first."""

import math
import threading
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from spikesight.models.steps import Input, Outcome, Step
from spikesight.service.http.errors import Expired
from spikesight.service.scheduler import queue as module
from spikesight.service.scheduler.membranes import membranes_of
from spikesight.service.scheduler.queue import Job, Phase, Queue, Work, check
from spikesight.service.scheduler.scheduler import Scheduler


class Client:
    """Waits for its outcomes."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def outcome(self, inputs: list[Input], outcome: Outcome, queue_ms: float) -> bool:
        raise AssertionError(f"nothing is stepped here: {inputs} {outcome} {queue_ms}")

    def failed(self, error: Exception) -> None:
        self.errors.append(error)


NUMBER = count()


def given(n: int, *resets: int) -> list[tuple[Input, float]]:
    """n inputs, some of which begin anew."""
    return [(Input(np.zeros(1), next(NUMBER), 0, 0, k in resets), float(k)) for k in range(n)]


def job(
    queue: Queue, n: int, *resets: int, request: bool = False, several: bool = False, deadline: float = 1e18
) -> Job:
    made = queue.open(Client(), request, deadline, several)
    if n:
        queue.push(made, given(n, *resets))
    return made


def turns(queue: Queue, jobs: dict[str, Job], batches: int, affordable: int = 1) -> list[str]:
    """Who is in each batch, with as many letters as steps."""
    names = {id(one): name for name, one in jobs.items()}
    said = []
    for _ in range(batches):
        batch = queue.take(affordable)
        said.append("".join(names[id(work.job)] * len(work.inputs) for work in batch))
        queue.put_back(batch, [False] * len(batch))
    return said


def test_streams_take_turns() -> None:
    queue = Queue(quantum=4, max_batch=2, max_queue=9)
    jobs = {name: job(queue, 2) for name in "abc"}
    assert turns(queue, jobs, 4) == ["ab", "ca", "bc", ""]
    assert all(one.phase is Phase.IDLE for one in jobs.values())
    assert [one.steps for one in jobs.values()] == [2, 2, 2]


def test_a_long_request_lets_others_pass_after_a_quantum() -> None:
    queue = Queue(quantum=4, max_batch=1, max_queue=9)
    jobs = {name: job(queue, 6, request=True) for name in "ab"}
    assert "".join(turns(queue, jobs, 12)) == "aaaabbbbaabb"


def test_requests_at_the_front_keep_their_order() -> None:
    queue = Queue(quantum=4, max_batch=2, max_queue=9)
    jobs = {name: job(queue, 3, request=True) for name in "abc"}
    assert turns(queue, jobs, 5) == ["ab", "ab", "ab", "c", "c"]


@pytest.mark.parametrize(
    ("max_batch", "streams", "requests", "expected"),
    [
        (4, 6, 6, (2, 2)),
        (5, 6, 6, (2, 3)),
        (5, 1, 6, (4, 1)),
        (4, 0, 6, (4, 0)),
        (4, 6, 0, (0, 4)),
        (4, 6, 1, (1, 3)),
        (1, 1, 1, (0, 1)),
        (4, 4, 4, (2, 2)),
        (4, 3, 4, (2, 2)),
        (4, 2, 4, (2, 2)),
    ],
)
def test_half_of_the_places_are_for_each_kind(
    max_batch: int, streams: int, requests: int, expected: tuple[int, int]
) -> None:
    queue = Queue(quantum=4, max_batch=max_batch, max_queue=99)
    for _ in range(streams):
        job(queue, 1)
    for _ in range(requests):
        job(queue, 1, request=True)
    kinds = [work.job.request for work in queue.take(1)]
    assert (kinds.count(True), kinds.count(False)) == expected
    assert kinds == sorted(kinds, reverse=True), "requests first"


@pytest.mark.parametrize(("affordable", "steps"), [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3), (8, 4), (100, 4)])
def test_requests_make_as_many_steps_at_once_as_can_be_afforded(affordable: int, steps: int) -> None:
    queue = Queue(quantum=4, max_batch=4, max_queue=9)
    for _ in range(2):
        job(queue, 6, request=True, several=True)
    assert [len(work.inputs) for work in queue.take(affordable)] == [steps] * 2


def test_several_steps_end_at_a_quantum_at_a_reset_and_at_the_last_input() -> None:
    def steps(n: int, *resets: int, quantum: int = 4, several: bool = True, made: int = 0) -> int:
        queue = Queue(quantum, max_batch=4, max_queue=9)
        one = job(queue, n, *resets, request=True, several=several)
        one.steps = made
        return len(queue.take(100)[0].inputs)

    assert steps(9) == 4
    assert steps(9, made=1) == 3
    assert steps(9, made=3) == 1
    assert steps(3) == 3
    assert steps(9, 2) == 2
    assert steps(9, 1) == 1
    assert steps(9, 0) == 4
    assert steps(9, several=False) == 1
    assert steps(9, quantum=100) == 9


def test_an_open_stream_has_each_step_for_itself() -> None:
    queue = Queue(quantum=4, max_batch=4, max_queue=9)
    job(queue, 6, request=True, several=True)
    stream = job(queue, 0)
    assert len(queue.take(100)[0].inputs) == 1
    queue.close(stream)
    job(queue, 6, request=True, several=True)
    assert len(queue.take(100)[0].inputs) == 4


def test_one_that_wants_each_step_holds_its_company_to_it() -> None:
    queue = Queue(quantum=4, max_batch=4, max_queue=9)
    job(queue, 6, request=True, several=True)
    job(queue, 6, request=True)
    assert [len(work.inputs) for work in queue.take(100)] == [1, 1]


def test_what_comes_too_late_fails_and_what_comes_in_time_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "monotonic", lambda: 5.0)
    queue = Queue(quantum=4, max_batch=4, max_queue=9)
    late, timely = job(queue, 1, request=True, deadline=4.999), job(queue, 1, request=True, deadline=5.0)
    late.membranes = membranes_of({})
    assert [work.job for work in queue.take(1)] == [timely]
    (error,) = late.receiver.errors  # type: ignore[attr-defined]
    assert isinstance(error, Expired)
    assert (late.phase, late.membranes, queue.open_jobs) == (Phase.CLOSED, None, 1)


def test_open_jobs_are_counted_and_closed_once() -> None:
    queue = Queue(quantum=4, max_batch=4, max_queue=9)
    stream, request, idle = job(queue, 2), job(queue, 2, request=True), job(queue, 0)
    assert (queue.open_jobs, queue.open_streams) == (3, 2)
    for _ in range(2):
        queue.close(stream)
        queue.close(request)
        queue.close(idle)
    assert (queue.open_jobs, queue.open_streams) == (0, 0)
    assert (stream.phase, request.phase, idle.phase) == (Phase.CLOSING, Phase.CLOSING, Phase.CLOSED)
    assert stream.closed
    assert idle.closed
    assert not queue.push(stream, given(1))
    assert not stream.pending
    assert queue.take(1) == []
    assert stream.phase is request.phase is Phase.CLOSED


def test_who_is_closed_while_it_is_stepped_gives_its_membranes_up() -> None:
    queue = Queue(quantum=4, max_batch=4, max_queue=9)
    one, other = job(queue, 3), job(queue, 3)
    for each in (one, other):
        each.membranes = membranes_of({})
    batch = queue.take(1)
    queue.close(one)
    queue.put_back(batch, [False, True])
    assert (one.phase, other.phase) == (Phase.CLOSED, Phase.CLOSED)
    assert one.membranes is other.membranes is None
    assert queue.open_jobs == 0
    assert not queue.streams


def test_a_job_is_queued_once_however_often_it_is_given_more() -> None:
    queue = Queue(quantum=4, max_batch=4, max_queue=9)
    one = job(queue, 0)
    assert queue.push(one, given(1))
    assert not queue.push(one, given(1))
    assert len(queue.streams) == 1
    assert len(one.pending) == 2
    batch = queue.take(1)
    queue.put_back(batch, [False])
    assert len(queue.streams) == 1


def test_a_reset_that_is_dropped_passes_on() -> None:
    queue = Queue(quantum=4, max_batch=4, max_queue=9)
    one = job(queue, 3, 1)
    assert len(queue.drop_waiting(one)) == 3
    queue.push(one, given(2))
    assert [waiting.reset for waiting, _ in one.pending] == [True, False]
    assert not one.reset_next
    queue.drop_waiting(one)
    queue.push(one, given(1))
    assert [waiting.reset for waiting, _ in one.pending] == [True], "it has not begun anew yet"
    plain = job(queue, 2)
    queue.drop_waiting(plain)
    queue.push(plain, given(1))
    assert not plain.pending[0][0].reset


def test_a_reset_gives_the_membranes_up_before_its_step() -> None:
    queue = Queue(quantum=4, max_batch=4, max_queue=9)
    one, other = job(queue, 1, 0), job(queue, 1)
    for each in (one, other):
        each.membranes = membranes_of({})
    queue.take(1)
    assert one.membranes is None
    assert other.membranes is not None


@pytest.mark.parametrize(("streams", "requests", "decoded"), [(0, 0, 4), (0, 3, 1), (0, 9, 0), (1, 0, 1), (1, 9, 1)])
def test_as_many_are_decoded_as_the_next_batch_takes(streams: int, requests: int, decoded: int) -> None:
    queue = Queue(quantum=4, max_batch=4, max_queue=99)
    for _ in range(streams):
        job(queue, 0)
    for _ in range(requests):
        job(queue, 1, request=True)
    queue.undecoded.extend((job(queue, 0, request=True), list) for _ in range(6))
    assert len(queue.take_undecoded()) == decoded
    assert len(queue.undecoded) == 6 - decoded


def test_everything_that_waits_is_drained() -> None:
    queue = Queue(quantum=4, max_batch=4, max_queue=9)
    jobs = [job(queue, 1), job(queue, 1, request=True), job(queue, 0, request=True)]
    queue.undecoded.append((jobs[2], list))
    assert set(map(id, queue.drain())) == set(map(id, jobs))
    assert (len(queue.streams), len(queue.requests), len(queue.undecoded)) == (0, 0, 0)


def test_streams_alone_make_a_batch_of_one_step_each() -> None:
    queue = Queue(quantum=4, max_batch=2, max_queue=9)
    streams = [job(queue, 2) for _ in range(3)]
    job(queue, 2, request=True)
    batch = queue.take_streams()
    assert [work.job for work in batch] == streams[:2]
    assert [len(work.inputs) for work in batch] == [1, 1]


def test_what_a_network_takes() -> None:
    for kind in (np.uint8, np.float32):
        good = Input(np.zeros((2, 3, 4), kind), 0, 0, 0, False)
        assert check(good, (2, 3, 4)) is good
    for x in (np.zeros((2, 3, 4)), np.zeros((2, 3, 4), np.int8), np.zeros((2, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match="must be uint8 or float32"):
            check(Input(x, 0, 0, 0, False), (2, 3, 4))


def test_an_outcome_says_how_long_it_waited_and_took_and_when_it_was_made() -> None:
    told: list[tuple[float, float, int]] = []
    receiver: Any = SimpleNamespace(
        outcome=lambda _, made, queue_ms: told.append((queue_ms, made.step_ms, made.tick)) or True
    )
    scheduler = Scheduler.__new__(Scheduler)
    scheduler._queue, scheduler._ticks, scheduler._changed = Queue(1, 2, 2), 6, threading.Condition()
    scheduler._notify_if_retiring = lambda: None  # type: ignore[method-assign]
    jobs = [scheduler._queue.open(receiver, False, math.inf, False) for _ in range(2)]
    batch = [Work(job, [Input(np.zeros(1), 0, 1, 0, False)], 0.0) for job in jobs]
    nothing = torch.zeros(2, 0)
    result = Step(torch.zeros(2, 3), {}, torch.tensor([[1, 2], [3, 4]]), torch.tensor([5, 6]), nothing, nothing)
    assert scheduler._hand_out(batch, result, [0.25, 0.5], 0.125) == (10, 11)
    assert told == [(250.0, 125.0, 7), (500.0, 125.0, 7)]
    assert scheduler._queue.open_jobs == 0
