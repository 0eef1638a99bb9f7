"""What a model learnt from in three numbers, and what is said of a camera that gives another kind of input."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spikesight.models.checkpoint import CheckpointError, from_json
from spikesight.models.novelty.profile import Profile, Watch, Window, compare, measure, typical

STEPS, STEP_US = 6, 20_000


def edges(random: np.random.Generator, width: int = 0, on: float = 0.5, noise: float = 0.0) -> NDArray[np.uint8]:
    """A window [T, 2, 40, 40] of a bar that moves, so many pixels wide or one to four, before noise."""
    width = width or int(random.integers(1, 5))
    x = np.zeros((STEPS, 2, 40, 40), np.uint8)
    for step, at in enumerate(random.integers(2, 22) + np.arange(STEPS)):
        polarity = (random.random((30, width)) > on).astype(int)
        rows, columns = np.indices(polarity.shape)
        x[step, 1 - polarity, 5 + rows, at + columns] = 1
    return x | (random.random(x.shape) < noise).astype(np.uint8)


@cache
def many(seed: int = 0, **how: Any) -> list[Window]:
    random = np.random.default_rng(seed)
    return [measure(edges(random, **how), STEP_US) for _ in range(300)]


@cache
def profile() -> Profile:
    found = Profile.of(many())
    assert found is not None
    return found


def test_a_window_is_measured_by_its_events() -> None:
    x = np.zeros((2, 2, 10, 10), np.uint8)
    x[0, 1, 3, 3:5] = 1  # two side by side
    x[0, 0, 3, 3] = 1  # on one of them, too
    x[1, 0, 8, 8] = 1  # alone, in a corner of the other step
    assert measure(x, 50_000) == pytest.approx((2 * 4 / 400 / 0.05, 2 / 4, np.std([0.5] * 3 + [0.0] * 97) / 0.015))
    assert measure(0 * x, 50_000).rate == 0
    assert measure(np.ones_like(x), 50_000) == pytest.approx((40, 0.5, 0))


def test_still_scenes_tell_nothing_of_a_camera() -> None:
    still = measure(np.zeros((2, 2, 10, 10)), STEP_US)
    assert Profile.of([*many(), *[still] * 100]) == profile()
    assert Profile.of([still] * 100) is None
    assert Profile.of([]) is None
    assert Profile.of(many()[:20]) is None, "which tell no percentiles"


def test_fresh_windows_of_the_same_camera_are_let_pass() -> None:
    told = [compare(profile(), window) for window in many(seed=1)]
    assert sum(one is not None for one in told) <= 3


@pytest.mark.parametrize(
    ("how", "word"),
    [
        ({"width": 12}, "times the events that this model learnt from: raise"),
        ({"on": 0.02}, "2% of this camera's events are ON"),
        ({"noise": 0.03}, "more evenly over the view"),
    ],
    ids=["more events", "another balance", "noise"],
)
def test_another_camera_is_told_with_what_helps(how: dict[str, float], word: str) -> None:
    says = compare(profile(), typical(many(seed=2, **how)))
    assert says is not None
    assert word in says
    assert "spikesight teach" in says


def test_fewer_events_are_told_too() -> None:
    says = compare(profile(), typical(many())._replace(rate=profile().rate[0] / 5))
    assert "lower its contrast thresholds" in (says or "")


def watched(windows: list[NDArray[np.uint8]], anew: bool = False) -> Watch:
    watch = Watch(profile(), STEPS, STEP_US)
    for window in windows:
        for number, x in enumerate(window):
            watch.push(x, anew and number == 0)
    return watch


def test_a_stream_is_judged_by_its_first_windows_in_which_something_moves() -> None:
    random = np.random.default_rng(3)
    wide, own = [edges(random, 12) for _ in range(3)], [edges(random) for _ in range(3)]
    still = [np.zeros_like(wide[0])] * 5
    assert watched([*still, *wide[:2]]).says is None
    says = watched([*still, *wide]).says
    assert says == watched([*wide, *own]).says
    assert says is not None
    assert watched([*own, *wide]).says is None


def test_a_window_does_not_span_a_jump_of_time() -> None:
    wide = edges(np.random.default_rng(5), 12)
    parts = [wide[:5], wide, wide, wide[:3]]
    assert watched(parts, anew=True).says is None
    assert watched([*parts, wide], anew=True).says is not None


@pytest.mark.parametrize("rate", [[1.0, 2.0], [2.0, 1.0, 3.0], [-1.0, 1.0, 2.0], [1.0, 2.0, float("nan")]])
def test_a_damaged_profile_is_refused(rate: list[float]) -> None:
    with pytest.raises(CheckpointError, match="three rising numbers"):
        from_json(Profile, {"rate": rate, "on": [0.0, 0.0, 0.5], "uneven": [0.0, 0.0, 0.0]})
