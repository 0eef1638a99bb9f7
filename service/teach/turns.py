"""The teaching thread, shared by all lessons: each has one piece of work in it at a time."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from spikesight.service.scheduler.threads import DecodeThread

T = TypeVar("T")


class Turns:
    """One lesson's. Who asks for much waits for itself: between two of its pieces every other lesson has one."""

    def __init__(self, thread: DecodeThread) -> None:
        self._thread, self._mine = thread, asyncio.Lock()

    async def run(self, work: Callable[[], T]) -> T:
        """Do it when what this lesson asked for before is done, and wait for what it returns or raises."""
        async with self._mine:
            return await self._thread.run(work)
