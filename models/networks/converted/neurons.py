"""Neurons of a converted network: the equations of rules.py step by step in torch, or one compiled pass."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikesight.models.networks.converted import kernels as typed
from spikesight.models.networks.converted.rules import SpikeRule, rule_step
from spikesight.models.neurons.config import NeuronConfig
from spikesight.models.neurons.layers import Neuron
from spikesight.models.neurons.state import State

kernels: Any = typed  # compiled functions take arguments by position, which a type checker cannot know


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
        fast = x_seq.dtype == torch.float32 and x_seq.device.type == "cpu"
        run = self._compiled if fast and self.rule.reset == "subtract" else self._stepped
        spikes, state[self.key] = run(x_seq, held, steps)
        return spikes

    def row(self, values: Tensor, x: Tensor) -> Tensor:
        """Return values [C] as a view that broadcasts over x [N, C, ...]."""
        return values.view(1, -1, *[1] * (x.ndim - 2)).to(x.dtype)

    def _stepped(self, x_seq: Tensor, v: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Run the equations in torch, for any dtype and device."""
        theta, amplitude = self.row(self.theta, x_seq[0]), self.row(self.amplitude, x_seq[0])
        spikes = []
        for t in range(steps):
            q, v = rule_step(x_seq[min(t, x_seq.shape[0] - 1)], v, theta, self.rule)
            spikes.append(q * amplitude)
        return torch.stack(spikes), v

    def _compiled(self, x_seq: Tensor, v: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Run all steps in one compiled pass, in the currents' memory layout (channels last or first)."""
        last = x_seq.ndim == 5 and not x_seq[0].is_contiguous()
        layout = torch.channels_last if last else torch.contiguous_format
        shape = x_seq.shape[1:]

        def flat(x: Tensor) -> np.ndarray:  # [..., C, H, W] in memory order as [rows, R]
            x = x.contiguous(memory_format=layout)
            return (x.permute(0, 2, 3, 1) if last else x).reshape(x.shape[0], -1).numpy()

        def row(values: Tensor) -> np.ndarray:
            return flat(self.row(values, x_seq[0]).expand(1, *shape[1:]))[0]

        x = flat(merged(x_seq)).reshape(x_seq.shape[0], shape[0], -1)
        out = torch.empty((steps * shape[0], *shape[1:]), dtype=torch.float32, memory_format=layout)
        spikes = (out.permute(0, 2, 3, 1) if last else out).reshape(steps, shape[0], -1).numpy()
        after = v.clone(memory_format=layout)
        theta, amplitude = row(self.theta), row(self.amplitude)
        limit = theta - np.float32(self.rule.v0) * theta
        limit = limit if self.rule.inclusive else np.nextafter(limit, np.float32(np.inf))
        low, high = (np.float32(bound) * theta for bound in self.rule.room) if self.rule.room else (None, None)
        kernels.fire_if(x, flat(after), theta, limit, low, high, amplitude, spikes)
        return out.unflatten(0, (steps, shape[0])), after
