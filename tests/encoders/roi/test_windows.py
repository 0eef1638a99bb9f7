"""Several windows in one stream: what is drawn before a camera, as frames and as events."""

import cv2
import numpy as np
import pytest

from spikesight.encoders.emulator.pixels import Emulator
from spikesight.encoders.events import Events, SensorSize, joined
from spikesight.encoders.roi.event_tracker import EventTracker
from spikesight.encoders.roi.frame_tracker import FrameTracker
from tests.support.inputs.filtered import kept_and_missed

CAMERA, SMALL = SensorSize(320, 240), SensorSize(34, 34)
FRAME_US = 33_000
PLACES = 4


def scene(n: int, light: bool = False) -> np.ndarray:
    """Two drawings that tremble, in grey; the third comes after a while."""
    paper = np.full((240, 320), 210, np.uint8)
    dx, dy = round(3 * np.sin(n * 0.9)), round(3 * np.cos(n * 1.3))
    for strokes in ([[60, 60], [100, 60], [75, 130]], [[200, 60], [250, 90], [200, 110], [250, 140]]):
        cv2.polylines(paper, [np.add(strokes, (dx, dy))], False, 40, 6)
    if n > 10:
        cv2.circle(paper, (150 + dx, 190 + dy), 20, 40, 6)
    return 250 - paper if light else paper


def film(frames: int) -> Events:
    eye = Emulator(CAMERA)
    return joined([eye.push(scene(n), n * FRAME_US) for n in range(frames)])


MIDDLES = [(80, 95), (225, 100), (150, 190)]  # of what is drawn


def near(windows: FrameTracker | EventTracker) -> set[int]:
    """Which of the drawings are followed; -1 for anything else."""
    boxes = windows.tracks.boxes[windows.tracks.ids > 0]
    apart = np.abs((boxes[:, :2] + boxes[:, 2:] / 2)[:, None] - np.array(MIDDLES)).max(2)
    return {int(row.argmin()) if row.min() < 12 else -1 for row in apart}


@pytest.mark.parametrize("light", [False, True])
def test_drawings_in_frames_are_followed_each_in_its_place(light: bool) -> None:
    windows = FrameTracker(SMALL, PLACES)
    events = joined([windows.push(scene(n, light), n * FRAME_US) for n in range(30)])
    assert near(windows) == {0, 1, 2}
    shown = {int(place) for place in np.flatnonzero(windows.tracks.ids)}
    assert {int(y) // SMALL.height for y in np.unique(events["y"])} == shown
    for place in shown:
        mine = events[events["y"] // SMALL.height == place]
        assert mine["x"].mean() == pytest.approx(16.5, abs=3.5)
        assert (mine["y"] - place * SMALL.height).mean() == pytest.approx(17, abs=4.5)


def test_drawings_before_an_event_camera_are_followed_each_in_its_place() -> None:
    windows = EventTracker(CAMERA, SMALL, PLACES, drawn=True)
    seen, _ = kept_and_missed(windows, film(40))
    assert {0, 1} <= near(windows)
    assert len(seen)
    assert seen["y"].max() < PLACES * SMALL.height
    assert seen["x"].max() < SMALL.width


def going(n: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Two drawings that go past each other, in grey, and their middles."""
    paper, middles = np.full((240, 320), 210, np.uint8), [(50 + 2 * n, 70), (270 - 2 * n, 170)]
    forms = [[-20, -30], [20, -30], [-5, 30]], [[20, -30], [-20, 10], [20, 10], [10, 30]]
    for middle, strokes in zip(middles, forms):
        cv2.polylines(paper, [np.add(strokes, middle)], False, 40, 6)
    return paper, middles


def test_what_goes_past_an_event_camera_is_followed_without_its_trail() -> None:
    windows, eye = EventTracker(CAMERA, SMALL, PLACES, drawn=True), Emulator(CAMERA)
    followed = set[tuple[int, ...]]()
    for n in range(70):
        paper, middles = going(n)
        kept_and_missed(windows, eye.push(paper, n * FRAME_US))
        if n >= 40:
            boxes = windows.tracks.boxes
            apart = np.abs(boxes[:, None, :2] + boxes[:, None, 2:] / 2 - middles).max(2)
            assert apart.min(0).max() < 12
            places = apart.argmin(0)
            assert boxes[places, 2:] == pytest.approx(np.full((2, 2), (46, 66)), abs=14)
            followed.add(tuple(windows.tracks.ids[places].tolist()))
    assert len(followed) == 1


def cuts(events: Events) -> list[tuple[str, list[Events]]]:
    return [("by tens", np.array_split(events, len(events) // 10)), ("in two", np.split(events, [len(events) // 3]))]


def test_any_cutting_of_events_gives_the_same() -> None:
    events = film(24)
    whole = EventTracker(CAMERA, SMALL, PLACES, drawn=True)
    kept, missed = kept_and_missed(whole, events)
    for name, packets in cuts(events):
        other = EventTracker(CAMERA, SMALL, PLACES, drawn=True)
        parts = [kept_and_missed(other, packet) for packet in packets]
        np.testing.assert_array_equal(joined([part for part, _ in parts]), kept, name)
        np.testing.assert_array_equal(np.concatenate([times for _, times in parts]), missed, name)
        np.testing.assert_array_equal(other.tracks.boxes, whole.tracks.boxes, name)
