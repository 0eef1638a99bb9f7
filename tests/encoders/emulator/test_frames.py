"""A webcam's frames, moved before an event camera's pixels."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikesight.encoders.emulator.frames import LONGEST_US, PARTS, STEP_US, MovedFrames, moved
from spikesight.encoders.events import SensorSize

FRAME = np.random.default_rng(0).integers(0, 256, (21, 34)).astype(np.uint8)


@given(st.integers(-40, 40), st.integers(-40, 40))
def test_a_frame_moved_by_whole_pixels_is_itself(x: int, y: int) -> None:
    rows, columns = (np.clip(np.arange(n) - way, 0, n - 1) for n, way in zip(FRAME.shape, (y, x)))
    assert np.array_equal(moved(FRAME, PARTS * x, PARTS * y), FRAME[rows[:, None], columns])


@given(st.integers(-300, 300), st.integers(-300, 300))
def test_between_pixels_it_is_opencv_s(x: int, y: int) -> None:
    way = np.array([[1, 0, x / PARTS], [0, 1, y / PARTS]], np.float32)
    theirs = cv2.warpAffine(FRAME, way, FRAME.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    assert np.abs(moved(FRAME, x, y).astype(int) - theirs).max() <= 1, "a grey value's rounding"


@pytest.mark.parametrize("pause", [LONGEST_US + 1, -1_000_000])
def test_what_holds_still_gives_events_and_none_of_a_pause(pause: int) -> None:
    eye = MovedFrames(SensorSize(64, 48))
    frame = np.full((96, 128), 200, np.uint8)
    frame[20:70, 40:50] = 30
    seen = [eye.push(frame, 1_000_000 + n * 33_000) for n in range(12)]
    assert sum(map(len, seen)) > 1000
    assert all(one["t"].min() >= 1_000_000 for one in seen[1:])
    later = 1_000_000 + 11 * 33_000 + pause
    assert not len(eye.push(frame, later))
    assert eye.begins(later + 1) == later
    assert eye.begins(later + LONGEST_US + 1) == later + LONGEST_US + 1 - STEP_US
