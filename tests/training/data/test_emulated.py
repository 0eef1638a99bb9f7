"""Digits on paper before a camera as samples, drawings near them, and what is kept of samples on disk."""

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import write_recording
from spikesight.models.classifier import InputPipeline
from spikesight.models.contract import Card, Contract
from spikesight.training.config import TrainConfig
from spikesight.training.data import emulated
from spikesight.training.data.cache import bin_items, binned, cached, contract_key, sample_shape
from spikesight.training.data.emulated import WINDOWS, film_outliers, film_paper_clips
from spikesight.training.data.sets import Frames, Item
from tests.support.inputs.data_sets import idx
from tests.support.inputs.samples import random_events

SMALL = SensorSize(34, 34)
CONTRACT = Contract(
    kind="events", channels=2, height=34, width=34, steps=10, encoding="binary", sensor_width=34, sensor_height=34,
    bin_us=31_000, filter_us=2_000, window="drawing",
)  # fmt: skip


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """Of a folder with ten images of sevens and their labels."""
    root = tmp_path_factory.mktemp("mnist")
    image = np.zeros((28, 28), np.uint8)
    cv2.polylines(image, [np.array([[7, 5], [20, 5], [12, 23]])], False, 255, 3)
    (root / "train-images-idx3-ubyte").write_bytes(idx(np.repeat(image[None], 10, 0)))
    (root / "train-labels-idx1-ubyte").write_bytes(idx(np.arange(10, dtype=np.uint8)))
    return TrainConfig(root=str(root), cache=str(root / "cache"))


@pytest.fixture(scope="module")
def films(config: TrainConfig) -> list[Frames]:
    return film_paper_clips(config, CONTRACT, frozenset({9}), range(6))


def test_half_of_the_clips_is_a_webcams_and_half_an_event_cameras(films: list[Frames]) -> None:
    webcam, camera = films
    assert set(webcam.labels) <= {7, 5, 3}
    assert set(camera.labels) <= {8, 6, 4}, "from the last image down, but that left out"
    for film in films:
        assert 0 < len(film) <= 3 * WINDOWS
        assert film.frames.shape[1:] == (10, 2, 34, 34)
        assert (film.frames.reshape(len(film), 10, -1).any(2).sum(1) > 5).all(), "windows that show something"


@pytest.mark.parametrize(
    ("wishes", "contract", "left_out"),
    [
        ({"noise_hz": 40.0}, CONTRACT, frozenset({9})),
        ({}, replace(CONTRACT, filter_us=0), frozenset({9})),
        ({}, replace(CONTRACT, sensor_width=40, sensor_height=40), frozenset({9})),
        ({}, CONTRACT, frozenset({0})),
    ],
)
def test_what_was_kept_of_other_wishes_is_not_what_is_given(
    wishes: dict[str, Any], contract: Contract, left_out: frozenset[int], config: TrainConfig, tmp_path: Path
) -> None:
    before = replace(config, emulated_count=3, cache=str(tmp_path / "shared"))
    kept = emulated.emulate_mnist(before, CONTRACT, frozenset({9}))
    after = replace(before, **wishes)
    alone = emulated.emulate_mnist(replace(after, cache=str(tmp_path / "own")), contract, left_out)
    assert not np.array_equal(alone.frames, kept.frames)
    np.testing.assert_array_equal(emulated.emulate_mnist(after, contract, left_out).frames, alone.frames)


@pytest.mark.parametrize("image", [7, 8])
def test_a_clip_shows_the_digit_as_the_live_window_does(image: int, config: TrainConfig, films: list[Frames]) -> None:
    """The mean picture of its windows is the digit, much as the image has it, and not its paper's outline."""
    film = films[(image + 1) % 2]
    shown = np.asarray(film.frames)[film.labels == image].max(2).mean((0, 1))
    ink = cv2.resize(emulated.read_idx(Path(config.root) / "train-images-idx3-ubyte")[image], (34, 34)) > 64
    near = cv2.dilate(ink.astype(np.uint8), np.ones((5, 5))) > 0
    assert shown[near].mean() > 5 * shown[~near].mean()


def test_sheets_without_digits_are_filmed_wherever_the_window_looks(config: TrainConfig) -> None:
    frame = np.zeros((3, 28, 28), np.uint8)
    cv2.line(frame[0], (4, 24), (24, 4), 255, 3)
    cv2.line(frame[0], (4, 4), (24, 24), 255, 3)
    made = film_outliers(frame, config, CONTRACT)
    assert 0 < len(made) <= 3 * WINDOWS
    assert made.shape[1:] == (10, 2, 34, 34)
    assert (made.reshape(len(made), 10, -1).any(2).sum(1) > 5).all(), "windows that show something"


def test_images_set_aside_are_for_other_cameras_alone(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulated, "SET_ASIDE", range(4, 9))
    made = emulated.emulate_mnist(replace(config, emulated_count=10), CONTRACT, frozenset())
    assert made.labels.tolist() == [0, 1, 2, 3, 9]
    clips = emulated.film_paper_clips(replace(config, cache=config.cache + "-3"), CONTRACT, frozenset({9}), range(3))
    assert set(clips[0].labels) | set(clips[1].labels) <= {1, 2, 3}
    takes = emulated.other_digits(Path(config.root), frozenset({5}), 2)
    assert [label for _, label in takes] == [4, 6, 7, 8]
    made = [read()[0] for read, _ in takes]
    assert len({len(events) for events in made}) == 4, "one image, before other cameras"
    np.testing.assert_array_equal(made[0], takes[0][0]()[0])
    usual = len(
        emulated.saccade_events(emulated.read_idx(Path(config.root) / "train-images-idx3-ubyte")[0], SMALL, "digit")
    )
    assert all(0.3 * usual < len(events) < 3 * usual for events in made)
    assert emulated.other_digits(Path(config.root), frozenset(range(10)), 2) == []


SENSOR = SensorSize(34, 34)
TINY = Contract(
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


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system does not take room beforehand")
def test_a_full_disk_is_an_error_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int, begin: int, count: int) -> None:
        assert begin == 0
        assert count >= 3 * 4
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        cached(tmp_path, {}, 3, (2, 2), never(), "binning")
    assert not list(tmp_path.iterdir())


def test_whatever_changes_the_frames_is_in_the_key() -> None:
    changes = {
        "steps": 4, "bin_us": 2000, "height": 9, "width": 8, "encoding": "count", "filter_us": 10, "frame": "object",
        "window": "drawing", "pooled": True,
    }  # fmt: skip
    keys = [contract_key(replace(TINY, **{name: value})) for name, value in changes.items()]
    assert len({str(key) for key in (contract_key(TINY), *keys)}) == len(changes) + 1
    assert sample_shape(TINY) == (3, 2, 8, 9)


def test_a_finer_sensors_events_are_summed_in_training_as_before_the_model() -> None:
    sensor, pooled = SensorSize(36, 32), replace(TINY, pooled=True, sensor_width=36, sensor_height=32)
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
    path, noise = tmp_path / "a.npz", TrainConfig(noise_hz=2000.0)
    write_recording(path, random_events(2000, SENSOR), SENSOR)
    whole, part = Item(path, 0), Item(path, 1, begin_us=500, length_us=3000)

    def kept(items: list[Item], *how: Any) -> np.ndarray:
        first = bin_items(items, TINY, tmp_path / "cache", "binning", *how)
        again = bin_items(items, TINY, tmp_path / "other", "binning", *how)
        assert np.array_equal(first.frames, again.frames), "what was kept is what would be made"
        assert first.labels.tolist() == [item.label for item in items]
        return np.array(first.frames)

    made = [kept([whole]), kept([part]), kept([replace(part, begin_us=4000)])]
    made += [kept([whole] * 4, noise, copy) for copy in (0, 1)]
    made += [kept([whole] * 4, replace(noise, noise_hz=500.0), 1)]
    write_recording(path, random_events(2001, SENSOR), SENSOR)
    made.append(kept([whole]))
    assert len({frames.tobytes() for frames in made}) == len(made)
    assert len({frames.tobytes() for frames in made[3]}) > 1, "each item has noise of its own"
