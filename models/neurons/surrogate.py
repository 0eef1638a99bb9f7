"""Spike functions: an exact Heaviside step in the forward pass, a surrogate derivative in the backward pass.

With x = U - theta, the forward pass is 1 where x > 0 (or x >= 0) and the backward pass multiplies by `derivative(x)`.
The formulas are those of Zenke and Vogels (2021) and of the seed paper, section 2.3.3 (sigmoid, fast sigmoid,
triangular, arctan), and the rectangle of Wu et al. (2019). Every derivative is even, finite for every finite x and
largest at x = 0.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


class Surrogate(Protocol):
    """A derivative that replaces the step function's: `derivative(x)` has the shape and dtype of x."""

    def derivative(self, x: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Arctan:
    """Arctan surrogate, (alpha / 2) / (1 + (pi alpha x / 2)^2); area 1. The seed paper's choice and the default."""

    slope: float = 2.0

    def derivative(self, x: Tensor) -> Tensor:
        return self.slope / 2 / (1 + (math.pi / 2 * self.slope * x).square())


@dataclass(frozen=True)
class FastSigmoid:
    """Fast sigmoid surrogate, 1 / (1 + k |x|)^2; peak 1, area 2 / k."""

    slope: float = 25.0

    def derivative(self, x: Tensor) -> Tensor:
        return (1 + self.slope * x.abs()).square().reciprocal()


@dataclass(frozen=True)
class Sigmoid:
    """Sigmoid surrogate, k p (1 - p) with p = sigmoid(k x); area 1. 1 - p is sigmoid(-k x), to be finite and even."""

    slope: float = 4.0

    def derivative(self, x: Tensor) -> Tensor:
        return self.slope * torch.sigmoid(self.slope * x) * torch.sigmoid(-self.slope * x)


@dataclass(frozen=True)
class Triangular:
    """Triangular surrogate, max(0, gamma - |x|) / gamma^2; zero for |x| >= gamma, area 1."""

    slope: float = 1.0

    def derivative(self, x: Tensor) -> Tensor:
        return (self.slope - x.abs()).clamp_min(0) / self.slope**2


@dataclass(frozen=True)
class Rectangular:
    """Rectangular surrogate, alpha where |x| < 1 / (2 alpha), else 0; area 1."""

    slope: float = 1.0

    def derivative(self, x: Tensor) -> Tensor:
        return self.slope * (x.abs() < 0.5 / self.slope).to(x.dtype)


SURROGATES: dict[str, Callable[..., Surrogate]] = {
    "arctan": Arctan,
    "fast_sigmoid": FastSigmoid,
    "sigmoid": Sigmoid,
    "triangular": Triangular,
    "rectangular": Rectangular,
}


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, surrogate: Surrogate, inclusive: bool) -> Tensor:
        ctx.save_for_backward(x)
        ctx.surrogate = surrogate
        return (x >= 0 if inclusive else x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return gradients[0] * ctx.surrogate.derivative(x), None, None


def spike(x: Tensor, surrogate: Surrogate, *, inclusive: bool = False) -> Tensor:
    """Return spikes in {0, 1} of x's shape and dtype, x = U - theta; strict `>` unless `inclusive` (Eq. 2 of the seed).

    >>> x = torch.tensor([-1.0, 0.0, 0.5], requires_grad=True)
    >>> spikes = spike(x, Triangular())
    >>> spikes.tolist()
    [0.0, 0.0, 1.0]
    >>> spikes.sum().backward()
    >>> x.grad.tolist()
    [0.0, 1.0, 0.5]
    """
    return _Spike.apply(x, surrogate, inclusive)  # type: ignore[return-value]
