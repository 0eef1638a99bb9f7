"""Digits on paper before a camera as samples: what the live window passes of them, while it holds the digit."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.roi.window import NEAR, SHARE, Window
from spikesight.models.contract import Contract
from spikesight.training.config import TrainConfig
from spikesight.training.data import emulated
from spikesight.training.data.emulated import INK, WINDOWS, film_paper_clips, holds
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


def test_other_clips_are_other_images_and_the_same_ones_the_same_films(
    config: TrainConfig, films: list[Frames]
) -> None:
    fresh = film_paper_clips(config, CONTRACT, frozenset({9}), range(6, 8))
    assert set(fresh[0].labels) | set(fresh[1].labels) <= {2, 1}
    again = film_paper_clips(replace(config, cache=config.cache + "-2"), CONTRACT, frozenset({9}), range(2))
    assert np.array_equal(again[1].frames, films[1].frames[: len(again[1])])


def test_a_window_counts_while_it_holds_the_digit() -> None:
    from spikesight.encoders.emulator.handheld import draw_sheet

    sheet = draw_sheet(np.zeros((28, 28), np.uint8), SensorSize(320, 240), np.random.default_rng(0))
    side = sheet.size * INK / SHARE
    assert holds(Window(160 - side / 2, 120 - side / 2, side), sheet)
    assert not holds(None, sheet)
    assert not holds(Window(160 - side / 2 + sheet.size, 120 - side / 2, side), sheet), "the window is beside it"
    assert not holds(Window(160 - side, 120 - side, 2 * side), sheet), "it holds the whole sheet"


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
    assert holds(Window(160 - side / 2 + right * off, 120 - side / 2 + down * off, side), sheet) == held


def test_images_are_emulated_in_their_order_without_those_that_are_shown_elsewhere(config: TrainConfig) -> None:
    wanted = replace(config, emulated_count=3, noise_hz=2.0)
    made = emulated.emulate_mnist(wanted, CONTRACT, frozenset({0, 2}))
    assert made.labels.tolist() == [1, 3, 4]
    image = emulated.read_idx(Path(config.root) / "train-images-idx3-ubyte")[0]
    for frames, seed in zip(made.frames, (1, 3, 4)):
        events = emulated.saccade_events(image, SMALL, "digit", seed=seed)
        events = emulated.filtered(emulated.noisy(events, SMALL, wanted, seed), SMALL, CONTRACT)
        expected = emulated.encoder(CONTRACT, SMALL)(events)[:, 0]
        np.testing.assert_array_equal(frames, expected)


@pytest.mark.parametrize(
    ("wishes", "contract", "left_out"),
    [
        ({"noise_hz": 40.0}, CONTRACT, frozenset({9})),
        ({"hot": 0.3}, CONTRACT, frozenset({9})),
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


@pytest.mark.parametrize(
    ("contract", "left_out", "version"),
    [
        (replace(CONTRACT, filter_us=70), frozenset({9}), 3),
        (replace(CONTRACT, sensor_width=40, sensor_height=40), frozenset({9}), 3),
        (CONTRACT, frozenset({8}), 3),
        (CONTRACT, frozenset({9}), 4),
    ],
)
def test_films_of_other_wishes_or_of_another_version_are_made_anew(
    contract: Contract, left_out: frozenset[int], version: int,
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def filmed(_: object, wanted: Contract, seed: int) -> np.ndarray:
        frames = np.zeros((WINDOWS, 10, 2, 34, 34), np.uint8)
        frames[..., 0, :4] = np.array([wanted.filter_us % 100, wanted.sensor_width, seed, emulated.FILM_VERSION]) + 1
        return frames

    monkeypatch.setattr(emulated, "_filmed", filmed)
    monkeypatch.setattr(emulated, "FILM_VERSION", 3)
    shared, apart = (replace(config, cache=str(tmp_path / name)) for name in ("shared", "own"))
    kept = film_paper_clips(shared, CONTRACT, frozenset({9}), range(4))
    monkeypatch.setattr(emulated, "FILM_VERSION", version)
    alone = film_paper_clips(apart, contract, left_out, range(4))
    for old, own, new in zip(kept, alone, film_paper_clips(shared, contract, left_out, range(4)), strict=True):
        assert not np.array_equal(old.frames, own.frames)
        np.testing.assert_array_equal(new.frames, own.frames)


def test_windows_of_a_clip_that_hold_events_most_of_the_time_are_samples(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def filmed(*given: Any) -> np.ndarray:
        out = np.zeros((WINDOWS, 10, 2, 34, 34), np.uint8)
        for window in range(WINDOWS):
            out[window, : 4 + window, 1, 3, 4] = given[2] + 1
        return out

    monkeypatch.setattr(emulated, "_filmed", filmed)
    elsewhere = replace(config, cache=config.cache + "-3")
    webcam, camera = film_paper_clips(elsewhere, CONTRACT, frozenset({8}), range(1, 5))
    assert (webcam.labels.tolist(), camera.labels.tolist()) == ([7, 5], [6, 4])
    assert [int(frames.max()) for frames in webcam.frames] == [8, 6]
    assert [int(frames.max()) for frames in camera.frames] == [7, 5]
    assert all(np.asarray(frames).any((1, 2, 3)).sum() == 6 for frames in (*webcam.frames, *camera.frames))


@pytest.mark.parametrize("seed", [3, 4])
def test_a_clip_is_looked_at_until_its_drawing_is_found_and_then_in_windows(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    class Tracking:
        """A tracker, a camera or a filter that lets all events through; at 550 ms its window is elsewhere."""

        window = True

        def __init__(self, *given: object, **how: object) -> None:
            asked.append((type(self).__name__, *given, how))

        def push(self, frame: str, t_us: int) -> np.ndarray:
            Tracking.window = t_us != 550_000
            return make_events([t_us], [0], [0], [frame == "lit"])

        def __call__(self, events: np.ndarray) -> np.ndarray:
            return events

    def frames(sheet: str, seconds: float, _: object) -> Iterator[tuple[int, str]]:
        asked.append((sheet, seconds))
        for t_us in range(0, 700_000, 50_000):
            yield t_us, "lit"

    def encoder(*_: object) -> Any:
        return lambda events, start: np.full((2, 1, 2, 1, 1), len(events) + (10 if start % 100_000 else 0))

    for name in ("FrameTracker", "Emulator", "InputFilter"):
        monkeypatch.setattr(emulated, name, type(name, (Tracking,), {}))
    monkeypatch.setattr(emulated, "draw_sheet", lambda digit, camera, _: asked.append((digit, camera)) or "sheet")
    monkeypatch.setattr(emulated, "frames", frames)
    monkeypatch.setattr(emulated, "encoder", encoder)
    monkeypatch.setattr(emulated, "holds", lambda window, _: window)
    contract = replace(CONTRACT, steps=2, bin_us=50_000, height=1, width=1, filter_us=77)
    digit: Any = "digit"
    found = emulated._filmed(digit, contract, seed)
    assert found[:, :, 0, 0, 0].tolist() == [[2, 2], [0, 0], [2, 2]], "in between the window was elsewhere"
    camera = emulated.CAMERAS[int(np.random.default_rng(seed).integers(3))]
    source = ("FrameTracker", SMALL, {}) if seed % 2 else ("Emulator", camera, {"seed": seed})
    front = ("InputFilter", SMALL if seed % 2 else camera, SMALL, 77, {"follow": True})
    assert asked == [source, front, ("digit", camera), ("sheet", 0.7)]
