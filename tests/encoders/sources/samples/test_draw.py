"""The drawings behind the shipped recordings: smooth strokes, shapes that cross the picture."""

import numpy as np
import pytest

from spikesight.encoders.sources.samples import draw


def test_a_stroke_goes_through_its_points_and_is_smooth_between() -> None:
    points = [(0.0, 0.0), (1.0, 2.0), (3.0, 2.0), (4.0, 0.0)]
    curve = draw.smooth(points, 24)
    assert len(curve) == 3 * 24 + 1
    assert curve[[0, 24, 48, 72]] == pytest.approx(np.array(points))
    assert curve[36] == pytest.approx([2.0, 2.25])  # the middle: (9 (b + c) - a - d) / 16
    assert np.abs(np.diff(curve, 2, axis=0)).max() < 0.02


@pytest.mark.parametrize(("kind", "direction"), draw.SHAPES.values())
def test_a_shape_crosses_the_picture_once(kind: str, direction: int) -> None:
    events = draw.shape(kind, direction, seconds=0.2)
    assert events["t"].max() < 200_000
    middle = np.array(
        [events["x"][(low <= events["t"]) & (events["t"] < low + 20_000)].mean() for low in (20_000, 170_000)]
    )
    wanted = 12 + 40 * np.array([30, 180]) / 200
    assert middle == pytest.approx(wanted if direction > 0 else 64 - wanted, abs=4)
