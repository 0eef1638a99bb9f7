"""Events of a webcam's frames: of which time and which drawing they are, what is held and dropped."""

import cv2
import numpy as np
import pytest

from spikesight.encoders.events import SensorSize, joined
from spikesight.encoders.preprocess.drawing import find_drawing
from spikesight.encoders.roi.frame_tracker import CLEAR, LONGEST_US, STEP_US, FrameTracker
from spikesight.encoders.roi.tracks import FORGOTTEN_US

SMALL = SensorSize(34, 34)
PAGE = np.full((120, 160), 210, np.uint8)
INK = cv2.polylines(PAGE.copy(), [np.array([[60, 35], [100, 35], [75, 90]])], False, 30, 6).astype(np.uint8)
FRAME_US = 33_000


def events_of(tracker: FrameTracker, frames: int = 12, first_us: int = 0) -> list[np.ndarray]:
    return [tracker.push(INK, first_us + n * FRAME_US) for n in range(frames)]


def test_events_are_of_the_time_since_the_frame_before() -> None:
    seen = events_of(FrameTracker(SMALL))
    assert sum(map(len, seen)) > 100
    for n, events in enumerate(seen):
        if len(events):
            assert events["t"].min() > (n - 1) * FRAME_US - STEP_US
            assert events["t"].max() <= n * FRAME_US


@pytest.mark.parametrize(("pause_us", "anew"), [(LONGEST_US, False), (LONGEST_US + 1, True)])
def test_a_pause_that_is_too_long_begins_anew(pause_us: int, anew: bool) -> None:
    tracker = FrameTracker(SMALL)
    events_of(tracker)
    last = 11 * FRAME_US
    events = tracker.push(INK, last + pause_us)
    if anew:
        assert not len(events) or events["t"].min() > last + pause_us - STEP_US
    else:
        assert events["t"].min() < last + pause_us // 2


def test_a_drawing_that_is_gone_is_held_as_long_as_it_was_followed() -> None:
    tracker = FrameTracker(SMALL)
    events_of(tracker, 13)
    held = tracker.tracks.window
    assert len(tracker.push(PAGE, 12 * FRAME_US + 390_000)) > 0, "for a while it is held"
    assert tracker.tracks.window == held
    assert not len(tracker.push(PAGE, 24 * FRAME_US + 1))
    assert tracker.tracks.window is None


def test_what_barely_looks_like_a_drawing_is_held_but_not_taken_up() -> None:
    faint = np.where(INK == 30, 160, INK).astype(np.uint8)
    barely = find_drawing(faint)
    assert barely is not None
    assert barely.likeness < CLEAR
    tracker = FrameTracker(SMALL)
    frames = round(2 * FORGOTTEN_US / FRAME_US)
    for n in range(frames):
        assert not len(tracker.push(faint, n * FRAME_US))
    assert tracker.tracks.window is None
    tracker.push(INK, frames * FRAME_US)
    tracker.push(INK, (frames + 1) * FRAME_US)
    held = tracker.tracks.ids[0]
    for n in range(frames + 2, 2 * frames):
        tracker.push(faint, n * FRAME_US)
    assert tracker.tracks.ids[0] == held > 0


MIDDLES = [(80, 95), (225, 100), (150, 190)]  # of what is drawn in `scene`


def scene(n: int, light: bool = False) -> np.ndarray:
    """Two drawings that tremble, in grey; the third comes after a while."""
    paper = np.full((240, 320), 210, np.uint8)
    dx, dy = round(3 * np.sin(n * 0.9)), round(3 * np.cos(n * 1.3))
    for strokes in ([[60, 60], [100, 60], [75, 130]], [[200, 60], [250, 90], [200, 110], [250, 140]]):
        cv2.polylines(paper, [np.add(strokes, (dx, dy))], False, 40, 6)
    if n > 10:
        cv2.circle(paper, (150 + dx, 190 + dy), 20, 40, 6)
    return 250 - paper if light else paper


@pytest.mark.parametrize("light", [False, True])
def test_several_drawings_are_followed_each_in_its_place(light: bool) -> None:
    windows = FrameTracker(SMALL, 4)
    events = joined([windows.push(scene(n, light), n * FRAME_US) for n in range(30)])
    shown = np.flatnonzero(windows.tracks.ids)
    boxes = windows.tracks.boxes[shown]
    apart = np.abs((boxes[:, :2] + boxes[:, 2:] / 2)[:, None] - np.array(MIDDLES)).max(2)
    assert set(apart.argmin(1).tolist()) == {0, 1, 2}
    assert apart.min(1).max() < 12
    assert set((events["y"] // SMALL.height).tolist()) == set(shown.tolist())
    for place in shown.tolist():
        mine = events[events["y"] // SMALL.height == place]
        assert mine["x"].mean() == pytest.approx(16.5, abs=3.5)
        assert (mine["y"] - place * SMALL.height).mean() == pytest.approx(17, abs=4.5)
