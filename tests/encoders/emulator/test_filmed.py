"""Motions as a webcam films them: the scene moves as its name says, and much of the picture makes events."""

import cv2
import numpy as np
import pytest

from encoders.binning import bin_events
from encoders.emulator.filmed import cut, dead_leaves, filmed_recording
from encoders.emulator.motions import MOTIONS, SENSOR, motion_recording
from encoders.events import EventsError, SensorSize, check_events


@pytest.mark.parametrize("motion", MOTIONS)
def test_recordings_are_valid_repeatable_and_all_different(motion: str) -> None:
    first, again, other = (filmed_recording(motion, seed=s) for s in (5, 5, 6))
    check_events(first, SENSOR)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(first) > 0
    assert first["t"][-1] < 800_000


@pytest.mark.parametrize("seed", [16, 283, 1_000_013])
def test_a_still_scene_without_noise_has_events_too(seed: int) -> None:
    assert len(filmed_recording("still", seed=seed)) > 0


def test_a_film_lights_more_cells_than_a_drawing() -> None:
    def lit(events: np.ndarray) -> float:
        return float(bin_events(events, 0, 33_000, 24, SENSOR, (32, 32)).mean())

    films = np.mean([lit(filmed_recording("right", seed=s)) for s in range(6)])
    drawings = np.mean([lit(motion_recording("right", seed=s)) for s in range(6)])
    assert films > 2 * drawings


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
