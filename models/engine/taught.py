"""A taught network's memory and head after its backbone's step, in NumPy, whose small operations cost less than
PyTorch's.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesight.models.networks.taught import LEAST_RATE, SLICES, STEPS, TaughtNetwork
from spikesight.models.neurons.state import State


class HeadResult(NamedTuple):
    """The result of running the head."""

    logits: Tensor  # [T, N, K]
    rates: Tensor  # [T, N, S]: rates of the first layers' channels over the window
    state: State


class TaughtHead:
    """Memory and head of a taught network for steps of `span` times the trained length (None: the network's); its first
    `layers` neuron layers report their rates.
    """

    def __init__(self, network: TaughtNetwork, layers: int, span: float | None = None) -> None:
        self.network, self.layers = network, layers
        self._length = network.memory.length_at(network.memory.span if span is None else span)
        self.width = sum(network.channels[:layers])  # S
        self._weight, self._bias = (tensor.detach().numpy() for tensor in (network.head.weight, network.head.bias))

    def at(self, span: float) -> "TaughtHead":
        """Return the head for steps of another length."""
        return TaughtHead(self.network, self.layers, span)

    def state(self, n: int) -> State:
        """Return the state of n streams before their first step."""
        slices = self.network.config.slices
        sums = torch.zeros(n, slices + 1, self._weight.shape[1] // slices, dtype=torch.float32)
        return {SLICES: sums, STEPS: torch.zeros(n, 1, dtype=torch.float32)}

    def run(self, x: Tensor, rates: Tensor, state: State) -> HeadResult:
        """Run T steps of N streams, whose batching changes no bit: input x [T, N, C, H, W] and the backbone's rates
        [T, N, R].
        """
        config, length = self.network.config, np.float32(self._length)
        before = state if SLICES in state else self.state(rates.shape[1])
        sums, counted = before[SLICES].numpy().copy(), before[STEPS].numpy()
        logits, watched = list[NDArray[np.float32]](), list[NDArray[np.float32]]()
        for observed in self.network.observed(x, rates).numpy():
            sums[:, -1] += observed
            filled, counted = counted % length + 1, counted + 1
            part, scale = (filled / length)[:, :, None], 1 / np.minimum(counted, length)[:, :, None]
            means = (1 - part) * sums[:, :-1]
            means[:, :-1] += part * sums[:, 1:-1]
            means[:, -1] += sums[:, -1]
            means *= scale
            full = filled[:, 0] == length
            if full.any():
                sums[full, :-1], sums[full, -1] = sums[full, 1:], 0
                counted = np.where(counted < 2 * length, counted, counted - length)
            features = np.sqrt(means.reshape(len(sums), -1) + np.float32(LEAST_RATE))
            logits.append(np.einsum("nf,kf->nk", features, self._weight) + self._bias)
            if self.width:
                seen = means[:, :, : self.width * config.places**2].reshape(*means.shape[:2], self.width, -1)
                watched.append(seen.mean((1, 3)).clip(0))
        shown = np.stack(watched) if self.width else np.zeros((*rates.shape[:2], 0), np.float32)
        after = {SLICES: torch.from_numpy(sums), STEPS: torch.from_numpy(counted)}
        return HeadResult(torch.from_numpy(np.stack(logits)), torch.from_numpy(shown), after)
