"""Shares: no address takes every place, and what is given back can be taken again."""

from service.http.shares import Shares


def test_an_address_holds_its_share_and_no_more() -> None:
    places = Shares(total=3, own=2)
    assert [places.take("a") for _ in range(3)] == [None, None, "own"]
    assert [places.take("b") for _ in range(2)] == [None, "total"]
    assert places.taken == 3
    places.give("a")
    assert places.take("c") is None
    assert places.take("c") == "total"


def test_addresses_that_hold_nothing_are_forgotten() -> None:
    places = Shares(total=1, own=1)
    places.take("a")
    for n in range(1000):
        assert places.take(str(n)) == "total"
    places.give("a")
    assert not places._held
