"""Emulated cameras by name and by chance: of their size, and as many events as their pixels give."""

from dataclasses import replace

import numpy as np
import pytest

from spikesight.encoders.emulator.pixels import PixelModel
from spikesight.encoders.emulator.saccades import NMNIST, saccades
from spikesight.encoders.emulator.sensors import ASPECTS, CAMERAS, SIDES, Camera, random_camera
from spikesight.encoders.events import Events, SensorSize, check_events
from tests.support.inputs.samples import seven

SMALL = SensorSize(68, 68)


def before(camera: Camera) -> Events:
    """A digit before a camera's pixels, on a small sensor."""
    return saccades(seven(), SMALL, movement=replace(NMNIST, **camera.pixels()), seed=3)


@pytest.mark.parametrize("name", CAMERAS)
def test_every_camera_sees_a_digit(name: str) -> None:
    camera = replace(CAMERAS[name], size=SMALL)
    events = camera.heated(before(camera), seed=1)
    check_events(events, SMALL)
    assert len(events) > 1000
    PixelModel(**camera.pixels())  # of videos


def test_a_higher_threshold_gives_fewer_events_and_noise_more() -> None:
    camera = replace(CAMERAS["dvs128"], size=SMALL)
    calm = replace(camera, threshold_on=2 * camera.threshold_on, threshold_off=2 * camera.threshold_off)
    assert len(before(calm)) < 0.7 * len(before(camera))
    assert len(before(replace(camera, noise_hz=50))) > len(before(camera)) + 40 * 0.31 * 68 * 68


def test_random_cameras_differ_in_all_that_cameras_differ_in() -> None:
    cameras = [random_camera(np.random.default_rng(seed)) for seed in range(200)]
    assert random_camera(np.random.default_rng(7)) == cameras[7]
    widths = np.array([camera.size.width for camera in cameras])
    assert SIDES[0] <= widths.min() < 160
    assert 1000 < widths.max() <= SIDES[1]
    shapes = {round(camera.size.width / camera.size.height, 1) for camera in cameras}
    assert shapes == {round(aspect, 1) for aspect in ASPECTS}
    rates = [len(before(camera)) for camera in cameras[:12]]
    usual = len(before(CAMERAS["dvs128"]))
    assert min(rates) < 0.4 * usual
    assert max(rates) > 1.4 * usual
