"""From other threads into the event loop: results that come back to it."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

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
