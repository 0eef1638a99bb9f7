"""Motions as a webcam films them: what moves goes as its name says, before a ground as rich as a photograph."""

import cv2
import numpy as np
import pytest

from spikesight.encoders.emulator.filmed import cut, dead_leaves, filmed_recording
from spikesight.encoders.emulator.motions import MOTIONS, SENSOR
from spikesight.encoders.events import EventsError, SensorSize, check_events


@pytest.mark.parametrize("motion", MOTIONS)
def test_recordings_are_valid_repeatable_and_all_different(motion: str) -> None:
    first, again, other = (filmed_recording(motion, seed=s) for s in (5, 5, 6))
    check_events(first, SENSOR)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(other) > 0 or motion == "still"
    assert other["t"].max(initial=0) < 800_000


@pytest.mark.parametrize(
    ("motion", "axis", "sign"), [("left", "x", -1), ("right", "x", 1), ("up", "y", -1), ("down", "y", 1)]
)
def test_what_moves_goes_the_way_its_name_says(motion: str, axis: str, sign: int) -> None:
    way = []
    for seed in range(12):
        events = filmed_recording(motion, seed=seed)
        early, late = events[events["t"] < 250_000], events[events["t"] > 550_000]
        way.append(np.median(late[axis]) - np.median(early[axis]) if min(len(early), len(late)) else 0.0)
    assert np.mean(way) * sign > 2


def test_other_sensors_and_unknown_motions() -> None:
    sensor = SensorSize(48, 30)
    check_events(filmed_recording("push", sensor, seed=1), sensor)
    with pytest.raises(EventsError, match="no motion"):
        filmed_recording("sideways", seed=0)


def test_pictures_have_the_spectrum_of_photographs() -> None:
    """Amplitude falls about as 1 / f: 1.2 lies between white noise (0) and a picture without detail (2 and more)."""
    slopes = []
    for seed in range(6):
        picture = dead_leaves(128, 128, np.random.default_rng(seed)) - 100
        amplitude = np.abs(np.fft.fftshift(np.fft.fft2(picture * np.outer(np.hanning(128), np.hanning(128)))))
        y, x = np.mgrid[-64:64, -64:64]
        ring = np.round(np.hypot(x, y)).astype(int)
        mean = [amplitude[ring == r].mean() for r in (4, 24)]
        slopes.append(-np.log(mean[1] / mean[0]) / np.log(24 / 4))
    assert 0.8 < np.mean(slopes) < 1.8


def test_cut_outs_have_an_inside_and_an_outside() -> None:
    for seed in range(8):
        mask = cut(64, np.random.default_rng(seed))
        assert mask.shape == (64, 64)
        assert 0.02 < mask.mean() < 0.98
        assert mask[32, 32] > 0.9 or cv2.countNonZero((mask > 0.5).astype(np.uint8)) > 64
