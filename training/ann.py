"""Reading an ANN on still images: prepared pixels in, which are right out; where the levels of QCFS begin."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikesight.models.networks.ann import Qcfs


def prepare(images: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """uint8 [N, C, H, W] to normalised float32 of the same shape."""
    shape = (1, -1, 1, 1)
    return (torch.tensor(images).float() / 255 - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)


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
