"""The desktop picture: what it shows, and that it never flashes."""

import numpy as np
import pytest

from spikesight.app.webcam import overlay
from spikesight.app.webcam.overlay import (
    AVERAGED,
    DECAY_US,
    GROUND,
    LEVELS,
    RELEASE_US,
    SAMPLES,
    SWING,
    SWINGS,
    Surface,
    Watch,
    _place,
    draw,
    framed,
    luminance,
    note,
    paint,
    palette,
)
from spikesight.encoders.events import SensorSize, empty_events, make_events
from spikesight.encoders.roi.window import Window
from spikesight.models.novelty import UNKNOWN
from spikesight.models.steps import Prediction

SIZE = SensorSize(40, 30)
LABELS = tuple("0123456789")


def prediction(index: int = 3, k: int = 10) -> Prediction:
    probabilities = np.full(k, 0.5 / (k - 1))
    probabilities[index] = 0.5
    return Prediction(
        start_us=0,
        end_us=10_000,
        label=str(index),
        index=index,
        probabilities=tuple(probabilities.tolist()),
        step=7,
        n_events=120,
        spikes=340,
        synops=5600,
        latency_ms=1.5,
        logits=(),
    )


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


def swung(watch: Watch, times_us: list[int], level: float = 1.0) -> Watch:
    """After the whole grid has gone to and fro at these times."""
    for n, t_us in enumerate(times_us):
        watch = watch.seen(np.full((60, 80), level * (n % 2 == 0), np.float32), 1.0, t_us)
    return watch


def test_a_pixel_flashes_after_so_many_swings_within_a_second() -> None:
    times = [100_000 * n for n in range(SWINGS + 1)]
    still = Watch.of(60, 80)
    assert still.swings.shape == (SWINGS, *SAMPLES)
    assert swung(still, times[:-1]).flashing(times[-2]) == 0, "the first rise is no turn"
    watch = swung(still, times)
    assert watch.flashing(times[-1]) == 1
    assert watch.flashing(times[1] + 999_999) == 1
    assert watch.flashing(times[1] + 1_000_000) == 0
    assert swung(still, times, level=SWING * 0.99).flashing(times[-1]) == 0
    assert swung(still, times, level=SWING).flashing(times[-1]) == 1
    assert Watch.of(3, 5).rows.ravel().tolist() == [0, 1, 2]
    assert Watch.of(48, 64).columns.ravel().tolist() == list(range(1, 64, 2))


def test_the_worst_window_counts() -> None:
    """A quarter of the picture that flashes is all of a window of half its width and height, wherever it lies."""
    watch = Watch.of(60, 80)
    for rows in (slice(0, 12), slice(6, 18), slice(12, 24)):
        for columns in (slice(0, 16), slice(8, 24), slice(16, 32)):
            watch.swings[:] = overlay.NEVER_US
            watch.swings[:, rows, columns] = 0
            assert watch.flashing(999_999) == 1
            assert watch.flashing(1_000_000) == 0
    for row in range(24):
        for column in range(32):
            watch.swings[:] = overlay.NEVER_US
            watch.swings[:, row, column] = 0
            assert watch.flashing(10) == 1 / (12 * 16), "each lies in a window, and all windows are as large"
    watch.swings[:] = overlay.NEVER_US
    watch.swings[1:] = 0
    assert watch.flashing(10) == 0, "one swing too few"


def test_the_colours_come_back_slowly() -> None:
    surface, gains = Surface.blank(SIZE), []
    for n in range(14):
        surface = surface.seen(full_field(n % 2 == 0, n * 50_000), n * 50_000)
        gains.append(surface.gain)
    assert gains[0] == 1
    assert min(gains) == gains[-1] == 0
    level = surface.levels[0, 0]
    after = surface.seen(full_field(True, 700_000), 700_000)
    faded = level * np.exp(-50_000 / DECAY_US)
    assert after.levels[0, 0] == pytest.approx(faded + AVERAGED * (1 - faded), rel=1e-5)
    later = after.seen(empty_events(), 700_000 + 1_500_000)
    assert later.gain == pytest.approx(1_500_000 / RELEASE_US)
    assert later.seen(empty_events(), 700_000 + 1_500_000 + RELEASE_US).gain == 1
    assert later.seen(empty_events(), 5).levels[0, 0] == later.levels[0, 0], "time that steps back fades nothing"


def test_what_stands_below_a_label() -> None:
    assert note("3", LABELS, 3, prediction()) == "50% sure"
    assert note("4", LABELS, 4, prediction()) == "6% sure"
    assert note(UNKNOWN, LABELS, 2, prediction()) == "nearest: 2"
    assert note("nothing", LABELS, 2, prediction()) == ""


@pytest.mark.parametrize(
    ("shape", "x", "y", "width", "height"),
    [
        ((30, 40), 10, 20, 80, 60),  # of the box's own form
        ((10, 40), 10, 40, 80, 20),  # wide: as broad as the box, in the middle of its height
        ((40, 10), 42, 20, 15, 60),  # tall
        ((600, 100), 45, 20, 10, 60),
        ((1, 400), 10, 49, 80, 1),  # a line stays one
    ],
)
def test_a_view_is_shown_whole_in_the_middle_of_its_box(
    shape: tuple[int, int], x: int, y: int, width: int, height: int
) -> None:
    canvas, white = np.zeros((100, 120, 3), np.uint8), np.full((*shape, 3), 255, np.uint8)
    _place(canvas, white, 10, 20, 80, 60)
    rows, columns = np.nonzero((canvas == 255).all(2))
    assert (columns.min(), rows.min()) == (x, y)
    assert (columns.max() - columns.min() + 1, rows.max() - rows.min() + 1) == (width, height)
    box = (canvas == GROUND).all(2) | (canvas == 255).all(2)
    assert box[20:80, 10:90].all()
    assert box.sum() == 60 * 80


def test_few_pixels_stay_squares() -> None:
    canvas, two = np.zeros((100, 120, 3), np.uint8), np.zeros((1, 2, 3), np.uint8)
    two[0, 1] = 200
    _place(canvas, two, 0, 0, 100, 50)
    assert sorted(np.unique(canvas[:50, :100])) == [0, 200]
    large = np.zeros((20, 40, 3), np.uint8)
    large[:, 20:] = 200
    _place(canvas, large, 0, 0, 100, 50)
    assert len(np.unique(canvas[:50, :100])) > 2, "many are smoothed"


def test_a_window_is_framed_in_a_copy() -> None:
    view = np.zeros((240, 640, 3), np.uint8)
    shown = framed(view, Window(100.4, 50, 60))
    assert not view.any()
    rows, columns = np.nonzero(shown.any(2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (49, 111, 99, 161)
    assert not shown[60:100, 110:150].any()
    assert shown[110, 130].any()
    small = framed(np.zeros((64, 64, 3), np.uint8), Window(10, 10, 20))
    assert np.nonzero(small[20].any(1))[0].tolist() == [10, 30]
