"""Digits of fonts: of MNIST's form, drawn anew by every seed, legible to a model that was trained on handwriting."""

from pathlib import Path

import matplotlib
import numpy as np

from spikesight.models.classifier import Classifier
from spikesight.models.shipped import find
from spikesight.training.data.printed import FONTS, printed


def test_they_are_of_mnists_form() -> None:
    digits = printed(40, 3)
    assert digits.frames.shape == (40, 1, 1, 28, 28)
    assert digits.frames.dtype == np.uint8
    ys, xs = np.indices((28, 28))
    for digit in digits.frames[:, 0, 0].astype(float):
        rows, columns = np.nonzero(digit > 64)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 in (19, 20)
        assert abs((ys * digit).sum() / digit.sum() - 13.5) < 1
        assert abs((xs * digit).sum() / digit.sum() - 13.5) < 1


def test_a_seed_draws_the_same_and_another_others() -> None:
    one, again, other = printed(30, 3), printed(30, 3), printed(30, 4)
    assert np.array_equal(one.frames, again.frames)
    assert np.array_equal(one.labels, again.labels)
    assert not np.array_equal(one.labels, other.labels)
    assert printed(9, 0).labels.tolist() == [8, 6, 5, 2, 3, 0, 0, 0, 1], "what the shipped weights learnt"
    assert set(printed(200, 0).labels.tolist()) == set(range(10))


def test_every_font_is_at_hand() -> None:
    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    assert [name for name in FONTS if not (folder / f"{name}.ttf").is_file()] == []


def test_most_are_legible_to_who_reads_handwriting() -> None:
    digits, classifier = printed(60, 5), Classifier.load(find("mnist-ann"))
    right = [
        classifier.predict_image(frame[0, 0])[-1].index == label for frame, label in zip(digits.frames, digits.labels)
    ]
    assert np.mean(right) > 0.8
