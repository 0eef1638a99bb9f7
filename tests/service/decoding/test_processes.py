"""Calls in processes of their own: results and errors come back, whatever a call does ends with it, and it reaches
nothing else of the machine.
"""

import asyncio
import gc
import os
import pickle
import select
import signal
import socket
import tempfile
import weakref
from collections.abc import Callable
from contextlib import nullcontext, suppress
from multiprocessing.forkserver import ensure_running
from pathlib import Path

import numpy as np
import pytest

from spikesight.encoders.events import EVENTS
from spikesight.service.decoding import processes as module
from spikesight.service.decoding import sandbox
from spikesight.service.decoding.processes import CALLS, MEMORY, Killed, memory_limit, unpickle
from spikesight.service.http.errors import Expired, OutOfMemory, Stopped
from tests.support.processes import calling, in_fresh_process
from tests.support.serving import calls
from tests.support.serving.calls import doubled, endless, failing
from tests.support.waiting import PATIENCE_S, until

GIB = 2**30
SECRET = "a-token-that-nobody-else-may-know"
landlock = pytest.mark.skipif(not sandbox.version(), reason="this kernel has no Landlock")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder, for this test alone, with a private file beside those of the processes."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "private").write_text(SECRET)
    return tmp_path


async def test_results_and_errors_come_back() -> None:
    with calling() as call:
        with pytest.raises(LookupError, match="nothing there"):
            await call(failing)
        assert await asyncio.gather(*(call(doubled, n) for n in range(20))) == [2 * n for n in range(20)]
        assert len(call.processes._workers) <= CALLS


async def test_a_refused_call_holds_nothing() -> None:
    gc.disable()
    try:
        with calling() as call:
            large = np.zeros(9)
            watched = weakref.ref(large)
            with suppress(LookupError):
                await call(failing, large)
            del large
            await asyncio.to_thread(until, lambda: watched() is None)  # the call's thread may hold it a moment longer
    finally:
        gc.enable()


async def test_large_arrays_come_beside_the_rest_and_may_be_written_to() -> None:
    with calling() as call:
        for size in (3, 2**22, 5):
            found, expected = await call(calls.sample, size), calls.sample(size)
            assert (found.size, found.warnings) == (expected.size, expected.warnings)
            assert np.array_equal(found.pixels, expected.pixels)  # type: ignore[arg-type]
            assert np.array_equal(found.events, expected.events)  # type: ignore[arg-type]
            assert found.events.flags.writeable  # type: ignore[union-attr]


# ---------------------------------------------------------------------------------------------------- ends


@pytest.mark.attack("recordings", "a decoder that never ends", "killed at the deadline; others go on")
@pytest.mark.parametrize("function", [endless, calls.dribbling])
async def test_an_endless_call_is_killed_at_its_deadline_and_holds_nobody_up(function: Callable[[], None]) -> None:
    with calling() as call:
        await call(doubled, 1)
        stuck = [asyncio.create_task(call(function)) for _ in range(CALLS - 1)]
        assert await call(doubled, 2) == 4
        for task in stuck:
            task.cancel()
        for _ in range(2 * CALLS):
            with pytest.raises(Expired):
                await call(function, seconds=0.2)
        assert await call(doubled, 3) == 6


async def test_a_cancelled_call_leaves_its_place_whether_it_waits_or_runs() -> None:
    with calling() as call:
        given_up = [asyncio.create_task(call(endless)) for _ in range(2 * CALLS)]
        await asyncio.to_thread(until, lambda: len(call.processes._workers) == CALLS, "all places are taken")
        for task in reversed(given_up):
            task.cancel()
        ended = await asyncio.gather(*given_up, return_exceptions=True)
        assert {type(one) for one in ended} == {asyncio.CancelledError}
        assert await asyncio.gather(*(call(doubled, n) for n in range(CALLS))) == [2 * n for n in range(CALLS)]


@pytest.mark.parametrize("late", [True, False])
async def test_what_has_expired_in_the_queue_is_not_begun(folder: Path, late: bool) -> None:
    with calling() as call:
        await call(doubled, 1)
        held = [asyncio.create_task(call(endless, seconds=1)) for _ in range(CALLS)]
        await asyncio.sleep(0)  # they are in the queue first
        with pytest.raises(Expired) if late else nullcontext():
            await call(calls.marked, seconds=0.1 if late else PATIENCE_S)
        await asyncio.gather(*held, return_exceptions=True)
        with pytest.raises(Expired):
            await call(calls.marked, seconds=0)
        await call(doubled, 1)
        assert len(list(folder.glob("*/begun"))) == (0 if late else 1)


@pytest.mark.attack("load", "files that exceed the container's memory, so that the kernel kills their decoder", "503")
@pytest.mark.parametrize(
    ("number", "error", "spent"),
    [(signal.SIGKILL, OutOfMemory, None), (signal.SIGSEGV, Killed, False), (signal.SIGXCPU, Killed, True)],
)
async def test_what_ended_a_process_is_told(number: signal.Signals, error: type[Exception], spent: bool | None) -> None:
    with calling() as call:
        with pytest.raises(error) as caught:
            await call(calls.killed, number)
        assert getattr(caught.value, "spent", None) == spent
        assert await call(doubled, 3) == 6


async def test_a_process_that_ends_is_replaced_and_leaves_no_file(folder: Path) -> None:
    with calling() as call:
        for _ in range(2 * CALLS):
            with pytest.raises(Killed):
                await call(calls.littered)
        assert await call(doubled, 3) == 6
    assert [path.name for path in folder.iterdir()] == ["private"]


async def test_one_that_was_killed_as_it_waited_harms_no_call() -> None:
    with calling() as call:
        pid = await call(os.getpid)
        os.kill(pid, signal.SIGKILL)
        (worker,) = (one for one in list(call.processes._workers) if one.process.pid == pid)
        worker.process.join(PATIENCE_S)
        assert await call(doubled, 3) == 6


async def test_a_fork_server_that_was_killed_is_started_anew() -> None:
    with calling() as call:
        server, own = await call(os.getppid), await call(os.getpid)
        os.kill(server, signal.SIGKILL)
        os.kill(own, signal.SIGKILL)
        workers = list(call.processes._workers)
        await asyncio.to_thread(until, lambda: not any(one.process.is_alive() for one in workers))
        assert await call(doubled, 3) == 6
        assert await call(os.getppid) != server


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_call_outlives_signals_for_the_service(folder: Path, number: signal.Signals) -> None:
    with calling() as call:
        own, server = await call(os.getpid), await call(os.getppid)
        running = asyncio.create_task(call(calls.slowly))
        await asyncio.to_thread(until, lambda: list(folder.glob("*/*/begun")), "it runs")
        for pid in (own, server):
            os.kill(pid, number)
        for begun in folder.glob("*/*/begun"):
            begun.unlink()
        assert (await running, await call(doubled, 3)) == (5, 6)


async def test_calls_that_the_service_ends_are_told_from_calls_that_fail(folder: Path) -> None:
    with calling() as call:
        running = [asyncio.create_task(call(calls.slowly)) for _ in range(CALLS + 2)]
        await asyncio.to_thread(until, lambda: len(list(folder.glob("*/*/begun"))) == CALLS, "some run, two wait")
        await asyncio.to_thread(call.processes.stop)
        results = await asyncio.gather(*running, return_exceptions=True)
        assert [type(result) for result in results] == [Stopped] * (CALLS + 2)
        call.processes.stop()  # finds nothing to kill
        with pytest.raises(Stopped):
            await call(doubled, 1)


async def test_no_process_outlives_the_service() -> None:
    with calling() as call:
        handle = os.pidfd_open(await call(os.getpid))
    ended, _, _ = select.select([handle], [], [], PATIENCE_S)
    os.close(handle)
    assert ended


SCRIPT = """
import asyncio, math, time
from spikesight.service.decoding.processes import DecoderProcesses
async def main():
    processes = DecoderProcesses()
    processes.start()
    print(await processes.run(math.sqrt, 4.0, deadline=time.monotonic() + 60))
    raise SystemExit("without stopping them")
try:
    asyncio.run(main())
except SystemExit as error:
    print(error)
"""


def test_a_script_needs_no_guard_and_ends_though_it_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    run = f"import os, runpy; os.chdir({str(tmp_path)!r}); runpy.run_path('script.py', run_name='__main__')"
    assert in_fresh_process(run).splitlines() == ["2.0", "without stopping them"]


# ---------------------------------------------------------------------------------------------------- limits


async def test_memory_is_limited() -> None:
    with calling() as call:
        assert await call(calls.mapped, MEMORY - 2**27) == MEMORY - 2**27
        with pytest.raises(OSError, match="allocate"):
            await call(calls.mapped, MEMORY + 1)
        with pytest.raises(MemoryError):
            await call(bytearray, 2**40)


async def test_memory_is_handed_back_while_calls_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    handed, loop = asyncio.Event(), asyncio.get_running_loop()
    monkeypatch.setattr(module, "give_back", lambda: loop.call_soon_threadsafe(handed.set))
    with calling() as call:
        async with asyncio.timeout(PATIENCE_S):
            while not handed.is_set():
                with suppress(Expired):
                    await call(doubled, 1, seconds=1)


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"memory.max": f"{GIB}\n"}, GIB),
        ("0::/\n", {"memory.max": "max\n"}, 8 * GIB),
        ("0::/a/b\n", {"a/memory.max": f"{GIB}\n", "a/b/memory.max": f"{3 * GIB}\n"}, GIB),
        ("4:memory:/docker/x\n", {"memory/memory.limit_in_bytes": f"{GIB}\n"}, GIB),
        ("", {}, 8 * GIB),
    ],
)
@pytest.mark.attack(
    "load",
    "recordings from many connections that unpack to more than the container's memory",
    "decoders share what the container's limit leaves beside the service; 413",
)
def test_the_least_limit_counts(own: str, files: dict[str, str], expected: int, tmp_path: Path) -> None:
    told = {"cgroup": own, "meminfo": f"MemTotal: {8 * GIB // 1024} kB\nMemFree: 1 kB\n"}
    for name, text in (told | {f"mounted/{name}": text for name, text in files.items()}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert memory_limit(tmp_path / "cgroup", tmp_path / "mounted", tmp_path / "meminfo") == expected
    assert memory_limit(tmp_path / "none", tmp_path, tmp_path / "none") is None, "a system that says nothing"


# ---------------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    "answer", [np.ones(6, EVENTS), np.float32(2.5), calls.sample(3), {"a": [1, (2.5, "b"), None], "c": {True}}]
)
def test_arrays_and_records_come_back_as_they_are(answer: object) -> None:
    good, found = unpickle(pickle.dumps((True, answer)))
    assert (good, type(found), repr(found)) == (True, type(answer), repr(answer))


@pytest.mark.attack("recordings", "an invalid answer of a decoder", "refused")
@pytest.mark.parametrize(
    "data",
    [b"", b"\x80", b"garbage", pickle.dumps(1), pickle.dumps((False, "no error")), pickle.dumps((2, 3))]
    + [pickle.dumps((True, other)) for other in (eval, os.terminal_size((1, 1)), Path("/"), os.path.join, type)],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError):
        unpickle(data)


@pytest.mark.attack(
    "recordings",
    "a forged answer of a hijacked decoder",
    "400; only arrays, records and errors are built from it",
)
async def test_a_forged_answer_runs_nothing(folder: Path) -> None:
    with calling() as call:
        with pytest.raises(Killed):
            await call(calls.Forged, str(folder / "made"))
        assert await call(doubled, 3) == 6
    assert not (folder / "made").exists()


# ---------------------------------------------------------------------------------------------------- confinement


@pytest.mark.attack(
    "recordings",
    "a hijacked decoder that looks for secrets in its environment",
    "there are none: no token, no key, nothing but where libraries lie",
)
async def test_the_environment_holds_no_secrets(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    with calling() as call:  # the next fork server gets the environment of this moment
        os.kill(await call(os.getppid), signal.SIGKILL)
    for name in ("SPIKESIGHT_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("HDF5_PLUGIN_PATH", "/somewhere")
    ensure_running()  # with all of it, as where a fork server ends between two looks at it
    with calling() as call:
        found, server, own = await call(calls.variables), await call(os.getppid), await call(os.getpid)
        assert await call(calls.noisy)
        assert found["HDF5_PLUGIN_PATH"] == "/somewhere"
        assert SECRET not in found.values()
        for pid in (server, own):
            assert SECRET.encode() not in calls.read(f"/proc/{pid}/environ")
    assert os.environ["SPIKESIGHT_TOKEN"] == SECRET
    assert capfd.readouterr() == ("", ""), "what libraries say is for nobody"


@landlock
@pytest.mark.attack(
    "recordings",
    "a hijacked decoder that reads, lists, writes, links or removes files, reads /proc, connects or sends signals",
    "nothing beyond its own folder (Landlock; a line in the log says where the kernel has none)",
)
async def test_nothing_else_is_reached(folder: Path) -> None:
    before, private, own = sorted(folder.iterdir()), str(folder / "private"), f"/proc/{os.getpid()}"
    files = [private, __file__, "/etc/passwd", "/proc/self/environ", "/proc/self/maps"]
    files += [f"{own}/environ", f"{own}/cmdline", f"{own}/mem", f"{tempfile.gettempdir()}/../{folder.name}/private"]
    with socket.create_server(("127.0.0.1", 0)) as server, calling() as call:
        tries: list[tuple[Callable[..., object], str | int]] = [
            *((calls.read, path) for path in files),
            (os.listdir, "/"),
            (os.listdir, str(folder)),
            (calls.written, private),
            (calls.written, str(folder / "new")),
            (calls.linked, private),
            (os.unlink, private),
            (calls.connected, server.getsockname()[1]),
            (calls.signalled, os.getpid()),
        ]
        reached: list[object] = []
        for function, what in tries:
            if sandbox.version() >= {calls.connected: 4, calls.signalled: 6}.get(function, 1):
                with suppress(PermissionError):
                    await call(function, what)
                    reached.append((function.__name__, what))
    assert reached == []
    assert sorted(folder.iterdir()) == before
    assert (folder / "private").read_text() == SECRET


async def test_its_own_folder_is_its_own_for_one_call(folder: Path) -> None:
    with calling() as call:
        for _ in range(6):
            assert await call(calls.kept, 100) == ["folder", "other"]
    assert [path.name for path in folder.iterdir()] == ["private"]


async def test_on_a_full_disk_calls_that_need_no_file_are_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "missing"))
    with calling() as call:
        assert await call(doubled, 3) == 6
        with pytest.raises(OSError, match=r"Not a directory|No usable"):
            await call(calls.kept, 100)


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="this system has no such score")
async def test_it_is_the_first_to_go_when_memory_runs_out() -> None:
    with calling() as call:
        own = await call(os.getpid)
        assert int(calls.read(f"/proc/{own}/oom_score_adj")) > int(calls.read("/proc/self/oom_score_adj"))
        nice = await call(os.getpriority, os.PRIO_PROCESS, 0)
        assert nice > os.getpriority(os.PRIO_PROCESS, 0), "and it waits where processors are few"


def test_the_fork_servers_module_leaves_another_process_as_it_is() -> None:
    run = "import gc, signal, spikesight.service.decoding.warm; print(gc.get_freeze_count(), signal.getsignal(15) == 1)"
    assert in_fresh_process(run) == "0 False"
