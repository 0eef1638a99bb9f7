"""Two sides step by step: how far apart they may be, and how often."""

import math

import pytest
from torch import Tensor

from spikesight.models.export.parity import ExportError, check_parity, start_state
from spikesight.models.neurons.state import State
from tests.support.exporting import CONFIG, CONTRACT
from tests.support.models import lively

NEURONS = 8 * 9 * 7  # of the first layer: a thousandth of them is no neuron


def compared(logits: float = 0.0, membranes: float = 0.0, count: int = NEURONS) -> tuple[int, float, int, int]:
    """The network beside itself, with something added to all logits and to so many membranes of the first layer."""
    network = lively(CONFIG)

    def other(x_seq: Tensor, state: State) -> tuple[Tensor, State]:
        found, after = network(x_seq, state)
        moved = after["blocks.0.neuron1"].clone()
        moved.view(2, -1)[0, :count] += membranes
        return found + logits, {**after, "blocks.0.neuron1": moved}

    parity = check_parity(network, other, CONTRACT)
    return parity.steps, parity.logits, parity.ties, parity.membranes


def test_a_thousandth_is_no_difference() -> None:
    of_all = 50 * sum(value.numel() for value in start_state(lively(CONFIG), CONTRACT).values())
    assert compared() == (50, 0, 0, of_all)
    steps, logits, ties, membranes = compared(0.9e-3, 0.0)
    assert (steps, ties, membranes) == (50, 0, of_all)
    assert logits == pytest.approx(0.9e-3, rel=0.01)
    with pytest.raises(ExportError, match="by step 1 the logits of the read-out differ by"):
        compared(1.1e-3, 0.0)


def test_what_is_no_number_is_a_difference() -> None:
    with pytest.raises(ExportError, match="the logits of the read-out differ by nan"):
        compared(math.nan, 0.0)
    with pytest.raises(ExportError, match=r"neurons of blocks\.0\.neuron1 differ"):
        compared(0.0, math.nan)


def test_one_neuron_of_a_small_layer_may_differ() -> None:
    assert compared(0, 1.1e-3, 1)[2] == 50
    with pytest.raises(ExportError, match=r"after step 1, 2 neurons of blocks\.0\.neuron1 differ"):
        compared(0, 1.1e-3, 2)
