"""The compiled loops of the filters give what plain Python gives."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spikesight.encoders.events import EVENTS, Events, make_events
from spikesight.encoders.kernels import filters as loops
from spikesight.encoders.preprocess.filters import NEVER_US

WIDTH, HEIGHT = 7, 5


def some_events(seed: int, n: int = 300) -> Events:
    random = np.random.default_rng(seed)
    t = np.sort(random.integers(0, 2_000, n))
    return make_events(t, random.integers(0, WIDTH, n), random.integers(0, HEIGHT, n), random.integers(0, 2, n))


def refractory(last: NDArray[Any], t: int, x: int, y: int, time_us: int) -> bool:
    passes = t - last[y, x] >= time_us
    last[y, x] = t if passes else last[y, x]
    return passes


def background(last: NDArray[Any], t: int, x: int, y: int, time_us: int) -> bool:
    near = np.delete(last[y : y + 3, x : x + 3].ravel(), 4)
    last[y + 1, x + 1] = t
    return t - near.max() <= time_us


@pytest.mark.parametrize(("plain", "border"), [(refractory, 0), (background, 1)])
@pytest.mark.parametrize("time_us", [1, 40, 300])
def test_what_passes_by_the_times_of_pixels(plain: Callable[..., bool], border: int, time_us: int) -> None:
    for seed in range(3):
        events, keep = some_events(seed), np.zeros(300, bool)
        last, expected = np.full((2, HEIGHT + 2 * border, WIDTH + 2 * border), NEVER_US, np.int64)
        getattr(loops, plain.__name__)(events, last, time_us, keep)
        assert keep.tolist() == [plain(expected, t, x, y, time_us) for t, x, y, _ in events.tolist()]
        assert np.array_equal(last, expected)
        assert 0 < keep.sum() < (300 if time_us > 1 else 301)


def test_what_is_kept_and_what_is_masked() -> None:
    events, random = some_events(0), np.random.default_rng(0)
    mask, keep, out = random.random((HEIGHT, WIDTH)) < 0.4, np.zeros(300, bool), np.zeros(300, EVENTS)
    loops.unmasked(events, mask, keep)
    assert keep.tolist() == (~mask[events["y"], events["x"]]).tolist()
    n = loops.chosen(events, keep, out)
    assert np.array_equal(out[:n], events[keep])
    assert 0 < n < 300


def test_large_pixels_sum_small_ones() -> None:
    nowhere = 1 << 30
    columns, rows = (np.array(places, np.uint32) for places in ([nowhere, 0, 0, 0, 1, 1, 1], [0, 0, 1, 1, nowhere]))
    for seed in range(4):
        random = np.random.default_rng(seed)
        area, level = random.integers(1, 5, (2, 2)), random.integers(-1, 2, (2, 2))
        events = some_events(seed)
        if seed % 2:
            events["p"] = seed > 1
        held, fired, expected = level.copy(), np.zeros(300, EVENTS), []
        n = loops.pool(events, columns, rows, nowhere, area, held, fired)
        for t, x, y, on in events.tolist():
            row, column = int(rows[y]), int(columns[x])
            if max(row, column) < nowhere:
                level[row, column] += 1 if on else -1
                if abs(level[row, column]) >= area[row, column]:
                    level[row, column] = 0
                    expected.append((t, column, row, on))
        assert (held.tolist(), fired[:n].tolist()) == (level.tolist(), expected)
        assert n > 20
