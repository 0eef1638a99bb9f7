"""A thread beside the event loop, for decoding: what it is given is done in order, one thing at a time."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

from service.logs import log
from service.mailbox import Mailbox

T = TypeVar("T")


class Apart:
    """The thread. Answers come back through the mailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="decode", daemon=True)
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
