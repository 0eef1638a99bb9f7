"""Run untrusted work, such as decoding uploads, in processes of its own, forked from one that has imported everything.

    processes = DecoderProcesses()
    await processes.run(function, *arguments, deadline=time.monotonic() + 10)

The standard library's fork server makes the processes, as the service itself cannot fork: it has threads. Functions,
arguments, results and exceptions are pickled. A call may use `MEMORY` more bytes and `CPU_S` seconds, and is killed at
its deadline; after a call that failed, another process takes its place. The temporary files of a call are deleted after
it; with Landlock it opens no others (`sandbox`), and it gets none of our secrets.
"""

import asyncio
import atexit
import math
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import is_dataclass
from io import BytesIO
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar, cast

from spikesight.models.native.memory import give_back
from spikesight.models.native.threads import MOUNTED, OWN, groups, lines
from spikesight.service.decoding.sandbox import bare_environment, confine
from spikesight.service.http.errors import Expired, OutOfMemory, Stopped

T = TypeVar("T")

MIB = 2**20
SERVICE = 448 * MIB  # used by the service and the fork server, with the shipped models
LEAST, MOST = 64 * MIB, 1024 * MIB  # bounds of one call's memory
MANY, FEW = 4, 2  # calls at once (two slow ones leave room for others), and with little memory
ENOUGH = 256 * MIB  # memory that each call must get before MANY rather than FEW run at once
FILES = ("memory.max", "memory.limit_in_bytes")
TOTAL = Path("/proc/meminfo")

PRELOAD = "spikesight.service.decoding.warm"  # module with all that calls need, which the fork server imports
ENDING = signal.SIGINT, signal.SIGTERM
STARTING = threading.Lock()  # held while what new processes inherit is changed

CPU_S = 5
OVER_S = 1.0  # so long after a call's deadline nobody holds its answer any more
READY_S, ENDS_S = 60.0, 5.0  # in which a process answers first; in which the system tells how a process ended
AGAIN_S = 0.2  # until a process is started again where that failed


def memory_limit(own: Path = OWN, mounted: Path = MOUNTED, total: Path = TOTAL) -> int | None:
    """Return the bytes that this process and its children may use: the least of the machine's memory and the limits of
    the process's control groups (v1 and v2), in which all calls must fit; None if the system does not say.
    """
    found = [int(line.split()[1]) * 1024 for line in lines(total) if line.startswith("MemTotal:")]
    for group in groups("memory", own, mounted):
        for name in FILES:
            found += [int(text) for text in lines(group / name) if text.isdecimal()]
    return min(found, default=None)


def call_limits(limit: int | None) -> tuple[int, int]:
    """Return how many calls may run at once, and the bytes that each may use.

    A call's result can be as large as the memory that the call used, and stays in the service until it is consumed:
    twice the bytes for each call, and twice more for the call whose events are being binned.

    >>> [(calls, size // MIB) for calls, size in map(call_limits, (512 * MIB, 2**30, 2**31, 2**32, 2**34, None))]
    [(2, 64), (2, 96), (2, 266), (4, 364), (4, 1024), (4, 1024)]
    """
    if limit is None:
        return MANY, MOST
    sizes = {calls: (limit - SERVICE) // (2 * calls + 2) for calls in (MANY, FEW)}
    calls = MANY if sizes[MANY] >= ENOUGH else FEW
    return calls, max(LEAST, min(MOST, sizes[calls]))


CONTEXT = multiprocessing.get_context("forkserver")
CALLS, MEMORY = call_limits(memory_limit())  # calls at once; bytes of address space that a call may add


class Killed(Exception):
    """The process ended before it answered; `spent` says whether its CPU time was used up."""

    def __init__(self, spent: bool) -> None:
        super().__init__(spent)
        self.spent = spent


# A worker is not trusted: what it answers is unpickled to arrays, dataclasses and errors alone.

ARRAYS = {("numpy", "ndarray"), ("numpy", "dtype"), ("numpy._core.multiarray", "_reconstruct")}
ARRAYS |= {("numpy._core.numeric", "_frombuffer"), ("numpy._core.multiarray", "scalar")}


class ResultUnpickler(pickle.Unpickler):
    """Unpickler of a worker's result: loads arrays, and dataclasses and exceptions already imported, nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the class of that name. Raises UnpicklingError for a class that a result may not contain."""
        found = getattr(sys.modules.get(module), name, None)
        record = isinstance(found, type) and (is_dataclass(found) or issubclass(found, Exception))
        if record or (module, name) in ARRAYS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no part of an answer")


def unpickle(data: bytes) -> tuple[bool, Any]:
    """Unpickle a result: (True, return value) or (False, exception). Raises UnpicklingError for anything else."""
    try:
        match ResultUnpickler(BytesIO(data)).load():
            case tuple((True, _) | (False, Exception())) as result:
                return result
    except Exception as error:  # damaged pickles raise anything
        raise pickle.UnpicklingError("this is no answer") from error
    raise pickle.UnpicklingError("this is no answer")


class Worker:
    """A process that waits for calls, the line to it, and the only folder that it reaches; None on a full disk."""

    def __init__(self) -> None:
        """Start the process, once the fork server is warm. Raises OSError, EOFError if that has ended."""
        self.folder, self._talking = None, threading.Lock()
        with suppress(OSError):  # most calls need no file
            self.folder = tempfile.mkdtemp(prefix="spikesight-")
        self.line, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=serve, args=(theirs, self.folder), daemon=True)
        try:
            with alone(), theirs:
                self.process.start()
            self.call(time.monotonic() + READY_S, (bool, ()))  # it is one of ours, and ready
        except BaseException:
            self._tidy()
            raise

    def call(self, deadline: float, work: tuple[Any, ...]) -> tuple[bool, Any]:
        """Make a call and return its result: it ends with the process at the latest."""
        with self._talking:
            self.line.send(deadline)
            self.line.send(work)
            return unpickle(self.line.recv_bytes(MEMORY))

    def end(self) -> None:
        """Kill the process with whatever a call left behind."""
        self.process.kill()
        self.process.join()
        self._tidy()

    def _tidy(self) -> None:
        with self._talking:  # the end of the process has ended the call, too
            self.line.close()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


class DecoderProcesses:
    """A pool of worker processes, for one event loop; started and stopped with the service."""

    def __init__(self) -> None:
        self._workers: set[Worker] = set()
        self._n = 1  # workers there are, or will be in a moment; further ones are started once they are needed
        self._waiting: asyncio.Queue[Worker | None]  # those that have no call; None when the service has stopped
        self._loop: asyncio.AbstractEventLoop
        self._threads: ThreadPoolExecutor | None = None
        self._giving_back: asyncio.TimerHandle | None = None
        self.ready = False  # whether the first process has been warm

    def start(self) -> None:
        """Start the first process in the background; return at once."""
        CONTEXT.set_forkserver_preload([PRELOAD])
        self._waiting, self._loop = asyncio.Queue(), asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(2 * CALLS, "processes")
        atexit.register(self.stop)  # also where the service fails to start
        self._threads.submit(self._add)

    def stop(self) -> None:
        """Kill all processes; calls under way raise Stopped. Callable from any thread."""
        atexit.unregister(self.stop)
        threads, self._threads = self._threads, None
        for worker in list(self._workers):
            worker.process.kill()
        if threads is not None:
            self._tell(self._waiting.put_nowait, None)
            threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.end()
        self._workers.clear()

    async def run(self, function: Callable[..., T], *arguments: Any, deadline: float) -> T:
        """Call `function` in a worker process; return or raise what it does. `deadline` is on time.monotonic().

        Raises Expired at the deadline, also for a call that still waits; Killed when the process ends by a limit or a
        crash; OutOfMemory when the kernel ended it; Stopped when the service stops.
        """
        if self._threads is None:
            raise Stopped
        if (left := deadline - time.monotonic()) <= 0:
            raise Expired
        self._give_back_after(left)
        worker, good, result = None, False, None
        try:
            async with asyncio.timeout(left):
                worker = await self._idle()
                good, result = await self._in_thread(worker.call, deadline, (function, arguments))
        except TimeoutError:
            raise Expired from None
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            if isinstance(error, EOFError | ConnectionError) and worker is not None:
                result = await self._why(worker)
            else:
                result = Killed(spent=False)
        finally:
            if good:
                self._waiting.put_nowait(worker)
            elif worker is not None:
                worker.process.kill()  # which ends its thread, too
                self._after(self._replace, worker)
        if good:
            return cast(T, result)
        try:
            raise cast(Exception, result)
        finally:  # breaks the cycle of this frame and the error, which would keep the arguments in memory
            del result

    async def _idle(self) -> Worker:
        """Return a process that waits for a call. Raises Stopped."""
        if self._waiting.empty() and self._n < CALLS:
            self._n += 1
            self._after(self._add)
        while (worker := await self._waiting.get()) is not None:
            if worker.process.is_alive():
                return worker
            self._after(self._replace, worker)
        self._waiting.put_nowait(None)  # for the next that waits
        raise Stopped

    async def _why(self, worker: Worker) -> Exception:
        """Return the error that says why a process has ended. Raises Expired, Stopped."""
        await self._in_thread(worker.process.join, ENDS_S)
        code = worker.process.exitcode
        if code == -signal.SIGALRM:
            return Expired()
        if code == -signal.SIGKILL:  # by the kernel: nobody else has done so
            return OutOfMemory()
        return Killed(spent=code == -signal.SIGXCPU)

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do this in a thread; a call that the end of the service ends raises Stopped."""
        try:
            return await self._loop.run_in_executor(self._threads, work, *arguments)
        except (EOFError, OSError, RuntimeError, asyncio.CancelledError):
            if self._threads is None:
                raise Stopped from None
            raise

    def _give_back_after(self, seconds: float) -> None:
        """Return freed memory to the system soon after so many seconds, once for all calls until then."""
        if self._giving_back is None:
            self._giving_back = self._loop.call_later(seconds + OVER_S, self._give_back)

    def _give_back(self) -> None:
        self._giving_back = None
        self._after(give_back)

    def _after(self, work: Callable[..., object], *arguments: Any) -> None:
        """Do this in a thread, if the service goes on."""
        threads = self._threads
        if threads is not None:
            with suppress(RuntimeError):  # it stops at this moment
                threads.submit(work, *arguments)

    def _tell(self, call: Callable[..., object], *arguments: Any) -> None:
        """Do this in the event loop. Callable from any thread."""
        with suppress(RuntimeError):  # it has been closed
            self._loop.call_soon_threadsafe(call, *arguments)

    # In the threads.

    def _add(self) -> None:
        """Start a process; where that fails, try again soon."""
        try:
            worker = Worker()
        except (OSError, EOFError):  # the fork server was ended; the next try starts another
            self._tell(self._loop.call_later, AGAIN_S, self._after, self._add)
        else:
            self._workers.add(worker)
            self._tell(self._waiting.put_nowait, worker)
        self.ready = True

    def _replace(self, worker: Worker) -> None:
        worker.end()
        self._workers.discard(worker)
        self._add()


@contextmanager
def alone() -> Iterator[None]:
    """Let what is started meanwhile inherit neither the service's environment nor the script that started the service,
    which it would run again.

    The environment is bare for the moment alone in which the fork server begins: a process may wait for seconds until
    that is warm, and other threads start programs that need theirs.
    """
    with STARTING:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            with bare_environment():
                resource_tracker.ensure_running()  # which unblocks signals
                signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # inherited: running calls are still answered
                forkserver.ensure_running()
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
            sys.modules["__main__"] = main


# ---------------------------------------------------------------------------------------------------- in the processes


def serve(line: Connection, folder: str | None) -> None:
    """Answer one call after another until one fails, or the service has gone."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):  # libraries write there whatever a file makes them say
        os.dup2(null, stream)
    if not getattr(sys.modules.get(PRELOAD), "FORKS", False):  # started with all of our environment, as one had ended
        os.kill(os.getppid(), signal.SIGKILL)
        os._exit(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if (statm := Path("/proc/self/statm")).exists():
        most = int(statm.read_text().split()[0]) * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    confine(folder)
    with suppress(EOFError, OSError):
        while answer(line, folder):
            pass
    os._exit(0)


def answer(line: Connection, folder: str | None) -> bool:
    """Answer one call within its time and CPU limits; return whether it succeeded."""
    left = line.recv() - time.monotonic()  # the clock is the same in all processes
    signal.setitimer(signal.ITIMER_REAL, max(left, 1e-6))  # SIGALRM kills the process, as does SIGXCPU of the CPU limit
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + CPU_S, resource.RLIM_INFINITY))
    function, arguments = line.recv()
    with temporary(folder) as tempfile.tempdir:
        try:
            result = True, function(*arguments)
        except Exception as error:
            result = False, error
    line.send_bytes(pickle.dumps(result, 5))
    signal.setitimer(signal.ITIMER_REAL, 0)
    return result[0]


@contextmanager
def temporary(folder: str | None) -> Iterator[str]:
    """Yield a fresh folder for one call's temporary files; without one, creating a file fails at once."""
    try:
        own = tempfile.TemporaryDirectory(dir=folder or os.devnull, ignore_cleanup_errors=True)
    except OSError:
        yield os.devnull
        return
    with own as path:
        yield path
