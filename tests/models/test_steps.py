"""The label that stays until another leads."""

import numpy as np

from models.steps import Steady


def test_steady_label_needs_a_lead() -> None:
    steady = Steady(smoothing=0.5, margin=0.3)
    shown = []
    for p in ([0.6, 0.4], [0.45, 0.55], [0.2, 0.8], [0.1, 0.9], [0.1, 0.9]):
        steady = steady.push(np.array(p))
        shown.append(steady.index)
    assert shown == [0, 0, 0, 1, 1]
    assert steady.cleared() == Steady(0.5, 0.3)
