"""Where a network's weights came from."""

from typing import Literal

from torch import nn

from spikesight.models.networks.converted.network import ConvertedNetwork
from spikesight.models.neurons.layers import spikes_at_all

Origin = Literal["direct", "converted", "ann"]
"""How a network came to be: trained with its spikes, converted from an ANN, or an ANN itself (rectifiers, no state)."""


def origin_of(network: nn.Module) -> Origin:
    """How a network came to its weights."""
    if isinstance(network, ConvertedNetwork):
        return "converted"
    return "direct" if spikes_at_all(network) else "ann"
