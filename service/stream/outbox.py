"""What leaves a stream: messages in order, no more than the client reads, and how it ends."""

import asyncio
from collections import deque
from collections.abc import Collection
from typing import Any

from fastapi import WebSocket


class Outbox:
    """The queue, and how many inputs of the stream still wait for their answer to be sent."""

    def __init__(self, socket: WebSocket) -> None:
        self.unsent = 0
        self._socket = socket
        self._messages: deque[tuple[str | bytes, int]] = deque()  # with the inputs it settles
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._closing = False

    def say(self, message: str | bytes, settles: int = 0) -> None:
        """Queue a message; `settles` inputs are done with it."""
        self._messages.append((message, settles))
        self._wake.set()

    def close(self) -> None:
        """End `write` after what is already queued."""
        self._closing = True
        self._wake.set()

    async def at_most(self, unsent: int) -> None:
        """Wait until so few inputs are unsent."""
        while self.unsent > unsent:
            self._settled.clear()
            await self._settled.wait()

    async def write(self) -> None:
        """Send what is queued; blocks while the client does not read."""
        while not self._closing or self._messages:
            await self._wake.wait()
            self._wake.clear()
            while self._messages:
                message, settles = self._messages.popleft()
                if isinstance(message, bytes):
                    await self._socket.send_bytes(message)
                else:
                    await self._socket.send_text(message)
                if settles:
                    self.unsent -= settles
                    self._settled.set()


CLOSED = {
    1001: "no message for too long",
    1008: "the stream broke a rule",
    1012: "the service restarts",
    1013: "the service is busy",
}


class Ended(Exception):
    """The stream is over, with a close code."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason or CLOSED.get(code, "")


async def end_all(tasks: "Collection[asyncio.Task[Any]]") -> None:
    """Cancel tasks and wait until they have ended, whatever they raise.

    Not by `gather`: when the caller is cancelled meanwhile, that raises a cancellation of its tasks in place of the
    caller's own, which a cancel scope around the caller does not know as its own.
    """
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen: not logged as forgotten
