"""The passes of models/neurons/fused.py for a GPU as Triton kernels; imported only if there is a GPU.

One program steps a block of neurons through all T steps. As on the CPU, the backward pass keeps only the input: it runs
forward again and writes each step's potential to where that step's input gradient will be, then runs back through time
and replaces one by the other. The rule and its options are those of models/neurons/layers.py.
"""

from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from spikesight.models.neurons.fused import SURROGATES

if TYPE_CHECKING:
    from spikesight.models.neurons.config import NeuronConfig

BLOCK = 1024  # neurons per program


@triton.jit
def _above(u, theta, INCLUSIVE: tl.constexpr):
    return u >= theta if INCLUSIVE else u > theta


@triton.jit
def _derivative(x, slope, KIND: tl.constexpr):
    """Return the surrogate's derivative at x = U - theta; KIND is an index into SURROGATES (fused.py)."""
    a = tl.abs(x)
    if KIND == 0:  # arctan
        q = 1.5707963267948966 * slope * x
        return slope / 2 / (1 + q * q)
    elif KIND == 1:  # fast sigmoid
        q = 1 + slope * a
        return 1 / (q * q)
    elif KIND == 2:  # triangular
        return tl.maximum(slope - a, 0.0) / (slope * slope)
    else:  # rectangular
        return tl.where(a < 0.5 / slope, slope, 0.0)


@triton.jit
def _potential(x, old, beta, theta, gain, DELAY: tl.constexpr, ZERO: tl.constexpr, INCLUSIVE: tl.constexpr):
    """Return U[t] from X[t] and the state before the step."""
    if DELAY:
        fired = _above(old, theta, INCLUSIVE)
        if ZERO:
            return tl.where(fired, 0.0, beta * old) + gain * x
        return beta * old + gain * x - tl.where(fired, theta, 0.0)
    return beta * old + gain * x


@triton.jit
def _state(u, theta, DELAY: tl.constexpr, ZERO: tl.constexpr, INCLUSIVE: tl.constexpr):
    """Return the state after a step with potential u: U itself, or V with the immediate reset."""
    if DELAY:
        return u
    fired = _above(u, theta, INCLUSIVE)
    if ZERO:
        return tl.where(fired, 0.0, u)
    return u - tl.where(fired, theta, 0.0)


@triton.jit
def _start(before_at, beta_at, count, beta, SCALED: tl.constexpr, SIZE: tl.constexpr):
    """Return a program's neurons, which of them exist, beta, the input's gain, and the state before the first step."""
    lane = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    inside = lane < count
    if beta_at is not None:
        beta = tl.load(beta_at).to(tl.float32)
    gain = 1 - beta if SCALED else 1.0
    state = tl.zeros([SIZE], tl.float32)
    if before_at is not None:
        state = tl.load(before_at + lane, inside, 0.0)
    return lane, inside, beta, gain, state


@triton.jit
def _forward(
    x_at, before_at, beta_at, spikes_at, after_at, steps, count, beta, theta,
    DELAY: tl.constexpr, ZERO: tl.constexpr, INCLUSIVE: tl.constexpr, SCALED: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    lane, inside, beta, gain, state = _start(before_at, beta_at, count, beta, SCALED, SIZE)
    for t in range(steps):
        at = t * count + lane
        x = tl.load(x_at + at, inside, 0.0).to(tl.float32)
        u = _potential(x, state, beta, theta, gain, DELAY, ZERO, INCLUSIVE)
        spikes = tl.where(_above(u, theta, INCLUSIVE), 1.0, 0.0)
        tl.store(spikes_at + at, spikes.to(spikes_at.dtype.element_ty), inside)
        state = _state(u, theta, DELAY, ZERO, INCLUSIVE)
    tl.store(after_at + lane, state, inside)


@triton.jit
def _backward(
    x_at, before_at, beta_at, dspikes_at, dafter_at, u_at, dx_at, dbefore_at, dbeta_at,
    steps, count, beta, theta, slope,
    DELAY: tl.constexpr, ZERO: tl.constexpr, INCLUSIVE: tl.constexpr, SCALED: tl.constexpr,
    DETACH: tl.constexpr, KIND: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    lane, inside, beta, gain, first = _start(before_at, beta_at, count, beta, SCALED, SIZE)
    state = first
    for t in range(steps):
        at = t * count + lane
        x = tl.load(x_at + at, inside, 0.0).to(tl.float32)
        u = _potential(x, state, beta, theta, gain, DELAY, ZERO, INCLUSIVE)
        tl.store(u_at + at, u, inside)
        state = _state(u, theta, DELAY, ZERO, INCLUSIVE)
    carry = tl.zeros([SIZE], tl.float32)  # the gradient of the state after the step
    if dafter_at is not None:
        carry = tl.load(dafter_at + lane, inside, 0.0).to(tl.float32)
    of_beta = tl.zeros([SIZE], tl.float32)
    for back in range(steps):
        t = steps - 1 - back
        at = t * count + lane
        u = tl.load(u_at + at, inside, 0.0)
        old = first
        if t > 0:
            old = _state(tl.load(u_at + at - count, inside, 0.0), theta, DELAY, ZERO, INCLUSIVE)
        g = tl.zeros([SIZE], tl.float32)
        if dspikes_at is not None:
            g = tl.load(dspikes_at + at, inside, 0.0).to(tl.float32)
        through = _derivative(u - theta, slope, KIND)
        if DELAY:
            du = carry + g * through
            fired = _above(old, theta, INCLUSIVE)
            kept = tl.where(fired, 0.0, du) if ZERO else du  # the part that reaches U[t-1] through the leak
            carry = beta * kept
            if not DETACH:
                lost = beta * old if ZERO else theta
                carry -= du * lost * _derivative(old - theta, slope, KIND)
        else:
            fired = _above(u, theta, INCLUSIVE)
            if not DETACH:
                g -= carry * (u if ZERO else theta)
            du = g * through + (tl.where(fired, 0.0, carry) if ZERO else carry)
            kept = du
            carry = beta * du
        if dbeta_at is not None:
            of_beta += kept * old
            if SCALED:
                of_beta -= du * tl.load(x_at + at, inside, 0.0).to(tl.float32)
        tl.store(dx_at + at, (du * gain).to(dx_at.dtype.element_ty), inside)
    if dbefore_at is not None:
        tl.store(dbefore_at + lane, carry, inside)
    if dbeta_at is not None:
        tl.store(dbeta_at + tl.program_id(0), tl.sum(tl.where(inside, of_beta, 0.0)))


def _options(config: "NeuronConfig") -> dict[str, Any]:
    return {
        "DELAY": config.delay, "ZERO": config.reset == "zero", "INCLUSIVE": config.inclusive,
        "SCALED": config.scale_input, "SIZE": BLOCK,
        "enable_fp_fusion": False,  # round as the plain loop does, so that spikes agree bit for bit
    }  # fmt: skip


def forward(x_seq: Tensor, before: Tensor | None, beta: Tensor | None, config: "NeuronConfig") -> tuple[Tensor, Tensor]:
    """Run x_seq [T, ...], contiguous, float32 or bfloat16, from a float32 state; return (spikes, state)."""
    spikes, after = torch.empty_like(x_seq), torch.empty_like(x_seq[0], dtype=torch.float32)
    steps, count = x_seq.shape[0], after.numel()
    _forward[(triton.cdiv(count, BLOCK),)](
        x_seq, before, beta, spikes, after, steps, count, config.beta, config.theta, **_options(config)
    )
    return spikes, after


def backward(
    x_seq: Tensor,
    before: Tensor | None,
    beta: Tensor | None,
    dspikes: Tensor | None,
    dafter: Tensor | None,
    config: "NeuronConfig",
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return gradients of the input, the state before it and a learnt beta; None where the value is None."""
    dx = torch.empty_like(x_seq)
    potentials = dx if dx.dtype == torch.float32 else torch.empty_like(x_seq, dtype=torch.float32)
    steps, count = x_seq.shape[0], x_seq[0].numel()
    blocks = triton.cdiv(count, BLOCK)
    dbefore = None if before is None else torch.empty_like(before)
    dbeta = None if beta is None else x_seq.new_empty(blocks, dtype=torch.float32)
    options = _options(config) | {"DETACH": config.detach_reset, "KIND": SURROGATES.index(config.surrogate)}
    _backward[(blocks,)](
        x_seq, before, beta, dspikes, dafter, potentials, dx, dbefore, dbeta, steps, count,
        config.beta, config.theta, config.spike_function().slope,  # type: ignore[attr-defined]
        **options,
    )  # fmt: skip
    return dx, dbefore, None if dbeta is None else dbeta.sum()
