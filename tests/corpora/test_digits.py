"""The corpora: samples follow from seed and number alone, show what they say, hold no image set aside."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from corpora import digits, strokes
from corpora.digits import Corpus, Pictures
from corpora.scenes import IGNORED, NONE, Scenes, Things, targets
from corpora.sets import list_digits
from spikesight.encoders.events import SensorSize
from spikesight.encoders.pyramid import pyramid_of
from spikesight.training.data import load_data, read_item
from spikesight.training.data.recordings import RECORDED
from tests.support.inputs.data_sets import small_config, write_mnist, write_nmnist

ROWS = np.arange(32)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    random = np.random.default_rng(0)
    images = np.stack([strokes.digit(n % 10, random) for n in range(40)])
    chosen = np.where(np.arange(200) % 10 == 9, -1, np.arange(200) % 40)
    return Corpus(Pictures(images, np.arange(40) % 10), chosen, seed=3)


def test_a_sample_follows_from_the_seed_and_its_number_alone(corpus: Corpus) -> None:
    made = corpus[ROWS]
    assert np.isin(made, (0, 1)).all()
    np.testing.assert_array_equal(corpus[np.array([24, 5])], made[[24, 5]])
    np.testing.assert_array_equal(corpus[7], made[7])
    assert not np.array_equal(replace(corpus, seed=4)[ROWS], made)


def test_a_sample_is_a_recording_too(corpus: Corpus) -> None:
    events = corpus.events(1)
    bins = np.bincount(events["t"] // corpus.bin_us, minlength=10)
    np.testing.assert_array_equal(bins, corpus[1].reshape(10, -1).sum(1))


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The corpus is a data set by name, as its command makes it."""
    monkeypatch.setitem(RECORDED, "digits", list_digits)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PRINTED": 20, "STROKED": 20, "OTHERS": 26, "SAMPLES": 400, "CHOSEN_BY": 12}.items():
        monkeypatch.setattr(digits, name, value)
    monkeypatch.setattr(digits, "CHOOSING", range(8, 12))
    monkeypatch.setattr(digits, "ASIDE", range(6, 8))


SETTINGS = {"data": "digits", "steps": 10, "bin_us": 31_000, "height": 34, "width": 34}


@pytest.mark.usefixtures("small")
def test_a_run_sees_recordings_among_digits_and_what_is_none(tmp_path: Path) -> None:
    write_nmnist(tmp_path, classes=10, train=3, test=1)
    write_mnist(tmp_path, 40)
    data = load_data(small_config(tmp_path, **SETTINGS))
    plain = load_data(small_config(tmp_path, **{**SETTINGS, "data": "nmnist"}))
    assert data.outliers is not None
    assert set(data.outliers.labels) == {10}
    real = data.train.frames[:: digits.REAL_EVERY]
    np.testing.assert_array_equal(real[:4], plain.train.frames[:4])
    assert data.train.labels[:: digits.REAL_EVERY][:4].tolist() == plain.train.labels[:4].tolist()
    shown = {int(Path(name).stem) - 1 for name in data.split["val"]}  # recording 00001 shows image 0
    handwriting = data.train.frames.made.pictures.images[: -digits.PRINTED - digits.STROKED]
    assert len(handwriting) == 40 - len({*shown, *range(6, 12)} & set(range(40)))
    assert data.made is not None
    assert len(data.val) == len(plain.val) + digits.CHOSEN_BY
    assert (data.test.frames == plain.test.frames).all()
    assert [item.label for item in data.calibration] == [6, 7], "of the images set aside"
    assert all(len(read_item(item)[0]) for item in data.calibration)


@pytest.fixture(scope="module")
def made() -> Scenes:
    random = np.random.default_rng(0)
    images = np.stack([strokes.digit(n % 10, random) for n in range(40)])
    return Scenes(Pictures(images, np.arange(40) % 10), Pictures(images[:, ::-1], np.full(40, NONE)), seed=3)


def test_a_batch_follows_from_seed_and_number_alone(made: Scenes) -> None:
    (x, shown), (again, as_before) = made.batch(5, 8), made.batch(5, 8)
    assert x.shape == (8, 8, 2, 64, 64)
    assert shown.shape == (8, 8, 4, 4)
    assert set(x.unique().tolist()) == {0, 1}
    assert torch.equal(x, again)
    assert torch.equal(shown, as_before)
    assert not torch.equal(x, made.batch(6, 8)[0])


def test_a_finer_view_is_pooled_as_a_level_of_a_pyramid_is(made: Scenes) -> None:
    fine = replace(made, view=128)
    pyramid, events = pyramid_of(SensorSize(128, 128)), fine.filmed(5, 2)[0]
    levels = [[pyramid.level(pyramid.canvas(x.numpy()), 64) for x in one] for one in events]
    np.testing.assert_array_equal(fine.batch(5, 2)[0], np.stack(levels))


def thing(place: tuple[float, float], length: float, label: int) -> Things:
    """One thing that does not move, by the place of its middle from that of the view."""
    at = torch.tensor(place).view(1, 1, 2).expand(1, 6, 2)
    return Things(torch.tensor([True]), torch.tensor([label]), at, torch.full((1, 6), length))


@pytest.mark.parametrize(
    ("length", "label", "expected"),
    [(20.0, 7, 7), (8.0, 7, NONE), (40.0, 7, NONE), (20.0, NONE, NONE), (12.0, 7, IGNORED)],
)
def test_a_place_shows_a_digit_of_a_size_that_is_read(length: float, label: int, expected: int) -> None:
    shown = targets([thing((-7.5, -7.5), length, label)], 2)  # in the middle of the place in row 1, column 1
    assert shown[:, 0, 1, 1].tolist() == [expected] * 2
    assert shown[:, 0, 3, 3].tolist() == [NONE] * 2
