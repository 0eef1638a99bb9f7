"""Neurons of a converted network: the equations of rules.py step by step in torch, or one compiled pass."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikesight.models.networks.converted import kernels as typed
from spikesight.models.networks.converted.rules import SpikeRule, differential_step, few_spikes, rule_step
from spikesight.models.neurons.config import NeuronConfig
from spikesight.models.neurons.layers import Neuron
from spikesight.models.neurons.state import State

kernels: Any = typed  # compiled functions take arguments by position, which a type checker cannot know
AGE = "age"  # state key: steps done, [N]


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

    def slots(self) -> list[str]:
        """Return the layer's state keys, in the order of the rule's arguments."""
        names = ["", ".sent"] if self.rule.remembers else [""]
        names += [".rate_in", ".rate_out"] if self.rule.differential else []
        return [self.key + name for name in names]

    def forward(self, x_seq: Tensor, state: State, steps: int | None = None, bias: Tensor | None = None) -> Tensor:
        """Run `steps` steps, repeating x_seq [1, ...]; `bias`: current at rest, for differential coding."""
        steps = x_seq.shape[0] if steps is None else steps
        if self.rule.kind == "few":
            return self._window(x_seq, steps)
        before = [state.get(slot) for slot in self.slots()]
        held = [torch.zeros_like(x_seq[0]) if v is None else v for v in before]
        if any(v.shape != x_seq.shape[1:] for v in held):
            raise ValueError(f"state of {self.key} is {tuple(held[0].shape)}, input needs {tuple(x_seq.shape[1:])}")
        fast = x_seq.dtype == torch.float32 and x_seq.device.type == "cpu"
        plain = self.rule.kind == "cascade" or self.rule.reset == "zero"  # too rarely used to be compiled
        run = self._compiled if fast and not plain else self._stepped
        ages = state[AGE] if self.rule.differential else torch.zeros(x_seq.shape[1])
        spikes, after = run(x_seq, held, steps, bias, ages)
        state.update(zip(self.slots(), after))
        return spikes

    def row(self, values: Tensor, x: Tensor) -> Tensor:
        """Return values [C] as a view that broadcasts over x [N, C, ...]."""
        return values.view(1, -1, *[1] * (x.ndim - 2)).to(x.dtype)

    def _window(self, x_seq: Tensor, steps: int) -> Tensor:
        if steps != self.rule.levels:
            raise ValueError(f"few-spikes neurons need their whole window of {self.rule.levels} steps, not {steps}")
        theta = self.row(self.theta, x_seq[0])
        return few_spikes(x_seq.mean(0), theta, self.rule) * self.row(self.amplitude, x_seq[0])

    def _stepped(
        self, x_seq: Tensor, held: list[Tensor], steps: int, bias: Tensor | None, ages: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Run the equations in torch, for any dtype and device."""
        theta, amplitude = self.row(self.theta, x_seq[0]), self.row(self.amplitude, x_seq[0])
        v, sent, spikes = held[0], held[-1], []
        rates = tuple(held)
        for t in range(steps):
            x = x_seq[min(t, x_seq.shape[0] - 1)]
            if self.rule.differential:
                assert bias is not None
                age = (ages + (t + 1)).view(-1, *[1] * (x.ndim - 1)).to(x.dtype)
                q, rates = differential_step(x, rates, age, bias, theta, self.rule)  # type: ignore[arg-type]
            else:
                q, v, sent = rule_step(x, v, sent, theta, self.rule)
            spikes.append(q * amplitude)
        after = list(rates) if self.rule.differential else [v, sent][: len(held)]
        return torch.stack(spikes), after

    def _compiled(
        self, x_seq: Tensor, held: list[Tensor], steps: int, bias: Tensor | None, ages: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
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
        after = [v.clone(memory_format=layout) for v in held]
        states = [flat(v) for v in after]
        theta, amplitude = row(self.theta), row(self.amplitude)
        start = np.float32(self.rule.start) * theta
        if self.rule.differential:
            assert bias is not None
            rest = flat(bias.expand(1, *shape[1:]))[0]
            count = ages.to(torch.float32).numpy()
            kernels.fire_differential(x, *states, count, rest, theta, self.rule.levels, amplitude, spikes)
        elif self.rule.kind == "multi":
            kernels.fire_multi(x, *states, start, theta, self.rule.levels, amplitude, spikes)
        else:
            limit = theta - start
            limit = limit if self.rule.inclusive else np.nextafter(limit, np.float32(np.inf))
            if self.rule.kind == "signed":
                kernels.fire_signed(x, *states, theta, limit, -start, amplitude, spikes)
            else:
                low, high = (np.float32(bound) * theta for bound in self.rule.room) if self.rule.room else (None, None)
                kernels.fire_if(x, *states, theta, limit, low, high, amplitude, spikes)
        return out.unflatten(0, (steps, shape[0])), after
