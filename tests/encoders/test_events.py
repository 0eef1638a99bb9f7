"""events: the dtype, the checks, and the sanitiser's counters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikesight.encoders import events as module
from spikesight.encoders.events import EVENTS, EventsError, Sanitiser, SensorSize, check_events, make_events, sanitise

SENSOR = SensorSize(10, 6)


def at(*times: int) -> np.ndarray:
    return make_events(times, range(len(times)), [0] * len(times), [1] * len(times))


def test_make_events_takes_every_kind_of_polarity() -> None:
    for p in ([True, False], [1, 0], [1, -1], np.array([1.0, -1.0])):
        events = make_events([1, 2], [3, 4], [5, 0], p)
        assert events.dtype == EVENTS
        assert events["p"].tolist() == [True, False]
    assert EVENTS.itemsize == 13
    assert len(module.empty_events()) == 0


def test_small_steps_back_are_sorted_stably() -> None:
    events = at(100, 300, 200, 200)
    out, counters = sanitise(events, SENSOR)
    assert (out["t"].tolist(), out["x"].tolist()) == ([100, 200, 200, 300], [0, 2, 3, 1])
    assert counters == module.Counters(0, 1, 0)
    assert events["t"].tolist() == [100, 300, 200, 200]


@given(st.lists(st.tuples(st.integers(-(2**40), 2**40), st.integers(-20, 20), st.integers(-20, 20)), max_size=60))
def test_whatever_comes_in_good_events_go_out(rows: list[tuple[int, int, int]]) -> None:
    t, x, y = (np.array(column, np.int64) for column in zip(*rows)) if rows else (np.zeros(0, np.int64),) * 3
    events = make_events(t, x, y, np.ones(len(t)))
    out, counters = sanitise(events, SENSOR)
    check_events(out, SENSOR)
    assert len(out) + counters.n_outside == len(events)
    assert counters.n_restarts <= counters.n_backward
    live = Sanitiser(SENSOR, keep_restarts=True)
    kept = live.push(events)
    assert live.counters == counters
    assert sorted(kept["t"].tolist()) == sorted(events["t"][(x >= 0) & (x < 10) & (y >= 0) & (y < 6)].tolist())


WILD = st.sampled_from([-(2**63), -1, 0, 5, 10**6, 2**60, 2**62, 2**63 - 1])


@given(st.lists(st.lists(WILD, max_size=6), max_size=5))
def test_times_out_of_this_world_stay_in_order(packets: list[list[int]]) -> None:
    sanitiser = Sanitiser(SENSOR)
    out = np.concatenate([module.empty_events(), *(sanitiser.push(at(*times)) for times in packets)])
    assert len(out) == sum(map(len, packets))
    check_events(out, SENSOR)


def test_joined_pieces_are_one_array_also_where_a_piece_is_a_view() -> None:
    events = make_events(range(9), range(9), range(9), [1, 0, 1] * 3)
    pieces = [events[:2], events[2:2], events[2:8:2], events[8:]]
    assert np.array_equal(module.joined(pieces), np.concatenate(pieces))
    assert module.joined([events]) is events


FAR = 2**60


@pytest.mark.parametrize(
    ("packets", "in_line", "kept", "n_backward", "n_restarts"),
    [
        ([[5, 9], [8], [20]], [[5, 9], [9], [20]], None, 1, 0),
        ([[20_000], [10_000, 10_001]], [[20_000], [20_000, 20_000]], None, 1, 0),
        ([[20_000], [9_999, 10_000]], [[20_000], [20_000, 20_001]], [[20_000], [9_999, 10_000]], 1, 1),
        (
            [[0, 10_001, 0, 5, 20], [3], [40]],
            [[0, 10_001, 10_001, 10_006, 10_021], [10_021], [10_041]],
            [[0, 10_001, 0, 5, 20], [20], [40]],
            2, 1,
        ),
        (
            [[50_000, 5], [60_000], [49_999]],
            [[50_000, 50_000], [109_995], [109_995]],
            [[50_000, 5], [60_000], [49_999]],
            2, 2,
        ),
        ([[10, 20, 15], [18], [30]], [[10, 15, 20], [20], [30]], None, 1, 0),
        ([[FAR + 5], [7], [9]], [[FAR], [FAR], [FAR + 2]], [[FAR], [7], [9]], 1, 1),
    ],
)  # fmt: skip
def test_time_from_packet_to_packet(
    packets: list[list[int]], in_line: list[list[int]], kept: list[list[int]] | None, n_backward: int, n_restarts: int
) -> None:
    for keep, expected in ((False, in_line), (True, kept or in_line)):
        sanitiser = Sanitiser(SENSOR, keep_restarts=keep)
        given = [at(*packet) for packet in packets]
        assert [sanitiser.push(packet)["t"].tolist() for packet in given] == expected
        assert sanitiser.counters == module.Counters(0, n_backward, n_restarts)
        assert [packet["t"].tolist() for packet in given] == packets, "what is passed in stays"


def test_what_is_off_the_sensor_is_no_step_back() -> None:
    events = make_events([5, 1, 7, 6, 9], [0, 10, 9, 3, -1], [0, 0, 5, 6, 2], [1] * 5)
    kept, n_outside, n_backward = module.on_sensor(events, SENSOR)
    assert (kept["t"].tolist(), n_outside, n_backward) == ([5, 7], 3, 0)
    assert module.count_backward(events) == 2
    sanitiser = Sanitiser(SENSOR)
    for _ in range(2):
        sanitiser.push(events)
    assert sanitiser.counters == module.Counters(6, 1, 0)


@pytest.mark.parametrize(
    ("fresh", "bits", "high", "times"),
    [
        ([5, 1], 3, -1, [5, 1]),
        ([5, 0], 3, -1, [5, 8]),
        ([4, 0], 3, -1, [4, 0]),
        ([3], 3, 23, [19]),
        ([0, 7, 3, 6, 1], 3, -1, [0, 7, 3, 6, 9]),
        ([250, 3], 8, 1024 + 200, [1024 + 250, 1280 + 3]),
        ([], 8, 7, []),
    ],
)
def test_a_step_back_by_over_half_the_clock_is_a_wrap(fresh: list[int], bits: int, high: int, times: list[int]) -> None:
    assert module.unwrap(np.array(fresh, np.int64), bits, high).tolist() == times


def test_sizes_at_their_limits() -> None:
    assert SensorSize.parse(" 1 X 2048") == SensorSize(1, 2048)
    assert SensorSize.parse(str(SensorSize(34, 30))) == SensorSize(34, 30)
    with pytest.raises(EventsError, match="WIDTHxHEIGHT"):
        SensorSize.parse("²x3")  # a digit, and no number
    for width, height in ((0, 1), (1, -1), (2049, 1), (1, 2049)):
        with pytest.raises(EventsError, match="within 1x1 to 2048x2048"):
            SensorSize(width, height)


def test_events_are_checked() -> None:
    corners = make_events([1, 1], [0, 9], [0, 5], [1, 1])
    assert check_events(corners, SENSOR) is corners
    assert sanitise(corners, SENSOR)[0] is corners
    for x, y in ((10, 0), (0, 6), (-1, 0), (0, -1)):
        with pytest.raises(EventsError, match="outside the 10x6 sensor"):
            check_events(make_events([1], [x], [y], [1]), SENSOR)
    for wrong, says in ((corners[np.newaxis], "flat array"), (np.zeros(3), "flat array"), (at(2, 1), "not sorted")):
        with pytest.raises(EventsError, match=says):
            check_events(wrong)  # type: ignore[arg-type]
