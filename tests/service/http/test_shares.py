"""Shares: no address takes every place, and what is given back can be taken again."""

import asyncio
import weakref

import pytest
from starlette.requests import HTTPConnection

from service.http.shares import Lobby, Shares, address_of, client_key


def test_an_address_holds_its_share_and_no_more() -> None:
    places = Shares(total=3, own=2)
    assert [places.take("a") for _ in range(3)] == [None, None, "own"]
    assert [places.take("b") for _ in range(2)] == [None, "total"]
    assert places.taken == 3
    places.give("a")
    assert places.take("c") is None
    assert places.take("c") == "total"


class Address(str):
    """One that can be watched."""


@pytest.mark.attack("connections", "many addresses, each once", "an address that holds nothing is forgotten")
@pytest.mark.parametrize(("total", "own"), [(1, 1), (0, 1), (1, 0)])
def test_addresses_that_hold_nothing_are_forgotten(total: int, own: int) -> None:
    places, address = Shares(total, own), Address("192.0.2.7")
    if places.take(address) is None:
        places.give(address)
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


def test_in_a_full_lobby_the_client_with_most_loses_the_one_that_waited_longest() -> None:
    lobby, left = Lobby(3), list[str]()

    async def wait(client: str, number: int) -> None:
        try:
            async with lobby.wait(client, 3600):
                await asyncio.Event().wait()
        except TimeoutError:
            left.append(f"{client}{number}")

    async def run() -> None:
        tasks: list[asyncio.Task[None]] = []
        for number, client in enumerate("abbbcc"):
            tasks.append(asyncio.create_task(wait(client, number)))
            for _ in range(5):
                await asyncio.sleep(0)
        while len(left) < 3:
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    asyncio.run(run())
    assert left == ["b1", "b2", "c4"]


def test_who_has_left_the_lobby_makes_room() -> None:
    lobby = Lobby(1)

    async def run() -> None:
        for client in "ab":
            async with lobby.wait(client, 3600):
                await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with lobby.wait("c", 0):
                await asyncio.Event().wait()

    asyncio.run(run())
