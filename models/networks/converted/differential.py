"""Differential coding between the nodes of a converted network: values are corrections of running means (DCGS, 2025).

A rate code sends x(t); its running mean is r(t) = r(t-1) + (x(t) - r(t-1)) / t, and what is sent here is
x(t) - r(t-1), which is zero while nothing changes. The state holds the running means.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from spikesight.models.networks.converted.neurons import AGE
from spikesight.models.neurons.state import State


def by_age(state: State, steps: int, like: Tensor) -> Tensor:
    """The number of each step, [T, N, 1, ...], counted from 1 at the stream's start."""
    age = state[AGE][None] + torch.arange(1, steps + 1, device=like.device)[:, None]
    return age.to(like.dtype).view(*age.shape, *[1] * (like.ndim - 2))


def currents(x_seq: Tensor, state: State, key: str, *, mean: bool = False) -> Tensor:
    """Corrections to the values that a rate code would carry (or to their running mean). State: the running mean."""
    before, after = _running(x_seq, state, key, lambda x, _: x)
    return after if mean else before + x_seq


def corrections(x_seq: Tensor, state: State, key: str) -> Tensor:
    """Values of a rate code to corrections of their running mean: exactly zero while the input stays the same."""
    return x_seq - _running(x_seq, state, key, torch.sub)[0]


def _running(
    x_seq: Tensor, state: State, key: str, correction: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """The running mean before and after each step, r + c / t with the correction c of (x, r); left in the state."""
    age = by_age(state, x_seq.shape[0], x_seq)
    rate = state.get(f"{key}.rate")
    rates = [torch.zeros_like(x_seq[0]) if rate is None else rate]
    for t, x in enumerate(x_seq):
        rates.append(rates[-1] + correction(x, rates[-1]) / age[t])
    state[f"{key}.rate"] = rates[-1]
    return torch.stack(rates[:-1]), torch.stack(rates[1:])


def rate_corrections(rates: Tensor, state: State, key: str) -> Tensor:
    """Running means at each step to their corrections t (r(t) - r(t-1)). State: the last mean."""
    age = by_age(state, rates.shape[0], rates)
    before = state.get(f"{key}.pooled")
    before = torch.zeros_like(rates[0]) if before is None else before
    state[f"{key}.pooled"] = rates[-1]
    return age * (rates - torch.cat([before[None], rates[:-1]]))
