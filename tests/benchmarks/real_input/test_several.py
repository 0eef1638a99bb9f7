"""Several digits at once: what is drawn lies in its box, and identities and counts are scored as they should be."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.real_input.several import Digits, Score, Truth, found_interval, movers, sheet
from spikesight.models.steps import Object


@pytest.fixture(scope="module")
def digits() -> Digits:
    """Rings, and sevens."""
    ring, seven = np.zeros((28, 28), np.uint8), np.zeros((28, 28), np.uint8)
    cv2.circle(ring, (14, 14), 9, 255, 3)
    cv2.polylines(seven, [np.array([[6, 5], [21, 5], [12, 23]])], False, 255, 3)
    return np.stack([ring, seven] * 6), np.array([0, 7] * 6)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    path = tmp_path_factory.mktemp("photos") / "grey.png"
    cv2.imwrite(str(path), np.full((48, 64, 3), 140, np.uint8))
    return [path]


@pytest.mark.parametrize("kind", ["sheet", "movers"])
def test_each_digits_ink_fills_its_box(digits: Digits, photos: list[Path], kind: str) -> None:
    film = sheet(digits, photos, 3) if kind == "sheet" else movers(digits, 3)
    _, picture, truths = next(film)
    assert len({truth.id for truth in truths}) >= 2
    grey = cv2.GaussianBlur(picture.mean(2), (0, 0), 1.5)
    for _, label, (left, top, width, height) in truths:
        assert label in ("0", "7")
        inside = grey[round(top) : round(top + height), round(left) : round(left + width)]
        dark = inside < (inside.max() + inside.min()) / 2
        assert dark.any(1).mean() > 0.85, "from its top to its bottom"
        assert dark.any(0).mean() > 0.85


def test_movers_pass_the_line_in_the_middle(digits: Digits) -> None:
    score = Score()
    for t_us, _, truths in movers(digits, 5):
        said = tuple(Object(truth.id + 3, truth.box, truth.label, 1.0, 1.0, None) for truth in truths)
        score.add(said, truths, t_us)
    assert score.idf1() == 1
    assert score.counted
    assert score.right == score.shown == score.said


def test_an_identity_that_changes_costs_the_shorter_half_and_a_wrong_label_is_not_found() -> None:
    score, truth = Score(), Truth(1, "3", (100.0, 100.0, 50.0, 50.0))
    for n in range(10):
        one = Object(1 if n < 6 else 2, truth.box, "3" if n < 9 else "8", 1.0, 1.0, None)
        score.add((one,), [truth], 2_000_000 + n)
    assert score.idf1() == pytest.approx(0.6)
    assert (score.right, score.shown) == (9, 10)


def test_a_film_of_which_little_is_found_has_failed_and_films_that_differ_spread() -> None:
    good, bad, truth = Score(), Score(), Truth(1, "3", (100.0, 100.0, 50.0, 50.0))
    for n in range(10):
        good.add((Object(1, truth.box, "3", 1.0, 1.0, None),), [truth], 2_000_000 + n)
        bad.add((), [truth], 2_000_000 + n)
    assert (good.failed, bad.failed) == (False, True)
    random = np.random.default_rng(1)
    assert found_interval([good] * 8, random) == (1, 1)
    low, high = found_interval([good, bad] * 4, random)
    assert 0 < low < 0.5 < high < 1
