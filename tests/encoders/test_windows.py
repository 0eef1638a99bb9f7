"""windows: by time and by number; silence, gaps, restarts, early and idle windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.events import Events, EventsError, make_events
from encoders.windows import CountWindows, TimeWindows, Window


def at(*times: int) -> Events:
    n = len(times)
    return make_events(times, range(n), [0] * n, [1] * n)


def spans(windows: list[Window]) -> list[tuple[int, int, int]]:
    return [(window.start_us, window.end_us, len(window.events)) for window in windows]


def test_windows_are_half_open_and_follow_each_other() -> None:
    windows = TimeWindows(10)
    assert spans(windows.push(at(5, 14, 15, 26))) == [(5, 15, 2), (15, 25, 1)]
    assert spans(windows.flush()) == [(25, 35, 1)]
    assert windows.flush() == []


def test_sliding_windows_overlap() -> None:
    windows = TimeWindows(20, 5)
    found = windows.push(at(*range(0, 60, 2)))
    assert spans(found)[:3] == [(0, 20, 10), (5, 25, 10), (10, 30, 10)]
    assert [window.start_us for window in found] == list(range(0, 40, 5))


def test_ticks_close_windows_of_a_still_scene() -> None:
    windows = TimeWindows(10, fewest=2, gap_us=50)
    assert windows.tick(99) == []
    windows.push(at(0, 1))
    found = windows.tick(10**12)
    assert spans(found)[0] == (0, 10, 2)
    assert [window.idle for window in found] == [False, True, True, True, True]


def test_too_many_events_close_early() -> None:
    windows = TimeWindows(100, most=3)
    found = windows.push(at(0, 1, 2, 3, 4, 5, 6))
    assert spans(found) == [(0, 3, 3), (3, 6, 3)]
    assert all(window.early for window in found)
    assert len(windows.push(at(6, 6))) == 1


def test_gaps_and_restarts_begin_anew() -> None:
    windows = TimeWindows(10)
    found = windows.push(at(0, 4_278_000_000, 4_278_000_003, 7, 8))
    assert spans(found) == [(0, 10, 1), (4_278_000_000, 4_278_000_010, 2)]
    assert spans(windows.flush()) == [(7, 17, 2)]


@given(st.lists(st.integers(-60, 90), min_size=1, max_size=80), st.lists(st.integers(0, 80), max_size=6))
def test_cutting_changes_nothing(steps: list[int], cuts: list[int]) -> None:
    events = at(*np.cumsum(steps).tolist())
    whole, pieces = (TimeWindows(25, 10, most=7, gap_us=80, back_us=50) for _ in range(2))
    edges = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    expected = whole.push(events) + whole.flush()
    found = [window for a, b in zip(edges, edges[1:]) for window in pieces.push(events[a:b])] + pieces.flush()  # noqa: RUF007
    assert spans(found) == spans(expected)


def test_windows_by_number() -> None:
    windows = CountWindows(4, 2)
    found = windows.push(at(0, 1, 2)) + windows.push(at(3, 4, 5, 6))
    assert spans(found) == [(0, 4, 4), (2, 6, 4)]
    assert spans(CountWindows(2).push(at(0, 5, 9))) == [(0, 6, 2)]


def test_wrong_windows_are_refused() -> None:
    for make in (
        lambda: TimeWindows(0),
        lambda: TimeWindows(5, 6),
        lambda: TimeWindows(5, most=0),
        lambda: CountWindows(0),
    ):
        with pytest.raises(EventsError):
            make()
