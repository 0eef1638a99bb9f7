"""Turns: one piece of work at a time, a round of the loop between two, and who has had least goes first."""

import asyncio
from contextlib import suppress

from spikesight.service.http.turns import Account, Turns


class Clock:
    """Seconds of work, which stand still unless somebody works."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def work(account: Account, clock: Clock, seconds: float, log: list[str], name: str) -> None:
    async with account:
        clock.now += seconds
        log.append(name)


async def steadily(account: Account, clock: Clock, seconds: float, log: list[str], name: str, n: int) -> None:
    for _ in range(n):
        await work(account, clock, seconds, log, name)


def test_who_has_had_least_goes_first() -> None:
    clock, log = Clock(), list[str]()
    turns = Turns(clock)

    async def run() -> None:
        await asyncio.gather(
            steadily(turns.account(), clock, 5.0, log, "greedy", 3),
            steadily(turns.account(), clock, 1.0, log, "modest", 6),
        )

    asyncio.run(run())
    assert log == ["greedy", *["modest"] * 5, "greedy", "modest", "greedy"]


def test_a_new_account_has_no_more_saved_up_than_who_works() -> None:
    clock, log = Clock(), list[str]()
    turns = Turns(clock)
    old, new = turns.account(), turns.account()

    async def run() -> None:
        await steadily(old, clock, 1.0, log, "old", 50)
        log.clear()
        await asyncio.gather(steadily(new, clock, 1.0, log, "new", 4), steadily(old, clock, 1.0, log, "old", 4))

    asyncio.run(run())
    assert "old" in log[:3], "fifty seconds are not made up for"


def test_the_loop_goes_round_between_two_pieces() -> None:
    clock, log = Clock(), list[str]()
    account = Turns(clock).account()

    async def other() -> None:
        while "end" not in log:
            log.append("other")
            await asyncio.sleep(0)

    async def run() -> None:
        beside = asyncio.create_task(other())
        for _ in range(5):
            await work(account, clock, 1.0, log, "piece")
        log.append("end")
        await beside

    asyncio.run(run())
    assert "piece piece" not in " ".join(log)


def test_who_leaves_while_it_waits_or_has_just_got_its_turn_holds_nobody_up() -> None:
    clock, log = Clock(), list[str]()
    turns = Turns(clock)

    async def run() -> None:
        holds = turns.account()
        await holds.__aenter__()
        waits = asyncio.create_task(work(turns.account(), clock, 1.0, log, "waits"))
        granted = asyncio.create_task(work(turns.account(), clock, 1.0, log, "granted"))
        last = asyncio.create_task(work(turns.account(), clock, 1.0, log, "last"))
        await asyncio.sleep(0)
        waits.cancel()
        await holds.__aexit__()
        asyncio.get_running_loop().call_soon(granted.cancel)  # in the same round in which it is woken
        for task in (waits, granted):
            with suppress(asyncio.CancelledError):
                await task
        await last

    asyncio.run(run())
    assert log == ["last"]
