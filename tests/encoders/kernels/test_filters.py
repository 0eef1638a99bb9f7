"""The compiled loops of the filters give what their plain twins give."""

from typing import Any

import numpy as np
import pytest

from spikesight.encoders.events import EVENTS, Events, make_events
from spikesight.encoders.kernels import filters as loops
from spikesight.encoders.preprocess.filters import NEVER_US
from tests.support.oracles import events as plain

WIDTH, HEIGHT = 7, 5


def some_events(seed: int, n: int = 300) -> Events:
    random = np.random.default_rng(seed)
    t = np.sort(random.integers(0, 2_000, n))
    return make_events(t, random.integers(0, WIDTH, n), random.integers(0, HEIGHT, n), random.integers(0, 2, n))


@pytest.mark.parametrize(("name", "border"), [("refractory", 0), ("background", 1)])
@pytest.mark.parametrize("time_us", [1, 40, 300])
def test_what_passes_by_the_times_of_pixels(name: str, border: int, time_us: int) -> None:
    for seed in range(3):
        states: list[Any] = []
        for twin in (loops, plain):
            last = np.full((HEIGHT + 2 * border, WIDTH + 2 * border), NEVER_US, np.int64)
            keep = np.zeros(300, bool)
            getattr(twin, name)(some_events(seed), last, time_us, keep)
            states.append((keep.tolist(), last.tolist()))
        assert states[0] == states[1]
        assert 0 < sum(states[0][0]) < (300 if time_us > 1 else 301)


def test_what_is_kept_and_what_is_masked() -> None:
    events, random = some_events(0), np.random.default_rng(0)
    mask, keep = random.random((HEIGHT, WIDTH)) < 0.4, np.zeros((2, 300), bool)
    loops.unmasked(events, mask, keep[0])
    plain.unmasked(events, mask, keep[1])
    assert np.array_equal(keep[0], keep[1])
    assert 0 < keep[0].sum() < 300
    out = np.zeros((2, 300), EVENTS)
    assert loops.chosen(events, keep[0], out[0]) == plain.chosen(events, keep[0], out[1]) == keep[0].sum()
    assert np.array_equal(out[0], out[1])


def test_large_pixels_sum_small_ones() -> None:
    nowhere = 1 << 30
    columns, rows = (np.array(places, np.uint32) for places in ([nowhere, 0, 0, 0, 1, 1, 1], [0, 0, 1, 1, nowhere]))
    for seed in range(4):
        random, results = np.random.default_rng(seed), []
        area, level = random.integers(1, 5, (2, 2)), random.integers(-1, 2, (2, 2))
        events = some_events(seed)
        if seed % 2:
            events["p"] = seed > 1
        for twin in (loops, plain):
            held, fired = level.copy(), np.zeros(300, EVENTS)
            n = twin.pool(events, columns, rows, nowhere, area, held, fired)
            results.append((n, held.tolist(), fired[:n].tolist()))
        assert results[0] == results[1]
        assert results[0][0] > 20
