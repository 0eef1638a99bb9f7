"""Thresholds and calibration of converted neurons: each rule against its equation, computed another way."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from models import convert as convert_module
from models import convert_calibrate
from models.ann import Qcfs, SmallCnn, with_qcfs
from models.convert import METHODS, convert, graph_of, images_that_fit
from models.convert_calibrate import regression, repaired, search_threshold
from models.convert_neurons import SpikeLayer
from models.convert_rules import SpikeRule, quantised_relu
from models.convert_thresholds import FLOOR, mmse_threshold, poisson, walk
from models.simulate import predictions


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def one_layer() -> nn.Module:
    """One layer of neurons between a convolution and a read-out."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    ).eval()


def thetas(ann: nn.Module, images: Tensor, method: str, **changes: object) -> Tensor:
    network = convert(ann, list(images.split(8)), replace(METHODS[method], **changes), steps=8)  # type: ignore[arg-type]
    (layer,) = network.neurons().values()
    return layer.theta


def currents(ann: nn.Module, images: Tensor) -> Tensor:
    """[4, values] of the one layer."""
    with torch.no_grad():
        return ann[0](images).transpose(0, 1).flatten(1)  # type: ignore[index, operator]


def test_percentiles_of_layer_and_channel(one_layer: nn.Module, images: Tensor) -> None:
    z = currents(one_layer, images)
    torch.testing.assert_close(thetas(one_layer, images, "rueckauer-max"), z.amax().expand(4))
    positive = z[z > 0].sort().values
    rank = -(-len(positive) * 999 // 1000) - 1
    torch.testing.assert_close(thetas(one_layer, images, "rueckauer"), positive[rank].expand(4))
    half = thetas(one_layer, images, "half", channelwise=True, percent=50.0)
    for theta, row in zip(half, z):
        above = row[row > 0].sort().values
        assert float(theta) == pytest.approx(float(above[-(-len(above) // 2) - 1]))


def test_mmse_is_the_best_of_its_candidates(one_layer: nn.Module, images: Tensor) -> None:
    a, rule = currents(one_layer, images).relu(), SpikeRule("if", v0=0.5, inclusive=True)
    found = mmse_threshold(a, 8, rule)
    for theta, row in zip(found, a):
        candidates = [row.max() * (1 - 0.01 * i) for i in range(95)]
        errors = [float((quantised_relu(row, c, 8, rule) - row).square().mean()) for c in candidates]
        own = float((quantised_relu(row, theta, 8, rule) - row).square().mean())
        assert own == pytest.approx(min(errors), rel=1e-4)
    assert (thetas(one_layer, images, "mmse") < a.amax(1)).all()


def test_one_pass_of_ltb(one_layer: nn.Module, images: Tensor) -> None:
    theta = torch.zeros(4)
    for batch in images.split(8):
        z = currents(one_layer, batch)
        theta = theta + 2 * ((z - theta[:, None]) * (z > theta[:, None])).mean(1)
    torch.testing.assert_close(thetas(one_layer, images, "ltb", passes=1), theta)


def test_spike_norm_takes_the_largest_current_of_a_step(one_layer: nn.Module, images: Tensor) -> None:
    spikes = poisson(images, 8, torch.Generator().manual_seed(0))
    largest = torch.stack([currents(one_layer, x).amax() for x in spikes]).amax()
    torch.testing.assert_close(thetas(one_layer, images, "sengupta"), largest.expand(4))


def test_gaussian_thresholds_read_mean_and_deviation_alone(one_layer: nn.Module, images: Tensor) -> None:
    z = currents(one_layer, images)
    theta = thetas(one_layer, images, "dcgs")
    assert (theta > z.std(1)).all()
    assert (theta < z.mean(1).abs() + 6 * z.std(1)).all()


def test_qcfs_thresholds_are_as_trained(images: Tensor) -> None:
    ann = with_qcfs(SmallCnn(3), 4)
    levels = [m for m in ann.modules() if isinstance(m, Qcfs)]
    with torch.no_grad():
        for number, module in enumerate(levels):
            module.level.fill_(1.5 + number)
    network = convert(ann.eval(), [images], "qcfs")
    assert [float(layer.theta[0]) for layer in network.neurons().values()] == [1.5, 2.5, 3.5]
    assert all(layer.rule.v0 == 0.5 and layer.rule.inclusive for layer in network.neurons().values())


def test_a_dead_channel_gets_a_tiny_threshold(one_layer: nn.Module, images: Tensor) -> None:
    ann = copy.deepcopy(one_layer)
    with torch.no_grad():
        ann[0].weight[2] = 0  # type: ignore[index]
        ann[0].bias[2] = -1  # type: ignore[index]
    theta = thetas(ann, images, "half", channelwise=True)
    assert float(theta[2]) == pytest.approx(FLOOR)
    assert (theta[[0, 1, 3]] > 0.1).all()


# --- calibration behind real spikes ---


def lstsq(x: Tensor, y: Tensor) -> Tensor:
    return torch.linalg.lstsq(torch.cat([x, torch.ones(len(x), 1)], 1), y).solution


def test_regression_is_least_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert_calibrate, "RIDGE", 0.0)
    generator = torch.Generator().manual_seed(0)
    x, layer = torch.randn(40, 3, 9, 9, generator=generator), nn.Conv2d(3, 5, 3, stride=2, padding=1)
    layer.requires_grad_(False)
    target = torch.randn(layer(x).shape, generator=generator)
    weight, bias = regression(layer, x, target)
    windows = nn.functional.unfold(x, 3, padding=1, stride=2).transpose(1, 2).flatten(0, 1)
    best = lstsq(windows, target.flatten(2).transpose(1, 2).flatten(0, 1))
    torch.testing.assert_close((layer.weight + weight).flatten(1).T, best[:-1], rtol=1e-3, atol=1e-4)
    assert layer.bias is not None
    torch.testing.assert_close(layer.bias + bias, best[-1], rtol=1e-3, atol=1e-4)
    linear = nn.Linear(6, 2).requires_grad_(False)
    x, target = torch.randn(50, 6, generator=generator), torch.randn(50, 2, generator=generator)
    weight, bias = regression(linear, x, target)
    torch.testing.assert_close((linear.weight + weight).T, lstsq(x, target)[:-1], rtol=1e-3, atol=1e-4)


def test_a_strong_ridge_holds_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert_calibrate, "RIDGE", 1e9)
    layer = nn.Linear(6, 2).requires_grad_(False)
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    weight, bias = regression(layer, x, layer(x) + 1)
    assert float(weight.abs().max()) < 1e-6
    torch.testing.assert_close(bias, torch.ones(2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("first", [0, 2])
def test_repaired_currents_are_those_of_the_new_weights(first: int) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = nn.Conv2d(3, 4, 3, padding=1).requires_grad_(False)
    spikes = (torch.rand(6, 8, 3, 5, 5, generator=generator) < 0.3).float()
    other = torch.randn(6, 8, 4, 5, 5, generator=generator)  # a shortcut's share
    target = torch.randn(8, 4, 5, 5, generator=generator)
    before = layer(spikes.flatten(0, 1)).unflatten(0, (6, 8)) + other
    after = repaired(layer, spikes, before, target, first)
    torch.testing.assert_close(after, layer(spikes.flatten(0, 1)).unflatten(0, (6, 8)) + other, rtol=1e-4, atol=1e-4)
    assert (after[first:].mean(0) - target).square().mean() < (before[first:].mean(0) - target).square().mean()


@pytest.mark.parametrize("first", [0, 4])
def test_search_takes_the_nearest_candidate(first: int) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = SpikeLayer(METHODS["ours"].rule, 3)
    layer.key = "n"
    layer.theta.copy_(torch.tensor([1.0, 2.0, 3.0]))
    x = torch.randn(8, 16, 3, 4, 4, generator=generator)
    target, errors = x.mean(0).relu(), {}
    for share in convert_calibrate.CANDIDATES:
        trial = SpikeLayer(METHODS["ours"].rule, 3)
        trial.key = "n"
        trial.theta.copy_(layer.theta * share)
        trial.amplitude.copy_(trial.theta)
        errors[share] = (trial(x, {}, 8)[first:].mean(0) - target).square().transpose(0, 1).flatten(1).mean(1)
    search_threshold(layer, x, target, 8, first)
    for channel in range(3):
        best = min(errors, key=lambda share: float(errors[share][channel]))
        assert float(layer.theta[channel]) == pytest.approx(float(torch.tensor([1.0, 2.0, 3.0])[channel] * best))
    assert torch.equal(layer.theta, layer.amplitude)


def test_repair_brings_the_logits_nearer(images: Tensor) -> None:
    torch.manual_seed(0)
    ann = SmallCnn(3).train()
    for module in ann.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        ann(images)
    wanted = walk(graph_of(ann.eval(), images), images)

    def error(repair: bool) -> float:
        method = replace(METHODS["ours"], repair=repair, search=False, light=False)
        return float((predictions(convert(ann, [images], method, steps=6), images, 6) - wanted).square().mean())

    assert error(repair=True) < 0.7 * error(repair=False)


def test_a_silent_layer_is_left_as_it_is() -> None:
    layer = nn.Conv2d(3, 4, 3, padding=1).requires_grad_(False)
    weight, bias = regression(layer, torch.zeros(6, 3, 5, 5), torch.ones(6, 4, 5, 5))
    assert torch.equal(weight, torch.zeros_like(weight))
    assert layer.bias is not None
    torch.testing.assert_close(layer.bias + bias, torch.ones(4), rtol=1e-5, atol=1e-5)


def test_calibration_keeps_within_its_memory(
    one_layer: nn.Module, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = graph_of(one_layer, images)
    assert images_that_fit(network, images[:1], 32) == convert_module.CALIBRATED
    monkeypatch.setattr(convert_module, "CALIBRATED_VALUES", 4 * 8 * 8 * 32 * 10)
    assert images_that_fit(network, images[:1], 32) == 10
    assert images_that_fit(network, images[:1], 100_000) == 1
