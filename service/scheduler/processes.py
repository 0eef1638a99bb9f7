"""Run untrusted work, such as decoding uploads, in forks of one small process that has imported everything it needs.

    processes = Processes("package.module")          # imported in the warm process, in the background
    await processes.run(function, *arguments, deadline=time.monotonic() + 10)

Functions and arguments are pickled; results and exceptions come back by `scheduler.answer`. A call may use `MEMORY`
more bytes and `CPU_S` seconds, and is killed at its deadline; then another fork takes its place. The temporary files
of a call are deleted after it, and with Landlock it opens no others (`sandbox`). It gets no secret of the service.

The service itself cannot fork, because it has threads. This module imports nothing heavy, because the small process
runs it.
"""

import asyncio
import gc
import importlib
import math
import os
import pickle
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from spikesight.models.native.memory import give_back
from spikesight.service.http.errors import Expired, OutOfMemory, Stopped
from spikesight.service.scheduler.answer import receive, send
from spikesight.service.scheduler.memory import call_limits, memory_limit, oom_kills
from spikesight.service.scheduler.sandbox import confine, environment, lower_priority

T = TypeVar("T")

CALLS, MEMORY = call_limits(memory_limit())  # calls at once; bytes of address space that a call may add
CPU_S = 5
FRESH_S = 3600  # an unused fork is replaced after this: a cleaner of /tmp may have deleted its folder
OVER_S = 1.0  # so long after a call's deadline nobody holds its answer any more
WARM = b"w"  # sent by the warm process when it has imported everything
OVER = 3  # exit code of a fork that found the service gone


class Killed(Exception):
    """The process ended before it answered; `spent` says whether its CPU time was used up."""

    def __init__(self, spent: bool) -> None:
        super().__init__(spent)
        self.spent = spent


class Processes:
    """A pool of forked worker processes. Used from one event loop; started and stopped with the service."""

    def __init__(self, *modules: str, oom_kills: Callable[[], int] = oom_kills) -> None:
        self._modules, self._oom_kills = modules, oom_kills
        self._lock = threading.Lock()
        self._warm: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._folders = ""
        self._threads: ThreadPoolExecutor | None = None
        self._giving_back: asyncio.TimerHandle | None = None
        self.ready = False  # whether the first warm process has finished its imports

    def start(self) -> None:
        """Start the warm process in the background; return at once."""
        self._threads = ThreadPoolExecutor(CALLS, "processes")
        self._threads.submit(self._begin)

    def stop(self) -> None:
        """Kill all processes; calls under way raise Stopped."""
        with self._lock:
            threads, self._threads = self._threads, None
            self._end()
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)

    def _begin(self) -> None:
        self._renew()
        with self._lock:
            warm = self._warm
        if warm is not None:
            with suppress(OSError):
                warm[1].recv(len(WARM))  # or end of file if it died: then the first call starts another
            self.ready = True

    async def run(self, function: Callable[..., T], *arguments: Any, deadline: float) -> T:
        """Call `function` in a worker process; return or raise what it does. `deadline` is on time.monotonic().

        Raises Expired at the deadline, also for a call that still waits; Killed when the process ends by a limit or a
        crash; OutOfMemory when the kernel ended it; Stopped when the service stops.
        """
        if self._threads is None:
            raise Stopped
        self._give_back_after(deadline)
        work = function, arguments
        loop, left = asyncio.get_running_loop(), max(0.0, deadline - time.monotonic())
        called = loop.run_in_executor(self._threads, self._call, work, deadline)
        try:
            good, result = await asyncio.wait_for(called, left)
        except TimeoutError:
            raise Expired from None
        except asyncio.CancelledError:
            if called.cancelled() and self._threads is None:  # it had not begun when the service stopped
                raise Stopped from None
            raise
        if good:
            return result
        try:
            raise result
        finally:  # breaks the cycle of this frame and the error, which would keep the arguments in memory
            del result, called

    def _give_back_after(self, deadline: float) -> None:
        """Return freed memory to the system soon after `deadline`, at most once for all calls until then."""
        if self._giving_back is None:
            left = max(0.0, deadline - time.monotonic()) + OVER_S
            self._giving_back = asyncio.get_running_loop().call_later(left, self._give_back)

    def _give_back(self) -> None:
        self._giving_back = None
        if self._threads is not None:
            self._threads.submit(give_back)

    def _call(self, work: tuple[Any, ...], deadline: float) -> tuple[bool, Any]:
        begin, oom_kills = time.monotonic(), self._oom_kills()
        if begin >= deadline:
            raise TimeoutError
        ours, theirs = socket.socketpair()
        try:
            with closing(Connection(ours.detach())) as connection:
                with theirs:
                    self._hand_over(theirs)
                connection.send(deadline)
                connection.send(work)
                if not connection.poll(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                return receive(connection, MEMORY)
        except (EOFError, OSError, pickle.UnpicklingError):
            if time.monotonic() >= deadline:
                raise TimeoutError from None
            if self._threads is None:
                raise Stopped from None
            if self._oom_kills() > oom_kills:
                raise OutOfMemory from None
            raise Killed(time.monotonic() - begin >= CPU_S) from None

    def _hand_over(self, theirs: socket.socket) -> None:
        """Send a call's socket to the warm process; start a new warm process if the present one has died."""
        for _ in range(2):
            with self._lock:
                warm = self._warm
                with suppress(OSError):
                    if warm is not None:
                        socket.send_fds(warm[1], [b"c"], [theirs.fileno()])
                        return
            self._renew(warm)
        raise ConnectionError

    def _renew(self, dead: tuple[subprocess.Popen[bytes], socket.socket] | None = None) -> None:
        """Replace the dead warm process, unless another call has done so already or the service is stopping."""
        with self._lock:
            if self._warm is not dead or self._threads is None:
                return
            self._end()
            ours, theirs = socket.socketpair()
            self._folders = folder_prefix()
            with theirs:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", __name__, str(theirs.fileno()), self._folders, *self._modules],
                    env=environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # own process group: Ctrl-C does not reach it, one signal kills all of it
                )
            self._warm = process, ours

    def _end(self) -> None:
        if self._warm is not None:
            process, ours = self._warm
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            ours.close()
            self._warm = None
            for left in Path(self._folders).parent.glob(f"{Path(self._folders).name}*"):
                shutil.rmtree(left, ignore_errors=True)


def folder_prefix() -> str:
    """Return a random path prefix for the temporary folders of the forks."""
    with suppress(OSError):
        return str(Path(tempfile.gettempdir(), f"spikesight-{secrets.token_hex(8)}-"))
    return str(Path(os.devnull, "none"))


def make_folder(begin: str) -> str | None:
    """Make a folder for a fork's temporary files; return None where the disk is full, as most calls need no file."""
    try:
        return tempfile.mkdtemp(dir=Path(begin).parent, prefix=Path(begin).name)
    except OSError:
        return None


# ---------------------------------------------------------------------------------------------------- the warm process


def main() -> None:
    """Import the modules, then keep CALLS forks waiting for calls, until the service closes the control socket."""
    control, begin = socket.socket(fileno=int(sys.argv[1])), sys.argv[2]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # may be sent to all processes: running calls are still answered
    lower_priority()
    modules = [importlib.import_module(name) for name in sys.argv[3:]]
    for hook in ("warm_up", "before_confinement"):  # the second when no file can be opened any more
        for module in modules:
            getattr(module, hook, lambda: None)()
    control.send(WARM)
    control.settimeout(FRESH_S)
    gc.freeze()  # keeps pages shared with the forks: the collector would write to them
    forks: dict[int, str | None] = {}
    while True:
        if len(forks) == CALLS:
            ended, status = os.wait()
            if (left := forks.pop(ended)) is not None:
                shutil.rmtree(left, ignore_errors=True)
            if os.waitstatus_to_exitcode(status) == OVER:
                os.killpg(0, signal.SIGKILL)
        folder = make_folder(begin)
        if (fork := os.fork()) == 0:
            with suppress(BaseException):
                serve(control, folder)
            os._exit(0)
        forks[fork] = folder


def serve(control: socket.socket, folder: str | None) -> None:
    """Answer one call after another until one fails; then the fork ends, with anything that the call left behind."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if (statm := Path("/proc/self/statm")).exists():
        most = int(statm.read_text().split()[0]) * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    confine(folder)
    good = True
    while good:
        _, lines, _, _ = socket.recv_fds(control, 1, 1)
        if not lines:
            os._exit(OVER)
        with Connection(lines[0]) as line:
            good = answer(line, folder)


def answer(line: Connection, folder: str | None) -> bool:
    """Answer one call within its time and CPU limits; return whether it succeeded."""
    left = line.recv() - time.monotonic()  # the clock is the same in all processes
    if left <= 0:
        return True
    signal.setitimer(signal.ITIMER_REAL, left)  # SIGALRM kills the process, as does SIGXCPU of the CPU limit
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + CPU_S, resource.RLIM_INFINITY))
    function, arguments = line.recv()
    with temporary(folder) as tempfile.tempdir:
        try:
            result = True, function(*arguments)
        except Exception as error:
            result = False, error
    send(line, result)
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


if __name__ == "__main__":
    main()
