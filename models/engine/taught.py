"""A taught network's memory and head after its backbone's step, compiled: they take microseconds, where PyTorch's many
small operations took twice as long as the step itself. Imported only when needed: numba loads slowly.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesight.encoders.kernels.loop import loop
from spikesight.models.networks.taught import LEAST_RATE, SLICES, STEPS, TaughtNetwork
from spikesight.models.neurons.state import State

LEAST = np.float32(LEAST_RATE)


class HeadResult(NamedTuple):
    """The result of running the head."""

    logits: Tensor  # [T, N, K]
    rates: Tensor  # [T, N, S]: rates of the first layers' channels over the window
    state: State


@dataclass(frozen=True, eq=False)
class TaughtHead:
    """Memory and head of a taught network as plain arrays."""

    weight: NDArray[np.float32]  # [K, slices V]
    bias: NDArray[np.float32]  # [K]
    slices: int
    length: int  # steps in a slice
    input_places: int
    places: int  # parts into which each channel's map is divided
    width: int  # S, how many channels report rates over the window
    length_at: Callable[[float], int]

    @classmethod
    def of(cls, network: TaughtNetwork, layers: int) -> "TaughtHead":
        """Return the network's head; its first `layers` neuron layers report their rates."""
        config, memory, width = network.config, network.memory, sum(network.channels[:layers])
        weight, bias = (tensor.detach().numpy() for tensor in (network.head.weight, network.head.bias))
        return cls(
            weight, bias, config.slices, memory.length, config.input_places, config.places**2, width, memory.length_at
        )

    def at(self, span: float) -> "TaughtHead":
        """Return the head for steps of `span` times the trained length."""
        return replace(self, length=self.length_at(span))

    def state(self, n: int) -> State:
        """Return the state of n streams before their first step."""
        sums = torch.zeros(n, self.slices + 1, self.weight.shape[1] // self.slices, dtype=torch.float32)
        return {SLICES: sums, STEPS: torch.zeros(n, 1, dtype=torch.float32)}

    def run(self, x: NDArray[np.uint8], rates: NDArray[np.float32], state: State) -> HeadResult:
        """Run T steps of N streams one by one, so that batching changes no bit: input x [T, N, C, H, W] ([1, ...] if it
        is the same at each step) and the backbone's rates [T, N, R].
        """
        steps, streams = rates.shape[:2]
        before = state if SLICES in state else self.state(streams)
        sums, counted = before[SLICES].numpy().copy(), before[STEPS].numpy().copy()
        logits = np.empty((steps, streams, len(self.bias)), np.float32)
        watched = np.empty((steps, streams, self.width), np.float32)
        run(
            x, rates, self.input_places, self.length, sums, counted, self.weight, self.bias, self.places, logits,
            watched,
        )  # fmt: skip
        after = {SLICES: torch.from_numpy(sums), STEPS: torch.from_numpy(counted)}
        return HeadResult(torch.from_numpy(logits), torch.from_numpy(watched), after)


@loop
def run(x, rates, side, length, sums, steps, weight, bias, places, logits, watched):
    """Run all steps of all streams; update sums [N, slices + 1, V] and steps [N, 1] in place."""
    means = np.empty((sums.shape[1] - 1, sums.shape[2]), np.float32)
    features = np.empty(means.size, np.float32)
    for n in range(rates.shape[1]):
        for t in range(rates.shape[0]):
            add(rates[t, n], x[min(t, len(x) - 1), n], side, sums[n, -1])
            steps[n, 0] = remember(sums[n], steps[n, 0], length, means)
            average(means, places, watched[t, n])
            flat = means.ravel()
            for value in range(len(flat)):
                features[value] = np.sqrt(flat[value] + LEAST)
            answer(features, weight, bias, logits[t, n])


@loop
def add(rates, x, side, filling):
    """Add one step's observations to the slice being filled, [V]: rates [R], then x [C, H, W] averaged over places."""
    for value in range(len(rates)):
        filling[value] += rates[value]
    at = len(rates)
    if side:
        height, width = x.shape[1], x.shape[2]
        for channel in range(x.shape[0]):
            for row in range(side):
                top, bottom = row * height // side, -(-(row + 1) * height // side)
                for column in range(side):
                    left, right = column * width // side, -(-(column + 1) * width // side)
                    count = 0
                    for line in range(top, bottom):
                        for place in range(left, right):
                            count += x[channel, line, place] != 0
                    filling[at] += np.float32(count) / np.float32((bottom - top) * (right - left))
                    at += 1


@loop
def remember(sums, steps, length, means):
    """Update the memory and the means [slices, V] (models/networks/taught.py, Memory); return the steps counted."""
    slices = len(means)
    filled = np.int64(steps) % length + 1
    steps = min(steps + 1, np.float32(2 * length))
    part, scale = np.float32(filled) / np.float32(length), np.float32(1) / np.float32(min(steps, length))
    for s in range(slices):
        newer = part if s < slices - 1 else np.float32(1)
        for value in range(sums.shape[1]):
            means[s, value] = ((np.float32(1) - part) * sums[s, value] + newer * sums[s + 1, value]) * scale
    if filled == length:
        for s in range(slices):
            sums[s] = sums[s + 1]
        sums[slices] = 0
    return steps if steps < 2 * length else steps - length


@loop
def average(means, places, watched):
    """Write the means [slices, V] over slices and over the `places` of a channel into watched [S]."""
    scale = np.float32(1) / np.float32(len(means) * places)
    for channel in range(len(watched)):
        total = np.float32(0)
        for s in range(len(means)):
            for value in range(channel * places, (channel + 1) * places):
                total += means[s, value]
        watched[channel] = max(total * scale, np.float32(0))


@loop(fastmath={"reassoc"})
def answer(features, weight, bias, logits):
    """Compute logits [K] of features [F]; fastmath lets the sum run in vectors."""
    for k in range(len(bias)):
        total = np.float32(0)
        for value in range(len(features)):
            total += weight[k, value] * features[value]
        logits[k] = total + bias[k]
