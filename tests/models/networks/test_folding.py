"""Batch norms folded into the weights before them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikesight.models.networks.folding import folded
from tests.support.models import warmed


def test_folding(images: Tensor) -> None:
    conv, norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
    block = warmed(nn.Sequential(conv, norm), images)
    weight, bias = folded(conv.weight.detach().double(), conv.bias.detach().double(), norm)  # type: ignore[union-attr]
    torch.testing.assert_close(
        F.conv2d(images, weight.float(), bias.float()), block(images).detach(), rtol=1e-5, atol=1e-5
    )
