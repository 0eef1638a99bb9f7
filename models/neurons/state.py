"""The state of a network between steps: a tensor for each neuron layer, keyed by the layer's name, streams batched."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Have the network in evaluation mode within the block, and then each of its modules in its own mode again."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def stack_states(states: list[State]) -> State:
    """Join the states of several streams along the batch."""
    return {key: torch.cat([state[key] for state in states]) for key in states[0]}


def split_state(state: State) -> list[State]:
    """Return the state of each stream of a batch, with batch size 1: the inverse of `stack_states`."""
    if not state:
        return []
    parts = {key: tensor.split(1) for key, tensor in state.items()}
    return [{key: part[n] for key, part in parts.items()} for n in range(len(next(iter(parts.values()))))]


def zero_state(network: nn.Module, channels: int, height: int, width: int, batch: int = 1) -> State:
    """Return the state before the first step for inputs [batch, channels, height, width]: zeros for every neuron."""
    with torch.no_grad(), evaluating(network):
        _, state = network(torch.zeros(1, batch, channels, height, width), None)
    return {key: torch.zeros_like(tensor) for key, tensor in state.items()}
