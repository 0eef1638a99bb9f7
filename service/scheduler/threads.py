"""Between the event loop and other threads: results that come back to it, and work that is done beside it."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from spikesight.service.http.logs import log

T = TypeVar("T")


class Mailbox:
    """Calls into the event loop: one wake-up a tick, however many streams it served."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: int | None = None  # the loop's
        self._calls: deque[Callable[[], None]] = deque()

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Deliver into this loop, which runs in the calling thread, from now on."""
        self._loop, self._thread = loop, threading.get_ident()

    def post(self, call: Callable[[], None]) -> None:
        """Have `call` run in the loop after this tick. From any thread."""
        self._calls.append(call)

    def resolve(self, future: "asyncio.Future[T]", result: T) -> None:
        """Post a future's result; nothing if it is done by then."""
        self.post(lambda: None if future.done() else future.set_result(result))

    def reject(self, future: "asyncio.Future[Any]", error: Exception) -> None:
        """Post a future's error; nothing if it is done by then."""
        self.post(lambda: None if future.done() else future.set_exception(error))

    def flush(self) -> None:
        """End of a tick: deliver what was posted, by way of the loop if this is another thread."""
        if not self._calls or self._loop is None or self._loop.is_closed():
            return
        if threading.get_ident() == self._thread:
            self._deliver()
        else:
            self._loop.call_soon_threadsafe(self._deliver)

    def call_soon(self, call: Callable[[], None]) -> bool:
        """Have the loop make a call in its next round; False when this is another thread."""
        if self._loop is None or threading.get_ident() != self._thread:
            return False
        self._loop.call_soon(call)
        return True

    def _deliver(self) -> None:
        while self._calls:
            self._calls.popleft()()


class DecodeThread:
    """One thread that does what would hold up the event loop, in order; results come back through the mailbox."""

    def __init__(self, mailbox: Mailbox, name: str = "decode") -> None:
        self._mailbox = mailbox
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], None]) -> None:
        """Do it when its turn comes. From any thread."""
        self._work.put(work)

    async def run(self, work: Callable[[], T]) -> T:
        """Do it, and wait for what it returns or raises."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def do() -> None:
            if future.cancelled():
                return
            try:
                result = work()
            except Exception as error:
                self._mailbox.reject(future, error)
            else:
                self._mailbox.resolve(future, result)
            self._mailbox.flush()

        self.submit(do)
        return await future

    def stop(self) -> None:
        """End after what is being done."""
        self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except Exception:
                log.exception("work beside the event loop failed")
            del work  # what it holds, an upload of many megabytes, is not held until the next
