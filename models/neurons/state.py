"""The state of a network between steps: a tensor for each neuron layer, keyed by the layer's name, streams batched."""

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


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
    with torch.no_grad():
        was_training = network.training
        network.eval()
        _, state = network(torch.zeros(1, batch, channels, height, width), None)
        network.train(was_training)
    return {key: torch.zeros_like(tensor) for key, tensor in state.items()}
