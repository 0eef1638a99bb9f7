"""Quota: no address takes every place, and what is given back can be taken again."""

import asyncio
import weakref
from typing import Any

import pytest
from starlette.requests import HTTPConnection

from spikesight.service.http.errors import Overloaded
from spikesight.service.http.shares import MOST_WAITING, FairQueue, HelloQueue, Quota, address_of, client_key
from tests.support.waiting import Clock


def test_an_address_holds_its_share_and_no_more() -> None:
    places = Quota(total=3, own=2)
    assert [places.acquire("a") for _ in range(3)] == [None, None, "own"]
    assert [places.acquire("b") for _ in range(2)] == [None, "total"]
    assert places.taken == 3
    places.release("a")
    assert places.acquire("c") is None
    assert places.acquire("c") == "total"


class Address(str):
    """One that can be watched."""


@pytest.mark.attack("connections", "many addresses, each once", "an address that holds nothing is forgotten")
@pytest.mark.parametrize(("total", "own"), [(1, 1), (0, 1), (1, 0)])
def test_addresses_that_hold_nothing_are_forgotten(total: int, own: int) -> None:
    places, address = Quota(total, own), Address("192.0.2.7")
    if places.acquire(address) is None:
        places.release(address)
    watched = weakref.ref(address)
    del address
    assert watched() is None


@pytest.mark.attack("connections", "one IPv6 network, each time from another address of it", "one client's share")
@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:0:0:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.7", "192.0.2.7", True),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.8", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("no:address", "no:address", True),
        ("", "::1", False),
    ],
)
def test_who_is_one_client(one: str, other: str, same: bool) -> None:
    assert (client_key(one) == client_key(other)) is same
    asked = [HTTPConnection({"type": "http", "client": (host, 1)}) for host in (one, other)]
    assert (address_of(asked[0]) == address_of(asked[1])) is same


async def settled() -> None:
    """Whoever can go on has gone on."""
    for _ in range(5):
        await asyncio.sleep(0)


async def ended(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_in_a_full_lobby_the_client_with_most_loses_the_one_that_waited_longest() -> None:
    hello_queue, left = HelloQueue(3), list[str]()

    async def wait(client: str, number: int) -> None:
        try:
            async with hello_queue.wait(client, 3600):
                await asyncio.Event().wait()
        except TimeoutError:
            left.append(f"{client}{number}")

    tasks: list[asyncio.Task[None]] = []
    for number, client in enumerate("abbbcc"):
        tasks.append(asyncio.create_task(wait(client, number)))
        await settled()
    while len(left) < 3:
        await asyncio.sleep(0)
    await ended(*tasks)
    assert left == ["b1", "b2", "c4"]


async def test_who_has_left_the_lobby_makes_room() -> None:
    hello_queue = HelloQueue(1)
    for client in "ab":
        async with hello_queue.wait(client, 3600):
            await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        async with hello_queue.wait("c", 0):
            await asyncio.Event().wait()


async def test_who_comes_as_the_time_of_another_is_up_is_let_in() -> None:
    hello_queue, entered = HelloQueue(1), list[str]()

    async def wait(client: str, seconds: float) -> None:
        async with hello_queue.wait(client, seconds):
            entered.append(client)
            await asyncio.Event().wait()

    late = asyncio.create_task(wait("late", 0))
    await asyncio.sleep(0)  # next its time is up, which it notices only after the other has come
    tasks = [late, asyncio.create_task(wait("next", 3600))]
    await settled()
    assert (entered, tasks[1].done()) == (["late", "next"], False)
    await ended(*tasks)


@pytest.mark.attack("load", "one address with many slow uploads", "half of the decoders at most; others go first")
async def test_one_client_leaves_places_to_others_and_who_had_least_goes_first() -> None:
    clock, went = Clock(), list[str]()
    line = FairQueue(4, 2, clock)

    async def one(name: str, client: str) -> None:
        await line.acquire(client)
        went.append(name)

    waiting = [asyncio.create_task(one(f"greedy{n}", "greedy")) for n in range(6)]
    await settled()
    assert went == ["greedy0", "greedy1"], "half of the places, though nobody else asks"
    waiting += [asyncio.create_task(one(f"other{n}", f"other{n}")) for n in range(3)]
    await settled()
    assert went[2:] == ["other0", "other1"]
    clock.now += 5
    line.release("greedy", 5)
    await settled()
    assert went[4:] == ["other2"], "it came last, and had nothing yet"
    line.release("other0", 1)
    await settled()
    assert went[5:] == ["greedy2"], "the others are served"
    waiting.append(asyncio.create_task(one("again", "other0")))
    await settled()
    line.release("greedy", 1)
    await settled()
    assert went[6:] == ["again"], "a second, where the greedy one had six"
    await ended(*waiting)


async def test_what_was_had_is_forgotten() -> None:
    clock = Clock()
    line = FairQueue(1, 1, clock)
    for client, seconds in (("a", 8.0), ("b", 1.0)):
        await line.acquire(client)
        line.release(client, seconds)
    assert line.had("a") == 8
    clock.now += 30
    assert line.had("a") == pytest.approx(1)
    assert line.had("nobody") == 0


async def test_who_leaves_the_line_takes_no_place() -> None:
    line = FairQueue(1, 1)
    await line.acquire("a")
    gone, given = (asyncio.create_task(line.acquire(name)) for name in ("b", "c"))
    await settled()
    gone.cancel()
    await settled()
    line.release("a", 1)
    given.cancel()  # in the moment in which it is its turn
    await settled()
    await line.acquire("d")


async def test_a_client_may_have_so_many_waiting() -> None:
    line = FairQueue(1, 1)
    tasks = [asyncio.create_task(line.acquire("a")) for _ in range(MOST_WAITING + 1)]
    await settled()
    with pytest.raises(Overloaded):
        await line.acquire("a")
    tasks.append(asyncio.create_task(line.acquire("b")))
    await settled()
    assert not tasks[-1].done()
    await ended(*tasks)
