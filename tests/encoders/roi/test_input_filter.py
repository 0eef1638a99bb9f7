"""What is kept of an input: the drawing tracked, noise filtered, whatever the cutting of the stream."""

from functools import cache

import cv2
import numpy as np
import pytest

from benchmarks.common.handheld import draw_sheet, frames
from spikesight.encoders.emulator.noise import with_noise
from spikesight.encoders.emulator.pixels import Emulator
from spikesight.encoders.events import Events, SensorSize, empty_events, make_events
from spikesight.encoders.preprocess.filters import DRAWING_HZ, FROM_HZ, GATE_US
from spikesight.encoders.roi.frame_tracker import FrameTracker
from spikesight.encoders.roi.input_filter import InputFilter
from spikesight.encoders.roi.window import Window
from tests.support.inputs.filtered import kept_and_missed

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


@cache
def recorded(seed: int) -> Events:
    """What an event camera records of that sheet."""
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
        frames_of, events_of = FrameTracker(SMALL), InputFilter(CAMERA, SMALL, 2_000, follow=True)
        for t_us, frame in film(seed):
            frames_of.push(frame, t_us)
        events_of(recorded(seed))
        found["frames"] += on_the_drawing(frames_of.tracks.window)
        found["events"] += on_the_drawing(events_of.window)
    assert min(found.values()) >= 5, found


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


def cloth(seed: int) -> np.ndarray:
    """A texture, uint8 [240, 320], in which nothing is drawn."""
    page = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 1, (240, 320)), (0, 0), 4)
    return np.clip(100 + 60 * page / page.std(), 0, 255).astype(np.uint8)


def test_what_moves_without_a_drawing_is_missed_and_noise_is_not() -> None:
    events = moving([cloth(seed) for seed in range(5, 11)])
    noise = with_noise(events[[0, -1]], CAMERA, 2.0, random=np.random.default_rng(0))
    filters = [InputFilter(CAMERA, SMALL, 2_000, follow=True) for _ in range(3)]
    (_, whole), (_, none) = (kept_and_missed(tracked, given) for tracked, given in zip(filters, (events, noise)))
    parts = [kept_and_missed(filters[2], part)[1] for part in np.array_split(events, 23)]
    assert np.array_equal(np.concatenate(parts), whole)
    assert len(whole) > 0.5 * filters[0].n_kept
    assert not len(none)


def test_nothing_is_missed_beside_a_drawing_that_is_tracked() -> None:
    tracked, missed = InputFilter(CAMERA, SMALL, 2_000, follow=True), 0
    for part in np.array_split(moving([cloth(5), cloth(6), *[strokes(4)] * 16]), 60):
        before, (_, times) = tracked.window, kept_and_missed(tracked, part)
        missed += len(times)
        assert before is None or tracked.window is None or not len(times)
    assert missed > 0, "before it was found"
    assert tracked.window is not None
    fixed = InputFilter(CAMERA, SMALL, fixed=Window(0, 0, 34))
    assert not len(kept_and_missed(fixed, recorded(1))[1]), "the user does not want to see it"


def test_small_sensors_are_kept_whole_and_events_off_the_sensor_are_counted() -> None:
    tracked = InputFilter(SMALL, SMALL, 2_000, follow=True)
    events = with_noise(recorded(1)[:50], SMALL, 100.0, random=np.random.default_rng(0))
    off = int(np.count_nonzero((events["x"] >= 34) | (events["y"] >= 34)))
    kept = tracked(events)
    assert tracked.size == SMALL
    assert tracked.window is None
    assert (tracked.n_outside, tracked.n_events, tracked.n_kept) == (off, len(events) - off, len(kept))
    assert len(tracked(empty_events())) == 0


@pytest.mark.parametrize(("follow", "from_hz"), [(True, DRAWING_HZ), (False, FROM_HZ)])
@pytest.mark.parametrize("share", [0.95, 1.05])
def test_before_a_model_of_drawings_noise_is_filtered_from_a_lower_rate_on(
    follow: bool, from_hz: float, share: float
) -> None:
    gate, count = InputFilter(SMALL, SMALL, 2_000, follow=follow), round(share * from_hz * 34 * 34 * GATE_US * 1e-6)
    x, y = 3 * np.arange(count) % 33, 3 * (3 * np.arange(count) // 33)
    lone = [make_events(np.full(count, t_us), x, y, np.ones(count)) for t_us in (0, 100_000)]
    assert [len(gate(events)) for events in lone] == [0, count if share < 1 else 0]
