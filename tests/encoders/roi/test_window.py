"""The window that is held: how large it is, when it moves to another drawing, and when it is dropped."""

import numpy as np
import pytest

from spikesight.encoders.preprocess.drawing import Drawing
from spikesight.encoders.roi.window import FORGOTTEN_US, PATIENCE, SHARE, Hysteresis, Window, around


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


def test_the_window_moves_after_so_many_other_drawings_in_a_row() -> None:
    held, other = Hysteresis(), drawn(300, 100, LENGTH, 10)
    held.see(HELD, 0)
    assert not any(held.see(other, n) for n in range(PATIENCE))
    assert held.see(HELD, 10), "it is there after all: the others are forgotten"
    assert not any(held.see(other, 20 + n) for n in range(PATIENCE))
    assert held.window == around(HELD)
    assert held.see(other, 30)
    assert held.window == around(other)


def test_a_drawing_that_is_not_seen_is_dropped_after_its_time() -> None:
    held = Hysteresis()
    for seen_us in (1_000, 2_000):
        held.see(HELD, seen_us)
        held.drop_if_silent(seen_us + FORGOTTEN_US)
        assert held.window == around(HELD)
    held.see(drawn(300, 100, LENGTH, 10), 3_000)
    held.drop_if_silent(2_001 + FORGOTTEN_US)
    assert held.window is None, "another one is no sign of it"
