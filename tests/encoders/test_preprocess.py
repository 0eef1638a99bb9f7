"""Still images: brought to MNIST's look, whatever the paper, the size or the place of the drawing."""

import cv2
import numpy as np
import pytest

from encoders.preprocess import fit_digit, fit_plain
from tests.support.samples import drawing


def test_place_size_and_paper_do_not_matter() -> None:
    expected = fit_digit(drawing(28, 28, 4, 8), 28, 28).astype(float)
    for other in (
        drawing(28, 28, 6, 12),
        drawing(480, 640, 100, 300, scale=10),
        255 - drawing(280, 280, 40, 80, scale=10),
        cv2.cvtColor(255 - drawing(100, 140, 10, 20, scale=3), cv2.COLOR_GRAY2RGB),
    ):
        got = fit_digit(other, 28, 28).astype(float)
        assert np.corrcoef(expected.ravel(), got.ravel())[0, 1] > 0.9


def test_a_digit_fills_20_of_28_pixels_about_its_centre_of_mass() -> None:
    (digit,) = fit_digit(drawing(200, 200, 30, 20, scale=5), 28, 28)
    rows, columns = np.nonzero(digit > 64)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(20, abs=1)
    ys, xs = np.indices(digit.shape)
    assert (ys * digit).sum() / digit.sum() == pytest.approx(13.5, abs=0.6)
    assert (xs * digit).sum() / digit.sum() == pytest.approx(13.5, abs=0.6)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_empty_picture_is_an_empty_digit(value: int) -> None:
    assert not fit_digit(np.full((50, 40, 3), value, np.uint8), 28, 28).any()


@pytest.mark.parametrize(("shape", "channels"), [((10, 40), 3), ((40, 10, 3), 1), ((7, 7, 3), 3), ((300, 200), 1)])
def test_plain_takes_the_centre_of_the_right_shape(shape: tuple[int, ...], channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    fitted = fit_plain(image, 12, 16, channels)
    assert fitted.shape == (channels, 12, 16)
    assert fitted.dtype == np.uint8


def test_input_is_unchanged_and_wrong_input_refused() -> None:
    image = drawing(40, 40, 5, 5)
    before = image.copy()
    fit_digit(image, 28, 28)
    fit_plain(image, 9, 9)
    assert np.array_equal(image, before)
    for bad in (image.astype(float), np.zeros((0, 4), np.uint8), np.zeros((2, 2, 2, 2), np.uint8)):
        with pytest.raises(ValueError, match="uint8"):
            fit_digit(bad, 28, 28)
