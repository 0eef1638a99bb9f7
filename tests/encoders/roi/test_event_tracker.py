"""The window of an event camera: what it forgets, when it looks, and what it takes up, holds and gives up again."""

import math
from collections.abc import Iterator
from copy import copy
from itertools import repeat

import numpy as np
import pytest
from numpy.typing import NDArray

from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.preprocess.drawing import Drawing, Floats, Pieces, Search
from spikesight.encoders.roi.event_tracker import (
    ALIKE,
    FULL_HZ,
    LIKELY,
    LOOK_US,
    MEMORY_US,
    MISSES,
    STEP_US,
    EventTracker,
    Found,
    alike,
    form,
)
from spikesight.encoders.roi.window import FORGOTTEN_US, Window, around

CAMERA, SMALL = SensorSize(320, 240), SensorSize(34, 34)
CELL = 2  # pixels along the side of one cell of CAMERA's map


def drawn(shape: str, likeness: float = 0.7, left: float = 100, top: float = 80) -> Drawing:
    """A bar or a corner, 20 cells high and 10 wide."""
    ink = np.zeros((20, 10), np.float32)
    if shape == "bar":
        ink[:, 4:6] = 1
    else:
        ink[17:] = ink[:, :3] = 1
    return Drawing(ink, left, top, 10 * CELL, 20 * CELL, likeness, 200.0)


class Scripted(EventTracker):
    """Finds what the script says; every interval between two looks has the events of `play`, in its second step."""

    def __init__(self, found: Iterator[Drawing | None]) -> None:
        super().__init__(CAMERA, SMALL)
        self.script = found

    def _found(self, lately: Floats) -> Pieces[Found | None]:  # noqa: ARG002 - the script knows
        yield
        drawing = next(self.script)
        return drawing and Found(drawing, form(drawing))

    def play(self, look: int, events: int = 1) -> bool:
        """Some events in an interval; whether something is looked at after the look that they bring about."""
        self(one(look * LOOK_US + STEP_US, 10, 10, events))
        return self.window is not None


def one(t: int, x: int, y: int, count: int = 1) -> Events:
    return make_events([t] * count, [x] * count, [y] * count, [1] * count)


def counted(window: EventTracker) -> NDArray[np.float32]:
    """Events lately by cell, those since the last look among them."""
    return window._map + window._fresh.astype(np.float32)


def test_events_are_counted_in_the_cells_that_they_lie_in() -> None:
    window = EventTracker(SensorSize(330, 241), SMALL)  # cells of 3 pixels, 110 x 81 of them
    window(make_events([0, 0, 0, 0], [0, 329, 5, 6], [0, 240, 3, 3], [1, 0, 1, 1]))
    assert counted(window).shape == (81, 110)
    assert {(int(y), int(x)) for y, x in np.argwhere(counted(window) == 1)} == {(0, 0), (80, 109), (1, 1), (1, 2)}
    assert counted(window).sum() == 4
    assert EventTracker(SensorSize(160, 161), SMALL)._cell == 2
    assert EventTracker(SensorSize(160, 160), SMALL)._cell == 1


@pytest.mark.parametrize(
    ("later_us", "left"),
    [(49_999, 1.0), (50_000, math.exp(-1 / 3)), (99_999, math.exp(-1 / 3)), (200_000, math.exp(-4 / 3))],
)
def test_the_picture_fades_with_the_time_between_looks(later_us: int, left: float) -> None:
    assert (LOOK_US, MEMORY_US) == (50_000, 150_000)
    window = EventTracker(CAMERA, SMALL)
    window(one(0, 0, 0))
    window(one(later_us, 319, 239))
    assert counted(window)[0, 0] == pytest.approx(left, rel=5e-7)
    assert counted(window)[-1, -1] == 1


def test_looks_within_one_packet_are_as_those_of_many() -> None:
    window = EventTracker(CAMERA, SMALL)
    window(make_events([0, 60_000, 110_000], [0, 2, 4], [0, 0, 0], [1, 1, 1]))
    assert counted(window)[0, :3] == pytest.approx([math.exp(-2 / 3), math.exp(-1 / 3), 1])


@pytest.mark.parametrize(("per_cell", "seen"), [(1.0, True), (0.2, False)])
def test_strokes_are_seen_by_their_rate_of_events(per_cell: float, seen: bool) -> None:
    """A cell is white at FULL_HZ events a pixel and second over the memory: 9 events in a cell of 2 x 2 pixels."""
    assert FULL_HZ * MEMORY_US * 1e-6 * CELL**2 == 9
    window = EventTracker(CAMERA, SMALL)
    window._map[30:70, 60:64] = window._map[66:70, 60:90] = 9 * per_cell
    found = Search(window._found(window._map)).result()
    assert (found is not None) == seen
    if found is not None:
        assert (found.drawing.left, found.drawing.top) == pytest.approx((120, 60), abs=4)
        assert (found.drawing.width, found.drawing.height) == pytest.approx((60, 80), abs=6)


@pytest.mark.parametrize(("cells", "seen"), [(84, True), (96, False)])
def test_the_outline_of_a_sheet_is_longer_than_a_drawing(cells: int, seen: bool) -> None:
    window = EventTracker(CAMERA, SMALL)
    window._map[10 : 10 + cells, 60:64] = window._map[6 + cells : 10 + cells, 60:90] = window._full
    assert (Search(window._found(window._map)).result() is not None) == seen


@pytest.mark.parametrize(("likeness", "taken"), [(LIKELY, True), (LIKELY - 1e-6, False)])
def test_a_drawing_is_taken_up_in_the_third_look_that_finds_its_form(likeness: float, taken: bool) -> None:
    window = Scripted(repeat(drawn("bar", likeness)))
    assert [window.play(look) for look in range(5)] == [False, False, False, taken, taken]
    if taken:
        assert window.window == around(drawn("bar"))


def test_another_form_begins_the_count_anew() -> None:
    bar, corner = drawn("bar"), drawn("corner")
    window = Scripted(iter([bar, bar, corner, corner, None, corner, corner, corner]))
    assert [window.play(look) for look in range(9)] == [False] * 8 + [True]


def test_what_is_held_may_look_less_like_a_drawing() -> None:
    window = Scripted(iter([*[drawn("bar")] * 3, *[drawn("bar", 0.3, left=101)] * 20]))
    assert [window.play(look) for look in range(24)] == [False] * 3 + [True] * 21
    assert window.window == around(drawn("bar"))


@pytest.mark.parametrize(("moved", "forgotten"), [(30, True), (2, False)])
def test_eight_looks_that_miss_it_while_as_much_moves_forget_a_drawing(moved: int, forgotten: bool) -> None:
    assert MISSES == 8
    window = Scripted(iter([*[drawn("bar")] * 5, *[None] * 9]))
    looked = [window.play(look, events) for look, events in enumerate([20] * 5 + [moved] * 10)]
    assert looked == [False] * 3 + [True] * 10 + [not forgotten] * 2


def test_a_look_that_finds_it_again_forgives_the_misses() -> None:
    bar = drawn("bar")
    window = Scripted(iter([*[bar] * 3, *[None] * 6, bar, bar, *[None] * 8]))  # one that follows none is a miss too
    assert [window.play(look, 20) for look in range(20)] == [False] * 3 + [True] * 16 + [False]


@pytest.mark.parametrize(("later", "held"), [(FORGOTTEN_US, True), (FORGOTTEN_US + LOOK_US, False)])
def test_silence_forgets_a_drawing(later: int, held: bool) -> None:
    window = Scripted(iter([*[drawn("bar")] * 4, None]))
    for look in range(4):
        window.play(look)
    window.play(4 + later // LOOK_US)  # the look before found it at the end of interval 3
    assert (window.window is not None) == held


@pytest.mark.parametrize(("shape", "same"), [("bar", True), ("corner", False)])
def test_forms_are_compared_wherever_they_lie(shape: str, same: bool) -> None:
    assert ALIKE == 0.6
    one, other = drawn("bar"), drawn(shape, left=3, top=200)
    assert alike(form(one), form(other)) == same


@pytest.mark.parametrize(("late_us", "looked_at"), [(STEP_US - 1, False), (STEP_US, True), (LOOK_US, True)])
def test_what_a_look_found_is_looked_at_one_step_later(late_us: int, looked_at: bool) -> None:
    window = Scripted(repeat(drawn("bar")))
    for look in range(3):
        window(one(look * LOOK_US, 10, 10))
    window(one(3 * LOOK_US, 10, 10))  # the third look that finds it begins
    assert window.window is None
    window(one(3 * LOOK_US + late_us, 10, 10))
    assert (window.window is not None) == looked_at


def test_a_search_goes_on_a_little_with_each_packet() -> None:
    window = Scripted(script := iter([drawn("bar")] * 2))
    window(one(0, 10, 10))
    window(one(LOOK_US, 10, 10))  # begins; a piece
    assert len(list(copy(script))) == 2
    window(one(LOOK_US + 1, 10, 10))
    assert len(list(copy(script))) == 1
    window(one(LOOK_US + 2, 10, 10))
    assert len(list(copy(script))) == 1, "it is over"


def test_events_are_kept_near_the_strokes() -> None:
    window = Scripted(repeat(drawn("bar")))
    near = window._near(drawn("bar"))
    assert near.shape == (120, 160)
    # ink in columns 54 and 55, rows 40 to 59 of the cells; one cell (0.05 of 20) to each side
    assert {int(x) for x in np.flatnonzero(near.any(0))} == set(range(53, 57))
    assert {int(y) for y in np.flatnonzero(near.any(1))} == set(range(39, 61))
    assert near.sum() == 4 * 22
    large = Drawing(np.ones((60, 40), np.float32), 280, 200, 80, 120, 0.7, 200.0)  # beyond two edges; a reach of three
    rows, columns = np.nonzero(window._near(large))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (97, 119, 137, 159)


def test_only_events_near_the_strokes_and_in_the_window_are_let_through() -> None:
    window = Scripted(repeat(drawn("bar")))
    for look in range(4):
        window.play(look)
    t = 3 * LOOK_US + 1
    # cells 53 to 56 are pixels 106 to 113; cells 39 to 60 are pixels 78 to 121
    x, y = [105, 106, 113, 114, 110, 110, 110, 110], [100, 100, 100, 100, 77, 78, 121, 122]
    seen = window(make_events([t] * 8, x, y, [1] * 8))
    looked_at = window.window
    assert looked_at is not None
    scale = 34 / looked_at.side
    kept = [1, 2, 5, 6]
    assert seen["x"].tolist() == [math.floor((x[n] - looked_at.left) * scale) for n in kept]
    assert seen["y"].tolist() == [math.floor((y[n] - looked_at.top) * scale) for n in kept]


@pytest.mark.parametrize(("size", "shift"), [((60, 34), (13, 0)), ((34, 51), (0, 8)), ((34, 34), (0, 0))])
def test_a_fixed_window_lies_in_the_middle_of_the_small_sensor(size: tuple[int, int], shift: tuple[int, int]) -> None:
    small = SensorSize(*size)
    window = EventTracker(CAMERA, small, Window(100, 60, 68))
    x, y = (grid.ravel() for grid in np.meshgrid(np.arange(320), np.arange(240)))
    seen = window(make_events(np.zeros(x.size), x, y, np.ones(x.size)))
    places = {(int(a), int(b)) for a, b in zip(seen["x"], seen["y"])}
    assert places == {(a, b) for a in range(small.width) for b in range(small.height)}
    assert len(seen) == 4 * small.width * small.height
    left, top = 100 - 2 * shift[0], 60 - 2 * shift[1]
    first = window(make_events([0, 0], [left, left + 1], [top, top + 1], [1, 1]))
    assert (first["x"].tolist(), first["y"].tolist()) == ([0, 0], [0, 0])
    assert len(window(make_events([0, 0], [left - 1, left], [top, top - 1], [1, 1]))) == 0
