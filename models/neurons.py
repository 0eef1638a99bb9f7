"""Spiking neurons as pure steps and thin modules.

One update rule with five options covers the seed paper's LIF and IF and those of snnTorch, SpikingJelly and Norse:

    delayed reset      U[t] = beta U[t-1] + g X[t] - theta S[t-1]          (subtract; Eq. 1 of the seed paper)
                       U[t] = beta (1 - S[t-1]) U[t-1] + g X[t]            (zero)
    immediate reset    U[t] = beta V[t-1] + g X[t],  then  V[t] = U[t] - theta S[t]  or  (1 - S[t]) U[t]
    in both            S[t] = 1 if U[t] > theta (or >=) else 0             (Eq. 2)

The state is one tensor: U[t] with the delayed reset (S[t] follows from it), V[t] with the immediate one.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from models.surrogate import SURROGATES, Surrogate, spike

State = dict[str, Tensor]


@dataclass(frozen=True)
class NeuronConfig:
    """The options of one neuron layer. The defaults are the seed paper's LIF with its arctan surrogate."""

    beta: float = 0.5  # leak a step, 0 to 1; 1 is the IF neuron
    theta: float = 1.0  # firing threshold, > 0
    reset: Literal["subtract", "zero"] = "subtract"
    delay: bool = True  # the reset of S[t-1] acts in step t
    inclusive: bool = False  # fire at U >= theta
    scale_input: bool = False  # input gain g = 1 - beta
    detach_reset: bool = True  # no gradient through the reset
    learn_beta: bool = False  # PLIF (Fang et al. 2021): beta = 1 - sigmoid(w), one w a layer
    surrogate: str = "arctan"
    slope: float | None = None  # the surrogate's parameter; None takes its default

    def __post_init__(self) -> None:
        if not 0 <= self.beta <= 1:
            raise ValueError(f"beta must lie in [0, 1], not {self.beta}")
        if self.theta <= 0:
            raise ValueError(f"theta must be positive, not {self.theta}")
        if self.reset not in ("subtract", "zero"):
            raise ValueError(f"reset must be 'subtract' or 'zero', not {self.reset!r}")
        if self.surrogate not in SURROGATES:
            raise ValueError(f"unknown surrogate {self.surrogate!r}; known: {', '.join(SURROGATES)}")
        if self.learn_beta and not 0 < self.beta < 1:
            raise ValueError("a learnable beta must start strictly between 0 and 1")

    def spike_function(self) -> Surrogate:
        """The surrogate with its parameter."""
        kind = SURROGATES[self.surrogate]
        return kind() if self.slope is None else kind(self.slope)


PAPER_LIF = NeuronConfig()
IF = NeuronConfig(beta=1.0)
PLIF = NeuronConfig(reset="zero", delay=False, inclusive=True, scale_input=True, learn_beta=True)


def step(x: Tensor, v: Tensor, config: NeuronConfig, beta: float | Tensor | None = None) -> tuple[Tensor, Tensor]:
    """One step of every neuron: input current x and state v, both [N, ...], to (spikes in {0, 1}, new state).

    `beta` replaces the configured leak (PLIF's learnt one).

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
    """A layer of neurons: x_seq [T, N, ...] to spikes of the same shape, its state read from and written to `state`."""

    def __init__(self, config: NeuronConfig = PAPER_LIF) -> None:
        super().__init__()
        self.config = config
        self.key = ""  # the state's name, given by the network that owns the layer
        if config.learn_beta:
            self.w = nn.Parameter(torch.tensor(math.log((1 - config.beta) / config.beta)))

    def beta(self) -> float | Tensor:
        """The leak: PLIF's 1 - sigmoid(w) or the configured one."""
        return 1 - torch.sigmoid(self.w) if self.config.learn_beta else self.config.beta

    def forward(self, x_seq: Tensor, state: State) -> Tensor:
        v = state.get(self.key)
        if v is None:
            v = torch.zeros_like(x_seq[0])
        elif v.shape != x_seq.shape[1:]:
            raise ValueError(
                f"state of {self.key or 'neuron'} is {tuple(v.shape)}, input needs {tuple(x_seq.shape[1:])}"
            )
        beta, spikes = self.beta(), []
        for x in x_seq:
            s, v = step(x, v, self.config, beta)
            spikes.append(s)
        state[self.key] = v
        return torch.stack(spikes)


def name_states(network: nn.Module) -> None:
    """Give each neuron layer of `network` its state's name: its path among the modules."""
    for name, module in network.named_modules():
        if isinstance(module, Neuron):
            module.key = name


def stack_states(states: list[State]) -> State:
    """Join the states of several streams along the batch."""
    return {key: torch.cat([state[key] for state in states]) for key in states[0]}


def split_state(state: State) -> list[State]:
    """The state of each stream of a batch, batch size 1 each: the inverse of `stack_states`."""
    if not state:
        return []
    parts = {key: tensor.split(1) for key, tensor in state.items()}
    return [{key: part[n] for key, part in parts.items()} for n in range(len(next(iter(parts.values()))))]
