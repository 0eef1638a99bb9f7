"""Calls in processes of their own: results and errors come back, and whatever a call does ends with it."""

import asyncio
import os
import select
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

from service.scheduler.processes import CALLS, Killed, Processes
from tests.support.processes import endless

T = TypeVar("T")
PATIENCE_S = 60


def doubled(n: int) -> int:
    return 2 * n


def failing() -> None:
    raise LookupError("nothing there")


def greedy() -> int:
    return len(bytearray(2**40))


def ended() -> None:
    os._exit(0)


def identity() -> int:
    return os.getpid()


def littered() -> None:
    Path(tempfile.mkdtemp(), "left").touch()
    os._exit(0)


def marked(path: str) -> None:
    Path(path).touch()


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


def test_all_processes_killed_by_their_deadlines_are_replaced() -> None:
    async def work(processes: Processes) -> int:
        await processes.run(doubled, 1, deadline=within(PATIENCE_S))
        late = within(0.3)
        stuck = [processes.run(endless, deadline=late) for _ in range(2 * CALLS)]
        assert all(isinstance(one, TimeoutError) for one in await asyncio.gather(*stuck, return_exceptions=True))
        return await processes.run(doubled, 2, deadline=within(PATIENCE_S))

    assert talk(work) == 4


def test_what_has_expired_in_the_queue_is_not_begun(folder: Path) -> None:
    async def work(processes: Processes) -> None:
        await processes.run(doubled, 1, deadline=within(PATIENCE_S))
        held = [asyncio.create_task(processes.run(endless, deadline=within(1))) for _ in range(CALLS)]
        await asyncio.sleep(0)  # they are in the queue first
        with pytest.raises(TimeoutError):
            await processes.run(marked, str(folder / "begun"), deadline=within(0.1))
        await asyncio.gather(*held, return_exceptions=True)
        await processes.run(doubled, 1, deadline=within(PATIENCE_S))

    talk(work)
    assert not (folder / "begun").exists()


def test_memory_is_limited() -> None:
    async def work(processes: Processes) -> None:
        with pytest.raises(MemoryError):
            await processes.run(greedy, deadline=within(PATIENCE_S))

    talk(work)


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
