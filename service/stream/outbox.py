"""A stream's queue of outgoing messages, sent as fast as the client reads; and cancellation of its tasks."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

from fastapi import WebSocket


class Outbox:
    """Queue of messages to a client, `max_bytes` at most. `sent` is called with the number of inputs a message settles.

    If the client leaves more unread, the queue is discarded, `unread` is set, and no more messages are queued.
    """

    def __init__(self, socket: WebSocket, sent: Callable[[int], None], max_bytes: int) -> None:
        self.held = 0  # bytes queued or being sent
        self.unread = asyncio.Event()
        self._socket, self._sent, self._max_bytes = socket, sent, max_bytes
        self._messages: deque[tuple[str | bytes, int]] = deque()  # each with the number of inputs it settles
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._closing = False

    def put(self, message: str | bytes, settles: int = 0) -> None:
        """Queue a message that is the answer to `settles` inputs. A single message may exceed the limit."""
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
        """End `write` after the queued messages."""
        self._closing = True
        self._wake.set()

    async def progress(self) -> None:
        """Wait until the next message that settles inputs has been sent."""
        self._settled.clear()
        await self._settled.wait()

    async def write(self) -> None:
        """Send queued messages; blocks while the client does not read."""
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

    `gather` would not do: if the caller is cancelled meanwhile, it raises a cancellation of the tasks instead of the
    caller's own, which a cancel scope around the caller does not recognise.
    """
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not log it as never retrieved
