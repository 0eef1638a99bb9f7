"""The eye on a webcam's frames: when it sees events, of which time, and other pixels on request."""

import cv2
import numpy as np
import pytest

from spikesight.encoders.emulator.pixels import PixelModel
from spikesight.encoders.events import SensorSize
from spikesight.encoders.preprocess.drawing import find_drawing
from spikesight.encoders.preprocess.fit import centred
from spikesight.encoders.roi.frame_tracker import CLEAR, LONGEST_US, PIXELS, STEP_US, FrameTracker
from spikesight.encoders.roi.window import FORGOTTEN_US

SMALL = SensorSize(34, 34)
PAGE = np.full((120, 160), 210, np.uint8)
INK = cv2.polylines(PAGE.copy(), [np.array([[60, 35], [100, 35], [75, 90]])], False, 30, 6).astype(np.uint8)
FRAME_US = 33_000


def looked(eye: FrameTracker, frames: int = 12, first_us: int = 0) -> list[np.ndarray]:
    return [eye.push(INK, first_us + n * FRAME_US) for n in range(frames)]


def test_events_are_of_the_time_since_the_frame_before() -> None:
    seen = looked(FrameTracker(SMALL))
    assert sum(map(len, seen)) > 100
    for n, events in enumerate(seen):
        if len(events):
            assert events["t"].min() > (n - 1) * FRAME_US - STEP_US
            assert events["t"].max() <= n * FRAME_US


def test_the_drawing_fills_its_share_in_the_middle() -> None:
    events = np.concatenate(looked(FrameTracker(SMALL), 30))
    assert events["x"].mean() == pytest.approx(16.5, abs=3)
    assert events["y"].mean() == pytest.approx(16.5, abs=4)
    assert np.ptp(events["y"]) >= 18


@pytest.mark.parametrize(("pause_us", "anew"), [(LONGEST_US, False), (LONGEST_US + 1, True)])
def test_a_pause_that_is_too_long_begins_anew(pause_us: int, anew: bool) -> None:
    eye = FrameTracker(SMALL)
    looked(eye)
    last = 11 * FRAME_US
    events = eye.push(INK, last + pause_us)
    if anew:
        assert not len(events) or events["t"].min() > last + pause_us - STEP_US
    else:
        assert events["t"].min() < last + pause_us // 2


def test_time_that_steps_back_begins_anew() -> None:
    eye = FrameTracker(SMALL)
    looked(eye, first_us=1_000_000)
    events = eye.push(INK, 500_000)
    assert not len(events) or events["t"].max() <= 500_000
    assert sum(map(len, looked(eye, first_us=533_000))) > 100


def test_other_pixels_on_request() -> None:
    eye = FrameTracker(SMALL)
    before = eye._emulator.params
    assert before == PIXELS
    eye.retune(None, None)
    assert eye._emulator.params == before
    eye.retune(2 * PixelModel().threshold_on, None)
    tuned = eye._emulator.params
    assert (tuned.threshold_on, tuned.threshold_off) == pytest.approx(
        (2 * PIXELS.threshold_on, 2 * PIXELS.threshold_off)
    )
    assert tuned.noise_hz == before.noise_hz
    eye.retune(None, 7.0)
    assert eye._emulator.params.noise_hz == 7.0
    assert eye._emulator.params.threshold_on == tuned.threshold_on


def test_higher_thresholds_see_less() -> None:
    plain, dull = FrameTracker(SMALL), FrameTracker(SMALL)
    dull.retune(4 * PixelModel().threshold_on, None)
    assert sum(map(len, looked(dull))) < 0.8 * sum(map(len, looked(plain)))


def test_an_eye_forgets_what_it_no_longer_sees() -> None:
    eye = FrameTracker(SMALL)
    looked(eye)
    held = eye._drawing
    assert held is not None
    assert len(eye.push(PAGE, 400_000)) > 0, "for a while it is looked at still"
    assert eye._drawing is held
    assert len(eye.push(PAGE, 363_000 + FORGOTTEN_US + 1)) == 0
    assert (eye._drawing, eye._emulator.state, eye.window) == (None, None, None)


def test_a_new_frame_has_so_much_weight() -> None:
    eye = FrameTracker(SMALL)
    eye.push(INK, 0)
    first = eye._drawing
    thick = cv2.dilate(255 - INK, np.ones((5, 5), np.uint8))
    eye.push(255 - np.asarray(thick, np.uint8), 33_000)
    found = find_drawing(255 - np.asarray(thick, np.uint8))
    assert found is not None
    assert first is not None
    assert eye._drawing == pytest.approx(0.7 * first + 0.3 * centred(found.ink * 255), abs=0.01)


def test_what_barely_looks_like_a_drawing_is_held_but_not_taken_up() -> None:
    faint = np.where(INK == 30, 160, INK).astype(np.uint8)
    barely = find_drawing(faint)
    assert barely is not None
    assert barely.likeness < CLEAR
    eye = FrameTracker(SMALL)
    frames = round(2 * FORGOTTEN_US / FRAME_US)
    for n in range(frames):
        assert not len(eye.push(faint, n * FRAME_US))
    assert eye.window is None
    eye.push(INK, frames * FRAME_US)
    held = eye.window
    assert held is not None
    for n in range(frames + 1, 2 * frames):
        eye.push(faint, n * FRAME_US)
    assert eye.window == held
