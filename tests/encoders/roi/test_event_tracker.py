"""The tracker of an event camera's drawing: when it searches, and what it takes up, holds and drops."""

import math
from collections.abc import Iterator
from itertools import repeat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikesight.encoders.dvs import Bin, DvsEncoder
from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.preprocess.drawing import Drawing, Floats
from spikesight.encoders.roi.event_tracker import LIKELY, MEMORY_US, SEARCH_US, EventMap, EventTracker, Found
from spikesight.encoders.roi.input_filter import InputFilter, bins_of
from spikesight.encoders.roi.tracks import Seen, WindowsBinner
from spikesight.encoders.roi.window import Window
from tests.support.inputs.filtered import kept_and_missed

CAMERA, SMALL = SensorSize(320, 240), SensorSize(34, 34)
CELLS = EventMap(CAMERA)
P_STEPS = [0.1, 0.3, 0.3, 0.26, 0.01, 0.01, 0.01, 0.01]


def drawn(shape: str, likeness: float = 0.7, left: float = 100, top: float = 80) -> Drawing:
    """A bar or a corner, 20 cells high and 10 wide."""
    ink = np.zeros((20, 10), np.float32)
    if shape == "bar":
        ink[:, 4:6] = 1
    else:
        ink[17:] = ink[:, :3] = 1
    return Drawing(ink, left, top, 10 * CELLS.cell, 20 * CELLS.cell, likeness, 200.0)


class Scripted(EventTracker):
    """Finds what the script says; every interval between two searches has the events of `play`."""

    def __init__(self, found: Iterator[Drawing | None]) -> None:
        super().__init__(CAMERA, SMALL)
        self.script, self.searched = found, list[Floats]()

    def find(self, *maps: Floats) -> Found:
        self.searched.append(maps[0])
        drawing = next(self.script)
        return [Seen(drawing)] if drawing else [], []

    def see(self, events: Events) -> Events:
        return kept_and_missed(self, events)[0]

    def play(self, interval: int, events: int = 1) -> bool:
        """Some events in an interval; whether there is a window after the search of it."""
        self.see(some(interval * SEARCH_US, 10, 10, events))
        return self.tracks.window is not None


def some(t: int, x: int, y: int, count: int = 1) -> Events:
    return make_events([t] * count, [x] * count, [y] * count, [1] * count)


@pytest.mark.parametrize("cut", [False, True])
def test_the_map_fades_with_the_time_between_searches(cut: bool) -> None:
    tracker = Scripted(repeat(None))
    events = make_events([0, 1.2 * SEARCH_US, 4.2 * SEARCH_US, 5 * SEARCH_US], [0, 2, 4, 6], [0] * 4, [1] * 4)
    for packet in np.array_split(events, 4 if cut else 1):
        tracker.see(packet)
    faded = math.exp(-SEARCH_US / MEMORY_US)
    assert [list(one[0, :4]) for one in tracker.searched] == [
        pytest.approx(row) for row in ([1, 0, 0, 0], [faded, 1, 0, 0], [faded**4, faded**3, 1, 0])
    ]


@pytest.mark.parametrize(("likeness", "taken"), [(LIKELY + 1e-6, True), (LIKELY, False)])
def test_a_likely_drawing_is_taken_up(likeness: float, taken: bool) -> None:
    tracker = Scripted(repeat(drawn("bar", likeness)))
    assert [tracker.play(n) for n in range(3)] == [False, taken, taken]
    if taken:
        assert tracker.tracks.window == Window(110 - 34, 100 - 34, 68)


def test_a_drawing_that_changes_is_dropped_and_another_is_taken_up() -> None:
    tracker = Scripted(iter([*[drawn("bar")] * 5, *[drawn("corner")] * 12]))
    for n in range(5):
        tracker.play(n)
    first = tracker.tracks.ids[0]
    assert first
    for n in range(5, 16):
        tracker.play(n)
    assert tracker.tracks.ids[0] == first + 1


def test_a_drawing_is_held_as_long_as_it_was_followed() -> None:
    tracker = Scripted(iter([*[drawn("bar")] * 5, *[None] * 9]))
    held = [tracker.play(n) for n in range(14)]
    assert held == [False] + [True] * 9 + [False] * 4


@pytest.mark.parametrize(("late_us", "taken"), [(-1, False), (0, True), (3 * SEARCH_US, True)])
def test_what_a_search_finds_is_taken_by_the_first_event_of_the_next_interval(late_us: int, taken: bool) -> None:
    tracker = Scripted(repeat(drawn("bar")))
    tracker.see(some(0, 10, 10))
    tracker.see(some(SEARCH_US + late_us, 10, 10))
    assert (tracker.tracks.window is not None) == taken


def test_only_events_near_the_strokes_and_in_the_window_are_kept() -> None:
    tracker = Scripted(repeat(drawn("bar")))
    for n in range(2):
        tracker.play(n)
    near = CELLS.near(drawn("bar"))  # pixels 106 to 113 across, 78 to 121 down
    x, y = [105, 106, 113, 114, 110, 110, 110, 110], [100, 100, 100, 100, 77, 78, 121, 122]
    seen = tracker.see(make_events([SEARCH_US + 1] * 8, x, y, [1] * 8))
    kept = [n for n in range(8) if near[y[n] // CELLS.cell, x[n] // CELLS.cell]]
    window = tracker.tracks.window
    assert window is not None
    assert kept == [1, 2, 5, 6]
    assert seen["x"].tolist() == [math.floor((x[n] - window.left) * 34 / window.side) for n in kept]
    assert seen["y"].tolist() == [math.floor((y[n] - window.top) * 34 / window.side) for n in kept]


@pytest.mark.parametrize(("size", "shift"), [((60, 34), (13, 0)), ((34, 51), (0, 8)), ((34, 34), (0, 0))])
def test_a_fixed_window_lies_in_the_middle_of_the_small_sensor(size: tuple[int, int], shift: tuple[int, int]) -> None:
    small = SensorSize(*size)
    window = InputFilter(CAMERA, small, fixed=Window(100, 60, 68))
    x, y = (grid.ravel() for grid in np.meshgrid(np.arange(320), np.arange(240)))
    seen = window(make_events(np.zeros(x.size), x, y, np.ones(x.size)))
    assert set(zip(seen["x"].tolist(), seen["y"].tolist())) == set(np.ndindex(small.width, small.height))
    assert len(seen) == 4 * small.width * small.height
    left, top = 100 - 2 * shift[0], 60 - 2 * shift[1]
    x, y = np.array([left, left + 1, left - 1, left]), np.array([top, top + 1, top, top - 1])
    first = window(make_events([0] * 4, x, y, [1] * 4))
    assert (first["x"].tolist(), first["y"].tolist()) == ([0, 0], [0, 0])


@pytest.mark.parametrize(("ring", "around", "found"), [(0.5, 0.5, True), (1.0, 0.5, False), (1.0, 1.0, True)])
def test_a_drawing_takes_its_light_along_by_what_is_around_it(ring: float, around: float, found: bool) -> None:
    """`ring`, `around`: share of ON events along a ring's stroke and on the rest of the sensor, as of a weak pixel."""
    random, tracker, count = np.random.default_rng(5), EventTracker(CAMERA, SMALL), 30_000
    angles, half = random.uniform(0, 2 * np.pi, count), random.uniform(38, 42, count)
    x, y = 160 + 0.7 * half * np.cos(angles), 120 + half * np.sin(angles)
    x, y = (np.append(one, random.integers(0, side, count)) for one, side in ((x, 320), (y, 240)))
    polarity = random.random(2 * count) < np.repeat([ring, around], count)
    order = random.permutation(2 * count)
    times = np.linspace(0, 2 * SEARCH_US, 2 * count)
    kept_and_missed(tracker, make_events(times, x[order].astype(int), y[order].astype(int), polarity[order]))
    assert (tracker.tracks.window is not None) == found


def jumping() -> tuple[InputFilter, WindowsBinner]:
    """A filter whose tracker finds two drawings somewhere else at each search, by what the events were."""
    front = InputFilter(CAMERA, SMALL, 3_000, follow=True, places=3)
    tracker = front.windows
    assert tracker is not None

    def find(*maps: Floats) -> Found:
        at = tracker.search_us // SEARCH_US + int(np.abs(maps[0]).sum() * 10)
        return [Seen(drawn("bar", 0.9, 20 + 60 * (at % 5))), Seen(drawn("corner", 0.7, 30 + 50 * (at % 3)))], []

    tracker.find = find
    return front, WindowsBinner(tracker.tracks, DvsEncoder(front.size, (3 * 34, 34), 10_000, 5), 1)


def told(bins: list[Bin]) -> list[tuple[object, ...]]:
    held = [[part.tolist() for part in one.held or ()] for one in bins]
    return [(b.start_us, b.n_events, b.n_missed, b.reset, b.x.tobytes(), *of) for b, of in zip(bins, held)]


@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 900), max_size=20))
def test_a_bin_shows_the_tracks_of_its_time_however_events_are_cut(seed: int, cuts: list[int]) -> None:
    random = np.random.default_rng(seed)
    t = np.cumsum(random.choice([0, 90, 900, 20_000, 700_000, 1_200_000, -20_000, -500_000], 900, p=P_STEPS))
    alone = random.random(900) < 0.3  # these are filtered out, and time goes by them, too
    x, y = (np.where(alone, random.integers(0, side, 900), random.integers(50, 60, 900)) for side in (340, 240))
    events = make_events(t, x, y, random.integers(0, 2, 900))
    front, binner = jumping()
    expected = told(bins_of(events, front, binner) + binner.flush())
    front, binner = jumping()
    bins = list[Bin]()
    for part in np.split(events, sorted(cuts)):
        bins += bins_of(part, front, binner)
    assert told(bins + binner.flush()) == expected
