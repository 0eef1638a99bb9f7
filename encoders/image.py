"""Still images [N, C, H, W] in [0, 1] -> x_seq [T, N, C, H, W]; dtype and device are kept.

Every encoder is a frozen dataclass called with (images, generator=None); the random ones draw from `generator`.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor


@dataclass(frozen=True)
class Direct:
    """The image at every step: the first convolution and its neurons do the coding (constant current)."""

    random: ClassVar[bool] = False
    steps: int

    def __call__(self, images: Tensor, generator: Generator | None = None) -> Tensor:  # noqa: ARG002
        return images.unsqueeze(0).expand(self.steps, *images.shape)


@dataclass(frozen=True)
class Rate:
    """A Bernoulli spike each step with p = clamp(gain·x + offset, 0, 1): the mean over steps is p (snnTorch `rate`)."""

    random: ClassVar[bool] = True
    steps: int
    gain: float = 1.0
    offset: float = 0.0

    def __call__(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        p = (self.gain * images + self.offset).clamp(0, 1)
        drawn = torch.rand((self.steps, *images.shape), generator=generator, dtype=images.dtype, device=images.device)
        return (drawn < p).to(images.dtype)


@dataclass(frozen=True)
class Latency:
    """One spike, the earlier the brighter: linear t = (T-1)·(1-x), or "log", the charging time of an RC membrane.

    log: t = ln(x/(x-θ)) with x raised to at least θ + 1e-7, divided by its analytic maximum ln((θ+1e-7)/1e-7), so that
    a sample's code never depends on its batch (snnTorch `latency` divides by the largest time in the batch).
    `clip`: an input below θ never fires. Steps are rounded half to even.
    """

    random: ClassVar[bool] = False
    steps: int
    mapping: str = "linear"
    threshold: float = 0.01
    clip: bool = False

    def __post_init__(self) -> None:
        if self.mapping not in ("linear", "log"):
            raise ValueError(f"there is no latency mapping '{self.mapping}'; choose linear or log")

    def times(self, images: Tensor) -> Tensor:
        """The spike time of every input in steps, real, in [0, T-1]."""
        x = images.double()
        if self.mapping == "linear":
            return (1 - x) * (self.steps - 1)
        x = x.clamp(min=self.threshold + EPSILON)
        longest = torch.log(torch.tensor((self.threshold + EPSILON) / EPSILON, dtype=torch.float64))
        return torch.log(x / (x - self.threshold)) / longest * (self.steps - 1)

    def __call__(self, images: Tensor, generator: Generator | None = None) -> Tensor:  # noqa: ARG002
        spikes = one_spike_at(self.times(images).round(), self.steps, images.dtype)
        return spikes * (images >= self.threshold) if self.clip else spikes


EPSILON = 1e-7


def one_spike_at(step: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """1 at each input's step, 0 elsewhere: [T, *step.shape]. Steps outside 0 to T-1 never fire."""
    clock = torch.arange(steps, device=step.device).view(-1, *[1] * step.dim())
    return (clock == step).to(dtype)


IMAGE_ENCODERS: dict[str, type] = {"direct": Direct, "rate": Rate, "latency": Latency}
