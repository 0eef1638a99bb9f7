"""Count the operations of a comparison's networks on a few images."""

import torch
from torch import Tensor, nn

from spikesight.models.networks.converted.network import ConvertedNetwork
from spikesight.models.networks.metering import Report, measure
from spikesight.models.neurons.layers import watching
from spikesight.training.compare.results import Cost


class Stepwise(nn.Module):
    """An ANN with the interface of a spiking network: one step, no state."""

    def __init__(self, ann: nn.Module) -> None:
        super().__init__()
        self.ann = ann

    def forward(self, x_seq: Tensor, _: object = None) -> tuple[Tensor, dict[str, Tensor]]:
        return self.ann(x_seq[0])[None], {}


@torch.no_grad()
def activations(ann: nn.Module, x: Tensor) -> int:
    """Count the outputs of the ANN's ReLUs for one image."""
    total = 0

    def count(_: str, __: nn.Module, ___: Tensor, y: Tensor) -> None:
        nonlocal total
        total += y[0].numel()

    with watching(ann, nn.ReLU, count):
        ann(x)
    return total


def cost_of(report: Report) -> Cost:
    """Return the counts of a report that a comparison stores."""
    work = report.work
    return Cost(work.effective_macs, work.effective_acs, report.spike_rate, report.spikes, work.neuron_updates)


def costs(network: ConvertedNetwork, x: Tensor, steps: int) -> dict[str, Cost]:
    """Count operations of an image at a few T up to `steps`; x [N, C, H, W]."""
    counted = sorted({t for t in (2, 4, 8, 16, 32) if t < steps} | {steps})
    return {str(t): cost_of(measure(network, x[None], still=True, steps=t)) for t in counted}
