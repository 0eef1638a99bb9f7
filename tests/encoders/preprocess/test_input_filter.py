"""What is kept of an input, whatever the cutting of the stream; aligned events have no place, size or pace left."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.noise import with_noise
from spikesight.encoders.events import Events, SensorSize, empty_events, joined, make_events
from spikesight.encoders.preprocess.crop import PACE, TrackingBinner, aligned, frame_of
from spikesight.encoders.preprocess.filters import DRAWING_HZ, FROM_HZ
from spikesight.encoders.preprocess.input_filter import InputFilter
from spikesight.encoders.pyramid import LEAST_SIDE, LONGEST, shows_more
from tests.support.inputs.data_sets import digit_events

CAMERA, SMALL = SensorSize(320, 240), SensorSize(34, 34)


def edge(count: int = 20_000, span_us: int = 2_000_000) -> Events:
    """A vertical edge that goes from left to right over CAMERA."""
    n = np.arange(count)
    return make_events(n * span_us // count, n * 300 // count, 60 + n % 97, n % 2)


@given(cuts=st.lists(st.integers(0, 21_000), max_size=8))
def test_in_a_view_noise_and_hot_pixels_are_filtered_however_events_are_cut(cuts: list[int]) -> None:
    hot = make_events(np.arange(1_000) * 2_000, np.full(1_000, 210), np.full(1_000, 200), np.ones(1_000))
    events = joined([edge(), hot])
    events = with_noise(events[np.argsort(events["t"], kind="stable")], CAMERA, 0.5, random=np.random.default_rng(0))
    whole, cut = (InputFilter(CAMERA, SMALL, 2_000, detects=True) for _ in range(2))
    kept = whole(events)
    parts = [cut(events[a:b]) for a, b in pairwise(sorted({0, len(events), *cuts}))]
    np.testing.assert_array_equal(joined(parts), kept)
    assert (whole.view, whole.size) == (True, CAMERA)
    assert 0.9 * len(edge()) < whole.n_kept < 1.1 * len(edge())
    late = kept[kept["t"] > 1_100_000]
    assert not np.count_nonzero((late["x"] == 210) & (late["y"] == 200))


@pytest.mark.parametrize(("short", "share", "more"), [(0, LONGEST, True), (0, LONGEST + 0.1, False), (-1, 2, False)])
def test_a_view_is_what_a_sensor_of_drawings_shows_that_is_neither_small_nor_long(
    short: int, share: float, more: bool
) -> None:
    side = LEAST_SIDE + short
    for sensor in (SensorSize(side, round(share * side)), SensorSize(round(share * side), side)):
        assert shows_more(sensor) == more
        assert InputFilter(sensor, sensor, detects=True).view == more
        assert not InputFilter(sensor, sensor).view


def test_small_sensors_are_kept_whole_and_events_off_the_sensor_are_counted() -> None:
    kept_whole = InputFilter(SMALL, SMALL, 2_000, detects=True)
    events = with_noise(edge()[:5_000], SMALL, 100.0, random=np.random.default_rng(0))
    off = int(np.count_nonzero((events["x"] >= 34) | (events["y"] >= 34)))
    kept = kept_whole(events)
    assert kept_whole.size == SMALL
    assert (kept_whole.n_outside, kept_whole.n_events, kept_whole.n_kept) == (off, len(events) - off, len(kept))
    assert len(kept_whole(empty_events())) == 0


@pytest.mark.parametrize(("detects", "from_hz"), [(True, DRAWING_HZ), (False, FROM_HZ)])
@pytest.mark.parametrize("share", [0.95, 1.05])
def test_before_a_model_of_drawings_noise_is_filtered_from_a_lower_rate_on(
    detects: bool, from_hz: float, share: float
) -> None:
    gate, count = InputFilter(SMALL, SMALL, 2_000, detects=detects), round(share * from_hz * 34 * 34 * 5e-3)
    x, y = 3 * np.arange(count) % 33, 3 * (3 * np.arange(count) // 33)
    lone = [make_events(np.full(count, t_us), x, y, np.ones(count)) for t_us in (0, 100_000)]
    assert [len(gate(events)) for events in lone] == [0, count if share < 1 else 0]


SIZE = (32, 32)


def moved(events: np.ndarray, x: int, y: int, scale: int = 1) -> np.ndarray:
    return make_events(events["t"], events["x"] * scale + x, events["y"] * scale + y, events["p"])


def test_place_and_size_leave_no_trace() -> None:
    events = digit_events(0, 1, 2000)
    here = aligned(events, SIZE, 640_000)
    there = aligned(moved(events, 70, 30), SIZE, 640_000)
    assert np.array_equal(here, there)
    (x, y, half), larger = frame_of(events), moved(events, 5, 9, scale=3)
    assert np.allclose(frame_of(larger), (3 * x + 5, 3 * y + 9, 3 * half), atol=3)
    assert abs(np.median(here["x"]) - 16) <= 4


def test_a_live_crop_at_shorter_bins_shows_what_longer_ones_do() -> None:
    events = moved(digit_events(0, 1, 3000, 500_000), 60, 40)

    def last(bin_us: int, shown: int) -> np.ndarray:
        binner = TrackingBinner(SensorSize(128, 96), SIZE, bin_us, 10, shown)
        return binner.push(events)[400_000 // bin_us - 1].x.astype(int)

    whole, fine = last(20_000, 1), last(5_000, 4)
    assert fine.sum() > 50
    assert abs(int(fine.sum()) - int(whole.sum())) < 0.1 * whole.sum()
    assert np.abs(fine.sum((0, 1)).cumsum() - whole.sum((0, 1)).cumsum()).sum() < 0.5 * whole.sum()  # columns


def test_a_live_crop_follows_and_does_not_depend_on_packets() -> None:
    first, second = digit_events(0, 1, 3000, 500_000), digit_events(0, 2, 3000, 500_000)
    second["t"] += 500_000
    events = np.concatenate([first, moved(second, 60, 40)])

    def bins(pieces: int) -> list[np.ndarray]:
        binner = TrackingBinner(SensorSize(128, 96), SIZE, 10_000, 10)
        closed = [b for part in np.array_split(events, pieces) for b in binner.push(part)]
        return [b.x for b in closed]

    seen = bins(1)
    assert len(seen) == 99
    assert all(np.array_equal(a, b) for a, b in zip(seen, bins(17)))
    for x in (seen[45], seen[98]):  # in the middle before the jump, and again after it
        assert abs(np.average(np.arange(32), weights=x.sum((0, 1)) + 1e-9) - 16) < 5


def test_time_runs_by_the_clock_and_by_the_events() -> None:
    t, length_us = np.array([70, 80, 170]), 10**9
    made = aligned(make_events(t, [3, 5, 8], [4, 9, 6], [1, 0, 1]), (40, 40), length_us)
    share = (1 - PACE) * (t - 70) / 101 + PACE * np.arange(3) / 3  # a recording lasts until behind its last event
    assert made["t"].tolist() == (share * length_us).astype(int).tolist()
    middle_x, middle_y, half = frame_of(make_events(t, [3, 5, 8], [4, 9, 6], t))
    for axis, middle, values in (("x", middle_x, (3, 5, 8)), ("y", middle_y, (4, 9, 6))):
        expected = [int(np.floor(((value + 0.5 - middle) / half + 1) / 2 * 40)) for value in values]
        assert made[axis].tolist() == expected
    assert made["p"].tolist() == [True, False, True]


def test_only_cells_above_the_mean_are_framed() -> None:
    y, x = (grid.ravel() for grid in np.mgrid[:16, :16])  # a cell each
    x, y = np.concatenate([x, np.full(50, 5)]), np.concatenate([y, np.full(50, 11)])
    assert frame_of(make_events(x, x, y, x)) == pytest.approx((5.5, 11.5, 1)), "no less than a pixel to each side"
    x, y = np.concatenate([x, np.full(50, 9)]), np.concatenate([y, np.full(50, 11)])
    assert frame_of(make_events(x, x, y, x)) == pytest.approx((6, 11.5, 4.4))
