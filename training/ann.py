"""Training an ANN on images: what the conversion road starts from. One short recipe, no model selection.

SGD with Nesterov momentum, warm-up and cosine to zero, shifts and mirror images; the last epoch's weights are the
result. The same loop trains a QCFS network, and fine-tunes published weights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.networks.ann import Qcfs


@dataclass(frozen=True)
class AnnConfig:
    """Settings of one run."""

    epochs: int = 3
    batch_size: int = 128
    lr: float = 0.05  # peak
    weight_decay: float = 5e-4
    warmup: float = 0.1  # share of the run
    shift: int = 2  # pixels, each way
    flip: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_size) < 1 or self.lr <= 0 or self.shift < 0:
            raise ValueError("epochs, batch_size and lr must be positive, shift not negative")


def prepare(images: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """uint8 [N, C, H, W] to normalised float32 of the same shape."""
    shape = (1, -1, 1, 1)
    return (torch.tensor(images).float() / 255 - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)


def shaken(x: Tensor, config: AnnConfig, generator: torch.Generator) -> Tensor:
    """Each picture shifted by a random offset (zeros move in) and, where asked, mirrored by chance."""
    size = config.shift
    if size:
        padded = F.pad(x, (size,) * 4)
        offsets = torch.randint(0, 2 * size + 1, (len(x), 2), generator=generator)
        height, width = x.shape[2:]
        rows = offsets[:, :1] + torch.arange(height)
        columns = offsets[:, 1:] + torch.arange(width)
        x = padded[
            torch.arange(len(x))[:, None, None, None],
            torch.arange(x.shape[1])[:, None, None],
            rows[:, None, :, None],
            columns[:, None, None, :],
        ]
    if config.flip:
        mirror = torch.rand(len(x), generator=generator) < 0.5
        x = torch.where(mirror[:, None, None, None], x.flip(3), x)
    return x


def rate(step: int, steps: int, config: AnnConfig) -> float:
    """Learning rate of a step: linear warm-up, then cosine to zero."""
    warm = max(1, round(config.warmup * steps))
    if step < warm:
        return config.lr * (step + 1) / warm
    return config.lr * 0.5 * (1 + float(np.cos(np.pi * (step - warm) / max(1, steps - warm))))


Progress = Callable[[str], None]


def fit_ann(
    network: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    config: AnnConfig,
    forward: Callable[[nn.Module, Tensor], Tensor] | None = None,
    report: Progress = print,
) -> nn.Module:
    """Train in place on uint8 images [N, C, H, W] and labels [N]; returned in evaluation mode.

    `forward` gives the logits that the cross-entropy sees (default: network(x)); a spiking network brings its own.
    """
    generator = torch.Generator().manual_seed(config.seed)
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, config.lr, momentum=0.9, nesterov=True)
    per_epoch = max(1, len(images) // config.batch_size)
    network.train()
    for epoch in range(config.epochs):
        order = torch.randperm(len(images), generator=generator).numpy()
        total = 0.0
        for index in range(per_epoch):
            chosen = order[index * config.batch_size : (index + 1) * config.batch_size]
            for group in optimiser.param_groups:
                group["lr"] = rate(epoch * per_epoch + index, config.epochs * per_epoch, config)
            x = shaken(prepare(images[chosen], mean, std), config, generator)
            x = x.contiguous(memory_format=torch.channels_last)
            y = torch.from_numpy(labels[chosen].astype(np.int64))
            logits = network(x) if forward is None else forward(network, x)
            loss = F.cross_entropy(logits, y)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            total += float(loss.detach())
        report(f"epoch {epoch + 1}/{config.epochs}: loss {total / per_epoch:.4f}")
    return network.eval()


@torch.no_grad()
def set_levels(network: nn.Module, ann: nn.Module, x: Tensor, share: float = 0.995) -> None:
    """Start each QCFS lambda of `network` at a high quantile of the ReLU of `ann` that it replaces, on images x."""
    peaks: dict[str, float] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(_: nn.Module, __: Any, out: Tensor) -> None:
            flat = out.flatten()
            peaks[name] = float(torch.quantile(flat[:: max(1, len(flat) // 1_000_000)], share))

        return hook

    handles = [m.register_forward_hook(keep(n)) for n, m in ann.named_modules() if isinstance(m, nn.ReLU)]
    ann(x)
    for handle in handles:
        handle.remove()
    for name, module in network.named_modules():
        if isinstance(module, Qcfs):
            module.level.fill_(max(peaks[name], 1e-3))


@torch.no_grad()
def hits(network: nn.Module, x: Tensor, labels: np.ndarray, batch: int = 256) -> np.ndarray:
    """Which prepared images are right, bool [N]."""
    network.eval()
    found = torch.cat([network(part).argmax(1) for part in x.split(batch)])
    return found.numpy() == labels


def accuracy(network: nn.Module, x: Tensor, labels: np.ndarray, batch: int = 256) -> float:
    """Per cent right of prepared images."""
    return 100 * float(hits(network, x, labels, batch).mean())
