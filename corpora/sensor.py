"""An event camera's pixels for many short films at once: grey light to binned events, in PyTorch.

The pixel model is that of encoders/emulator/pixels (v2e; Hu et al., CVPRW 2021) without event times: a pixel holds a
log intensity and fires once for each threshold that the light is above or below it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sensor:
    """Properties of n cameras, each float [n]."""

    on: Tensor  # threshold of ON events, a step of log intensity
    off: Tensor
    mismatch: Tensor  # standard deviation of the thresholds over pixels, relative
    alpha: Tensor  # share of a change of light that a pixel follows in one instant: its bandwidth; 1: at once
    noise_hz: Tensor  # events of noise a pixel a second
    hot: Tensor  # share of pixels that fire all the time
    lost: Tensor  # share of events that are lost, by refractory time, filters and the bus


def film(log_light: Tensor, sensor: Sensor, random: Tensor, seconds: float, bins: int) -> Tensor:
    """Return which cells had an event: bool [n, bins, 2, R, R], channel 1 is ON.

    `log_light` [n, K, R, R] at K instants, a multiple of `bins`, over `seconds`; `random`: uniform numbers
    [n, 5 + 4 * bins, R, R].
    """
    n, k, *_ = log_light.shape

    def each(value: Tensor) -> Tensor:
        return value.view(n, 1, 1)

    spread = 1 + each(sensor.mismatch) * (random[:, 0] + random[:, 1] - 1) * 2.4  # a triangle of that deviation
    on, off = each(sensor.on) * spread.clamp(0.4), each(sensor.off) * (2 - spread).clamp(0.4)
    seen = log_light[:, 0].clone()
    held = seen + (2 * random[:, 2] - 1) * torch.minimum(on, off) * 0.9
    alpha, fired = each(sensor.alpha).expand_as(seen), torch.zeros(n, bins, 2, *log_light.shape[2:])
    for instant in range(1, k):
        seen.lerp_(log_light[:, instant], alpha)
        change = seen - held
        step = torch.where(change > 0, on, off)
        times = change.div_(step).trunc_()
        held += times * step
        bin_ = instant * bins // k
        fired[:, bin_, 1] += times.clamp(min=0)
        fired[:, bin_, 0] -= times.clamp_(max=0)
    stray, kept = random[:, 5 : 5 + 2 * bins], random[:, 5 + 2 * bins :]
    share = 1 - torch.exp(-sensor.noise_hz * seconds / bins / 2)
    lit = (fired > 0) & (kept.reshape(fired.shape) >= sensor.lost.view(n, 1, 1, 1, 1) ** fired.clamp(min=1))
    share = torch.where(random[:, 3] < each(sensor.hot), random[:, 4], each(share))
    return lit | (stray.reshape(fired.shape) < share[:, None, None])
