"""Digits on paper before a camera as samples: what the live gaze leaves of them, while it holds the digit."""

import cv2
import numpy as np
import pytest

from encoders.events import SensorSize
from encoders.gaze.window import SHARE, Window
from tests.support.inputs.data_sets import idx
from training.config import TrainConfig
from training.data.emulated import INK, WINDOWS, film_sheets, holds
from training.data.sets import Frames

SMALL = SensorSize(34, 34)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """Of a folder with ten images of sevens and their labels."""
    root = tmp_path_factory.mktemp("mnist")
    image = np.zeros((28, 28), np.uint8)
    cv2.polylines(image, [np.array([[7, 5], [20, 5], [12, 23]])], False, 255, 3)
    (root / "train-images-idx3-ubyte").write_bytes(idx(np.repeat(image[None], 10, 0)))
    (root / "train-labels-idx1-ubyte").write_bytes(idx(np.arange(10, dtype=np.uint8)))
    return TrainConfig.of(
        root=str(root), cache=str(root / "cache"), steps=10, bin_us=31_000, height=34, width=34,
        encoding="binary", filter_us=2_000, window="drawing",
    )  # fmt: skip


@pytest.fixture(scope="module")
def films(config: TrainConfig) -> list[Frames]:
    return film_sheets(config, SMALL, frozenset({9}), range(6))


def test_half_of_the_clips_is_a_webcams_and_half_an_event_cameras(films: list[Frames]) -> None:
    webcam, camera = films
    assert set(webcam.labels) <= {7, 5, 3}
    assert set(camera.labels) <= {8, 6, 4}, "from the last image down, but that left out"
    for film in films:
        assert 0 < len(film) <= 3 * WINDOWS
        assert film.frames.shape[1:] == (10, 2, 34, 34)
        assert (film.frames.reshape(len(film), 10, -1).any(2).sum(1) > 5).all(), "windows that show something"


def test_other_clips_are_other_images_and_the_same_ones_the_same_films(
    config: TrainConfig, films: list[Frames]
) -> None:
    fresh = film_sheets(config, SMALL, frozenset({9}), range(6, 8))
    assert set(fresh[0].labels) | set(fresh[1].labels) <= {2, 1}
    again = film_sheets(config.replaced(cache=config.cache + "-2"), SMALL, frozenset({9}), range(2))
    assert np.array_equal(again[1].frames, films[1].frames[: len(again[1])])


def test_a_window_counts_while_it_holds_the_digit() -> None:
    from encoders.emulator.sheets import draw_sheet

    sheet = draw_sheet(np.zeros((28, 28), np.uint8), SensorSize(320, 240), np.random.default_rng(0))
    side = sheet.size * INK / SHARE
    assert holds(Window(160 - side / 2, 120 - side / 2, side), sheet)
    assert not holds(None, sheet)
    assert not holds(Window(160 - side / 2 + sheet.size, 120 - side / 2, side), sheet), "it looks beside it"
    assert not holds(Window(160 - side, 120 - side, 2 * side), sheet), "it holds the whole sheet"
