"""Run neurons with shorter steps than they were trained with.

The trained rule, U[t] = beta U[t-1] + X[t] - theta S[t-1], is the present current plus a memory: U[t] = W[t] + X[t]
with W[t+1] = beta U[t] - theta S[t]. The memory is the exact step (zero-order hold) of a leaky integrator, tau dW/dt =
-W + (beta X - theta S) / (1 - beta) with tau = -D / ln beta, over the trained bin D. A step that lasts the share r of D
is therefore

  U[t] = W[t] + X[t],   S[t] = 1 if U[t] > theta,   W[t+1] = beta^r W[t] + c (beta X[t] - theta S[t]),
  c = (1 - beta^r) / (1 - beta)

This is the trained rule at r = 1. At every r a current passes through the whole network within its step, and over time
the mean membrane is (X - theta rate) / (1 - beta). With the immediate reset, beta theta replaces theta in W.
Thresholds, batch norms and the read-out stay valid, because at every r an input shows the events of the last D.
"""

from typing import NamedTuple

from torch import Tensor

from spikesight.models.neurons.config import NeuronConfig
from spikesight.models.neurons.surrogate import spike


class Pace(NamedTuple):
    """The constants of a step's memory update: W <- keep W + (charge X - back S)."""

    keep: float
    charge: float
    back: float


def pace(beta: float, theta: float, span: float, *, delay: bool) -> Pace:
    """Return the constants of a step of relative length `span`; a spike subtracts `theta`, delayed or not."""
    keep = beta**span
    share = span if beta == 1 else (1 - keep) / (1 - beta)
    return Pace(keep, share * beta, share * (theta if delay else beta * theta))


def paced_step(current: Tensor, w: Tensor, config: NeuronConfig, pace: Pace) -> tuple[Tensor, Tensor]:
    """Step every neuron once: input current (with gain) and memory, both [N, ...], to (spikes, new memory)."""
    spikes = spike(w + current - config.theta, config.spike_function(), inclusive=config.inclusive)
    fired = spikes.detach() if config.detach_reset else spikes
    return spikes, pace.keep * w + (pace.charge * current - pace.back * fired)


def why_not_paced(config: NeuronConfig) -> str:
    """Return why neurons of this kind support no other step length, as a sentence; empty if they do."""
    if config.kind != "lif":
        return f"neurons of kind {config.kind!r} have no memory that a shorter step could leave in part"
    return "" if config.reset == "subtract" else "a reset to zero has no part of a step"
