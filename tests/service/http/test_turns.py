"""Turns: one piece of work at a time, a round of the loop between two, and who has had least goes first."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from spikesight.service.http.turns import Account, ThreadAccount, Turns
from tests.support.waiting import Clock


class Bench:
    """Turns whose pieces of work are written down."""

    def __init__(self) -> None:
        self.clock, self.log = Clock(), list[str]()
        self.turns = Turns(self.clock)

    async def work(self, account: Account, name: str, seconds: float = 1.0, n: int = 1) -> None:
        for _ in range(n):
            async with account:
                self.clock.now += seconds
                self.log.append(name)


async def test_who_has_had_least_goes_first() -> None:
    bench = Bench()
    greedy, modest = bench.turns.account(), bench.turns.account()
    await asyncio.gather(bench.work(greedy, "greedy", 5.0, 3), bench.work(modest, "modest", 1.0, 6))
    assert bench.log == ["greedy", *["modest"] * 5, "greedy", "modest", "greedy"]


async def test_a_new_account_has_no_more_saved_up_than_who_works() -> None:
    bench = Bench()
    old, new = bench.turns.account(), bench.turns.account()
    await bench.work(old, "old", n=50)
    bench.log.clear()
    await asyncio.gather(bench.work(new, "new", n=4), bench.work(old, "old", n=4))
    assert "old" in bench.log[:3], "fifty seconds are not made up for"


async def test_the_loop_goes_round_between_two_pieces() -> None:
    bench = Bench()
    working = asyncio.create_task(bench.work(bench.turns.account(), "piece", n=5))
    while not working.done():
        bench.log.append("other")
        await asyncio.sleep(0)
    assert "piece piece" not in " ".join(bench.log)


async def test_who_leaves_while_it_waits_or_has_just_got_its_turn_holds_nobody_up() -> None:
    bench = Bench()
    holds = bench.turns.account()
    await holds.__aenter__()
    waits, granted, last = (
        asyncio.create_task(bench.work(bench.turns.account(), name)) for name in ("waits", "granted", "last")
    )
    await asyncio.sleep(0)
    waits.cancel()
    await holds.__aexit__()
    asyncio.get_running_loop().call_soon(granted.cancel)  # in the same round in which it is woken
    for task in (waits, granted):
        with suppress(asyncio.CancelledError):
            await task
    await last
    assert bench.log == ["last"]


async def test_in_a_thread_each_has_its_pieces_in_order_and_who_has_had_least_goes_first() -> None:
    bench = Bench()
    thread = ThreadPoolExecutor(1)
    greedy, modest = (ThreadAccount(bench.turns, thread) for _ in range(2))

    def piece(name: str, seconds: float) -> Callable[[], str]:
        def work() -> str:
            bench.clock.now += seconds
            bench.log.append(name)
            return name

        return work

    asked = [greedy.run(piece(name, 5.0)) for name in "ABC"] + [modest.run(piece(name, 1.0)) for name in "abcdef"]
    assert "".join(await asyncio.gather(*asked)) == "ABCabcdef"
    assert "".join(bench.log) == "AabcdeBfC"
