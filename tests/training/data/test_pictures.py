"""Still images as plain arrays: draws, divisions, folders of pictures; digits of fonts."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from spikesight.training.config import TrainConfig
from spikesight.training.data import load_data
from spikesight.training.data.drawn.printed import printed
from spikesight.training.data.images import load_images, pictures_below
from spikesight.training.data.sets import DataError
from tests.support.inputs.data_sets import write_idx, write_pictures


def test_a_set_by_its_name_has_its_own_scale(tmp_path: Path) -> None:
    write_idx(tmp_path)
    found = load_images("mnist", tmp_path)
    assert (len(found.train), len(found.test), len(found.mean), len(found.std)) == (24, 6, 1, 1)
    assert found.train.pixels.shape == (24, 1, 28, 28)
    with pytest.raises(DataError, match="'nowhere' is neither a folder of pictures nor one of mnist"):
        load_images("nowhere", tmp_path)


def test_a_folder_without_a_test_split_has_the_pictures_set_aside_that_no_training_sees(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "mine", 8, ("",))
    for number, path in enumerate(sorted(folder.rglob("*.JPEG"))):  # of one shade each, to be told apart
        assert cv2.imwrite(str(path), np.full((6, 5, 3), 10 * number + 20, np.uint8))
    found = load_images(str(folder), tmp_path, (3, 6, 5))
    assert (found.name, found.classes, len(found.mean), len(found.std)) == ("mine", ("n01", "n02"), 3, 3)
    config = TrainConfig(data=str(folder), cache=str(tmp_path / "cache"), height=6, width=5, network="cifar-resnet8")
    trained = load_data(config)
    shades = [sorted(part.frames[:, 0, 0, 0, 0].tolist()) for part in (trained.train, trained.val, trained.test)]
    assert shades[2] == sorted(found.test.pixels[:, 0, 0, 0].tolist())
    assert sorted(shades[0] + shades[1]) == sorted(found.train.pixels[:, 0, 0, 0].tolist())
    assert found.test.labels.tolist() == [0, 1]
    write_pictures(tmp_path / "both", 2)
    both = load_images(str(tmp_path / "both"), tmp_path)
    assert (len(both.train), len(both.test), both.train.pixels.shape[1:]) == (4, 4, (3, 32, 32))


def test_pictures_are_picked_evenly_wherever_they_lie(tmp_path: Path) -> None:
    for n in range(7):
        place = tmp_path / f"{n % 2}" / f"{n}.png"
        place.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(place), np.full((4, 4), 10 * n, np.uint8))
    (tmp_path / "words.txt").write_text("none")
    (tmp_path / ".hidden.png").write_bytes(b"")
    in_order = [0, 20, 40, 60, 10, 30, 50]
    for count, expected in ((7, in_order), (9, in_order), (3, [0, 40, 10])):
        assert pictures_below(tmp_path, count, (1, 4, 4))[:, 0, 0, 0].tolist() == expected
    with pytest.raises(DataError, match="no pictures in"):
        pictures_below(tmp_path / "none", 3, (1, 4, 4))


def test_printed_digits_are_of_mnists_form_and_follow_from_their_seed() -> None:
    digits, again, other = printed(40, 3), printed(40, 3), printed(40, 4)
    assert np.array_equal(digits.frames, again.frames)
    assert not np.array_equal(digits.labels, other.labels)
    assert set(printed(200, 0).labels.tolist()) == set(range(10))
    assert digits.frames.shape == (40, 1, 1, 28, 28)
    ys, xs = np.indices((28, 28))
    for digit in digits.frames[:, 0, 0].astype(float):
        rows, columns = np.nonzero(digit > 64)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 in (19, 20)
        assert abs((ys * digit).sum() / digit.sum() - 13.5) < 1
        assert abs((xs * digit).sum() / digit.sum() - 13.5) < 1
