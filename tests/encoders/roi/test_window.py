"""The window around a drawing: where it lies and how large it is."""

import numpy as np
import pytest

from spikesight.encoders.roi.window import SHARE, around


def test_a_drawing_takes_its_share_of_the_window_in_its_middle() -> None:
    wide, high = around(np.array([[80.0, 50, 40, 20], [90, 40, 20, 40]]))
    assert wide.tolist() == [100 - 34, 60 - 34, 68]
    assert high.tolist() == wide.tolist(), "the longer side counts"
    assert 40 / wide[2] == pytest.approx(SHARE)
