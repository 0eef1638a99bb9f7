"""Messages on their way to one client: in order, and no more than it reads."""

import asyncio
from collections import deque

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
