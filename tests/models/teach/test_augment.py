"""Varied copies: of the same thing, in order and in the picture, no two alike."""

import numpy as np
import pytest

from spikesight.encoders.events import make_events
from spikesight.encoders.roi.alignment import aligned
from spikesight.models.teach.augment import PLACE, TURN, varied
from spikesight.models.teach.augment import SIZE as RESIZED
from tests.support.inputs.data_sets import digit_events

SIZE, LENGTH_US = (32, 32), 640_000


def test_a_copy_is_another_showing_of_the_same() -> None:
    events = aligned(digit_events(1, 2, 3000, length_us=4_000_000), SIZE, LENGTH_US)
    random, seen = np.random.default_rng(0), []
    for _ in range(20):
        copy = varied(events, SIZE, LENGTH_US, random)
        assert 0.4 * len(events) < len(copy) <= len(events)
        assert (np.diff(copy["t"]) >= 0).all()
        assert 0 <= copy["t"][0] < copy["t"][-1] < LENGTH_US
        assert min(copy["x"].min(), copy["y"].min()) >= 0
        assert max(copy["x"].max(), copy["y"].max()) < 32
        assert np.hypot(np.median(copy["x"]) - 16, np.median(copy["y"]) - 16) < 6
        seen.append((len(copy), float(copy["x"].mean()), float(copy["t"].mean())))
    assert len(set(seen)) == 20


def test_nothing_gives_nothing() -> None:
    events = aligned(digit_events(1, 2)[:1], SIZE, LENGTH_US)
    assert len(varied(events, SIZE, LENGTH_US, np.random.default_rng(0))) == 0


def test_copies_are_turned_resized_and_moved_as_much_as_named() -> None:
    """A cloud about the middle, whose place and likeness to the original tell what was done to it."""
    draw, random = np.random.default_rng(3), np.random.default_rng(4)
    x, y = draw.integers(24, 104, (2, 4000))
    events = make_events(np.arange(4000), x, y, np.ones(4000))
    turns, sizes, moves = [], [], []
    for _ in range(60):
        copy = varied(events, (128, 128), 10**9, random)
        # the second moments of a square stay alike, however it is turned; its corners tell the turn
        points = (copy["x"] + 1j * copy["y"]) - (copy["x"].mean() + 1j * copy["y"].mean())
        corners = points[np.abs(points) > 0.9 * np.abs(points).max()]
        turns.append(float(np.angle(np.mean((corners / np.abs(corners)) ** 4) * -1)) / 4)
        sizes.append(float(np.log(np.std(points) / np.std(x + 1j * y))))
        moves.append((float(copy["x"].mean()) - x.mean(), float(copy["y"].mean()) - y.mean()))
        assert np.var(points.real) == pytest.approx(np.var(points.imag), rel=0.1)
    assert np.std(turns) == pytest.approx(TURN, rel=0.3)
    assert np.std(sizes) == pytest.approx(RESIZED, rel=0.3)
    assert np.std(moves) == pytest.approx(128 * PLACE, rel=0.3)
    assert np.mean(turns) == pytest.approx(0, abs=0.05)
