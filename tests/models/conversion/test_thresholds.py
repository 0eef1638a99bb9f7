"""Thresholds of converted neurons: each rule against its equation, computed another way."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from spikesight.models.conversion.ann_to_snn import convert
from spikesight.models.conversion.methods import METHODS
from spikesight.models.conversion.thresholds import poisson


def test_random_spikes_have_the_mean_of_their_pixel() -> None:
    spikes = poisson(torch.tensor([1.0, -0.5, 0.0]), 4000, torch.Generator().manual_seed(0))
    assert set(spikes.unique().tolist()) == {-1.0, 0.0, 1.0}
    torch.testing.assert_close(spikes.mean(0), torch.tensor([1.0, -0.5, 0.0]), rtol=0, atol=0.05)


def thetas(ann: nn.Module, images: Tensor, method: str, **changes: object) -> Tensor:
    network = convert(ann, list(images.split(8)), replace(METHODS[method], **changes), steps=8)  # type: ignore[arg-type]
    (layer,) = network.neurons().values()
    return layer.theta


def currents(ann: nn.Module, images: Tensor) -> Tensor:
    """[4, values] of the one layer."""
    with torch.no_grad():
        return ann[0](images).transpose(0, 1).flatten(1)  # type: ignore[index, operator]


def test_percentiles_of_layer_and_channel(one_layer: nn.Module, small_images: Tensor) -> None:
    z = currents(one_layer, small_images)
    torch.testing.assert_close(thetas(one_layer, small_images, "rueckauer-max"), z.amax().expand(4))
    positive = z[z > 0].sort().values
    rank = -(-len(positive) * 999 // 1000) - 1
    torch.testing.assert_close(thetas(one_layer, small_images, "rueckauer"), positive[rank].expand(4))
    half = thetas(one_layer, small_images, "ours", repair=False, search=False, light=False, percent=50.0)
    for theta, row in zip(half, z):
        above = row[row > 0].sort().values
        assert float(theta) == pytest.approx(float(above[-(-len(above) // 2) - 1]))


def test_a_maximum_is_that_of_all_images() -> None:
    ann = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 2)).eval()
    x = torch.rand(40_000, 1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ann[0].weight.fill_(2)  # type: ignore[operator, union-attr]
        x[1] = 9
    (layer,) = convert(ann, [x], "rueckauer-max").neurons().values()
    assert float(layer.theta) == 18


def test_one_pass_of_ltb(one_layer: nn.Module, small_images: Tensor) -> None:
    theta = torch.zeros(4)
    for batch in small_images.split(8):
        z = currents(one_layer, batch)
        theta = theta + 2 * ((z - theta[:, None]) * (z > theta[:, None])).mean(1)
    torch.testing.assert_close(thetas(one_layer, small_images, "ltb", passes=1), theta)


def test_spike_norm_takes_the_largest_current_of_a_step(one_layer: nn.Module, small_images: Tensor) -> None:
    spikes = poisson(small_images, 8, torch.Generator().manual_seed(0))
    largest = torch.stack([currents(one_layer, x).amax() for x in spikes]).amax()
    torch.testing.assert_close(thetas(one_layer, small_images, "sengupta"), largest.expand(4))


def test_a_dead_channel_gets_a_tiny_threshold(one_layer: nn.Module, small_images: Tensor) -> None:
    ann = copy.deepcopy(one_layer)
    with torch.no_grad():
        ann[0].weight[2] = 0  # type: ignore[index]
        ann[0].bias[2] = -1  # type: ignore[index]
    theta = thetas(ann, small_images, "ours", search=False)
    assert float(theta[2]) == pytest.approx(1e-6)
    assert (theta[[0, 1, 3]] > 0.1).all()
