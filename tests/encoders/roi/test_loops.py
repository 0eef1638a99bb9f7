"""The compiled loops in front of the bins give what their plain twins give."""

import numpy as np

from spikesight.encoders.events import EVENTS, Events, make_events
from spikesight.encoders.kernels import roi
from tests.support.oracles import events as plain


def some_events(seed: int, n: int = 400) -> Events:
    """On a sensor of 48 x 32, with clocks that step back and ahead."""
    random = np.random.default_rng(seed)
    steps = np.where(random.random(n) < 0.03, random.integers(-3000, 3000, n), random.integers(0, 30, n))
    return make_events(np.cumsum(steps), *(random.integers(0, limit, n) for limit in (48, 32, 2)))


def test_events_are_counted_up_to_the_end_of_their_time() -> None:
    for seed in range(5):
        events, begin = some_events(seed), 0
        counts, expected = np.zeros((2, 8, 12), np.int32)
        while begin < len(events):
            end = roi.gather(events, begin, 700, 4, counts)
            assert end == plain.gather(events, begin, 700, 4, expected)
            begin = end
        assert np.array_equal(counts, expected)
        assert counts.sum() == len(events)


def test_what_is_seen_through_a_window() -> None:
    random = np.random.default_rng(0)
    for seed in range(5):
        events, kept = some_events(seed), random.random((8, 12)) < 0.7
        (left, top), scale = random.uniform(-5, 15, 2), random.uniform(0.2, 1)
        seen, expected = np.empty((2, len(events)), EVENTS)
        n = roi.crop(events, kept, 4, left, top, scale, 2, 0, 20, 16, seen)
        assert n == plain.crop(events, kept, 4, left, top, scale, 2, 0, 20, 16, expected)
        assert 0 < n < len(events)
        assert np.array_equal(seen[:n], expected[:n])
