"""The desktop picture: what it shows, and that it never flashes."""

from dataclasses import replace

import numpy as np
import pytest

from spikesight.app.webcam.overlay import DECAY_US, GROUND, RELEASE_US, Surface, draw, luminance, paint
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


@pytest.mark.parametrize("hertz", [4, 7.5, 15, 30])
@pytest.mark.parametrize("rows", [slice(None), slice(0, 15), slice(8, 23), slice(15, 30)], ids=str)
def test_flicker_is_no_flash(hertz: float, rows: slice) -> None:
    """At most three flashes a second, of all of the picture or of a quarter of it, wherever it lies."""
    surface, shown, on = Surface.blank(SIZE), [], False
    columns = slice(None) if rows == slice(None) else slice(10, 30)
    for n in range(180):  # three seconds at 60 a second
        t_us, due = n * 1_000_000 // 60, bool(int(n / 60 * 2 * hertz) % 2)
        surface = surface.seen(field(due, t_us, rows, columns) if due != on else empty_events(), t_us)
        on = due
        shown.append(float(luminance(paint(surface))[rows, columns].mean()))
    swings, extreme, rising = [], shown[0], True
    for n, value in enumerate(shown):
        if (value > extreme) == rising and value != extreme:
            extreme = value
        elif abs(value - extreme) >= 0.1:
            swings.append(n)
            extreme, rising = value, not rising
    worst = max((sum(n <= s < n + 60 for s in swings) for n in range(180)), default=0)
    assert worst <= 6, "three flashes are six swings"
    assert surface.gain < 1


def test_a_moving_edge_stays_vivid() -> None:
    surface = Surface.blank(SIZE)
    for n in range(60):
        edge = make_events(np.full(30, n), np.full(30, n * 2 % 40), np.arange(30), np.full(30, True))
        surface = surface.seen(edge, n * 33_000)
    assert surface.gain == 1


def test_colours_are_dim_while_it_flickers_and_come_back_slowly() -> None:
    surface = Surface.blank(SIZE)
    for n in range(14):
        surface = surface.seen(field(n % 2 == 0, n * 50_000), n * 50_000)
    assert surface.gain == 0
    light = [luminance(paint(surface.seen(field(on, 650_000), 650_000))).mean() for on in (True, False)]
    assert abs(light[0] - light[1]) < 0.1, "too little for a flash"
    half = surface.seen(empty_events(), 650_000 + 1_000_000 + RELEASE_US // 2)
    assert 0 < half.gain < 1
    assert half.seen(empty_events(), 650_000 + 1_000_000 + 2 * RELEASE_US).gain == 1
    pixels = paint(Surface.blank(SIZE).seen(field(False, 1), 1)) / 255.0
    assert (pixels[..., 0] ** 2.2 < 0.8 * (pixels**2.2).sum(-1)).all(), "no saturated red"


@pytest.mark.parametrize("camera", [None, (480, 640), (34, 34), (1, 400)])
@pytest.mark.parametrize("k", [2, 10, 101])
def test_a_picture_shows_its_view_whole_and_changes_with_what_is_predicted(
    camera: tuple[int, int] | None, k: int
) -> None:
    labels = [f"class {n}" for n in range(k)]
    surface = Surface.blank(SIZE).seen(field(True, 0), 0)
    history = np.random.default_rng(0).dirichlet(np.ones(k), 50)
    view = None if camera is None else np.full((*camera, 3), (1, 99, 2), np.uint8)
    meters = [("Events", "12 /s"), ("Step time", "1 ms")]

    def drawn(index: int = 1, **words: object) -> np.ndarray:
        what = {"camera": view, "history": history, "meters": meters, "keys": "q quit", **words}
        return draw(surface, prediction(index, k), labels, **what)  # type: ignore[arg-type]

    picture = drawn()
    assert picture.dtype == np.uint8
    assert np.array_equal(picture, drawn())
    for other in (drawn(0), drawn(history=history[::-1]), drawn(meters=meters[:1]), drawn(keys=""), drawn(steady="x")):
        assert other.shape == picture.shape
        assert (picture != other).any()
    rows, columns = np.nonzero((picture == (1, 99, 2)).all(2))
    if camera is not None:
        tall, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert wide / tall == pytest.approx(camera[1] / camera[0], rel=0.01 if camera[0] > 1 else 0.5)
        assert columns.max() < picture.shape[1] / 2
