"""Saccades: like the recordings of N-MNIST."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spikesight.encoders.emulator.saccades import NMNIST, saccades
from spikesight.encoders.events import Events
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
