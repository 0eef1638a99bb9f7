"""Calibration behind real spikes: biases, thresholds and weights."""

import pytest
import torch
from torch import Tensor, nn

from spikesight.models.conversion import calibrate
from spikesight.models.conversion.ann_to_snn import convert
from spikesight.models.conversion.calibrate import decoded, regression, repaired


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.Linear(6, 2)], ids=str)
def test_regression_is_least_squares_with_a_ridge(layer: nn.Conv2d | nn.Linear) -> None:
    """Of the change, in which the ridge's equations ask every weight, but no bias, to be 0."""
    generator = torch.Generator().manual_seed(0)
    layer.requires_grad_(False)
    x = torch.randn((40, 3, 9, 9) if isinstance(layer, nn.Conv2d) else (50, 6), generator=generator)
    target = torch.randn(layer(x).shape, generator=generator)
    weight, bias = regression(layer, x, target)
    missing = target - layer(x)
    if isinstance(layer, nn.Conv2d):
        x = nn.functional.unfold(x, 3, padding=1, stride=2).transpose(1, 2).flatten(0, 1)
        missing = missing.flatten(2).transpose(1, 2).flatten(0, 1)
    hold = (calibrate.RIDGE * x.square().sum(0).mean()).sqrt() * torch.eye(x.shape[1])
    rows = torch.cat([nn.functional.pad(x, (0, 1), value=1.0), nn.functional.pad(hold, (0, 1))])
    best = torch.linalg.lstsq(rows, nn.functional.pad(missing, (0, 0, 0, len(hold)))).solution
    torch.testing.assert_close(weight.flatten(1).T, best[:-1], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(bias, best[-1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("first", [0, 2])
def test_repaired_currents_are_those_of_the_new_weights(first: int) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = nn.Conv2d(3, 4, 3, padding=1).requires_grad_(False)
    spikes = (torch.rand(6, 8, 3, 5, 5, generator=generator) < 0.3).float()
    other = torch.randn(6, 8, 4, 5, 5, generator=generator)  # a shortcut's share
    target = torch.randn(8, 4, 5, 5, generator=generator)

    def currents() -> Tensor:
        return layer(spikes.flatten(0, 1)).unflatten(0, (6, 8)) + other

    def error(x_seq: Tensor) -> float:
        return float((decoded(x_seq, first) - target).square().mean())

    before, missed = currents(), error(currents())
    after = repaired(layer, spikes, before, target, first)
    torch.testing.assert_close(after, currents(), rtol=1e-4, atol=1e-4)
    assert error(after) < missed


def test_what_cannot_be_fitted_is_left_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    plain, grouped = (nn.Conv2d(4, 4, 3, padding=1, groups=groups).requires_grad_(False) for groups in (1, 2))
    linear = nn.Linear(4, 4).requires_grad_(False)
    square, row = torch.rand(5, 6, 4, 4, 4, generator=generator), torch.rand(5, 6, 4, generator=generator)
    for layer, spikes, target, fits in (
        (plain, square, square[0], True),
        (grouped, square, square[0], False),
        (plain, square, square[0][..., ::2, ::2], False),  # a max-pool stands between
        (linear, row, row[0], True),
    ):
        before = layer.weight.clone()
        currents = target.expand(5, *target.shape)
        after = repaired(layer, spikes, currents, target + 1, 0)
        assert torch.equal(layer.weight, before) != fits
        assert torch.equal(after, currents) != fits


def test_the_read_out_is_repaired_and_what_reads_the_image_is_not(one_layer: nn.Module, small_images: Tensor) -> None:
    network = convert(one_layer, [small_images], "rueckauer", steps=4)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    calibrate.calibrate(network, small_images, 4, repair=True, search=False, light=False)
    moved = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {network.layers[name.split(".")[1]] for name in moved} == {network.layers[network.config.nodes[-1].name]}
    assert len(moved) == 2
