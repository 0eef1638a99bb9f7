"""Neurons of a converted network: the equations of rules.py, step by step."""

import torch
from torch import Tensor

from spikesight.models.networks.converted.rules import SpikeRule, rule_step
from spikesight.models.neurons.config import NeuronConfig
from spikesight.models.neurons.layers import Neuron
from spikesight.models.neurons.state import State


def merged(x_seq: Tensor) -> Tensor:
    """Reshape [T, N, ...] to one batch [T N, ...]."""
    return x_seq.flatten(0, 1)


class SpikeLayer(Neuron):
    """A layer of converted neurons: currents [T or 1, N, C, ...] to spikes [T, N, C, ...]."""

    def __init__(self, rule: SpikeRule, channels: int) -> None:
        super().__init__(NeuronConfig(1.0, delay=False, inclusive=rule.inclusive, reset=rule.reset, kind="converted"))
        self.rule = rule
        self.theta: Tensor
        self.amplitude: Tensor
        self.register_buffer("theta", torch.ones(channels))
        self.register_buffer("amplitude", torch.ones(channels))

    def forward(self, x_seq: Tensor, state: State, steps: int | None = None) -> Tensor:
        """Run `steps` steps, repeating x_seq [1, ...]."""
        steps = x_seq.shape[0] if steps is None else steps
        before = state.get(self.key)
        held = torch.zeros_like(x_seq[0]) if before is None else before
        if held.shape != x_seq.shape[1:]:
            raise ValueError(f"state of {self.key} is {tuple(held.shape)}, input needs {tuple(x_seq.shape[1:])}")
        theta, amplitude = self.row(self.theta, x_seq[0]), self.row(self.amplitude, x_seq[0])
        spikes = []
        for t in range(steps):
            q, held = rule_step(x_seq[min(t, x_seq.shape[0] - 1)], held, theta, self.rule)
            spikes.append(q * amplitude)
        state[self.key] = held
        return torch.stack(spikes)

    def row(self, values: Tensor, x: Tensor) -> Tensor:
        """Return values [C] as a view that broadcasts over x [N, C, ...]."""
        return values.view(1, -1, *[1] * (x.ndim - 2)).to(x.dtype)
