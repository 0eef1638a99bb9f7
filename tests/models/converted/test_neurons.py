"""Neurons of a converted network: what happens exactly at the threshold."""

import numpy as np
import pytest
import torch

from spikesight.models.networks.converted.neurons import SpikeLayer
from spikesight.models.networks.converted.rules import SpikeRule


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["compiled", "torch"])
def test_a_strict_neuron_stays_silent_at_its_threshold(dtype: torch.dtype) -> None:
    above = float(np.nextafter(np.float32(1), np.float32(2)))
    x = torch.tensor([1.0, above], dtype=dtype).view(1, 1, 2, 1, 1)
    for inclusive, expected in ((True, [1.0, 1.0]), (False, [0.0, 1.0])):
        layer = SpikeLayer(SpikeRule("if", v0=0.0, inclusive=inclusive), 2).to(dtype)
        layer.key = "n"
        assert layer(x, {}).flatten().tolist() == expected
