"""The compiled loops of the emulator give what their plain twins give, to the bit, whatever the pixels are like."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spikesight.encoders.emulator.pixels import log_levels
from spikesight.encoders.events import EVENTS
from spikesight.encoders.kernels import emulator as loops
from tests.support.oracles import emulator as plain

HEIGHT, WIDTH = 6, 7


def frame(seed: int, changes: dict[str, Any]) -> dict[str, Any]:
    """What frame_events takes, by name and in order: pixels near their thresholds, some of them behind by many."""
    random = np.random.default_rng(seed)
    grey = random.integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)
    levels = log_levels(20.0)
    last = levels[np.where(random.random(grey.shape) < 0.5, grey, random.integers(0, 256, grey.shape))]
    on, off = random.uniform(0.1, 0.5, (2, *grey.shape)).astype(np.float32)
    given = {
        "grey": grey, "levels": levels, "shots": np.zeros(256, np.float32), "on": on, "off": off,
        "reference": (last + random.uniform(-0.9, 0.9, grey.shape)).astype(np.float32), "last": last.copy(),
        "free_us": random.integers(0, 9_000, grey.shape), "t0": 5_000, "dt": np.float32(4_000), "alpha": np.float32(1),
        "leak": np.float32(0), "refractory_us": 0, "seed": np.uint32(seed), "draw": np.uint32(7), "limit": 4_000,
        "offsets": np.zeros(5_000, np.uint32), "words": np.zeros(5_000, np.uint32),
    }  # fmt: skip
    return given | changes


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"shots": np.linspace(0.7, 0.2, 256, dtype=np.float32), "draw": np.uint32(2**31)},
        {"leak": np.float32(0.4)},
        {"alpha": np.float32(0.3)},
        {"refractory_us": 900},
        {"limit": 3},
        {"limit": 0},
        {"shots": np.full(256, 0.9, np.float32), "leak": np.float32(0.2), "alpha": np.float32(0.6),
         "refractory_us": 300, "limit": 40},
    ],
)  # fmt: skip
def test_a_frame(changes: dict[str, Any]) -> None:
    total = 0
    for seed in range(4):
        ours, theirs = frame(seed, changes), frame(seed, changes)
        n, waiting = loops.frame_events(*ours.values())
        assert (n, waiting) == plain.frame_events(*theirs.values())
        for name in ("offsets", "words", "reference", "last", "free_us"):
            assert np.array_equal(ours[name], theirs[name]), name
        total += n
        assert (waiting > 0) == (changes.get("limit", 4_000) <= 40)
    assert (total > 0) == (changes.get("limit") != 0)


@pytest.mark.parametrize("span", [0, 9, 65_535, 65_536, 200_000])
def test_events_are_put_in_order_and_equal_times_stay_as_they_came(span: int) -> None:
    random = np.random.default_rng(span)
    offsets = random.choice([0, span // 2, span, span // 3 + 1 if span else 0], 60).astype(np.uint32)
    offsets[:20] = random.integers(0, span + 1, 20)
    words = random.integers(0, 2**28, 60).astype(np.uint32)
    ours, theirs = np.zeros(60, EVENTS), np.zeros(60, EVENTS)
    loops.sorted_events(offsets, words, 50, 1 << 40, span, ours)
    plain.sorted_events(offsets, words, 50, 1 << 40, span, theirs)
    assert np.array_equal(ours, theirs)
    loops.sorted_events(offsets, words, 0, 0, span, ours)
    assert np.array_equal(ours, theirs), "nothing is nothing"


def image(seed: int) -> tuple[NDArray[Any], ...]:
    """What moving_image takes up to the start of the references: a square on an even ground, moved over all of it."""
    random = np.random.default_rng(seed)
    padded = np.full((HEIGHT + 8, WIDTH + 9), 4.0, np.float32)
    padded[4:9, 5:12] += random.uniform(-1.5, 1.5, (5, 7)).astype(np.float32)
    columns, rows = random.integers(0, 6, 12), random.integers(0, 5, 12)
    right, below = random.random((2, 12)).astype(np.float32)
    weights = np.stack([(1 - right) * (1 - below), right * (1 - below), (1 - right) * below, right * below], axis=1)
    on, off = random.uniform(0.1, 0.4, (2, HEIGHT, WIDTH)).astype(np.float32)
    start = random.uniform(-0.1, 0.1, (HEIGHT, WIDTH)).astype(np.float32)
    return padded, columns, rows, weights, np.float32(1000), on, off, start  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("alpha", "refractory_us", "room"), [(1.0, 0.0, 9_000), (0.3, 0.0, 9_000), (1.0, 1_170.0, 9_000), (1.0, 0.0, 50)]
)
def test_an_image_that_moves(alpha: float, refractory_us: float, room: int) -> None:
    for seed in range(3):
        results = []
        for twin in (loops, plain):
            offsets, words = np.zeros((2, room), np.uint32)
            n = twin.moving_image(*image(seed), np.float32(alpha), np.float32(refractory_us), offsets, words)
            results.append((n, offsets.tolist(), words.tolist()))
        assert results[0] == results[1]
        assert results[0][0] > (40 if room > 50 else 49)
