"""How converted neurons turn current into spikes: the equation, one step at a time.

A layer emits q theta with q = H(v >= theta), so that the mean of its output over T steps estimates ReLU of its mean
input (Rueckauer et al. 2017); v(0) = theta/2 rounds to nearest. Then v <- v - q theta (soft reset). States hold
v - v(0), so that zeros are the state before the first step. `bounds` clamp v: charge accumulated before the earlier
layers have reached their rates is dropped instead of causing spikes while the answer is read.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class SpikeRule:
    """The firing rule of all neurons of a converted network."""

    v0: float = 0.5  # v(0) as a share of theta
    inclusive: bool = False  # fire at v >= theta
    reset: Literal["subtract", "zero"] = "subtract"  # "zero" fails in deep networks
    bounds: tuple[float, float] | None = None  # soft reset: v is clamped to these after a step, in thresholds

    def __post_init__(self) -> None:
        if not 0 <= self.v0 < 1:
            raise ValueError(f"v0 must lie in [0, 1) thresholds, not {self.v0}")
        if self.reset not in ("subtract", "zero"):
            raise ValueError("reset must be 'subtract' or 'zero'")
        if self.bounds is not None:
            if self.reset != "subtract":
                raise ValueError("bounds need reset 'subtract'")
            if len(self.bounds) != 2 or not -1e6 <= self.bounds[0] <= self.v0 <= self.bounds[1] <= 1e6:
                raise ValueError(f"bounds must be two numbers with v0 = {self.v0} between them, not {self.bounds}")

    @property
    def room(self) -> tuple[float, float] | None:
        """Bounds of the state v - v(0) in thresholds; None without bounds."""
        return self.bounds and (self.bounds[0] - self.v0, self.bounds[1] - self.v0)


def rule_step(x: Tensor, v: Tensor, theta: Tensor, rule: SpikeRule) -> tuple[Tensor, Tensor]:
    """Step once: current x, state v - v(0), both [N, ...], theta broadcast -> (q in thresholds: 0 or 1, state).

    >>> rule, theta, v = SpikeRule(inclusive=True), torch.ones(1), torch.zeros(1)
    >>> train = ""
    >>> for _ in range(8):
    ...     q, v = rule_step(torch.tensor([9 / 32]), v, theta, rule)
    ...     train += str(int(q))
    >>> train
    '01000100'
    """
    start = rule.v0 * theta
    u, limit = v + x, theta - start
    fired = u >= limit if rule.inclusive else u > limit
    q = fired.to(v.dtype)
    if rule.reset == "zero":
        return q, torch.where(fired, -start, u)
    after = u - q * theta
    if rule.room is not None:
        after = after.clamp(rule.room[0] * theta, rule.room[1] * theta)
    return q, after
