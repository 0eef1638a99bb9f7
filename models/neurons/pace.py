"""Neurons that step at another pace than the one they were trained at.

The trained rule, U[t] = beta U[t-1] + X[t] - theta S[t-1], is the current of the moment and a memory: U[t] = W[t] +
X[t] with W[t+1] = beta U[t] - theta S[t]. The memory is the exact step (zero-order hold) of a leaky integrator,
tau dW/dt = -W + (beta X - theta S) / (1 - beta) with tau = -D / ln beta, by the trained bin D. A step that lasts the
share r of D is therefore

    U[t] = W[t] + X[t],   S[t] = 1 if U[t] > theta,   W[t+1] = beta^r W[t] + c (beta X[t] - theta S[t]),
    c = (1 - beta^r) / (1 - beta)

It is the trained rule at r = 1; at every r a current comes through a whole network in its own step, and over time the
mean membrane is (X - theta rate) / (1 - beta). With the immediate reset, beta theta stands for theta in W. Thresholds,
batch norms and the read-out keep their meaning, because an input shows what came in the last D at any pace.
"""

from typing import NamedTuple

from torch import Tensor

from spikesight.models.neurons.config import NeuronConfig
from spikesight.models.neurons.surrogate import spike

Span = float | Tensor
"""A step's share of the trained one; a tensor [] in a file whose user says it with every step."""


class Pace(NamedTuple):
    """What a step does to the memory: W <- keep W + (charge X - back S)."""

    keep: Span
    charge: Span
    back: Span


def pace(beta: float, theta: float, span: Span, *, delay: bool) -> Pace:
    """Constants of a step that lasts the share `span` of the trained one; a spike subtracts `theta`, delayed or not."""
    keep = beta**span
    share = span if beta == 1 else (1 - keep) / (1 - beta)
    return Pace(keep, share * beta, share * (theta if delay else beta * theta))


def paced_step(current: Tensor, w: Tensor, config: NeuronConfig, pace: Pace) -> tuple[Tensor, Tensor]:
    """One step of every neuron: input current (its gain in it) and memory, both [N, ...], to (spikes, new memory)."""
    spikes = spike(w + current - config.theta, config.spike_function(), inclusive=config.inclusive)
    fired = spikes.detach() if config.detach_reset else spikes
    return spikes, pace.keep * w + (pace.charge * current - pace.back * fired)


def unpaced(config: NeuronConfig) -> str:
    """Why neurons of this kind have no other pace; empty where they have."""
    if config.kind != "lif":
        return f"neurons of kind {config.kind!r} have no memory that a shorter step could leave in part"
    return "" if config.reset == "subtract" else "a reset to zero has no part of a step"
