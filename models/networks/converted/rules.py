"""How converted neurons turn current into spikes: each rule's equation, one step at a time.

A layer emits q theta, so that the mean of its output over T steps estimates ReLU of its mean input:

  if       q = H(v >= theta)                             Rueckauer et al. 2017; v(0) = theta/2 rounds to nearest
  signed   q = H(v >= theta) - H(v < 0) H(M >= theta)    SNM, IJCAI 2022; M is the sum emitted so far
  multi    q = +-2^-k, largest with |v| >= 3/4 theta 2^-k  DCGS, ICML 2025; k < levels, a negative one needs M
  cascade  q = sum of 2^-k H(m_k >= theta 2^-k)          H-MT, AAAI 2026; what is left passes to the next level
  few      K steps, q = K 2^-k H(v > alpha 2^-k)         Stöckl & Maass 2021; needs the whole window

then v <- v - q theta (soft reset). States hold v - v(0), so that zeros are the state before the first step. `bounds`
clamp the v of an "if" neuron: charge accumulated before the earlier layers have reached their rates is dropped instead
of causing spikes while the answer is read. Differential coding (DCGS) sends corrections of the running rate:
`differential_step`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

SHARE = 0.75  # share of a level at which a multi-threshold neuron emits the level
TOLERANCE = 1 - 1e-3  # share of the required emitted sum that is enough for a negative spike, despite rounding

SPIKE_KINDS = ("if", "signed", "multi", "cascade", "few")


@dataclass(frozen=True)
class SpikeRule:
    """The firing rule of all neurons of a converted network."""

    kind: Literal["if", "signed", "multi", "cascade", "few"] = "if"
    levels: int = 1  # multi and cascade: thresholds theta, theta/2, ...; few: K
    v0: float = 0.5  # v(0) as a share of theta (cascade: of the smallest level)
    inclusive: bool = False  # fire at v >= theta
    reset: Literal["subtract", "zero"] = "subtract"  # "zero" with kind "if" only; it fails in deep networks
    differential: bool = False  # spikes correct a running rate
    bounds: tuple[float, float] | None = None  # "if", soft reset: v is clamped to these after a step, in thresholds

    def __post_init__(self) -> None:
        if self.kind not in SPIKE_KINDS:
            raise ValueError(f"kind must be one of {', '.join(SPIKE_KINDS)}, not {self.kind!r}")
        if not 1 <= self.levels <= 16:
            raise ValueError(f"levels must lie in 1 to 16, not {self.levels}")
        if not 0 <= self.v0 < 1:
            raise ValueError(f"v0 must lie in [0, 1) thresholds, not {self.v0}")
        if self.reset not in ("subtract", "zero") or (self.reset == "zero" and self.kind != "if"):
            raise ValueError("reset must be 'subtract', or 'zero' with kind 'if'")
        if self.differential and self.kind != "multi":
            raise ValueError("differential coding needs kind 'multi'")
        if self.bounds is not None:
            if self.kind != "if" or self.reset != "subtract":
                raise ValueError("bounds need kind 'if' and reset 'subtract'")
            if len(self.bounds) != 2 or not -1e6 <= self.bounds[0] <= self.v0 <= self.bounds[1] <= 1e6:
                raise ValueError(f"bounds must be two numbers with v0 = {self.v0} between them, not {self.bounds}")

    @property
    def room(self) -> tuple[float, float] | None:
        """Bounds of the state v - v(0) in thresholds; None without bounds."""
        return self.bounds and (self.bounds[0] - self.start, self.bounds[1] - self.start)

    @property
    def remembers(self) -> bool:
        """Whether the rule needs the sum emitted so far."""
        return self.kind in ("signed", "multi")

    @property
    def start(self) -> float:
        """Membrane potential v(0) before the first step, in thresholds."""
        return self.v0 * 2.0 ** (1 - self.levels) if self.kind == "cascade" else self.v0


def levels_of(rule: SpikeRule) -> list[float]:
    """Return the sizes of spikes in thresholds, the largest first."""
    return [2.0**-k for k in range(rule.levels)]


def emit(v: Tensor, emitted: Tensor, theta: Tensor, rule: SpikeRule) -> Tensor:
    """Return the spike q, in thresholds, of a neuron with membrane v (v(0) included) that emitted the sum M before."""
    if rule.kind == "if":
        return (v >= theta if rule.inclusive else v > theta).to(v.dtype)
    if rule.kind == "signed":
        up = v >= theta if rule.inclusive else v > theta
        return up.to(v.dtype) - ((v < 0) & (emitted >= theta * TOLERANCE)).to(v.dtype)
    q = torch.zeros_like(v)
    if rule.kind == "multi":
        for level in reversed(levels_of(rule)):
            size = theta * level
            q = torch.where(v >= SHARE * size, level, q)
            q = torch.where((v <= -SHARE * size) & (emitted >= size * TOLERANCE), -level, q)
        return q
    if rule.kind == "cascade":
        for level in levels_of(rule):
            q = q + level * (v - q * theta >= theta * level).to(v.dtype)
        return q
    raise ValueError("a few-spikes neuron has no single step: it needs its whole window (few_spikes)")


def rule_step(x: Tensor, v: Tensor, emitted: Tensor, theta: Tensor, rule: SpikeRule) -> tuple[Tensor, Tensor, Tensor]:
    """Step once: current x, state v - v(0) and sum M, all [N, ...], theta broadcast -> (q in thresholds, state, M).

    >>> rule, theta, v = SpikeRule("if", inclusive=True), torch.ones(1), torch.zeros(1)
    >>> train = ""
    >>> for _ in range(8):
    ...     q, v, _ = rule_step(torch.tensor([9 / 32]), v, v, theta, rule)
    ...     train += str(int(q))
    >>> train
    '01000100'
    """
    start = rule.start * theta
    u = v + x
    q = emit(u + start, emitted, theta, rule)
    x_out = q * theta
    if rule.reset == "zero":
        return q, torch.where(q > 0, -start, u), emitted
    after = u - x_out
    if rule.room is not None:
        low, high = rule.room
        after = after.clamp(low * theta, high * theta)
    return q, after, emitted + x_out if rule.remembers else emitted


def differential_step(
    x: Tensor, state: tuple[Tensor, Tensor, Tensor, Tensor], t: Tensor, bias: Tensor, theta: Tensor, rule: SpikeRule
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Step neurons with differential coding once (DCGS, ICML 2025): corrections in, corrections out.

    x is the correction of the input without its bias, t >= 1 the step's number, state = (v, M, input rate - bias,
    output rate); returns (q in thresholds, state). r(t) = r(t-1) + s(t)/t on both sides.
    """
    v, emitted, rate_in, rate_out = state
    v = v + (x + rate_in + bias) - rate_out
    emitted = emitted + rate_out
    q = emit(v, emitted, theta, rule)
    s = q * theta
    return q, (v - s, emitted + s, rate_in + x / t, rate_out + s / t)


def few_spikes(value: Tensor, alpha: Tensor, rule: SpikeRule) -> Tensor:
    """Return the K spikes of a value: q [K, ...] in units of alpha, whose mean times alpha is a K-bit ReLU of it.

    T_k = h_k = d_k = alpha 2^-k for k = 1 ... K; fires at v > T_k (or >=). Spike k carries K d_k because a layer's
    output is its mean over the K steps.
    """
    rest, spikes = value, []
    for k in range(1, rule.levels + 1):
        size = alpha * 2.0**-k
        s = (rest >= size if rule.inclusive else rest > size).to(value.dtype)
        rest = rest - s * size
        spikes.append(s * (rule.levels * 2.0**-k))
    return torch.stack(spikes)
