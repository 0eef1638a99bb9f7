"""Fixtures of the conversion's tests: one layer of neurons, and small images for it."""

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture(scope="module")
def small_images() -> Tensor:
    return torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def one_layer() -> nn.Module:
    """One layer of neurons between a convolution and a read-out."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    ).eval()
