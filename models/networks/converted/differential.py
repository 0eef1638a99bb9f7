"""Differential coding between nodes of a converted network: values are corrections of running means (DCGS, 2025).

A rate code sends x(t), whose running mean is r(t) = r(t-1) + (x(t) - r(t-1)) / t. Differential coding sends x(t) -
r(t-1), which is zero while nothing changes. The state holds the running means.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from spikesight.models.networks.converted.neurons import AGE
from spikesight.models.neurons.state import State


def by_age(state: State, steps: int, like: Tensor) -> Tensor:
    """Return each step's number, [T, N, 1, ...], counted from 1 at the stream's start."""
    age = state[AGE][None] + torch.arange(1, steps + 1, device=like.device)[:, None]
    return age.to(like.dtype).view(*age.shape, *[1] * (like.ndim - 2))


def currents(x_seq: Tensor, state: State, key: str, *, mean: bool = False) -> Tensor:
    """Decode corrections to the values of a rate code, or with `mean` to their running mean, which the state keeps."""
    before, after = _running(x_seq, state, key, lambda x, _: x)
    return after if mean else before + x_seq


def corrections(x_seq: Tensor, state: State, key: str) -> Tensor:
    """Encode values of a rate code as corrections of their running mean: exactly zero while the input is constant."""
    return x_seq - _running(x_seq, state, key, torch.sub)[0]


def _running(
    x_seq: Tensor, state: State, key: str, correction: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the running mean before and after each step, r + c / t with correction c(x, r); update the state."""
    age = by_age(state, x_seq.shape[0], x_seq)
    rate = state.get(f"{key}.rate")
    rates = [torch.zeros_like(x_seq[0]) if rate is None else rate]
    for t, x in enumerate(x_seq):
        rates.append(rates[-1] + correction(x, rates[-1]) / age[t])
    state[f"{key}.rate"] = rates[-1]
    return torch.stack(rates[:-1]), torch.stack(rates[1:])


def rate_corrections(rates: Tensor, state: State, key: str) -> Tensor:
    """Return the corrections t (r(t) - r(t-1)) of running means at each step. State: the last mean."""
    age = by_age(state, rates.shape[0], rates)
    before = state.get(f"{key}.pooled")
    before = torch.zeros_like(rates[0]) if before is None else before
    state[f"{key}.pooled"] = rates[-1]
    return age * (rates - torch.cat([before[None], rates[:-1]]))
