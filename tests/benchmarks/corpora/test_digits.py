"""The corpus of digits: samples follow from seed and number alone, show what they say, hold no image set aside."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.corpora import digits, motion, strokes
from benchmarks.corpora.digits import Corpus, Pictures
from benchmarks.corpora.sensor import Sensor, film
from benchmarks.corpora.sets import list_digits, list_images
from spikesight.encoders.emulator.pixels import Emulator, PixelModel
from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import read_recording
from spikesight.training.data import load_data, read_item
from spikesight.training.data.images import IMAGES
from spikesight.training.data.recordings import RECORDED
from spikesight.training.data.sets import DataError, Frames
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


def test_the_label_is_that_of_the_picture_and_none_of_nothing(corpus: Corpus) -> None:
    assert corpus.labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 0, 1]


def test_events_lie_in_the_box_of_what_moves(corpus: Corpus) -> None:
    rows = ROWS[corpus.labels[ROWS] < 10]
    frames, boxes = corpus.filmed(rows, 1)
    x, y, side = (boxes[..., n, None, None] for n in range(3))
    place = torch.arange(34) + 0.5
    within = ((place - x).abs() < side / 2 + 1) & ((place[:, None] - y).abs() < side / 2 + 1)
    lit = frames.amax(2).float()
    inside, outside = (float((lit * of).sum() / of.sum()) for of in (within, ~within))
    assert inside > 2 * outside


def test_the_pixels_are_those_of_the_emulator() -> None:
    """A ramp of light crosses as many thresholds."""
    ramp = torch.linspace(0, 1, 41)
    sensor = Sensor(*(torch.full((1,), value) for value in (0.21, 0.21, 0.0, 1.0, 0.0, 0.0, 0.0)))
    random = torch.full((1, 45, 4, 4), 0.5)
    ours = film(ramp.view(1, 41, 1, 1).expand(1, 41, 4, 4), sensor, random, 0.4, 10)
    theirs = Emulator(SensorSize(4, 4), PixelModel(0.21, 0.21, sigma=0, leak_hz=0))
    events = [theirs.push(np.full((4, 4), grey, np.uint8), n * 10_000) for n, grey in enumerate(60 * ramp.exp())]
    assert not ours[:, :, 0].any()
    assert ours[0, :, 1].flatten(1).any(1).sum() == 4, "thresholds in a range of 1"
    assert 4 <= len(np.concatenate(events)) / 16 <= 5, "the emulator's pixels begin anywhere between two"


@pytest.mark.parametrize(("lost", "noise_hz", "share"), [(1.0, 0.0, 0.0), (0.0, 20.0, 0.268), (1.0, 20.0, 0.268)])
def test_noise_and_losses_have_their_rates(lost: float, noise_hz: float, share: float) -> None:
    still = torch.zeros(1, 30, 34, 34)
    sensor = Sensor(*(torch.full((1,), value) for value in (0.2, 0.2, 0.05, 1.0, noise_hz, 0.0, lost)))
    random = torch.rand(1, 45, 34, 34, generator=torch.Generator().manual_seed(0))
    assert float(film(still, sensor, random, 0.312, 10).float().mean()) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("name", motion.PATHS)
def test_each_motion_moves_and_stays_near_the_view(name: str) -> None:
    t = torch.linspace(0, 0.31, 60)[None].expand(50, -1)
    place = motion.PATHS[name](motion.Draws(motion.table(1, np.arange(50), 40)), t)
    assert ((place - place[:, :1]).abs().amax((1, 2)) > 0.1).all()
    assert place.abs().max() < 25


def test_every_digit_of_every_pen_is_an_mnist_image() -> None:
    random = np.random.default_rng(2)
    drawn = [strokes.drawn(form, random) for forms in strokes.FORMS for form in forms]
    drawn += [strokes.drawn(strokes.segments(lit), random) for lit in strokes.SEGMENTS]
    for image in drawn:
        rows, columns = np.nonzero(image > 64)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 in range(17, 22)
    assert len({image.tobytes() for image in drawn}) == len(drawn)


def test_samples_are_written_as_recordings(corpus: Corpus, tmp_path: Path) -> None:
    corpus.write(tmp_path, [1, 9])
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.npz")) == [
        "1/0000001.npz", "none/0000009.npz",
    ]  # fmt: skip
    recording = read_recording(tmp_path / "1" / "0000001.npz")
    assert recording.size == SensorSize(34, 34)
    assert len(recording.events) == corpus[1].sum()
    bins = np.bincount(recording.events["t"] // corpus.bin_us, minlength=10)
    np.testing.assert_array_equal(bins, corpus[1].reshape(10, -1).sum(1))


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The corpora are data sets by name, as their command makes them."""
    monkeypatch.setitem(RECORDED, "digits", list_digits)
    monkeypatch.setitem(IMAGES, "digit-images", list_images)


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
    assert [item.label for item in data.aside] == [6, 7], "of the images set aside"
    assert all(len(read_item(item)[0]) for item in data.aside)


@pytest.mark.usefixtures("small")
def test_what_is_no_digit_is_made_of_the_images_that_a_run_may_see(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (2, 10, 1, 1, 28, 28)).astype(np.uint8)
    first, second = (Frames(part, np.arange(10)) for part in images)
    alone = digits.training_images(second, tmp_path / "alone", 0)[1].frames
    digits.training_images(first, tmp_path / "shared", 0)
    np.testing.assert_array_equal(digits.training_images(second, tmp_path / "shared", 0)[1].frames, alone)


@pytest.mark.parametrize(
    ("other", "says"),
    [({}, "train-images"), ({"height": 17}, "34 x 34"), ({"steps": 5}, "10 bins"), ({"bin_us": 9_000}, "of 31000 us")],
)
def test_what_does_not_fit_or_is_missing_is_said(other: dict[str, int], says: str, tmp_path: Path) -> None:
    write_nmnist(tmp_path, classes=10, train=3, test=1)
    with pytest.raises(DataError, match=says):
        load_data(small_config(tmp_path, **{**SETTINGS, **other}))


@pytest.mark.usefixtures("small")
def test_images_of_all_kinds_join_mnists(tmp_path: Path) -> None:
    write_mnist(tmp_path, 40)
    data = load_data(small_config(tmp_path, data="digit-images", steps=2, bin_us=None, height=None, width=None))
    plain = load_data(small_config(tmp_path, data="mnist", steps=2, bin_us=None, height=None, width=None))
    assert len(data.train) == len(plain.train) + digits.PRINTED + digits.STROKED
    assert (data.val.frames == plain.val.frames).all()
    assert data.outliers is not None
    assert len(data.outliers) == digits.OTHERS
