"""Still images: brought to MNIST's form, whatever the paper, the size or the place of the drawing."""

import cv2
import numpy as np
import pytest

from spikesight.encoders.preprocess.drawing import find_drawing
from spikesight.encoders.preprocess.fit import centred, fit_digit, fit_plain
from tests.support.inputs.samples import drawing


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


@pytest.mark.parametrize(("shape", "channels"), [((10, 40), 3), ((40, 10, 3), 1), ((7, 7, 3), 3), ((300, 200), 1)])
def test_plain_takes_the_centre_of_the_right_shape(shape: tuple[int, ...], channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    fitted = fit_plain(image, 12, 16, channels)
    assert (fitted.shape, fitted.dtype) == ((channels, 12, 16), np.uint8)


def test_input_is_unchanged_and_wrong_input_refused() -> None:
    image = drawing(40, 40, 5, 5)
    before = image.copy()
    fit_digit(image, 28, 28)
    fit_plain(image, 9, 9)
    assert np.array_equal(image, before)
    for bad in (image.astype(float), np.zeros((0, 4), np.uint8), np.zeros((2, 2, 2, 2), np.uint8)):
        with pytest.raises(ValueError, match="uint8"):
            fit_digit(bad, 28, 28)


def paper_on_a_desk(light: float = 0.0) -> np.ndarray:
    """A 3 in dark ink on a turned sheet, on a dark desk with texture, light from one side: uint8 [480, 640, 3]."""
    sheet = np.full((300, 360, 3), 230, np.uint8)
    cv2.putText(sheet, "3", (110, 230), cv2.FONT_HERSHEY_SIMPLEX, 7, (40, 40, 60), 26, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((180, 150), 9, 1)
    turn[:, 2] += (140, 90)
    desk = np.random.default_rng(0).integers(20, 110, (48, 64, 3)).astype(np.uint8)
    picture = cv2.resize(desk, (640, 480), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    mask = cv2.warpAffine(np.ones((300, 360), np.float32), turn, (640, 480))[..., None]
    picture = picture * (1 - mask) + cv2.warpAffine(sheet, turn, (640, 480)) * mask
    return (picture * (1 - light * np.linspace(0, 1, 640)[None, :, None])).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("light", [0.0, 0.4])
def test_a_digit_on_paper_is_found_among_other_things(light: float) -> None:
    alone = np.full((300, 300), 255, np.uint8)
    cv2.putText(alone, "3", (80, 230), cv2.FONT_HERSHEY_SIMPLEX, 7, 0, 26, cv2.LINE_AA)
    found, expected = (fit_digit(p, 28, 28)[0].astype(float).ravel() for p in (paper_on_a_desk(light), alone))
    assert np.corrcoef(found, expected)[0, 1] > 0.75


@pytest.mark.parametrize("size", [(1260, 420), (420, 1260)], ids=["wide", "tall"])
@pytest.mark.parametrize("digit", "023456789")
def test_a_stretched_digit_is_as_wide_as_one_that_is_not(digit: str, size: tuple[int, int]) -> None:
    page = np.full((420, 420), 245, np.uint8)
    cv2.putText(page, digit, (110, 310), cv2.FONT_HERSHEY_SIMPLEX, 9, 50, 30, cv2.LINE_AA)
    plain, stretched = (fit_digit(p, 28, 28)[0].astype(float) for p in (page, cv2.resize(page, size)))
    assert np.corrcoef(plain.ravel(), stretched.ravel())[0, 1] > 0.75


@pytest.mark.parametrize("slant", [0, 60, 140])
def test_a_one_stays_narrow(slant: int) -> None:
    page = np.full((480, 640), 240, np.uint8)
    cv2.line(page, (320 + slant // 2, 100), (320 - slant // 2, 380), 40, 24, cv2.LINE_AA)
    (one,) = fit_digit(page, 28, 28)
    assert np.ptp(np.nonzero(one > 64)[0]) >= 17
    assert np.ptp(np.nonzero(one > 64)[1]) <= 3 + 20 * slant / 280


@pytest.mark.parametrize("width", [1, 4, 6, 9])
def test_an_upright_bar_lies_in_the_middle(width: int) -> None:
    rows, columns = (np.flatnonzero(centred(np.full((60, width), 255, np.float32)).any(axis)) for axis in (1, 0))
    assert (rows[0], rows[-1]) == (4, 23)
    assert columns[0] + columns[-1] == pytest.approx(27, abs=1)


def test_a_digit_is_found_and_not_its_hole_nor_the_frame_around_it() -> None:
    page = np.full((480, 640), 240, np.uint8)
    cv2.ellipse(page, (320, 240), (110, 80), 20, 0, 360, 50, 36, cv2.LINE_AA)
    y, x = np.mgrid[:480, :640]
    shaded = (page * (1 - 0.45 * np.hypot(x, y) / 800)).astype(np.uint8)
    screen = 255 - page
    cv2.rectangle(screen, (90, 40), (550, 440), 200, 8)
    for picture in (shaded, screen):
        found = find_drawing(picture)
        assert found is not None
        assert found.width == pytest.approx(250, abs=40)
