"""The options of neurons: limits that hold to the last number, and the names of the literature."""

from typing import Any

import pytest

from spikesight.models.neurons.config import CLIF, IF, PAPER_LIF, PLIF, RECTIFIER, SLIDING_PSN, NeuronConfig
from spikesight.models.neurons.surrogate import SURROGATES


@pytest.mark.parametrize("good", [{"beta": 0.0}, {"beta": 1.0}, {"theta": 1e-9}, {"taps": 1}, {"taps": 64}])
def test_limits_are_allowed(good: dict[str, Any]) -> None:
    NeuronConfig(**good)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"beta": -0.001}, "beta must lie"),
        ({"beta": 1.001}, "beta must lie"),
        ({"theta": 0.0}, "theta must be positive"),
        ({"theta": -1.0}, "theta must be positive"),
        ({"reset": "soft"}, "reset must be"),
        ({"surrogate": "step"}, "unknown surrogate"),
        ({"learn_beta": True, "beta": 0.0}, "strictly between"),
        ({"learn_beta": True, "beta": 1.0}, "strictly between"),
        ({"kind": "clif"}, "immediate subtracting reset"),
        ({"kind": "clif", "delay": False, "reset": "zero"}, "immediate subtracting reset"),
        ({"taps": 0}, "taps must lie"),
        ({"taps": 65}, "taps must lie"),
    ],
)
def test_what_is_no_neuron_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        NeuronConfig(**wrong)


def test_the_paper_and_its_fellows() -> None:
    assert NeuronConfig(0.5, 1.0, "subtract", True, False, False, True, False, "arctan", None, "lif", 4) == PAPER_LIF
    assert NeuronConfig(beta=1.0) == IF
    assert (PLIF.reset, PLIF.delay, PLIF.inclusive, PLIF.scale_input, PLIF.learn_beta) == (
        "zero",
        False,
        True,
        True,
        True,
    )
    assert (CLIF.kind, CLIF.delay, CLIF.detach_reset) == ("clif", False, False)
    assert (SLIDING_PSN.kind, RECTIFIER.kind) == ("psn", "relu")


@pytest.mark.parametrize("name", SURROGATES)
def test_a_slope_is_the_surrogates(name: str) -> None:
    assert NeuronConfig(surrogate=name).spike_function() == SURROGATES[name]()
    assert NeuronConfig(surrogate=name, slope=3.0).spike_function() == SURROGATES[name](3.0)
