"""Fixtures of the models' tests: images, and an ANN whose batch norms know them."""

import pytest
import torch
from torch import Tensor, nn

from spikesight.models.networks.ann import CifarResNet
from tests.support.models import warmed


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(16, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def resnet(images: Tensor) -> nn.Module:
    return warmed(CifarResNet(1), images)
