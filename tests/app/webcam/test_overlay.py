"""The desktop picture: what it shows, and that it never flashes."""

import numpy as np
import pytest

from app.webcam.overlay import DECAY_US, GROUND, LEVELS, Surface, draw, luminance, paint, palette
from encoders.events import SensorSize, empty_events, make_events
from models.steps import Prediction

SIZE = SensorSize(40, 30)
LABELS = tuple("0123456789")


def prediction(index: int = 3, k: int = 10) -> Prediction:
    probabilities = np.full(k, 0.5 / (k - 1))
    probabilities[index] = 0.5
    return Prediction(0, 10_000, str(index), index, tuple(probabilities.tolist()), 7, 120, 340, 5600, 1.5, ())


def full_field(on: bool, t_us: int) -> np.ndarray:
    y, x = np.mgrid[: SIZE.height, : SIZE.width]
    return make_events(np.full(x.size, t_us), x.ravel(), y.ravel(), np.full(x.size, on))


def test_events_light_up_and_fade() -> None:
    surface = Surface.blank(SIZE).seen(make_events([5, 6], [3, 4], [2, 2], [True, False]), 10)
    assert surface.levels[2, 3] == 1
    assert surface.levels[2, 4] == -1
    later = surface.seen(empty_events(), 10 + DECAY_US)
    assert later.levels[2, 3] == pytest.approx(np.exp(-1))
    assert surface.levels[2, 3] == 1, "a value does not change"
    colours = paint(surface)
    assert colours.shape == (30, 40, 3)
    assert colours[2, 3, 2] > colours[2, 3, 0], "brighter is blue"
    assert colours[2, 4, 0] > colours[2, 4, 2], "darker is orange"
    assert tuple(colours[0, 0]) == GROUND


def test_events_off_the_picture_are_left_out() -> None:
    events = make_events([1, 1, 1], [-1, 40, 5], [5, 5, 30], [True, True, True])
    assert not Surface.blank(SIZE).seen(events, 10).levels.any()


def test_dim_colours_cannot_flash() -> None:
    light = luminance(palette(0.0))
    assert light.max() - light.min() < 0.1
    assert len(palette(1.0)) == 2 * LEVELS + 1
    linear = (palette(1.0) / 255.0) ** 2.2
    assert (linear[:, 0] < 0.8 * linear.sum(1)).all(), "no saturated red"


@pytest.mark.parametrize("hertz", [4, 7.5, 15, 30])
def test_flicker_is_no_flash(hertz: float) -> None:
    surface, shown, on = Surface.blank(SIZE), [], False
    for n in range(180):  # three seconds at 60 a second
        t_us = n * 1_000_000 // 60
        due = bool(int(n / 60 * 2 * hertz) % 2)
        events = full_field(due, t_us) if due != on else empty_events()
        on = due
        surface = surface.seen(events, t_us)
        shown.append(float(luminance(paint(surface))[15, 20]))
    swings, extreme, rising = [], shown[0], True
    for n, value in enumerate(shown):
        if (value > extreme) == rising and value != extreme:
            extreme = value
        elif abs(value - extreme) >= 0.1:
            swings.append(n)
            extreme, rising = value, not rising
    worst = max((sum(n <= s < n + 60 for s in swings) for n in range(180)), default=0)
    assert worst <= 6, "three flashes are six swings"


def test_a_moving_edge_stays_vivid() -> None:
    surface = Surface.blank(SIZE)
    for n in range(60):
        edge = make_events(np.full(30, n), np.full(30, n * 2 % 40), np.arange(30), np.full(30, True))
        surface = surface.seen(edge, n * 33_000)
    assert surface.gain == 1


@pytest.mark.parametrize("camera", [None, (480, 640), (34, 34)])
@pytest.mark.parametrize("k", [2, 10, 101])
def test_draw(camera: tuple[int, int] | None, k: int) -> None:
    labels = [f"class {n}" for n in range(k)]
    surface = Surface.blank(SIZE).seen(full_field(True, 0), 0)
    history = np.random.default_rng(0).dirichlet(np.ones(k), 50)
    view = None if camera is None else np.full((*camera, 3), 99, np.uint8)
    meters = [("Events", "12 /s"), ("Step time", "1 ms")]
    picture = draw(surface, prediction(1, k), labels, camera=view, history=history, meters=meters, keys="q quit")
    assert picture.dtype == np.uint8
    assert picture.shape[1:] == (1120, 3)
    again = draw(surface, prediction(1, k), labels, camera=view, history=history, meters=meters, keys="q quit")
    assert (picture == again).all()
    other = draw(surface, prediction(0, k), labels, camera=view, history=history, meters=meters, keys="q quit")
    assert (picture != other).any()


def test_draw_before_anything_is_known() -> None:
    assert draw(Surface.blank(SIZE), None, LABELS).std() >= 0


def test_long_labels_fit() -> None:
    picture = draw(Surface.blank(SIZE), prediction(), LABELS, steady="counter-clockwise circle", width=800)
    assert picture.shape[1] == 800
