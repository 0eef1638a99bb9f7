"""Whose turn it is with something that many share: one at a time, and who has had least of it goes first.

turns = Turns()          # of one thread: the event loop's, or the decoding thread's
account = turns.account()
async with account: ...  # one piece of work
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

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
        self._waiting: list[tuple[Account, asyncio.Future[None]]] = []  # in the order in which they came

    def account(self) -> "Account":
        """Of somebody who comes new."""
        return Account(self)

    async def take(self, account: "Account") -> None:
        """Wait for a turn of this account."""
        account.had = max(account.had, self._had)
        if self._busy:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((account, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._next()
                raise
        self._busy, self._had = True, account.had

    def give(self) -> None:
        """The piece is done: the next one begins after a round of the event loop."""
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._waiting = [one for one in self._waiting if not one[1].done()]
        self._busy = bool(self._waiting)
        if self._waiting:
            least = min(self._waiting, key=lambda one: one[0].had)
            self._waiting.remove(least)
            least[1].set_result(None)


class Account:
    """What one of those who share has `had` so far, in seconds; `async with` is one turn, several may be waited for."""

    def __init__(self, turns: Turns) -> None:
        self._turns, self.had, self._begun = turns, 0.0, 0.0

    async def __aenter__(self) -> None:
        await self._turns.take(self)
        self._begun = self._turns.clock()

    async def __aexit__(self, *_: object) -> None:
        self.had += self._turns.clock() - self._begun
        self._turns.give()


class ThreadAccount(Account):
    """An account whose turns are in a thread: an executor of one."""

    def __init__(self, turns: Turns, thread: Executor) -> None:
        super().__init__(turns)
        self._thread = thread

    async def run(self, work: Callable[[], T]) -> T:
        """Do it after all that was asked for before; what it returns or raises."""
        async with self:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
