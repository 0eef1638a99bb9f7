"""What leaves a stream: messages in order, as fast as the client reads; and how a stream's tasks end."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

from fastapi import WebSocket


class Outbox:
    """The queue, of at most `max_bytes`. `sent` is told how many inputs each message that has left settles.

    When more is left unread, what waits is thrown away and `unread` is set: nothing further is queued.
    """

    def __init__(self, socket: WebSocket, sent: Callable[[int], None], max_bytes: int) -> None:
        self.held = 0  # bytes of what waits and of what is being sent
        self.unread = asyncio.Event()
        self._socket, self._sent, self._max_bytes = socket, sent, max_bytes
        self._messages: deque[tuple[str | bytes, int]] = deque()  # with the inputs it settles
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._closing = False

    def say(self, message: str | bytes, settles: int = 0) -> None:
        """Queue a message; `settles` inputs are done with it. One message is taken whatever its size."""
        if self.unread.is_set():
            return
        if self.held and self.held + len(message) > self._max_bytes:
            self._messages.clear()
            self.held = 0
            self.unread.set()
            return
        self._messages.append((message, settles))
        self.held += len(message)
        self._wake.set()

    def close(self) -> None:
        """End `write` after what is already queued."""
        self._closing = True
        self._wake.set()

    async def progress(self) -> None:
        """Wait until the next message that settles inputs has left."""
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
                self.held = max(0, self.held - len(message))
                if settles:
                    self._sent(settles)
                    self._settled.set()


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
