"""What is kept of an input: a view or the user's window, noise filtered, whatever the cutting of the stream."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.common.noise import with_noise
from spikesight.encoders.events import Events, SensorSize, empty_events, joined, make_events
from spikesight.encoders.preprocess.filters import DRAWING_HZ, FROM_HZ, GATE_US
from spikesight.encoders.pyramid import LEAST_SIDE, LONGEST, shows_more
from spikesight.encoders.roi.input_filter import InputFilter

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
    whole, cut = (InputFilter(CAMERA, SMALL, 2_000, finds=True) for _ in range(2))
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
        assert InputFilter(sensor, sensor, finds=True).view == more
        assert not InputFilter(sensor, sensor).view


def test_small_sensors_are_kept_whole_and_events_off_the_sensor_are_counted() -> None:
    kept_whole = InputFilter(SMALL, SMALL, 2_000, drawn=True)
    events = with_noise(edge()[:5_000], SMALL, 100.0, random=np.random.default_rng(0))
    off = int(np.count_nonzero((events["x"] >= 34) | (events["y"] >= 34)))
    kept = kept_whole(events)
    assert kept_whole.size == SMALL
    assert (kept_whole.n_outside, kept_whole.n_events, kept_whole.n_kept) == (off, len(events) - off, len(kept))
    assert len(kept_whole(empty_events())) == 0


@pytest.mark.parametrize(("drawn", "from_hz"), [(True, DRAWING_HZ), (False, FROM_HZ)])
@pytest.mark.parametrize("share", [0.95, 1.05])
def test_before_a_model_of_drawings_noise_is_filtered_from_a_lower_rate_on(
    drawn: bool, from_hz: float, share: float
) -> None:
    gate, count = InputFilter(SMALL, SMALL, 2_000, drawn=drawn), round(share * from_hz * 34 * 34 * GATE_US * 1e-6)
    x, y = 3 * np.arange(count) % 33, 3 * (3 * np.arange(count) // 33)
    lone = [make_events(np.full(count, t_us), x, y, np.ones(count)) for t_us in (0, 100_000)]
    assert [len(gate(events)) for events in lone] == [0, count if share < 1 else 0]
