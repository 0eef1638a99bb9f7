"""Drawings near digits that are none."""

import numpy as np

from spikesight.training.data.drawn.near import KINDS, MIRRORED, Digits, outliers

STEPS = np.zeros((10, 28, 28), np.uint8)
for digit in range(10):
    STEPS[digit, 4 : 24 - digit, 9:20] = 255  # one form a class, none its own mirror image
    STEPS[digit, 14 : 24 - digit, 15:20] = 0
DIGITS = Digits(STEPS, np.arange(10))


def test_they_are_of_mnists_form_and_follow_from_their_seed() -> None:
    made, again, other = (outliers(3 * len(KINDS), seed, DIGITS) for seed in (3, 3, 4))
    assert made.shape == (3 * len(KINDS), 28, 28)
    assert made.dtype == np.uint8
    assert np.array_equal(made, again)
    assert not np.array_equal(made, other)


def test_what_stays_a_digit_is_not_mirrored() -> None:
    seen = {
        tuple(KINDS["mirrored digits"](DIGITS, np.random.default_rng(n))[:, ::-1].ravel().tolist()) for n in range(60)
    }
    assert seen == {tuple(STEPS[digit].ravel().tolist()) for digit in MIRRORED}
