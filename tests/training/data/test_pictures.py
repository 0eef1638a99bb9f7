"""Still images as plain arrays: draws, divisions, and folders of pictures."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from spikesight.training.data.images import read_picture
from spikesight.training.data.pictures import Images, load_images, pictures_below
from spikesight.training.data.sets import DataError
from tests.support.inputs.data_sets import write_idx, write_pictures

TEN = Images(np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1), np.arange(10))


def test_some_are_the_first_of_an_order_that_the_seed_decides() -> None:
    order = np.random.default_rng(3).permutation(10)
    assert TEN.shuffled(3).labels.tolist() == order.tolist()
    assert TEN.subset(9, 3).labels.tolist() == order[:9].tolist()
    assert TEN.subset(10, 3) is TEN
    assert TEN.subset(4).labels.tolist() == np.random.default_rng(0).permutation(10)[:4].tolist()
    assert TEN.subset(4).pixels.ravel().tolist() == TEN.subset(4).labels.tolist()


@pytest.mark.parametrize(("count", "aside"), [(0, 0), (3, 3), (5, 5), (6, 5)])
def test_at_most_half_are_set_aside_in_their_order(count: int, aside: int) -> None:
    rest, held = TEN.split(count)
    assert held.labels.tolist() == sorted(np.random.default_rng([0, 1]).permutation(10)[:aside].tolist())
    assert rest.labels.tolist() == sorted(set(range(10)) - set(held.labels.tolist()))
    assert held.pixels.ravel().tolist() == held.labels.tolist()
    assert rest.pixels.ravel().tolist() == rest.labels.tolist()


def test_a_set_by_its_name_has_its_own_scale(tmp_path: Path) -> None:
    write_idx(tmp_path)
    found = load_images("mnist", tmp_path)
    assert (len(found.train), len(found.test), found.mean, found.std) == (24, 6, (0.1307,), (0.3081,))
    assert found.train.pixels.shape == (24, 1, 28, 28)
    with pytest.raises(DataError, match="'nowhere' is neither a folder of pictures nor one of mnist"):
        load_images("nowhere", tmp_path)


def test_a_folder_without_a_test_split_has_every_seventh_picture_set_aside(tmp_path: Path) -> None:
    write_pictures(tmp_path / "mine", 8, ("",))
    found = load_images(str(tmp_path / "mine"), tmp_path, (3, 6, 5))
    assert (found.name, found.classes, found.mean, found.std) == ("mine", ("n01", "n02"), (0.5,) * 3, (0.25,) * 3)
    paths = sorted((tmp_path / "mine").rglob("*.JPEG"))
    expected = np.stack([read_picture(path, 3, 6, 5) for path in paths])
    aside = [6, 13]
    assert np.array_equal(found.test.pixels, expected[aside])
    assert found.test.labels.tolist() == [0, 1]
    assert np.array_equal(found.train.pixels, np.delete(expected, aside, 0))
    assert found.train.labels.tolist() == [0] * 7 + [1] * 7
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
    assert pictures_below(tmp_path, 7, (1, 4, 4))[:, 0, 0, 0].tolist() == in_order
    assert pictures_below(tmp_path, 9, (1, 4, 4)).shape == (7, 1, 4, 4)
    assert pictures_below(tmp_path, 3, (1, 4, 4))[:, 0, 0, 0].tolist() == [in_order[n] for n in (0, 2, 4)]
    with pytest.raises(DataError, match="no pictures in"):
        pictures_below(tmp_path / "none", 3, (1, 4, 4))
