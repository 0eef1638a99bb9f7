"""events: the dtype, the checks, and the sanitiser's counters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders import events as module
from encoders.events import (
    EVENTS,
    Counters,
    EventsError,
    Sanitiser,
    SensorSize,
    check_events,
    empty_events,
    joined,
    make_events,
    sanitise,
)

SENSOR = SensorSize(10, 6)


def at(*times: int) -> np.ndarray:
    return make_events(times, range(len(times)), [0] * len(times), [1] * len(times))


def test_make_events_takes_every_kind_of_polarity() -> None:
    for p in ([True, False], [1, 0], [1, -1], np.array([1.0, -1.0])):
        events = make_events([1, 2], [3, 4], [5, 0], p)
        assert events.dtype == EVENTS
        assert events["p"].tolist() == [True, False]
    assert EVENTS.itemsize == 13
    assert len(empty_events()) == 0


def test_check_events() -> None:
    good = at(1, 2, 2, 3)
    assert check_events(good, SENSOR) is good
    with pytest.raises(EventsError, match="not sorted"):
        check_events(at(2, 1))
    with pytest.raises(EventsError, match="outside the 2x1 sensor"):
        check_events(good, SensorSize(2, 1))
    with pytest.raises(EventsError, match="flat array"):
        check_events(np.zeros(3))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("side", [0, -1, 2049])
def test_a_sensor_has_a_sane_size(side: int) -> None:
    with pytest.raises(EventsError, match="within 1x1 to 2048x2048"):
        SensorSize(side, 10)


def test_sensor_size_is_read_from_text() -> None:
    assert SensorSize.parse("640x480") == SensorSize(640, 480)
    assert str(SensorSize(34, 30)) == "34x30"
    with pytest.raises(EventsError, match="WIDTHxHEIGHT"):
        SensorSize.parse("640")


def test_good_events_pass_untouched() -> None:
    events = at(1, 2, 3)
    out, counters = sanitise(events, SENSOR)
    assert out is events
    assert counters == Counters()


def test_small_steps_back_are_sorted_stably() -> None:
    events = at(100, 300, 200, 200)
    out, counters = sanitise(events, SENSOR)
    assert out["t"].tolist() == [100, 200, 200, 300]
    assert out["x"].tolist() == [0, 2, 3, 1]
    assert counters == Counters(0, 1, 0)
    assert events["t"].tolist() == [100, 300, 200, 200]


def test_a_restart_goes_on_from_the_time_before() -> None:
    events = at(1_000_000, 1_000_010, 5, 15)
    out, counters = sanitise(events, SENSOR)
    assert out["t"].tolist() == [1_000_000, 1_000_010, 1_000_010, 1_000_020]
    assert counters == Counters(0, 1, 1)
    kept, counters = sanitise(events, SENSOR, keep_restarts=True)
    assert kept["t"].tolist() == [1_000_000, 1_000_010, 5, 15]
    assert counters.n_restarts == 1


def test_counters_add_up() -> None:
    assert Counters(1, 2, 3) + Counters(4, 5, 6) == Counters(5, 7, 9)


@given(st.lists(st.tuples(st.integers(-(2**40), 2**40), st.integers(-20, 20), st.integers(-20, 20)), max_size=60))
def test_whatever_comes_in_good_events_go_out(rows: list[tuple[int, int, int]]) -> None:
    t, x, y = (np.array(column, np.int64) for column in zip(*rows)) if rows else (np.zeros(0, np.int64),) * 3
    events = make_events(t, x, y, np.ones(len(t)))
    out, counters = sanitise(events, SENSOR)
    check_events(out, SENSOR)
    assert len(out) + counters.n_outside == len(events)
    assert counters.n_restarts <= counters.n_backward
    live, again = sanitise(events, SENSOR, keep_restarts=True)
    assert again == counters
    assert sorted(live["t"].tolist()) == sorted(events["t"][(x >= 0) & (x < 10) & (y >= 0) & (y < 6)].tolist())


@given(
    st.lists(st.lists(st.sampled_from([-(2**63), -1, 0, 5, 10**6, 2**60, 2**62, 2**63 - 1]), max_size=6), max_size=5)
)
def test_times_out_of_this_world_stay_in_order(packets: list[list[int]]) -> None:
    sanitiser = Sanitiser(SENSOR)
    out = np.concatenate([empty_events(), *(sanitiser.push(at(*times)) for times in packets)])
    assert len(out) == sum(map(len, packets))
    check_events(out, SENSOR)


def test_joined_pieces_are_one_array_also_where_a_piece_is_a_view() -> None:
    events = make_events(range(9), range(9), range(9), [1, 0, 1] * 3)
    pieces = [events[:2], events[2:2], events[2:8:2], events[8:]]
    assert np.array_equal(joined(pieces), np.concatenate(pieces))
    assert joined([events]) is events


def test_thousands_of_restarts_are_not_searched_through_for_each_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random bytes as a recording: a clock that restarts at every tenth event."""

    class Walked(list[int]):
        def __contains__(self, _: object) -> bool:
            raise AssertionError("searched")

    found = module._restarts
    monkeypatch.setattr(module, "_restarts", lambda *given: Walked(found(*given)))
    t = np.tile(np.arange(10) * 1_000_000, 300)
    kept, counters = sanitise(make_events(t, 0 * t, 0 * t, 0 * t), SENSOR)
    assert (counters.n_backward, counters.n_restarts) == (299, 299)
    assert np.array_equal(kept["t"], np.concatenate([9_000_000 * n + np.arange(10) * 1_000_000 for n in range(300)]))
