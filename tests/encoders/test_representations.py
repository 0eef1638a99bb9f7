"""representations: signed counts, time surfaces and voxel grids against plain loops."""

import math

import numpy as np
import pytest

from encoders.binning import bin_events
from encoders.events import Events, EventsError, SensorSize, empty_events, make_events
from encoders.representations import REPRESENTATIONS, signed_counts, time_surface, voxel_grid

SENSOR = SensorSize(9, 7)


def some(n: int = 300, seed: int = 0) -> Events:
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, 1100, n))
    return make_events(t, rng.integers(0, 9, n), rng.integers(0, 7, n), rng.integers(0, 2, n))


def test_signed_counts_are_on_minus_off() -> None:
    counts = bin_events(some(), 0, 100, 10, SENSOR, mode="count").astype(np.float32)
    assert np.array_equal(signed_counts(some(), 0, 100, 10, SENSOR)[:, 0], counts[:, 1] - counts[:, 0])


def test_time_surface_by_hand() -> None:
    surface = time_surface(some(), 0, 100, 10, SENSOR, decay_us=200)
    last: dict[tuple[int, int, int], int] = {}
    events = some().tolist()
    for step in range(10):
        for t, x, y, p in events:
            if 100 * step <= t < 100 * (step + 1):
                last[int(p), y, x] = t
        expected = np.zeros((2, 7, 9))
        for place, t in last.items():
            expected[place] = math.exp((t - 100 * (step + 1)) / 200)
        assert surface[step] == pytest.approx(expected, abs=1e-6)


def test_voxel_grid_by_hand() -> None:
    events = some()[:150]
    expected = np.zeros((5, 7, 9))
    for t, x, y, p in events.tolist():
        position = t * 4 / 1000
        for step in range(5):
            expected[step, y, x] += (1 if p else -1) * max(0.0, 1 - abs(position - step))
    assert voxel_grid(events, 0, 200, 5, SENSOR)[:, 0] == pytest.approx(expected, abs=1e-5)
    inside = events[events["t"] < 1000]
    assert voxel_grid(events, 0, 1000, 1, SENSOR).sum() == pytest.approx(2 * int(inside["p"].sum()) - len(inside))


@pytest.mark.parametrize("name", list(REPRESENTATIONS))
def test_all_of_them(name: str) -> None:
    represent = REPRESENTATIONS[name]
    events = some()
    before = events.copy()
    out = represent(events, 0, 100, 10, SENSOR, (4, 4))
    assert out.shape == (10, 2 if name == "surface" else 1, 4, 4)
    assert out.dtype == np.float32
    assert np.isfinite(out).all()
    assert np.array_equal(events, before)
    assert represent(empty_events(), 0, 100, 3, SENSOR).sum() == 0
    with pytest.raises(EventsError, match="outside"):
        represent(make_events([1], [9], [0], [1]), 0, 100, 3, SENSOR)
    with pytest.raises(EventsError, match="not sorted"):
        represent(make_events([1, 300, 2], [0] * 3, [0] * 3, [1] * 3), 0, 100, 4, SENSOR)
    with pytest.raises(EventsError, match="at least one microsecond"):
        represent(events, 0, 0, 3, SENSOR)
    with pytest.raises(EventsError, match="one step"):
        represent(events, 0, 100, -1, SENSOR)
