"""What is looked at: the drawing found, the window held, noise left out, whatever the cutting of the stream."""

import cv2
import numpy as np
import pytest

from spikesight.encoders.emulator.handheld import draw_sheet, frames
from spikesight.encoders.emulator.noise import with_noise
from spikesight.encoders.emulator.pixels import Emulator
from spikesight.encoders.events import Events, SensorSize, empty_events, make_events
from spikesight.encoders.preprocess.drawing import Drawing, find_drawing
from spikesight.encoders.roi.event_tracker import LOOK_US, LOOKS, alike, form
from spikesight.encoders.roi.frame_tracker import FrameTracker
from spikesight.encoders.roi.input_filter import InputFilter
from spikesight.encoders.roi.window import FORGOTTEN_US, PATIENCE, Hold, Window

CAMERA, SMALL = SensorSize(320, 240), SensorSize(34, 34)


def seven() -> np.ndarray:
    """A digit, uint8 [28, 28], light on dark."""
    image = np.zeros((28, 28), np.uint8)
    cv2.polylines(image, [np.array([[7, 5], [20, 5], [12, 23]])], False, 255, 3)
    return image


def film(seed: int, seconds: float = 0.5) -> list[tuple[int, np.ndarray]]:
    """A sheet held before a camera."""
    random = np.random.default_rng(seed)
    return list(frames(draw_sheet(seven(), CAMERA, random), seconds, random))


def recorded(seed: int) -> Events:
    """The same as a recording of an event camera."""
    camera = Emulator(CAMERA)
    return np.concatenate([camera.push(frame, t_us) for t_us, frame in film(seed, 0.8)])


def on_the_drawing(window: Window | None) -> bool:
    """Sheets sway around the middle of the picture."""
    if window is None:
        return False
    middle = window.left + window.side / 2, window.top + window.side / 2
    return abs(middle[0] - 160) < 40 and abs(middle[1] - 120) < 40 and 100 < window.side < 450


def test_the_window_finds_what_is_drawn_in_frames_and_in_events() -> None:
    found = {"frames": 0, "events": 0}
    for seed in range(8):
        eye, sight = FrameTracker(SMALL), InputFilter(CAMERA, SMALL, 2_000, follow=True)
        for t_us, frame in film(seed):
            eye.push(frame, t_us)
        sight(recorded(seed))
        found["frames"] += on_the_drawing(eye.window)
        found["events"] += on_the_drawing(sight.window)
    assert min(found.values()) >= 5, found


def test_an_eye_on_a_still_drawing_sees_events_and_none_without_one() -> None:
    page = np.full((240, 320, 3), 210, np.uint8)
    blank, eye = FrameTracker(SMALL), FrameTracker(SMALL)
    ink = page.copy()
    cv2.polylines(ink, [np.array([[120, 70], [200, 70], [150, 180]])], False, (30, 30, 30), 12)
    seen = [eye.push(ink, n * 33_000) for n in range(10)]
    assert sum(len(blank.push(page, n * 33_000)) for n in range(10)) == 0
    assert sum(map(len, seen)) > 200
    events = np.concatenate(seen)
    assert (np.diff(events["t"]) >= 0).all()
    assert events["x"].max() < 34
    assert events["y"].max() < 34


@pytest.mark.parametrize("pieces", [2, 7, 40])
def test_sight_does_not_depend_on_how_a_stream_is_cut(pieces: int) -> None:
    events = recorded(1)
    whole = InputFilter(CAMERA, SMALL, 2_000, follow=True)(events)
    sight = InputFilter(CAMERA, SMALL, 2_000, follow=True)
    parts = [sight(part) for part in np.array_split(events, pieces)]
    assert len(whole)
    assert np.array_equal(np.concatenate(parts), whole)


def moving(forms: list[np.ndarray]) -> Events:
    """What an event camera sees of drawings, uint8 [240, 320], each for 50 ms, that tremble."""
    camera, parts = Emulator(CAMERA), []
    for n, page in enumerate(np.repeat(np.stack(forms), 5, 0)):
        parts.append(camera.push(np.roll(255 - page, n % 2 * 3, 1), (n + 1) * 10_000))
    return np.concatenate(parts)


def strokes(seed: int) -> np.ndarray:
    """Some lines, uint8 [240, 320], in about the same place whatever the seed."""
    page = np.zeros((240, 320), np.uint8)
    points = np.random.default_rng(seed).integers((100, 60), (220, 180), (4, 2))
    cv2.polylines(page, [points.astype(np.int32)], False, 200, 10, cv2.LINE_AA)
    return page


def test_a_form_is_the_same_wherever_it_is_and_however_large() -> None:
    small = cv2.resize(strokes(4), (200, 150))
    elsewhere = np.roll(np.pad(small, ((0, 90), (0, 120))), 30, 1)
    ring = cv2.circle(np.zeros((240, 320), np.uint8), (160, 120), 50, 200, 10)
    one, same, other = (find_drawing(255 - page) for page in (strokes(4), elsewhere, ring))
    assert one is not None
    assert same is not None
    assert other is not None
    assert alike(form(one), form(same))
    assert not alike(form(one), form(other))


def test_a_drawing_is_looked_at_after_some_looks_that_find_it() -> None:
    sight, seen = InputFilter(CAMERA, SMALL, 2_000, follow=True), []
    for part in np.array_split(moving([strokes(4)] * 12), 60):
        sight(part)
        seen.append(sight.window is not None)
    first = seen.index(True)
    assert (LOOKS - 1) * LOOK_US < first * 10_000 < 2 * LOOKS * LOOK_US
    assert all(seen[first:])


def test_what_loses_its_form_is_forgotten_and_what_is_still_is_held() -> None:
    moved, still = (InputFilter(CAMERA, SMALL, 2_000, follow=True) for _ in range(2))
    for sight in (moved, still):
        sight(moving([strokes(4)] * 12))
    events = moving([strokes(4)] * 12 + [strokes(seed) for seed in range(5, 17)])
    moved(events[events["t"] > 600_000])
    assert moved.window is None
    faint = events[events["t"] > 600_000][::200]
    still(faint[faint["t"] < 1_100_000])
    assert still.window is not None


def test_what_moves_without_a_drawing_is_missed_and_noise_is_not() -> None:
    events = moving([strokes(seed) for seed in range(5, 11)])  # no form stays
    noise = with_noise(events[[0, -1]], CAMERA, 2.0, random=np.random.default_rng(0))
    sights = [InputFilter(CAMERA, SMALL, 2_000, follow=True) for _ in range(3)]
    (_, whole), (_, none) = (sight.look(given) for sight, given in zip(sights, (events, noise)))
    parts = [sights[2].look(part)[1] for part in np.array_split(events, 23)]
    assert np.array_equal(np.concatenate(parts), whole)
    assert len(whole) > 0.5 * sights[0].n_kept
    assert not len(none)


def test_nothing_is_missed_beside_a_drawing_that_is_looked_at() -> None:
    sight, missed = InputFilter(CAMERA, SMALL, 2_000, follow=True), 0
    for part in np.array_split(moving([strokes(4)] * 12), 60):
        before, (_, times) = sight.window, sight.look(part)
        missed += len(times)
        assert before is None or sight.window is None or not len(times)
    assert missed > 0, "before it was found"
    fixed = InputFilter(CAMERA, SMALL, fixed=Window(0, 0, 34))
    assert not len(fixed.look(recorded(1))[1]), "the user does not want to see it"


def test_a_window_of_the_users_stays_and_scales() -> None:
    events = recorded(1)
    sight = InputFilter(CAMERA, SMALL, fixed=Window(100, 60, 68))
    seen = sight(events)
    inside = (events["x"] >= 100) & (events["x"] < 168) & (events["y"] >= 60) & (events["y"] < 128)
    assert np.array_equal(seen["x"], (events["x"][inside] - 100) // 2)
    assert np.array_equal(seen["y"], (events["y"][inside] - 60) // 2)
    assert sight.window == Window(100, 60, 68)


def test_small_sensors_are_looked_at_whole_and_events_off_the_sensor_are_counted() -> None:
    sight = InputFilter(SMALL, SMALL, 2_000, follow=True)
    events = with_noise(recorded(1)[:50], SMALL, 100.0, random=np.random.default_rng(0))
    off = int(np.count_nonzero((events["x"] >= 34) | (events["y"] >= 34)))
    kept = sight(events)
    assert sight.size == SMALL
    assert sight.window is None
    assert (sight.n_outside, sight.n_events, sight.n_kept) == (off, len(events) - off, len(kept))
    assert len(sight(empty_events())) == 0


@pytest.mark.parametrize(("follow", "count", "kept"), [(True, 14, 14), (True, 15, 0), (False, 15, 15), (False, 24, 0)])
def test_before_a_model_that_looks_for_drawings_less_noise_is_filtered(follow: bool, count: int, kept: int) -> None:
    """Of 34 x 34 pixels 2.5 lone events a second each are 14.45 in 5 ms, and 4 are 23.12."""
    sight, places = InputFilter(SMALL, SMALL, 2_000, follow=follow), 3 * np.arange(count)
    lone = [make_events(np.full(count, t_us), places % 33, 3 * (places // 33), np.ones(count)) for t_us in (0, 100_000)]
    assert [len(sight(events)) for events in lone] == [0, kept]


def test_what_the_filter_made_of_the_events_is_told_once() -> None:
    sight = InputFilter(CAMERA, SMALL, 2_000, follow=True)
    events = recorded(1)
    sight(events[:2000])
    kept, dropped = sight.news()
    assert kept + dropped == 2000
    assert min(kept, dropped) > 0
    assert sight.news() == (0, 0)
    sight(events[2000:2500])
    assert sum(sight.news()) == 500


def test_the_window_is_held_then_moves_then_is_forgotten() -> None:
    def at(x: float) -> Drawing:
        return Drawing(np.ones((10, 10), np.float32), x, 50, 20, 40, 0.7, 200.0)

    hold = Hold()
    assert hold.see(at(50), 0)
    first = hold.window
    assert hold.see(at(55), 1)
    assert hold.window == first
    looks = [hold.see(at(150), 2 + n) for n in range(PATIENCE + 1)]
    assert looks == [False] * PATIENCE + [True]
    assert hold.window != first
    assert not hold.see(None, FORGOTTEN_US)
    assert hold.window is not None
    hold.see(None, 2 * FORGOTTEN_US)
    assert hold.window is None


@pytest.mark.parametrize("light", [False, True])
def test_a_drawing_is_found_on_a_sheet_on_a_desk(light: bool) -> None:
    picture = np.random.default_rng(3).integers(0, 255, (12, 16), np.uint8)
    picture = np.asarray(cv2.resize(picture, (640, 480), interpolation=cv2.INTER_CUBIC), np.uint8)
    picture[80:400, 150:500] = 40 if light else 225
    cv2.polylines(picture, [np.array([[250, 150], [390, 150], [300, 330]])], False, 220 if light else 30, 20)
    drawing = find_drawing(picture)
    assert drawing is not None
    box = (drawing.left, drawing.top, drawing.left + drawing.width, drawing.top + drawing.height)
    assert np.allclose(box, (240, 140, 400, 340), atol=10)
    assert abs(drawing.ground - (40 if light else 225)) < 20
