"""Calls in processes of their own: results and errors come back, and whatever a call does ends with it."""

import asyncio
import gc
import mmap
import os
import select
import signal
import tempfile
import weakref
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesight.encoders.events import EVENTS, SensorSize
from spikesight.encoders.sample import Sample
from spikesight.service.http.errors import Expired, OutOfMemory, Stopped
from spikesight.service.scheduler.answer import LARGE
from spikesight.service.scheduler.processes import CALLS, MEMORY, Killed
from tests.support.processes import Caller, calling, endless
from tests.support.waiting import PATIENCE_S, until


def doubled(n: int) -> int:
    return 2 * n


def failing(*_: object) -> None:
    raise LookupError("nothing there")


def mapped(size: int) -> int:
    """Address space alone: no page is touched."""
    with mmap.mmap(-1, size) as memory:
        return len(memory)


def ended() -> None:
    os._exit(0)


def littered() -> None:
    Path(tempfile.mkdtemp(), "left").touch()
    os._exit(0)


def marked() -> None:
    """In the folder of its process, where it stays until that ends."""
    Path(tempfile.gettempdir()).with_name("begun").touch()


def slowly() -> int:
    """Until somebody takes away the file that says it has begun."""
    begun = Path(tempfile.gettempdir(), "begun")
    begun.touch()
    while begun.exists():
        os.sched_yield()
    return 5


def warm_up() -> None:
    """What the processes of these tests do first: they wait while a file lies in their temporary folder."""
    while "TMPDIR" in os.environ and Path(os.environ["TMPDIR"], "gate").exists():
        os.sched_yield()


def processes(**options: Any) -> AbstractContextManager[Caller]:
    return calling(__name__, **options)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder, for this test alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def gate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file behind which processes warm up."""
    monkeypatch.setenv("TMPDIR", str(folder))
    (folder / "gate").touch()
    return folder / "gate"


async def test_results_and_errors_come_back() -> None:
    with processes() as call:
        with pytest.raises(LookupError, match="nothing there"):
            await call(failing)
        assert await asyncio.gather(*(call(doubled, n) for n in range(20))) == [2 * n for n in range(20)]


async def test_a_refused_call_holds_nothing() -> None:
    gc.disable()
    try:
        with processes() as call:
            large = np.zeros(9)
            watched = weakref.ref(large)
            with suppress(LookupError):
                await call(failing, large)
            del large
            await asyncio.to_thread(until, lambda: watched() is None)  # the call's thread may hold it a moment longer
    finally:
        gc.enable()


def large(n: int) -> Sample:
    return Sample(np.arange(n, dtype=np.uint8), np.full(n, 7, EVENTS), SensorSize(3, 4), ("odd",))


async def test_large_arrays_come_beside_the_rest_and_may_be_written_to() -> None:
    with processes() as call:
        for size in (3, LARGE - 1, LARGE, 5):
            found, expected = await call(large, size), large(size)
            assert (found.size, found.warnings) == (expected.size, expected.warnings)
            assert np.array_equal(found.pixels, expected.pixels)  # type: ignore[arg-type]
            assert np.array_equal(found.events, expected.events)  # type: ignore[arg-type]
            assert found.events.flags.writeable  # type: ignore[union-attr]


class Forged:
    """What a fork whose decoder was taken over might answer: reading it would make a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


@pytest.mark.attack(
    "recordings",
    "an answer forged by a decoder that a file took over",
    "400; only arrays, records and errors are built from it",
)
async def test_a_forged_answer_runs_nothing(folder: Path) -> None:
    with processes() as call:
        with pytest.raises(Killed):
            await call(Forged, str(folder / "made"))
        assert await call(doubled, 3) == 6
    assert not (folder / "made").exists()


@pytest.mark.attack("recordings", "a decoder that does not end", "killed at the deadline; others go on")
async def test_a_call_that_does_not_end_is_killed_at_its_deadline_and_holds_nobody_up() -> None:
    with processes() as call:
        await call(doubled, 1)
        stuck = [asyncio.create_task(call(endless)) for _ in range(CALLS - 1)]
        assert await call(doubled, 2) == 4
        for task in stuck:
            task.cancel()
        for _ in range(2 * CALLS):
            with pytest.raises(Expired):
                await call(endless, seconds=0.2)


@pytest.mark.parametrize("late", [True, False])
async def test_what_has_expired_in_the_queue_is_not_begun(folder: Path, late: bool) -> None:
    with processes() as call:
        await call(doubled, 1)
        held = [asyncio.create_task(call(endless, seconds=1)) for _ in range(CALLS)]
        await asyncio.sleep(0)  # they are in the queue first
        with pytest.raises(Expired) if late else nullcontext():
            await call(marked, seconds=0.1 if late else PATIENCE_S)
        await asyncio.gather(*held, return_exceptions=True)
        await call(doubled, 1)
        assert len(list(folder.glob("*/begun"))) == (0 if late else 1)


async def test_memory_is_handed_back_while_calls_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    handed = asyncio.Event()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(
        "spikesight.service.scheduler.processes.give_back", lambda: loop.call_soon_threadsafe(handed.set)
    )
    with processes() as call:
        async with asyncio.timeout(PATIENCE_S):
            while not handed.is_set():
                with suppress(Expired):
                    await call(doubled, 1, seconds=1)


async def test_memory_is_limited() -> None:
    with processes() as call:
        assert await call(mapped, MEMORY - 2**27) == MEMORY - 2**27
        with pytest.raises(OSError, match="allocate"):
            await call(mapped, MEMORY + 1)
        with pytest.raises(MemoryError):
            await call(bytearray, 2**40)


@pytest.mark.attack("load", "files for which a container has no memory left, when the kernel ends their decoder", "503")
async def test_a_decoder_that_the_kernel_ends_for_want_of_memory_is_no_damaged_file() -> None:
    kills = count()  # one more whenever it is asked
    with processes(oom_kills=lambda: next(kills)) as call:
        with pytest.raises(OutOfMemory) as caught:
            await call(ended)
        assert (caught.value.status, caught.value.headers) == (503, {"retry-after": "5"})
        assert await call(doubled, 3) == 6


async def test_a_process_that_ends_is_replaced_and_leaves_no_file(folder: Path) -> None:
    with processes() as call:
        for function in (ended, littered) * CALLS:
            with pytest.raises(Killed):
                await call(function)
        assert await call(doubled, 3) == 6
    assert not list(folder.iterdir())


async def test_a_warm_process_that_was_killed_is_started_anew() -> None:
    with processes() as call:
        os.killpg(os.getpgid(await call(os.getpid)), signal.SIGKILL)
        for _ in range(2 * CALLS):  # those that the system has not seen to yet
            with suppress(Killed):
                await call(doubled, 1)
        assert await call(doubled, 3) == 6


@pytest.mark.attack("recordings", "SIGTERM for the service and its decoders while a file is decoded", "it is answered")
async def test_a_call_outlives_sigterm(folder: Path) -> None:
    with processes() as call:
        fork = await call(os.getpid)
        running = asyncio.create_task(call(slowly))
        await asyncio.to_thread(until, lambda: list(folder.glob("*/*/begun")), "it runs")
        os.killpg(os.getpgid(fork), signal.SIGTERM)
        for begun in folder.glob("*/*/begun"):
            begun.unlink()
        assert (await running, await call(doubled, 3)) == (5, 6)


async def test_calls_that_the_service_ends_are_told_from_calls_that_fail(folder: Path) -> None:
    with processes() as call:
        calls = [asyncio.create_task(call(slowly)) for _ in range(CALLS + 2)]
        await asyncio.to_thread(until, lambda: len(list(folder.glob("*/*/begun"))) == CALLS, "some run, two wait")
        await asyncio.to_thread(call.processes.stop)
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [Stopped] * (CALLS + 2)


@pytest.mark.parametrize("dies", [False, True])
async def test_it_is_ready_when_its_process_is_warm_and_another_begins_where_that_dies(gate: Path, dies: bool) -> None:
    with processes() as call:
        assert not call.processes.ready
        until(lambda: call.processes._warm, "it has begun")
        assert call.processes._warm is not None
        gate.unlink()
        if dies:
            call.processes._warm[0].kill()
        until(lambda: call.processes.ready, "nothing is waited for")
        assert await call(doubled, 3) == 6


async def test_what_was_stopped_stays_stopped() -> None:
    with processes() as call:
        until(lambda: call.processes._warm, "it has begun")
        for _ in range(2):  # the second finds nothing to kill
            call.processes.stop()
            assert call.processes._warm is None
        with pytest.raises(Stopped):
            await call(doubled, 1)


async def test_no_process_outlives_the_service() -> None:
    with processes() as call:
        fork = await call(os.getpid)
    try:
        handle = os.pidfd_open(fork)
    except ProcessLookupError:
        return  # gone already
    ended, _, _ = select.select([handle], [], [], PATIENCE_S)
    os.close(handle)
    assert ended
