"""A seed gives the same recording each time, and another seed another one; noise has the rate that was asked for."""

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.common import handheld
from spikesight.encoders.emulator.noise import HOT_HZ, with_noise
from spikesight.encoders.emulator.saccades import saccade_events
from spikesight.encoders.events import SensorSize, make_events
from spikesight.training.data.corpora.others import dead_leaves
from tests.support.inputs.samples import drawing

CAMERA, SMALL = SensorSize(96, 64), SensorSize(34, 34)
DIGIT = drawing(28, 28, 4, 8)


def sheet(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    page = handheld.draw_sheet(DIGIT, CAMERA, random)
    return np.stack([frame for _, frame in handheld.frames(page, 4 / handheld.RATE_HZ, random)])


MADE: dict[str, Callable[[int], np.ndarray]] = {
    "digit": lambda seed: saccade_events(DIGIT, SMALL, "digit", seed=seed),
    "sheet": sheet,
    "leaves": lambda seed: dead_leaves(60, 80, np.random.default_rng(seed)),
}


@pytest.mark.parametrize("name", MADE)
def test_a_seed_gives_the_same_each_time_and_another_one_something_else(name: str) -> None:
    make = MADE[name]
    np.testing.assert_array_equal(make(3), make(3))
    assert not np.array_equal(make(3), make(4))


def test_noise_has_the_rate_of_every_pixel_and_hot_ones_theirs() -> None:
    quiet = make_events([1_000_000, 2_999_999], [5, 5], [6, 6], [1, 0])
    size = SensorSize(40, 20)
    noise = with_noise(quiet, size, 3.0, random=np.random.default_rng(1))
    assert len(noise) == pytest.approx(2 + 3.0 * 2 * 800, rel=0.05)
    assert (np.diff(noise["t"]) >= 0).all()
    assert (noise["t"].min(), noise["t"].max()) == (1_000_000, 2_999_999)
    assert (noise["x"].max(), noise["y"].max()) == (39, 19)
    assert noise["p"].mean() == pytest.approx(0.5, abs=0.05)
    hot = with_noise(quiet, size, 0.0, 0.005, random=np.random.default_rng(1))
    places, counts = np.unique(hot["y"].astype(int) * 40 + hot["x"], return_counts=True)
    assert len(places) == 1 + round(0.005 * 800)
    assert sorted(counts)[1:] == pytest.approx([2 * HOT_HZ] * 4, rel=0.1)
