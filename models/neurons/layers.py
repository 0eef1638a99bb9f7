"""Spiking neurons as pure steps and thin modules.

One update rule with five options covers the LIF and IF of the seed paper, snnTorch, SpikingJelly and Norse (LIFBox):

  delayed reset      U[t] = beta U[t-1] + g X[t] - theta S[t-1]          (subtract; Eq. 1 of the seed paper)
                     U[t] = beta (1 - S[t-1]) U[t-1] + g X[t]            (zero)
  immediate reset    U[t] = beta V[t-1] + g X[t],  then  V[t] = U[t] - theta S[t]  or  (1 - S[t]) U[t]
  in both            S[t] = 1 if U[t] > theta (or >=) else 0             (Eq. 2)

The state is one tensor: U[t] with the delayed reset (S[t] follows from it), V[t] with the immediate one. Two further
kinds of neuron are causal as well: CLIF, whose reset grows with recent firing, and the sliding PSN, a filter of the
last inputs without a reset. The rectifier (ReLU) does not spike: with it, a network is its own ANN counterpart.
"""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from spikesight.models.neurons.config import PAPER_LIF, NeuronConfig
from spikesight.models.neurons.fused import can_fuse, fused_steps
from spikesight.models.neurons.pace import pace, paced_step, why_not_paced
from spikesight.models.neurons.state import State
from spikesight.models.neurons.surrogate import spike


def step(x: Tensor, v: Tensor, config: NeuronConfig, beta: float | Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Step every neuron once: input current x and state v, both [N, ...], to (spikes in {0, 1}, new state).

    `beta` replaces the configured leak (PLIF's learnt one). Kind "lif" only.

    >>> current, potential, train = torch.tensor([0.75]), torch.zeros(1), ""
    >>> for _ in range(6):
    ...     spikes, potential = step(current, potential, PAPER_LIF)
    ...     train += str(int(spikes))
    >>> train
    '010010'
    """
    leak = config.beta if beta is None else beta
    surrogate = config.spike_function()
    current = x * (1 - leak) if config.scale_input else x
    if config.delay:
        fired = spike(v - config.theta, surrogate, inclusive=config.inclusive)
        fired = fired.detach() if config.detach_reset else fired
        u = (
            leak * v + current - config.theta * fired
            if config.reset == "subtract"
            else leak * (1 - fired) * v + current
        )
        return spike(u - config.theta, surrogate, inclusive=config.inclusive), u
    u = leak * v + current
    spikes = spike(u - config.theta, surrogate, inclusive=config.inclusive)
    fired = spikes.detach() if config.detach_reset else spikes
    return spikes, u - config.theta * fired if config.reset == "subtract" else (1 - fired) * u


class Neuron(nn.Module):
    """A layer of neurons, x_seq [T, N, ...] to spikes of the same shape; it reads and updates its entry of `state`."""

    def __init__(self, config: NeuronConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PAPER_LIF
        self.key = ""  # key of the layer's state, set by the network
        self.span = 1.0  # step length relative to training (models/neurons/pace.py); the state is W below 1
        if config.learn_beta:
            self.w = nn.Parameter(torch.tensor(math.log((1 - config.beta) / config.beta)))

    def beta(self) -> float | Tensor:
        """Return the leak: PLIF's 1 - sigmoid(w) or the configured one."""
        return 1 - torch.sigmoid(self.w) if self.config.learn_beta else self.config.beta

    def read(self, state: State, x_seq: Tensor, part: str = "") -> Tensor:
        """Return the layer's state, zeros before the first step; membranes are at least float32."""
        key = self.key + part
        if key not in state:
            return torch.zeros_like(x_seq[0], dtype=torch.promote_types(x_seq.dtype, torch.float32))
        if state[key].shape != x_seq.shape[1:]:
            shapes = f"{tuple(state[key].shape)}, input needs {tuple(x_seq.shape[1:])}"
            raise ValueError(f"state of {key or 'neuron'} is {shapes}")
        return state[key]

    def forward(self, x_seq: Tensor, state: State) -> Tensor:
        if self.span != 1:
            return self.paced(x_seq, state)
        if can_fuse(x_seq, self.config):
            before = self.read(state, x_seq) if self.key in state else None
            spikes, state[self.key] = fused_steps(x_seq, before, self.config, self.beta())
            return spikes
        v = self.read(state, x_seq)
        beta, spikes = self.beta(), []
        for x in x_seq:
            s, v = step(x, v, self.config, beta)
            spikes.append(s)
        state[self.key] = v
        return torch.stack(spikes).to(x_seq.dtype)

    def paced(self, x_seq: Tensor, state: State) -> Tensor:
        """Return the spikes of steps that last `span` times a trained one."""
        beta, w, spikes = float(self.beta()), self.read(state, x_seq), []
        own = pace(beta, self.config.theta, self.span, delay=self.config.delay)
        for x in x_seq:
            s, w = paced_step(x * (1 - beta) if self.config.scale_input else x, w, self.config, own)
            spikes.append(s)
        state[self.key] = w
        return torch.stack(spikes).to(x_seq.dtype)


class ComplementaryNeuron(Neuron):
    """CLIF (Huang et al., ICML 2024): a second potential m counts recent spikes and deepens the reset.

    U[t] = beta V[t-1] + g X[t];  S[t] = 1 if U[t] > theta;  m[t] = m[t-1] sigmoid((1 - beta) U[t]) + S[t]; V[t] = U[t]
    - S[t] (theta + sigmoid(m[t])). State: V, and m under the key with ".m".
    """

    def forward(self, x_seq: Tensor, state: State) -> Tensor:
        config, beta, surrogate = self.config, self.beta(), self.config.spike_function()
        v, m, spikes = self.read(state, x_seq), self.read(state, x_seq, ".m"), []
        for x in x_seq:
            u = beta * v + (x * (1 - beta) if config.scale_input else x)
            s = spike(u - config.theta, surrogate, inclusive=config.inclusive)
            fired = s.detach() if config.detach_reset else s
            m = m * torch.sigmoid((1 - beta) * u) + fired
            v = u - fired * (config.theta + torch.sigmoid(m))
            spikes.append(s)
        state[self.key], state[self.key + ".m"] = v, m
        return torch.stack(spikes).to(x_seq.dtype)


class SlidingNeuron(Neuron):
    """Sliding PSN (Fang et al., NeurIPS 2023): S[t] = 1 if sum_i w_i X[t-i] + b >= 0; each layer learns one w and b.

    w starts at 1, 1/2, 1/4, ... (newest first), b at -theta. State: the last inputs, X[t-1] under the key, X[t-2] under
    the key with ".2", and so on.
    """

    def __init__(self, config: NeuronConfig | None = None) -> None:
        super().__init__(config)
        self.weight = nn.Parameter(0.5 ** torch.arange(self.config.taps))
        self.bias = nn.Parameter(torch.tensor(-float(self.config.theta)))

    def forward(self, x_seq: Tensor, state: State) -> Tensor:
        parts = [""] if self.config.taps == 1 else ["", *(f".{i}" for i in range(2, self.config.taps))]
        past = [self.read(state, x_seq, part) for part in reversed(parts)]
        inputs = torch.cat([torch.stack(past), x_seq])  # X[t - len(past)] ... X[t]
        y, steps = self.bias, len(x_seq)
        for i, w in enumerate(self.weight):
            begin = len(past) - i
            y = y + w * inputs[begin : begin + steps]
        for i, part in enumerate(parts, 1):
            state[self.key + part] = inputs[-i]
        return spike(y, self.config.spike_function(), inclusive=True).to(x_seq.dtype)


class Rectifier(Neuron):
    """ReLU, max(0, x), without state or spikes; with it a network is the ANN that its spiking form is compared to."""

    def forward(self, x_seq: Tensor, state: State) -> Tensor:  # noqa: ARG002
        return x_seq.relu()


NEURONS: dict[str, type[Neuron]] = {
    "lif": Neuron,
    "clif": ComplementaryNeuron,
    "psn": SlidingNeuron,
    "relu": Rectifier,
}
"""Neuron layers by `NeuronConfig.kind`."""


def make_neuron(config: NeuronConfig) -> Neuron:
    """Return the neuron layer of a configuration. Raises ValueError for an unknown kind."""
    if config.kind not in NEURONS:
        raise ValueError(f"unknown kind of neuron {config.kind!r}; known: {', '.join(NEURONS)}")
    return NEURONS[config.kind](config)


def spikes_at_all(network: nn.Module) -> bool:
    """Return whether any neuron of the network spikes; if none does, it is an ANN."""
    return any(isinstance(m, Neuron) and not isinstance(m, Rectifier) for m in network.modules())


def neuron_names(network: nn.Module) -> tuple[str, ...]:
    """Return the names of the neuron layers, in the network's order."""
    return tuple(name for name, module in network.named_modules() if isinstance(module, Neuron))


@contextmanager
def watching(
    network: nn.Module,
    kinds: type[nn.Module] | tuple[type[nn.Module], ...],
    see: Callable[[str, Any, Tensor, Tensor], None],
) -> Iterator[None]:
    """Within the block, call `see(name, module, x, y)` after each forward pass x -> y of a module of these kinds; y has
    its gradients.
    """

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda module, given, y: see(name, module, given[0].detach(), y)

    handles = [m.register_forward_hook(hook(name)) for name, m in network.named_modules() if isinstance(m, kinds)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def at_pace(network: nn.Module, span: float) -> nn.Module:
    """Return a copy, sharing the weights, whose steps last `span` in (0, 1] times the trained ones.

    Raises ValueError if a neuron supports no other step length.
    """
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    twin = copy.deepcopy(network, shared)
    for module in twin.modules():
        module._forward_hooks.clear()  # hooks of the original stay with it
        module._forward_pre_hooks.clear()
        if isinstance(module, Neuron) and (reason := why_not_paced(module.config)):
            raise ValueError(reason)
        if hasattr(module, "span"):  # a neuron layer, or a Memory
            cast(Neuron, module).span = span
    return twin


def name_states(network: nn.Module) -> None:
    """Set each neuron layer's state key to its path in the network."""
    for name, module in network.named_modules():
        if isinstance(module, Neuron):
            module.key = name
