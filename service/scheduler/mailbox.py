"""Calls from other threads into the event loop: results come back to it this way."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Mailbox:
    """Calls that wait to be made in the event loop, woken once a tick however many streams the tick served."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: int | None = None  # identifier of the loop's thread
        self._calls: deque[Callable[[], None]] = deque()

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Deliver into this loop from now on; must be called in the loop's own thread."""
        self._loop, self._thread = loop, threading.get_ident()

    def post(self, call: Callable[[], None]) -> None:
        """Queue `call` to be made in the event loop at the next `flush`. Callable from any thread."""
        self._calls.append(call)

    def resolve(self, future: "asyncio.Future[T]", result: T) -> None:
        """Queue setting a future's result; skipped if the future is done by then."""
        self.post(lambda: None if future.done() else future.set_result(result))

    def reject(self, future: "asyncio.Future[Any]", error: Exception) -> None:
        """Queue setting a future's exception; skipped if the future is done by then."""
        self.post(lambda: None if future.done() else future.set_exception(error))

    def flush(self) -> None:
        """Make the queued calls, at the end of a tick: here if this is the loop's thread, else through the loop."""
        if not self._calls or self._loop is None or self._loop.is_closed():
            return
        if threading.get_ident() == self._thread:
            self._deliver()
        else:
            self._loop.call_soon_threadsafe(self._deliver)

    def call_soon(self, call: Callable[[], None]) -> bool:
        """Schedule a call in the loop's next iteration; return False, doing nothing, in any other thread."""
        if self._loop is None or threading.get_ident() != self._thread:
            return False
        self._loop.call_soon(call)
        return True

    def _deliver(self) -> None:
        while self._calls:
            self._calls.popleft()()
