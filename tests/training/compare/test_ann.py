"""The ANN of a comparison: it learns by the loop of train-dvs; rates and augmentation as said."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
import torch

from spikesight.models.networks.ann import SmallCnn
from spikesight.training.ann import accuracy, prepare
from spikesight.training.compare.ann import ann_settings, fit_ann
from spikesight.training.data.pictures import Images
from spikesight.training.step.augment import move_images
from spikesight.training.step.optimiser import learning_rate


def test_short_recipe_learns() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 256)
    pixels = random.integers(0, 80, (256, 1, 8, 8)).astype(np.uint8)
    pixels[labels == 1, :, :4] += 120
    torch.manual_seed(0)
    said: list[str] = []
    config = replace(ann_settings(3, shift=1), batch_size=32)
    network = fit_ann(SmallCnn(1, 2, 4), Images(pixels, labels), (0.3,), (0.2,), config, report=said.append)
    assert [line.partition(": loss ")[0] for line in said] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    losses = [line.partition(": loss ")[2] for line in said]
    assert all(0 < float(loss) < 1.5 and len(loss) == 6 for loss in losses), "a mean over images"
    assert accuracy(network, prepare(pixels, (0.3,), (0.2,)), labels) > 90


def test_rate_and_augmentation() -> None:
    config = ann_settings(10, lr=0.1, shift=2, flip=True)
    optimisation = config
    assert (optimisation.optimiser, optimisation.weight_decay, optimisation.clip_norm) == ("sgd", 5e-4, 5.0)
    assert (optimisation.warmup_epochs, config.batch_size, config.save_minutes) == (1.0, 128, inf)
    assert (ann_settings(5).lr, ann_settings(5).shift) == (0.05, 2)
    assert (config.rotate, config.drop, config.flip) == (0, 0, True)
    rates = [learning_rate(config, step, 10) for step in range(100)]
    assert max(rates) == pytest.approx(0.1)
    assert rates[0] < rates[5]
    assert rates[-1] < 1e-3
    x = torch.rand(16, 3, 8, 8)
    first = move_images(x, config, (8, 8), torch.Generator().manual_seed(1))
    assert first.shape == x.shape
    assert torch.equal(first, move_images(x, config, (8, 8), torch.Generator().manual_seed(1)))
    assert not torch.equal(first, x)
    assert torch.equal(move_images(x, ann_settings(10, shift=0), (8, 8), torch.Generator()), x)
