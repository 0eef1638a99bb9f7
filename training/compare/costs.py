"""What networks of a comparison cost: operations counted on a few images."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.energy.metering import Report, measure
from models.networks.converted.network import ConvertedNetwork
from models.networks.converted.unit_spikes import unit_spikes


class Stepwise(nn.Module):
    """An ANN behind the interface of a spiking network: one step, no state."""

    def __init__(self, ann: nn.Module) -> None:
        super().__init__()
        self.ann = ann

    def forward(self, x_seq: Tensor, _: object = None) -> tuple[Tensor, dict[str, Tensor]]:
        return self.ann(x_seq[0])[None], {}


@torch.no_grad()
def activations(ann: nn.Module, x: Tensor) -> int:
    """Values that the ANN's ReLUs give for one image."""
    total = 0

    def count(_: nn.Module, __: Any, out: Tensor) -> None:
        nonlocal total
        total += out[0].numel()

    handles = [m.register_forward_hook(count) for m in ann.modules() if isinstance(m, nn.ReLU)]
    ann(x)
    for handle in handles:
        handle.remove()
    return total


def metered_steps(steps: int) -> Sequence[int]:
    """The T whose operations are counted."""
    return sorted({t for t in (2, 4, 8, 16, 32) if t < steps} | {steps})


def work_of(report: Report) -> dict[str, float]:
    """The counts that a comparison keeps of a report."""
    return {"macs": report.work.effective_macs, "acs": report.work.effective_acs, "rate": report.spike_rate,
            "spikes": report.spikes, "updates": report.work.neuron_updates}  # fmt: skip


def costs(network: ConvertedNetwork, x: Tensor, steps: int) -> dict[str, dict[str, float]]:
    """Operations of an image at a few T up to `steps`, with unit spikes; x [N, C, H, W]."""
    units = unit_spikes(network)
    return {str(t): work_of(measure(units, x[None], still=True, steps=t)) for t in metered_steps(steps)}
