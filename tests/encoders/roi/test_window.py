"""The window that is held: what counts as the same drawing, and when another one is looked at."""

import numpy as np
import pytest

from spikesight.encoders.preprocess.drawing import Drawing
from spikesight.encoders.roi.window import FORGOTTEN_US, GROWN, NEAR, PATIENCE, SHARE, SHRUNK, Hold, Window, around


def drawn(x: float, y: float, width: float, height: float) -> Drawing:
    """A drawing with its middle at (x, y)."""
    return Drawing(np.ones((4, 4), np.float32), x - width / 2, y - height / 2, width, height, 0.9, 200.0)


def test_a_drawing_takes_its_share_of_the_window_in_its_middle() -> None:
    window = around(drawn(100, 60, 40, 20))
    assert window == Window(100 - 34, 60 - 34, 68)
    assert around(drawn(100, 60, 20, 40)) == window, "the longer side counts"
    assert 40 / window.side == pytest.approx(SHARE)


LENGTH = 40.0
HELD = drawn(100, 100, LENGTH, 10)


@pytest.mark.parametrize(
    ("found", "same"),
    [
        (HELD, True),
        (drawn(100 + 0.99 * NEAR * LENGTH, 100, LENGTH, 10), True),
        (drawn(100 + 1.01 * NEAR * LENGTH, 100, LENGTH, 10), False),
        (drawn(100 - 1.01 * NEAR * LENGTH, 100, LENGTH, 10), False),
        (drawn(100, 100 + 0.99 * NEAR * LENGTH, LENGTH, 10), True),
        (drawn(100, 100 + 1.01 * NEAR * LENGTH, LENGTH, 10), False),
        (drawn(100, 100 - 1.01 * NEAR * LENGTH, LENGTH, 10), False),
        (drawn(100, 100, LENGTH * SHRUNK * 1.01, 10), True),
        (drawn(100, 100, LENGTH * SHRUNK * 0.99, 10), False),
        (drawn(100, 100, LENGTH * GROWN * 0.99, 10), True),
        (drawn(100, 100, LENGTH * GROWN * 1.01, 10), False),
    ],
)
def test_what_is_taken_for_the_same_drawing(found: Drawing, same: bool) -> None:
    hold = Hold()
    assert not hold.holds(HELD), "nothing is held yet"
    assert hold.see(HELD, 0)
    assert hold.holds(found) == same
    assert hold.see(found, 1) == same
    assert hold.window == around(HELD)


def test_another_drawing_is_looked_at_after_so_many_looks_in_a_row() -> None:
    hold, other = Hold(), drawn(300, 100, LENGTH, 10)
    hold.see(HELD, 0)
    for n in range(PATIENCE):
        assert not hold.see(other, n)
    assert hold.see(HELD, 10), "it is there after all: the others are forgotten"
    for n in range(PATIENCE):
        assert not hold.see(other, 20 + n)
        assert hold.window == around(HELD)
    assert hold.see(other, 30)
    assert hold.window == around(other)


def test_without_any_drawing_the_window_is_forgotten_after_its_time() -> None:
    hold = Hold()
    assert not hold.see(None, 5)
    hold.see(HELD, 1_000)
    assert not hold.see(None, 1_000 + FORGOTTEN_US)
    assert hold.window == around(HELD)
    hold.see(HELD, 2_000)
    hold.see(None, 2_000 + FORGOTTEN_US)
    assert hold.window is not None
    hold.see(None, 2_001 + FORGOTTEN_US)
    assert hold.window is None
    assert FORGOTTEN_US == 600_000
