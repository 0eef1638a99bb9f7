"""What is kept on disk: found again by its key, written whole or not at all."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesight.encoders.events import SensorSize, make_events
from spikesight.models.contract import Contract
from spikesight.training.config import TrainConfig
from spikesight.training.data import cache
from spikesight.training.data.cache import (
    bin_items,
    cached,
    contract_key,
    file_stamps,
    join,
    noisy,
    sample_shape,
    shown_images,
)
from spikesight.training.data.sets import Frames, Item
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
    first = cached(folder, {"k": 1}, 3, (2, 2), samples(), "binning")
    assert first[:, 0, 0].tolist() == [0, 1, 2]
    assert np.array_equal(cached(folder, {"k": 1}, 3, (2, 2), never(), "binning"), first)
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
    keys = [contract_key(CONTRACT)]
    assert keys == [[3, 1000, 8, 9, "binary", 0]], "what earlier versions kept is found"
    changes = {
        "steps": 4,
        "bin_us": 2000,
        "height": 9,
        "width": 8,
        "encoding": "count",
        "filter_us": 10,
        "frame": "object",
        "window": "drawing",
    }
    for name, value in changes.items():
        keys.append(contract_key(replace(CONTRACT, **{name: value})))
    assert len({str(key) for key in keys}) == len(changes) + 1
    assert sample_shape(CONTRACT) == (3, 2, 8, 9)


def test_copies_windows_and_noise_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[dict[str, Any]] = []
    monkeypatch.setattr(cache, "cached", lambda _, key, *__: keys.append(key) or np.zeros(1))
    (tmp_path / "a").touch()
    noise = TrainConfig(noise_hz=0.5, hot=0.25)
    whole, part = Item(tmp_path / "a", 0), Item(tmp_path / "a", 1, begin_us=70, length_us=300)
    assert bin_items([whole, part], CONTRACT, tmp_path, "binning").labels.tolist() == [0, 1]
    bin_items([whole], CONTRACT, tmp_path, "binning")
    bin_items([whole], CONTRACT, tmp_path, "binning", noise)
    bin_items([whole], CONTRACT, tmp_path, "binning", replace(noise, hot=0.5), 1)
    assert [key.get("windows") for key in keys] == [[(70, 300)], None, None, None]
    assert [key.get("copy") for key in keys] == [None, None, [0, 0.5, 0.25], [1, 0.5, 0.5]]
    assert all(key["contract"] == contract_key(CONTRACT) for key in keys)
    assert keys[1]["items"] == file_stamps([whole])


def test_a_numbered_copy_has_noise_of_its_own_for_each_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, seeds = make_events([5, 900], [1, 2], [1, 2], [1, 1]), list[int]()
    pieces = [(made, SensorSize(9, 8), None), (made[:0], SensorSize(9, 8), None), (made, SensorSize(9, 8), 0)]
    monkeypatch.setattr(cache, "_pieces", lambda _: iter(pieces))
    monkeypatch.setattr(cache, "noisy", lambda events, _, __, seed: seeds.append(seed) or events)
    starts: list[int] = []
    monkeypatch.setattr(cache, "binned", lambda _, __, start, ___: starts.append(start) or np.zeros(1))
    monkeypatch.setattr(cache, "cached", lambda *given: [*given[4]])
    monkeypatch.setattr(cache, "file_stamps", lambda _: [])
    items = [Item(tmp_path / str(n), 0) for n in range(3)]
    for noise, copy in ((None, 0), (TrainConfig(), 0), (TrainConfig(), 2)):
        bin_items(items, CONTRACT, tmp_path, "binning", noise, copy)
    assert starts == [5, 0, 0] * 3
    assert seeds == [0, 1, 2, 6, 7, 8]


def test_a_file_that_was_changed_is_another(tmp_path: Path) -> None:
    item = Item(tmp_path / "a", 0)
    stamps = []
    for data in (b"x", b"xy"):
        item.path.write_bytes(data)
        stamps += file_stamps([item])
    assert stamps[0] != stamps[1]
    assert stamps[0][:2] == (str(tmp_path / "a"), 1)


def test_about_half_of_the_samples_get_noise() -> None:
    noise = TrainConfig(noise_hz=50.0)
    events = random_events(200, SENSOR)
    added = [len(noisy(events, SENSOR, noise, seed)) - len(events) for seed in range(40)]
    assert 10 <= sum(n == 0 for n in added) <= 30
    assert min(added) == 0
    assert len({n for n in added if n}) > 5, "each as much as its seed says"
    assert np.array_equal(noisy(events, SENSOR, noise, 3), noisy(events, SENSOR, noise, 3))


def test_recordings_name_the_images_that_they_show() -> None:
    assert shown_images(["0/00001.bin", "0/60000.bin", "other.bin"]) == {0, 59_999}


def test_sets_are_joined_in_their_order(tmp_path: Path) -> None:
    parts = [
        Frames(cached(tmp_path, {"n": n}, n, (2, 2), samples(n), "binning"), np.arange(n) + 10 * n) for n in (2, 3)
    ]
    joined = join(parts, tmp_path)
    assert joined.labels.tolist() == [20, 21, 30, 31, 32]
    assert joined.frames[:, 0, 0].tolist() == [0, 1, 0, 1, 2]


def test_what_is_kept_is_found_by_later_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(np.memmap, "flush", lambda _: flushed.append(1))
    for key in ({"a": 1, "b": [2]}, {"b": [2], "a": 1}):
        cached(tmp_path, key, 3, (2, 2), samples(), "binning")
    (file,) = tmp_path.iterdir()
    text = json.dumps([1, {"a": 1, "b": [2]}])
    assert file.name == hashlib.sha256(text.encode()).hexdigest()[:20] + ".npy"
    assert flushed == [1], "on the disk before it has its name"
