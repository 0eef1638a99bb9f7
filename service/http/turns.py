"""Whose turn it is with something that many share: one at a time, and who has had least of it goes first.

turns = Turns()          # of one thread: the event loop's, or the decoding thread's
account = turns.account()
async with account: ...  # one piece of work
"""

import asyncio
import time
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Protocol, TypeVar

T = TypeVar("T")


class Turns:
    """One piece of work at a time, and a round of the event loop between two of them.

    `clock` gives seconds of the work (by default of this thread's own processor time): it says how much an account has
    had. An account that was idle saves nothing up: it goes on from where those who work are.
    """

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self.clock = clock
        self._had = 0.0  # by the account whose turn it is: none that comes new has had less
        self._busy = False
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = count()

    def account(self) -> "Account":
        """Of somebody who comes new."""
        return Account(self)

    async def take(self, had: float) -> float:
        """Wait for the turn of an account that has had so much; how much it counts as having had."""
        had = max(had, self._had)
        if self._busy:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heappush(self._waiting, (had, next(self._number), turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._next()
                raise
        self._busy, self._had = True, had
        return had

    def give(self) -> None:
        """The piece is done: the next one begins after a round of the event loop."""
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        while self._waiting:
            turn = heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)
                return
        self._busy = False


class Worker(Protocol):
    """A thread that does work in order."""

    async def run(self, work: Callable[[], T]) -> T: ...


class Account:
    """What one of those who share has had so far; `async with` is one turn."""

    def __init__(self, turns: Turns) -> None:
        self._turns, self._had, self._begun = turns, 0.0, 0.0

    async def __aenter__(self) -> None:
        self._had = await self._turns.take(self._had)
        self._begun = self._turns.clock()

    async def __aexit__(self, *_: object) -> None:
        self._had += self._turns.clock() - self._begun
        self._turns.give()


class ThreadAccount(Account):
    """An account whose turns are in a thread, one piece of work after another."""

    def __init__(self, turns: Turns, thread: Worker) -> None:
        super().__init__(turns)
        self._thread, self._mine = thread, asyncio.Lock()

    async def run(self, work: Callable[[], T]) -> T:
        """Do it after all that was asked for before; what it returns or raises."""
        async with self._mine, self:
            return await self._thread.run(work)
