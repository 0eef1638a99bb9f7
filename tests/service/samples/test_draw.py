"""The pictures behind the shipped recordings stay what they were."""

from pathlib import Path

import numpy as np
import pytest

from service.samples import draw
from tests.support.kept import compare, of_picture


def test_pictures_stay_what_they_were() -> None:
    made = {f"digit {name}": of_picture(draw.digit(name), 8) for name in draw.DIGITS}
    places = [(20.0, 32.0), (20.25, 31.75), (45.5, 34.0)]
    for kind, _ in draw.SHAPES.values():
        made |= {f"{kind} at {x} {y}": of_picture(draw.shape_frame(kind, x, y), 8) for x, y in places}
    compare(Path(__file__).parent / "pictures.json", made, abs=0.1)


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
