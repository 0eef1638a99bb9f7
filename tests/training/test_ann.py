"""The short training recipe of an ANN: it learns; rates and augmentation as said."""

import numpy as np
import pytest
import torch

from models.networks.ann import SmallCnn
from training.ann import AnnConfig, accuracy, fit_ann, prepare, rate, shaken


def test_short_recipe_learns() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 256)
    pixels = random.integers(0, 80, (256, 1, 8, 8)).astype(np.uint8)
    pixels[labels == 1, :, :4] += 120
    torch.manual_seed(0)
    said: list[str] = []
    config = AnnConfig(epochs=3, batch_size=32, shift=1)
    network = fit_ann(SmallCnn(1, 2, 4), pixels, labels, (0.3,), (0.2,), config, report=said.append)
    assert len(said) == 3
    assert accuracy(network, prepare(pixels, (0.3,), (0.2,)), labels) > 90


def test_rate_and_augmentation() -> None:
    config = AnnConfig(lr=0.1, warmup=0.1, shift=2, flip=True)
    rates = [rate(step, 100, config) for step in range(100)]
    assert max(rates) == pytest.approx(0.1)
    assert rates[0] < rates[5]
    assert rates[-1] < 1e-3
    x = torch.rand(16, 3, 8, 8)
    first = shaken(x, config, torch.Generator().manual_seed(1))
    assert first.shape == x.shape
    assert torch.equal(first, shaken(x, config, torch.Generator().manual_seed(1)))
    assert not torch.equal(first, x)
    assert torch.equal(shaken(x, AnnConfig(shift=0), torch.Generator()), x)
