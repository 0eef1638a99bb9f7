"""The training forward pass: autocast, and the firing rate for the spike penalty."""

from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spikesight.models.neurons.layers import Neuron
from spikesight.models.neurons.state import State
from spikesight.training.config import TrainConfig


class Pass(NamedTuple):
    """The result of one training forward pass over T steps of N samples."""

    logits: Tensor  # [T, N, K]
    state: State
    firing_rate: Tensor  # scalar, mean over layers of spikes a neuron a step; 0 without a spike penalty


class Trainee(nn.Module):
    """A network wrapped for training; it shares the network's weights."""

    def __init__(self, network: nn.Module, config: TrainConfig, device: torch.device) -> None:
        super().__init__()
        self.network, self.config, self.device_type = network, config, device.type
        self._rates: list[Tensor] = []
        if config.spike_penalty:
            for module in network.modules():
                if isinstance(module, Neuron):
                    module.register_forward_hook(self._collect)

    def _collect(self, _: nn.Module, __: Any, spikes: Tensor) -> None:
        self._rates.append(spikes.float().mean())

    def forward(self, x_seq: Tensor, state: State) -> Pass:
        """Run x_seq [T, N, C, H, W] from `state`, the neurons' state before the first step."""
        self._rates = []
        autocast = self.config.precision == "bf16"
        with torch.autocast(self.device_type, torch.bfloat16) if autocast else nullcontext():
            logits, after = self.network(x_seq, state)
        return Pass(logits, after, torch.stack(self._rates).mean() if self._rates else logits.new_zeros(()))
