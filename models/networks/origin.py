"""The origin of a network's weights: direct training, conversion, or none (an ANN)."""

from typing import Literal

from torch import nn

from spikesight.models.networks.converted.network import ConvertedNetwork
from spikesight.models.neurons.layers import spikes_at_all

Origin = Literal["direct", "converted", "ann"]
"""Origin of a network: trained with spikes, converted from an ANN, or an ANN itself (ReLUs, no state)."""


def origin_of(network: nn.Module) -> Origin:
    """Return the origin of a network."""
    if isinstance(network, ConvertedNetwork):
        return "converted"
    return "direct" if spikes_at_all(network) else "ann"
