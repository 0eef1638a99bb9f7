"""The network as it is trained: one pass with autocast, gradient checkpointing over time and the firing rate."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from spikesight.models.neurons.layers import Neuron
from spikesight.models.neurons.state import State
from spikesight.training.config import TrainConfig


class Pass(NamedTuple):
    """The result of one training forward pass over T steps of N samples."""

    logits: Tensor  # [T, N, K]
    state: State
    firing_rate: Tensor  # scalar, mean of the layers' spikes a neuron a step; 0 where nobody asked


class Trainee(nn.Module):
    """Wraps a network for training; weights stay the network's."""

    def __init__(self, network: nn.Module, config: TrainConfig, device: torch.device) -> None:
        super().__init__()
        self.network, self.config, self.device_type = network, config, device.type
        self._rates: list[Tensor] = []
        if config.objective.spike_penalty:
            for module in network.modules():
                if isinstance(module, Neuron):
                    module.register_forward_hook(self._collect)
        self._run: Any = torch.compile(network, dynamic=False) if config.execution.compile else network

    def _collect(self, _: nn.Module, __: Any, spikes: Tensor) -> None:
        self._rates.append(spikes.float().mean())

    def forward(self, x_seq: Tensor, state: State) -> Pass:
        """x_seq [T, N, C, H, W] and the state before it."""
        pieces = (
            x_seq.split(self.config.execution.checkpoint_steps) if self.config.execution.checkpoint_steps else [x_seq]
        )
        logits, rates = [], []
        for piece in pieces:
            if self.config.execution.checkpoint_steps:
                out = checkpoint(
                    self._piece, piece, state, use_reentrant=False, context_fn=self._recompute_contexts
                )  # fmt: skip
            else:
                out = self._piece(piece, state)
            assert isinstance(out, Pass)
            logits.append(out.logits)
            rates.append(out.firing_rate * (len(piece) / len(x_seq)))
            state = out.state
        return Pass(torch.cat(logits), state, torch.stack(rates).sum())

    def _piece(self, x_seq: Tensor, state: State) -> Pass:
        self._rates = []
        autocast = self.config.execution.precision == "bf16"
        with torch.autocast(self.device_type, torch.bfloat16) if autocast else nullcontext():
            logits, after = self._run(x_seq, state)
        rate = torch.stack(self._rates).mean() if self._rates else logits.new_zeros(())
        return Pass(logits, after, rate)

    def _recompute_contexts(self) -> tuple[Any, Any]:
        return nullcontext(), frozen_statistics(self.network)


@contextmanager
def frozen_statistics(network: nn.Module) -> Iterator[None]:
    """Batch norms keep their running statistics: a recomputed pass must not count twice."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum
