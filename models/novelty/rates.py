"""Firing rates by channel of the first neuron layers: the features for out-of-distribution detection
(`in_distribution`).

Early layers respond to the kind of input (edges, texture, density), late layers to the most similar class. An input
unlike the training data is therefore best seen in the early layers (DECISIONS.md, "Unknown by early rates and energy").
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.models.neurons.layers import Neuron
from spikesight.models.neurons.state import evaluating

MOST_CHANNELS = 64  # of all layers together


def neuron_layers(network: nn.Module) -> list[nn.Module]:
    """Return the network's neuron layers in the order of `modules()`."""
    return [module for module in network.modules() if isinstance(module, Neuron)]


class Rates:
    """A recorder of firing rates: forward hooks on the first `layers` neuron layers of a network.

    A rate is the share of a channel's neurons that fired in a step. R counts the channels of all recorded layers.
    """

    def __init__(self, network: nn.Module, layers: int) -> None:
        self._modules = neuron_layers(network)[:layers]
        self._seen: dict[int, Tensor] = {}
        self._handles: list[Any] = [
            module.register_forward_hook(partial(self._note, number)) for number, module in enumerate(self._modules)
        ]

    def _note(self, number: int, _: nn.Module, __: Any, spikes: Tensor) -> None:
        fired = (spikes != 0).to(torch.float32)
        self._seen[number] = fired if fired.ndim == 3 else fired.flatten(3).mean(3)

    def read(self) -> Tensor:
        """Return the rates of the last forward pass, float32 [T, N, R], layer after layer."""
        return torch.cat([self._seen[number] for number in range(len(self._modules))], 2)

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()


@torch.no_grad()
def layers_to_watch(network: nn.Module, shape: tuple[int, int, int], most: int = MOST_CHANNELS) -> int:
    """Return how many of the first neuron layers to record: those with at most `most` channels together, but at least
    one layer; 0 for a network without neurons. `shape`: (C, H, W) of the network's input.
    """
    found = Rates(network, len(neuron_layers(network)))
    with evaluating(network):
        network(torch.zeros(1, 1, *shape), None)
    found.close()
    widths = [found._seen[number].shape[2] for number in range(len(found._seen))]
    count, total = 0, 0
    for width in widths:
        total += width
        if total > most and count:
            break
        count += 1
    return count
