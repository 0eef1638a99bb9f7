"""Saccades: like the recordings of N-MNIST."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.common.handheld import texture
from spikesight.encoders.emulator.saccades import NMNIST, saccade_events, saccades
from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.recordings.files import read_recording


def frames_of(events: Events) -> NDArray[np.float64]:
    out = np.zeros((32, 2, 34, 34))
    np.add.at(out, (np.minimum(events["t"] // 10_000, 31), events["p"].astype(int), events["y"], events["x"]), 1)
    return out


def test_a_more_sensitive_camera_sends_more_from_everywhere() -> None:
    image = np.random.default_rng(0).integers(0, 256, (28, 28)).astype(np.uint8)
    rows = [
        np.bincount(saccades(image, movement=replace(NMNIST, threshold_on=at, threshold_off=at))["y"], minlength=34)
        for at in (0.2, 0.1, 0.05)
    ]
    assert all((more > fewer).all() for fewer, more in pairwise(row[4:30] for row in rows))


def test_saccades_resemble_the_recordings(shared_data: Callable[[str], Path]) -> None:
    files = sorted(shared_data("nmnist/Train").glob("*/*.bin"))[::40]
    raw = gzip.decompress(shared_data("mnist/train-images-idx3-ubyte.gz").read_bytes())
    images = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)
    ratios, maps, films = [], [], []
    for path in files:
        real = read_recording(path).events
        made = saccades(images[int(path.stem) - 1], seed=int(path.stem))
        ratios.append(len(made) / len(real))
        first, second = frames_of(real), frames_of(made)
        maps.append(np.corrcoef(first.sum((0, 1)).ravel(), second.sum((0, 1)).ravel())[0, 1])
        films.append(np.corrcoef(first.ravel(), second.ravel())[0, 1])
        assert abs(float(real["p"].mean()) - float(made["p"].mean())) < 0.06
    assert np.mean(ratios) == pytest.approx(1, abs=0.06)
    assert np.std(ratios) < 0.1
    assert np.mean(maps) > 0.93
    assert np.mean(films) > 0.5


def test_light_on_dark_is_seen_as_ink_on_paper_and_a_photograph_as_it_is() -> None:
    drawn, photograph = np.full((64, 64), 240, np.uint8), texture((64, 64), np.random.default_rng(3))
    drawn[20:44, 30:36] = 10
    ink, light = (saccade_events(picture, SensorSize(64, 64), "plain") for picture in (drawn, 255 - drawn))
    assert len(ink) == len(light)
    assert (ink["x"] == light["x"]).mean() > 0.99, "but for the rounding of real numbers"
    seen = saccade_events(photograph, SensorSize(64, 64), "plain")
    assert np.array_equal(seen, saccades(photograph, SensorSize(64, 64), movement=replace(NMNIST, inverted=False)))
