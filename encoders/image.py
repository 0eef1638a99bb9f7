"""Encode still images [N, C, H, W] in [0, 1] as x_seq [T, N, C, H, W]; dtype and device are kept.

Every encoder is a frozen dataclass called with (images, generator=None); random encoders (`random` is True) draw from
`generator`. Integer images or NaN raise ValueError. Rounding is half to even. `decode` reads a code back, if that is
possible.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

EPSILON = 1e-7


def one_spike_at(step: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """Return 1 at each input's step, 0 elsewhere: [T, *step.shape]. Steps outside 0 to T-1 never fire."""
    clock = torch.arange(steps, device=step.device).view(-1, *[1] * step.dim())
    return (clock == step).to(dtype)


def first_spike(x_seq: Tensor) -> Tensor:
    """Return the step of each input's first spike, T if none: int64 [N, C, H, W] from [T, N, C, H, W]."""
    fired = x_seq > 0
    return torch.where(fired.any(0), fired.to(torch.uint8).argmax(0), len(x_seq))


def _real(images: Tensor) -> Tensor:
    """Return the images unchanged. Raises ValueError for integers, whose spikes would wrap, and for NaN."""
    if not images.is_floating_point():
        raise ValueError(f"images are real numbers from 0 to 1, not {images.dtype}: divide 8-bit pixels by 255")
    if bool(images.isnan().any()):
        raise ValueError("images hold values that are no numbers (NaN)")
    return images


@dataclass(frozen=True)
class Code:
    """Base of all encoders: the number of steps, and whether the encoder needs a random generator."""

    random: ClassVar[bool] = False
    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, not {self.steps}")


@dataclass(frozen=True)
class Direct(Code):
    """Presents the image at every step; the first convolution and its neurons do the coding (constant current)."""

    def __call__(self, images: Tensor, generator: Generator | None = None) -> Tensor:  # noqa: ARG002
        return _real(images).unsqueeze(0).expand(self.steps, *images.shape)

    def decode(self, x_seq: Tensor) -> Tensor:
        """Return the mean of [T, ...] over time."""
        return x_seq.mean(0)


@dataclass(frozen=True)
class Rate(Code):
    """Draws a Bernoulli spike each step with p = clamp(x, 0, 1) (snnTorch `rate`)."""

    random: ClassVar[bool] = True

    def __call__(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        p = _real(images).clamp(0, 1)
        dtype = torch.promote_types(images.dtype, torch.float32)  # in half precision small p would fire too often
        drawn = torch.rand((self.steps, *images.shape), generator=generator, dtype=dtype, device=images.device)
        return (drawn < p).to(images.dtype)

    def decode(self, x_seq: Tensor) -> Tensor:
        """Estimate x as the mean over time, unbiased unless p was clamped."""
        return x_seq.mean(0)


@dataclass(frozen=True)
class Latency(Code):
    """Sends one spike, earlier for brighter inputs.

    linear  t = (T-1)·(1-x)                                                         (snnTorch, SpikingJelly)
    log     t = (T-1)·ln(x/(x-θ)) / ln((θ+ε)/ε), x at least θ+ε, ε = 1e-7: the charging time of an RC membrane, divided
            by its analytic maximum, so that a sample's code never depends on its batch (snnTorch divides by the largest
            time in the batch)

    `clip`: an input below θ never fires.
    """

    mapping: str = "linear"
    threshold: float = 0.01
    clip: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mapping not in ("linear", "log"):
            raise ValueError(f"there is no latency mapping '{self.mapping}'; choose linear or log")
        if not 0 < self.threshold < 1:
            raise ValueError(f"the threshold must lie between 0 and 1, not {self.threshold}")

    def times(self, images: Tensor) -> Tensor:
        """Return the spike time of every input in steps, real, in [0, T-1]."""
        x, span = images.double().clamp(0, 1), self.steps - 1
        if self.mapping == "linear":
            return (1 - x) * span
        x = x.clamp(min=self.threshold + EPSILON)
        longest = math.log((self.threshold + EPSILON) / EPSILON)
        return torch.log(x / (x - self.threshold)) / longest * span

    def __call__(self, images: Tensor, generator: Generator | None = None) -> Tensor:  # noqa: ARG002
        spikes = one_spike_at(self.times(_real(images)).round(), self.steps, images.dtype)
        return spikes * (images >= self.threshold) if self.clip else spikes

    def decode(self, x_seq: Tensor) -> Tensor:
        """Return x from the step of the spike, 0 without a spike; exact to half a step of time."""
        t = first_spike(x_seq).double()
        span = max(self.steps - 1, 1)
        if self.mapping == "linear":
            x = 1 - t / span
        else:
            grown = torch.exp(t / span * math.log((self.threshold + EPSILON) / EPSILON))
            x = torch.where(grown > 1, self.threshold * grown / (grown - 1).clamp(min=EPSILON), 1.0)
        return torch.where((x_seq > 0).any(0), x.clamp(0, 1), 0.0).to(x_seq.dtype)


@dataclass(frozen=True)
class FirstSpike(Latency):
    """Time to first spike: linear latency without a spike below the threshold."""

    clip: bool = True


IMAGE_ENCODERS: dict[str, type] = {
    "direct": Direct,
    "rate": Rate,
    "latency": Latency,
    "ttfs": FirstSpike,
}
