"""The teaching thread, shared by all sessions: each has one piece of work in it at a time."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from spikesight.service.scheduler.threads import DecodeThread

T = TypeVar("T")


class Turns:
    """One session's turns in the thread: between two of its pieces of work every other session has one."""

    def __init__(self, thread: DecodeThread) -> None:
        self._thread, self._mine = thread, asyncio.Lock()

    async def run(self, work: Callable[[], T]) -> T:
        """Do it after all that this session asked for before; what it returns or raises."""
        async with self._mine:
            return await self._thread.run(work)
