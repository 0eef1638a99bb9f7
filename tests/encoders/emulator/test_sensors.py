"""Emulated cameras by name and by chance: of their size, and as many events as their pixels give."""

from dataclasses import replace

import numpy as np

from spikesight.encoders.emulator.saccades import NMNIST, saccades
from spikesight.encoders.emulator.sensors import ASPECTS, CAMERAS, SIDES, Camera, random_camera
from spikesight.encoders.events import Events, SensorSize
from tests.support.inputs.samples import seven

SMALL = SensorSize(68, 68)


def before(camera: Camera) -> Events:
    """A digit before a camera's pixels, on a small sensor."""
    return saccades(seven(), SMALL, movement=replace(NMNIST, **camera.pixels()), seed=3)


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
