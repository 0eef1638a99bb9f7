"""Whose turn it is, batch by batch; counts and times; models from disk, and broken ones."""

import asyncio
import gc
import os
import re
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest

from spikesight.models.classifier import Classifier
from spikesight.models.steps import Input, Outcome
from spikesight.service.http.errors import Expired, ServiceError
from spikesight.service.http.metrics import Metrics
from spikesight.service.scheduler.mailbox import Mailbox
from spikesight.service.scheduler.membranes import membranes_of
from spikesight.service.scheduler.queue import Job, Phase, Queue
from spikesight.service.served.registry import Registry
from spikesight.service.settings import Settings
from spikesight.service.upload.request import EVERY_STEP, AnswerSpec, RequestReceiver, Result, run_request
from tests.support.models import kept, tiny
from tests.support.serving.scheduling import Listener, inputs, serving
from tests.support.waiting import PATIENCE_S


def given(n: int, *resets: int) -> list[tuple[Input, float]]:
    """n inputs, some of which begin anew."""
    return [(Input(np.zeros(1), k, 0, 0, k in resets), float(k)) for k in range(n)]


def queue_of(max_batch: int = 4) -> Queue:
    return Queue(quantum=4, max_batch=max_batch, max_queue=9)


def job(queue: Queue, n: int, *resets: int, request: bool = False, several: bool = False, deadline: float = 1e9) -> Job:
    made = queue.open(Listener(), request, deadline, several)
    for one in given(n, *resets):
        queue.push(made, [one])
    return made


def batches(jobs: str, max_batch: int, affordable: int) -> str:
    """Who is in each batch until nothing waits, with as many letters as steps.

    A job is a letter, large for a request, and its inputs: "a2", or "A2/7" where the third begins anew; "A9+" takes
    several steps at once.
    """
    queue, names, found = queue_of(max_batch), dict[int, str](), list[str]()
    for name, counts, several in re.findall(r"(\w)([\d/]+)(\+?)", jobs):
        *resets, n = accumulate(map(int, counts.split("/")))
        names[id(job(queue, n, *resets, request=name.isupper(), several=bool(several)))] = name
    while batch := queue.next_batch(affordable):
        found.append("".join(names[id(work.job)] * len(work.inputs) for work in batch))
        queue.put_back(batch, [False] * len(batch))
    return " ".join(found)


@pytest.mark.parametrize(
    ("jobs", "max_batch", "affordable", "expected"),
    [
        ("a2 b2 c2", 2, 1, "ab ca bc"),
        ("A6 B6", 1, 1, "A A A A B B B B A A B B"),  # a long request lets others pass after its quantum
        ("A3 B3 C3", 2, 1, "AB AB AB C C C"),
        ("A1 B1 C1 D1 a1 b1 c1 d1", 4, 1, "ABab CDcd"),  # half of the places for each kind where both wait
        ("A1 B1 C1 D1 a1 b1 c1 d1", 5, 1, "ABabc CDd"),
        ("A1 B1 C1 D1 E1 F1 a1", 5, 1, "ABCDa EF"),
        ("A1 a1 b1 c1 d1 e1", 4, 1, "Aabc de"),
        ("A1 B1 C1 D1 a1 b1", 4, 1, "ABab CD"),
        ("A1 a1", 1, 1, "a A"),
        ("A6+ B6+", 4, 3, "AB AB AB AB AB AB"),  # several steps at once, as many as can be afforded
        ("A6+ B6+", 4, 4, "AABB AABB AABB"),
        ("A6+ B6+", 4, 100, "AAAABBBB AABB"),  # up to a quantum, and to the last input
        ("A3+ B9+", 4, 100, "AAABBB B BBBB B"),
        ("A2/7+", 4, 100, "AA AA AAAA A"),  # up to a reset
        ("A6+ B2", 4, 100, "AB AB AA AA"),  # one that wants each step holds its company to it
        ("a0 A3+", 4, 100, "A A A"),  # and so does an open stream
    ],
)
def test_turns(jobs: str, max_batch: int, affordable: int, expected: str) -> None:
    assert batches(jobs, max_batch, affordable) == expected


def test_what_comes_too_late_fails_and_what_comes_in_time_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 5.0)
    queue = queue_of()
    late, timely = job(queue, 1, request=True, deadline=4.999), job(queue, 1, request=True, deadline=5.0)
    late.membranes = membranes_of({})
    assert [work.job for work in queue.next_batch(1)] == [timely]
    (error,) = late.receiver.errors  # type: ignore[attr-defined]
    assert isinstance(error, Expired)
    assert (late.phase, late.membranes, queue.open_jobs) == (Phase.CLOSED, None, 1)


def test_open_jobs_are_counted_and_closed_once() -> None:
    queue = queue_of()
    jobs = stream, request, idle = job(queue, 2), job(queue, 2, request=True), job(queue, 0)
    assert (queue.open_jobs, queue.open_streams) == (3, 2)
    for one in jobs * 2:
        queue.close(one)
    assert (queue.open_jobs, queue.open_streams) == (0, 0)
    assert [one.phase for one in jobs] == [Phase.CLOSING, Phase.CLOSING, Phase.CLOSED]
    assert not queue.push(stream, given(1))
    assert queue.next_batch(1) == []
    assert all(one.phase is Phase.CLOSED and not one.pending for one in (stream, request, idle))


def test_who_is_closed_while_it_is_stepped_gives_its_membranes_up() -> None:
    queue = queue_of()
    one, other = job(queue, 3), job(queue, 3)
    one.membranes, other.membranes = membranes_of({}), membranes_of({})
    batch = queue.next_batch(1)
    queue.close(one)
    queue.put_back(batch, [False, True])
    assert (one.phase, other.phase) == (Phase.CLOSED, Phase.CLOSED)
    assert one.membranes is other.membranes is None
    assert (queue.open_jobs, len(queue.streams)) == (0, 0)


def test_a_reset_that_is_dropped_passes_on() -> None:
    queue = queue_of()
    one, plain = job(queue, 3, 1), job(queue, 2)
    for _ in range(2):  # the second time it has not begun anew yet
        queue.drop_waiting(one)
        queue.push(one, given(2))
        assert [waiting.reset for waiting, _ in one.pending] == [True, False]
    queue.drop_waiting(plain)
    queue.push(plain, given(1))
    assert not plain.pending[0][0].reset


async def answered(classifier: Classifier, given: list[Input], wanted: AnswerSpec = EVERY_STEP) -> Result:
    deadline = time.monotonic() + PATIENCE_S
    async with serving(classifier) as (model, mailbox):
        with ThreadPoolExecutor(1) as thread:
            return await run_request(model, lambda: given, mailbox, thread, deadline=deadline, wanted=wanted)


async def test_times_are_from_the_first_steps_begin_to_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    made = Outcome(np.ones((1, 3), np.float32), [1], 2, 40.0, tick=7)
    mailbox = Mailbox()
    mailbox.attach(asyncio.get_running_loop())
    receiver = RequestReceiver(tiny().stream_readout(), 4, mailbox, AnswerSpec(every=False))
    receiver.begin(2)
    for later, queue_ms in ((0.25, 3.0), (0.5, 9.0)):
        now[0] += later
        receiver.outcome([inputs(1)[0]], made, queue_ms)
    mailbox.flush()
    result = await receiver.future
    assert (result.decoded_s, result.queue_ms) == (100.0, 3.0)
    assert result.infer_ms == pytest.approx(540.0)


async def test_stopping_at_the_first_step_that_is_surer() -> None:
    sure = [max(answer.prediction.probabilities) for answer in (await answered(tiny(), inputs(9))).answers]
    aim = sorted(sure)[-2]  # one step alone is above it
    first = int(np.argmax(sure))
    early = await answered(tiny(), inputs(9), AnswerSpec(confidence=aim))
    assert (early.steps, early.early) == (first + 1, first < 8)
    assert (await answered(tiny(), inputs(9), AnswerSpec(confidence=max(sure)))).steps == 9, "as sure is not surer"


async def test_a_request_that_cannot_be_decoded_or_holds_nothing_or_comes_late_is_told_so() -> None:
    far = time.monotonic() + 3600  # what holds nothing is answered at once

    def decode(steps: int) -> list[Input]:
        if steps < 0:
            raise ValueError("no picture")
        return inputs(steps) if steps else []

    with ThreadPoolExecutor(1) as thread:
        async with serving(tiny()) as (model, mailbox):

            async def run(steps: int, deadline: float = far) -> Result:
                asked = run_request(model, lambda: decode(steps), mailbox, thread, deadline=deadline)
                return await asyncio.wait_for(asked, PATIENCE_S)

            model.scheduler.open(Listener(), request=False)
            result = await run(3)
            assert (result.steps, result.early) == (3, False)
            with pytest.raises(ValueError, match="no picture"):
                await run(-1)
            with pytest.raises(ServiceError, match="nothing in this sample") as refused:
                await run(0)
            assert refused.value.status == 400
            with pytest.raises(Expired):
                await run(3, time.monotonic() - 1)


@contextmanager
def loaded(saved: Path | None, *models: Path) -> Iterator[Registry]:
    """What serves these models and those that were saved."""
    made = Registry(Settings(models=tuple(map(str, models)), save_to=saved), Metrics(), Mailbox())
    made.load()
    yield made
    made.stop()


def test_nothing_holds_a_model_that_is_served_no_more(tmp_path: Path) -> None:
    kept(tmp_path / "saved" / "mine")
    with loaded(tmp_path / "saved", kept(tmp_path / "good")) as made:
        thread, model = made.get("mine").scheduler._thread, weakref.ref(made.get("mine"))
        assert b'depth{model="mine"}' in made._metrics.text()
        made.remove("mine")
        made.remove("mine")
        thread.join(PATIENCE_S)
        gc.collect()
        assert model() is None
        assert b'depth{model="mine"}' not in made._metrics.text()


def test_of_two_saved_models_whose_names_differ_in_case_one_is_served(tmp_path: Path) -> None:
    for name in ("Mine", "mine"):
        kept(tmp_path / "saved" / name)
    with loaded(tmp_path / "saved", kept(tmp_path / "good")) as made:
        assert [model.name for model in made.all()] == ["good", "Mine"]


@pytest.mark.attack(
    "model files",
    "saved models with others' names, damaged, unreadable, links",
    "left out with a warning; the start goes on",
)
def test_a_start_never_fails_for_what_was_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saved, good, outside = tmp_path / "saved", kept(tmp_path / "good"), kept(tmp_path / "outside")
    whole = kept(saved / "mine")
    reasons = {
        "GOOD": "another model", "mnist-direct": "another model",  # the second is shipped, though not served here
        "nul": "kept for", "teaching-" + "0" * 24: "kept for",
        "with space": "names are", "ends.": "names are", "x" * 65: "names are", "model": "around it",
        "linked": "out of the folder", "linked-weights": "out of the folder", "dangling": "no config.json",
        "loop": "", "empty": "no config.json", "no-weights": "model.safetensors", "folders": "config.json",
        "fifo": "config.json", "cut": "damaged",
    }  # fmt: skip
    for name in list(reasons)[:8]:
        kept(saved / name)
    (saved / "linked").symlink_to(outside)
    kept(saved / "linked-weights").joinpath("model.safetensors").unlink()
    (saved / "linked-weights" / "model.safetensors").symlink_to(outside / "model.safetensors")
    (saved / "dangling").symlink_to(saved / "nowhere")
    (saved / "loop").symlink_to(saved / "loop")
    (saved / "empty").mkdir()
    kept(saved / "no-weights").joinpath("model.safetensors").unlink()
    (saved / "folders" / "config.json").mkdir(parents=True)
    (saved / "fifo").mkdir()
    os.mkfifo(saved / "fifo" / "config.json")
    os.truncate(kept(saved / "cut") / "model.safetensors", 1000)
    (saved / "notes.txt").write_text("a file is no model")
    (saved / "within").symlink_to(whole)
    with loaded(saved, good) as made:
        assert [model.name for model in made.all()] == ["good", "mine", "within"]
        told = [vars(record)["fields"] for record in caplog.records if "left out" in record.getMessage()]
        assert {fields["model"] for fields in told} == set(reasons)
        for fields in told:
            assert reasons[fields["model"]] in fields["reason"], fields


@pytest.mark.parametrize("content", [None, ""])
def test_a_folder_of_saved_models_that_is_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "saved").write_text(content)
    with loaded(tmp_path / "saved", kept(tmp_path / "good")) as made:
        assert [model.name for model in made.all()] == ["good"]
