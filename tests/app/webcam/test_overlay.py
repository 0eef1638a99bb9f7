"""The desktop picture: what it shows, and that it never flashes."""

from dataclasses import replace

import numpy as np
import pytest

from spikesight.app.webcam.overlay import DECAY_US, GROUND, PALETTE, Surface, draw, luminance, paint
from spikesight.encoders.events import SensorSize, empty_events, make_events
from spikesight.models.steps import Prediction
from tests.support.models import PREDICTION

SIZE = SensorSize(40, 30)


def prediction(index: int = 3, k: int = 10) -> Prediction:
    probabilities = np.full(k, 0.5 / (k - 1))
    probabilities[index] = 0.5
    return replace(PREDICTION, label=str(index), index=index, probabilities=tuple(probabilities.tolist()))


def field(on: bool, t_us: int, rows: slice = slice(None), columns: slice = slice(None)) -> np.ndarray:
    """One event of every pixel there."""
    y, x = (part[rows, columns].ravel() for part in np.mgrid[: SIZE.height, : SIZE.width])
    return make_events(np.full(x.size, t_us), x, y, np.full(x.size, on))


def test_events_light_up_and_fade() -> None:
    surface = Surface.blank(SIZE).seen(make_events([5, 6], [3, 4], [2, 2], [True, False]), 10)
    colours = paint(surface)
    assert colours.shape == (30, 40, 3)
    assert colours[2, 3, 2] > colours[2, 3, 0], "brighter is blue"
    assert colours[2, 4, 0] > colours[2, 4, 2], "darker is orange"
    assert tuple(colours[0, 0]) == GROUND
    later = surface.seen(empty_events(), 10 + DECAY_US)
    assert later.levels[2, 3] == pytest.approx(np.exp(-1))
    assert surface.levels[2, 3] == 1, "a value does not change"
    assert later.seen(empty_events(), 5).levels[2, 3] == later.levels[2, 3], "time that steps back fades nothing"


def test_events_off_the_picture_are_left_out() -> None:
    events = make_events([1, 1, 1], [-1, 40, 5], [5, 5, 30], [True, True, True])
    assert not Surface.blank(SIZE).seen(events, 10).levels.any()


def test_no_change_of_the_events_picture_is_a_flash() -> None:
    """Of a flash, relative luminance changes by a tenth at least, or a saturated red comes or goes (WCAG 2.3.1)."""
    light, (red, _, _) = luminance(PALETTE), (PALETTE.T / 255.0) ** 2.2
    assert np.ptp(light) < 0.1
    assert (red < 0.8 * ((PALETTE / 255.0) ** 2.2).sum(-1)).all()


@pytest.mark.parametrize("camera", [None, (480, 640), (34, 34), (1, 400)])
@pytest.mark.parametrize("k", [2, 10, 101])
def test_a_picture_shows_its_view_whole_and_changes_with_what_is_predicted(
    camera: tuple[int, int] | None, k: int
) -> None:
    labels = [f"class {n}" for n in range(k)]
    surface = Surface.blank(SIZE).seen(field(True, 0), 0)
    view = None if camera is None else np.full((*camera, 3), (1, 99, 2), np.uint8)
    meters = [("Events", "12 /s"), ("Step time", "1 ms")]

    def drawn(index: int = 1, **words: object) -> np.ndarray:
        what = {"camera": view, "meters": meters, "keys": "q quit", **words}
        return draw(surface, prediction(index, k), labels, **what)  # type: ignore[arg-type]

    picture = drawn()
    assert picture.dtype == np.uint8
    assert np.array_equal(picture, drawn())
    for other in (drawn(0), drawn(meters=meters[:1]), drawn(keys=""), drawn(steady="x")):
        assert other.shape == picture.shape
        assert (picture != other).any()
    rows, columns = np.nonzero((picture == (1, 99, 2)).all(2))
    if camera is not None:
        tall, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert wide / tall == pytest.approx(camera[1] / camera[0], rel=0.01 if camera[0] > 1 else 0.5)
        assert columns.max() < picture.shape[1] / 2
