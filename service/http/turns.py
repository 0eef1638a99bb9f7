"""Fair scheduling of something that many share: one at a time, and whoever has used it least goes first.

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
    """A fair lock: one piece of work at a time, with an iteration of the event loop between two of them.

    `clock` measures the time that work takes (by default the CPU time of this thread), which is charged to the account.
    An account saves up no time while idle: it continues from the usage of the accounts that work.
    """

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self.clock = clock
        self._had = 0.0  # usage of the account whose turn it is: a new account starts from here
        self._busy = False
        self._waiting: list[tuple[Account, asyncio.Future[None]]] = []  # in order of arrival

    def account(self) -> "Account":
        """Return an account for a new user."""
        return Account(self)

    async def acquire(self, account: "Account") -> None:
        """Wait for this account's turn."""
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

    def release(self) -> None:
        """End the turn; the next begins after an iteration of the event loop."""
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._waiting = [one for one in self._waiting if not one[1].done()]
        self._busy = bool(self._waiting)
        if self._waiting:
            least = min(self._waiting, key=lambda one: one[0].had)
            self._waiting.remove(least)
            least[1].set_result(None)


class Account:
    """Usage of one user so far, `had` in seconds. `async with` is one turn; several may be waited for at once."""

    def __init__(self, turns: Turns) -> None:
        self._turns, self.had, self._begun = turns, 0.0, 0.0

    async def __aenter__(self) -> None:
        await self._turns.acquire(self)
        self._begun = self._turns.clock()

    async def __aexit__(self, *_: object) -> None:
        self.had += self._turns.clock() - self._begun
        self._turns.release()


class ThreadAccount(Account):
    """An account whose work runs in a thread: an executor with one worker."""

    def __init__(self, turns: Turns, thread: Executor) -> None:
        super().__init__(turns)
        self._thread = thread

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in the thread when its turn comes; return or raise what it does."""
        async with self:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
