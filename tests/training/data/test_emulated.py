"""Digits on paper before a camera as samples: what the live window passes of them, while it holds the digit."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from spikesight.encoders.events import SensorSize
from spikesight.encoders.roi.window import SHARE, Window
from spikesight.models.contract import Contract
from spikesight.training.config import TrainConfig
from spikesight.training.data import emulated
from spikesight.training.data.emulated import INK, NEAR, WINDOWS, film_outliers, film_paper_clips, holds_drawing
from spikesight.training.data.sets import Frames
from tests.support.inputs.data_sets import idx

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
    ("right", "down", "large", "held"),
    [
        (0, 0, 0.61, True), (0, 0, 0.59, False), (0, 0, 1.49, True), (0, 0, 1.51, False), (0.99, 0, 1, True),
        (1.01, 0, 1, False), (-0.99, 0, 1, True), (-1.01, 0, 1, False), (0, 0.99, 1, True), (0, -1.01, 1, False),
    ],
)  # fmt: skip
def test_a_window_may_be_a_little_off_and_somewhat_larger_or_smaller(
    right: float, down: float, large: float, held: bool
) -> None:
    sheet: Any = SimpleNamespace(desk=np.zeros((240, 320)), size=50.0)
    side = large * 50 * INK / SHARE
    off = NEAR * 50
    assert holds_drawing(Window(160 - side / 2 + right * off, 120 - side / 2 + down * off, side), sheet) == held


def test_images_are_emulated_in_their_order_without_those_that_are_shown_elsewhere(config: TrainConfig) -> None:
    wanted = replace(config, emulated_count=3, noise_hz=2.0)
    made = emulated.emulate_mnist(wanted, CONTRACT, frozenset({0, 2}))
    assert made.labels.tolist() == [1, 3, 4]
    image = emulated.read_idx(Path(config.root) / "train-images-idx3-ubyte")[0]
    for frames, seed in zip(made.frames, (1, 3, 4)):
        events = emulated.saccade_events(image, SMALL, "digit", seed=seed)
        events = emulated.make_input_filter(SMALL, CONTRACT)(emulated.noisy(events, SMALL, wanted, seed))
        expected = emulated.encoder_for(CONTRACT, SMALL)(events)[:, 0]
        np.testing.assert_array_equal(frames, expected)


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
