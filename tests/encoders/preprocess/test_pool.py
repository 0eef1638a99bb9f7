"""A large sensor's events as a small one's: the sums, and what noise becomes."""

import numpy as np
import pytest

from spikesight.encoders.emulator.noise import with_noise
from spikesight.encoders.events import Events, SensorSize, check_events, make_events
from spikesight.encoders.preprocess.pool import Pool, pools

CAMERA, SMALL = SensorSize(52, 40), SensorSize(10, 10)


def random_events(n: int, seed: int) -> Events:
    random = np.random.default_rng(seed)
    places = random.integers(0, 52, n), random.integers(0, 40, n)
    return make_events(np.sort(random.integers(0, 10_000, n)), *places, random.random(n) < 0.7)


def summed(events: Events) -> list[tuple[int, int, int, bool]]:
    """Each large pixel is 4 x 4, behind six columns that nobody sees."""
    level, fired = np.zeros((10, 10), int), []
    for t, x, y, p in events.tolist():
        column, row = (x - 6) // 4, y // 4
        if not 0 <= column < 10:
            continue
        level[row, column] += 1 if p else -1
        if abs(level[row, column]) == 16:
            level[row, column] = 0
            fired.append((t, column, row, p))
    return fired


@pytest.mark.parametrize("pieces", [1, 3, 50])
def test_an_event_for_each_area_of_events_however_the_stream_is_cut(pieces: int) -> None:
    events = random_events(20_000, 1)
    before = events.copy()
    pool = Pool(CAMERA, SMALL)
    fired = np.concatenate([pool(part) for part in np.array_split(events, pieces)])
    assert fired.tolist() == summed(events)
    assert len(fired) > 100
    assert np.array_equal(events, before)
    check_events(fired, SMALL)


def test_noise_cancels() -> None:
    quiet = make_events([0, 1_000_000], [0, 0], [0, 0], [0, 1])
    noise = with_noise(quiet, SensorSize(320, 240), 10.0, random=np.random.default_rng(2))
    assert len(noise) > 700_000
    assert len(Pool(SensorSize(320, 240), SMALL)(noise)) < 0.1 * SMALL.width * SMALL.height


def test_a_sensor_of_about_the_same_size_is_left_alone() -> None:
    assert pools(SensorSize(128, 128), SensorSize(64, 64))
    assert not pools(SensorSize(346, 120), SensorSize(64, 64))
