"""Work that may be hostile, in a few processes of its own: forks of one small process that is warm.

    processes = Processes("package.module")          # imported there once, in the background
    await processes.run(function, *arguments, deadline=time.monotonic() + 10)

Functions and arguments are pickled by name and value; results and exceptions come back as an `answer`. A call may use
`MEMORY` more bytes and `CPU_S` seconds, and is killed at its deadline; then another fork takes its place. Its temporary
files go with it, and no others can be opened where the kernel sees to that (`sandbox`); it is told no secret of ours.

The service itself is never forked: it has threads. The module imports nothing heavy, for it is what the small process
runs.
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
from spikesight.service.scheduler.answer import received, send
from spikesight.service.scheduler.memory import limit, oom_kills, shares
from spikesight.service.scheduler.sandbox import confine, environment, first_to_go

T = TypeVar("T")

CALLS, MEMORY = shares(limit())  # at once, and each one's bytes of address space beyond what the warm process has
CPU_S = 5
FRESH_S = 3600  # a fork that nobody called is renewed: whoever tidies up may have taken its folder
OVER_S = 1.0  # after its deadline a call's answer is with nobody any more
WARM = b"w"  # what the process says when it has imported everything
OVER = 3  # exit code of a fork that found the service gone


class Killed(Exception):
    """The process ended before it answered; `spent` says whether its time was used up."""

    def __init__(self, spent: bool) -> None:
        super().__init__(spent)
        self.spent = spent


class Processes:
    """A warm process with forks for calls. Used from one event loop; started and stopped with the service."""

    def __init__(self, *modules: str, oom_kills: Callable[[], int] = oom_kills) -> None:
        self._modules, self._oom_kills = modules, oom_kills
        self._lock = threading.Lock()
        self._warm: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._folders = ""
        self._threads: ThreadPoolExecutor | None = None
        self._giving_back: asyncio.TimerHandle | None = None
        self.ready = False  # whether the first process is warm: what is called before waits for it

    def start(self) -> None:
        """Begin to import, elsewhere; returns at once."""
        self._threads = ThreadPoolExecutor(CALLS, "processes")
        self._threads.submit(self._begin)

    def stop(self) -> None:
        """Kill whatever runs; calls under way raise Stopped."""
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
                warm[1].recv(len(WARM))  # or its end: then the first call starts another
            self.ready = True

    async def run(self, function: Callable[..., T], *arguments: Any, deadline: float) -> T:
        """What `function` returns or raises in a process of its own. `deadline` is on time.monotonic().

        Raises Expired at the deadline, and a call that has not begun by then never does; Killed when the process ends
        by a limit or a fault; OutOfMemory when the kernel ended it; Stopped when the service stops.
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
        finally:  # or this frame and the error hold each other, and the arguments, until the collector comes
            del result, called

    def _give_back_after(self, deadline: float) -> None:
        """Memory that answers took is handed back once this one is over: also among many, but not after each."""
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
                return received(connection, MEMORY)
        except (EOFError, OSError, pickle.UnpicklingError):
            if time.monotonic() >= deadline:
                raise TimeoutError from None
            if self._threads is None:
                raise Stopped from None
            if self._oom_kills() > oom_kills:
                raise OutOfMemory from None
            raise Killed(time.monotonic() - begin >= CPU_S) from None

    def _hand_over(self, theirs: socket.socket) -> None:
        """Give the warm process a call's end of the line; a new one when it has died."""
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
        """A warm process in place of the dead one, unless another call has seen to it or the service stops."""
        with self._lock:
            if self._warm is not dead or self._threads is None:
                return
            self._end()
            ours, theirs = socket.socketpair()
            self._folders = folders()
            with theirs:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", __name__, str(theirs.fileno()), self._folders, *self._modules],
                    env=environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # one group: Ctrl-C is not for it, and one signal ends it with its calls
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


def folders() -> str:
    """How the paths of temporary folders begin: one for each fork, none that another process would make."""
    with suppress(OSError):
        return str(Path(tempfile.gettempdir(), f"spikesight-{secrets.token_hex(8)}-"))
    return str(Path(os.devnull, "none"))


def folder_of(begin: str) -> str | None:
    """A folder for a fork's temporary files; None where there is no room, which matters only to who needs one."""
    try:
        return tempfile.mkdtemp(dir=Path(begin).parent, prefix=Path(begin).name)
    except OSError:
        return None


# ---------------------------------------------------------------------------------------------------- the warm process


def main() -> None:
    """Import the modules, then keep CALLS forks waiting for calls, until the service closes its end."""
    control, begin = socket.socket(fileno=int(sys.argv[1])), sys.argv[2]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which some send to all processes: what runs is answered first
    first_to_go()
    modules = [importlib.import_module(name) for name in sys.argv[3:]]
    for hook in ("warm_up", "alone"):  # the second before no file can be opened any more
        for module in modules:
            getattr(module, hook, lambda: None)()
    control.send(WARM)
    control.settimeout(FRESH_S)
    gc.freeze()  # what is shared stays shared: collecting would write to it
    forks: dict[int, str | None] = {}
    while True:
        if len(forks) == CALLS:
            ended, status = os.wait()
            if (left := forks.pop(ended)) is not None:
                shutil.rmtree(left, ignore_errors=True)
            if os.waitstatus_to_exitcode(status) == OVER:
                os.killpg(0, signal.SIGKILL)
        folder = folder_of(begin)
        if (fork := os.fork()) == 0:
            with suppress(BaseException):
                serve(control, folder)
            os._exit(0)
        forks[fork] = folder


def serve(control: socket.socket, folder: str | None) -> None:
    """Take one call after the other, until one fails: what it may have left behind ends with this fork."""
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
    """One call within its limits; whether all went well."""
    left = line.recv() - time.monotonic()  # one clock for all processes
    if left <= 0:
        return True
    signal.setitimer(signal.ITIMER_REAL, left)  # its signal kills, as does that of the CPU limit
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
    """A folder for one call's temporary files; where there is none, whatever needs one fails at once."""
    try:
        own = tempfile.TemporaryDirectory(dir=folder or os.devnull, ignore_cleanup_errors=True)
    except OSError:
        yield os.devnull
        return
    with own as path:
        yield path


if __name__ == "__main__":
    main()
