"""Shares: no address takes every place, rates have a limit, and whoever has had least goes first."""

import asyncio
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.requests import HTTPConnection

from spikesight.service.http.errors import Overloaded
from spikesight.service.http.shares import (
    MAX_CLIENTS,
    MOST_WAITING,
    FairQueue,
    OneByOne,
    Quota,
    RateLimit,
    TokenBucket,
    address_of,
    client_key,
)


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


@pytest.mark.attack("load", "one address with many slow uploads", "half of the decoders at most; others go first")
async def test_one_client_leaves_places_to_others_and_who_holds_fewest_goes_first() -> None:
    went, line = list[str](), FairQueue(4, 2)

    async def one(name: str, client: str) -> None:
        await line.acquire(client)
        went.append(name)

    waiting = [asyncio.create_task(one(f"greedy{n}", "greedy")) for n in range(6)]
    await settled()
    assert went == ["greedy0", "greedy1"], "half of the places, though nobody else asks"
    waiting += [asyncio.create_task(one(f"other{n}", f"other{n}")) for n in range(3)]
    await settled()
    assert went[2:] == ["other0", "other1"]
    line.release("greedy")
    await settled()
    assert went[4:] == ["other2"], "it came last, and holds nothing"
    line.release("other0")
    await settled()
    assert went[5:] == ["greedy2"], "the others are served"
    await ended(*waiting)


async def test_who_leaves_the_line_takes_no_place() -> None:
    line = FairQueue(1, 1)
    await line.acquire("a")
    gone, given = (asyncio.create_task(line.acquire(name)) for name in ("b", "c"))
    await settled()
    gone.cancel()
    await settled()
    line.release("a")
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


def test_the_least_recent_address_is_forgotten_first() -> None:
    rate = RateLimit(1.0, clock=lambda: 0.0)
    assert all(rate.allows(str(n)) for n in range(MAX_CLIENTS))
    assert not rate.allows("0"), "it is remembered, and the most recent now"
    assert rate.allows("one more")
    assert not rate.allows("0")
    assert rate.allows("1"), "it was the least recent"
    assert all(RateLimit(None).allows("any") for _ in range(5))


@pytest.mark.parametrize(
    ("rate", "asked", "taken"),
    [
        (2.0, [0, 0, 0, 0.5, 0.5], [True, True, False, True, False]),
        (2.0, [0, 1000, 1000, 1000], [True, True, True, False]),  # a long silence saves up one second's worth
        (0.1, [0, 9, 10.1, 1000, 1001], [True, False, True, True, False]),  # a slow bucket still holds one
    ],
)
def test_buckets_refill(rate: float, asked: list[float], taken: list[bool]) -> None:
    bucket = TokenBucket(rate, 0.0)
    assert [bucket.take(now) for now in asked] == taken


async def test_in_a_thread_each_has_its_pieces_in_order_and_users_take_turns() -> None:
    thread, log = ThreadPoolExecutor(1), list[str]()
    greedy, modest = OneByOne(thread), OneByOne(thread)
    asked = [greedy.run(lambda name=name: log.append(name)) for name in "ABCDEF"]
    await asyncio.gather(*asked, *(modest.run(lambda name=name: log.append(name)) for name in "ab"))
    assert "".join(log) == "AaBbCDEF"
