"""Drawings near digits by name."""

import numpy as np

from benchmarks.real_input.near import near
from spikesight.training.data.drawn.near import KINDS, Digits

DIGITS = Digits(np.random.default_rng(0).integers(0, 256, (10, 28, 28), np.uint8), np.arange(10))


def test_a_kind_is_called_learnt_where_the_model_was_shown_it() -> None:
    shown = list(KINDS)[1]
    names = list(near(DIGITS, 3, 1, [shown]))
    assert [name for name in names if "learnt" in name] == [f"{shown} (learnt)"]
    assert set(KINDS) - set(names) == {shown}
