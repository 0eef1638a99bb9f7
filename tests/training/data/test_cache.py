"""What is kept on disk: found again by its key, written whole or not at all."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import write_recording
from spikesight.models.classifier import InputPipeline
from spikesight.models.contract import Card, Contract
from spikesight.training.config import TrainConfig
from spikesight.training.data.cache import bin_items, binned, cached, contract_key, noisy, sample_shape
from spikesight.training.data.sets import Item
from tests.support.inputs.samples import random_events

SENSOR = SensorSize(34, 34)
CONTRACT = Contract(
    kind="events", channels=2, height=8, width=9, steps=3, encoding="binary", sensor_width=34, sensor_height=34,
    bin_us=1000,
)  # fmt: skip


def samples(n: int = 3) -> Iterator[np.ndarray]:
    for number in range(n):
        yield np.full((2, 2), number, np.uint8)


def never() -> Iterator[np.ndarray]:
    raise AssertionError("it lies on disk")
    yield


def test_the_same_key_is_read_and_another_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    first = cached(folder, {"k": 1, "l": [2]}, 3, (2, 2), samples(), "binning")
    assert first[:, 0, 0].tolist() == [0, 1, 2]
    assert np.array_equal(cached(folder, {"l": [2], "k": 1}, 3, (2, 2), never(), "binning"), first)
    cached(folder, {"k": 2}, 3, (2, 2), samples(), "binning")
    assert len(list(folder.iterdir())) == 2


def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield from samples(2)
        raise ValueError("a broken file")

    with pytest.raises(ValueError, match="a broken file"):
        cached(tmp_path, {}, 3, (2, 2), broken(), "binning")
    assert not list(tmp_path.iterdir())
    assert len(cached(tmp_path, {}, 3, (2, 2), samples(), "binning")) == 3


def test_whatever_changes_the_frames_is_in_the_key() -> None:
    assert contract_key(CONTRACT) == [3, 1000, 8, 9, "binary", 0], "what earlier versions kept is found"
    changes = {
        "steps": 4, "bin_us": 2000, "height": 9, "width": 8, "encoding": "count", "filter_us": 10, "frame": "object",
        "window": "drawing", "pooled": True,
    }  # fmt: skip
    keys = [contract_key(replace(CONTRACT, **{name: value})) for name, value in changes.items()]
    assert len({str(key) for key in (contract_key(CONTRACT), *keys)}) == len(changes) + 1
    assert sample_shape(CONTRACT) == (3, 2, 8, 9)


def test_a_finer_sensors_events_are_summed_in_training_as_before_the_model() -> None:
    sensor, pooled = SensorSize(36, 32), replace(CONTRACT, pooled=True, sensor_width=36, sensor_height=32)
    events = random_events(4000, sensor)
    stream = list(InputPipeline(Card(pooled, ("a", "b")), sensor).stream(np.array_split(events, 7)))
    made = binned(events, sensor, stream[0].start_us, pooled)
    np.testing.assert_array_equal(made, [given.x for given in stream[:3]])
    plain = binned(events, sensor, stream[0].start_us, replace(pooled, pooled=False))
    assert 0 < made.sum() < plain.sum() / 2
    small = SensorSize(17, 15)  # not twice as fine: as it is
    events = random_events(500, small)
    kept = binned(events, small, 0, pooled)
    np.testing.assert_array_equal(kept, binned(events, small, 0, replace(pooled, pooled=False)))


def test_copies_windows_noise_and_changed_files_are_kept_apart(tmp_path: Path) -> None:
    path, noise = tmp_path / "a.npz", TrainConfig(noise_hz=2000.0, hot=0.25)
    write_recording(path, random_events(2000, SENSOR), SENSOR)
    whole, part = Item(path, 0), Item(path, 1, begin_us=500, length_us=3000)

    def kept(items: list[Item], *how: Any) -> np.ndarray:
        first = bin_items(items, CONTRACT, tmp_path / "cache", "binning", *how)
        again = bin_items(items, CONTRACT, tmp_path / "other", "binning", *how)
        assert np.array_equal(first.frames, again.frames), "what was kept is what would be made"
        assert first.labels.tolist() == [item.label for item in items]
        return np.array(first.frames)

    made = [kept([whole]), kept([part]), kept([replace(part, begin_us=4000)])]
    made += [kept([whole] * 4, noise, copy) for copy in (0, 1)]
    made += [kept([whole] * 4, replace(noise, hot=0.5), 1)]
    write_recording(path, random_events(2001, SENSOR), SENSOR)
    made.append(kept([whole]))
    assert len({frames.tobytes() for frames in made}) == len(made)
    assert len({frames.tobytes() for frames in made[3]}) > 1, "each item has noise of its own"


def test_about_half_of_the_samples_get_noise() -> None:
    noise, events = TrainConfig(noise_hz=50.0), random_events(200, SENSOR)
    added = [len(noisy(events, SENSOR, noise, seed)) - len(events) for seed in range(40)]
    assert 10 <= sum(n == 0 for n in added) <= 30
    assert min(added) == 0
    assert len({n for n in added if n}) > 5, "each as much as its seed says"
    assert np.array_equal(noisy(events, SENSOR, noise, 3), noisy(events, SENSOR, noise, 3))
