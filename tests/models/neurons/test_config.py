"""The options of neurons: limits that hold to the last number, and the names of the literature."""

from typing import Any

import pytest

from spikesight.models.neurons.config import NeuronConfig
from spikesight.models.neurons.surrogate import SURROGATES


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


@pytest.mark.parametrize("name", SURROGATES)
def test_a_slope_is_the_surrogates(name: str) -> None:
    assert NeuronConfig(surrogate=name).spike_function() == SURROGATES[name]()
    assert NeuronConfig(surrogate=name, slope=3.0).spike_function() == SURROGATES[name](3.0)
