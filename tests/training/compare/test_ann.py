"""Reading an ANN on still images, and where the levels of QCFS begin."""

import numpy as np
import pytest
import torch
from torch import nn

from spikesight.models.networks.ann import Qcfs
from spikesight.training.compare.ann import accuracy, hits, prepare, set_levels


def test_pixels_are_normalised_by_channel() -> None:
    images = np.array([0, 51, 255], np.uint8).reshape(1, 3, 1, 1)
    made = prepare(images, (0.0, 0.1, 0.5), (1.0, 0.5, 0.25))
    assert made.dtype == torch.float32
    assert made.flatten().tolist() == pytest.approx([0.0, 0.2, 2.0])


class Named(nn.Module):
    """Two activations by name, each behind a factor."""

    def __init__(self, kind: type[nn.Module], *arguments: float) -> None:
        super().__init__()
        self.first, self.second = kind(*arguments), kind(*arguments)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(3 * self.first(x))


def levels(network: nn.Module) -> list[float]:
    return [float(module.level.detach()) for module in network.modules() if isinstance(module, Qcfs)]


def test_levels_begin_at_a_high_quantile_of_what_they_replace() -> None:
    x = torch.arange(-1000, 1001).float()[None] / 1000
    ann, network = Named(nn.ReLU), Named(Qcfs, 4)
    set_levels(network, ann, x, share=0.75)
    assert levels(network) == pytest.approx([0.5, 1.5], abs=1e-3)
    set_levels(network, ann, x)
    assert levels(network) == pytest.approx([0.99, 2.97], abs=3e-3)
    set_levels(network, ann, -x.abs())
    assert levels(network) == pytest.approx([1e-3, 1e-3])
    assert not any(module._forward_hooks for module in ann.modules())


@pytest.mark.parametrize("batch", [2, 3, 256])
def test_hits_are_images_whose_largest_logit_is_their_label(batch: int) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.9)).train()
    x = torch.eye(3)[[0, 1, 2, 0, 1]].view(5, 3, 1, 1)
    labels = np.array([0, 1, 0, 0, 2])
    assert hits(network, x, labels, batch).tolist() == [True, True, False, True, False]
    assert accuracy(network, x, labels, batch) == pytest.approx(60.0)
    assert not network.training
