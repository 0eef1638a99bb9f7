"""How a stream ends: its close code, and its tasks."""

import asyncio
from collections.abc import Collection
from typing import Any

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
