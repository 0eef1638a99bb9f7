"""A frame's pixels before anything sees them: grey by the eye's weights, and no larger than is needed."""

import numpy as np
import pytest

from spikesight.models.classifier.session import FRAME_SIDE, luma, thinned


def test_grey_has_the_weights_of_its_colours() -> None:
    colours = np.array(
        [[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], [[3, 2, 1], [9, 0, 9], [0] * 3, [80, 160, 240]]]
    )
    weights = np.array([77, 150, 29])
    assert weights.sum() == 256
    expected = [[sum(int(a) * int(b) for a, b in zip(pixel, weights)) // 256 for pixel in row] for row in colours]
    assert luma(colours.astype(np.uint8)).tolist() == expected
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert luma(grey) is grey


@pytest.mark.parametrize(
    ("shape", "factor"), [((640, 10), 1), ((10, 641), 2), ((1280, 1280), 2), ((1281, 3), 3), ((1, 1), 1)]
)
def test_large_frames_are_thinned_by_whole_factors(shape: tuple[int, int], factor: int) -> None:
    grey = (np.arange(shape[0] * shape[1]) % 251).astype(np.uint8).reshape(shape)
    made = thinned(grey)
    assert np.array_equal(made, grey[::factor, ::factor])
    assert max(made.shape) <= FRAME_SIDE == 640
    assert made.flags.c_contiguous
