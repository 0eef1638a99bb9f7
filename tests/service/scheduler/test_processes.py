"""Calls in processes of their own: results and errors come back, and whatever a call does ends with it."""

import asyncio
import gc
import mmap
import os
import select
import signal
import tempfile
import time
import weakref
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from spikesight.encoders.events import EVENTS, SensorSize
from spikesight.encoders.sample import Sample
from spikesight.service.http.errors import OutOfMemory
from spikesight.service.scheduler.answer import LARGE
from spikesight.service.scheduler.processes import CALLS, MEMORY, Ended, Killed, Processes
from tests.support.processes import endless
from tests.support.waiting import PATIENCE_S, until

T = TypeVar("T")


def doubled(n: int) -> int:
    return 2 * n


def failing() -> None:
    raise LookupError("nothing there")


def greedy() -> int:
    return len(bytearray(2**40))


def mapped(size: int) -> int:
    """Address space alone: no page is touched."""
    with mmap.mmap(-1, size) as memory:
        return len(memory)


def ended() -> None:
    os._exit(0)


def identity() -> int:
    return os.getpid()


def littered() -> None:
    Path(tempfile.mkdtemp(), "left").touch()
    os._exit(0)


def marked() -> None:
    """In the folder of its process, where it stays until that ends."""
    Path(tempfile.gettempdir()).with_name("begun").touch()


class Forged:
    """What a fork whose decoder was taken over might answer: reading it would make a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def within(seconds: float) -> float:
    return time.monotonic() + seconds


def talk(work: Callable[[Processes], Awaitable[T]]) -> T:
    """Run `work` in a loop with processes that are stopped afterwards."""

    async def run() -> T:
        processes = Processes(__name__)
        processes.start()
        try:
            return await work(processes)
        finally:
            processes.stop()

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder, for this test alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_results_and_errors_come_back() -> None:
    async def work(processes: Processes) -> list[int]:
        with pytest.raises(LookupError, match="nothing there"):
            await processes.run(failing, deadline=within(PATIENCE_S))
        return await asyncio.gather(*(processes.run(doubled, n, deadline=within(PATIENCE_S)) for n in range(20)))

    assert talk(work) == [2 * n for n in range(20)]


def refused(_: object) -> None:
    raise LookupError


def test_a_refused_call_holds_nothing() -> None:
    async def work(processes: Processes) -> None:
        large = np.zeros(9)
        watched = weakref.ref(large)
        with suppress(LookupError):
            await processes.run(refused, large, deadline=within(PATIENCE_S))
        del large
        await asyncio.to_thread(until, lambda: watched() is None)  # the call's thread may hold it a moment longer

    gc.disable()
    try:
        talk(work)
    finally:
        gc.enable()


def large(n: int) -> Sample:
    return Sample(np.arange(n, dtype=np.uint8), np.full(n, 7, EVENTS), SensorSize(3, 4), ("odd",))


@pytest.mark.parametrize("n", [3, LARGE - 1, LARGE])
def test_large_arrays_come_beside_the_rest_and_may_be_written_to(n: int) -> None:
    async def work(processes: Processes) -> list[Sample]:
        return [await processes.run(large, size, deadline=within(PATIENCE_S)) for size in (n, 5)]

    for found, size in zip(talk(work), (n, 5), strict=True):
        expected = large(size)
        assert (found.size, found.warnings) == (expected.size, expected.warnings)
        assert np.array_equal(found.pixels, expected.pixels)  # type: ignore[arg-type]
        assert np.array_equal(found.events, expected.events)  # type: ignore[arg-type]
        assert found.events.flags.writeable  # type: ignore[union-attr]


@pytest.mark.attack(
    "recordings",
    "an answer forged by a decoder that a file took over",
    "400; only arrays, records and errors are built from it",
)
def test_a_forged_answer_runs_nothing(folder: Path) -> None:
    async def work(processes: Processes) -> int:
        with pytest.raises(Killed):
            await processes.run(Forged, str(folder / "made"), deadline=within(PATIENCE_S))
        return await processes.run(doubled, 3, deadline=within(PATIENCE_S))

    assert talk(work) == 6
    assert not (folder / "made").exists()


@pytest.mark.attack("recordings", "a decoder that does not end", "killed at the deadline; others go on")
def test_a_call_that_does_not_end_is_killed_at_its_deadline_and_holds_nobody_up() -> None:
    async def work(processes: Processes) -> int:
        await processes.run(doubled, 1, deadline=within(PATIENCE_S))
        stuck = [asyncio.create_task(processes.run(endless, deadline=within(PATIENCE_S))) for _ in range(CALLS - 1)]
        beside = await processes.run(doubled, 2, deadline=within(PATIENCE_S))
        for task in stuck:
            task.cancel()
        for _ in range(2 * CALLS):
            with pytest.raises(TimeoutError):
                await processes.run(endless, deadline=within(0.2))
        return beside

    assert talk(work) == 4


def test_what_has_expired_in_the_queue_is_not_begun(folder: Path) -> None:
    async def work(processes: Processes) -> list[int]:
        await processes.run(doubled, 1, deadline=within(PATIENCE_S))
        begun = []
        for late in (True, False):
            held = [asyncio.create_task(processes.run(endless, deadline=within(1))) for _ in range(CALLS)]
            await asyncio.sleep(0)  # they are in the queue first
            with pytest.raises(TimeoutError) if late else nullcontext():
                await processes.run(marked, deadline=within(0.1 if late else PATIENCE_S))
            await asyncio.gather(*held, return_exceptions=True)
            await processes.run(doubled, 1, deadline=within(PATIENCE_S))
            begun.append(len(list(folder.glob("*/begun"))))
        return begun

    assert talk(work) == [0, 1]


def test_memory_is_limited() -> None:
    async def work(processes: Processes) -> None:
        assert await processes.run(mapped, MEMORY - 2**27, deadline=within(PATIENCE_S)) == MEMORY - 2**27
        with pytest.raises(OSError, match="allocate"):
            await processes.run(mapped, MEMORY + 1, deadline=within(PATIENCE_S))
        with pytest.raises(MemoryError):
            await processes.run(greedy, deadline=within(PATIENCE_S))

    talk(work)


@pytest.mark.attack("load", "files for which a container has no memory left, when the kernel ends their decoder", "503")
def test_a_decoder_that_the_kernel_ends_for_want_of_memory_is_no_damaged_file() -> None:
    kills = count()  # one more whenever it is asked

    async def run() -> None:
        processes = Processes(__name__, oom_kills=lambda: next(kills))
        processes.start()
        try:
            with pytest.raises(OutOfMemory) as caught:
                await processes.run(ended, deadline=within(PATIENCE_S))
            assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "5"})
            assert await processes.run(doubled, 3, deadline=within(PATIENCE_S)) == 6
        finally:
            processes.stop()

    asyncio.run(run())


def test_a_process_that_ends_is_replaced_and_leaves_no_file(folder: Path) -> None:
    async def work(processes: Processes) -> int:
        for function in (ended, littered) * CALLS:
            with pytest.raises(Killed):
                await processes.run(function, deadline=within(PATIENCE_S))
        return await processes.run(doubled, 3, deadline=within(PATIENCE_S))

    assert talk(work) == 6
    assert not list(folder.iterdir())


def test_a_warm_process_that_was_killed_is_started_anew() -> None:
    async def work(processes: Processes) -> int:
        fork = await processes.run(identity, deadline=within(PATIENCE_S))
        os.killpg(os.getpgid(fork), signal.SIGKILL)
        for _ in range(2 * CALLS):  # those that the system has not seen to yet
            with suppress(Killed):
                await processes.run(identity, deadline=within(PATIENCE_S))
        return await processes.run(doubled, 3, deadline=within(PATIENCE_S))

    assert talk(work) == 6


def slowly() -> int:
    """Until somebody takes away the file that says it has begun."""
    begun = Path(tempfile.gettempdir(), "begun")
    begun.touch()
    while begun.exists():
        os.sched_yield()
    return 5


@pytest.mark.attack("recordings", "SIGTERM for the service and its decoders while a file is decoded", "it is answered")
def test_a_call_outlives_sigterm(folder: Path) -> None:
    async def work(processes: Processes) -> tuple[int, int]:
        fork = await processes.run(identity, deadline=within(PATIENCE_S))
        running = asyncio.create_task(processes.run(slowly, deadline=within(PATIENCE_S)))
        await asyncio.to_thread(until, lambda: list(folder.glob("*/*/begun")), "it runs")
        os.killpg(os.getpgid(fork), signal.SIGTERM)
        for begun in folder.glob("*/*/begun"):
            begun.unlink()
        return await running, await processes.run(doubled, 3, deadline=within(PATIENCE_S))

    assert talk(work) == (5, 6)


def test_calls_that_the_service_ends_are_told_from_calls_that_fail(folder: Path) -> None:
    async def work(processes: Processes) -> list[object]:
        calls = [asyncio.create_task(processes.run(slowly, deadline=within(PATIENCE_S))) for _ in range(CALLS + 2)]
        await asyncio.to_thread(until, lambda: len(list(folder.glob("*/*/begun"))) == CALLS, "some run, two wait")
        await asyncio.to_thread(processes.stop)
        return await asyncio.gather(*calls, return_exceptions=True)

    assert [type(result) for result in talk(work)] == [Ended] * (CALLS + 2)


def warm_up() -> None:
    """What the processes of these tests do first: they wait while a file lies in their temporary folder."""
    while "TMPDIR" in os.environ and Path(os.environ["TMPDIR"], "gate").exists():
        os.sched_yield()


def test_it_is_ready_when_the_first_process_is_warm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(folder))
    gate = folder / "gate"
    gate.touch()

    async def work(processes: Processes) -> tuple[bool, int]:
        early = processes.ready
        gate.unlink()
        until(lambda: processes.ready, "it is warm")
        return early, await processes.run(doubled, 3, deadline=within(PATIENCE_S))

    assert talk(work) == (False, 6)


def test_one_that_dies_while_it_warms_up_is_started_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(folder))
    gate = folder / "gate"
    gate.touch()

    async def work(processes: Processes) -> int:
        until(lambda: processes._warm, "it has begun")
        assert processes._warm is not None
        gate.unlink()
        processes._warm[0].kill()
        until(lambda: processes.ready, "nothing is waited for")
        return await processes.run(doubled, 3, deadline=within(PATIENCE_S))

    assert talk(work) == 6


def test_what_was_stopped_stays_stopped() -> None:
    processes = Processes(__name__)
    processes.start()
    until(lambda: processes._warm, "it has begun")
    for _ in range(2):  # the second finds nothing to kill
        processes.stop()
        assert processes._warm is None
    with pytest.raises(Ended):
        asyncio.run(processes.run(doubled, 1, deadline=within(PATIENCE_S)))
    processes._give_back()


def test_no_process_outlives_the_service() -> None:
    async def work(processes: Processes) -> int:
        return await processes.run(identity, deadline=within(PATIENCE_S))

    fork = talk(work)
    try:
        handle = os.pidfd_open(fork)
    except ProcessLookupError:
        return  # gone already
    ended, _, _ = select.select([handle], [], [], PATIENCE_S)
    os.close(handle)
    assert ended
