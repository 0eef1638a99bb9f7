"""The compiled loops in front of the bins give what numpy gives."""

import numpy as np

from spikesight.encoders.events import EVENTS, Events, make_events
from spikesight.encoders.kernels import roi


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
            spans = events["t"][begin:] // 700
            same = len(spans) if (spans == spans[0]).all() else int((spans != spans[0]).argmax())
            assert end == begin + same
            np.add.at(expected, (events["y"][begin:end] // 4, events["x"][begin:end] // 4), 1)
            begin = end
        assert np.array_equal(counts, expected)
        assert counts.sum() == len(events)


def test_what_is_seen_through_a_window() -> None:
    random = np.random.default_rng(0)
    for seed in range(5):
        events, kept = some_events(seed), random.random((8, 12)) < 0.7
        (left, top), scale = random.uniform(-5, 15, 2), random.uniform(0.2, 1)
        seen = np.empty(len(events), EVENTS)
        n = roi.crop(events, kept, 4, left, top, scale, 2, 0, 20, 16, seen)
        x, y = np.floor((events["x"] - left) * scale) + 2, np.floor((events["y"] - top) * scale)
        inside = (x >= 0) & (x < 20) & (y >= 0) & (y < 16) & kept[events["y"] // 4, events["x"] // 4]
        assert 0 < n < len(events)
        assert np.array_equal(seen[:n], make_events(events["t"], x, y, events["p"])[inside])
