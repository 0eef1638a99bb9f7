"""Aligned events: neither the place, the size nor the pace of a thing is left in them."""

import numpy as np
import pytest

from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.roi.alignment import EXTENT, PACE, TrackingBinner, aligned, frame_of
from tests.support.inputs.data_sets import digit_events

SIZE = (32, 32)


def moved(events: np.ndarray, x: int, y: int, scale: int = 1) -> np.ndarray:
    return make_events(events["t"], events["x"] * scale + x, events["y"] * scale + y, events["p"])


def test_place_and_size_leave_no_trace() -> None:
    events = digit_events(0, 1, 2000)
    here = aligned(events, SIZE, 640_000)
    there = aligned(moved(events, 70, 30), SIZE, 640_000)
    assert np.array_equal(here, there)
    (x, y, half), larger = frame_of(events["x"], events["y"]), moved(events, 5, 9, scale=3)
    assert np.allclose(frame_of(larger["x"], larger["y"]), (3 * x + 5, 3 * y + 9, 3 * half), atol=3)
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
    middle_x, middle_y, half = frame_of(np.array([3, 5, 8]), np.array([4, 9, 6]))
    for axis, middle, values in (("x", middle_x, (3, 5, 8)), ("y", middle_y, (4, 9, 6))):
        expected = [int(np.floor(((value + 0.5 - middle) / half + 1) / 2 * 40)) for value in values]
        assert made[axis].tolist() == expected
    assert made["p"].tolist() == [True, False, True]


def test_only_cells_above_the_mean_are_framed() -> None:
    y, x = (grid.ravel() for grid in np.mgrid[:16, :16])  # a cell each
    x, y = np.concatenate([x, np.full(50, 5)]), np.concatenate([y, np.full(50, 11)])
    assert frame_of(x, y) == pytest.approx((5.5, 11.5, 1)), "no less than a pixel to each side"
    x, y = np.concatenate([x, np.full(50, 9)]), np.concatenate([y, np.full(50, 11)])
    assert frame_of(x, y) == pytest.approx((6, 11.5, 2 * EXTENT))
