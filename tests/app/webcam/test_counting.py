"""What crosses a line or a region is counted once, with its label and its way."""

import json

import pytest

from spikesight.app.webcam.counting import Counting
from spikesight.models.steps import Object


def at(identity: int, x: float, y: float = 50, label: str = "3") -> Object:
    return Object(identity, (x - 5, y - 5, 10, 10), label, 0.9, 0.9, None)


def crossed(counting: Counting, *steps: list[Object]) -> list[tuple[int, str, int]]:
    records = [record for t_us, objects in enumerate(steps) for record in counting.push(objects, t_us)]
    assert json.loads(json.dumps(records)) == records
    return [(record["object"], record["crossed"], record["count"]) for record in records]


def test_a_line_is_crossed_both_ways_and_each_time() -> None:
    line = Counting.of("line:100,0,100,100")
    steps = [[at(1, x), at(2, 200 - x)] for x in (80, 95, 105, 120, 95, 80)]
    assert crossed(line, *steps) == [
        (1, "backward", 1), (2, "forward", 1), (1, "forward", 2), (2, "backward", 2),
    ]  # fmt: skip


@pytest.mark.parametrize(("place", "way"), [("line:100,0,100,100", "backward"), ("region:100,0,300,100", "in")])
def test_what_dithers_on_a_line_or_border_is_counted_once_it_is_clear_of_it(place: str, way: str) -> None:
    steps = [[at(1, x)] for x in (80, 98, 102, 99, 101, 98, 102, 110, 120, 101, 99, 102, 130)]
    assert crossed(Counting.of(place), *steps) == [(1, way, 1)]


def test_what_passes_beyond_a_lines_ends_does_not_cross_it() -> None:
    assert crossed(Counting.of("line:100,0,100,100"), [at(1, 90, 150)], [at(1, 110, 150)]) == []


def test_an_object_that_is_not_seen_for_a_while_has_crossed_when_it_is_seen_again() -> None:
    assert len(crossed(Counting.of("line:100,0,100,100"), [at(1, 90)], [], [at(1, 130)])) == 1


def test_a_region_counts_who_is_in_it_first_and_who_comes_and_goes() -> None:
    region = Counting.of("region:200,100,100,0")
    assert crossed(region, [at(1, 150), at(2, 50)], [at(1, 150), at(2, 120)], [at(1, 250)]) == [
        (1, "in", 1), (2, "in", 2), (1, "out", 1),
    ]  # fmt: skip


def test_counts_are_by_label() -> None:
    region = Counting.of("region:0,0,100,100")
    assert crossed(region, [at(1, 10, label="3"), at(2, 20, label="7"), at(3, 30, label="3")]) == [
        (1, "in", 1), (2, "in", 1), (3, "in", 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["line", "line:1,2,3", "box:1,2,3,4", "line:1,2,1,2", "region:a,b,c,d", "line:0,0,inf,1"]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="in pixels"):
        Counting.of(text)
