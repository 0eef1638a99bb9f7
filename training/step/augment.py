"""Augmentation of training samples: random parameters are drawn once a sample and hold for all its time steps.

Event frames are resampled by nearest neighbour, so that binary frames stay binary; images by bilinear interpolation.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from spikesight.training.config import TrainConfig

Size = tuple[int, int]  # height and width


def augment(frames: Tensor, config: TrainConfig, generator: torch.Generator) -> Tensor:
    """Augment event frames, float [N, T, C, H, W], as the settings say: geometry, polarity, EventDrop."""
    if config.rotate or config.shift or config.flip or config.scale:
        n, t, c, h, w = frames.shape
        matrix = motions(n, (h, w), (h, w), config, generator)
        moved = sample(frames.flatten(1, 2), matrix, (h, w), "nearest")
        frames = moved.view(n, t, c, h, w)
    if config.swap:
        frames = swap_polarity(frames, generator)
    return drop_events(frames, config.drop, generator) if config.drop else frames


def swap_polarity(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Exchange OFF and ON in a random half of the samples: dark on light becomes light on dark."""
    swapped = torch.rand(len(frames), generator=generator) < 0.5
    return torch.where(swapped.to(frames.device).view(-1, 1, 1, 1, 1), frames.flip(2), frames)


def move_images(images: Tensor, config: TrainConfig, size: Size, generator: torch.Generator) -> Tensor:
    """Augment images [N, C, R, R'] in [0, 1] and, where they are larger than `size`, crop at random to [N, C, H, W]."""
    n, _, *kept = images.shape
    larger = tuple(kept) != size
    if not (config.rotate or config.shift or config.flip or config.scale or larger):
        return images
    matrix = motions(n, (kept[0], kept[1]), size, config, generator, anywhere=larger)
    return sample(images, matrix, size, "bilinear")


def crop_middle(images: Tensor, size: Size) -> Tensor:
    """Crop images [N, C, R, R'] to their middle, [N, C, H, W]."""
    top, left = (images.shape[2] - size[0]) // 2, (images.shape[3] - size[1]) // 2
    return images[:, :, top : top + size[0], left : left + size[1]]


def sample(planes: Tensor, matrix: Tensor, size: Size, mode: str) -> Tensor:
    """Resample planes [N, P, R, R'] to [N, P, H, W] by affine maps [N, 2, 3] (output to input, both in [-1, 1])."""
    grid = affine_grid(matrix, [len(planes), planes.shape[1], *size], align_corners=False)
    return grid_sample(planes, grid.to(planes.device), mode=mode, padding_mode="zeros", align_corners=False)


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) * (high - low) + low


def motions(
    n: int, kept: Size, size: Size, config: TrainConfig, generator: torch.Generator, *, anywhere: bool = False
) -> Tensor:
    """Draw n affine maps [n, 2, 3] from pictures of size `kept` to crops of `size`: rotation about the centre, mirror
    image, whole-pixel shift, and a size changed by up to the share `config.scale` either way.

    `anywhere`: place the crop, at most the whole, anywhere in the picture.
    """
    r, c = kept
    h, w = size
    angle = _uniform(n, -config.rotate, config.rotate, generator) * math.pi / 180
    dx, dy = (torch.randint(-config.shift, config.shift + 1, (n,), generator=generator).float() for _ in range(2))
    mirror = torch.ones(n)
    if config.flip:
        mirror = 1 - 2 * torch.randint(0, 2, (n,), generator=generator).float()
    cut_h, cut_w = torch.full((n,), float(h)), torch.full((n,), float(w))
    if config.scale:
        ratio = _uniform(n, -config.scale, config.scale, generator).exp()
        cut_h, cut_w = cut_h * ratio, cut_w * ratio
    if anywhere:
        cut_h, cut_w = cut_h.clamp(max=r), cut_w.clamp(max=c)
        for cut, side, offset in ((cut_h, r, dy), (cut_w, c, dx)):
            start = _uniform(n, 0.0, 1.0, generator) * (side - cut)
            offset += (start if config.scale else start.round()) - (side - cut) / 2  # whole pixels keep a crop exact
    cos, sin = angle.cos(), angle.sin()
    half_h, half_w = cut_h / 2, cut_w / 2  # pixels of the picture that one unit of the output spans
    rows = (
        torch.stack([mirror * cos * half_w, -sin * half_h, dx], 1) * 2 / c,
        torch.stack([mirror * sin * half_w, cos * half_h, dy], 1) * 2 / r,
    )
    return torch.stack(rows, 1)


def drop_events(frames: Tensor, highest: float, generator: torch.Generator) -> Tensor:
    """EventDrop (Gu et al. 2021): drop nothing, random cells, an interval of time or a rectangle of each sample."""
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
