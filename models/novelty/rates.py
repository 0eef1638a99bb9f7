"""Firing rates by channel of the first neuron layers: what `known` is judged by.

Early layers see the kind of input (its edges, texture, density), late ones what class it is like; that an input is of
another kind than the training's shows in the early ones (DECISIONS.md, "known").
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.models.neurons.layers import Neuron

MOST_CHANNELS = 64  # of all layers together


def neuron_layers(network: nn.Module) -> list[nn.Module]:
    """The neuron layers in the network's order."""
    return [module for module in network.modules() if isinstance(module, Neuron)]


class Rates:
    """Shares of each channel's neurons that fired, by hooks on the first `layers` neuron layers.

    `read` gives float32 [T, N, R] of the last forward pass: the channels of those layers one after another.
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
        """The rates of the last forward pass, float32 [T, N, R]."""
        return torch.cat([self._seen[number] for number in range(len(self._modules))], 2)

    def close(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()


@torch.no_grad()
def layers_to_watch(network: nn.Module, shape: tuple[int, int, int], most: int = MOST_CHANNELS) -> int:
    """How many of the first neuron layers have at most `most` channels together, but at least one; 0 without any.

    `shape` (C, H, W) is the network's input.
    """
    found = Rates(network, len(neuron_layers(network)))
    was_training = network.training
    network.eval()
    network(torch.zeros(1, 1, *shape), None)
    network.train(was_training)
    found.close()
    widths = [found._seen[number].shape[2] for number in range(len(found._seen))]
    count, total = 0, 0
    for width in widths:
        total += width
        if total > most and count:
            break
        count += 1
    return count
