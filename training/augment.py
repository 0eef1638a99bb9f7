"""Augmentation of binned windows: one draw a sample, the same for all its steps."""

import math

import torch
from torch import Tensor

from training.config import TrainConfig


def augment(frames: Tensor, config: TrainConfig, generator: torch.Generator) -> Tensor:
    """frames float [N, T, C, H, W] -> the same shape: rotated, shifted, perhaps mirrored, some events dropped."""
    if config.rotate or config.shift or config.flip:
        frames = _move(frames, config, generator)
    return drop_events(frames, config.drop, generator) if config.drop else frames


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) * (high - low) + low


def _move(frames: Tensor, config: TrainConfig, generator: torch.Generator) -> Tensor:
    """Rotate about the centre and shift by whole pixels, nearest neighbour, so that binary frames stay binary."""
    n, t, c, h, w = frames.shape
    angle = _uniform(n, -config.rotate, config.rotate, generator) * math.pi / 180
    dx, dy = (torch.randint(-config.shift, config.shift + 1, (n,), generator=generator) for _ in range(2))
    mirror = torch.ones(n)
    if config.flip:
        mirror = 1 - 2 * torch.randint(0, 2, (n,), generator=generator).float()
    cos, sin = angle.cos(), angle.sin()
    rows = (
        torch.stack([mirror * cos, -sin * h / w, 2 * dx / w], 1),
        torch.stack([mirror * sin * w / h, cos, 2 * dy / h], 1),
    )
    grid = torch.nn.functional.affine_grid(torch.stack(rows, 1), [n, t * c, h, w], align_corners=False)
    moved = torch.nn.functional.grid_sample(
        frames.flatten(1, 2), grid.to(frames.device), mode="nearest", align_corners=False
    )
    return moved.view(n, t, c, h, w)


def drop_events(frames: Tensor, highest: float, generator: torch.Generator) -> Tensor:
    """EventDrop (Gu et al. 2021), one of four a sample: nothing, random cells, a stretch of time, a rectangle."""
    n, t, c, h, w = frames.shape
    kind = torch.randint(0, 4, (n,), generator=generator)
    share = _uniform(n, 0, highest, generator)
    keep = torch.ones(n, t, c, h, w, dtype=torch.bool)
    for i in range(n):
        s = float(share[i])
        if kind[i] == 1:
            keep[i] = torch.rand(t, c, h, w, generator=generator) >= s
        elif kind[i] == 2:
            length = round(s * t)
            start = int(torch.randint(0, t - length + 1, (1,), generator=generator))
            keep[i, start : start + length] = False
        elif kind[i] == 3:
            side = math.sqrt(s)
            rows, columns = round(side * h), round(side * w)
            top = int(torch.randint(0, h - rows + 1, (1,), generator=generator))
            left = int(torch.randint(0, w - columns + 1, (1,), generator=generator))
            keep[i, :, :, top : top + rows, left : left + columns] = False
    return frames * keep.to(frames.device)
